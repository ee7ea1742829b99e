# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Recipes: read, checked and resolved to macrosteps, microsteps and commands, before anything runs.

A data directory has ``recipes/NAME.yaml``, ``steps/DISTRIB/MACROSTEP.yaml`` and ``steps/common/MACROSTEP.yaml``, in the form
that Kameleon gave them in 2009. Files are read as YAML nodes, not as Python values: every node knows its line, and a value is
the text that somebody typed (``0644`` and ``yes`` stay what they are). Whatever is wrong is a RecipeError with file and line.
"""
from __future__ import annotations

import os
import re
from dataclasses import dataclass

from ansible_collections.our.cloud.plugins.module_utils._common.errors import Refused

try:
    import yaml
except ImportError:  # the module says so
    yaml = None

TYPES = ("tar", "tgz", "raw", "qcow2", "iso", "triple")
MANDATORY = ("distrib", "type")
COMMANDS = ("check_cmd", "check_appliance_cmd", "exec_current", "exec_appliance", "exec_chroot", "append_file", "write_file", "set_var")
FILE_COMMANDS = ("append_file", "write_file")
# What the build itself knows.
BUILD_VARIABLES = ("workdir", "chroot")

NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*")
VARIABLE = re.compile(r"[A-Za-z_]\w*(?:-\w+)*", re.ASCII)
# $$name, $${name} and, quoted for the shell, $${name@Q}; $$$$name for a $$name that is not ours
REFERENCE = re.compile(r"(?P<literal>\$\$(?=\$\$\{?[A-Za-z_]))?\$\$(?:\{(?P<inside>%(name)s)(?P<quoted>@Q)?\}|(?P<plain>%(name)s))"
                       % {"name": VARIABLE.pattern}, re.ASCII)
DEEPEST = 100  # variables that one may lead through
SHELL_VARIABLE = re.compile(r"[A-Za-z_]\w*", re.ASCII)
# Bash keeps these to itself, or the build needs them.
SHELL_OWN = re.compile(r"(BASH|RECIPE_)\w*|E?UID|PPID|SHELLOPTS|_")
# In double quotes these are not what they are outside of the shell.
SHELL_ACTIVE = re.compile(r'[$`"\\]')
# Words that mean nothing to the shell, in quotes or out of them.
SHELL_PLAIN = re.compile(r"[\w@%+=:,./ -]*")
SHELL_COMMANDS = ("exec_current", "exec_appliance", "exec_chroot", "set_var")


class RecipeError(Refused):
    """What is wrong with a recipe or its build, where, and what to do. ``details`` are for those who go on from there."""

    def __init__(self, text, details=None):
        super().__init__(text)
        self.details = details or {}


@dataclass(frozen=True)
class Where:
    """A line of a file. ``name`` is the file below the data directory."""

    path: str
    name: str
    line: int

    def __str__(self):
        return f"{self.path}:{self.line}" if self.line else self.path

    def short(self):
        return f"{self.name}:{self.line}"

    def error(self, text):
        return RecipeError(f"{self}: {text}")


@dataclass(frozen=True)
class Variable:
    """A variable of ``global``: its text, or none if it is something that cannot stand in a value. given: by who builds, not by the recipe."""

    text: str | None
    where: Where
    given: bool = False


@dataclass(frozen=True)
class Command:
    kind: str
    arguments: tuple[str, ...]
    where: Where


@dataclass(frozen=True)
class Microstep:
    name: str
    commands: tuple[Command, ...]
    where: Where


@dataclass(frozen=True)
class Macrostep:
    name: str
    microsteps: tuple[Microstep, ...]
    where: Where


@dataclass(frozen=True)
class Step:
    """A macrostep as the recipe names it; ``microsteps`` are (name, where), or none for all of them."""

    name: str
    microsteps: tuple[tuple[str, Where], ...] | None
    where: Where


@dataclass(frozen=True)
class Recipe:
    """A recipe's own file."""

    name: str
    variables: dict[str, Variable]
    steps: tuple[Step, ...]
    where: Where

    def text(self, name, default=""):
        """A variable's text, filled in, for those that the build itself looks at."""
        variable = self.variables.get(name)
        return Globals(self.variables).text(name) or default if variable and variable.text else default


@dataclass(frozen=True)
class Resolved:
    """A recipe with everything filled in: what a build does."""

    name: str
    variables: dict[str, str]
    macrosteps: tuple[Macrostep, ...]
    where: Where


