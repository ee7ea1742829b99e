#!/usr/bin/env bash
# The store's export on its server, its mount on all hypervisors.
# shellcheck source=bench/plain/common.sh
. "${BASH_SOURCE[0]%/*}/common.sh"

read -ra nodes <<<"$XEN $KVM"
for host in "$STORE_SERVER" "${nodes[@]}"; do come_back "$host"; done

on "$STORE_SERVER" <<'EOS'
for unit in rpcbind.socket rpcbind.service; do ln -sf /dev/null "/etc/systemd/system/$unit"; done
systemctl daemon-reload
systemctl stop rpcbind.socket rpcbind.service
need nfs-kernel-server
mkdir -p "$STORE/images" "$STORE/boot"
[ -e "$STORE/.our-cloud-store" ] || put "$STORE/.our-cloud-store" 444 </proc/sys/kernel/random/uuid
put /etc/nfs.conf.d/our-cloud.conf <<'END'
[nfsd]
vers2=n
vers3=n
vers4=y
END
echo "$STORE $NETWORK(rw,sync,no_subtree_check,no_root_squash)" | put /etc/exports.d/our-cloud.exports
systemctl --quiet enable nfs-server.service
systemctl restart nfs-server.service
exportfs -ra
EOS

on_each "${nodes[@]}" <<'EOS'
for unit in rpcbind.socket rpcbind.service; do ln -sf /dev/null "/etc/systemd/system/$unit"; done
systemctl daemon-reload
systemctl stop rpcbind.socket rpcbind.service
need nfs-common
unit=$(systemd-escape --path "$STORE")
put "/etc/systemd/system/$unit.mount" <<END
[Unit]
Description=Image store

[Mount]
What=$STORE_ADDRESS:$STORE
Where=$STORE
Type=nfs4
Options=_netdev,hard,noatime,nosuid,nodev
END
put "/etc/systemd/system/$unit.automount" <<END
[Unit]
Description=Image store, mounted on first use

[Automount]
Where=$STORE

[Install]
WantedBy=remote-fs.target
END
systemctl daemon-reload
systemctl --quiet enable --now "$unit.automount"
cat "$STORE/.our-cloud-store" >/dev/null
EOS
