#!/usr/bin/python
# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: ramdisk
short_description: A ramdisk is in the registry, or not
version_added: 0.2.0
description:
  - Puts a ramdisk (initrd) into the registry of the site, from which guests boot it, or takes it away.
  - It is told from its content what it is. A file that is no ramdisk, or was cut short, is refused with what it is.
options:
  path:
    description: The ramdisk's file.
    type: path
extends_documentation_fragment:
  - our.cloud.registry
  - our.cloud.registry.entry
  - our.cloud.common
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
seealso:
  - module: our.cloud.image
  - module: our.cloud.image_info
"""

EXAMPLES = r"""
- name: A ramdisk
  our.cloud.ramdisk:
    name: debian-armmp
    path: boot/initrd.img-6.12.48+deb13-armmp

- name: It is no longer needed
  our.cloud.ramdisk:
    name: debian-armmp
    state: absent
"""

RETURN = r"""
id:
  description: The id that the name leads to (in check mode, will lead to).
  returned: when O(state=present)
  type: str
  sample: eri-0f3a5c771e20
previous:
  description: The id that the name led to before. V(null) if to none.
  returned: success
  type: str
  sample: eri-9b1c64d05a3e
file:
  description: Where guests find it.
  returned: when O(state=present)
  type: str
  sample: /srv/cloud/registry/eri-0f3a5c771e20/initrd.img
actions:
  description: What was done (in check mode, what would be).
  returned: success
  type: list
  elements: str
  sample: [register eri-0f3a5c771e20, name eri-0f3a5c771e20 debian]
registered:
  description: What is known of it. See M(our.cloud.image_info).
  returned: success
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.our.cloud.plugins.module_utils._registry import registration


def main():
    module = AnsibleModule(
        argument_spec=registration.COMMON,
        required_if=[("state", "present", ["path"])],
        supports_check_mode=True,
    )
    try:
        module.exit_json(**registration.run(module, "ramdisk"))
    except registration.ERRORS as error:
        module.fail_json(msg=f"ramdisk {module.params['name']}: {error}")


if __name__ == "__main__":
    main()
