#!/usr/bin/python
# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: compute_log
short_description: Errors of an instance in the log of nova-compute
version_added: 0.2.0
description:
  - Looks for errors of an instance in the log of nova-compute on the node controller that it runs on. Nova's API does not tell why libvirt has refused
    or stopped a move; this log does.
options:
  id:
    description: The instance's id.
    type: str
    required: true
  since:
    description: How far back to look, in seconds since 1970.
    type: float
    required: true
extends_documentation_fragment:
  - our.cloud.common
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
seealso:
  - module: our.cloud.instance_migrate
"""

EXAMPLES = r"""
- name: What this node said of it
  our.cloud.compute_log:
    id: 7b15a632-6f7c-4a7f-9e69-bb91b0b3c115
    since: "{{ began }}"
"""

RETURN = r"""
lines:
  description: The first errors since then, without later ones that these have caused. Empty if there are none.
  returned: always
  type: list
  elements: str
  sample: ["Live Migration failure: Unsafe migration: Migration without shared storage is unsafe"]
unread:
  description: Why the log could not be read, or nothing.
  returned: always
  type: str
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.our.cloud.plugins.module_utils._cloud import compute_log
from ansible_collections.our.cloud.plugins.module_utils._common.shapes import plain


def main():
    module = AnsibleModule(argument_spec={
        "id": {"type": "str", "required": True},
        "since": {"type": "float", "required": True},
    }, supports_check_mode=True)
    module.exit_json(changed=False, **plain(compute_log.look(module.params["id"], module.params["since"])))


if __name__ == "__main__":
    main()
