# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What has a checkpoint, what runs and why."""
from __future__ import annotations

import pytest
from ansible_collections.our.cloud.plugins.module_utils._recipe import recipe, recipe_plan

NOTHING = {"built": {}, "stopped": None}


def resolved(*texts, line=1):
    """A recipe whose macrosteps a, b, c... each have the microsteps 0 and 1 with one command each: texts are "0 1"."""
    where = recipe.Where("/d/x.yaml", "x.yaml", line)
    macrosteps = []
    for name, text in zip("abc", texts):
        commands = [recipe.Command("exec_current", (word,), where) for word in text.split()]
        macrosteps.append(recipe.Macrostep(name, tuple(recipe.Microstep(str(number), (command,), where) for number, command in enumerate(commands)), where))
    return recipe.Resolved("r", {}, tuple(macrosteps), where)


def plan(these, have=(), memory=None):
    return [(step.name, step.why, step.start) for step in recipe_plan.plan(these, recipe_plan.all_keys(these, 1), set(have).__contains__, memory or NOTHING)]


def memory_of(these, **more):
    return {**NOTHING, "built": {macrostep.name: recipe_plan.own_hash(macrostep) for macrostep in these.macrosteps}, **more}


def checkpoints(these, micro=False):
    return [key for keys in recipe_plan.all_keys(these, 1) for key in (keys if micro else keys[-1:])]


def test_keys_change_with_what_is_done_and_with_all_before():
    keys = recipe_plan.all_keys(resolved("x y", "z w"), 1)
    assert recipe_plan.all_keys(resolved("x y", "z w", line=7), 1) == keys
    assert len({*keys[0], *keys[1]}) == 4
    second = recipe_plan.all_keys(resolved("x y", "z v"), 1)
    assert (second[0], second[1][0]) == (keys[0], keys[1][0])
    assert second[1][1] != keys[1][1]
    assert not {*keys[0], *keys[1]} & {key for own in recipe_plan.all_keys(resolved("x y", "z w"), 2) for key in own}
    assert not set(keys[1]) & set(recipe_plan.all_keys(resolved("x v", "z w"), 1)[1])


def test_nothing_built_and_everything_built():
    these = resolved("x y", "z w")
    assert plan(these) == [("a", "never built", 0), ("b", "never built", 0)]
    assert plan(these, checkpoints(these), memory_of(these)) == [("a", "checkpoint", 0), ("b", "checkpoint", 0)]


def test_a_change_and_what_follows():
    before, now = resolved("x y", "z w", "u v"), resolved("x y", "z !", "u v")
    assert plan(now, checkpoints(before), memory_of(before)) == [("a", "checkpoint", 0), ("b", "changed", 0), ("c", "follows b", 0)]
    assert plan(now, checkpoints(before, micro=True), memory_of(before)) == [("a", "checkpoint", 0), ("b", "changed", 1), ("c", "follows b", 0)]


def test_where_the_last_build_was_left():
    these = resolved("x y", "z w")
    keys = recipe_plan.all_keys(these, 1)
    assert plan(these, checkpoints(these)[:1], {**NOTHING, "stopped": keys[1][-1]}) == [("a", "checkpoint", 0), ("b", "resumed", 0)]
    # a later checkpoint is of no use without those before it
    assert plan(these, checkpoints(these)[1:], memory_of(these)) == [("a", "no checkpoint", 0), ("b", "follows a", 0)]


@pytest.mark.parametrize("start, stop, expected", [
    (None, (3, 0), [False, True, True]),
    (None, (2, 0), [False, True, False]),
    (None, (0, 0), [False, False, False]),
    (None, (0, 1), [True, False, False]),
    ((0, 1), (3, 0), [True, True, True]),
    ((1, 1), (2, 0), [False, True, False]),
])
def test_between(start, stop, expected):
    planned = [recipe_plan.Planned("a", False, "checkpoint"), recipe_plan.Planned("b", True, "changed"), recipe_plan.Planned("c", True, "follows b")]
    assert [step.runs for step in recipe_plan.between(planned, start, stop)] == expected


def test_positions():
    these = resolved("x y", "z w")
    assert recipe_plan.position(these, "b", "break_at") == (1, 0)
    assert recipe_plan.position(these, "b/1", "break_at") == (1, 1)
    assert recipe_plan.shown(these, (1, 1)) == "b/1"
    for text in ("", "d", "b/2", "/1", "b/", "b/1/2"):
        with pytest.raises(recipe.RecipeError, match="^break_at: .* has no "):
            recipe_plan.position(these, text, "break_at")
