# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a recipe consists of, and the one error that all about it raises.

A data directory has ``recipes/NAME.yaml``, ``steps/DISTRIB/MACROSTEP.yaml`` and ``steps/common/MACROSTEP.yaml``, in the form
that Kameleon gave them in 2009. recipe_files reads them, recipe_load takes them for what they mean, recipe_resolve fills in what
they refer to, all before anything runs. Whatever is wrong is a RecipeError with file and line.
"""
from __future__ import annotations

import re
from dataclasses import dataclass

from ansible_collections.our.cloud.plugins.module_utils._common.errors import Refused

TYPES = ("tar", "tgz", "raw", "qcow2", "iso", "triple")
MANDATORY = ("distrib", "type")
COMMANDS = ("check_cmd", "check_appliance_cmd", "exec_current", "exec_appliance", "exec_chroot", "append_file", "write_file", "set_var")
FILE_COMMANDS = ("append_file", "write_file")
# What the build itself knows.
BUILD_VARIABLES = ("workdir", "chroot")

NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*")
VARIABLE = re.compile(r"[A-Za-z_]\w*(?:-\w+)*", re.ASCII)
# $$name, $${name} and, quoted for the shell, $${name@Q}; $$$$name for a $$name that is not ours
REFERENCE = re.compile(rf"(?P<literal>\$\$(?=\$\$\{{?[A-Za-z_]))?"
                       rf"\$\$(?:\{{(?P<inside>{VARIABLE.pattern})(?P<quoted>@Q)?\}}|(?P<plain>{VARIABLE.pattern}))", re.ASCII)
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

    def __init__(self, text: str, details: dict | None = None) -> None:
        super().__init__(text)
        self.details = details or {}


@dataclass(frozen=True)
class Where:
    """A line of a file. ``name`` is the file below the data directory."""

    path: str
    name: str
    line: int

    def __str__(self) -> str:
        return f"{self.path}:{self.line}" if self.line else self.path

    def short(self) -> str:
        return f"{self.name}:{self.line}"

    def error(self, text: str) -> RecipeError:
        return RecipeError(f"{self}: {text}")


@dataclass(frozen=True)
class Variable:
    """A variable of ``global``: its text, or none if it is something that cannot stand in a value. given: by who builds, not by the recipe."""

    text: str | None
    where: Where
    given: bool = False


@dataclass(frozen=True)
class Command:
    """One command: its arguments as the recipe has them, or, in Resolved, filled in."""

    kind: str
    arguments: tuple[str, ...]
    where: Where


@dataclass(frozen=True)
class Microstep:
    """Commands that stand together under a name, within which a build can stop."""

    name: str
    commands: tuple[Command, ...]
    where: Where


@dataclass(frozen=True)
class Macrostep:
    """What one file of steps describes, and what a checkpoint is made of."""

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

    def text(self, name: str, default: str = "") -> str:
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


class Globals:
    """A recipe's ``global``. build: {name: text} of what the build itself knows, nothing before it does."""

    def __init__(self, variables: dict[str, Variable], build: dict[str, str] | None = None) -> None:
        self.variables, self.build = variables, build or {}

    def texts(self) -> dict[str, str]:
        """{name: text} of all, filled in."""
        return {name: self.text(name) for name, variable in self.variables.items() if variable.text is not None}

    def text(self, name: str, names: tuple[str, ...] = ()) -> str:
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

    def is_given(self, name: str) -> bool:
        """Whether a variable has text in it that is not the recipe's own, unquoted."""
        variable = self.variables.get(name)
        return variable is not None and (variable.given or any(
            not match["quoted"] and not match["literal"] and self.is_given(match["inside"] or match["plain"])
            for match in REFERENCE.finditer(variable.text)))

    def why_not(self, name: str) -> str:
        """Why there is no text for a name."""
        if name in self.variables:
            return "is a mapping or a nested list, which has no text"
        if name in BUILD_VARIABLES:
            return "is not known before distrib, type and workdir_base are"
        known = sorted({*BUILD_VARIABLES, *(other for other, variable in self.variables.items() if variable.text is not None)})
        shorter = next((other for other in sorted(known, key=len, reverse=True) if name.startswith((other + "-", other + "_"))), None)
        hint = f" If $${shorter} is meant: $${{{shorter}}}{name[len(shorter):]}." if shorter else ""
        return f"is not in the recipe's global.{hint} Known: {', '.join(known)}. A $${name} that is to stay: $$$${name}"


def quoted_if(match: re.Match, value: str) -> str:
    """What a reference is replaced by: the value, or what the shell takes for it."""
    return "'" + value.replace("'", "'\\''") + "'" if match["quoted"] else value
