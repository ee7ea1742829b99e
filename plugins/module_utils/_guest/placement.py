# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a guest is among the hypervisors, and where it could go: decisions over what vm_info told of all of them.

`hosts` is {host: what vm_info returned there}; `silent` are hypervisors that could not be asked, so that nobody knows what they run.
"""

from __future__ import annotations

import dataclasses
import time

from ansible_collections.our.cloud.plugins.module_utils._guest.domain import OURS

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


def need(guest, family):
    """MiB that a hypervisor must have free to take this guest. One that does not run needs none."""
    return guest["memory"] + OVERHEAD[family] if guest["active"] else 0


def is_others(guest):
    """Whether a domain belongs to somebody else, by its metadata. One that says nothing may be ours, from before ours said so."""
    return guest.get("owner") not in (None, OURS)


def places(name, hosts):
    """{host: guest} of all hypervisors that know this guest."""
    return {host: guest for host, info in sorted(hosts.items()) for guest in info["guests"] if guest["name"] == name}


def rescue(silent):
    """What to do about hypervisors that could not be asked."""
    names = ", ".join(sorted(silent))
    return "Bring %s up, or, if it is lost, run playbooks/rescue.yml -e host=%s" % (names, sorted(silent)[0])


def _arrives(guest):
    """Whether this copy is yet to come: libvirt's Xen driver knows it before it is active, KVM's has it paused."""
    if guest["active"]:
        return not guest["persistent"] and guest["state"] == "paused" and guest.get("reason") in (None, "", *MOVED)
    return not guest["persistent"]


def _stands(guest):
    """Whether this copy stands still because of a move."""
    return bool(guest.get("suspended")) or guest["state"] == "paused" and guest.get("reason") in MOVED


def _holder(known):
    """The host that has the guest's lease, as the hosts see it in the store; None if there is none."""
    told = [guest["lease"]["host"] for guest in known.values() if guest.get("lease")]
    return told[0] if told else None


def _date(seconds):
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(seconds))


def _among(hosts):
    return " and ".join(hosts)


def locate(name, hosts, silent=()):
    """The Whereabouts of a guest. silent: those that could have it; hypervisors of the other kind are none of them."""
    known = places(name, hosts)
    others = [host for host, guest in known.items() if is_others(guest)]
    if others:
        return Whereabouts(REFUSED, text="%s on %s belongs to %s, and nothing here touches it. Give the guest of the inventory another name" % (
            name, _among(others), known[others[0]]["owner"]))
    # while it is moved it is on both, and that is as it should be
    for host, guest in known.items():
        if guest.get("migration"):
            return Whereabouts(MOVING, host, "%s is being moved from %s to %s already (%s%% done). Wait for that to end" % (
                name, host, guest["migration"].get("target", "?"), guest["migration"].get("percent", "?")))
    active = {host: guest for host, guest in known.items() if guest["active"]}
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


def _both(name, running, holder):
    text = "%s runs on %s at once, which ruins its disk. Look again at once (playbooks/list.yml), for a move may just have ended" % (name, _among(running))
    if holder in running:
        ends = [host for host in running if host != holder]
        return Whereabouts(REFUSED, text="%s. If it is so: its lease is %s's, so the one on %s must end: `virsh destroy %s` there. "
                           "Then check its file system" % (text, holder, _among(ends), name))
    return Whereabouts(REFUSED, text="%s. If it is so: nothing tells which is right. Pause both (`virsh suspend %s` on %s), which loses neither; look at both, "
                       "end the one that is not wanted (`virsh destroy %s` there), let the other one go on, and check its file system" % (
                           text, name, _among(running), name))


def _arrival(name, known, arriving, running, silent):
    to, sources = arriving[0], [host for host in known if host not in arriving]
    if sources and (running or any(known[host]["active"] for host in sources)):
        return Whereabouts(MOVING, sources[0], "%s is being moved from %s to %s already. Wait for that to end; if nothing moves it "
                           "(`virsh domjobinfo %s` on %s), restart libvirtd on %s, which takes its half away" % (name, sources[0], to, name, sources[0], to))
    if silent:
        return Whereabouts(UNKNOWN, text="%s waits on %s for its arrival, and its source may be %s, which could not be asked. %s" % (
            name, to, _among(sorted(silent)), rescue(silent)))
    return Whereabouts(REFUSED, text="%s waits on %s for an arrival that broke off. Restart libvirtd there (guests go on meanwhile)" % (name, to))


