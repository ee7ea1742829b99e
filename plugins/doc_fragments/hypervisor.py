# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the documentation of all modules that speak to a hypervisor has in common."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  uri:
    description:
      - The libvirt connection of the hypervisor that the module runs on.
      - By default C(xen:///system) in a Xen control domain, else C(qemu:///system).
    type: str
requirements:
  - libvirt and its Python binding (python3-libvirt) on the hypervisor
"""
