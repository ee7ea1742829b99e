# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: project_faults
short_description: What is wrong with the cloud's projects as an inventory describes them
version_added: 0.2.0
author:
  - The our.cloud founders (@our-cloud)
description:
  - Looks at the text alone, so it can be asked before there is a cloud.
positional: _input
options:
  _input:
    description: The inventory's variable C(cloud_projects).
    type: list
    elements: dict
    required: true
"""

EXAMPLES = r"""
- name: The projects can be made
  ansible.builtin.assert:
    that: cloud_projects | our.cloud.project_faults | length == 0
"""

RETURN = r"""
_value:
  description: Sentences, each with its remedy. None if all is right.
  type: list
  elements: str
"""

from ansible_collections.our.cloud.plugins.module_utils._cloud.project_entries import faults


class FilterModule:
    """The filter our.cloud.project_faults."""

    def filters(self):
        return {"project_faults": faults}
