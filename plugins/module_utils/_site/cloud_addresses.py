# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The addresses that a cloud uses: on the site's LAN, in networks of its own, and between its nodes; and what is wrong with them."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from ansible_collections.our.cloud.plugins.module_utils._site.address_plan import (
    address_range,
    parse_address,
    parse_network,
    tunnel_address,
    tunnel_mac,
)


@dataclass
class Addresses:
    """With problems (sentences) the rest is not to be used."""

    problems: list[str] = field(default_factory=list)
    # {start, end} of the addresses that the cloud gives away on the LAN; of those that instances are given one by one
    floating: dict[str, str] = field(default_factory=dict)
    static: dict[str, str] = field(default_factory=dict)
    # {name, mac, address, prefix} of each node's end of the tunnels
    tunnels: list[dict[str, Any]] = field(default_factory=list)


def _dhcp(lan: ipaddress.IPv4Network, start: str, end: str, routers: Sequence[str]) -> tuple[ipaddress.IPv4Address, ipaddress.IPv4Address] | None:
    """The DHCP server's range; the role gateway's own is the upper half. None if nobody knows."""
    if not start and not end and not routers:
        return None
    return (parse_address(start or lan[lan.num_addresses // 2], lan), parse_address(end or lan[lan.num_addresses - 2], lan))


def cloud_addresses(
    machines: Sequence[Mapping[str, Any]],
    network: str,
    floating: str = "",
    static: str = "",
    private: str = "",
    tunnels: str = "",
    nodes: Sequence[str] = (),
    guests: Sequence[Mapping[str, Any]] = (),
    routers: Sequence[str] = (),
    range_start: str = "",
    range_end: str = "",
) -> dict[str, Any]:
    """What the cloud has.

    machines: [{name, mac, address}], hosts of the inventory
    network: the LAN
    floating, static: FIRST-LAST, ranges of the LAN
    private, tunnels: networks of the cloud's own
    nodes: names of the node controllers
    guests: [{name, address, state}], guests of the inventory
    routers, range_start, range_end: names of the gateways, and the DHCP server's range; empty for the role gateway's

    Returns the fields of Addresses.
    """
    found = Addresses()
    try:
        lan = parse_network(network)
    except ValueError as error:
        return asdict(Addresses(problems=[f"The LAN: site_network {error}."]))
    taken = {str(machine["address"]): f"host {machine['name']}" for machine in machines if machine.get("address")}
    taken.update({str(guest["address"]): f"guest {guest['name']}" for guest in guests if guest.get("address") and guest.get("state") != "absent"})
    ranges: dict[str, tuple[ipaddress.IPv4Address, ipaddress.IPv4Address]] = {}
    try:
        dhcp = _dhcp(lan, range_start, range_end, routers)
        if dhcp:
            ranges["the DHCP server's range (gateway_dhcp_range_start, gateway_dhcp_range_end)"] = dhcp
    except ValueError as error:
        found.problems.append(f"The DHCP server's range: {error}.")
    for variable, text, into in (("cc_floating_range", floating, found.floating), ("cc_static_range", static, found.static)):
        if not text:
            continue
        try:
            first, last = address_range(text, lan)
        except ValueError as error:
            found.problems.append(f"{variable}: {error}.")
            continue
        into.update(start=str(first), end=str(last))
        for name, (low, high) in ranges.items():
            if first <= high and low <= last:
                found.problems.append(f"{variable} {text} overlaps {name}, {low}-{high}: an address would be given away twice. Move one of them.")
        for address, owner in sorted(taken.items()):
            try:
                inside = first <= ipaddress.IPv4Address(address) <= last
            except ValueError:
                continue  # the address plan says it
            if inside:
                found.problems.append(f"{variable} {text} has the address {address} of {owner} in it: move the range or the address.")
        ranges[variable] = (first, last)
    others = [("the LAN", lan)]
    for variable, text in (("cc_private_network", private), ("nc_tunnel_network", tunnels)):
        if not text:
            continue
        try:
            parsed = parse_network(text)
        except ValueError as error:
            found.problems.append(f"{variable}: {error}.")
            continue
        found.problems += [f"{variable} {parsed} overlaps {name} {other}: take a network that is used nowhere else." for name, other in others if
                           parsed.overlaps(other)]
        others.append((variable, parsed))
    if tunnels and not found.problems:
        _tunnels(found, machines, network, tunnels, nodes)
    return asdict(found)


def _tunnels(found: Addresses, machines: Sequence[Mapping[str, Any]], network: str, tunnels: str, nodes: Sequence[str]) -> None:
    addresses = {machine["name"]: machine.get("address") for machine in machines}
    for name in sorted(nodes):
        if not addresses.get(name):
            found.problems.append(f"{name} has no site_address: a node controller needs one.")
            continue
        try:
            end = tunnel_address(addresses[name], network, tunnels)
        except ValueError as error:
            found.problems.append(f"{name}: nc_tunnel_network {error}.")
            continue
        found.tunnels.append({"name": name, "mac": tunnel_mac(name), "address": str(end.ip), "prefix": end.network.prefixlen})
