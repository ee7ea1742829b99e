# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: cloud_preflight
short_description: What is wrong with a site that is to have a cloud
version_added: 0.2.0
author:
  - The our.cloud founders (@our-cloud)
description:
  - Without O(facts) it judges the inventory alone, before any machine is touched. With them, the machines.
  - Every fault is a sentence with the name of the machine, group or variable, and the remedy.
positional: _input, groups
options:
  _input:
    description: Ansible's variable C(hostvars).
    type: dict
    required: true
  groups:
    description: Ansible's variable C(groups).
    type: dict
    required: true
  facts:
    description: By machine, what M(our.cloud.cloud_machine_info) told. Machines that are left out are not judged.
    type: dict
  check:
    description: Whether the run is a check, in which a store and names may still be to come.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Refuse a bad inventory
  ansible.builtin.assert:
    that: faults == []
    fail_msg: "{{ faults }}"
  vars:
    faults: "{{ hostvars | our.cloud.cloud_preflight(groups) }}"
"""

RETURN = r"""
_value:
  description: The faults; empty if a cloud can be made.
  type: list
  elements: str
"""

from ansible_collections.our.cloud.plugins.module_utils._cloud.machine_facts import Facts
from ansible_collections.our.cloud.plugins.module_utils._cloud.preflight import inventory_faults, machine_faults


def cloud_preflight(hostvars, groups, facts=None, check=False):
    if facts is None:
        return inventory_faults(groups, hostvars)
    return machine_faults(groups, hostvars, {host: Facts.of(told) for host, told in facts.items()}, check)


class FilterModule:
    """The filter our.cloud.cloud_preflight."""

    def filters(self):
        return {"cloud_preflight": cloud_preflight}
