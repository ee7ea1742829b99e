# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Builds: from nothing and again, and each way in which one fails."""

from __future__ import annotations

import os
import re

import pytest
from build_samples import BOUND, failing
from toy_appliance import ROOT


def test_from_nothing_and_again(toy):
    toy.recipe("root", "files", "end")
    toy.step("files", """\
- one:
    - write_file: [/etc/motd, "hello $HOME"]
    - append_file:
        - etc/motd
        - |
          second
    - write_file: [/etc/empty, '']
    - set_var: [computed, "$(echo from here) $plain"]
""".replace("$plain", ""))
    toy.step("end", """\
- one:
    - check_cmd: cat tar
    - check_appliance_cmd: cat touch
    - exec_chroot: |
        test "$(cat /proc/1/comm)" = bash
        test ! -w /proc/sys/kernel/hostname
        echo "$computed, $PWD, $HOME, ${TMPDIR-none}" >/etc/seen
        echo gone >/dev/null
        ls /dev | cat >/etc/devices
""")
    assert toy.why() == {"root": "never built", "files": "never built", "end": "never built"}
    assert not toy.base.exists()
    result = toy.build()
    assert result["changed"] is True
    assert result["files"] == {"image": str(toy.archive)}
    files = toy.files()
    assert files["etc/motd"] == "hello $HOME\nsecond\n"
    assert files["etc/empty"] == ""
    assert files["etc/seen"] == "from here , /, /root, none\n"
    assert files["etc/devices"].split() == ["fd", "full", "null", "ptmx", "pts", "random", "shm", "stderr", "stdin", "stdout", "tty", "urandom", "zero"]
    assert not [name for name in files if name.startswith(("dev/", "proc/"))]

    assert toy.why() == {}
    made = toy.archive.stat().st_mtime_ns
    assert toy.build()["changed"] is False
    assert toy.archive.stat().st_mtime_ns == made
    toy.archive.unlink()
    assert toy.build(check_mode=True)["changed"] is True
    assert toy.build()["changed"] is True
    assert toy.archive.exists()


def test_absent(toy):
    toy.build()
    assert toy.build(check_mode=True, state="absent")["changed"] is True
    assert toy.workdir.exists()
    assert toy.build(state="absent")["changed"] is True
    assert os.listdir(toy.base) == []
    assert toy.build(state="absent")["changed"] is False


def test_variables_pass_from_macrostep_to_macrostep(toy):
    toy.recipe("root", "a", "b")
    toy.step("a", """\
- set:
    - exec_current: |
        plain='it'"'"'s "$x" `y`'
        list=(1 "two words" $'three\\nlines')
        export exported=yes
        PATH=$PATH:/opt
    - exec_appliance: |
        there=$(ls usr/bin/dog) gone=soon
        unset gone
    - set_var: [said, "$there, ${#list[@]}"]
- show: [exec_current: 'test "$plain" = "it''s \\"\\$x\\" \\`y\\`" && test "${list[2]}" = $''three\\nlines''']
""")
    toy.step("b", """\
- show:
    - exec_current: |
        printf '%s\\n' "$plain" "${list[@]}" "$said" "${gone-not there}" "${PATH##*:}" >"$TMPDIR/../seen"
    - exec_appliance: printf '%s\\n' "$exported" "$plain" >etc/seen
    - exec_chroot: echo "$exported $said ${plain-not exported}" >>/etc/seen
""")
    toy.build()
    assert (toy.workdir / "seen").read_text() == "it's \"$x\" `y`\n1\ntwo words\nthree\nlines\nusr/bin/dog, 3\nnot there\n/opt\n"
    assert toy.files()["etc/seen"] == "yes\nit's \"$x\" `y`\nyes usr/bin/dog, 3 not exported\n"


# Failures

