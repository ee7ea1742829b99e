# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: emulator_packages
short_description: The Debian packages with the emulators that guests need
version_added: 0.2.0
description:
  - Looks up the architecture of every guest of the kinds V(kvm) and V(qemu). Guests that are V(absent) need none.
positional: _input
options:
  _input:
    description: Guests, each with C(kind) and perhaps C(arch) and C(state), as in the inventory.
    type: list
    elements: dict
    required: true
  images:
    description: Images, each with C(name) and perhaps C(arch), as in C(guests_images). A guest without C(arch) has that of its C(image).
    type: list
    elements: dict
    default: []
"""

EXAMPLES = r"""
- name: Show what the KVM nodes need for all guests of the inventory
  ansible.builtin.debug:
    msg: "{{ guests | our.cloud.emulator_packages(guests_images | default([])) }}"
"""

RETURN = r"""
_value:
  description: Names of packages, sorted.
  type: list
  elements: str
"""

from ansible_collections.our.cloud.plugins.module_utils._guest.arch import emulator_packages


class FilterModule:
    """The filter our.cloud.emulator_packages."""

    def filters(self):
        return {"emulator_packages": emulator_packages}
