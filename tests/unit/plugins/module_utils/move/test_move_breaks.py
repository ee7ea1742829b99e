# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Live moves that break off: where the guest is afterwards."""

from __future__ import annotations

import os
import threading
import time
import types

import pytest
from ansible_collections.our.cloud.plugins.module_utils._common.errors import CloudError
from ansible_collections.our.cloud.plugins.module_utils._hypervisor import hypervisor
from ansible_collections.our.cloud.plugins.module_utils._move import address, aftermath, mover
from move_samples import breaks, set_to


# --- live moves that break off ----------------------------------------------

def test_failed_at_once(site):
    site.guest.when["migrate"] = breaks(site.world, text="no route to host")
    done = site.move()
    assert done["failed"] and done["place"] == "source" and site.words() == {"one": "running"}
    assert done == {"failed": True, "changed": False, "target": "two", "mode": "live", "place": "source",
                    "msg": "one: move of g to two failed: no route to host. Now it runs on one"}


def test_copy_that_waits_to_be_filled_is_taken_away(kvm):
    kvm.guest.when["migrate"] = breaks(kvm.world, lambda dom: dom.arrive(kvm.two, "paused", mover.PAUSED_MIGRATION, persistent=False, event=False))
    assert kvm.move()["place"] == "source" and kvm.words() == {"one": "running"} and "two: destroy" in kvm.did


def test_copy_of_xen_that_has_used_no_time_is_taken_away(xen):
    xen.guest.when["migrate"] = breaks(xen.world, lambda dom: dom.arrive(xen.two, "running", cpu=0, persistent=False, event=False))
    assert xen.move()["place"] == "source" and xen.words() == {"one": "running"} and "two: destroy" in xen.did


@pytest.mark.parametrize("reason, cpu", [(5, 0), (1, 0), (mover.PAUSED_POSTCOPY_FAILED, 0), (0, 10 ** 10)])
def test_copy_that_has_run_and_is_paused_is_never_destroyed(kvm, reason, cpu):
    kvm.guest.when["migrate"] = breaks(kvm.world, lambda dom: dom.arrive(kvm.two, "paused", reason, cpu=cpu), set_to("paused", 2))
    done = kvm.move()
    assert not done.get("failed") and "it had gone on on two and is paused there" in done["warnings"][0] and "`virsh resume g` there" in done["warnings"][0]
    assert kvm.words() == {"two": "paused"} and "two: destroy" not in kvm.did and "one: resume" not in kvm.did


def test_post_copy_that_broke_leaves_both_halves(kvm):
    kvm.guest.when["migrate"] = breaks(kvm.world, lambda dom: dom.arrive(kvm.two, "paused", mover.PAUSED_POSTCOPY_FAILED),
                                       set_to("paused", mover.PAUSED_POSTCOPY_FAILED))
    done = kvm.move(post_copy=True)
    assert done["place"] == "both" and "--postcopy-resume g" in done["msg"] and kvm.words() == {"one": "paused", "two": "paused"}
    assert not {"one: destroy", "two: destroy", "one: resume"} & set(kvm.did)


def test_it_had_arrived(site):
    site.guest.when["migrate"] = breaks(site.world, lambda dom: dom.arrive(site.two), set_to("paused"))
    done = site.move()
    assert done["changed"] and done["warnings"] == ["The move was interrupted (Operation failed), but it runs on two"]
    assert (done["downtime_ms"], done["transferred"], done["total_ms"]) == (None, None, 5) and site.words() == {"two": "running"}
    assert [told["phase"] for told in site.said][-2:] == ["cleaning up", "verifying"]


def test_it_runs_there_though_nobody_heard_it_arrive(kvm):
    """The connection that would have told it broke."""
    kvm.guest.when["migrate"] = breaks(kvm.world, lambda dom: dom.arrive(kvm.two, event=False), set_to("paused", 2))
    assert kvm.move()["changed"] and kvm.words() == {"two": "running"} and "two: destroy" not in kvm.did


def test_it_went_on_there_and_ended_so_the_source_is_not_resumed(kvm):
    def migrate(dom, *dummy):
        dom.arrive(kvm.two)
        del kvm.two.domains["g"]
        dom.word, dom.reason = "paused", 2
        raise kvm.world.error("gone")

    kvm.guest.when["migrate"] = migrate
    done = kvm.move()
    assert done["place"] == "nowhere" and "older than its disk" in done["msg"] and kvm.words() == {"one": "paused"}


