# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The address plan of a site's LAN: who has which MAC, address and name, and what is wrong with it.

Plain Python without Ansible, so that it can be read and tested alone. Arithmetic on networks for
configuration files is left to ansible.utils.ipaddr; here is the judgement that it does not make.
"""

from __future__ import annotations

import hashlib
import ipaddress
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.our.cloud.plugins.module_utils._common import shapes

_LABEL = re.compile(r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\Z")
_MAC = re.compile(r"^[0-9a-f]{2}(:[0-9a-f]{2}){5}\Z")


def guest_mac(name: object) -> str:
    """The MAC address that a guest of this name has wherever it runs.

    00:16:3e is Xen's prefix; its users keep the top bit of the fourth byte clear.
    """
    digest = hashlib.sha256(str(name).encode("utf-8")).digest()
    return f"00:16:3e:{digest[0] & 127:02x}:{digest[1]:02x}:{digest[2]:02x}"


def guest_port(mac: str) -> str:
    """The name that the port of a guest with this MAC address has on a hypervisor's bridge, by which the filter knows whose it is.

    Xen adds "-emu" for a guest with a QEMU, and Linux takes 15 characters.
    """
    return "vm-" + mac.replace(":", "")[4:]


def normalise_mac(value: object) -> str:
    """A MAC address in lower case with colons; ValueError says what is wrong with it."""
    if isinstance(value, int) or str(value).isdigit() and len(str(value)) != 12:
        # 52:54:00:12:34:56 is a number to the base of sixty in YAML 1.1.
        raise ValueError(f"was read by YAML as the number {value}: put the MAC address in quotes")
    mac = str(value).strip().lower().replace("-", ":")
    if not _MAC.match(mac):
        raise ValueError(
            f"{str(value)!r} is not a MAC address: write six pairs of hexadecimal digits, such as 52:54:00:12:34:56"
        )
    if int(mac[:2], 16) & 1:
        raise ValueError(
            f"{mac} is a multicast address: the first pair of a machine's MAC address is even"
        )
    if mac == "00:00:00:00:00:00":
        raise ValueError(f"{mac} belongs to no machine: give the one that is printed on the card")
    return mac


def short_name(name: object) -> str:
    """The name of a machine without its domain."""
    return str(name).partition(".")[0].lower()


def is_domain(value: object) -> bool:
    """Whether this can be a domain."""
    return all(_LABEL.match(label) for label in str(value).split("."))


def parse_network(value: object) -> ipaddress.IPv4Network:
    """An IPv4 network with room for a LAN; ValueError says what is wrong with it."""
    text = str(value)
    if "/" not in text:
        raise ValueError(f"{text!r} has no length: write a network such as 192.168.77.0/24")
    try:
        network = ipaddress.IPv4Network(text, strict=False)
    except ValueError:
        raise ValueError(f"{text!r} is not an IPv4 network: write one such as 192.168.77.0/24") from None
    if text.partition("/")[0] != str(network.network_address):
        raise ValueError(f"{text} is an address in a network: write {network}")
    if network.prefixlen > 30:
        raise ValueError(f"{network} has no room for a gateway and a machine: take /30 or larger")
    return network


def parse_address(value: object, network: ipaddress.IPv4Network) -> ipaddress.IPv4Address:
    """An address that a machine of the network can have; ValueError says what is wrong with it."""
    try:
        address = ipaddress.IPv4Address(str(value))
    except ValueError:
        raise ValueError(f"{str(value)!r} is not an IPv4 address: write one of {network}") from None
    if address not in network:
        raise ValueError(f"{address} is outside of {network}: take an address of that network")
    if address == network.network_address:
        raise ValueError(f"{address} is the address of the network {network} itself: take another one")
    if address == network.broadcast_address:
        raise ValueError(f"{address} is the broadcast address of {network}: take another one")
    return address


def address_range(text: object, network: ipaddress.IPv4Network) -> tuple[ipaddress.IPv4Address, ipaddress.IPv4Address]:
    """The first and the last address of a range of a network, written FIRST-LAST; ValueError says what is wrong with it."""
    parts = [part.strip() for part in str(text).split("-")]
    if len(parts) != 2:
        raise ValueError(f"{str(text)!r} is not a range: write its first and its last address with a hyphen between")
    first, last = parse_address(parts[0], network), parse_address(parts[1], network)
    if first > last:
        raise ValueError(f"{text} begins after its end: write the lower address first")
    return first, last


def tunnel_mac(name: object) -> str:
    """The MAC address of a node's end of the tunnels between node controllers. The locally administered ones (02) are free for that."""
    return ":".join(f"{byte:02x}" for byte in (2, *hashlib.sha256(f"tunnel {name}".encode()).digest()[:5]))


