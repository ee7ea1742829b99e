# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The heartbeat: what it shows, gives back, takes and ends; what is started at boot."""

from __future__ import annotations

import os

import pytest
from ansible_collections.our.cloud.plugins.module_utils._guest import lease
from lease_samples import OTHER, UUID, XML, domain, ended, files, holder, runs


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
def test_a_start_that_never_came_to_its_end(make, store, guest, later, answer, left):
    one = make("one")
    lease.take(one, guest)
    os.unlink(one._file("held", guest.uuid))
    watch = lease.Watch(one, say=[].append, libvirt_active=lambda dummy: answer)
    watch.round()
    assert holder(store) == ("one", None)
    later(lease.START_TIME + 1)
    watch.sweep({})
    assert (holder(store) == ("one", None)) is left


def test_a_claim_whose_arrival_was_cut_off(make, store, guest, later):
    one, two = make("one"), make("two")
    lease.take(one, guest)
    lease.announce(two, guest)
    lease.take(two, guest)
    watch = lease.Watch(two, say=[].append, libvirt_active=lambda dummy: False)
    watch.round()
    assert holder(store) == ("one", "two")
    later(3 * lease.ARRIVAL_TIME)
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
    xml = {"web": domain(guest), "nova": XML.format(name="nova", uuid=OTHER, disk="/proc/version"),
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
    assert pauses == [5, 5, 5, 30]
    assert said == [f"waits for the store {store}", "libvirt does not say which guests to start: libvirtd starts",
                    "guest web: not started: the store does not answer within 30 s", "guest gone: not started: runs on two", "guest web: started"]


def test_a_guest_whose_memory_is_saved_is_not_started_at_boot(make, store, guest):
    """A start anew would lose it."""
    one, said = make("one"), []
    saved = store / "images/one.img.7f2c.1-2.state"
    saved.write_bytes(b"memory")
    answers = {"list": "web\n", "dumpxml": domain(guest), "domstate": "shut off\n"}
    lease.autostart(one, say=said.append, ask=lambda *words, **dummy: (answers[words[0]], ""), pause=pytest.fail)
    assert said == [f"guest web: not started: its memory is saved in {saved}, by a move that broke off. `virsh restore {saved}` makes it go on; "
                    "if it is to begin anew, delete that file and start it"]


def test_a_lease_that_is_lost_is_not_taken_again_from_who_gets_it_next(make, store, guest):
    one, three = make("one"), make("three")
    wanted = lease.take(one, guest)
    lease.promise(one, guest, "three")
    with lease.Ledger(str(store)) as ledger:
        for place in wanted:
            ledger.drop(place.key)
    lease.Watch(one, say=[].append, destroy=pytest.fail).mend(guest, wanted)
    assert holder(store) is None
    lease.take(three, guest)
    assert holder(store) == ("three", None)


def test_a_lease_that_was_lost_meanwhile_is_no_first_strike(make, store, guest):
    one, two, destroyed = make("one"), make("two"), []
    wanted = lease.take(one, guest)
    runs(one, guest)
    watch = lease.Watch(one, say=[].append, destroy=destroyed.append)
    with lease.Ledger(str(store)) as ledger:
        for place in wanted:
            ledger.drop(place.key)
    watch.round()
    assert holder(store) == ("one", None)
    lease.break_host(str(store), "one")
    lease.take(two, guest)
    watch.round()
    assert destroyed == []
    watch.round()
    assert [item.name for item in destroyed] == ["web"]
