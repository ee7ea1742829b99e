# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a build begins."""
from __future__ import annotations

import types

import pytest
from ansible_collections.our.cloud.plugins.module_utils._recipe import recipe, recipe_place, recipe_plan
from ansible_collections.our.cloud.plugins.module_utils._recipe.recipe_job import Job
from ansible_collections.our.cloud.plugins.module_utils._recipe.recipe_place import Left, Place

WHERE = recipe.Where("/d/x.yaml", "x.yaml", 1)
NAMES = ("a", "b", "c")
KEYS = [["a0", "a1"], ["b0", "b1"], ["c0", "c1"]]
WHOLE = (("a", "a1"), ("b", "b1"), ("c", "c1"))


def job(start_at=None, stop_at=(3, 0)):
    """A recipe of the macrosteps a, b and c with the microsteps 0 and 1 each; the key behind a microstep is its name."""
    macrosteps = tuple(recipe.Macrostep(name, tuple(recipe.Microstep(micro, (), WHERE) for micro in "01"), WHERE) for name in NAMES)
    asked = types.SimpleNamespace(resolved=recipe.Resolved("r", {}, macrosteps, WHERE), macrosteps=macrosteps, keys=KEYS, epoch=1, end=(3, 0),
                                  start_at=start_at, stop_at=stop_at, paths=types.SimpleNamespace(workdir="/w"))
    asked.key_before = lambda macro, micro: Job.key_before(asked, macro, micro)
    return asked


EMPTY = recipe_plan.first_key(1)


def planned(*runs, start=0):
    """A plan: for each macrostep whether it runs; the first that does begins with the microstep start."""
    first = runs.index(True) if True in runs else None
    return [recipe_plan.Planned(name, run, "", start if number == first else 0) for number, (name, run) in enumerate(zip(NAMES, runs))]


@pytest.mark.parametrize("plan, stop_at, place", [
    (planned(True, True, True), (3, 0), Place(0, 0, EMPTY, ())),
    (planned(False, True, True), (3, 0), Place(1, 0, "a1", WHOLE[:1])),
    (planned(False, True, True, start=1), (3, 0), Place(1, 1, "b0", WHOLE[:1], start="b0")),
    (planned(False, True, True, start=1), (1, 1), Place(1, 1, "b0", WHOLE[:1], start="b0")),
    # the checkpoint of a microstep behind the breakpoint is of no use
    (planned(False, True, False, start=1), (1, 0), Place(1, 0, "a1", WHOLE[:1])),
    (planned(False, False, False), (3, 0), Place(3, 0, "c1", WHOLE)),
    (planned(False, False, False), (1, 0), Place(1, 0, "a1", WHOLE[:1])),
])
def test_after_the_last_checkpoint(plan, stop_at, place):
    assert recipe_place.found(job(stop_at=stop_at), plan) == place


def left(count, micro=None, key="half", layers=("a1", "b1", "c1"), macro=None, clean=True, by_hand=False, has_live=True):
    """A working directory with the layers of so many macrosteps, and, with micro, one that is half done."""
    live = None if micro is None else {"macrostep": macro or (*NAMES, "none")[count], "microstep": micro, "key": key, "clean": clean}
    return Left(WHOLE[:count], live, by_hand, set(layers).__contains__, has_live)


@pytest.mark.parametrize("was_left, place", [
    (left(1, "1", "b0"), Place(1, 1, "b0", WHOLE[:1], live=True)),
    # what is not as the recipe alone makes it has no key, and its microstep is not believed
    (left(1, "1", "b0", clean=False), Place(1, 0, "", WHOLE[:1], live=True)),
    (left(1, "1", "b0", by_hand=True), Place(1, 0, "", WHOLE[:1], live=True)),
    (left(1, "gone", "b0"), Place(1, 0, "", WHOLE[:1], live=True)),
    (left(1), None),
    (left(1, "1", has_live=False), None),
    (left(1, "1", macro="another"), None),
    (left(3, "1"), None),
])
def test_half_done(was_left, place):
    assert recipe_place.half_done(job(), was_left) == place


@pytest.mark.parametrize("start_at, was_left, place", [
    ((0, 0), left(0), Place(0, 0, EMPTY, ())),
    ((1, 0), left(1), Place(1, 0, "a1", WHOLE[:1])),
    ((1, 0), left(3), Place(1, 0, "a1", WHOLE[:1])),
    # the checkpoint before a microstep
    ((1, 1), left(1, layers=("a1", "b0")), Place(1, 1, "b0", WHOLE[:1], start="b0")),
    # what was left half done, where it was left
    ((1, 1), left(1, "1", "b0"), Place(1, 1, "b0", WHOLE[:1], live=True)),
    ((1, 0), left(1, "0", "a1"), Place(1, 0, "a1", WHOLE[:1], live=True)),
    # not from its beginning: what was half done there does not count
    ((1, 0), left(1, "1", "b0"), Place(1, 0, "a1", WHOLE[:1])),
])
def test_start_at_in_a_state_of_the_recipe(start_at, was_left, place):
    assert recipe_place.told(job(start_at), was_left) == place


@pytest.mark.parametrize("start_at, was_left, place", [
    # another microstep than the one that it was left before
    ((1, 1), left(1, "0", "a1"), Place(1, 1, "", WHOLE[:1], live=True)),
    ((1, 1), left(1, "1", "b0", clean=False), Place(1, 1, "", WHOLE[:1], live=True)),
    # what is half done counts as done
    ((2, 0), left(1, "1", "b0"), Place(1, 2, "", WHOLE[:1], live=True)),
])
def test_a_state_that_the_recipe_would_not_give_has_a_key_of_its_own(start_at, was_left, place):
    first, second = (recipe_place.told(job(start_at), was_left) for dummy in range(2))
    assert (first.at, first.chain, first.start, first.live) == (place.at, place.chain, place.start, place.live)
    assert first.key not in ("", EMPTY, second.key, *(key for keys in KEYS for key in keys))


@pytest.mark.parametrize("start_at, stop_at, was_left, words", [
    ((2, 0), (1, 0), left(2), "break_at is before start_at=c/0"),
    ((1, 1), (3, 0), left(1, layers=("a1",)), "/w was not left in b. Remedy: build with break_at=b/1 or on_error=keep first, or start at b"),
    ((2, 0), (3, 0), left(1), "/w has no state before c/0. Remedy: build with break_at=c/0 first"),
    ((2, 0), (3, 0), left(2, layers=("b1",)), "/w has no state before c/0. Remedy: build with break_at=c/0 first"),
])
def test_a_place_that_cannot_be_started_at(start_at, stop_at, was_left, words):
    with pytest.raises(recipe.RecipeError) as caught:
        recipe_place.told(job(start_at, stop_at), was_left)
    assert str(caught.value).endswith(words)
