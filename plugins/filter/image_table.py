# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: image_table
short_description: The images of a site as a table
version_added: 0.2.0
author:
  - The our.cloud founders (@our-cloud)
description:
  - Lines that are aligned, for people to read.
positional: _input
options:
  _input:
    description: What M(our.cloud.image_info) returned.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Show the images
  ansible.builtin.debug:
    msg: "{{ registry | our.cloud.image_table }}"
"""

RETURN = r"""
_value:
  description: The lines, the first of which is the heading.
  type: list
  elements: str
"""

from ansible_collections.our.cloud.plugins.module_utils._site.tables import images


class FilterModule:
    """The filter our.cloud.image_table."""

    def filters(self):
        return {"image_table": images}
