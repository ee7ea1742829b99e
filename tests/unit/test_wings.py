# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The wings of plugins/module_utils: what each may import. Imports run downwards only."""

from __future__ import annotations

import ast
import pathlib

import pytest
from checkout import UNIT

MODULE_UTILS = pathlib.Path(__file__).resolve().parents[2] / "plugins/module_utils"
PACKAGE = "ansible_collections.our.cloud.plugins.module_utils."
# From the ground up; a wing may import from those before it.
FLOORS = ("_common", "_site", "_guest", "_boot", "_hypervisor", "_registry", "_move", "_vm", "_cloud")
# They stand beside these, and beside each other.
BESIDE = {"_recipe": ("_common",), "_lab": ("_common",), "_oar": ("_common",)}


def below(wing):
    """The wings that a wing may import from."""
    return BESIDE[wing] if wing in BESIDE else FLOORS[:FLOORS.index(wing)]


def imports(path):
    """(wing, module) of each import from module_utils in a file."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module] if node.module.count(".") > PACKAGE.count(".") else [f"{node.module}.{alias.name}" for alias in node.names]
            if node.level:
                raise AssertionError(f"{path}: a relative import; write the whole name")
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for name in names:
            if name.startswith(PACKAGE):
                wing, dummy, module = name[len(PACKAGE):].partition(".")
                yield wing, module


def test_every_file_is_in_a_private_wing():
    assert [path.name for path in MODULE_UTILS.glob("*.py")] == []
    assert {path.name for path in MODULE_UTILS.iterdir() if path.name != "__pycache__"} == {*FLOORS, *BESIDE}


@pytest.mark.parametrize("path", sorted(MODULE_UTILS.glob("*/*.py")), ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_imports_run_downwards(path):
    wing = path.parent.name
    assert [found for found, dummy in imports(path) if found != wing and found not in below(wing)] == []


def test_no_circle_within_a_wing():
    asked = {path: {MODULE_UTILS / wing / f"{module}.py" for wing, module in imports(path) if wing == path.parent.name}
             for path in MODULE_UTILS.glob("*/*.py")}
    while asked:
        free = {path for path, needs in asked.items() if not needs & set(asked)}
        assert free, f"these import each other: {sorted(map(str, asked))}"
        asked = {path: needs for path, needs in asked.items() if path not in free}


# Rooms that are larger, each with its reason in docs/design.md
LARGER = {"_guest/lease.py", "_registry/nfs_store.py:NfsStore", "_cloud/instance.py:Instance"}


def too_large():
    """Files of more than 450 lines and classes of more than 200."""
    for path in sorted(MODULE_UTILS.glob("*/*.py")):
        name, text = f"{path.parent.name}/{path.name}", path.read_text(encoding="utf-8")
        if text.count("\n") > 450:
            yield name
        for node in ast.parse(text).body:
            if isinstance(node, ast.ClassDef) and node.end_lineno - node.lineno >= 200:
                yield f"{name}:{node.name}"


def test_nothing_is_too_large_to_be_read_at_once():
    assert set(too_large()) == LARGER
    assert [path.name for path in UNIT.rglob("*.py") if path.read_text(encoding="utf-8").count("\n") > 450] == []
