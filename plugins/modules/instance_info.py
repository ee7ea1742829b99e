#!/usr/bin/python
# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: instance_info
short_description: The instances of the cloud
version_added: 0.2.0
description:
  - Tells the instances of all projects. It changes nothing.
options:
  name:
    description: Only what this name or id leads to, which may be several of different projects. All if it is not given.
    type: str
  project:
    description: Only those of this project, by its name.
    type: str
  console_lines:
    description: Number of lines to show from the end of each console.
    type: int
    default: 0
  serial:
    description: Also return a URL of each serial console, for a WebSocket client. It is valid for some minutes.
    type: bool
    default: false
extends_documentation_fragment:
  - our.cloud.administrator
  - our.cloud.common
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
seealso:
  - module: our.cloud.instance
"""

EXAMPLES = r"""
- name: What there is
  our.cloud.instance_info:
  register: cloud

- name: Show where they run
  ansible.builtin.debug:
    msg: "{{ cloud.instances | items2dict(key_name='name', value_name='host') }}"
"""

RETURN = r"""
instances:
  description: The instances, sorted by name.
  returned: always
  type: list
  elements: dict
  contains:
    name:
      description: Its name.
      type: str
    id:
      description: Its id.
      type: str
    project:
      description: Its project's name.
      type: str
    state:
      description: V(running), V(stopped), V(being made), V(moving), V(failed) and the like.
      type: str
    status:
      description: The state in nova's words.
      type: str
    task:
      description: What nova is doing with it. V(null) if nothing.
      type: str
    host:
      description: The node controller that has it. V(null) if none has it yet.
      type: str
    domain:
      description: The name of its libvirt domain there.
      type: str
    locked:
      description: Whether it is locked against changes.
      type: bool
    arch:
      description: Its architecture by Debian's name, as its image says.
      type: str
    flavor:
      description: The flavor that it was made with.
      type: str
    memory:
      description: MiB.
      type: int
    vcpus:
      description: Number of virtual CPUs.
      type: int
    disk:
      description: GiB of its disk.
      type: int
    image:
      description: The name of its image, or its id in Glance if that is gone.
      type: str
    key:
      description: The name of its key pair.
      type: str
    cards:
      description: >-
        Its network cards, each with C(network), C(mac), C(addresses) and C(floating). The cloud does not know the address of a card that the LAN's DHCP
        server gave one.
      type: list
      elements: dict
    address:
      description: The address to reach it at, a floating one if it has one. V(null) if the cloud knows none.
      type: str
    volumes:
      description: The ids of its volumes.
      type: list
      elements: str
    created:
      description: When it was made.
      type: str
    fault:
      description: What nova says of its failure. V(null) if it has none.
      type: str
    console:
      description: The last lines of its console.
      returned: O(console_lines)
      type: list
      elements: str
    serial:
      description: The URL of its serial console. V(null) if it has none now.
      returned: O(serial)
      type: str
    why:
      description: The error of the request for its console. Empty if there was none.
      returned: O(console_lines) or O(serial)
      type: str
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.our.cloud.plugins.module_utils._cloud import instances
from ansible_collections.our.cloud.plugins.module_utils._common.errors import CloudError


def main():
    module = AnsibleModule(argument_spec={
        "name": {"type": "str"},
        "project": {"type": "str"},
        "console_lines": {"type": "int", "default": 0},
        "serial": {"type": "bool", "default": False},
    }, supports_check_mode=True)
    try:
        module.exit_json(changed=False, instances=instances.gather(module.params))
    except CloudError as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
