# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Builds that really run, of toy appliances: as root, or as an ordinary user with subordinate ids."""
from __future__ import annotations

import os
import pathlib
import re
import signal
import subprocess
import time

import pytest
from ansible_collections.our.cloud.plugins.module_utils._recipe import recipe_build, recipe_job, recipe_room
from toy_appliance import ROOT, Toy

# Seconds, for what takes a moment on a computer that has nothing else to do.
BOUND = 120


@pytest.fixture(name="toy")
def fixture_toy(tmp_path):
    return Toy(tmp_path)


@pytest.fixture(name="shared", scope="module")
def fixture_shared(tmp_path_factory):
    """One for tests that only add a macrostep which fails: the first one has its checkpoint."""
    toy = Toy(tmp_path_factory.mktemp("shared"))
    toy.outside = toy.path / "outside"
    (toy.outside / "victim").mkdir(parents=True)
    toy.step("root", ROOT + f"      - exec_appliance: ln -s {toy.outside} link\n")
    return toy


def wait_for_processes(word, count):
    """Until as many have that word among their arguments."""
    deadline = time.monotonic() + BOUND
    while len(processes(word)) != count:
        assert time.monotonic() < deadline, f"{processes(word)} have {word} after {BOUND} s, not {count}"
        time.sleep(0.02)


def processes(word):
    """The processes that have a word among their arguments."""
    found = []
    for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if word in path.read_bytes().decode(errors="replace").split("\0"):
                found.append(int(path.parent.name))
        except OSError:
            pass
    return found


# From nothing, and again

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

def failing(toy, command, **params):
    """The error of a macrostep that has this command. Of two commands, the second begins with "- "."""
    toy.recipe("root", "bad")
    command = command.replace("\n", "\n      ").replace("\n      - ", "\n    - ")
    toy.step("bad", f"- fine: [exec_current: echo fine]\n- broken:\n    - {command}\n- never: [exec_current: echo never]\n")
    error = toy.error(**params)
    assert "echo never" not in toy.log
    return error


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


# Checkpoints

@pytest.fixture(name="counted")
def fixture_counted(toy):
    """Three macrosteps that count how often they run."""
    toy.recipe("a", "b", "c")
    for name in "abc":
        toy.step(name, f"- one: [exec_current: echo {name}1 >>$$workdir/ran]\n"
                       f"- two:\n    - exec_current: echo {name}2 >>$$workdir/ran\n    - exec_appliance: echo 1 >>{name}\n")

    def ran():
        path = toy.workdir / "ran"
        text = path.read_text().split() if path.exists() else []
        path.unlink(missing_ok=True)
        return " ".join(text)

    toy.ran = ran
    return toy


def replace(toy, name, old, new):
    path = toy.path / f"steps/common/{name}.yaml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_the_next_build_resumes_where_one_failed(counted):
    replace(counted, "b", "echo 1 >>b", "echo 1 >>b; test -e ../flag")
    assert "microstep two" in str(counted.error())
    assert counted.ran() == "a1 a2 b1 b2"
    assert counted.why() == {"b": "resumed", "c": "never built"}
    (counted.workdir / "flag").touch()
    counted.build()
    assert counted.ran() == "b1 b2 c1 c2"
    assert counted.files() == {"a": "1\n", "b": "1\n", "c": "1\n"}


def test_a_change_invalidates_what_follows_and_nothing_else(counted):
    counted.build()
    counted.ran()
    replace(counted, "a", "- one:", "# a remark\n- one:")
    assert counted.why() == {}
    replace(counted, "b", "echo 1 >>b", "echo 2 >>b")
    assert counted.why() == {"b": "changed", "c": "follows b"}
    assert [diff["before_header"] for diff in recipe_diff(counted)] == ["b"]
    counted.build()
    assert counted.ran() == "b1 b2 c1 c2"
    assert counted.files() == {"a": "1\n", "b": "2\n", "c": "1\n"}
    counted.recipe("a", "c")
    assert counted.why() == {"c": "no checkpoint"}
    counted.build()
    assert counted.files() == {"a": "1\n", "c": "1\n"}
    # what led elsewhere is gone
    assert len([name for name in os.listdir(counted.workdir / ".build/layers") if "." not in name]) == 3


