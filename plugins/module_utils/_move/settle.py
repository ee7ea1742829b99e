# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""After a move that broke off: what to do, so that the guest runs in exactly one place. A decision over what is seen on both hosts.

A copy that has run at the target is the guest: it is never destroyed, and what stands still at the source is out of date then and never goes on.
Whoever asks takes one step, looks again and asks again, until only words and closing steps are left.
"""

from __future__ import annotations

from dataclasses import dataclass

# standing: a Xen guest that was suspended for the move, half: a KVM guest whose memory has gone over in part (post-copy)
HERE = ("silent", "gone", "stopped", "running", "paused", "standing", "half")
# arriving: still being taken in
THERE = ("silent", "gone", "stopped", "arriving", "paused", "running")
WANTED = ("running", "paused", "stopped")
# They end the matter; after any other step one must look again.
CLOSING = frozenset({"take over", "tidy target", "forget state"})
# The source's copy goes on
GOES_ON = frozenset({"resume source", "wake source", "restore source", "start source"})

AFRESH = "Start it afresh on {host}: our.cloud.vm with state stopped and force, then running"


@dataclass(frozen=True)
class Seen:
    """The guest as both hosts tell it after the move broke off."""

    mode: str
    """live, suspend, offline."""
    here: str
    """At the source, one of HERE."""
    there: str
    """At the target, one of THERE."""
    ran: bool
    """Whether the target's copy is whole and has gone on, as far as anything tells so."""
    file: bool
    """Whether this move's state file is in the store."""
    wanted: str
    """What the guest did before the move, one of WANTED."""


@dataclass(frozen=True)
class Plan:
    """place: source, target, both, nowhere, unknown. text: fields {name}, {host}, {target}, {file}. actions: in this order."""

    place: str
    text: str
    actions: tuple[str, ...] = ()


def decide(seen: Seen) -> Plan:
    """What is to be done next, and what is so once it is done."""
    if seen.here == "silent":
        return Plan("unknown", "libvirtd on {host} does not answer any more, so what became of it is not known. "
                    "Start it (systemctl restart libvirtd); vm_info then tells where the guest is")
    if seen.there == "silent":
        return _target_silent(seen)
    if seen.there == "arriving":
        return Plan("unknown", "its arrival on {target} does not come to an end, so it was not let go on here. Restart libvirtd there (systemctl restart "
                    "libvirtd); if vm_info does not list it there then, " + _go_on(seen))
    if seen.here == "half":
        return _halves(seen)
    if seen.there in ("running", "paused"):
        return _arrived(seen) if seen.ran else _unfilled(seen)
    return _only_here(seen)


def _go_on(seen: Seen) -> str:
    """The command that lets the source's copy go on, or the state file's; for those who know that it does not run at the target."""
    if seen.here == "standing":
        return "`xl resume {name}` on {host} makes it go on"
    if seen.here == "paused":
        return "`virsh resume {name}` on {host} makes it go on"
    if seen.file and seen.here in ("gone", "stopped"):
        return "`virsh restore {file}` on {host} makes it go on"
    if seen.here == "gone":
        return "define and start it on {host} with the playbook guests"
    return "start it on {host} with our.cloud.vm"


def _target_silent(seen: Seen) -> Plan:
    if seen.here == "running":
        return Plan("source", "it runs on {host}. {target} does not answer; when it does again, run the move again", ("forget state",))
    if seen.here == "half":
        return Plan("unknown", "its memory is on {host} and {target} in part, and {target} does not answer. If {target} still runs, "
                    "it goes on there when they see each other again; if it does not, what had changed is lost. " + AFRESH)
    if seen.wanted == "stopped" and seen.here == "stopped":
        return Plan("source", "it is defined on {host}, stopped as before. {target} does not answer")
    if seen.ran:
        return Plan("unknown", "it had gone on on {target}, which does not answer now, so what is left of it on {host} is out of date. Bring {target} back; "
                    "if that is lost for good: " + AFRESH)
    state = {"standing": "stands still on {host}", "paused": "is paused on {host}", "stopped": "is stopped on {host}", "gone": "is no longer on {host}"}
    saved = "its state is saved in {file}; " if seen.file and seen.here in ("gone", "stopped") else ""
    return Plan("unknown", f"{saved}it {state[seen.here]} and may or may not run on {{target}}, which does not answer. Look there; "
                f"if it does not run there, or {{target}} has no power any more, {_go_on(seen)}")


