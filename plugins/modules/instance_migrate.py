#!/usr/bin/python
# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: instance_migrate
short_description: Move an instance of the cloud to another node controller
version_added: 0.2.0
description:
  - Moves an instance while it runs, by nova's live migration, and waits for its end. Its memory goes encrypted from one node to the other.
  - Before the move, and in check mode, it checks all that can be known, and reports every problem with what to do about it.
  - It shows the progress of the move (by an action plugin of the same name).
  - It does not check that the instance runs only on the target. The playbook migrate does, with M(our.cloud.vm_info) on both nodes.
options:
  name:
    description: The instance's name or id.
    type: str
    required: true
  target:
    description: The node controller to move it to, by its inventory name.
    type: str
    required: true
  timeout:
    description: Seconds after which the move is stopped.
    type: int
    default: 900
  address_timeout:
    description: Seconds that its address has to answer afterwards, if it answered before.
    type: int
    default: 60
  code:
    description: The code of the job. The action plugin puts it in.
    type: str
extends_documentation_fragment:
  - our.cloud.administrator
  - our.cloud.common
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
seealso:
  - module: our.cloud.instance
  - module: our.cloud.vm_migrate
"""

EXAMPLES = r"""
- name: Move an instance
  our.cloud.instance_migrate:
    name: web
    target: node2
"""

RETURN = r"""
source:
  description: Where the instance was.
  returned: success
  type: str
  sample: node1
target:
  description: Where it is.
  returned: success
  type: str
  sample: node2
mode:
  description: How it was moved, V(live).
  returned: success
  type: str
  sample: live
instance:
  description: The instance before the move, as M(our.cloud.instance_info) tells it.
  returned: success
  type: dict
total_ms:
  description: How long the move took, verification not counted.
  returned: changed and not in check mode
  type: int
  sample: 24100
transferred:
  description: Bytes of memory that were sent, as far as nova told while it went on. V(null) if it never did.
  returned: changed and not in check mode
  type: int
  sample: 71303168
address:
  description: The address that was asked. V(null) if the cloud knows none.
  returned: changed and not in check mode
  type: str
  sample: 192.0.2.80
address_answers:
  description: Whether it answered after the move. V(null) if it did not answer before, and was not asked again.
  returned: changed and not in check mode
  type: bool
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.our.cloud.plugins.module_utils._cloud import instance_move, job
from ansible_collections.our.cloud.plugins.module_utils._common.errors import CloudError


def main():
    module = AnsibleModule(argument_spec={
        "name": {"type": "str", "required": True},
        "target": {"type": "str", "required": True},
        "timeout": {"type": "int", "default": 900},
        "address_timeout": {"type": "int", "default": 60},
        "code": {"type": "str"},
    }, supports_check_mode=True)
    try:
        code = module.params.pop("code")
        if code and not module.check_mode:
            module.exit_json(changed=True, job=job.begin("instance_migrate", module.params, code))
        module.exit_json(**instance_move.run(module.params, module.check_mode))
    except CloudError as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
