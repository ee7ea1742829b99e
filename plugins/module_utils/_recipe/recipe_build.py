# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Builds an appliance from a recipe: macrostep after macrostep, each on top of the last one's checkpoint, then the output."""
from __future__ import annotations

import errno
import os
import shutil
import signal
import threading
from typing import IO

from ansible_collections.our.cloud.plugins.module_utils._recipe import recipe_log as log
from ansible_collections.our.cloud.plugins.module_utils._recipe import recipe_output as output
from ansible_collections.our.cloud.plugins.module_utils._recipe import recipe_plan as planning
from ansible_collections.our.cloud.plugins.module_utils._recipe.recipe import RecipeError
from ansible_collections.our.cloud.plugins.module_utils._recipe.recipe_files import DataDirectory
from ansible_collections.our.cloud.plugins.module_utils._recipe.recipe_job import Job, Options, workdir
from ansible_collections.our.cloud.plugins.module_utils._recipe.recipe_load import load
from ansible_collections.our.cloud.plugins.module_utils._recipe.recipe_macrosteps import Bench, Macrosteps
from ansible_collections.our.cloud.plugins.module_utils._recipe.recipe_place import Place
from ansible_collections.our.cloud.plugins.module_utils._recipe.recipe_sandbox import PATH, Sandbox
from ansible_collections.our.cloud.plugins.module_utils._recipe.recipe_script import LIBRARY
from ansible_collections.our.cloud.plugins.module_utils._recipe.recipe_state import State
from ansible_collections.our.cloud.plugins.module_utils._recipe.recipe_workdir import EMPTY, LIVE, Lock, remove, write


class Interrupted(BaseException):
    """A signal has asked the build to end; its argument is the signal's name."""


class Signals:
    """Turns SIGTERM, SIGHUP and SIGINT into Interrupted, so that the build can clean up."""

    def __init__(self) -> None:
        self.before: dict = {}

    def __enter__(self) -> None:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
                self.before[number] = signal.signal(number, self.interrupt)

    def interrupt(self, number: int, dummy: object) -> None:
        for other in self.before:
            signal.signal(other, signal.SIG_IGN)
        raise Interrupted(signal.Signals(number).name)

    def __exit__(self, *dummy) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)


class Build:
    """One build."""

    def __init__(self, job: Job) -> None:
        self.job, self.paths = job, job.paths
        self.sandbox = Sandbox(self.paths)
        self.paths.refuse_foreign()
        self.state = State(job)

    def run(self) -> dict:
        """Build, and return the result. However it ends, no process and no mount is left."""
        with Signals():
            try:
                with Lock(self.paths, waits=bool(self.job.options.output_base)) as lock:
                    # another build may have changed things while this one waited for the lock
                    self.state = State(self.job)
                    if self.state.is_kept():
                        return self.state.expected()
                    self.paths.make()
                    self.sandbox.prepare()
                    preflight(self.job, self.state.planned, self.sandbox)
                    self.clean_up()
                    return self.logged(lock)
            except Interrupted as exc:
                raise RecipeError(f"the build of {self.job.name} was ended by {exc}. The next one resumes where it was") from exc

    def clean_up(self) -> None:
        """Remove the remains of a build that was killed."""
        live = self.state.place.live
        left = [name for name in os.listdir(self.paths.layers)
                if name.endswith(".partial") or name in ("work", "probe") or name == LIVE and not live]
        doomed = [self.paths.layer(name) for name in left] + [os.path.join(self.paths.tmp, name) for name in os.listdir(self.paths.tmp)]
        if os.path.isdir(self.paths.output + ".partial"):
            doomed.append(self.paths.output + ".partial")
        if doomed:
            self.sandbox.remove(*doomed)
        if not live:
            remove(self.paths.by_hand)
            self.state.memory.update(live=None)

    def logged(self, lock: IO) -> dict:
        """Open the log, write the shell library, and build."""
        write(self.paths.library, LIBRARY)
        with log.Log(self.job) as file:
            try:
                return self.build(Bench(self.job, self.state, self.sandbox, file, lock))
            except Interrupted:
                self.sandbox.remove(self.paths.layer(LIVE))
                raise

    def build(self, bench: Bench) -> dict:
        """Build from the starting place to the end or to the breakpoint."""
        job, place, macrosteps = self.job, self.state.place, Macrosteps(bench)
        began = place.at
        bench.log.tell(f"log {self.paths.log}")
        self.state.memory.update(chain=place.chain)
        while place.at < job.stop_at:
            place = macrosteps.run(place)
        changed = place.at != began
        if job.stop_at != job.end:
            macrosteps.keep(place, clean=True)
            return self.state.result(changed=changed, stopped_at=planning.shown(job.resolved, place.at), shell=self.paths.shell)
        if not self.state.has_output(place.key):
            self.make_output(bench, place)
            changed = True
        if job.options.output_base:
            self.sandbox.remove(self.paths.workdir)
        else:
            self.collect_garbage(place)
        return self.state.finished(changed, place.key)

    def make_output(self, bench: Bench, place: Place) -> None:
        """Make the output. It appears complete, in one rename, or not at all."""
        job, paths = self.job, self.paths
        bench.log.tell(f"output {job.output_type}")
        partial = paths.output + ".partial"
        os.mkdir(partial)
        program = os.path.join(paths.state, "output.sh")
        write(program, output.script(job.output_type))
        status, dummy = bench.in_room(["bash", program, partial], output.variables(job.name, place.key, job.epoch, job.resolved), place, writes=False)
        if status:
            tail = bench.log.tail()
            raise RecipeError(f"{job.name}: the output of type {job.output_type} cannot be made. Last lines of {paths.log}:\n{tail}\n"
                              f"{log.space(job, tail, log.free(job)).lstrip()}")
        output.finish(job.output_type, job.name, partial, job.epoch, paths.tmp)
        if job.kept(place.key):
            os.rename(paths.log, os.path.join(partial, os.path.basename(paths.log)))
            os.rename(partial, job.kept(place.key))
        else:
            shutil.rmtree(paths.output, ignore_errors=True)
            os.rename(partial, paths.output)
            self.state.memory.update(output={"key": job.output_key(place.key), "files": job.files(place.key)})

    def collect_garbage(self, place: Place) -> None:
        """Remove the checkpoints that neither this state nor this recipe uses."""
        kept = {EMPTY, *place.layers, *(key for keys in self.job.keys for key in keys)}
        doomed = [self.paths.layer(name) for name in os.listdir(self.paths.layers) if name.partition(".")[0] not in kept]
        if doomed:
            self.sandbox.remove(*doomed)


