#!/usr/bin/python
# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: cloud_database
short_description: Databases of the cloud's services, and their users
version_added: 0.2.0
description:
  - Makes databases and users in the MariaDB of the machine that it runs on. A user's password is tried by a login as the services do it, and set
    only if that is refused.
  - What is not named here is left alone.
options:
  host:
    description: The address at which services log in, with TLS.
    type: str
    required: true
  ca:
    description: The CA's certificate.
    type: path
    required: true
  databases:
    description: The databases.
    type: list
    elements: str
    default: []
  users:
    description: The users.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: The user's name.
        type: str
        required: true
      password:
        description: The password.
        type: str
        required: true
      databases:
        description: The databases in which everything is allowed.
        type: list
        elements: str
        default: []
extends_documentation_fragment:
  - our.cloud.common
attributes:
  check_mode:
    support: full
    description: Where there is no MariaDB yet, everything would be made.
  diff_mode:
    support: none
    description: The result says what was done, in sentences.
requirements:
  - python3-pymysql, which the services need as well
"""

EXAMPLES = r"""
- name: The image service's database
  our.cloud.cloud_database:
    host: 192.0.2.1
    ca: /etc/our-cloud/ca.pem
    databases: [glance]
    users:
      - {name: glance, password: "{{ lookup('our.cloud.secret', 'database-glance') }}", databases: [glance]}
"""

RETURN = r"""
done:
  description: What was done, or would be, as sentences.
  returned: always
  type: list
  elements: str
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.our.cloud.plugins.module_utils._cloud import database
from ansible_collections.our.cloud.plugins.module_utils._common.errors import CloudError
from ansible_collections.our.cloud.plugins.module_utils._common.shapes import of


def main():
    module = AnsibleModule(argument_spec={
        "host": {"type": "str", "required": True},
        "ca": {"type": "path", "required": True},
        "databases": {"type": "list", "elements": "str", "default": []},
        "users": {"type": "list", "elements": "dict", "default": [], "options": {
            "name": {"type": "str", "required": True},
            "password": {"type": "str", "required": True, "no_log": True},
            "databases": {"type": "list", "elements": "str", "default": []},
        }},
    }, supports_check_mode=True)
    asked = module.params
    try:
        try:
            server = database.Server(asked["host"], asked["ca"])
        except ImportError as error:
            if not module.check_mode:
                module.fail_json(msg="%s: install python3-pymysql" % error)
            server = None
        done = database.ensure(server, asked["databases"], [of(database.User, user) for user in asked["users"]], module.check_mode)
        module.exit_json(changed=bool(done), done=done)
    except CloudError as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
