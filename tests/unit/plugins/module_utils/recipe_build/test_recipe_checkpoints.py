# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the next build need not do again: checkpoints, and outputs that are kept for good."""

from __future__ import annotations

import os
import pathlib
import time

import pytest
from build_samples import BOUND, replace

from ansible_collections.our.cloud.plugins.module_utils._recipe import recipe_build, recipe_job, recipe_sandbox


def test_the_next_build_resumes_where_one_failed(counted):
    replace(counted, "b", "echo 1 >>b", "echo 1 >>b; test -e ../flag")
    assert "microstep two" in str(counted.error())
    assert counted.ran() == "a1 a2 b1 b2"
    assert counted.why() == {"b": "resumed", "c": "never built"}
    (counted.workdir / "flag").touch()
    counted.build()
    assert counted.ran() == "b1 b2 c1 c2"
    assert counted.files() == {"a": "1\n", "b": "1\n", "c": "1\n"}


def test_a_change_invalidates_what_follows_and_nothing_else(counted):
    counted.build()
    counted.ran()
    replace(counted, "a", "- one:", "# a remark\n- one:")
    assert counted.why() == {}
    replace(counted, "b", "echo 1 >>b", "echo 2 >>b")
    assert counted.why() == {"b": "changed", "c": "follows b"}
    assert [diff["before_header"] for diff in recipe_diff(counted)] == ["b"]
    counted.build()
    assert counted.ran() == "b1 b2 c1 c2"
    assert counted.files() == {"a": "1\n", "b": "2\n", "c": "1\n"}
    counted.recipe("a", "c")
    assert counted.why() == {"c": "no checkpoint"}
    counted.build()
    assert counted.files() == {"a": "1\n", "c": "1\n"}
    # what led elsewhere is gone
    assert len([name for name in os.listdir(counted.workdir / ".build/layers") if "." not in name]) == 3


def recipe_diff(toy):
    return recipe_build.ensure(toy.params(), True, True)["diff"]


def test_changed_variables_and_dates_are_changes(counted):
    (counted.path / "recipes/toy.yaml").write_text("global: {distrib: s, type: tgz, snapshot_date: 2026-01-01, word: x}\nsteps: [a, b]\n")
    replace(counted, "b", "echo 1", "echo $$word $SOURCE_DATE_EPOCH")
    counted.build()
    assert counted.files()["b"] == "x 1767225600\n"
    assert counted.why(variables={"word": "y"}) == {"b": "changed"}
    assert counted.why(variables={"snapshot_date": "20260102T000000Z"}) == {"a": "no checkpoint", "b": "follows a"}
    assert "snapshot_date is 'x' and must be like" in str(counted.error(variables={"snapshot_date": "x"}))


def test_checkpoints_of_microsteps(counted):
    replace(counted, "b", "echo 1 >>b", "echo 1 >>b; test -e ../flag")
    replace(counted, "b", "ran]", "ran; x=kept]")
    replace(counted, "b", "echo b2", "echo $x")
    counted.error(checkpoints="microstep")
    assert counted.ran() == "a1 a2 b1 kept"
    (counted.workdir / "flag").touch()
    counted.build(checkpoints="microstep")
    assert counted.ran() == "kept c1 c2"
    replace(counted, "c", "echo c2", "echo c3")
    counted.build()
    assert counted.ran() == "c3"
    assert counted.files() == {"a": "1\n", "b": "1\n", "c": "1\n"}


def test_copies_where_there_is_no_overlay(counted, monkeypatch):
    counted.build()
    overlaid = counted.archive.read_bytes()
    counted.build(state="absent")
    monkeypatch.setattr(recipe_sandbox, "PROBE", "echo copies")
    replace(counted, "b", "echo 1 >>b", "echo 1 >>b; test -e ../flag")
    counted.error(checkpoints="microstep")
    counted.ran()
    (counted.workdir / "flag").touch()
    counted.build(checkpoints="microstep")
    assert counted.ran() == "b2 c1 c2"
    assert counted.archive.read_bytes() == overlaid


def test_a_removed_file_stays_removed(counted):
    replace(counted, "b", "echo 1 >>b", "rm a")
    counted.build()
    assert counted.files() == {"c": "1\n"}
    replace(counted, "c", "echo 1 >>c", "test ! -e a")
    counted.build()
    assert counted.ran().endswith("c1 c2")


# Kept for good

