# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The guides and the example inventory say what the code says: variables, defaults, messages, files."""

from __future__ import annotations

import ast
import json
import pathlib
import re

import pytest
import yaml

CHECKOUT = pathlib.Path(__file__).resolve().parents[2]
GUIDES = sorted((CHECKOUT / "docs").glob("*.md"))
PAGES = [*sorted(CHECKOUT.glob("*.md")), *GUIDES]
EXAMPLE = sorted((CHECKOUT / "inventories/example").rglob("*.yml"))
ROW = re.compile(r"^\| `([a-z0-9_]+)` \| (.*?) \|")
LONG = 60


def options():
    """{variable: option} of all roles."""
    found = {}
    for path in sorted(CHECKOUT.glob("roles/*/meta/argument_specs.yml")):
        for spec in yaml.safe_load(path.read_text(encoding="utf-8"))["argument_specs"].values():
            found.update(spec.get("options") or {})
    return found


OPTIONS = options()


def plain(value):
    """A default without the guards against undefined variables."""
    return re.sub(r" \| default\((''|\[\])\)", "", value).strip() if isinstance(value, str) else value


def cell(option):
    """What a table says of a default."""
    if option.get("required"):
        return "required"
    if "default" not in option:
        return "none"
    value = plain(option["default"])
    if isinstance(value, list):
        text = "[%s]" % ", ".join(str(item) for item in value)
    else:
        text = value if isinstance(value, str) and value else json.dumps(value)
    return "`%s`" % text


def rows():
    """(guide, variable, what it says of the default) of all tables."""
    for path in GUIDES:
        for line in path.read_text(encoding="utf-8").splitlines():
            match = ROW.match(line)
            if match:
                yield path.name, match.group(1), match.group(2)


def quotations():
    """(page, message) of all messages that are quoted: lines that begin with >, and what a table says in its column "message"."""
    for path in PAGES:
        text = path.read_text(encoding="utf-8")
        for block in re.findall(r"(?:^> .*\n?)+", text, re.MULTILINE):
            yield path.name, " ".join(line[2:].strip() for line in block.strip().splitlines())
        for table in re.findall(r"^\|.* message \|\n\| --- .*\n((?:\|.*\n)+)", text, re.MULTILINE):
            for row in table.splitlines():
                for message in re.findall(r"`([^`]+)`", row.rstrip(" |").rpartition(" | ")[2]):
                    yield path.name, message


DOCUMENTATION = ("DOCUMENTATION", "EXAMPLES", "RETURN")


def spoken(tree):
    """The texts in a piece of Python in their order, as one; what varies in between is a blank. No docstrings, no documentation."""
    found = []

    def visit(node):
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") in DOCUMENTATION:
            return
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            return
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.append(node.value)
        if isinstance(node, ast.FormattedValue):
            found.append(" ")
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(tree)
    return "".join(found)


def units_of_python(text):
    """What belongs together: a function or method, a statement of a module or class."""
    for node in ast.parse(text).body:
        yield from map(spoken, node.body if isinstance(node, ast.ClassDef) else [node])


def units_of_yaml(text):
    """What belongs together: a scalar."""
    def scalars(node):
        if isinstance(node, yaml.ScalarNode):
            yield node.value
        for child in node.value if not isinstance(node, yaml.ScalarNode) else ():
            for each in child if isinstance(child, tuple) else (child,):
                yield from scalars(each)

    for document in yaml.compose_all(text, Loader=yaml.SafeLoader):
        if document is not None:
            yield from scalars(document)


def units(path, text):
    """The pieces of a file of code that are said as one; comments are said to nobody."""
    if path.suffix == ".py":
        found = units_of_python(text)
    elif path.suffix in (".yml", ".yaml"):
        found = units_of_yaml(text)
    else:
        found = re.split(r"\n\n", re.sub(r"(?m)^\s*#.*$", "", text))
    return [re.sub(r"\s+", " ", unit) for unit in found]


