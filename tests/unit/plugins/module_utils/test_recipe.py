# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Recipes are read as they were meant, or refused with file and line."""
from __future__ import annotations

import pathlib

import pytest
from ansible_collections.our.cloud.plugins.module_utils._recipe import recipe, recipe_files, recipe_load, recipe_resolve
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

DATA = pathlib.Path(__file__).parent / "recipe_data"

HEAD = "global: {distrib: springfield, type: tgz, lanes: 2}\n"
RECIPE = HEAD + "steps: [door]\n"
DOOR = "door:\n  - open:\n      - exec_current: 'true'\n"


class Folder:
    """A data directory with one recipe, r, and whatever else is put there."""

    def __init__(self, path):
        self.path = path
        for folder in ("recipes", "steps/springfield", "steps/common"):
            (path / folder).mkdir(parents=True)
        self.write("recipes/r.yaml", RECIPE)

    def write(self, name, content):
        (self.path / name).write_bytes(content.encode() if isinstance(content, str) else content)

    def resolve(self, **variables):
        data = recipe_files.DataDirectory(self.path)
        return recipe_resolve.resolve(data, recipe_load.load(data, "r", variables), "/w")

    def error(self, **variables):
        """The message, without the folder's own path."""
        with pytest.raises(recipe.RecipeError) as caught:
            self.resolve(**variables)
        return str(caught.value).replace(str(self.path), "")


@pytest.fixture(name="folder")
def fixture_folder(tmp_path):
    return Folder(tmp_path)


def commands(resolved):
    return [(command.name, *command.arguments) for macro in resolved.macrosteps for micro in macro.microsteps for command in micro.commands]


# As it was meant

def test_the_distribution_is_looked_at_before_common(folder):
    folder.write("steps/common/door.yaml", DOOR.replace("true", "common"))
    assert commands(folder.resolve()) == [("exec_current", "common")]
    folder.write("steps/springfield/door.yaml", DOOR.replace("true", "own"))
    assert commands(folder.resolve()) == [("exec_current", "own")]


def test_microsteps_are_those_that_are_named_in_that_order(folder):
    folder.write("steps/common/door.yaml", "- a: [exec_current: 1]\n- b: [exec_current: 2]\n- c: [exec_current: 3]\n")
    assert [micro.name for micro in folder.resolve().macrosteps[0].microsteps] == ["a", "b", "c"]
    folder.write("recipes/r.yaml", HEAD + "steps:\n  - door: [c, a]\n")
    assert commands(folder.resolve()) == [("exec_current", "3"), ("exec_current", "1")]


@pytest.mark.parametrize("name", ["/var/lib/kameleon/steps/common/other.yaml", "/else/where/steps/other.yaml", "common/other.yaml", "other.yaml",
                                  "steps/common/other.yaml", "./common/../other.yaml"])
def test_an_include_is_found_in_the_data_directory_in_use(folder, name):
    folder.write("steps/common/door.yaml", f"- include: {name}\n- last: [exec_current: x]\n")
    folder.write("steps/common/other.yaml", "other:\n  - first: [exec_chroot: y]\n")
    assert commands(folder.resolve()) == [("exec_chroot", "y"), ("exec_current", "x")]


def test_an_include_among_commands_inserts_commands(folder):
    folder.write("steps/common/door.yaml", "- open:\n    - exec_current: a\n    - include: other.yaml\n    - exec_current: d\n")
    folder.write("steps/common/other.yaml", "- one: [exec_current: b]\n- two: [exec_current: c]\n")
    assert commands(folder.resolve()) == [("exec_current", letter) for letter in "abcd"]


def test_values_are_the_text_that_was_typed(folder):
    folder.write("recipes/r.yaml", HEAD.replace("2", "012, t: yes, d: 2026-01-01, n: ~, f: 1.50, l: [a, 2, yes]") + "steps: [door]\n")
    folder.write("steps/common/door.yaml", "- a: [exec_current: '$$lanes $$t $$d $$n. $$f $$l']\n")
    assert commands(folder.resolve()) == [("exec_current", "012 yes 2026-01-01 . 1.50 a 2 yes")]


