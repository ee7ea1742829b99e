# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What any machine of the site tells of itself."""

from __future__ import annotations

import json
import os
import subprocess
import time
from dataclasses import replace

import pytest
from ansible_collections.our.cloud.plugins.module_utils._common import shapes
from ansible_collections.our.cloud.plugins.module_utils._common.errors import CloudError
from ansible_collections.our.cloud.plugins.module_utils._site import machine as facts
from ansible_collections.our.cloud.plugins.module_utils._site.machine_facts import Machine, Outdated, Room, Store, Waiting
from ansible_collections.our.cloud.plugins.module_utils._site.systemd import Unit

FULL = Machine(
    "n1", 100.5, 50, "13.2", "6.12.48+deb13-amd64", "4.20.0", {"libvirt-daemon": "11.3.0-3"}, Outdated(("vmlinuz-6.12.57+deb13-amd64",), True, ("web",)),
    (Unit("libvirtd", True, "active (running)", triggers=("libvirtd.socket",)),), (Room("/", 10, 20),), Store("/srv/cloud", Room("/srv/cloud", 1, 2)),
    Waiting(90.0, ("linux-image-amd64",), ("linux-image-amd64",)),
    (("2026-11-28T15:02:31Z", "web", "moved from a to b (live)"),), ("what runs: it hangs.",), (0.5, 1.5))

APT = """Reading package lists...
Calculating upgrade...
Inst linux-image-6.12.57+deb13-amd64 (6.12.57-1 Debian-Security:13/stable-security [amd64]) []
Inst libc6 [2.41-12] (2.41-13 Debian:13.2/stable [amd64]) [libc6:amd64 ]
Inst linux-image-amd64 [6.12.48-1] (6.12.57-1 Debian-Security:13/stable-security [amd64])
Inst bash [5.2.37-2+b5] (5.2.37-2+b6 Debian:13.2/stable, Debian-Security:13/stable-security [amd64])
Conf libc6 (2.41-13 Debian:13.2/stable [amd64])
"""


def write(path, text=""):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def test_there_and_back():
    assert Machine.of(json.loads(json.dumps(shapes.plain(FULL)))) == FULL
    empty = Machine("n1", 1.0)
    assert Machine.of(json.loads(json.dumps(shapes.plain(empty)))) == empty
    away = Machine("n1", 1.0, store=Store("/srv/cloud", None, "no answer within 10 s"))
    assert Machine.of(shapes.plain(away)) == away
    with pytest.raises(TypeError):
        Machine.of({"failed": True, "msg": "no"})


def test_since_when_it_is_up():
    assert facts.booted("cpu 1 2\nbtime 1795794761\nprocesses 7\n") == 1795794761
    assert facts.booted("") == 0


def test_xen(tmp_path):
    assert (facts.is_xen(str(tmp_path)), facts.xen_version(str(tmp_path))) == (False, "")
    for name, text in (("major", "4\n"), ("minor", "20\n"), ("extra", ".0\n")):
        write(tmp_path / "sys/hypervisor/version" / name, text)
    # a guest of Xen's
    write(tmp_path / "proc/xen/capabilities", "\n")
    assert (facts.is_xen(str(tmp_path)), facts.xen_version(str(tmp_path))) == (False, "")
    write(tmp_path / "proc/xen/capabilities", "control_d\n")
    assert (facts.is_xen(str(tmp_path)), facts.xen_version(str(tmp_path))) == (True, "4.20.0")


@pytest.mark.parametrize("age, found", [(1000, ("vmlinuz-6.12.57", "xen-4.20-amd64.gz")), (-1000, ())])
def test_what_came_into_boot_since_the_start(tmp_path, age, found):
    """As the roles xen and kvm look for it (test_newer_kernel)."""
    for name in ("vmlinuz-6.12.57", "initrd.img-6.12.57", "xen-4.20-amd64.gz", "config-6.12.57"):
        write(tmp_path / "boot" / name)
    assert facts.newer_boot(time.time() - age, str(tmp_path)) == tuple(name for name in found if "xen" not in name)
    write(tmp_path / "proc/xen/capabilities", "control_d\n")
    assert facts.newer_boot(time.time() - age, str(tmp_path)) == found


def test_a_container_has_no_boot(tmp_path):
    assert facts.newer_boot(0, str(tmp_path)) == ()


