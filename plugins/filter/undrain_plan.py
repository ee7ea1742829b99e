# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: undrain_plan
short_description: Whether a hypervisor may be taken into use again, and which guests could return to it
version_added: 0.3.0
author:
  - The our.cloud founders (@our-cloud)
description:
  - Guests do not return by themselves. It tells which of them have this hypervisor in the inventory and run elsewhere, and the command that moves them.
positional: _input, host, groups, guests
options:
  _input:
    description: By hypervisor, what M(our.cloud.vm_info) returned there.
    type: dict
    required: true
  host:
    description: The hypervisor, as it was asked for.
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
seealso:
  - plugin: our.cloud.drain_plan
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Show which guests could return
  ansible.builtin.debug:
    msg: "{{ ({'node1': on_node1, 'node2': on_node2} | our.cloud.undrain_plan('node1', groups, guests)).lines }}"
"""

RETURN = r"""
_value:
  description: >-
    V(error), why it cannot be done, else empty; V(wrong), the same if the question itself was wrong, which can be told before anybody is asked;
    V(drained), whether it is drained; V(lines), which guests could return, and the command.
  type: dict
"""

from ansible_collections.our.cloud.plugins.module_utils._guest import drain, told
from ansible_collections.our.cloud.plugins.module_utils._guest.guests import hypervisors


def undrain_plan(hosts, host, groups, guests=()):
    meant, wrong = drain.asked_for("undrain", host, groups.get("all", ()), hypervisors(groups))
    known = told.read(hosts)
    error = wrong or ("" if meant in known else drain.silent(meant))
    return {"error": error, "wrong": wrong, "drained": not error and known[meant].drained is not None,
            "lines": [] if error else drain.returns(meant, guests, known)}


class FilterModule:
    """The filter our.cloud.undrain_plan."""

    def filters(self):
        return {"undrain_plan": undrain_plan}