def test_it_goes_on_at_home(kvm):
    kvm.guest.when["migrate"] = breaks(kvm.world, set_to("paused", 2))
    assert kvm.move()["place"] == "source" and kvm.words() == {"one": "running"}


def test_it_does_not_go_on_at_home(kvm):
    kvm.guest.when["migrate"] = breaks(kvm.world, set_to("paused", 2))
    kvm.guest.when["resume"] = lambda dom: None
    done = kvm.move()
    assert done["place"] == "nowhere" and "it is paused on one and gone on two, and does not go on" in done["msg"]


def test_both_run(site):
    site.guest.when["migrate"] = breaks(site.world, lambda dom: dom.arrive(site.two))
    done = site.move()
    assert done["place"] == "both" and "IT RUNS ON BOTH one AND two" in done["msg"] and site.words() == {"one": "running", "two": "running"}


def test_libvirt_says_that_it_worked_and_it_did_not(site):
    site.guest.when["migrate"] = lambda dom, *dummy: None
    done = site.move()
    assert done["place"] == "source" and "libvirt says that it was moved, but it is gone on two and running on one" in done["msg"]


def test_libvirt_says_that_it_worked_and_it_runs_on_both(site):
    site.guest.when["migrate"] = lambda dom, *dummy: dom.arrive(site.two)
    done = site.move()
    assert done["place"] == "both" and "it is running on two and running on one" in done["msg"]
    assert not {"one: undefine", "one: destroy", "two: destroy", "two: undefine"} & set(site.did)


def test_what_has_just_been_started_here_keeps_its_definition(kvm, monkeypatch):
    """Somebody starts it between the look and the end of the move; the lease decides which one goes on."""
    real = aftermath.Aftermath.state_there

    def look(settled):
        seen = real(settled)
        kvm.guest.word = "running"
        return seen

    kvm.guest.word = "stopped"
    monkeypatch.setattr(aftermath.Aftermath, "state_there", look)
    kvm.move(mode="offline")
    assert kvm.guest.persistent and "one: undefine" not in kvm.did


def test_definition_that_was_not_there_before_is_taken_away(kvm):
    kvm.guest.when["migrate"] = breaks(kvm.world, lambda dom: dom.arrive(kvm.two, "stopped", event=False))
    assert kvm.move()["place"] == "source" and kvm.words() == {"one": "running"}


def test_definition_that_was_there_stays(kvm):
    kvm.two.add("g", "stopped", uuid=kvm.guest.UUIDString())
    kvm.guest.when["migrate"] = breaks(kvm.world)
    assert kvm.move()["place"] == "source" and kvm.words() == {"one": "running", "two": "stopped"}


def test_definition_that_made_way_is_not_left_there(xen):
    """It was replaced by what arrived and broke off."""
    xen.two.add("g", "stopped", uuid=xen.guest.UUIDString())
    xen.guest.when["migrate"] = breaks(xen.world, lambda dom: dom.arrive(xen.two, "stopped", event=False))
    assert xen.move()["place"] == "source" and xen.words() == {"one": "running"}


def test_a_connection_that_works_is_kept(kvm):
    conn = kvm.one.connect()
    assert aftermath.again(conn, lambda: pytest.fail("it was made anew")) is conn
    assert aftermath.again(None, lambda: conn) is conn


def test_a_connection_that_broke_is_made_anew_if_its_host_is_there(kvm):
    broken = types.SimpleNamespace(isAlive=lambda: True, getHostname=lambda: (dummy for dummy in ()).throw(kvm.world.error("end of file")))
    new = kvm.one.connect()
    assert aftermath.again(broken, lambda: new) is new
    assert aftermath.again(types.SimpleNamespace(isAlive=lambda: False), lambda: new) is new
    assert aftermath.again(broken, lambda: (dummy for dummy in ()).throw(CloudError("two", "libvirt", "no route to host"))) is None


def test_connections_that_work_are_not_waited_for(kvm, monkeypatch):
    found = []
    monkeypatch.setattr(hypervisor, "wait", lambda condition, *dummy, **more: found.append(condition()))
    trip = types.SimpleNamespace(source=kvm.one.connect(), target=kvm.two.connect())
    aftermath.Aftermath(types.SimpleNamespace(trip=trip, mover=None)).reopen(60)
    assert found == [True, True]


