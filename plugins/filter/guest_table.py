# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: guest_table
short_description: The guests and instances of a site as a table
version_added: 0.2.0
author:
  - The our.cloud founders (@our-cloud)
description:
  - Lines that are aligned, for people to read. Below the table is what somebody should look at - guests that are in more places than one, stand
    still, or have left the inventory, hypervisors that could not be asked, and other managers' domains.
positional: _input, registry, groups, guests, instances, leases
options:
  _input:
    description: By hypervisor, what M(our.cloud.vm_info) returned there.
    type: dict
    required: true
  registry:
    description: What M(our.cloud.image_info) returned.
    type: dict
    required: true
  groups:
    description: Ansible's variable C(groups). Its hypervisors that are not in the input could not be asked.
    type: dict
    default: {}
  guests:
    description: The inventory's variable C(guests). Without it nothing is said of guests that have left the inventory.
    type: list
    elements: dict
  instances:
    description: What M(our.cloud.instance_info) returned as RV(our.cloud.instance_info#module:instances). Without it the table has no instances.
    type: list
    elements: dict
  leases:
    description: The text of dnsmasq's file of leases, which has the addresses of instances that the LAN's DHCP server serves.
    type: str
"""

EXAMPLES = r"""
- name: Show the guests
  ansible.builtin.debug:
    msg: "{{ {'node1': on_node1, 'node2': on_node2} | our.cloud.guest_table(registry) }}"
"""

RETURN = r"""
_value:
  description: The lines, the first of which is the heading.
  type: list
  elements: str
"""

from ansible_collections.our.cloud.plugins.module_utils._guest import overview, told
from ansible_collections.our.cloud.plugins.module_utils._guest.guests import hypervisors
from ansible_collections.our.cloud.plugins.module_utils._guest.instance_facts import InstanceFacts


def guest_table(hosts, registry, groups=None, guests=None, instances=None, leases=None):
    return overview.guests(told.read(hosts), registry, hypervisors(groups or {}), guests,
                           None if instances is None else [InstanceFacts.of(each) for each in instances], leases or "")


class FilterModule:
    """The filter our.cloud.guest_table."""

    def filters(self):
        return {"guest_table": guest_table}
