# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: instance_key
short_description: The ssh key that is let into an instance
version_added: 0.2.0
author:
  - The our.cloud founders (@our-cloud)
description:
  - Finds it by its name among the keys of the project's users, among the files of this computer's user, or takes it if it is one.
  - Without a name it is the first of these that there is.
options:
  _input:
    description: The inventory's variable C(cloud_projects).
    type: list
    elements: dict
    required: true
  key:
    description: The name of a key in the project, the path of a public key, or its text.
    type: str
  project:
    description: The project.
    type: str
  files:
    description: By path, the public keys of the user of this computer.
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: Which key it is
  ansible.builtin.debug:
    msg: "{{ cloud_projects | our.cloud.instance_key('laptop', 'physics') }}"
"""

RETURN = r"""
_value:
  description: V(public_key), its text, V(name) for it, and V(error), a sentence that says why there is none.
  type: dict
"""

from ansible_collections.our.cloud.plugins.module_utils._cloud import instance_key as keys
from ansible_collections.our.cloud.plugins.module_utils._common.shapes import plain


def instance_key(projects, key=None, project=None, files=None):
    return plain(keys.choose(projects or [], str(key or "").strip(), str(project or "").strip(), files or {}))


class FilterModule:
    """The filter our.cloud.instance_key."""

    def filters(self):
        return {"instance_key": instance_key}
