# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: guest_filter
short_description: What guests may send, as elements of nftables sets
version_added: 0.2.0
description:
  - Works out for the role C(guest_filter) which MAC addresses and addresses the guests of a site have, which ones its machines have,
    and what guests may reach.
  - All faults are listed, each with its remedy.
positional: _input
options:
  _input:
    description:
      - The hosts of the inventory, each with C(name), C(mac) and C(address).
      - P(our.cloud.site_machines#filter) makes this list.
    type: list
    elements: dict
    required: true
  guests:
    description: Virtual machines, each with C(name) and perhaps C(mac), C(address), C(state) and C(bridge).
    type: list
    elements: dict
    required: true
  network:
    description: The LAN, as address and length.
    type: str
    required: true
  bridge:
    description: The hypervisors' bridge. Guests on other bridges are left out.
    type: str
    required: true
  routers:
    description: Names of the hosts that route for guests and give them addresses and names.
    type: list
    elements: str
    default: []
  opened:
    description: What guests may reach besides, each with C(to) and C(port) and perhaps C(guest) and C(protocol).
    type: list
    elements: dict
    default: []
  range_start:
    description: First address for guests without one of their own. Without it, the upper half of the LAN begins there.
    type: str
    default: ""
  range_end:
    description: Last address for guests without one of their own.
    type: str
    default: ""
  cloud_ranges:
    description: Addresses of the LAN that a cloud gives to its instances, each as V(FIRST-LAST). Empty ones are left out.
    type: list
    elements: str
    default: []
  tunnels:
    description: Ends of the tunnels between a cloud's nodes, each with C(mac) and C(address).
    type: list
    elements: dict
    default: []
seealso:
  - plugin: our.cloud.site_machines
    plugin_type: filter
  - plugin: our.cloud.address_plan
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Work out the sets
  ansible.builtin.set_fact:
    sets: >-
      {{ hostvars | our.cloud.site_machines(groups.all) | our.cloud.guest_filter(
         guests=guests, network='192.168.77.0/24', bridge='br0', routers=groups.gateway,
         opened=[{'guest': 'our-vm', 'to': 'homer', 'port': 2049}]) }}
"""

RETURN = r"""
_value:
  description: Lists of elements, one for each set, and C(problems), sentences. With problems the rest is not to be used.
  type: dict
"""

from ansible_collections.our.cloud.plugins.module_utils._site.guest_filter import make_table


class FilterModule:
    """The filter our.cloud.guest_filter."""

    def filters(self):
        return {"guest_filter": make_table}
