#!/usr/bin/python
# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: cloud_save
short_description: Save what a machine of the cloud has that cannot be made again
version_added: 0.2.0
description:
  - Makes one archive of databases, keystone's keys, Swift's rings and hash, OVN's northbound database and the node's identity, as far as the
    machine has them by its groups. Only root can read it. The caller fetches and removes it.
  - Each database is consistent in itself; services go on meanwhile.
  - It is for C(playbooks/cloud_backup.yml).
options:
  groups:
    description: The machine's groups.
    type: list
    elements: str
    required: true
  databases:
    description: The databases that the cloud has. They are saved on the machine of the group C(clc).
    type: list
    elements: str
    default: []
extends_documentation_fragment:
  - our.cloud.common
attributes:
  check_mode:
    support: full
    description: Nothing is saved.
  diff_mode:
    support: none
    description: There is no state to compare.
seealso:
  - module: our.cloud.cloud_load
"""

EXAMPLES = r"""
- name: Save what the controller has
  our.cloud.cloud_save:
    groups: [clc]
    databases: [keystone, nova]
"""

RETURN = r"""
archive:
  description: Path of the archive, empty if there is nothing to save.
  returned: always
  type: str
sum:
  description: Its SHA-256.
  returned: always
  type: str
size:
  description: Its bytes.
  returned: always
  type: int
members:
  description: SHA-256 of each file in it.
  returned: always
  type: dict
versions:
  description: Versions of the packages that the data is of.
  returned: always
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.our.cloud.plugins.module_utils._cloud import backup
from ansible_collections.our.cloud.plugins.module_utils._common.errors import CloudError
from ansible_collections.our.cloud.plugins.module_utils._common.shapes import plain


def main():
    module = AnsibleModule(argument_spec={
        "groups": {"type": "list", "elements": "str", "required": True},
        "databases": {"type": "list", "elements": "str", "default": []},
    }, supports_check_mode=True)
    if module.check_mode:
        module.exit_json(changed=True, **plain(backup.Saved()))
    try:
        saved = backup.save(module.params["groups"], module.params["databases"])
    except (CloudError, OSError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=True, **plain(saved))


if __name__ == "__main__":
    main()
