#!/usr/bin/python
# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: cloud_projects
short_description: The cloud's projects with their users, quotas, ssh keys and security groups
version_added: 0.2.0
description:
  - Makes the cloud's projects as described, all of them in one process. It compares what is there with what is wanted, and changes that.
  - It marks what it makes, and removes what is marked and not described any more. If such a project still has instances, volumes, snapshots, images,
    networks, routers or floating addresses, the module fails before it changes anything. It does not look at objects in S3.
  - What has no mark stays as it is. An existing project or user with a described name gets the mark.
  - A user's password is tried by a login, and set only if that is refused.
options:
  projects:
    description: All wanted projects, beside the cloud's own.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: The project's name.
        type: str
        required: true
      description:
        description: A text for people.
        type: str
      users:
        description: Who works in it. A user may be in several projects.
        type: list
        elements: dict
        default: []
        suboptions:
          name:
            description: The user's name.
            type: str
            required: true
          roles:
            description: The user's roles in the project, and no others.
            type: list
            elements: str
            default: [member]
          keys:
            description: The user's ssh keys. Those that the user has made are left alone.
            type: list
            elements: dict
            default: []
            suboptions:
              name:
                description: Its name.
                type: str
                required: true
              public_key:
                description: The text of a public key.
                type: str
                required: true
      quotas:
        description: >-
          Limits of the project, V(-1) for no limit. Quotas that are not named have the cloud's defaults.
          C(instances), C(cores), C(ram) (MiB), C(key_pairs), C(server_groups), C(server_group_members), C(metadata_items); C(volumes), C(snapshots),
          C(gigabytes), C(per_volume_gigabytes); C(networks), C(subnets), C(ports), C(routers), C(floating_ips), C(security_groups), C(security_group_rules).
        type: dict
        default: {}
      security_groups:
        description: Security groups of the project. An instance that names none is in C(default), which keeps its own rules.
        type: list
        elements: dict
        default: []
        suboptions:
          name:
            description: Its name.
            type: str
            required: true
          description:
            description: A text for people.
            type: str
          rules:
            description: The allowed traffic. All outgoing traffic is allowed unless a rule has the direction C(egress).
            type: list
            elements: dict
            default: []
            suboptions:
              protocol:
                description: The protocol.
                type: str
                choices: [tcp, udp, sctp, icmp, any]
                default: tcp
              ports:
                description: A port, or a range such as V(8000-8010). All without it.
                type: str
              remote:
                description: A range of addresses such as V(192.0.2.0/24), or a security group of the project. Any address without it.
                type: str
              direction:
                description: Whether the traffic comes in or goes out.
                type: str
                choices: [ingress, egress]
                default: ingress
              ethertype:
                description: V(IPv4) unless O(projects[].security_groups[].rules[].remote) is a range of IPv6.
                type: str
                choices: [IPv4, IPv6]
  passwords:
    description: The users' passwords, by name.
    type: dict
    default: {}
extends_documentation_fragment:
  - our.cloud.administrator
  - our.cloud.common
attributes:
  check_mode:
    support: full
    description: Where the cloud does not answer yet, everything would be made.
  diff_mode:
    support: full
    description: Passwords are masked.
seealso:
  - module: our.cloud.cloud_identity
"""

EXAMPLES = r"""
- name: A project with one user, who may have four instances
  our.cloud.cloud_projects:
    projects:
      - name: physics
        users:
          - name: ada
            keys:
              - name: laptop
                public_key: "{{ lookup('ansible.builtin.file', '~/.ssh/id_ed25519.pub') }}"
        quotas:
          instances: 4
        security_groups:
          - name: web
            rules:
              - {ports: 22, remote: 192.0.2.0/24}
              - {ports: 443}
              - {protocol: icmp}
    passwords:
      ada: "{{ lookup('our.cloud.secret', 'user-ada') }}"
"""

RETURN = r"""
steps:
  description: What was done, or would be in check mode.
  returned: always
  type: list
  elements: str
  sample: ["make project physics: enabled True, tags ['our-cloud']", "make rule IPv4 tcp 443 from everybody of web of physics"]
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.our.cloud.plugins.module_utils._cloud import identity, project_entries, projects
from ansible_collections.our.cloud.plugins.module_utils._common.errors import CloudError

RULE = {
    "protocol": {"type": "str", "choices": list(project_entries.PROTOCOLS), "default": "tcp"},
    "ports": {"type": "str"},
    "remote": {"type": "str"},
    "direction": {"type": "str", "choices": ["ingress", "egress"], "default": "ingress"},
    "ethertype": {"type": "str", "choices": ["IPv4", "IPv6"]},
}
USER = {
    "name": {"type": "str", "required": True},
    "roles": {"type": "list", "elements": "str", "default": ["member"]},
    "keys": {"type": "list", "elements": "dict", "default": [], "no_log": False, "options": {
        "name": {"type": "str", "required": True},
        "public_key": {"type": "str", "required": True, "no_log": False},
    }},
}
PROJECT = {
    "name": {"type": "str", "required": True},
    "description": {"type": "str"},
    "users": {"type": "list", "elements": "dict", "default": [], "options": USER},
    "quotas": {"type": "dict", "default": {}},
    "security_groups": {"type": "list", "elements": "dict", "default": [], "options": {
        "name": {"type": "str", "required": True},
        "description": {"type": "str"},
        "rules": {"type": "list", "elements": "dict", "default": [], "options": RULE},
    }},
}


def main():
    module = AnsibleModule(argument_spec={
        "projects": {"type": "list", "elements": "dict", "required": True, "options": PROJECT},
        "passwords": {"type": "dict", "default": {}, "no_log": True},
    }, supports_check_mode=True)
    try:
        steps = projects.ensure(module.params["projects"], module.params["passwords"], module.check_mode)
    except CloudError as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=bool(steps), steps=[str(step) for step in steps], diff=identity.diff_of(steps))


if __name__ == "__main__":
    main()
