# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: instance_failure
short_description: Why an instance was not moved, and what to do about it
version_added: 0.2.0
author:
  - The our.cloud founders (@our-cloud)
description:
  - Puts together what M(our.cloud.instance_migrate) said and what the nodes' logs say.
positional: _input, plan, message
options:
  _input:
    description: By node, what M(our.cloud.compute_log) returned there.
    type: dict
    required: true
  plan:
    description: What P(our.cloud.migration_plan#filter) said of the move.
    type: dict
    required: true
  message:
    description: The message of M(our.cloud.instance_migrate).
    type: str
    required: true
seealso:
  - plugin: our.cloud.instance_astray
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Why it was not moved
  ansible.builtin.fail:
    msg: "{{ {'node1': on_node1, 'node2': on_node2} | our.cloud.instance_failure(plan, moved.msg) }}"
"""

RETURN = r"""
_value:
  description: Cause and remedy.
  type: str
"""

from ansible_collections.our.cloud.plugins.module_utils._cloud import instance_moved
from ansible_collections.our.cloud.plugins.module_utils._cloud.compute_log import Log
from ansible_collections.our.cloud.plugins.module_utils._guest.placement import Planned


def failure(hosts, plan, message):
    return instance_moved.failure({host: Log.of(told) for host, told in hosts.items()}, Planned.of(plan), message)


class FilterModule:
    """The filter our.cloud.instance_failure."""

    def filters(self):
        return {"instance_failure": failure}
