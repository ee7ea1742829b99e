#!/usr/bin/python
# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: lab_seed
short_description: What makes a container one machine of a lab and no other
version_added: 0.1.0
description:
  - Makes the archive that a container of the recipe C(lab-container) unpacks at its first start. It has the machine's name, its ssh host key,
    the lab's key that lets root in, its network cards, and files that are to be there from the beginning.
  - It is made once; the machine has read it, and a changed inventory does not change the machine.
  - Runs on the control machine, without root, after M(our.cloud.lab_docker), which makes the lab's key.
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
  nics:
    description:
      - Its network cards. The first one gets its address by DHCP, on a LAN.
      - The card that leads V(outside) is configured by docker.
    type: list
    elements: dict
    required: true
    suboptions:
      network:
        description: V(outside) is docker's way to the world; any other name is a LAN.
        type: str
        required: true
      mac:
        description: MAC address.
        type: str
        required: true
      address:
        description: Its address, where docker gives it one.
        type: str
  files:
    description: Contents of further files, by their paths.
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: Name, keys and card of a node
  our.cloud.lab_seed:
    name: bart
    state_dir: /home/lisa/lab
    nics:
      - {network: lan, mac: "52:54:00:00:01:02"}
"""

RETURN = r"""
path:
  description: The archive.
  returned: always
  type: str
  sample: /home/lisa/lab/machines/bart/seed.tar
"""

import os

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.our.cloud.plugins.module_utils._lab import containers
from ansible_collections.our.cloud.plugins.module_utils._lab.process import LabError


def main():
    nic_spec = {"network": {"type": "str", "required": True}, "mac": {"type": "str", "required": True}, "address": {"type": "str"}}
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "state_dir": {"type": "path", "required": True},
            "nics": {"type": "list", "elements": "dict", "required": True, "options": nic_spec},
            "files": {"type": "dict", "default": {}},
        },
        supports_check_mode=True,
    )
    try:
        changed = containers.seed(module.params, module.check_mode)
    except LabError as exc:
        module.fail_json(msg=str(exc))
    module.exit_json(changed=changed, path=os.path.join(module.params["state_dir"], "machines", module.params["name"], "seed.tar"))


if __name__ == "__main__":
    main()