def test_a_failure_names_everything(shared):
    toy = shared
    error = failing(toy, "exec_chroot: |\n    echo before\n    echo out of the box >&2\n    cat /nowhere | cat >/dev/null\n    echo after")
    assert str(error) == (
        f"toy: macrostep bad, microstep broken: exec_chroot ({toy.path}/steps/common/bad.yaml:3) failed with status 1: "
        "a pipe that ends with cat > /dev/null (status 1 0). "
        f"Last lines of {toy.workdir}/build.log:\nbefore\nout of the box\ncat: /nowhere: No such file or directory\nThe next build resumes with bad."
    )
    assert error.details["failed_at"] == {"macrostep": "bad", "microstep": "broken", "next": "bad/never"}


@pytest.mark.parametrize("command, status, said, tail", [
    ("exec_current: |\n    true\n    (exit 42)\n    true", 42, "( exit 42 )", "(nothing)"),
    ("exec_current: ls /nowhere | cat", 2, "a pipe that ends with cat (status 2 0)", "No such file"),
    ("exec_current: x=$(ls /nowhere; true)", 2, "x=$(ls /nowhere; true)", "No such file"),
    ("exec_current: echo $nowhere", 1, "echo $nowhere", "nowhere: unbound variable"),
    ("exec_current: exit", 0, "exit, which ends the whole macrostep: return ends a command early", "(nothing)"),
    ("exec_current: kill -KILL $$", 137, "", "Killed"),
    ("exec_appliance: |\n    true\n    cat nowhere\n    true", 1, "cat nowhere", "cat: nowhere: No such file"),
    ("exec_appliance: exit 300", 44, "exit 300", "(nothing)"),
    ("exec_chroot: nothing-like-this", 127, "nothing-like-this", "command not found"),
    ("check_appliance_cmd: cat tar", 1, "the appliance has no command tar", "the appliance has no command tar"),
    ("write_file: [/no/where, x]", 1, "/no/where", "No such file or directory"),
    ("set_var: [a, $(cat /nowhere)]", 1, "a", "cat: /nowhere: No such file"),
], ids=lambda value: str(value)[:30])
def test_each_command_fails_as_a_whole(shared, command, status, said, tail):
    error = failing(shared, command)
    message, dummy, rest = str(error).partition(". Last lines of ")
    assert message.startswith("toy: macrostep bad, microstep broken: ")
    assert f" status {status}" in message
    assert not said or message.endswith(f": {said}")
    assert tail in rest


@pytest.mark.parametrize("kind", ["exec_current", "exec_appliance", "exec_chroot"])
def test_a_command_may_be_of_any_length(toy, kind):
    """Linux takes no argument beyond 128 KiB, and no pipe more than 64 KiB that nobody reads."""
    toy.recipe("root", "long")
    lines = "".join(f"        x{number}={'y' * 90}\n" for number in range(2000))
    toy.step("long", f"- one:\n    - {kind}: |\n{lines}        test \"$x1999\" = {'y' * 90}\n        test $# = 0\n")
    toy.build()
    toy.step("long", f"- one:\n    - {kind}: |\n{lines}        exit 3\n")
    said = str(toy.error())
    assert f"microstep one: {kind} ({toy.path}/steps/common/long.yaml:2) failed with status 3" in said
    assert len(said) < 4000


def test_an_error_is_seen_behind_a_line_of_progress(shared):
    error = str(failing(shared, "exec_current: |\n    echo no such host\n    for n in $(seq 2000); do printf '\\r%s of 2000\\r' $n; done\n    false"))
    assert error.partition("build.log:\n")[2].startswith("no such host\n2000 of 2000\nThe next build")


