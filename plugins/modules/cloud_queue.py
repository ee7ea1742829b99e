#!/usr/bin/python
# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: cloud_queue
short_description: Users of the cloud's message queue
version_added: 0.2.0
description:
  - Logs in to the RabbitMQ of the machine that it runs on as each user, as services do, and sets passwords that RabbitMQ refuses.
  - RabbitMQ reads its users when it starts, from a file that P(our.cloud.queue_definitions#filter) makes; this module is for later changes.
options:
  host:
    description: The address at which services log in, with TLS.
    type: str
    required: true
  port:
    description: The port.
    type: int
    default: 5671
  ca:
    description: The CA's certificate.
    type: path
    required: true
  definitions:
    description: The file of definitions. RabbitMQ reads it again if it refuses a login.
    type: path
    default: /etc/rabbitmq/definitions.json
  users:
    description: The users.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: The user's name.
        type: str
        required: true
      password:
        description: The password.
        type: str
        required: true
extends_documentation_fragment:
  - our.cloud.common
attributes:
  check_mode:
    support: full
    description: Where there is no RabbitMQ yet, everything would be made.
  diff_mode:
    support: none
    description: The result says what was done, in sentences.
"""

EXAMPLES = r"""
- name: The compute service can speak and listen
  our.cloud.cloud_queue:
    host: 192.0.2.1
    ca: /etc/our-cloud/ca.pem
    users:
      - {name: nova, password: "{{ lookup('our.cloud.secret', 'queue-nova') }}"}
"""

RETURN = r"""
done:
  description: What was done, or would be, as sentences.
  returned: always
  type: list
  elements: str
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.our.cloud.plugins.module_utils._cloud import queue
from ansible_collections.our.cloud.plugins.module_utils._common.errors import CloudError


def main():
    module = AnsibleModule(argument_spec={
        "host": {"type": "str", "required": True},
        "port": {"type": "int", "default": 5671},
        "ca": {"type": "path", "required": True},
        "definitions": {"type": "path", "default": "/etc/rabbitmq/definitions.json"},
        "users": {"type": "list", "elements": "dict", "required": True, "options": {
            "name": {"type": "str", "required": True},
            "password": {"type": "str", "required": True, "no_log": True},
        }},
    }, supports_check_mode=True)
    asked = module.params
    try:
        users = {user["name"]: user["password"] for user in asked["users"]}
        done = queue.ensure(asked["host"], asked["port"], asked["ca"], users, asked["definitions"], module.check_mode)
        module.exit_json(changed=bool(done), done=done)
    except CloudError as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
