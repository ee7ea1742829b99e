#!/usr/bin/python
# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: cloud_status
short_description: Asks each service of the cloud for a real answer
version_added: 0.2.0
description:
  - Each API has to look something up for a token, each nova-compute has to answer by RPC, the page has to
    show its login. It also returns what the services report of each other - agents, chassis, volumes' services, queues, instances that are stuck.
  - What fails is an answer, too. P(our.cloud.cloud_table#filter) judges all of them.
options:
  page:
    description: The address of the page's login. Without one it is not asked for.
    type: str
    default: ''
  ca:
    description: File with the CA that has signed its certificate.
    type: path
    default: /etc/our-cloud/ca.pem
extends_documentation_fragment:
  - our.cloud.administrator
  - our.cloud.common
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
seealso:
  - module: our.cloud.cloud_machine_info
  - plugin: our.cloud.cloud_table
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Ask the cloud
  our.cloud.cloud_status:
    page: https://192.0.2.1:8443/
"""

RETURN = r"""
parts:
  description: >-
    By part (C(keystone), C(apis), C(computes), C(agents), C(volumes), C(queues), C(instances), C(page)) what it C(told), or its C(error) with its C(remedy),
    and the C(seconds) that it took.
  returned: always
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.our.cloud.plugins.module_utils._cloud import status


def main():
    module = AnsibleModule(argument_spec={
        "page": {"type": "str", "default": ""},
        "ca": {"type": "path", "default": "/etc/our-cloud/ca.pem"},
    }, supports_check_mode=True)
    module.exit_json(changed=False, parts=status.look(module.params["page"], module.params["ca"]).result())


if __name__ == "__main__":
    main()
