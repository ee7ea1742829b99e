# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Leases, tried by several nodes that share one directory."""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
import os
import pathlib
import shutil
import subprocess
import sys
import time

import pytest
from ansible_collections.our.cloud.plugins.module_utils._guest import lease
from ansible_collections.our.cloud.plugins.module_utils._site import store as site_store

UUID = "11111111-2222-3333-4444-555555555555"
OTHER = "99999999-2222-3333-4444-555555555555"
XML = """<domain type='kvm'><name>{name}</name><uuid>{uuid}</uuid><devices>
<disk type='file' device='disk'><source file='{disk}'/><target dev='vda'/></disk>
<disk type='file' device='disk'><source file='/tmp/shared.img'/><target dev='vdb'/><shareable/></disk>
<disk type='file' device='cdrom'><source file='/tmp/medium.iso'/><target dev='sda'/><readonly/></disk>
</devices></domain>"""


@pytest.fixture
def store(tmp_path):
    root = tmp_path / "store"
    (root / "images").mkdir(parents=True)
    (root / lease.MARKER).write_text("id\n")
    for name in ("one.img", "two.img"):
        (root / "images" / name).write_bytes(b"disk")
    return root


@pytest.fixture
def make(tmp_path, store):
    """A node; made again under the same name it has been restarted."""
    def made(host):
        run = tmp_path / f"run-{host}"
        shutil.rmtree(run, ignore_errors=True)
        (run / "libvirt").mkdir(parents=True)
        return lease.Node(host, str(store), run=str(run), status=(str(run / "libvirt"),))
    return made


@pytest.fixture
def guest(store):
    return lease.Guest("web", UUID, (str(store / "images/one.img"),))


def runs(node, guest):
    """libvirt's status file of a guest that runs here."""
    disk = guest.disks[0] if guest.disks else "/nowhere"
    path = pathlib.Path(node.status[0], guest.name + ".xml")
    path.write_text(f"<domstatus state='running'>{XML.format(name=guest.name, uuid=guest.uuid, disk=disk)}</domstatus>")


def ended(node, guest):
    pathlib.Path(node.status[0], guest.name + ".xml").unlink()


def holder(store, name="web"):
    """(host, to) of the guest's leases, which all say the same."""
    rows = [(row["host"], row["to"]) for row in lease.holders(str(store)) if row["name"] == name]
    assert len(rows) < 2, rows
    return rows[0] if rows else None


def files(store):
    folder = store / lease.FOLDER
    return sorted(path.name for path in folder.iterdir() if path.name != lease.NODES) if folder.exists() else []


def test_the_marker_is_the_stores():
    assert lease.MARKER == site_store.MARKER


def test_only_disks_that_a_guest_has_for_itself():
    guest = lease.guest_of(XML.format(name="web", uuid=UUID, disk="/srv/one.img"))
    assert guest == lease.Guest("web", UUID, ("/srv/one.img",))
    assert lease.guest_of(f"<domstatus>{XML.format(name='web', uuid=UUID, disk='/srv/one.img')}</domstatus>") == guest
    for wrong in ("", "<pool/>", "<domain><name>x</name></domain>"):
        with pytest.raises(ValueError):
            lease.guest_of(wrong)


def test_taken_refused_elsewhere_given_back(make, store, guest):
    one, two = make("one"), make("two")
    assert [place.key.split("-")[0] for place in lease.take(one, guest)] == ["disk", "guest"]
    before = files(store)
    with pytest.raises(lease.LeaseError) as refused:
        lease.take(two, guest)
    assert refused.value.holder == "one"
    for part in ("two", "web", "runs on one", "one.img", "our.cloud.rescue -e host=one"):
        assert part in str(refused.value)
    # libvirt calls the hook after a start that was refused, too
    lease.release(two, guest)
    assert files(store) == before
    lease.release(one, guest)
    assert files(store) == []
    lease.take(two, guest)
    assert holder(store) == ("two", None)


