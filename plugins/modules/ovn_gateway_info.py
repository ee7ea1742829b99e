#!/usr/bin/python
# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: ovn_gateway_info
short_description: Which nodes the cloud's routers have their way out on
version_added: 0.3.0
description:
  - Asks OVN's southbound database. It runs on the first host of the group C(cc), where that is.
extends_documentation_fragment:
  - our.cloud.common
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
seealso:
  - module: our.cloud.ovn_chassis
"""

EXAMPLES = r"""
- name: Where the routers are
  our.cloud.ovn_gateway_info:
  register: routers
"""

RETURN = r"""
ports:
  description: By port of a router with a way out, the node that it is on.
  returned: always
  type: dict
  sample: {cr-lrp-1f0c: node1}
gateways:
  description: Nodes that may have such ports.
  returned: always
  type: list
  elements: str
chassis:
  description: All nodes that OVN knows.
  returned: always
  type: list
  elements: str
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.our.cloud.plugins.module_utils._cloud import gateways
from ansible_collections.our.cloud.plugins.module_utils._common.errors import CloudError
from ansible_collections.our.cloud.plugins.module_utils._common.shapes import plain


def main():
    module = AnsibleModule(argument_spec={}, supports_check_mode=True)
    try:
        found = gateways.look()
    except CloudError as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=False, **plain(found))


if __name__ == "__main__":
    main()
