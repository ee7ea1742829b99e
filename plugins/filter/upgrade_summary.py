# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: upgrade_summary
short_description: How the upgrades or restarts of machines ended
version_added: 0.3.0
author:
  - The our.cloud founders (@our-cloud)
description:
  - Says what was done on each machine, why it stopped, and which command goes on.
positional: _input, results
options:
  _input:
    description: What P(our.cloud.upgrade_plan#filter) returned.
    type: dict
    required: true
  results:
    description: By machine that had its turn, C(upgraded), C(restarted), C(done) and C(fault), a sentence, if it is not well.
    type: dict
    required: true
seealso:
  - plugin: our.cloud.upgrade_plan
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Show how it ended
  ansible.builtin.debug:
    msg: "{{ (plan | our.cloud.upgrade_summary({'node1': {'upgraded': true, 'done': true}})).lines }}"
"""

RETURN = r"""
_value:
  description: V(lines), a table of the machines; V(faults), sentences about why it stopped, and how it goes on.
  type: dict
"""

from ansible_collections.our.cloud.plugins.module_utils._common import shapes
from ansible_collections.our.cloud.plugins.module_utils._guest import upgrade


def upgrade_summary(plan, results):
    turns = [shapes.of(upgrade.Turn, turn) for turn in plan["turns"]]
    return shapes.plain(upgrade.summary(plan["verb"], turns, {host: shapes.of(upgrade.Result, result) for host, result in results.items()}))


class FilterModule:
    """The filter our.cloud.upgrade_summary."""

    def filters(self):
        return {"upgrade_summary": upgrade_summary}
