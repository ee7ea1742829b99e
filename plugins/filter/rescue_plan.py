# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: rescue_plan
short_description: What becomes of the guests of a lost hypervisor
version_added: 0.2.0
description:
  - Decides whether a hypervisor may be taken for lost, and which of the others starts which of its guests. Memory counts as it is given away.
options:
  host:
    description: The lost hypervisor.
    type: str
    required: true
  hosts:
    description: By hypervisor that answered, what M(our.cloud.vm_info) returned there.
    type: dict
    required: true
  looks:
    description: By hypervisor that looked at the lost one, what M(our.cloud.lease_info) returned there.
    type: dict
    required: true
  ssh:
    description: Whether the lost one answers Ansible.
    type: bool
    default: false
  fenced:
    description: Whether somebody answers for it that nothing of it writes to the store any more.
    type: bool
    default: false
extends_documentation_fragment:
  - our.cloud.guests
"""

EXAMPLES = r"""
- name: Show what would be done
  ansible.builtin.debug:
    msg: "{{ guests | our.cloud.rescue_plan('node1', {'node2': on_node2}, {'node2': seen_by_node2}, groups) }}"
"""

RETURN = r"""
_value:
  description: >-
    V(error), why nothing may be done, else empty; V(here), by hypervisor a list of what M(our.cloud.vm) is to be told; V(lines), what becomes of each guest;
    V(refused), guests for which there is no room.
  type: dict
"""

import os

from ansible_collections.our.cloud.plugins.module_utils._common import shapes
from ansible_collections.our.cloud.plugins.module_utils._guest import guests, rescue, told

INSTANCES = "nova/instances"  # in the store


def rescue_plan(entries, host, hosts, looks, groups, ssh=False, fenced=False, store="", bridge=""):
    looks = {name: rescue.Look.of(look) for name, look in looks.items()}
    families = guests.hypervisors(groups)
    if host not in families:
        return {"error": f"{host or 'Nothing'} is no hypervisor of the inventory. Give the lost one with -e host=NAME; "
                         f"there are: {', '.join(sorted(families))}.",
                "here": {}, "lines": [], "refused": []}
    read = guests.read(entries, groups, store, bridge)
    # what has not looked at the store cannot start anything from it
    others = {name: info for name, info in told.read(hosts).items() if name in looks}
    error = "; ".join(read.faults) or rescue.life(host, looks, ssh, fenced)
    # nova's instances have leases, too; nova says what becomes of them
    instances = os.path.join(store, INSTANCES, "") if store and host in groups.get("nc", []) else ""
    leases = [row for row in (next(iter(looks.values())).leases if looks else ())
              if not instances or not any(disk.startswith(instances) for disk in row.disks)]
    return {"error": error, **shapes.plain(rescue.plan(host, read.guests, others, families, leases))}


class FilterModule:
    """The filter our.cloud.rescue_plan."""

    def filters(self):
        return {"rescue_plan": rescue_plan}