@pytest.mark.parametrize("text, expected", [
    ("$$lanes", "2"), ("a$$lanes.", "a2."), ("$${lanes}nd", "2nd"), ("$$lanes-$$type", "2-tgz"), ("$$lanes$$type", "2tgz"), ("$$workdir/x", "/w/x"),
    ("$$chroot", "/w/chroot"), ("$lanes", "$lanes"), ("$$", "$$"), ("kill $$; a$$", "kill $$; a$$"), ("$$1", "$$1"), ("${lanes}", "${lanes}"),
    ("$$ lanes", "$$ lanes"), ("$$$$HOME", "$$HOME"), ("$$$${PATH}$$lanes", "$${PATH}2"), ("$$$$ $$$$", "$$$$ $$$$"), ("$$$$lanes", "$$lanes"),
])
def test_substitution(folder, text, expected):
    folder.write("steps/common/door.yaml", f"- a: [exec_current: '{text}']\n")
    assert commands(folder.resolve()) == [("exec_current", expected)]


def test_global_may_refer_to_itself_and_be_overridden(folder):
    folder.write("recipes/r.yaml", HEAD.replace("2", "2, url: $$base/$$lanes, base: http://x") + "steps: [door]\n")
    folder.write("steps/common/door.yaml", DOOR)
    assert folder.resolve().variables["url"] == "http://x/2"
    assert folder.resolve(base="file:", lanes=[3, True, None]).variables["url"] == "file:/3 true "


def test_what_the_build_looks_at_may_refer_to_other_variables(folder):
    folder.write("recipes/r.yaml", "global: {town: field, distrib: spring$$town, kind: tgz, type: $$kind, home: /h, workdir_base: $$home/x}\nsteps: [door]\n")
    folder.write("steps/springfield/door.yaml", DOOR)
    assert commands(folder.resolve())
    loaded = recipe_load.load(recipe_files.DataDirectory(folder.path), "r")
    assert [loaded.text(name) for name in ("distrib", "type", "workdir_base")] == ["springfield", "tgz", "/h/x"]


def test_a_long_chain_of_variables_is_refused(folder):
    chain = "".join(f", v{number}: $$v{number - 1}" for number in range(1, 2000))
    folder.write("recipes/r.yaml", HEAD.replace("2", "2, v0: x" + chain) + "steps: [door]\n")
    folder.write(STEPS, DOOR)
    assert "refers to others more than 100 deep" in folder.error()


def test_what_set_var_says_is_known_from_there_on(folder):
    folder.write("recipes/r.yaml", RECIPE.replace("[door]", "[door, gate]"))
    folder.write("steps/common/door.yaml", "- a:\n    - exec_current: $$lanes\n    - set_var: [lanes, $$lanes$$type]\n    - exec_current: $$lanes\n")
    folder.write("steps/common/gate.yaml", "- a: [exec_current: $$lanes]\n")
    assert commands(folder.resolve()) == [("exec_current", "2"), ("set_var", "lanes", "2tgz"), ("exec_current", "2tgz"), ("exec_current", "2tgz")]


# Refused

STEPS = "steps/common/door.yaml"

