# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a site can have a cloud: first by what its inventory says, then by facts of its machines. Only decisions, no requests."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from ansible_collections.our.cloud.plugins.module_utils._cloud.machine_facts import Facts
from ansible_collections.our.cloud.plugins.module_utils._site.machine_facts import SKEW

# The groups of the layer, from the front to the nodes.
CONTROLLERS = ("clc", "walrus", "sc", "cc")
GROUPS = CONTROLLERS + ("nc",)
# The groups that have one host at most; of cc the first one has neutron and OVN's databases.
SINGLE = ("clc", "walrus", "sc")
# MiB that the services of a group take at rest, and what the system has besides
MEMORY = {"clc": 1200, "walrus": 450, "sc": 400, "cc": 550, "nc": 500}
SYSTEM_MEMORY = 300
# Of the first host of cc, addresses of the LAN
RANGES = ("cc_floating_range", "cc_static_range")
TRUE = ("true", "yes", "on", "1", "y", "t")


def members(groups: Mapping[str, Iterable[str]], name: str) -> list[str]:
    """The hosts of a group; a group that is not there has none."""
    return list(groups.get(name) or [])


def machines(groups: Mapping[str, Iterable[str]]) -> list[str]:
    """All machines of the cloud, each once, in the order of the groups."""
    return list(dict.fromkeys(host for name in GROUPS for host in members(groups, name)))


def _is_true(value: object) -> bool:
    return str(value).strip().lower() in TRUE


# --- by the inventory alone -------------------------------------------------

@dataclass(frozen=True)
class Range:
    """Addresses of the inventory that belong together."""

    where: str  # the variable that says them, or in words
    first: ipaddress.IPv4Address
    last: ipaddress.IPv4Address

    def __str__(self) -> str:
        return f"{self.where} ({self.first}-{self.last})" if self.first != self.last else f"{self.where} ({self.first})"

    def meets(self, other: Range) -> bool:
        """Whether they have an address in common."""
        return self.first <= other.last and other.first <= self.last


