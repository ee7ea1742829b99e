# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: instance_astray
short_description: Whether an instance that was moved runs where it should, and nowhere else
version_added: 0.2.0
author:
  - The our.cloud founders (@our-cloud)
description:
  - Compares what nova says after a move with what the libvirts of both nodes tell.
positional: _input, plan
options:
  _input:
    description: By node, what M(our.cloud.vm_info) returned there.
    type: dict
    required: true
  plan:
    description: What P(our.cloud.migration_plan#filter) said of the move.
    type: dict
    required: true
seealso:
  - plugin: our.cloud.instance_failure
    plugin_type: filter
"""

EXAMPLES = r"""
- name: It has arrived
  ansible.builtin.assert:
    that: "{{ {'node1': on_node1, 'node2': on_node2} | our.cloud.instance_astray(plan) == '' }}"
"""

RETURN = r"""
_value:
  description: What is wrong, a sentence. Empty if nothing is.
  type: str
"""

from ansible_collections.our.cloud.plugins.module_utils._cloud import instance_moved
from ansible_collections.our.cloud.plugins.module_utils._guest import told
from ansible_collections.our.cloud.plugins.module_utils._guest.placement import Planned


def astray(hosts, plan):
    return instance_moved.astray(told.read(hosts), Planned.of(plan))


class FilterModule:
    """The filter our.cloud.instance_astray."""

    def filters(self):
        return {"instance_astray": astray}
