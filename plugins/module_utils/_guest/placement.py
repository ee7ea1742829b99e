# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a guest is among the hypervisors, and where it could go: decisions over what vm_info told of all of them.

`hosts` is {host: what it told}; `silent` are hypervisors that could not be asked, so that nobody knows what they run.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from ansible_collections.our.cloud.plugins.module_utils._common import shapes
from ansible_collections.our.cloud.plugins.module_utils._guest.domain import OURS
from ansible_collections.our.cloud.plugins.module_utils._guest.guests import Guest
from ansible_collections.our.cloud.plugins.module_utils._guest.instance_facts import InstanceFacts
from ansible_collections.our.cloud.plugins.module_utils._guest.told import Copy, Hypervisor

# What a guest costs beside its memory, MiB
OVERHEAD = {"xen": 16, "qemu": 64}
MODES = ("live", "suspend", "offline")
# Why a copy is paused that somebody moves, or has moved: it has not arrived, or it has gone.
MOVED = ("migration", "postcopy", "postcopy failed")

# Verdicts
NOWHERE, HERE, MOVING, UNKNOWN, REFUSED = "nowhere", "here", "moving", "unknown", "refused"


@dataclasses.dataclass(frozen=True)
class Whereabouts:
    """Where a guest is. verdict: NOWHERE; HERE: `host` has it; MOVING: it is on its way; UNKNOWN: a silent host may run it;
    REFUSED: nobody may touch it before somebody has looked. text: a sentence for people, empty where all is well.
    stale: hosts that have nothing but a definition of it while it runs on `host`."""

    verdict: str
    host: str | None = None
    text: str = ""
    stale: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Declared:
    """What is to be done for the guests of the inventory."""

    here: dict[str, list[dict[str, Any]]]  # by hypervisor: the parameters of the module vm, guest by guest
    left: list[str] = dataclasses.field(default_factory=list)  # sentences: what stays as it is
    refused: list[str] = dataclasses.field(default_factory=list)  # sentences: what somebody has to look at first


@dataclasses.dataclass(frozen=True)
class Planned:
    """What `migrate.yml -e vm=NAME` is to do, or the error that says why not and what would do."""

    name: str
    mode: str | None = None  # one of MODES; None: not known yet
    source: str | None = None  # the host that has it
    target: str | None = None
    error: str = ""  # sentences; empty where it can be done
    wrong: str = ""  # the error, if it is of what was asked for and could be told before anybody is asked
    already: bool = False  # whether it is on the target
    instance: InstanceFacts | None = None  # if it is one

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Planned:
        """From what the filter migration_plan returned."""
        return dataclasses.replace(shapes.of(cls, told), instance=InstanceFacts.of(told["instance"]) if told.get("instance") else None)


def need(guest: Copy, family: str) -> int:
    """MiB that a hypervisor must have free to take this guest. One that does not run needs none."""
    return guest.memory + OVERHEAD[family] if guest.active else 0


def is_others(guest: Copy) -> bool:
    """Whether a domain belongs to somebody else, by its metadata. One that says nothing may be ours, from before ours said so."""
    return guest.owner not in (None, OURS)


def places(name: str, hosts: Mapping[str, Hypervisor]) -> dict[str, Copy]:
    """{host: guest} of all hypervisors that know this guest."""
    return {host: guest for host, info in sorted(hosts.items()) for guest in info.guests if guest.name == name}


def rescue(silent: Collection[str]) -> str:
    """What to do about hypervisors that could not be asked."""
    names = ", ".join(sorted(silent))
    return f"Bring {names} up, or, if it is lost, run playbooks/rescue.yml -e host={sorted(silent)[0]}"


def open_again(host: str) -> str:
    """What to do so that guests may be placed on a drained host."""
    return f"playbooks/undrain.yml -e host={host} opens it again"


def _arrives(guest: Copy) -> bool:
    """Whether this copy is yet to come: libvirt's Xen driver knows it before it is active, KVM's has it paused."""
    if guest.active:
        return not guest.persistent and guest.state == "paused" and guest.reason in (None, "", *MOVED)
    return not guest.persistent


def _stands(guest: Copy) -> bool:
    """Whether this copy stands still because of a move."""
    return guest.suspended or guest.state == "paused" and guest.reason in MOVED


def _holder(known: dict[str, Copy]) -> str | None:
    """The host that has the guest's lease, as the hosts see it in the store; None if there is none."""
    told = [guest.lease.host for guest in known.values() if guest.lease]
    return told[0] if told else None


def _date(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(seconds))


def _among(hosts: Iterable[str]) -> str:
    return " and ".join(hosts)


