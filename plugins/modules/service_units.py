#!/usr/bin/python
# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: service_units
short_description: Run services with their current configuration
version_added: 0.2.0
description:
  - Gives units of systemd a drop-in, enables and starts them, and restarts those whose files have changed since their start -
    whoever has changed these, and whenever. After a run that broke off between a change and its restart, the next run does the restart.
  - It starts and restarts them in parallel, and then waits for every port.
options:
  units:
    description: The units.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Its name, without C(.service) if it is a service.
        type: str
        required: true
      state:
        description: V(absent) stops and disables it, if there is one, and removes its drop-in.
        type: str
        choices: [started, absent]
        default: started
      files:
        description: Files that the service reads when it starts, or directories of such files. It is restarted when the content of one of these has changed.
        type: list
        elements: path
        default: []
      exec:
        description: The command to be run instead of the unit's own.
        type: str
      wsgi:
        description: It is an application that uWSGI runs, on loopback.
        type: dict
        suboptions:
          port:
            description: Its port.
            type: int
            required: true
          module:
            description: The application, as the path of a script, a module with a callable, or C(/path=/script) to have it below a path.
            type: str
            required: true
          processes:
            description: Processes beside the master. One by default.
            type: int
          threads:
            description: Threads of each. One by default.
            type: int
          options:
            description: Further options of uWSGI, such as C(start-time).
            type: dict
      groups:
        description: Further groups that the service is in.
        type: list
        elements: str
        default: []
      options:
        description: Further settings of the drop-in, by section. A list is a key that is repeated.
        type: dict
        default: {}
      reload:
        description: Whether it reads changed files at a reload. Then it is restarted only if something else in its drop-in changes.
        type: bool
        default: false
      port:
        description: Where it must answer at the end, as port on loopback or C(address:port). Of C(wsgi) the port is known.
        type: str
        default: ''
      timeout:
        description: Seconds that it may take to answer.
        type: int
        default: 600
  changed:
    description: Files that an earlier task has changed or, in check mode, would have changed.
    type: list
    elements: path
    default: []
extends_documentation_fragment:
  - our.cloud.common
attributes:
  check_mode:
    support: full
    description: Says what would be started or restarted, and why.
  diff_mode:
    support: full
    description: Shows how drop-ins change.
"""

EXAMPLES = r"""
- name: Run the service
  our.cloud.service_units:
    units:
      - name: glance-api
        files: [/etc/glance/glance-api.conf]
        port: 9292
      - name: placement-api
        files: [/etc/placement/placement.conf]
        wsgi: {port: 8778, module: /usr/bin/placement-api}
"""

RETURN = r"""
done:
  description: What was done, or would be, as sentences.
  returned: always
  type: list
  elements: str
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.our.cloud.plugins.module_utils._cloud import units
from ansible_collections.our.cloud.plugins.module_utils._common.errors import CloudError
from ansible_collections.our.cloud.plugins.module_utils._common.shapes import plain


def main():
    module = AnsibleModule(argument_spec={
        "units": {"type": "list", "elements": "dict", "required": True, "options": {
            "name": {"type": "str", "required": True},
            "state": {"type": "str", "choices": ["started", "absent"], "default": "started"},
            "files": {"type": "list", "elements": "path", "default": []},
            "exec": {"type": "str"},
            "wsgi": {"type": "dict", "options": {
                "port": {"type": "int", "required": True},
                "module": {"type": "str", "required": True},
                "processes": {"type": "int"},
                "threads": {"type": "int"},
                "options": {"type": "dict"},
            }},
            "groups": {"type": "list", "elements": "str", "default": []},
            "options": {"type": "dict", "default": {}},
            "reload": {"type": "bool", "default": False},
            "port": {"type": "str", "default": ""},
            "timeout": {"type": "int", "default": 600},
        }, "mutually_exclusive": [("exec", "wsgi")]},
        "changed": {"type": "list", "elements": "path", "default": []},
    }, supports_check_mode=True)
    try:
        wanted = [units.Unit(**{**unit, "files": tuple(unit["files"]), "groups": tuple(unit["groups"])}) for unit in module.params["units"]]
        outcome = units.ensure(wanted, module.check_mode, module.params["changed"])
    except (CloudError, OSError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=outcome.changed, **plain(outcome))


if __name__ == "__main__":
    main()
