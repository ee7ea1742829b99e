#!/usr/bin/python
# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: lab_docker
short_description: Prepare the computer that runs a lab of containers
version_added: 0.1.0
description:
  - Checks programs, memory, disk space, ports, networks and the packet filter for the machines of a lab that are containers.
  - Uses the docker that answers. Where none does, starts one, by the service manager if it has one, else by hand.
  - Lets machines of one LAN talk where C(br_netfilter) would have docker's rules drop it.
  - Runs on the control machine, as root.
extends_documentation_fragment:
  - our.cloud.common
attributes:
  check_mode:
    support: full
    description: Checks everything and starts nothing.
  diff_mode:
    support: none
options:
  name:
    description: Name of the lab.
    type: str
    required: true
  state:
    description:
      - V(present) prepares.
      - V(absent) says that this lab needs docker no more. With the last one goes what was made for it, a docker that was started too, unless it has
        other containers.
    type: str
    choices: [present, absent]
    default: present
  machines:
    description: The machines that are to run.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name of the machine and of its container.
        type: str
        required: true
      memory:
        description: What it will need, in MiB.
        type: int
        required: true
      forward_ssh:
        description: Port on the loopback address that will lead to its ssh.
        type: int
      addresses:
        description: Addresses of its cards outside, with the lengths of their networks.
        type: list
        elements: str
        default: []
"""

EXAMPLES = r"""
- name: Prepare this computer
  our.cloud.lab_docker:
    name: springfield
    machines:
      - {name: homer, memory: 3072, forward_ssh: 2222, addresses: [192.0.2.10/24]}
  become: true
"""

RETURN = r"""
answers:
  description: Whether docker answers now; in check mode it may not.
  returned: always
  type: bool
said:
  description: What was done that the person in front of the computer should know.
  returned: always
  type: list
  elements: str
  sample: ["docker.service was started."]
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.our.cloud.plugins.module_utils._lab import docker
from ansible_collections.our.cloud.plugins.module_utils._lab.process import LabError


def main():
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "machines": {"type": "list", "elements": "dict", "default": [], "options": {
                "name": {"type": "str", "required": True},
                "memory": {"type": "int", "required": True},
                "forward_ssh": {"type": "int"},
                "addresses": {"type": "list", "elements": "str", "default": []},
            }},
        },
        supports_check_mode=True,
    )
    act = docker.prepare if module.params["state"] == "present" else docker.release
    try:
        result = act(module.params, module.check_mode)
    except LabError as exc:
        module.fail_json(msg=str(exc))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
