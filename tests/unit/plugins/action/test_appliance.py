# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a build shows while it runs."""
from __future__ import annotations

import os
import signal
import threading
import types

import pytest
from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.action import ActionBase
from ansible_collections.our.cloud.plugins.action import appliance


class Display:
    def __init__(self):
        self.shown = []

    def display(self, text):
        self.shown.append(text)


def action():
    made = object.__new__(appliance.ActionModule)
    made._display = Display()
    return made


def test_lines():
    text = "1000 macrostep 1/2 a\n1012 microstep a/one\n"
    assert list(appliance.lines(text, "toy", 998)) == ["[toy]    2 s: macrostep 1/2 a", "[toy]   14 s: microstep a/one"]


def test_who_builds():
    assert appliance.label("toy", "localhost") == "toy"
    assert appliance.label("toy", "barney") == "barney: toy"


def test_each_line_is_shown_once_and_when_it_is_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(appliance, "PAUSE", 0)
    path = tmp_path / "progress"

    class Ended:
        """The file grows while it is looked at."""

        texts = iter(["", "1000 macrostep 1/1 a\n1001 micro", "1000 macrostep 1/1 a\n1001 microstep a/b\n"])

        def wait(self, dummy):
            text = next(self.texts, None)
            if text is None:
                return True
            path.write_text(text)
            return False

    monkeypatch.setattr(appliance.time, "time", lambda: 1000.5)
    shows = action()
    shows._show(str(path), "toy", Ended())
    assert shows._display.shown == ["[toy]    0 s: macrostep 1/1 a", "[toy]    1 s: microstep a/b"]


def test_a_play_that_was_killed_while_a_line_was_shown_ends_the_build_all_the_same(tmp_path, monkeypatch):
    """What is shown goes through a pipe to the play."""
    class Broken:
        def display(self, dummy):
            monkeypatch.setattr(os, "getppid", lambda: 1)
            raise BrokenPipeError

    ended, killed = threading.Event(), []
    monkeypatch.setattr(appliance, "PAUSE", 0)
    monkeypatch.setattr(os, "getppid", lambda: 77)
    monkeypatch.setattr(os, "getpgrp", os.getpid)
    monkeypatch.setattr(os, "killpg", lambda *which: (killed.append(which), ended.set()))
    (tmp_path / "progress").write_text("1000 macrostep 1/1 a\n")
    shows = action()
    shows._display = Broken()
    shows._show(str(tmp_path / "progress"), "toy", ended)
    assert set(killed) == {(0, signal.SIGTERM)}


def test_a_build_that_says_nothing(tmp_path):
    ended = threading.Event()
    ended.set()
    shows = action()
    shows._show(str(tmp_path / "nothing"), "toy", ended)
    assert shows._display.shown == []


def test_the_collections_own_recipes_are_there():
    assert os.path.isdir(os.path.join(appliance.OWN, "recipes"))


# --- the whole, with a module that the test stands for

def whole(monkeypatch, module, check_mode=False, **args):
    """(result, what was shown) of the action; module(arguments): its answer."""
    made = action()
    made._task = types.SimpleNamespace(args={"recipe": "toy", **args}, check_mode=check_mode)
    monkeypatch.setattr(appliance, "PAUSE", 0.01)
    monkeypatch.setattr(ActionBase, "run", lambda *dummy: {})
    monkeypatch.setattr(made, "_execute_module", lambda module_args, task_vars: module(module_args))
    return made.run(task_vars={"inventory_hostname": "barney"}), made._display.shown


def test_a_build_is_shown_to_its_last_line(monkeypatch):
    """What the module writes just before it ends, too; the file is gone afterwards."""
    seen = []

    def build(arguments):
        with open(arguments["progress"], "w", encoding="utf-8") as file:
            file.write("%d macrostep 1/1 a\n" % int(appliance.time.time()))
        seen.append(arguments)
        return {"changed": True}

    result, shown = whole(monkeypatch, build, data_dir="/own")
    assert result == {"changed": True} and [line.partition("s: ")[2] for line in shown] == ["macrostep 1/1 a"]
    assert shown[0].startswith("[barney: toy]") and seen[0]["data_dir"] == "/own" and not os.path.exists(seen[0]["progress"])


@pytest.mark.parametrize("check_mode", [True, False])
def test_relative_paths_begin_where_the_playbook_was_started(monkeypatch, tmp_path, check_mode):
    monkeypatch.chdir(tmp_path)
    assert whole(monkeypatch, dict, check_mode)[0]["directory"] == str(tmp_path)
    assert whole(monkeypatch, dict, check_mode, directory="/elsewhere")[0]["directory"] == "/elsewhere"


def test_a_build_that_breaks_off_ends_the_show(monkeypatch):
    def build(arguments):
        raise AnsibleConnectionFailure("it is away")

    before = threading.active_count()
    with pytest.raises(AnsibleConnectionFailure):
        whole(monkeypatch, build)
    assert threading.active_count() == before


@pytest.mark.parametrize("how", [{"check_mode": True}, {"progress": "/mine"}])
def test_who_reads_himself_is_shown_nothing(monkeypatch, how):
    result, shown = whole(monkeypatch, lambda arguments: {"progress": arguments.get("progress"), "data_dir": arguments["data_dir"]}, **how)
    assert result == {"progress": how.get("progress"), "data_dir": os.path.normpath(appliance.OWN)} and shown == []
