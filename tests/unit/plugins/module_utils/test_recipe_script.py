# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the scripts of a recipe are, exactly."""
from __future__ import annotations

import pathlib
import shutil
import subprocess

import pytest
from ansible_collections.our.cloud.plugins.module_utils._recipe import recipe, recipe_files, recipe_load, recipe_resolve, recipe_sandbox, recipe_script

DATA = pathlib.Path(__file__).parent / "recipe_data"

BOOTSTRAP = """\
#!/usr/bin/env bash
# bootstrap of the recipe bowling-alley, from steps/springfield/bootstrap.yaml. The build runs it as a whole; changes belong into that file.
set -Eeuo pipefail
. "$RECIPE_LIBRARY"

recipe_microstep tools
recipe_check_cmd steps/springfield/bootstrap.yaml:4 <<'EOF'
tar
EOF
recipe_check_appliance_cmd steps/springfield/bootstrap.yaml:5 <<'EOF'
sh
EOF

recipe_microstep unpack
recipe_exec_current steps/springfield/bootstrap.yaml:7 <<'EOF'
RC=0
test -e /w/chroot || RC=$?
echo "$$ is the shell's, $RC too" > /w/note
EOF
recipe_exec_appliance steps/springfield/bootstrap.yaml:11 <<'EOF'
cp file://./build-area//*.deb ./var/lib/debs/
EOF
recipe_exec_chroot steps/springfield/bootstrap.yaml:12 <<'EOF_'
cat <<EOF
EOF
dpkg --install /var/lib/debs/*.deb
EOF_

recipe_finish
"""

LANES = """\
#!/usr/bin/env bash
# lanes of the recipe bowling-alley, from steps/springfield/lanes.yaml. The build runs it as a whole; changes belong into that file.
set -Eeuo pipefail
. "$RECIPE_LIBRARY"

recipe_microstep paint
recipe_set_var steps/common/lanes.yaml:8 color <<'EOF'
bright homer moe
EOF
recipe_exec_appliance steps/common/brush.yaml:3 <<'EOF'
paint ./lanes "bright homer moe"
EOF

recipe_microstep open_doors
recipe_set_var steps/common/lanes.yaml:5 opened <<'EOF'
$(date +%s)
EOF
recipe_exec_chroot steps/common/lanes.yaml:6 <<'EOF'
test -n "$opened"
EOF

recipe_microstep announce
recipe_write_file steps/springfield/lanes.yaml:5 /etc/motd <<'EOF'
1.20 lanes, bright homer moe, for homer moe.
The rest is at ftp://mirror.example.org/alley/springfield-lanes
EOF
recipe_append_file steps/springfield/lanes.yaml:10 /etc/apt/sources.list <<'EOF'
deb ftp://mirror.example.org/alley/ ./
EOF
recipe_write_file steps/springfield/lanes.yaml:13 etc/empty <<'EOF'
EOF

recipe_finish
"""

CLEAN = """\
#!/usr/bin/env bash
# clean of the recipe bowling-alley, from steps/common/clean.yaml. The build runs it as a whole; changes belong into that file.
set -Eeuo pipefail
. "$RECIPE_LIBRARY"

recipe_microstep all
recipe_exec_chroot steps/common/clean.yaml:4 <<'EOF'
rm -rf /tmp/$PAINTED "bright homer moe"
EOF

recipe_finish
"""


@pytest.fixture(name="alley", scope="module")
def fixture_alley():
    data = recipe_files.DataDirectory(DATA)
    return recipe_resolve.resolve(data, recipe_load.load(data, "bowling-alley"), "/w")


def test_scripts_are_exactly_these(alley):
    assert [recipe_script.script(alley.name, macrostep) for macrostep in alley.macrosteps] == [BOOTSTRAP, LANES, CLEAN]


def test_scripts_can_be_read_by_bash(alley):
    recipe_script.check_syntax(alley.macrosteps)
    for macrostep in alley.macrosteps:
        subprocess.run(["bash", "-n"], input=recipe_script.script(alley.name, macrostep), text=True, check=True)


def test_a_part_of_a_macrostep(alley):
    lines = recipe_script.script(alley.name, alley.macrosteps[1], 1, 2, {"open_doors": "abc", "announce": "def"}).splitlines()
    assert lines[4:6] == ["", "recipe_microstep open_doors"]
    assert lines[-4:] == ["EOF", "recipe_checkpoint abc", "", "recipe_finish"]
    assert [line for line in lines if line.startswith("recipe_microstep")] == ["recipe_microstep open_doors"]


@pytest.mark.parametrize("text", ["", "a", "a\n", "\n", "a\n\n", "\ta  \n b", "EOF\nEOF_\n", "$x `y` \\ \"'\n", "é\r\n"])
def test_a_text_arrives_as_it_is(text):
    where = recipe.Where("/d/x.yaml", "x.yaml", 1)
    lines = recipe_script.call(recipe.Command("write_file", ("/a b", text), where))
    program = "\n".join(["recipe_write_file() { printf '%s|%s|' \"$@\"; cat; }", *lines, ""])
    done = subprocess.run(["bash"], input=program.encode(), capture_output=True, check=True)
    assert done.stdout.decode() == "x.yaml:1|/a b|" + (text if not text or text.endswith("\n") else text + "\n")


def macrosteps(kind, *arguments):
    where = recipe.Where("/d/steps/x.yaml", "steps/x.yaml", 7)
    return [recipe.Macrostep("door", (recipe.Microstep("open", (recipe.Command(kind, arguments, where),), where),), where)]


@pytest.mark.parametrize("arguments, said", [
    (("exec_current", "if true; then"), "exec_current: line 2: syntax error: unexpected end of file"),
    (("exec_chroot", "}"), "exec_chroot: line 1: syntax error near unexpected token `}'"),
    (("exec_appliance", "cat <<X\nabc"), "exec_appliance: line 3: warning: here-document at line 1 delimited by end-of-file (wanted `X')"),
    (("set_var", "a", '"'), "set_var: line 1: unexpected EOF while looking for matching `\"'"),
])
def test_what_bash_cannot_read_is_refused(arguments, said):
    with pytest.raises(recipe.RecipeError) as caught:
        recipe_script.check_syntax(macrosteps(*arguments))
    assert str(caught.value).startswith("/d/steps/x.yaml:7: macrostep door, microstep open: ")
    assert said.split(": ", 2)[0] in str(caught.value)
    assert said.split(": ", 2)[2] in str(caught.value)


def test_what_is_included_often_is_read_once(monkeypatch):
    """Files that include others eight times, five deep, have 32768 commands, and bash takes a moment for each."""
    read = []
    monkeypatch.setattr(recipe_script, "refuse_unreadable", lambda command, text, *dummy: read.append(text))
    one, other = macrosteps("exec_current", "true"), macrosteps("exec_current", "false")
    recipe_script.check_syntax([*one * 100, *other * 100])
    assert read == ["true", "false"]


def test_what_is_no_script_is_not_looked_at():
    recipe_script.check_syntax(macrosteps("write_file", "/a", "if then ("))


@pytest.mark.parametrize("text", [recipe_script.LIBRARY, recipe_sandbox.ENTER, recipe_sandbox.PROBE], ids=["library", "enter", "probe"])
@pytest.mark.skipif(not shutil.which("shellcheck"), reason="no shellcheck here; make test installs it")
def test_the_shell_code_is_clean(text):
    done = subprocess.run(["shellcheck", "--shell=bash", "--severity=warning", "-"], input=text, text=True, capture_output=True, check=False)
    assert done.stdout == ""
