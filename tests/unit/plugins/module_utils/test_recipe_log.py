# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is said of a macrostep that has failed."""
from __future__ import annotations

import types

import pytest
from ansible_collections.our.cloud.plugins.module_utils._recipe import recipe, recipe_log

WHERE = recipe.Where("/d/x.yaml", "x.yaml", 1)
ENTER, LEAVE = (recipe.Macrostep(name, tuple(recipe.Microstep(micro, (), WHERE) for micro in ("one", "two")), WHERE) for name in ("enter", "leave"))
JOB = types.SimpleNamespace(
    name="toy", macrosteps=(ENTER, LEAVE), data=types.SimpleNamespace(path="/d"), options=types.SimpleNamespace(base_option="workdir_base"),
    paths=types.SimpleNamespace(base="/b", workdir="/b/toy", log="/b/toy/build.log", shell="/b/toy/shell"))
HEAD = "toy: macrostep enter, microstep {}: {}. Last lines of /b/toy/build.log:\nlast\n"


def failure(status=1, told=b"", known="", tail="last", free=100, stays=False, macrostep=ENTER):
    return recipe_log.failure(JOB, macrostep, recipe_log.Ending(status, told, known, tail, free, stays))


@pytest.mark.parametrize("status, told, known, microstep, said", [
    (3, b"3\0two\0exec_current\0steps/x.yaml:7\0false \0", "", "two", "exec_current (/d/steps/x.yaml:7) failed with status 3: false"),
    (3, b"3\0two\0write_file\0steps/x.yaml:7\0\0", "", "two", "write_file (/d/steps/x.yaml:7) failed with status 3"),
    # its trap did not run
    (0, b"", "two\0exec_current\0steps/x.yaml:7\0", "two",
     "exec_current (/d/steps/x.yaml:7) ended the macrostep's script with status 0, and nothing behind it ran."
     " Remedy: put exec and a trap for EXIT in parentheses, and they are the command's own"),
    (137, b"", "two\0exec_current\0steps/x.yaml:7\0", "two",
     "exec_current (/d/steps/x.yaml:7) ended the macrostep's script with status 137, and nothing behind it ran"),
    (127, b"", "", "one", "its script ended with status 127 before anything ran"),
    (1, b"", "nowhere\0exec_current\0steps/x.yaml:7\0", "one", "its script ended with status 1 before anything ran"),
    # a microstep that there is not
    (1, b"1\0nowhere\0exec_current\0x:1\0false\0", "two\0exec_current\0x:1\0", "one", "its script ended with status 1 before anything ran"),
])
def test_the_cause(status, told, known, microstep, said):
    error = failure(status, told, known)
    assert str(error) == HEAD.format(microstep, said) + "The next build resumes with enter."
    assert error.details["failed_at"]["microstep"] == microstep


def test_a_state_that_stays_says_how_to_go_on():
    assert str(failure(stays=True)).endswith("\nIt is as it was left. /b/toy/shell opens a shell in it, start_at=enter/one goes on.")


@pytest.mark.parametrize("macrostep, told, following", [
    (ENTER, b"", "enter/two"),
    (ENTER, b"1\0two\0exec_current\0x:1\0false\0", "leave"),
    (LEAVE, b"1\0two\0exec_current\0x:1\0false\0", None),
])
def test_what_would_come_next(macrostep, told, following):
    assert failure(told=told, macrostep=macrostep).details["failed_at"]["next"] == following


@pytest.mark.parametrize("tail, free, is_full", [
    ("cp: No space left on device", 100, True),
    ("E: You don't have enough free space in /var/cache/apt/archives/.", 100, True),
    ("last", 3, True),
    ("last", 4, False),
])
def test_a_full_disk_is_named(tail, free, is_full):
    said = f" /b has {free} MiB free. Remedy: free some space, or choose another workdir_base"
    assert str(failure(tail=tail, free=free)).endswith(said) == is_full


def test_a_read_only_file_system_is_explained():
    assert str(failure(tail="touch: /etc/x: Read-only file system")).endswith("the appliance's /etc is ./etc there")


@pytest.mark.parametrize("text, tail", [
    ("", "(nothing)"),
    ("=== macrostep 1/2 enter\n", "(nothing)"),
    ("old\n=== macrostep 1/2 enter\n-- one\na\nb\n", "a\nb"),
    # progress in one line, as on a terminal
    ("no such host\n" + "".join(f"\r{number} of 40\r" for number in range(41)) + "\nb\r\n", "no such host\n40 of 40\nb"),
    ("".join(f"{number}\n" for number in range(20)), "\n".join(map(str, range(5, 20)))),
])
def test_last_lines(text, tail):
    assert recipe_log.last_lines(text) == tail
