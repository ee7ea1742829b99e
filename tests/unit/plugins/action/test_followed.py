# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a module that is followed has written down, and when it has come to its end."""

from __future__ import annotations

import json

import pytest

from ansible_collections.our.cloud.plugins.plugin_utils import followed

STEPS = "  0.1 s  port\n  1.2 s  spawning on node1\n"


@pytest.mark.parametrize("text, steps, result", [
    (STEPS + followed.BORDER + "\n" + json.dumps({"finished": 1, "changed": True}), 2, {"finished": 1, "changed": True}),
    (STEPS + followed.BORDER + "\n" + json.dumps({"failed": True, "msg": "no"}), 2, {"failed": True, "msg": "no"}),
    (STEPS + followed.BORDER + "\n" + json.dumps({"changed": True, "ansible_job_id": "j"}), 2, {"changed": True, "ansible_job_id": "j"}),
    (STEPS.replace("\n", "\r\n") + followed.BORDER + "\r\n" + json.dumps({"started": 1, "finished": 0}), 2, None),
    (followed.BORDER + "\n" + '{"half', 0, None),
    ("", 0, None),
])
def test_parts(text, steps, result):
    found = followed.parts(text)
    assert (len(found[0]), found[1]) == (steps, result)


class Shown:
    """What Ansible would show."""

    def __init__(self):
        self.lines = []

    def display(self, text):
        self.lines.append(text)


def test_steps_are_shown_once_and_the_files_go(monkeypatch):
    said = iter([STEPS[:15] + followed.BORDER, STEPS + followed.BORDER + '\n{"started": 1, "finished": 0}',
                 STEPS + followed.BORDER + '\n{"finished": 1, "ansible_job_id": "j1", "changed": true, "results_file": "f"}', ""])
    commands = []
    action = followed.Followed.__new__(followed.Followed)
    action._display, action.MODULE = Shown(), "our.cloud.instance"
    monkeypatch.setattr(action, "_low_level_execute_command", lambda command: commands.append(command) or {"stdout": next(said)})
    monkeypatch.setattr(followed.time, "sleep", lambda seconds: None)
    assert action._until_it_ends("web", "/run/p", "~/.ansible_async/j1", followed.time.monotonic() + 9) == {"changed": True}
    assert action._display.lines == ["web:   0.1 s  port", "web:   1.2 s  spawning on node1"]
    assert commands[-1] == "rm -f /run/p ~/.ansible_async/j1"


def test_a_module_without_end_is_told(monkeypatch):
    action = followed.Followed.__new__(followed.Followed)
    action._display, action.MODULE = Shown(), "our.cloud.instance"
    monkeypatch.setattr(action, "_low_level_execute_command", lambda command: {"stdout": followed.BORDER})
    assert "has not come to its end" in action._until_it_ends("web", "/run/p", "j", 0)["msg"]
