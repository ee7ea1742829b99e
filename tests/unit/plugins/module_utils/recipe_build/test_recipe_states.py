# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a build stops, starts and goes on as its user asks: break and start, kept states, retries, scripts that only are shown."""

from __future__ import annotations

import subprocess

import pytest
from build_samples import replace


def test_break_and_start(counted):
    result = counted.build(break_at="b/two")
    assert (result["stopped_at"], result["changed"]) == ("b/two", True)
    assert counted.ran() == "a1 a2 b1"
    assert "files" not in result
    assert counted.why() == {"b": "resumed", "c": "never built"}
    assert counted.why(start_at="b/two") == {"b": "start_at", "c": "start_at"}
    counted.build(start_at="b/two")
    assert counted.ran() == "b2 c1 c2"
    # nobody has touched it: it is what the recipe gives
    assert counted.build()["changed"] is False


def test_break_at_a_macrostep_and_where_everything_is_built(counted):
    counted.build(break_at="b")
    assert counted.ran() == "a1 a2"
    assert counted.build(break_at="b")["changed"] is False
    counted.build(start_at="b")
    assert counted.ran() == "b1 b2 c1 c2"
    counted.build(break_at="c/two")
    assert counted.ran() == "c1"


def test_a_state_that_was_touched_by_hand_is_not_taken_for_the_recipes(counted):
    replace(counted, "b", "echo 1 >>b", "test -e by-hand")
    message = str(counted.error(on_error="keep"))
    shell = counted.workdir / "shell"
    assert f"It is as it was left. {shell} opens a shell in it, start_at=b/two goes on." in message
    subprocess.run([shell, "touch", "by-hand"], check=True)
    counted.ran()
    result = counted.build(start_at="b/two")
    assert counted.ran() == "b2 c1 c2"
    assert counted.files() == {"a": "1\n", "by-hand": "", "c": "1\n"}
    assert result["key"] != counted.build(check_mode=True)["key"]
    assert counted.why() == {"b": "no checkpoint", "c": "follows b"}
    counted.error()


def test_a_shell_at_a_macrostep_counts_too(counted):
    counted.build(break_at="b")
    subprocess.run([counted.workdir / "shell", "touch", "by-hand"], check=True)
    counted.build(start_at="b")
    assert counted.files() == {"a": "1\n", "b": "1\n", "by-hand": "", "c": "1\n"}
    assert counted.why() == {"b": "no checkpoint", "c": "follows b"}


def test_a_kept_state_survives_a_second_failure(counted):
    replace(counted, "b", "echo 1 >>b", "echo 1 >>b; test -e ../flag")
    counted.error(on_error="keep")
    assert "start_at=b/two goes on" in str(counted.error(start_at="b/two"))
    (counted.workdir / "flag").touch()
    counted.build(start_at="b/two")
    assert counted.files()["b"] == "1\n1\n1\n"


def test_a_kept_state_has_its_variables(counted):
    counted.step("b", "- one: [exec_current: status=set failed=too]\n- two: [exec_current: echo $status $failed >>$$workdir/ran; test -e $$workdir/flag]\n")
    counted.error(on_error="keep")
    assert counted.ran() == "a1 a2 set too"
    (counted.workdir / "flag").touch()
    counted.build(start_at="b/two")
    assert counted.ran() == "set too c1 c2"


def test_what_is_half_done_can_count_as_done(counted):
    replace(counted, "b", "echo 1 >>b", "false")
    assert counted.error(on_error="keep").details["failed_at"] == {"macrostep": "b", "microstep": "two", "next": "c"}
    counted.ran()
    counted.build(start_at="c")
    assert counted.ran() == "c1 c2"
    assert counted.files() == {"a": "1\n", "c": "1\n"}
    assert counted.why() == {"b": "no checkpoint", "c": "follows b"}


@pytest.mark.parametrize("params, said", [
    ({"break_at": "d"}, "break_at: toy has no macrostep d. Macrosteps: a, b, c"),
    ({"start_at": "b/three"}, "start_at: the macrostep b of toy has no microstep three. Microsteps: one, two"),
    ({"start_at": "b"}, "has no state before b/one. Remedy: build with break_at=b/one first"),
    ({"start_at": "a/two"}, "was not left in a. Remedy: build with break_at=a/two or on_error=keep first, or start at a"),
    ({"start_at": "b", "break_at": "a"}, "break_at is before start_at=b/one"),
])
def test_places_that_do_not_exist_are_refused(counted, params, said):
    assert said in str(counted.error(**params))
    assert counted.ran() == ""


def test_retry_runs_the_macrostep_once_more_from_its_checkpoint(counted):
    replace(counted, "b", "echo 1 >>b", "test -e ../flag || { touch ../flag; echo 1 >>b; false; }; echo 2 >>b")
    counted.build(on_error="retry")
    assert counted.ran() == "a1 a2 b1 b2 b1 b2 c1 c2"
    assert counted.files()["b"] == "2\n"
    replace(counted, "c", "echo 1 >>c", "false")
    counted.error(on_error="retry")
    assert counted.ran() == "c1 c2 c1 c2"


def test_dry_run_returns_the_scripts(counted):
    scripts = counted.build(dry_run=True)["scripts"]
    assert [step["macrostep"] for step in scripts] == ["a", "b", "c"]
    assert "recipe_microstep two\nrecipe_exec_current steps/common/b.yaml:3 <<'EOF'\n" in scripts[1]["script"]
    assert not counted.base.exists()


def test_progress(counted, tmp_path):
    counted.build(progress=str(tmp_path / "progress"))
    lines = [line.partition(" ")[2] for line in (tmp_path / "progress").read_text().splitlines()]
    assert lines == [f"log {counted.workdir}/build.log", "macrostep 1/3 a", "microstep a/one", "microstep a/two",
                     "macrostep 2/3 b", "microstep b/one", "microstep b/two", "macrostep 3/3 c", "microstep c/one", "microstep c/two", "output tgz"]
