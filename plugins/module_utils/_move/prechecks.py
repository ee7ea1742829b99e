# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Prechecks: decisions over the facts, each the reason not to move the guest with its remedy, or None."""

from __future__ import annotations

import time

from ansible_collections.our.cloud.plugins.module_utils._guest.placement import is_others, need
from ansible_collections.our.cloud.plugins.module_utils._move.facts import Facts

SAFE_CACHES = ("none", "directsync")
# What a saved state has beside the guest's memory, MiB
STATE_OVERHEAD = 64


def check_running(facts: Facts) -> str | None:
    if not facts.guest.active and facts.options.mode != "offline":
        return f"it is {facts.guest.state}; mode {facts.options.mode} needs a running guest. Use mode offline, which moves its definition"
    return None


def check_persistent(facts: Facts) -> str | None:
    if not facts.guest.persistent:
        return "it has no definition (it was started without one), so it would be lost at its next stop. Define it with our.cloud.vm first"
    return None


def check_owner(facts: Facts) -> str | None:
    if is_others(facts.guest):
        return f"it belongs to {facts.guest.owner}, as its metadata says, and nothing here touches it. Move it by what made it"
    return None


def check_target(facts: Facts) -> str | None:
    return facts.target_error


def check_kind(facts: Facts) -> str | None:
    target = facts.target
    if target and target.family != facts.family:
        return f"{facts.options.target} is a {target.family} hypervisor and the guest is of kind {facts.guest.kind}. Choose a {facts.family} one"
    return None


def check_there(facts: Facts) -> str | None:
    target = facts.target
    other = target.guests.get(facts.options.name) if target else None
    if other is None:
        return None
    if other.active:
        return f"a guest of that name runs on {facts.options.target} already. Find out which one is right and stop the other one before its disk is ruined"
    if not other.persistent:
        return (f"{facts.options.target} still waits for an arrival of it that broke off. "
                "Restart libvirtd there (systemctl restart libvirtd; guests go on meanwhile)")
    if other.uuid != facts.guest.uuid:
        return (f"another guest of that name (UUID {other.uuid}) is defined on {facts.options.target}. "
                "Remove it there (our.cloud.vm with state absent) or rename it")
    return None


def check_hostdevs(facts: Facts) -> str | None:
    if facts.guest.hostdevs:
        return f"it has {facts.guest.hostdevs} devices of this host and cannot leave it with them. Take them from it, or use other hardware"
    return None


def check_snapshots(facts: Facts) -> str | None:
    if facts.snapshots:
        return (f"it has snapshots ({', '.join(facts.snapshots)}), which libvirt leaves behind. "
                f"Delete them first (virsh snapshot-delete {facts.options.name} SNAPSHOT)")
    return None


def check_paused(facts: Facts) -> str | None:
    if facts.family == "xen" and facts.options.mode != "offline" and facts.guest.state == "paused":
        return f"it is paused, and Xen's toolstack waits for ever for a paused guest to suspend itself. Let it go on first (virsh resume {facts.options.name})"
    return None


def check_states(facts: Facts) -> str | None:
    if facts.stored.states:
        path, saved = facts.stored.states[-1].path, time.strftime("%Y-%m-%d %H:%M", time.gmtime(facts.stored.states[-1].saved))
        return (f"a saved state of a guest lies beside its disk ({path}, {saved}): what it holds fits that time's disk alone. If the guest has not run since, "
                f"`virsh restore {path}` makes it go on where it was; if it has, delete the file")
    return None


def check_room(facts: Facts) -> str | None:
    if facts.options.mode != "suspend" or facts.stored.room is None:
        return None
    needed = facts.guest.memory + STATE_OVERHEAD
    if facts.stored.room < needed:
        return (f"its state needs {needed} MiB in the store, which has {facts.stored.room} MiB free. "
                "Make room there (the playbook prune), or use another mode")
    return None


def check_state_disk(facts: Facts) -> str | None:
    if facts.options.mode == "suspend" and facts.stored.room is None and None not in facts.stored.stores.values():
        return "it has no disk on the shared store beside which its state could be saved. Use mode live or offline"
    return None


def check_live(facts: Facts) -> str | None:
    if facts.options.mode != "live":
        return None
    if facts.guest.kind == "pv":
        return ("Debian's Xen cannot move a PV guest live (it is built without shadow paging). Use mode suspend: "
                "the guest is saved, and goes on where it was on the target")
    return None


