#!/usr/bin/python
# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: openstack_schema
short_description: Make or migrate the tables of OpenStack's services
version_added: 0.2.0
description:
  - Compares the migrations in a service's package with those that its database has recorded, and calls the service's own program, as the
    service's user, if some are missing. Afterwards it looks again.
  - For Nova it also makes and corrects the list of cells, C(cell0) and C(cell1). Their addresses are templates which Nova fills from its
    configuration, so there are no passwords in them.
  - The services' configuration says where the databases are.
options:
  names:
    description: The services. Several are done in parallel.
    type: list
    elements: str
    choices: [cinder, glance, keystone, neutron, nova, placement]
    required: true
extends_documentation_fragment:
  - our.cloud.common
attributes:
  check_mode:
    support: full
    description: Where there is no package, configuration or database yet, it tells what would be done once they are there.
  diff_mode:
    support: full
    description: What the databases lack.
requirements:
  - python3-pymysql, which the services need as well
seealso:
  - module: our.cloud.cloud_identity
"""

EXAMPLES = r"""
- name: Tables of the compute service and of the network service
  our.cloud.openstack_schema:
    names: [nova, neutron]
"""

RETURN = r"""
work:
  description: What was done, or would be in check mode. Empty if all is there.
  returned: always
  type: list
  elements: dict
  contains:
    name:
      description: The service.
      type: str
      sample: nova
    lacks:
      description: What its databases lacked.
      type: list
      elements: str
      sample: ["nova_api: no cell1"]
    commands:
      description: The commands.
      type: list
      elements: str
      sample: ["nova-manage db sync"]
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.our.cloud.plugins.module_utils._cloud import schema
from ansible_collections.our.cloud.plugins.module_utils._common.errors import CloudError


def main():
    module = AnsibleModule(argument_spec={
        "names": {"type": "list", "elements": "str", "required": True, "choices": sorted(schema.SCHEMAS)},
    }, supports_check_mode=True)
    try:
        work = schema.ensure(module.params["names"], module.check_mode)
    except CloudError as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=bool(work),
                     work=[{"name": one.name, "lacks": one.lacks, "commands": [" ".join(command) for command in one.commands]} for one in work],
                     diff={"before": "".join(f"{one.name}: {text}\n" for one in work for text in one.lacks), "after": ""})


if __name__ == "__main__":
    main()
