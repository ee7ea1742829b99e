# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: cloud_departed
short_description: What a machine still has of groups of the cloud that it has left
version_added: 0.2.0
author:
  - The our.cloud founders (@our-cloud)
description:
  - Tells the units to be stopped, and the services that the machine's front must not lead to any more.
positional: _input, host, groups
options:
  _input:
    description: C(units) of M(our.cloud.cloud_machine_info).
    type: list
    elements: dict
    required: true
  host:
    description: The machine's name in the inventory.
    type: str
    required: true
  groups:
    description: Ansible's variable C(groups).
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Show what is to be stopped
  ansible.builtin.debug:
    msg: "{{ (told.units | our.cloud.cloud_departed(inventory_hostname, groups)).units }}"
"""

RETURN = r"""
_value:
  description: V(units) and V(fronts), lists of names.
  type: dict
"""

from ansible_collections.our.cloud.plugins.module_utils._cloud import members


def cloud_departed(units, host, groups):
    names = [unit["name"] for unit in units]
    return {"units": members.departed(names, host, groups), "fronts": members.old_fronts(host, groups) if names else []}


class FilterModule:
    """The filter our.cloud.cloud_departed."""

    def filters(self):
        return {"cloud_departed": cloud_departed}
