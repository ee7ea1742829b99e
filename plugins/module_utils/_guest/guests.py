# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The guests of an inventory: what each entry of `guests` says, checked and with its defaults, in one place."""

from __future__ import annotations

import dataclasses
import ipaddress
import posixpath

from ansible_collections.our.cloud.plugins.module_utils._guest import description
from ansible_collections.our.cloud.plugins.module_utils._guest.arch import ARCHES
from ansible_collections.our.cloud.plugins.module_utils._site.address_plan import guest_mac, normalise_mac, short_name

STATES = ("running", "stopped", "absent")
LEAST_MEMORY = 16  # MiB
DISKS = "images"
TRUE, FALSE = ("true", "yes", "on", "1"), ("false", "no", "off", "0")


@dataclasses.dataclass(frozen=True)
class Guest:
    """One guest as it counts. memory: MiB; disk: absolute if the store is known, None: the one that its image gives it;
    kernel, ramdisk: as the inventory says them (paths or ids of the registry); None: not said."""

    name: str
    host: str
    kind: str
    memory: int
    vcpus: int = 1
    state: str = "running"
    mac: str = ""
    bridge: str | None = None
    address: str | None = None
    arch: str | None = None
    cpu: str | None = None
    image: str | None = None
    kernel: str | None = None
    ramdisk: str | None = None
    cmdline: str | None = None
    disk: str | None = None
    autostart: bool | None = None

    @property
    def family(self) -> str:
        """The hypervisor that runs it, xen or qemu."""
        return description.family(self.kind)

    def told(self) -> dict:
        """Its values by name, without those that are not said."""
        return {key: value for key, value in dataclasses.asdict(self).items() if value is not None}


KEYS = tuple(field.name for field in dataclasses.fields(Guest))
REQUIRED = ("host", "kind", "memory")


class Fault(Exception):
    """What is wrong with one key of an entry, and what is allowed."""


def _one_of(value: object, allowed) -> str:
    if value not in allowed:
        raise Fault(f"{value!r} is none of {', '.join(allowed)}")
    return str(value)


def _number(value: object, least: int, what: str) -> int:
    if isinstance(value, (bool, float)) or not str(value).isdecimal() or int(str(value)) < least:
        raise Fault(f"{value!r} is no {what}, which is a whole number of at least {least}")
    return int(str(value))


def _text(value: object) -> str:
    if not isinstance(value, str) or not value.strip() or "\n" in value:
        raise Fault(f"{value!r} is no text of one line")
    return str(value)


def _bool(value: object) -> bool:
    word = str(value).lower()
    if word not in TRUE + FALSE:
        raise Fault(f"{value!r} is neither true nor false")
    return word in TRUE


def _mac(value: object) -> str:
    try:
        return normalise_mac(value)
    except ValueError as error:
        raise Fault(str(error)) from None


def _address(value: object) -> str:
    try:
        return str(ipaddress.IPv4Address(str(value)))
    except ValueError:
        raise Fault(f"{value!r} is no IPv4 address") from None


def path_in(store: str, path: str) -> str:
    """A path of the store, of which there is one spelling only."""
    whole = posixpath.normpath(posixpath.join(store, path))
    return "/" + whole.lstrip("/") if whole.startswith("/") else whole


