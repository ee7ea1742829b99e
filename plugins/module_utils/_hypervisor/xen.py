# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Xen alone has: its own binding, domains that libvirt does not know, and loop devices under guests' disks."""

from __future__ import annotations

import glob
import os
import subprocess
import sys
from typing import Any

from ansible_collections.our.cloud.plugins.module_utils._common.errors import CloudError
from ansible_collections.our.cloud.plugins.module_utils._guest.told import Orphan
from ansible_collections.our.cloud.plugins.module_utils._hypervisor import hypervisor

# Why libxl says that a domain has ended: it is suspended for a move, or saved
SUSPENDED = 2


def control() -> Any:
    """Xen's own Python binding, for what libvirt does not tell; None if it does not load."""
    try:
        version = []
        for part in ("major", "minor"):
            with open("/sys/hypervisor/version/" + part, encoding="ascii") as stream:
                version.append(stream.read().strip())
        path = f"/usr/lib/xen-{'.'.join(version)}/lib/python"
        if path not in sys.path:
            sys.path.append(path)
        from xen.lowlevel import xc
        return xc.xc()
    except (OSError, ImportError):
        return None


def standing(binding: Any, domid: int) -> bool | None:
    """Whether a Xen domain stands still, saved or about to be; None if that cannot be seen. binding: see `control`."""
    found = [item for item in binding.domain_getinfo(domid, 1) if item["domid"] == domid] if binding is not None else []
    return bool(found[0]["shutdown"] and found[0]["shutdown_reason"] == SUSPENDED) if found else None


def suspended(dom: Any) -> bool:
    """Whether a Xen domain stands still, as a move or a save leaves it that broke off. libvirt may say that it runs."""
    return hypervisor.family(dom.connect()) == "xen" and hypervisor.active(dom) and bool(standing(control(), dom.ID()))


def orphans(conn: Any) -> list[Orphan]:
    """Xen domains that libvirt knows nothing of: what is left of an arrival during which libvirtd was killed."""
    binding = control() if hypervisor.family(conn) == "xen" else None
    if binding is None:
        return []
    known = {dom.ID() for dom in conn.listAllDomains()}
    found = []
    for item in binding.domain_getinfo(1, 1024):
        if item["domid"] in known or item["dying"]:
            continue
        done = subprocess.run(["xenstore-read", f"/local/domain/{item['domid']}/name"], capture_output=True, text=True, check=False)
        found.append(Orphan(item["domid"], done.stdout.strip(), item["mem_kb"] >> 10, item["cpu_time"] > 0))
    return found


def destroy_orphan(host: str, orphan: Orphan) -> None:
    """Free what it holds. One that has run is somebody's guest and is left alone."""
    thing = f"Xen domain {orphan.domid} ({orphan.name})"
    if orphan.has_run:
        raise CloudError(host, thing, "libvirt does not know it, and it has run: it may be a guest that was started with xl",
                         f"Look at `xl list`; end it with `xl destroy {orphan.domid}` if it is not wanted")
    done = subprocess.run(["xl", "destroy", str(orphan.domid)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise CloudError(host, thing, done.stderr.strip(), "See `xl list` and /var/log/xen")


def loop_devices(path: str) -> list[tuple[str, bool]]:
    """The loop devices over a file, each with whether it bypasses the page cache."""
    found = []
    for backing in glob.glob("/sys/block/loop*/loop/backing_file"):
        try:
            with open(backing, encoding="utf-8", errors="replace") as stream:
                if stream.read().strip() != os.path.realpath(path):
                    continue
            with open(os.path.join(os.path.dirname(backing), "dio"), encoding="ascii") as stream:
                direct = stream.read().strip() == "1"
        except OSError:
            continue
        found.append((backing.split("/")[-3], direct))
    return found


def direct_io(path: str, check_mode: bool = False) -> list[str]:
    """Make the loop devices over a Xen guest's disk bypass this host's page cache.

    Xen's block script sets them up buffered: a write that the guest was told is
    done may still be in this host's memory when the guest already runs elsewhere
    and reads the old data from the server. Switching writes out what is pending.
    Returns the devices that are (or would be) switched.
    """
    switched = []
    for name, direct in loop_devices(path):
        if direct:
            continue
        switched.append(name)
        if check_mode:
            continue
        device = "/dev/" + name
        done = subprocess.run(["losetup", "--direct-io=on", device], capture_output=True, text=True, check=False)
        if done.returncode or not dict(loop_devices(path)).get(name):
            raise CloudError(os.uname().nodename, f"disk {path}",
                             f"{device} cannot bypass the page cache ({done.stderr.strip() or 'the kernel did not take it'})",
                             "Its data would not be safe when the guest moves; use mode offline, or put the disk on storage that can do direct I/O")
    return switched
