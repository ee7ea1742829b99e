# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: certificate_authority
short_description: What is to be done about a CA of the site
version_added: 0.2.0
author:
  - The our.cloud founders (@our-cloud)
description:
  - Decides which certificates are revoked, whether a new revocation list is needed, and which names a CA must not sign for.
    The role P(our.cloud.certificates#role) does it.
  - Needs the Python package cryptography on the control machine.
positional: _input, crl, records, holders, names, renew_days
options:
  _input:
    description: The CA's certificate (PEM). Empty if there is none yet.
    type: str
    required: true
  crl:
    description: The revocation list (PEM). Empty if there is none yet.
    type: str
    required: true
  records:
    description: Copies of what the CA has issued, the text (PEM) by path. A file is called C(HOST.SERIAL.pem).
    type: dict
    required: true
  holders:
    description: The hosts that may have certificates of this CA.
    type: list
    elements: str
    required: true
  names:
    description: What certificates are wanted for, such as V(DNS:node1) and V(IP:192.0.2.1).
    type: list
    elements: str
    required: true
  renew_days:
    description: A list that expires within so many days is made anew.
    type: int
    required: true
"""

EXAMPLES = r"""
- name: Whom the CA has issued certificates for who must not have them
  ansible.builtin.debug:
    msg: "{{ (ca | our.cloud.certificate_authority(crl, records, groups.all, [], 30)).revoked }}"
"""

RETURN = r"""
_value:
  description: What is to be done.
  type: dict
  contains:
    days:
      description: How many days the CA is still valid. None without a CA.
      type: int
    crl:
      description: Why a new revocation list is needed. Empty if it is not.
      type: str
    revoked:
      description: Entries of the list, each with C(serial_number) and C(revocation_date), for M(community.crypto.x509_crl).
      type: list
      elements: dict
    forget:
      description: Paths of copies that are of no use any more.
      type: list
      elements: str
    forbidden:
      description: Names for which the CA must not sign, by its name constraints.
      type: list
      elements: str
"""

from ansible_collections.our.cloud.plugins.module_utils._site.certificates import authority


class FilterModule:
    """The filter our.cloud.certificate_authority."""

    def filters(self):
        return {"certificate_authority": authority}
