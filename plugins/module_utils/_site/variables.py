# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The variables that all layers have in common (site_...): which an inventory must set for a layer, and what is wrong with those that it sets."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping

from ansible_collections.our.cloud.plugins.module_utils._site.address_plan import is_domain, normalise_mac, parse_address, parse_network
from ansible_collections.our.cloud.plugins.module_utils._site.machines import site_hosts

ALL = "set it in group_vars/all.yml, such as"
EACH = "set it for each of them, such as"


# What each is, and how it is set.
VARIABLES = {
    "site_network": ("the LAN", f"{ALL} 192.168.77.0/24"),
    "site_domain": ("the LAN's DNS domain", f"{ALL} cloud.lan"),
    "site_store": ("the store's path on every machine", f"{ALL} /srv/cloud"),
    "site_bridge": ("the bridge on hypervisors", f"{ALL} br0"),
    "site_mac": ("the MAC address of a machine's card on the LAN", f'{EACH} "52:54:00:12:34:56", in quotes'),
    "site_address": ("a machine's address on the LAN", f"{EACH} 192.168.77.11"),
}

# By layer and group: what must be there, unless one of the variables behind it is set, which say the same for a role, or switch off what wants it.
_CLOUD: dict[str, tuple[str, ...]] = {"site_store": (), "site_address": ()}
NEEDS: dict[str, dict[str, dict[str, tuple[str, ...]]]] = {
    "gateway": {
        "gateway": {"site_network": ("gateway_network",), "site_domain": ("gateway_domain",), "site_address": ("gateway_address",),
                    "site_mac": ("gateway_private_mac", "gateway_private_interface")}},
    "image_store": {
        "image_store": {"site_store": ("image_store_path",), "site_address": ("image_store_server_address", "image_store_kind")},
        "hypervisors": {"site_store": ("image_store_path",), "site_address": ("image_store_clients", "image_store_kind")}},
    "hypervisors": {
        "hypervisors": {"site_network": ("guest_filter_network", "guest_filter_enabled"), "site_domain": ("relocation_enabled",),
                        "site_store": ("lease_store",), "site_bridge": ("bridge_name",), "site_mac": ("bridge_interface",),
                        "site_address": ("relocation_address", "relocation_enabled")}},
    "cloud": {
        "clc": _CLOUD, "walrus": _CLOUD, "sc": _CLOUD, "cc": {**_CLOUD, "site_network": (), "site_domain": ()}, "nc": {**_CLOUD, "site_network": ()}},
    "guests": {
        "image_store": {"site_store": ("guests_store",), "site_bridge": ("guests_bridge",)},
        "hypervisors": {"site_store": ("guests_store",), "site_bridge": ("guests_bridge",)}},
}


def store_path(value: object) -> str:
    """The store's path; ValueError says what is wrong with it."""
    if not re.match(r"(/(?!\.\.?(/|\Z))[A-Za-z0-9._-]+)+\Z", str(value)):
        raise ValueError(f"{str(value)!r} is no path for a store: write one of plain letters, without a slash at its end, such as /srv/cloud")
    return str(value)


def bridge_name(value: object) -> str:
    """The bridge's name; ValueError says what is wrong with it."""
    if not re.match(r"[A-Za-z][A-Za-z0-9_.-]{0,14}\Z", str(value)):
        raise ValueError(f"{str(value)!r} is no name of a bridge: write at most 15 letters, digits and _.-, such as br0")
    return str(value)


def domain_name(value: object) -> str:
    """The LAN's domain; ValueError says what is wrong with it."""
    if not is_domain(value):
        raise ValueError(f"{str(value)!r} is not a domain: write one such as cloud.lan")
    return str(value)


def seconds(value: object) -> int:
    """A time; ValueError says what is wrong with it."""
    if not re.match(r"[0-9]+\Z", str(value)):
        raise ValueError(f"{str(value)!r} is no time: write a number of seconds, such as 120")
    return int(str(value))


COMMON: dict[str, Callable] = {"site_network": parse_network, "site_domain": domain_name, "site_store": store_path, "site_bridge": bridge_name,
                               "site_reach_timeout": seconds}
# of all machines alike
SAME = ("site_network", "site_domain", "site_store")


