# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: site_guests
short_description: The guests of an inventory, checked and complete
version_added: 0.2.0
author:
  - The our.cloud founders (@our-cloud)
description:
  - Reads the inventory's guests, fills in defaults, and tells everything that is wrong with them, one line for each fault.
  - Two guests with one name, MAC address, address or disk are a fault, also where a disk is the one that an image gives by default.
positional: _input, groups, store, bridge
options:
  _input:
    description: The inventory's variable C(guests).
    type: list
    elements: dict
    required: true
  groups:
    description: Ansible's variable C(groups), of which V(hypervisors), V(xen) and V(kvm) are looked at.
    type: dict
    required: true
  store:
    description: Where relative paths of disks begin.
    type: str
    default: ''
  bridge:
    description: The bridge of guests that name none.
    type: str
    default: ''
"""

EXAMPLES = r"""
- name: The inventory's guests can be declared
  ansible.builtin.assert:
    that: site.faults | length == 0
    fail_msg: "{{ site.faults }}"
  vars:
    site: "{{ guests | our.cloud.site_guests(groups, site_store, site_bridge) }}"
"""

RETURN = r"""
_value:
  description: >-
    V(guests), those that are right, with defaults and without keys that are not said; V(faults), lines that name guest, key and what is allowed.
  type: dict
"""

from ansible_collections.our.cloud.plugins.module_utils._guest.guests import read


def site_guests(entries, groups, store="", bridge=""):
    found = read(entries, groups, store, bridge)
    return {"guests": [guest.told() for guest in found.guests], "faults": found.faults}


class FilterModule:
    """The filter our.cloud.site_guests."""

    def filters(self):
        return {"site_guests": site_guests}
