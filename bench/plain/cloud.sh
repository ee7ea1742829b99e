#!/usr/bin/env bash
# The cloud, on a site with its layers 1 to 3: what cloud.yml makes there, all controllers on one machine and nodes whose switch runs in user space.
# $FILES has HOST.tar for each machine: configuration, units and certificates as the playbook has written them. Schemas are made side by side,
# and nodes beside the controllers, as far as one needs nothing of the other. What is in the way is not looked for.
set -euo pipefail

# on HOST < SCRIPT
on() {
    {
        declare -p FRONT_ADDRESS PUBLIC_ADDRESS NODE_NAMES NETWORK GATEWAY_ADDRESS FLOATING PRIVATE_NETWORK STORE REGION KEY
        cat
    } | ssh -F "$SSH_CONFIG" -o BatchMode=yes "$1" 'bash -euo pipefail -c "$(cat)"'
}

# unpack HOST: its files, and who believes the site's CA
unpack() {
    ssh -F "$SSH_CONFIG" -o BatchMode=yes "$1" 'groupadd --system our-cloud && groupadd --system our-cloud-ovs
        tar -C / -xpf - && update-ca-certificates >/dev/null && systemctl daemon-reload' <"$FILES/$1.tar"
}

# secrets NAME...: as variables of a script there
secrets() {
    local name
    for name in "$@"; do printf '%s=%q\n' "${name//-/_}" "$(cat "$SECRETS/$name")"; done
}