def dynamic_range(network: ipaddress.IPv4Network, start: object, end: object) -> Range | None:
    """The addresses that the gateway gives away; by default the upper half of the LAN, as its role has it."""
    try:
        first = ipaddress.IPv4Address(str(start)) if start else network[network.num_addresses // 2]
        last = ipaddress.IPv4Address(str(end)) if end else network[-2]
    except ValueError:
        return None  # the gateway's own preflight says so
    return Range("the gateway's range (gateway_dhcp_range_start, gateway_dhcp_range_end)", first, last)


def read_range(where: str, text: object) -> Range:
    """A range of the inventory, FIRST-LAST. ValueError says what is wrong."""
    first, dummy, last = str(text).replace(" ", "").partition("-")
    try:
        one = Range(where, ipaddress.IPv4Address(first), ipaddress.IPv4Address(last or first))
    except ValueError:
        raise ValueError(f"{where} {text} is no range of IPv4 addresses: write its first and its last one, such as 192.168.77.64-192.168.77.95.") from None
    if one.first > one.last:
        raise ValueError(f"{where} {text} begins after its end: swap them.")
    return one


def range_faults(ranges: Mapping[str, object], lan: ipaddress.IPv4Network, taken: Mapping[str, str], dynamic: Range | None) -> list[str]:
    """What is wrong with ranges of the LAN that the cloud gives away: outside of it, on each other, on the gateway's, or on somebody's address.

    ranges: {variable: FIRST-LAST}; taken: {address: whose it is}."""
    faults: list[str] = []
    found: list[Range] = []
    for where, text in ranges.items():
        try:
            one = read_range(where, text)
        except ValueError as error:
            faults.append(str(error))
            continue
        if one.first not in lan or one.last not in lan:
            faults.append(f"{one} is not inside of the LAN {lan}: take addresses of that network, or leave it out.")
            continue
        if dynamic and one.meets(dynamic):
            faults.append(f"{one} overlaps {dynamic}: two machines would get one address. Move one of them.")
        faults += [f"{one} overlaps {other}: move one of them." for other in found if one.meets(other)]
        # by address, not by text
        faults += [f"{one} has {address}, the address of {owner}: move the range, or give {owner} another address."
                   for address, owner in sorted(taken.items(), key=lambda item: ipaddress.IPv4Address(item[0]))
                   if one.first <= ipaddress.IPv4Address(address) <= one.last]
        found.append(one)
    return faults


def network_faults(networks: Mapping[str, object], lan: ipaddress.IPv4Network) -> list[str]:
    """Networks of the cloud's own (tunnels, instances): none is the LAN, or another one's."""
    faults: list[str] = []
    found = {"the LAN (site_network)": lan}
    for where, text in networks.items():
        try:
            network = ipaddress.IPv4Network(str(text))
        except ValueError:
            faults.append(f"{where} {text} is no network: write one such as 10.250.0.0/20.")
            continue
        faults += [f"{where} {network} overlaps {other} {its}: take another network for {where}." for other, its in found.items() if network.overlaps(its)]
        found[where] = network
    return faults


def _addresses(entries: Iterable[tuple[str, object]]) -> dict[str, str]:
    """{address: whose}; what is no address is told by those whose business it is."""
    found = {}
    for owner, value in entries:
        try:
            found[str(ipaddress.IPv4Address(str(value)))] = owner
        except ValueError:
            continue
    return found


def group_faults(groups: Mapping[str, Iterable[str]]) -> list[str]:
    """What is wrong with who is what."""
    faults = []
    clc = members(groups, "clc")
    for name in SINGLE:
        hosts = members(groups, name)
        if len(hosts) > 1:
            faults.append(f"The group {name} has {len(hosts)} hosts ({', '.join(hosts)}), and a cloud has one {name}: leave one of them there.")
    rest = [name for name in GROUPS[1:] if members(groups, name)]
    if rest and not clc:
        faults.append(f"The inventory has {', '.join(rest)} and no clc, without which nobody can log in to them: put the machine into the group clc "
                      "that is to have database, queue, identity and the page.")
    if members(groups, "nc"):
        for name, what in (("walrus", "images"), ("cc", "networks")):
            if not members(groups, name):
                faults.append(f"The inventory has ncs and no {name}, so their instances would have no {what}: put a machine into the group {name}"
                              + (f"; the clc's own ({clc[0]}) will do." if clc else "."))
    for host in members(groups, "nc"):
        if host in members(groups, "xen"):
            faults.append(f"{host} is a Xen node and in the group nc: OpenStack's nova does not drive Xen any more. Take it out of nc; "
                          "the inventory's guests still run there.")
        elif host not in members(groups, "kvm"):
            faults.append(f"{host} is in the group nc and not in kvm: put it into kvm, too, which makes it a hypervisor.")
    return faults


def lan_faults(groups: Mapping[str, Iterable[str]], hosts: Mapping[str, Mapping], taken: Mapping[str, str]) -> list[str]:
    """What is wrong with the addresses that the cloud gives away."""
    network = members(groups, "cc")[:1]
    if not network:
        return []
    own = hosts[network[0]]
    try:
        lan = ipaddress.IPv4Network(str(own.get("site_network") or ""))
    except ValueError:
        return [f"site_network {own.get('site_network')!r} is no network: write one such as 192.168.77.0/24."]
    gateway = hosts[members(groups, "gateway")[0]] if members(groups, "gateway") else own
    dynamic = dynamic_range(lan, gateway.get("gateway_dhcp_range_start"), gateway.get("gateway_dhcp_range_end"))
    networks = {"cc_private_network": own.get("cc_private_network")}
    for host in members(groups, "nc"):
        networks["nc_tunnel_network"] = networks.get("nc_tunnel_network") or hosts[host].get("nc_tunnel_network")
    return (range_faults({name: own.get(name) for name in RANGES if own.get(name)}, lan, taken, dynamic)
            + network_faults({name: value for name, value in networks.items() if value}, lan))


def inventory_faults(groups: Mapping[str, Iterable[str]], hosts: Mapping[str, Mapping]) -> list[str]:
    """All that is known to be wrong before any machine is touched. hosts: Ansible's hostvars."""
    its = machines(groups)
    if not its:
        return []
    faults = group_faults(groups)
    for host in its:
        if not hosts[host].get("site_address"):
            faults.append(f"{host} has no site_address, by which the cloud's services connect: give it one in the inventory.")
    own = hosts[its[0]]
    taken = [(host, hosts[host].get("site_address")) for host in members(groups, "all") or its]
    twice: dict[str, str] = {}
    for host, address in taken:
        if address and host in its and twice.setdefault(str(address), host) != host:
            faults.append(f"{twice[str(address)]} and {host} have the same site_address {address}: change one of them.")
    taken += [(f"guest {entry.get('name')}", entry.get("address")) for entry in own.get("guests") or [] if entry.get("state") != "absent"]
    return faults + lan_faults(groups, hosts, _addresses(taken))


# --- by what the machines tell ----------------------------------------------

def memory_needed(groups: Mapping[str, Iterable[str]], host: str) -> int:
    """MiB that the cloud wants of a machine, instances excepted."""
    return SYSTEM_MEMORY + sum(MEMORY[name] for name in GROUPS if host in members(groups, name))


def memory_fault(groups: Mapping[str, Iterable[str]], host: str, facts: Facts) -> list[str]:
    """Too little memory, with what takes it."""
    needs, has = memory_needed(groups, host), facts.memory + facts.swap
    if has >= needs:
        return []
    parts = ", ".join(f"{name} {MEMORY[name]}" for name in GROUPS if host in members(groups, name))
    return [f"{host} has {facts.memory} MiB of memory and {facts.swap} of swap, and its part of the cloud takes {needs} "
            f"({parts}, the system {SYSTEM_MEMORY}): give it more, or put a group onto another machine."]


def clock_faults(facts: Mapping[str, Facts]) -> list[str]:
    """Two clocks that are apart. Of each machine it is known how far its clock is ahead of ours at least and at most, as the answer took its time."""
    known = {host: one.clock for host, one in facts.items() if one.clock}
    if len(known) < 2:
        return []
    ahead, behind = max(known, key=lambda host: known[host][0]), min(known, key=lambda host: known[host][1])
    apart = known[ahead][0] - known[behind][1]
    if apart <= SKEW:
        return []
    return [f"The clock of {ahead} is {apart:.0f} s or more ahead of that of {behind}, and {SKEW} s are the most: tokens and services would count "
            f"as expired. Let both follow one time server (`timedatectl set-ntp true`; `timedatectl timesync-status` shows it)."]


def twice_faults(values: Mapping[str, str], sentence: Callable[[str, str, str], str]) -> list[str]:
    """Two machines with one value that must differ. values: by machine."""
    owners: dict[str, str] = {}
    return [sentence(owners[value], host, value) for host, value in sorted(values.items()) if value and owners.setdefault(value, host) != host]


def store_faults(facts: Mapping[str, Facts], store: str, check: bool) -> list[str]:
    """A store that is not the same one on all machines. In a check it may be still to come."""
    lacks = sorted(host for host, one in facts.items() if not one.store.marker)
    kinds: dict[str, list[str]] = {}
    for host, one in sorted(facts.items()):
        if one.store.marker:
            kinds.setdefault(one.store.marker, []).append(host)
    faults = []
    if lacks and not check:
        faults.append(f"{', '.join(lacks)} {'has' if len(lacks) == 1 else 'have'} no store at {store}: put it into image_store or hypervisors, "
                      "and run playbooks/image_store.yml; instances could not be moved from node to node.")
    if len(kinds) > 1:
        faults.append(f"{store} is not the same store on all machines: " + "; ".join(f"{marker} on {', '.join(hosts)}" for marker, hosts in
                      sorted(kinds.items())) + f". Something else is mounted there: see `findmnt {store}` on each.")
    return faults


def machine_faults(groups: Mapping[str, Iterable[str]], hosts: Mapping[str, Mapping], facts: Mapping[str, Facts], check: bool = False) -> list[str]:
    """All that is wrong with the machines. facts: by machine; those that are left out of a run are not judged."""
    faults = []
    its = [host for host in machines(groups) if host in facts]
    for host in its:
        one = facts[host]
        faults += memory_fault(groups, host, one)
        if host in members(groups, "nc"):
            if not one.virtualization and not _is_true(hosts[host].get("kvm_allow_emulation", False)):
                faults.append(f"{host} offers no hardware virtualization, so its instances would have to be emulated: switch on VT-x or AMD-V in the "
                              "firmware if the CPU has it; or set kvm_allow_emulation: true (slow).")
        mac = str(hosts[host].get("site_mac") or "").lower().replace("-", ":")
        if mac and mac not in one.macs:
            faults.append(f"{host} has no network card with the MAC address {mac} (site_mac); it has {', '.join(one.macs) or 'none'}: correct site_mac.")
        faults += [f"{host} cannot resolve {name}{_why(name, one)}." for name in one.unresolved if not check]
    faults += clock_faults({host: facts[host] for host in its})
    faults += twice_faults({host: facts[host].system_id for host in its}, lambda first, second, value: (
        f"{first} and {second} have the same Open vSwitch system-id {value}, so that OVN considers them one node. On {second}: "
        "`rm /etc/openvswitch/system-id.conf; systemctl restart openvswitch-switch`."))
    stores = {hosts[host].get("site_store") for host in its} - {None, ""}
    if len(stores) > 1:
        faults.append(f"site_store differs among the cloud's machines ({', '.join(sorted(stores))}): it is one path, the same everywhere.")
    for store in sorted(stores) if len(stores) == 1 else ():
        faults += store_faults({host: facts[host] for host in its if host in members(groups, "nc") + members(groups, "walrus") + members(groups, "sc")},
                               store, check)
    return faults


def _why(name: str, facts: Facts) -> str:
    """What is amiss without the name, and what to do."""
    if name == facts.hostname:
        return (", its own name, which its queue and libvirt ask for: give it site_address and let the gateway's DNS answer there, "
                "or put it into /etc/hosts")
    return ", which cloud_public_host says: correct that, or put the name into the DNS that the machine asks"