def tunnel_address(address: object, lan: object, tunnels: object) -> ipaddress.IPv4Interface:
    """A node's address in the tunnels' network: the same as on the LAN, but for the network's part. ValueError says what is wrong."""
    outer, inner = parse_network(lan), parse_network(tunnels)
    if outer.overlaps(inner):
        raise ValueError(f"{inner} overlaps the LAN {outer}: take a network that is used nowhere else")
    offset = int(parse_address(address, outer)) - int(outer.network_address)
    if offset >= inner.num_addresses - 1:
        raise ValueError(f"{inner} is too small for the host part of {address}: make it as large as the LAN (/{outer.prefixlen})")
    return ipaddress.IPv4Interface(f"{inner.network_address + offset}/{inner.prefixlen}")


def find_interface(links: Sequence[Mapping[str, Any]], name: str | None, mac: object) -> str:
    """The name of the interface that has this name or, without a name, this MAC address.

    links: the interfaces as `ip -json -details address` tells them.
    ValueError if there is none or if it is not clear which. A bridge has the MAC address of its
    port and is the one that carries the addresses.
    """
    if name:
        if any(link["ifname"] == name for link in links):
            return name
        raise ValueError(f"no interface is named {name}; there are {', '.join(_describe(links))}")
    mac = normalise_mac(mac)
    found = [link for link in links if link.get("address", "").lower() == mac]
    bridges = [link for link in found if link.get("linkinfo", {}).get("info_kind") == "bridge"]
    if len(bridges) == 1:
        found = bridges
    if not found:
        raise ValueError(f"no interface has the MAC address {mac}; there are {', '.join(_describe(links))}")
    if len(found) > 1:
        raise ValueError(
            f"{', '.join(sorted((link['ifname'] for link in found)))} all have the MAC address {mac}: give the name"
        )
    return found[0]["ifname"]


def _describe(links: Iterable[Mapping[str, Any]]) -> list[str]:
    return sorted(
        f"{link['ifname']} ({link['address']})" for link in links if link.get("link_type") == "ether"
    ) or ["none"]


@dataclass(frozen=True)
class Reservation:
    """What the DHCP server gives a card."""

    name: str | None
    mac: str
    address: str | None  # empty: one of the dynamic range


@dataclass(frozen=True)
class Name:
    """A fixed entry of the DNS."""

    name: str  # of one label
    address: str
    whole: str | None = None  # the name with its domain, if that is not the LAN's: by it the inventory's hosts call each other


@dataclass(frozen=True)
class AddressPlan:
    """The address plan of a site. With problems the rest is not to be used."""

    problems: tuple[str, ...]  # sentences
    reservations: tuple[Reservation, ...] = ()  # sorted by MAC address
    names: tuple[Name, ...] = ()  # sorted by address
    public: str = ""  # the gateway's interface that leads outside; empty: nobody asked for it, or it is not known
    private: str = ""  # the one on the LAN, likewise

    def plain(self) -> dict[str, Any]:
        """As the filter returns it."""
        return {**shapes.plain(self), "names": [shapes.said(name) for name in self.names]}


