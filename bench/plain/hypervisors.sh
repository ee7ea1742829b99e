#!/usr/bin/env bash
# Bridge, Xen or KVM with libvirt, and relocation by TLS, on all hypervisors.
# shellcheck source=bench/plain/common.sh
. "${BASH_SOURCE[0]%/*}/common.sh"

read -ra xen <<<"$XEN"
read -ra kvm <<<"$KVM"
for host in "${xen[@]}" "${kvm[@]}"; do come_back "$host"; done

# the card becomes a port of the bridge, which has its MAC and so its address
on_each "${xen[@]}" "${kvm[@]}" <<'EOS'
read -r _ mac address < <(grep "^$host " <<<"$MACHINES")
put /etc/systemd/network/05-our-cloud-bridge.netdev <<END
[NetDev]
Name=$BRIDGE
Kind=bridge
MACAddress=$mac

[Bridge]
STP=false
ForwardDelaySec=0
END
put /etc/systemd/network/05-our-cloud-bridge.network <<END
[Match]
Name=$BRIDGE

[Link]
RequiredForOnline=routable

[Network]
DHCP=ipv4

[DHCPv4]
ClientIdentifier=mac
UseDomains=true
END
put /etc/systemd/network/05-our-cloud-nic.network <<END
[Match]
MACAddress=$mac
Type=ether

[Network]
Bridge=$BRIDGE
LinkLocalAddressing=no
END
systemctl --quiet enable systemd-networkd.service
networkctl reload
until ip -4 -oneline address show dev "$BRIDGE" | grep -q "inet $address/"; do sleep 1; done
EOS

xen_node() {
    on "$1" <<'EOS'
need xen-system-amd64 qemu-system-xen libvirt-daemon-system libvirt-daemon-driver-xen libvirt-clients python3-libvirt python3-lxml
put /etc/default/grub.d/our-cloud-xen.cfg <<'END'
XEN_OVERRIDE_GRUB_DEFAULT=1
GRUB_CMDLINE_XEN="$GRUB_CMDLINE_XEN dom0_mem=1024M,max:1024M"
END
put /etc/systemd/system/libvirtd.service.d/our-cloud-xen.conf <<'END'
[Unit]
Wants=xen.service
After=xen.service
END
systemctl --quiet disable xendomains.service
systemctl --quiet mask xendomains.service
update-grub 2>/dev/null
systemctl --quiet enable libvirtd.service
systemd-run --quiet --on-active=1 systemctl reboot
EOS
    come_back "$1" 'grep -q control_d /proc/xen/capabilities'
    on "$1" <<'EOS'
systemctl start libvirtd.service
xl info | grep -q 'virt_caps.*hvm.*hap'
EOS
}

kvm_node() {
    on "$1" <<'EOS'
module=$(grep -qw svm /proc/cpuinfo && echo kvm_amd || echo kvm_intel)
modprobe "$module"
echo "$module" | put "/etc/modules-load.d/$module.conf"
need apparmor qemu-system-x86 qemu-utils libvirt-daemon-system libvirt-daemon-driver-qemu libvirt-clients python3-libvirt python3-lxml
systemctl --quiet enable --now libvirtd.service
EOS
}

pids=()
for host in "${xen[@]}"; do xen_node "$host" & pids+=($!); done
for host in "${kvm[@]}"; do kvm_node "$host" & pids+=($!); done
for pid in "${pids[@]}"; do wait "$pid"; done

# relocation: a CA here, keys that stay on their hosts
umask 077
mkdir -p "$STATE"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:secp384r1 -noenc -days 3650 -subj "/CN=our.cloud relocation CA" \
    -addext "keyUsage=critical,keyCertSign,cRLSign" -keyout "$STATE/ca.key" -out "$STATE/ca.pem"

# certificate HOST DIRECTORY KEY CERT SUBJECT NAMES
certificate() {
    on "$1" <<EOS >"$STATE/$1.csr"
mkdir -p $2/private /etc/pki/CA
[ -e $3 ] || openssl ecparam -name prime256v1 -genkey -noout -out $3
chmod 600 $3
openssl req -new -key $3 -subj '$5'
EOS
    openssl x509 -req -in "$STATE/$1.csr" -CA "$STATE/ca.pem" -CAkey "$STATE/ca.key" -days 365 -out "$STATE/$1.pem" -extfile <(
        echo "subjectAltName=$6"
        echo "basicConstraints=critical,CA:FALSE"
        echo "keyUsage=critical,digitalSignature"
        echo "extendedKeyUsage=serverAuth,clientAuth"
    )
    { printf "put %s <<'END'\n" "$4"; cat "$STATE/$1.pem"; echo END; printf "put /etc/pki/CA/cacert.pem <<'END'\n"; cat "$STATE/ca.pem"; echo END; } | on "$1"
}