def _one_runs(name, known, host):
    """One copy runs. What a move has left standing elsewhere is dead; a definition alone is stale."""
    dead = [other for other, guest in known.items() if other != host and guest["active"]]
    if dead:
        return Whereabouts(REFUSED, host, "%s runs on %s; the copy on %s stands still because of a move. If that is still so in a minute, the move has broken "
                           "off and that copy is dead and only holds memory: end that one, and no other (`virsh destroy %s` on %s)" % (
                               name, host, _among(dead), name, _among(dead)))
    return Whereabouts(HERE, host, stale=tuple(other for other in known if other != host))


def _all_stand(name, active, silent):
    if silent:
        return Whereabouts(UNKNOWN, text="%s stands still on %s since a move that broke off, and may run on %s, which could not be asked. %s" % (
            name, _among(active), _among(sorted(silent)), rescue(silent)))
    if len(active) > 1:
        return Whereabouts(REFUSED, text="%s stands still on %s since a move that broke off, and runs nowhere. What is whole is on the host that it came from: "
                           "end the other copy (`virsh destroy %s`) before you let that one go on (`virsh resume %s`; on Xen `xl resume %s`)" % (
                               name, _among(active), name, name, name))
    return Whereabouts(REFUSED, text="%s stands still on %s since a move that broke off, and runs nowhere else. It goes on by `virsh resume %s` there; "
                       "on Xen by `xl resume %s`" % (name, active[0], name, name))


def _stopped(name, known, silent):
    if silent:
        holder, where = _holder(known), _among(sorted(silent))
        if known:
            text = "%s is stopped on %s, and %s could not be asked and may run it" % (name, _among(known), where)
        else:
            text = "%s is on no hypervisor that could be asked, and %s could not be asked and may run it" % (name, where)
        return Whereabouts(UNKNOWN, text="%s%s. It is not started. %s" % (
            text, " (it has its lease)" if holder in silent else "", rescue([holder] if holder in silent else silent)))
    if len(known) > 1:
        return Whereabouts(REFUSED, text="%s is stopped and defined on %s. %s" % (name, _among(known), _which(name, known)))
    return Whereabouts(HERE, list(known)[0]) if known else Whereabouts(NOWHERE)


def _which(name, known):
    """Which of several definitions is stale, by what is known, and the command that removes it. That one removes no memory that was saved."""
    states = sorted({path for guest in known.values() for path in guest.get("state_files") or ()})
    if states:
        return ("Its memory is saved in %s, by a move that broke off, and a start anew would lose it. On the host that is to have it: `virsh restore %s`; "
                "then remove the definition of the other one: `virsh undefine %s`" % (", ".join(states), states[0], name))
    saved = [host for host, guest in known.items() if guest.get("managed_save")]
    holder, defined = _holder(known), {host: guest.get("defined") for host, guest in known.items()}
    if len(saved) == 1:
        keep, why = saved[0], "its memory is saved on %s" % saved[0]
    elif holder in known:
        keep, why = holder, "its lease is %s's" % holder
    elif all(defined.values()) and len(set(defined.values())) > 1:
        keep = max(defined, key=defined.get)
        why = "the definition on %s is the newest (%s)" % (keep, ", ".join("%s: %s" % (host, _date(when)) for host, when in defined.items()))
    else:
        return ("Nothing tells which definition is stale. Compare them (`virsh dumpxml %s`) and remove the one that is not wanted: `virsh undefine %s` there"
                % (name, name))
    stale = _among(host for host in known if host != keep)
    return "By what is known the definition on %s is stale: %s. Remove it: `virsh undefine %s` on %s" % (stale, why, name, stale)


# --- what the role guests is to do ------------------------------------------

def declare(guests, hosts, families, asked):
    """What is to be done for the guests of the inventory (guests.Guest).

    families: {hypervisor: xen or qemu} of the inventory; asked: those that this run is about (--limit leaves some out).
    Returns {here: {host: [what the module vm is told]}, left: [lines], refused: [lines]}. Who has a guest keeps it; its home is for one that
    nobody has; a definition on another host than the one where it runs goes."""
    result = {"here": {host: [] for host in hosts}, "left": [], "refused": []}
    silent = {family: [host for host, its in families.items() if its == family and host not in hosts] for family in ("xen", "qemu")}
    for guest in guests:
        found, known = locate(guest.name, hosts, silent[guest.family]), places(guest.name, hosts)
        if guest.state == "absent" and found.verdict in (REFUSED, UNKNOWN) and known and not any(
                copy["active"] or is_others(copy) for copy in known.values()):
            # all its definitions are to go, whichever is stale; where it may run, nothing is touched
            for host in known:
                result["here"][host].append(guest.told())
        elif found.verdict == HERE:
            result["here"][found.host].append(guest.told())
            for host in found.stale:
                _leave(guest, found.host, host, known[host], result)
        elif found.verdict == NOWHERE:
            if guest.host in hosts:
                result["here"][guest.host].append(guest.told())
        elif found.verdict == MOVING:
            result["left"].append(found.text + ".")
        elif known or guest.host in asked:
            result["refused"].append(found.text + ".")
    names = {guest.name for guest in guests}
    result["left"] += ["%s on %s has left the inventory. It stays as it is; to have it removed, say it with state: absent." % (copy["name"], host)
                       for host, info in sorted(hosts.items()) for copy in info["guests"] if copy.get("owner") == OURS and copy["name"] not in names]
    return result


