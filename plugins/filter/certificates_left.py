# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: certificates_left
short_description: How long the certificates of a site are still valid
version_added: 0.2.0
author:
  - The our.cloud founders (@our-cloud)
description:
  - Reads the directory of the role P(our.cloud.certificates#role) on the control machine. No host is asked.
  - Needs the Python package cryptography on the control machine.
positional: _input
options:
  _input:
    description: The directory, C(certificates_dir) of the role.
    type: path
    required: true
"""

EXAMPLES = r"""
- name: What expires within a month
  ansible.builtin.debug:
    msg: "{{ (inventory_dir ~ '/.pki') | our.cloud.certificates_left | selectattr('days', 'lt', 30) }}"
"""

RETURN = r"""
_value:
  description: What the site's CAs have issued, what expires first in front. Without what is revoked, and with the newest of each certificate alone.
  type: list
  elements: dict
  contains:
    ca:
      description: Name of the CA.
      type: str
    what:
      description: V(ca), V(crl) or V(certificate).
      type: str
    host:
      description: Whose certificate it is. None for others.
      type: str
    names:
      description: What the certificate is valid for.
      type: list
      elements: str
    days:
      description: How many days it is still valid. Negative if it is no more.
      type: int
"""

from ansible_collections.our.cloud.plugins.module_utils._site.certificates import left


class FilterModule:
    """The filter our.cloud.certificates_left."""

    def filters(self):
        return {"certificates_left": left}
