# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Puts nodes whose nova-compute has reported for the first time on the cell's list; before that, nova schedules nothing to them."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Collection
from typing import Any, Optional

from ansible_collections.our.cloud.plugins.module_utils._cloud import database
from ansible_collections.our.cloud.plugins.module_utils._common.errors import CloudError

_SERVICES = "SELECT host FROM nova.services WHERE `binary` = 'nova-compute' AND deleted = 0"
_MAPPED = "SELECT host FROM nova_api.host_mappings"


def _names(cursor: Any, query: str) -> set[str]:
    cursor.execute(query)
    return {row[0] for row in cursor.fetchall()}


def discover() -> None:
    """Updates nova's own list of hosts."""
    argv = ["nova-manage", "cell_v2", "discover_hosts", "--by-service"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=300, user="nova", group="nova", extra_groups=[])
    if done.returncode:
        raise CloudError(os.uname().nodename, " ".join(argv), "\n".join((done.stdout + done.stderr).strip().splitlines()[-5:]))


def ensure(server: Optional[database.Server], names: Collection[str], seconds: float, check: bool, run: Callable[[], None] = discover,
           now: Callable[[], float] = time.monotonic, sleep: Callable[[float], None] = time.sleep) -> list[str]:
    """All of these nodes are on the list; which were put there. In a check those that are not yet would be."""
    if server is None:
        return sorted(names)
    with server.root() as cursor:
        if cursor is None:
            if check:
                return sorted(names)
            raise CloudError(os.uname().nodename, database.SOCKET, "MariaDB does not answer there", "See systemctl status mariadb")
        if check:
            cursor.execute("SELECT count(*) FROM information_schema.tables WHERE table_schema = 'nova_api' AND table_name = 'host_mappings'")
            if not cursor.fetchone()[0]:
                return sorted(names)
            return sorted(set(names) - _names(cursor, _MAPPED))
        began, wanted = now(), set(names)
        while wanted - _names(cursor, _SERVICES):
            if now() - began > seconds:
                silent = ", ".join(sorted(wanted - _names(cursor, _SERVICES)))
                raise CloudError(os.uname().nodename, silent, f"nova-compute there has not reported for {seconds:g} s",
                                 "/var/log/nova/nova-compute.log there tells why; it connects to the queue of the cloud controller")
            sleep(0.5)
        # those that this run is not about as well: nova-manage makes no difference
        fresh = _names(cursor, _SERVICES) - _names(cursor, _MAPPED)
        if fresh:
            run()
            left = _names(cursor, _SERVICES) - _names(cursor, _MAPPED)
            if left:
                raise CloudError(os.uname().nodename, ", ".join(sorted(left)), "nova-manage cell_v2 discover_hosts has not put it on the list",
                                 "nova-manage cell_v2 list_hosts shows the list")
        return sorted(fresh)