class _Plan:
    """Collects machines and complaints; nothing is raised, so that all faults are named at once."""

    def __init__(self, network: ipaddress.IPv4Network, domain: object) -> None:
        self.network = network
        self.domain = domain
        self.problems: list[str] = []
        self.reservations: list[Reservation] = []
        self.names: list[Name] = []
        self._owners: dict[tuple[str, str], str] = {}

    def complain(self, text: str, *args: object) -> None:
        self.problems.append(text % args)

    def _claim(self, kind: str, value: str, owner: str, remedy: str) -> None:
        other = self._owners.setdefault((kind, value), owner)
        if other != owner:
            self.complain("%s and %s have the same %s %s: %s.", other, owner, kind, value, remedy)

    def address(self, owner: str, variable: str, value: object) -> str | None:
        """The address as text; None after a complaint."""
        try:
            address = str(parse_address(value, self.network))
        except ValueError as error:
            self.complain("%s: %s %s.", owner, variable, error)
            return None
        self._claim("address", address, owner, f"change {variable} of one of them")
        return address

    def mac(self, owner: str, variable: str, value: object) -> str | None:
        """The MAC address; None after a complaint."""
        try:
            mac = normalise_mac(value)
        except ValueError as error:
            self.complain("%s: %s %s.", owner, variable, error)
            return None
        self._claim("MAC address", mac, owner, f"change {variable} of one of them")
        return mac

    def name(self, owner: str, value: object) -> str | None:
        """The name in the DNS; None after a complaint."""
        name = short_name(value)
        if not _LABEL.match(name):
            self.complain(
                "%s: %r cannot be a host name: use letters, digits and hyphens, at most 63.", owner, name
            )
            return None
        if name.isdigit():
            self.complain(
                "%s is an address or a number, not a name: name it in the inventory and put the address into ansible_host.",
                owner,
            )
            return None
        self._claim("name", name, owner, "rename one of them")
        return name

    def whole(self, owner: str, value: object) -> str | None:
        """The name of a machine with a domain that is not the LAN's, else None."""
        whole = str(value).lower()
        if "." not in whole or whole == f"{short_name(value)}.{str(self.domain).lower()}":
            return None
        if not all(_LABEL.match(label) for label in whole.split(".")):
            self.complain("%s: %r cannot be a host name: use letters, digits and hyphens, at most 63.", owner, whole)
            return None
        return whole

    def add(self, name: str | None, mac: str | None, address: str | None, whole: str | None = None) -> None:
        """A machine whose values have been found good."""
        if name and address:
            self.names.append(Name(name, address, whole or None))
        if mac:
            self.reservations.append(Reservation(name, mac, address))

    def range(self, start: object, end: object, unreserved: int) -> None:
        """The dynamic range, against the network and everything that has been added."""
        bounds = []
        for variable, value in (("gateway_dhcp_range_start", start), ("gateway_dhcp_range_end", end)):
            try:
                bounds.append(parse_address(value, self.network))
            except ValueError as error:
                self.complain("The dynamic range: %s %s.", variable, error)
        if len(bounds) < 2:
            return
        first, last = bounds
        if first > last:
            self.complain(
                "The dynamic range begins at %s after its end %s: swap gateway_dhcp_range_start and gateway_dhcp_range_end.",
                first,
                last,
            )
            return
        for (kind, value), owner in self._owners.items():
            if kind == "address" and first <= ipaddress.IPv4Address(value) <= last:
                self.complain(
                    "%s: its address %s lies in the dynamic range %s-%s: move the address or the range"
                    " (gateway_dhcp_range_start, gateway_dhcp_range_end).",
                    owner,
                    value,
                    first,
                    last,
                )
        size = int(last) - int(first) + 1
        if unreserved > size:
            self.complain(
                "The dynamic range %s-%s has %d addresses for %d machines without a reservation: widen it or give them addresses.",
                first,
                last,
                size,
                unreserved,
            )


def _interfaces(plan: _Plan, links: Sequence[Mapping[str, Any]], routes: Sequence[Mapping[str, Any]], public: Mapping[str, Any],
                private: Mapping[str, Any]) -> dict[str, str]:
    """The names of the two interfaces, by side; what is wrong with them goes to the plan."""
    found = {}
    for side, wanted in (("public", public), ("private", private)):
        try:
            if not wanted.get("name") and not wanted.get("mac"):
                raise ValueError("neither its name nor its MAC address is known")
            found[side] = find_interface(links, wanted.get("name"), wanted.get("mac"))
        except ValueError as error:
            plan.complain(
                "The %s interface: %s. Set gateway_%s_interface or gateway_%s_mac.", side, error, side, side
            )
    if len(found) < 2:
        return found
    default = routes[0].get("dev") if routes else None
    if found["public"] == found["private"]:
        plan.complain(
            "The public and the private interface are both %s: a gateway has two. Set gateway_public_interface"
            " and gateway_private_interface, or their MAC addresses.",
            found["public"],
        )
    elif found["private"] == default:
        plan.complain(
            "The private interface %s carries the default route, which leads outside: give the interface of the LAN"
            " (gateway_private_interface or gateway_private_mac).",
            default,
        )
    return found


