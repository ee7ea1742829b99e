# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A hypervisor is taken out of use while guests run: what moves where, what cannot, what became of it, and how guests return."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from ansible_collections.our.cloud.plugins.module_utils._common import shapes
from ansible_collections.our.cloud.plugins.module_utils._guest import placement
from ansible_collections.our.cloud.plugins.module_utils._guest.domain import OURS
from ansible_collections.our.cloud.plugins.module_utils._guest.instance_facts import InstanceFacts
from ansible_collections.our.cloud.plugins.module_utils._guest.placement import HERE, MODES, MOVING
from ansible_collections.our.cloud.plugins.module_utils._guest.told import Copy, Hypervisor
from ansible_collections.our.cloud.plugins.module_utils._site.tables import table

REASON = "drained by our.cloud.drain"  # why nova's service on a drained node is disabled
NOVA = "nova"


@dataclasses.dataclass(frozen=True)
class Move:
    """One move of a drain. It has what the filters for moves of instances want to know."""

    key: str  # what tells it from the others
    name: str
    source: str
    target: str
    mode: str  # live, suspend, offline
    memory: int  # MiB that it needs there
    instance: InstanceFacts | None = None  # if it is one

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Move:
        """From an element of what the filter drain_plan returned."""
        return dataclasses.replace(shapes.of(cls, told), instance=InstanceFacts.of(told["instance"]) if told.get("instance") else None)


@dataclasses.dataclass(frozen=True)
class Drain:
    """What `drain.yml -e host=NODE` is to do."""

    host: str = ""
    error: str = ""  # why nothing may be done; empty if something may
    wrong: str = ""  # the error, if it is of what was asked for and could be told before anybody is asked
    moves: tuple[Move, ...] = ()  # the largest first
    stay: tuple[str, ...] = ()  # sentences: what runs there and cannot be moved, why, and what to do
    notes: tuple[str, ...] = ()  # sentences: what else is there
    lines: tuple[str, ...] = ()  # the moves as a table
    there: tuple[str, ...] = ()  # names of all domains on the host


# --- which host is meant ----------------------------------------------------

def asked_for(verb: str, host: str | None, known: Collection[str], fit: Collection[str], what: str = "Hypervisors") -> tuple[str, str]:
    """The host that a playbook is asked for, and what is wrong with that, as far as it can be told before anybody is asked; empty if nothing is.
    known: all hosts of the inventory; fit: those that may be meant, and what these are."""
    name = str(host or "").strip()
    names = [one.strip() for one in name.split(",") if one.strip()]
    there = f"{what}: {', '.join(sorted(fit)) or 'none'}."
    if not names:
        return "", f"Which host? Give it with -e host=NAME. {there}"
    if len(names) > 1:
        return "", (f"{' and '.join(names)} are {len(names)} hosts, and this is for one at a time, as the others take its guests: "
                    f"playbooks/{verb}.yml -e host={names[0]}, then -e host={names[1]}.")
    if name not in known:
        return "", f"{name} is no host of the inventory. {there}"
    if name not in fit:
        return "", f"{name} is none of the site's {what.lower()}. {there}"
    return name, ""


def silent(host: str) -> str:
    """The error of a host that does not answer."""
    return f"{host} could not be asked. {placement.rescue([host])}."


# --- what is there ----------------------------------------------------------

def is_ours(copy: Copy, declared: Collection[str]) -> bool:
    """Whether a domain is a guest of ours: it says so, or says nothing and the inventory has its name."""
    return copy.owner == OURS or copy.owner is None and copy.name in declared


def whose(copy: Copy) -> str:
    """Of a domain that is not ours, in words."""
    return f"belongs to {copy.owner}" if copy.owner else "does not say whose it is, and is not in the inventory"


def awaited(hosts: Mapping[str, Hypervisor]) -> dict[str, int]:
    """{host: MiB} of the guests that are on their way there. What of them has arrived counts twice, which errs on the safe side."""
    found: dict[str, int] = {}
    for info in hosts.values():
        for copy in info.guests:
            if copy.migration and copy.migration.target:
                found[copy.migration.target] = found.get(copy.migration.target, 0) + placement.need(copy, info.hypervisor)
    return found


def modes(copy: Copy, family: str) -> tuple[str, ...]:
    """The modes in which a guest of this kind can move while it has memory (see _move/prechecks.py)."""
    if family == "xen" and (copy.arch or "").startswith(("arm", "aarch")):
        return ("offline",)
    return ("suspend", "offline") if copy.kind == "pv" else MODES


def _mode(copy: Copy, family: str, mode: str) -> tuple[str, str]:
    """How a guest moves, and why it does not, with the remedy. mode: for those that cannot do it live."""
    able = modes(copy, family)
    if "live" in able:
        return "live", ""
    if mode in able:
        return mode, ""
    ways = {"suspend": "-e mode=suspend saves it and lets it go on there", "offline": "-e mode=offline powers it off and starts it there"}
    return "", (f"{copy.name} cannot be moved live, as a guest of kind {copy.kind}{' on ARM' if able == ('offline',) else ''}: "
                f"{'; '.join(ways[each] for each in able)}.")


