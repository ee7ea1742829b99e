# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: front_files
short_description: The files of a machine's TLS front
version_added: 0.2.0
author:
  - The our.cloud founders (@our-cloud)
description:
  - haproxy's configuration for services that listen on loopback, as M(our.cloud.config_files) takes it. Each service has a file of its own.
positional: _input, addresses, certificate
options:
  _input:
    description: The services, each with C(name), C(port), C(backend), and if wanted C(public) and C(rules).
    type: list
    elements: dict
    required: true
  addresses:
    description: Where haproxy listens. The first one is the LAN's; a service with C(public=false) is there alone.
    type: list
    elements: str
    required: true
  certificate:
    description: The certificate. The key is beside it, under the same name with C(.key).
    type: path
    required: true
"""

EXAMPLES = r"""
- name: TLS for the image service
  our.cloud.config_files:
    files: "{{ [{'name': 'glance', 'port': 9292, 'backend': '127.0.0.1:9292'}] | our.cloud.front_files(['192.0.2.1'], '/etc/ssl/private/host.pem') }}"
"""

RETURN = r"""
_value:
  description: The files.
  type: list
  elements: dict
"""

from ansible.errors import AnsibleFilterError

from ansible_collections.our.cloud.plugins.module_utils._cloud import front
from ansible_collections.our.cloud.plugins.module_utils._common.errors import CloudError


def front_files(fronts, addresses, certificate):
    try:
        return front.files([front.Front.of(told) for told in fronts], addresses, certificate)
    except CloudError as error:
        raise AnsibleFilterError(str(error)) from None


class FilterModule:
    """The filter our.cloud.front_files."""

    def filters(self):
        return {"front_files": front_files}
