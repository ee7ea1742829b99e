# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Machines are upgraded, or restarted, one after the other: which, in which order, what keeps them from it, whether they are well, how it ended."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from ansible_collections.our.cloud.plugins.module_utils._guest import drain, ready
from ansible_collections.our.cloud.plugins.module_utils._guest.guests import hypervisors
from ansible_collections.our.cloud.plugins.module_utils._guest.instance_facts import InstanceFacts
from ansible_collections.our.cloud.plugins.module_utils._guest.ready import CONTROLLERS, Routers
from ansible_collections.our.cloud.plugins.module_utils._guest.told import Hypervisor
from ansible_collections.our.cloud.plugins.module_utils._site.machine_facts import Machine
from ansible_collections.our.cloud.plugins.module_utils._site.machines import site_hosts
from ansible_collections.our.cloud.plugins.module_utils._site.store import store_host
from ansible_collections.our.cloud.plugins.module_utils._site.tables import table

UPGRADE, REBOOT = "upgrade", "reboot"
# When a machine is restarted in its turn
ALWAYS, WANTED, NEVER = "always", "wanted", "never"
# What these packages bring is in use after a restart
BOOTED = ("linux-image-", "xen-hypervisor-")
# Units that run on every hypervisor
NEEDED = ("libvirtd", "our-cloud-lease")
FILTER = "nft-table@"
NOTHING_WAITS = "nothing waits there"


@dataclasses.dataclass(frozen=True)
class Turn:
    """What is done on one machine."""

    host: str
    drain: bool = False  # whether it is a hypervisor, which is emptied before
    resumed: bool = False  # whether it is drained by a run that broke off
    undrain: bool = False  # whether it is taken into use again; not if somebody had drained it
    restart: str = WANTED  # ALWAYS, WANTED: if what runs is older than what is installed; NEVER
    guests: int = 0  # guests and instances that run there now
    packages: int = 0  # that wait for an upgrade
    why: str = ""  # what is known to want a restart
    units: tuple[str, ...] = ()  # that are to run there


@dataclasses.dataclass(frozen=True)
class Plan:
    """What `upgrade.yml` or `reboot.yml` is to do."""

    verb: str = ""
    error: str = ""  # why nothing may be done; empty if something may
    wrong: str = ""  # the error, if it is of what was asked for and could be told before anybody is asked
    began: float = 0  # when this run began, or the one that broke off and that it continues; seconds since 1970
    meant: tuple[str, ...] = ()  # the machines
    turns: tuple[Turn, ...] = ()  # in this order
    stay: tuple[str, ...] = ()  # sentences: what would keep one of them from its turn, and what to do
    notes: tuple[str, ...] = ()  # sentences: what one should know
    lines: tuple[str, ...] = ()  # the turns as a table


# --- what is meant ----------------------------------------------------------

def asked_for(verb: str, host: str, groups: Mapping[str, Sequence[str]]) -> tuple[list[str], str]:
    """The machines that a playbook is asked for, and what is wrong with that. host: names with commas; without any, all hypervisors are meant."""
    names = list(dict.fromkeys(name.strip() for name in str(host or "").split(",") if name.strip()))
    known, fit = groups.get("all", ()), site_hosts(groups)
    for name in names:
        if name not in known:
            return [], f"{name} is no host of the inventory. Machines: {', '.join(sorted(fit))}."
        if name not in fit:
            return [], f"{name} is none of the site's machines. Machines: {', '.join(sorted(fit))}."
    if not names and not hypervisors(dict(groups)):
        return [], f"The inventory has no hypervisor. Name a machine: playbooks/{verb}.yml -e host=NAME. Machines: {', '.join(sorted(fit)) or 'none'}."
    return names, ""