@dataclasses.dataclass(frozen=True)
class _Wanted:
    """What wants to leave."""

    name: str
    mode: str
    memory: int  # MiB that it needs elsewhere
    instance: InstanceFacts | None = None


class Planner:
    """Plans the drain of one host. hosts: what answered; declared: names of the inventory's guests; nodes: the cloud's node controllers;
    instances: the cloud's, None: it does not answer; mode: of guests that cannot move live; avoid: hosts that are targets only where no other one has
    room."""

    def __init__(self, host: str, hosts: Mapping[str, Hypervisor], declared: Collection[str], nodes: Collection[str],
                 instances: Sequence[InstanceFacts] | None, mode: str = "", avoid: Collection[str] = ()) -> None:
        self.host, self.hosts, self.declared, self.nodes, self.mode, self.avoid = host, hosts, declared, nodes, mode, avoid
        self.here, self.family = hosts[host], hosts[host].hypervisor
        self.is_node = host in nodes
        self.instances = instances if self.is_node else ()
        self.wanted: list[_Wanted] = []
        self.stay: list[str] = []
        self.notes: list[str] = []

    def plan(self) -> Drain:
        """What is to be done."""
        known = {each.id: each for each in self.instances or ()}
        for copy in self.here.guests:
            if is_ours(copy, self.declared):
                self._guest(copy)
            elif not (self.is_node and copy.owner == NOVA and (copy.uuid in known or self.instances is None)):
                self._others(copy)
        if self.instances is None:
            self.stay.append(f"The cloud controller does not answer, so nobody knows the instances on {self.host}. "
                             "playbooks/cloud_status.yml tells why.")
        for each in known.values():
            if each.host == self.host:
                self._instance(each)
        self.stay += [f"Xen domain {orphan.domid} ({orphan.name}) on {self.host} is unknown to libvirt, left by an arrival that broke off. "
                      "our.cloud.vm with state absent removes it there." for orphan in self.here.orphans]
        moves = self._targets()
        rows = [[move.name, "instance" if move.instance else "guest", move.memory, move.source, move.target, move.mode] for move in moves]
        return Drain(self.host, moves=tuple(moves), stay=tuple(self.stay), notes=tuple(self.notes),
                     lines=tuple(table(("moves", "is", "MiB", "from", "to", "mode"), rows)) if rows else (),
                     there=tuple(copy.name for copy in self.here.guests))

    def _guest(self, copy: Copy) -> None:
        found = placement.locate(copy.name, self.hosts)
        if not copy.active:
            if found.host in (None, self.host):
                self.notes.append(f"{copy.name} is {copy.state} on {self.host} and stays: nothing starts it while {self.host} is off. "
                                  f"playbooks/migrate.yml -e vm={copy.name} moves its definition.")
            return
        if found.verdict == MOVING and found.host == self.host:
            self.notes.append(found.text + ".")
        elif found.verdict != HERE or found.host != self.host:
            self.stay.append(found.text + ".")
        else:
            mode, why = _mode(copy, self.family, self.mode)
            if why:
                self.stay.append(why)
            else:
                self.wanted.append(_Wanted(copy.name, mode, placement.need(copy, self.family)))

    def _others(self, copy: Copy) -> None:
        if copy.active:
            self.stay.append(f"{copy.name} on {self.host} {whose(copy)}: nothing here touches it. Move or stop it by what made it.")

    def _instance(self, each: InstanceFacts) -> None:
        domain = next((copy for copy in self.here.guests if copy.uuid == each.id), None)
        runs = domain is not None and domain.active
        if each.task:
            self.stay.append(f"nova is busy with instance {each.name} ({each.task}). Wait for that to end.")
        elif each.status in ("ACTIVE", "PAUSED") and runs and not each.locked:
            self.wanted.append(_Wanted(each.name, "live", each.memory + placement.OVERHEAD["qemu"], each))
        elif each.locked and runs:
            self.stay.append(f"Instance {each.name} is locked. Unlock it: `openstack server unlock {each.id}`.")
        elif runs:
            self.stay.append(f"Instance {each.name} is {each.status}, and nova only moves what it has as running, yet libvirt runs it. "
                             f"`openstack server reboot --hard {each.id}`, or playbooks/terminate.yml -e vm={each.id}.")
        elif each.status in ("ACTIVE", "PAUSED"):
            self.stay.append(f"nova has instance {each.name} running on {self.host}, and libvirt there does not run it. "
                             f"`openstack server reboot --hard {each.id}` starts it again.")
        else:
            self.notes.append(f"Instance {each.name} is {each.state or each.status} on {self.host} and stays: nobody can start it while {self.host} is off. "
                              f"`openstack server migrate {each.id}` moves it.")

    def _targets(self) -> list[Move]:
        """Who goes where: the largest first, so that the small ones fill what is left; each to where most is free then."""
        coming = awaited(self.hosts)
        free = {host: info.memory.free - coming.get(host, 0) for host, info in self.hosts.items()
                if host != self.host and info.hypervisor == self.family and info.drained is None}
        moves, names = [], [one.name for one in self.wanted]
        for one in sorted(self.wanted, key=lambda one: (-one.memory, one.name)):
            among = {host: room for host, room in free.items() if one.instance is None or host in self.nodes}
            target = max(sorted(among), key=lambda host: (among[host] >= one.memory and host not in self.avoid, among[host]), default="")
            if not target or among[target] < one.memory:
                self.stay.append(self._nowhere(one, among, target))
                continue
            free[target] -= one.memory
            key = f"move-{one.name}" + (f"-{one.instance.id}" if one.instance and names.count(one.name) > 1 else "")
            moves.append(Move(key, one.name, self.host, target, one.mode, one.memory, one.instance))
        return moves

    def _nowhere(self, one: _Wanted, among: Mapping[str, int], most: str) -> str:
        closed = sorted(host for host, info in self.hosts.items() if host != self.host and info.hypervisor == self.family and info.drained is not None)
        opens = f" {closed[0]} is drained: {placement.open_again(closed[0])}." if closed else ""
        if most:
            return (f"{one.name} needs {one.memory} MiB, and no hypervisor of its kind has more than {max(among[most], 0)} MiB left "
                    f"({most}). Stop another guest, or give this one less memory.{opens}")
        kind = "node controller" if one.instance else f"hypervisor of its kind ({self.family})"
        return f"{one.name} has nowhere to go: no other {kind} {'is open' if closed else 'answers'}. Bring one up.{opens}"


