# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: store_host
short_description: The host that the image store is on
version_added: 0.2.0
description:
  - The first host of the group C(image_store). Where that has none, the store is mounted on the nodes by other means, and it is the first of C(hypervisors).
positional: _input
options:
  _input:
    description: The inventory's groups.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: A play on the store's host
  hosts: "{{ groups | our.cloud.store_host | default('hypervisors', true) }}"
"""

RETURN = r"""
_value:
  description: Its name; empty if there is no such host.
  type: str
"""

from ansible_collections.our.cloud.plugins.module_utils._site.store import store_host


class FilterModule:
    """The filter our.cloud.store_host."""

    def filters(self) -> dict:
        return {"store_host": store_host}