@pytest.mark.parametrize("how", ["the same path", "symlink", "hard link", "symlink from outside", "through a directory"])
def test_one_disk_under_other_names(make, store, guest, tmp_path, how):
    disk, path = store / "images/one.img", store / "images/again.img"
    if how == "the same path":
        path = disk
    elif how == "symlink":
        path.symlink_to(disk)
    elif how == "hard link":
        os.link(disk, path)
    elif how == "symlink from outside":
        path = tmp_path / "elsewhere.img"
        path.symlink_to(disk)
    else:
        (tmp_path / "way").symlink_to(store / "images")
        path = tmp_path / "way/one.img"
    one, two = make("one"), make("two")
    lease.take(one, guest)
    before = files(store)
    for node in (one, two):
        with pytest.raises(lease.LeaseError, match="guest web runs on"):
            lease.take(node, lease.Guest("thief", OTHER, (str(path),)))
    assert files(store) == before


def test_all_leases_or_none(make, store, guest):
    one, two = make("one"), make("two")
    lease.take(one, lease.Guest("db", OTHER, (str(store / "images/two.img"),)))
    before = files(store)
    with pytest.raises(lease.LeaseError):
        lease.take(two, lease.Guest("web", UUID, (str(store / "images/one.img"), str(store / "images/two.img"))))
    assert files(store) == before


def test_a_copy_of_a_guest_with_another_disk_is_the_same_guest(make, store, guest):
    one, two = make("one"), make("two")
    lease.take(one, guest)
    with pytest.raises(lease.LeaseError, match="its UUID"):
        lease.take(two, lease.Guest("web", UUID, (str(store / "images/two.img"),)))


def test_who_has_nothing_in_the_store_is_left_alone(make, store, tmp_path):
    (tmp_path / "local.img").write_bytes(b"")
    one = make("one")
    # this file system is the store's own, which elsewhere is a mount
    elsewhere = "/proc/version"
    assert lease.take(one, lease.Guest("nova", OTHER, (elsewhere, "/not/there.img"))) == []
    assert lease.take(one, lease.Guest("nova", OTHER)) == []
    assert files(store) == []
    assert [place.key for place in lease.take(one, lease.Guest("web", UUID, (), ours=True))] == [f"guest-{UUID}"]


def test_no_store_no_start(make, store, guest):
    one = make("one")
    (store / lease.MARKER).unlink()
    with pytest.raises(lease.LeaseError, match="the store is not mounted at"):
        lease.take(one, guest)
    # somebody else's guest goes on
    assert lease.take(one, lease.Guest("nova", OTHER, ("/proc/version",))) == []


def test_a_restarted_node_takes_its_own_again(make, store, guest):
    lease.take(make("one"), guest)
    again = make("one")
    with pytest.raises(lease.LeaseError):
        lease.take(make("two"), guest)
    lease.take(again, guest)
    assert holder(store) == ("one", None)


def test_another_guest_may_have_the_disk_after_a_restart(make, store, guest):
    lease.take(make("one"), guest)
    thief = lease.Guest("thief", OTHER, guest.disks)
    lease.take(make("one"), thief)
    assert holder(store, "thief") == ("one", None)


def test_on_one_host_the_disk_is_free_when_its_guest_is_gone(make, store, guest, monkeypatch):
    one = make("one")
    lease.take(one, guest)
    thief = lease.Guest("thief", OTHER, guest.disks)
    with pytest.raises(lease.LeaseError, match="on this host"):
        lease.take(one, thief)
    monkeypatch.setattr(lease.Node, "clock", staticmethod(lambda: time.clock_gettime(time.CLOCK_BOOTTIME) + lease.GONE_TIME + 1))
    runs(one, guest)
    with pytest.raises(lease.LeaseError, match="on this host"):
        lease.take(one, thief)
    ended(one, guest)
    lease.take(one, thief)
    assert holder(store, "thief") == ("one", None)


def test_a_damaged_lease_is_nobodys(make, store, guest):
    one = make("one")
    for name in [place.key for place in lease.take(one, guest)]:
        (store / lease.FOLDER / name).write_text("{")
    for node in (one, make("two")):
        with pytest.raises(lease.LeaseError, match="is damaged"):
            lease.take(node, guest)