def waiters(host: str, groups: Mapping[str, Sequence[str]]) -> list[str]:
    """What stands still while this machine's services, or all of it, restart, as sentences; none: nobody waits for it."""
    found = []
    others = [name for name in site_hosts(groups) if name != host]
    if host in groups.get("image_store", ()) and store_host(dict(groups)) == host:
        clients = [name for name in others if name in groups.get("hypervisors", ())]
        if clients:
            found.append(f"{host} is the image store of {', '.join(clients)}: while it restarts, their guests wait for their disks, and go on afterwards.")
    if host in groups.get("gateway", ()) and others:
        found.append(f"{host} is the gateway: while it restarts, nobody gets an address or a name from it, and nobody gets in or out.")
    its = [name for name in CONTROLLERS if host in groups.get(name, ())]
    if its:
        found.append(f"{host} is {', '.join(its)}: while it restarts, the cloud's services do not answer; instances go on.")
    return found


# --- what a machine wants ---------------------------------------------------

def silence(told: Mapping[str, Any]) -> str:
    """Why a module has told nothing, of its result."""
    return str(told.get("msg") or "nobody has asked it")


def machine(told: Mapping[str, Any]) -> Machine | str:
    """From what machine_info returned; if it failed, why."""
    return Machine.of(told) if "booted" in told else silence(told)


def reasons(machine: Machine) -> list[str]:
    """Why it wants a restart, in words; none: what runs is what is installed."""
    old = machine.outdated
    return ([f"{', '.join(old.boot)} came since its start"] if old.boot else []) + (["its libvirtd is from before an upgrade"] if old.libvirt else []) \
        + ([f"QEMU of {', '.join(old.guests)} is from before an upgrade"] if old.guests else [])


def coming(machine: Machine) -> str:
    """What of the packages that wait will want a restart; empty if nothing is known to."""
    return ", ".join(name for name in (machine.waiting.packages if machine.waiting else ()) if name.startswith(BOOTED))


