#!/usr/bin/python
# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: s3_credentials
short_description: A user's access keys for S3
version_added: 0.2.0
description:
  - Returns the pair of keys of a user in a project, and makes one if there is none.
  - Give the task C(no_log), as its result has the secret.
options:
  user:
    description: The user.
    type: str
    required: true
  project:
    description: The project whose buckets the keys give access to.
    type: str
    required: true
  state:
    description: V(absent) revokes all keys of the user in the project.
    type: str
    choices: [present, absent]
    default: present
extends_documentation_fragment:
  - our.cloud.administrator
  - our.cloud.common
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
"""

EXAMPLES = r"""
- name: Keys
  our.cloud.s3_credentials:
    user: lisa
    project: band
  no_log: true
  register: keys
"""

RETURN = r"""
actions:
  description: What was done (in check mode, what would be).
  returned: success
  type: list
  elements: str
  sample: [make a key for lisa in band]
access:
  description: The access key. V(null) if there is none, as in check mode before it is made.
  returned: success
  type: str
secret:
  description: The secret key. V(null) if there is none.
  returned: success
  type: str
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.our.cloud.plugins.module_utils._cloud import s3, session
from ansible_collections.our.cloud.plugins.module_utils._common.errors import CloudError
from ansible_collections.our.cloud.plugins.module_utils._common.shapes import plain


def main():
    module = AnsibleModule(argument_spec={
        "user": {"type": "str", "required": True},
        "project": {"type": "str", "required": True},
        "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    }, supports_check_mode=True)
    user, project = module.params["user"], module.params["project"]
    try:
        with session.speaking("keys of %s in %s" % (user, project)):
            actions, pair = s3.ensure(session.connect(), user, project, module.params["state"], module.check_mode)
    except CloudError as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=bool(actions), actions=actions, **plain(pair))


if __name__ == "__main__":
    main()
