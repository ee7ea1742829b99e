#!/usr/bin/python
# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: cloud_contents
short_description: What is in the cloud
version_added: 0.2.0
description:
  - Logs in and lists projects, users, instances, images, volumes, networks, routers and floating addresses of all projects. This also
    proves that these services work.
options:
  wait:
    description: Seconds to wait until everything answers.
    type: int
    default: 0
  nodes:
    description: Nodes whose nova-compute must be up.
    type: list
    elements: str
    default: []
  before:
    description: What RV(contents) was at another time.
    type: dict
    default: {}
  running:
    description: By node, what runs there, lines of C(virsh list --uuid --name).
    type: dict
    default: {}
extends_documentation_fragment:
  - our.cloud.administrator
  - our.cloud.common
attributes:
  check_mode:
    support: full
    description: It changes nothing.
  diff_mode:
    support: none
    description: There is nothing to compare.
"""

EXAMPLES = r"""
- name: Everything answers
  our.cloud.cloud_contents:
    wait: 120
    nodes: "{{ groups['nc'] }}"
"""

RETURN = r"""
contents:
  description: By kind, names by id.
  returned: always
  type: dict
  sample: {"instances": {"0d1a4ba0-7f2c-4a68-8a43-3b8c5f6c7a11": "web1"}}
strays:
  description: Instances of O(running) that nova does not know, or has elsewhere, with what to do about each.
  returned: always
  type: list
  elements: str
missing:
  description: What of O(before) is not there now, one line for each kind.
  returned: always
  type: list
  elements: str
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.our.cloud.plugins.module_utils._cloud import contents
from ansible_collections.our.cloud.plugins.module_utils._common.errors import CloudError


def main():
    module = AnsibleModule(argument_spec={
        "wait": {"type": "int", "default": 0},
        "nodes": {"type": "list", "elements": "str", "default": []},
        "before": {"type": "dict", "default": {}},
        "running": {"type": "dict", "default": {}},
    }, supports_check_mode=True)
    asked = module.params
    try:
        told = contents.wait(asked["wait"], asked["nodes"])
    except CloudError as error:
        module.fail_json(msg=str(error))
    found = told.contents
    module.exit_json(changed=False, contents=found, missing=contents.missing(asked["before"], found),
                     strays=contents.strays(found.get("instances", {}), told.placed, asked["running"]))


if __name__ == "__main__":
    main()
