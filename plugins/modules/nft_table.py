#!/usr/bin/python
# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: nft_table
short_description: One table of nftables, beside all others
version_added: 0.3.0
description:
  - Keeps a table on the machine, now and at boot, or removes it. The role P(our.cloud.nft_table#role) gives it all that it needs.
  - The table is replaced in one step. nft checks it before anything is changed.
options:
  name:
    description: Name of the table. Letters, digits and underscores, a letter first.
    type: str
    required: true
  family:
    description: Family of the table.
    type: str
    choices: [inet, bridge]
    default: inet
  content:
    description: Text of its file, C(/etc/nft-table.d/NAME.nft). It replaces the table when it is loaded.
    type: str
    default: ''
  units:
    description: Files below C(/etc/systemd/system) that load all such tables, each with its text. C(nft-table@.service) is one of them.
    type: dict
    default: {}
  state:
    description: V(absent) removes the table and its file.
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
    description: Shows what changes in files.
"""

EXAMPLES = r"""
- name: Let only the LAN reach the web server
  ansible.builtin.include_role:
    name: our.cloud.nft_table
  vars:
    nft_table_name: web
    nft_table_rules: |
      chain input {
        type filter hook input priority filter; policy accept;
        tcp dport 80 ip saddr != 192.168.77.0/24 drop
      }

- name: Remove it
  our.cloud.nft_table:
    name: web
    state: absent
"""

RETURN = r"""
done:
  description: What was done besides files, or would be in check mode.
  returned: success
  type: list
  elements: str
  sample: [load table inet web]
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.our.cloud.plugins.module_utils._cloud import nft_table
from ansible_collections.our.cloud.plugins.module_utils._common.errors import CloudError


def main():
    module = AnsibleModule(argument_spec={
        "name": {"type": "str", "required": True},
        "family": {"type": "str", "choices": ["inet", "bridge"], "default": "inet"},
        "content": {"type": "str", "default": ""},
        "units": {"type": "dict", "default": {}},
        "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    }, supports_check_mode=True)
    wanted = module.params
    try:
        module.exit_json(**nft_table.ensure(wanted["name"], wanted["family"], wanted["content"], wanted["units"], wanted["state"], module.check_mode))
    except (CloudError, OSError) as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
