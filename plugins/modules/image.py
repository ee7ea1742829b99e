#!/usr/bin/python
# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: image
short_description: An image is in the registry, or not
version_added: 0.2.0
description:
  - Puts an image into the registry of the site, from which guests are made (see O(our.cloud.vm#module:image)), or takes it away.
  - An image is a disk with what boots from it. Its id is made of all of this, so what a guest was made from never changes.
  - An image that boots nowhere is refused, such as one whose kernel has the drivers of its disk as modules and that has no ramdisk.
options:
  path:
    description:
      - The disk, a raw file. The root file system, or partitions.
      - Or a directory with C(vmlinuz), C(initrd.img) and C(root.img), as builders leave it. Then the kernel and the ramdisk
        are registered under the same name, and removed with the image. A disk that is booted by firmware needs neither of them.
    type: path
  kernel:
    description: The name or id of the kernel that it boots.
    type: str
  ramdisk:
    description: The name or id of the ramdisk made for that kernel.
    type: str
  arch:
    description: The architecture of its guests, by its Debian name. By default the kernel's, if that boots one alone; V(amd64) without a kernel.
    type: str
    choices: [amd64, i386, armel, armhf, arm64]
  root_device:
    description:
      - What the kernel mounts as root, such as V(LABEL=root) or V(/dev/vda1).
      - By default the whole disk, whatever it is called on the hypervisor.
    type: str
  cmdline:
    description: What is added to the kernel's command line, behind the root device and the console.
    type: str
  origin:
    description: What it was built from, for people to know.
    type: dict
    suboptions:
      recipe:
        description: The name of the recipe.
        type: str
        required: true
      hash:
        description: A hash of all that the recipe was at that time.
        type: str
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
  - module: our.cloud.image_info
  - module: our.cloud.vm
"""

EXAMPLES = r"""
- name: What a builder has made
  our.cloud.image:
    name: debian
    path: images/debian

- name: A root file system with a kernel that is registered already
  our.cloud.image:
    name: debian-armhf
    path: images/root.img
    kernel: debian-armmp
    ramdisk: debian-armmp
    arch: armhf

- name: Neither name nor image is needed any more
  our.cloud.image:
    name: debian
    state: absent
"""

RETURN = r"""
id:
  description: The id that the name leads to (in check mode, will lead to).
  returned: when O(state=present)
  type: str
  sample: emi-0f3a5c771e20
previous:
  description: The id that the name led to before. V(null) if to none.
  returned: success
  type: str
  sample: emi-9b1c64d05a3e
file:
  description: Where guests find it.
  returned: when O(state=present)
  type: str
  sample: /srv/cloud/registry/emi-0f3a5c771e20/root.img
actions:
  description: What was done (in check mode, what would be).
  returned: success
  type: list
  elements: str
  sample: [register emi-0f3a5c771e20, name emi-0f3a5c771e20 debian]
registered:
  description: What is known of it. See M(our.cloud.image_info).
  returned: success
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.our.cloud.plugins.module_utils._registry import registration
from ansible_collections.our.cloud.plugins.module_utils._guest.arch import ARCHES


def main():
    module = AnsibleModule(
        argument_spec=dict(
            registration.COMMON,
            kernel={"type": "str"},
            ramdisk={"type": "str"},
            arch={"type": "str", "choices": list(ARCHES)},
            root_device={"type": "str"},
            cmdline={"type": "str"},
            origin={"type": "dict", "options": {"recipe": {"type": "str", "required": True}, "hash": {"type": "str"}}},
        ),
        required_if=[("state", "present", ["path"])],
        supports_check_mode=True,
    )
    try:
        module.exit_json(**registration.run(module, "image"))
    except registration.ERRORS as error:
        module.fail_json(msg=f"image {module.params['name']}: {error}")


if __name__ == "__main__":
    main()
