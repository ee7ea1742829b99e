#!/usr/bin/env bash
# NAT, DHCP and DNS for the LAN, on the gateway.
# shellcheck source=bench/plain/common.sh
. "${BASH_SOURCE[0]%/*}/common.sh"

on "$GATEWAY" <<'EOS'
need dnsmasq nftables procps
public=$(interface "$PUBLIC_MAC")
private=$(interface "$PRIVATE_MAC")

# the private interface
put /etc/systemd/network/05-gateway-private.network <<END
[Match]
Name=$private

[Link]
RequiredForOnline=no-carrier

[Network]
Address=$GATEWAY_ADDRESS/$PREFIX
ConfigureWithoutCarrier=yes
DHCP=no
IPv6AcceptRA=no
LLMNR=no
MulticastDNS=no
DNS=$GATEWAY_ADDRESS
Domains=$DOMAIN
DNSDefaultRoute=no
END
systemctl --quiet enable systemd-networkd.service
networkctl reload

# the firewall, in a table of its own
put /etc/nft-table.d/gateway.nft <<END
table inet gateway
delete table inet gateway
table inet gateway {
  chain input {
    type filter hook input priority filter; policy accept;
    iifname "$public" ip daddr $NETWORK drop
    iifname "$public" ip saddr $NETWORK drop
    iifname "$public" meta l4proto { tcp, udp } th dport { 53, 67 } drop
  }
  chain forward {
    type filter hook forward priority filter; policy drop;
    ct state vmap { established : accept, related : accept, invalid : drop }
    iifname "$private" oifname "$public" ip saddr $NETWORK accept
  }
  chain postrouting {
    type nat hook postrouting priority srcnat; policy accept;
    oifname "$public" ip saddr $NETWORK masquerade
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
nft --check --file /etc/nft-table.d/gateway.nft
systemctl daemon-reload
systemctl --quiet enable --now nft-table@gateway.service
echo net.ipv4.ip_forward=1 | put /etc/sysctl.d/60-gateway.conf
sysctl --quiet --load /etc/sysctl.d/60-gateway.conf

# addresses and names
put /etc/dnsmasq.d/our-cloud-gateway.conf <<END
interface=$private
except-interface=lo
bind-dynamic
domain=$DOMAIN
local=/$DOMAIN/
domain-needed
bogus-priv
no-hosts
addn-hosts=/etc/dnsmasq-gateway.names
dhcp-authoritative
dhcp-range=$DHCP_RANGE,10m
dhcp-hostsfile=/etc/dnsmasq-gateway.reservations
dhcp-option=option:router,$GATEWAY_ADDRESS
dhcp-option=option:dns-server,$GATEWAY_ADDRESS
dhcp-option=option:domain-search,$DOMAIN
END
put /etc/systemd/system/dnsmasq.service.d/our-cloud-gateway-unit.conf <<'END'
[Service]
Environment=DNSMASQ_EXCEPT=lo IGNORE_RESOLVCONF=yes
Restart=on-failure
RestartSec=2
END
{
    while read -r name mac address; do echo "$mac,$address,$name"; done <<<"$MACHINES"
    while read -r name mac _ _ _ _ address; do [ "$address" = - ] && echo "$mac,$name" || echo "$mac,$address,$name"; done <<<"$GUESTS"
} | put /etc/dnsmasq-gateway.reservations
{
    while read -r name _ address; do echo "$address $name.$DOMAIN $name"; done <<<"$MACHINES"
    while read -r name _ _ _ _ _ address; do [ "$address" = - ] || echo "$address $name.$DOMAIN $name"; done <<<"$GUESTS"
} | put /etc/dnsmasq-gateway.names
systemctl daemon-reload
systemctl --quiet enable dnsmasq.service
systemctl restart dnsmasq.service
EOS
