# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What guests may send: the elements of the sets in the hypervisors' nftables table, from the inventory.

Every hypervisor gets the same ones, for guests move. The rules are in the role guest_filter's template.
"""

from __future__ import annotations

import ipaddress
from dataclasses import asdict, dataclass, field
from typing import Any, Iterable, Mapping, Sequence

from ansible_collections.our.cloud.plugins.module_utils._site.address_plan import (
    address_range,
    guest_mac,
    guest_port,
    normalise_mac,
    parse_address,
    parse_network,
)

# What guests need of the machine that routes for them: names and an address. DHCP's first question goes to everybody.
SERVICES = (("udp", 53), ("tcp", 53), ("udp", 67))
PROTOCOLS = ("tcp", "udp")
ANYBODY = "any"


@dataclass
class Table:
    """Elements of nft sets, as text. With problems (sentences) the rest is not to be used."""

    problems: list[str] = field(default_factory=list)
    # Addresses of the site's machines; their MAC addresses; those of the machines that do not route.
    machines: list[str] = field(default_factory=list)
    site_macs: list[str] = field(default_factory=list)
    host_macs: list[str] = field(default_factory=list)
    # Guests' MAC addresses; twice the same, as two fields of one frame must have it; the second one as a number.
    guests: list[str] = field(default_factory=list)
    pairs: list[str] = field(default_factory=list)
    dhcp_pairs: list[str] = field(default_factory=list)
    # Names of guests' ports; port . MAC address.
    port_names: list[str] = field(default_factory=list)
    ports: list[str] = field(default_factory=list)
    # MAC . address of guests with a fixed one; MAC . link-local address of all; MACs of those that DHCP gives one.
    own: list[str] = field(default_factory=list)
    own6: list[str] = field(default_factory=list)
    dynamic: list[str] = field(default_factory=list)
    # Ranges of addresses that belong to nobody in the inventory.
    free: list[str] = field(default_factory=list)
    # Addresses of everybody at once.
    groups: list[str] = field(default_factory=list)
    # Of the tunnels between the cloud's nodes: MAC . address of their ends. Addresses of the inventory's guests; those that the cloud's
    # instances may have.
    tunnels: list[str] = field(default_factory=list)
    guest_addresses: list[str] = field(default_factory=list)
    cloud_addresses: list[str] = field(default_factory=list)
    # address . protocol . port, open for all guests; MAC . address . protocol . port.
    services: list[str] = field(default_factory=list)
    open: list[str] = field(default_factory=list)


def link_local(mac: str) -> str:
    """The IPv6 address that a machine makes of its MAC address (EUI-64)."""
    octets = [int(part, 16) for part in mac.split(":")]
    octets[0] ^= 2
    return str(ipaddress.IPv6Address(bytes([0xFE, 0x80, 0, 0, 0, 0, 0, 0, *octets[:3], 0xFF, 0xFE, *octets[3:]])))


def _ranges(first: int, last: int, taken: Iterable[int]) -> list[str]:
    """What is left of first to last without the taken ones, as nft writes ranges."""
    found = []
    for end in [*sorted(number for number in set(taken) if first <= number <= last), last + 1]:
        if first < end:
            begin, until = ipaddress.IPv4Address(first), ipaddress.IPv4Address(end - 1)
            found.append(f"{begin}-{until}" if begin != until else str(begin))
        first = end + 1
    return found


def _ports(value: Any) -> tuple[int, int]:
    """The first and the last port of one, or of two with a hyphen between; ValueError says what is wrong."""
    try:
        ports = [int(part) for part in str(value).split("-")]
    except ValueError:
        ports = []
    if len(ports) not in (1, 2) or ports != sorted(ports) or not all(0 < port < 65536 for port in ports):
        raise ValueError(f"port {value!r} is none: write one such as 443, or a range such as '8000-8010'")
    return ports[0], ports[-1]


def _merged(elements: Mapping[str, list[tuple[int, int]]]) -> list[str]:
    """Elements that end in ports, for nft takes none twice: {"address . protocol": [(first, last)]}."""
    found = []
    for key, ranges in elements.items():
        done: list[tuple[int, int]] = []
        for first, last in sorted(ranges):
            if done and first <= done[-1][1] + 1:
                done[-1] = (done[-1][0], max(last, done[-1][1]))
            else:
                done.append((first, last))
        found += [f"{key} . {first}" if first == last else f"{key} . {first}-{last}" for first, last in done]
    return found


class _Reader:
    """Reads the inventory's part; complaints are collected, so that all faults are named at once."""

    def __init__(self, table: Table, network: ipaddress.IPv4Network):
        self.table = table
        self.network = network
        self.macs: dict[str, str] = {}
        self.addresses: dict[str, str] = {}
        self.services: dict[str, list[tuple[int, int]]] = {"255.255.255.255 . udp": [(67, 67)]}
        self.open: dict[str, list[tuple[int, int]]] = {}

    def mac(self, owner: str, value: Any) -> str | None:
        try:
            return normalise_mac(value)
        except ValueError as error:
            self.table.problems.append(f"{owner}: its MAC address {error}.")
            return None

    def address(self, owner: str, value: Any) -> str | None:
        try:
            return str(parse_address(value, self.network))
        except ValueError as error:
            self.table.problems.append(f"{owner}: its address {error}.")
            return None

    def guests(self, guests: Sequence[Mapping[str, Any]]) -> None:
        for guest in guests:
            name = guest["name"]
            mac = self.mac(name, guest.get("mac") or guest_mac(name))
            if not mac:
                continue
            self.macs[name] = mac
            port = guest_port(mac)
            if port in self.table.port_names:
                self.table.problems.append(f"{name}: its port on the bridge, {port}, is another guest's, too: change its mac.")
            # Xen's of a guest with a QEMU has two.
            for end in ("", "-emu"):
                self.table.port_names.append(f"{port}{end}")
                self.table.ports.append(f"{port}{end} . {mac}")
            self.table.guests.append(mac)
            self.table.pairs.append(f"{mac} . {mac}")
            self.table.dhcp_pairs.append(f"{mac} . 0x{mac.replace(':', '')}")
            self.table.own6.append(f"{mac} . {link_local(mac)}")
            if not guest.get("address"):
                self.table.dynamic.append(mac)
                continue
            address = self.address(name, guest["address"])
            if address:
                self.addresses[name] = address
                self.table.own.append(f"{mac} . {address}")
                self.table.guest_addresses.append(address)

    def machines(self, machines: Sequence[Mapping[str, Any]], routers: Sequence[str]) -> None:
        """The site's machines; a host of the inventory that is a guest is none."""
        guests = set(self.addresses.values())
        for machine in machines:
            name = machine["name"]
            mac = self.mac(name, machine["mac"]) if machine.get("mac") else ""
            address = self.address(name, machine["address"]) if machine.get("address") else ""
            if name in self.macs or mac in self.table.guests or address in guests:
                continue
            if mac:
                self.table.site_macs.append(mac)
                if name not in routers:
                    self.table.host_macs.append(mac)
            if address:
                self.addresses[name] = address
                self.table.machines.append(address)
                if name in routers:
                    for protocol, port in SERVICES:
                        self.services.setdefault(f"{address} . {protocol}", []).append((port, port))

    def opened(self, entries: Sequence[Mapping[str, Any]]) -> None:
        for number, entry in enumerate(entries, 1):
            owner = f"guest_filter_open, entry {number}"
            unknown = sorted(set(entry) - {"guest", "to", "protocol", "port"})
            if unknown:
                self.table.problems.append(f"{owner}: {', '.join(unknown)} means nothing there: write guest, to, protocol and port.")
            guest, to = entry.get("guest", ANYBODY), str(entry.get("to", ""))
            protocol = entry.get("protocol", "tcp")
            if guest != ANYBODY and guest not in self.macs:
                self.table.problems.append(f"{owner}: {guest} is no guest of the inventory on this bridge: correct it, or write {ANYBODY}.")
                continue
            if protocol not in PROTOCOLS:
                self.table.problems.append(f"{owner}: protocol {protocol} is not known: write one of {', '.join(PROTOCOLS)}.")
                continue
            try:
                ports = _ports(entry.get("port", ""))
                address = self.addresses.get(to) or str(ipaddress.IPv4Address(to))
            except ipaddress.AddressValueError:
                self.table.problems.append(f"{owner}: {to or 'nothing'} is no host with site_address and no IPv4 address: correct to.")
                continue
            except ValueError as error:
                self.table.problems.append(f"{owner}: {error}.")
                continue
            if guest == ANYBODY:
                self.services.setdefault(f"{address} . {protocol}", []).append(ports)
            else:
                self.open.setdefault(f"{self.macs[guest]} . {address} . {protocol}", []).append(ports)

    def free(self, start: str, end: str, routers: Sequence[str]) -> None:
        """Addresses for guests without one of their own: the DHCP server's range, without those that are taken all the same."""
        size = self.network.num_addresses
        # The role gateway's own: the upper half. Whose DHCP server is not known, of that neither is the range.
        first = self.address("guest_filter_range_start", start or self.network[size // 2 if routers else 1])
        last = self.address("guest_filter_range_end", end or self.network[size - 2])
        if not first or not last:
            return
        if int(ipaddress.IPv4Address(first)) > int(ipaddress.IPv4Address(last)):
            self.table.problems.append(f"The range begins at {first} after its end {last}: swap guest_filter_range_start and guest_filter_range_end.")
            return
        taken = [int(ipaddress.IPv4Address(address)) for address in self.addresses.values()]
        self.table.free = _ranges(int(ipaddress.IPv4Address(first)), int(ipaddress.IPv4Address(last)), taken)

    def cloud(self, ranges: Sequence[str], tunnels: Sequence[Mapping[str, Any]]) -> None:
        """What the cloud's instances may have: addresses of ranges (FIRST-LAST) of the LAN, and those that the DHCP server gives to anybody."""
        taken = {int(ipaddress.IPv4Address(address)) for address in self.addresses.values()}
        numbers: set[int] = set()
        for text in [part for part in ranges if part]:
            try:
                first, last = address_range(text, self.network)
            except ValueError as error:
                self.table.problems.append(f"guest_filter_cloud_ranges: {error}.")
                continue
            numbers.update(range(int(first), int(last) + 1))
        for text in self.table.free:
            first, dummy, last = text.partition("-")
            numbers.update(range(int(ipaddress.IPv4Address(first)), int(ipaddress.IPv4Address(last or first)) + 1))
        if numbers:
            first, last = min(numbers), max(numbers)
            self.table.cloud_addresses = _ranges(first, last, taken | (set(range(first, last)) - numbers))
        for end in tunnels:
            self.table.tunnels.append(f"{end['mac']} . {end['address']}")
            self.table.machines.append(end["address"])
            self.table.site_macs.append(end["mac"])
            self.table.host_macs.append(end["mac"])


def make_table(
    machines: Sequence[Mapping[str, Any]],
    guests: Sequence[Mapping[str, Any]],
    network: str,
    bridge: str,
    routers: Sequence[str] = (),
    opened: Sequence[Mapping[str, Any]] = (),
    range_start: str = "",
    range_end: str = "",
    cloud_ranges: Sequence[str] = (),
    tunnels: Sequence[Mapping[str, Any]] = (),
) -> dict[str, list[str]]:
    """The sets of the table.

    machines: [{name, mac, address}], hosts of the inventory (mac or address may be empty)
    guests: [{name, mac, address, state, bridge}], of which all but the name may be missing
    network, bridge: the LAN, and the hypervisors' bridge to it; guests on other bridges are left out
    routers: names of the machines that serve DHCP and DNS and route
    opened: [{guest, to, protocol, port}], what guests may reach besides
    range_start, range_end: the DHCP server's range; empty for the role gateway's
    cloud_ranges: FIRST-LAST, addresses of the LAN that the cloud gives to instances
    tunnels: [{mac, address}], the ends of the tunnels between the cloud's nodes

    Returns the fields of Table.
    """
    table = Table()
    try:
        parsed = parse_network(network)
    except ValueError as error:
        return asdict(Table(problems=[f"The LAN: guest_filter_network {error}."]))
    reader = _Reader(table, parsed)
    reader.guests([guest for guest in guests if guest.get("state") != "absent" and guest.get("bridge", bridge) == bridge])
    reader.machines(machines, routers)
    reader.opened(opened)
    reader.free(range_start, range_end, routers)
    reader.cloud(cloud_ranges, tunnels)
    table.groups = ["224.0.0.0/4", "255.255.255.255", str(parsed.broadcast_address)]
    table.services, table.open = _merged(reader.services), _merged(reader.open)
    for name, value in vars(table).items():
        if name != "problems":
            setattr(table, name, sorted(set(value)))
    return asdict(table)
