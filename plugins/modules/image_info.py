#!/usr/bin/python
# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: image_info
short_description: What is in the registry, and who needs it
version_added: 0.2.0
description:
  - Tells the images, kernels and ramdisks of a site. On every machine that has the store it says the same.
options:
  name:
    description: Only what this name or id leads to. All if it is not given.
    type: str
extends_documentation_fragment:
  - our.cloud.registry
  - our.cloud.common
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
seealso:
  - module: our.cloud.image
  - module: our.cloud.kernel
  - module: our.cloud.ramdisk
"""

EXAMPLES = r"""
- name: Ask
  our.cloud.image_info:
  register: registry

- name: Show what can go
  ansible.builtin.debug:
    msg: "{{ registry.images | selectattr('unused') | map(attribute='id') }}"
"""

RETURN = r"""
images:
  description: The images, oldest first.
  returned: always
  type: list
  elements: dict
  contains:
    id:
      description: The id.
      type: str
      sample: emi-0f3a5c771e20
    names:
      description: Names that lead to it.
      type: list
      elements: str
    arch:
      description: The architecture of its guests.
      type: str
    kernel:
      description: The id of its kernel. V(null) if firmware boots it.
      type: str
    ramdisk:
      description: The id of its ramdisk. V(null) if it has none.
      type: str
    root_device:
      description: What the kernel mounts as root. V(null) is the whole disk.
      type: str
    cmdline:
      description: What is added to the kernel's command line.
      type: str
    format:
      description: What the disk is, V(ext4), V(gpt) and so on.
      type: str
    checksum:
      description: Of the file. The SHA-256 of the SHA-256 of its blocks of 4 MiB.
      type: str
    size:
      description: Bytes, holes counted.
      type: int
    origin:
      description: C(recipe) and C(hash) of what it was built from, if that is known.
      type: dict
    owner:
      description: Whose it is.
      type: str
    created:
      description: When it was registered, UTC.
      type: str
      sample: "2026-01-01T12:00:00Z"
    file:
      description: Where guests find it.
      type: str
    needed_by:
      description: Guests whose disk was made from it.
      type: list
      elements: str
      sample: [guest our-vm (disk images/our-vm.qcow2)]
    guests:
      description: The names of these guests.
      type: list
      elements: str
      sample: [our-vm]
    unused:
      description: Whether it has neither a name nor somebody who needs it.
      type: bool
kernels:
  description: The kernels, with the same fields where they make sense, and C(arches), the architectures of guests that boot them, C(format) and C(version).
  returned: always
  type: list
  elements: dict
room:
  description: How full the store is. V(null) where there is none.
  returned: always
  type: dict
  contains:
    path:
      description: The store.
      type: str
    size:
      description: Bytes in all.
      type: int
    free:
      description: Bytes that are free.
      type: int
    promised:
      description: Bytes that the guests' disks in C(images) may take beyond those that they have; they grow as they are written to.
      type: int
ramdisks:
  description: The ramdisks, with the same fields where they make sense, and C(compression).
  returned: always
  type: list
  elements: dict
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.our.cloud.plugins.module_utils._registry import registration
from ansible_collections.our.cloud.plugins.module_utils._registry.open import open_registry
from ansible_collections.our.cloud.plugins.module_utils._registry.storage import PREFIX


def main():
    module = AnsibleModule(argument_spec={"name": {"type": "str"}, "store": {"type": "path", "default": "/srv/cloud"}}, supports_check_mode=True)
    wanted = module.params["name"]
    try:
        known = open_registry(module.params, module.check_mode)
        module.exit_json(changed=False, **{
            kind + "s": [record for record in known.listing(kind) if not wanted or wanted in [record["id"], *record["names"]]] for kind in PREFIX},
            room=known.storage.room())
    except registration.ERRORS as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
