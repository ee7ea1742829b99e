# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is asked of libvirt and of the store before a move; what is decided over the answers is in move/ and test_move_prechecks.py."""

from __future__ import annotations

import dataclasses
import os
import types

import fake_libvirt
import pytest

from ansible_collections.our.cloud.plugins.module_utils._guest import domain
from ansible_collections.our.cloud.plugins.module_utils._guest.domain_facts import Disk, Domain
from ansible_collections.our.cloud.plugins.module_utils._hypervisor import hypervisor
from ansible_collections.our.cloud.plugins.module_utils._move import facts, mover
from ansible_collections.our.cloud.plugins.module_utils._site.store import MARKER


# --- what the target's libvirt is asked about machine and CPU

GUEST = """<domain type='{type}'><os><type arch='x86_64' machine='pc-q35-10.0'>hvm</type></os>{cpu}
<devices><emulator>/usr/bin/qemu-system-x86_64</emulator></devices></domain>"""
CPU = "<cpu mode='custom'><model>Nehalem</model></cpu>"
HOST = "<capabilities><host><cpu><model>{model}</model><feature name='{feature}'/></cpu></host></capabilities>"
MODELS = """<domainCapabilities><cpu><mode name='custom'><model usable='yes'>Nehalem</model><model usable='no'>Skylake</model></mode>
<mode name='host-model'><model>Westmere</model></mode></cpu></domainCapabilities>"""


@pytest.fixture(name="hosts")
def fixture_hosts(monkeypatch):
    """hosts(kind): (source, target, the target's host)."""
    def made(kind="QEMU"):
        world = fake_libvirt.World(monkeypatch)
        for name in ("one", "two"):
            world.host(name, kind).capabilities = HOST.format(model="Nehalem", feature="aes")
        two = world.hosts["two"]
        two.when["getDomainCapabilities"] = lambda host: MODELS
        return hypervisor.open_local(), hypervisor.open_target(hypervisor.local_family(), "two"), two

    return made


def root(cpu=CPU, kind="kvm"):
    return domain.parse(GUEST.format(cpu=cpu, type=kind))


def fail(code):
    def answer(host):
        raise host.world.error("it cannot be said.", code)
    return answer


def test_a_machine_that_the_target_does_not_have(hosts):
    source, target, two = hosts()
    assert facts.machine_problem(target, root(), "two") is None
    two.when["getDomainCapabilities"] = fail(1)
    assert facts.machine_problem(target, root(), "two") == "two does not have the guest's machine pc-q35-10.0 (x86_64): it cannot be said"
    # of that CPU nothing can be said then, and need not be
    assert facts.cpu_problem(source, target, root(kind="qemu"), "two") is None


def test_xen_has_no_machines_to_choose_from(hosts):
    dummy, target, two = hosts("Xen")
    two.when["getDomainCapabilities"] = fail(1)
    assert facts.machine_problem(target, root(kind="xen"), "two") is None


def test_the_target_is_asked_about_the_guests_own_machine(hosts, monkeypatch):
    source, target, dummy = hosts()
    asked = []
    monkeypatch.setattr(target, "getDomainCapabilities", lambda *how: asked.append(how) or MODELS)
    monkeypatch.setattr(target, "compareHypervisorCPU", lambda *how: asked.append(how) or 2)
    facts.machine_problem(target, root(), "two")
    facts.cpu_problem(source, target, root(kind="qemu"), "two")
    facts.cpu_problem(source, target, root(), "two")
    machine = ("/usr/bin/qemu-system-x86_64", "x86_64", "pc-q35-10.0")
    assert [how[:4] for how in asked] == [(*machine, "kvm"), (*machine, "qemu"), (*machine, "kvm")] and [how[-1] for how in asked] == [0, 0, 0]
    assert "Nehalem" in asked[2][4]


def test_a_guest_without_a_cpu_of_its_own_fits(hosts):
    source, target, dummy = hosts()
    assert facts.cpu_problem(source, target, root(""), "two") is None
    assert facts.cpu_problem(source, target, root("<cpu mode='custom'/>", "qemu"), "two") is None


# --- saved states

def test_saved_states_beside_a_disk_the_oldest_first(tmp_path):
    disk = str(tmp_path / "g[1].img")
    for number, name in enumerate(("g[1].img.b.state", "g[1].img.a.state", "g1.img.c.state", "g[1].img")):
        (tmp_path / name).write_bytes(b"x" * number)
        os.utime(tmp_path / name, (100 - number, 100 - number))
    (tmp_path / "g[1].img.d.state").symlink_to(tmp_path / "none")
    os.utime(tmp_path / "g[1].img.d.state", (50, 50), follow_symlinks=False)
    assert [(os.path.basename(one.path), one.size, one.saved) for one in facts.state_files(disk)] == [
        ("g[1].img.d.state", 0, 50), ("g[1].img.a.state", 1, 99), ("g[1].img.b.state", 0, 100)]