def _halves(seen: Seen) -> Plan:
    if seen.there in ("running", "paused"):
        return Plan("both", "its memory is on {host} and {target} in part, and what runs is on {target}: end it on neither. When they see each other again, "
                    "`virsh migrate --live --p2p --postcopy --postcopy-resume {name}` to {target} on {host} fetches the rest. "
                    "If that cannot be: `virsh destroy {name}` on {target}. " + AFRESH)
    return Plan("nowhere", "its memory had gone to {target} in part, and it is no longer there, so what is left of it on {host} cannot go on. " + AFRESH)


def _arrived(seen: Seen) -> Plan:
    if seen.here == "running":
        return Plan("both", "IT RUNS ON BOTH {host} AND {target}. Stop one of them at once (our.cloud.vm with state stopped, force true)")
    if seen.here in ("paused", "standing"):
        return Plan("target", "it had arrived on {target}", ("destroy source",))
    if seen.there == "running":
        return Plan("target", "it runs on {target}", ("take over",))
    if seen.wanted == "paused":
        return Plan("target", "it is on {target}, paused as before", ("take over",))
    return Plan("target", "it had gone on on {target} and is paused there. Look at its disk and the store, then `virsh resume {name}` there", ("take over",))


def _unfilled(seen: Seen) -> Plan:
    """The target has a copy that waits to be filled, or that has not been let go on."""
    if seen.here in ("running", "paused", "standing"):
        return Plan("source", "it is on {host}", ("destroy target",))
    if seen.mode != "live" and (seen.file or seen.mode == "offline"):
        return Plan("source", "it goes on on {host}", ("destroy target",))
    # Nobody knows whether the copy is whole; it is the only one.
    return Plan("nowhere", "it ended on {host}, and what arrived on {target} has not gone on. Look there: `virsh resume {name}` lets it go on; "
                "if it is not whole, `virsh destroy {name}`, then start it on {host} with our.cloud.vm")


def _only_here(seen: Seen) -> Plan:
    """The target has at most a definition."""
    if seen.here == "running":
        return Plan("source", "it runs on {host}", ("tidy target", "forget state"))
    if seen.here in ("paused", "standing"):
        if seen.ran:
            return Plan("nowhere", "it had gone on on {target} and ended there, so what stands still on {host} is older than its disk. " + AFRESH,
                        ("forget state",))
        if seen.here == "standing":
            return Plan("source", "it runs on {host}", ("wake source",))
        if seen.wanted == "paused":
            return Plan("source", "it is on {host}, paused as before", ("tidy target", "forget state"))
        return Plan("source", "it runs on {host}", ("resume source",))
    if seen.here == "gone" and seen.there == "gone":
        return Plan("source", "it is defined on {host}", ("define source",))
    if seen.wanted == "stopped":
        if seen.here == "gone":
            return Plan("target", "it is defined on {target}, stopped as before", ("take over",))
        return Plan("source", "it is defined on {host}, stopped as before", ("tidy target",))
    where = "{target}" if seen.here == "gone" else "{host}"
    if seen.ran and seen.mode != "offline":
        return Plan("nowhere", "it had gone on on {target} and ended there; it runs neither there nor on {host}. "
                    f"Start it on {where} with our.cloud.vm", ("forget state",))
    if seen.here == "gone":
        how = "`virsh restore {file}` there makes it go on" if seen.file else "Start it there with our.cloud.vm"
        return Plan("nowhere", f"it runs neither on {{host}} nor on {{target}}; it is defined on {{target}} alone. {how}")
    if seen.file:
        return Plan("source", "it runs on {host}", ("restore source",))
    if seen.mode == "offline":
        return Plan("source", "it runs on {host}", ("start source",))
    return Plan("nowhere", "it runs neither on {host} nor on {target}{ending}. Start it on {host} with our.cloud.vm", ("tidy target",))