# Files

class DataDirectory:
    """Where recipes and steps are, and how they are found."""

    def __init__(self, path):
        self.path = os.path.realpath(path)
        if not os.path.isdir(os.path.join(self.path, "recipes")):
            raise RecipeError(f"{path} is no data directory: it has no folder recipes. Remedy: name the folder that has recipes/ and steps/ in it")

    def where(self, path, line=0):
        return Where(path, os.path.relpath(path, self.path), line)

    def recipes(self):
        """The names of all recipes."""
        return sorted(name[:-len(".yaml")] for name in os.listdir(os.path.join(self.path, "recipes")) if name.endswith(".yaml"))

    def recipe_file(self, name):
        path = os.path.join(self.path, "recipes", name + ".yaml")
        if not NAME.fullmatch(name) or not os.path.isfile(path):
            raise RecipeError(f"there is no recipe {name} in {self.path}/recipes. Recipes: {', '.join(self.recipes()) or 'none'}")
        return path

    def macrostep_file(self, distrib, name):
        """The file of a macrostep, or none: under the distribution, then under common."""
        candidates = (os.path.join(self.path, "steps", folder, name + ".yaml") for folder in (distrib, "common"))
        return next(filter(os.path.isfile, candidates), None)

    def included_file(self, value, distrib, where):
        """The file that an include means. The data directory of an absolute path is the one in use, wherever its author's was."""
        below_steps = value.rpartition("/steps/")[2] if value.startswith("/") else value.removeprefix("steps/")
        below_steps = os.path.normpath(below_steps)
        if below_steps.startswith(("/", "..")):
            raise where.error(f"include: {value} is not below steps/ of {self.path}")
        for folder in ("", distrib, "common"):
            path = os.path.join(self.path, "steps", folder, below_steps)
            if os.path.isfile(path):
                return path
        raise where.error(f"include: there is no file {value} below steps/, steps/{distrib}/ or steps/common/ of {self.path}")

    def read(self, path):
        """The root node of a YAML file."""
        where = self.where(path)
        try:
            with open(path, "rb") as file:
                data = file.read()
        except OSError as exc:
            raise where.error(f"it cannot be read: {exc.strerror}") from exc
        return parse(data, where)


def parse(data, where):
    """The root node of a YAML document (bytes)."""
    def at(line):
        return Where(where.path, where.name, line)

    try:
        text = data.decode()
    except UnicodeDecodeError as exc:
        raise at(data.count(b"\n", 0, exc.start) + 1).error("it is not UTF-8 text") from exc
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as exc:
        mark = exc.problem_mark or exc.context_mark
        problem = exc.problem or exc.context
        if "'\\t'" in problem:
            problem = "a tab where YAML wants spaces. Remedy: indent with spaces"
        raise at(mark.line + 1 if mark else 1).error(f"it is not YAML: {problem}") from exc
    except yaml.reader.ReaderError as exc:
        raise at(text.count("\n", 0, exc.position) + 1).error(f"it is not YAML: the character {exc.character!r} is not allowed") from exc
    except (ValueError, OverflowError, RecursionError) as exc:
        # what PyYAML itself does not catch: numbers beyond Unicode in an escape, a thousand brackets
        raise where.error(f"it is not YAML that can be read: {exc}") from exc
    if node is None:
        raise where.error("it is empty")
    return node


