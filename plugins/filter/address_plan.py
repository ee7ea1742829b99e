# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: address_plan
short_description: The address plan of a LAN, and what is wrong with it
version_added: 0.1.0
description:
  - Works out DHCP reservations and DNS names for the hosts and guests of a site, and the gateway's two interfaces.
  - Finds malformed, duplicate and misplaced MAC addresses, addresses and names, a dynamic range that is outside
    of the LAN or overlaps fixed addresses, and missing interfaces. All faults are listed, each with its remedy.
positional: _input
options:
  _input:
    description:
      - The hosts of the inventory, each with C(name), C(mac) and C(address).
      - P(our.cloud.site_machines#filter) makes this list.
    type: list
    elements: dict
    required: true
  gateway:
    description: Name of the gateway among the hosts.
    type: str
    required: true
  address:
    description: The gateway's address on the LAN.
    type: str
    required: true
  network:
    description: The LAN, as address and length.
    type: str
    required: true
  domain:
    description: The LAN's DNS domain.
    type: str
    required: true
  range_start:
    description: First address for machines without a reservation.
    type: str
    required: true
  range_end:
    description: Last address for machines without a reservation.
    type: str
    required: true
  guests:
    description: Virtual machines, each with C(name) and perhaps C(mac), C(address) and C(state).
    type: list
    elements: dict
    default: []
  links:
    description: The gateway's interfaces, as C(ip -json -details address) tells them. Without them the interfaces are not looked for.
    type: list
    elements: dict
  routes:
    description: The gateway's default routes, as C(ip -json route show default) tells them.
    type: list
    elements: dict
    default: []
  public:
    description: C(name) or C(mac) of the interface that leads outside.
    type: dict
  private:
    description: C(name) or C(mac) of the interface on the LAN.
    type: dict
seealso:
  - plugin: our.cloud.site_machines
    plugin_type: filter
  - plugin: our.cloud.guest_mac
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Work out the plan
  ansible.builtin.set_fact:
    plan: >-
      {{ hostvars | our.cloud.site_machines(groups.all) | our.cloud.address_plan(
         gateway='homer', address='192.168.77.1', network='192.168.77.0/24', domain='lab.lan',
         range_start='192.168.77.128', range_end='192.168.77.254', guests=guests) }}

- name: Refuse a bad one
  ansible.builtin.assert:
    that: plan.problems == []
    fail_msg: "{{ plan.problems }}"
"""

RETURN = r"""
_value:
  description: The plan. With C(problems) the rest is not to be used.
  type: dict
  contains:
    problems:
      description: Sentences that name the host or guest, the fault and the remedy.
      type: list
      elements: str
    reservations:
      description: One per MAC address, with C(mac), C(name) and C(address). Without an address the range gives one.
      type: list
      elements: dict
    names:
      description: Fixed entries of the DNS, with C(name) and C(address), and C(whole) where the inventory's name has another domain than the LAN's.
      type: list
      elements: dict
    public:
      description: Name of the interface that leads outside.
      type: str
    private:
      description: Name of the interface on the LAN.
      type: str
"""

from ansible_collections.our.cloud.plugins.module_utils._site.address_plan import make_plan


def address_plan(*plan, **options):
    return make_plan(*plan, **options).plain()


class FilterModule:
    """The filter our.cloud.address_plan."""

    def filters(self):
        return {"address_plan": address_plan}