base() {
    unpack "$FRONT"
    {
        secrets database-{keystone,placement,nova,glance,cinder,neutron} user-{placement,nova,glance,swift,cinder,neutron} admin
        cat <<'EOS'
listens() { until (exec 3<>"/dev/tcp/$1/$2") 2>/dev/null; do sleep 0.2; done; }
as() { local user=$1; shift; setpriv --reuid "$user" --regid "$user" --init-groups env HOME=/var/lib/"$user" "$@"; }

systemctl --quiet enable mariadb rabbitmq-server memcached haproxy
systemctl restart epmd.socket mariadb rabbitmq-server memcached
listens "$FRONT_ADDRESS" 3306
{
    for service in keystone:keystone placement:placement nova:nova_api,nova_cell0,nova glance:glance cinder:cinder neutron:neutron; do
        user=${service%%:*} password=database_$user
        echo "CREATE USER '$user'@'%' IDENTIFIED BY '${!password}';"
        for database in $(tr , ' ' <<<"${service#*:}"); do
            echo "CREATE DATABASE $database CHARACTER SET utf8mb3; GRANT ALL PRIVILEGES ON \`${database//_/\\_}\`.* TO '$user'@'%';"
        done
    done
} | mariadb

# schemas
syncs=()
as keystone keystone-manage db_sync & keystone=$!
as placement placement-manage db sync & syncs+=($!)
as glance glance-manage db_sync >/dev/null 2>&1 & syncs+=($!)
as cinder cinder-manage db sync 2>/dev/null & syncs+=($!)
as neutron neutron-db-manage --config-file /etc/neutron/neutron.conf --config-file /etc/neutron/plugins/ml2/ml2_conf.ini \
    upgrade heads >/dev/null 2>&1 & syncs+=($!)
{
    database='{scheme}://{username}:{password}@{hostname}/%s?{query}'
    as nova nova-manage api_db sync
    # shellcheck disable=SC2059  # nova's templates have its place
    as nova nova-manage cell_v2 map_cell0 --database_connection "$(printf "$database" nova_cell0)"
    # shellcheck disable=SC2059
    as nova nova-manage cell_v2 create_cell --name cell1 --database_connection "$(printf "$database" nova)" \
        --transport-url '{scheme}://{username}:{password}@{hostname}:{port}/{path}'
    as nova nova-manage db sync
} >/dev/null & syncs+=($!)

# what needs no identity
install -d -o glance -g glance -m 750 "$STORE/glance"
install -d -o cinder -g cinder -m 751 "$STORE/cinder"
install -d "$STORE/swift"
install -d -o swift -g swift -m 750 "$STORE/swift/disk"
install -d -o nova -g nova "$STORE/nova" "$STORE/nova/instances"
for ring in account:6202 container:6201 object:6200; do
    builder=/etc/swift/${ring%:*}.builder
    swift-ring-builder "$builder" create 4 1 1 >/dev/null
    swift-ring-builder "$builder" add --region 1 --zone 1 --ip 127.0.0.1 --port "${ring#*:}" --device disk --weight 1 >/dev/null
    swift-ring-builder "$builder" rebalance >/dev/null || [ $? = 1 ]
done
systemctl --quiet mask --now rpcbind.socket rpcbind.service
systemctl --quiet enable --now "$(basename /etc/systemd/system/var-lib-cinder-mnt-*.mount)" our-cloud-objects.timer
systemctl --quiet enable ovn-ovsdb-server-nb ovn-ovsdb-server-sb ovn-northd ovn-central
systemctl start ovn-ovsdb-server-nb ovn-ovsdb-server-sb ovn-northd ovn-central
for database in ovn-nbctl:6641 ovn-sbctl:6642; do
    "${database%:*}" --inactivity-probe=60000 -- set-connection "pssl:${database#*:}:$FRONT_ADDRESS" -- \
        set-ssl /etc/our-cloud/host.key /etc/our-cloud/host.pem /etc/our-cloud/ca.pem
done

# identity
as keystone keystone-manage fernet_setup --keystone-user keystone --keystone-group keystone
as keystone keystone-manage credential_setup --keystone-user keystone --keystone-group keystone
wait "$keystone"
systemctl --quiet enable keystone
systemctl restart keystone haproxy
OS_BOOTSTRAP_PASSWORD=$admin as keystone keystone-manage bootstrap --bootstrap-region-id "$REGION" --bootstrap-admin-url "https://$FRONT_ADDRESS:5000/v3" \
    --bootstrap-internal-url "https://$FRONT_ADDRESS:5000/v3" --bootstrap-public-url "https://$PUBLIC_ADDRESS:5000/v3"
export FRONT_ADDRESS PUBLIC_ADDRESS REGION user_placement user_nova user_glance user_swift user_cinder user_neutron
python3 - <<'END'
import os
import openstack

identity = openstack.connect(cloud="admin").identity
services = {"placement": ("placement", 8778, ""), "nova": ("compute", 8774, "/v2.1"), "glance": ("image", 9292, ""), "neutron": ("network", 9696, ""),
            "swift": ("object-store", 8080, "/v1/AUTH_%(project_id)s"), "cinder": ("block-storage", 8776, "/v3")}
domain = identity.find_domain("Default").id
project = identity.create_project(name="service", description="The services of the cloud", domain_id=domain)
roles = {role.name: role for role in identity.roles()}
for name in {"service", "member", "reader"} - set(roles):
    roles[name] = identity.create_role(name=name)
for name, (kind, port, path) in services.items():
    service = identity.create_service(name=name, type=kind)
    for interface in ("public", "internal", "admin"):
        address = os.environ["PUBLIC_ADDRESS" if interface == "public" else "FRONT_ADDRESS"]
        identity.create_endpoint(service_id=service.id, interface=interface, region_id=os.environ["REGION"], url=f"https://{address}:{port}{path}")
    user = identity.create_user(name=name, password=os.environ["user_" + name], domain_id=domain, default_project_id=project.id)
    for role in ("admin", "service"):
        identity.assign_project_role_to_user(project, user, roles[role])
END

# the services
for sync in "${syncs[@]}"; do wait "$sync"; done
units=(placement-api nova-api nova-api-metadata nova-conductor nova-scheduler nova-serialproxy horizon glance-api swift-account swift-container
    swift-object swift-proxy cinder-api cinder-scheduler cinder-volume neutron-api neutron-periodic-workers neutron-ovn-maintenance-worker)
systemctl --quiet enable "${units[@]}"
systemctl restart "${units[@]}"
for port in 8774 8775 8776 8778 9292 9696 8080 8443; do listens 127.0.0.1 $port; done
EOS
    } | on "$FRONT"
}

# node NAME ADDRESS TUNNEL-ADDRESS MAC: the switch, and all but what needs the controllers
node() {
    unpack "$1"
    {
        printf 'name=%q address=%q tunnel=%q mac=%q\n' "$@"
        cat <<'EOS'
sysctl --quiet --load=/etc/sysctl.d/60-our-cloud-nc.conf
networkctl reload
systemctl --quiet enable ovsdb-server ovs-vswitchd openvswitch-switch ovn-controller ovn-host nft-table@nc
systemctl restart ovsdb-server
until [ -e /sys/class/net/ovs0/master ]; do sleep 0.1; done
ids=(system-id="$name" hostname="$name" ovn-remote="ssl:$FRONT_ADDRESS:6642" ovn-encap-type=geneve ovn-encap-ip="$tunnel" ovn-bridge=br-int
    ovn-bridge-mappings=physnet1:br-ex ovn-bridge-datapath-type=netdev ovn-cms-options=enable-chassis-as-gw ovn-monitor-all=true)
ovs-vsctl --no-wait -- set Open_vSwitch . "${ids[@]/#/external_ids:}" -- set-manager punix:/run/our-cloud-ovs/db.sock -- \
    set-ssl /etc/our-cloud/host.key /etc/our-cloud/host.pem /etc/our-cloud/ca.pem -- add-br br-ex -- \
    set Bridge br-ex datapath_type=netdev "other_config:hwaddr=\"$mac\"" -- add-port br-ex to-br0
systemctl restart ovs-vswitchd openvswitch-switch ovn-controller ovn-host nft-table@nc
EOS
    } | on "$1"
}

