# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module vm with guests of images, in four steps, with a hypervisor that is a dictionary."""

from __future__ import annotations

import os
import pathlib
import subprocess
import xml.etree.ElementTree as ET

import boot_samples as sample
import pytest

from ansible_collections.our.cloud.plugins.module_utils._common.errors import CloudError
from ansible_collections.our.cloud.plugins.module_utils._boot import boot_files
from ansible_collections.our.cloud.plugins.module_utils._guest import domain, domain_facts
from ansible_collections.our.cloud.plugins.module_utils._hypervisor import hypervisor
from ansible_collections.our.cloud.plugins.module_utils._hypervisor import xen as xen_calls
from ansible_collections.our.cloud.plugins.module_utils._registry import registration
from ansible_collections.our.cloud.plugins.module_utils._registry.nfs_store import NfsStore
from ansible_collections.our.cloud.plugins.module_utils._site.store import MARKER
from ansible_collections.our.cloud.plugins.module_utils._registry.registry import Registry
from ansible_collections.our.cloud.plugins.module_utils._registry.storage import RegistryError
from ansible_collections.our.cloud.plugins.module_utils._vm import ensure, in_hand

DEFAULTS = {"name": "our-vm", "state": "running", "kind": "kvm", "arch": None, "memory": 256, "vcpus": 1, "cpu": None, "image": "debian", "kernel": None,
            "ramdisk": None, "cmdline": None, "disk": None, "bridge": "br0", "mac": None, "autostart": None, "timeout": 1, "force": False, "uri": None,
            "elsewhere": False}


class Dom:
    def __init__(self, conn, root):
        self.conn, self.root, self.running, self.paused, self.arrives = conn, root, False, None, False

    def name(self):
        return self.root.findtext("name")

    def isPersistent(self):
        return True

    def autostart(self):
        return False

    def create(self):
        self.running = True

    def resume(self):
        self.paused = self.relapse

    relapse = None

    def hasManagedSaveImage(self):
        return False


class Conn:
    """One hypervisor and its guests."""

    def __init__(self, family="qemu"):
        self.family, self.guests = family, {}

    def getHostname(self):
        return "node1"

    def getType(self):
        return {"qemu": "QEMU", "xen": "Xen"}[self.family]


@pytest.fixture(name="conn")
def fixture_conn(monkeypatch):
    conn = Conn()

    def define(where, root):
        dom = where.guests.setdefault(root.findtext("name"), Dom(where, root))
        dom.root = root
        return dom

    def stop(dom, *dummy):
        dom.running = False
        return "graceful"

    monkeypatch.setattr(hypervisor, "find", lambda where, name: where.guests.get(name))
    monkeypatch.setattr(hypervisor, "persistent_xml", lambda dom: dom.root)
    monkeypatch.setattr(hypervisor, "define", define)
    monkeypatch.setattr(hypervisor, "undefine", lambda dom: dom.conn.guests.pop(dom.name()))
    monkeypatch.setattr(hypervisor, "state", lambda dom: "paused" if dom.paused is not None else "running" if dom.running else "stopped")
    monkeypatch.setattr(hypervisor, "active", lambda dom: dom.running)
    monkeypatch.setattr(hypervisor, "stop", stop)
    monkeypatch.setattr(xen_calls, "orphans", lambda where: [])
    monkeypatch.setattr(hypervisor, "host", lambda where: None)
    monkeypatch.setattr(in_hand, "running_job", lambda name: None)
    monkeypatch.setattr(hypervisor, "paused", lambda dom: dom.paused)
    monkeypatch.setattr(xen_calls, "suspended", lambda dom: False)
    monkeypatch.setattr(hypervisor, "arrives", lambda dom: dom.arrives)
    monkeypatch.setattr(hypervisor, "io_errors", lambda dom: {"vda": "no space left"})
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    monkeypatch.setattr(os, "fdatasync", lambda descriptor: None)
    return conn


@pytest.fixture(name="root")
def fixture_root(tmp_path, monkeypatch):
    root = tmp_path / "store"
    (root / "images").mkdir(parents=True)
    (root / MARKER).write_text("uuid\n", encoding="ascii")

    def run(argv, **dummy):
        pathlib.Path(argv[-1]).write_bytes(sample.qcow2(backing=argv[-2].encode()))
        return subprocess.CompletedProcess(argv, 0, "", "")

    monkeypatch.setattr(subprocess, "run", run)
    return root