class Reader:
    """Takes nodes of one file for what they have to be."""

    def __init__(self, data, path):
        self.data, self.path = data, path
        self.root = data.read(path)

    def where(self, node):
        return self.data.where(self.path, node.start_mark.line + 1)

    def error(self, node, text):
        return self.where(node).error(text)

    def kind(self, node):
        """What a person calls it."""
        if isinstance(node, yaml.MappingNode):
            return "a mapping"
        if isinstance(node, yaml.SequenceNode):
            return "a list"
        return "empty" if is_null(node) else "text"

    def text(self, node, what):
        """The text of a scalar, as it was typed."""
        if not isinstance(node, yaml.ScalarNode) or is_null(node):
            raise self.error(node, f"{what} is {self.kind(node)} and must be text")
        return self.scalar(node, what)

    def scalar(self, node, what):
        if not node.tag.startswith("tag:yaml.org,2002:"):
            raise self.error(node, f"{what} has the tag {node.tag}, which means nothing here")
        value = "" if is_null(node) else node.value
        if not is_writable(value):
            raise self.error(node, f"{what} has a character that no file can have")
        return value

    def name(self, node, what):
        value = self.text(node, what)
        if not NAME.fullmatch(value):
            raise self.error(node, f"{what} is {value!r} and may only have letters, digits and _ . + -")
        return value

    def items(self, node, what):
        if not isinstance(node, yaml.SequenceNode):
            raise self.error(node, f"{what} is {self.kind(node)} and must be a list")
        if not node.value:
            raise self.error(node, f"{what} is an empty list")
        return node.value

    def pairs(self, node, what):
        """[(key, key's node, value's node)] of a mapping."""
        if not isinstance(node, yaml.MappingNode):
            raise self.error(node, f"{what} is {self.kind(node)} and must be a mapping")
        found = {}
        for key, value in node.value:
            if key.tag == "tag:yaml.org,2002:merge":
                raise self.error(key, f"{what} has a merge key (<<), which is not followed. Remedy: write out what it would bring")
            name = self.text(key, f"a key of {what}")
            if name in found:
                raise self.error(key, f"{name} is there twice in {what}, first in line {found[name][0].start_mark.line + 1}")
            found[name] = key, value
        return [(name, key, value) for name, (key, value) in found.items()]

    def pair(self, node, what):
        """The one key of a mapping: (key, key's node, value's node)."""
        pairs = self.pairs(node, what)
        if len(pairs) != 1:
            names = ", ".join(name for name, dummy, dummy2 in pairs)
            raise self.error(node, f"{what} must have one key and has {len(pairs)}{names and ': ' + names}. Is a line indented too little or too much?")
        return pairs[0]


def is_null(node):
    return isinstance(node, yaml.ScalarNode) and node.tag == "tag:yaml.org,2002:null"


def is_writable(text):
    """Whether a text can be part of a script."""
    return "\0" not in text and not any("\ud800" <= char <= "\udfff" for char in text)


# A recipe's own file

def load(data, name, overrides=None):
    """The recipe of that name. overrides: {variable: value} that replace those of its ``global``."""
    reader = Reader(data, data.recipe_file(name))
    parts = {key: value for key, dummy, value in reader.pairs(reader.root, "a recipe")}
    for key in parts:
        if key not in ("global", "steps"):
            raise reader.error(parts[key], f"a recipe has the parts global and steps, not {key}")
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


def read_variables(reader, node):
    variables = {}
    for name, key, value in reader.pairs(node, "global"):
        if not VARIABLE.fullmatch(name):
            raise reader.error(key, f"global: {name!r} cannot be the name of a variable: letters, digits, _ and, inside, -")
        if name in BUILD_VARIABLES:
            raise reader.error(key, f"global: {name} is set by the build. Remedy: choose another name")
        variables[name] = Variable(value_text(reader, value, f"global: {name}"), reader.where(value))
    return variables


def value_text(reader, node, what):
    """A scalar's text, a list's items with spaces between them; a mapping has none."""
    if isinstance(node, yaml.ScalarNode):
        return reader.scalar(node, what)
    if isinstance(node, yaml.SequenceNode) and all(isinstance(item, yaml.ScalarNode) for item in node.value):
        return " ".join(reader.scalar(item, what) for item in node.value)
    return None


def override(variables, overrides, where):
    """Replace variables by what the caller of the build says."""
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


def read_steps(reader, node):
    steps = []
    for item in reader.items(node, "steps"):
        if isinstance(item, yaml.MappingNode):
            name, key, value = reader.pair(item, "a macrostep")
            name = reader.name(key, "a macrostep")
            selected = [(reader.name(micro, f"a microstep of {name}"), reader.where(micro)) for micro in reader.items(value, f"the microsteps of {name}")]
            refuse_twice(selected, f"the microstep %s of {name}")
            steps.append(Step(name, tuple(selected), reader.where(key)))
        else:
            steps.append(Step(reader.name(item, "a macrostep"), None, reader.where(item)))
    refuse_twice([(step.name, step.where) for step in steps], "the macrostep %s")
    return tuple(steps)


def refuse_twice(named, what):
    """Names lead to one place: breakpoints and messages go by them. named: [(name, where)]"""
    seen = {}
    for name, where in named:
        if name in seen:
            raise where.error(f"{what % name} is there twice, first in {seen[name]}")
        seen[name] = where


# Files of macrosteps

