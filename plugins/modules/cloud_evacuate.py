#!/usr/bin/python
# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: cloud_evacuate
short_description: Start the instances of a dead node elsewhere
version_added: 0.2.0
description:
  - Nova is told that the node is down, and starts its instances on others, with the disks that they had in the store.
  - It does not prove that the node is dead. While it is alive its instances write to their disks, and a second copy ruins them.
    C(playbooks/rescue.yml) makes sure that it is dead.
  - The node stays forced down in nova until M(our.cloud.cloud_members) brings it back into use.
options:
  host:
    description: The inventory name of the dead node.
    type: str
    required: true
extends_documentation_fragment:
  - our.cloud.administrator
  - our.cloud.common
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
seealso:
  - module: our.cloud.lease
  - module: our.cloud.cloud_members
"""

EXAMPLES = r"""
- name: The instances of node1, which has burnt down, start elsewhere
  our.cloud.cloud_evacuate:
    host: node1
"""

RETURN = r"""
lines:
  description: Where each instance is now, or would go.
  returned: always
  type: list
  elements: str
stay:
  description: Instances that nova cannot evacuate, with the reason.
  returned: always
  type: list
  elements: str
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.our.cloud.plugins.module_utils._cloud import evacuation
from ansible_collections.our.cloud.plugins.module_utils._common.errors import CloudError
from ansible_collections.our.cloud.plugins.module_utils._common.shapes import plain


def main():
    module = AnsibleModule(argument_spec={"host": {"type": "str", "required": True}}, supports_check_mode=True)
    try:
        done = evacuation.ensure(module.params["host"], module.check_mode)
    except CloudError as error:
        module.fail_json(msg=str(error))
    module.exit_json(**plain(done))


if __name__ == "__main__":
    main()
