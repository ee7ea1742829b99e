# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The addresses of a cloud: its ranges of the LAN, its own networks, the ends of its tunnels."""

from __future__ import annotations

import pytest
from ansible_collections.our.cloud.plugins.module_utils._site.address_plan import address_range, parse_network, tunnel_address, tunnel_mac
from ansible_collections.our.cloud.plugins.module_utils._site.cloud_addresses import cloud_addresses

MACHINES = [
    {"name": "gate", "mac": "", "address": "10.1.0.1"},
    {"name": "left", "mac": "", "address": "10.1.0.11"},
    {"name": "right", "mac": "", "address": "10.1.0.12"},
    {"name": "laptop", "mac": "52:54:00:00:00:01", "address": ""},
]
GOOD = {"floating": "10.1.0.64-10.1.0.95", "static": "10.1.0.96-10.1.0.99", "private": "10.250.0.0/20", "tunnels": "10.2.0.0/24",
        "nodes": ["right", "left"], "routers": ["gate"], "guests": [{"name": "web", "address": "10.1.0.50"}, {"name": "job"}]}


def made(machines=None, **more):
    return cloud_addresses(MACHINES if machines is None else machines, **{"network": "10.1.0.0/24", **GOOD, **more})


def test_what_a_cloud_has():
    assert made() == {
        "problems": [],
        "floating": {"start": "10.1.0.64", "end": "10.1.0.95"},
        "static": {"start": "10.1.0.96", "end": "10.1.0.99"},
        "tunnels": [{"name": "left", "mac": tunnel_mac("left"), "address": "10.2.0.11", "prefix": 24},
                    {"name": "right", "mac": tunnel_mac("right"), "address": "10.2.0.12", "prefix": 24}],
    }


def test_nothing_is_asked_for_nothing_is_wrong():
    assert cloud_addresses(MACHINES, "10.1.0.0/24", nodes=["left"]) == {"problems": [], "floating": {}, "static": {}, "tunnels": []}


@pytest.mark.parametrize("more, says", [
    ({"floating": "10.1.0.64"}, "cc_floating_range: '10.1.0.64' is not a range: write its first and its last address with a hyphen between."),
    ({"floating": "10.1.0.95-10.1.0.64"}, "cc_floating_range: 10.1.0.95-10.1.0.64 begins after its end: write the lower address first."),
    ({"floating": "10.1.1.1-10.1.1.9"}, "cc_floating_range: 10.1.1.1 is outside of 10.1.0.0/24: take an address of that network."),
    ({"floating": "10.1.0.120-10.1.0.128"}, "cc_floating_range 10.1.0.120-10.1.0.128 overlaps the DHCP server's range (gateway_dhcp_range_start, "
     "gateway_dhcp_range_end), 10.1.0.128-10.1.0.254: an address would be given away twice. Move one of them."),
    ({"range_start": "10.1.0.90", "range_end": "10.1.0.92"}, "cc_floating_range 10.1.0.64-10.1.0.95 overlaps the DHCP server's range "
     "(gateway_dhcp_range_start, gateway_dhcp_range_end), 10.1.0.90-10.1.0.92: an address would be given away twice. Move one of them."),
    ({"floating": "10.1.0.92-10.1.0.95", "range_start": "10.1.0.90", "range_end": "10.1.0.92"}, "cc_floating_range 10.1.0.92-10.1.0.95 overlaps the DHCP "
     "server's range (gateway_dhcp_range_start, gateway_dhcp_range_end), 10.1.0.90-10.1.0.92: an address would be given away twice. Move one of them."),
    ({"range_start": "10.1.0.90", "routers": []}, "cc_floating_range 10.1.0.64-10.1.0.95 overlaps the DHCP server's range (gateway_dhcp_range_start, "
     "gateway_dhcp_range_end), 10.1.0.90-10.1.0.254: an address would be given away twice. Move one of them."),
    ({"floating": "10.1.0.64-10.1.0.128", "range_end": "10.1.0.129", "routers": []}, "cc_floating_range 10.1.0.64-10.1.0.128 overlaps the DHCP server's "
     "range (gateway_dhcp_range_start, gateway_dhcp_range_end), 10.1.0.128-10.1.0.129: an address would be given away twice. Move one of them."),
    ({"range_start": "x"}, "The DHCP server's range: 'x' is not an IPv4 address: write one of 10.1.0.0/24."),
    ({"static": "10.1.0.90-10.1.0.99"}, "cc_static_range 10.1.0.90-10.1.0.99 overlaps cc_floating_range, 10.1.0.64-10.1.0.95: an address would be given "
     "away twice. Move one of them."),
    ({"static": "10.1.0.10-10.1.0.11"}, "cc_static_range 10.1.0.10-10.1.0.11 has the address 10.1.0.11 of host left in it: move the range or the address."),
    ({"static": "10.1.0.50-10.1.0.51"}, "cc_static_range 10.1.0.50-10.1.0.51 has the address 10.1.0.50 of guest web in it: move the range or the address."),
    ({"private": "10.1.0.128/25"}, "cc_private_network 10.1.0.128/25 overlaps the LAN 10.1.0.0/24: take a network that is used nowhere else."),
    ({"tunnels": "10.250.1.0/24"}, "nc_tunnel_network 10.250.1.0/24 overlaps cc_private_network 10.250.0.0/20: take a network that is used nowhere else."),
    ({"tunnels": "10.2.0.0/29"}, "right: nc_tunnel_network 10.2.0.0/29 is too small for the host part of 10.1.0.12: make it as large as the LAN (/24)."),
    ({"private": "10.250.0.1/20"}, "cc_private_network: 10.250.0.1/20 is an address in a network: write 10.250.0.0/20."),
    ({"nodes": ["laptop"]}, "laptop has no site_address: a node controller needs one."),
    ({"network": "10.1.0.0"}, "The LAN: site_network '10.1.0.0' has no length: write a network such as 192.168.77.0/24."),
], ids=lambda value: str(value)[:40])
def test_faults_are_said_with_their_remedy(more, says):
    assert says in made(**more)["problems"]


def test_an_absent_guest_and_an_unknown_dhcp_server_take_nothing():
    assert made(static="10.1.0.50-10.1.0.51", guests=[{"name": "web", "address": "10.1.0.50", "state": "absent"}])["problems"] == []
    assert made(floating="10.1.0.120-10.1.0.140", routers=[])["problems"] == []


def test_an_address_that_is_none_is_left_to_the_address_plan():
    assert made(machines=[*MACHINES, {"name": "odd", "mac": "", "address": "10.1.0"}])["problems"] == []


def test_a_tunnel_s_end_has_the_host_part_of_the_lan():
    assert str(tunnel_address("10.1.3.7", "10.1.0.0/16", "10.9.0.0/16")) == "10.9.3.7/16"
    with pytest.raises(ValueError, match="overlaps the LAN"):
        tunnel_address("10.1.0.7", "10.1.0.0/24", "10.1.0.0/16")


def test_a_tunnel_s_mac_address_is_the_node_s_and_nobody_else_s():
    assert tunnel_mac("left") == tunnel_mac("left") != tunnel_mac("right")
    assert tunnel_mac("left").startswith("02:") and len(tunnel_mac("left")) == 17


def test_a_range_of_one_address():
    assert [str(part) for part in address_range("10.1.0.5-10.1.0.5", parse_network("10.1.0.0/24"))] == ["10.1.0.5", "10.1.0.5"]