def locate(name: str, hosts: Mapping[str, Hypervisor], silent: Collection[str] = ()) -> Whereabouts:
    """The Whereabouts of a guest. silent: those that could have it; hypervisors of the other kind are none of them."""
    known = places(name, hosts)
    others = [host for host, guest in known.items() if is_others(guest)]
    if others:
        return Whereabouts(REFUSED, text=f"{name} on {_among(others)} belongs to {known[others[0]].owner}, and nothing here touches it. "
                                         "Give the guest of the inventory another name")
    # while it is moved it is on both, and that is as it should be
    for host, guest in known.items():
        if guest.migration:
            target, percent = ("?" if value is None else value for value in (guest.migration.target, guest.migration.percent))
            return Whereabouts(MOVING, host, f"{name} is being moved from {host} to {target} already ({percent}% done). Wait for that to end")
    active = {host: guest for host, guest in known.items() if guest.active}
    arriving = [host for host, guest in known.items() if _arrives(guest)]
    running = [host for host, guest in active.items() if not _stands(guest) and host not in arriving]
    if len(running) > 1:
        return _both(name, running, _holder(known))
    if arriving:
        return _arrival(name, known, arriving, running, silent)
    if running:
        return _one_runs(name, known, running[0])
    if active:
        return _all_stand(name, sorted(active), silent)
    return _stopped(name, known, silent)


def _both(name: str, running: list[str], holder: str | None) -> Whereabouts:
    text = f"{name} runs on {_among(running)} at once, which ruins its disk. Look again at once (playbooks/list.yml), for a move may just have ended"
    if holder in running:
        ends = [host for host in running if host != holder]
        return Whereabouts(REFUSED, text=f"{text}. If it is so: its lease is {holder}'s, so the one on {_among(ends)} must end: "
                                         f"`virsh destroy {name}` there. Then check its file system")
    return Whereabouts(REFUSED, text=f"{text}. If it is so: nothing tells which is right. "
                                     f"Pause both (`virsh suspend {name}` on {_among(running)}), which loses neither; look at both, "
                                     f"end the one that is not wanted (`virsh destroy {name}` there), let the other one go on, and check its file system")


def _arrival(name: str, known: dict[str, Copy], arriving: list[str], running: list[str], silent: Collection[str]) -> Whereabouts:
    to, sources = arriving[0], [host for host in known if host not in arriving]
    if sources and (running or any(known[host].active for host in sources)):
        return Whereabouts(MOVING, sources[0], f"{name} is being moved from {sources[0]} to {to} already. Wait for that to end; "
                                               f"if nothing moves it (`virsh domjobinfo {name}` on {sources[0]}), restart libvirtd on {to}, "
                                               "which takes its half away")
    if silent:
        return Whereabouts(UNKNOWN, text=f"{name} waits on {to} for its arrival, and its source may be {_among(sorted(silent))}, "
                                         f"which could not be asked. {rescue(silent)}")
    return Whereabouts(REFUSED, text=f"{name} waits on {to} for an arrival that broke off. Restart libvirtd there (guests go on meanwhile)")


def _one_runs(name: str, known: dict[str, Copy], host: str) -> Whereabouts:
    """One copy runs. What a move has left standing elsewhere is dead; a definition alone is stale."""
    dead = [other for other, guest in known.items() if other != host and guest.active]
    if dead:
        return Whereabouts(REFUSED, host, f"{name} runs on {host}; the copy on {_among(dead)} stands still because of a move. "
                                          "If that is still so in a minute, the move has broken off and that copy is dead and only holds memory: "
                                          f"end that one, and no other (`virsh destroy {name}` on {_among(dead)})")
    return Whereabouts(HERE, host, stale=tuple(other for other in known if other != host))


def _all_stand(name: str, active: list[str], silent: Collection[str]) -> Whereabouts:
    if silent:
        return Whereabouts(UNKNOWN, text=f"{name} stands still on {_among(active)} since a move that broke off, "
                                         f"and may run on {_among(sorted(silent))}, which could not be asked. {rescue(silent)}")
    if len(active) > 1:
        return Whereabouts(REFUSED, text=f"{name} stands still on {_among(active)} since a move that broke off, and runs nowhere. "
                                         "What is whole is on the host that it came from: "
                                         f"end the other copy (`virsh destroy {name}`) before you let that one go on (`virsh resume {name}`; "
                                         f"on Xen `xl resume {name}`)")
    return Whereabouts(REFUSED, text=f"{name} stands still on {active[0]} since a move that broke off, and runs nowhere else. "
                                     f"It goes on by `virsh resume {name}` there; on Xen by `xl resume {name}`")