BAD_RECIPES = [
    ("", ": it is empty"),
    ("a: b: c\n", ":1: it is not YAML: mapping values are not allowed here"),
    ("global:\n\tdistrib: x\n", ":2: it is not YAML: a tab where YAML wants spaces. Remedy: indent with spaces"),
    ("global:\n  distrib: \"\\UFFFFFFFF\"\n", ": it is not YAML that can be read: "),
    (b"global:\n  - \xff\n", ":2: it is not UTF-8 text"),
    ("a\nb\x07\n", ":2: it is not YAML: the character 7 is not allowed"),
    ("[" * 5000, ": it is not YAML that can be read: "),
    ("- a\n", ":1: a recipe is a list and must be a mapping"),
    ("a: 1\nglobal: {}\n", ":1: a recipe has the parts global and steps, not a"),
    ("global: {}\n", ":1: the recipe has no part steps"),
    ("steps: [door]\n", ":1: the recipe has no part global"),
    ("global:\nsteps: [door]\n", ":1: global is empty and must be a mapping"),
    ("global: {type: tgz}\nsteps: [door]\n", ":1: global has no distrib, which every recipe needs"),
    ("global:\n  distrib: springfield\nsteps: [door]\n", ":2: global has no type, which every recipe needs"),
    ("global:\n  distrib: s\n  type: exe\nsteps: [door]\n", ":3: type is exe and must be one of tar, tgz, raw, qcow2, iso, triple"),
    ("global:\n  distrib: ../s\n  type: tgz\nsteps: [door]\n", ":2: distrib is '../s', which cannot be the name of a folder"),
    ("global:\n  distrib: s\n  type: tgz\n  type: raw\nsteps: [door]\n", ":4: type is there twice in global, first in line 3"),
    ("global:\n  distrib: s\n  type: tgz\n  a b: raw\nsteps: [door]\n", ":4: global: 'a b' cannot be the name of a variable"),
    ("global:\n  workdir: s\nsteps: [door]\n", ":2: global: workdir is set by the build. Remedy: choose another name"),
    ("global:\n  x: !door s\nsteps: [door]\n", ":2: global: x has the tag !door, which means nothing here"),
    ("global:\n  x: \"a\\0b\"\nsteps: [door]\n", ":2: global: x has a character that no file can have"),
    ("global:\n  <<: {a: b}\nsteps: [door]\n", ":2: global has a merge key (<<), which is not followed. Remedy: write out what it would bring"),
    ("global:\n  distrib: s\n  type: tgz\n  workdir_base: $$workdir/x\nsteps: [door]\n",
     ":4: global: workdir_base refers to $$workdir, which is not known before distrib, type and workdir_base are"),
    (HEAD + "steps: door\n", ":2: steps is text and must be a list"),
    (HEAD + "steps: []\n", ":2: steps is an empty list"),
    (HEAD + "steps:\n  - door:\n", ":3: the microsteps of door is empty and must be a list"),
    (HEAD + "steps:\n  - door: []\n", ":3: the microsteps of door is an empty list"),
    (HEAD + "steps:\n  - [door]\n", ":3: a macrostep is a list and must be text"),
    (HEAD + "steps:\n  - door: [a]\n    gate: [b]\n", ":3: a macrostep must have one key and has 2: door, gate. Is a line indented too little or too much?"),
    (HEAD + "steps:\n  - ../door\n", ":3: a macrostep is '../door' and may only have letters, digits and _ . + -"),
    (HEAD + "steps:\n  - door\n  - gate\n  - door\n", ":5: the macrostep door is there twice, first in /recipes/r.yaml:3"),
    (HEAD + "steps:\n  - door: [a, b, a]\n", ":3: the microstep a of door is there twice, first in /recipes/r.yaml:3"),
    (HEAD + "steps:\n  - gate\n", ":3: there is no macrostep gate: neither steps/springfield/gate.yaml nor steps/common/gate.yaml is in "),
    (HEAD + "steps:\n  - door: [open, shut]\n", ":3: the macrostep door has no microstep shut. Microsteps of /steps/common/door.yaml: open"),
    ("global:\n  distrib: s\n  type: tgz\n  a: $$b\n  b: $$a\nsteps: [door]\n", ":5: global: a -> b -> a is a loop"),
    ("global:\n  distrib: s\n  type: tgz\n  a: $$b\nsteps: [door]\n", ":4: global: a refers to $$b, which is not in the recipe's global. "
     "Known: a, chroot, distrib, type, workdir"),
]