# compute NAME: when the controllers answer
compute() {
    on "$1" <<'EOS'
systemctl --quiet enable --now "$(basename /etc/systemd/system/var-lib-nova-mnt-*.mount)"
systemctl --quiet enable neutron-ovn-agent nova-compute
systemctl restart neutron-ovn-agent nova-compute
EOS
}

offer() {
    {
        secrets user-demo
        cat <<'EOS'
export NETWORK GATEWAY_ADDRESS FLOATING PRIVATE_NETWORK KEY user_demo
python3 - <<'END'
import os
import openstack

cloud = openstack.connect(cloud="admin")
network, first, last = cloud.network, *os.environ["FLOATING"].split("-")
lan = network.create_network(name="lan", is_shared=True, is_router_external=True, provider_network_type="flat", provider_physical_network="physnet1", mtu=1500)
network.create_subnet(name="lan", network_id=lan.id, ip_version=4, cidr=os.environ["NETWORK"], gateway_ip=os.environ["GATEWAY_ADDRESS"],
                      dns_nameservers=[os.environ["GATEWAY_ADDRESS"]], allocation_pools=[{"start": first, "end": last}])
private = network.create_network(name="private", is_shared=True)
subnet = network.create_subnet(name="private", network_id=private.id, ip_version=4, cidr=os.environ["PRIVATE_NETWORK"],
                               dns_nameservers=[os.environ["GATEWAY_ADDRESS"]])
router = network.create_router(name="private", external_gateway_info={"network_id": lan.id})
network.add_interface_to_router(router, subnet_id=subnet.id)
for name, rules in {"lan-dhcp": [("udp", 68, os.environ["GATEWAY_ADDRESS"] + "/32")],
                    "login": [("tcp", 22, "0.0.0.0/0"), ("icmp", None, "0.0.0.0/0")]}.items():
    group = network.create_security_group(name=name)
    for protocol, port, source in rules:
        network.create_security_group_rule(security_group_id=group.id, direction="ingress", ether_type="IPv4", protocol=protocol, port_range_min=port,
                                           port_range_max=port, remote_ip_prefix=source)
    network.create_rbac_policy(object_type="security_group", object_id=group.id, action="access_as_shared", target_project_id="*")
for name, memory, vcpus, disk in (("tiny", 128, 1, 1), ("small", 512, 1, 2), ("medium", 2048, 2, 10)):
    cloud.compute.create_flavor(name=name, ram=memory, vcpus=vcpus, disk=disk)
cloud.block_storage.create_type(name="store", description="Files in the site's store", extra_specs={"volume_backend_name": "store"}, is_public=True)
project = cloud.identity.create_project(name="demo", tags=["our-cloud"])
user = cloud.identity.create_user(name="demo", password=os.environ["user_demo"], default_project_id=project.id, description="our-cloud; keys: lab")
cloud.identity.assign_project_role_to_user(project, user, cloud.identity.find_role("member"))
cloud.compute.create_keypair(name="lab", public_key=os.environ["KEY"], user_id=user.id)
END
for name in $NODE_NAMES; do
    until mariadb -NBe "SELECT host FROM nova.services WHERE host = '$name' AND services.binary = 'nova-compute'" | grep -q .; do sleep 0.2; done
done
setpriv --reuid nova --regid nova --init-groups nova-manage cell_v2 discover_hosts --by-service
EOS
    } | on "$FRONT"
}

NODE_NAMES=$(awk '{ print $1 }' <<<"$NODES" | paste -sd ' ')
read -ra names <<<"$NODE_NAMES"
pids=()
while read -r name address tunnel mac; do
    node "$name" "$address" "$tunnel" "$mac" &
    pids+=($!)
done <<<"$NODES"
base
for pid in "${pids[@]}"; do wait "$pid"; done
pids=()
for name in "${names[@]}"; do
    compute "$name" &
    pids+=($!)
done
offer
for pid in "${pids[@]}"; do wait "$pid"; done
