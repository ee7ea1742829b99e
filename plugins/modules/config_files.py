#!/usr/bin/python
# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: config_files
short_description: Write whole configuration files, and hide their secrets in the output
version_added: 0.2.0
description:
  - Writes files as a whole, each in one step, with owner, group and mode. It makes missing parent directories.
  - It hides all secrets in diffs, logs and results - values of keys such as C(password) and C(secret), passwords in URLs, and whatever looks
    like a secret of P(our.cloud.secret#lookup). The diff shows that a secret has changed, but not its values.
  - In check mode, users, groups and directories of packages that are not installed yet may be missing.
options:
  directories:
    description: Directories that the files, or services, need. What is in them is left alone.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: Where it is.
        type: path
        required: true
      owner:
        description: Its owner. Empty for whom the module runs as.
        type: str
        default: root
      group:
        description: Its group. Empty for that of whom the module runs as.
        type: str
        default: root
      mode:
        description: Its mode, octal.
        type: str
        default: '0755'
  files:
    description: The files.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: Where it is.
        type: path
        required: true
      ini:
        description: >-
          Its sections, each with keys and values, as oslo.config reads them. A list is a key that is repeated; a key without a value is left out.
        type: dict
      content:
        description: Its text, for a file without such sections.
        type: str
      owner:
        description: Its owner. Empty for whom the module runs as.
        type: str
        default: root
      group:
        description: Its group. Empty for that of whom the module runs as.
        type: str
        default: root
      mode:
        description: Its mode, octal.
        type: str
        default: '0640'
      state:
        description: V(absent) removes it.
        type: str
        choices: [present, absent]
        default: present
extends_documentation_fragment:
  - our.cloud.common
attributes:
  check_mode:
    support: full
    description: Says what would change, and changes nothing.
  diff_mode:
    support: full
    description: Shows what changes, without secrets.
"""

EXAMPLES = r"""
- name: Configure a service
  our.cloud.config_files:
    files:
      - path: /etc/glance/glance-api.conf
        group: glance
        ini:
          DEFAULT: {workers: 1, enabled_backends: ['store:file']}
          paste_deploy: {flavor: keystone}
      - path: /etc/default/glance
        content: |
          USE_LOGFILE=yes
        mode: '0644'
"""

RETURN = r"""
paths:
  description: The files and directories that changed.
  returned: always
  type: list
  elements: str
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.our.cloud.plugins.module_utils._cloud import config_files
from ansible_collections.our.cloud.plugins.module_utils._common.errors import CloudError
from ansible_collections.our.cloud.plugins.module_utils._common.shapes import of, plain


def main():
    # no_log keeps the files out of the machine's log
    module = AnsibleModule(argument_spec={
        "directories": {"type": "list", "elements": "dict", "default": [], "options": {
            "path": {"type": "path", "required": True},
            "owner": {"type": "str", "default": "root"},
            "group": {"type": "str", "default": "root"},
            "mode": {"type": "str", "default": "0755"},
        }},
        "files": {"type": "list", "elements": "dict", "default": [], "no_log": True, "options": {
            "path": {"type": "path", "required": True},
            "ini": {"type": "dict"},
            "content": {"type": "str"},
            "owner": {"type": "str", "default": "root"},
            "group": {"type": "str", "default": "root"},
            "mode": {"type": "str", "default": "0640"},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        }, "mutually_exclusive": [("ini", "content")], "required_if": [("state", "present", ("ini", "content"), True)]},
    }, supports_check_mode=True)
    files = [of(config_files.File, wanted) for wanted in module.params["files"]]
    directories = [of(config_files.Directory, wanted) for wanted in module.params["directories"]]
    try:
        # and of the result only what is secret has to be kept out, not every word that occurs in a file
        module.no_log_values.clear()
        module.no_log_values.update(config_files.secrets_of(files))
        done = config_files.ensure(files, module.check_mode, directories)
    except (CloudError, OSError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=done.changed, **plain(done))


if __name__ == "__main__":
    main()
