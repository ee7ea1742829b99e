# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a build has to do: which macrosteps have a checkpoint, which run and why, and where it begins and stops.

A checkpoint's name is a hash of everything that led to it: each microstep's is made from the one before and from its own
commands. So an unchanged beginning is found, and a changed command invalidates what follows and nothing else.
"""
from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.our.cloud.plugins.module_utils._recipe.recipe import Macrostep, Microstep, RecipeError, Resolved

# Changes with what the same commands make of an appliance.
FORMAT = "1"

CHECKPOINT = "checkpoint"
RESUMED = "resumed"
CHANGED = "changed"
NEVER_BUILT = "never built"
LOST = "no checkpoint"
KEPT = "its output is kept"


@dataclass(frozen=True)
class Planned:
    """A macrostep of a build; ``start`` is the microstep that it starts with."""

    name: str
    runs: bool
    why: str
    start: int = 0

    def shown(self) -> dict[str, Any]:
        return {"macrostep": self.name, "runs": self.runs, "why": self.why}


def digest(*parts: object) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def first_key(epoch: int) -> str:
    """The key of an appliance that is empty yet."""
    return digest(FORMAT, epoch)


def content(microstep: Microstep) -> list:
    """What a microstep does; where it stands does not matter."""
    return [microstep.name, [[command.name, *command.arguments] for command in microstep.commands]]


def microstep_keys(key: str, macrostep: Macrostep, start: int = 0) -> list[str]:
    """The keys of the state after each microstep from start, which begins in the state of that key."""
    keys = []
    if start == 0:
        key = digest(key, macrostep.name)
    for microstep in macrostep.microsteps[start:]:
        key = digest(key, content(microstep))
        keys.append(key)
    return keys


def all_keys(resolved: Resolved, epoch: int) -> list[list[str]]:
    """For each macrostep of the recipe the keys of its microsteps; the last one is its own."""
    keys, key = [], first_key(epoch)
    for macrostep in resolved.macrosteps:
        keys.append(microstep_keys(key, macrostep))
        key = keys[-1][-1]
    return keys


def own_hash(macrostep: Macrostep) -> str:
    """What the macrostep is by itself, to tell a changed one from one that follows a change."""
    return digest(macrostep.name, [content(microstep) for microstep in macrostep.microsteps])


def plan(resolved: Resolved, keys: Sequence[Sequence[str]], exists: Callable[[str], bool], memory: Any) -> list[Planned]:
    """Which macrosteps run and why.

    exists(key) says whether there is a checkpoint. memory: what earlier builds left, {"built": {macrostep: own hash},
    "stopped": key of the macrostep in which the last build came to its end too early, or none}.
    """
    planned, cause = [], None
    for macrostep, own in zip(resolved.macrosteps, keys):
        name, built = macrostep.name, memory["built"].get(macrostep.name)
        if cause is None and exists(own[-1]):
            planned.append(Planned(name, False, CHECKPOINT))
            continue
        start = 0
        if cause is None:
            start = next((number for number in range(len(own) - 1, 0, -1) if exists(own[number - 1])), 0)
        if own[-1] == memory["stopped"]:
            why = RESUMED
        elif built is None:
            why = NEVER_BUILT
        elif built != own_hash(macrostep):
            why = CHANGED
        else:
            why = f"follows {cause}" if cause else LOST
        planned.append(Planned(name, True, why, start))
        cause = cause or name
    return planned


def between(planned: Iterable[Planned], start: tuple[int, int] | None, stop: tuple[int, int]) -> list[Planned]:
    """What of a plan is left between where a build is told to start, if it is, and where it stops."""
    left = []
    for number, step in enumerate(planned):
        if start and number < start[0]:
            step = Planned(step.name, False, "before start_at")
        elif (number, 0) >= stop:
            step = Planned(step.name, False, "after break_at")
        elif start:
            step = Planned(step.name, True, "start_at", start[1] if number == start[0] else 0)
        elif number == stop[0]:
            step = Planned(step.name, True, "up to break_at", step.start)
        left.append(step)
    return left


def position(resolved: Resolved, text: str, option: str) -> tuple[int, int]:
    """(macrostep's number, microstep's number) of macro or macro/micro."""
    macro, slash, micro = text.partition("/")
    macros = [macrostep.name for macrostep in resolved.macrosteps]
    if macro not in macros:
        raise RecipeError(f"{option}: {resolved.name} has no macrostep {macro}. Macrosteps: {', '.join(macros)}")
    number = macros.index(macro)
    if not slash:
        return number, 0
    micros = [microstep.name for microstep in resolved.macrosteps[number].microsteps]
    if micro not in micros:
        raise RecipeError(f"{option}: the macrostep {macro} of {resolved.name} has no microstep {micro}. Microsteps: {', '.join(micros)}")
    return number, micros.index(micro)


def shown(resolved: Resolved, place: tuple[int, int]) -> str:
    """A position as people write it."""
    macrostep = resolved.macrosteps[place[0]]
    return f"{macrostep.name}/{macrostep.microsteps[place[1]].name}"