class Planner:
    """Plans the turns. verb: UPGRADE or REBOOT; meant: machines that are named; hosts: hypervisors that answered; machines: what machine_info told of
    each machine, or why it told nothing; the rest as of drain.plan and ready.verdict; standstill: whether routers may stand still; now: by the clock here."""

    def __init__(self, verb: str, meant: Sequence[str], groups: Mapping[str, Sequence[str]], hosts: Mapping[str, Hypervisor],
                 machines: Mapping[str, Machine | str], declared: Collection[str] = (), instances: Sequence[InstanceFacts] | None = (), mode: str = "",
                 routers: Routers | str = Routers(), standstill: bool = False, now: float = 0) -> None:
        self.verb, self.groups, self.hosts, self.machines, self.declared = verb, groups, hosts, machines, declared
        self.instances, self.mode, self.routers, self.standstill, self.now = instances, mode, routers, standstill, now
        self.families = hypervisors(dict(groups))
        self.named = list(meant)
        self.meant = self.named or list(self.families)
        # what is drained for a while is open again when the others have their turn
        self.opened = {host: dataclasses.replace(info, drained=None) if info.errand and host in self.meant else info for host, info in hosts.items()}
        began = [info.errand.began for host, info in hosts.items() if host in self.meant and info.errand and info.errand.verb == verb]
        self.began = min(began, default=now)
        self.stay: list[str] = []
        self.notes: list[str] = []

    def plan(self) -> Plan:
        """What is to be done."""
        known = {}
        for host in self.meant:
            if host in self.families and host not in self.hosts:
                return self._failed(drain.silent(host))
            told = self.machines.get(host, "nobody has asked it")
            if not isinstance(told, Machine):
                return self._failed(f"{host} does not tell how it fares: {told.rstrip('.')}.")
            if self.verb == UPGRADE and told.waiting is None:
                return self._failed(f"{host} does not tell which packages wait there. {' '.join(told.unknown)}".rstrip())
            known[host] = told
        turns = [turn for turn in (self._turn(host, told) for host, told in known.items()) if turn]
        # Who others wait for comes first, then what broke off; those with few guests follow, as these then move to where they may stay.
        turns.sort(key=lambda turn: (turn.drain, not turn.resumed, turn.guests, turn.host))
        for turn in turns:
            self._keeps(turn)
        if not self.named:
            others = [host for host in site_hosts(self.groups) if host not in self.families]
            if others:
                self.notes.append(f"{', '.join(others)} {'is no hypervisor and is' if len(others) == 1 else 'are no hypervisors and are'} left out. "
                                  f"playbooks/{self.verb}.yml -e host={','.join(others)}")
        rows = [[turn.host, turn.guests, turn.packages, self._restart(turn),
                 "in use again" if turn.undrain else "stays drained" if turn.drain else "in use"] for turn in turns]
        return Plan(self.verb, began=self.began, meant=tuple(self.meant), turns=tuple(turns), stay=tuple(dict.fromkeys(self.stay)), notes=tuple(self.notes),
                    lines=tuple(table(("machine", "guests", "packages", "restart", "afterwards"), rows)) if rows else ())

    def _failed(self, why: str) -> Plan:
        return Plan(self.verb, error=why, began=self.began, meant=tuple(self.meant))

    def _restart(self, turn: Turn) -> str:
        """In the table."""
        if turn.restart == NEVER:
            return "no"
        return f"yes: {turn.why}" if turn.why else "yes" if turn.restart == ALWAYS else "if something wants it"

    def _turn(self, host: str, told: Machine) -> Turn | None:
        """What is to be done there; None: nothing."""
        info, waiting = self.hosts.get(host), waiters(host, self.groups)
        wants = "; ".join(reasons(told))
        resumed = bool(info and info.drained is not None and info.errand)
        if self.verb == REBOOT:
            if waiting and not self.named and not resumed:
                self.notes.append(f"{host} is left out, as others wait for it. playbooks/reboot.yml -e host={host}")
                return None
            # by its own clock, which may be another one
            done = told.time - told.booted < self.now - self.began
            restart, needed, packages, why = NEVER if done else ALWAYS, not done, 0, wants
        else:
            packages = len(told.waiting.packages) if told.waiting else 0
            restart, needed, why = NEVER if waiting else WANTED, bool(packages or wants and not waiting), wants or coming(told)
            if waiting and wants:
                self.notes.append(f"{host} wants a restart ({wants}), and others wait for it: playbooks/reboot.yml -e host={host}")
        if not needed and not resumed:
            self.notes.append(f"{host} {'has restarted already' if self.verb == REBOOT else 'is as it should be: ' + NOTHING_WAITS}.")
            return None
        self.notes += waiting
        before = bool(info and info.drained is not None and not info.errand)
        if before:
            self.notes.append(f"{host} is drained and stays so: playbooks/undrain.yml -e host={host} opens it.")
        return Turn(host, host in self.families, resumed, host in self.families and not before, restart, self._running(host), packages, why,
                    NEEDED if host in self.families else ())

    def _running(self, host: str) -> int:
        return sum(1 for copy in self.hosts[host].guests if copy.active) if host in self.hosts else 0

    def _keeps(self, turn: Turn) -> None:
        """What would keep it from its turn, as things are now."""
        if not turn.drain:
            return
        planned = drain.plan(turn.host, self.opened, self.declared, self.groups.get("nc", ()), self.instances, self.mode)
        self.stay += [planned.error] if planned.error else planned.stay
        if turn.host in self.groups.get("nc", ()) and turn.restart != NEVER and (turn.restart == ALWAYS or turn.why):
            self.stay += routers_keep(turn.host, self.routers, self.standstill)


def routers_keep(host: str, routers: Routers | str, standstill: bool) -> list[str]:
    """Whether the cloud's routers keep a node from its restart, as sentences."""
    if standstill:
        return []
    if isinstance(routers, str):
        return [f"Nobody can tell whether the way out of the cloud's routers is on {host}: {routers.rstrip('.')}."]
    count, others = ready.takers(host, routers)
    if not count or others:
        return []
    return [f"The way out of {count} of the cloud's routers is on {host}, and nobody would take it while {host} restarts: that needs another node that is a "
            "gateway and reaches a third one. With -e standstill=true they stand still for so long."]