@pytest.mark.parametrize("planted", ["link", "fifo", "directory"])
def test_what_is_planted_neither_hangs_nor_leads_away(make, store, guest, tmp_path, planted):
    one = make("one")
    keys = [place.key for place in lease.take(one, guest)]
    victim = tmp_path / "victim"
    victim.write_text("untouched")
    for key in keys:
        path = store / lease.FOLDER / key
        path.unlink()
        if planted == "link":
            path.symlink_to(victim)
        elif planted == "fifo":
            os.mkfifo(path)
        else:
            path.mkdir()
    with pytest.raises((OSError, lease.LeaseError)):
        lease.take(make("two"), guest)
    assert victim.read_text() == "untouched"


def test_the_folder_itself_must_be_one(make, store, guest, tmp_path):
    (tmp_path / "away").mkdir()
    (store / lease.FOLDER).symlink_to(tmp_path / "away")
    with pytest.raises(OSError):
        lease.take(make("one"), guest)
    assert list((tmp_path / "away").iterdir()) == []


# --- races ------------------------------------------------------------------

def _attempt(store, run, host, disk, begin, found):
    node = lease.Node(host, store, run=os.path.join(run, host), status=())
    guest = lease.Guest("web", UUID, (disk,))
    begin.wait()
    for dummy in range(30):
        try:
            lease.take(node, guest)
        except lease.LeaseError:
            continue
        # alone in here, or two have it
        path = os.path.join(run, "inside")
        try:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            found.put("twice")
            return
        found.put("once")
        os.unlink(path)
        lease.release(node, guest)


def test_of_many_hosts_one_has_it(store, guest, tmp_path):
    context = multiprocessing.get_context("fork")
    begin, found = context.Event(), context.Queue()
    crowd = [context.Process(target=_attempt, args=(str(store), str(tmp_path), f"host{number}", guest.disks[0], begin, found)) for number in range(6)]
    for one in crowd:
        one.start()
    begin.set()
    told = []
    while any(one.is_alive() for one in crowd) or not found.empty():
        while not found.empty():
            told.append(found.get())
        time.sleep(0.01)
    for one in crowd:
        one.join()
        assert one.exitcode == 0
    assert "twice" not in told and "once" in told
    assert files(store) == []


# --- live moves -------------------------------------------------------------

def test_a_live_move_hands_the_lease_over(make, store, guest):
    one, two, three = make("one"), make("two"), make("three")
    lease.take(one, guest)
    lease.announce(two, guest)
    with pytest.raises(lease.LeaseError, match="on its way from one to two"):
        lease.announce(three, guest)
    lease.take(two, guest)
    assert holder(store) == ("one", "two")
    with pytest.raises(lease.LeaseError):
        lease.take(three, guest)
    lease.release(one, guest)
    assert holder(store) == ("two", None)
    assert not [name for name in files(store) if name.endswith(lease.CLAIM)]
    lease.release(two, guest)
    assert files(store) == []


def test_a_live_move_that_libvirt_announces_by_its_name_alone(make, store, guest):
    one, two, three = make("one"), make("two"), make("three")
    lease.take(one, guest)
    lease.announce_by_name(two, lease.Guest("other", ""))
    assert holder(store) == ("one", None)
    lease.announce_by_name(two, lease.Guest(guest.name, ""))
    with pytest.raises(lease.LeaseError, match="on its way from one to two"):
        lease.announce_by_name(three, lease.Guest(guest.name, ""))
    lease.take(two, guest)
    assert holder(store) == ("one", "two")
    lease.release(one, guest)
    assert holder(store) == ("two", None)
    # it is here: nothing to claim
    lease.announce_by_name(two, lease.Guest(guest.name, ""))
    assert holder(store) == ("two", None)


def test_two_of_one_name_are_not_guessed(make, store, guest):
    lease.take(make("one"), guest)
    lease.take(make("two"), dataclasses.replace(guest, uuid="99999999-2222-3333-4444-555555555555", disks=(), ours=True))
    with pytest.raises(lease.LeaseError, match="one and two run guests of this name"):
        lease.announce_by_name(make("three"), lease.Guest(guest.name, ""))


