# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The faults that tests/mutants.py makes, and those that it lets pass."""

from __future__ import annotations

import ast
import sys

import pytest
from checkout import CHECKOUT

sys.path.insert(0, str(CHECKOUT / "tests"))
import mutants  # noqa: E402

SOURCE = """\
def long(name, limit: int = 3) -> str | None:
    if len(name) > limit and not name.startswith("ä"):
        return name + tail(1)
    return None
"""


@pytest.fixture(name="source")
def fixture_source(tmp_path):
    path = tmp_path / "_wing/words.py"
    path.parent.mkdir()
    path.write_text(SOURCE, encoding="utf-8")
    return path


def test_what_is_changed(source):
    assert sorted(fault.change for fault in mutants.faults(source)) == [
        "'ä' -> 'äx'", "1 -> 2", "3 -> 4", "len(name) > limit -> len(name) >= limit",
        "len(name) > limit and (not name.startswith('ä')) -> len(name) > limit or not name.startswith('ä')", "name + tail(1) -> None",
        "name + tail(1) -> name - tail(1)", "not name.startswith('ä') -> name.startswith('ä')"]


def test_all_else_stays_as_it_is(source):
    for fault in mutants.faults(source):
        lines = mutants.spliced(SOURCE, fault.node, fault.new).splitlines()
        ast.parse("\n".join(lines))
        assert [number for number, (line, was) in enumerate(zip(lines, SOURCE.splitlines(), strict=True), 1) if line != was] == [fault.node.lineno]


@pytest.mark.parametrize("entry, changes", [
    ({"change": "number"}, {"1 -> 2", "3 -> 4"}), ({"change": "boundary"}, {"len(name) > limit -> len(name) >= limit"}),
    ({"in": "words.py", "line": "return name"}, {"name + tail(1) -> None", "name + tail(1) -> name - tail(1)", "1 -> 2"}),
    ({"returns": "str | None", "change": "number"}, {"1 -> 2", "3 -> 4"}), ({"returns": "str"}, set()),
    ({"change": "number", "line": "limit: int"}, {"3 -> 4"}), ({"in": "other.py"}, set()), ({"line": "return nothing"}, set()),
    ({"line": "return name", "change": "name + tail(1) -> None"}, {"name + tail(1) -> None"}),
], ids=str)
def test_which_are_accepted(source, entry, changes):
    accepted = mutants.Accepted([{**entry, "why": "because"}])
    assert {fault.change for fault in mutants.faults(source) if accepted.why(fault) == "because"} == changes


def test_what_runs_when_a_module_is_imported(tmp_path):
    lines = ["import os", "", "", "class One:", "    x = 1", "", "    def two(self,", "            y=2):", "        return y", "", "", "Z = 3"]
    (tmp_path / "one.py").write_text("\n".join(lines), encoding="utf-8")
    assert mutants.imported(tmp_path / "one.py") == {1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12}


def test_which_tests_run_a_wing(tmp_path):
    """Those that reach it by a filter, too: what no test of a wing runs is not tried."""
    for name, text in {
            "plugins/filter/plan.py": "from a.module_utils._wing.words import long\n", "plugins/filter/planned.py": "from a.module_utils._wings import long\n",
            "tests/unit/test_words.py": "from a.module_utils._wing import words", "tests/unit/more/test_plan.py": "from a.plugins.filter.plan import plan",
            "tests/unit/test_planned.py": "from a.plugins.filter.planned import planned", "tests/unit/test_modules.py": ""}.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    copy = object.__new__(mutants.Copy)
    copy.folder = tmp_path
    assert copy.tests("_wing") == {"test_plan": "tests/unit/more/test_plan.py", "test_words": "tests/unit/test_words.py",
                                   "test_modules": "tests/unit/test_modules.py"}


def test_what_is_accepted_is_there_and_has_a_reason():
    accepted = mutants.Accepted.read()
    assert accepted.stale() == []
    assert [entry for entry in accepted.entries if not entry.get("why") or set(entry) - {"in", "line", "change", "returns", "why"}] == []
    assert mutants.Accepted([{"in": "no.py", "why": "because"}]).stale() == [{"in": "no.py", "why": "because"}]
