# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A look into another host's folders by its libvirt: passing storage pools."""

from __future__ import annotations

import os
import time
from typing import Any

from ansible_collections.our.cloud.plugins.module_utils._common.errors import CloudError
from ansible_collections.our.cloud.plugins.module_utils._hypervisor import hypervisor


def _pool(conn: Any, path: str) -> Any:
    """A passing storage pool over a directory of that host: the way to look into it from afar. None: no such directory."""
    name = f"our-cloud-{os.getpid()}-{time.monotonic_ns()}"
    xml = f"<pool type='dir'><name>{name}</name><target><path>{path}</path></target></pool>"
    busy = (hypervisor.libvirt.VIR_ERR_OPERATION_FAILED,)
    found = []

    def attempt():
        try:
            found.append(conn.storagePoolCreateXML(xml))
        except hypervisor.libvirt.libvirtError as error:
            # two pools cannot be over one directory: another look is under way, it is soon over
            if error.get_error_code() in busy and "conflict" in str(error).lower():
                return False
            if "No such file" in str(error) or "cannot open" in str(error).lower():
                found.append(None)
                return True
            raise
        return True

    if not hypervisor.wait(attempt, 15):
        raise CloudError(conn.getHostname(), f"look into {path}", "another storage pool holds this directory",
                         "See `virsh pool-list --all --details` there")
    return found[0]


def has_bridge(conn: Any, bridge: str) -> bool:
    """Whether that host has a Linux bridge of this name (libvirt's device lists leave bridges out)."""
    pool = _pool(conn, f"/sys/class/net/{bridge}/brif")
    if pool is None:
        return False
    pool.destroy()
    return True


def read_file(conn: Any, folder: str, name: str) -> str | None:
    """The content of a small file on that host; None if there is none."""
    pool = _pool(conn, folder)
    if pool is None:
        return None
    try:
        try:
            volume = pool.storageVolLookupByName(name)
        except hypervisor.libvirt.libvirtError:
            return None
        stream = conn.newStream()
        volume.download(stream, 0, 0, 0)
        data = b""
        while True:
            part = stream.recv(65536)
            if not part:
                break
            data += part
        stream.finish()
        return data.decode("utf-8", "replace")
    finally:
        pool.destroy()
