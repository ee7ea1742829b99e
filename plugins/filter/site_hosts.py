# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: site_hosts
short_description: The inventory's hosts that are machines of the site
version_added: 0.2.0
description:
  - Those in the groups C(gateway), C(image_store), C(hypervisors), C(xen), C(kvm), C(clc), C(walrus), C(sc), C(cc) and C(nc), those in the group C(site),
    which an inventory may have for further ones, and those in no group at all.
  - An inventory may have other hosts, such as guests in the groups C(oar_server) and C(oar_nodes). The layers leave them alone.
positional: _input
options:
  _input:
    description: The inventory's groups.
    type: dict
    required: true
seealso:
  - plugin: our.cloud.site_machines
    plugin_type: filter
"""

EXAMPLES = r"""
- name: A play on the site's machines
  hosts: "{{ groups | our.cloud.site_hosts }}"
"""

RETURN = r"""
_value:
  description: Their names, in the inventory's order.
  type: list
  elements: str
"""

from ansible_collections.our.cloud.plugins.module_utils._site.machines import site_hosts


class FilterModule:
    """The filter our.cloud.site_hosts."""

    def filters(self) -> dict:
        return {"site_hosts": site_hosts}
