#!/usr/bin/python
# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: cloud_backup_info
short_description: A backup of the cloud, and whether it may be restored
version_added: 0.2.0
description:
  - Reads the manifest of a backup on the control machine, compares the archives with it, and compares the backup's cloud with the inventory's.
options:
  directory:
    description: Where the backups are.
    type: path
    required: true
  name:
    description: The backup's name. Without one, the newest.
    type: str
    default: ''
  groups:
    description: Ansible's variable C(groups).
    type: dict
    required: true
  databases:
    description: The databases of the inventory's cloud.
    type: list
    elements: str
    required: true
extends_documentation_fragment:
  - our.cloud.common
attributes:
  check_mode:
    support: full
    description: It changes nothing.
  diff_mode:
    support: none
    description: There is nothing to compare.
seealso:
  - module: our.cloud.cloud_load
"""

EXAMPLES = r"""
- name: The newest backup
  our.cloud.cloud_backup_info:
    directory: "{{ inventory_dir }}/.backups"
    groups: "{{ groups }}"
    databases: [keystone, nova_api, nova_cell0, nova]
  delegate_to: localhost
"""

RETURN = r"""
name:
  description: The backup's name.
  returned: always
  type: str
folder:
  description: Its directory.
  returned: always
  type: str
manifest:
  description: What it says of itself.
  returned: always
  type: dict
  contains:
    made:
      description: When.
      type: str
    hosts:
      description: By machine, its C(groups) and what M(our.cloud.cloud_save) returned.
      type: dict
    contents:
      description: What was in the cloud, as M(our.cloud.cloud_contents) returned it; empty if it could not be asked.
      type: dict
faults:
  description: Why it must not be restored, as sentences. None if it may.
  returned: always
  type: list
  elements: str
"""

import os

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.our.cloud.plugins.module_utils._cloud import manifest
from ansible_collections.our.cloud.plugins.module_utils._common.errors import CloudError
from ansible_collections.our.cloud.plugins.module_utils._common.shapes import plain


def main():
    module = AnsibleModule(argument_spec={
        "directory": {"type": "path", "required": True},
        "name": {"type": "str", "default": ""},
        "groups": {"type": "dict", "required": True},
        "databases": {"type": "list", "elements": "str", "required": True},
    }, supports_check_mode=True)
    asked = module.params
    try:
        name, told = manifest.read(asked["directory"], asked["name"])
        folder = os.path.join(asked["directory"], name)
        faults = manifest.faults(folder, told, asked["groups"], asked["databases"])
    except (CloudError, OSError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=False, name=name, folder=folder, manifest=plain(told), faults=faults)


if __name__ == "__main__":
    main()
