# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs a module and says how far the machine's clock is from ours: it was read after we asked and before we had the answer."""

from __future__ import annotations

import time

from ansible.plugins.action import ActionBase


class Clocked(ActionBase):
    """The action of a module that returns `time`."""

    MODULE = ""

    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        asked = time.time()
        result.update(self._execute_module(module_name=self.MODULE, module_args=self._task.args, task_vars=task_vars))
        if "time" in result:
            result["clock"] = [result["time"] - time.time(), result["time"] - asked]
        return result
