# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Has a module of the same name begin a job of its own on its host, and shows the steps that this writes down, until it ends."""

from __future__ import annotations

import functools
import json
import os
import shlex
import time
from typing import Any

from ansible.plugins.action import ActionBase

from ansible_collections.our.cloud.plugins import module_utils
from ansible_collections.our.cloud.plugins.module_utils._cloud import job

PAUSE = 1.0
BORDER = "--our.cloud--"


@functools.cache
def code() -> str:
    """What the job runs."""
    return job.pack(os.path.dirname(module_utils.__file__) if module_utils.__file__ else list(module_utils.__path__)[0])


def question(folder: str, unit: str) -> str:
    """The shell command that asks how a job goes: first the unit's state, or it could end in between."""
    files = [shlex.quote(f"{folder}/{name}") for name in ("steps", "result.json")]
    return f"systemctl is-active {shlex.quote(unit)}; echo; echo {BORDER}; cat {files[0]} 2>/dev/null; echo {BORDER}; cat {files[1]} 2>/dev/null"


def parts(text: str) -> tuple[str, list[str], dict[str, Any] | None]:
    """What `question` is answered: (the unit's state, the lines of its steps, its result or None)."""
    found = [*text.replace("\r", "").split(BORDER), "", ""]
    try:
        result = json.loads(found[2])
    except ValueError:
        result = None
    return found[0].strip(), [line for line in found[1].splitlines() if line.strip()], result


class Followed(ActionBase):
    """The base of such action plugins. MODULE: the module."""

    MODULE = ""
    _supports_check_mode = True
    _supports_async = True
    _supports_diff = True

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result = super().run(tmp, task_vars)
        del tmp
        args = {key: value for key, value in self._task.args.items() if key != "code"}
        # A check is short; who asks for async wants to poll for himself.
        if self._task.check_mode or self._task.async_val:
            result.update(self._execute_module(module_name=self.MODULE, module_args=args, task_vars=task_vars, wrap_async=bool(self._task.async_val)))
            return result
        begun = self._execute_module(module_name=self.MODULE, module_args={**args, "code": code()}, task_vars=task_vars)
        result.update(begun if begun.get("failed") or "job" not in begun else self._until_it_ends(args.get("name", "?"), **begun["job"]))
        return result

    def _until_it_ends(self, name: str, folder: str, unit: str) -> dict[str, Any]:
        """Show what is written down until there is a result: that."""
        shown = 0
        while True:
            state, steps, found = parts(self._low_level_execute_command(question(folder, unit)).get("stdout") or "")
            for step in steps[shown:]:
                self._display.display(f"{name}: {step}")
            shown = max(shown, len(steps))
            result = job.verdict(state, found, unit)
            if result is not None:
                self._low_level_execute_command(f"rm -rf {shlex.quote(folder)}")
                return result
            time.sleep(PAUSE)
