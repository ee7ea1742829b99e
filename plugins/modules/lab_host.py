#!/usr/bin/python
# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: lab_host
short_description: Prepare the computer that runs a lab of virtual machines
version_added: 0.1.0
description:
  - Checks programs, memory, disk space and ports for the machines of a lab, finds out whether hardware virtualization really works,
    makes the lab's own ssh key and starts a switch for each of its LANs.
  - Runs on the control machine, without root.
extends_documentation_fragment:
  - our.cloud.lab
  - our.cloud.common
attributes:
  check_mode:
    support: full
    description: Checks everything and starts nothing.
  diff_mode:
    support: none
options:
  state:
    description: V(present) prepares; V(absent) stops the switches and removes the key.
    type: str
    choices: [present, absent]
    default: present
  machines:
    description: The machines that are to run, as M(our.cloud.lab_machine) takes them.
    type: list
    elements: dict
    default: []
  image:
    description: A bootable disk for trying hardware virtualization. It is not written to.
    type: path
  accelerator:
    description: V(auto) tries hardware virtualization by booting a kernel with it, and emulates if that fails.
    type: str
    choices: [auto, kvm, tcg]
    default: auto
"""

EXAMPLES = r"""
- name: Prepare this computer
  our.cloud.lab_host:
    state_dir: /home/lisa/lab
    image: /home/lisa/.cache/our.cloud/images/lab-machine-0f3a5c771e20b4d1/lab-machine.raw
    machines:
      - {name: homer, memory: 768, forward_ssh: 2222, nics: [{network: outside, mac: "52:54:00:00:00:01"}]}
"""

RETURN = r"""
accelerator:
  description: What the machines run on, V(kvm) or V(tcg).
  returned: when O(state=present)
  type: str
public_key:
  description: The lab's public ssh key.
  returned: when O(state=present), not in check mode
  type: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.our.cloud.plugins.module_utils._lab import host
from ansible_collections.our.cloud.plugins.module_utils._lab.process import LabError


def main():
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "state_dir": {"type": "path", "required": True},
            "machines": {"type": "list", "elements": "dict", "default": []},
            "image": {"type": "path"},
            "accelerator": {"type": "str", "choices": ["auto", "kvm", "tcg"], "default": "auto"},
        },
        required_if=[("state", "present", ["image"])],
        supports_check_mode=True,
    )
    try:
        if module.params["state"] == "present":
            result = host.prepare_host(module.params, module.check_mode)
        else:
            result = {"changed": host.remove_host(module.params["state_dir"], module.check_mode)}
    except LabError as exc:
        module.fail_json(msg=str(exc))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
