# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The recipes that come with the collection can be built, and the guide shows them as they are."""

from __future__ import annotations

import pathlib
import re
import tarfile

import pytest
from ansible_collections.our.cloud.plugins.module_utils import recipe, recipe_build, recipe_script

CHECKOUT = pathlib.Path(__file__).resolve().parents[2]
DATA = recipe.DataDirectory(CHECKOUT / "appliances")
GUIDE = (CHECKOUT / "docs/recipes.md").read_text(encoding="utf-8")
SHOWN = re.findall(r"^`(appliances/[^`]+)`:\n\n```yaml\n(.*?)```", GUIDE, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("name", DATA.recipes())
def test_recipe(name):
    resolved = recipe.resolve(DATA, recipe.load(DATA, name), "/w")
    recipe_script.check_syntax(resolved.macrosteps)


@pytest.mark.parametrize("name, text", SHOWN, ids=[name for name, dummy in SHOWN])
def test_the_guide_shows_the_file(name, text):
    lines = (CHECKOUT / name).read_text(encoding="utf-8").splitlines(keepends=True)
    assert text == "".join(line for line in lines if not line.startswith(("---", "#")))


def test_the_guide_shows_all_of_the_example():
    assert sorted(name for name, dummy in SHOWN) == [
        "appliances/recipes/hello.yaml", "appliances/steps/common/greeting.yaml", "appliances/steps/this-computer/bootstrap.yaml"]


def test_the_guide_has_every_command_and_type():
    commands = re.findall(r"^\| `(\w+): ", GUIDE, re.MULTILINE)
    assert commands == [*recipe.COMMANDS[:5], "write_file", "append_file", "set_var", "include"]
    assert re.findall(r"^\| `(\w+)` \| (?:NAME\.|vmlinuz)", GUIDE, re.MULTILINE) == list(recipe.TYPES)


def test_the_example_says_hello(tmp_path):
    params = {"recipe": "hello", "data_dir": str(CHECKOUT / "appliances"), "workdir_base": str(tmp_path), "state": "present", "variables": {},
              "directory": None,
              "break_at": None, "start_at": None, "on_error": "abort", "checkpoints": "macrostep", "dry_run": False, "progress": None}
    with tarfile.open(recipe_build.ensure(params, False, False)["files"]["image"]) as tar:
        assert tar.extractfile("./etc/motd").read() == b"Hello, world\nThere are 4 programs here.\n"