def _stopped(name: str, known: dict[str, Copy], silent: Collection[str]) -> Whereabouts:
    if silent:
        holder, where = _holder(known), _among(sorted(silent))
        if known:
            text = f"{name} is stopped on {_among(known)}, and {where} could not be asked and may run it"
        else:
            text = f"{name} is on no hypervisor that could be asked, and {where} could not be asked and may run it"
        return Whereabouts(UNKNOWN, text=f"{text}{' (it has its lease)' if holder in silent else ''}. It is not started. "
                                         f"{rescue([holder] if holder in silent else silent)}")
    if len(known) > 1:
        return Whereabouts(REFUSED, text=f"{name} is stopped and defined on {_among(known)}. {_which(name, known)}")
    if not known:
        return Whereabouts(NOWHERE)
    host, states = list(known)[0], _states(known)
    if not states:
        return Whereabouts(HERE, host)
    return Whereabouts(HERE, host, f"{name} is stopped on {host}. {_saved(states)}. `virsh restore {states[0]}` there makes it go on where it was. "
                                   "If it has run since then, or may begin anew, delete that file")


def _states(known: dict[str, Copy]) -> list[str]:
    """The files beside its disks in which a move has saved its memory."""
    return sorted({path for guest in known.values() for path in guest.state_files})


def _saved(states: list[str]) -> str:
    return f"Its memory is saved in {', '.join(states)}, by a move that broke off, and a start anew would lose it"


def _which(name: str, known: dict[str, Copy]) -> str:
    """Which of several definitions is stale, by what is known, and the command that removes it. That one removes no memory that was saved."""
    states = _states(known)
    if states:
        return (f"{_saved(states)}. On the host that is to have it: `virsh restore {states[0]}`; "
                f"then remove the definition of the other one: `virsh undefine {name}`")
    saved = [host for host, guest in known.items() if guest.managed_save]
    holder, defined = _holder(known), {host: guest.defined for host, guest in known.items()}
    if len(saved) == 1:
        keep, why = saved[0], f"its memory is saved on {saved[0]}"
    elif holder in known:
        keep, why = holder, f"its lease is {holder}'s"
    elif all(defined.values()) and len(set(defined.values())) > 1:
        keep = max(defined, key=defined.get)
        why = f"the definition on {keep} is the newest ({', '.join(f'{host}: {_date(when)}' for host, when in defined.items())})"
    else:
        return (f"Nothing tells which definition is stale. Compare them (`virsh dumpxml {name}`) and remove the one that is not wanted: "
                f"`virsh undefine {name}` there")
    stale = _among(host for host in known if host != keep)
    return f"By what is known the definition on {stale} is stale: {why}. Remove it: `virsh undefine {name}` on {stale}"


# --- what the role guests is to do ------------------------------------------

def declare(guests: Sequence[Guest], hosts: Mapping[str, Hypervisor], families: Mapping[str, str], asked: Collection[str]) -> Declared:
    """What is to be done for the guests of the inventory.

    families: {hypervisor: xen or qemu} of the inventory; asked: those that this run is about (--limit leaves some out).
    Who has a guest keeps it; its home is for one that nobody has; a definition on another host than the one where it runs goes."""
    result = Declared({host: [] for host in hosts})
    silent = {family: [host for host, its in families.items() if its == family and host not in hosts] for family in ("xen", "qemu")}
    for guest in guests:
        found, known = locate(guest.name, hosts, silent[guest.family]), places(guest.name, hosts)
        if guest.state == "absent" and found.verdict in (REFUSED, UNKNOWN) and known and not any(
                copy.active or is_others(copy) for copy in known.values()):
            # all its definitions are to go, whichever is stale; where it may run, nothing is touched
            for host in known:
                result.here[host].append(guest.told())
        elif found.verdict == HERE and found.text and guest.state == "running":
            result.refused.append(found.text + ".")
        elif found.verdict == HERE and guest.state == "running" and not known[found.host].active and hosts[found.host].drained is not None:
            result.refused.append(f"{guest.name} is stopped on {found.host}, which is drained, and is not started there. Move it "
                                  f"(playbooks/migrate.yml -e vm={guest.name}); or {open_again(found.host)}.")
        elif found.verdict == HERE:
            result.here[found.host].append(guest.told())
            for host in found.stale:
                _leave(guest, found.host, host, known[host], result)
        elif found.verdict == NOWHERE:
            if guest.host in hosts and guest.state != "absent" and hosts[guest.host].drained is not None:
                result.refused.append(f"{guest.name} is not made on {guest.host}, which is drained. Give it another host in the inventory; "
                                      f"or {open_again(guest.host)}.")
            elif guest.host in hosts:
                result.here[guest.host].append(guest.told())
        elif found.verdict == MOVING:
            result.left.append(found.text + ".")
        elif known or guest.host in asked:
            result.refused.append(found.text + ".")
    names = {guest.name for guest in guests}
    result.left.extend(f"{copy.name} on {host} has left the inventory. It stays as it is; to have it removed, say it with state: absent."
                       for host, info in sorted(hosts.items()) for copy in info.guests if copy.owner == OURS and copy.name not in names)
    return result


