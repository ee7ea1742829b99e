# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Finds the files of a data directory and reads them as YAML nodes, with type checks.

Files are read as YAML nodes, not as Python values: every node knows its line, and a value is the text that somebody typed
(``0644`` and ``yes`` stay what they are).
"""
from __future__ import annotations

import os

from ansible_collections.our.cloud.plugins.module_utils._recipe.recipe import NAME, RecipeError, Where

try:
    import yaml
except ImportError:  # the module says so
    yaml = None


class DataDirectory:
    """Where recipes and steps are, and how they are found."""

    def __init__(self, path: str) -> None:
        self.path = os.path.realpath(path)
        if not os.path.isdir(os.path.join(self.path, "recipes")):
            raise RecipeError(f"{path} is no data directory: it has no folder recipes. Remedy: name the folder that has recipes/ and steps/ in it")

    def where(self, path: str, line: int = 0) -> Where:
        return Where(path, os.path.relpath(path, self.path), line)

    def recipes(self) -> list[str]:
        """The names of all recipes."""
        return sorted(name[:-len(".yaml")] for name in os.listdir(os.path.join(self.path, "recipes")) if name.endswith(".yaml"))

    def recipe_file(self, name: str) -> str:
        path = os.path.join(self.path, "recipes", name + ".yaml")
        if not NAME.fullmatch(name) or not os.path.isfile(path):
            raise RecipeError(f"there is no recipe {name} in {self.path}/recipes. Recipes: {', '.join(self.recipes()) or 'none'}")
        return path

    def macrostep_file(self, distrib: str, name: str) -> str | None:
        """The file of a macrostep: in the distribution's folder, else in common; None if it is in neither."""
        candidates = (os.path.join(self.path, "steps", folder, name + ".yaml") for folder in (distrib, "common"))
        return next(filter(os.path.isfile, candidates), None)

    def included_file(self, value: str, distrib: str, where: Where) -> str:
        """The file that an include names. In an absolute path, the part before /steps/ is ignored: it was the data directory of whoever wrote it."""
        below_steps = value.rpartition("/steps/")[2] if value.startswith("/") else value.removeprefix("steps/")
        below_steps = os.path.normpath(below_steps)
        if below_steps.startswith(("/", "..")):
            raise where.error(f"include: {value} is not below steps/ of {self.path}")
        for folder in ("", distrib, "common"):
            path = os.path.join(self.path, "steps", folder, below_steps)
            if os.path.isfile(path):
                return path
        raise where.error(f"include: there is no file {value} below steps/, steps/{distrib}/ or steps/common/ of {self.path}")

    def read(self, path: str) -> yaml.Node:
        """The root node of a YAML file."""
        where = self.where(path)
        try:
            with open(path, "rb") as file:
                data = file.read()
        except OSError as exc:
            raise where.error(f"it cannot be read: {exc.strerror}") from exc
        return parse(data, where)


def parse(data: bytes, where: Where) -> yaml.Node:
    """The root node of a YAML document."""
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
    """Reads the nodes of one file. Each method checks that a node has the type that is needed there."""

    def __init__(self, data: DataDirectory, path: str) -> None:
        self.data, self.path = data, path
        self.root = data.read(path)

    def where(self, node: yaml.Node) -> Where:
        return self.data.where(self.path, node.start_mark.line + 1)

    def error(self, node: yaml.Node, text: str) -> RecipeError:
        return self.where(node).error(text)

    def type_of(self, node: yaml.Node) -> str:
        """The type of a node, for messages."""
        if isinstance(node, yaml.MappingNode):
            return "a mapping"
        if isinstance(node, yaml.SequenceNode):
            return "a list"
        return "empty" if is_null(node) else "text"

    def text(self, node: yaml.Node, what: str) -> str:
        """The text of a scalar, as it was typed."""
        if not isinstance(node, yaml.ScalarNode) or is_null(node):
            raise self.error(node, f"{what} is {self.type_of(node)} and must be text")
        return self.scalar(node, what)

    def scalar(self, node: yaml.ScalarNode, what: str) -> str:
        if not node.tag.startswith("tag:yaml.org,2002:"):
            raise self.error(node, f"{what} has the tag {node.tag}, which means nothing here")
        value = "" if is_null(node) else node.value
        if not is_writable(value):
            raise self.error(node, f"{what} has a character that no file can have")
        return value

    def name(self, node: yaml.Node, what: str) -> str:
        value = self.text(node, what)
        if not NAME.fullmatch(value):
            raise self.error(node, f"{what} is {value!r} and may only have letters, digits and _ . + -")
        return value

    def items(self, node: yaml.Node, what: str) -> list[yaml.Node]:
        if not isinstance(node, yaml.SequenceNode):
            raise self.error(node, f"{what} is {self.type_of(node)} and must be a list")
        if not node.value:
            raise self.error(node, f"{what} is an empty list")
        return node.value

    def pairs(self, node: yaml.Node, what: str) -> list[tuple[str, yaml.Node, yaml.Node]]:
        """[(key, key's node, value's node)] of a mapping."""
        if not isinstance(node, yaml.MappingNode):
            raise self.error(node, f"{what} is {self.type_of(node)} and must be a mapping")
        found = {}
        for key, value in node.value:
            if key.tag == "tag:yaml.org,2002:merge":
                raise self.error(key, f"{what} has a merge key (<<), which is not followed. Remedy: write out what it would bring")
            name = self.text(key, f"a key of {what}")
            if name in found:
                raise self.error(key, f"{name} is there twice in {what}, first in line {found[name][0].start_mark.line + 1}")
            found[name] = key, value
        return [(name, key, value) for name, (key, value) in found.items()]

    def pair(self, node: yaml.Node, what: str) -> tuple[str, yaml.Node, yaml.Node]:
        """The one key of a mapping: (key, key's node, value's node)."""
        pairs = self.pairs(node, what)
        if len(pairs) != 1:
            names = ", ".join(name for name, dummy, dummy2 in pairs)
            raise self.error(node, f"{what} must have one key and has {len(pairs)}{names and ': ' + names}. Is a line indented too little or too much?")
        return pairs[0]


def is_null(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and node.tag == "tag:yaml.org,2002:null"


def is_writable(text: str) -> bool:
    """Whether a text can be part of a script."""
    return "\0" not in text and not any("\ud800" <= char <= "\udfff" for char in text)
