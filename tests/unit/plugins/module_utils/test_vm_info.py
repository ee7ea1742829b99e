# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a hypervisor tells of its guests, and what vm does with guests that others have made, on a host that is a dictionary."""

from __future__ import annotations

import os
import types

import fake_libvirt
import pytest

from ansible_collections.our.cloud.plugins.module_utils._common.errors import CloudError
from ansible_collections.our.cloud.plugins.module_utils._guest import domain, lease
from ansible_collections.our.cloud.plugins.module_utils._guest.told import Ending, Errand, Hypervisor, Orphan, Progress
from ansible_collections.our.cloud.plugins.module_utils._hypervisor import hypervisor, xen
from ansible_collections.our.cloud.plugins.module_utils._site.store import MARKER
from ansible_collections.our.cloud.plugins.module_utils._vm import ensure, in_hand, info

PARAMS = {"name": "g", "state": "present", "kind": None, "arch": None, "memory": 256, "vcpus": 1, "cpu": None, "image": None, "kernel": None, "ramdisk": None,
          "cmdline": None, "disk": None, "bridge": None, "mac": None, "autostart": None, "timeout": 1, "force": False, "uri": None, "elsewhere": False}


@pytest.fixture(name="world")
def fixture_world(monkeypatch):
    monkeypatch.setattr(xen, "control", lambda: None)
    monkeypatch.setattr(info, "running_job", lambda name: None)
    monkeypatch.setattr(in_hand, "running_job", lambda name: None)
    monkeypatch.setattr(info, "unheard", lambda: [])
    return fake_libvirt.World(monkeypatch)


@pytest.fixture(name="one", params=["QEMU", "Xen"])
def fixture_one(world, request):
    return world.host("one", request.param)


@pytest.fixture(name="store")
def fixture_store(tmp_path):
    root = tmp_path / "store"
    (root / "images").mkdir(parents=True)
    (root / MARKER).write_text("id\n")
    return root


def told(name=None):
    return info.gather(hypervisor.open_local(), name).told()


def guests(name=None):
    return {guest["name"]: guest for guest in told(name)["guests"]}


# --- vm_info

def test_the_hypervisor(one):
    found = told()
    assert {key: found[key] for key in ("host", "hypervisor", "guests", "orphans", "store_error")} == {
        "host": "one", "hypervisor": {"QEMU": "qemu", "Xen": "xen"}[one.kind], "guests": [], "orphans": [], "store_error": ""}
    assert found["memory"]["free"] == 4096


def test_whether_it_is_drained(one, monkeypatch, tmp_path):
    monkeypatch.setattr(info, "MARK", str(tmp_path / "drained"))
    assert told()["drained"] is None
    (tmp_path / "drained").mkdir()
    os.utime(tmp_path / "drained", (7, 7.9))
    assert told()["drained"] == 7 and told()["errand"] is None


@pytest.mark.parametrize("note, errand", [
    ('{"verb": "upgrade", "began": 7.5}', {"verb": "upgrade", "began": 7.5}),
    ("", None), ("{}", None), ("[]", None), ('{"verb": "upgrade", "began": "soon"}', None), ('{"verb": "upgrade", "began": null}', None),
])
def test_what_it_is_drained_for(one, monkeypatch, tmp_path, note, errand):
    monkeypatch.setattr(info, "MARK", str(tmp_path))
    (tmp_path / "errand.json").write_text(note, encoding="utf-8")
    assert told()["errand"] == errand
    assert Hypervisor.of(told()).errand == (Errand(**errand) if errand else None)


def test_states_of_guests(one):
    one.add("b", "running", autostart=True)
    one.add("a", "stopped").saved = True
    one.add("c", "paused", reason=5)
    one.add("d", "running", persistent=False, autostart=True)
    if one.kind == "Xen":
        one.add("Domain-0").number = 0
    found = guests()
    keys = ("state", "active", "persistent", "autostart", "managed_save", "reason")
    assert {name: tuple(guest[key] for key in keys) for name, guest in found.items()} == {
        "a": ("stopped", False, True, False, True, None), "b": ("running", True, True, True, False, None),
        "c": ("paused", True, True, False, False, "I/O error"), "d": ("running", True, False, False, False, None)}
    assert list(found) == ["a", "b", "c", "d"] and list(guests("c")) == ["c"] and not guests("none")


