# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Builds an appliance from a recipe: macrostep after macrostep, each on top of the last one's checkpoint, then the output."""
from __future__ import annotations

import datetime
import errno
import os
import re
import shutil
import signal
import threading
import time
import uuid
from dataclasses import dataclass

from ansible_collections.our.cloud.plugins.module_utils._recipe import recipe_output as output
from ansible_collections.our.cloud.plugins.module_utils._recipe import recipe_plan as planning
from ansible_collections.our.cloud.plugins.module_utils._recipe.recipe import DataDirectory, RecipeError, load, resolve
from ansible_collections.our.cloud.plugins.module_utils._recipe.recipe_room import PATH, Room
from ansible_collections.our.cloud.plugins.module_utils._recipe.recipe_script import LIBRARY, check_syntax, script
from ansible_collections.our.cloud.plugins.module_utils._recipe.recipe_workdir import EMPTY, LIVE, Lock, Memory, Workdir, default_base, read, remove, write

# The date of what is built when its recipe names none: one that does not change. Debian 13's release.
EPOCH = 1754697600
# Below output_base, the working directories.
BUILDS = ".builds"
TAIL = 15
LOG_END = 256 << 10  # bytes in which these lines are
FINISHED = b"finished\0"  # what a script tells at its end
FULL = 4  # MiB: with less, whatever fails may have failed for that
# The kernel's words, and apt's.
NO_SPACE = re.compile("No space left on device|enough free space")
READ_ONLY = " exec_appliance may write below the working directory alone: the appliance's /etc is ./etc there"


class Interrupted(BaseException):
    """Somebody wants the build to end."""


class Signals:
    """Signals that would end the process end the build in order."""

    def __init__(self):
        self.before = {}

    def __enter__(self):
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
                self.before[number] = signal.signal(number, self.interrupt)

    def interrupt(self, number, dummy):
        for other in self.before:
            signal.signal(other, signal.SIG_IGN)
        raise Interrupted(signal.Signals(number).name)

    def __exit__(self, *dummy):
        for number, handler in self.before.items():
            signal.signal(number, handler)


@dataclass
class Place:
    """Where a build is: the numbers of macrostep and microstep, the key of the state, the layers that are below it."""

    macro: int
    micro: int
    key: str
    chain: list
    start: str = ""  # the checkpoint of a microstep to go on from
    live: bool = False  # go on in what the last build left

    @property
    def at(self):
        return self.macro, self.micro