def test_what_is_installed(monkeypatch):
    said = "libvirt-daemon\t11.3.0-3\tinstalled\nqemu-system-x86\t1:10.0.3\tconfig-files\nhalf a line\n"
    asked = []
    monkeypatch.setattr(facts.subprocess, "run",
                        lambda argv, **how: asked.append((argv, how["check"])) or subprocess.CompletedProcess(argv, 1, said, "no qemu"))
    assert facts.ask_dpkg() == {"libvirt-daemon": "11.3.0-3"}
    assert asked == [(["dpkg-query", "--show", "--showformat", "${Package}\\t${Version}\\t${db:Status-Status}\\n", "libvirt-daemon", "qemu-system-*",
                       "xen-hypervisor-*"], False)]


def test_what_dpkg_knows_not_at_all_is_no_fault(monkeypatch, tmp_path):
    said = "libvirt-daemon\\t11.3.0-3\\tinstalled\\n"
    (tmp_path / "dpkg-query").write_text(f"#!/bin/sh\nprintf '{said}'\necho 'no packages found' >&2\nexit 1\n", encoding="ascii")
    (tmp_path / "dpkg-query").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert facts.ask_dpkg() == {"libvirt-daemon": "11.3.0-3"}


@pytest.mark.parametrize("cmdline, name", [
    ("/usr/bin/qemu-system-x86_64\0-name\0guest=web,debug-threads=on\0-S\0", "web"), ("qemu-system-i386\0-xen-domid\0003\0-name\0our-vm\0", "our-vm"),
    ("qemu-system-arm\0-S\0", ""), ("qemu-system-arm\0-name", ""), ("", "")])
def test_whose_qemu_it_is(cmdline, name):
    assert facts.guest_of(cmdline) == name


def process(root, number, program, cmdline="", maps=""):
    write(root / f"proc/{number}/cmdline", cmdline)
    write(root / f"proc/{number}/maps", maps)
    (root / f"proc/{number}/exe").symlink_to(program)


def test_what_runs_and_is_older_than_what_is_installed(tmp_path):
    (tmp_path / "proc/2").mkdir(parents=True)  # the kernel's have no program
    process(tmp_path, 10, "/usr/sbin/libvirtd", maps="7f00 r-xp 08:01 1  /usr/lib/x86_64-linux-gnu/libvirt.so.0.11003.0\n7f01 rw-s 0:1 2 /dev/zero (deleted)\n")
    process(tmp_path, 11, "/usr/bin/qemu-system-x86_64", "qemu\0-name\0guest=new,x\0")
    process(tmp_path, 12, "/usr/bin/python3.13 (deleted)", "python3\0-name\0guest=none\0")
    assert facts.outdated(0, str(tmp_path)) == Outdated()
    process(tmp_path, 13, "/usr/bin/qemu-system-x86_64 (deleted)", "qemu\0-name\0guest=web,x\0")
    process(tmp_path, 14, "/usr/bin/qemu-system-aarch64 (deleted)", "qemu\0-name\0guest=arm,x\0")
    process(tmp_path, 15, "/usr/bin/qemu-system-aarch64 (deleted)", "qemu\0")
    assert facts.outdated(0, str(tmp_path)) == Outdated((), False, ("arm", "web"))
    write(tmp_path / "proc/10/maps", "7f00 r-xp 08:01 1  /usr/lib/x86_64-linux-gnu/libvirt.so.0.11003.0 (deleted)\n7f01 rw-s 0:1 2 /dev/zero\n")
    write(tmp_path / "boot/vmlinuz-7")
    assert facts.outdated(0, str(tmp_path)) == Outdated(("vmlinuz-7",), True, ("arm", "web"))


def test_a_libvirtd_whose_program_was_replaced(tmp_path):
    process(tmp_path, 10, "/usr/sbin/libvirtd (deleted)")
    process(tmp_path, 11, "/usr/sbin/libvirtd")
    assert facts.outdated(0, str(tmp_path)) == Outdated((), True)


def test_the_units_of_the_site(tmp_path):
    folder = tmp_path / "etc/systemd/system"
    for name in ("our-cloud-lease.service", "our-cloud-objects.timer", "our-cloud-objects.service", "our-cloud-x.socket", "other.service",
                 "nft-table@.service", "sysinit.target.wants/nft-table@gateway.service", "libvirtd.service.d/our-cloud-kvm.conf",
                 "libvirtd.service.d/our-cloud-relocation.conf", "nova-compute.service.d/our-cloud.conf", "ssh.service.d/other.conf"):
        write(folder / name)
    assert facts.units_of(str(tmp_path)) == ["libvirtd.service", "nft-table@gateway.service", "our-cloud-lease.service", "our-cloud-objects.service",
                                             "our-cloud-objects.timer", "our-cloud-x.socket"]


