# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action plugin vm_migrate: follows a move by its files, over a connection that may break."""

from __future__ import annotations

import base64
import io
import json
import os
import subprocess
import types
import zipfile

import pytest
from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.action import ActionBase

from ansible_collections.our.cloud.plugins.action import vm_migrate
from ansible_collections.our.cloud.plugins.module_utils._guest.told import Progress
from ansible_collections.our.cloud.plugins.module_utils._move.job import Record

ARGS = {"name": "our-vm", "target": "two"}


class Play:
    """A task and its host: what modules and commands answer, one after the other; an exception is raised."""

    def __init__(self, monkeypatch, args=None, check_mode=False, async_val=0):
        self.modules, self.commands, self.shown, self.warned, self.forgotten, self.slept = [], [], [], [], 0, []
        self.begun = {"token": "t0", "unit": "our-cloud-move-our-vm.service", "changed": True}
        self.answers = []
        self.action = vm_migrate.ActionModule.__new__(vm_migrate.ActionModule)
        self.action._task = types.SimpleNamespace(args=dict(args or ARGS), check_mode=check_mode, async_val=async_val, delegate_to=None)
        self.action._display = types.SimpleNamespace(display=self.shown.append, warning=self.warned.append, vvv=self.shown.append)
        self.action._connection = types.SimpleNamespace(reset=self._forget, close=self._forget)
        self.action._execute_module = self._module
        self.action._low_level_execute_command = self._command
        self.now = 0.0
        monkeypatch.setattr(ActionBase, "run", lambda self, tmp, task_vars: {})
        monkeypatch.setattr(vm_migrate, "code", lambda: "CODE")
        monkeypatch.setattr(vm_migrate.time, "sleep", self._sleep)
        monkeypatch.setattr(vm_migrate.time, "monotonic", lambda: self.now)

    def _sleep(self, seconds):
        self.now += seconds
        self.slept.append(seconds)

    def _forget(self):
        self.forgotten += 1
        raise AnsibleConnectionFailure("broken") if self.forgotten % 2 else ValueError("broken otherwise")

    def _module(self, **arguments):
        self.modules.append(arguments)
        return dict(self.begun)

    def _command(self, command):
        self.commands.append(command)
        if "rm -f" in command:
            return {"stdout": ""}
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return {"stdout": answer}

    def run(self):
        return self.action.run(task_vars={"inventory_hostname": "one"})


def said(state, job=None, record=None):
    return "%s\n\n%s\n%s\n%s\n%s\n" % (state, vm_migrate.BORDER, json.dumps(job) if job else "cat: no such file", vm_migrate.BORDER,
                                       json.dumps(record) if record else "")


MOVING = {"source": "one", "target": "two", "phase": "moving", "percent": 7, "remaining": 5 << 20, "rate": 2048}
RECORD = {"token": "t0", "name": "our-vm", "source": "one", "target": "two", "mode": "live", "began": "b", "ended": "e",
          "result": {"changed": True, "mode": "live"}}


def test_followed_to_its_end(monkeypatch):
    play = Play(monkeypatch)
    play.answers = [said("activating"), said("active", MOVING), said("active", MOVING), said("inactive", None, RECORD)]
    assert play.run() == {"changed": True, "mode": "live"}
    assert play.modules == [{"module_name": "our.cloud.vm_migrate", "module_args": {**ARGS, "wait": False, "code": "CODE"},
                             "task_vars": {"inventory_hostname": "one"}}]
    assert play.shown == ["[one] our-vm: one -> two: moving 7%, 5 MiB left, 2 KiB/s"]
    assert play.commands[-1] == "if grep -q t0 /var/lib/our-cloud/moves/our-vm.json; then rm -f /var/lib/our-cloud/moves/our-vm.json; fi"


def test_nobody_is_told_when_the_play_was_killed(monkeypatch):
    play, parents = Play(monkeypatch), [7, 1]
    monkeypatch.setattr(vm_migrate.os, "getppid", lambda: parents.pop(0))
    play.answers = [said("inactive", None, RECORD)]
    play.run()
    assert not any("rm" in command for command in play.commands)


