# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: drain_plan
short_description: Where the guests and instances of a hypervisor go that is taken out of use
version_added: 0.3.0
author:
  - The our.cloud founders (@our-cloud)
description:
  - Chooses a target for each guest that runs on a hypervisor, and for each of the cloud's instances, among the others of its kind that are not drained.
    Memory counts as it is given away, and so does that of guests on their way.
  - Says what cannot be moved, why, and what to do about it.
positional: _input, host, groups, guests, mode, cloud, avoid
options:
  _input:
    description: By hypervisor, what M(our.cloud.vm_info) returned there.
    type: dict
    required: true
  host:
    description: The hypervisor that is to be drained, as it was asked for.
    type: str
    required: true
  groups:
    description: Ansible's variable C(groups).
    type: dict
    required: true
  guests:
    description: The inventory's variable C(guests).
    type: list
    elements: dict
    default: []
  mode:
    description: The mode for guests whose kind cannot move live, if any.
    type: str
  cloud:
    description: What M(our.cloud.instance_info) returned. V(null) if there is a cloud and it does not answer.
    type: dict
    default: {}
  avoid:
    description: Hypervisors that are targets only where no other one has room, such as those that will be drained soon.
    type: list
    elements: str
    default: []
seealso:
  - plugin: our.cloud.drain_summary
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Show what would be moved
  ansible.builtin.debug:
    msg: "{{ {'node1': on_node1, 'node2': on_node2} | our.cloud.drain_plan('node1', groups) }}"
"""

RETURN = r"""
_value:
  description: >-
    V(error), why nothing may be done, else empty; V(wrong), the same if the question itself was wrong, which can be told before anybody is asked;
    V(host); V(moves), the largest first, each with C(key), C(name), C(source), C(target), C(mode), C(memory) (MiB) and C(instance);
    V(stay), sentences about what runs there and cannot be moved; V(notes), sentences about what else is there; V(lines), the moves as a table;
    V(there), the names of all domains on the host.
  type: dict
"""

import dataclasses
import types

from ansible_collections.our.cloud.plugins.module_utils._common.shapes import plain
from ansible_collections.our.cloud.plugins.module_utils._guest import drain, told
from ansible_collections.our.cloud.plugins.module_utils._guest.guests import hypervisors
from ansible_collections.our.cloud.plugins.module_utils._guest.instance_facts import InstanceFacts

# No cloud at all; None is one that does not answer.
NO_CLOUD = types.MappingProxyType({"instances": ()})


def drain_plan(hosts, host, groups, guests=(), mode="", cloud=NO_CLOUD, avoid=()):
    families = hypervisors(groups)
    meant, wrong = drain.asked_for("drain", host, groups.get("all", ()), families)
    if wrong:
        return plain(drain.Drain(error=wrong, wrong=wrong))
    instances = None if cloud is None else [InstanceFacts.of(each) for each in cloud.get("instances", ())]
    found = drain.plan(meant, told.read(hosts), {entry.get("name") for entry in guests}, groups.get("nc", ()), instances, str(mode or "").strip(), avoid)
    return plain(dataclasses.replace(found, host=meant))


class FilterModule:
    """The filter our.cloud.drain_plan."""

    def filters(self):
        return {"drain_plan": drain_plan}
