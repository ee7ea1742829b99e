# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The documentation of the modules says what they take; sanity asks the same, and takes its time."""

from __future__ import annotations

import importlib
import pathlib

import pytest
import yaml

PLUGINS = pathlib.Path(__file__).resolve().parents[2] / "plugins"
MODULES = sorted(path.stem for path in (PLUGINS / "modules").glob("[a-z]*.py"))


class Asked(Exception):
    """A module has said what it takes."""


def imported(kind, name):
    return importlib.import_module(f"ansible_collections.our.cloud.plugins.{kind}.{name}")


def fragment(name):
    """What is in our.cloud.FILE or our.cloud.FILE.PART."""
    path, dummy, part = name.removeprefix("our.cloud.").partition(".")
    return yaml.safe_load(getattr(imported("doc_fragments", path).ModuleDocFragment, part.upper() or "DOCUMENTATION"))


def documented(module):
    """{option: its documentation}"""
    docs = yaml.safe_load(module.DOCUMENTATION)
    options = dict(docs.get("options") or {})
    for name in docs["extends_documentation_fragment"]:
        options.update(fragment(name).get("options", {}))
    return options


def sentences(part):
    """All texts of a piece of documentation that take more than a few words."""
    if isinstance(part, str):
        return {part} if len(part) > 30 else set()
    return set().union(*map(sentences, part.values() if isinstance(part, dict) else part if isinstance(part, list) else ()))


def said(options, inside):
    """What documentation and argument specification have in common."""
    keys = ("type", "required", "default", "choices", "elements")
    return {name: ({key: option[key] for key in keys if option.get(key)}, said(option.get(inside) or {}, inside)) for name, option in options.items()}


@pytest.mark.parametrize("name", MODULES)
def test_options(name, monkeypatch):
    module = imported("modules", name)

    def stop(**arguments):
        raise Asked(arguments["argument_spec"])

    monkeypatch.setattr(module, "AnsibleModule", stop)
    with pytest.raises(Asked) as asked:
        module.main()
    assert said(documented(module), "suboptions") == said(asked.value.args[0], "options")


def test_repeated():
    """What three modules say in the same words is in a fragment."""
    where = {}
    for name in MODULES:
        docs = yaml.safe_load(imported("modules", name).DOCUMENTATION)
        for text in sentences({key: docs.get(key, []) for key in ("author", "description", "notes", "options", "requirements")}):
            where.setdefault(text, []).append(name)
    assert {text: names for text, names in where.items() if len(names) > 2} == {}
