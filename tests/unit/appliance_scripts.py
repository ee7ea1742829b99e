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

recipe_microstep tools
recipe_check_cmd steps/debian/bootstrap.yaml:5 <<'EOF'
mmdebstrap arch-test
EOF

recipe_microstep architecture
recipe_exec_current steps/debian/bootstrap.yaml:7 <<'EOF'
arch-test amd64 || {
    echo "This computer cannot run programs of amd64. Remedy: apt-get install qemu-user-binfmt (before Debian 13: qemu-user-static)"
    echo "and, if that was not enough, systemctl restart systemd-binfmt. In a container: do so on its host."
    false
} >&2
EOF

recipe_microstep sources
recipe_exec_current steps/debian/sources.yaml:6 <<'EOF'
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

recipe_microstep packages
recipe_exec_appliance steps/debian/bootstrap.yaml:16 <<'EOF'
INITRD=No mmdebstrap --variant=apt --architectures=amd64 --include='ca-certificates cloud-guest-utils cloud-init dbus e2fsprogs grub-pc iproute2 \
linux-image-cloud-amd64 netbase openssh-server polkitd sudo systemd-resolved systemd-sysv systemd-timesyncd udev zstd' \\
    --aptopt='Acquire::Retries "5"' \\
    --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \\
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-include=/usr/share/doc/*/copyright' \\
    trixie . - <<<"$sources"
EOF

recipe_finish
""",
    "guest": """\
#!/usr/bin/env bash
# guest of the recipe debian-13-amd64-guest, from steps/debian/guest.yaml. The build runs it as a whole; changes belong into that file.
set -Eeuo pipefail
. "$RECIPE_LIBRARY"

recipe_microstep file_system
recipe_write_file steps/debian/guest.yaml:6 /etc/fstab <<'EOF'
LABEL=root / ext4 errors=remount-ro,noatime 0 1
EOF

recipe_microstep network
recipe_write_file steps/debian/guest.yaml:9 /etc/systemd/network/80-dhcp.network <<'EOF'
[Match]
Type=ether

[Network]
DHCP=yes
EOF
recipe_exec_appliance steps/debian/guest.yaml:18 <<'EOF'
mkdir -p etc/systemd/networkd.conf.d
EOF
recipe_write_file steps/debian/guest.yaml:19 /etc/systemd/networkd.conf.d/guest.conf <<'EOF'
[Network]
UseDomains=yes
EOF
recipe_exec_chroot steps/debian/guest.yaml:24 <<'EOF'
systemctl --quiet enable systemd-networkd
EOF

recipe_microstep ssh
recipe_write_file steps/debian/guest.yaml:26 /etc/ssh/sshd_config.d/guest.conf <<'EOF'
HostKey /etc/ssh/ssh_host_ed25519_key
PasswordAuthentication no
UseDNS no
EOF

recipe_microstep seed
recipe_write_file steps/debian/guest.yaml:33 /etc/cloud/cloud.cfg.d/90_guest.cfg <<'EOF'
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

recipe_microstep patience
recipe_exec_appliance steps/debian/guest.yaml:48 <<'EOF'
mkdir -p etc/systemd/system.conf.d
EOF
recipe_write_file steps/debian/guest.yaml:49 /etc/systemd/system.conf.d/guest.conf <<'EOF'
[Manager]
DefaultDeviceTimeoutSec=10min
DefaultTimeoutStartSec=10min
DefaultEnvironment=SYSTEMD_BUS_TIMEOUT=10min
EOF
recipe_write_file steps/debian/guest.yaml:56 /etc/dbus-1/system.d/guest.conf <<'EOF'
<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN" "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <limit name="auth_timeout">600000</limit>
  <limit name="service_start_timeout">600000</limit>
</busconfig>
EOF
recipe_exec_appliance steps/debian/guest.yaml:66 <<'EOF'
mkdir -p etc/systemd/system-generators
for name in gpt-auto hibernate-resume ssh tpm2; do
    ln -s /dev/null etc/systemd/system-generators/systemd-$name-generator
done
EOF

recipe_microstep timers
recipe_exec_chroot steps/debian/guest.yaml:73 <<'EOF'
systemctl --quiet disable apt-daily.timer apt-daily-upgrade.timer
EOF

recipe_finish
""",
    "ramdisk": """\
#!/usr/bin/env bash
# ramdisk of the recipe debian-13-amd64-guest, from steps/debian/ramdisk.yaml. The build runs it as a whole; changes belong into that file.
set -Eeuo pipefail
. "$RECIPE_LIBRARY"

recipe_microstep modules
recipe_write_file steps/debian/ramdisk.yaml:5 /etc/initramfs-tools/conf.d/appliance <<'EOF'
MODULES=list
EOF
recipe_append_file steps/debian/ramdisk.yaml:6 /etc/initramfs-tools/modules <<'EOF'
ext4
virtio_pci
virtio_mmio
virtio_blk
xen_blkfront
EOF

recipe_microstep ramdisk
recipe_exec_chroot steps/debian/ramdisk.yaml:15 <<'EOF'
for kernel in /boot/vmlinu[xz]-*; do
    version=${kernel#*-}
    update-initramfs -c -k "$version"
    linux-update-symlinks install "$version" "$kernel"
done
EOF

recipe_finish
""",
    "grub": """\
#!/usr/bin/env bash
# grub of the recipe debian-13-amd64-guest, from steps/debian/grub.yaml. The build runs it as a whole; changes belong into that file.
set -Eeuo pipefail
. "$RECIPE_LIBRARY"

recipe_microstep core
recipe_exec_chroot steps/debian/grub.yaml:5 <<'EOF'
mkdir -p /boot/grub/i386-pc
cp /usr/lib/grub/i386-pc/*.mod /usr/lib/grub/i386-pc/*.lst /boot/grub/i386-pc/
grub-mkimage -O i386-pc -p '(hd0,gpt2)/boot/grub' -o /boot/grub/i386-pc/core.img biosdisk part_gpt ext2
EOF

recipe_microstep menu
recipe_write_file steps/debian/grub.yaml:11 /boot/grub/grub.cfg <<'EOF'
set timeout=0
search --no-floppy --label --set=root root
linux /vmlinuz root=LABEL=root ro console=tty0 console=ttyS0
initrd /initrd.img
boot
EOF
recipe_write_file steps/debian/grub.yaml:19 /etc/default/grub.d/appliance.cfg <<'EOF'
GRUB_TIMEOUT=0
GRUB_CMDLINE_LINUX_DEFAULT="console=tty0 console=ttyS0"
GRUB_DISABLE_OS_PROBER=true
EOF

recipe_finish
""",
    "login": """\
#!/usr/bin/env bash
# login of the recipe debian-13-amd64-guest, from steps/debian/login.yaml. The build runs it as a whole; changes belong into that file.
set -Eeuo pipefail
. "$RECIPE_LIBRARY"

recipe_microstep key
recipe_exec_appliance steps/debian/login.yaml:5 <<'EOF'
[ -z '' ] || {
    install -d -m 0700 root/.ssh
    echo '' >root/.ssh/authorized_keys
    chmod 0600 root/.ssh/authorized_keys
}
EOF

recipe_finish
""",
    "clean": """\
#!/usr/bin/env bash
# clean of the recipe debian-13-amd64-guest, from steps/debian/clean.yaml. The build runs it as a whole; changes belong into that file.
set -Eeuo pipefail
. "$RECIPE_LIBRARY"

recipe_microstep identity
recipe_exec_appliance steps/debian/clean.yaml:5 <<'EOF'
rm -f etc/hostname etc/ssh/ssh_host_* var/lib/dbus/machine-id
: >etc/machine-id
EOF

recipe_microstep traces
recipe_exec_appliance steps/debian/clean.yaml:9 <<'EOF'
rm -rf var/cache/ldconfig/aux-cache var/cache/debconf/*-old var/lib/dpkg/*-old
find var/log -type f -delete
EOF

recipe_microstep updated
recipe_exec_appliance steps/debian/clean.yaml:14 <<'EOF'
touch etc/.updated var/.updated
EOF

recipe_finish
""",
}
# What is not the guest's.
DEBIAN_13_AMD64_LIVE = {
    "live": """\
#!/usr/bin/env bash
# live of the recipe debian-13-amd64-live, from steps/debian/live.yaml. The build runs it as a whole; changes belong into that file.
set -Eeuo pipefail
. "$RECIPE_LIBRARY"

recipe_microstep login
recipe_exec_appliance steps/debian/live.yaml:5 <<'EOF'
mkdir -p etc/systemd/system/getty@.service.d etc/systemd/system/serial-getty@.service.d
EOF
recipe_write_file steps/debian/live.yaml:6 /etc/systemd/system/getty@.service.d/live.conf <<'EOF'
[Service]
ExecStart=
ExecStart=-/sbin/agetty --autologin root --noclear - $TERM
EOF
recipe_write_file steps/debian/live.yaml:12 /etc/systemd/system/serial-getty@.service.d/live.conf <<'EOF'
[Service]
ExecStart=
ExecStart=-/sbin/agetty --autologin root --keep-baud 115200,57600,38400,9600 - $TERM
EOF

recipe_finish
""",
}
LAB_MACHINE = {
    "lab": """\
#!/usr/bin/env bash
# lab of the recipe lab-machine, from steps/debian/lab.yaml. The build runs it as a whole; changes belong into that file.
set -Eeuo pipefail
. "$RECIPE_LIBRARY"

recipe_microstep seed
recipe_write_file steps/debian/lab.yaml:6 /etc/systemd/system/lab-seed.service <<'EOF'
[Unit]
Description=Name, keys and first address of this lab machine
DefaultDependencies=no
ConditionPathExists=!/var/lib/lab-seed
Requires=dev-disk-by\\x2did-virtio\\x2dseed.device
After=dev-disk-by\\x2did-virtio\\x2dseed.device systemd-remount-fs.service
Before=sysinit.target network-pre.target systemd-networkd.service

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/bin/tar -C / -xf /dev/disk/by-id/virtio-seed
ExecStart=/usr/bin/hostname -F /etc/hostname

[Install]
WantedBy=sysinit.target
EOF
recipe_exec_chroot steps/debian/lab.yaml:25 <<'EOF'
systemctl --quiet enable lab-seed.service systemd-networkd.service
EOF

recipe_microstep sessions
recipe_write_file steps/debian/lab.yaml:29 /etc/ssh/sshd_config.d/lab.conf <<'EOF'
MaxSessions 200
MaxStartups 200
UsePAM no
EOF

recipe_microstep consoles
recipe_write_file steps/debian/lab.yaml:41 /etc/default/grub.d/lab.cfg <<'EOF'
GRUB_CMDLINE_LINUX="net.ifnames=0"
GRUB_CMDLINE_LINUX_DEFAULT="console=ttyS0"
GRUB_CMDLINE_LINUX_XEN_REPLACE_DEFAULT="console=hvc0 slab_debug=F"
GRUB_CMDLINE_XEN_DEFAULT="console=com1 com1=115200 sched_ratelimit_us=50000"
EOF

recipe_microstep consoles_of_guests
recipe_exec_appliance steps/debian/lab.yaml:50 <<'EOF'
mkdir -p etc/systemd/system/xen.service.d var/log/xen/console
EOF
recipe_write_file steps/debian/lab.yaml:51 /etc/systemd/system/xen.service.d/lab.conf <<'EOF'
[Service]
Environment=XENCONSOLED_ARGS=--log=guest
EOF

recipe_microstep units
recipe_exec_chroot steps/debian/lab.yaml:57 <<'EOF'
cd /usr/lib/systemd/system
units=''
for unit in $units; do
    systemctl --quiet disable "$unit"
done
EOF

recipe_microstep lists
recipe_write_file steps/debian/lab.yaml:65 /etc/apt/apt.conf.d/lab <<'EOF'
Acquire::GzipIndexes "true";
Acquire::Languages "none";
EOF
recipe_exec_appliance steps/debian/lab.yaml:70 <<'EOF'
apt-get --quiet --error-on=any -o Dir="$PWD" -o Dir::State::status="$PWD/var/lib/dpkg/status" -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= \\
    -o APT::Architecture=amd64 -o APT::Sandbox::User=root -o Acquire::GzipIndexes=true -o Acquire::Languages=none \\
    -o Acquire::Retries=5 update
EOF

recipe_microstep profiles
recipe_exec_appliance steps/debian/lab.yaml:76 <<'EOF'
mkdir -p etc/apparmor.d/disable
for profile in etc/apparmor.d/*; do
    case $profile in
        */usr.sbin.libvirtd | */usr.lib.libvirt.virt-aa-helper) ;;
        *) [ ! -f "$profile" ] || ln -s "../${profile##*/}" etc/apparmor.d/disable/ ;;
    esac
