# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The guides and the example inventory say what the code says: variables, defaults, messages, files."""

from __future__ import annotations

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


def sources():
    """The text of every file of the collection's code, string literals joined, white space made one."""
    for folder in ("roles", "plugins", "playbooks"):
        for path in sorted((CHECKOUT / folder).rglob("*")):
            if path.is_file() and path.suffix in (".py", ".yml", ".yaml", ".j2", "") and "__pycache__" not in path.parts:
                text = path.read_text(encoding="utf-8").replace('\\"', '"')
                yield re.sub(r"\s+", " ", re.sub(r'"\s*\n\s*f?"', "", text))


SOURCES = list(sources())


def is_said(message):
    """Whether some file has all parts of a message, in order; … stands for what varies."""
    parts = [re.escape(part.strip()) for part in message.split("…") if part.strip()]
    pattern = re.compile(r".{0,400}?".join(parts))
    return any(pattern.search(text) for text in SOURCES)


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
