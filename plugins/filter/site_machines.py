# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: site_machines
short_description: The inventory's hosts with their MAC and LAN addresses
version_added: 0.1.0
description:
  - Takes from every host of the inventory its name and the variables C(site_mac) and C(site_address).
  - Hosts with neither are left out, for they are not on the LAN.
positional: _input, hosts
options:
  _input:
    description: The variable C(hostvars).
    type: dict
    required: true
  hosts:
    description: Names of the hosts to look at.
    type: list
    elements: str
    required: true
"""

EXAMPLES = r"""
- name: Show who is on the LAN
  ansible.builtin.debug:
    msg: "{{ hostvars | our.cloud.site_machines(groups.all) }}"
"""

RETURN = r"""
_value:
  description: One dictionary per host with C(name), C(mac) and C(address). A value that the host does not have is empty.
  type: list
  elements: dict
"""


def site_machines(hostvars, hosts):
    machines = []
    for host in sorted(hosts):
        mac = hostvars[host].get("site_mac") or ""
        address = hostvars[host].get("site_address") or ""
        if mac or address:
            machines.append({"name": host, "mac": mac, "address": address})
    return machines


class FilterModule:
    """The filter our.cloud.site_machines."""

    def filters(self):
        return {"site_machines": site_machines}