def test_what_runs_is_told_and_not_what_will(one):
    dom = one.add("g", memory=256)
    dom.pending = dom.xml.replace(">256<", ">512<")
    assert guests()["g"]["memory"] == 256
    dom.word = "stopped"
    assert guests()["g"]["memory"] == 512


def test_whose_it_is_is_told_of_the_definition(one):
    dom = one.add("g")
    assert guests()["g"]["owner"] is None
    root = hypervisor.persistent_xml(dom)
    metadata = domain.ET.SubElement(root, "metadata")
    domain.ET.SubElement(metadata, "{http://openstack.org/xmlns/libvirt/nova/1.1}instance")
    dom.pending = domain.to_text(root)
    assert guests()["g"]["owner"] == "nova"


def test_a_move_is_told(one, monkeypatch):
    one.add("g")
    monkeypatch.setattr(info, "running_job", lambda name: Progress(name, percent=7))
    monkeypatch.setattr(info, "unheard", lambda: [Ending("It failed", "h", ended=None, failed=True)])
    assert guests()["g"]["migration"] == {"name": "g", "percent": 7}
    assert told()["moves"] == [{"text": "It failed", "name": "h", "source": "", "target": "", "mode": "", "began": "", "ended": None, "failed": True}]


def test_one_that_goes_between_two_questions_is_not_there(one):
    one.add("a")
    dom = one.add("b")

    def leave():
        del one.domains["b"]
        dom._up()

    dom.isPersistent = leave
    assert list(guests()) == ["a"]


def test_a_host_that_goes_meanwhile_is_no_host_without_guests(one):
    dom = one.add("a")

    def fall():
        one.up = False
        dom._up()

    dom.isPersistent = fall
    with pytest.raises(fake_libvirt.LibvirtError, match="socket is closed"):
        told()


def test_what_the_store_tells(one, store, monkeypatch):
    disk = store / "images/a[1].img"
    (store / "images/a[1].img.t0.state").write_text("memory")
    (store / "images/a1.img.t0.state").write_text("of another guest")
    dom = one.add("a", disk=str(disk))
    one.add("b", disk=str(store / "images/b.img"))
    one.add("c", disk="/nowhere/c.img")
    one.add("d")
    asked = []
    held = [{"name": "a", "uuid": dom.UUIDString(), "host": "one", "since": 5, "boot": "x", "disks": [], "to": "two"}]
    monkeypatch.setattr(lease, "holders", lambda root: asked.append(root) or held)
    found = guests()
    assert found["a"]["state_files"] == [f"{disk}.t0.state"] and found["a"]["lease"] == {"host": "one", "since": 5, "to": "two"}
    assert [(found[name]["state_files"], found[name]["lease"]) for name in "bcd"] == [([], None)] * 3
    assert asked == [str(store)]


def test_a_store_that_fails_keeps_nobody_from_telling_the_rest(one, store, monkeypatch):
    def broken(dummy):
        raise PermissionError(13, "Permission denied")

    one.add("a", disk=str(store / "images/a.img"))
    monkeypatch.setattr(lease, "holders", broken)
    found = told()
    assert found["guests"][0]["state"] == "running" and "Permission denied" in found["store_error"]


# --- vm, with a guest that somebody else has made, or that is on a move

def run(check_mode=False, **params):
    return ensure.Guest(hypervisor.open_local(), {**PARAMS, "store": "/nowhere", **params}, check_mode, True).run()


@pytest.mark.parametrize("persistent, state", [(True, "stopped"), (False, "absent")])
def test_a_guest_without_a_description_is_stopped(one, persistent, state):
    """One without a definition is gone then."""
    one.add("g", persistent=persistent)
    assert run(True, state="stopped")["actions"] == ["stop"] and one.domains["g"].word == "running"
    done = run(state="stopped")
    assert (done["actions"], done["stopped"], done["previous_state"], done["state"]) == (["stop"], "graceful", "running", state)
    assert [entry["after"] for entry in done["diff"]][1:] == ["stopped\n"]


