#!/usr/bin/python
# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: compute_hosts
short_description: Put nodes on nova's list, so that they get instances
version_added: 0.2.0
description:
  - Waits until nova-compute on each of the nodes has reported, and puts those on the list of the cell that are not there yet
    (C(nova-manage cell_v2 discover_hosts)). It runs on the cloud controller.
options:
  names:
    description: The nodes, by their inventory names.
    type: list
    elements: str
    required: true
  host:
    description: The database's address.
    type: str
    required: true
  ca:
    description: The CA's certificate.
    type: path
    required: true
  wait:
    description: Seconds to wait for the nodes.
    type: int
    default: 180
extends_documentation_fragment:
  - our.cloud.common
attributes:
  check_mode:
    support: full
    description: Says which nodes would be put on the list, and waits for none.
  diff_mode:
    support: none
    description: The result says what was done, in sentences.
requirements:
  - python3-pymysql
"""

EXAMPLES = r"""
- name: Use all nodes
  our.cloud.compute_hosts:
    names: "{{ groups['nc'] }}"
    host: 192.0.2.1
    ca: /etc/our-cloud/ca.pem
"""

RETURN = r"""
mapped:
  description: The nodes that were put on the list, or would be.
  returned: always
  type: list
  elements: str
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.our.cloud.plugins.module_utils._cloud import compute_hosts, database
from ansible_collections.our.cloud.plugins.module_utils._common.errors import CloudError


def main():
    module = AnsibleModule(argument_spec={
        "names": {"type": "list", "elements": "str", "required": True},
        "host": {"type": "str", "required": True},
        "ca": {"type": "path", "required": True},
        "wait": {"type": "int", "default": 180},
    }, supports_check_mode=True)
    asked = module.params
    try:
        try:
            server = database.Server(asked["host"], asked["ca"])
        except ImportError as error:
            if not module.check_mode:
                module.fail_json(msg="%s: install python3-pymysql" % error)
            server = None
        mapped = compute_hosts.ensure(server, asked["names"], asked["wait"], module.check_mode)
        module.exit_json(changed=bool(mapped), mapped=mapped)
    except (CloudError, OSError) as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