BAD_STEPS = [
    ("gate: []\n", ":1: the file of the macrostep door describes gate"),
    ("door: []\n", ":1: a macrostep is an empty list"),
    ("door: x\n", ":1: a macrostep is text and must be a list"),
    ("- open\n", ":1: a microstep is text and must be a mapping"),
    ("- open:\n", ":1: the microstep open is empty and must be a list"),
    ("- open: true\n", ":1: the microstep open is text and must be a list"),
    ("- exec_current: true\n", ":1: exec_current is a command and must be inside of a microstep"),
    ("- open:\n    - exec_curent: true\n", ":2: microstep open: there is no command exec_curent. Commands: check_cmd, check_appliance_cmd, "
     "exec_current, exec_appliance, exec_chroot, append_file, write_file, set_var, include"),
    ("- open:\n    - exec_current\n", ":2: a command of open is text and must be a mapping"),
    ("- open:\n    - exec_current:\n", ":2: exec_current is empty and must be text"),
    ("- open:\n    - exec_current: [a]\n", ":2: exec_current is a list and must be text"),
    ("- open:\n    - exec_current: a\n      exec_chroot: b\n", ":2: a command of open must have one key and has 2: exec_current, exec_chroot."),
    ("- open:\n    - write_file: /a\n", ":2: write_file must be a list of two: path and content"),
    ("- open:\n    - write_file:\n        - /a\n", ":3: write_file must be a list of two: path and content"),
    ("- open:\n    - write_file: [/a, [b]]\n", ":2: the content of write_file is a list and must be text"),
    ("- open:\n    - set_var: [a-b, c]\n", ":2: set_var: a-b cannot be the name of a variable of the shell"),
    ("- open:\n    - set_var: [BASH_ENV, c]\n", ":2: set_var: BASH_ENV cannot be the name of a variable of the shell"),
    ("- open: [exec_current: a]\n- open: [exec_current: b]\n", ":2: the microstep open is there twice, first in /steps/common/door.yaml:1"),
    ("- open:\n    - exec_current: |\n        a\n\tb\n", ":4: it is not YAML: a tab where YAML wants spaces. Remedy: indent with spaces"),
    ("- open:\n    - exec_current: $$gates\n", ":2: macrostep door, microstep open: exec_current: $$gates is not in the recipe's global. "
     "Known: chroot, distrib, lanes, type, workdir"),
    ("- open:\n    - exec_current: $$lanes-x\n", ":2: macrostep door, microstep open: exec_current: $$lanes-x is not in the recipe's global. "
     "If $$lanes is meant: $${lanes}-x. Known: "),
    ("- open:\n    - set_var: [now, $(date)]\n    - exec_current: $$now\n", ":3: macrostep door, microstep open: exec_current: $$now is not known "
     "before the build runs (set_var in /steps/common/door.yaml:2). Remedy: write $now"),
    ("- open:\n    - write_file: [/a/../../b, x]\n", ":2: macrostep door, microstep open: write_file: the path /a/../../b leads out of the appliance"),
    ("- open:\n    - append_file: [/a/, x]\n", ":2: macrostep door, microstep open: append_file: the path '/a/' is not that of a file"),
    ("- open:\n    - append_file: [/, x]\n", ":2: macrostep door, microstep open: append_file: the path '/' is not that of a file"),
    ("- include: gate.yaml\n", ":1: include: there is no file gate.yaml below steps/, steps/springfield/ or steps/common/ of "),
    ("- include: ../recipes/r.yaml\n", ":1: include: ../recipes/r.yaml is not below steps/ of "),
    ("- include: /etc/passwd\n", ":1: include: /etc/passwd is not below steps/ of "),
    ("- include: [a]\n", ":1: include is a list and must be text"),
    ("- include: door.yaml\n", ":1: include: a loop, steps/common/door.yaml -> steps/common/door.yaml"),
    ("- open:\n    - include: door.yaml\n", ":2: include: a loop, steps/common/door.yaml -> steps/common/door.yaml"),
]