def test_a_unit_that_its_socket_starts():
    shown = {"a.service": Unit("a", False, "inactive (dead)", triggers=("a.socket", "a-ro.socket")), "a.socket": Unit("a.socket", True, "active (listening)"),
             "a-ro.socket": Unit("a-ro.socket", False, "inactive (dead)"), "b.service": Unit("b", False, "inactive (dead)", triggers=("a-ro.socket",)),
             "c.service": Unit("c", False, "failed (failed)", failed=True, triggers=("a.socket",)), "d.service": Unit("d", True, "active (running)")}
    asked = []

    def look(names):
        asked.append(names)
        return [shown[name] for name in names]

    assert facts.look_at_units(["d.service", "c.service"], ["a.service", "b.service", "c.service"], look) == (
        Unit("a", True, "inactive (dead), starts when it is asked", triggers=("a.socket", "a-ro.socket")), shown["b.service"],
        replace(shown["c.service"], wanted=True), replace(shown["d.service"], wanted=True))
    assert asked == [["a.service", "b.service", "c.service", "d.service"], ["a-ro.socket", "a.socket"]]


@pytest.mark.parametrize("free, total, full", [(5, 200, True), (10, 200, False), (9, 200, True), (1023, 99999, True), (1024, 99999, False), (0, 0, False)])
def test_too_little_room(free, total, full):
    """Both less than 5 % and less than a GiB."""
    assert Room("/", free, total).full is full


def test_room(tmp_path, monkeypatch):
    monkeypatch.setattr(facts.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 5 << 20, "total": 9 << 20}))
    assert facts.room("/x") == Room("/x", 5, 9)
    (tmp_path / "boot").mkdir()
    # of one file system the first tells
    assert facts.rooms([str(tmp_path), str(tmp_path / "boot"), str(tmp_path / "none")]) == (Room(str(tmp_path), 5, 9),)


def test_the_store(tmp_path, monkeypatch):
    root = str(tmp_path)
    assert facts.store(root) == Store(root, None, "it is not mounted here")
    (tmp_path / ".our-cloud-store").touch()
    monkeypatch.setattr(facts, "room", lambda path: Room(path, 5, 9))
    assert facts.store(root) == Store(root, Room(root, 5, 9))
    monkeypatch.setattr(facts, "PATIENCE", 0.1)
    monkeypatch.setattr(facts, "room", lambda path: time.sleep(1))
    assert facts.store(root) == Store(root, None, "no answer within 0.1 s")

    def stale(path):
        raise OSError(116, "Stale file handle")

    monkeypatch.setattr(facts, "room", stale)
    assert facts.store(root) == Store(root, None, "[Errno 116] Stale file handle")


def test_what_waits_for_an_upgrade(monkeypatch, tmp_path):
    assert facts.upgrades(APT, 7.0) == Waiting(7.0, ("bash", "libc6", "linux-image-amd64"), ("bash", "linux-image-amd64"))
    assert facts.upgrades("", None) == Waiting()
    asked = []
    monkeypatch.setattr(facts.subprocess, "run",
                        lambda argv, **how: asked.append((argv, how["env"]["LC_ALL"])) or subprocess.CompletedProcess(argv, 0, APT, ""))
    assert facts.waiting(str(tmp_path)) == Waiting(None, ("bash", "libc6", "linux-image-amd64"), ("bash", "linux-image-amd64"))
    assert asked == [(["apt-get", "--simulate", "--quiet", "--option", "Debug::NoLocking=true", "dist-upgrade"], "C")]
    monkeypatch.setattr(facts.subprocess, "run", lambda argv, **dummy: subprocess.CompletedProcess(argv, 100, "Reading", "E: Unmet\ndependencies."))
    with pytest.raises(CloudError, match="^apt-get: E: Unmet dependencies$"):
        facts.waiting(str(tmp_path))


