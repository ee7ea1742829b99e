# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: guest_mac
short_description: The MAC address of a guest, from its name
version_added: 0.1.0
description:
  - Gives every virtual machine the same MAC address wherever and whenever it runs, without a list to keep.
  - The prefix is C(00:16:3e), the one that is set aside for virtual machines.
positional: _input
options:
  _input:
    description: Name of the guest.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Show the MAC address of a guest
  ansible.builtin.debug:
    msg: "{{ 'our-vm' | our.cloud.guest_mac }}"
"""

RETURN = r"""
_value:
  description: The MAC address, in lower case with colons.
  type: str
"""

from ansible_collections.our.cloud.plugins.module_utils._site.address_plan import guest_mac


class FilterModule:
    """The filter our.cloud.guest_mac."""

    def filters(self):
        return {"guest_mac": guest_mac}
