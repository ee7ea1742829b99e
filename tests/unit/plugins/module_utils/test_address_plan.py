# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import ipaddress

import pytest
from ansible_collections.our.cloud.plugins.module_utils._site import address_plan

MACHINES = [
    {"name": "front", "mac": "52:54:00:00:01:01", "address": "10.1.2.1"},
    {"name": "left", "mac": "52:54:00:00:01:02", "address": "10.1.2.2"},
    {"name": "right", "mac": "52-54-00-00-01-0A", "address": "10.1.2.3"},
]
LINKS = [
    {"ifname": "lo", "link_type": "loopback", "address": "00:00:00:00:00:00", "addr_info": [{"family": "inet", "local": "127.0.0.1", "prefixlen": 8}]},
    {
        "ifname": "eth0",
        "link_type": "ether",
        "address": "52:54:00:00:00:01",
        "addr_info": [
            {"family": "inet", "local": "192.0.2.5", "prefixlen": 24},
            {"family": "inet6", "local": "fe80::5054:ff:fe00:1", "prefixlen": 64},
        ],
    },
    {"ifname": "eth1", "link_type": "ether", "address": "52:54:00:00:01:01", "addr_info": []},
]
ROUTES = [{"dst": "default", "gateway": "192.0.2.1", "dev": "eth0", "protocol": "dhcp"}]


def plan(**changes):
    """The plan of a good site, with changes."""
    arguments = {
        "machines": MACHINES,
        "gateway": "front",
        "address": "10.1.2.1",
        "network": "10.1.2.0/24",
        "domain": "lan.test",
        "range_start": "10.1.2.128",
        "range_end": "10.1.2.254",
        "links": LINKS,
        "routes": ROUTES,
        "public": {"name": "eth0"},
        "private": {"mac": "52:54:00:00:01:01"},
    }
    arguments.update(changes)
    return address_plan.make_plan(**arguments).plain()


def with_machine(**machine):
    return MACHINES + [{"name": "extra", "mac": "", "address": "", **machine}]


def test_good_plan():
    result = plan(
        guests=[
            {"name": "still", "address": "10.1.2.50", "mac": "00:16:3E:00:00:50"},
            {"name": "moving"},
            {"name": "gone", "address": "10.1.2.1", "state": "absent"},
        ]
    )
    assert result == {
        "problems": [],
        "public": "eth0",
        "private": "eth1",
        "names": [
            {"name": "front", "address": "10.1.2.1"},
            {"name": "left", "address": "10.1.2.2"},
            {"name": "right", "address": "10.1.2.3"},
            {"name": "still", "address": "10.1.2.50"},
        ],
        "reservations": [
            {"name": "still", "mac": "00:16:3e:00:00:50", "address": "10.1.2.50"},
            {"name": "moving", "mac": address_plan.guest_mac("moving"), "address": ""},
            {"name": "left", "mac": "52:54:00:00:01:02", "address": "10.1.2.2"},
            {"name": "right", "mac": "52:54:00:00:01:0a", "address": "10.1.2.3"},
        ],
    }


def test_hosts_with_half_of_the_values():
    result = plan(
        machines=with_machine(name="roaming.lan.test", mac="52:54:00:00:01:0b")
        + [{"name": "named", "mac": "", "address": "10.1.2.9"}]
    )
    assert result["problems"] == []
    # and the gateway has none
    assert result["reservations"] == [
        {"name": "left", "mac": "52:54:00:00:01:02", "address": "10.1.2.2"}, {"name": "right", "mac": "52:54:00:00:01:0a", "address": "10.1.2.3"},
        {"name": "roaming", "mac": "52:54:00:00:01:0b", "address": ""}]
    assert {"name": "named", "address": "10.1.2.9"} in result["names"]


