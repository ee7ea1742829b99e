# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether nova places instances on a node: its nova-compute is enabled or disabled, with the reason by which we know ours again."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.our.cloud.plugins.module_utils._cloud import members, session
from ansible_collections.our.cloud.plugins.module_utils._cloud.status import COMPUTE_API, body, uptime
from ansible_collections.our.cloud.plugins.module_utils._common.errors import CloudError
from ansible_collections.our.cloud.plugins.module_utils._guest.drain import REASON


@dataclass(frozen=True)
class Change:
    """What is to be asked of nova about a nova-compute."""

    id: str
    wanted: Mapping[str, str] = field(default_factory=dict)  # what its API is sent; empty: nothing is to be done
    note: str = ""  # a sentence about what stays that we did not do; empty: nothing


def change(services: Iterable[Mapping[str, Any]], host: str, enabled: bool) -> Change:
    """What is to be asked of nova.

    services: nova's of nova-compute, as its API returns them. One that somebody else has disabled stays as it is."""
    its = next((one for one in services if one["host"] == host), None)
    if its is None:
        raise CloudError(os.uname().nodename, f"nova-compute on {host}", "nova does not know it by this name", "our.cloud.cloud makes it a node controller")
    reason = its.get("disabled_reason")
    if its["status"] == "enabled":
        return Change(its["id"], {} if enabled else {"status": "disabled", "disabled_reason": REASON})
    if reason == REASON:
        return Change(its["id"], {"status": "enabled"} if enabled else {})
    return Change(its["id"], note=(f"nova-compute on {host} was disabled by somebody else ({reason or 'without a reason'}) and stays so: "
                                   f"`openstack compute service set --enable {host} nova-compute`") if enabled else "")


def answers(connection: Any, host: str, seconds: float, now: Callable[[], float] = time.monotonic, sleep: Callable[[float], None] = time.sleep) -> None:
    """Waits until the node's nova-compute answers by RPC."""
    end = now() + seconds
    while True:
        hypervisors = body(connection, "compute", "/os-hypervisors/detail", "nova", microversion=COMPUTE_API)["hypervisors"]
        its = next((one for one in hypervisors if one["service"]["host"] == host), None)
        said = uptime(connection, its).error if its else "nova knows no hypervisor of it"
        if not said:
            return
        if now() >= end:
            raise CloudError(os.uname().nodename, f"nova-compute on {host}", f"it does not answer after {seconds:g} s: {said.rstrip('.')}",
                             "/var/log/nova/nova-compute.log there tells why")
        sleep(5)


def ensure(host: str, enabled: bool, check: bool, wait: float = 0) -> tuple[bool, str]:
    """(whether nova was told something, or would be; a sentence if it stays disabled, empty if not). wait: before it is enabled, seconds until it answers."""
    connection = session.connect()
    if enabled and wait and not check:
        answers(connection, host, wait)
    found = body(connection, "compute", "/os-services?binary=nova-compute", "nova", microversion=COMPUTE_API)["services"]
    asked = change(found, host, enabled)
    if asked.wanted and not check:
        thing = f"nova-compute on {host}"
        with session.speaking(thing):
            members.sent(connection.compute.put(f"/os-services/{asked.id}", json=dict(asked.wanted), microversion=COMPUTE_API), thing)
    return bool(asked.wanted), asked.note
