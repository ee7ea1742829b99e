#!/usr/bin/python
# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: cloud_load
short_description: Restore what a machine of the cloud had
version_added: 0.2.0
description:
  - Restores what M(our.cloud.cloud_save) has saved. It replaces databases and keystone's keys. First stop what uses them (O(state=stopped)).
  - Before it changes anything it checks the whole archive, the versions of the packages, the database server and the room on the disk.
    Check mode does all of that and no more.
  - It is for C(playbooks/cloud_restore.yml).
options:
  groups:
    description: The machine's groups.
    type: list
    elements: str
    required: true
  state:
    description:
      - V(loaded) restores the archive.
      - V(stopped) stops the services that use the data.
      - V(started) starts those of them that are enabled.
    type: str
    choices: [loaded, stopped, started]
    default: loaded
  archive:
    description: Path of the archive on the machine.
    type: path
    default: ''
  members:
    description: As RV(our.cloud.cloud_save#module:members) was.
    type: dict
    default: {}
  versions:
    description: As RV(our.cloud.cloud_save#module:versions) was. Older packages here are refused.
    type: dict
    default: {}
extends_documentation_fragment:
  - our.cloud.common
attributes:
  check_mode:
    support: full
    description: It checks everything that could be wrong.
  diff_mode:
    support: none
    description: What a database would lose is not known.
seealso:
  - module: our.cloud.cloud_save
"""

EXAMPLES = r"""
- name: Nothing writes into the databases
  our.cloud.cloud_load:
    groups: [clc]
    state: stopped
"""

RETURN = r"""
steps:
  description: What was done, or would be in check mode; with O(state=stopped) and O(state=started), the units.
  returned: always
  type: list
  elements: str
  sample: ["write /etc/keystone/fernet-keys/0", "load database keystone"]
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.our.cloud.plugins.module_utils._cloud import backup
from ansible_collections.our.cloud.plugins.module_utils._common.errors import CloudError


def main():
    module = AnsibleModule(argument_spec={
        "groups": {"type": "list", "elements": "str", "required": True},
        "state": {"type": "str", "choices": ["loaded", "stopped", "started"], "default": "loaded"},
        "archive": {"type": "path", "default": ""},
        "members": {"type": "dict", "default": {}},
        "versions": {"type": "dict", "default": {}},
    }, supports_check_mode=True)
    asked = module.params
    try:
        if asked["state"] == "loaded":
            steps = backup.restore(asked["groups"], asked["archive"], asked["members"], asked["versions"], module.check_mode)
        else:
            steps = backup.still(asked["groups"], asked["state"] == "stopped", module.check_mode)
    except (CloudError, OSError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=bool(steps), steps=steps)


if __name__ == "__main__":
    main()
