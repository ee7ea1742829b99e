# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads a recipe and its macrosteps, and checks names, commands and arguments. Duplicate names are refused."""
from __future__ import annotations

import os

from ansible_collections.our.cloud.plugins.module_utils._recipe import recipe_kameleon as kameleon
from ansible_collections.our.cloud.plugins.module_utils._recipe.recipe import (
    BUILD_VARIABLES, COMMANDS, FILE_COMMANDS, MANDATORY, NAME, SHELL_OWN, SHELL_VARIABLE, TYPES, VARIABLE,
    Command, Macrostep, Microstep, Recipe, Step, Variable, Where)
from ansible_collections.our.cloud.plugins.module_utils._recipe.recipe_files import DataDirectory, Reader, is_writable, yaml


def load(data: DataDirectory, name: str, overrides: dict | None = None) -> Recipe:
    """The recipe with this name. overrides: {variable: value}, replacing variables of its ``global``."""
    reader = Reader(data, data.recipe_file(name))
    parts = {key: value for key, dummy, value in reader.pairs(reader.root, "a recipe")}
    for key in parts:
        if key not in ("global", "steps"):
            raise reader.error(parts[key], kameleon.refusal(kameleon.PARTS, key) or f"a recipe has the parts global and steps, not {key}")
    for key in ("global", "steps"):
        if key not in parts:
            raise reader.error(reader.root, f"the recipe has no part {key}")
    variables = read_variables(reader, parts["global"])
    override(variables, overrides or {}, data.where(reader.path))
    where = reader.where(parts["global"])
    for key in MANDATORY:
        if not variables.get(key) or not variables[key].text:
            raise where.error(f"global has no {key}, which every recipe needs")
    recipe = Recipe(name, variables, read_steps(reader, parts["steps"]), reader.where(reader.root))
    if not NAME.fullmatch(recipe.text("distrib")):
        raise variables["distrib"].where.error(f"distrib is {recipe.text('distrib')!r}, which cannot be the name of a folder")
    if recipe.text("type") not in TYPES:
        raise variables["type"].where.error(f"type is {recipe.text('type')} and must be one of {', '.join(TYPES)}")
    recipe.text("workdir_base")
    return recipe


def read_variables(reader: Reader, node: yaml.Node) -> dict[str, Variable]:
    variables = {}
    for name, key, value in reader.pairs(node, "global"):
        if not VARIABLE.fullmatch(name):
            raise reader.error(key, f"global: {name!r} cannot be the name of a variable: letters, digits, _ and, inside, -")
        if name in BUILD_VARIABLES:
            raise reader.error(key, f"global: {name} is set by the build. Remedy: choose another name")
        if name in kameleon.GLOBAL:
            raise reader.error(key, f"global: {kameleon.refusal(kameleon.GLOBAL, name)}")
        variables[name] = Variable(value_text(reader, value, f"global: {name}"), reader.where(value))
    return variables


def value_text(reader: Reader, node: yaml.Node, what: str) -> str | None:
    """The text of a scalar, or the items of a list joined by spaces; None for a mapping or a nested list."""
    if isinstance(node, yaml.ScalarNode):
        return reader.scalar(node, what)
    if isinstance(node, yaml.SequenceNode) and all(isinstance(item, yaml.ScalarNode) for item in node.value):
        return " ".join(reader.scalar(item, what) for item in node.value)
    return None


def override(variables: dict[str, Variable], overrides: dict, where: Where) -> None:
    """Replace variables by the values that the user has given."""
    for name, value in overrides.items():
        if name not in variables:
            raise where.error(f"the recipe has no variable {name} in global that could be set. Variables: {', '.join(sorted(variables)) or 'none'}")
        values = value if isinstance(value, (list, tuple)) else [value]
        if not all(isinstance(item, (str, int, float, type(None))) for item in values):
            raise where.error(f"the variable {name} is set to {value!r} and must be text, a number or a list of these")
        text = " ".join("" if item is None else str(item).lower() if isinstance(item, bool) else str(item) for item in values)
        if not is_writable(text):
            raise where.error(f"the variable {name} is set to a text with a character that no file can have")
        variables[name] = Variable(text, where, True)


def read_steps(reader: Reader, node: yaml.Node) -> tuple[Step, ...]:
    steps = []
    for item in reader.items(node, "steps"):
        if isinstance(item, yaml.MappingNode):
            name, key, value = reader.pair(item, "a macrostep")
            name = reader.name(key, "a macrostep")
            selected = read_selection(reader, name, value)
            refuse_twice(selected, "microstep", f" of {name}")
            steps.append(Step(name, tuple(selected), reader.where(key)))
        elif isinstance(item, yaml.ScalarNode) and item.value in kameleon.STEPS:
            raise reader.error(item, kameleon.refusal(kameleon.STEPS, item.value))
        else:
            steps.append(Step(reader.name(item, "a macrostep"), None, reader.where(item)))
    refuse_twice([(step.name, step.where) for step in steps], "macrostep")
    return tuple(steps)


