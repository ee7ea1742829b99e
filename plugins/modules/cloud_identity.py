#!/usr/bin/python
# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: cloud_identity
short_description: The cloud's services, endpoints, roles, projects and users
version_added: 0.2.0
description:
  - Brings keystone's entries into the wanted state, in one process and with one login. It compares what is there with what is wanted, and changes that.
  - A user's password is tried by a login, and set only if that is refused.
  - All users and projects are in the domain C(Default). What is not named here is left alone.
options:
  region:
    description: The region of the endpoints.
    type: str
    default: regionOne
  services:
    description: The catalog.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: The service's name.
        type: str
        required: true
      type:
        description: Its type. Needed unless it is to be absent.
        type: str
      description:
        description: A text for people.
        type: str
      endpoints:
        description: Its URLs in the region. An endpoint that is not named is removed.
        type: dict
        default: {}
        suboptions:
          public:
            description: For users.
            type: str
          internal:
            description: For other services.
            type: str
          admin:
            description: For the administrator.
            type: str
      state:
        description: V(absent) removes it with its endpoints.
        type: str
        choices: [present, absent]
        default: present
  roles:
    description: Roles that must exist, beside those that users have.
    type: list
    elements: str
    default: []
  projects:
    description: Projects.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: The project's name.
        type: str
        required: true
      description:
        description: A text for people.
        type: str
      state:
        description: V(absent) removes it, without a check whether something is left in it.
        type: str
        choices: [present, absent]
        default: present
  users:
    description: Users.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: The user's name.
        type: str
        required: true
      password:
        description: The password. Needed unless the user is to be absent.
        type: str
      project:
        description: The project that the roles are in, which is the user's default project, too.
        type: str
        default: service
      roles:
        description: The roles there, and no others.
        type: list
        elements: str
        default: [admin, service]
      description:
        description: A text for people.
        type: str
      state:
        description: V(absent) removes the user.
        type: str
        choices: [present, absent]
        default: present
extends_documentation_fragment:
  - our.cloud.administrator
  - our.cloud.common
attributes:
  check_mode:
    support: full
    description: Where keystone does not answer yet, everything would be made.
  diff_mode:
    support: full
    description: Passwords are masked.
seealso:
  - module: our.cloud.openstack_schema
"""

EXAMPLES = r"""
- name: The image service and its user
  our.cloud.cloud_identity:
    projects:
      - name: service
    services:
      - name: glance
        type: image
        endpoints:
          public: https://cloud.example.org:9292
          internal: https://192.0.2.1:9292
          admin: https://192.0.2.1:9292
    users:
      - name: glance
        password: "{{ lookup('our.cloud.secret', 'user-glance') }}"
"""

RETURN = r"""
steps:
  description: What was done, or would be in check mode.
  returned: always
  type: list
  elements: str
  sample: ["make service glance: enabled True, type image", "grant role admin to glance in service"]
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.our.cloud.plugins.module_utils._cloud import identity
from ansible_collections.our.cloud.plugins.module_utils._common.errors import CloudError

STATE = {"type": "str", "choices": ["present", "absent"], "default": "present"}


def main():
    module = AnsibleModule(argument_spec={
        "region": {"type": "str", "default": "regionOne"},
        "services": {"type": "list", "elements": "dict", "default": [], "options": {
            "name": {"type": "str", "required": True},
            "type": {"type": "str"},
            "description": {"type": "str"},
            "endpoints": {"type": "dict", "default": {}, "options": {interface: {"type": "str"} for interface in identity.INTERFACES}},
            "state": STATE,
        }, "required_if": [("state", "present", ("type",))]},
        "roles": {"type": "list", "elements": "str", "default": []},
        "projects": {"type": "list", "elements": "dict", "default": [], "options": {
            "name": {"type": "str", "required": True},
            "description": {"type": "str"},
            "state": STATE,
        }},
        "users": {"type": "list", "elements": "dict", "default": [], "options": {
            "name": {"type": "str", "required": True},
            "password": {"type": "str", "no_log": True},
            "project": {"type": "str", "default": "service"},
            "roles": {"type": "list", "elements": "str", "default": ["admin", "service"]},
            "description": {"type": "str"},
            "state": STATE,
        }, "required_if": [("state", "present", ("password",))]},
    }, supports_check_mode=True)
    try:
        steps = identity.ensure(identity.Wanted.of(module.params), module.check_mode)
    except CloudError as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=bool(steps), steps=[str(step) for step in steps], diff=identity.diff_of(steps))


if __name__ == "__main__":
    main()
