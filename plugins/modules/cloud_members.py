#!/usr/bin/python
# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: cloud_members
short_description: Remove nodes and layers from the cloud that have left the inventory
version_added: 0.2.0
description:
  - Removes what nova, placement and the catalog know of nodes and layers that the inventory does not have any more.
  - Refused while something of users is there - instances on a node, images, volumes or ports of a layer - or while the node's nova-compute reports.
  - A node that was declared lost (see the playbook C(rescue)) stays forced down in nova until O(back) names it.
options:
  ncs:
    description: The hosts of the group C(nc).
    type: list
    elements: str
    required: true
  absent:
    description: Of the groups C(walrus), C(sc) and C(cc) those without a host.
    type: list
    elements: str
    default: []
  stopped:
    description: Machines whose services are stopped by the run, so that what they reported a minute ago does not count.
    type: list
    elements: str
    default: []
  back:
    description: Nodes that are up again, with a nova-compute that has been started since.
    type: list
    elements: str
    default: []
  leave:
    description: Whether to remove what has left the inventory. With V(false), only O(back) counts.
    type: bool
    default: true
extends_documentation_fragment:
  - our.cloud.administrator
  - our.cloud.common
attributes:
  check_mode:
    support: full
    description: Refuses as it would otherwise. A cloud that is not there yet has no members.
  diff_mode:
    support: none
seealso:
  - module: our.cloud.ovn_chassis
  - module: our.cloud.cloud_evacuate
"""

EXAMPLES = r"""
- name: Let those go that have left
  our.cloud.cloud_members:
    ncs: "{{ groups['nc'] }}"
"""

RETURN = r"""
steps:
  description: What was done, or would be, as sentences.
  returned: always
  type: list
  elements: str
held:
  description: Nodes that are forced down in nova.
  returned: always
  type: list
  elements: str
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.our.cloud.plugins.module_utils._cloud import members
from ansible_collections.our.cloud.plugins.module_utils._common.errors import CloudError


def main():
    module = AnsibleModule(argument_spec={
        "ncs": {"type": "list", "elements": "str", "required": True},
        "absent": {"type": "list", "elements": "str", "default": []},
        "stopped": {"type": "list", "elements": "str", "default": []},
        "back": {"type": "list", "elements": "str", "default": []},
        "leave": {"type": "bool", "default": True},
    }, supports_check_mode=True)
    try:
        done = members.ensure(check=module.check_mode, **module.params)
    except CloudError as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=bool(done.steps), steps=[str(step) for step in done.steps], held=list(done.held))


if __name__ == "__main__":
    main()