done
EOF

recipe_finish
""",
}
DEBIAN_13_AMD64_SMALL_GUEST = {
    "busybox": """\
#!/usr/bin/env bash
# busybox of the recipe debian-13-amd64-small-guest, from steps/debian/busybox.yaml. The build runs it as a whole; changes belong into that file.
set -Eeuo pipefail
. "$RECIPE_LIBRARY"

recipe_microstep key
recipe_exec_appliance steps/debian/busybox.yaml:5 <<'EOF'
mkdir -p -m 700 root/.ssh
EOF
recipe_write_file steps/debian/busybox.yaml:6 /root/.ssh/authorized_keys <<'EOF'

EOF
recipe_exec_appliance steps/debian/busybox.yaml:10 <<'EOF'
chmod 600 root/.ssh/authorized_keys
ssh-keygen -lf root/.ssh/authorized_keys || {
    echo "Nobody could log in to the guest. Remedy: set the variable authorized_key to a public ssh key" >&2
    false
}
EOF

recipe_microstep ssh
recipe_write_file steps/debian/busybox.yaml:17 /etc/ssh/sshd_config.d/small.conf <<'EOF'
UsePAM no
EOF

recipe_microstep init
recipe_write_file steps/debian/busybox.yaml:19 /usr/sbin/init <<'EOF'
#!/bin/sh
exec /bin/busybox init
EOF
recipe_write_file steps/debian/busybox.yaml:24 /usr/sbin/poweroff <<'EOF'
#!/bin/sh
exec /bin/busybox poweroff
EOF
recipe_write_file steps/debian/busybox.yaml:29 /usr/sbin/reboot <<'EOF'
#!/bin/sh
exec /bin/busybox reboot
EOF
recipe_write_file steps/debian/busybox.yaml:34 /etc/inittab <<'EOF'
::sysinit:/etc/init.d/guest
::respawn:/usr/sbin/sshd -D
::respawn:/etc/init.d/guest-network
::respawn:/bin/busybox getty 0 console vt100
::ctrlaltdel:/bin/busybox reboot
::shutdown:/bin/sync
::shutdown:/bin/umount -a -r
EOF
recipe_write_file steps/debian/busybox.yaml:44 /etc/init.d/guest <<'EOF'
#!/bin/sh
mkdir -p /dev/pts /run/sshd
mount -t devpts devpts /dev/pts
mount -o remount,rw /
ip link set lo up
modprobe -qa button evdev
# A Xen guest has no button, is asked by its kernel; there acpid would end, and be started again every second.
[ ! -e /dev/input/event0 ] || /bin/busybox acpid -c /etc/acpi
[ -s /etc/ssh/ssh_host_ed25519_key ] || ssh-keygen -q -t ed25519 -N "" -f /etc/ssh/ssh_host_ed25519_key
EOF
recipe_exec_appliance steps/debian/busybox.yaml:56 <<'EOF'
chmod 755 usr/sbin/{init,poweroff,reboot} etc/init.d/guest
EOF

