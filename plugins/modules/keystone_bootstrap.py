#!/usr/bin/python
# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: keystone_bootstrap
short_description: Keystone's keys, and the cloud's administrator
version_added: 0.2.0
description:
  - Makes keys where there are none. It refuses this if the database has been used with other keys - restore these from the backup.
  - Tries the administrator's password by a login, and sets it (C(keystone-manage bootstrap)) only if that is refused.
options:
  step:
    description: V(keys) needs the database, V(administrator) needs a running keystone.
    type: str
    choices: [keys, administrator]
    required: true
  host:
    description: The database's address. For V(keys).
    type: str
  ca:
    description: The CA's certificate. For V(keys).
    type: path
  password:
    description: The administrator's password. For V(administrator).
    type: str
  url:
    description: Where keystone answers on this machine.
    type: str
    default: http://127.0.0.1:5000/v3
  region:
    description: The region.
    type: str
    default: regionOne
  public_url:
    description: The URL for users. For V(administrator).
    type: str
  internal_url:
    description: The URL for services. For V(administrator).
    type: str
extends_documentation_fragment:
  - our.cloud.common
attributes:
  check_mode:
    support: full
    description: Where there is no keystone yet, everything would be made.
  diff_mode:
    support: none
    description: The result says what was done, in sentences.
"""

EXAMPLES = r"""
- name: Keys
  our.cloud.keystone_bootstrap:
    step: keys
    host: 192.0.2.1
    ca: /etc/our-cloud/ca.pem

- name: Administrator
  our.cloud.keystone_bootstrap:
    step: administrator
    password: "{{ lookup('our.cloud.secret', 'admin') }}"
    public_url: https://cloud.example.org:5000/v3
    internal_url: https://192.0.2.1:5000/v3
"""

RETURN = r"""
done:
  description: What was done, or would be, as sentences.
  returned: always
  type: list
  elements: str
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.our.cloud.plugins.module_utils._cloud import bootstrap, database
from ansible_collections.our.cloud.plugins.module_utils._common.errors import CloudError


def main():
    module = AnsibleModule(argument_spec={
        "step": {"type": "str", "choices": ["keys", "administrator"], "required": True},
        "host": {"type": "str"},
        "ca": {"type": "path"},
        "password": {"type": "str", "no_log": True},
        "url": {"type": "str", "default": "http://127.0.0.1:5000/v3"},
        "region": {"type": "str", "default": "regionOne"},
        "public_url": {"type": "str"},
        "internal_url": {"type": "str"},
    }, required_if=[("step", "keys", ("host", "ca")), ("step", "administrator", ("password", "public_url", "internal_url"))], supports_check_mode=True)
    asked = module.params
    try:
        if asked["step"] == "keys":
            try:
                server = database.Server(asked["host"], asked["ca"])
            except ImportError as error:
                if not module.check_mode:
                    module.fail_json(msg="%s: install python3-pymysql" % error)
                server = None
            done = bootstrap.keys(server, module.check_mode)
        else:
            wanted = bootstrap.Bootstrap(**{name: asked[name] for name in ("url", "password", "region", "public_url", "internal_url")})
            done = bootstrap.administrator(wanted, module.check_mode)
        module.exit_json(changed=bool(done), done=done)
    except (CloudError, OSError) as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