def recipe_diff(toy):
    return recipe_build.ensure(toy.params(), True, True)["diff"]


def test_changed_variables_and_dates_are_changes(counted):
    (counted.path / "recipes/toy.yaml").write_text("global: {distrib: s, type: tgz, snapshot_date: 2026-01-01, word: x}\nsteps: [a, b]\n")
    replace(counted, "b", "echo 1", "echo $$word $SOURCE_DATE_EPOCH")
    counted.build()
    assert counted.files()["b"] == "x 1767225600\n"
    assert counted.why(variables={"word": "y"}) == {"b": "changed"}
    assert counted.why(variables={"snapshot_date": "20260102T000000Z"}) == {"a": "no checkpoint", "b": "follows a"}
    assert "snapshot_date is 'x' and must be like" in str(counted.error(variables={"snapshot_date": "x"}))


def test_checkpoints_of_microsteps(counted):
    replace(counted, "b", "echo 1 >>b", "echo 1 >>b; test -e ../flag")
    replace(counted, "b", "ran]", "ran; x=kept]")
    replace(counted, "b", "echo b2", "echo $x")
    counted.error(checkpoints="microstep")
    assert counted.ran() == "a1 a2 b1 kept"
    (counted.workdir / "flag").touch()
    counted.build(checkpoints="microstep")
    assert counted.ran() == "kept c1 c2"
    replace(counted, "c", "echo c2", "echo c3")
    counted.build()
    assert counted.ran() == "c3"
    assert counted.files() == {"a": "1\n", "b": "1\n", "c": "1\n"}


def test_copies_where_there_is_no_overlay(counted, monkeypatch):
    counted.build()
    overlaid = counted.archive.read_bytes()
    counted.build(state="absent")
    monkeypatch.setattr(recipe_room, "PROBE", "echo copies")
    replace(counted, "b", "echo 1 >>b", "echo 1 >>b; test -e ../flag")
    counted.error(checkpoints="microstep")
    counted.ran()
    (counted.workdir / "flag").touch()
    counted.build(checkpoints="microstep")
    assert counted.ran() == "b2 c1 c2"
    assert counted.archive.read_bytes() == overlaid


def test_a_removed_file_stays_removed(counted):
    replace(counted, "b", "echo 1 >>b", "rm a")
    counted.build()
    assert counted.files() == {"c": "1\n"}
    replace(counted, "c", "echo 1 >>c", "test ! -e a")
    counted.build()
    assert counted.ran().endswith("c1 c2")


# Kept for good

@pytest.fixture(name="keeper")
def fixture_keeper(toy):
    """A build with a variable, which goes on when there is a file named go; it counts how often it runs."""
    toy.recipe("root", "a")
    toy.step("a", f"- one: [exec_appliance: echo $$size_mib >size]\n"
                  f"- two: [exec_current: 'echo $$size_mib >>{toy.path}/ran; until test -e {toy.path}/go; do sleep 0.02; done']\n")
    toy.kept = toy.path / "kept"
    toy.ran = lambda: (toy.path / "ran").read_text().split()

    def keep(size="", **params):
        return toy.build(output_base=str(toy.kept), variables={"size_mib": size}, **params)

    toy.keep = keep
    yield toy
    for process in toy.started:
        process.kill()
        process.communicate(timeout=BOUND)


def test_an_output_is_kept_and_never_changed(keeper):
    (keeper.path / "go").touch()
    expected = keeper.keep(check_mode=True)
    assert (expected["changed"], keeper.kept.exists()) == (True, False)
    done = keeper.keep()
    assert done["changed"] is True
    assert (done["files"], done["log"]) == (expected["files"], expected["log"])
    folder = pathlib.Path(done["files"]["image"]).parent
    assert sorted(os.listdir(folder)) == ["build.log", "toy.tgz"]
    assert folder.parent == keeper.kept
    assert os.listdir(keeper.kept / recipe_job.BUILDS) == []
    before = (folder / "toy.tgz").stat()
    for check_mode in (True, False):
        again = keeper.keep(check_mode=check_mode)
        assert (again["changed"], again["files"], again["log"]) == (False, done["files"], done["log"])
        assert [(step["runs"], step["why"]) for step in again["plan"]] == [(False, "its output is kept")] * 2

    replace(keeper, "a", ">size", ">size.2")
    changed = keeper.keep()
    assert changed["changed"] is True
    assert changed["files"] != done["files"]
    assert (folder / "toy.tgz").stat() == before
    assert keeper.keep(check_mode=True, state="absent")["changed"] is True
    assert keeper.keep(state="absent")["changed"] is True
    assert sorted(os.listdir(keeper.kept)) == [recipe_job.BUILDS, folder.name]
    assert keeper.keep(state="absent")["changed"] is False


