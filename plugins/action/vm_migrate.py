# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the module vm_migrate in the background of the source and shows its progress until it ends."""

from __future__ import annotations

import json
import os
import shlex
import threading
import time

from ansible.plugins.action import ActionBase

from ansible_collections.our.cloud.plugins.module_utils._move.migration import JOB_DIR

MODULE = "our.cloud.vm_migrate"
PAUSE = 1.0
# Beyond the module's own timeout: prechecks, a target that comes back, the address. Then the wrapper would end it.
GRACE = 900
ASYNC_KEYS = ("ansible_job_id", "results_file", "started", "finished", "stdout", "stderr", "stdout_lines", "stderr_lines")


def size(count):
    """Bytes as people read them."""
    return "%.0f MiB" % (count / 1048576) if count >= 1048576 else "%.0f KiB" % (count / 1024)


def line(name, job):
    """One line of progress."""
    text = "%s: %s -> %s: %s" % (name, job.get("source", "?"), job.get("target", "?"), job.get("phase", "?"))
    if job.get("phase") == "moving":
        text += " %d%%, %s left, %s/s" % (job.get("percent", 0), size(job.get("remaining", 0)), size(job.get("rate", 0)))
    return text


class ActionModule(ActionBase):
    _supports_check_mode = True
    _supports_async = True
    _supports_diff = True

    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        del tmp
        # A check is short; who asks for async wants to poll for himself.
        if self._task.check_mode or self._task.async_val:
            result.update(self._execute_module(module_name=MODULE, task_vars=task_vars, wrap_async=bool(self._task.async_val)))
            return result
        result.update(self._watched(task_vars))
        return result

    def _watched(self, task_vars):
        """Begin the move and show its progress until it ends."""
        if any(kind.__module__.startswith("ansible_mitogen") for kind in type(self._connection).__mro__):
            # connected from here: Mitogen looks for the running action in this thread
            self._low_level_execute_command("true")
            move = InChild(self, task_vars)
        else:
            move = InBackground(self, task_vars)
        shown = None
        while True:
            done = move.result(0)
            if done is not None:
                return done
            asked = time.monotonic()
            job = self._progress()
            took = time.monotonic() - asked
            if job:
                text = line(self._task.args.get("name"), job)
                if text != shown:
                    self._display.display("[%s] %s" % (task_vars["inventory_hostname"], text))
                    shown = text
            # a host that answers slowly has better things to do
            done = move.result(max(PAUSE, min(10, 50 * took)))
            if done is not None:
                return done

    def _progress(self):
        """What the module tells of the move; not by vm_info: on a slow host that takes its time from the move."""
        seen = self._low_level_execute_command("cat %s" % shlex.quote("%s/%s.json" % (JOB_DIR, self._task.args.get("name"))))
        try:
            return json.loads(seen.get("stdout") or "null")
        except ValueError:
            return None


class InBackground:
    """Ansible's own way: the module runs detached on the host, its result waits in a file there."""

    def __init__(self, action, task_vars):
        self.action, self.task_vars = action, task_vars
        task = action._task
        try:
            task.async_val = int(action._templar.template(task.args.get("timeout") or 900)) + GRACE
            job = action._execute_module(module_name=MODULE, task_vars=task_vars, wrap_async=True)
        finally:
            task.async_val = 0
        self.early = job if "ansible_job_id" not in job else None
        self.status = {"jid": job.get("ansible_job_id"), "_async_dir": os.path.dirname(job.get("results_file", ""))}

    def _ask(self, **arguments):
        return self.action._execute_module(module_name="ansible.legacy.async_status", module_args=dict(self.status, **arguments),
                                           task_vars=self.task_vars, wrap_async=False)

    def result(self, timeout):
        if self.early is not None:
            return self.early
        if timeout:
            time.sleep(timeout)
            return None
        done = self._ask()
        if not done.get("finished"):
            return None
        self._ask(mode="cleanup")
        return {key: value for key, value in done.items() if key not in ASYNC_KEYS}


class InChild:
    """Mitogen cannot detach a module that imports from a collection (it waits for its imports for ever).

    The move runs in a child of its own and a thread waits for it, so that the host can be asked meanwhile.
    """

    def __init__(self, action, task_vars):
        self.done = None
        self.thread = threading.Thread(target=self._run, args=(action, dict(task_vars, mitogen_task_isolation="fork")), daemon=True)
        self.thread.start()

    def _run(self, action, task_vars):
        try:
            self.done = action._execute_module(module_name=MODULE, task_vars=task_vars, wrap_async=False)
        except Exception as error:  # a thread's exception would be lost
            self.done = {"failed": True, "msg": "the move could not be watched to its end (%s); vm_info tells where the guest is" % error}

    def result(self, timeout):
        self.thread.join(timeout)
        return None if self.thread.is_alive() else self.done
