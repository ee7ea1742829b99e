# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: log_host
short_description: The host that has the site's log
version_added: 0.3.0
author:
  - The our.cloud founders (@our-cloud)
description:
  - The first host of the group C(gateway). Where that has none, the host of the image store; where that has none either, the host itself.
positional: _input, host
options:
  _input:
    description: The inventory's groups.
    type: dict
    required: true
  host:
    description: The host that something was done on.
    type: str
    required: true
seealso:
  - module: our.cloud.site_log
"""

EXAMPLES = r"""
- name: Note that the guest has moved
  our.cloud.site_log:
    entries: [our-vm moved from node1 to node2]
  delegate_to: "{{ groups | our.cloud.log_host(inventory_hostname) }}"
"""

RETURN = r"""
_value:
  description: Its name.
  type: str
"""

from ansible_collections.our.cloud.plugins.module_utils._site.log import log_host


class FilterModule:
    """The filter our.cloud.log_host."""

    def filters(self) -> dict:
        return {"log_host": log_host}
