#!/usr/bin/python
# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: moves_idle
short_description: Wait until no guest is being moved from or to this hypervisor
version_added: 0.1.0
description:
  - A restart of libvirtd breaks off the moves under way. This waits for their end, and fails if they do not end in time.
options:
  store:
    description: The directory of the image store, in which guests on their way note where they go. Without it, only moves from here are waited for.
    type: path
  host:
    description: This host's inventory name, by which moves know it as their target.
    type: str
  timeout:
    description: Seconds to wait.
    type: int
    default: 900
extends_documentation_fragment:
  - our.cloud.common
attributes:
  check_mode:
    support: full
    details: In check mode nothing is waited for.
  diff_mode:
    support: none
seealso:
  - module: our.cloud.vm_migrate
"""

EXAMPLES = r"""
- name: Wait for moves under way
  our.cloud.moves_idle:
    store: /srv/cloud
    host: "{{ inventory_hostname }}"
"""

RETURN = r"""
waited:
  description: The guests that were waited for.
  returned: always
  type: list
  elements: str
  sample: [our-vm]
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.our.cloud.plugins.module_utils._common.errors import CloudError
from ansible_collections.our.cloud.plugins.module_utils._move import idle


def main():
    module = AnsibleModule(argument_spec={"store": {"type": "path"}, "host": {"type": "str"}, "timeout": {"type": "int", "default": 900}},
                           supports_check_mode=True)
    params = module.params
    try:
        waited = [] if module.check_mode else idle.wait(params["store"], params["host"], params["timeout"])
    except (CloudError, OSError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=False, waited=waited)


if __name__ == "__main__":
    main()