class _Hosts:
    """What an inventory says of its hosts, and what is wrong with it."""

    def __init__(self, hostvars: Mapping[str, Mapping], groups: Mapping[str, Iterable[str]]) -> None:
        self.faults: list[str] = []
        self.machines = site_hosts(groups)
        # a host of any group is on the LAN if it has an address or a MAC address there
        self.all = list(groups.get("all") or ())
        self._hostvars = hostvars
        self._read: dict[tuple[str, str], str | None] = {}
        # of each variable that refers to something that does not exist: why, and whose it is
        self._broken: dict[tuple[str, str], list[str]] = {}

    def value(self, host: str, variable: str) -> str | None:
        """As text; None if it is not set, or empty, or cannot be read."""
        if (host, variable) not in self._read:
            try:
                value = self._hostvars[host].get(variable)
                self._read[host, variable] = "" if value is None else str(value)
            except Exception as error:  # whatever a template or a lookup in it raises; it becomes one of the faults
                self._read[host, variable] = None
                self._broken.setdefault((variable, " ".join(str(error).split())), []).append(host)
        return self._read[host, variable] or None

    def is_set(self, host: str, variable: str) -> bool:
        """Also to something that cannot be read."""
        return bool(self.value(host, variable)) or self._read[host, variable] is None

    def values(self, variable: str, hosts: Iterable[str]) -> dict[str, list[str]]:
        """Whose is which value, as text."""
        found: dict[str, list[str]] = {}
        for host in hosts:
            value = self.value(host, variable)
            if value is not None:
                found.setdefault(value, []).append(host)
        return found

    def complain(self, hosts: Iterable[str], text: str) -> None:
        """A fault of these hosts."""
        self.faults.append(f"{', '.join(hosts)}: {text}.")

    def end(self) -> list[str]:
        """All faults, when everything has been looked at."""
        for (variable, why), hosts in self._broken.items():
            self.complain(hosts, f"{variable} cannot be read ({why}): correct what it refers to")
        return self.faults


def site_faults(hostvars: Mapping[str, Mapping], groups: Mapping[str, Iterable[str]], layers: Iterable[str]) -> list[str]:
    """All that is wrong with the site's variables. hostvars, groups: Ansible's. layers: those for which they are needed."""
    told = _Hosts(hostvars, groups)
    _missing(told, groups, layers)
    network = _common(told)
    for host in told.all:
        _own(told, host, network)
    _twice(told)
    return told.end()


def _missing(told: _Hosts, groups: Mapping[str, Iterable[str]], layers: Iterable[str]) -> None:
    missing: dict[str, dict[str, None]] = {}
    for layer in layers:
        for group, needs in NEEDS[layer].items():
            for host in groups.get(group) or ():
                for variable, instead in needs.items():
                    if not any(told.is_set(host, each) for each in (variable, *instead)):
                        missing.setdefault(variable, {})[host] = None
    for variable, (what, remedy) in VARIABLES.items():
        if variable in missing:
            told.complain(missing[variable], f"{variable}, {what}, is not set: {remedy}")


def _common(told: _Hosts) -> ipaddress.IPv4Network | None:
    """What the machines have in common. Returns the LAN, if there is one."""
    good: dict[str, list] = {}
    for variable, check in COMMON.items():
        values = told.values(variable, told.machines)
        for value, hosts in values.items():
            try:
                good.setdefault(variable, []).append(check(value))
            except ValueError as error:
                told.complain(hosts, f"{variable} {error}")
        if variable in SAME and len(values) > 1:
            told.faults.append(f"{variable} differs ({'; '.join(f'{value} of ' + ', '.join(hosts) for value, hosts in values.items())}), and is "
                               f"{VARIABLES[variable][0]}: set it once, in group_vars/all.yml.")
    lans = good.get("site_network", [])
    return lans[0] if len(lans) == 1 else None


def _own(told: _Hosts, host: str, network: ipaddress.IPv4Network | None) -> None:
    mac, address = told.value(host, "site_mac"), told.value(host, "site_address")
    try:
        if mac is not None:
            normalise_mac(mac)
    except ValueError as error:
        told.complain([host], f"site_mac {error}")
    try:
        if address is not None and network:
            parse_address(address, network)
        elif address is not None:
            ipaddress.ip_address(address)
    except ValueError as error:
        told.complain([host], f"site_address {error}")


def _twice(told: _Hosts) -> None:
    for variable in ("site_mac", "site_address"):
        found: dict[str, list[str]] = {}
        for value, hosts in told.values(variable, told.all).items():
            found.setdefault(value.strip().lower().replace("-", ":") if variable == "site_mac" else value, []).extend(hosts)
        for value, hosts in found.items():
            if len(hosts) > 1:
                told.complain(hosts, f"they have the same {variable} {value}: each machine has its own, so change it")
