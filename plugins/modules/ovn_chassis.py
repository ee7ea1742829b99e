#!/usr/bin/python
# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: ovn_chassis
short_description: Remove nodes from OVN that are not in the inventory
version_added: 0.2.0
description:
  - Runs where OVN's databases are, on the first host of the group C(cc). Removes the chassis of hosts that are no node any more.
options:
  ncs:
    description: The hosts of the group C(nc).
    type: list
    elements: str
    required: true
extends_documentation_fragment:
  - our.cloud.common
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
seealso:
  - module: our.cloud.cloud_members
"""

EXAMPLES = r"""
- name: Forget nodes that have left
  our.cloud.ovn_chassis:
    ncs: "{{ groups['nc'] }}"
"""

RETURN = r"""
removed:
  description: The hosts whose chassis were removed, or would be.
  returned: always
  type: list
  elements: str
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.our.cloud.plugins.module_utils._cloud import members
from ansible_collections.our.cloud.plugins.module_utils._common.errors import CloudError


def main():
    module = AnsibleModule(argument_spec={"ncs": {"type": "list", "elements": "str", "required": True}}, supports_check_mode=True)
    try:
        removed = members.ensure_chassis(module.params["ncs"], module.check_mode)
    except CloudError as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=bool(removed), removed=removed)


if __name__ == "__main__":
    main()