def test_an_arrival_that_fails_leaves_the_lease_where_it_was(make, store, guest):
    one, two = make("one"), make("two")
    before = [place.key for place in lease.take(one, guest)]
    lease.announce(two, guest)
    lease.take(two, guest)
    lease.release(two, guest)
    assert files(store) == sorted(before) and holder(store) == ("one", None)
    # and once more, to its end
    lease.announce(two, guest)
    lease.take(two, guest)
    lease.release(one, guest)
    assert holder(store) == ("two", None)


def test_an_announcement_is_good_for_one_arrival_and_for_a_short_time(make, store, guest, monkeypatch):
    one, two = make("one"), make("two")
    lease.take(one, guest)
    lease.announce(two, guest)
    lease.take(two, guest)
    with pytest.raises(lease.LeaseError):
        lease.take(two, guest)
    lease.release(two, guest)
    lease.announce(two, guest)
    monkeypatch.setattr(lease.Node, "clock", staticmethod(lambda: time.clock_gettime(time.CLOCK_BOOTTIME) + lease.ARRIVAL_TIME + 1))
    with pytest.raises(lease.LeaseError):
        lease.take(two, guest)


def test_an_announced_guest_that_never_came_goes_nowhere(make, store, guest):
    one, two = make("one"), make("two")
    lease.take(one, guest)
    lease.announce(two, guest)
    lease.release(one, guest)
    assert holder(store) is None
    lease.take(make("three"), guest)
    assert holder(store) == ("three", None)


def test_another_guest_does_not_arrive_on_the_disk(make, store, guest):
    one, two = make("one"), make("two")
    lease.take(one, guest)
    with pytest.raises(lease.LeaseError):
        lease.announce(two, lease.Guest("thief", OTHER, guest.disks))
    assert not [name for name in files(store) if name.endswith(lease.CLAIM)]


def test_a_stopped_guest_may_be_moved_without_a_lease(make, store, guest):
    two = make("two")
    lease.announce(two, guest)
    assert files(store) == []


def test_it_ended_on_the_target_before_the_source_let_go(make, store, guest):
    one, two = make("one"), make("two")
    lease.take(one, guest)
    lease.announce(two, guest)
    lease.take(two, guest)
    lease.release(two, guest)
    lease.release(one, guest)
    assert files(store) == []


def test_the_source_goes_down_after_the_guest_has_arrived(make, store, guest):
    one, two = make("one"), make("two")
    watch_one = lease.Watch(one, say=[].append)
    lease.take(one, guest)
    runs(one, guest)
    watch_one.round()
    lease.announce(two, guest)
    lease.take(two, guest)
    runs(two, guest)
    watch = lease.Watch(two, say=[].append, destroy=pytest.fail)
    watch.round()
    assert holder(store) == ("one", "two")
    back = make("one")
    # it is on two, though nobody has handed the lease over yet
    with pytest.raises(lease.LeaseError, match="on its way from one to two"):
        lease.take(back, guest)
    lease.Watch(back, say=[].append).round()
    watch.round()
    assert holder(store) == ("two", None)
    with pytest.raises(lease.LeaseError, match="runs on two"):
        lease.take(back, guest)


# --- moves that stop the guest ----------------------------------------------

def test_a_promise_lets_only_the_target_start_it(make, store, guest):
    one, two, three = make("one"), make("two"), make("three")
    lease.take(one, guest)
    lease.promise(one, guest, "two")
    with pytest.raises(lease.LeaseError):
        # it still runs on one
        lease.take(two, guest)
    lease.release(one, guest)
    for node in (three, one):
        with pytest.raises(lease.LeaseError, match="on its way from one to two"):
            lease.take(node, guest)
    lease.take(two, guest)
    assert holder(store) == ("two", None)
    assert lease.withdraw(one, guest, "two") is False
    lease.release(two, guest)
    assert files(store) == []


def test_a_promise_is_taken_back(make, store, guest):
    one, two = make("one"), make("two")
    lease.take(one, guest)
    lease.promise(one, guest, "two")
    assert lease.withdraw(one, guest, "two") is True
    assert holder(store) == ("one", None)
    lease.promise(one, guest, "two")
    lease.release(one, guest)
    assert lease.withdraw(one, guest, "two") is True
    assert holder(store) == ("one", None)
    lease.take(one, guest)
    with pytest.raises(lease.LeaseError):
        lease.take(two, guest)
    lease.promise(one, guest, "two")
    lease.release(one, guest)
    lease.withdraw(one, guest, "two")
    lease.release(one, guest)
    assert files(store) == []


