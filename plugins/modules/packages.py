#!/usr/bin/python
# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: packages
short_description: Install the Debian packages that are missing
version_added: 0.3.0
description:
  - Installs packages without what they only recommend. It never upgrades one.
  - Asks dpkg, once in a run for each machine, and opens apt's database only if a package is missing. Then it refreshes the package lists first, once in a run.
  - A package that something else installs or removes later in the same run is not noticed.
options:
  names:
    description: Names of packages.
    type: list
    elements: str
    required: true
  start:
    description: V(false) if no service of these packages may start as it is installed.
    type: bool
    default: true
extends_documentation_fragment:
  - our.cloud.common
attributes:
  check_mode:
    support: full
    description: Says what would be installed. It refreshes the package lists if a package is missing, since a new machine has none.
  diff_mode:
    support: full
    description: Shows what apt would do.
"""

EXAMPLES = r"""
- name: Install what the web server needs
  our.cloud.packages:
    names: [nginx-light, nftables]
    start: false
  register: web_installed

- name: Run it
  ansible.builtin.systemd_service:
    name: nginx.service
    enabled: true
    state: started
  # in a check of a new machine there is no such unit
  when: web_installed.absent | length == 0
"""

RETURN = r"""
missing:
  description: Those of O(names) that were missing.
  returned: success
  type: list
  elements: str
absent:
  description: Those that are missing still. In check mode what would be installed, otherwise none.
  returned: success
  type: list
  elements: str
installed:
  description: All packages of the machine. For the part of this that runs on the control machine, which does not tell them.
  returned: never
  type: list
  elements: str
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.our.cloud.plugins.module_utils._common import dpkg
from ansible_collections.our.cloud.plugins.module_utils._common.errors import CloudError


def main():
    module = AnsibleModule(argument_spec={
        "names": {"type": "list", "elements": "str", "required": True},
        "start": {"type": "bool", "default": True},
    }, supports_check_mode=True)
    try:
        module.exit_json(changed=False, installed=dpkg.installed())
    except CloudError as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