@pytest.mark.parametrize("command, status", [
    ("exec true", 0), ("exec false", 1), ("trap - EXIT; exit 0", 0), ("trap 'echo bye' EXIT; false", 1), ("kill -9 $BASHPID", 137),
])
def test_a_script_that_does_not_come_to_its_end_has_failed(toy, command, status):
    toy.recipe("root", "ends")
    toy.step("ends", f"""\
- before: [exec_current: "true"]
- here:
    - exec_current: {command}
- after: [write_file: [/etc/important, 'yes']]
""")
    said = str(toy.error())
    assert f"macrostep ends, microstep here: exec_current ({toy.path}/steps/common/ends.yaml:3) ended the macrostep's script with status {status}" in said
    assert toy.why() == {"ends": "resumed"}


def test_a_recipes_functions_are_its_own(toy):
    """Neither the names of commands nor those of programs that the build itself uses; nor what it leaves in the shell."""
    toy.recipe("root", "names")
    names = ("write_file append_file set_var checkpoint finish microstep exec_appliance exec_chroot check_cmd check_appliance_cmd"
             " cd printf read trap mount mkdir ln cp rm mv sed grep readlink mountpoint").split()
    toy.step("names", f"""\
- names:
    - exec_current: {" ".join(name + "() { echo mine; };" for name in names)}
    - write_file: [/etc/one, hello]
    - append_file: [/etc/one, again]
    - set_var: [shown, yes]
    - exec_appliance: echo "$shown" >etc/two
    - exec_chroot: echo "$shown" >/etc/three
    - exec_current: test "$(write_file)" = mine; IFS=,
    - check_cmd: cat tar
    - check_appliance_cmd: cat ls
    - exec_current: IFS=' '; test $# = 0; declare -A made=([a]=1)
    - exec_current: test "${{made[a]}}" = 1
""")
    toy.build(checkpoints="microstep")
    assert {name: text for name, text in toy.files().items() if name in ("etc/one", "etc/two", "etc/three")} == {
        "etc/one": "hello\nagain\n", "etc/two": "yes\n", "etc/three": "yes\n"}


def test_the_builds_own_functions_cannot_be_replaced(shared):
    assert "recipe_write_file: readonly function" in str(failing(shared, "exec_current: 'recipe_write_file() { :; }'"))


@pytest.mark.parametrize("command", [
    "mkdir /p; mount -t proc proc /p", "mkdir /p; mount -t tmpfs none /p", "mknod /disk b 7 0", "mkdir /p; mount -t sysfs sysfs /p",
    "mkdir /jail; chroot /jail /nothing 2>&1 | grep -v 'Operation not permitted'",
])
def test_what_is_in_the_appliance_may_not_do_what_a_build_does_not_need(toy, command):
    """Its programs came from elsewhere."""
    toy.recipe("tools", "tries")
    toy.step("tools", ROOT.replace("root:", "tools:").replace("bash cat ls touch", "bash cat ls touch mkdir mount mknod chroot grep chown su"))
    toy.step("tries", "- fine: [exec_chroot: touch /f; chown 1:2 /f]\n- one: [exec_chroot: '" + command.replace("'", "''") + "']\n")
    assert "microstep one: exec_chroot" in str(toy.error())


def test_who_makes_appliances_has_no_capability_for_the_kernel(toy):
    toy.recipe("caps")
    toy.step("caps", "- caps: [exec_appliance: 'grep CapBnd /proc/self/status >bnd; mkdir m; mount -t tmpfs none m; umount m']\n")
    toy.build()
    bounding = int(toy.files()["bnd"].split()[1], 16)
    for name, number in {"net_admin": 12, "sys_module": 16, "sys_rawio": 17, "sys_boot": 22, "sys_time": 25, "syslog": 34, "bpf": 39}.items():
        assert not bounding >> number & 1, name
    assert bounding >> 21 & 1


def test_an_appliance_without_bash_has_a_shell_that_stops_all_the_same(toy):
    dash = "dash" if os.path.exists("/bin/dash") else None
    if not dash:
        pytest.fail("this test needs dash, which every Debian has")
    toy.step("root", toy_root_without_bash())
    error = failing(toy, "exec_chroot: |\n    cat /nowhere\n    echo after")
    assert "failed with status 1: cat /nowhere\necho after. Last lines" in str(error)
    assert str(error).count("after") == 1


