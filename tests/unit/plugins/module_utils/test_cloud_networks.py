# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A cloud's networks: what is compared, in which order it is made, and what cannot be changed."""

from __future__ import annotations

import types

import pytest
from ansible_collections.our.cloud.plugins.module_utils._cloud import networks, session
from ansible_collections.our.cloud.plugins.module_utils._common.errors import CloudError

LAN = {"name": "lan", "shared": True, "external": True, "network_type": "flat", "physical_network": "physnet1", "segment": None, "mtu": 1500, "subnets": [
    {"name": "lan", "cidr": "10.1.0.0/24", "gateway": "10.1.0.1", "dns": ["10.1.0.1"], "pools": ["10.1.0.64-10.1.0.95"]}]}
PRIVATE = {"name": "private", "shared": True, "external": False, "subnets": [{"name": "private", "cidr": "10.250.0.0/20", "dns": ["10.1.0.1"]}]}
RULE = {"protocol": "udp", "port": 68, "remote": "10.1.0.1/32"}
WANTED = {
    "networks": [LAN, PRIVATE],
    "routers": [{"name": "private", "external_network": "lan", "subnets": ["private"]}],
    "security_groups": [{"name": "lan-dhcp", "description": "d", "shared": True, "rules": [RULE]}],
}
ALL = ["network lan", "subnet lan", "network private", "subnet private", "router private", "router private subnet private",
       "group lan-dhcp", "group lan-dhcp rule port 68, protocol udp, remote 10.1.0.1/32", "group lan-dhcp shared"]


def row(**values):
    return types.SimpleNamespace(**values)


class Network:
    """The network service: what it has, and what it was told."""

    def __init__(self, **has):
        self.has, self.calls = has, []

    def listed(self, kind):
        return lambda **dummy: self.has.get(kind, [])

    def __getattr__(self, name):
        if name in ("networks", "subnets", "routers", "security_groups", "rbac_policies", "ports"):
            return self.listed(name)

        def call(*args, **body):
            self.calls.append((name, args, body))
            return row(id=f"new-{body.get('name')}")

        return call


def cloud(**has):
    return row(network=Network(**has), current_project_id="p")


def full():
    return {
        "networks": [row(id="n1", name="lan", is_shared=True, is_router_external=True, mtu=1500, provider_network_type="flat",
                         provider_physical_network="physnet1"),
                     row(id="n2", name="private", is_shared=True, is_router_external=False, mtu=1442)],
        "subnets": [row(id="s1", name="lan", cidr="10.1.0.0/24", gateway_ip="10.1.0.1", dns_nameservers=["10.1.0.1"], is_dhcp_enabled=True,
                        allocation_pools=[{"start": "10.1.0.64", "end": "10.1.0.95"}]),
                    row(id="s2", name="private", cidr="10.250.0.0/20", gateway_ip="10.250.0.1", dns_nameservers=["10.1.0.1"], is_dhcp_enabled=True,
                        allocation_pools=[{"start": "10.250.0.2", "end": "10.250.15.254"}])],
        "routers": [row(id="r1", name="private", external_gateway_info={"network_id": "n1"})],
        "ports": [row(device_owner="network:router_gateway", fixed_ips=[{"subnet_id": "s1"}]),
                  row(device_owner="network:router_interface", fixed_ips=[{"subnet_id": "s2"}])],
        "security_groups": [row(id="g1", name="lan-dhcp", security_group_rules=[
            {"direction": "egress"}, {"direction": "ingress", "protocol": "udp", "port_range_min": 68, "remote_ip_prefix": "10.1.0.1/32"}])],
        "rbac_policies": [row(object_id="g1", target_project_id="*")],
    }


