# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the recipes that come with the collection run, word for word: a change of a step is seen here.

``ansible-playbook playbooks/image.yml -e recipe=... -e dry_run=true`` shows it.
"""
from __future__ import annotations

DEBIAN_13_AMD64_GUEST = {
    "bootstrap": """\
#!/usr/bin/env bash
# bootstrap of the recipe debian-13-amd64-guest, from steps/debian/bootstrap.yaml. The build runs it as a whole; changes belong into that file.
set -Eeuo pipefail
. "$RECIPE_LIBRARY"

microstep tools
check_cmd steps/debian/bootstrap.yaml:5 <<'EOF'
mmdebstrap arch-test
EOF

microstep architecture
exec_current steps/debian/bootstrap.yaml:7 <<'EOF'
arch-test amd64 || {
    echo "This computer cannot run programs of amd64. Remedy: apt-get install qemu-user-binfmt (before Debian 13: qemu-user-static)"
    echo "and, if that was not enough, systemctl restart systemd-binfmt. In a container: do so on its host."
    false
} >&2
EOF

microstep sources
exec_current steps/debian/bootstrap.yaml:15 <<'EOF'
of_this_computer() {
    apt-get indextargets --format '$(LABEL) $(COMPONENT) $(REPO_URI)' 'Created-By: Packages' |
        awk -v label="$1" '$1 == label && $2 == "main" && $3 ~ "^https?://" && !seen++ { print $3 }'
}
mirror='' security_mirror=''
if [ -z "$mirror" ]; then
    mirror=$(of_this_computer Debian)
    security_mirror=${security_mirror:-$(of_this_computer Debian-Security)}
fi
[ "$security_mirror" != none ] || security_mirror=
[ -n "$mirror" ] || {
    echo "The apt of this computer knows no Debian mirror. Remedy: apt-get update, or set the variable mirror"
    false
} >&2
# Indexes of the past have expired.
options=$([ -z '' ] || echo '[check-valid-until=no] ')
sources="deb $options$mirror trixie main"
[ -z "$security_mirror" ] || sources+=$'\\n'"deb $options$security_mirror trixie-security main"
EOF

