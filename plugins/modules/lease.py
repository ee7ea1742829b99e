#!/usr/bin/python
# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: lease
short_description: Break the leases of a hypervisor that is dead
version_added: 0.2.0
description:
  - A lease says that a hypervisor runs a guest, and never expires. This takes away those of one hypervisor, so that others may start its guests.
  - While it lives its guests write on their disks, and a second copy ruins them. C(playbooks/rescue.yml) makes sure that it does not.
options:
  host:
    description: The inventory name of the dead hypervisor.
    type: str
    required: true
  state:
    description: V(absent), it has no leases any more.
    type: str
    choices: [absent]
    default: absent
extends_documentation_fragment:
  - our.cloud.registry
  - our.cloud.common
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
seealso:
  - module: our.cloud.lease_info
"""

EXAMPLES = r"""
- name: The guests of node1, which has burnt down, may start elsewhere
  our.cloud.lease:
    host: node1
  delegate_to: node2
"""

RETURN = r"""
broken:
  description: The leases that the host had, as C(leases) of M(our.cloud.lease_info) tells them.
  returned: always
  type: list
  elements: dict
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.our.cloud.plugins.module_utils._common.bounded import bounded
from ansible_collections.our.cloud.plugins.module_utils._common.errors import CloudError
from ansible_collections.our.cloud.plugins.module_utils._guest import lease, rescue


def main():
    module = AnsibleModule(argument_spec={
        "host": {"type": "str", "required": True},
        "state": {"type": "str", "choices": ["absent"], "default": "absent"},
        "store": {"type": "path", "default": "/srv/cloud"},
    }, supports_check_mode=True)
    store, host = module.params["store"], module.params["host"]

    def work():
        if module.check_mode:
            return [row for row in lease.holders(store) if row["host"] == host]
        return lease.break_host(store, host)

    try:
        # what it has begun it may end when the store answers again: the host is as dead then
        broken = bounded(work, rescue.STORE_TIME, f"store {store}", "Is its server up? Run this again when it is")
    except (CloudError, OSError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=bool(broken), broken=broken)


if __name__ == "__main__":
    main()