def check_arch(facts: Facts) -> str | None:
    if facts.options.mode != "offline" and facts.family == "xen" and (facts.guest.arch or "").startswith(("arm", "aarch")):
        return "Xen on ARM cannot save a guest's state. Use mode offline"
    return None


def check_options(facts: Facts) -> str | None:
    given = [name for name in ("bandwidth", "max_downtime", "post_copy") if getattr(facts.options, name)]
    if facts.family == "xen" and given:
        return f"Xen's driver of libvirt cannot do {', '.join(given)}. Leave it out"
    if facts.options.mode != "live" and given:
        return f"{', '.join(given)}: only for mode live. Leave it out"
    return None


def check_store(facts: Facts) -> str | None:
    for path, root in sorted(facts.stored.stores.items()):
        if root is None:
            return (f"{path} is not on the shared store (no .our-cloud-store in any directory above it): the target would not find it. "
                    "Move the file into the store; is the store mounted here?")
    return None


def check_same_store(facts: Facts) -> str | None:
    target = facts.target
    if not target:
        return None
    for root, here in sorted(facts.stored.markers.items()):
        there = target.markers.get(root)
        if there is None:
            return f"the store {root} is not mounted on {facts.options.target} (its marker file is not there). Run the image_store playbook"
        if there.strip() != here.strip():
            return (f"{root} on {facts.options.target} is another store (marker {there.strip()[:40]} there, {here.strip()[:40]} here). "
                    "Mount the same export on both")
    return None


def check_cache(facts: Facts) -> str | None:
    if facts.options.mode == "offline":
        return None
    for disk in facts.guest.disks:
        if not disk.path or disk.readonly:
            continue
        if facts.family == "qemu" and disk.cache not in SAFE_CACHES:
            return (f"disk {disk.path} has cache mode {disk.cache or 'default'}: what this host has in memory would be missing on the target. "
                    "Define the guest with cache=none (our.cloud.vm does) and restart it, or use mode offline")
        if facts.family == "xen" and disk.driver not in (None, "phy"):
            return (f"disk {disk.path} is served by {disk.driver}, which writes through this host's memory: "
                    "data would be missing on the target. Define the guest with our.cloud.vm (driver phy) and restart it, or use mode offline")
    return None


def check_bridge(facts: Facts) -> str | None:
    target = facts.target
    missing = sorted(name for name, there in (target.bridges if target else {}).items() if not there)
    if missing:
        return f"there is no bridge {', '.join(missing)} on {facts.options.target}. Run the hypervisors playbook"
    return None


def check_memory(facts: Facts) -> str | None:
    target = facts.target
    needed = need(facts.guest, facts.family)
    if not target or not needed:
        return None
    if target.memory.free < needed:
        return (f"{facts.options.target} has {target.memory.free} MiB free and the guest needs {needed} MiB. "
                "Choose another target, or stop a guest there")
    awaited = sum(one.memory for one in facts.arrivals)
    if target.memory.free < needed + awaited:
        names = ", ".join(one.name for one in facts.arrivals)
        return (f"{facts.options.target} has {target.memory.free} MiB free, of which {awaited} MiB are for guests on their way there ({names}), "
                f"and the guest needs {needed} MiB. Wait for them, or choose another target")
    return None


def check_cpu(facts: Facts) -> str | None:
    target = facts.target
    if target and facts.options.mode != "offline" and target.cpu_problem:
        return f"{target.cpu_problem}. Give the guest a CPU model that both hosts have, or use mode offline"
    return None


def check_machine(facts: Facts) -> str | None:
    target = facts.target
    if target and target.machine_problem:
        return f"{target.machine_problem}. Install the QEMU of this host there, or give the guest a machine that both have and restart it"
    return None


PRECHECKS = (
    check_owner, check_running, check_persistent, check_paused, check_live, check_arch, check_options, check_hostdevs, check_snapshots, check_store,
    check_cache, check_states, check_state_disk, check_room, check_target, check_kind, check_there, check_same_store, check_bridge, check_memory, check_machine,
    check_cpu,
)


def refusals(facts: Facts) -> list[str]:
    """Every reason not to move the guest, each saying what to do about it."""
    return [text for text in (check(facts) for check in PRECHECKS) if text]
