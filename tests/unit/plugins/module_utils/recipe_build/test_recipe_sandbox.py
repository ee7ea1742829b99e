# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a build reaches, and what it leaves: links that lead out, directories, file descriptors, processes, mounts, loop devices."""

from __future__ import annotations

import os
import pathlib
import re
import signal
import subprocess

import pytest
from build_samples import BOUND, failing, processes, wait_for_processes


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


def test_a_sandbox_whose_first_process_is_killed_leaves_nothing(endless):
    process = endless.start()
    wait_for_processes("98765", 3)
    first, = set(processes("--kill-child")) & set(processes(str(endless.workdir / ".build/enter.sh")))
    os.kill(first, signal.SIGKILL)
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
