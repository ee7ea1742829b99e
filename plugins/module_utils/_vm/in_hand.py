# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a guest is ours to change now: nobody else's, on no move, and not stopped by a disk that fails still."""

from __future__ import annotations

import os
import time
import xml.etree.ElementTree as ET
from typing import Any

from ansible_collections.our.cloud.plugins.module_utils._common.errors import CloudError
from ansible_collections.our.cloud.plugins.module_utils._guest import domain, domain_facts
from ansible_collections.our.cloud.plugins.module_utils._hypervisor import hypervisor, xen
from ansible_collections.our.cloud.plugins.module_utils._move.facts import state_files
from ansible_collections.our.cloud.plugins.module_utils._move.job import running_job
from ansible_collections.our.cloud.plugins.module_utils._site.store import answered

# Less than this is a store that is full, bytes
FULL = 1 << 20


def check_free(host: str, name: str, dom: Any, definition: ET.Element) -> None:
    """Refuse a guest that somebody else has in hand: another manager, or a move."""
    thing, owner = f"guest {name}", domain.owner(definition)
    if owner not in (None, domain.OURS):
        raise CloudError(host, thing, f"it belongs to {owner}, as its metadata says, and nothing here touches it", "Give the guest another name")
    job = running_job(name)
    if job:
        raise CloudError(host, thing, f"it is being moved to {job.target}", "Wait for the move to end (vm_info shows it)")
    if hypervisor.arrives(dom):
        raise CloudError(host, thing, "it is on its way here, or waits for an arrival that broke off",
                         "Wait for the move to end (playbooks/list.yml shows it); if nothing moves it, restart libvirtd here (guests go on)")
    reason = hypervisor.paused(dom)
    if xen.suspended(dom) or reason is not None and reason not in hypervisor.RESUMABLE:
        why = f" ({reason})" if reason else ", as a move leaves it that broke off"
        raise CloudError(host, thing, f"it stands still{why}, and may go on elsewhere",
                         "playbooks/list.yml tells where it runs and what to do")


def check_saved(host: str, name: str, definition: ET.Element) -> None:
    """Refuse to start a guest whose memory a move has saved and nobody has restored."""
    disks = _disks(definition)
    saved = answered(lambda: [state for disk in disks for state in state_files(disk)], f"the store of {', '.join(disks)}")
    if saved:
        path, when = saved[-1].path, time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(saved[-1].saved))
        raise CloudError(host, f"guest {name}", f"its memory is saved in {path} ({when}), by a move that broke off, and a start anew would lose it",
                         f"`virsh restore {path}` here makes it go on where it was. If it has run since then, or may begin anew, "
                         "delete that file and run this again")


def _disks(definition: ET.Element) -> list[str]:
    return sorted({disk.path for disk in domain_facts.facts(definition).disks if disk.path})


def full_stores(definition: ET.Element) -> list[str]:
    """The folders of a guest's disks that have no room left. CloudError if their server does not answer."""
    folders = sorted({os.path.dirname(disk) for disk in _disks(definition)})
    return answered(lambda: _full(folders), f"the store {', '.join(folders)}")


def _full(folders: list[str]) -> list[str]:
    found = []
    for folder in folders:
        try:
            about = os.statvfs(folder)
        except OSError:
            # it is the guest's own error, that is told
            continue
        if about.f_bavail * about.f_frsize < FULL:
            found.append(folder)
    return found


def io_error(host: str, name: str, dom: Any, definition: ET.Element) -> CloudError:
    """The refusal that says why a guest stands still and what to do."""
    errors = ", ".join(f"{disk}: {error}" for disk, error in sorted(hypervisor.io_errors(dom).items()))
    cause = f"it is paused by an I/O error{f' ({errors})' if errors else ''}, and would stop again at once"
    full = full_stores(definition)
    if full:
        return CloudError(host, f"guest {name}", cause, f"{', '.join(full)} is full: make room there (playbooks/prune.yml removes images that nobody needs), "
                          "then run this again; the guest goes on where it was")
    return CloudError(host, f"guest {name}", cause, "Can its disk be read and written on this host, and is the store's server up? "
                      "Mend that, then run this again; the guest goes on where it was")