@pytest.mark.parametrize("content, said", BAD_RECIPES, ids=lambda value: str(value)[:40])
def test_a_bad_recipe_is_refused_with_its_line(folder, content, said):
    folder.write("recipes/r.yaml", content)
    folder.write(STEPS, DOOR)
    assert folder.error().startswith("/recipes/r.yaml" + said)


@pytest.mark.parametrize("content, said", BAD_STEPS, ids=lambda value: str(value)[:40])
def test_a_bad_macrostep_is_refused_with_its_line(folder, content, said):
    folder.write(STEPS, content)
    assert folder.error().startswith("/" + STEPS + said)


def test_a_loop_over_several_files_is_named(folder):
    folder.write(STEPS, "- include: a.yaml\n")
    folder.write("steps/common/a.yaml", "- x: [exec_current: 1]\n- include: b.yaml\n")
    folder.write("steps/springfield/b.yaml", "- include: common/door.yaml\n")
    assert folder.error() == ("/steps/springfield/b.yaml:1: include: a loop, "
                              "steps/common/door.yaml -> steps/common/a.yaml -> steps/springfield/b.yaml -> steps/common/door.yaml")


@pytest.mark.parametrize("variables, said", [
    ({"gates": 1}, "the recipe has no variable gates in global that could be set. Variables: distrib, lanes, type"),
    ({"lanes": {"a": 1}}, "the variable lanes is set to {'a': 1} and must be text, a number or a list of these"),
    ({"type": "exe"}, "type is exe and must be one of"),
])
def test_bad_variables_are_refused(folder, variables, said):
    folder.write(STEPS, DOOR)
    assert folder.error(**variables).startswith("/recipes/r.yaml: " + said)


@pytest.mark.parametrize("name", ["q", "../steps/common/door", "", "r.yaml"])
def test_a_recipe_that_is_not_there(folder, name):
    with pytest.raises(recipe.RecipeError, match=r"there is no recipe .* in .*/recipes\. Recipes: r$"):
        recipe_load.load(recipe_files.DataDirectory(folder.path), name)


def test_a_folder_that_is_no_data_directory(tmp_path):
    with pytest.raises(recipe.RecipeError, match=r"is no data directory: it has no folder recipes\. Remedy: "):
        recipe_files.DataDirectory(tmp_path)


# No input crashes it

WORDS = ["global", "steps", "door", "include", "distrib", "type", "open", *recipe.COMMANDS]
KEYS = some.sampled_from([*WORDS, "<<", "", "*a", "&a", "null", "$$lanes", "$$x", "!!int x"])
SCALARS = some.one_of(some.text(max_size=8), KEYS, some.sampled_from(["tgz", "springfield", "door.yaml", "/etc/x", "|", ">-"]))
TREES = some.recursive(SCALARS, lambda inner: some.one_of(some.lists(inner, max_size=3), some.dictionaries(KEYS, inner, max_size=3)), max_leaves=12)
RANDOMLY = settings(max_examples=150, deadline=None, database=None, print_blob=True, suppress_health_check=[HealthCheck.function_scoped_fixture])


def flow(tree):
    """A tree as YAML that is sometimes none."""
    if isinstance(tree, dict):
        return "{%s}" % ", ".join(f"{key}: {flow(value)}" for key, value in tree.items())
    return "[%s]" % ", ".join(map(flow, tree)) if isinstance(tree, list) else tree


def encoded(text):
    return text.encode(errors="replace")


def check(folder):
    """A recipe comes out of it or a RecipeError that names a file."""
    try:
        resolved = folder.resolve()
    except recipe.RecipeError as exc:
        assert str(folder.path) in str(exc)
    else:
        assert all(macro.microsteps and all(micro.commands for micro in macro.microsteps) for macro in resolved.macrosteps)