def plan(verb: str, host: str, groups: Mapping[str, Sequence[str]], hosts: Mapping[str, Hypervisor], machines: Mapping[str, Machine | str],
         **more: Any) -> Plan:
    """See Planner."""
    meant, wrong = asked_for(verb, host, groups)
    mode = more.get("mode", "")
    if not wrong and mode and mode not in drain.MODES:
        wrong = f"mode is {mode}, which is none of {', '.join(drain.MODES)}."
    if wrong:
        return Plan(verb, error=wrong, wrong=wrong)
    return Planner(verb, meant, groups, hosts, machines, **more).plan()


# --- whether it is well -----------------------------------------------------

def faults(host: str, family: str, info: Hypervisor | str | None, machine: Machine | str, units: Sequence[Mapping[str, Any]] | str = (),
           restarted: bool = False) -> list[str]:
    """What is not well on a machine after its turn, as sentences. family: xen or qemu, empty: it is no hypervisor; info, machine: what it told, or why it
    told nothing; units: the cloud's, likewise; restarted: whether all that is installed is to run now."""
    found = []
    if family:
        if not isinstance(info, Hypervisor):
            found.append(f"libvirt on {host} does not answer: {str(info or 'nobody has asked it').rstrip('.')}.")
        else:
            if info.hypervisor != family:
                found.append(f"{host} runs {'without Xen' if family == 'xen' else 'Xen'}: look at its boot loader's choice.")
            if info.store_error:
                found.append(f"{info.store_error.rstrip('.')}.")
    if not isinstance(machine, Machine):
        return [*found, f"{host} does not tell how it fares: {machine.rstrip('.')}."]
    known = {unit.name: unit for unit in machine.units}
    wanted = [name for name in known if name.startswith(FILTER)] + (list(NEEDED) if family else [])
    found += [f"{name} on {host} does not run{': ' + known[name].state if name in known else ''}." for name in wanted
              if name not in known or not known[name].runs]
    found += [f"{unit.name} on {host} has failed: {unit.state}." for unit in machine.units if unit.failed and unit.name not in wanted]
    found += [f"{host} does not tell how its part in the cloud fares: {units.rstrip('.')}."] if isinstance(units, str) else [
        f"{unit['name']} on {host} does not run: {unit['state']}." for unit in units if not unit["runs"]]
    if machine.store and machine.store.error:
        found.append(f"{host}: the store {machine.store.path} does not answer: {machine.store.error.rstrip('.')}.")
    if restarted:
        found += [f"{host} has restarted, and still: {why}." for why in reasons(machine)]
    return found


# --- how it ended -----------------------------------------------------------

@dataclasses.dataclass(frozen=True)
class Result:
    """What became of one machine. `done` without `fault`: its turn is over, and it is well."""

    upgraded: bool = False
    restarted: bool = False
    done: bool = False
    fault: str = ""


@dataclasses.dataclass(frozen=True)
class Summary:
    """How all of it ended."""

    lines: tuple[str, ...]  # a table of the machines
    faults: tuple[str, ...]  # sentences: why it stopped, and how it goes on


def summary(verb: str, turns: Sequence[Turn], results: Mapping[str, Result]) -> Summary:
    """How the turns ended. results: by machine; one that is missing was not begun."""
    rows, found, left = [], [], []
    for turn in turns:
        result = results.get(turn.host)
        state = "not begun"
        if result:
            state = "stopped here" if not result.done else "in use again" if turn.undrain else "stays drained" if turn.drain else "in use"
        rows.append([turn.host, "yes" if result and result.upgraded else "no", "yes" if result and result.restarted else "no", state])
        if not result or not result.done:
            left.append(turn.host)
        if result and result.fault:
            found.append(f"{turn.host}: {result.fault}")
    if left:
        begun = [host for host in left if host in results]
        found.append(" ".join((f"{begun[0]} stays as it is, and the others have not been touched." if begun else "It broke off.",
                               f"When that is mended, playbooks/{verb}.yml -e host={','.join(left)} goes on from there.")))
    return Summary(tuple(table(("machine", "upgraded", "restarted", "now"), rows)) if rows else (), tuple(found))
