# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a build shows while it runs."""
from __future__ import annotations

import os
import signal
import threading

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