class Build:
    """One build. params: what the module takes; see its documentation."""

    def __init__(self, params):
        self.params = params
        self.data = DataDirectory(params["data_dir"])
        recipe = load(self.data, params["recipe"], params["variables"])
        self.paths = workdir(params, recipe)
        self.resolved = resolve(self.data, recipe, self.paths.workdir)
        self.kind = recipe.text("type")
        self.epoch = read_date(self.resolved)
        output.check_size(self.resolved)
        check_syntax(self.resolved.macrosteps)
        self.keys = planning.all_keys(self.resolved, self.epoch)
        self.end = len(self.resolved.macrosteps), 0
        self.stop_at = self.position("break_at") or self.end
        self.start_at = self.position("start_at")
        self.room = Room(self.paths)
        self.progress = params["progress"] or os.path.join(self.paths.state, "progress")
        self.log = None
        self.where_it_is = os.path.join(self.paths.state, "place")
        self.paths.refuse_foreign()
        self.look()

    def position(self, option):
        return planning.position(self.resolved, self.params[option], option) if self.params[option] else None

    def look(self):
        """See what is there already."""
        self.memory = Memory(self.paths.memory)
        if self.is_kept():
            self.planned = [planning.Planned(macrostep.name, False, planning.KEPT) for macrostep in self.resolved.macrosteps]
            return
        planned = planning.plan(self.resolved, self.keys, self.has_layer, self.memory)
        self.planned = planning.between(planned, self.start_at, self.stop_at)
        self.place = self.place_told() if self.start_at else self.place_found()

    # What would be done

    def has_layer(self, key):
        return os.path.isdir(self.paths.layer(key))

    def output_key(self, key):
        return planning.digest(output.FORMAT, key, self.kind, sorted(output.variables("", "", 0, self.resolved).items()))

    def kept(self, key):
        """Where an output is kept for good, if it is to be."""
        base = self.params["output_base"]
        return base and os.path.join(os.path.realpath(base), f"{self.resolved.name}-{self.output_key(key)}")

    def is_kept(self):
        """Whether there is nothing to do but to say where the output is."""
        return bool(self.params["output_base"]) and not self.start_at and self.stop_at == self.end and self.has_output(self.keys[-1][-1])

    def files(self, key):
        return {what: os.path.join(self.kept(key) or self.paths.output, file) for what, file in output.files(self.kind, self.resolved.name).items()}

    def has_output(self, key):
        if self.kept(key):
            return os.path.isdir(self.kept(key))
        made = self.memory["output"]
        return bool(made) and made["key"] == self.output_key(key) and all(os.path.isfile(path) for path in made["files"].values())

    def would_change(self):
        return any(planned.runs for planned in self.planned) or self.stop_at == self.end and not self.has_output(self.keys[-1][-1])

    def scripts(self):
        """[{macrostep, script}] of all macrosteps, whole."""
        return [{"macrostep": macrostep.name, "script": self.script(number, self.keys[number])} for number, macrostep in enumerate(self.resolved.macrosteps)]

    def script(self, number, keys, start=0, stop=None):
        """keys: of the microsteps from start on."""
        macrostep = self.resolved.macrosteps[number]
        names = names_of(macrostep.microsteps)
        checkpoints = dict(zip(names[start:-1], keys)) if self.params["checkpoints"] == "microstep" else {}
        return script(self.resolved.name, macrostep, start, stop, checkpoints)

    def differences(self):
        """[{before, after, ...}] of the scripts that would run and are not what ran last."""
        found = []
        for step, planned in zip(self.scripts(), self.planned):
            name, before = step["macrostep"], read(self.paths.script(step["macrostep"]))
            if planned.runs and before != step["script"]:
                found.append({"before": before, "after": step["script"], "before_header": name, "after_header": name})
        return found

    def result(self, **more):
        return {
            "recipe": self.resolved.name, "variables": self.resolved.variables, "workdir": self.paths.workdir, "log": self.paths.log,
            "key": self.keys[-1][-1], "plan": [planned.shown() for planned in self.planned], **more,
        }

    def finished(self, changed, key):
        """The result of a build that has come to its end."""
        log = {"log": os.path.join(self.kept(key), os.path.basename(self.paths.log))} if self.kept(key) else {}
        return self.result(changed=changed, files=self.files(key), key=key, **log)

    def expected(self):
        """The result of a check, or of a build that has nothing to do. Where an output will be kept is known before it is there."""
        changed = self.would_change()
        return self.finished(changed, self.keys[-1][-1]) if self.params["output_base"] else self.result(changed=changed)

    # Where it begins

    def place_found(self):
        """After the last checkpoint before the breakpoint."""
        number = next((number for number, planned in enumerate(self.planned) if planned.runs), self.stop_at[0])
        chain = [[planned.name, keys[-1]] for planned, keys in zip(self.planned[:number], self.keys)]
        place = Place(number, 0, chain[-1][1] if chain else planning.first_key(self.epoch), chain)
        if number < len(self.planned) and (number, self.planned[number].start) <= self.stop_at and self.planned[number].start:
            place.micro = self.planned[number].start
            place.key = place.start = self.keys[number][place.micro - 1]
        return place

    def left(self):
        """Where the last build left a macrostep half done, as a place; none if it did not."""
        live, chain = self.memory["live"], self.memory["chain"]
        number = len(chain)
        if not live or not self.has_layer(LIVE) or number == self.end[0] or live["macrostep"] != self.resolved.macrosteps[number].name:
            return None
        names = names_of(self.resolved.macrosteps[number].microsteps)
        clean = live["clean"] and live["microstep"] in names and not os.path.exists(self.paths.by_hand)
        return Place(number, names.index(live["microstep"]) if clean else 0, live["key"] if clean else "", chain, live=True)

    def place_told(self):
        """Where start_at says, in the state that the last build left. A state that the recipe alone would not give gets a key that no
        other build has, so that nothing made from it is taken for the recipe's."""
        macro, micro = self.start_at
        wanted = planning.shown(self.resolved, self.start_at)
        if self.start_at > self.stop_at:
            raise RecipeError(f"break_at is before start_at={wanted}")
        names, chain, left = names_of(self.resolved.macrosteps), self.memory["chain"], self.left()
        expected = self.keys[macro][micro - 1] if micro else self.keys[macro - 1][-1] if macro else planning.first_key(self.epoch)
        if left and left.macro == macro and (micro or left.micro == 0):
            place = Place(macro, micro, left.key if left.micro == micro else "", chain, live=True)
        elif left and left.macro == macro - 1 and not micro:
            # what is half done is to count as done
            place = Place(left.macro, len(self.keys[left.macro]), "", chain, live=True)
        elif len(chain) >= macro and micro and self.has_layer(expected):
            place = Place(macro, micro, expected, chain[:macro], start=expected)
        elif micro:
            raise RecipeError(f"start_at: the working directory {self.paths.workdir} was not left in {names[macro]}."
                              f" Remedy: build with break_at={wanted} or on_error=keep first, or start at {names[macro]}")
        else:
            place = Place(macro, 0, chain[macro - 1][1] if 0 < macro <= len(chain) else expected, chain[:macro])
        if [name for name, dummy in place.chain] != names[:place.macro] or not all(self.has_layer(key) for dummy, key in place.chain):
            raise RecipeError(f"start_at: the working directory {self.paths.workdir} has no state before {wanted}. Remedy: build with break_at={wanted} first")
        if place.key != expected:
            place.key = planning.digest("by hand", uuid.uuid4().hex)
        return place

    # Doing it

    def run(self):
        """Build; the result. Whoever stops it, nothing stays running or mounted."""
        with Signals():
            try:
                with Lock(self.paths, waits=bool(self.params["output_base"])) as lock:
                    self.look()
                    if self.is_kept():
                        return self.expected()
                    self.paths.make()
                    self.room.prepare()
                    self.preflight()
                    self.clean_up()
                    return self.logged(lock)
            except Interrupted as exc:
                raise RecipeError(f"the build of {self.resolved.name} was ended by {exc}. The next one resumes where it was") from exc

    def logged(self, lock):
        """Build with a log and with what the room needs."""
        write(self.paths.library, LIBRARY)
        with open(self.paths.log, "w", encoding="utf-8") as self.log:
            try:
                return self.build(lock)
            except Interrupted:
                self.room.remove(self.paths.layer(LIVE))
                raise

    def preflight(self):
        """Refuse after a second what would fail after an hour."""
        packages = output.missing_programs(self.kind)
        if packages:
            raise RecipeError(f"an appliance of type {self.kind} needs programs that this computer lacks. Remedy: apt-get install {' '.join(packages)}")
        most = self.room.most_layers(self.keys[0][0])
        if most and len(self.resolved.macrosteps) > most:
            raise RecipeError(f"{self.resolved.name} has {len(self.resolved.macrosteps)} macrosteps, and no more than {most} layers go over each other here."
                              " Remedy: put several of them into one")
        for macrostep, planned in zip(self.resolved.macrosteps, self.planned):
            for microstep in macrostep.microsteps if planned.runs else ():
                for command in microstep.commands:
                    missing = command.kind == "check_cmd" and [name for name in command.arguments[0].split() if shutil.which(name, path=PATH) is None]
                    if missing:
                        raise command.where.error(f"macrostep {macrostep.name}, microstep {microstep.name}: this computer has no command {missing[0]}."
                                                  " Remedy: install the package that has it")

    def clean_up(self):
        """Remove what a build that was killed has left."""
        left = [name for name in os.listdir(self.paths.layers)
                if name.endswith(".partial") or name in ("work", "probe") or name == LIVE and not self.place.live]
        doomed = [self.paths.layer(name) for name in left] + [os.path.join(self.paths.tmp, name) for name in os.listdir(self.paths.tmp)]
        if os.path.isdir(self.paths.output + ".partial"):
            doomed.append(self.paths.output + ".partial")
        if doomed:
            self.room.remove(*doomed)
        if not self.place.live:
            remove(self.paths.by_hand)
            self.memory.update(live=None)

    def build(self, lock):
        """From the place where it begins to the end, or the breakpoint."""
        place, began = self.place, self.place.at
        self.tell(f"log {self.paths.log}")
        self.memory.update(chain=place.chain)
        while place.at < self.stop_at:
            self.run_macrostep(place, lock)
        changed = place.at != began
        if self.stop_at != self.end:
            self.keep(place, clean=True)
            return self.result(changed=changed, stopped_at=planning.shown(self.resolved, place.at), shell=self.paths.shell)
        changed |= self.make_output(place, lock)
        if self.params["output_base"]:
            self.room.remove(self.paths.workdir)
        else:
            self.collect_garbage(place.chain)
        return self.finished(changed, place.key)

    def run_macrostep(self, place, lock):
        """Run a macrostep from a place on, up to its end or the breakpoint; the place is then there."""
        macrostep = self.resolved.macrosteps[place.macro]
        stop = self.stop_at[1] if place.macro == self.stop_at[0] else len(macrostep.microsteps)
        keys = planning.microstep_keys(place.key, macrostep, place.micro) or [place.key]
        program = os.path.join(self.paths.state, "macrostep.sh")
        write(program, self.script(place.macro, keys, place.micro, stop))
        self.memory.update(stopped=keys[-1])
        self.tell(f"macrostep {place.macro + 1}/{len(self.planned)} {macrostep.name}")
        resumed = place.live
        tries = 2 if self.params["on_error"] == "retry" and not resumed else 1
        while True:
            remove(self.where_it_is)
            self.set_variables(place)
            status, told = self.in_room(["bash", program], self.environment(macrostep), place, lock)
            tries -= 1
            if status == 0 and told == FINISHED:
                break
            failure = self.failure(macrostep, status, told, resumed)
            if tries:
                self.say(f"{failure.args[0]}\nonce more")
                self.room.remove(self.paths.layer(LIVE))
                continue
            if self.params["on_error"] == "keep" or resumed:
                place.micro = names_of(macrostep.microsteps).index(failure.details["failed_at"]["microstep"])
                try:
                    self.keep(place, clean=False)
                except OSError as exc:
                    failure = RecipeError(f"{failure} It could not be kept: {exc.strerror}", failure.details)
            else:
                self.room.remove(self.paths.layer(LIVE))
            raise failure
        place.live, place.start = True, ""
        if stop < len(macrostep.microsteps):
            place.micro, place.key = stop, keys[stop - place.micro - 1]
        else:
            place.key = keys[-1]
            self.commit(place, macrostep)

    def environment(self, macrostep):
        return {
            "RECIPE_MACROSTEP": macrostep.name, "RECIPE_CURRENT": self.params["directory"] or os.getcwd(), "RECIPE_PROGRESS": self.progress,
            "SOURCE_DATE_EPOCH": str(self.epoch),
        }

    def set_variables(self, place):
        """The variables that the last macrostep left, or what a place has of its own."""
        if not place.live:
            source = place.start or (place.chain[-1][1] if place.chain else "")
            write(os.path.join(self.paths.state, "variables"), read(self.paths.variables(source)) if source else "")

    def in_room(self, argv, variables, place, lock, writes=True):
        environment = self.room.environment([key for dummy, key in place.chain], LIVE if writes else "", place.start, variables)
        return self.room.run(argv, environment, self.log, (lock,))

    def commit(self, place, macrostep):
        """Make what has been written the checkpoint of a macrostep."""
        if self.has_layer(place.key):
            self.room.remove(self.paths.layer(place.key))
        write(self.paths.variables(place.key), read(os.path.join(self.paths.state, "variables")))
        write(self.paths.script(macrostep.name), self.script(place.macro, self.keys[place.macro]))
        os.rename(self.paths.layer(LIVE), self.paths.layer(place.key))
        if self.params["output_base"] and self.room.snapshots == "copies" and place.chain:
            # a copy has all of the one before it, and what is built here is built once
            self.room.remove(self.paths.layer(place.chain[-1][1]))
        place.chain.append([macrostep.name, place.key])
        place.macro, place.micro, place.live = place.macro + 1, 0, False
        remove(self.paths.by_hand)
        self.memory.update(chain=place.chain, live=None, stopped=None, built={**self.memory["built"], macrostep.name: planning.own_hash(macrostep)})

    def keep(self, place, clean):
        """Leave the working directory as it is, for people to look at and for start_at."""
        macrostep, microstep = planning.shown(self.resolved, place.at).split("/")
        self.memory.update(live={"macrostep": macrostep, "microstep": microstep, "key": place.key, "clean": clean})
        self.room.write_shell([key for dummy, key in place.chain], LIVE)

    def failure(self, macrostep, status, told, resumed):
        """What went wrong, as the script's trap has told. resumed: in a state that was kept, and is again."""
        told = told.decode(errors="replace").split("\0")
        names = names_of(macrostep.microsteps)
        known = read(self.where_it_is).split("\0")
        if len(told) < 5 and len(known) > 3 and known[0] in names:
            microstep, kind, where = known[:3]
            said = f"{kind} ({os.path.join(self.data.path, where)}) ended the macrostep's script with status {status}, and nothing behind it ran"
            if status < 128:
                said += ". Remedy: put exec and a trap for EXIT in parentheses, and they are the command's own"
        elif len(told) < 5 or told[1] not in names:
            microstep, said = names[0], f"its script ended with status {status} before anything ran"
        else:
            status, microstep, kind, where, command = told[:5]
            said = f"{kind} ({os.path.join(self.data.path, where)}) failed with status {status}" + (f": {command.strip()}" if command.strip() else "")
        if resumed or self.params["on_error"] == "keep":
            then = f"It is as it was left. {self.paths.shell} opens a shell in it, start_at={macrostep.name}/{microstep} goes on"
        else:
            then = f"The next build resumes with {macrostep.name}"
        tail = self.tail()
        following = [f"{macrostep.name}/{name}" for name in names[names.index(microstep) + 1:]]
        following += [other.name for other in self.resolved.macrosteps[self.resolved.macrosteps.index(macrostep) + 1:]]
        return RecipeError(
            f"{self.resolved.name}: macrostep {macrostep.name}, microstep {microstep}: {said}. Last lines of {self.paths.log}:\n{tail}\n{then}."
            + self.space(tail) + (READ_ONLY if "Read-only file system" in tail else ""), {
                "failed_at": {"macrostep": macrostep.name, "microstep": microstep, "next": following[0] if following else None},
                "recipe": self.resolved.name, "workdir": self.paths.workdir, "log": self.paths.log, "shell": self.paths.shell})

    def make_output(self, place, lock):
        """Make the output unless it is there. Whether it was made now."""
        if self.has_output(place.key):
            return False
        self.tell(f"output {self.kind}")
        partial, name = self.paths.output + ".partial", self.resolved.name
        os.mkdir(partial)
        program = os.path.join(self.paths.state, "output.sh")
        write(program, output.script(self.kind))
        status, dummy = self.in_room(["bash", program, partial], output.variables(name, place.key, self.epoch, self.resolved), place, lock, writes=False)
        if status:
            tail = self.tail()
            raise RecipeError(f"{name}: the output of type {self.kind} cannot be made. Last lines of {self.paths.log}:\n{tail}\n{self.space(tail).lstrip()}")
        output.finish(self.kind, name, partial, self.epoch, self.paths.tmp)
        if self.kept(place.key):
            os.rename(self.paths.log, os.path.join(partial, os.path.basename(self.paths.log)))
            os.rename(partial, self.kept(place.key))
        else:
            shutil.rmtree(self.paths.output, ignore_errors=True)
            os.rename(partial, self.paths.output)
            self.memory.update(output={"key": self.output_key(place.key), "files": self.files(place.key)})
        return True

    def collect_garbage(self, chain):
        """Remove the checkpoints that led to something else."""
        kept = {EMPTY, *(key for dummy, key in chain), *(key for keys in self.keys for key in keys)}
        doomed = [self.paths.layer(name) for name in os.listdir(self.paths.layers) if name.partition(".")[0] not in kept]
        if doomed:
            self.room.remove(*doomed)

    # What is said

    def say(self, text):
        self.log.write(text + "\n")
        self.log.flush()

    def tell(self, text):
        """A line of progress."""
        self.say(f"=== {text}")
        with open(self.progress, "a", encoding="utf-8") as file:
            file.write(f"{int(time.time())} {text}\n")

    def tail(self):
        """The last lines of what the last command said."""
        with open(self.paths.log, "rb") as file:
            file.seek(max(0, os.path.getsize(self.paths.log) - LOG_END))
            # of a line that was written over and over the last state counts, as on a terminal
            lines = [line.rstrip("\r").rpartition("\r")[2] for line in file.read().decode(errors="replace").rstrip("\n").split("\n")]
        begin = max((number for number, line in enumerate(lines) if line.startswith(("-- ", "=== "))), default=-1)
        return "\n".join(lines[begin + 1:][-TAIL:]) or "(nothing)"

    def space(self, tail):
        """What to say when the disk may be full. tail: the last lines of what has failed."""
        if not NO_SPACE.search(tail) and self.free() >= FULL:
            return ""
        return f" {self.paths.base} has {self.free()} MiB free. Remedy: free some space, or choose another {base_option(self.params)}"

    def free(self):
        """MiB that can be written to the working directory."""
        status = os.statvfs(self.paths.base)
        return status.f_bavail * status.f_frsize // 2**20


