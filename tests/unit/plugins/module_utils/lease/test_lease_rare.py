# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Leases where something else comes between two steps, or where a store is not quite what it should be."""

from __future__ import annotations

import hashlib
import os
import pathlib
import types

import pytest
from ansible_collections.our.cloud.plugins.module_utils._guest import lease
from lease_samples import OTHER, UUID, holder, orphan_promise, rewrite


def between(monkeypatch, name, act, when=lambda *dummy: True):
    """Once, just before a method of Ledger does its work, something else happens."""
    real, left = getattr(lease.Ledger, name), [1]

    def later(ledger, *arguments):
        if left and when(*arguments):
            left.clear()
            act(ledger)
        return real(ledger, *arguments)

    monkeypatch.setattr(lease.Ledger, name, later)
    return left


@pytest.mark.parametrize("text", ["[]", "{}", '{"host": 1}', '"one"', "", "\x00"])
def test_what_is_no_entry_is_damage(tmp_path, text):
    (tmp_path / "entry").write_text(text)
    assert lease.read_entry(str(tmp_path / "entry")) == {"host": "", "damaged": str(tmp_path / "entry")}


def test_a_damaged_lease_hides_no_other(make, store, guest):
    lease.take(make("one"), guest)
    (store / lease.FOLDER / "disk-0").write_text("{")
    (store / lease.FOLDER / "other").write_text("{")
    assert [(row["name"], row["host"]) for row in lease.holders(str(store))] == [("web", "one")]


def test_a_store_without_leases(store):
    assert lease.holders(str(store)) == []


def test_what_is_no_status_of_a_guest(make, guest):
    one = make("one")
    folder = pathlib.Path(one.status[0])
    (folder / "web.pid").write_text(f"<uuid>{UUID}</uuid>")
    (folder / "half.xml").write_text("<domstatus><uuid>")
    assert one.active() == {}
    (folder / "web.xml").write_text(f"<domstatus><uuid>{UUID}</uuid>")
    assert one.active() == {UUID: str(folder / "web.xml")}


@pytest.mark.parametrize("owner, good", [(0, True), (4242, True), (1, False), (4243, False)])
def test_whose_the_folder_must_be(store, monkeypatch, owner, good):
    real = os.lstat
    monkeypatch.setattr(os, "geteuid", lambda: 4242)
    monkeypatch.setattr(os, "lstat", lambda path, **more: types.SimpleNamespace(st_mode=real(path, **more).st_mode, st_uid=owner))
    if good:
        with lease.Ledger(str(store)) as ledger:
            assert ledger.names() == []
    else:
        with pytest.raises(OSError, match="not a directory of root"):
            lease.Ledger(str(store)).__enter__()


def test_root_alone_reads_what_is_in_the_store(make, store, guest):
    one = make("one")
    keys = [place.key for place in lease.take(one, guest)]
    lease.Watch(one, say=[].append).round()
    folder = store / lease.FOLDER
    assert [path.stat().st_mode & 0o7777 for path in (folder, folder / lease.NODES, pathlib.Path(one.state))] == [0o700] * 3
    assert [(folder / name).stat().st_mode & 0o7777 for name in (*keys, f"{lease.NODES}/one")] == [0o600] * 3


# --- which lease a disk has

def test_a_disk_that_a_guest_has_twice_is_one(make, store, guest):
    os.link(guest.disks[0], store / "images/again.img")
    twice = lease.Guest("web", UUID, (guest.disks[0], str(store / "images/again.img")))
    assert [place.key for place in lease.places(make("one"), twice)] == [place.key for place in lease.places(make("two"), guest)]


def test_another_mount_of_the_store_leads_to_the_same_lease(make, store, guest, tmp_path):
    os.link(guest.disks[0], tmp_path / "mounted.img")
    lease.take(make("one"), guest)
    with pytest.raises(lease.LeaseError, match="guest web runs on one"):
        lease.take(make("two"), lease.Guest("thief", OTHER, (str(tmp_path / "mounted.img"),)))