def test_a_guest_without_a_definition_goes(one):
    one.add("g", persistent=False)
    done = run(state="absent")
    assert done["state"] == "absent" and one.domains == {} and "one: undefine g" not in one.world.log
    assert not run(state="absent")["changed"]


def test_a_guest_that_is_not_here_needs_a_kind(one):
    one.add("h")
    with pytest.raises(CloudError, match="^one: guest g: it is not defined here, and `kind` is not given to define it. Guests here: h$"):
        run()
    one.domains.clear()
    with pytest.raises(CloudError, match="Guests here: none"):
        run()


@pytest.mark.parametrize("kind, other, why", [
    ("QEMU", "pvh", "kind pvh needs Xen and this is a KVM host. Kinds that run here: kvm, qemu"),
    ("Xen", "kvm", "kind kvm needs a KVM host and this is Xen. Kinds that run here: pvh, pv, hvm"),
])
def test_a_kind_of_the_other_hypervisor(world, kind, other, why):
    one = world.host("one", kind)
    with pytest.raises(CloudError, match=why):
        run(kind=other)
    assert one.domains == {}


@pytest.mark.parametrize("before, asked, actions", [
    (False, True, ["autostart"]), (True, False, ["no autostart"]), (True, True, []), (False, False, []), (True, None, []),
])
def test_autostart(one, before, asked, actions):
    one.add("g", autostart=before)
    assert run(True, autostart=asked)["actions"] == actions and one.domains["g"].auto is before
    assert run(autostart=asked)["actions"] == actions
    assert one.domains["g"].auto is (before if asked is None else asked)


def test_a_guest_that_is_moved_is_left_alone(one, monkeypatch):
    one.add("g")
    monkeypatch.setattr(in_hand, "running_job", lambda name: Progress(name, target="two"))
    with pytest.raises(CloudError, match="guest g: it is being moved to two. Wait for the move to end"):
        run(state="stopped")
    assert one.world.log == []


def test_saved_memory_is_not_lost_with_a_stale_definition(one):
    one.add("g", "stopped").saved = True
    with pytest.raises(CloudError, match="it is said to run elsewhere, and here it has saved memory"):
        run(state="absent", elsewhere=True)
    assert "g" in one.domains


def test_there_is_no_stale_definition(one):
    assert run(state="absent", elsewhere=True)["actions"] == []


def test_an_orphan_of_that_name_goes_and_no_other(world, monkeypatch):
    world.host("one", "Xen")
    found = [Orphan(5, "g", memory=1), Orphan(6, "h", memory=1)]
    ended = []
    monkeypatch.setattr(xen, "orphans", lambda conn: found)
    monkeypatch.setattr(xen, "destroy_orphan", lambda host, orphan: ended.append((host, orphan.domid)))
    assert run(True, state="absent")["actions"] == ["destroy orphan"] and ended == []
    assert run(state="absent")["actions"] == ["destroy orphan"] and ended == [("one", 5)]


def test_a_xen_guest_starts_past_the_page_cache(world, store, monkeypatch):
    one = world.host("one", "Xen")
    switched = []
    monkeypatch.setattr(xen, "direct_io", switched.append)
    disk = str(store / "images/g.img")
    one.add("g", "stopped", disk=disk)
    one.add("h", "stopped", disk="/nowhere/h.img")
    assert run(state="running")["actions"] == ["start"] and switched == [disk]
    assert run(state="running", name="h")["actions"] == ["start"] and switched == [disk]


@pytest.mark.parametrize("free, full", [(1 << 20, False), ((1 << 20) - 1, True)])
def test_when_a_store_is_full(one, store, monkeypatch, free, full):
    definition = hypervisor.persistent_xml(one.add("g", disk=str(store / "images/g.img")))
    monkeypatch.setattr(os, "statvfs", lambda path: types.SimpleNamespace(f_bavail=free, f_frsize=1))
    assert in_hand.full_stores(definition) == [str(store / "images")] * full


def test_a_folder_that_is_not_there_is_not_full(one, store):
    assert in_hand.full_stores(hypervisor.persistent_xml(one.add("g", disk=str(store / "none/g.img")))) == []
