#!/usr/bin/python
# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: cloud_networks
short_description: Networks, routers and shared security groups of a cloud
version_added: 0.2.0
description:
  - Makes and corrects what the cloud's operator offers to all projects. What is not named is left alone.
options:
  networks:
    description: Networks.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Its name.
        type: str
        required: true
      shared:
        description: Whether every project may use it.
        type: bool
        default: false
      external:
        description: Whether routers may use it as their external network, and floating addresses may come from it.
        type: bool
        default: false
      network_type:
        description: Its type; without it, a tunnel.
        type: str
        choices: [flat, vlan, geneve]
      physical_network:
        description: The name of the physical network.
        type: str
      segment:
        description: The VLAN's number.
        type: int
      mtu:
        description: The MTU. Without it, the largest one of its type.
        type: int
      subnets:
        description: Its subnets.
        type: list
        elements: dict
        default: []
        suboptions:
          name:
            description: Its name.
            type: str
            required: true
          cidr:
            description: Address and length.
            type: str
            required: true
          gateway:
            description: The gateway's address; without it, the first one.
            type: str
          dns:
            description: Name servers.
            type: list
            elements: str
            default: []
          pools:
            description: Ranges of addresses to assign, each as V(FIRST-LAST). Without them, all.
            type: list
            elements: str
            default: []
  routers:
    description: Routers.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Its name.
        type: str
        required: true
      external_network:
        description: Its external network.
        type: str
      subnets:
        description: Names of the subnets that it routes for.
        type: list
        elements: str
        default: []
  security_groups:
    description: Security groups of the operator's project.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Its name.
        type: str
        required: true
      description:
        description: What it is for.
        type: str
        default: ""
      shared:
        description: Whether every project may use it.
        type: bool
        default: false
      rules:
        description: What may come in.
        type: list
        elements: dict
        default: []
        suboptions:
          protocol:
            description: The protocol.
            type: str
            choices: [tcp, udp, icmp]
            required: true
          port:
            description: The port. All without it.
            type: int
          remote:
            description: From where, as address and length.
            type: str
            required: true
extends_documentation_fragment:
  - our.cloud.administrator
  - our.cloud.common
attributes:
  check_mode:
    support: full
    description: Where there is no cloud yet, it reports everything as to be made.
  diff_mode:
    support: full
    description: Shows what differs of each network, subnet, router and security group.
seealso:
  - module: our.cloud.cloud_identity
"""

EXAMPLES = r"""
- name: A network of the LAN, and a private one behind a router
  our.cloud.cloud_networks:
    networks:
      - name: lan
        shared: true
        external: true
        network_type: flat
        physical_network: physnet1
        subnets:
          - name: lan
            cidr: 192.168.77.0/24
            gateway: 192.168.77.1
            pools: [192.168.77.64-192.168.77.95]
      - name: private
        shared: true
        subnets: [{name: private, cidr: 10.250.0.0/20}]
    routers:
      - {name: private, external_network: lan, subnets: [private]}
"""

RETURN = r"""
steps:
  description: What was made or changed, or would be.
  returned: always
  type: list
  elements: str
  sample: ["network lan", "subnet lan"]
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.our.cloud.plugins.module_utils._cloud import networks
from ansible_collections.our.cloud.plugins.module_utils._common.errors import CloudError

TEXT = {"type": "str", "required": True}
SUBNETS = {"type": "list", "elements": "dict", "default": [], "options": {
    "name": TEXT, "cidr": TEXT, "gateway": {"type": "str"},
    "dns": {"type": "list", "elements": "str", "default": []}, "pools": {"type": "list", "elements": "str", "default": []},
}}


def main():
    module = AnsibleModule(argument_spec={
        "networks": {"type": "list", "elements": "dict", "default": [], "options": {
            "name": TEXT, "shared": {"type": "bool", "default": False}, "external": {"type": "bool", "default": False},
            "network_type": {"type": "str", "choices": ["flat", "vlan", "geneve"]}, "physical_network": {"type": "str"},
            "segment": {"type": "int"}, "mtu": {"type": "int"}, "subnets": SUBNETS,
        }},
        "routers": {"type": "list", "elements": "dict", "default": [], "options": {
            "name": TEXT, "external_network": {"type": "str"}, "subnets": {"type": "list", "elements": "str", "default": []},
        }},
        "security_groups": {"type": "list", "elements": "dict", "default": [], "options": {
            "name": TEXT, "description": {"type": "str", "default": ""}, "shared": {"type": "bool", "default": False},
            "rules": {"type": "list", "elements": "dict", "default": [], "options": {
                "protocol": {"type": "str", "choices": ["tcp", "udp", "icmp"], "required": True}, "port": {"type": "int"}, "remote": TEXT,
            }},
        }},
    }, supports_check_mode=True)
    try:
        steps = networks.ensure(module.params, module.check_mode)
    except CloudError as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=bool(steps), steps=[step.thing for step in steps],
                     diff={"before": {step.thing: step.before for step in steps}, "after": {step.thing: step.after for step in steps}})


if __name__ == "__main__":
    main()
