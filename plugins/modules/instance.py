#!/usr/bin/python
# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: instance
short_description: Make, start, stop and remove an instance of the cloud
version_added: 0.2.0
description:
  - Brings one instance into the described state, waits until it is there, and shows the steps (by an action plugin of the same name).
  - A systemd unit of its own does this, and completes it even if the caller's connection breaks off.
  - If the instance does not become active, the error tells what all parts of the cloud say about it - the fault, failed events, a service that is down,
    a port that does not bind, the last lines of its console - and what to do. What was made of it is then removed.
  - What an instance was made of never changes. Another image or flavor is refused.
options:
  name:
    description: The instance's name, which is one of a project's own. An id does as well where it exists.
    type: str
    required: true
  state:
    description:
      - V(present), it is there, running or not.
      - V(started), V(stopped), V(rebooted), it is there and that. V(rebooted) always changes something.
      - V(absent), it goes, with the floating addresses and ports that this module made for it.
    type: str
    choices: [present, started, stopped, rebooted, absent]
    default: started
  image:
    description: The image to make it of, by its name, id or the registry's id. Needed where it does not exist.
    type: str
  flavor:
    description: The flavor. Without it, the smallest that the image says it fits.
    type: str
  network:
    description:
      - V(managed), a private network behind a router, O(private).
      - V(system), the LAN, O(lan), whose DHCP server gives it an address by its MAC address.
      - V(static), the LAN with O(address).
      - Another value is the name or id of a network.
    type: str
    default: managed
  private:
    description: The network of the mode V(managed).
    type: str
    default: private
  lan:
    description: The network of the modes V(system) and V(static).
    type: str
    default: lan
  dhcp_group:
    description: The security group that lets the LAN's DHCP server answer, which a card in the mode V(system) gets.
    type: str
    default: lan-dhcp
  address:
    description: Its address. Needed with O(network=static).
    type: str
  mac:
    description: Its MAC address. With O(network=system) by default the one that a guest of this name has, so that it stays the same.
    type: str
  floating:
    description: Give it a floating address, by which it is reached from outside of its network.
    type: bool
    default: false
  key:
    description: The name of a key pair of the user, or with O(public_key) the beginning of one.
    type: str
  public_key:
    description: A public ssh key, which is registered if it is not yet.
    type: str
  security_groups:
    description: Security groups, by name or id. V(default) if none is named. Those of an instance that exists are changed if some are named.
    type: list
    elements: str
    default: []
  user_data:
    description: The instance's user data, such as a script.
    type: str
  host:
    description: The node controller that is to have it. nova chooses if none is named.
    type: str
  project:
    description: The project. The administrator's own without it.
    type: str
  hard:
    description: With O(state=rebooted), power it off and on again.
    type: bool
    default: false
  keep_failed:
    description: Leave an instance that has failed as it is, to look at it.
    type: bool
    default: false
  timeout:
    description: Seconds that one step may take, such as becoming active.
    type: int
    default: 600
  code:
    description: The code of the job. The action plugin puts it in.
    type: str
extends_documentation_fragment:
  - our.cloud.administrator
  - our.cloud.common
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
seealso:
  - module: our.cloud.instance_info
  - module: our.cloud.instance_migrate
"""

EXAMPLES = r"""
- name: An instance that is reached from the LAN
  our.cloud.instance:
    name: web
    image: debian
    flavor: small
    public_key: "{{ lookup('ansible.builtin.file', '~/.ssh/id_ed25519.pub') }}"
    security_groups: [default, web]
    floating: true

- name: One on the LAN itself
  our.cloud.instance:
    name: printer
    image: debian
    network: system

- name: It goes, and all that was made for it
  our.cloud.instance:
    name: web
    state: absent
"""

RETURN = r"""
actions:
  description: What was done, or would be in check mode.
  returned: success
  type: list
  elements: str
  sample: ["create of debian as small on private", "floating address"]
instance:
  description: The instance as M(our.cloud.instance_info) tells it. V(null) if there is none.
  returned: success
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.our.cloud.plugins.module_utils._cloud import instance, job
from ansible_collections.our.cloud.plugins.module_utils._common.errors import CloudError


def main():
    module = AnsibleModule(argument_spec={
        "name": {"type": "str", "required": True},
        "state": {"type": "str", "choices": ["present", "started", "stopped", "rebooted", "absent"], "default": "started"},
        "image": {"type": "str"},
        "flavor": {"type": "str"},
        "network": {"type": "str", "default": "managed"},
        "private": {"type": "str", "default": "private"},
        "lan": {"type": "str", "default": "lan"},
        "dhcp_group": {"type": "str", "default": "lan-dhcp"},
        "address": {"type": "str"},
        "mac": {"type": "str"},
        "floating": {"type": "bool", "default": False},
        "key": {"type": "str", "no_log": False},
        "public_key": {"type": "str", "no_log": False},
        "security_groups": {"type": "list", "elements": "str", "default": []},
        "user_data": {"type": "str", "no_log": True},
        "host": {"type": "str"},
        "project": {"type": "str"},
        "hard": {"type": "bool", "default": False},
        "keep_failed": {"type": "bool", "default": False},
        "timeout": {"type": "int", "default": 600},
        "code": {"type": "str"},
    }, supports_check_mode=True)
    try:
        code = module.params.pop("code")
        if code and not module.check_mode:
            module.exit_json(changed=True, job=job.begin("instance", module.params, code))
        module.exit_json(**instance.ensure(module.params, module.check_mode))
    except (CloudError, ValueError) as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