recipe_microstep network
recipe_write_file steps/debian/busybox.yaml:59 /etc/init.d/guest-network <<'EOF'
#!/bin/sh
for nic in /sys/class/net/e*; do nic=${nic##*/}; done
ip link set "$nic" up
exec /bin/busybox udhcpc -f -i "$nic" -O hostname -s /etc/udhcpc/guest.script
EOF
recipe_write_file steps/debian/busybox.yaml:66 /etc/udhcpc/guest.script <<'EOF'
#!/bin/sh
[ "$1" != bound ] || hostname "${hostname:-guest}"
exec /etc/udhcpc/default.script "$@"
EOF
recipe_exec_appliance steps/debian/busybox.yaml:72 <<'EOF'
chmod 755 etc/init.d/guest-network etc/udhcpc/guest.script
EOF

recipe_microstep power_button
recipe_exec_appliance steps/debian/busybox.yaml:75 <<'EOF'
mkdir -p etc/acpi/PWRF
EOF
recipe_write_file steps/debian/busybox.yaml:76 /etc/acpi/PWRF/00000080 <<'EOF'
#!/bin/sh
exec /sbin/poweroff
EOF
recipe_exec_appliance steps/debian/busybox.yaml:81 <<'EOF'
chmod 755 etc/acpi/PWRF/00000080
EOF

recipe_microstep modules
recipe_append_file steps/debian/busybox.yaml:84 /etc/initramfs-tools/modules <<'EOF'
virtio_net
xen_netfront
EOF

recipe_finish
""",
}

DEBIAN_13_AMD64_OAR_SERVER = {
    "oar": """\
#!/usr/bin/env bash
# oar of the recipe debian-13-amd64-oar-server, from steps/debian/oar.yaml. The build runs it as a whole; changes belong into that file.
set -Eeuo pipefail
. "$RECIPE_LIBRARY"

recipe_microstep identity
recipe_exec_appliance steps/debian/oar.yaml:5 <<'EOF'
rm -rf var/lib/oar/.ssh etc/oar/oar_ssh_host_*
EOF

recipe_microstep node
recipe_exec_chroot steps/debian/oar.yaml:7 <<'EOF'
systemctl --quiet disable oar-node.service
EOF

recipe_microstep server
recipe_exec_chroot steps/debian/oar.yaml:9 <<'EOF'
systemctl --quiet disable oar-server.service
EOF

recipe_microstep database
recipe_exec_chroot steps/debian/oar.yaml:11 <<'EOF'
pg_lsclusters --no-header | while read -r version name other; do pg_dropcluster "$version" "$name"; done
rm -f /etc/ssl/certs/ssl-cert-snakeoil.pem /etc/ssl/private/ssl-cert-snakeoil.key
find /etc/ssl/certs -xtype l -delete
EOF

recipe_finish
""",
}
