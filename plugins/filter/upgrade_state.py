# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: upgrade_state
short_description: Whether a machine wants a restart, and whether it is well
version_added: 0.3.0
author:
  - The our.cloud founders (@our-cloud)
description:
  - Judges what a machine tells of itself after it has been upgraded or restarted.
positional: _input, host, groups, hypervisor, cloud, restarted
options:
  _input:
    description: What M(our.cloud.machine_info) returned there, also if it failed.
    type: dict
    required: true
  host:
    description: The machine.
    type: str
    required: true
  groups:
    description: Ansible's variable C(groups).
    type: dict
    required: true
  hypervisor:
    description: What M(our.cloud.vm_info) returned there, also if it failed. None for a machine that is no hypervisor.
    type: dict
  cloud:
    description: What M(our.cloud.cloud_machine_info) returned there, also if it failed. Empty for a machine that is not of the cloud.
    type: dict
    default: {}
  restarted:
    description: Whether it has restarted, so that nothing may run that is older than what is installed.
    type: bool
    default: false
seealso:
  - plugin: our.cloud.upgrade_plan
    plugin_type: filter
"""

EXAMPLES = r"""
- name: It is well
  ansible.builtin.assert:
    that: state.faults == []
  vars:
    state: "{{ told | our.cloud.upgrade_state(inventory_hostname, groups, here) }}"
"""

RETURN = r"""
_value:
  description: V(reasons), why it wants a restart, in words; V(faults), sentences about what is not well.
  type: dict
"""

from ansible_collections.our.cloud.plugins.module_utils._guest import upgrade
from ansible_collections.our.cloud.plugins.module_utils._guest.guests import hypervisors
from ansible_collections.our.cloud.plugins.module_utils._guest.told import Hypervisor


def upgrade_state(machine, host, groups, hypervisor=None, cloud=None, restarted=False):
    known = upgrade.machine(machine)
    info = None if hypervisor is None else Hypervisor.of(hypervisor) if "guests" in hypervisor else upgrade.silence(hypervisor)
    part = cloud or {}
    units = part["units"] if "units" in part else upgrade.silence(part) if part and not part.get("skipped") else []
    return {"reasons": [] if isinstance(known, str) else upgrade.reasons(known),
            "faults": upgrade.faults(host, hypervisors(groups).get(host, ""), info, known, units, bool(restarted))}


class FilterModule:
    """The filter our.cloud.upgrade_state."""

    def filters(self):
        return {"upgrade_state": upgrade_state}