def ensure(params, check_mode, diff_mode):
    """What the module appliance does; its result."""
    params = located(params)
    try:
        if params["state"] == "absent":
            return {"changed": remove_build(params, check_mode), "recipe": params["recipe"]}
        build = Build(params)
        if params["dry_run"]:
            return build.result(changed=False, scripts=build.scripts())
        differences = {"diff": build.differences()} if diff_mode else {}
        return {**(build.expected() if check_mode or build.is_kept() else build.run()), **differences}
    except OSError as exc:
        space = "" if exc.errno != errno.ENOSPC else f". Remedy: free some space, or choose another {base_option(params)}"
        raise RecipeError(f"{exc.filename or 'the build'}: {exc.strerror}{space}") from exc


def remove_build(params, check_mode):
    """Remove what builds of an appliance have left, its output included. Whether there was anything."""
    recipe = load(DataDirectory(params["data_dir"]), params["recipe"], params["variables"])
    paths = workdir(params, recipe)
    paths.refuse_foreign()
    doomed = [paths.workdir]
    if params["output_base"]:
        build = Build(params)
        kept = build.kept(build.keys[-1][-1])
        if os.path.isfile(os.path.join(kept, os.path.basename(paths.log))):
            doomed.append(kept)
    there = any(os.path.isdir(path) for path in doomed)
    if there and not check_mode:
        with Lock(paths):
            paths.make()
            Room(paths).remove(*doomed)
    return there


