# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether nova places instances on a node: its nova-compute is enabled or disabled, with the reason by which we know ours again."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.our.cloud.plugins.module_utils._cloud import members, session
from ansible_collections.our.cloud.plugins.module_utils._cloud.status import COMPUTE_API, body
from ansible_collections.our.cloud.plugins.module_utils._common.errors import CloudError
from ansible_collections.our.cloud.plugins.module_utils._guest.drain import REASON


def change(services: Iterable[Mapping[str, Any]], host: str, enabled: bool) -> tuple[str, dict[str, Any], str]:
    """What is to be asked of nova: (the service's id, the change, a sentence if something stays that we did not do). No change: nothing is to be done.

    services: nova's of nova-compute, as its API returns them. One that somebody else has disabled stays as it is."""
    its = next((one for one in services if one["host"] == host), None)
    if its is None:
        raise CloudError(os.uname().nodename, f"nova-compute on {host}", "nova does not know it by this name", "our.cloud.cloud makes it a node controller")
    reason = its.get("disabled_reason")
    if its["status"] == "enabled":
        return its["id"], {} if enabled else {"status": "disabled", "disabled_reason": REASON}, ""
    if reason == REASON:
        return its["id"], {"status": "enabled"} if enabled else {}, ""
    return its["id"], {}, (f"nova-compute on {host} was disabled by somebody else ({reason or 'without a reason'}) and stays so: "
                           f"`openstack compute service set --enable {host} nova-compute`") if enabled else ""


def ensure(host: str, enabled: bool, check: bool) -> dict[str, Any]:
    """`changed`, and `note`: a sentence if it stays disabled, empty if not."""
    connection = session.connect()
    found = body(connection, "compute", "/os-services?binary=nova-compute", "nova", microversion=COMPUTE_API)["services"]
    identifier, wanted, note = change(found, host, enabled)
    if wanted and not check:
        thing = f"nova-compute on {host}"
        with session.speaking(thing):
            members.sent(connection.compute.put(f"/os-services/{identifier}", json=wanted, microversion=COMPUTE_API), thing)
    return {"changed": bool(wanted), "note": note}
