# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a module that is followed has written down, and when it has come to its end."""

from __future__ import annotations

import json

import pytest

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