def test_a_host_of_another_domain_is_found_by_its_whole_name():
    """The others call it as the inventory does."""
    result = plan(machines=MACHINES + [{"name": name, "mac": "", "address": address} for name, address in (
        ("Barney.example.org", "10.1.2.9"), ("lenny.lan.test", "10.1.2.8"))])
    assert result["problems"] == []
    assert {"name": "barney", "address": "10.1.2.9", "whole": "barney.example.org"} in result["names"]
    assert {"name": "lenny", "address": "10.1.2.8"} in result["names"]
    wrong = plan(machines=MACHINES + [{"name": "barney.ex ample.org", "mac": "", "address": "10.1.2.9"}])["problems"]
    assert wrong == ["Host barney.ex ample.org: 'barney.ex ample.org' cannot be a host name: use letters, digits and hyphens, at most 63."]


def test_the_smallest_lan():
    result = plan(
        machines=[], address="10.1.2.1", network="10.1.2.0/30", range_start="10.1.2.2", range_end="10.1.2.2", guests=[{"name": "only"}]
    )
    assert result["problems"] == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"network": "10.1.2.0"}, "gateway_network '10.1.2.0' has no length"),
        ({"network": ""}, "gateway_network '' has no length"),
        ({"network": None}, "gateway_network 'None' has no length"),
        ({"network": "ten/24"}, "'ten/24' is not an IPv4 network"),
        ({"network": "10.1.2.0/33"}, "'10.1.2.0/33' is not an IPv4 network"),
        ({"network": "fd00::/64"}, "'fd00::/64' is not an IPv4 network"),
        ({"network": "10.1.2.7/24"}, "10.1.2.7/24 is an address in a network: write 10.1.2.0/24"),
        ({"network": "10.1.2.0/31"}, "10.1.2.0/31 has no room"),
        ({"domain": "lan_test"}, "gateway_domain 'lan_test' is not a domain"),
        ({"domain": "lan.test\n"}, "is not a domain"),
        ({"guests": [{"name": "web\n"}]}, "Guest web"),
        ({"domain": ""}, "gateway_domain '' is not a domain"),
        ({"address": ""}, "Gateway front: gateway_address '' is not an IPv4 address"),
        ({"address": "10.1.3.1"}, "Gateway front: gateway_address 10.1.3.1 is outside of 10.1.2.0/24"),
        ({"machines": with_machine(address="10.1.2")}, "Host extra: site_address '10.1.2' is not an IPv4 address"),
        ({"machines": with_machine(address="10.1.2.300")}, "Host extra: site_address '10.1.2.300' is not"),
        ({"machines": with_machine(address="10.1.9.9")}, "Host extra: site_address 10.1.9.9 is outside of 10.1.2.0/24"),
        ({"machines": with_machine(address="10.1.2.0")}, "10.1.2.0 is the address of the network 10.1.2.0/24 itself"),
        ({"machines": with_machine(address="10.1.2.255")}, "10.1.2.255 is the broadcast address of 10.1.2.0/24"),
        (
            {"machines": with_machine(address="10.1.2.2")},
            "Host left and Host extra have the same address 10.1.2.2: change site_address of one of them.",
        ),
        (
            {"machines": with_machine(address="10.1.2.1")},
            "Gateway front and Host extra have the same address 10.1.2.1",
        ),
        (
            {"machines": with_machine(mac="52-54-00-00-01-02")},
            "Host left and Host extra have the same MAC address 52:54:00:00:01:02: change site_mac of one of them.",
        ),
        (
            {"machines": with_machine(mac="52:54:00:00:01:01")},
            "Gateway front and Host extra have the same MAC address 52:54:00:00:01:01",
        ),
        ({"machines": [{"name": "front", "mac": "52:54"}]}, "Gateway front: site_mac '52:54' is not a MAC address"),
        ({"machines": with_machine(mac="52:54:00:00:01")}, "Host extra: site_mac '52:54:00:00:01' is not a MAC address"),
        ({"machines": with_machine(mac="01:54:00:00:01:09")}, "Host extra: site_mac 01:54:00:00:01:09 is a multicast address"),
        ({"machines": with_machine(mac="00:00:00:00:00:00")}, "belongs to no machine"),
        ({"machines": with_machine(mac=41047642862)}, "Host extra: site_mac was read by YAML as the number 41047642862"),
        ({"machines": with_machine(name="no_name", mac="52:54:00:00:01:09")}, "Host no_name: 'no_name' cannot be a host name"),
        ({"machines": with_machine(name="10.1.2.9", address="10.1.2.9")}, "10.1.2.9 is an address or a number, not a name"),
        (
            {"machines": with_machine(name="left.lan.test", mac="52:54:00:00:01:09")},
            "Host left and Host left.lan.test have the same name left: rename one of them.",
        ),
        ({"guests": [{"name": "left"}]}, "Host left and Guest left have the same name left"),
        ({"guests": [{"name": "guest", "address": "10.1.2.3"}]}, "Host right and Guest guest have the same address 10.1.2.3"),
        ({"guests": [{"name": "guest", "address": "10.9.9.9"}]}, "Guest guest: address 10.9.9.9 is outside"),
        ({"guests": [{"name": "guest", "mac": "nonsense"}]}, "Guest guest: mac 'nonsense' is not a MAC address"),
        (
            {"guests": [{"name": "guest", "mac": address_plan.guest_mac("other")}, {"name": "other"}]},
            "Guest guest and Guest other have the same MAC address",
        ),
        ({"guests": [{"host": "left"}]}, "A guest has no name"),
        ({"guests": ["our-vm"]}, "A guest has no name"),
        ({"range_start": "10.1.1.128"}, "The dynamic range: gateway_dhcp_range_start 10.1.1.128 is outside of 10.1.2.0/24"),
        ({"range_end": "10.1.2.255"}, "The dynamic range: gateway_dhcp_range_end 10.1.2.255 is the broadcast address"),
        ({"range_end": False}, "The dynamic range: gateway_dhcp_range_end 'False' is not an IPv4 address"),
        ({"range_start": "10.1.2.200", "range_end": "10.1.2.100"}, "begins at 10.1.2.200 after its end 10.1.2.100: swap"),
        (
            {"range_start": "10.1.2.2"},
            "Host left: its address 10.1.2.2 lies in the dynamic range 10.1.2.2-10.1.2.254: move the address or the range",
        ),
        ({"range_start": "10.1.2.1", "range_end": "10.1.2.1"}, "Gateway front: its address 10.1.2.1 lies in the dynamic range"),
        (
            {"guests": [{"name": "a"}, {"name": "b"}, {"name": "c"}], "range_start": "10.1.2.254"},
            "The dynamic range 10.1.2.254-10.1.2.254 has 1 addresses for 3 machines without a reservation",
        ),
        ({"private": {"name": "eth9"}}, "The private interface: no interface is named eth9; there are eth0 (52:54:00:00:00:01), eth1"),
        ({"private": {"mac": "52:54:00:00:09:09"}}, "The private interface: no interface has the MAC address 52:54:00:00:09:09"),
        ({"private": {"mac": "nonsense"}}, "The private interface: 'nonsense' is not a MAC address"),
        ({"private": {}}, "The private interface: neither its name nor its MAC address is known. Set gateway_private_interface"),
        ({"public": {"name": "", "mac": ""}}, "The public interface: neither its name nor its MAC address is known"),
        ({"public": {"name": "eth1"}}, "The public and the private interface are both eth1"),
        (
            {"public": {"name": "eth1"}, "private": {"name": "eth0"}},
            "The private interface eth0 carries the default route, which leads outside",
        ),
        ({"network": "192.0.0.0/16"}, "The network 192.0.2.0/24 of the public interface eth0 overlaps the LAN 192.0.0.0/16"),
    ],
)
def test_refused(changes, message):
    assert message in " ".join(plan(**changes)["problems"])