def put(root, label=b"root"):
    folder = root.parent / "built"
    folder.mkdir(exist_ok=True)
    (folder / "vmlinuz").write_bytes(sample.bzimage())
    (folder / "initrd.img").write_bytes(sample.cpio())
    (folder / "root.img").write_bytes(sample.ext4(label=label))
    return site(root).register("debian", registration.parts_of("image", {}, str(folder)), "me", None)["id"]


def site(root):
    return Registry(NfsStore(str(root)))


def run(conn, root, check_mode=False, **params):
    return ensure.Guest(conn, dict(DEFAULTS, store=str(root), **params), check_mode, diff=True).run()


def four_steps(conn, root, **params):
    """Check, real, check, real: both first ones say the same, both last ones that nothing is left. What was done."""
    steps = [run(conn, root, check_mode, **params) for check_mode in (True, False, True, False)]
    assert steps[0]["actions"] == steps[1]["actions"]
    assert [step["changed"] for step in steps] == [bool(steps[1]["actions"])] * 2 + [False] * 2
    assert steps[0]["diff"] == steps[1]["diff"]
    return steps[1]


@pytest.mark.parametrize("content, why", [
    (sample.qcow2(backing=b"/etc/shadow"), "based on /etc/shadow, which is no image of the registry"),
    (sample.qcow2(features=4), "its data is in another file, which its header names"),
])
@pytest.mark.parametrize("image", ["debian", None])
def test_a_disk_that_leads_elsewhere_is_refused(conn, root, content, why, image):
    conn.family = "qemu"
    put(root)
    (root / "images/our-vm.qcow2").write_bytes(content)
    with pytest.raises(boot_files.BootFileError, match=why):
        run(conn, root, kind="kvm", image=image, disk=str(root / "images/our-vm.qcow2"))
    assert conn.guests == {}


def test_libvirt_is_told_what_a_disk_is_based_on(conn, root):
    conn.family = "qemu"
    key = put(root)
    run(conn, root, kind="kvm")
    based = conn.guests["our-vm"].root.find("devices/disk/backingStore")
    assert based.find("source").get("file") == str(root / "registry" / key / "root.img")


@pytest.mark.parametrize("family, kind, suffix, form", [("qemu", "kvm", "qcow2", "qcow2"), ("xen", "pvh", "img", "raw")])
def test_a_guest_of_an_image(conn, root, family, kind, suffix, form):
    conn.family = family
    key = put(root)
    record = site(root).find("image", "debian")
    disk = str(root / "images") + "/our-vm." + suffix
    done = four_steps(conn, root, kind=kind)
    assert done["actions"] == ["use " + key, "disk", "define", "start"]
    assert (done["image"], done["disk"], done["state"]) == (key, disk, "running")
    assert done["diff"][1]["after"] == "%s, from %s\n" % (disk, key)
    facts = domain_facts.facts(conn.guests["our-vm"].root)
    assert (facts.kernel, facts.ramdisk) == tuple(NfsStore(str(root)).path(record[each]) for each in ("kernel", "ramdisk"))
    assert (facts.disks[0].path, facts.disks[0].format) == (disk, form)
    # the name moves, the guest stays as it was
    assert put(root, b"new") != key
    assert four_steps(conn, root, kind=kind)["actions"] == []
    with pytest.raises(RegistryError, match="needed by guest our-vm"):
        site(root).remove("image", key)
    gone = four_steps(conn, root, kind=kind, state="absent")
    assert gone["actions"] == ["stop", "undefine"]
    # it is made again from what its disk was made of
    assert four_steps(conn, root, kind=kind)["actions"] == ["define", "start"]
    four_steps(conn, root, kind=kind, state="absent")
    os.unlink(disk)
    assert site(root).remove("image", key)["changed"]


def test_absent_asks_for_no_image(conn, root):
    put(root)
    run(conn, root)
    site(root).remove("image", "debian", force=True)
    assert four_steps(conn, root, state="absent")["actions"] == ["stop", "undefine"]


def test_a_guest_that_is_not_here_is_somebody_elses(conn, root):
    """A definition that is cleaned up on another host does not take the image away from the guest."""
    key = put(root)
    run(conn, root)
    assert four_steps(Conn(), root, state="absent")["actions"] == []
    assert list(NfsStore(str(root)).uses(key)) == ["guest.our-vm"]