def test_disks_of_a_file_system_within_the_store_are_told_by_their_paths(make, store, guest, monkeypatch):
    """Its numbers may be there twice: two disks, one number."""
    inside, real = (store / "images").resolve(), os.stat

    def stat(path, *more, **named):
        found = real(path, *more, **named)
        if isinstance(path, int) or inside not in pathlib.Path(path).parents:
            return found
        return types.SimpleNamespace(st_mode=found.st_mode, st_dev=found.st_dev + 1, st_ino=7, st_uid=found.st_uid)

    monkeypatch.setattr(os, "stat", stat)
    one, two = make("one"), make("two")
    disks = [str(store / "images" / name) for name in ("one.img", "two.img")]
    lease.take(one, lease.Guest("web", UUID, (disks[0],)))
    lease.take(two, lease.Guest("db", OTHER, (disks[1],)))
    with pytest.raises(lease.LeaseError, match="guest web runs on one"):
        lease.take(two, lease.Guest("thief", OTHER, (disks[0],)))
    # the same on every host, whatever is mounted there
    assert lease.places(one, lease.Guest("web", UUID, (disks[0],)))[0].key == "disk-" + hashlib.sha256(b"images/one.img").hexdigest()[:32]


def test_a_node_without_a_store_leases_its_disks_all_the_same(store, guest, tmp_path):
    node = lease.Node("one", "", run=str(tmp_path / "run"), status=())
    assert [place.key[:5] for place in lease.places(node, guest)] == ["disk-"]


# --- something comes in between

def test_what_somebody_else_has_taken_meanwhile_is_not_given_back(make, store, guest, monkeypatch):
    """The first lease is broken and taken by another host before the second one is refused."""
    one, two = make("one"), make("two")
    both = lease.Guest("web", UUID, (*guest.disks, str(store / "images/two.img")))
    keys = [place.key for place in lease.places(one, both)]
    real = lease._take_one

    def later(node, whose, ledger, place, entry, done):
        if place.key == keys[1]:
            ledger.put({**two.entry(lease.Guest("db", OTHER), []), "disks": {}})
            ledger.replace(keys[0])
            raise lease.LeaseError("one", "guest web", "no")
        real(node, whose, ledger, place, entry, done)

    monkeypatch.setattr(lease, "_take_one", later)
    with pytest.raises(lease.LeaseError):
        lease.take(one, both)
    assert holder(store, "db") == ("two", None)


def test_a_claim_of_its_own_host_ends_with_the_next_start(make, store, guest):
    one = make("one")
    for place in lease.take(one, guest):
        with lease.Ledger(str(store)) as ledger:
            ledger.put(one.entry(guest, [], lease.ARRIVAL))
            ledger.link(place.key + lease.CLAIM)
    lease.take(one, guest)
    assert not [name for name in os.listdir(store / lease.FOLDER) if name.endswith(lease.CLAIM)]


def test_a_promise_that_broke_off_is_made_anew_to_another_host(make, store, guest):
    one = orphan_promise(make, store, guest)
    lease.promise(one, guest, "three")
    assert holder(store) == ("one", "three")


def test_a_target_that_takes_the_promise_at_that_moment_wins(make, store, guest, monkeypatch):
    """The source starts it anew because the move's process has died; the target was faster."""
    one, two = orphan_promise(make, store, guest), make("two")
    key = lease.places(one, guest)[0].key

    def target(ledger):
        os.unlink(ledger.path(key + lease.CLAIM))
        with lease.Ledger(ledger.root) as own:
            own.put(two.entry(guest, lease.places(two, guest)))
            own.replace(key)

    between(monkeypatch, "drop", target, lambda name: name == key + lease.CLAIM)
    with pytest.raises(lease.LeaseError, match="runs on two"):
        lease.take(one, guest)