def test_all_is_made_in_order_and_known_by_its_new_id():
    empty = cloud()
    steps = networks.ensure(WANTED, False, lambda: empty)
    assert [step.thing for step in steps] == ALL
    calls = {(name, args): body for name, args, body in empty.network.calls}
    assert [name for name, dummy, dummy2 in empty.network.calls] == [
        "create_network", "create_subnet", "create_network", "create_subnet", "create_router", "add_interface_to_router",
        "create_security_group", "create_security_group_rule", "create_rbac_policy"]
    assert empty.network.calls[0][2] == {"name": "lan", "is_shared": True, "is_router_external": True, "mtu": 1500, "provider_network_type": "flat",
                                         "provider_physical_network": "physnet1"}
    assert empty.network.calls[1][2] == {
        "name": "lan", "network_id": "new-lan", "ip_version": 4, "cidr": "10.1.0.0/24", "dns_nameservers": ["10.1.0.1"], "is_dhcp_enabled": True,
        "gateway_ip": "10.1.0.1", "allocation_pools": [{"start": "10.1.0.64", "end": "10.1.0.95"}]}
    assert calls["create_router", ()] == {"name": "private", "external_gateway_info": {"network_id": "new-lan"}}
    assert calls["add_interface_to_router", ("new-private",)] == {"subnet_id": "new-private"}
    assert calls["create_rbac_policy", ()] == {"object_type": "security_group", "object_id": "new-lan-dhcp", "action": "access_as_shared",
                                               "target_project_id": "*"}


def test_what_is_there_is_left_alone():
    assert networks.ensure(WANTED, False, lambda: cloud(**full())) == []


def test_a_check_changes_nothing_and_says_the_same():
    empty = cloud()
    assert [step.thing for step in networks.ensure(WANTED, True, lambda: empty)] == ALL
    assert empty.network.calls == []


def test_a_check_without_a_cloud_says_that_all_would_be_made():
    def nobody():
        raise session.NotThere("gate", "cloud admin", "none")

    assert [step.thing for step in networks.ensure(WANTED, True, nobody)] == ALL
    with pytest.raises(session.NotThere):
        networks.ensure(WANTED, False, nobody)


@pytest.mark.parametrize("kind, number, change, call", [
    ("networks", 0, {"mtu": 1400}, ("update_network", ("n1",), {"mtu": 1500})),
    ("networks", 1, {"is_shared": False}, ("update_network", ("n2",), {"is_shared": True})),
    ("subnets", 0, {"allocation_pools": []}, ("update_subnet", ("s1",), {"allocation_pools": [{"start": "10.1.0.64", "end": "10.1.0.95"}]})),
    ("subnets", 1, {"dns_nameservers": ["10.1.0.9"]}, ("update_subnet", ("s2",), {"dns_nameservers": ["10.1.0.1"]})),
    ("routers", 0, {"external_gateway_info": None}, ("update_router", ("r1",), {"external_gateway_info": {"network_id": "n1"}})),
    ("ports", 1, {"fixed_ips": []}, ("add_interface_to_router", ("r1",), {"subnet_id": "s2"})),
    ("rbac_policies", 0, {"target_project_id": "other"}, ("create_rbac_policy", (), {
        "object_type": "security_group", "object_id": "g1", "action": "access_as_shared", "target_project_id": "*"})),
    ("security_groups", 0, {"security_group_rules": []}, ("create_security_group_rule", (), {
        "security_group_id": "g1", "direction": "ingress", "ether_type": "IPv4", "protocol": "udp", "port_range_min": 68, "port_range_max": 68,
        "remote_ip_prefix": "10.1.0.1/32"})),
], ids=lambda value: str(value)[:30])
def test_one_difference_is_one_call(kind, number, change, call):
    has = full()
    vars(has[kind][number]).update(change)
    there = cloud(**has)
    assert len(networks.ensure(WANTED, False, lambda: there)) == 1
    assert there.network.calls == [call]


@pytest.mark.parametrize("kind, change, says", [
    ("networks", {"provider_network_type": "vlan"}, "network lan: it has provider_network_type vlan, which cannot be changed"),
    ("subnets", {"cidr": "10.9.0.0/24"}, "subnet lan: it is 10.9.0.0/24, which cannot be changed to 10.1.0.0/24"),
])
def test_what_cannot_be_changed_is_refused(kind, change, says):
    has = full()
    vars(has[kind][0]).update(change)
    with pytest.raises(CloudError, match=says):
        networks.ensure(WANTED, False, lambda: cloud(**has))


def test_a_name_that_nothing_has():
    with pytest.raises(CloudError, match="network nowhere: there is none. Declare it before"):
        networks.ensure({"routers": [{"name": "r", "external_network": "nowhere"}]}, False, cloud)
