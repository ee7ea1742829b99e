# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: guest_plan
short_description: What is to be done for the guests of an inventory, and where
version_added: 0.2.0
description:
  - Decides by what all hypervisors told where each guest is. Who has a guest keeps it; its C(host) is for one that nobody has.
  - A guest is left alone while it is being moved. One that a hypervisor may run that could not be asked, that is defined twice and runs
    nowhere, or that runs twice, is refused, with what to do about it.
positional: _input, hosts, groups, asked
options:
  hosts:
    description: By hypervisor, what M(our.cloud.vm_info) returned there. Those that are missing could not be asked.
    type: dict
    required: true
  asked:
    description: The hypervisors that the run is about.
    type: list
    elements: str
    required: true
extends_documentation_fragment:
  - our.cloud.guests
"""

EXAMPLES = r"""
- name: Show what would be done
  ansible.builtin.debug:
    msg: "{{ guests | our.cloud.guest_plan({'node1': on_node1, 'node2': on_node2}, groups, ansible_play_hosts_all) }}"
"""

RETURN = r"""
_value:
  description: >-
    V(here), by hypervisor a list of what M(our.cloud.vm) is to be told; V(left), lines about guests that are left alone;
    V(refused), lines about guests that nothing may be done for before somebody has looked.
  type: dict
"""

from ansible_collections.our.cloud.plugins.module_utils._common.shapes import plain
from ansible_collections.our.cloud.plugins.module_utils._guest import told
from ansible_collections.our.cloud.plugins.module_utils._guest.guests import hypervisors, read
from ansible_collections.our.cloud.plugins.module_utils._guest.placement import declare


def guest_plan(entries, hosts, groups, asked, store="", bridge=""):
    # a check gets no guests from a machine that is yet to become a hypervisor
    known = told.read({host: {"guests": [], **info} for host, info in hosts.items()})
    return plain(declare(read(entries, groups, store, bridge).guests, known, hypervisors(groups), asked))


class FilterModule:
    """The filter our.cloud.guest_plan."""

    def filters(self):
        return {"guest_plan": guest_plan}
