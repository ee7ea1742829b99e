# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The parts of a recipe, and RecipeError, which everything about recipes raises.

A data directory has ``recipes/NAME.yaml``, ``steps/DISTRIB/MACROSTEP.yaml`` and ``steps/common/MACROSTEP.yaml``, in the form
that Kameleon gave them in 2009. recipe_files reads the files, recipe_load checks their contents, recipe_resolve replaces the
variables, all before anything runs. An error names file and line.
"""
from __future__ import annotations

import re
from dataclasses import dataclass

from ansible_collections.our.cloud.plugins.module_utils._common.errors import Refused
from ansible_collections.our.cloud.plugins.module_utils._recipe import recipe_kameleon as kameleon

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
    """What is wrong with a recipe or its build, where, and what to do. ``details`` is returned by the module beside the message."""

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
    """A variable of ``global``. text: None if it is a mapping or a nested list. given: set by the user, not by the recipe."""

    text: str | None
    where: Where
    given: bool = False


@dataclass(frozen=True)
class Command:
    """One command. Its arguments are as written in the recipe; in Resolved, variables are replaced."""

    name: str
    arguments: tuple[str, ...]
    where: Where


@dataclass(frozen=True)
class Microstep:
    """A named list of commands. A build can stop before any microstep."""

    name: str
    commands: tuple[Command, ...]
    where: Where


@dataclass(frozen=True)
class Macrostep:
    """The contents of one file of steps. A checkpoint is made after each macrostep."""

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
        """The text of a variable that the build itself uses, with its references replaced."""
        variable = self.variables.get(name)
        return Globals(self.variables).text(name) or default if variable and variable.text else default


@dataclass(frozen=True)
class Resolved:
    """A recipe with all variables replaced: exactly what a build does."""

    name: str
    variables: dict[str, str]
    macrosteps: tuple[Macrostep, ...]
    where: Where


class Globals:
    """The variables in a recipe's ``global``. build: {name: text} of the variables that the build sets; empty while they are not known."""

    def __init__(self, variables: dict[str, Variable], build: dict[str, str] | None = None) -> None:
        self.variables, self.build = variables, build or {}

    def texts(self) -> dict[str, str]:
        """{name: text} of all variables, with references replaced."""
        return {name: self.text(name) for name, variable in self.variables.items() if variable.text is not None}

    def text(self, name: str, names: tuple[str, ...] = ()) -> str:
        """The text of a variable with its references replaced. names: the chain of variables that refers to it, to find loops."""
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
        """Whether the text of a variable contains, unquoted, text that the user has set."""
        variable = self.variables.get(name)
        return variable is not None and (variable.given or any(
            not match["quoted"] and not match["literal"] and self.is_given(match["inside"] or match["plain"])
            for match in REFERENCE.finditer(variable.text)))

    def why_not(self, name: str) -> str:
        """Why a name cannot be replaced, as the end of a sentence."""
        if name in self.variables:
            return "is a mapping or a nested list, which has no text"
        if name in BUILD_VARIABLES:
            return "is not known before distrib, type and workdir_base are"
        if name in kameleon.VARIABLES:
            return f"is not in the recipe's global. {kameleon.refusal(kameleon.VARIABLES, name)}"
        known = sorted({*BUILD_VARIABLES, *(other for other, variable in self.variables.items() if variable.text is not None)})
        shorter = next((other for other in sorted(known, key=len, reverse=True) if name.startswith((other + "-", other + "_"))), None)
        hint = f" If $${shorter} is meant: $${{{shorter}}}{name[len(shorter):]}." if shorter else ""
        return f"is not in the recipe's global.{hint} Known: {', '.join(known)}. A $${name} that is to stay: $$$${name}"


def quoted_if(match: re.Match, value: str) -> str:
    """The replacement of a reference: the value itself, or, for @Q, the value quoted for the shell."""
    return "'" + value.replace("'", "'\\''") + "'" if match["quoted"] else value
