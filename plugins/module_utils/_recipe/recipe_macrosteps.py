# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs macrosteps in the sandbox. A finished macrostep becomes a checkpoint; a build stops in one that fails or has the breakpoint."""
from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import IO

from ansible_collections.our.cloud.plugins.module_utils._recipe import recipe_log as log
from ansible_collections.our.cloud.plugins.module_utils._recipe import recipe_plan as planning
from ansible_collections.our.cloud.plugins.module_utils._recipe.recipe import Macrostep, RecipeError
from ansible_collections.our.cloud.plugins.module_utils._recipe.recipe_job import Job, names_of
from ansible_collections.our.cloud.plugins.module_utils._recipe.recipe_place import Place
from ansible_collections.our.cloud.plugins.module_utils._recipe.recipe_sandbox import Sandbox
from ansible_collections.our.cloud.plugins.module_utils._recipe.recipe_state import State
from ansible_collections.our.cloud.plugins.module_utils._recipe.recipe_workdir import LIVE, read, remove, write

FINISHED = b"finished\0"  # the report of a script that has run to its end


@dataclass(frozen=True)
class Bench:
    """The objects that the parts of a running build share."""

    job: Job
    state: State
    sandbox: Sandbox
    log: log.Log
    lock: IO  # held as long as anything of the build lives

    def in_room(self, argv: list[str], variables: dict[str, str], place: Place, writes: bool = True) -> tuple[int, bytes]:
        """Run a command in the appliance at a place. Returns its status and its report. writes: changes go to the layer LIVE;
        without it the appliance is read-only."""
        environment = self.sandbox.environment(place.layers, LIVE if writes else "", place.start, variables)
        return self.sandbox.run(argv, environment, self.log.file, (self.lock,))


class Macrosteps:
    """Runs macrosteps one by one."""

    def __init__(self, bench: Bench) -> None:
        self.bench, self.job, self.state, self.sandbox, self.paths = bench, bench.job, bench.state, bench.sandbox, bench.job.paths
        self.memory = bench.state.memory
        self.program = os.path.join(self.paths.state, "macrostep.sh")
        self.variables = os.path.join(self.paths.state, "variables")  # of the shell, handed from macrostep to macrostep
        self.where_it_is = os.path.join(self.paths.state, "place")

    def run(self, place: Place) -> Place:
        """Run the macrostep at a place. Returns the place reached: after the macrostep, or at the breakpoint. RecipeError if it fails."""
        macrostep = self.job.macrosteps[place.macro]
        stop = self.job.stop_at[1] if place.macro == self.job.stop_at[0] else len(macrostep.microsteps)
        keys = planning.microstep_keys(place.key, macrostep, place.micro) or [place.key]
        write(self.program, self.job.script(place.macro, keys, place.micro, stop))
        self.memory.update(stopped=keys[-1])
        self.bench.log.tell(f"macrostep {place.macro + 1}/{len(self.job.macrosteps)} {macrostep.name}")
        failure = self.attempt(place, macrostep)
        if failure and self.job.options.on_error == "retry" and not place.live:
            self.bench.log.say(f"{failure}\nonce more")
            self.sandbox.remove(self.paths.layer(LIVE))
            failure = self.attempt(place, macrostep)
        if failure:
            raise self.left_behind(place, macrostep, failure)
        if stop < len(macrostep.microsteps):
            return replace(place, micro=stop, key=keys[stop - place.micro - 1], live=True, start="")
        return self.commit(replace(place, key=keys[-1], live=True, start=""), macrostep)

    def attempt(self, place: Place, macrostep: Macrostep) -> RecipeError | None:
        """Run the macrostep's program once. Returns the error if it failed, else None."""
        remove(self.where_it_is)
        if not place.live:
            source = place.start or place.below
            write(self.variables, read(self.paths.variables(source)) if source else "")
        status, told = self.bench.in_room(["bash", self.program], self.environment(macrostep), place)
        if status == 0 and told == FINISHED:
            return None
        ending = log.Ending(status, told, read(self.where_it_is), self.bench.log.tail(), log.free(self.job), self.stays(place))
        return log.failure(self.job, macrostep, ending)

    def environment(self, macrostep: Macrostep) -> dict[str, str]:
        return {
            "RECIPE_MACROSTEP": macrostep.name, "RECIPE_CURRENT": self.job.options.directory or os.getcwd(),
            "RECIPE_PROGRESS": self.bench.log.progress, "SOURCE_DATE_EPOCH": str(self.job.epoch),
        }

    def stays(self, place: Place) -> bool:
        """Whether the state is kept after a failure: with on_error=keep, or when the build went on in a kept state."""
        return self.job.options.on_error == "keep" or place.live

    def left_behind(self, place: Place, macrostep: Macrostep, failure: RecipeError) -> RecipeError:
        """Keep or remove the state after a failure. Returns the error to raise."""
        if not self.stays(place):
            self.sandbox.remove(self.paths.layer(LIVE))
            return failure
        micro = names_of(macrostep.microsteps).index(failure.details["failed_at"]["microstep"])
        try:
            self.keep(replace(place, micro=micro), clean=False)
        except OSError as exc:
            return RecipeError(f"{failure} It could not be kept: {exc.strerror}", failure.details)
        return failure

    def keep(self, place: Place, clean: bool) -> None:
        """Keep the working directory as it is, for inspection and for start_at."""
        macrostep, microstep = planning.shown(self.job.resolved, place.at).split("/")
        self.memory.update(live={"macrostep": macrostep, "microstep": microstep, "key": place.key, "clean": clean})
        self.sandbox.write_shell(place.layers, LIVE)

    def commit(self, place: Place, macrostep: Macrostep) -> Place:
        """Turn the layer LIVE into the checkpoint of a macrostep. Returns the place after it."""
        if self.state.has_layer(place.key):
            self.sandbox.remove(self.paths.layer(place.key))
        write(self.paths.variables(place.key), read(self.variables))
        write(self.paths.script(macrostep.name), self.job.whole_script(place.macro))
        os.rename(self.paths.layer(LIVE), self.paths.layer(place.key))
        if self.job.options.output_base and self.sandbox.snapshots == "copies" and place.chain:
            # a copy has all of the one before it, and what is built here is built once
            self.sandbox.remove(self.paths.layer(place.below))
        chain = (*place.chain, (macrostep.name, place.key))
        remove(self.paths.by_hand)
        self.memory.update(chain=chain, live=None, stopped=None, built={**self.memory["built"], macrostep.name: planning.own_hash(macrostep)})
        return Place(place.macro + 1, 0, place.key, chain)
