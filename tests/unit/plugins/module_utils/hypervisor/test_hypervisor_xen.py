# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Xen alone has: control domains, guests that stand still, orphans, loop devices over a disk."""

from __future__ import annotations

import dataclasses
import glob
import os
import subprocess
import types

import pytest

from ansible_collections.our.cloud.plugins.module_utils._common.errors import CloudError
from ansible_collections.our.cloud.plugins.module_utils._guest.told import Orphan
from ansible_collections.our.cloud.plugins.module_utils._hypervisor import hypervisor, xen


def binding(monkeypatch, *items):
    """Xen's own binding, that tells of these domains."""
    told = types.SimpleNamespace(domain_getinfo=lambda first, most: [item for item in items if item["domid"] >= first][:most])
    monkeypatch.setattr(xen, "control", lambda: told)
    return told


def test_no_binding_where_there_is_no_xen():
    assert os.path.exists("/sys/hypervisor/version/major") or xen.control() is None


@pytest.mark.parametrize("shutdown, reason, still", [(1, 2, True), (1, 0, False), (0, 2, False)])
def test_what_stands_still(monkeypatch, shutdown, reason, still):
    told = binding(monkeypatch, {"domid": 7, "shutdown": shutdown, "shutdown_reason": reason})
    assert xen.standing(told, 7) is still
    # it tells of the next domain if there is none of that number
    assert xen.standing(told, 6) is None and xen.standing(None, 7) is None


@pytest.mark.parametrize("kind, word, suspended", [("Xen", "running", True), ("Xen", "stopped", False), ("QEMU", "running", False)])
def test_suspended(world, monkeypatch, kind, word, suspended):
    dom = world.host("one", kind).add("g", word)
    binding(monkeypatch, {"domid": dom.number, "shutdown": 1, "shutdown_reason": 2})
    assert xen.suspended(dom) is suspended


def test_orphans(world, monkeypatch, programs):
    dom = world.host("one", "Xen").add("g")
    item = {"dying": 0, "mem_kb": 262144, "cpu_time": 0}
    binding(monkeypatch, {**item, "domid": dom.number}, {**item, "domid": 9001, "dying": 1}, {**item, "domid": 9002}, {**item, "domid": 9003, "cpu_time": 5})
    programs[0]["xenstore-read"] = (0, "g\n", "")
    conn = hypervisor.open_local()
    assert xen.orphans(conn) == [Orphan(9002, "g", memory=256, has_run=False), Orphan(9003, "g", memory=256, has_run=True)]
    assert programs[1] == ["xenstore-read /local/domain/9002/name", "xenstore-read /local/domain/9003/name"]
    monkeypatch.setattr(xen, "control", lambda: None)
    assert xen.orphans(conn) == []


def test_kvm_has_no_orphans(one, monkeypatch):
    binding(monkeypatch, {"domid": 5, "dying": 0, "mem_kb": 1, "cpu_time": 0})
    assert xen.orphans(hypervisor.open_local()) == []


def test_an_orphan_that_has_run_is_left_alone(programs):
    orphan = Orphan(9, "g", memory=1, has_run=True)
    with pytest.raises(CloudError, match=r"Xen domain 9 \(g\): libvirt does not know it, and it has run"):
        xen.destroy_orphan("one", orphan)
    assert programs[1] == []
    xen.destroy_orphan("one", dataclasses.replace(orphan, has_run=False))
    assert programs[1] == ["xl destroy 9"]
    programs[0]["xl"] = (1, "", "no such domain\n")
    with pytest.raises(CloudError, match=r"Xen domain 9 \(g\): no such domain. See `xl list`"):
        xen.destroy_orphan("one", dataclasses.replace(orphan, has_run=False))


@pytest.fixture(name="loops")
def fixture_loops(tmp_path, monkeypatch):
    """Loop devices: loops(name, file, whether it bypasses the cache)."""
    real = glob.glob
    monkeypatch.setattr(glob, "glob", lambda pattern: sorted(real(str(tmp_path) + pattern)))

    def make(name, backing, direct):
        folder = tmp_path / "sys/block" / name / "loop"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "backing_file").write_text(backing + "\n")
        if direct is not None:
            (folder / "dio").write_text("%d\n" % direct)

    return make


def test_loop_devices_over_a_disk(loops, tmp_path):
    disk, link = tmp_path / "g.img", tmp_path / "link"
    link.symlink_to(disk)
    loops("loop0", str(disk), 0)
    loops("loop1", str(disk), 1)
    loops("loop2", "/another", 0)
    # it goes while one looks
    loops("loop3", str(disk), None)
    assert xen.loop_devices(str(link)) == [("loop0", False), ("loop1", True)]


def test_a_disk_bypasses_the_page_cache(loops, tmp_path, programs, monkeypatch):
    disk = str(tmp_path / "g.img")
    loops("loop0", disk, 0)
    loops("loop1", disk, 1)
    assert xen.direct_io(disk, check_mode=True) == ["loop0"] and programs[1] == []
    # losetup says yes, and the kernel has not done it
    with pytest.raises(CloudError, match=r"/dev/loop0 cannot bypass the page cache \(the kernel did not take it\). Its data would not be safe"):
        xen.direct_io(disk)
    programs[0]["losetup"] = (1, "", "Invalid argument")
    with pytest.raises(CloudError, match=r"cannot bypass the page cache \(Invalid argument\)"):
        xen.direct_io(disk)
    monkeypatch.setattr(subprocess, "run", lambda argv, **dummy: loops("loop0", disk, 1) or subprocess.CompletedProcess(argv, 0, "", ""))
    assert xen.direct_io(disk) == ["loop0"] and xen.direct_io(disk) == []
