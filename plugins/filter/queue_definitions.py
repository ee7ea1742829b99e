# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: queue_definitions
short_description: The file from which RabbitMQ learns its users
version_added: 0.2.0
author:
  - The our.cloud founders (@our-cloud)
description:
  - A file of definitions with one virtual host, C(/), in which each of the users may do everything. Passwords are in it as salted hashes.
options:
  _input:
    description: The users, each with C(name) and C(password).
    type: list
    elements: dict
    required: true
"""

EXAMPLES = r"""
- name: Users of the message queue
  our.cloud.config_files:
    files:
      - path: /etc/rabbitmq/definitions.json
        group: rabbitmq
        content: "{{ [{'name': 'nova', 'password': lookup('our.cloud.secret', 'queue-nova')}] | our.cloud.queue_definitions }}"
"""

RETURN = r"""
_value:
  description: The file's text.
  type: str
"""

from ansible_collections.our.cloud.plugins.module_utils._cloud import queue


def queue_definitions(users):
    return queue.definitions({user["name"]: user["password"] for user in users})


class FilterModule:
    """The filter our.cloud.queue_definitions."""

    def filters(self):
        return {"queue_definitions": queue_definitions}
