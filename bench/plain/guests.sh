#!/usr/bin/env bash
# Images into the store, a disk for each guest, and the guests, of the kinds pvh and kvm.
# shellcheck source=bench/plain/common.sh
. "${BASH_SOURCE[0]%/*}/common.sh"

while read -r image folder; do
    tar --create --sparse --gzip --directory "$folder" vmlinuz initrd.img root.img |
        ssh -F "$SSH_CONFIG" -o BatchMode=yes "$STORE_SERVER" "set -e
            mkdir -p '$STORE/boot/$image/.new' '$STORE/images'
            cd '$STORE/boot/$image'
            tar --extract --sparse --gzip --directory .new
            mv -- .new/vmlinuz .new/initrd.img .
            mv -- .new/root.img '$STORE/images/$image.img'
            rmdir .new"
done <<<"$IMAGES"

on "$STORE_SERVER" <<'EOS'
while read -r name _ _ _ _ image _; do
    cp --sparse=always -- "$STORE/images/$image.img" "$STORE/images/$name.img"
done <<<"$GUESTS"
EOS

# Xen tells the LAN where a guest is by a hook of libvirt
read -ra xen <<<"$XEN"
read -ra kvm <<<"$KVM"
if [ ${#xen[@]} -gt 0 ]; then
    {
        echo "put /etc/libvirt/hooks/libxl.d/our-cloud-announce 755 <<'END'"
        echo "#!/usr/bin/perl"
        cat roles/guests/files/announce.pl
        echo END
        echo "systemctl restart libvirtd.service"
    } | on_each "${xen[@]}"
fi

on_each "${xen[@]}" "${kvm[@]}" <<'EOS'
while read -r name mac home kind memory image _; do
    [ "$home" = "$host" ] || continue
    common="<name>$name</name><memory unit='MiB'>$memory</memory><vcpu>1</vcpu>
        <on_poweroff>destroy</on_poweroff><on_reboot>restart</on_reboot><on_crash>destroy</on_crash>"
    boot="<kernel>$STORE/boot/$image/vmlinuz</kernel><initrd>$STORE/boot/$image/initrd.img</initrd>"
    disk="<source file='$STORE/images/$name.img'/>"
    nic="<mac address='$mac'/><source bridge='$BRIDGE'/>"
    if [ "$kind" = pvh ]; then
        put "/run/$name.xml" <<END
<domain type='xen'>$common
 <os><type arch='x86_64' machine='xenpvh'>xenpvh</type>$boot<cmdline>root=/dev/xvda ro console=hvc0</cmdline></os>
 <devices><disk type='file' device='disk'><driver name='phy' type='raw'/>$disk<target dev='xvda' bus='xen'/></disk>
 <interface type='bridge'>$nic</interface>
 <console type='pty'><target type='xen' port='0'/></console></devices></domain>
END
    else
        put "/run/$name.xml" <<END
<domain type='kvm'>$common
 <os><type arch='x86_64' machine='q35'>hvm</type>$boot<cmdline>root=/dev/vda ro console=ttyS0</cmdline></os>
 <features><acpi/></features>
 <devices><disk type='file' device='disk'><driver name='qemu' type='raw' cache='none' io='native' discard='unmap'/>$disk<target dev='vda' bus='virtio'/></disk>
 <controller type='usb' model='none'/>
 <interface type='bridge'>$nic<model type='virtio'/></interface>
 <console type='pty'><target type='serial' port='0'/></console>
 <rng model='virtio'><backend model='random'>/dev/urandom</backend></rng></devices></domain>
END
    fi
    virsh --quiet define --validate "/run/$name.xml"
    virsh --quiet start "$name"
    # past this host's page cache, or the guest could not be moved safely
    for loop in $(losetup -n -O NAME -j "$STORE/images/$name.img"); do losetup --direct-io=on "$loop"; done
done <<<"$GUESTS"
EOS