def test_a_promise_needs_the_lease(make, store, guest):
    one, two = make("one"), make("two")
    with pytest.raises(lease.LeaseError, match="holds no lease"):
        lease.promise(one, guest, "two")
    lease.take(two, guest)
    with pytest.raises(lease.LeaseError, match="runs on two"):
        lease.promise(one, guest, "three")
    lease.promise(two, guest, "one")
    with pytest.raises(lease.LeaseError, match="on its way from two to one"):
        lease.promise(two, guest, "three")


def test_a_promise_ends_with_who_made_it(make, store, guest):
    one, two = make("one"), make("two")
    lease.take(one, guest)
    child = multiprocessing.get_context("fork").Process(target=lease.promise, args=(one, guest, "two"))
    child.start()
    child.join()
    lease.release(one, guest)
    lease.take(one, guest)
    assert holder(store) == ("one", None)
    with pytest.raises(lease.LeaseError):
        lease.take(two, guest)


def test_one_of_target_and_source_gets_it(make, store, guest):
    """The target starts it in the moment in which the source takes the promise back."""
    for dummy in range(15):
        one, two = make("one"), make("two")
        lease.take(one, guest)
        lease.promise(one, guest, "two")
        lease.release(one, guest)
        context = multiprocessing.get_context("fork")
        found = context.Queue()

        def start_there(there=two, answer=found):
            try:
                lease.take(there, guest)
                answer.put(True)
            except lease.LeaseError:
                answer.put(False)

        other = context.Process(target=start_there)
        other.start()
        back = lease.withdraw(one, guest, "two")
        if back:
            try:
                lease.take(one, guest)
            except lease.LeaseError:
                back = False
        other.join()
        assert (back, found.get()) in ((True, False), (False, True))
        assert holder(store)[0] == ("one" if back else "two")
        lease.release(one if back else two, guest)


# --- the heartbeat ----------------------------------------------------------

def test_a_heartbeat_counts(make, store):
    one = make("one")
    watch = lease.Watch(one)
    watch.round()
    first = lease.heartbeats(str(store))["one"]
    watch.round()
    assert lease.heartbeats(str(store))["one"]["count"] == first["count"] + 1
    assert first["boot"] == one.boot != make("one").boot


def test_what_could_not_be_given_back_is_later(make, store, guest):
    one = make("one")
    lease.take(one, guest)
    (store / lease.FOLDER).rename(store / "away")
    (store / lease.FOLDER).write_text("no directory")
    with pytest.raises(OSError):
        lease.release(one, guest)
    (store / lease.FOLDER).unlink()
    (store / "away").rename(store / lease.FOLDER)
    assert holder(store) == ("one", None)
    lease.Watch(one, say=[].append).round()
    assert files(store) == []


def test_what_ran_before_there_were_leases_gets_them(make, store, guest):
    one, two, said = make("one"), make("two"), []
    runs(one, guest)
    lease.Watch(one, say=said.append).round()
    assert holder(store) == ("one", None) and "taken" in said[0]
    # the same guest on a second node: told, and nobody is ended, for nobody knows who is right
    runs(two, guest)
    said.clear()
    watch = lease.Watch(two, say=said.append, destroy=pytest.fail)
    for dummy in range(4):
        watch.round()
    assert len(said) == 1 and "TWO WRITE ON ONE DISK" in said[0] and "one as well as here" in said[0]


def test_a_disk_that_comes_later_is_leased_too(make, store, guest):
    one = make("one")
    lease.take(one, guest)
    runs(one, guest)
    watch = lease.Watch(one, say=[].append)
    watch.round()
    runs(one, lease.Guest("web", UUID, (str(store / "images/two.img"),)))
    os.utime(os.path.join(one.status[0], "web.xml"), ns=(1, 1))
    watch.round()
    with pytest.raises(lease.LeaseError):
        lease.take(make("two"), lease.Guest("thief", OTHER, (str(store / "images/two.img"),)))


