# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Leases, tried by several nodes that share one directory."""

from __future__ import annotations

import calendar
import multiprocessing
import os
import re
import time

import pytest
from ansible_collections.our.cloud.plugins.module_utils._guest import lease
from ansible_collections.our.cloud.plugins.module_utils._site import store as site_store
from lease_samples import OTHER, UUID, XML, ended, files, holder, runs


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
    since = re.search(r" since (\S+ \S+) UTC\.", str(refused.value)).group(1)
    assert abs(calendar.timegm(time.strptime(since, "%Y-%m-%d %H:%M:%S")) - time.time()) < 60
    # libvirt calls the hook after a start that was refused, too
    lease.release(two, guest)
    assert files(store) == before
    lease.release(one, guest)
    assert files(store) == [] and one.remembered("held") == one.remembered("queue") == []
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


def test_on_one_host_the_disk_is_free_when_its_guest_is_gone(make, store, guest, later):
    one = make("one")
    lease.take(one, guest)
    thief = lease.Guest("thief", OTHER, guest.disks)
    with pytest.raises(lease.LeaseError, match=f"guest web runs on this host with its disk {guest.disks[0]} since .*: stop web, or give"):
        lease.take(one, thief)
    later(lease.GONE_TIME + 1)
    runs(one, guest)
    with pytest.raises(lease.LeaseError, match="on this host"):
        lease.take(one, thief)
    ended(one, guest)
    lease.take(one, thief)
    assert holder(store, "thief") == ("one", None)


def test_a_disk_whose_guest_has_ended_is_free_before_the_store_knows_it(make, store, guest):
    one = make("one")
    lease.take(one, guest)
    one.remember("queue", guest, [])
    lease.take(one, lease.Guest("thief", OTHER, guest.disks))
    assert holder(store, "thief") == ("one", None)


def test_who_holds_what(make, store, guest):
    """By the guests' names, whatever their hosts are called."""
    one, two = make("one"), make("two")
    lease.take(two, guest)
    lease.take(one, lease.Guest("xen", OTHER, (str(store / "images/two.img"),)))
    found = lease.holders(str(store))
    assert [{key: row[key] for key in ("name", "uuid", "host", "boot", "disks", "to")} for row in found] == [
        {"name": "web", "uuid": UUID, "host": "two", "boot": two.boot, "disks": list(guest.disks), "to": None},
        {"name": "xen", "uuid": OTHER, "host": "one", "boot": one.boot, "disks": [str(store / "images/two.img")], "to": None}]
    assert all(0 <= time.time() - row["since"] < 60 for row in found)


def test_a_guest_whose_disk_has_changed_gives_back_what_it_had(make, store, guest):
    one = make("one")
    lease.take(one, guest)
    lease.release(one, lease.Guest(guest.name, guest.uuid))
    assert files(store) == []


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