def read_macrostep(data, distrib, name, where):
    """All microsteps of a macrostep, as its file has them. where: who asks for it."""
    path = data.macrostep_file(distrib, name)
    if path is None:
        raise where.error(f"there is no macrostep {name}: neither steps/{distrib}/{name}.yaml nor steps/common/{name}.yaml is in {data.path}")
    reader = Reader(data, path)
    microsteps = read_microsteps(data, distrib, reader, name, (path,))
    refuse_twice([(microstep.name, microstep.where) for microstep in microsteps], "the microstep %s")
    return Macrostep(name, tuple(microsteps), reader.where(reader.root))


def read_microsteps(data, distrib, reader, macrostep, files):
    """The microsteps of a file, includes followed. macrostep: which one it must be, if any. files: those that led here."""
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
        elif name in COMMANDS:
            raise reader.error(key, f"{name} is a command and must be inside of a microstep")
        else:
            name = reader.name(key, "a microstep")
            commands = read_commands(data, distrib, reader, name, value, files)
            microsteps.append(Microstep(name, tuple(commands), reader.where(key)))
    return microsteps


def include(data, distrib, reader, node, files):
    """The microsteps of an included file."""
    path = data.included_file(reader.text(node, "include"), distrib, reader.where(node))
    if path in files:
        loop = " -> ".join(os.path.relpath(file, data.path) for file in (*files, path))
        raise reader.error(node, f"include: a loop, {loop}")
    return read_microsteps(data, distrib, Reader(data, path), None, (*files, path))


def read_commands(data, distrib, reader, name, node, files):
    commands = []
    for item in reader.items(node, f"the microstep {name}"):
        kind, key, value = reader.pair(item, f"a command of {name}")
        if kind == "include":
            for microstep in include(data, distrib, reader, value, files):
                commands += microstep.commands
        elif kind not in COMMANDS:
            raise reader.error(key, f"microstep {name}: there is no command {kind}. Commands: {', '.join((*COMMANDS, 'include'))}")
        else:
            commands.append(Command(kind, read_arguments(reader, kind, value), reader.where(key)))
    return commands


def read_arguments(reader, kind, node):
    if kind not in (*FILE_COMMANDS, "set_var"):
        return (reader.text(node, kind),)
    parts = ("name", "value") if kind == "set_var" else ("path", "content")
    if not isinstance(node, yaml.SequenceNode) or len(node.value) != 2:
        raise reader.error(node, f"{kind} must be a list of two: {parts[0]} and {parts[1]}")
    first, second = node.value
    name = reader.text(first, f"the {parts[0]} of {kind}")
    if kind == "set_var" and (not SHELL_VARIABLE.fullmatch(name) or SHELL_OWN.fullmatch(name)):
        raise reader.error(first, f"set_var: {name} cannot be the name of a variable of the shell")
    if not isinstance(second, yaml.ScalarNode):
        raise reader.error(second, f"the {parts[1]} of {kind} is {reader.kind(second)} and must be text")
    return name, reader.scalar(second, f"the {parts[1]} of {kind}")


# Everything filled in

def resolve(data, recipe, workdir):
    """What a build of the recipe in that working directory does."""
    names = Names(recipe, workdir)
    macrosteps = []
    for step in recipe.steps:
        macrosteps.append(fill(select(data, recipe, step), names))
    return Resolved(recipe.name, names.globals.texts(), tuple(macrosteps), recipe.where)


def select(data, recipe, step):
    """The macrostep that a recipe's step means, with those microsteps alone that it names, in its order."""
    whole = read_macrostep(data, recipe.text("distrib"), step.name, step.where)
    if step.microsteps is None:
        return whole
    known = {microstep.name: microstep for microstep in whole.microsteps}
    for name, where in step.microsteps:
        if name not in known:
            raise where.error(f"the macrostep {step.name} has no microstep {name}. Microsteps of {whole.where.path}: {', '.join(known)}")
    return Macrostep(whole.name, tuple(known[name] for name, dummy in step.microsteps), whole.where)


def fill(macrostep, names):
    """The macrostep with its ``$$name`` replaced. What set_var says is known from there on."""
    microsteps = []
    for microstep in macrostep.microsteps:
        commands = []
        for command in microstep.commands:
            place = f"macrostep {macrostep.name}, microstep {microstep.name}: {command.kind}"
            filled = Command(command.kind, tuple(names.fill(argument, command, place) for argument in command.arguments), command.where)
            if command.kind in FILE_COMMANDS:
                check_path(filled, place)
            elif command.kind == "set_var":
                names.set(filled)
            commands.append(filled)
        microsteps.append(Microstep(microstep.name, tuple(commands), microstep.where))
    return Macrostep(macrostep.name, tuple(microsteps), macrostep.where)


