# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What one hypervisor tells of itself and its domains: the facts that decisions about guests are made over."""

from __future__ import annotations

import dataclasses
import glob
import json
import os
from typing import Any

from ansible_collections.our.cloud.plugins.module_utils._common import shapes
from ansible_collections.our.cloud.plugins.module_utils._common.bounded import bounded
from ansible_collections.our.cloud.plugins.module_utils._common.errors import CloudError
from ansible_collections.our.cloud.plugins.module_utils._guest import domain, domain_facts, lease
from ansible_collections.our.cloud.plugins.module_utils._guest.told import Copy, Errand, Hypervisor, Lease
from ansible_collections.our.cloud.plugins.module_utils._hypervisor import hypervisor, xen
from ansible_collections.our.cloud.plugins.module_utils._move.job import running_job, unheard
from ansible_collections.our.cloud.plugins.module_utils._site.store import store_of

# The mark of a drained hypervisor; of the node's own disk, as it must be there after a reboot, also while the store is away
MARK = "/var/lib/our-cloud/drained"
# In it, what for, if a playbook has done it that undrains it, too (tasks/upgrade_drain.yml)
ERRAND = "errand.json"
# Seconds that the store has to answer
PATIENCE = 10


def describe(dom: Any, kind_family: str) -> Copy:
    """One domain, but for what the store tells."""
    definition = hypervisor.persistent_xml(dom)
    # a running guest is what runs, not what it will be after its next start
    found = domain_facts.facts(hypervisor.live_xml(dom) if hypervisor.active(dom) else definition)
    persistent = bool(dom.isPersistent())
    return Copy(**{**vars(found),
                   # the definition's: one that runs since before an upgrade does not say it yet
                   "owner": domain.owner(definition)},
                state=hypervisor.state(dom), active=hypervisor.active(dom), persistent=persistent, autostart=bool(persistent and dom.autostart()),
                reason=hypervisor.paused(dom), suspended=xen.suspended(dom), managed_save=bool(persistent and dom.hasManagedSaveImage()),
                defined=hypervisor.defined_at(kind_family, dom.name()) if persistent else None, migration=running_job(dom.name()))


def guests(conn: Any, name: str | None = None) -> list[Copy]:
    """All domains or one, sorted; one that goes away between two questions is not there."""
    found = []
    for dom in conn.listAllDomains():
        if hypervisor.is_dom0(dom) or (name and dom.name() != name):
            continue
        try:
            found.append(describe(dom, hypervisor.family(conn)))
        except hypervisor.libvirt.libvirtError as error:
            if error.get_error_code() != hypervisor.libvirt.VIR_ERR_NO_DOMAIN:
                raise
    return sorted(found, key=lambda guest: guest.name)


def ask_store(found: list[Copy]) -> None:
    """Add what the store tells of each: who has the lease, and what memory is saved beside the disks. What has been told before an error stays."""
    leases: dict[str | None, Lease] = {}
    asked = set()
    for number, guest in enumerate(found):
        states: list[str] = []
        for disk in guest.disks:
            root = store_of(disk.path) if disk.path else None
            if root is None:
                continue
            states += sorted(glob.glob(glob.escape(disk.path) + ".*.state"))
            if root not in asked:
                asked.add(root)
                leases.update({held["uuid"]: shapes.of(Lease, held) for held in lease.holders(root)})
        found[number] = dataclasses.replace(guest, state_files=tuple(states), lease=leases.get(guest.uuid))


def drained() -> int | None:
    """Since when this hypervisor is drained, seconds since 1970; None: it is not."""
    try:
        return int(os.lstat(MARK).st_mtime)
    except FileNotFoundError:
        return None


def errand() -> Errand | None:
    """What it is drained for. Of a note that says nothing one thinks that somebody has drained it, so that it stays."""
    try:
        with open(os.path.join(MARK, ERRAND), encoding="utf-8") as stream:
            told = json.load(stream)
        return Errand(str(told["verb"]), float(told["began"]))
    except (FileNotFoundError, NotADirectoryError, ValueError, LookupError, TypeError):
        return None


def gather(conn: Any, name: str | None = None) -> Hypervisor:
    """What vm_info returns. A store that does not answer keeps nobody from telling the rest: `store_error` says so."""
    host, found, failed = conn.getHostname(), guests(conn, name), ""
    memory, orphans, moves = hypervisor.memory(conn), xen.orphans(conn), unheard()
    try:
        bounded(lambda: ask_store(found), PATIENCE, "store", "Is its server up? Guests wait for it and go on when it is back", host)
    except (CloudError, OSError) as error:
        failed = str(error)
    return Hypervisor(hypervisor.family(conn), memory, tuple(found), host, tuple(orphans), tuple(moves), failed, drained(), errand())
