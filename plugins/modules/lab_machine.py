#!/usr/bin/python
# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: lab_machine
short_description: A virtual machine that stands for a physical one
version_added: 0.1.0
description:
  - Starts, stops or removes one QEMU machine of a lab and waits until it shows its login prompt.
  - Its disk is a copy-on-write overlay of an image; its name, host key and first address come from a seed that it reads once.
  - Runs on the control machine, without root.
extends_documentation_fragment:
  - our.cloud.lab
  - our.cloud.common
attributes:
  check_mode:
    support: full
    description: Says what would change.
  diff_mode:
    support: none
options:
  name:
    description: Name of the machine, which is its host name too.
    type: str
    required: true
  state:
    description:
      - V(started) starts it if it does not run.
      - V(stopped) shuts it down and keeps its disk.
      - V(absent) ends it and removes its disk.
      - V(queried) only reports.
    type: str
    choices: [started, stopped, absent, queried]
    default: started
  memory:
    description: Memory in MiB.
    type: int
  vcpus:
    description: Number of processors.
    type: int
    default: 1
  image:
    description: The bootable disk that the machine's own disk is an overlay of.
    type: path
  accelerator:
    description: What it runs on, as M(our.cloud.lab_host) found it.
    type: str
    choices: [kvm, tcg]
  nics:
    description: Its network cards. The first one gets its address by DHCP.
    type: list
    elements: dict
    default: []
    suboptions:
      network:
        description: V(outside) is routed to the world by QEMU; any other name is a LAN.
        type: str
        required: true
      mac:
        description: MAC address.
        type: str
        required: true
  forward_ssh:
    description: Port on the loopback address that leads to the machine's ssh, on its V(outside) card.
    type: int
  timeout:
    description: How long a boot or a shutdown may take, in seconds.
    type: int
    default: 600
"""

EXAMPLES = r"""
- name: A node with one card on the LAN
  our.cloud.lab_machine:
    name: marge
    state_dir: /home/lisa/lab
    memory: 2048
    image: /home/lisa/.cache/our.cloud/images/lab-machine-0f3a5c771e20b4d1/lab-machine.raw
    accelerator: tcg
    nics:
      - {network: lan, mac: "52:54:00:00:01:02"}
"""

RETURN = r"""
machine:
  description: The machine as it is now.
  returned: always
  type: dict
  sample:
    {"name": "marge", "state": "up", "pid": 4711, "memory": 2048, "vcpus": 1, "accelerator": "tcg", "console": "/home/lisa/lab/machines/marge/console.log"}
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.our.cloud.plugins.module_utils._lab import machine
from ansible_collections.our.cloud.plugins.module_utils._lab.process import LabError


def main():
    nic_spec = {"network": {"type": "str", "required": True}, "mac": {"type": "str", "required": True}}
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "state": {"type": "str", "choices": ["started", "stopped", "absent", "queried"], "default": "started"},
            "state_dir": {"type": "path", "required": True},
            "memory": {"type": "int"},
            "vcpus": {"type": "int", "default": 1},
            "image": {"type": "path"},
            "accelerator": {"type": "str", "choices": ["kvm", "tcg"]},
            "nics": {"type": "list", "elements": "dict", "default": [], "options": nic_spec},
            "forward_ssh": {"type": "int"},
            "timeout": {"type": "int", "default": 600},
        },
        required_if=[("state", "started", ["memory", "image", "accelerator", "nics"])],
        supports_check_mode=True,
    )
    try:
        changed, warnings = machine.ensure_machine(module.params, module.check_mode)
        state = machine.status(module.params["state_dir"], module.params["name"])
    except LabError as exc:
        module.fail_json(msg=str(exc))
    for warning in warnings:
        module.warn(warning)
    module.exit_json(changed=changed, machine=state)


if __name__ == "__main__":
    main()
