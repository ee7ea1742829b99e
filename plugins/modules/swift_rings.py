#!/usr/bin/python
# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: swift_rings
short_description: Make Swift's rings for one device
version_added: 0.2.0
description:
  - Makes the three rings that are missing, each with one device on this host and one replica.
  - Fails if objects were stored with other secrets than these, since none of them would be found any more.
options:
  devices:
    description: The directory in which Swift looks for its devices. It must be there, on a file system with extended attributes.
    type: path
    required: true
  device:
    description: The name of the device, a directory in O(devices).
    type: str
    default: disk
  prefix:
    description: What every hash of an object begins with.
    type: str
    required: true
  suffix:
    description: What every hash of an object ends with.
    type: str
    required: true
  folder:
    description: The directory of Swift's configuration, where the rings are.
    type: path
    default: /etc/swift
extends_documentation_fragment:
  - our.cloud.common
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
requirements:
  - swift-ring-builder (python3-swift)
"""

EXAMPLES = r"""
- name: Rings
  our.cloud.swift_rings:
    devices: /srv/cloud/swift
    prefix: "{{ lookup('our.cloud.secret', 'swift-prefix') }}"
    suffix: "{{ lookup('our.cloud.secret', 'swift-suffix') }}"
"""

RETURN = r"""
actions:
  description: What was done (in check mode, what would be).
  returned: success
  type: list
  elements: str
  sample: [make the object ring]
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.our.cloud.plugins.module_utils._cloud.rings import Rings
from ansible_collections.our.cloud.plugins.module_utils._common.errors import CloudError


def main():
    module = AnsibleModule(argument_spec={
        "devices": {"type": "path", "required": True},
        "device": {"type": "str", "default": "disk"},
        "prefix": {"type": "str", "required": True, "no_log": True},
        "suffix": {"type": "str", "required": True, "no_log": True},
        "folder": {"type": "path", "default": "/etc/swift"},
    }, supports_check_mode=True)
    params = module.params
    try:
        actions = Rings(params["folder"], params["devices"], params["device"]).ensure(params["prefix"], params["suffix"], module.check_mode)
    except (CloudError, OSError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=bool(actions), actions=actions)


if __name__ == "__main__":
    main()
