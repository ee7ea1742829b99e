# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: ready_verdict
short_description: Whether a machine of the site may be switched off now
version_added: 0.3.0
author:
  - The our.cloud founders (@our-cloud)
description:
  - Says what speaks against it, and what to do about that; guests, instances, moves, leases, routers, or what the machine is for others.
positional: _input, host, groups, guests, cloud, leases, routers, restart
options:
  _input:
    description: By hypervisor, what M(our.cloud.vm_info) returned there.
    type: dict
    required: true
  host:
    description: The machine, as it was asked for.
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
  cloud:
    description: What M(our.cloud.instance_info) returned. V(null) if there is a cloud and it does not answer.
    type: dict
    default: {}
  leases:
    description: What M(our.cloud.lease_info) returned on this hypervisor, also if it failed.
    type: dict
    default: {}
  routers:
    description: What M(our.cloud.ovn_gateway_info) returned, also if it failed. Empty where there is no cloud.
    type: dict
    default: {}
  restart:
    description: Whether it is only to be restarted, so that what it is for others returns with it.
    type: bool
    default: false
seealso:
  - plugin: our.cloud.drain_plan
    plugin_type: filter
"""

EXAMPLES = r"""
- name: May it be switched off?
  ansible.builtin.assert:
    that: verdict.reasons == []
  vars:
    verdict: "{{ {'node1': on_node1, 'node2': on_node2} | our.cloud.ready_verdict('node1', groups) }}"
"""

RETURN = r"""
_value:
  description: >-
    V(error), why it cannot be told, else empty; V(wrong), the same if the question itself was wrong, which can be told before anybody is asked;
    V(reasons), sentences about what speaks against it; V(notes), sentences about what one should know who does it.
  type: dict
"""

import types

from ansible_collections.our.cloud.plugins.module_utils._common import shapes
from ansible_collections.our.cloud.plugins.module_utils._guest import ready, told
from ansible_collections.our.cloud.plugins.module_utils._guest.guests import hypervisors
from ansible_collections.our.cloud.plugins.module_utils._guest.instance_facts import InstanceFacts
from ansible_collections.our.cloud.plugins.module_utils._guest.rescue import Held

# No cloud at all; None is one that does not answer.
NO_CLOUD = types.MappingProxyType({"instances": ()})


def ready_verdict(hosts, host, groups, guests=(), cloud=NO_CLOUD, leases=None, routers=None, restart=False):
    meant, wrong = ready.asked_for(host, groups)
    if wrong:
        return shapes.plain(ready.Ready(error=wrong, wrong=wrong))
    instances = None if cloud is None else [InstanceFacts.of(each) for each in cloud.get("instances", ())]
    leases, routers = leases or {}, routers or {}
    held = tuple(map(Held.of, leases["leases"])) if "leases" in leases else \
        str(leases.get("msg") or "nobody has asked the store")
    ways = str(routers["msg"]) if routers.get("failed") or routers.get("unreachable") else \
        ready.Routers.of(routers)
    return shapes.plain(ready.verdict(meant, groups, hypervisors(groups), told.read(hosts), {entry.get("name") for entry in guests}, instances, held, ways,
                                      restart))


class FilterModule:
    """The filter our.cloud.ready_verdict."""

    def filters(self):
        return {"ready_verdict": ready_verdict}
