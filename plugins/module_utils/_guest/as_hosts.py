# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Guests and instances as hosts of an inventory: their names, what is known of each, and where it is reached."""

from __future__ import annotations

import dataclasses
import ipaddress
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.our.cloud.plugins.module_utils._guest import description, overview, placement
from ansible_collections.our.cloud.plugins.module_utils._guest.arch import ARCHES
from ansible_collections.our.cloud.plugins.module_utils._guest.guests import Guest
from ansible_collections.our.cloud.plugins.module_utils._guest.instance_facts import InstanceFacts
from ansible_collections.our.cloud.plugins.module_utils._guest.told import Hypervisor

# The groups, and the variable that has the facts
VARIABLES = {"guests": "guest", "instances": "instance"}
FACTS = ("name", "id", "project", "arch", "flavor", "memory", "vcpus", "image", "key")


@dataclass(frozen=True)
class Entry:
    """A guest or an instance as a host."""

    host: str  # its name in the inventory
    group: str  # guests or instances
    facts: dict[str, Any]  # the value of its variable `guest` or `instance`; each of a group has the same keys
    near: str  # a hypervisor, which is reached as this is; empty: any

    @property
    def address(self) -> str | None:
        """Where it is reached; None: nobody has said it."""
        return self.facts["address"]


def checked(address: object) -> str | None:
    """An address if it is one: it becomes an argument of ssh."""
    try:
        return str(ipaddress.ip_address(str(address)))
    except ValueError:
        return None


def declared(guests: Iterable[Guest], images: object = ()) -> list[Entry]:
    """Those of the inventory that are to be there. images: its `guests_images`, which may say the architecture of a guest that does not."""
    arches = {image.get("name"): image.get("arch") for image in images or () if isinstance(image, Mapping)} if isinstance(images, (list, tuple)) else {}
    return [Entry(guest.name, "guests", {**dataclasses.asdict(guest), "family": guest.family, "arch": guest.arch or arches.get(guest.image),
                                         "node": None, "status": None}, guest.host)
            for guest in guests if guest.state != "absent"]


def _debian(libvirt: str | None) -> str | None:
    """Debian's name of an architecture, where libvirt's belongs to one alone."""
    names = [row.debian for row in ARCHES.values() if row.libvirt == libvirt]
    return names[0] if len(names) == 1 else None


def seen(entries: Sequence[Entry], families: Mapping[str, str], hosts: Mapping[str, Hypervisor], leases: Mapping[str, str]) -> list[Entry]:
    """The declared guests with what hypervisors told of them. families: {hypervisor: xen or qemu} of the inventory; leases: {MAC address: address}.

    One that a silent hypervisor may have keeps what the inventory says."""
    found = []
    for entry in entries:
        facts = dict(entry.facts)
        silent = [host for host, family in families.items() if family == facts["family"] and host not in hosts]
        where = placement.locate(entry.host, hosts, silent)
        copy = placement.places(entry.host, hosts).get(where.host or "")
        if copy:
            facts.update(node=where.host, status=overview.state(copy), arch=facts["arch"] or _debian(copy.arch))
        elif where.verdict != placement.UNKNOWN:
            facts["status"] = {placement.NOWHERE: "nowhere"}.get(where.verdict, "unclear")
        facts["address"] = facts["address"] or checked(leases.get(facts["mac"]))
        found.append(dataclasses.replace(entry, facts=facts, near=facts["node"] or entry.near))
    return found


def instances(known: Sequence[InstanceFacts], leases: Mapping[str, str], taken: Collection[str]) -> tuple[list[Entry], list[str]]:
    """The cloud's instances, and sentences about those that are left out. taken: names of hosts and groups.

    Users of the cloud choose the names. With the project behind it, none is that of a machine or a group that a play is for."""
    names = [f"{each.name}.{each.project}" if each.project else each.id for each in known]
    entries, left = [], []
    for each, name in zip(known, names):
        if names.count(name) > 1 or name in taken or not description.NAME.fullmatch(name):
            name = each.id
        addresses = [each.address, *(leases.get(card.mac) for card in each.cards)]
        address = next(filter(None, map(checked, addresses)), None)
        if not address:
            left.append(f"instance {each.id} is left out: neither the cloud nor the gateway's leases say its address")
            continue
        facts = {key: getattr(each, key) for key in FACTS}
        entries.append(Entry(name, "instances", {**facts, "address": address, "node": each.host, "status": each.state}, each.host or ""))
    return entries, left