def test_a_kernel_of_the_registry(conn, root):
    put(root)
    record = site(root).find("image", "debian")
    (root / "images/own.img").write_bytes(sample.ext4())
    own = {"image": None, "disk": "images/own.img"}
    ids = {each: record[each] for each in ("kernel", "ramdisk")}
    assert four_steps(conn, root, **own, **ids)["actions"] == ["use %(kernel)s %(ramdisk)s" % ids, "define", "start"]
    (root / "vmlinuz").write_bytes(sample.bzimage("6.1.0-own (me)"))
    # what runs may need it until it is stopped
    changed = four_steps(conn, root, **own, kernel="vmlinuz")
    assert changed["actions"] == ["define"] and changed["restart_needed"]
    run(conn, root, **own, kernel="vmlinuz", state="stopped")
    assert four_steps(conn, root, **own, kernel="vmlinuz", state="stopped")["actions"] == ["give up " + ids[each] for each in ("kernel", "ramdisk")]
    four_steps(conn, root, **own, **ids)
    assert four_steps(conn, root, state="absent")["actions"][2:] == ["give up " + ids[each] for each in ("kernel", "ramdisk")]


def test_without_any_registry(conn, tmp_path):
    (tmp_path / "vmlinuz").write_bytes(sample.bzimage("6.1.0-own (me)"))
    (tmp_path / "disk.img").write_bytes(sample.ext4())
    assert four_steps(conn, tmp_path, image=None, kernel="vmlinuz", disk="disk.img")["actions"] == ["define", "start"]
    with pytest.raises(RegistryError, match="is not the site's store"):
        run(conn, tmp_path)


def test_refused_before_anything_is_done(conn, root):
    put(root)
    for params in ({"image": "none"}, {"memory": 1}, {"kernel": "none"}, {"arch": "arm64"}):
        for check_mode in (True, False):
            with pytest.raises(ValueError):
                run(conn, root, check_mode, **params)
    assert os.listdir(root / "images") == [] and conn.guests == {}
    assert site(root).listing("image")[0]["needed_by"] == []


def test_a_disk_that_is_not_there(conn, root):
    with pytest.raises(CloudError, match="it does not exist. Is the store mounted here. With an image it would be made"):
        run(conn, root, image=None, disk="images/none.img")


# --- whose it is, and who has it in hand

def made(conn, root):
    """A guest that is defined and runs."""
    put(root)
    run(conn, root)
    return conn.guests["our-vm"]


def test_a_definition_says_whose_it_is(conn, root):
    assert domain.owner(made(conn, root).root) == "our.cloud"


def test_passwords_of_graphics_are_in_no_result(conn, root):
    dom = made(conn, root)
    ET.SubElement(dom.root.find("devices"), "graphics", type="vnc", passwd="hunter2")
    for changes in ({}, {"memory": 300}, {"state": "absent"}):
        done = ensure.Guest(conn, dict(DEFAULTS, store=str(root), **changes), False, True).run()
        assert "hunter2" not in str(done)
        assert "graphics" in str(done)
        assert changes.get("state") or dom.root.find("devices/graphics").get("passwd") == "hunter2"


def test_one_from_before_is_ours_from_its_next_definition_on(conn, root):
    dom = made(conn, root)
    dom.root.remove(dom.root.find("metadata"))
    assert domain.owner(dom.root) is None
    done = four_steps(conn, root)
    assert (done["actions"], done["restart_needed"]) == (["define"], False)
    assert domain.owner(dom.root) == "our.cloud"


@pytest.mark.parametrize("state", ["running", "present", "stopped", "absent"])
def test_another_managers_is_not_touched(conn, root, state):
    dom = made(conn, root)
    metadata = dom.root.find("metadata")
    metadata.clear()
    metadata.append(domain.ET.Element("{http://openstack.org/xmlns/libvirt/nova/1.1}instance"))
    before = domain.to_text(dom.root)
    with pytest.raises(CloudError, match="it belongs to nova, as its metadata says, and nothing here touches it"):
        run(conn, root, state=state)
    assert dom.running and domain.to_text(dom.root) == before