class Reader:
    """Reads the entries of `guests`; faults are collected, so that all of them are told at once.

    hosts: {hypervisor: xen or qemu}; store, bridge: of guests that name none."""

    def __init__(self, hosts: dict[str, str], store: str = "", bridge: str = "") -> None:
        self.hosts, self.store, self.bridge = hosts, store, bridge
        self.guests: list[Guest] = []
        self.faults: list[str] = []

    def read(self, entries: object) -> Reader:
        """All of them, then what they have in common and must not have."""
        if not isinstance(entries, (list, tuple)):
            self.faults.append(f"guests: {entries!r} is no list of guests")
            return self
        names = []
        for number, entry in enumerate(entries, 1):
            name = entry.get("name") if isinstance(entry, dict) else None
            if not isinstance(name, str) or not description.NAME.fullmatch(name):
                self.faults.append(f"entry {number} of guests: name: {name!r} is no name, which is letters, digits, dot, dash and underscore (63 at most)")
                continue
            names.append(name)
            guest = self._entry(entry)
            if guest:
                self.guests.append(guest)
        self._twice(names)
        return self

    def _entry(self, entry: dict) -> Guest | None:
        name, values, faults = str(entry["name"]), {"name": str(entry["name"])}, {}
        for key, value in entry.items():
            if key not in KEYS:
                faults[key] = f"there is no such key; allowed: {', '.join(KEYS)}"
            elif value is not None and key != "name":
                try:
                    values[key] = self._value(key, value)
                except Fault as fault:
                    faults[key] = str(fault)
        for key in REQUIRED:
            if key not in values and key not in faults:
                faults[key] = f"it is missing; needed: {', '.join(('name', *REQUIRED))}"
        values.setdefault("mac", guest_mac(name))
        if self.bridge:
            values.setdefault("bridge", self.bridge)
        if "kind" in values and not faults:
            faults.update(self._together(values))
        self.faults += [f"guest {name}: {key}: {text}" for key, text in faults.items()]
        return None if faults else Guest(**values)

    def _value(self, key: str, value: object) -> object:
        if key == "host":
            if value not in self.hosts:
                raise Fault(f"{value!r} is no hypervisor of the inventory; there are {', '.join(sorted(self.hosts)) or 'none'}")
            return str(value)
        if key in ("kind", "arch", "state"):
            return _one_of(value, {"kind": description.KINDS, "arch": tuple(ARCHES), "state": STATES}[key])
        if key == "memory":
            return _number(value, LEAST_MEMORY, "number of MiB")
        if key == "vcpus":
            return _number(value, 1, "number of CPUs")
        if key == "autostart":
            return _bool(value)
        if key == "mac":
            return _mac(value)
        if key == "address":
            return _address(value)
        text = _text(value)
        return path_in(self.store, text) if key == "disk" else text

    def _together(self, values: dict) -> dict[str, str]:
        """Faults of keys that do not go together; the values alone are right."""
        faults, kind, row = {}, values["kind"], ARCHES.get(values.get("arch"))
        family = description.family(kind)
        if self.hosts[values["host"]] != family:
            there = self.hosts[values["host"]]
            kinds = description.XEN_KINDS if there == "xen" else description.QEMU_KINDS
            faults["kind"] = f"its host {values['host']} cannot run {kind}; it runs {', '.join(kinds)}"
        if row and kind not in row.machine:
            faults["arch"] = f"kind {kind} does not exist for {row.debian}; kinds that do: {', '.join(sorted(row.machine))}"
        if family == "xen" and description.is_overlay(values.get("disk") or ""):
            faults["disk"] = f"{values['disk']} is a qcow2 one, and Xen takes raw ones"
        if values.get("state") != "absent" and not values.get("image") and not values.get("kernel"):
            if kind in ("pvh", "pv") or not (row or ARCHES["amd64"]).firmware or not values.get("disk"):
                faults["image"] = "it is missing, and nothing else says what the guest boots; give an image, or a kernel"
        return faults

    def _twice(self, names: list[str]) -> None:
        seen: dict[str, str] = {}
        for name in names:
            short = short_name(name)
            if short in seen:
                self.faults.append(f"guest {name}: name: it is there twice; rename one of them" if seen[short] == name else
                                   f"guests {seen[short]} and {name} have the same name {short} in the DNS; rename one of them")
            seen.setdefault(short, name)
        for what, of in (("MAC address", lambda guest: [guest.mac]), ("address", lambda guest: [guest.address]), ("disk", self.disks)):
            owners: dict[str, Guest] = {}
            told = set()
            for guest in self.guests:
                if guest.state == "absent":
                    continue
                for value in of(guest):
                    other = owners.setdefault(value, guest)
                    # a name that is there twice is told already
                    if value and other is not guest and other.name != guest.name and (other.name, guest.name) not in told:
                        told.add((other.name, guest.name))
                        self.faults.append(f"guests {other.name} and {guest.name} have the same {what} {value}; change it for one of them")

    def disks(self, guest: Guest) -> list[str]:
        """The disks that it may write on. On KVM, one of an image has a qcow2 one, or an older raw one."""
        if guest.disk:
            return [guest.disk]
        if not guest.image:
            return []
        return [path_in(self.store, f"{DISKS}/{guest.name}{suffix}") for suffix in ((".img",) if guest.family == "xen" else (".qcow2", ".img"))]


def hypervisors(groups: dict) -> dict[str, str]:
    """{host: xen or qemu} of an inventory's groups."""
    found = {host: "xen" for host in groups.get("xen", [])}
    found.update({host: "qemu" for host in groups.get("kvm", [])})
    return {host: family for host, family in found.items() if host in groups.get("hypervisors", found)}


def read(entries: object, groups: dict, store: str = "", bridge: str = "") -> Reader:
    """What an inventory declares: `guests` (those without a fault) and `faults`, one line each."""
    return Reader(hypervisors(groups), store, bridge).read(entries)
