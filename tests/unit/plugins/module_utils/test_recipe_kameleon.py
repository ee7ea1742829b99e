# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Recipes in Kameleon 2's syntax: what is accepted runs, the rest is refused with what to write instead, and that runs, too.

The examples are those of its documentation (commands, recipe, context, checkpoint and the tutorials), in our words where they are longer than
a line. KAMELEON_2 names folders with steps of others, such as kameleon-recipes, that are looked at as well (with : between them).
"""
from __future__ import annotations

import os
import pathlib
import re

import pytest
from ansible_collections.our.cloud.plugins.module_utils._recipe import recipe, recipe_files, recipe_kameleon, recipe_load
from toy_appliance import Toy

DOCS = pathlib.Path(__file__).resolve().parents[4] / "docs/kameleon.md"
FOLDERS = [pathlib.Path(__file__).parent / "recipe_data", *(pathlib.Path(name) for name in os.environ.get("KAMELEON_2", "").split(":") if name)]

HEAD = "global:\n  distrib: springfield\n  type: tgz\n"
RECIPE = HEAD + "steps:\n  - root\n"
TABLES = {"PARTS": recipe_kameleon.PARTS, "GLOBAL": recipe_kameleon.GLOBAL, "VARIABLES": recipe_kameleon.VARIABLES, "STEPS": recipe_kameleon.STEPS,
          "COMMANDS": recipe_kameleon.COMMANDS}


@pytest.fixture(name="toy")
def fixture_toy(tmp_path):
    return Toy(tmp_path)


def write_recipe(toy, text):
    (toy.path / "recipes/toy.yaml").write_text(text, encoding="utf-8")


# Refused before anything is built, by the table

@pytest.mark.parametrize("key", recipe_kameleon.PARTS)
def test_a_part_of_a_recipe(toy, key):
    write_recipe(toy, f"{key}: [x]\n{RECIPE}")
    assert str(toy.error()) == f"{toy.path}/recipes/toy.yaml:1: Kameleon's {key} is not known here. Remedy: {recipe_kameleon.PARTS[key]}"
    assert not toy.base.exists()


@pytest.mark.parametrize("key", recipe_kameleon.GLOBAL)
def test_a_key_of_global(toy, key):
    write_recipe(toy, RECIPE.replace("steps:", f"  {key}: {{cmd: bash}}\nsteps:"))
    assert str(toy.error()) == f"{toy.path}/recipes/toy.yaml:4: global: Kameleon's {key} is not known here. Remedy: {recipe_kameleon.GLOBAL[key]}"
    assert not toy.base.exists()


@pytest.mark.parametrize("key", recipe_kameleon.VARIABLES)
def test_a_variable(toy, key):
    toy.recipe("root", "own")
    toy.step("own", f"- one:\n    - exec_out: echo $${{{key}}}\n")
    message = str(toy.error())
    assert message.startswith(f"{toy.path}/steps/common/own.yaml:2: macrostep own, microstep one: exec_appliance: $${key} is not in the recipe's global. ")
    assert message.endswith(f" Kameleon's {key} is not known here. Remedy: {recipe_kameleon.VARIABLES[key]}")
    write_recipe(toy, RECIPE.replace("steps:", f"  {key}: x\nsteps:") + "  - own\n")
    assert toy.why() == {"root": "never built", "own": "never built"}


@pytest.mark.parametrize("key", recipe_kameleon.COMMANDS)
@pytest.mark.parametrize("value", ["[a, b]", "a"])
def test_a_command(toy, key, value):
    toy.recipe("root", "own")
    toy.step("own", f"- one:\n    - {key}: {value}\n")
    assert str(toy.error()) == (f"{toy.path}/steps/common/own.yaml:2: microstep one: Kameleon's {key} is not known here."
                                f" Remedy: {recipe_kameleon.COMMANDS[key]}")
    assert not toy.base.exists()


@pytest.mark.parametrize("steps, said", [
    ("  - '@base'\n", "5: Kameleon's @base is not known here"),
    ("  - root:\n      - tree\n      - packages: ntp sudo\n", "7: Kameleon's step variable packages is not known here"),
    ("  - first_step:\n      - hello_microstep:\n          - exec_local: echo Hello\n", "6: Kameleon's embedded step first_step is not known here"),
])
def test_a_step_of_a_recipe(toy, steps, said):
    write_recipe(toy, HEAD + "steps:\n" + steps)
    assert str(toy.error()).startswith(f"{toy.path}/recipes/toy.yaml:{said}. Remedy: ")


@pytest.mark.parametrize("value, is_", [(" ntp sudo", "text"), ("", "empty")])
def test_a_variable_of_a_step(toy, value, is_):
    toy.recipe("root", "own")
    toy.step("own", f"- packages:{value}\n- one:\n    - exec_in: echo $${{packages}}\n")
    assert str(toy.error()).endswith(f"own.yaml:1: the microstep packages is {is_} and must be a list. Kameleon's step variable packages is not known here."
                                     f" Remedy: {recipe_kameleon.STEPS['step variable']}")


def test_an_alias_of_a_recipes_own_is_an_unknown_command(toy):
    toy.recipe("root", "own")
    toy.step("own", "- one:\n    - deb_install_in: python\n")
    assert "microstep one: there is no command deb_install_in. Commands: check_cmd, " in str(toy.error())


def test_no_word_is_in_two_tables():
    assert not set(recipe_kameleon.SAME) & (set(recipe_kameleon.COMMANDS) | set(recipe.COMMANDS))
    assert not set(recipe_kameleon.COMMANDS) & set(recipe.COMMANDS)
    assert set(recipe_kameleon.SAME.values()) <= set(recipe.COMMANDS)


@pytest.mark.parametrize("name", TABLES)
def test_the_guide_has_every_word(name):
    rows = [line for line in DOCS.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    said = {word.strip('":${}') for row in rows for word in re.findall(r"`([^`]+)`", row)}
    assert [key for key in (*TABLES[name], *recipe_kameleon.SAME) if key not in said and " " not in key] == []


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_steps_of_others_load_or_are_refused_with_a_remedy(tmp_path, folder):
    (tmp_path / "recipes").mkdir()
    (tmp_path / "steps").symlink_to(folder.resolve() / "steps")
    data, refused = recipe_files.DataDirectory(tmp_path), {}
    for path in sorted((tmp_path / "steps").rglob("*.yaml")):
        # these folders have no microsteps
        if not {"aliases", "checkpoints", "backend", "data", "env", "global"} & set(path.parts):
            try:
                recipe_load.read_microsteps(data, "x", recipe_files.Reader(data, str(path)), None, (str(path),))
            except recipe.RecipeError as exc:
                refused[path] = str(exc)
    assert [said for said in refused.values() if "Kameleon's " not in said or ". Remedy: " not in said] == []


# What is accepted runs

def test_examples_of_the_documentation_run(toy):
    write_recipe(toy, RECIPE.replace("steps:", "  message: Hello world\n  my_var: foo\n  my_nested_var: $${my_var}-bar\nsteps:") + """\
  - first_step
  - enable_something
  - software_install:
      - configure
      - install
  - save_appliance:
      - save_as_raw