def test_what_runs_here_though_another_host_has_its_lease_is_ended(make, store, guest):
    one, two, destroyed = make("one"), make("two"), []
    lease.take(one, guest)
    runs(one, guest)
    watch = lease.Watch(one, say=[].append, destroy=destroyed.append)
    watch.round()
    # it was believed dead
    assert [row["name"] for row in lease.break_host(str(store), "one")] == ["web"]
    lease.take(two, guest)
    watch.round()
    assert destroyed == []
    watch.round()
    assert [item.name for item in destroyed] == ["web"]
    # libvirt calls the hook when it is ended
    ended(one, guest)
    lease.release(one, guest)
    assert holder(store) == ("two", None)


def test_a_libvirtd_that_comes_back_ends_what_another_host_has(make, store, guest):
    one, two = make("one"), make("two")
    lease.take(one, guest)
    lease.reconnect(one, guest)
    lease.break_host(str(store), "one")
    lease.reconnect(one, guest)
    lease.take(two, guest)
    with pytest.raises(lease.LeaseError, match="two has its lease"):
        lease.reconnect(one, guest)


def test_a_broken_lease_that_nobody_took_is_taken_again(make, store, guest):
    one = make("one")
    lease.take(one, guest)
    runs(one, guest)
    lease.break_host(str(store), "one")
    lease.Watch(one, say=[].append, destroy=pytest.fail).round()
    assert holder(store) == ("one", None)


def test_a_restarted_node_gives_back_what_it_does_not_run(make, store, guest):
    lease.take(make("one"), guest)
    said = []
    lease.Watch(make("one"), say=said.append).round()
    assert files(store) == [] and said


@pytest.mark.parametrize("answer, left", [(True, True), (None, True), (False, False)])
def test_a_start_that_never_came_to_its_end(make, store, guest, monkeypatch, answer, left):
    one = make("one")
    lease.take(one, guest)
    os.unlink(one._file("held", guest.uuid))
    watch = lease.Watch(one, say=[].append, libvirt_active=lambda dummy: answer)
    watch.round()
    assert holder(store) == ("one", None)
    monkeypatch.setattr(lease.Node, "clock", staticmethod(lambda: time.clock_gettime(time.CLOCK_BOOTTIME) + lease.START_TIME + 1))
    watch.sweep({})
    assert (holder(store) == ("one", None)) is left


def test_a_claim_whose_arrival_was_cut_off(make, store, guest, monkeypatch):
    one, two = make("one"), make("two")
    lease.take(one, guest)
    lease.announce(two, guest)
    lease.take(two, guest)
    watch = lease.Watch(two, say=[].append, libvirt_active=lambda dummy: False)
    watch.round()
    assert holder(store) == ("one", "two")
    monkeypatch.setattr(lease.Node, "clock", staticmethod(lambda: time.clock_gettime(time.CLOCK_BOOTTIME) + 3 * lease.ARRIVAL_TIME))
    watch.sweep({})
    assert holder(store) == ("one", None)


def test_a_store_that_is_away_is_waited_for(make, store):
    one = make("one")
    (store / lease.MARKER).unlink()
    lease.Watch(one).round()
    assert files(store) == []


# --- at boot ----------------------------------------------------------------

def test_guests_of_the_store_are_started_when_it_is_there(make, store, guest):
    one, said, started, pauses = make("one"), [], [], []
    xml = {"web": XML.format(name="web", uuid=UUID, disk=guest.disks[0]), "nova": XML.format(name="nova", uuid=OTHER, disk="/proc/version"),
           "runs": XML.format(name="runs", uuid=OTHER, disk=guest.disks[0]), "gone": XML.format(name="gone", uuid=OTHER, disk=guest.disks[0])}
    (store / lease.MARKER).rename(store / "away")
    answers = iter([(None, "libvirtd starts"), ("\n".join(xml) + "\n\n", "")])
    refusals = iter(["the store does not answer within 30 s", ""])

    def ask(*words, **dummy):
        if words[0] == "list":
            return next(answers)
        if words[0] == "dumpxml":
            return xml[words[1]], ""
        if words[0] == "domstate":
            return ("running\n" if words[1] == "runs" else "shut off\n"), ""
        if words[1] == "gone":
            return None, "runs on two"
        started.append(words[1])
        why = next(refusals)
        return (None, why) if why else ("", "")

    def pause(seconds):
        pauses.append(seconds)
        if len(pauses) == 2:
            (store / "away").rename(store / lease.MARKER)

    lease.autostart(one, say=said.append, ask=ask, pause=pause)
    assert started == ["web", "web"]
    assert said == [f"waits for the store {store}", "libvirt does not say which guests to start: libvirtd starts",
                    "guest web: not started: the store does not answer within 30 s", "guest gone: not started: runs on two", "guest web: started"]


