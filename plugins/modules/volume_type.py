#!/usr/bin/python
# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: volume_type
short_description: A type of volumes that the cloud offers
version_added: 0.2.0
description:
  - Makes a public type of volumes, and gives it its description and extra specifications. Other specifications stay.
options:
  name:
    description: Its name.
    type: str
    required: true
  description:
    description: A text for users.
    type: str
    default: ''
  extra_specs:
    description: What its volumes ask of a backend.
    type: dict
    default: {}
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
- name: Volumes on the store
  our.cloud.volume_type:
    name: store
    extra_specs: {volume_backend_name: store}
"""

RETURN = r"""
actions:
  description: What was done (in check mode, what would be).
  returned: success
  type: list
  elements: str
  sample: [make volume type store]
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.our.cloud.plugins.module_utils._cloud import session, volumes
from ansible_collections.our.cloud.plugins.module_utils._common.errors import CloudError


def main():
    module = AnsibleModule(argument_spec={
        "name": {"type": "str", "required": True},
        "description": {"type": "str", "default": ""},
        "extra_specs": {"type": "dict", "default": {}},
    }, supports_check_mode=True)
    name, description, specs = (module.params[key] for key in ("name", "description", "extra_specs"))
    try:
        with session.speaking("volume type %s" % name):
            actions = volumes.ensure_type(session.connect(), name, description, specs, module.check_mode)
    except session.NotThere as error:
        if not module.check_mode:
            module.fail_json(msg=str(error))
        actions = ["make volume type %s" % name]
    except CloudError as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=bool(actions), actions=actions)


if __name__ == "__main__":
    main()
