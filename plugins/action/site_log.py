# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""For the module site_log: knows who runs which playbooks where, and makes a warning of what goes wrong."""

from __future__ import annotations

import getpass
import os
import socket

from ansible import context
from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.action import ActionBase

from ansible_collections.our.cloud.plugins.module_utils._site import log


class ActionModule(ActionBase):
    _supports_check_mode = True

    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        del tmp
        given = self._task.args
        args = {key: value for key, value in given.items() if key != "guests"}
        args["entries"] = [*(given.get("entries") or []), *log.of_guests(given.get("guests") or [], task_vars["inventory_hostname"])]
        args["who"] = given.get("who") or who()
        args["command"] = given.get("command") or command()
        if not args["entries"]:
            return dict(result, changed=False, lines=[])
        try:
            answer = self._execute_module(module_args=args, task_vars=task_vars)
        except AnsibleConnectionFailure as error:
            answer = {"failed": True, "msg": str(error)}
        if not answer.get("failed"):
            return dict(result, **answer)
        return dict(result, changed=False, lines=[], warnings=[
            f"The site's log lacks a line ({'; '.join(args['entries'])}): {str(answer.get('msg', '')).rstrip('.')}. What was done is done."])


def who() -> str:
    """user@host of the control machine; through sudo, whoever called it."""
    try:
        user = os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"


def command() -> str:
    """The playbooks that ansible-playbook was called with, by their names."""
    return " ".join(os.path.basename(name) for name in context.CLIARGS.get("args") or ())
