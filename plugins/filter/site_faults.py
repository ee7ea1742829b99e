# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: site_faults
short_description: What is wrong with the variables that all layers of a site have in common
version_added: 0.2.0
description:
  - Looks at C(site_network), C(site_domain), C(site_store), C(site_bridge) and C(site_reach_timeout) of the machines of the site, and at C(site_mac) and
    C(site_address) of all hosts. Connects to no host.
  - Those that a layer needs must be there, unless a role's own variable takes their place.
positional: _input, groups, layers
options:
  _input:
    description: Ansible's variable C(hostvars).
    type: dict
    required: true
  groups:
    description: Ansible's variable C(groups).
    type: dict
    required: true
  layers:
    description: The layers that the variables are needed for.
    type: list
    elements: str
    choices: [gateway, image_store, hypervisors, cloud, guests]
    required: true
"""

EXAMPLES = r"""
- name: Refuse a bad inventory
  ansible.builtin.assert:
    that: faults == []
    fail_msg: "{{ faults }}"
  run_once: true
  vars:
    faults: "{{ hostvars | our.cloud.site_faults(groups, ['gateway']) }}"
"""

RETURN = r"""
_value:
  description: The faults, each with its remedy; empty if there is none.
  type: list
  elements: str
"""

from ansible_collections.our.cloud.plugins.module_utils._site.variables import site_faults


class FilterModule:
    """The filter our.cloud.site_faults."""

    def filters(self) -> dict:
        return {"site_faults": site_faults}
