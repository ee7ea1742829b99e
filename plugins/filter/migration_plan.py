# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: migration_plan
short_description: Where a guest or an instance is to be moved
version_added: 0.1.0
author:
  - The our.cloud founders (@our-cloud)
description:
  - Finds a guest among the hypervisors and the hypervisor of the same kind with the most free memory, or says why the wanted one does not do.
  - Where the inventory has a cloud, the name or id may be an instance's, which goes to a node controller. A name that both have is refused.
options:
  _input:
    description: By hypervisor, what M(our.cloud.vm_info) returned there.
    type: dict
    required: true
  name:
    description: The guest.
    type: str
    required: true
  target:
    description: The wanted hypervisor, if any.
    type: str
  mode:
    description: The wanted mode, if any.
    type: str
  groups:
    description: Ansible's variable C(groups). Its hypervisors that are not in the input could not be asked.
    type: dict
    default: {}
  cloud:
    description: What M(our.cloud.instance_info) returned. V(null) if there is a cloud and it does not answer.
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: Show where it would go
  ansible.builtin.debug:
    msg: "{{ {'node1': on_node1, 'node2': on_node2} | our.cloud.migration_plan('our-vm') }}"
"""

RETURN = r"""
_value:
  description: >-
    V(source), V(target), V(mode), V(already) (it is there), or V(error), a sentence. V(wrong) is the same sentence if the question itself was
    wrong, which can be told before anybody is asked. V(instance) is the instance, if it is one.
  type: dict
"""

import types

from ansible_collections.our.cloud.plugins.module_utils._cloud import instance_plan
from ansible_collections.our.cloud.plugins.module_utils._common.shapes import plain
from ansible_collections.our.cloud.plugins.module_utils._guest import told
from ansible_collections.our.cloud.plugins.module_utils._guest.guests import hypervisors
from ansible_collections.our.cloud.plugins.module_utils._guest.instance_facts import InstanceFacts

# No cloud at all; None is one that does not answer.
NO_CLOUD = types.MappingProxyType({"instances": ()})


def migration_plan(hosts, name, target=None, mode=None, groups=None, cloud=NO_CLOUD):
    families = hypervisors(groups or {})
    name, target, mode = (str(value or "").strip() for value in (name, target, mode))
    silent = sorted(set(families) - set(hosts))
    instances = None if cloud is None else [InstanceFacts.of(each) for each in cloud.get("instances", ())]
    nodes = list((groups or {}).get("nc", []))
    return plain(instance_plan.plan(name, told.read(hosts), target or None, mode or None, silent, families, nodes, instances))


class FilterModule:
    """The filter our.cloud.migration_plan."""

    def filters(self):
        return {"migration_plan": migration_plan}
