# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What guests may send: the sets of the hypervisors' table. The scenarios bridge, default and kvm send the packets."""

from __future__ import annotations

import pytest
from ansible_collections.our.cloud.plugins.module_utils._site.address_plan import guest_mac
from ansible_collections.our.cloud.plugins.module_utils._site.guest_filter import link_local, make_table

MACHINES = [
    {"name": "gate", "mac": "52:54:00:00:00:01", "address": "10.1.0.1"},
    {"name": "node", "mac": "52:54:00:00:00:0B", "address": "10.1.0.11"},
    {"name": "printer", "mac": "52:54:00:00:00:0c", "address": ""},
]
FIXED = {"name": "web", "mac": "00:16:3e:00:00:50", "address": "10.1.0.50"}
MOVING = {"name": "job", "mac": "00:16:3e:00:00:51"}


def table(guests=(FIXED, MOVING), machines=None, **more):
    return make_table(MACHINES if machines is None else machines, guests, **{"network": "10.1.0.0/24", "bridge": "br0", "routers": ["gate"], **more})


def good(**more):
    made = table(**more)
    assert made["problems"] == []
    return made


def test_a_guest_has_its_address_and_another_one_an_address_of_the_range():
    made = good()
    assert made["guests"] == ["00:16:3e:00:00:50", "00:16:3e:00:00:51"]
    assert made["own"] == ["00:16:3e:00:00:50 . 10.1.0.50"]
    assert made["dynamic"] == ["00:16:3e:00:00:51"]
    assert made["free"] == ["10.1.0.128-10.1.0.254"]


def test_both_have_the_link_local_address_of_their_mac():
    assert link_local("00:16:3e:00:00:50") == "fe80::216:3eff:fe00:50"
    assert good()["own6"] == ["00:16:3e:00:00:50 . fe80::216:3eff:fe00:50", "00:16:3e:00:00:51 . fe80::216:3eff:fe00:51"]


def test_a_port_is_named_after_its_guest_s_mac_address():
    made = good(guests=[FIXED])
    assert made["ports"] == ["vm-3e000050 . 00:16:3e:00:00:50", "vm-3e000050-emu . 00:16:3e:00:00:50"]
    # Linux takes no longer names.
    assert made["port_names"] == ["vm-3e000050", "vm-3e000050-emu"] and len("vm-3e000050-emu") <= 15


def test_two_guests_of_one_port_are_refused():
    guests = [FIXED, {"name": "twin", "mac": "52:54:3e:00:00:50"}]
    assert table(guests=guests)["problems"] == ["twin: its port on the bridge, vm-3e000050, is another guest's, too: change its mac."]


def test_a_mac_address_is_made_from_the_name():
    assert good(guests=[{"name": "web"}])["guests"] == [guest_mac("web")]


def test_the_site_s_machines_by_address_and_mac():
    made = good()
    assert made["machines"] == ["10.1.0.1", "10.1.0.11"]
    assert made["site_macs"] == ["52:54:00:00:00:01", "52:54:00:00:00:0b", "52:54:00:00:00:0c"]
    # What is sent to the router's may be for the world.
    assert made["host_macs"] == ["52:54:00:00:00:0b", "52:54:00:00:00:0c"]


@pytest.mark.parametrize("host", [
    {"name": "web", "mac": "", "address": "10.1.0.77"},
    {"name": "other", "mac": "00:16:3E:00:00:51", "address": "10.1.0.77"},
    {"name": "other", "mac": "", "address": "10.1.0.50"},
], ids=["name", "mac", "address"])
def test_a_host_of_the_inventory_that_is_a_guest_is_no_machine_of_the_site(host):
    assert good(machines=[*MACHINES, host])["machines"] == ["10.1.0.1", "10.1.0.11"]


def test_absent_guests_and_those_on_other_bridges_have_no_place_there():
    guests = [{**FIXED, "state": "absent"}, {**MOVING, "bridge": "br1"}, {"name": "here", "mac": "00:16:3e:00:00:52", "bridge": "br0"}]
    assert good(guests=guests)["guests"] == ["00:16:3e:00:00:52"]


def test_names_and_addresses_of_the_router_are_open():
    assert good()["services"] == ["10.1.0.1 . tcp . 53", "10.1.0.1 . udp . 53", "10.1.0.1 . udp . 67", "255.255.255.255 . udp . 67"]


def test_what_the_inventory_opens():
    opened = [
        {"guest": "web", "to": "node", "port": 2049},
        {"to": "gate", "port": "8000-8010"},
        {"to": "10.1.0.99", "port": "514", "protocol": "udp"},
        {"guest": "any", "to": "web", "port": 443},
    ]
    made = good(opened=opened)
    assert made["open"] == ["00:16:3e:00:00:50 . 10.1.0.11 . tcp . 2049"]
    assert set(made["services"]) - set(good()["services"]) == {
        "10.1.0.1 . tcp . 8000-8010", "10.1.0.99 . udp . 514", "10.1.0.50 . tcp . 443"}


def test_ports_that_are_opened_twice_are_there_once():
    """nft refuses a set with intervals that overlap."""
    opened = [{"to": "gate", "port": port} for port in ("8000-8010", 8005, "8009-8020", 8021, 53)]
    assert [element for element in good(opened=opened)["services"] if "tcp" in element] == ["10.1.0.1 . tcp . 53", "10.1.0.1 . tcp . 8000-8021"]


