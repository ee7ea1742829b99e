#!/usr/bin/python
# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: flavors
short_description: The sizes that instances of the cloud can have
version_added: 0.2.0
description:
  - Makes the cloud's flavors as described. It removes one that differs and makes it again; instances keep the size that they have.
  - Flavors that are not named are left alone.
options:
  flavors:
    description: The flavors.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: The name.
        type: str
        required: true
      memory:
        description: MiB. Needed unless it is to be absent.
        type: int
      vcpus:
        description: Number of virtual CPUs.
        type: int
        default: 1
      disk:
        description: GiB of the disk. Needed unless it is to be absent.
        type: int
      state:
        description: Whether it is to be there.
        type: str
        choices: [present, absent]
        default: present
extends_documentation_fragment:
  - our.cloud.administrator
  - our.cloud.common
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
seealso:
  - module: our.cloud.instance
"""

EXAMPLES = r"""
- name: Two sizes
  our.cloud.flavors:
    flavors:
      - {name: tiny, memory: 128, disk: 1}
      - {name: large, memory: 4096, vcpus: 2, disk: 20}
"""

RETURN = r"""
flavors:
  description: The names of those that were made, made again or removed, or would be in check mode.
  returned: success
  type: list
  elements: str
  sample: [tiny]
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.our.cloud.plugins.module_utils._cloud import flavors
from ansible_collections.our.cloud.plugins.module_utils._common.errors import CloudError


def main():
    module = AnsibleModule(argument_spec={"flavors": {"type": "list", "elements": "dict", "required": True, "options": {
        "name": {"type": "str", "required": True},
        "memory": {"type": "int"},
        "vcpus": {"type": "int", "default": 1},
        "disk": {"type": "int"},
        "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    }, "required_if": [("state", "present", ("memory", "disk"))]}}, supports_check_mode=True)
    try:
        steps = flavors.ensure(module.params["flavors"], module.check_mode)
    except CloudError as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=bool(steps), flavors=[step.name for step in steps], diff={
        side: "".join(line + "\n" for line in (getattr(step, side) for step in steps) if line) for side in ("before", "after")})


if __name__ == "__main__":
    main()
