#!/usr/bin/python
# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: ovn_central
short_description: Where OVN's databases listen, with TLS
version_added: 0.2.0
description:
  - Lets OVN's northbound database listen on port 6641 of an address and the southbound one on port 6642, with TLS and nowhere else. Clients
    need a certificate of the same authority.
options:
  address:
    description: The machine's address.
    type: str
    required: true
  private_key:
    description: File with the key.
    type: path
    required: true
  certificate:
    description: File with the certificate.
    type: path
    required: true
  ca_cert:
    description: File with the authority's certificate.
    type: path
    required: true
extends_documentation_fragment:
  - our.cloud.common
attributes:
  check_mode:
    support: full
    description: Where OVN is not installed or does not run yet, it reports everything as to be done.
  diff_mode:
    support: full
    description: Shows what differs in each of the two databases.
"""

EXAMPLES = r"""
- name: Let controllers reach OVN's databases
  our.cloud.ovn_central:
    address: "{{ site_address }}"
    private_key: /etc/our-cloud/host.key
    certificate: /etc/our-cloud/host.pem
    ca_cert: /etc/our-cloud/ca.pem
"""

RETURN = r"""
commands:
  description: The commands, by database. Empty where all was there.
  returned: always
  type: dict
  sample: {"northbound": [], "southbound": ["set-connection pssl:6642:192.0.2.10"]}
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.our.cloud.plugins.module_utils._cloud import ovs
from ansible_collections.our.cloud.plugins.module_utils._common.errors import CloudError


def main():
    module = AnsibleModule(argument_spec={
        "address": {"type": "str", "required": True},
        # a path, and no secret
        "private_key": {"type": "path", "required": True, "no_log": False},
        "certificate": {"type": "path", "required": True},
        "ca_cert": {"type": "path", "required": True},
    }, supports_check_mode=True)
    try:
        plans = ovs.ensure_central(module.params["address"], module.params, module.check_mode)
    except CloudError as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=any(plan.commands for plan in plans.values()),
                     commands={name: [" ".join(command) for command in plan.commands] for name, plan in plans.items()},
                     diff={"before": {name: plan.before for name, plan in plans.items()}, "after": {name: plan.after for name, plan in plans.items()}})


if __name__ == "__main__":
    main()