def read_selection(reader: Reader, macrostep: str, node: yaml.Node) -> list[tuple[str, Where]]:
    """The microsteps of a macrostep that a recipe names."""
    selected = []
    for item in reader.items(node, f"the microsteps of {macrostep}"):
        if isinstance(item, yaml.MappingNode):
            name, key, value = reader.pair(item, f"a microstep of {macrostep}")
            embedded = isinstance(value, yaml.SequenceNode)
            what = (kameleon.EMBEDDED_STEP, macrostep) if embedded else (kameleon.STEP_VARIABLE, name)
            raise reader.error(key, kameleon.refusal(kameleon.STEPS, *what))
        selected.append((reader.name(item, f"a microstep of {macrostep}"), reader.where(item)))
    return selected


def refuse_twice(named: list[tuple[str, Where]], what: str, of: str = "") -> None:
    """Refuse duplicate names: breakpoints and messages refer to steps by name."""
    seen = {}
    for name, where in named:
        if name in seen:
            raise where.error(f"the {what} {name}{of} is there twice, first in {seen[name]}")
        seen[name] = where


# Files of macrosteps

def read_macrostep(data: DataDirectory, distrib: str, name: str, where: Where) -> Macrostep:
    """A macrostep with all microsteps of its file. where: the line that refers to it."""
    path = data.macrostep_file(distrib, name)
    if path is None:
        raise where.error(f"there is no macrostep {name}: neither steps/{distrib}/{name}.yaml nor steps/common/{name}.yaml is in {data.path}")
    reader = Reader(data, path)
    microsteps = read_microsteps(data, distrib, reader, name, (path,))
    refuse_twice([(microstep.name, microstep.where) for microstep in microsteps], "microstep")
    return Macrostep(name, tuple(microsteps), reader.where(reader.root))


def read_microsteps(data: DataDirectory, distrib: str, reader: Reader, macrostep: str | None, files: tuple[str, ...]) -> list[Microstep]:
    """The microsteps of a file and of the files it includes. macrostep: the name it must have, or None. files: the chain of includes, to find loops."""
    root = reader.root
    if isinstance(root, yaml.MappingNode):
        name, key, root = reader.pair(root, "a file of a macrostep")
        if macrostep and name != macrostep:
            raise reader.error(key, f"the file of the macrostep {macrostep} describes {name}")
    microsteps = []
    for item in reader.items(root, "a macrostep"):
        name, key, value = reader.pair(item, "a microstep")
        if name == "include":
            microsteps += include(data, distrib, reader, value, files)
        elif name in COMMANDS or name in kameleon.SAME:
            raise reader.error(key, f"{name} is a command and must be inside of a microstep")
        else:
            name = reader.name(key, "a microstep")
            if isinstance(value, yaml.ScalarNode):
                raise reader.error(value, f"the microstep {name} is {reader.type_of(value)} and must be a list."
                                          f" {kameleon.refusal(kameleon.STEPS, kameleon.STEP_VARIABLE, name)}")
            commands = read_commands(data, distrib, reader, name, value, files)
            microsteps.append(Microstep(name, tuple(commands), reader.where(key)))
    return microsteps


def include(data: DataDirectory, distrib: str, reader: Reader, node: yaml.Node, files: tuple[str, ...]) -> list[Microstep]:
    """The microsteps of an included file."""
    path = data.included_file(reader.text(node, "include"), distrib, reader.where(node))
    if path in files:
        loop = " -> ".join(os.path.relpath(file, data.path) for file in (*files, path))
        raise reader.error(node, f"include: a loop, {loop}")
    return read_microsteps(data, distrib, Reader(data, path), None, (*files, path))


def read_commands(data: DataDirectory, distrib: str, reader: Reader, name: str, node: yaml.Node, files: tuple[str, ...]) -> list[Command]:
    commands = []
    for item in reader.items(node, f"the microstep {name}"):
        written, key, value = reader.pair(item, f"a command of {name}")
        command = kameleon.SAME.get(written, written)
        if command == "include":
            for microstep in include(data, distrib, reader, value, files):
                commands += microstep.commands
        elif command not in COMMANDS:
            no_command = f"there is no command {command}. Commands: {', '.join((*COMMANDS, 'include'))}"
            raise reader.error(key, f"microstep {name}: {kameleon.refusal(kameleon.COMMANDS, command) or no_command}")
        else:
            commands.append(Command(command, read_arguments(reader, written, value), reader.where(key)))
    return commands


def read_arguments(reader: Reader, command: str, node: yaml.Node) -> tuple[str, ...]:
    if command not in (*FILE_COMMANDS, "set_var"):
        return (reader.text(node, command),)
    parts = ("name", "value") if command == "set_var" else ("path", "content")
    if not isinstance(node, yaml.SequenceNode) or len(node.value) != 2:
        raise reader.error(node, f"{command} must be a list of two: {parts[0]} and {parts[1]}")
    first, second = node.value
    name = reader.text(first, f"the {parts[0]} of {command}")
    if command == "set_var" and (not SHELL_VARIABLE.fullmatch(name) or SHELL_OWN.fullmatch(name)):
        raise reader.error(first, f"set_var: {name} cannot be the name of a variable of the shell")
    if not isinstance(second, yaml.ScalarNode):
        raise reader.error(second, f"the {parts[1]} of {command} is {reader.type_of(second)} and must be text")
    return name, reader.scalar(second, f"the {parts[1]} of {command}")