def test_different_outputs_are_built_side_by_side_and_the_same_once(keeper):
    values = ("1", "1", "2")
    processes_ = [keeper.start(output_base=str(keeper.kept), variables={"size_mib": value}) for value in values]
    deadline = time.monotonic() + BOUND
    while not (keeper.path / "ran").exists() or len(keeper.ran()) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert [process.poll() for process in processes_] == [None] * 3
    (keeper.path / "go").touch()
    assert [(process.communicate(timeout=BOUND)[1], process.returncode) for process in processes_] == [("", 0)] * 3
    assert sorted(keeper.ran()) == ["1", "2"]
    assert len(os.listdir(keeper.kept)) == 3
    assert os.listdir(keeper.kept / recipe_job.BUILDS) == []


def test_a_failed_build_of_what_is_to_be_kept_resumes(keeper):
    replace(keeper, "a", "'echo", "'test -e now; echo")
    error = keeper.error(output_base=str(keeper.kept))
    assert "The next build resumes with a" in str(error)
    assert str(keeper.kept / recipe_job.BUILDS) in error.details["workdir"]
    (keeper.path / "go").touch()
    replace(keeper, "a", "test -e now; ", "")
    result = keeper.build(output_base=str(keeper.kept))
    assert [step["why"] for step in result["plan"]] == ["checkpoint", "never built"]
    assert os.listdir(keeper.kept / recipe_job.BUILDS) == []


def test_copies_on_the_way_to_what_is_kept_do_not_pile_up(keeper, monkeypatch):
    monkeypatch.setattr(recipe_room, "PROBE", "echo copies")
    keeper.recipe("root", "b", "a")
    keeper.step("b", "- one: [exec_appliance: touch b]\n")
    replace(keeper, "a", "'echo", "'test -e now; echo")
    workdir = pathlib.Path(keeper.error(output_base=str(keeper.kept)).details["workdir"])
    assert [path.name for path in workdir.glob(".build/layers/*/b")] == ["b"]
    assert [path.name for path in workdir.glob(".build/layers/*/etc")] == ["etc"]
    (keeper.path / "go").touch()
    replace(keeper, "a", "test -e now; ", "")
    assert keeper.build(output_base=str(keeper.kept))["changed"] is True


# Breakpoints

def test_break_and_start(counted):
    result = counted.build(break_at="b/two")
    assert (result["stopped_at"], result["changed"]) == ("b/two", True)
    assert counted.ran() == "a1 a2 b1"
    assert "files" not in result
    assert counted.why() == {"b": "resumed", "c": "never built"}
    assert counted.why(start_at="b/two") == {"b": "start_at", "c": "start_at"}
    counted.build(start_at="b/two")
    assert counted.ran() == "b2 c1 c2"
    # nobody has touched it: it is what the recipe gives
    assert counted.build()["changed"] is False


def test_break_at_a_macrostep_and_where_everything_is_built(counted):
    counted.build(break_at="b")
    assert counted.ran() == "a1 a2"
    assert counted.build(break_at="b")["changed"] is False
    counted.build(start_at="b")
    assert counted.ran() == "b1 b2 c1 c2"
    counted.build(break_at="c/two")
    assert counted.ran() == "c1"


def test_a_state_that_was_touched_by_hand_is_not_taken_for_the_recipes(counted):
    replace(counted, "b", "echo 1 >>b", "test -e by-hand")
    message = str(counted.error(on_error="keep"))
    shell = counted.workdir / "shell"
    assert f"It is as it was left. {shell} opens a shell in it, start_at=b/two goes on." in message
    subprocess.run([shell, "touch", "by-hand"], check=True)
    counted.ran()
    result = counted.build(start_at="b/two")
    assert counted.ran() == "b2 c1 c2"
    assert counted.files() == {"a": "1\n", "by-hand": "", "c": "1\n"}
    assert result["key"] != counted.build(check_mode=True)["key"]
    assert counted.why() == {"b": "no checkpoint", "c": "follows b"}
    counted.error()