def test_how_old_the_lists_are(tmp_path):
    root, lists = str(tmp_path), tmp_path / "var/lib/apt/lists"
    assert facts.lists_age(root) is None
    write(lists / "lock")
    os.utime(lists, (50, 50))
    assert facts.lists_age(root) is None
    write(lists / "deb.debian.org_debian_dists_trixie_InRelease")
    write(lists / "mirror_dists_x_Release")
    for path, when in ((lists / "deb.debian.org_debian_dists_trixie_InRelease", 30), (lists / "mirror_dists_x_Release", 40), (lists, 20)):
        os.utime(path, (when, when))
    assert facts.lists_age(root) == 40
    os.utime(lists, (50, 50))
    assert facts.lists_age(root) == 50
    write(tmp_path / "var/lib/apt/periodic/update-success-stamp")
    os.utime(tmp_path / "var/lib/apt/periodic/update-success-stamp", (60, 60))
    assert facts.lists_age(root) == 60


@pytest.fixture(name="quick")
def fixture_quick(monkeypatch):
    """Nothing of this computer."""
    for name, answer in (("look_at_units", (Unit("a", True, "active (running)"),)), ("ask_dpkg", {"p": "1"}), ("outdated", Outdated(("vmlinuz-7",))),
                         ("rooms", (Room("/", 1, 2),)), ("waiting", Waiting(3.0)), ("store", Store("/s")), ("units_of", ["b.timer"])):
        monkeypatch.setattr(facts, name, lambda *dummy, answer=answer: answer)
    monkeypatch.setattr(facts.log, "PATH", os.devnull)


def test_all_of_it(quick, monkeypatch):
    asked = []
    monkeypatch.setattr(facts, "look_at_units", lambda *names: asked.append(names) or ())
    found = facts.gather(["libvirtd", "a.socket"], "/s")
    assert asked == [(["libvirtd.service", "a.socket"], ["b.timer"])]
    assert (found.hostname, found.linux, found.clock) == (os.uname().nodename, os.uname().release, None)
    assert abs(found.time - time.time()) < 60 and 0 < found.booted <= found.time
    assert (found.installed, found.outdated, found.rooms, found.waiting, found.store, found.unknown) == (
        {"p": "1"}, Outdated(("vmlinuz-7",)), (Room("/", 1, 2),), Waiting(3.0), Store("/s"), ())
    assert facts.gather().store is None


def test_the_last_moves(quick, monkeypatch):
    lines = [f"2026-11-28T15:02:0{number}Z a@b: drain.yml: g{number} moved from a to b (live)" for number in range(7)]
    monkeypatch.setattr(facts.log, "PATH", "/site.log")
    monkeypatch.setattr(facts.log, "last", lambda path: lines if path == "/site.log" else [])
    assert [name for dummy, name, dummy2 in facts.gather().moves] == ["g2", "g3", "g4", "g5", "g6"]


@pytest.mark.parametrize("name, error, said", [
    ("waiting", CloudError("", "apt-get", "E: no."), "what waits for an upgrade: E: no."),
    ("waiting", FileNotFoundError(2, "No such file", "apt-get"), "what waits for an upgrade: [Errno 2] No such file: 'apt-get'."),
    ("ask_dpkg", subprocess.TimeoutExpired("dpkg-query", 3), "what is installed: Command 'dpkg-query' timed out after 3 seconds."),
    ("look_at_units", OSError("no"), "what runs: no."), ("rooms", OSError("no"), "free room: no."),
    ("outdated", OSError("no"), "what is older than what is installed: no."),
])
def test_what_does_not_answer_is_told_and_all_else_too(quick, monkeypatch, name, error, said):
    def fail(*dummy):
        raise error

    monkeypatch.setattr(facts, name, fail)
    found = facts.gather([], "/s")
    assert found.unknown == (said,)
    empty = {"waiting": ("waiting", None), "ask_dpkg": ("installed", None), "look_at_units": ("units", ()), "rooms": ("rooms", ()),
             "outdated": ("outdated", Outdated())}
    assert [field for field, none in empty.values() if getattr(found, field) == none] == [empty[name][0]]


def test_what_hangs_is_not_waited_for(quick, monkeypatch):
    monkeypatch.setattr(facts, "PATIENCE", 0.1)
    monkeypatch.setattr(facts._Asking.ask, "__defaults__", (0.1,))
    monkeypatch.setattr(facts, "rooms", lambda: time.sleep(1))
    assert facts.gather().unknown == ("free room: no answer within 0.1 s.",)
