# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the documentation of all modules that use the cloud's API as its administrator has in common."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options: {}
notes:
  - Runs on the host of the group C(clc), as the administrator of its C(/etc/openstack/clouds.yaml).
requirements:
  - openstacksdk (python3-openstacksdk) on that host
"""