relocation() { # HOST PEERS
    local address
    address=$(awk -v host="$1" '$1 == host { print $3 }' <<<"$MACHINES")
    certificate "$1" /etc/pki/libvirt /etc/pki/libvirt/private/serverkey.pem /etc/pki/libvirt/servercert.pem "/CN=$1" "DNS:$1,DNS:$1.$DOMAIN,IP:$address"
    if [[ " $KVM " == *" $1 "* ]]; then
        certificate "$1" /etc/pki/qemu /etc/pki/qemu/server-key.pem /etc/pki/qemu/server-cert.pem "/CN=$1/OU=QEMU" "DNS:$1.qemu.invalid"
    fi
    { echo "peers='$2'"; cat; } <<'EOS' | on "$1"
ln -sf servercert.pem /etc/pki/libvirt/clientcert.pem
ln -sf serverkey.pem /etc/pki/libvirt/private/clientkey.pem
if [ -d /etc/pki/qemu ]; then
    chgrp libvirt-qemu /etc/pki/qemu/server-key.pem
    chmod 640 /etc/pki/qemu/server-key.pem
    ln -sf server-cert.pem /etc/pki/qemu/client-cert.pem
    ln -sf server-key.pem /etc/pki/qemu/client-key.pem
    ln -sf ../CA/cacert.pem /etc/pki/qemu/ca-cert.pem
fi
need python3-cryptography nftables
names='' addresses=''
for peer in $peers; do
    names="$names${names:+, }\"CN=$peer\""
    [ "$peer" = "$host" ] || addresses="$addresses${addresses:+, }$(awk -v peer="$peer" '$1 == peer { print $3 }' <<<"$MACHINES")"
done
address=$(awk -v host="$host" '$1 == host { print $3 }' <<<"$MACHINES")

put /etc/nft-table.d/relocation.nft <<END
table inet relocation
delete table inet relocation
table inet relocation {
  set peers {
    type ipv4_addr
    elements = { $addresses }
  }
  counter refused {}
  chain input {
    type filter hook input priority filter; policy accept;
    iifname "lo" accept
    ct state established,related accept
    ip saddr @peers tcp dport { 16514, 49152-49215 } accept
    tcp dport { 16514, 49152-49215 } counter name refused reject with tcp reset
  }
}
END
put /etc/systemd/system/nft-table@.service <<'END'
[Unit]
Description=nftables table inet %i
Documentation=man:nft(8)
After=nftables.service
Wants=network-pre.target
Before=network-pre.target
DefaultDependencies=no

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/sbin/nft -f /etc/nft-table.d/%i.nft
ExecReload=/usr/sbin/nft -f /etc/nft-table.d/%i.nft
ExecStop=-/usr/sbin/nft delete table inet %i

[Install]
WantedBy=sysinit.target
END
put /etc/systemd/system/nftables.service.d/our-cloud-tables.conf <<'END'
[Service]
ExecStartPost=/usr/sbin/nft 'include "/etc/nft-table.d/*.nft"'
ExecReload=/usr/sbin/nft 'include "/etc/nft-table.d/*.nft"'
END
nft --check --file /etc/nft-table.d/relocation.nft

put /etc/libvirt/our-cloud-libvirtd.conf <<END
ca_file = "/etc/pki/CA/cacert.pem"
cert_file = "/etc/pki/libvirt/servercert.pem"
key_file = "/etc/pki/libvirt/private/serverkey.pem"
tls_no_verify_certificate = 0
tls_allowed_dn_list = [ $names ]
auth_tls = "none"
END
put /etc/systemd/system/libvirtd.service.d/our-cloud-relocation.conf <<'END'
[Unit]
Wants=libvirtd-tls.socket
After=libvirtd-tls.socket

[Service]
Environment="LIBVIRTD_ARGS=--config /etc/libvirt/our-cloud-libvirtd.conf"
END
put /etc/systemd/system/libvirtd-tls.socket.d/our-cloud-relocation.conf <<END
[Socket]
ListenStream=
ListenStream=$address:16514
FreeBind=true
END
systemctl daemon-reload
systemctl --quiet enable --now nft-table@relocation.service
systemctl --quiet enable libvirtd-tls.socket
systemctl stop libvirtd.service libvirtd.socket libvirtd-ro.socket libvirtd-admin.socket libvirtd-tls.socket
systemctl start libvirtd.service
EOS
}

pids=()
for host in "${xen[@]}"; do relocation "$host" "$XEN" & pids+=($!); done
for host in "${kvm[@]}"; do relocation "$host" "$KVM" & pids+=($!); done
for pid in "${pids[@]}"; do wait "$pid"; done
