# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The example files of Kameleon's specification of 2009: each loads, and macrosteps whose files exist become scripts that bash can read.

They are not part of the project. They are looked for in the folder that KAMELEON_2009 names, else in shared/kameleon-2009 beside the
checkout; the summary of a run says how many there were. Recipes of our own in the same form are looked at always.
"""
from __future__ import annotations

import pathlib
import subprocess

import pytest
from ansible_collections.our.cloud.plugins.module_utils._recipe import recipe, recipe_files, recipe_load, recipe_resolve, recipe_script
from kameleon_2009 import kameleon_folder

OWN = pathlib.Path(__file__).parent / "recipe_data"
FOLDER = kameleon_folder()
FOLDERS = [OWN] + ([FOLDER] if FOLDER else [])


def below(pattern):
    return [pytest.param(folder, path, id=f"{folder.name}/{path.relative_to(folder)}") for folder in FOLDERS for path in sorted(folder.glob(pattern))]


@pytest.mark.parametrize("folder, path", below("recipes/*.yaml"))
def test_recipe(folder, path):
    data = recipe_files.DataDirectory(folder)
    loaded = recipe_load.load(data, path.stem)
    names = recipe_resolve.Names(loaded, "/w")
    there = [step for step in loaded.steps if data.macrostep_file(loaded.text("distrib"), step.name)]
    assert there
    for step in there:
        macrostep = recipe_resolve.fill(recipe_resolve.select(data, loaded, step), names)
        recipe_script.check_syntax([macrostep])
        subprocess.run(["bash", "-n"], input=recipe_script.script(loaded.name, macrostep), text=True, check=True)
    if len(there) < len(loaded.steps):
        with pytest.raises(recipe.RecipeError, match=rf"^{path}:\d+: there is no macrostep "):
            recipe_resolve.resolve(data, loaded, "/w")


@pytest.mark.parametrize("folder, path", below("steps/*/*.yaml"))
def test_macrostep(folder, path):
    data = recipe_files.DataDirectory(folder)
    microsteps = recipe_load.read_microsteps(data, path.parent.name, recipe_files.Reader(data, str(path)), None, (str(path),))
    assert microsteps
    assert {microstep.where.path.partition("/steps/")[0] for microstep in microsteps} == {str(folder)}