@pytest.mark.parametrize("state", ["running", "stopped", "absent"])
@pytest.mark.parametrize("reason", ["migration", "postcopy", "postcopy failed", "save", "starting up"])
def test_what_a_move_has_paused_is_not_touched(conn, root, reason, state):
    dom = made(conn, root)
    dom.paused = reason
    with pytest.raises(CloudError, match="it stands still .%s., and may go on elsewhere" % reason):
        run(conn, root, state=state)
    assert dom.running and dom.paused == reason


def test_what_arrives_is_not_touched(conn, root):
    dom = made(conn, root)
    dom.arrives = True
    for state in ("running", "stopped", "absent"):
        with pytest.raises(CloudError, match="it is on its way here"):
            run(conn, root, state=state)


def test_what_stands_still_on_xen_is_not_touched(conn, root, monkeypatch):
    made(conn, root)
    monkeypatch.setattr(xen_calls, "suspended", lambda dom: True)
    with pytest.raises(CloudError, match="it stands still, as a move leaves it that broke off, and may go on elsewhere"):
        run(conn, root)


@pytest.mark.parametrize("reason", ["", "user", "watchdog"])
def test_what_somebody_paused_goes_on(conn, root, reason):
    made(conn, root).paused = reason
    assert four_steps(conn, root)["actions"] == ["resume"]


# --- paused by an I/O error

def test_an_error_that_has_passed(conn, root):
    made(conn, root).paused = hypervisor.IO_ERROR
    conn.guests["our-vm"].relapse = None
    assert four_steps(conn, root)["actions"] == ["resume"]


def test_an_error_that_has_not_passed(conn, root):
    dom = made(conn, root)
    dom.paused = dom.relapse = hypervisor.IO_ERROR
    with pytest.raises(CloudError) as error:
        run(conn, root)
    assert "guest our-vm: it is paused by an I/O error (vda: no space left), and would stop again at once. Can its disk be read and written" in str(error.value)


@pytest.mark.parametrize("check_mode", [True, False])
def test_a_full_store_is_named(conn, root, monkeypatch, check_mode):
    dom = made(conn, root)
    dom.paused = dom.relapse = hypervisor.IO_ERROR
    full = os.statvfs_result((4096, 4096, 1000, 10, 10, 1000, 1000, 1000, 0, 255))
    monkeypatch.setattr(os, "statvfs", lambda path: full)
    with pytest.raises(CloudError, match="images is full: make room there"):
        run(conn, root, check_mode=check_mode)


# --- its memory was saved by a move that broke off

@pytest.mark.parametrize("check_mode", [True, False])
def test_saved_memory_is_not_lost_by_a_start(conn, root, check_mode):
    dom = made(conn, root)
    dom.running = False
    saved = root / "images/our-vm.qcow2.7f2c.1-2.state"
    saved.write_bytes(b"memory")
    os.utime(saved, (1000000000, 1000000000))
    with pytest.raises(CloudError) as error:
        run(conn, root, check_mode=check_mode)
    assert str(error.value) == (
        f"node1: guest our-vm: its memory is saved in {saved} (2001-09-09 01:46 UTC), by a move that broke off, and a start anew would lose it. "
        f"`virsh restore {saved}` here makes it go on where it was. If it has run since then, or may begin anew, delete that file and run this again")
    assert not dom.running
    # nothing is started by these
    assert run(conn, root, state="present")["actions"] == run(conn, root, state="stopped")["actions"] == []
    saved.unlink()
    assert run(conn, root)["actions"] == ["start"]


def test_what_runs_is_not_asked_for_saved_memory(conn, root):
    made(conn, root)
    (root / "images/our-vm.qcow2.7f2c.1-2.state").write_bytes(b"memory")
    assert run(conn, root)["actions"] == []


# --- it runs elsewhere

def test_a_stale_definition_goes_and_nothing_else(conn, root):
    key = put(root)
    run(conn, root, kernel=None)
    conn.guests["our-vm"].running = False
    uses = site(root).storage.uses(key)
    done = four_steps(conn, root, state="absent", elsewhere=True)
    assert done["actions"] == ["undefine"] and conn.guests == {}
    assert site(root).storage.uses(key) == uses


def test_what_is_active_here_does_not_go_as_stale(conn, root):
    dom = made(conn, root)
    with pytest.raises(CloudError, match="it is said to run elsewhere, and here it is active"):
        run(conn, root, state="absent", elsewhere=True)
    assert dom.running