def _overlap(plan: _Plan, links: Iterable[Mapping[str, Any]], interface: str) -> None:
    """The outer network must not be the LAN's, or nobody knows on which side an address is."""
    for link in links:
        for each in link.get("addr_info", []) if link["ifname"] == interface else []:
            if each.get("family") != "inet":
                continue
            outer = ipaddress.IPv4Interface(f"{each['local']}/{each['prefixlen']}").network
            if outer.overlaps(plan.network):
                plan.complain(
                    "The network %s of the public interface %s overlaps the LAN %s: choose another gateway_network.",
                    outer,
                    interface,
                    plan.network,
                )


def make_plan(
    machines: Iterable[Mapping[str, Any]],
    gateway: str,
    address: object,
    network: object,
    domain: object,
    range_start: object,
    range_end: object,
    guests: Iterable[Mapping[str, Any]] = (),
    links: Sequence[Mapping[str, Any]] | None = None,
    routes: Sequence[Mapping[str, Any]] = (),
    public: Mapping[str, Any] | None = None,
    private: Mapping[str, Any] | None = None,
) -> AddressPlan:
    """The address plan of a site.

    machines: [{name, mac, address}], the hosts of the inventory (mac and address may be empty)
    gateway, address: the gateway's name among them, and its address on the LAN
    guests: [{name, mac, address, state}], virtual machines (all but the name may be missing)
    links, routes: the gateway's, as `ip -json -details address` and `ip -json route show default` tell them
    public, private: {name, mac} of its interfaces
    """
    try:
        plan = _Plan(parse_network(network), domain)
    except ValueError as error:
        return AddressPlan((f"The LAN: gateway_network {error}.",))
    if not is_domain(domain):
        plan.complain("The LAN: gateway_domain %r is not a domain: write one such as lab.lan.", str(domain))

    owner = f"Gateway {gateway}"
    name = plan.name(owner, gateway)
    plan.add(name, None, plan.address(owner, "gateway_address", address))
    for machine in machines:
        if machine["name"] == gateway:
            if machine.get("mac"):
                plan.mac(owner, "site_mac", machine["mac"])
            continue
        owner = f"Host {machine['name']}"
        plan.add(
            plan.name(owner, machine["name"]),
            plan.mac(owner, "site_mac", machine["mac"]) if machine.get("mac") else "",
            plan.address(owner, "site_address", machine["address"]) if machine.get("address") else "",
            whole=plan.whole(owner, machine["name"]),
        )
    for guest in guests:
        if not isinstance(guest, dict) or not guest.get("name"):
            plan.complain("A guest has no name: give every entry of `guests` a name (%s).", guest)
            continue
        if guest.get("state") == "absent":
            continue
        owner = f"Guest {guest['name']}"
        plan.add(
            plan.name(owner, guest["name"]),
            plan.mac(owner, "mac", guest.get("mac") or guest_mac(guest["name"])),
            plan.address(owner, "address", guest["address"]) if guest.get("address") else "",
        )
    unreserved = sum(1 for reservation in plan.reservations if not reservation.address)
    plan.range(range_start, range_end, unreserved)

    found: dict[str, str] = {}
    if links is not None:
        found = _interfaces(plan, links, routes, public or {}, private or {})
        if found.get("public"):
            _overlap(plan, links, found["public"])

    return AddressPlan(tuple(plan.problems), tuple(sorted(plan.reservations, key=lambda item: item.mac)),
                       tuple(sorted(plan.names, key=lambda item: ipaddress.IPv4Address(item.address))), **found)
