# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a module that is followed has written down, and when it has come to its end."""

from __future__ import annotations

import importlib
import json
import types

import pytest
from ansible.plugins.action import ActionBase

from ansible_collections.our.cloud.plugins.plugin_utils import followed

STEPS = "  0.1 s  port\n  1.2 s  spawning on node1\n"


def said(state, steps="", result=""):
    """As the host answers."""
    return "%s\n\n%s\n%s%s\n%s" % (state, followed.BORDER, steps, followed.BORDER, result)


@pytest.mark.parametrize("text, expected", [
    (said("inactive", STEPS, json.dumps({"changed": True})), ("inactive", 2, {"changed": True})),
    (said("active", STEPS).replace("\n", "\r\n"), ("active", 2, None)),
    (said("active", "", '{"half'), ("active", 0, None)),
    ("", ("", 0, None)),
])
def test_parts(text, expected):
    state, steps, result = followed.parts(text)
    assert (state, len(steps), result) == expected


class Shown:
    """What Ansible would show."""

    def __init__(self):
        self.lines = []

    def display(self, text):
        self.lines.append(text)


def test_steps_are_shown_once_and_the_folder_goes(monkeypatch):
    answers = iter([said("active", STEPS[:15]), said("active", STEPS), said("inactive", STEPS, '{"changed": true}'), ""])
    commands = []
    action = followed.Followed.__new__(followed.Followed)
    action._display = Shown()
    monkeypatch.setattr(action, "_low_level_execute_command", lambda command: commands.append(command) or {"stdout": next(answers)})
    monkeypatch.setattr(followed.time, "sleep", lambda seconds: None)
    assert action._until_it_ends("web", "/run/j", "u.service") == {"changed": True}
    assert action._display.lines == ["web:   0.1 s  port", "web:   1.2 s  spawning on node1"]
    assert commands[0].startswith("systemctl is-active u.service;") and commands[-1] == "rm -rf /run/j"


def test_the_code_is_packed():
    assert len(followed.code()) > 10000


# --- the whole, with a module that the test stands for

@pytest.mark.parametrize("name", ["instance", "instance_migrate"])
def test_a_job_is_begun_with_its_code_and_followed(monkeypatch, name):
    action, asked = followed_action(monkeypatch, name, {"name": "web", "code": "the user's"})
    assert action.run(task_vars={}) == {"changed": True, "until": ("web", "/run/j", "u.service")}
    assert asked == [("our.cloud." + name, {"name": "web", "code": followed.code()}, None)]


@pytest.mark.parametrize("check_mode, async_val", [(True, 0), (False, 600)])
def test_a_check_and_who_polls_for_himself_get_the_modules_own_answer(monkeypatch, check_mode, async_val):
    action, asked = followed_action(monkeypatch, "instance", {"name": "web", "code": "the user's"}, check_mode, async_val)
    assert action.run(task_vars={})["job"] == {"folder": "/run/j", "unit": "u.service"}
    assert asked == [("our.cloud.instance", {"name": "web"}, bool(async_val))]


@pytest.mark.parametrize("answer", [{"failed": True, "msg": "no", "job": {"folder": "f", "unit": "u"}}, {"changed": False}])
def test_there_is_nothing_to_follow(monkeypatch, answer):
    action = followed_action(monkeypatch, "instance", {"name": "web"}, answer=answer)[0]
    assert action.run(task_vars={}) == answer


def followed_action(monkeypatch, name, args, check_mode=False, async_val=0, answer=None):
    """An action plugin, and what its module is asked: (name, arguments, whether in the background)."""
    plugin = importlib.import_module("ansible_collections.our.cloud.plugins.action." + name).ActionModule
    action, asked = plugin.__new__(plugin), []
    action._task = types.SimpleNamespace(args=args, check_mode=check_mode, async_val=async_val)
    monkeypatch.setattr(ActionBase, "run", lambda *dummy: {})

    def execute(module_name, module_args, task_vars, wrap_async=None):
        asked.append((module_name, module_args, wrap_async))
        return answer or {"job": {"folder": "/run/j", "unit": "u.service"}}

    monkeypatch.setattr(action, "_execute_module", execute)
    monkeypatch.setattr(action, "_until_it_ends", lambda what, folder, unit: {"changed": True, "until": (what, folder, unit)})
    return action, asked
