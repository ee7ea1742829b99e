# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs a module of the same name as a job of its own and shows the steps that it writes down, until it ends.

The module goes on whatever becomes of who asked for it. It takes the option `progress`, a file.
"""

from __future__ import annotations

import json
import shlex
import time
import uuid

from ansible.plugins.action import ActionBase

PAUSE = 1.0
BORDER = "--our.cloud--"
# Seconds beside the module's own bound: what it does before and after it waits
BESIDE = 600
# What a job's file has beside the module's result
OF_JOBS = ("ansible_job_id", "started", "finished", "results_file", "data", "stderr")


def parts(text):
    """What the two files have: (lines of progress, the result or None)."""
    steps, dummy, result = text.replace("\r", "").partition(BORDER)
    try:
        found = json.loads(result)
    except ValueError:
        found = {}
    # Ansible's own wrapper leaves the module's words as they are, Mitogen's adds that it has finished
    done = found and found.get("finished", "started" not in found)
    return [line for line in steps.splitlines() if line.strip()], found if done else None


class Followed(ActionBase):
    """The base of such action plugins. MODULE: the module."""

    MODULE = ""
    _supports_check_mode = True
    _supports_async = True
    _supports_diff = True

    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        del tmp
        args = {key: value for key, value in self._task.args.items() if key != "progress"}
        # A check is short; who asks for async wants to poll for himself.
        if self._task.check_mode or self._task.async_val:
            result.update(self._execute_module(module_name=self.MODULE, module_args=args, task_vars=task_vars, wrap_async=bool(self._task.async_val)))
            return result
        progress = "/run/our-cloud-%s.progress" % uuid.uuid4().hex
        self._task.async_val = int(args.get("timeout") or 0) + BESIDE
        try:
            begun = self._execute_module(module_name=self.MODULE, module_args={**args, "progress": progress}, task_vars=task_vars, wrap_async=True)
        finally:
            self._task.async_val = 0
        if begun.get("failed") or "ansible_job_id" not in begun:
            result.update(begun)
            return result
        folder = self.get_shell_option("async_dir", default="~/.ansible_async")
        job = begun.get("results_file") or "%s/%s" % (folder, begun["ansible_job_id"])
        result.update(self._until_it_ends(args.get("name", "?"), progress, job, time.monotonic() + int(args.get("timeout") or 0) + 2 * BESIDE))
        return result

    def _until_it_ends(self, name, progress, job, end):
        """Show what is written down until there is a result: that."""
        # the home of who runs the module, which the shell there knows
        files = [shlex.quote(progress), job if job.startswith("~") else shlex.quote(job)]
        shown = 0
        while True:
            asked = time.monotonic()
            said = self._low_level_execute_command("cat %s 2>/dev/null; echo %s; cat %s" % (files[0], BORDER, files[1])).get("stdout") or ""
            steps, result = parts(said)
            for step in steps[shown:]:
                self._display.display("%s: %s" % (name, step))
            shown = max(shown, len(steps))
            if result is not None:
                self._low_level_execute_command("rm -f %s %s" % tuple(files))
                return {key: value for key, value in result.items() if key not in OF_JOBS}
            if asked > end:
                return {"failed": True, "msg": "%s: the module %s has not come to its end; %s and %s there have what is known of it" % (
                    name, self.MODULE, progress, job)}
            time.sleep(PAUSE)
