#!/usr/bin/python
# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: lease_info
short_description: Who runs what, and whether a hypervisor that is silent lives
version_added: 0.2.0
description:
  - Looks at another hypervisor from the one that the module runs on. The store tells who has the lease of which guest, and whether the
    other one renews its heartbeat there; the network tells whether it answers.
options:
  host:
    description: The inventory name of the other hypervisor.
    type: str
    required: true
  address:
    description: Its address on the LAN. Without one the network is not asked.
    type: str
    default: ''
  ports:
    description: TCP ports at which a living hypervisor answers.
    type: list
    elements: int
    default: [22, 16514]
  wait:
    description: Seconds for which its heartbeat is watched, unless it comes. It comes every 10 s.
    type: int
    default: 25
  quiet:
    description: >-
      It is watched on until it has been away for so many seconds. An NFS server keeps the locks of a dead client for 90 s,
      and QEMU does not start a guest before.
    type: int
    default: 100
extends_documentation_fragment:
  - our.cloud.registry
  - our.cloud.common
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
seealso:
  - module: our.cloud.lease
  - module: our.cloud.vm_info
"""

EXAMPLES = r"""
- name: Is node1 alive, as node2 sees it?
  our.cloud.lease_info:
    host: node1
    address: 192.0.2.11
  delegate_to: node2
"""

RETURN = r"""
signs:
  description: What shows that it lives, as sentences. Empty if nothing answers.
  returned: always
  type: list
  elements: str
renewed:
  description: Whether its heartbeat in the store goes on. V(null) if it has never had one.
  returned: always
  type: bool
leases:
  description: All leases of the store, each with C(name), C(uuid), C(host), C(since), C(disks) and C(to), the host that the guest is on its way to.
  returned: always
  type: list
  elements: dict
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.our.cloud.plugins.module_utils._common.errors import CloudError
from ansible_collections.our.cloud.plugins.module_utils._guest import rescue


def main():
    module = AnsibleModule(argument_spec={
        "host": {"type": "str", "required": True},
        "address": {"type": "str", "default": ""},
        "ports": {"type": "list", "elements": "int", "default": [22, 16514]},
        "wait": {"type": "int", "default": 25},
        "quiet": {"type": "int", "default": 100},
        "store": {"type": "path", "default": "/srv/cloud"},
    }, supports_check_mode=True)
    asked = module.params
    try:
        module.exit_json(changed=False, **rescue.look(asked["store"], asked["host"], asked["address"], asked["ports"], asked["wait"], asked["quiet"]))
    except (CloudError, OSError) as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