def test_all_faults_are_named_at_once():
    result = plan(
        machines=with_machine(mac="52:54:00:00:01:02", address="10.1.2.2"),
        guests=[{"name": "guest", "address": "10.9.9.9"}],
        private={"name": "eth9"},
    )
    assert len(result["problems"]) == 4


def test_interface_of_a_mac_is_the_bridge_over_the_card():
    links = LINKS + [{"ifname": "br0", "link_type": "ether", "address": "52:54:00:00:01:01", "linkinfo": {"info_kind": "bridge"}}]
    assert address_plan.find_interface(links, "", "52:54:00:00:01:01") == "br0"


def test_interface_of_a_mac_that_two_have():
    links = LINKS + [{"ifname": "eth1.5", "link_type": "ether", "address": "52:54:00:00:01:01", "linkinfo": {"info_kind": "vlan"}}]
    with pytest.raises(ValueError, match="eth1, eth1.5 all have the MAC address 52:54:00:00:01:01: give the name"):
        address_plan.find_interface(links, "", "52:54:00:00:01:01")


def test_without_links_there_are_no_interfaces():
    result = plan(links=None, public=None, private=None)
    assert (result["problems"], result["public"], result["private"]) == ([], "", "")


def test_guest_mac():
    # They are in leases, in definitions and in people's notes: a change of the algorithm would renumber every guest.
    assert address_plan.guest_mac("our-vm") == "00:16:3e:0c:71:f1"
    macs = {address_plan.guest_mac("guest-%d" % number) for number in range(500)}
    assert len(macs) == 500
    for mac in macs:
        assert address_plan.normalise_mac(mac) == mac
        assert int(mac.split(":")[3], 16) < 0x80