# --- a lost host ------------------------------------------------------------

def test_breaking_a_host_frees_its_guests_and_no_others(make, store, guest):
    one, two, three = make("one"), make("two"), make("three")
    lease.take(one, guest)
    lease.take(two, lease.Guest("db", OTHER, (str(store / "images/two.img"),)))
    lease.break_host(str(store), "one")
    assert holder(store) is None and holder(store, "db") == ("two", None)
    lease.take(three, guest)
    # once more, late: it is three's by now
    assert lease.break_host(str(store), "one") == []
    assert holder(store) == ("three", None)


def test_breaking_is_of_that_very_lease(make, store, guest):
    one, two = make("one"), make("two")
    key = lease.take(one, guest)[0].key
    with lease.Ledger(str(store)) as ledger:
        old = ledger.read(key)
        lease.break_host(str(store), "one")
        lease.take(two, guest)
        lease._break(ledger, key, old)
    assert holder(store) == ("two", None)


def test_a_guest_that_had_arrived_keeps_its_lease(make, store, guest):
    one, two = make("one"), make("two")
    lease.take(one, guest)
    lease.announce(two, guest)
    lease.take(two, guest)
    lease.break_host(str(store), "one")
    assert holder(store) == ("two", None)


def test_the_target_of_a_move_is_lost(make, store, guest):
    one, two = make("one"), make("two")
    lease.take(one, guest)
    lease.announce(two, guest)
    lease.take(two, guest)
    lease.break_host(str(store), "two")
    assert holder(store) == ("one", None)
    lease.release(one, guest)
    assert files(store) == []


# --- as libvirt calls it ----------------------------------------------------

@pytest.fixture
def hook(store, tmp_path):
    """Run the file as the hook of a host, which is a name and a directory here."""
    program = tmp_path / "lease.py"
    text = pathlib.Path(lease.__file__).read_text(encoding="utf-8")

    def call(host, *words, xml="", seconds=None):
        config, run = tmp_path / f"{host}.json", tmp_path / f"run-{host}"
        config.write_text(json.dumps({"host": host, "store": str(store)}))
        own = text.replace('"/etc/our-cloud/lease.json"', f'"{config}"').replace('RUN = "/run/our-cloud"', f'RUN = "{run}"')
        if seconds:
            own = own.replace("HOOK_TIME = 30", f"HOOK_TIME = {seconds}")
        program.write_text(own)
        return subprocess.run([sys.executable, "-IS", str(program), *words], input=xml, capture_output=True, text=True, check=False)
    return call


def test_the_hook(hook, store, guest):
    xml = XML.format(name="web", uuid=UUID, disk=guest.disks[0])
    # libvirt reads the output of migrate as a changed XML
    begun = [hook("one", "hook", "web", "prepare", "begin", "-", xml=xml), hook("one", "hook", "web", "start", "begin", "-", xml=xml)]
    assert [(done.returncode, done.stdout, done.stderr) for done in begun] == [(0, "", "")] * 2
    refused = hook("two", "hook", "web", "prepare", "begin", "-", xml=xml)
    assert refused.returncode == 1 and refused.stdout == "" and "runs on one" in refused.stderr and len(refused.stderr.splitlines()) == 1
    moved = hook("two", "hook", "web", "migrate", "begin", "-", xml=xml)
    assert (moved.returncode, moved.stdout) == (0, "")
    assert hook("two", "hook", "web", "prepare", "begin", "-", xml=xml).returncode == 0
    assert hook("one", "hook", "web", "release", "end", "migrated", xml=xml).returncode == 0
    assert holder(store) == ("two", None)
    assert hook("one", "hook", "web", "reconnect", "begin", "-", xml=xml).returncode == 0
    assert json.loads(hook("one", "list").stdout)[0]["host"] == "two"
    assert hook("one", "hook", "web", "prepare", "begin", "-", xml="no XML").returncode == 1
    assert hook("one", "nonsense").returncode == 2