def _leave(guest: Guest, host: str, other: str, copy: Copy, result: Declared) -> None:
    """A definition on another host than the one that runs the guest: it goes, unless something is kept beside it."""
    if copy.managed_save or not copy.persistent:
        result.left.append(f"{guest.name} runs on {host}, and {other} has a definition of it with saved memory, which is older than what runs. "
                           f"Remove both there: `virsh managedsave-remove {guest.name}`, then `virsh undefine {guest.name}`.")
        return
    result.here[other].append({"name": guest.name, "state": "absent", "elsewhere": True})


# --- what migrate.yml is to do ----------------------------------------------

def _listing(hosts: Mapping[str, Hypervisor]) -> str:
    found = [f"{guest.name} ({host})" for host, info in sorted(hosts.items()) for guest in info.guests if not is_others(guest)]
    return ", ".join(sorted(found)) or "none"


def unfit(host: str, source: str, guest: Copy, hosts: Mapping[str, Hypervisor], silent: Collection[str] = ()) -> str | None:
    """Why this host cannot take the guest from the source; None if it can, as far as is known from afar."""
    if host not in hosts:
        return "could not be asked" if host in silent else "is no hypervisor of this inventory"
    info = hosts[host]
    family = hosts[source].hypervisor
    if info.hypervisor != family:
        return f"is a {info.hypervisor} hypervisor and {guest.name} is a {guest.kind} guest on a {family} one"
    if info.drained is not None:
        return f"is drained ({open_again(host)})"
    if info.memory.free < need(guest, family):
        return f"has {info.memory.free} MiB free and {guest.name} needs {need(guest, family)} MiB"
    return None


def asked_for(hypervisors: Collection[str], target: str | None = None, mode: str | None = None) -> str:
    """What is wrong with what migrate.yml was asked for, as far as that can be told before anybody is asked; empty if nothing is."""
    if mode and mode not in MODES:
        return f"mode is {mode}, which is none of {', '.join(MODES)}."
    if target and target not in hypervisors:
        return f"The target {target} is no hypervisor of this inventory. There are: {', '.join(sorted(hypervisors)) or 'none'}."
    return ""


def plan(name: str, hosts: Mapping[str, Hypervisor], target: str | None = None, mode: str | None = None, silent: Collection[str] = (),
         families: Mapping[str, str] | None = None) -> Planned:
    """What `migrate.yml -e vm=NAME` is to do.
    families: {hypervisor: xen or qemu} as the inventory says, for those that are silent."""
    unasked = f" These could not be asked: {', '.join(sorted(silent))}." if silent else ""
    result = Planned(name, mode)

    def error(text: str) -> Planned:
        return dataclasses.replace(result, error=text)

    wrong = asked_for([*hosts, *silent], target, mode)
    if wrong:
        return dataclasses.replace(result, error=wrong, wrong=wrong)
    if not name:
        return error(f"Which guest? Give it with -e vm=NAME. Guests: {_listing(hosts)}.{unasked}")
    known = places(name, hosts)
    if not known:
        if not silent:
            return error(f"There is no guest {name}. Guests: {_listing(hosts)}.")
        return error(f"No hypervisor that answered has a guest {name}. Guests: {_listing(hosts)}.{unasked} {rescue(silent)}.")
    family = hosts[list(known)[0]].hypervisor
    found = locate(name, hosts, [host for host in silent if (families or {}).get(host, family) == family])
    if found.verdict != HERE:
        return error(found.text + ".")
    source = str(found.host)
    guest = known[source]
    result = dataclasses.replace(result, source=source, mode=mode or ("live" if guest.active else "offline"))
    fit = sorted((host for host in hosts if host != source and unfit(host, source, guest, hosts) is None),
                 key=lambda host: (-hosts[host].memory.free, host))
    others = [f"{host} {unfit(host, source, guest, hosts)}" for host in sorted(hosts) if host not in (source, target)]
    would_do = f" These would do: {', '.join(fit)}." if fit else f" No other host would do either: {'; '.join(others)}." if others else ""
    if target:
        if target == source:
            return dataclasses.replace(result, target=target, already=True)
        reason = unfit(target, source, guest, hosts, silent)
        if reason:
            return error(f"{name} cannot go to {target}: it {reason}.{would_do}" + (f" {rescue([target])}." if target in silent else ""))
        return dataclasses.replace(result, target=target)
    if not fit:
        return error(f"{name} on {source} has nowhere to go.{would_do}{unasked}")
    return dataclasses.replace(result, target=fit[0])
