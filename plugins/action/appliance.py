# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Shows where a build is while the module runs."""

from __future__ import annotations

import os
import signal
import tempfile
import threading
import time

from ansible.plugins.action import ActionBase

PAUSE = 0.5
# The recipes that come with the collection, in the role of this name.
OWN = os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "..", "roles", "appliance", "files")


def label(recipe, host):
    """Who is building: several hosts of an inventory may do so at once, each for itself."""
    return recipe if host == "localhost" else f"{host}: {recipe}"


def lines(text, who, began):
    """What to show of a file of progress: "SECONDS macrostep 2/9 system", "SECONDS microstep system/greeting"."""
    for entry in text.splitlines():
        second, dummy, what = entry.partition(" ")
        yield f"[{who}] {int(second) - began:4d} s: {what}"


class ActionModule(ActionBase):
    _supports_check_mode = True
    _supports_diff = True

    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        del tmp
        arguments = {"data_dir": os.path.normpath(OWN), "directory": os.getcwd(), **self._task.args}
        # Somebody who wants the file himself reads it himself.
        if self._task.check_mode or arguments.get("progress"):
            return {**result, **self._execute_module(module_args=arguments, task_vars=task_vars)}
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "progress")
            ended = threading.Event()
            who = label(arguments.get("recipe"), task_vars["inventory_hostname"])
            shower = threading.Thread(target=self._show, args=(path, who, ended), daemon=True)
            shower.start()
            try:
                result.update(self._execute_module(module_args={**arguments, "progress": path}, task_vars=task_vars))
            finally:
                ended.set()
                shower.join()
        return result

    def _show(self, path, who, ended):
        """Show what comes until it has ended. It only reads a file: the module runs in the thread that it was called in."""
        began, parent, seen, last = int(time.time()), os.getppid(), "", False
        while not last:
            last = ended.wait(PAUSE)
            if os.getppid() != parent and os.getpgrp() == os.getpid():
                # the playbook was killed; its worker and the module would go on
                os.killpg(0, signal.SIGTERM)
            try:
                with open(path, encoding="utf-8") as file:
                    text = file.read()
            except FileNotFoundError:
                continue
            # a line that is still being written waits for its end
            text = text[:text.rfind("\n") + 1]
            try:
                for line in lines(text[len(seen):], who, began):
                    self._display.display(line)
            except OSError:
                # the pipe to a playbook that was killed a moment ago: the next look sees that
                continue
            seen = text