def test_an_arrival_that_broke_off_is_announced_again(make, store, guest):
    one, two = make("one"), make("two")
    lease.take(one, guest)
    lease.announce(two, guest)
    lease.announce(two, guest)
    assert holder(store) == ("one", "two")
    # but not while the guest is seen there
    lease.take(two, guest)
    pathlib.Path(two.status[0], "web.xml").write_text(f"<domstatus><uuid>{UUID}</uuid>")
    with pytest.raises(lease.LeaseError, match="the guest runs on one"):
        lease.announce(two, guest)
    assert holder(store) == ("one", "two")


def test_who_needs_no_lease_announces_and_releases_nothing(make, store):
    one = make("one")
    lease.announce(one, lease.Guest("nova", OTHER))
    lease.release(one, lease.Guest("nova", OTHER))
    lease.promise(one, lease.Guest("nova", OTHER), "two")
    assert not (store / lease.FOLDER).exists() or holder(store) is None


def test_a_lease_that_goes_while_a_host_is_broken(make, store, guest, monkeypatch):
    one = make("one")
    keys = [place.key for place in lease.take(one, guest)]
    real = os.rename

    def gone(source, target):
        if os.path.basename(source) == keys[0]:
            os.unlink(source)
        real(source, target)

    monkeypatch.setattr(os, "rename", gone)
    lease.break_host(str(store), "one")
    assert holder(store) is None


def test_a_broken_host_hands_over_what_had_arrived_and_drops_other_claims(make, store, guest):
    one, two = make("one"), make("two")
    lease.take(one, guest)
    lease.announce(two, guest)
    lease.break_host(str(store), "one")
    # announced alone: nothing has arrived, and its claim does not keep anybody from starting it
    assert holder(store) is None
    lease.take(make("three"), guest)
    assert holder(store) == ("three", None)


# --- the heartbeat's sweep

def sweep(node, store, active=lambda uuid: False):
    said = []
    lease.Watch(node, say=said.append, destroy=pytest.fail, libvirt_active=active).sweep({})
    return said


def restarted(make):
    """Host one after its restart; what it noted in /run is gone."""
    again = make("one")
    again.boot = "another"
    return again


def test_leases_of_an_earlier_boot_end(make, store, guest):
    lease.take(make("one"), guest)
    assert len(sweep(restarted(make), store)) == 2 and holder(store) is None


def test_the_lease_of_a_guest_that_runs_is_nothing_to_sweep(make, store, guest):
    """Whatever boot it is of: to end it would let another host start the guest."""
    lease.take(make("one"), guest)
    lease.Watch(restarted(make), say=pytest.fail, destroy=pytest.fail, libvirt_active=lambda uuid: False).sweep({guest.uuid: guest.name})
    assert holder(store) == ("one", None)


def test_a_lease_that_is_promised_waits_for_its_target(make, store, guest):
    """The promise of this very process stands, whatever else this host has forgotten."""
    one = make("one")
    lease.take(one, guest)
    lease.promise(one, guest, "two")
    rewrite(store, one, guest, boot="an earlier one")
    assert sweep(one, store) == [] and holder(store) == ("one", "two")


def test_a_lease_goes_with_the_promise_of_an_earlier_boot(make, store, guest):
    one = make("one")
    lease.take(one, guest)
    lease.promise(one, guest, "two")
    assert sweep(restarted(make), store) != [] and holder(store) is None


def test_a_promise_that_is_taken_while_one_sweeps_stays_the_targets(make, store, guest, monkeypatch):
    one, two = make("one"), make("two")
    lease.take(one, guest)
    lease.promise(one, guest, "two")
    keys = [place.key for place in lease.places(one, guest)]
    again = restarted(make)

    def target(ledger):
        for key in keys:
            os.unlink(ledger.path(key + lease.CLAIM))
            with lease.Ledger(ledger.root) as own:
                own.put(two.entry(guest, []))
                own.replace(key)

    between(monkeypatch, "drop", target, lambda name: name.endswith(lease.CLAIM))
    sweep(again, store)
    assert holder(store) == ("two", None)


