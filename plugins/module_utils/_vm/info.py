# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What one hypervisor tells of itself and its domains: the facts that decisions about guests are made over."""

from __future__ import annotations

import glob

from ansible_collections.our.cloud.plugins.module_utils._common.bounded import bounded
from ansible_collections.our.cloud.plugins.module_utils._common.errors import CloudError
from ansible_collections.our.cloud.plugins.module_utils._guest import domain, domain_facts, lease
from ansible_collections.our.cloud.plugins.module_utils._hypervisor import hypervisor, xen
from ansible_collections.our.cloud.plugins.module_utils._move.job import running_job, unheard
from ansible_collections.our.cloud.plugins.module_utils._site.store import store_of

# Seconds that the store has to answer
PATIENCE = 10


def describe(dom, kind_family: str) -> dict:
    """One domain, as the module vm_info documents it, but for what the store tells."""
    definition = hypervisor.persistent_xml(dom)
    # a running guest is what runs, not what it will be after its next start
    guest = domain_facts.facts(hypervisor.live_xml(dom) if hypervisor.active(dom) else definition)
    persistent = bool(dom.isPersistent())
    guest.update(state=hypervisor.state(dom), active=hypervisor.active(dom), persistent=persistent, autostart=bool(persistent and dom.autostart()),
                 reason=hypervisor.paused(dom), suspended=xen.suspended(dom), managed_save=bool(persistent and dom.hasManagedSaveImage()),
                 defined=hypervisor.defined_at(kind_family, dom.name()) if persistent else None,
                 # the definition's: one that runs since before an upgrade does not say it yet
                 owner=domain.owner(definition), lease=None, state_files=[])
    job = running_job(dom.name())
    if job:
        guest["migration"] = job
    return guest


def guests(conn, name: str | None = None) -> list[dict]:
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
    return sorted(found, key=lambda guest: guest["name"])


def ask_store(found: list[dict]) -> None:
    """Add what the store tells of them: who has the lease, and what memory is saved beside the disks."""
    leases: dict[str, dict] = {}
    asked = set()
    for guest in found:
        for disk in guest["disks"]:
            root = store_of(disk["path"]) if disk["path"] else None
            if root is None:
                continue
            guest["state_files"] += sorted(glob.glob(glob.escape(disk["path"]) + ".*.state"))
            if root not in asked:
                asked.add(root)
                leases.update({held["uuid"]: {key: held[key] for key in ("host", "since", "to")} for held in lease.holders(root)})
        guest["lease"] = leases.get(guest["uuid"])


def gather(conn, name: str | None = None) -> dict:
    """What vm_info returns. A store that does not answer keeps nobody from telling the rest: `store_error` says so."""
    found = guests(conn, name)
    told = {"hypervisor": hypervisor.family(conn), "host": conn.getHostname(), "memory": hypervisor.memory(conn), "guests": found,
            "orphans": xen.orphans(conn), "moves": unheard(), "store_error": ""}
    try:
        bounded(lambda: ask_store(found), PATIENCE, "store", "Is its server up? Guests wait for it and go on when it is back", told["host"])
    except (CloudError, OSError) as error:
        told["store_error"] = str(error)
    return told
