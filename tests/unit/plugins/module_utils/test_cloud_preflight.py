# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a cloud can be made: faults of an inventory and of machines, each with its words."""

from __future__ import annotations

import pytest
from ansible_collections.our.cloud.plugins.filter.cloud_preflight import cloud_preflight
from ansible_collections.our.cloud.plugins.module_utils._cloud import preflight

ALL = ["front", "n1", "n2"]
GROUPS = {"all": ALL, "gateway": ["front"], "clc": ["front"], "walrus": ["front"], "sc": ["front"], "cc": ["front"], "kvm": ["n1", "n2"], "nc": ["n1", "n2"]}
LAN = {"site_network": "10.1.2.0/24", "site_store": "/srv/cloud"}
HOSTVARS = {"front": {"site_address": "10.1.2.1", **LAN}, "n1": {"site_address": "10.1.2.11", "site_mac": "52:54:00:00:00:0B", **LAN},
            "n2": {"site_address": "10.1.2.12", **LAN}}
MACHINE = {"memory": 8000, "swap": 0, "virtualization": True, "macs": ["52:54:00:00:00:0b"], "hostname": "n1", "unresolved": [], "clock": [0.0, 0.2],
           "store": "f00", "system_id": "", "time": 1.5}


def judged(groups=None, hostvars=None):
    groups = dict(GROUPS, **(groups or {}))
    merged = {host: dict(HOSTVARS.get(host, {"site_address": "10.1.2.99", **LAN}), **(hostvars or {}).get(host, {})) for host in
              {host for hosts in groups.values() for host in hosts}}
    return cloud_preflight(merged, groups)


def looked(check=False, hostvars=None, groups=None, **changes):
    facts = {host: dict(MACHINE, **changes.get(host, {})) for host in ALL}
    merged = {host: dict(HOSTVARS[host], **(hostvars or {}).get(host, {})) for host in ALL}
    return cloud_preflight(merged, dict(GROUPS, **(groups or {})), facts=facts, check=check)


def test_a_good_inventory():
    assert judged() == []
    assert judged(hostvars={"front": {"cc_floating_range": "10.1.2.64-10.1.2.95", "cc_static_range": "10.1.2.96 - 10.1.2.99",
                                      "cc_private_network": "10.250.0.0/20"}, "n1": {"nc_tunnel_network": "10.1.3.0/24"}}) == []


def test_a_site_without_a_cloud():
    assert cloud_preflight({}, {"all": ["x"], "kvm": ["x"]}) == []


@pytest.mark.parametrize("groups, words", [
    ({"clc": ["front", "n1"]}, "The group clc has 2 hosts (front, n1)"),
    ({"walrus": ["front", "n1"]}, "a cloud has one walrus"),
    ({"sc": ["front", "n1"]}, "a cloud has one sc"),
    ({"clc": []}, "The inventory has walrus, sc, cc, nc and no clc"),
    ({"walrus": []}, "ncs and no walrus"),
    ({"cc": []}, "ncs and no cc"),
    ({"xen": ["n1"], "kvm": ["n2"]}, "n1 is a Xen node and in the group nc: OpenStack's nova does not drive Xen"),
    ({"kvm": ["n2"]}, "n1 is in the group nc and not in kvm"),
])
def test_groups(groups, words):
    faults = judged(groups)
    assert len(faults) == 1 and words in faults[0]


def test_groups_that_are_not_there():
    assert preflight.group_faults({"clc": ["front"]}) == []
    assert preflight.lan_faults({"clc": ["front"]}, {}, {}) == []


def test_addresses():
    assert judged(hostvars={"n2": {"site_address": None}}) == ["n2 has no site_address, by which the cloud's services connect: give it one in the inventory."]
    assert judged(hostvars={"n2": {"site_address": "10.1.2.11"}}) == ["n1 and n2 have the same site_address 10.1.2.11: change one of them."]