def test_a_shell_at_a_macrostep_counts_too(counted):
    counted.build(break_at="b")
    subprocess.run([counted.workdir / "shell", "touch", "by-hand"], check=True)
    counted.build(start_at="b")
    assert counted.files() == {"a": "1\n", "b": "1\n", "by-hand": "", "c": "1\n"}
    assert counted.why() == {"b": "no checkpoint", "c": "follows b"}


def test_a_kept_state_survives_a_second_failure(counted):
    replace(counted, "b", "echo 1 >>b", "echo 1 >>b; test -e ../flag")
    counted.error(on_error="keep")
    assert "start_at=b/two goes on" in str(counted.error(start_at="b/two"))
    (counted.workdir / "flag").touch()
    counted.build(start_at="b/two")
    assert counted.files()["b"] == "1\n1\n1\n"


def test_a_kept_state_has_its_variables(counted):
    counted.step("b", "- one: [exec_current: status=set failed=too]\n- two: [exec_current: echo $status $failed >>$$workdir/ran; test -e $$workdir/flag]\n")
    counted.error(on_error="keep")
    assert counted.ran() == "a1 a2 set too"
    (counted.workdir / "flag").touch()
    counted.build(start_at="b/two")
    assert counted.ran() == "set too c1 c2"


def test_what_is_half_done_can_count_as_done(counted):
    replace(counted, "b", "echo 1 >>b", "false")
    assert counted.error(on_error="keep").details["failed_at"] == {"macrostep": "b", "microstep": "two", "next": "c"}
    counted.ran()
    counted.build(start_at="c")
    assert counted.ran() == "c1 c2"
    assert counted.files() == {"a": "1\n", "c": "1\n"}
    assert counted.why() == {"b": "no checkpoint", "c": "follows b"}


@pytest.mark.parametrize("params, said", [
    ({"break_at": "d"}, "break_at: toy has no macrostep d. Macrosteps: a, b, c"),
    ({"start_at": "b/three"}, "start_at: the macrostep b of toy has no microstep three. Microsteps: one, two"),
    ({"start_at": "b"}, "has no state before b/one. Remedy: build with break_at=b/one first"),
    ({"start_at": "a/two"}, "was not left in a. Remedy: build with break_at=a/two or on_error=keep first, or start at a"),
    ({"start_at": "b", "break_at": "a"}, "break_at is before start_at=b/one"),
])
def test_places_that_do_not_exist_are_refused(counted, params, said):
    assert said in str(counted.error(**params))
    assert counted.ran() == ""


def test_retry_runs_the_macrostep_once_more_from_its_checkpoint(counted):
    replace(counted, "b", "echo 1 >>b", "test -e ../flag || { touch ../flag; echo 1 >>b; false; }; echo 2 >>b")
    counted.build(on_error="retry")
    assert counted.ran() == "a1 a2 b1 b2 b1 b2 c1 c2"
    assert counted.files()["b"] == "2\n"
    replace(counted, "c", "echo 1 >>c", "false")
    counted.error(on_error="retry")
    assert counted.ran() == "c1 c2 c1 c2"


def test_dry_run_returns_the_scripts(counted):
    scripts = counted.build(dry_run=True)["scripts"]
    assert [step["macrostep"] for step in scripts] == ["a", "b", "c"]
    assert "recipe_microstep two\nrecipe_exec_current steps/common/b.yaml:3 <<'EOF'\n" in scripts[1]["script"]
    assert not counted.base.exists()


def test_progress(counted, tmp_path):
    counted.build(progress=str(tmp_path / "progress"))
    lines = [line.partition(" ")[2] for line in (tmp_path / "progress").read_text().splitlines()]
    assert lines == [f"log {counted.workdir}/build.log", "macrostep 1/3 a", "microstep a/one", "microstep a/two",
                     "macrostep 2/3 b", "microstep b/one", "microstep b/two", "macrostep 3/3 c", "microstep c/one", "microstep c/two", "output tgz"]


# Nothing outside of the working directory