def _leave(guest, host, other, copy, result):
    """A definition on another host than the one that runs the guest: it goes, unless something is kept beside it."""
    if copy.get("managed_save") or not copy["persistent"]:
        result["left"].append("%s runs on %s, and %s has a definition of it with saved memory, which is older than what runs. Remove both there: "
                              "`virsh managedsave-remove %s`, then `virsh undefine %s`." % (guest.name, host, other, guest.name, guest.name))
        return
    result["here"][other].append({"name": guest.name, "state": "absent", "elsewhere": True})


# --- what migrate.yml is to do ----------------------------------------------

def _listing(hosts):
    found = ["%s (%s)" % (guest["name"], host) for host, info in sorted(hosts.items()) for guest in info["guests"] if not is_others(guest)]
    return ", ".join(sorted(found)) or "none"


def unfit(host, source, guest, hosts, silent=()):
    """Why this host cannot take the guest from the source; None if it can, as far as is known from afar."""
    if host not in hosts:
        return "could not be asked" if host in silent else "is no hypervisor of this inventory"
    info = hosts[host]
    family = hosts[source]["hypervisor"]
    if info["hypervisor"] != family:
        return "is a %s hypervisor and %s is a %s guest on a %s one" % (info["hypervisor"], guest["name"], guest["kind"], family)
    if info["memory"]["free"] < need(guest, family):
        return "has %d MiB free and %s needs %d MiB" % (info["memory"]["free"], guest["name"], need(guest, family))
    return None


def asked_for(hypervisors, target=None, mode=None):
    """What is wrong with what migrate.yml was asked for, as far as that can be told before anybody is asked; empty if nothing is."""
    if mode and mode not in MODES:
        return "mode is %s, which is none of %s." % (mode, ", ".join(MODES))
    if target and target not in hypervisors:
        return "The target %s is no hypervisor of this inventory. There are: %s." % (target, ", ".join(sorted(hypervisors)) or "none")
    return ""


def plan(name, hosts, target=None, mode=None, silent=(), families=None):
    """What `migrate.yml -e vm=NAME` is to do: source, target and mode, or the error that says why not and what would do.
    families: {hypervisor: xen or qemu} as the inventory says, for those that are silent."""
    unasked = " These could not be asked: %s." % ", ".join(sorted(silent)) if silent else ""
    result = {"name": name, "source": None, "target": None, "mode": mode, "error": "", "already": False, "wrong": ""}

    def error(text):
        return dict(result, error=text)

    wrong = asked_for([*hosts, *silent], target, mode)
    if wrong:
        return dict(error(wrong), wrong=wrong)
    if not name:
        return error("Which guest? Give it with -e vm=NAME. Guests: %s.%s" % (_listing(hosts), unasked))
    known = places(name, hosts)
    if not known:
        if not silent:
            return error("There is no guest %s. Guests: %s." % (name, _listing(hosts)))
        return error("No hypervisor that answered has a guest %s. Guests: %s.%s %s." % (name, _listing(hosts), unasked, rescue(silent)))
    family = hosts[list(known)[0]]["hypervisor"]
    found = locate(name, hosts, [host for host in silent if (families or {}).get(host, family) == family])
    if found.verdict != HERE:
        return error(found.text + ".")
    source = found.host
    guest = known[source]
    result.update(source=source, mode=mode or ("live" if guest["active"] else "offline"))
    fit = sorted((host for host in hosts if host != source and unfit(host, source, guest, hosts) is None),
                 key=lambda host: (-hosts[host]["memory"]["free"], host))
    would_do = " These would do: %s." % ", ".join(fit) if fit else " No other host would do either: %s." % "; ".join(
        "%s %s" % (host, unfit(host, source, guest, hosts)) for host in sorted(hosts) if host not in (source, target)) if set(hosts) - {source, target} else ""
    if target:
        if target == source:
            return dict(result, target=target, already=True)
        reason = unfit(target, source, guest, hosts, silent)
        if reason:
            return error("%s cannot go to %s: it %s.%s%s" % (name, target, reason, would_do, " %s." % rescue([target]) if target in silent else ""))
        return dict(result, target=target)
    if not fit:
        return error("%s on %s has nowhere to go.%s%s" % (name, source, would_do, unasked))
    return dict(result, target=fit[0])