def test_a_state_that_is_removed_while_one_looks(tmp_path, monkeypatch):
    def gone(path):
        raise FileNotFoundError(path)

    (tmp_path / "g.img.a.state").touch()
    monkeypatch.setattr(facts.os, "lstat", gone)
    assert facts.state_files(str(tmp_path / "g.img")) == []


@pytest.mark.parametrize("code, found", [(3, []), (38, None)])
def test_snapshots_that_the_driver_cannot_tell(hosts, code, found):
    two = hosts()[2]
    dom = two.add("g")
    dom.snapshots = ["before"]
    assert facts.snapshots(dom) == ["before"]

    def cannot():
        raise two.world.error("no", code)

    dom.snapshotListNames = cannot
    if found is None:
        with pytest.raises(fake_libvirt.LibvirtError):
            facts.snapshots(dom)
    else:
        assert facts.snapshots(dom) == found


def test_the_room_beside_a_disk(tmp_path, monkeypatch):
    (tmp_path / MARKER).write_text("id\n")
    guest = Domain("g", disks=(Disk(str(tmp_path / "root.img"), readonly=True), Disk(str(tmp_path / "g.img"))), ramdisk="/boot/initrd")
    monkeypatch.setattr(os, "statvfs", lambda path: types.SimpleNamespace(f_bavail=3 << 10, f_frsize=4096))
    found = facts.in_store(guest)
    assert (found.room, found.markers) == (12, {str(tmp_path): "id\n"})
    assert found.stores == {str(tmp_path / "root.img"): str(tmp_path), str(tmp_path / "g.img"): str(tmp_path), "/boot/initrd": None}
    # no disk that it may write on, none of the store
    assert facts.in_store(dataclasses.replace(guest, disks=guest.disks[:1])).room is None
    assert facts.in_store(dataclasses.replace(guest, disks=(Disk("/nowhere/g.img"),))).room is None


# --- what a hypervisor's states mean

@pytest.mark.parametrize("word, reason, cpu, ran", [
    ("running", 1, 0, True),
    # libvirt's virDomainPausedReason: migration, starting up; unknown, as a libvirtd that was started anew has it
    ("paused", 2, 5, False), ("paused", 11, 5, False), ("paused", 0, 0, False), ("paused", 0, 5, True),
    # by a user, I/O error, post-copy and post-copy that failed
    ("paused", 1, 0, True), ("paused", 5, 0, True), ("paused", 12, 0, True), ("paused", 13, 0, True),
])
def test_whether_a_copy_on_kvm_has_run(hosts, word, reason, cpu, ran):
    assert mover.KvmMover(None).has_run(hosts()[2].add("g", word, reason=reason, cpu=cpu)) is ran


@pytest.mark.parametrize("word, reason, state", [
    ("running", 1, "running"), ("paused", 12, "half"), ("paused", 13, "half"), ("paused", 2, "paused"), ("paused", 11, "paused"), ("crashed", 12, "crashed"),
])
def test_the_states_of_the_source_on_kvm(hosts, word, reason, state):
    assert mover.KvmMover(None).state_here(hosts()[2].add("g", word, reason=reason)) == state


@pytest.mark.parametrize("cpu, ran", [(0, False), (1, True)])
def test_whether_a_copy_on_xen_has_run(hosts, cpu, ran):
    assert mover.XenMover(None).has_run(hosts("Xen")[2].add("g", cpu=cpu)) is ran


def test_what_was_begun_to_be_measured_is_ended():
    ended = []
    one = mover.XenMover(None)
    one.unwatch()
    one.wire = types.SimpleNamespace(stop=lambda: ended.append("wire"))
    one.unwatch()
    one.standstill = types.SimpleNamespace(stop=lambda: ended.append("standstill"))
    one.unwatch()
    assert ended == ["wire", "wire", "standstill"]


@pytest.mark.parametrize("model, feature, fits", [("Nehalem", "aes", True), ("Nehalem", "avx", False), ("Westmere", "aes", False)])
@pytest.mark.parametrize("mode", ["host-passthrough", "maximum"])
def test_a_guest_that_sees_the_hosts_own_cpu(hosts, mode, model, feature, fits):
    source, target, two = hosts()
    two.capabilities = HOST.format(model=model, feature=feature)
    found = facts.cpu_problem(source, target, root(f"<cpu mode='{mode}'/>"), "two")
    assert found == (None if fits else f"the guest sees this host's own CPU ({mode}) and the one of two differs")