def test_another_guest_of_that_name_is_not_ours(kvm):
    def migrate(dom, *dummy):
        kvm.two.add("g", "running")
        raise kvm.world.error("name taken")

    kvm.guest.when["migrate"] = migrate
    assert kvm.move()["place"] == "source" and kvm.words() == {"one": "running", "two": "running"} and "two: destroy" not in kvm.did


def test_target_lost(site):
    def migrate(dom, *dummy):
        site.two.up = False
        time.sleep(0.8 if site.two.kind == "Xen" else 0)
        raise site.world.error("Cannot recv data")

    site.guest.when["migrate"] = migrate
    done = site.move()
    assert done["place"] == "source" and "the connection to two was lost" in done["msg"] and "two does not answer; when it does again" in done["msg"]


def test_target_lost_at_the_switch_over(kvm):
    def migrate(dom, *dummy):
        kvm.two.up, dom.word, dom.reason = False, "paused", 2
        raise kvm.world.error("Cannot recv data")

    kvm.guest.when["migrate"] = migrate
    done = kvm.move()
    assert done["place"] == "unknown" and "`virsh resume g` on one makes it go on" in done["msg"] and kvm.words()["one"] == "paused"


def test_source_lost(kvm):
    def migrate(dom, *dummy):
        kvm.one.up = False
        raise kvm.world.error("Cannot recv data")

    kvm.guest.when["migrate"] = migrate
    done = kvm.move()
    assert done["place"] == "unknown" and "libvirtd on one does not answer any more" in done["msg"]


def test_libvirtd_that_comes_back_is_connected_to_anew(kvm, monkeypatch):
    def migrate(dom, *dummy):
        for conn in kvm.one.connections + kvm.two.connections:
            conn.broken = True
        raise kvm.world.error("client socket is closed")

    kvm.guest.when["migrate"] = migrate
    assert kvm.move()["place"] == "source"


def test_target_that_comes_back_is_waited_for(kvm, monkeypatch):
    real, tries = hypervisor.open_target, []

    def open_target(*asked):
        if kvm.said[-1]["phase"] == "cleaning up":
            tries.append(asked)
            if len(tries) < 3:
                raise CloudError("two", "libvirtd", "Connection refused")
        return real(*asked)

    def migrate(dom, *dummy):
        for conn in kvm.two.connections:
            conn.broken = True
        raise kvm.world.error("client socket is closed")

    monkeypatch.setattr(hypervisor, "open_target", open_target)
    kvm.guest.when["migrate"] = migrate
    assert kvm.move()["msg"].endswith("Now it runs on one") and len(tries) == 3


def test_arrival_that_does_not_end(xen):
    xen.guest.when["migrate"] = breaks(xen.world, lambda dom: dom.arrive(xen.two, "stopped", persistent=False, event=False), set_to("suspended"))
    done = xen.move()
    assert done["place"] == "unknown" and "its arrival on two does not come to an end" in done["msg"] and "`xl resume g` on one" in done["msg"]


def test_move_that_libvirt_goes_on_with_is_not_settled(kvm):
    def migrate(dom, *dummy):
        dom.job = 2
        dom.when["abortJob"] = lambda dom: (dummy for dummy in ()).throw(kvm.world.error("cannot"))
        raise kvm.world.error("connection reset")

    kvm.guest.when["migrate"] = migrate
    done = kvm.move()
    assert done["place"] == "unknown" and "one: abortJob" in kvm.did and kvm.words() == {"one": "running"}


def test_move_that_goes_on_is_ended_first(kvm):
    def migrate(dom, *dummy):
        dom.job = 2
        raise kvm.world.error("connection reset")

    kvm.guest.when["migrate"] = migrate
    assert kvm.move()["place"] == "source" and "one: abortJob" in kvm.did


def test_what_stands_still_is_woken_by_xl(xen, monkeypatch):
    ran = []
    xen.guest.when["migrate"] = breaks(xen.world)
    monkeypatch.setattr(mover.xen, "standing", lambda control, domid: not ran)
    monkeypatch.setattr(mover.subprocess, "run", lambda argv, **dummy: ran.append(argv) or types.SimpleNamespace(returncode=0, stderr=""))
    assert xen.move()["place"] == "source" and ran == [["xl", "resume", "g"]]