def located(params):
    """The parameters with paths as whoever started the playbook means them, wherever the module runs."""
    paths = {name: in_directory(params, params[name]) for name in ("data_dir", "workdir_base", "output_base") if params[name]}
    return {**params, **paths}


def in_directory(params, path):
    return os.path.join(params["directory"] or os.getcwd(), os.path.expanduser(path))


def base_option(params):
    return "output_base" if params["output_base"] else "workdir_base"


def workdir(params, recipe):
    """Where a recipe is built. For what is kept for good that is a directory for these variables alone."""
    if params["output_base"]:
        values = sorted((name, variable.text) for name, variable in recipe.variables.items())
        return Workdir(os.path.join(params["output_base"], BUILDS), f"{recipe.name}-{planning.digest(values)}")
    return Workdir(params["workdir_base"] or in_directory(params, recipe.text("workdir_base", default_base())), recipe.name)


def names_of(steps):
    return [step.name for step in steps]


def read_date(resolved):
    """SOURCE_DATE_EPOCH of a recipe: its snapshot_date, in the form of snapshot.debian.org or as a day."""
    text = resolved.variables.get("snapshot_date", "")
    if not text:
        return EPOCH
    for form in ("%Y%m%dT%H%M%SZ", "%Y%m%d", "%Y-%m-%d", "%Y-%m-%dT%H:%M:%SZ"):
        try:
            return int(datetime.datetime.strptime(text, form).replace(tzinfo=datetime.timezone.utc).timestamp())
        except ValueError:
            pass
    raise resolved.where.error(f"global: snapshot_date is {text!r} and must be like 20260101T000000Z or 2026-01-01")
