# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A recipe with everything filled in: its macrosteps chosen, and each ``$$name`` replaced by what it stands for at that place."""
from __future__ import annotations

import os

from ansible_collections.our.cloud.plugins.module_utils._recipe.recipe import (
    FILE_COMMANDS, REFERENCE, SHELL_ACTIVE, SHELL_COMMANDS, SHELL_PLAIN,
    Command, Globals, Macrostep, Microstep, Recipe, Resolved, Step, quoted_if)
from ansible_collections.our.cloud.plugins.module_utils._recipe.recipe_files import DataDirectory
from ansible_collections.our.cloud.plugins.module_utils._recipe.recipe_load import read_macrostep


def resolve(data: DataDirectory, recipe: Recipe, workdir: str) -> Resolved:
    """What a build of the recipe in that working directory does."""
    names = Names(recipe, workdir)
    macrosteps = []
    for step in recipe.steps:
        macrosteps.append(fill(select(data, recipe, step), names))
    return Resolved(recipe.name, names.globals.texts(), tuple(macrosteps), recipe.where)


def select(data: DataDirectory, recipe: Recipe, step: Step) -> Macrostep:
    """The macrostep that a recipe's step means, with those microsteps alone that it names, in its order."""
    whole = read_macrostep(data, recipe.text("distrib"), step.name, step.where)
    if step.microsteps is None:
        return whole
    known = {microstep.name: microstep for microstep in whole.microsteps}
    for name, where in step.microsteps:
        if name not in known:
            raise where.error(f"the macrostep {step.name} has no microstep {name}. Microsteps of {whole.where.path}: {', '.join(known)}")
    return Macrostep(whole.name, tuple(known[name] for name, dummy in step.microsteps), whole.where)


def fill(macrostep: Macrostep, names: Names) -> Macrostep:
    """The macrostep with its ``$$name`` replaced. What set_var says is known from there on."""
    microsteps = []
    for microstep in macrostep.microsteps:
        commands = []
        for command in microstep.commands:
            place = f"macrostep {macrostep.name}, microstep {microstep.name}: {command.name}"
            filled = Command(command.name, tuple(names.fill(argument, command, place) for argument in command.arguments), command.where)
            if command.name in FILE_COMMANDS:
                check_path(filled, place)
            elif command.name == "set_var":
                names.set(filled)
            commands.append(filled)
        microsteps.append(Microstep(microstep.name, tuple(commands), microstep.where))
    return Macrostep(macrostep.name, tuple(microsteps), macrostep.where)


def check_path(command: Command, place: str) -> None:
    """Refuse a path that leads out of the appliance; its links are followed when it is there."""
    depth, parts = 0, [part for part in command.arguments[0].split("/") if part not in ("", ".")]
    for part in parts:
        depth += -1 if part == ".." else 1
        if depth < 0:
            raise command.where.error(f"{place}: the path {command.arguments[0]} leads out of the appliance")
    if not parts or command.arguments[0].endswith("/"):
        raise command.where.error(f"{place}: the path {command.arguments[0]!r} is not that of a file")


class Names:
    """What ``$$name`` stands for, at one place of a recipe after the other."""

    def __init__(self, recipe: Recipe, workdir: str) -> None:
        build = {"workdir": workdir, "chroot": os.path.join(workdir, "chroot")}
        self.globals = Globals(recipe.variables, build)
        self.known = {**build, **self.globals.texts()}
        self.only_running = {}  # name: where it is set to what only the shell knows
        self.shadowed = set()  # what set_var has replaced

    def is_given(self, name: str) -> bool:
        """Whether a variable has text in it that is not the recipe's own, unquoted."""
        return name not in self.shadowed and self.globals.is_given(name)

    def fill(self, text: str, command: Command, place: str) -> str:
        """A command's text with its references replaced. What a recipe says may be the shell's; what it is given is a value."""
        def replace(match):
            if match["literal"]:
                return match[0][2:]
            name, where = match["inside"] or match["plain"], command.where
            if name in self.only_running:
                raise where.error(f"{place}: $${name} is not known before the build runs (set_var in {self.only_running[name]}). Remedy: write ${name}")
            if name not in self.known:
                raise where.error(f"{place}: $${name} {self.globals.why_not(name)}")
            value = self.known[name]
            if command.name in SHELL_COMMANDS and not match["quoted"] and self.is_given(name) and not SHELL_PLAIN.fullmatch(value):
                raise where.error(f"{place}: $${name} was set to {value!r}, in which the shell would find more than a value."
                                  f" Remedy: write $${{{name}@Q}}, without quotes around it, in the step")
            return quoted_if(match, value)

        return REFERENCE.sub(replace, text)

    def set(self, command: Command) -> None:
        """From here on a name is what set_var says, if that can be known."""
        name, value = command.arguments
        self.shadowed.add(name)
        self.known.pop(name, None)
        self.only_running.pop(name, None)
        if SHELL_ACTIVE.search(value):
            self.only_running[name] = command.where
        else:
            self.known[name] = value