@pytest.fixture(name="keeper")
def fixture_keeper(toy):
    """A build with a variable, which goes on when there is a file named go; it counts how often it runs."""
    toy.recipe("root", "a")
    toy.step("a", f"- one: [exec_appliance: echo $$size_mib >size]\n"
                  f"- two: [exec_current: 'echo $$size_mib >>{toy.path}/ran; until test -e {toy.path}/go; do sleep 0.02; done']\n")
    toy.kept = toy.path / "kept"
    toy.ran = lambda: (toy.path / "ran").read_text().split()

    def keep(size="", **params):
        return toy.build(output_base=str(toy.kept), variables={"size_mib": size}, **params)

    toy.keep = keep
    yield toy
    for process in toy.started:
        process.kill()
        process.communicate(timeout=BOUND)


def test_an_output_is_kept_and_never_changed(keeper):
    (keeper.path / "go").touch()
    expected = keeper.keep(check_mode=True)
    assert (expected["changed"], keeper.kept.exists()) == (True, False)
    done = keeper.keep()
    assert done["changed"] is True
    assert (done["files"], done["log"]) == (expected["files"], expected["log"])
    folder = pathlib.Path(done["files"]["image"]).parent
    assert sorted(os.listdir(folder)) == ["build.log", "toy.tgz"]
    assert folder.parent == keeper.kept
    assert os.listdir(keeper.kept / recipe_job.BUILDS) == []
    before = (folder / "toy.tgz").stat()
    for check_mode in (True, False):
        again = keeper.keep(check_mode=check_mode)
        assert (again["changed"], again["files"], again["log"]) == (False, done["files"], done["log"])
        assert [(step["runs"], step["why"]) for step in again["plan"]] == [(False, "its output is kept")] * 2

    replace(keeper, "a", ">size", ">size.2")
    changed = keeper.keep()
    assert changed["changed"] is True
    assert changed["files"] != done["files"]
    assert (folder / "toy.tgz").stat() == before
    assert keeper.keep(check_mode=True, state="absent")["changed"] is True
    assert keeper.keep(state="absent")["changed"] is True
    assert sorted(os.listdir(keeper.kept)) == [recipe_job.BUILDS, folder.name]
    assert keeper.keep(state="absent")["changed"] is False


def test_different_outputs_are_built_side_by_side_and_the_same_once(keeper):
    values = ("1", "1", "2")
    processes_ = [keeper.start(output_base=str(keeper.kept), variables={"size_mib": value}) for value in values]
    deadline = time.monotonic() + BOUND
    while not (keeper.path / "ran").exists() or len(keeper.ran()) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert [process.poll() for process in processes_] == [None] * 3
    (keeper.path / "go").touch()
    assert [(process.communicate(timeout=BOUND)[1], process.returncode) for process in processes_] == [("", 0)] * 3
    assert sorted(keeper.ran()) == ["1", "2"]
    assert len(os.listdir(keeper.kept)) == 3
    assert os.listdir(keeper.kept / recipe_job.BUILDS) == []


def test_a_failed_build_of_what_is_to_be_kept_resumes(keeper):
    replace(keeper, "a", "'echo", "'test -e now; echo")
    error = keeper.error(output_base=str(keeper.kept))
    assert "The next build resumes with a" in str(error)
    assert str(keeper.kept / recipe_job.BUILDS) in error.details["workdir"]
    (keeper.path / "go").touch()
    replace(keeper, "a", "test -e now; ", "")
    result = keeper.build(output_base=str(keeper.kept))
    assert [step["why"] for step in result["plan"]] == ["checkpoint", "never built"]
    assert os.listdir(keeper.kept / recipe_job.BUILDS) == []


def test_copies_on_the_way_to_what_is_kept_do_not_pile_up(keeper, monkeypatch):
    monkeypatch.setattr(recipe_sandbox, "PROBE", "echo copies")
    keeper.recipe("root", "b", "a")
    keeper.step("b", "- one: [exec_appliance: touch b]\n")
    replace(keeper, "a", "'echo", "'test -e now; echo")
    workdir = pathlib.Path(keeper.error(output_base=str(keeper.kept)).details["workdir"])
    assert [path.name for path in workdir.glob(".build/layers/*/b")] == ["b"]
    assert [path.name for path in workdir.glob(".build/layers/*/etc")] == ["etc"]
    (keeper.path / "go").touch()
    replace(keeper, "a", "test -e now; ", "")
    assert keeper.build(output_base=str(keeper.kept))["changed"] is True