def test_failure(monkeypatch):
    play = Play(monkeypatch)
    play.answers = [said("inactive", None, {**RECORD, "result": {"failed": True, "msg": "why"}})]
    assert play.run() == {"failed": True, "msg": "why"}


def test_move_that_was_killed(monkeypatch):
    play = Play(monkeypatch)
    play.answers = [said("failed", MOVING, {**RECORD, "result": None})]
    assert "did not come to its end" in play.run()["msg"]


def test_refused_at_once(monkeypatch):
    play = Play(monkeypatch)
    play.begun = {"failed": True, "msg": "it is being moved to three already (41% done)"}
    assert play.run() == play.begun and play.commands == []


@pytest.mark.parametrize("change, code, asynchronous", [
    ({"check_mode": True}, None, False), ({"async_val": 60}, "CODE", True), ({"args": {**ARGS, "wait": False}}, "CODE", False),
    ({"args": {**ARGS, "wait": "no", "code": "somebody's"}}, "CODE", False)])
def test_not_followed(monkeypatch, change, code, asynchronous):
    play = Play(monkeypatch, **change)
    assert play.run() == play.begun and play.commands == []
    assert play.modules[0]["module_args"].get("code") == code and play.modules[0]["wrap_async"] is asynchronous


class MitogenError(Exception):
    pass


MitogenError.__module__ = "mitogen.core"


@pytest.mark.parametrize("error", [AnsibleConnectionFailure("ssh: connection reset"), MitogenError("channel closed")])
def test_connection_that_breaks_is_made_anew(monkeypatch, error):
    play = Play(monkeypatch)
    play.answers = [said("active", MOVING), error, error, said("inactive", None, RECORD)]
    assert play.run()["changed"] and len(play.warned) == 1 and "The move of our-vm goes on there without us" in play.warned[0]
    assert play.forgotten == 4 and play.slept.count(vm_migrate.BETWEEN) == 2


def test_host_that_does_not_come_back(monkeypatch):
    play = Play(monkeypatch)
    play.answers = [AnsibleConnectionFailure("no route")] * 1000
    with pytest.raises(AnsibleConnectionFailure, match="one has not answered for 600 s. The move of our-vm goes on there without us; our.cloud.vm_info on one"):
        play.run()
    assert 600 <= play.now < 620


def test_other_errors_are_errors(monkeypatch):
    play = Play(monkeypatch)
    play.answers = [KeyError("ours")]
    with pytest.raises(KeyError):
        play.run()


def test_question_is_a_shell_command(tmp_path):
    """Asked of a real shell, of a unit that is none."""
    command = vm_migrate.question("a b", "our-cloud-no-such.service")
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False, cwd=tmp_path)
    state, job, record = vm_migrate.parts(done.stdout)
    assert state in ("inactive", "unknown", "offline", "") and job is None and record is None
    assert vm_migrate.parts("") == ("", None, None)
    assert vm_migrate.parts(said("active", MOVING, RECORD).replace("\n", "\r\n")) == ("active", Progress(**MOVING), Record(**RECORD))


def test_code():
    names = zipfile.ZipFile(io.BytesIO(base64.b64decode(vm_migrate.code()))).namelist()
    assert "__main__.py" in names and "ansible_collections/our/cloud/plugins/module_utils/_move/unit.py" in names
    assert not any("_recipe" in name or "__pycache__" in name for name in names)
    assert os.getppid() > 0


def test_a_task_that_is_delegated_names_the_source(monkeypatch):
    """A drain's moves are hosts of their own."""
    play = Play(monkeypatch)
    play.action._task.delegate_to = "source"
    play.answers = [said("active", MOVING), said("inactive", None, RECORD)]
    play.run()
    assert play.shown == ["[source] our-vm: one -> two: moving 7%, 5 MiB left, 2 KiB/s"]
