# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: site_guests
short_description: The guests of an inventory, checked and complete
version_added: 0.2.0
description:
  - Reads the inventory's guests, fills in defaults, and tells everything that is wrong with them, one line for each fault.
  - Two guests with one name, MAC address, address or disk are a fault, also where a disk is the one that an image gives by default.
positional: _input, groups, store, bridge
extends_documentation_fragment:
  - our.cloud.guests
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