""")
    toy.step("first_step", """\
# the tutorial's hello world, in all contexts, and its variable
- hello_microstep:
    - check_cmd_local: bash
    - check_cmd_out: cat
    - check_cmd_in: cat
    - exec_local: echo "Hello world, local"
    - exec_out: echo "Hello world" > out.txt
    - exec_in: echo "Hello world!" > hello.txt
- variables:
    - exec_local: 'echo "Variable value $$message: $${my_nested_var}"'
    - exec_in: &both cat hello.txt out.txt >> both.txt
    - exec_in: *both
""")
    # as in the tests of Kameleon itself
    toy.step("enable_something", "- enable_something:\n    - exec_local: echo enable_something\n")
    toy.step("software_install", "- install:\n    - exec_in: echo install >> steps\n- configure:\n    - exec_out: echo configure >> steps\n- clean:\n"
                                 "    - exec_in: rm steps\n")
    toy.step("save_appliance", "- save_as_raw:\n    - exec_local: echo save_as_raw\n    - exec_out: echo save_as_raw\n    - exec_in: echo save_as_raw\n"
                               "- save_as_tgz:\n    - exec_local: echo save_as_tgz\n")
    toy.build()
    files = toy.files()
    assert files["hello.txt"] == "Hello world!\n"
    assert files["both.txt"] == "Hello world!\nHello world\n" * 2
    assert files["steps"] == "configure\ninstall\n"
    assert "Variable value Hello world: foo-bar\n" in toy.log
    assert toy.log.count("save_as_raw\n") >= 3
    assert "save_as_tgz" not in toy.log


@pytest.mark.parametrize("command, said", [
    # the tutorial's exercise
    ("exec_local: cat /non_existing_file", "exec_current"),
    # what Kameleon passes over: a failure that is not the last, and a variable that nothing sets
    ("exec_in: cat /non_existing_file; echo more", "exec_chroot"),
    ("exec_out: echo $include_pkg", "exec_appliance"),
    # and what it keeps: a variable from one shell in the appliance to the next
    ("exec_in: x=1\n    - exec_in: echo $x", "exec_chroot"),
    # a breakpoint's message
    ("exec_local: echo copy failed; false", "copy failed"),
])
def test_what_fails(toy, command, said):
    toy.recipe("root", "own")
    toy.step("own", f"- one:\n    - {command}\n")
    error = toy.error()
    assert error.details["failed_at"] == {"macrostep": "own", "microstep": "one", "next": None}
    assert said in str(error)


# What the remedies say runs

def test_the_remedies_run(toy):
    source = toy.path / "my_file"
    source.write_text("of this computer\n", encoding="utf-8")
    write_recipe(toy, RECIPE.replace("steps:", f"  source: {source}\nsteps:") + "  - own\n  - add_foo\n  - add_bar\n")
    toy.step("own", """\