@pytest.mark.parametrize("command", [
    "exec_appliance: echo x >{outside}/file",
    "exec_appliance: echo x >../../../outside/file",
    "exec_appliance: echo x >./link/file",
    "exec_appliance: rm -rf {outside}/victim",
    "exec_appliance: mkdir tmp/m; mount --bind . tmp/m; echo x >tmp/m/link/file",
])
def test_exec_appliance_writes_nowhere_else(shared, command):
    error = failing(shared, command.format(outside=shared.outside))
    assert "Read-only file system" in str(error)
    assert "exec_appliance may write below the working directory alone: the appliance's /etc is ./etc there" in str(error)
    assert os.listdir(shared.outside) == ["victim"]


@pytest.mark.parametrize("link, path, said", [
    ("../../outside", "/a", "/a leads out of the appliance"),
    ("../../outside", "/a/file", "/a/file leads out of the appliance"),
    ("etc/../../x", "a", "a leads out of the appliance"),
    ("a", "a", "a: too many links"),
])
def test_links_that_lead_out_are_refused(shared, link, path, said):
    for kind in ("write_file", "append_file"):
        error = failing(shared, f"exec_appliance: ln -s {link} a\n- {kind}: [{path}, x]")
        assert f" failed with status 1: {said}. Last lines" in str(error)
    assert os.listdir(shared.outside) == ["victim"]


def test_links_are_followed_as_in_the_appliance(toy):
    toy.recipe("links")
    toy.step("links", f"""\
- links:
    - exec_appliance: |
        mkdir -p etc/deep .{toy.path}/outside
        ln -s /etc/deep a
        ln -s ../etc/./deep/.. etc/b
        ln -s {toy.path}/outside c
    - write_file: [/a/one, x]
    - write_file: [a/../two, x]
    - append_file: [/etc/b/three, x]
    - write_file: [/c/four, x]
""")
    (toy.path / "outside").mkdir()
    toy.build()
    assert set(toy.files()) == {"etc/deep/one", "etc/two", "etc/three", f"{toy.path}/outside/four"[1:]}
    assert os.listdir(toy.path / "outside") == []


def test_a_directory_that_needs_quotes_is_refused(toy):
    assert "has a character that would need quotes in a recipe. Remedy: choose another directory to build in" in str(toy.error(workdir_base=f"{toy.path}/a b"))


@pytest.mark.parametrize("params", [{}, {"state": "absent"}, {"check_mode": True}])
def test_a_directory_that_no_build_has_made_is_left_alone(toy, params):
    """Such as the data directory itself, by a recipe of its name and workdir_base: ."""
    (toy.workdir / "recipes").mkdir(parents=True)
    (toy.workdir / "recipes/toy.yaml").write_text("mine")
    assert f"{toy.workdir} has other files in it and was not made by a build, which would remove them. Remedy: choose" in str(toy.error(**params))
    assert [str(path.relative_to(toy.base)) for path in sorted(toy.base.rglob("*"))] == ["toy", "toy/recipes", "toy/recipes/toy.yaml"]


def test_an_empty_directory_is_built_in(toy):
    toy.workdir.mkdir(parents=True)
    assert toy.build()["changed"]


def test_somebody_elses_directory_is_refused(toy):
    toy.base.mkdir()
    toy.workdir.symlink_to("/tmp")
    assert "belongs to user" in str(toy.error())


def test_what_is_mounted_is_seen_by_all_commands(toy):
    toy.recipe("root", "mounts")
    toy.step("mounts", """\
- m:
    - exec_appliance: mkdir tmp/m; mount --rbind /dev tmp/m; umount --lazy tmp/m
    - exec_appliance: mount -t tmpfs tmpfs tmp/m; touch tmp/m/one; test -e /dev/pts/ptmx
    - exec_chroot: test -e /tmp/m/one; touch /tmp/m/two
    - exec_current: test -e $$chroot/tmp/m/two; mount -t tmpfs tmpfs $$chroot/tmp/m; touch $$chroot/tmp/m/three
    - exec_appliance: test -e tmp/m/three; umount tmp/m; test -e tmp/m/two; umount tmp/m; rmdir tmp/m
""")
    toy.build()
    assert "tmp/m" not in toy.files()


