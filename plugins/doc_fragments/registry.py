# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the documentation of all modules that use the registry has in common."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  store:
    description: The site's shared store, in which the registry is. It must be mounted on the machine that the module runs on.
    type: path
    default: /srv/cloud
"""

    ENTRY = r"""
options:
  name:
    description:
      - The name that leads to it. If the name led to something else, it moves, and what it led to keeps its id.
      - With O(state=absent) an id will do as well.
    type: str
    required: true
  state:
    description:
      - V(present), the file is in the registry and the name leads to it. The same file has the same id, and is copied once.
      - V(absent), it is gone with its names. Refused while a guest or an image needs it. If it has another name, it loses this one alone.
    type: str
    choices: [present, absent]
    default: present
  owner:
    description: Whose it is, for people to know. By default the user who runs Ansible, or with O(remote_src) the one who runs the module.
    type: str
  force:
    description: Take it away from those who need it. Guests whose disk is made of an image that is gone lose their data.
    type: bool
    default: false
  remote_src:
    description: The file is on the machine that the module runs on. By default it is sent from the control machine, without its holes, if it is missing.
    type: bool
    default: false
  parts:
    description: What the control machine has. Given by the action plugin, by nobody else.
    type: list
    elements: dict
  pack:
    description: What was missing and has been sent. Given by the action plugin, by nobody else.
    type: path
"""
