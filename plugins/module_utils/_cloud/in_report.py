# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The cloud's part of the site's report."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Mapping

from ansible_collections.our.cloud.plugins.module_utils._cloud import preflight, status
from ansible_collections.our.cloud.plugins.module_utils._cloud.status_facts import Parts
from ansible_collections.our.cloud.plugins.module_utils._site.report import BAD, GOOD, NOTICE, Row

STATES = {status.GOOD: GOOD, status.LOOK: NOTICE, status.BAD: BAD}


def rows(groups: Mapping[str, Iterable[str]], machines: Mapping[str, status.Machine], parts: Parts | None, mute: Collection[str], listed: bool) -> list[Row]:
    """Those of cloud_status.yml, but for what other sections have: machines that are mute altogether and, if instances are listed, which have failed."""
    if not preflight.members(groups, "clc"):
        return []
    if parts and parts.instances and parts.instances.told and listed:
        building = tuple(one for one in parts.instances.told if one.status != "ERROR")
        parts = dataclasses.replace(parts, instances=dataclasses.replace(parts.instances, told=building))
    return [Row("cloud", f"{row.part} on {row.where}", STATES[row.state], row.tells, row.remedy)
            for row in status.judge(groups, machines, parts) if row.part != "machine" or row.where not in mute]
