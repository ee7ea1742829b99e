# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: lab_endpoints
short_description: The docker networks of one machine of a lab
version_added: 0.1.0
author: The our.cloud founders (@our-cloud)
description:
  - What its container is plugged into, in the order of its cards.
options:
  _input:
    description: C(lab_nics) of the machine. A card's C(address), with its length, is given to it.
    type: list
    elements: dict
    required: true
  lab:
    description: Name of the lab.
    type: str
    required: true
positional: lab
"""

EXAMPLES = r"""
endpoints: "{{ [{'network': 'lan', 'mac': '52:54:00:00:01:02'}] | our.cloud.lab_endpoints('springfield') }}"
# -> [{'name': 'our-cloud-springfield-lan'}]
"""

RETURN = r"""
_value:
  description: C(name) and, if it was given one, C(ipv4_address), as M(community.docker.docker_container) takes them.
  type: list
  elements: dict
"""

from ansible_collections.our.cloud.plugins.module_utils._lab import containers
from ansible_collections.our.cloud.plugins.module_utils._lab.hardware import cards


def endpoints(nics, lab):
    return containers.endpoints(cards(nics), lab)


class FilterModule:
    """Filters of our.cloud."""

    def filters(self):
        """The filters by name."""
        return {"lab_endpoints": endpoints}
