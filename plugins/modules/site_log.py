#!/usr/bin/python
# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: site_log
short_description: Note in the site's log who did what to which guest when
version_added: 0.3.0
description:
  - Appends lines to a file of the host that it runs on. Each has the time (UTC), the user and the host name of the control machine, the playbooks of
    the command that it was, and what was done. No secrets are in it, as nothing else is.
  - It never fails a play, since what it notes has been done. A line that cannot be written is a warning.
options:
  entries:
    description: What was done, a line each. Line breaks and other control characters become spaces; the line ends after 1000 characters.
    type: list
    elements: str
    default: []
  guests:
    description:
      - Results of M(our.cloud.vm), as a loop over it registers them, of guests on the host that the task is for. Those that have changed something are
        noted.
    type: list
    elements: dict
    default: []
  path:
    description: The file. It and its directory are made.
    type: path
    default: /var/log/our-cloud/site.log
  who:
    description: The user and the control machine. The default is who runs the playbook, by sudo if so, and where.
    type: str
  command:
    description: What they ran. The default is the playbooks of the command.
    type: str
extends_documentation_fragment:
  - our.cloud.common
attributes:
  check_mode:
    support: full
    details: In check mode nothing is noted, as nothing is done.
  diff_mode:
    support: none
notes:
  - A note is not a change of the site, so the module reports none.
seealso:
  - module: our.cloud.vm
"""

EXAMPLES = r"""
- name: Note that the guest has moved
  our.cloud.site_log:
    entries: [our-vm moved from node1 to node2]
  delegate_to: "{{ groups | our.cloud.log_host(inventory_hostname) }}"
"""

RETURN = r"""
lines:
  description: The lines that were appended.
  returned: always
  type: list
  elements: str
  sample: ["2026-11-28T14:52:03Z root@homer: migrate.yml: our-vm moved from maggie to marge"]
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.our.cloud.plugins.module_utils._common.errors import CloudError
from ansible_collections.our.cloud.plugins.module_utils._site import log


def main():
    module = AnsibleModule(
        argument_spec={
            "entries": {"type": "list", "elements": "str", "default": []},
            "guests": {"type": "list", "elements": "dict", "default": []},
            "path": {"type": "path", "default": log.PATH},
            "who": {"type": "str"},
            "command": {"type": "str"},
        },
        supports_check_mode=True,
    )
    params = module.params
    try:
        lines = [] if module.check_mode else log.note(params["path"], params["who"] or "", params["command"] or "", params["entries"])
    except CloudError as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=False, lines=lines)


if __name__ == "__main__":
    main()
