#!/usr/bin/python
# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: compute_service
short_description: Whether nova places instances on a node
version_added: 0.3.0
description:
  - Disables a node's nova-compute, or enables it again. Its instances go on.
  - One that somebody else has disabled, with another reason, stays as it is.
options:
  host:
    description: The node controller, by its inventory name.
    type: str
    required: true
  enabled:
    description: Whether instances are placed there.
    type: bool
    required: true
  wait:
    description: Seconds to wait, before it is enabled, until it answers by RPC, as one that has just started does not. With 0 it is not asked.
    type: int
    default: 0
extends_documentation_fragment:
  - our.cloud.administrator
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
- name: Nothing is placed there
  our.cloud.compute_service:
    host: node1
    enabled: false
"""

RETURN = r"""
note:
  description: A sentence if it stays disabled because somebody else did it. Empty if not.
  returned: always
  type: str
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.our.cloud.plugins.module_utils._cloud import compute_service
from ansible_collections.our.cloud.plugins.module_utils._common.errors import CloudError


def main():
    module = AnsibleModule(argument_spec={"host": {"type": "str", "required": True}, "enabled": {"type": "bool", "required": True},
                                          "wait": {"type": "int", "default": 0}}, supports_check_mode=True)
    try:
        changed, note = compute_service.ensure(module.params["host"], module.params["enabled"], module.check_mode, module.params["wait"])
    except CloudError as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=changed, note=note)


if __name__ == "__main__":
    main()
