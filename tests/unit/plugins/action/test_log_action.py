# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action plugin site_log: who ran what, and a play that does not fail for a note."""

from __future__ import annotations

import types

import pytest
from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.action import ActionBase

from ansible_collections.our.cloud.plugins.action import site_log


@pytest.fixture(name="note")
def fixture_note(monkeypatch):
    """A function that runs the action with arguments and what the module answers: (result, what the module got)."""
    def note(args, answer):
        asked = []

        def module(module_args, task_vars):
            del task_vars
            asked.append(module_args)
            if isinstance(answer, Exception):
                raise answer
            return answer

        monkeypatch.setattr(ActionBase, "run", lambda self, tmp, task_vars: {})
        action = site_log.ActionModule.__new__(site_log.ActionModule)
        action._task = types.SimpleNamespace(args=args)
        action._execute_module = module
        return action.run(task_vars={"inventory_hostname": "marge"}), asked

    monkeypatch.setattr(site_log.socket, "gethostname", lambda: "laptop")
    monkeypatch.setattr(site_log.getpass, "getuser", lambda: "root")
    monkeypatch.setattr(site_log.context, "CLIARGS", {"args": ("/x/playbooks/site.yml", "our.cloud.migrate")})
    return note


def test_the_module_hears_who_and_what(note, monkeypatch):
    monkeypatch.delenv("SUDO_USER", raising=False)
    guests = [{"changed": True, "actions": ["start"], "item": {"name": "our-vm"}}, {"changed": False, "item": {"name": "same"}}]
    result, asked = note({"entries": ["one"], "guests": guests}, {"changed": False, "lines": ["a line"]})
    assert asked == [{"entries": ["one", "our-vm on marge: start"], "who": "root@laptop", "command": "site.yml our.cloud.migrate"}]
    assert result == {"changed": False, "lines": ["a line"]}
    monkeypatch.setenv("SUDO_USER", "ada")
    assert note({"entries": ["one"]}, {})[1][0]["who"] == "ada@laptop"
    assert note({"entries": ["one"], "who": "cron", "command": "nightly"}, {})[1] == [{"entries": ["one"], "who": "cron", "command": "nightly"}]


def test_who_has_no_name(note, monkeypatch):
    def unknown():
        raise KeyError("getpwuid(): uid not found: 1234")

    monkeypatch.delenv("SUDO_USER", raising=False)
    monkeypatch.setattr(site_log.getpass, "getuser", unknown)
    monkeypatch.setattr(site_log.os, "getuid", lambda: 1234)
    assert note({"entries": ["one"]}, {})[1][0]["who"] == "1234@laptop"


def test_nobody_is_asked_for_nothing(note):
    assert note({"guests": [{"changed": False, "item": {"name": "same"}}]}, {}) == ({"changed": False, "lines": []}, [])


@pytest.mark.parametrize("answer, cause", [
    ({"failed": True, "msg": "homer: /var/log: No space left."}, "homer: /var/log: No space left"), (AnsibleConnectionFailure("no route"), "no route")])
def test_a_note_that_is_missing_is_a_warning(note, answer, cause):
    result, dummy = note({"entries": ["one", "two"]}, answer)
    assert result == {"changed": False, "lines": [], "warnings": [f"The site's log lacks a line (one; two): {cause}. What was done is done."]}
