# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the documentation of all filters that read the inventory's guests has in common."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
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
author:
  - The our.cloud founders (@our-cloud)
"""
