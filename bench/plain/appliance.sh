#!/usr/bin/env bash
# appliance.sh DIRECTORY: what the recipe debian-13-amd64-guest makes (vmlinuz, initrd.img, root.img), by mmdebstrap and hooks.
set -euo pipefail
[ "$(id -u)" = 0 ] || exec unshare --map-root-user --map-auto --mount --pid --fork "$0" "$@"
PATH=$PATH:/usr/sbin:/sbin

mkdir "$1"
cd "$1"
export DIRECTORY=$PWD TMPDIR=$PWD INITRD=No SOURCE_DATE_EPOCH=1754697600

apt_source() { apt-get indextargets --format '$(LABEL) $(COMPONENT) $(REPO_URI)' 'Created-By: Packages' | awk -v l="$1" '$1 == l && $2 == "main" && !n++ { print $3 }'; }
put() { mkdir -p "files/${1%/*}" && printf '%s\n' "${@:2}" >"files/$1"; }

put etc/fstab 'LABEL=root / ext4 errors=remount-ro,noatime 0 1'
put etc/systemd/network/80-dhcp.network '[Match]' Type=ether '' '[Network]' DHCP=yes
put etc/systemd/networkd.conf.d/guest.conf '[Network]' UseDomains=yes
put etc/systemd/system.conf.d/guest.conf '[Manager]' DefaultDeviceTimeoutSec=10min DefaultTimeoutStartSec=10min \
    DefaultEnvironment=SYSTEMD_BUS_TIMEOUT=10min
put etc/dbus-1/system.d/guest.conf '<busconfig><limit name="auth_timeout">600000</limit><limit name="service_start_timeout">600000</limit></busconfig>'
mkdir -p files/etc/systemd/system-generators
for name in gpt-auto hibernate-resume ssh tpm2; do ln -s /dev/null files/etc/systemd/system-generators/systemd-$name-generator; done
put etc/ssh/sshd_config.d/guest.conf 'HostKey /etc/ssh/ssh_host_ed25519_key' 'PasswordAuthentication no' 'UseDNS no'
put etc/cloud/cloud.cfg.d/90_guest.cfg 'datasource_list: [NoCloud, None]' 'disable_root: false' 'ssh_genkeytypes: [ed25519]' \
    'manage_etc_hosts: localhost' 'apt: {preserve_sources_list: true}' 'locale: false'
put etc/initramfs-tools/conf.d/appliance MODULES=list
put boot/grub/grub.cfg 'set timeout=0' 'search --no-floppy --label --set=root root' \
    'linux /vmlinuz root=LABEL=root ro console=tty0 console=ttyS0' 'initrd /initrd.img' boot
put etc/default/grub.d/appliance.cfg GRUB_TIMEOUT=0 'GRUB_CMDLINE_LINUX_DEFAULT="console=tty0 console=ttyS0"' GRUB_DISABLE_OS_PROBER=true

printf 'deb %s trixie main\ndeb %s trixie-security main\n' "$(apt_source Debian)" "$(apt_source Debian-Security)" |
    mmdebstrap --variant=apt --architectures=amd64 --include="ca-certificates cloud-guest-utils cloud-init dbus e2fsprogs grub-pc iproute2 \
linux-image-cloud-amd64 netbase openssh-server polkitd sudo systemd-resolved systemd-sysv systemd-timesyncd udev zstd" \
        --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
        --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-include=/usr/share/doc/*/copyright' \
        --customize-hook='cp -r "$DIRECTORY/files/." "$1"
            chroot "$1" sh -euc "
                systemctl --quiet enable systemd-networkd
                systemctl --quiet disable apt-daily.timer apt-daily-upgrade.timer
                printf \"%s\n\" ext4 virtio_pci virtio_mmio virtio_blk xen_blkfront >>/etc/initramfs-tools/modules
                version=\$(cd /lib/modules && echo *)
                update-initramfs -c -k \"\$version\"
                linux-update-symlinks install \"\$version\" \"/boot/vmlinuz-\$version\"
                mkdir -p /boot/grub/i386-pc
                cp /usr/lib/grub/i386-pc/*.mod /usr/lib/grub/i386-pc/*.lst /boot/grub/i386-pc/
                grub-mkimage -O i386-pc -p \"(hd0,gpt2)/boot/grub\" -o /boot/grub/i386-pc/core.img biosdisk part_gpt ext2
                rm -f /etc/hostname /etc/ssh/ssh_host_*
                : >/etc/machine-id
                touch /etc/.updated /var/.updated"
            cp "$1"/boot/vmlinuz-* "$DIRECTORY/vmlinuz"
            cp "$1"/boot/initrd.img-* "$DIRECTORY/initrd.img"' \
        trixie root -
rm -rf root/dev/*
truncate -s 1024M root.img
mke2fs -q -t ext4 -L root -m 1 -d root root.img
rm -rf root files