- pipe_and_copies:
    - exec_out: |
        cp $$source copied
        cat $$source | chroot . sh -c 'cat > piped'
- rescue:
    - exec_in: cat nowhere || echo "copy failed" > rescued
- test:
    - exec_out: |
        if grep -q "something" copied; then
            echo "something was found" > found
        else
            echo "something was not found!" > found
        fi
- write_in:
    - write_file: [/etc/motd, 'costs 5$ or `less`']
    - exec_local: |
        cat >$$chroot/written <<EOF
        by $(basename $$source)
        EOF
- umount_and_on_clean:
    - exec_out: |
        mkdir mounted
        mount -t tmpfs tmpfs mounted
        touch mounted/gone
""")
    toy.step("add_user", "- add_user:\n    - exec_in: echo $${name} >> users\n")
    for name in ("foo", "bar"):
        toy.step(f"add_{name}", f"- name:\n    - set_var: [name, {name}]\n- include: add_user.yaml\n")
    toy.build()
    files = toy.files()
    assert (files["copied"], files["piped"]) == ("of this computer\n",) * 2
    assert files["rescued"] == "copy failed\n"
    assert files["found"] == "something was not found!\n"
    assert (files["etc/motd"], files["written"]) == ("costs 5$ or `less`\n", "by my_file\n")
    assert files["users"] == "foo\nbar\n"
    assert "mounted/gone" not in files


def test_a_breakpoint_is_break_at(toy):
    toy.recipe("root", "own")
    toy.step("own", "- one:\n    - exec_in: touch one\n- two:\n    - exec_in: touch two\n")
    assert toy.build(break_at="own/two")["stopped_at"] == "own/two"
    toy.build()
    assert {"one", "two"} <= set(toy.files())
