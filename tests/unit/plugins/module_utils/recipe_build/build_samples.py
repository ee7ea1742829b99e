# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of builds share: macrosteps that fail, and the processes of a build."""

from __future__ import annotations

import pathlib
import time

# Seconds, for what takes a moment on a computer that has nothing else to do.
BOUND = 120


def wait_for_processes(word, count):
    """Until as many have that word among their arguments."""
    deadline = time.monotonic() + BOUND
    while len(processes(word)) != count:
        assert time.monotonic() < deadline, f"{processes(word)} have {word} after {BOUND} s, not {count}"
        time.sleep(0.02)


def processes(word):
    """The processes that have a word among their arguments."""
    found = []
    for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if word in path.read_bytes().decode(errors="replace").split("\0"):
                found.append(int(path.parent.name))
        except OSError:
            pass
    return found


def failing(toy, command, **params):
    """The error of a macrostep that has this command. Of two commands, the second begins with "- "."""
    toy.recipe("root", "bad")
    command = command.replace("\n", "\n      ").replace("\n      - ", "\n    - ")
    toy.step("bad", f"- fine: [exec_current: echo fine]\n- broken:\n    - {command}\n- never: [exec_current: echo never]\n")
    error = toy.error(**params)
    assert "echo never" not in toy.log
    return error


def replace(toy, name, old, new):
    path = toy.path / f"steps/common/{name}.yaml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