def plan(host: str, hosts: Mapping[str, Hypervisor], declared: Collection[str] = (), nodes: Collection[str] = (),
         instances: Sequence[InstanceFacts] | None = (), mode: str = "", avoid: Collection[str] = ()) -> Drain:
    """See Planner. The host is one that may be asked for."""
    if mode and mode not in MODES:
        text = f"mode is {mode}, which is none of {', '.join(MODES)}."
        return Drain(host, error=text, wrong=text)
    if host not in hosts:
        return Drain(host, error=silent(host))
    return Planner(host, hosts, declared, nodes, instances, mode, avoid).plan()


# --- what became of it ------------------------------------------------------

@dataclasses.dataclass(frozen=True)
class Summary:
    """How a drain ended."""

    lines: tuple[str, ...]  # a table of the moves
    faults: tuple[str, ...]  # sentences: what was not moved, or is not where it should be


def summary(host: str, moves: Sequence[Move], there: Collection[str], results: Mapping[str, Mapping[str, Any]], hosts: Mapping[str, Hypervisor],
            declared: Collection[str] = ()) -> Summary:
    """How the moves ended. there: names of what was on the host before; results: by key, `moved` (what the module returned) or `failure` (a sentence);
    hosts: what is where afterwards."""
    rows, faults = [], []
    for move in moves:
        result = results.get(move.key) or {"failure": f"{move.name}: nobody has heard how its move to {move.target} ended (playbooks/list.yml tells)"}
        moved = result.get("moved") or {}
        stood, sent = moved.get("downtime_ms"), moved.get("transferred")
        rows.append([move.name, move.source, move.target, move.mode, "moved" if moved else "failed",
                     "%.1f" % (moved["total_ms"] / 1000) if moved.get("total_ms") is not None else None, None if stood is None else str(stood),
                     None if sent is None else str(sent >> 20)])
        if result.get("failure"):
            faults.append(str(result["failure"]).rstrip(".") + ".")
    gone = {move.name for move in moves if not move.instance and (results.get(move.key) or {}).get("moved")}
    for copy in hosts[host].guests if host in hosts else ():
        if copy.active and is_ours(copy, declared) and (copy.name in gone or copy.name not in there):
            faults.append(f"{copy.name} runs on {host}, {'though its move said that it had gone' if copy.name in gone else 'where it came meanwhile'}.")
    return Summary(tuple(table(("moved", "from", "to", "mode", "ended", "seconds", "ms it stood still", "MiB sent"), rows)) if rows else (), tuple(faults))


# --- and back ---------------------------------------------------------------

def returns(host: str, guests: Sequence[Mapping[str, Any]], hosts: Mapping[str, Hypervisor]) -> list[str]:
    """After an undrain: which guests have this host in the inventory and run elsewhere, and the command that moves them back.
    guests: the inventory's; hosts: what answered."""
    away = []
    for guest in guests:
        if guest.get("host") == host:
            found = placement.locate(str(guest.get("name")), hosts)
            if found.verdict == HERE and found.host != host:
                away.append((str(guest["name"]), str(found.host)))
    if not away:
        return []
    names = [name for name, dummy in away]
    return [f"{', '.join(f'{name} (now on {where})' for name, where in away)} {'has' if len(away) == 1 else 'have'} the host {host} in the inventory and "
            f"{'stays' if len(away) == 1 else 'stay'} elsewhere until somebody moves {'it' if len(away) == 1 else 'them'} back:",
            f"ansible-playbook our.cloud.migrate -e vm={names[0]} -e target={host}" if len(away) == 1 else
            f"for vm in {' '.join(names)}; do ansible-playbook our.cloud.migrate -e vm=$vm -e target={host} || break; done"]