def preflight(job: Job, planned: list[planning.Planned], sandbox: Sandbox) -> None:
    """Check now what would otherwise make the build fail late: missing programs, too many layers."""
    packages = output.missing_programs(job.output_type)
    if packages:
        raise RecipeError(f"an appliance of type {job.output_type} needs programs that this computer lacks. Remedy: apt-get install {' '.join(packages)}")
    most = sandbox.most_layers(job.last_key)
    if most and len(job.macrosteps) > most:
        raise RecipeError(f"{job.name} has {len(job.macrosteps)} macrosteps, and no more than {most} layers go over each other here."
                          " Remedy: put several of them into one")
    for macrostep, step in zip(job.macrosteps, planned):
        for microstep in macrostep.microsteps if step.runs else ():
            for command in microstep.commands:
                missing = command.name == "check_cmd" and [name for name in command.arguments[0].split() if shutil.which(name, path=PATH) is None]
                if missing:
                    raise command.where.error(f"macrostep {macrostep.name}, microstep {microstep.name}: this computer has no command {missing[0]}."
                                              " Remedy: install the package that has it")


def ensure(params: dict, check_mode: bool, diff_mode: bool) -> dict:
    """Do what the module appliance is asked for, and return its result."""
    options = Options.of(params)
    try:
        if params["state"] == "absent":
            return {"changed": remove_build(options, check_mode), "recipe": options.recipe}
        build = Build(Job(options))
        if params["dry_run"]:
            return build.state.result(changed=False, scripts=build.job.scripts())
        differences = {"diff": build.state.differences()} if diff_mode else {}
        return {**(build.state.expected() if check_mode or build.state.is_kept() else build.run()), **differences}
    except OSError as exc:
        space = "" if exc.errno != errno.ENOSPC else f". Remedy: free some space, or choose another {options.base_option}"
        raise RecipeError(f"{exc.filename or 'the build'}: {exc.strerror}{space}") from exc


def remove_build(options: Options, check_mode: bool) -> bool:
    """Remove the working directory of an appliance and its output. Returns whether there was anything to remove."""
    paths = workdir(options, load(DataDirectory(options.data_dir), options.recipe, options.variables))
    paths.refuse_foreign()
    doomed = [paths.workdir]
    if options.output_base:
        job = Job(options)
        kept = job.kept(job.last_key)
        if os.path.isfile(os.path.join(kept, os.path.basename(paths.log))):
            doomed.append(kept)
    there = any(os.path.isdir(path) for path in doomed)
    if there and not check_mode:
        with Lock(paths):
            paths.make()
            Sandbox(paths).remove(*doomed)
    return there