@pytest.mark.parametrize("entry, says", [
    ({"guest": "wbe", "to": "node", "port": 1}, "wbe is no guest of the inventory on this bridge: correct it, or write any"),
    ({"to": "nowhere", "port": 1}, "nowhere is no host with site_address and no IPv4 address: correct to"),
    ({"to": "printer", "port": 1}, "printer is no host with site_address"),
    ({"port": 1}, "nothing is no host"),
    ({"to": "node"}, "port '' is none"),
    ({"to": "node", "port": 0}, "port 0 is none"),
    ({"to": "node", "port": 65536}, "port 65536 is none"),
    ({"to": "node", "port": "9-1"}, "port '9-1' is none: write one such as 443, or a range such as '8000-8010'"),
    ({"to": "node", "port": "1; accept"}, "is none"),
    ({"to": "node", "port": 1, "protocol": "tcp\naccept"}, "is not known: write one of tcp, udp"),
    ({"to": "node", "ports": 1, "port": 1}, "ports means nothing there: write guest, to, protocol and port"),
], ids=str)
def test_what_cannot_be_opened_is_said_with_its_number(entry, says):
    problems = table(opened=[{"to": "gate", "port": 80}, entry])["problems"]
    assert len(problems) == 1
    assert problems[0].startswith("guest_filter_open, entry 2: ")
    assert says in problems[0]


def test_the_gateway_s_range_without_what_is_taken():
    guests = [{**FIXED, "address": "10.1.0.102"}, MOVING]
    assert good(guests=guests, range_start="10.1.0.100", range_end="10.1.0.104")["free"] == ["10.1.0.100-10.1.0.101", "10.1.0.103-10.1.0.104"]
    assert good(range_start="10.1.0.50", range_end="10.1.0.51")["free"] == ["10.1.0.51"]
    assert good(range_start="10.1.0.11", range_end="10.1.0.11")["free"] == []


def test_without_a_gateway_the_range_is_the_whole_lan():
    assert good(routers=[], machines=[], guests=[])["free"] == ["10.1.0.1-10.1.0.254"]
    assert good(routers=[])["free"] == ["10.1.0.12-10.1.0.49", "10.1.0.2-10.1.0.10", "10.1.0.51-10.1.0.254"]


@pytest.mark.parametrize("end", ["range_start", "range_end"])
def test_an_end_of_the_range_that_is_none(end):
    made = table(**{end: "x"})
    assert (made["problems"], made["free"]) == ([f"guest_filter_{end}: its address 'x' is not an IPv4 address: write one of 10.1.0.0/24."], [])


def test_all_faults_are_named_at_once():
    guests = [{"name": "web", "mac": 1}, {"name": "job", "address": "10.2.0.1"}]
    problems = table(guests=guests, machines=[{"name": "node", "mac": "x", "address": "y"}], range_start="10.1.0.9", range_end="10.1.0.8")["problems"]
    assert [problem.split(" ", 1)[0] for problem in problems] == ["web:", "job:", "node:", "node:", "The"]
    assert "put the MAC address in quotes" in problems[0]
    assert "swap guest_filter_range_start and guest_filter_range_end" in problems[-1]


def test_no_lan_no_table():
    assert table(network="10.1.0.0")["problems"] == [
        "The LAN: guest_filter_network '10.1.0.0' has no length: write a network such as 192.168.77.0/24."]


def test_an_inventory_without_guests():
    made = good(guests=[])
    assert made["guests"] == made["own"] == made["own6"] == made["pairs"] == made["ports"] == made["dhcp_pairs"] == []


def test_a_cloud_s_instances_have_the_addresses_of_its_ranges_and_of_the_dhcp_server():
    made = good(cloud_ranges=["10.1.0.48-10.1.0.52", ""], range_start="10.1.0.53", range_end="10.1.0.55")
    # without that of a guest
    assert made["cloud_addresses"] == ["10.1.0.48-10.1.0.49", "10.1.0.51-10.1.0.55"]
    assert made["guest_addresses"] == ["10.1.0.50"]


def test_what_lies_between_two_ranges_is_no_instances_address():
    made = good(cloud_ranges=["10.1.0.60-10.1.0.62", "10.1.0.70-10.1.0.70"], range_start="10.1.0.100", range_end="10.1.0.102")
    assert made["cloud_addresses"] == ["10.1.0.100-10.1.0.102", "10.1.0.60-10.1.0.62", "10.1.0.70"]


def test_a_range_that_is_none_is_said():
    assert table(cloud_ranges=["10.1.0.9"])["problems"] == [
        "guest_filter_cloud_ranges: '10.1.0.9' is not a range: write its first and its last address with a hyphen between."]


def test_the_ends_of_tunnels_are_machines_of_the_site():
    made = good(tunnels=[{"name": "node", "mac": "02:00:00:00:00:01", "address": "10.9.0.11"}])
    assert made["tunnels"] == ["02:00:00:00:00:01 . 10.9.0.11"]
    assert "10.9.0.11" in made["machines"]
    assert "02:00:00:00:00:01" in made["site_macs"] and "02:00:00:00:00:01" in made["host_macs"]