def toy_root_without_bash():
    return """\
- tree:
    - exec_appliance: |
        mkdir -p bin proc dev etc
        cp -L $(type -P dash cat) bin/
        ldd bin/* | grep -o '/lib[^ ]*' | sort -u | xargs cp -L --parents -t .
        ln -s dash bin/sh
    - exec_chroot: echo hello >/etc/motd
"""


def test_more_macrosteps_than_layers_go_are_refused_before_anything_runs(toy):
    names = [f"m{number}" for number in range(260)]
    toy.recipe(*names)
    for name in names:
        toy.step(name, "- one: [exec_current: 'false']\n")
    assert "toy has 260 macrosteps, and no more than 236 layers go over each other here. Remedy: " in str(toy.error())


def test_paths_are_those_of_whoever_started_the_playbook(toy, monkeypatch):
    monkeypatch.chdir("/")
    where = {"directory": str(toy.path), "data_dir": "."}
    assert toy.build(workdir_base="base", **where)["files"] == {"image": str(toy.archive)}
    (toy.path / "recipes/toy.yaml").write_text("global: {distrib: d, type: tgz, workdir_base: ./base}\nsteps: [root]\n")
    assert toy.build(workdir_base=None, **where)["workdir"] == str(toy.workdir)
    assert toy.build(workdir_base=None, state="absent", **where)["changed"]
    assert toy.build(workdir_base=None, output_base="kept", check_mode=True, **where)["files"]["image"].startswith(f"{toy.path}/kept/toy-")


def test_the_microstep_beyond_255_is_named(toy):
    toy.recipe("many")
    toy.step("many", "".join(f"- m{number}: [exec_current: {'false' if number == 257 else 'true'}]\n" for number in range(260)))
    assert "macrostep many, microstep m257: exec_current" in str(toy.error())


@pytest.mark.parametrize("on_error, also", [("abort", ""), ("keep", " It could not be kept: No space left on device")])
def test_a_full_disk_is_said(toy, on_error, also):
    """A small file system of its own, seen by the build alone."""
    toy.recipe("small", "bad")
    toy.step("small", "- small: [exec_appliance: touch small]\n")
    toy.step("bad", "- fine: [exec_current: echo fine]\n- broken: [exec_appliance: cp /dev/zero zero]\n")
    toy.base.mkdir()
    owner = [] if os.geteuid() == 0 else ["--map-root-user", "--map-auto"]
    script = 'mount -t tmpfs -o size=4m tmpfs "$1" && "${@:2}"; status=$?; ls "$1/toy/.build/layers" >&2; exit $status'
    said = toy.start("unshare", *owner, "--mount", "bash", "-c", script, "bash", str(toy.base), on_error=on_error).communicate(timeout=BOUND)[1]
    assert "toy: macrostep bad, microstep broken: exec_appliance" in said
    assert re.search(rf"\. {toy.base} has \d MiB free\. Remedy: free some space, or choose another workdir_base{also}\n", said)
    assert ("\nlive\n" in said) == (on_error == "keep")


def test_apt_says_before_a_disk_is_full(shared):
    error = failing(shared, "exec_current: |\n    echo \"E: You don't have enough free space in /w/.\"; false")
    assert re.search(r" has \d+ MiB free\. Remedy: free some space", str(error))


def test_a_command_that_is_missing_here_is_told_before_anything_runs(toy):
    toy.recipe("root", "bad")
    toy.step("bad", "- broken: [check_cmd: tar nothing-like-this]\n")
    assert str(toy.error()) == (f"{toy.path}/steps/common/bad.yaml:1: macrostep bad, microstep broken: this computer has no command nothing-like-this."
                                " Remedy: install the package that has it")
    assert not (toy.workdir / "build.log").exists()
