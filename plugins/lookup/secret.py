# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: secret
short_description: A secret of the site, made when it is first asked for
version_added: 0.2.0
author:
  - The our.cloud founders (@our-cloud)
description:
  - 32 lower-case letters and digits, kept in a file of this name on the control machine, which only its owner can read.
  - It is made once. Remove the file, and the next one to ask gets another.
  - In check mode nothing is made; a placeholder is returned for what is not there yet.
options:
  _terms:
    description: Names of secrets. Letters, digits, dashes and underscores.
    type: list
    elements: str
    required: true
  directory:
    description: The directory of the files. Without it, that in the variable C(cloud_secrets_dir), or C(.secrets) beside the inventory.
    type: path
"""

EXAMPLES = r"""
- name: Log in as the cloud's administrator
  ansible.builtin.set_fact:
    password: "{{ lookup('our.cloud.secret', 'admin') }}"
  no_log: true
"""

RETURN = r"""
_list:
  description: The secrets.
  type: list
  elements: str
"""

import os

from ansible.errors import AnsibleError
from ansible.plugins.lookup import LookupBase

from ansible_collections.our.cloud.plugins.module_utils._cloud import secrets
from ansible_collections.our.cloud.plugins.module_utils._common.errors import CloudError


class LookupModule(LookupBase):
    """The lookup our.cloud.secret."""

    def run(self, terms, variables=None, **kwargs):
        self.set_options(var_options=variables, direct=kwargs)
        directory = self.get_option("directory") or self._directory(variables or {})
        try:
            return [secrets.secret(directory, name, make=not (variables or {}).get("ansible_check_mode")) for name in terms]
        except (CloudError, OSError) as error:
            raise AnsibleError(str(error)) from None

    def _directory(self, variables):
        if "cloud_secrets_dir" in variables:
            return self._templar.template(variables["cloud_secrets_dir"])
        if not variables.get("inventory_dir"):
            raise AnsibleError("our.cloud.secret: there is no inventory directory to keep secrets in; set cloud_secrets_dir")
        return os.path.join(variables["inventory_dir"], ".secrets")