@pytest.mark.parametrize("active, left", [(True, True), (None, True), (False, False)])
def test_a_lease_that_nothing_stands_for(make, store, guest, later, active, left):
    one = make("one")
    lease.take(one, guest)
    one.forget("held", UUID)
    assert sweep(one, store, lambda uuid: active) == []
    later(lease.START_TIME + 1)
    assert bool(sweep(one, store, lambda uuid: active)) is not left and bool(holder(store)) is left


def test_libvirts_own_question_of_a_guest(make, guest, store):
    """What reconnect asks: whether somebody else has it."""
    one, two = make("one"), make("two")
    lease.reconnect(one, guest)
    lease.take(one, guest)
    lease.reconnect(one, guest)
    with lease.Ledger(str(store)) as ledger:
        ledger.put(two.entry(guest, []))
        for place in lease.places(one, guest):
            ledger.replace(place.key)
    with pytest.raises(lease.LeaseError, match="ended here, because two has its lease since"):
        lease.reconnect(one, guest)


def test_what_the_hook_has_nothing_to_do_with(monkeypatch):
    monkeypatch.setattr(lease.Node, "here", staticmethod(lambda: pytest.fail("it was looked at")))
    assert lease.hook(["web", "started", "begin", "-"], b"<domain/>") == 0


def test_what_a_heartbeat_knows_of_is_not_swept(make, store, guest, later):
    """A start under way, and a release that has not reached the store yet: others look after these."""
    one = make("one")
    lease.take(one, guest)
    later(lease.START_TIME + 1)
    assert sweep(one, store) == [] and holder(store) == ("one", None)
    one.remember("queue", guest, lease.places(one, guest))
    one.forget("held", UUID)
    assert sweep(one, store) == [] and holder(store) == ("one", None)


@pytest.mark.parametrize("suffix", ["", lease.CLAIM])
def test_the_damaged_file_is_named(make, store, guest, suffix):
    one = make("one")
    key = lease.take(one, guest)[0].key
    path = store / lease.FOLDER / (key + suffix)
    path.write_text("{")
    with pytest.raises(lease.LeaseError, match=rf"is damaged \({path}\)\. Make sure that no node runs the guest"):
        lease.take(make("two"), guest)


@pytest.mark.parametrize("disk, has", [
    ("<disk type='file' device='disk'><source file='/a'/></disk>", True), ("<disk type='file' device='lun'><source file='/a'/></disk>", True),
    ("<disk type='file'><source file='/a'/></disk>", True), ("<disk type='file' device='disk'><source file='/a'/><readonly/></disk>", False),
    ("<disk type='file' device='disk'><source file='/a'/><shareable/></disk>", False), ("<disk type='file' device='cdrom'><source file='/a'/></disk>", False),
    ("<disk type='file' device='disk'/>", False), ("<disk type='network' device='disk'><source name='/a'/></disk>", False),
    ("<disk type='file' device='disk'><source file='/a'><seclabel model='selinux' relabel='no'/><seclabel model='dac' relabel='yes'/></source></disk>", True),
])
def test_only_what_a_guest_writes_on_alone_is_leased(disk, has):
    """Others may have the same read-only disk, an image's, at the same time."""
    found = lease.guest_of(f"<domain><name>web</name><uuid>{UUID}</uuid><devices>{disk}</devices></domain>")
    assert found.disks == (("/a",) if has else ()) and found.ours is False and found.unlabelled == ()


@pytest.mark.parametrize("metadata, ours", [
    ("<our:cloud xmlns:our='urn:our-cloud:1' owner='guests'/>", True), ("<n:instance xmlns:n='http://openstack.org/xmlns/libvirt/nova/1.1'/>", False),
    ("<x:y xmlns:x='https://our.cloud/'/>", True), ("", False),
])
def test_whose_a_guest_is(metadata, ours):
    assert lease.guest_of(f"<domain><name>web</name><uuid>{UUID}</uuid><metadata>{metadata}</metadata></domain>").ours is ours