def test_a_store_that_hangs_does_not_hang_libvirt(monkeypatch, capfd, tmp_path):
    node = lease.Node("one", str(tmp_path), run=str(tmp_path / "run"), status=())
    monkeypatch.setattr(lease.Node, "here", classmethod(lambda cls: node))
    monkeypatch.setattr(lease, "take", lambda *dummy: time.sleep(30))
    monkeypatch.setattr(lease, "release", lambda *dummy: time.sleep(30))
    monkeypatch.setattr(lease, "reconnect", lambda *dummy: time.sleep(30))
    xml = XML.format(name="web", uuid=UUID, disk="/nowhere").encode()
    assert lease.hook(["web", "prepare", "begin", "-"], xml, 0.2) == 1
    assert "the store does not answer within" in capfd.readouterr().err
    assert lease.hook(["web", "release", "end", "-"], xml, 0.2) == 0
    assert lease.hook(["web", "reconnect", "begin", "-"], xml, 0.2) == 0


def test_what_goes_wrong_in_the_hook_keeps_the_guest_from_starting(monkeypatch, capfd, tmp_path):
    node = lease.Node("one", str(tmp_path), run=str(tmp_path / "run"), status=())
    monkeypatch.setattr(lease.Node, "here", classmethod(lambda cls: node))
    monkeypatch.setattr(lease, "take", lambda *dummy: 1 / 0)
    xml = XML.format(name="web", uuid=UUID, disk="/nowhere").encode()
    assert lease.hook(["web", "prepare", "begin", "-"], xml, 5) == 1
    assert "division" in capfd.readouterr().err
    monkeypatch.setattr(lease, "take", lambda *dummy: os._exit(0))
    assert lease.hook(["web", "prepare", "begin", "-"], xml, 5) == 1
    assert "has died" in capfd.readouterr().err


def test_the_words_of_the_hook_in_the_error_of_libvirt():
    wrapped = ("Hook script execution failed: internal error: Child process (LC_ALL=C PATH=/usr/bin /etc/libvirt/hooks/qemu.d/our-cloud-lease web prepare "
               "begin -) unexpected exit status 1: two: guest web: the guest runs on one\n")
    assert lease.hook_said(wrapped) == "two: guest web: the guest runs on one"
    assert lease.hook_said("Hook script execution failed: internal error: Child process (x) unexpected exit status 1: somebody else's") == ""


def test_the_disk_that_libvirt_leaves_alone_belongs_to_qemu(make, store, guest, monkeypatch):
    xml = XML.format(name="web", uuid=UUID, disk=guest.disks[0]).replace("one.img'/>", "one.img'><seclabel model='dac' relabel='no'/></source>")
    asked = lease.guest_of(xml)
    assert asked.unlabelled == asked.disks == guest.disks
    given, one, two = [], make("one"), make("two")
    monkeypatch.setattr(lease, "QEMU_USER", "nobody")
    monkeypatch.setattr(os, "chown", lambda *words: given.append(words))
    lease.take(one, asked)
    assert [words[0] for words in given] == [guest.disks[0]] and given[0][2] == -1
    # who is refused changes nothing
    with pytest.raises(lease.LeaseError):
        lease.take(two, asked)
    lease.take(two, lease.Guest("plain", OTHER, (str(store / "images/two.img"),)))
    assert len(given) == 1


def test_xens_announcement_without_a_description_claims_by_name(make, store, guest, monkeypatch, capfd):
    one, two = make("one"), make("two")
    lease.take(one, guest)
    monkeypatch.setattr(lease.Node, "here", classmethod(lambda cls: two))
    assert lease.hook([guest.name, "migrate", "begin", "-"], b"", 5) == 0
    lease.take(two, guest)
    assert holder(store) == ("one", "two")
    # nothing else comes without
    assert lease.hook([guest.name, "prepare", "begin", "-"], b"", 5) == 1
    assert "not XML" in capfd.readouterr().err
