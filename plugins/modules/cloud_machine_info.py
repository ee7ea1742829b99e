#!/usr/bin/python
# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: cloud_machine_info
short_description: What a machine of the cloud has, and the state of its services
version_added: 0.2.0
description:
  - Returns what the preflight of the cloud checks (memory, hardware virtualization, network cards, names, the clock, the store, Open vSwitch's
    identity) and what the cloud's status checks (the units that the collection has set up, the machine's certificate, the store's room).
  - Needs only what a bare Debian machine has, and changes nothing.
options:
  names:
    description: Names that the machine must be able to resolve, besides its own.
    type: list
    elements: str
    default: []
  schemas:
    description: Services whose tables are compared with what the installed package wants, such as V(nova).
    type: list
    elements: str
    default: []
extends_documentation_fragment:
  - our.cloud.registry
  - our.cloud.common
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
seealso:
  - plugin: our.cloud.cloud_preflight
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Look at the machine
  our.cloud.cloud_machine_info:
    store: /srv/cloud
"""

RETURN = r"""
memory:
  description: MiB of memory.
  returned: always
  type: int
swap:
  description: MiB of swap.
  returned: always
  type: int
virtualization:
  description: Whether the CPU offers hardware virtualization.
  returned: always
  type: bool
macs:
  description: The MAC addresses of its cards and bridges.
  returned: always
  type: list
  elements: str
hostname:
  description: Its host name.
  returned: always
  type: str
unresolved:
  description: Of its own name and O(names), those that lead to no address.
  returned: always
  type: list
  elements: str
time:
  description: Its clock, in seconds since 1970.
  returned: always
  type: float
clock:
  description: Seconds that its clock is ahead of the control machine's, at least and at most.
  returned: always
  type: list
  elements: float
store:
  description: The marker of the store; empty if there is none at O(store).
  returned: always
  type: str
store_free:
  description: MiB that are free in the store.
  returned: always
  type: int
store_total:
  description: MiB that the store has.
  returned: always
  type: int
system_id:
  description: Open vSwitch's identity; empty if there is none yet.
  returned: always
  type: str
units:
  description: The units that the cloud has set up, each with C(name), C(runs), C(state) and C(restarts).
  returned: always
  type: list
  elements: dict
certificate:
  description: The machine's certificate with C(days) that are left, C(names) and whether the CA has C(signed) it. V(null) if it has none.
  returned: always
  type: dict
schemas:
  description: Of each of O(schemas) its C(name), and in a sentence what its tables C(lacks); empty if nothing.
  returned: always
  type: list
  elements: dict
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.our.cloud.plugins.module_utils._cloud import machine
from ansible_collections.our.cloud.plugins.module_utils._common.errors import CloudError
from ansible_collections.our.cloud.plugins.module_utils._common.shapes import plain


def main():
    module = AnsibleModule(argument_spec={
        "names": {"type": "list", "elements": "str", "default": []},
        "schemas": {"type": "list", "elements": "str", "default": []},
        "store": {"type": "path", "default": "/srv/cloud"},
    }, supports_check_mode=True)
    try:
        facts, health = machine.facts(module.params["names"], module.params["store"]), machine.health(module.params["schemas"])
    except CloudError as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=False, **facts.told(), **plain(health))


if __name__ == "__main__":
    main()