def sources():
    """The units of the collection's code."""
    for folder in ("roles", "plugins", "playbooks"):
        for path in sorted((CHECKOUT / folder).rglob("*")):
            if path.is_file() and path.suffix in (".py", ".yml", ".yaml", ".j2", "") and "__pycache__" not in path.parts:
                yield from units(path, path.read_text(encoding="utf-8"))


SOURCES = list(sources())


def is_said(message, among=None):
    """Whether some unit has all parts of a message, in order; … stands for what varies."""
    parts = [re.escape(part.strip()) for part in message.split("…") if part.strip()]
    pattern = re.compile(".*?".join(parts))
    return any(pattern.search(unit) for unit in (SOURCES if among is None else among))


def test_tables_have_every_variable():
    assert sorted(set(OPTIONS) - {name for dummy, name, dummy2 in rows()}) == []


def test_tables_have_no_other_variable():
    prefixes = tuple(path.name + "_" for path in (CHECKOUT / "roles").iterdir())
    assert [(page, name) for page, name, dummy in rows() if name.startswith(prefixes) and name not in OPTIONS] == []


def test_defaults_in_tables():
    wrong = []
    for page, name, said in rows():
        if name in OPTIONS:
            expected = cell(OPTIONS[name])
            # what is too long for a table, or would end its cell, is said in words
            in_words = re.match(r"\(.*\)$", said) and (len(expected) > LONG or "|" in expected)
            if said != expected and not in_words:
                wrong.append("%s: %s is %s and the table says %s" % (page, name, expected, said))
    assert wrong == []


def test_defaults_in_the_example():
    wrong = []
    for path in EXAMPLE:
        for line in path.read_text(encoding="utf-8").splitlines():
            match = re.match(r"# (([a-z]+_[a-z0-9_]+): .*)$", line)
            if match and match.group(2) in OPTIONS:
                said, default = yaml.safe_load(match.group(1))[match.group(2)], OPTIONS[match.group(2)].get("default")
                if plain(said) != plain(default):
                    wrong.append("%s: the default of %s is %r, not %r" % (path.name, match.group(2), default, said))
    assert wrong == []


@pytest.mark.parametrize("message", sorted(set(quotations())), ids=lambda message: message[1][:40])
def test_quoted_messages_are_in_the_code(message):
    assert is_said(message[1]), message


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_a_message_that_nobody_says_is_found():
    assert is_said("…is not the store of…Something else is mounted there: see `findmnt…")
    assert not is_said("…is not the stores of…")
    assert not is_said("Something else is mounted there…is not the store of")


@pytest.mark.parametrize("name, text", [
    ("x.py", '# the door is shut. Open it\n'),
    ("x.py", 'def shut():\n    """The door is shut. Open it."""\n'),
    ("x.py", 'RETURN = "the door is shut. Open it"\n'),
    ("x.py", 'def one():\n    return "the door is shut"\n\n\ndef two():\n    return "Open it"\n'),
    ("x.yml", "# the door is shut. Open it\na: 1\n"),
    ("x.yml", "- name: the door is shut\n  remedy: Open it\n"),
    ("x.j2", "# the door is shut. Open it\nx\n"),
])
def test_what_is_said_to_nobody_is_no_message(name, text):
    assert not is_said("the door is shut…Open it", units(pathlib.Path(name), text))


@pytest.mark.parametrize("name, text", [
    ("x.py", 'def shut(door):\n    cause = f"the {door} is shut"\n    return cause + ". "\\\n        "Open it"\n'),
    ("x.py", 'class Door:\n    def shut(self):\n        raise ValueError(f"the {self} is shut. " f"Open it")\n'),
    ("x.yml", "- fail_msg: >-\n    the {{ door }} is shut.\n    Open it\n"),
    ("x", "echo \"the $door is shut.\" \\\n    'Open it'\n"),
])
def test_a_message_in_pieces(name, text):
    assert is_said("the…is shut…Open it", units(pathlib.Path(name), text))