def quoted_if(match, value):
    """What a reference is replaced by: the value, or what the shell takes for it."""
    return "'" + value.replace("'", "'\\''") + "'" if match["quoted"] else value


def check_path(command, place):
    """Refuse a path that leads out of the appliance; its links are followed when it is there."""
    depth, parts = 0, [part for part in command.arguments[0].split("/") if part not in ("", ".")]
    for part in parts:
        depth += -1 if part == ".." else 1
        if depth < 0:
            raise command.where.error(f"{place}: the path {command.arguments[0]} leads out of the appliance")
    if not parts or command.arguments[0].endswith("/"):
        raise command.where.error(f"{place}: the path {command.arguments[0]!r} is not that of a file")


class Globals:
    """A recipe's ``global``. build: {name: text} of what the build itself knows, nothing before it does."""

    def __init__(self, variables, build=None):
        self.variables, self.build = variables, build or {}

    def texts(self):
        """{name: text} of all, filled in."""
        return {name: self.text(name) for name, variable in self.variables.items() if variable.text is not None}

    def text(self, name, names=()):
        """A variable with its own references replaced. names: those that led here."""
        variable, names = self.variables[name], (*names, name)

        def replace(match):
            if match["literal"]:
                return match[0][2:]
            other = match["inside"] or match["plain"]
            if other in names:
                raise variable.where.error(f"global: {' -> '.join((*names, other))} is a loop")
            if other in self.variables and self.variables[other].text is not None:
                return quoted_if(match, self.text(other, names))
            if other in self.build:
                return quoted_if(match, self.build[other])
            raise variable.where.error(f"global: {name} refers to $${other}, which {self.why_not(other)}")

        if len(names) > DEEPEST:
            raise variable.where.error(f"global: {names[0]} refers to others more than {DEEPEST} deep")
        return REFERENCE.sub(replace, variable.text)

    def is_given(self, name):
        """Whether a variable has text in it that is not the recipe's own, unquoted."""
        variable = self.variables.get(name)
        return variable is not None and (variable.given or any(
            not match["quoted"] and not match["literal"] and self.is_given(match["inside"] or match["plain"])
            for match in REFERENCE.finditer(variable.text)))

    def why_not(self, name):
        """Why there is no text for a name."""
        if name in self.variables:
            return "is a mapping or a nested list, which has no text"
        if name in BUILD_VARIABLES:
            return "is not known before distrib, type and workdir_base are"
        known = sorted({*BUILD_VARIABLES, *(other for other, variable in self.variables.items() if variable.text is not None)})
        shorter = next((other for other in sorted(known, key=len, reverse=True) if name.startswith((other + "-", other + "_"))), None)
        hint = f" If $${shorter} is meant: $${{{shorter}}}{name[len(shorter):]}." if shorter else ""
        return f"is not in the recipe's global.{hint} Known: {', '.join(known)}. A $${name} that is to stay: $$$${name}"


class Names:
    """What ``$$name`` stands for, at one place of a recipe after the other."""

    def __init__(self, recipe, workdir):
        build = {"workdir": workdir, "chroot": os.path.join(workdir, "chroot")}
        self.globals = Globals(recipe.variables, build)
        self.known = {**build, **self.globals.texts()}
        self.only_running = {}  # name: where it is set to what only the shell knows
        self.shadowed = set()  # what set_var has replaced

    def is_given(self, name):
        """Whether a variable has text in it that is not the recipe's own, unquoted."""
        return name not in self.shadowed and self.globals.is_given(name)

    def fill(self, text, command, place):
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
            if command.kind in SHELL_COMMANDS and not match["quoted"] and self.is_given(name) and not SHELL_PLAIN.fullmatch(value):
                raise where.error(f"{place}: $${name} was set to {value!r}, in which the shell would find more than a value."
                                  f" Remedy: write $${{{name}@Q}}, without quotes around it, in the step")
            return quoted_if(match, value)

        return REFERENCE.sub(replace, text)

    def set(self, command):
        """From here on a name is what set_var says, if that can be known."""
        name, value = command.arguments
        self.shadowed.add(name)
        self.known.pop(name, None)
        self.only_running.pop(name, None)
        if SHELL_ACTIVE.search(value):
            self.only_running[name] = command.where
        else:
            self.known[name] = value
