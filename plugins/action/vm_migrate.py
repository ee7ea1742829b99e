# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Has the module vm_migrate begin the move on the source, then follows it by its files and shows its progress until it ends.

The move itself needs neither this process nor the connection: when that breaks, it is made anew.
"""

from __future__ import annotations

import functools
import json
import os
import shlex
import time

from ansible.errors import AnsibleConnectionFailure
from ansible.module_utils.parsing.convert_bool import boolean
from ansible.plugins.action import ActionBase

from ansible_collections.our.cloud.plugins import module_utils
from ansible_collections.our.cloud.plugins.module_utils._common import shapes
from ansible_collections.our.cloud.plugins.module_utils._guest.told import Progress
from ansible_collections.our.cloud.plugins.module_utils._move import unit
from ansible_collections.our.cloud.plugins.module_utils._move.job import ENDED_DIR, JOB_DIR, Record

MODULE = "our.cloud.vm_migrate"
PAUSE = 1.0
# Seconds in which a host that does not answer any more may come back, and the pause between two tries
PATIENCE, BETWEEN = 600, 5
BORDER = "--our.cloud--"


def size(count):
    """Bytes as people read them."""
    return f"{count / 1048576:.0f} MiB" if count >= 1048576 else f"{count / 1024:.0f} KiB"


def line(name, job):
    """One line of progress."""
    text = f"{name}: {job.source or '?'} -> {job.target or '?'}: {job.phase or '?'}"
    if job.phase == "moving":
        text += f" {job.percent or 0}%, {size(job.remaining or 0)} left, {size(job.rate or 0)}/s"
    return text


@functools.cache
def code():
    """What the unit runs."""
    return unit.pack(os.path.dirname(module_utils.__file__) if module_utils.__file__ else list(module_utils.__path__)[0])


def question(name, unit_name):
    """The shell command that asks how a move goes: first the unit's state, or it could end in between."""
    files = [shlex.quote(f"{folder}/{name}.json") for folder in (JOB_DIR, ENDED_DIR)]
    return f"systemctl is-active {shlex.quote(unit_name)}; echo; echo {BORDER}; cat {files[0]}; echo; echo {BORDER}; cat {files[1]}"


def parts(text):
    """What `question` is answered: (the unit's state, the job, the record); None for what is not there."""
    found = [part.strip() for part in text.replace("\r", "").split(BORDER)] + ["", ""]
    documents = []
    for part in found[1:3]:
        try:
            documents.append(json.loads(part))
        except ValueError:
            documents.append(None)
    job, record = documents
    return found[0], shapes.of(Progress, job) if job else None, shapes.of(Record, record) if record else None


def connection_is_lost(error):
    """Whether an exception says so, in Ansible's or in Mitogen's words."""
    return isinstance(error, AnsibleConnectionFailure) or type(error).__module__.startswith("mitogen")


class ActionModule(ActionBase):
    _supports_check_mode = True
    _supports_async = True
    _supports_diff = True

    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        del tmp
        args = {key: value for key, value in self._task.args.items() if key != "code"}
        # A check is short; who asks for async wants to poll for himself.
        if self._task.check_mode or self._task.async_val or not boolean(args.get("wait", True), strict=False):
            args.update({} if self._task.check_mode else {"code": code()})
            result.update(self._execute_module(module_name=MODULE, module_args=args, task_vars=task_vars, wrap_async=bool(self._task.async_val)))
            return result
        begun = self._execute_module(module_name=MODULE, module_args={**args, "wait": False, "code": code()}, task_vars=task_vars)
        host = self._task.delegate_to or task_vars["inventory_hostname"]
        result.update(begun if begun.get("failed") or "token" not in begun else self._followed(args["name"], begun, host))
        return result

    def _followed(self, name, begun, host):
        """Show the progress of the move until it ends: its result."""
        shown, pause, parent = None, PAUSE, os.getppid()
        while True:
            asked = time.monotonic()
            state, job, record = parts(self._ask(question(name, begun["unit"]), host, name))
            done = unit.verdict(name, begun["token"], state, record)
            if done is not None:
                if os.getppid() != parent:
                    # the play was killed and this process of it was not: nobody has been told
                    return done
                record = shlex.quote(f"{ENDED_DIR}/{name}.json")
                self._ask(f"if grep -q {begun['token']} {record}; then rm -f {record}; fi", host, name)
                return done
            if job and line(name, job) != shown:
                shown = line(name, job)
                self._display.display(f"[{host}] {shown}")
            # a host that answers slowly has better things to do
            pause = max(PAUSE, min(10, 50 * (time.monotonic() - asked)))
            time.sleep(pause)

    def _ask(self, command, host, name):
        """The command's output; not by a module: on a slow host that takes its time from the move. The connection may break meanwhile."""
        end = None
        while True:
            try:
                return self._low_level_execute_command(command).get("stdout") or ""
            except Exception as error:  # Mitogen's are no AnsibleError
                if not connection_is_lost(error):
                    raise
                if end is None:
                    end = time.monotonic() + PATIENCE
                    self._display.warning(f"{host} does not answer ({error}). The move of {name} goes on there without us; asking again")
                if time.monotonic() > end:
                    raise AnsibleConnectionFailure(
                        f"{host} has not answered for {PATIENCE} s. The move of {name} goes on there without us; "
                        f"our.cloud.vm_info on {host} tells how it ends") from error
                self._let_go()
                time.sleep(BETWEEN)

    def _let_go(self):
        """Forget a connection that is broken, so that the next command makes a new one."""
        for forget in (self._connection.reset, self._connection.close):
            try:
                forget()
            except Exception as error:  # it is broken, in whatever way
                if not connection_is_lost(error):
                    self._display.vvv(f"{type(error).__name__}: {error}")
