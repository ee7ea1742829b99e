# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Decides where a build begins, from its plan and from what earlier builds have left."""
from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace

from ansible_collections.our.cloud.plugins.module_utils._recipe import recipe_plan as planning
from ansible_collections.our.cloud.plugins.module_utils._recipe.recipe import RecipeError
from ansible_collections.our.cloud.plugins.module_utils._recipe.recipe_job import Job, names_of

Chain = tuple[tuple[str, str], ...]  # (macrostep, key) of the layers that lie over each other, the lowest first


@dataclass(frozen=True)
class Place:
    """A position in a build, with the state of the appliance there."""

    macro: int  # the number of the macrostep that is next, or half done
    micro: int  # the number of the microstep to go on with
    key: str  # of the state; empty if no key stands for it
    chain: Chain  # the layers below
    start: str = ""  # the checkpoint of a microstep to go on from
    live: bool = False  # go on in what the last build left

    @property
    def at(self) -> tuple[int, int]:
        return self.macro, self.micro

    @property
    def layers(self) -> list[str]:
        """The keys of the layers below."""
        return [key for dummy, key in self.chain]

    @property
    def below(self) -> str:
        """The key of the highest layer below; empty if there is none."""
        return self.chain[-1][1] if self.chain else ""


@dataclass(frozen=True)
class Left:
    """What the last build has left in the working directory."""

    chain: Chain
    live: dict | None  # the macrostep that is half done: see recipe_workdir.Memory
    by_hand: bool  # whether somebody has had a shell in it
    has_layer: Callable[[str], bool]  # whether there is a layer of that key
    has_live: bool  # whether the half-done layer is there


def found(job: Job, planned: list[planning.Planned]) -> Place:
    """The place after the last usable checkpoint before the breakpoint."""
    number = next((number for number, step in enumerate(planned) if step.runs), job.stop_at[0])
    chain = tuple((step.name, keys[-1]) for step, keys in zip(planned[:number], job.keys))
    place = Place(number, 0, chain[-1][1] if chain else planning.first_key(job.epoch), chain)
    start = planned[number].start if number < len(planned) else 0
    if start and (number, start) <= job.stop_at:
        key = job.keys[number][start - 1]
        place = replace(place, micro=start, key=key, start=key)
    return place


def half_done(job: Job, left: Left) -> Place | None:
    """The place at which the last build left a macrostep unfinished, or None. If its state was changed by hand or failed, the key is
    empty and the place is the beginning of the macrostep."""
    number = len(left.chain)
    if not left.live or not left.has_live or number == job.end[0] or left.live["macrostep"] != job.macrosteps[number].name:
        return None
    names = names_of(job.macrosteps[number].microsteps)
    clean = left.live["clean"] and left.live["microstep"] in names and not left.by_hand
    return Place(number, names.index(left.live["microstep"]) if clean else 0, left.live["key"] if clean else "", left.chain, live=True)


def told(job: Job, left: Left) -> Place:
    """The place that start_at names, in the state that the last build left. A state that the recipe alone would not produce gets a
    unique key, so that nothing made from it is ever taken for a checkpoint of the recipe."""
    macro, micro = job.start_at
    wanted = planning.shown(job.resolved, job.start_at)
    if job.start_at > job.stop_at:
        raise RecipeError(f"break_at is before start_at={wanted}")
    names, chain, half = names_of(job.macrosteps), left.chain, half_done(job, left)
    expected = job.key_before(macro, micro)
    if half and half.macro == macro and (micro or half.micro == 0):
        place = Place(macro, micro, half.key if half.micro == micro else "", chain, live=True)
    elif half and half.macro == macro - 1 and not micro:
        # the user declares the unfinished macrostep finished
        place = Place(half.macro, len(job.keys[half.macro]), "", chain, live=True)
    elif len(chain) >= macro and micro and left.has_layer(expected):
        place = Place(macro, micro, expected, chain[:macro], start=expected)
    elif micro:
        raise RecipeError(f"start_at: the working directory {job.paths.workdir} was not left in {names[macro]}."
                          f" Remedy: build with break_at={wanted} or on_error=keep first, or start at {names[macro]}")
    else:
        place = Place(macro, 0, chain[macro - 1][1] if 0 < macro <= len(chain) else expected, chain[:macro])
    if [name for name, dummy in place.chain] != names[:place.macro] or not all(map(left.has_layer, place.layers)):
        raise RecipeError(f"start_at: the working directory {job.paths.workdir} has no state before {wanted}. Remedy: build with break_at={wanted} first")
    return place if place.key == expected else replace(place, key=planning.digest("by hand", uuid.uuid4().hex))
