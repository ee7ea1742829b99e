# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: cloud_addresses
short_description: The addresses that a cloud uses, and what is wrong with them
version_added: 0.2.0
description:
  - Compares the ranges that a cloud has on the LAN with the DHCP server's, with the inventory's hosts and guests and with each other, and
    its own networks with the LAN. Works out the ends of the tunnels between its nodes.
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
  network:
    description: The LAN, as address and length.
    type: str
    required: true
  floating:
    description: The range of floating addresses, as V(FIRST-LAST).
    type: str
    default: ""
  static:
    description: The range of addresses that instances are given one by one.
    type: str
    default: ""
  private:
    description: The network of instances behind a router.
    type: str
    default: ""
  tunnels:
    description: The network of the tunnels' ends.
    type: str
    default: ""
  nodes:
    description: Names of the node controllers.
    type: list
    elements: str
    default: []
  guests:
    description: Virtual machines of the inventory, each with C(name) and perhaps C(address) and C(state).
    type: list
    elements: dict
    default: []
  routers:
    description: Names of the gateways.
    type: list
    elements: str
    default: []
  range_start:
    description: First address that the DHCP server gives. Without it, the upper half of the LAN begins there.
    type: str
    default: ""
  range_end:
    description: Last address that the DHCP server gives.
    type: str
    default: ""
seealso:
  - plugin: our.cloud.address_plan
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Show what is wrong
  ansible.builtin.debug:
    msg: >-
      {{ (hostvars | our.cloud.site_machines(groups.all) | our.cloud.cloud_addresses('192.168.77.0/24',
          floating='192.168.77.64-192.168.77.95', private='10.250.0.0/20', routers=groups.gateway)).problems }}
"""

RETURN = r"""
_value:
  description: >-
    C(problems), sentences; C(floating) and C(static), each with C(start) and C(end); C(tunnels), each with C(name), C(mac), C(address) and
    C(prefix). With problems the rest is not to be used.
  type: dict
"""

from ansible_collections.our.cloud.plugins.module_utils._site.cloud_addresses import cloud_addresses


class FilterModule:
    """The filter our.cloud.cloud_addresses."""

    def filters(self):
        return {"cloud_addresses": cloud_addresses}
