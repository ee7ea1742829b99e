# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a move finds out of both hosts before it begins."""

from __future__ import annotations

import os
import time

import fake_libvirt
import pytest
from ansible_collections.our.cloud.plugins.module_utils._common.errors import CloudError
from ansible_collections.our.cloud.plugins.module_utils._hypervisor import hypervisor
from ansible_collections.our.cloud.plugins.module_utils._move import facts
from ansible_collections.our.cloud.plugins.module_utils._move.options import Options
from move_samples import PARAMS


# --- facts ------------------------------------------------------------------

def test_state_files(tmp_path):
    disk = tmp_path / "g[1].img"
    for name, seconds in (("g[1].img.u.b.state", 2000), ("g[1].img.u.state", 1000), ("h.img.u.state", 1)):
        (tmp_path / name).write_text("abc")
        os.utime(tmp_path / name, (seconds, seconds))
    os.symlink("/etc/hostname", "%s.x.state" % disk)
    found = facts.state_files(str(disk))
    assert [(os.path.basename(one.path)[len("g[1].img."):], one.size) for one in found] == [("u.state", 3), ("u.b.state", 3), ("x.state", 0)]


def test_machine_that_the_target_lacks(kvm):
    kvm.two.when["getDomainCapabilities"] = lambda host: (dummy for dummy in ()).throw(kvm.world.error("the machine 'q35' is not supported"))
    done = kvm.move()
    assert done["failed"] and done["refusals"] == ["two does not have the guest's machine q35 (x86_64): the machine 'q35' is not supported. Install the QEMU "
                                                   "of this host there, or give the guest a machine that both have and restart it"]


def with_cpu(site, cpu, kind="kvm"):
    site.guest.xml = site.guest.xml.replace("<devices>", cpu + "<devices>").replace("type='qemu'", "type='%s'" % kind, 1)


@pytest.mark.parametrize("answer, words", [(0, "two cannot give the guest its CPU (Skylake)"), (1, None), ("no", "two cannot give the guest its CPU: no")])
def test_cpu_of_kvm(kvm, answer, words):
    with_cpu(kvm, "<cpu mode='custom'><model>Skylake</model></cpu>")

    def compare(host):
        if answer == "no":
            raise kvm.world.error("no")
        return answer

    kvm.two.when["compareCPU"] = compare
    done = kvm.move(check_mode=True)
    assert words in done["refusals"][0] if words else not done.get("failed")


@pytest.mark.parametrize("models, refused", [("<model usable='yes'>Skylake</model>", False), ("<model usable='no'>Skylake</model>", True), ("", True)])
@pytest.mark.parametrize("kind", ["kvm", "qemu"])
def test_cpu_model_among_those_of_the_target(kvm, models, refused, kind):
    with_cpu(kvm, "<cpu mode='custom'><model>Skylake</model></cpu>", kind)
    kvm.two.when["compareCPU"] = lambda host: (dummy for dummy in ()).throw(kvm.world.error("unsupported", 3))
    kvm.two.when["getDomainCapabilities"] = lambda host: "<domainCapabilities><cpu><mode name='custom'>%s</mode></cpu></domainCapabilities>" % models
    done = kvm.move(check_mode=True)
    assert bool(done.get("failed")) is refused and (not refused or "does not have the guest's CPU model Skylake" in done["refusals"][0])


@pytest.mark.parametrize("there, refused", [("one", False), ("other", True)])
def test_cpu_of_the_host(kvm, there, refused):
    with_cpu(kvm, "<cpu mode='host-passthrough'/>")
    kvm.two.capabilities = kvm.one.capabilities.replace("one", there)
    assert bool(kvm.move(check_mode=True).get("failed")) is refused


@pytest.mark.parametrize("answer, refused", [(0, True), (1, False)])
def test_cpu_of_xen(xen, answer, refused):
    xen.two.when["compareCPU"] = lambda host: answer
    done = xen.move(check_mode=True)
    assert bool(done.get("failed")) is refused and (not refused or "the CPU of two lacks" in done["msg"])


def test_xen_that_tells_no_cpu(xen):
    xen.one.capabilities = "<capabilities><host/></capabilities>"
    xen.two.when["compareCPU"] = lambda host: 0
    assert not xen.move(check_mode=True).get("failed")


def test_snapshots(kvm):
    kvm.guest.snapshots = ["before"]
    assert "it has snapshots (before)" in kvm.move()["msg"]
    kvm.guest.snapshotListNames = lambda: (dummy for dummy in ()).throw(kvm.world.error("broken"))
    with pytest.raises(fake_libvirt.LibvirtError, match="broken"):
        kvm.move()


def test_guest_without_a_disk(kvm):
    kvm.one.domains.clear()
    kvm.one.add("g")
    assert not kvm.move(check_mode=True).get("failed")
    assert "it has no disk on the shared store" in kvm.move(mode="suspend", check_mode=True)["msg"]
    assert not kvm.move().get("failed") and not (kvm.root / ".our-cloud-moves").exists()


def test_disk_outside_of_the_store(kvm):
    kvm.one.domains.clear()
    kvm.one.add("g", disk="/elsewhere/g.img")
    assert "/elsewhere/g.img is not on the shared store" in kvm.move(mode="suspend")["refusals"][0] and kvm.words() == {"one": "running"}


def test_store_that_does_not_answer(kvm, monkeypatch):
    monkeypatch.setattr(facts, "PATIENCE", 0.05)
    monkeypatch.setattr(facts, "in_store", lambda guest: time.sleep(1))
    with pytest.raises(CloudError, match="one: the store of guest g: no answer within 0.05 s. Is its server up?"):
        kvm.move()


def test_what_is_found_out_of_both(kvm):
    kvm.two.add("h", "running", uuid="u-h")
    kvm.two.add("i", "stopped", uuid="u-i").persistent = False
    conn = hypervisor.open_local()
    options = Options(**PARAMS)
    found, target = facts.gather(conn, hypervisor.find(conn, "g"), options)
    guest, there = found.guest, found.target
    assert target.getHostname() == "two" and {key: getattr(guest, key) for key in ("name", "state", "active", "persistent", "memory")} == {
        "name": "g", "state": "running", "active": True, "persistent": True, "memory": 256}
    free = os.statvfs(kvm.root)
    assert abs(found.stored.room - (free.f_bavail * free.f_frsize >> 20)) < 100
    assert found == facts.Facts(options, "qemu", guest, (), facts.Stored({kvm.disk: str(kvm.root)}, {str(kvm.root): "marker\n"}, (), found.stored.room), there)
    assert there == facts.Target(
        "qemu", "two", {"h": facts.Other(True, True, "u-h"), "i": facts.Other(False, False, "u-i")}, there.memory, {"br0": True},
        {str(kvm.root): "marker\n"}, machine_problem=None, cpu_problem=None)
    assert there.memory.free == 4096
    kvm.two.up = False
    found, target = facts.gather(conn, hypervisor.find(conn, "g"), options)
    assert target is None and found.target is None and "Connection refused" in found.target_error