def test_xl_that_fails(xen, monkeypatch, tmp_path):
    xen.guest.when["migrate"] = breaks(xen.world)
    monkeypatch.setattr(mover.xen, "standing", lambda control, domid: True)
    (tmp_path / "xl").write_text('#!/bin/sh\n[ "$*" = "resume g" ] && echo no >&2\nexit 1\n')
    (tmp_path / "xl").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    done = xen.move()
    assert done["place"] == "nowhere" and "`xl resume` says: no" in done["msg"] and "Look at `xl list`" in done["msg"]


def test_what_libvirt_has_seen_standing_is_woken_by_libvirt(xen):
    xen.guest.when["migrate"] = breaks(xen.world, set_to("suspended"))
    assert xen.move()["place"] == "source" and "one: wakeup" in xen.did and xen.words() == {"one": "running"}


def test_libvirt_that_cannot_wake_it(xen):
    xen.guest.when["migrate"] = breaks(xen.world, set_to("suspended"))
    xen.guest.when["wakeup"] = lambda dom: (dummy for dummy in ()).throw(xen.world.error("not so"))
    done = xen.move()
    assert done["place"] == "nowhere" and "libvirt says: not so" in done["msg"]


def test_source_that_stood_still_while_it_runs_there_is_ended(xen):
    """The copy that has run is the guest."""
    xen.guest.when["migrate"] = breaks(xen.world, lambda dom: dom.arrive(xen.two, cpu=5), set_to("suspended"))
    done = xen.move()
    assert done["changed"] and xen.words() == {"two": "running"} and "one: destroy" in xen.did and "two: destroy" not in xen.did


def test_too_long(kvm):
    gone = threading.Event()
    kvm.guest.when["abortJob"] = lambda dom: gone.set()

    def migrate(dom, *dummy):
        gone.wait(10)
        raise kvm.world.error("aborted by client")

    kvm.guest.when["migrate"] = migrate
    done = kvm.move(timeout=0)
    assert done["place"] == "source" and "it took longer than 0 s (timeout) and was stopped" in done["msg"]


def test_xens_saver_is_ended_as_often_as_it_needs(xen, monkeypatch):
    """The first time it may not have begun yet."""
    ended, enough, came = [], threading.Event(), []
    monkeypatch.setattr(mover, "end_saver", lambda domid: (ended.append(domid), len(ended) > 1 and enough.set()))

    def migrate(dom, *dummy):
        came.append(enough.wait(10))
        raise xen.world.error("the saver has ended")

    xen.guest.when["migrate"] = migrate
    assert xen.move(timeout=0)["place"] == "source" and came == [True] and set(ended) == {xen.guest.number}


@pytest.mark.parametrize("mode", ["live", "suspend"])
def test_a_guest_that_was_paused_stays_so_when_its_move_fails(site, mode):
    site.guest.word, site.guest.reason = "paused", 1
    site.guest.when.update(migrate=breaks(site.world), save=breaks(site.world))
    done = site.move(mode=mode)
    assert done["failed"] and site.guest.word == "paused" and "one: resume" not in site.did


def test_called_off(kvm):
    gone = threading.Event()
    kvm.guest.when["abortJob"] = lambda dom: gone.set()

    def migrate(dom, *dummy):
        kvm.asked.cancel()
        gone.wait(10)
        raise kvm.world.error("aborted by client")

    kvm.guest.when["migrate"] = migrate
    done = kvm.move()
    assert done["place"] == "source" and "it was called off, or this host goes down" in done["msg"]


def test_called_off_before_it_began(kvm, monkeypatch):
    monkeypatch.setattr(address, "resolve", lambda name: kvm.asked.cancel())
    done = kvm.move()
    assert done["failed"] and "it was not moved" in done["msg"] and kvm.world.log == []


def test_look_at_a_guest_that_has_just_gone(kvm):
    kvm.guest.when["migrate"] = lambda dom, *dummy: (dom.arrive(kvm.two), dom._leave(), time.sleep(0.8))
    assert not kvm.move().get("failed")


def test_errors_without_end(kvm, monkeypatch):
    kvm.guest.when["migrate"] = breaks(kvm.world)
    monkeypatch.setattr(aftermath.Aftermath, "see", lambda self, timeout: (dummy for dummy in ()).throw(kvm.world.error("flaky")))
    done = kvm.move()
    assert done["place"] == "unknown" and "it could not be found out where it is (flaky)" in done["msg"]