microstep packages
exec_appliance steps/debian/bootstrap.yaml:36 <<'EOF'
INITRD=No mmdebstrap --variant=apt --architectures=amd64 --include='ca-certificates cloud-guest-utils cloud-init dbus e2fsprogs grub-pc iproute2 \
linux-image-cloud-amd64 netbase openssh-server sudo systemd-resolved systemd-sysv systemd-timesyncd udev zstd' \\
    --aptopt='Acquire::Retries "5"' \\
    --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \\
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-include=/usr/share/doc/*/copyright' \\
    trixie . - <<<"$sources"
EOF

finish
""",
    "guest": """\
#!/usr/bin/env bash
# guest of the recipe debian-13-amd64-guest, from steps/debian/guest.yaml. The build runs it as a whole; changes belong into that file.
set -Eeuo pipefail
. "$RECIPE_LIBRARY"

microstep file_system
write_file steps/debian/guest.yaml:6 /etc/fstab <<'EOF'
LABEL=root / ext4 errors=remount-ro,noatime 0 1
EOF

microstep network
write_file steps/debian/guest.yaml:9 /etc/systemd/network/80-dhcp.network <<'EOF'
[Match]
Type=ether

[Network]
DHCP=yes
EOF
exec_chroot steps/debian/guest.yaml:17 <<'EOF'
systemctl --quiet enable systemd-networkd
EOF

microstep ssh
write_file steps/debian/guest.yaml:19 /etc/ssh/sshd_config.d/guest.conf <<'EOF'
HostKey /etc/ssh/ssh_host_ed25519_key
PasswordAuthentication no
UseDNS no
EOF

microstep seed
write_file steps/debian/guest.yaml:26 /etc/cloud/cloud.cfg.d/90_guest.cfg <<'EOF'
# Without a seed: host keys and the size of the root file system all the same.
datasource_list: [NoCloud, None]
# A seed's keys let root in as well as the user debian.
disable_root: false
ssh_genkeytypes: [ed25519]
manage_etc_hosts: localhost
# Sources and locale stay what they were when the appliance was built.
apt: {preserve_sources_list: true}
locale: false
EOF

microstep patience
exec_appliance steps/debian/guest.yaml:40 <<'EOF'
mkdir -p etc/systemd/system.conf.d
EOF
write_file steps/debian/guest.yaml:41 /etc/systemd/system.conf.d/guest.conf <<'EOF'
[Manager]
DefaultDeviceTimeoutSec=10min
EOF

microstep timers
exec_chroot steps/debian/guest.yaml:48 <<'EOF'
systemctl --quiet disable apt-daily.timer apt-daily-upgrade.timer
EOF

finish
""",
    "ramdisk": """\
#!/usr/bin/env bash
# ramdisk of the recipe debian-13-amd64-guest, from steps/debian/ramdisk.yaml. The build runs it as a whole; changes belong into that file.
set -Eeuo pipefail
. "$RECIPE_LIBRARY"

microstep modules
write_file steps/debian/ramdisk.yaml:5 /etc/initramfs-tools/conf.d/appliance <<'EOF'
MODULES=list
EOF
append_file steps/debian/ramdisk.yaml:6 /etc/initramfs-tools/modules <<'EOF'
ext4
virtio_pci
virtio_mmio
virtio_blk
xen_blkfront
EOF

microstep ramdisk
exec_chroot steps/debian/ramdisk.yaml:15 <<'EOF'
for kernel in /boot/vmlinu[xz]-*; do
    version=${kernel#*-}
    update-initramfs -c -k "$version"
    linux-update-symlinks install "$version" "$kernel"
done
EOF

finish
""",
    "grub": """\
#!/usr/bin/env bash
# grub of the recipe debian-13-amd64-guest, from steps/debian/grub.yaml. The build runs it as a whole; changes belong into that file.
set -Eeuo pipefail
. "$RECIPE_LIBRARY"

microstep core
exec_chroot steps/debian/grub.yaml:5 <<'EOF'
mkdir -p /boot/grub/i386-pc
cp /usr/lib/grub/i386-pc/*.mod /usr/lib/grub/i386-pc/*.lst /boot/grub/i386-pc/
grub-mkimage -O i386-pc -p '(hd0,gpt2)/boot/grub' -o /boot/grub/i386-pc/core.img biosdisk part_gpt ext2
EOF

microstep menu
write_file steps/debian/grub.yaml:11 /boot/grub/grub.cfg <<'EOF'
set timeout=0
search --no-floppy --label --set=root root
linux /vmlinuz root=LABEL=root ro console=tty0 console=ttyS0
initrd /initrd.img
boot
EOF
write_file steps/debian/grub.yaml:19 /etc/default/grub.d/appliance.cfg <<'EOF'
GRUB_TIMEOUT=0
GRUB_CMDLINE_LINUX_DEFAULT="console=tty0 console=ttyS0"
GRUB_DISABLE_OS_PROBER=true
EOF

finish
""",
    "clean": """\
#!/usr/bin/env bash
# clean of the recipe debian-13-amd64-guest, from steps/debian/clean.yaml. The build runs it as a whole; changes belong into that file.
set -Eeuo pipefail
. "$RECIPE_LIBRARY"

microstep identity
exec_appliance steps/debian/clean.yaml:5 <<'EOF'
rm -f etc/hostname etc/ssh/ssh_host_* var/lib/dbus/machine-id
: >etc/machine-id
EOF

microstep traces
exec_appliance steps/debian/clean.yaml:9 <<'EOF'
rm -rf var/cache/ldconfig/aux-cache var/cache/debconf/*-old var/lib/dpkg/*-old
find var/log -type f -delete
EOF

microstep updated
exec_appliance steps/debian/clean.yaml:14 <<'EOF'
touch etc/.updated var/.updated
EOF

finish
""",
}
# What is not the guest's.
DEBIAN_13_AMD64_LIVE = {
    "live": """\
#!/usr/bin/env bash
# live of the recipe debian-13-amd64-live, from steps/debian/live.yaml. The build runs it as a whole; changes belong into that file.
set -Eeuo pipefail
. "$RECIPE_LIBRARY"

microstep login
exec_appliance steps/debian/live.yaml:5 <<'EOF'
mkdir -p etc/systemd/system/getty@.service.d etc/systemd/system/serial-getty@.service.d
EOF
write_file steps/debian/live.yaml:6 /etc/systemd/system/getty@.service.d/live.conf <<'EOF'
[Service]
ExecStart=
ExecStart=-/sbin/agetty --autologin root --noclear - $TERM
EOF
write_file steps/debian/live.yaml:12 /etc/systemd/system/serial-getty@.service.d/live.conf <<'EOF'
[Service]
ExecStart=
ExecStart=-/sbin/agetty --autologin root --keep-baud 115200,57600,38400,9600 - $TERM
EOF

finish
""",
}

DEBIAN_13_AMD64_OAR_SERVER = {
    "login": """\
#!/usr/bin/env bash
# login of the recipe debian-13-amd64-oar-server, from steps/debian/login.yaml. The build runs it as a whole; changes belong into that file.
set -Eeuo pipefail
. "$RECIPE_LIBRARY"

microstep key
exec_appliance steps/debian/login.yaml:5 <<'EOF'
[ -z '' ] || {
    install -d -m 0700 root/.ssh
    echo '' >root/.ssh/authorized_keys
    chmod 0600 root/.ssh/authorized_keys
}
EOF

finish
""",
    "oar": """\
#!/usr/bin/env bash
# oar of the recipe debian-13-amd64-oar-server, from steps/debian/oar.yaml. The build runs it as a whole; changes belong into that file.
set -Eeuo pipefail
. "$RECIPE_LIBRARY"

microstep identity
exec_appliance steps/debian/oar.yaml:5 <<'EOF'
rm -rf var/lib/oar/.ssh etc/oar/oar_ssh_host_*
EOF

microstep node
exec_chroot steps/debian/oar.yaml:7 <<'EOF'
systemctl --quiet disable oar-node.service
EOF

microstep server
exec_chroot steps/debian/oar.yaml:9 <<'EOF'
systemctl --quiet disable oar-server.service
EOF

microstep database
exec_chroot steps/debian/oar.yaml:11 <<'EOF'
pg_lsclusters --no-header | while read -r version name other; do pg_dropcluster "$version" "$name"; done
rm -f /etc/ssl/certs/ssl-cert-snakeoil.pem /etc/ssl/private/ssl-cert-snakeoil.key
find /etc/ssl/certs -xtype l -delete
EOF

finish
""",
}