@RANDOMLY
@given(content=some.one_of(some.binary(max_size=200), some.text(max_size=200).map(encoded), TREES.map(flow).map(encoded)))
def test_no_recipe_crashes(folder, content):
    folder.write("recipes/r.yaml", content)
    folder.write(STEPS, DOOR)
    check(folder)


@RANDOMLY
@given(content=some.one_of(some.binary(max_size=200), TREES.map(flow).map(encoded), TREES.map(flow).map("- open: [{}]".format).map(encoded)))
def test_no_macrostep_crashes(folder, content):
    folder.write("recipes/r.yaml", RECIPE)
    folder.write(STEPS, content)
    check(folder)


@RANDOMLY
@given(text=some.text(alphabet=some.sampled_from("$${}lanes-_ \n\"'\\x"), max_size=20))
def test_no_value_crashes(folder, text):
    quoted = "".join(f"\\u{ord(char):04x}" for char in text)
    folder.write(STEPS, f'- open:\n    - write_file: [/a, "{quoted}"]\n    - set_var: [a, "{quoted}"]\n    - exec_current: "x{quoted}$$a"\n')
    check(folder)


@RANDOMLY
@given(lines=some.permutations((RECIPE + DOOR).splitlines(keepends=True)), cut=some.integers(0, 60),
       extra=some.sampled_from(["\t", "  ", "- ", ": ", "'", "\0"]))
def test_no_mistake_in_typing_crashes(folder, lines, cut, extra):
    text = "".join(lines)
    folder.write("recipes/r.yaml", text[:cut] + extra + text[cut:])
    folder.write(STEPS, DOOR[:cut] + extra + DOOR[cut:])
    check(folder)


def test_a_value_is_quoted_for_the_shell(tmp_path):
    resolved = given(tmp_path, "exec_current: say $${word@Q} $${both@Q} $$word", "a b")
    assert resolved.macrosteps[0].microsteps[0].commands[0].arguments == ("say 'a b' 'a b and it'\\''s' a b",)


@pytest.mark.parametrize("command", ["exec_current: say $$word", "exec_appliance: 'say \"$$word\"'", "exec_chroot: say $${both}", "set_var: [x, $$word]"])
@pytest.mark.parametrize("value", ["a'b", "$(b)", "`b`", 'a"b', "a;b", "a\nb", "a|b", "a\\", "#", "a&b", "a>b"])
def test_a_value_that_is_given_cannot_be_a_command(tmp_path, command, value):
    with pytest.raises(recipe.RecipeError, match=r"in which the shell would find more than a value. Remedy: write \$\$\{(word|both)@Q\}, without quotes"):
        given(tmp_path, command, value)


@pytest.mark.parametrize("command", ["exec_current: say $${word@Q} $${both@Q}", "write_file: [/x, $$word]", "append_file: [/x, $$both]"])
def test_where_a_value_can_be_anything(tmp_path, command):
    given(tmp_path, command, "a'b $(c)")


def test_a_recipes_own_text_may_be_commands(tmp_path):
    resolved = given(tmp_path, "exec_current: $$code", "x", code="cat <x | sort; echo 'it'")
    assert resolved.macrosteps[0].microsteps[0].commands[0].arguments == ("cat <x | sort; echo 'it'",)


def given(folder, command, value, code="x"):
    """A recipe of one command, with the variable word set by who builds."""
    (folder / "recipes").mkdir()
    (folder / "steps/common").mkdir(parents=True)
    (folder / "recipes/x.yaml").write_text(
        f"global:\n  distrib: d\n  type: tgz\n  word: w\n  both: $$word and it's\n  code: |-\n    {code}\nsteps: [s]\n".replace(
            "both: $$word and it's", 'both: "$$word and it\'s"'), encoding="utf-8")
    (folder / "steps/common/s.yaml").write_text(f"- m:\n    - {command}\n", encoding="utf-8")
    data = recipe_files.DataDirectory(folder)
    return recipe_resolve.resolve(data, recipe_load.load(data, "x", {"word": value}), "/w")
