# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: lab_networks
short_description: The docker networks of a lab of containers
version_added: 0.1.0
author: The our.cloud founders (@our-cloud)
description:
  - One network for each name in the machines' cards. V(outside) leads to the world, any other is a LAN without a way out.
options:
  _input:
    description: C(lab_nics) of all machines, in one list. A card's C(address), with its length, says what network it is on.
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
networks: "{{ [{'network': 'lan', 'mac': '52:54:00:00:01:02'}] | our.cloud.lab_networks('springfield') }}"
# -> [{'name': 'our-cloud-springfield-lan', 'internal': True, 'bridge': 'oc-…', 'ipam': []}]
"""

RETURN = r"""
_value:
  description: C(name), C(internal), C(bridge) and C(ipam) of each, as M(community.docker.docker_network) takes them.
  type: list
  elements: dict
"""

from ansible_collections.our.cloud.plugins.module_utils._lab import containers
from ansible_collections.our.cloud.plugins.module_utils._lab.hardware import cards


def networks(nics, lab):
    return containers.networks(cards(nics), lab)


class FilterModule:
    """Filters of our.cloud."""

    def filters(self):
        """The filters by name."""
        return {"lab_networks": networks}
