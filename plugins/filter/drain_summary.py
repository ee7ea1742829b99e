# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: drain_summary
short_description: What became of the moves of a drain
version_added: 0.3.0
author:
  - The our.cloud founders (@our-cloud)
description:
  - Says how each move ended, and what is not where it should be.
positional: _input, plan, results, guests
options:
  _input:
    description: By hypervisor, what M(our.cloud.vm_info) returned there.
    type: dict
    required: true
  plan:
    description: What P(our.cloud.drain_plan#filter) returned, with those of its moves that were made.
    type: dict
    required: true
  results:
    description: >-
      By C(key) of a move, V(moved), what M(our.cloud.vm_migrate) or M(our.cloud.instance_migrate) returned, or V(failure), a sentence.
    type: dict
    required: true
  guests:
    description: The inventory's variable C(guests).
    type: list
    elements: dict
    default: []
seealso:
  - plugin: our.cloud.drain_plan
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Show how it ended
  ansible.builtin.debug:
    msg: "{{ {'node1': on_node1, 'node2': on_node2} | our.cloud.drain_summary(plan, {'move-web': {'moved': moved}}) }}"
"""

RETURN = r"""
_value:
  description: V(lines), a table of the moves; V(faults), sentences about what was not moved, or is not where it should be.
  type: dict
"""

from ansible_collections.our.cloud.plugins.module_utils._cloud import instance_moved
from ansible_collections.our.cloud.plugins.module_utils._common.shapes import plain
from ansible_collections.our.cloud.plugins.module_utils._guest import drain, told


def drain_summary(hosts, plan, results, guests=()):
    moves = [drain.Move.of(move) for move in plan["moves"]]
    now = told.read(hosts)
    found = plain(drain.summary(plan["host"], moves, plan["there"], results, now, {entry.get("name") for entry in guests}))
    arrived = [move for move in moves if move.instance and (results.get(move.key) or {}).get("moved")]
    found["faults"] += [text for text in (instance_moved.astray(now, move) for move in arrived) if text]
    return found


class FilterModule:
    """The filter our.cloud.drain_summary."""

    def filters(self):
        return {"drain_summary": drain_summary}
