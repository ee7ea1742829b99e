# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: cloud_table
short_description: The state of the cloud as a table, with a verdict and the next command
version_added: 0.2.0
author:
  - The our.cloud founders (@our-cloud)
description:
  - Judges what M(our.cloud.cloud_status) and M(our.cloud.cloud_machine_info) told. Asks nobody.
positional: _input, machines, groups, hostvars
options:
  _input:
    description: C(parts) of M(our.cloud.cloud_status); empty if nobody could ask.
    type: dict
    required: true
  machines:
    description: By machine of the cloud, what M(our.cloud.cloud_machine_info) told. Those that are not in it have not answered.
    type: dict
    required: true
  groups:
    description: Ansible's variable C(groups).
    type: dict
    required: true
  hostvars:
    description: Ansible's variable C(hostvars), for the C(site_address) of each machine, which its certificate is to have.
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: Show how the cloud fares
  ansible.builtin.debug:
    msg: "{{ (cloud_status_told.parts | our.cloud.cloud_table(machines, groups, hostvars)).lines }}"
"""

RETURN = r"""
_value:
  description: V(lines), to be read; V(good), whether all works; V(verdict), in a sentence; V(next), the command that goes on with what does not.
  type: dict
"""

from ansible_collections.our.cloud.plugins.module_utils._cloud import status
from ansible_collections.our.cloud.plugins.module_utils._cloud.machine_facts import Health, Store
from ansible_collections.our.cloud.plugins.module_utils._cloud.status_facts import Parts
from ansible_collections.our.cloud.plugins.module_utils._common.shapes import plain


def cloud_table(parts, machines, groups, hostvars=None):
    its = {host: status.Machine(Health.of(facts), Store.of(facts), str((hostvars or {}).get(host, {}).get("site_address") or ""))
           for host, facts in machines.items()}
    return plain(status.overview(status.judge(groups, its, Parts.of(parts) if parts else None)))


class FilterModule:
    """The filter our.cloud.cloud_table."""

    def filters(self):
        return {"cloud_table": cloud_table}
