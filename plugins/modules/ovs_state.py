#!/usr/bin/python
# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: ovs_state
short_description: Bridges, ports and settings of Open vSwitch, in one transaction
version_added: 0.2.0
description:
  - Compares what is wanted with Open vSwitch's database and writes what differs, all of it or nothing. What is not named is left alone.
  - Before the first start of C(ovs-vswitchd), it writes the settings with which that starts. If C(ovs-vswitchd) runs, the module waits until it
    has applied all, and fails for a port that it cannot open.
options:
  external_ids:
    description: Keys of the column C(external_ids) of the switch; without a value (V(null)) the key is taken away.
    type: dict
    default: {}
  other_config:
    description: Keys of the column C(other_config) of the switch; without a value (V(null)) the key is taken away.
    type: dict
    default: {}
  managers:
    description: Where the database listens, or where it connects to. Others are removed. If not given, they stay as they are.
    type: list
    elements: str
  ssl:
    description: The files for TLS, of the switch and of OVN's controller.
    type: dict
    suboptions:
      private_key:
        description: The key.
        type: path
        required: true
      certificate:
        description: The certificate.
        type: path
        required: true
      ca_cert:
        description: The authority's certificate.
        type: path
        required: true
  bridges:
    description: Bridges.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Its name.
        type: str
        required: true
      state:
        description: Whether it is to be there.
        type: str
        choices: [present, absent]
        default: present
      datapath_type:
        description: V(system) for the kernel's datapath, V(netdev) for that of C(ovs-vswitchd) itself.
        type: str
        choices: [system, netdev]
      fail_mode:
        description: What the bridge does without a controller.
        type: str
        choices: [standalone, secure]
      other_config:
        description: Keys of its column C(other_config); without a value (V(null)) the key is taken away.
        type: dict
        default: {}
      ports:
        description: Ports that it is to have, beside others.
        type: list
        elements: dict
        default: []
        suboptions:
          name:
            description: The interface's name.
            type: str
            required: true
          type:
            description: Its type; without one, an interface of the system.
            type: str
            default: ""
extends_documentation_fragment:
  - our.cloud.common
attributes:
  check_mode:
    support: full
    description: Where Open vSwitch is not installed or does not run yet, it reports everything as to be made.
  diff_mode:
    support: full
    description: Shows what differs in Open vSwitch's database.
"""

EXAMPLES = r"""
- name: A bridge with one leg in the LAN
  our.cloud.ovs_state:
    external_ids:
      hostname: "{{ inventory_hostname }}"
      ovn-bridge-mappings: physnet1:br-ex
    bridges:
      - name: br-ex
        ports: [{name: to-br0}]
"""

RETURN = r"""
commands:
  description: The commands of the transaction. Empty if all was there.
  returned: always
  type: list
  elements: str
  sample: ["--may-exist add-br br-ex"]
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.our.cloud.plugins.module_utils._cloud import ovs
from ansible_collections.our.cloud.plugins.module_utils._common.errors import CloudError


def main():
    module = AnsibleModule(argument_spec={
        "external_ids": {"type": "dict", "default": {}},
        "other_config": {"type": "dict", "default": {}},
        "managers": {"type": "list", "elements": "str"},
        "ssl": {"type": "dict", "options": {
            # a path, and no secret
            "private_key": {"type": "path", "required": True, "no_log": False},
            "certificate": {"type": "path", "required": True},
            "ca_cert": {"type": "path", "required": True},
        }},
        "bridges": {"type": "list", "elements": "dict", "default": [], "options": {
            "name": {"type": "str", "required": True},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "datapath_type": {"type": "str", "choices": ["system", "netdev"]},
            "fail_mode": {"type": "str", "choices": ["standalone", "secure"]},
            "other_config": {"type": "dict", "default": {}},
            "ports": {"type": "list", "elements": "dict", "default": [], "options": {
                "name": {"type": "str", "required": True},
                "type": {"type": "str", "default": ""},
            }},
        }},
    }, supports_check_mode=True)
    try:
        plan = ovs.ensure_switch(module.params, module.check_mode)
    except CloudError as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=bool(plan.commands), commands=[" ".join(command) for command in plan.commands],
                     diff={"before": plan.before, "after": plan.after})


if __name__ == "__main__":
    main()