@pytest.mark.parametrize("told, words", [
    ({"cc_floating_range": "10.1.2.64-10.1.2.140"}, "cc_floating_range (10.1.2.64-10.1.2.140) overlaps the gateway's range"),
    ({"cc_floating_range": "10.1.2.200"}, "cc_floating_range (10.1.2.200) overlaps the gateway's range"),
    ({"cc_static_range": "10.1.3.1-10.1.3.9"}, "cc_static_range (10.1.3.1-10.1.3.9) is not inside of the LAN 10.1.2.0/24"),
    ({"cc_floating_range": "10.1.2.64-10.1.2.70", "cc_static_range": "10.1.2.70-10.1.2.80"},
     "cc_static_range (10.1.2.70-10.1.2.80) overlaps cc_floating_range (10.1.2.64-10.1.2.70)"),
    ({"cc_floating_range": "10.1.2.2-10.1.2.11"}, "has 10.1.2.11, the address of n1"),
    ({"cc_floating_range": "10.1.2.50-10.1.2.60"}, "the address of guest vm"),
    ({"cc_floating_range": "10.1.2.64-10.1.2.60"}, "begins after its end"),
    ({"cc_floating_range": "10.1.2.0/26"}, "is no range of IPv4 addresses"),
    ({"cc_private_network": "10.1.0.0/16"}, "cc_private_network 10.1.0.0/16 overlaps the LAN (site_network) 10.1.2.0/24"),
    ({"cc_private_network": "10.250"}, "cc_private_network 10.250 is no network"),
    ({"gateway_dhcp_range_start": "10.1.2.60", "gateway_dhcp_range_end": "10.1.2.70", "cc_floating_range": "10.1.2.64-10.1.2.95"}, "overlaps"),
    ({"site_network": ""}, "is no network"),
])
def test_ranges(told, words):
    guests = [{"name": "vm", "address": "10.1.2.50"}, {"name": "gone", "address": "10.1.2.65", "state": "absent"}, {"name": "free"}]
    faults = judged(hostvars={"front": {"guests": guests, **told}})
    assert len(faults) == 1 and words in faults[0]


def test_networks_of_the_clouds_own():
    faults = judged(hostvars={"front": {"cc_private_network": "10.250.0.0/20"}, "n2": {"nc_tunnel_network": "10.250.1.0/24"}})
    assert faults == ["nc_tunnel_network 10.250.1.0/24 overlaps cc_private_network 10.250.0.0/20: take another network for nc_tunnel_network."]


def test_the_gateways_range_of_the_inventory():
    told = {"front": {"gateway_dhcp_range_start": "10.1.2.60", "gateway_dhcp_range_end": "10.1.2.70", "cc_floating_range": "10.1.2.200-10.1.2.210"}}
    assert judged(hostvars=told) == []
    assert preflight.dynamic_range(preflight.ipaddress.IPv4Network("10.1.2.0/24"), "x", "") is None


def test_good_machines():
    assert looked() == []


@pytest.mark.parametrize("host, change, words", [
    ("front", {"memory": 1024, "swap": 512}, "front has 1024 MiB of memory and 512 of swap, and its part of the cloud takes 2900 "
                                             "(clc 1200, walrus 450, sc 400, cc 550, the system 300)"),
    ("n1", {"memory": 512}, "takes 800 (nc 500, the system 300)"),
    ("n2", {"virtualization": False}, "n2 offers no hardware virtualization"),
    ("n1", {"macs": ["52:54:00:00:00:ff"]}, "n1 has no network card with the MAC address 52:54:00:00:00:0b (site_mac); it has 52:54:00:00:00:ff"),
    ("n1", {"unresolved": ["n1"]}, "n1 cannot resolve n1, its own name"),
    ("n2", {"unresolved": ["cloud.test"]}, "n2 cannot resolve cloud.test, which cloud_public_host says"),
    ("n2", {"clock": [30.0, 31.0]}, "The clock of n2 is 30 s or more ahead of that of"),
    ("n2", {"clock": [-31.0, -30.0]}, "30 s or more ahead of that of n2"),
    ("n2", {"store": ""}, "n2 has no store at /srv/cloud"),
    ("n2", {"store": "bad"}, "/srv/cloud is not the same store on all machines: bad on n2; f00 on front, n1"),
])
def test_a_machine(host, change, words):
    faults = looked(**{host: change})
    assert len(faults) == 1 and words in faults[0]


def test_clocks_within_the_answers_time_prove_nothing():
    assert looked(n2={"clock": [-20.0, 14.0]}) == []


def test_emulation_may_be_allowed():
    assert looked(n2={"virtualization": False}, hostvars={"n2": {"kvm_allow_emulation": "yes"}}) == []


def test_one_identity():
    faults = looked(n1={"system_id": "abc"}, n2={"system_id": "abc"})
    assert len(faults) == 1 and "n1 and n2 have the same Open vSwitch system-id abc" in faults[0] and "On n2: `rm" in faults[0]


def test_a_store_of_another_path():
    assert "site_store differs" in looked(hostvars={"n1": {"site_store": "/srv/other"}})[0]


def test_in_a_check_the_store_and_names_may_be_to_come():
    assert looked(check=True, n1={"store": "", "unresolved": ["n1"]}, n2={"store": ""}) == []
    assert len(looked(check=True, n1={"store": "bad"})) == 1


def test_who_is_left_out_is_not_judged():
    assert cloud_preflight(HOSTVARS, GROUPS, facts={"n1": dict(MACHINE)}) == []
