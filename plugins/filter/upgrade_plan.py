# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: upgrade_plan
short_description: Which machines are upgraded or restarted, and in which order
version_added: 0.3.0
author:
  - The our.cloud founders (@our-cloud)
description:
  - Gives each machine on which something is to be done a turn. Machines that others wait for come first, then what a run has left that broke off, then those
    with the fewest guests.
  - Says what would keep a machine from its turn, such as guests that cannot leave, and what to do about it.
positional: _input, verb, host, groups, machines, guests, mode, cloud, routers, standstill
options:
  _input:
    description: By hypervisor, what M(our.cloud.vm_info) returned there.
    type: dict
    required: true
  verb:
    description: What is done.
    type: str
    choices: [upgrade, reboot]
    required: true
  host:
    description: The machines, as they were asked for, with commas between them. Empty for all hypervisors.
    type: str
    required: true
  groups:
    description: Ansible's variable C(groups).
    type: dict
    required: true
  machines:
    description: By machine, what M(our.cloud.machine_info) returned there, also if it failed.
    type: dict
    default: {}
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
  routers:
    description: What M(our.cloud.ovn_gateway_info) returned, also if it failed. Empty where there is no cloud.
    type: dict
    default: {}
  standstill:
    description: Whether the cloud's routers may stand still while the node restarts that has their way out.
    type: bool
    default: false
seealso:
  - plugin: our.cloud.upgrade_state
    plugin_type: filter
  - plugin: our.cloud.upgrade_summary
    plugin_type: filter
  - plugin: our.cloud.drain_plan
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Show which nodes would restart
  ansible.builtin.debug:
    msg: "{{ ({'node1': on_node1, 'node2': on_node2} | our.cloud.upgrade_plan('reboot', '', groups, {'node1': node1, 'node2': node2})).lines }}"
"""

RETURN = r"""
_value:
  description: >-
    V(error), why nothing may be done, else empty; V(wrong), the same if the question itself was wrong, which can be told before anybody is asked;
    V(verb); V(began), when this run began, or the one that broke off and that it continues; V(meant), the machines;
    V(turns), in their order, each with C(host), C(drain), C(resumed), C(undrain), C(restart) (V(always), V(wanted) or V(never)), C(guests), C(packages),
    C(why) and C(units);
    V(stay), sentences about what keeps one from its turn; V(notes), sentences about what one should know; V(lines), the turns as a table.
  type: dict
"""

import time
import types

from ansible_collections.our.cloud.plugins.module_utils._common.shapes import plain
from ansible_collections.our.cloud.plugins.module_utils._guest import told, upgrade
from ansible_collections.our.cloud.plugins.module_utils._guest.instance_facts import InstanceFacts
from ansible_collections.our.cloud.plugins.module_utils._guest.ready import Routers

# No cloud at all; None is one that does not answer.
NO_CLOUD = types.MappingProxyType({"instances": ()})


def upgrade_plan(hosts, verb, host, groups, machines=None, guests=(), mode="", cloud=NO_CLOUD, routers=None, standstill=False):
    routers = routers or {}
    return plain(upgrade.plan(
        verb, host, groups, told.read(hosts), {name: upgrade.machine(each) for name, each in (machines or {}).items()},
        declared={entry.get("name") for entry in guests},
        instances=None if cloud is None else [InstanceFacts.of(each) for each in cloud.get("instances", ())], mode=str(mode or "").strip(),
        routers=str(routers["msg"]) if routers.get("failed") or routers.get("unreachable") else Routers.of(routers), standstill=bool(standstill),
        now=time.time()))


class FilterModule:
    """The filter our.cloud.upgrade_plan."""

    def filters(self):
        return {"upgrade_plan": upgrade_plan}
