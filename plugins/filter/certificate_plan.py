# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: certificate_plan
short_description: Which keys and certificates of a host are to be made anew, and why
version_added: 0.2.0
author:
  - The our.cloud founders (@our-cloud)
description:
  - Compares what a host is to have with what it has. The role P(our.cloud.certificates#role) does what it says.
  - Needs the Python package cryptography on the control machine.
positional: _input, found, read, records, ca, crl, host, renew_days, ca_file, crl_file
options:
  _input:
    description: The certificates that the host is to have, as in C(certificates_wanted) of the role.
    type: list
    elements: dict
    required: true
  found:
    description: What M(ansible.builtin.find) returned of the host's files and directories, with checksums.
    type: dict
    required: true
  read:
    description: What a loop of M(ansible.builtin.slurp) over RV(ignore:unknown) returned.
    type: list
    elements: dict
    required: true
  records:
    description: Copies of what the CA has issued, the text (PEM) by path.
    type: dict
    required: true
  ca:
    description: The CA's certificate (PEM). Empty if there is none yet.
    type: str
    required: true
  crl:
    description: The revocation list (PEM). Empty if there is none yet.
    type: str
    required: true
  host:
    description: The host's name.
    type: str
    required: true
  renew_days:
    description: What expires within so many days is renewed.
    type: int
    required: true
  ca_file:
    description: Where the CA's certificate is to be on the host.
    type: path
    required: true
  crl_file:
    description: Where the revocation list is to be on the host. Empty for nowhere.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Which certificates are to be made anew
  ansible.builtin.debug:
    msg: >-
      {{ wanted | our.cloud.certificate_plan(found, read.results, records, ca, crl, inventory_hostname, 30,
         '/etc/pki/CA/cacert.pem', '/etc/pki/CA/cacrl.pem') }}
"""

RETURN = r"""
_value:
  description: What is to be done.
  type: dict
  contains:
    directories:
      description: Directories that are to be made.
      type: list
      elements: str
    unknown:
      description: Certificates on the host of which there is no copy. Read them and ask again.
      type: list
      elements: str
    adopt:
      description: Copies to be kept of what was read, each with C(name) and C(pem).
      type: list
      elements: dict
    ca:
      description: Whether the CA's certificate is to be written on the host.
      type: bool
    crl:
      description: Whether the revocation list is to be written on the host.
      type: bool
    new:
      description: The wanted certificates that are to be made, complete, each with C(reason) and C(new_key).
      type: list
      elements: dict
    links:
      description: Links to be made, each with C(link), C(to) and C(notify).
      type: list
      elements: dict
"""

from ansible_collections.our.cloud.plugins.module_utils._site.certificates import plan


class FilterModule:
    """The filter our.cloud.certificate_plan."""

    def filters(self):
        return {"certificate_plan": plan}
