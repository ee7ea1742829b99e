# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""For the module packages: remembers during a run what a machine has, so that only the first task of a run asks it."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile

from ansible import constants as C
from ansible.plugins.action import ActionBase


class ActionModule(ActionBase):
    """The action of our.cloud.packages."""

    _supports_check_mode = True
    _supports_diff = True

    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        del tmp
        dummy, asked = self.validate_argument_spec(argument_spec={
            "names": {"type": "list", "elements": "str", "required": True}, "start": {"type": "bool", "default": True}})
        notes = self.notes(task_vars)
        known = self.read(notes)
        if known is None:
            told = self._execute_module(task_vars=task_vars)
            if told.get("failed"):
                return dict(result, **told)
            known = {"installed": told["installed"], "fresh": False}
        missing = [name for name in dict.fromkeys(asked["names"]) if name not in known["installed"]]
        done = self.install(missing, asked["start"], known, task_vars) if missing else {"changed": False}
        # also after a failure: what apt has refreshed is fresh
        self.write(notes, known)
        return dict(result, **done) if done.get("failed") else dict(result, **done, missing=missing, absent=missing if self._task.check_mode else [])

    def install(self, missing, start, known, task_vars):
        """Install packages, and keep in mind what is known then."""
        if not known["fresh"]:
            # a new machine has no lists, whatever the date of their directory; check mode needs them, too
            with self.in_earnest():
                told = self.apt({"update_cache": True}, task_vars)
            if told.get("failed"):
                return told
            known["fresh"] = True
        told = self.apt({"name": missing, "install_recommends": False, **({} if start else {"policy_rc_d": 101})}, task_vars)
        if not told.get("failed") and not self._task.check_mode:
            known["installed"] = known["installed"] + missing
        return told

    def apt(self, arguments, task_vars):
        return self._execute_module(module_name="ansible.builtin.apt", module_args=arguments, task_vars=task_vars)

    @contextlib.contextmanager
    def in_earnest(self):
        """Not in check mode."""
        check, self._task.check_mode = self._task.check_mode, False
        try:
            yield
        finally:
            self._task.check_mode = check

    def notes(self, task_vars):
        """A file in the directory that Ansible makes for this run and removes at its end. A fact might outlive the run, in a cache."""
        host = self._task.delegate_to or task_vars["inventory_hostname"]
        return os.path.join(C.DEFAULT_LOCAL_TMP, f"our-cloud-packages-{hashlib.sha256(host.encode()).hexdigest()[:16]}.json")

    @staticmethod
    def read(notes):
        try:
            with open(notes, encoding="utf-8") as stream:
                return json.load(stream)
        except FileNotFoundError:
            return None

    @staticmethod
    def write(notes, known):
        """In one step: tasks of other hosts may be delegated to the same machine."""
        descriptor, fresh = tempfile.mkstemp(dir=C.DEFAULT_LOCAL_TMP)
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            json.dump(known, stream)
        os.rename(fresh, notes)
