# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether moves are under way from or to this host, and the wait for their end."""

from __future__ import annotations

import os
import time

from ansible_collections.our.cloud.plugins.module_utils._common.bounded import bounded
from ansible_collections.our.cloud.plugins.module_utils._common.errors import CloudError
from ansible_collections.our.cloud.plugins.module_utils._move import arrivals, job
from ansible_collections.our.cloud.plugins.module_utils._site.store import PATIENCE

PAUSE = 2


def under_way(store: str | None, host: str | None) -> list[str]:
    """The guests that are being moved from here, or to here, as far as the store tells."""
    found = job.under_way()
    if store and host:
        found += bounded(lambda: arrivals.to(store, host), PATIENCE, "the store", "Is its server up? Guests that wait for it go on when it is back")
    return sorted(set(found))


def wait(store: str | None, host: str | None, timeout: float) -> list[str]:
    """Until none is: the guests that were waited for. CloudError if there is one after the bound."""
    end, waited = time.monotonic() + timeout, set()
    while True:
        now = under_way(store, host)
        if not now:
            return sorted(waited)
        waited.update(now)
        if time.monotonic() >= end:
            raise CloudError(host or os.uname().nodename, "guests " + ", ".join(now), f"they are still being moved from or to here after {timeout} s",
                             "Run this again when they have arrived (the playbook list shows it); a restart of libvirtd would break them off")
        time.sleep(PAUSE)
