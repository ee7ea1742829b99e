# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The guests and instances of a site, in lines that people read: a table, and below it what somebody should look at."""

from __future__ import annotations

from collections.abc import Sequence

from ansible_collections.our.cloud.plugins.module_utils._guest import placement
from ansible_collections.our.cloud.plugins.module_utils._guest.domain import OURS
from ansible_collections.our.cloud.plugins.module_utils._guest.instance_facts import CloudCard, InstanceFacts
from ansible_collections.our.cloud.plugins.module_utils._guest.told import Copy, Hypervisor
from ansible_collections.our.cloud.plugins.module_utils._site.tables import table

HEAD = ("guest", "host", "state", "lease", "kind", "arch", "MiB", "CPUs", "image", "disk")


def state(guest: Copy) -> str:
    """In a few words."""
    if guest.migration:
        return f"moving to {guest.migration.target or '?'}"
    if guest.suspended:
        return "stands still"
    return f"{guest.state} ({guest.reason})" if guest.reason else guest.state


def rows(hosts: dict[str, Hypervisor], registry: dict) -> list[list]:
    """One for each guest and host; others' domains are none."""
    image_of = {guest: (image["names"] or [image["id"]])[0] for image in registry.get("images", []) for guest in image["guests"]}
    return sorted([guest.name, host, state(guest), guest.lease.host if guest.lease else None, guest.kind, guest.arch, guest.memory, guest.vcpus,
                   image_of.get(guest.name), [disk.path for disk in guest.disks if disk.path]]
                  for host, info in hosts.items() for guest in info.guests if not placement.is_others(guest))


def leased(text: str) -> dict[str, str]:
    """{MAC address: address} of dnsmasq's file of leases."""
    return {words[1]: words[2] for words in (line.split() for line in text.splitlines()) if len(words) >= 3 and ":" in words[1]}


def reached(card: CloudCard, leases: dict[str, str]) -> list[str]:
    """Where a card is reached: floating addresses first; what the LAN's DHCP server gave it; else its MAC address, which is all that is known."""
    return [*card.floating, *card.addresses] or [leases.get(card.mac, card.mac)]


def instance_rows(instances: Sequence[InstanceFacts], leases: dict[str, str]) -> list[list]:
    """The cloud's instances, after the guests: for each in addition the project and where it is reached."""
    return [[each.name, each.host, each.state, None, "instance", each.arch, each.memory, each.vcpus, each.image, None, each.project,
             list(dict.fromkeys(address for card in each.cards for address in reached(card, leases)))]
            for each in instances]


def instance_notes(instances: Sequence[InstanceFacts]) -> list[str]:
    """What somebody should look at among them."""
    return [f"{each.name} ({each.id}) has failed: {(each.fault or 'nova does not say why').rstrip('.')}. "
            f"playbooks/terminate.yml -e vm={each.id} removes it." for each in instances if each.status == "ERROR"]


def notes(hosts: dict[str, Hypervisor], families: dict[str, str], declared: set[str] | None,
          instances: Sequence[InstanceFacts] | None = None) -> list[str]:
    """What somebody should look at. declared: the names in the inventory, None: nobody knows; instances: likewise, of the cloud."""
    lines = []
    told = {each.id for each in instances or ()}
    silent = sorted(set(families) - set(hosts))
    if silent:
        lines.append(f"{', '.join(silent)} could not be asked. {placement.rescue(silent)}.")
    for name in sorted({guest.name for info in hosts.values() for guest in info.guests if not placement.is_others(guest)}):
        known = placement.places(name, hosts)
        its = {hosts[host].hypervisor for host in known}
        found = placement.locate(name, hosts, [host for host in silent if families[host] in its])
        if found.text:
            lines.append(found.text + ".")
        for host in found.stale:
            lines.append(f"{name} runs on {found.host}; {host} has an old definition of it, which playbooks/guests.yml takes away.")
        for host, guest in known.items():
            if guest.reason == "I/O error":
                lines.append(f"{name} on {host} is paused by an I/O error. Is the store full, or away? Mend that, then run playbooks/guests.yml.")
            if declared is not None and name not in declared and guest.owner == OURS:
                lines.append(f"{name} on {host} has left the inventory; nothing changes it any more.")
    for host, info in sorted(hosts.items()):
        if info.drained is not None:
            lines.append(f"{host} is drained by {info.errand.verb}.yml, which has not ended: playbooks/{info.errand.verb}.yml goes on." if info.errand else
                         f"{host} is drained: nothing is placed there ({placement.open_again(host)}).")
        lines += [f"{host}: Xen domain {orphan.domid} ({orphan.name}) is unknown to libvirt and holds {orphan.memory} MiB, left by an arrival that "
                  f"broke off. our.cloud.vm with state absent removes it there." for orphan in info.orphans]
        lines += [move.text + "." for move in info.moves]
        if info.store_error:
            lines.append(info.store_error)
        others: dict[str, list[int]] = {}
        for guest in info.guests:
            if placement.is_others(guest) and guest.uuid not in told:
                others.setdefault(str(guest.owner), []).append(guest.memory if guest.active else 0)
        lines += [f"{host} has {len(sizes)} domains of {owner}, with {sum(sizes)} MiB." for owner, sizes in sorted(others.items())]
    return lines


def guests(hosts: dict[str, Hypervisor], registry: dict, families: dict[str, str] | None = None, declared: list | None = None,
           instances: Sequence[InstanceFacts] | None = None, leases: str = "") -> list[str]:
    """Of what hypervisors told, and image_info returned. families: {hypervisor: xen or qemu} of the inventory; declared: its `guests`;
    instances: the cloud's, None where there is no cloud or it does not answer; leases: the gateway's, of those on the LAN."""
    names = None if declared is None else {entry.get("name") for entry in declared}
    below = notes(hosts, families or {}, names, instances) + instance_notes(instances or [])
    head, lines = HEAD, rows(hosts, registry)
    if instances:
        head, lines = (*HEAD, "project", "address"), [[*line, None, None] for line in lines] + instance_rows(instances, leased(leases))
    return table(head, lines) + ([""] + below if below else [])
