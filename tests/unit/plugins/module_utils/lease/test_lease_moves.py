# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Leases of guests that move, live or stopped."""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
import os

import pytest
from ansible_collections.our.cloud.plugins.module_utils._guest import lease
from lease_samples import OTHER, UUID, files, holder, runs


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


def test_an_announcement_is_good_for_one_arrival_and_for_a_short_time(make, store, guest, later):
    one, two = make("one"), make("two")
    lease.take(one, guest)
    lease.announce(two, guest)
    lease.take(two, guest)
    with pytest.raises(lease.LeaseError):
        lease.take(two, guest)
    lease.release(two, guest)
    lease.announce(two, guest)
    later(lease.ARRIVAL_TIME + 1)
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


def test_what_a_promise_says(make, store, guest):
    """It is the target's, by whoever runs here and now."""
    one = make("one")
    key = lease.take(one, guest)[0].key
    lease.promise(one, guest, "two")
    said = lease.read_entry(str(store / lease.FOLDER / (key + lease.CLAIM)))
    assert {word: said[word] for word in ("kind", "host", "boot", "by", "by_boot", "pid", "start", "name", "uuid")} == {
        "kind": "promise", "host": "two", "boot": "", "by": "one", "by_boot": one.boot, "pid": os.getpid(), "start": lease.process_start(os.getpid()),
        "name": "web", "uuid": UUID}


def test_the_words_in_the_store(make, store, guest):
    """Nodes read what others have written, be they older or newer."""
    one, two = make("one"), make("two")

    def kinds():
        return [json.loads((store / lease.FOLDER / name).read_text())["kind"] for name in files(store) if name.startswith("disk-")]

    lease.take(one, guest)
    lease.announce(two, guest)
    assert kinds() == ["lease", "arrival"]
    lease.take(two, guest)
    assert kinds() == ["lease", "arriving"]
    lease.release(two, guest)
    lease.promise(one, guest, "two")
    lease.release(one, guest)
    assert kinds() == ["left", "promise"]


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


def test_the_first_lease_that_the_target_has_taken_decides(make, store, guest):
    """It takes them in order, and is about to take the others."""
    one, two = make("one"), make("two")
    first, second = lease.take(one, guest)
    lease.promise(one, guest, "two")
    lease.release(one, guest)
    with lease.Ledger(str(store)) as ledger:
        ledger.hand(first.key)
        assert ledger.read(second.key)["host"] == "one"
    assert lease.withdraw(one, guest, "two") is False
    lease.take(two, guest)
    assert holder(store) == ("two", None)


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


@pytest.mark.parametrize("claim", [lambda one, two, guest: lease.announce(two, guest), lambda one, two, guest: lease.promise(one, guest, "two")],
                         ids=["announce", "promise"])
def test_all_claims_or_none(make, store, guest, claim):
    """Another host has claimed the second of two leases."""
    one, two = make("one"), make("two")
    first, second = lease.take(one, guest)
    with lease.Ledger(str(store)) as ledger:
        ledger.put(make("three").entry(guest, [], lease.ARRIVAL))
        ledger.link(second.key + lease.CLAIM)
    before = files(store)
    with pytest.raises(lease.LeaseError, match="on its way from one to three"):
        claim(one, two, guest)
    assert files(store) == before == sorted([first.key, second.key, second.key + lease.CLAIM])