def test_parse_address_takes_addresses():
    network = ipaddress.IPv4Network("10.1.2.0/24")
    assert str(address_plan.parse_address(ipaddress.IPv4Address("10.1.2.9"), network)) == "10.1.2.9"


NUMBER, NO_MAC = "was read by YAML as the number {0}: put the MAC address in quotes", "'{0}' is not a MAC address"


@pytest.mark.parametrize("value, why", [
    (52540012, NUMBER), ("52540012", NUMBER), (525400123456, NUMBER), ("525400123456", NO_MAC), ("52:54:00:12:34", NO_MAC), ("", NO_MAC),
    ("53:54:00:12:34:56", "{0} is a multicast address"), ("00:00:00:00:00:00", "{0} belongs to no machine"),
])
def test_what_is_no_mac_address(value, why):
    with pytest.raises(ValueError) as error:
        address_plan.normalise_mac(value)
    assert why.format(value) in str(error.value)


@pytest.mark.parametrize("address, lan, tunnels, found", [
    ("10.1.0.11", "10.1.0.0/16", "10.2.0.0/16", "10.2.0.11/16"), ("192.0.2.6", "192.0.2.0/29", "10.2.0.0/29", "10.2.0.6/29"),
    # the last one of the small network is its broadcast address
    ("10.1.0.6", "10.1.0.0/16", "10.2.0.0/29", "10.2.0.6/29"), ("10.1.0.7", "10.1.0.0/16", "10.2.0.0/29", None),
    ("10.1.1.1", "10.1.0.0/16", "10.2.0.0/29", None),
])
def test_the_end_of_a_nodes_tunnels(address, lan, tunnels, found):
    if found:
        assert str(address_plan.tunnel_address(address, lan, tunnels)) == found
    else:
        with pytest.raises(ValueError, match=rf"10.2.0.0/29 is too small for the host part of {address}: make it as large as the LAN \(/16\)"):
            address_plan.tunnel_address(address, lan, tunnels)


def test_tunnels_are_no_part_of_the_lan():
    with pytest.raises(ValueError, match="10.1.2.0/24 overlaps the LAN 10.1.0.0/16"):
        address_plan.tunnel_address("10.1.0.11", "10.1.0.0/16", "10.1.2.0/24")