@pytest.mark.parametrize("kind", ["exec_current", "exec_appliance", "exec_chroot"])
def test_a_command_has_the_low_file_descriptors_for_itself(shared, kind):
    shared.recipe("root", "numbers")
    shared.step("numbers", f"""\
- m:
    - {kind}: for number in $(ls /proc/self/fd); do test $number -lt 4 || test $number -ge 90; done
""")
    shared.build()


# Whatever ends a build

ENDLESS = """\
- start:
    - exec_appliance: mkdir -p m
    - exec_current: |
        test ! -e $$workdir/over || return 0
        for name in first second; do
            mkfifo $$workdir/$name
            bash -c 'trap "echo $1 >>$2; exit" TERM; touch "$3.ready"; read -rt 98765 line <>"$3"' bash $name $$workdir/ended $$workdir/$name 98765 &
            until test -e $$workdir/$name.ready; do sleep 0.02; done
        done
        mount -t tmpfs tmpfs $$chroot/m
        mkdir $$chroot/m/n
        mount -t tmpfs tmpfs $$chroot/m/n
        sleep 98765
"""


@pytest.fixture(name="endless")
def fixture_endless(toy):
    """A build that mounts and starts things, and goes on for ever unless there is a file named over."""
    toy.recipe("fine", "endless")
    toy.step("fine", "- fine: [exec_appliance: touch fine]\n")
    toy.step("endless", ENDLESS)
    yield toy
    for process in toy.started:
        process.kill()
        process.communicate(timeout=BOUND)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_build_that_is_ended_leaves_nothing(endless, number):
    process = endless.start()
    wait_for_processes("98765", 3)
    process.send_signal(number)
    said = process.communicate(timeout=BOUND)[1]
    wait_for_processes("98765", 0)
    assert str(endless.workdir) not in pathlib.Path("/proc/self/mountinfo").read_text()
    # in the reverse order
    assert (endless.workdir / "ended").read_text() == "second\nfirst\n"
    if number == signal.SIGKILL:
        assert (endless.workdir / ".build/layers/live").exists()
    else:
        assert f"the build of toy was ended by {number.name}. The next one resumes where it was" in said
        assert not (endless.workdir / ".build/layers/live").exists()
    (endless.workdir / "over").touch()
    assert endless.why() == {"endless": "resumed"}
    endless.build()
    assert set(endless.files()) == {"fine"}


def test_a_room_whose_first_process_is_killed_leaves_nothing(endless):
    process = endless.start()
    wait_for_processes("98765", 3)
    room, = set(processes("--kill-child")) & set(processes(str(endless.workdir / ".build/enter.sh")))
    os.kill(room, signal.SIGKILL)
    assert "macrostep endless" in process.communicate(timeout=BOUND)[1]
    wait_for_processes("98765", 0)


def test_what_a_macrostep_starts_and_mounts_ends_with_it(toy):
    toy.recipe("a", "b")
    toy.step("a", "- a:\n    - exec_appliance: mkdir m; mount -t tmpfs tmpfs m; touch m/x\n    - exec_current: test -e $$chroot/m/x; sleep 87654 &\n")
    toy.step("b", "- b: [exec_appliance: test ! -e m/x; touch m/y]\n")
    toy.build()
    assert processes("87654") == []
    assert set(toy.files()) == {"m/y"}


@pytest.mark.skipif(os.geteuid() != 0 or not os.path.exists("/dev/loop-control"), reason="loop devices are root's, and some computers have none")
def test_loop_devices_are_given_back(toy):
    """They are in no namespace."""
    toy.recipe("loop")
    toy.step("loop", "- a: [exec_current: cd $$workdir; truncate -s 1M image; losetup --find image; losetup --associated image | grep image]\n")
    toy.build()
    assert "image" in toy.log
    assert subprocess.run(["losetup", "--associated", toy.workdir / "image"], capture_output=True, check=True).stdout == b""


def test_a_second_build_is_refused_with_the_holders_name(endless):
    process = endless.start()
    wait_for_processes("98765", 3)
    assert re.fullmatch(rf"toy is being built by process {process.pid} of \S+ on \S+ since \d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d\. "
                        "Remedy: wait until that ends, or end it", str(endless.error()))
    assert endless.why() == {"endless": "resumed"}
