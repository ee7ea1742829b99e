# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Moves between two hosts that are dictionaries: what is done, what breaks, and where the guest is afterwards."""

from __future__ import annotations

import os
import pathlib
import threading
import time
import types

import fake_libvirt
import pytest

from ansible_collections.our.cloud.plugins.module_utils._common.errors import CloudError
from ansible_collections.our.cloud.plugins.module_utils._guest import lease
from ansible_collections.our.cloud.plugins.module_utils._hypervisor import hypervisor
from ansible_collections.our.cloud.plugins.module_utils._hypervisor import xen as xen_calls
from ansible_collections.our.cloud.plugins.module_utils._move import address, facts, job, mover
from ansible_collections.our.cloud.plugins.module_utils._move import aftermath, asked
from ansible_collections.our.cloud.plugins.module_utils._site.store import MARKER

PARAMS = {"name": "g", "target": "two", "mode": "live", "timeout": 30, "force": False, "bandwidth": None, "max_downtime": None, "auto_converge": True,
          "post_copy": False, "encrypt": True, "address": None, "address_timeout": 1, "port": 16514, "uri": None}


class Site:
    """Two hosts, one guest with a disk in their store; `move` asks for a move of it."""

    def __init__(self, monkeypatch, tmp_path, kind):
        self.world = fake_libvirt.World(monkeypatch)
        self.root = tmp_path / "store"
        self.root.mkdir()
        (self.root / MARKER).write_text("marker\n")
        self.disk = str(self.root / "g.img")
        self.one, self.two = self.world.host("one", kind), self.world.host("two", kind)
        for host in (self.one, self.two):
            host.folders = {str(self.root): {MARKER: b"marker\n"}, "/sys/class/net/br0/brif": {}}
        self.guest = self.one.add("g", "running", self.disk, autostart=True)
        self.tell = job.Job("g", str(tmp_path / "run"))
        self.said = []
        self.tell.say = lambda **told: (self.said.append(told), self.tell.held.update(told, elapsed_ms=5))
        self.asked = None

    def move(self, check_mode=False, **params):
        self.asked = asked.Asked({**PARAMS, **params}, check_mode, "t0")
        return self.asked.answer(hypervisor.open_local(), self.tell)

    def words(self):
        """Where it is, and what it does there."""
        return {host.name: host.domains["g"].word for host in (self.one, self.two) if "g" in host.domains}

    @property
    def did(self):
        """What changed the guest, in order, without what every move does."""
        return [line.replace(" g", "") for line in self.world.log]

    def states(self):
        return sorted(name for name in os.listdir(self.root) if name.endswith(".state"))


@pytest.fixture(autouse=True)
def fast(monkeypatch):
    """Nothing sleeps long, nothing touches this machine."""
    real = hypervisor.wait
    monkeypatch.setattr(hypervisor, "wait", lambda condition, timeout, step=0.25: real(condition, min(timeout, 0.05), 0.01))
    monkeypatch.setattr(xen_calls, "direct_io", lambda path: [])
    monkeypatch.setattr(xen_calls, "control", lambda: None)
    monkeypatch.setattr(mover, "end_saver", lambda domid: None)
    monkeypatch.setattr(mover, "LOST", 0.1)
    monkeypatch.setattr(mover, "WireWatch", lambda peer, ports: types.SimpleNamespace(now=lambda: 1 << 20, total=lambda: 9 << 20, stop=lambda: None,
                                                                                      said=(peer, ports)))
    monkeypatch.setattr(address, "resolve", lambda name: None)


@pytest.fixture(name="kvm")
def fixture_kvm(monkeypatch, tmp_path):
    return Site(monkeypatch, tmp_path, "QEMU")


@pytest.fixture(name="xen")
def fixture_xen(monkeypatch, tmp_path):
    return Site(monkeypatch, tmp_path, "Xen")


@pytest.fixture(name="site", params=["QEMU", "Xen"])
def fixture_site(monkeypatch, tmp_path, request):
    return Site(monkeypatch, tmp_path, request.param)


# --- what works -------------------------------------------------------------

@pytest.mark.parametrize("mode", ["live", "suspend", "offline"])
def test_move(site, mode):
    done = site.move(mode=mode)
    assert not done.get("failed") and (done["changed"], done["source"], done["target"], done["mode"]) == (True, "one", "two", mode)
    assert site.words() == {"two": "running"}
    assert site.two.domains["g"].persistent and site.two.domains["g"].auto
    assert site.states() == [] and os.listdir(site.root / ".our-cloud-moves") == []
    assert done["diff"]["before"] == "one\n" and done["address_answers"] is None


def test_saved_memory_is_for_root_alone(site):
    modes = []
    site.guest.when["save"] = lambda dom, path: (modes.append(os.stat(path).st_mode & 0o7777), pathlib.Path(path).write_text("g"), dom._end(5))
    done = site.move(mode="suspend")
    assert not done.get("failed") and modes == [0o600]


@pytest.mark.parametrize("mode", ["suspend", "offline"])
def test_the_downtime_is_what_passed(site, mode):
    done = site.move(mode=mode)
    assert 0 <= done["downtime_ms"] <= 5000


def test_stopped_guest_moves_as_its_definition(site):
    site.guest.word = "stopped"
    done = site.move(mode="offline")
    assert done["changed"] and site.words() == {"two": "stopped"}
    assert "two: create" not in site.did and site.two.domains["g"].auto


def test_check_mode_changes_nothing(site):
    done = site.move(check_mode=True)
    assert done["changed"] and site.world.log == [] and site.words() == {"one": "running"}
    assert not (site.root / ".our-cloud-moves").exists()


def test_check_mode_tells_refusals(site):
    site.two.free = 10
    done = site.move(check_mode=True)
    assert done["failed"] and len(done["refusals"]) == 1 and "two has 10 MiB free" in done["msg"]


def test_it_is_there_already(site):
    site.one.domains.clear()
    site.two.add("g")
    done = site.move()
    assert not done["changed"] and done["source"] == "two" and done["msg"] == "g is on two already"


def test_it_is_nowhere(site):
    site.one.domains.clear()
    with pytest.raises(CloudError, match="it is neither here nor on two"):
        site.move()
    with pytest.raises(CloudError, match="it is neither here nor on one"):
        site.move(target="one")


def test_it_is_asked_to_stay(site):
    assert site.move(target="one")["msg"] == "g is on one already"


def test_target_that_does_not_answer_is_a_refusal(site):
    site.two.up = False
    done = site.move()
    assert done["failed"] and "Connection refused" in done["refusals"][0] and site.words()["one"] == "running"


def test_flags_of_kvm(kvm):
    given = []

    def migrate(dom, uri, parameters, flags):
        given.append((uri, parameters, flags))
        dom.arrive(kvm.two)
        dom._leave()

    kvm.guest.when["migrate"] = migrate
    kvm.move(bandwidth=5, post_copy=True, max_downtime=70)
    uri, parameters, flags = given[0]
    assert uri.startswith("qemu+tls://two/system")
    # QEMU is asked for its own name, not the host's, by which libvirtd is known: one that was broken out of must not pass for it
    assert parameters == {"bandwidth": 5, "migrate_uri": "tcp://two", "tls.destination": "two.qemu.invalid"}
    assert flags == 1 | 2 | 8 | 16 | 4096 | 8192 | 32768 | 65536
    assert "one: max downtime" in kvm.did


@pytest.mark.parametrize("encrypt, flags, parameters", [(True, 1 | 2 | 4 | 8 | 16, {}), (False, 1 | 2 | 8 | 16, {"migrate_uri": "tcp://192.0.2.2"})])
def test_flags_of_xen(xen, encrypt, flags, parameters):
    given = []

    def migrate(dom, *arguments):
        given.append(arguments)
        dom.arrive(xen.two)
        dom._leave()

    xen.guest.when["migrate"] = migrate
    xen.move(encrypt=encrypt)
    assert given[0][1:] == (parameters, flags) and given[0][0].startswith("xen+tls://two/system")


def test_flags_of_kvm_in_clear_text(kvm):
    kvm.guest.when["migrate"] = lambda dom, uri, parameters, flags: (kvm.said.extend([flags, parameters]), dom.arrive(kvm.two), dom._leave())
    kvm.move(encrypt=False, auto_converge=False)
    assert 1 | 2 | 8 | 16 | 4096 in kvm.said and {"migrate_uri": "tcp://two"} in kvm.said


def test_figures_of_kvm(kvm):
    def migrate(dom, *dummy):
        dom.arrive(kvm.two).stats = {"downtime": 77, "data_processed": 12345}
        dom._leave()

    kvm.guest.when["migrate"] = migrate
    done = kvm.move()
    assert (done["downtime_ms"], done["transferred"], done["transferred_from"]) == (77, 12345, "hypervisor")


def test_figures_of_xen(xen, monkeypatch):
    control = types.SimpleNamespace(domain_getinfo=lambda domid, count: [{"domid": domid, "shutdown": 1, "shutdown_reason": 2}])
    monkeypatch.setattr(xen_calls, "control", lambda: control)

    def migrate(dom, *dummy):
        time.sleep(0.1)
        monkeypatch.setattr(xen_calls, "control", lambda: None)
        dom.arrive(xen.two)
        dom._leave()

    xen.guest.when["migrate"] = migrate
    done = xen.move()
    assert 20 <= done["downtime_ms"] <= 2000 and (done["transferred"], done["transferred_from"]) == (9 << 20, "tcp")


def test_progress_is_told(kvm):
    kvm.guest.stats = {"data_total": 100, "data_remaining": 40, "memory_iteration": 2}
    kvm.guest.when["migrate"] = lambda dom, *dummy: (time.sleep(1.2), dom.arrive(kvm.two), dom._leave())
    kvm.move(post_copy=True)
    assert {"percent": 60, "phase": "moving"}.items() <= [told for told in kvm.said if told.get("phase") == "moving"][0].items()
    assert kvm.did.count("one: post-copy") == 1


def test_post_copy_that_cannot_begin_yet_is_tried_again(kvm):
    kvm.guest.stats = {"memory_iteration": 2}
    kvm.guest.when["post-copy"] = lambda dom: (dummy for dummy in ()).throw(kvm.world.error("not yet"))
    kvm.guest.when["migrate"] = lambda dom, *dummy: (time.sleep(1.7), dom.arrive(kvm.two), dom._leave())
    assert not kvm.move(post_copy=True).get("failed")
    assert kvm.did.count("one: post-copy") >= 2


def test_pending_definition_survives(site):
    """guests.yml has given it more memory for its next start."""
    site.guest.pending = site.guest.pending.replace(">256<", ">512<")
    site.move()
    assert ">512<" in site.two.domains["g"].pending and ">256<" in site.two.domains["g"].xml


def test_old_definition_on_xen_target_makes_way(xen):
    xen.two.add("g", "stopped", uuid=xen.guest.UUIDString())
    assert not xen.move().get("failed")
    assert xen.did.index("two: undefine") < xen.did.index("one: migrate") and xen.words() == {"two": "running"}


def test_paused_kvm_guest_moves_paused(kvm):
    kvm.guest.word = "paused"
    kvm.guest.when["migrate"] = lambda dom, *dummy: (dom.arrive(kvm.two, "paused", 1), dom._leave())
    assert not kvm.move().get("failed")
    assert kvm.words() == {"two": "paused"} and "two: resume" not in kvm.did


def test_address_is_asked(kvm, monkeypatch):
    answers = []
    monkeypatch.setattr(address, "answers", lambda where, timeout: answers.append((where, timeout)) or True)
    done = kvm.move(address="192.0.2.9")
    assert done["address_answers"] is True and answers == [("192.0.2.9", 2), ("192.0.2.9", 1)]


def test_address_that_never_answered_need_not(kvm, monkeypatch):
    monkeypatch.setattr(address, "answers", lambda where, timeout: False)
    done = kvm.move(address="192.0.2.9")
    assert not done.get("failed") and done["address_answers"] is None and done["address"] == "192.0.2.9"


def test_address_that_is_lost_is_a_failure(kvm, monkeypatch):
    monkeypatch.setattr(address, "resolve", lambda name: "192.0.2.9")
    monkeypatch.setattr(address, "answers", lambda where, timeout: timeout == 2)
    done = kvm.move()
    assert done["failed"] and done["changed"] and done["place"] == "target" and "its address 192.0.2.9 has not answered for 1 s" in done["msg"]


# --- live moves that break off ----------------------------------------------

def breaks(world, *steps, text="Operation failed"):
    """A migrateToURI3 that takes steps and fails."""
    def migrate(dom, *dummy):
        for step in steps:
            step(dom)
        raise world.error(text)
    return migrate


def set_to(word, reason=0):
    def step(dom):
        dom.word, dom.reason = word, reason
    return step


def test_failed_at_once(site):
    site.guest.when["migrate"] = breaks(site.world, text="no route to host")
    done = site.move()
    assert done["failed"] and done["place"] == "source" and site.words() == {"one": "running"}
    assert done["msg"] == "one: move of g to two failed: no route to host. Now it runs on one"


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
    assert (done["downtime_ms"], done["transferred"]) == (None, None) and site.words() == {"two": "running"}


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


def test_definition_that_was_not_there_before_is_taken_away(kvm):
    kvm.guest.when["migrate"] = breaks(kvm.world, lambda dom: dom.arrive(kvm.two, "stopped", event=False))
    assert kvm.move()["place"] == "source" and kvm.words() == {"one": "running"}


def test_definition_that_was_there_stays(kvm):
    kvm.two.add("g", "stopped", uuid=kvm.guest.UUIDString())
    kvm.guest.when["migrate"] = breaks(kvm.world)
    assert kvm.move()["place"] == "source" and kvm.words() == {"one": "running", "two": "stopped"}


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


def test_xl_that_fails(xen, monkeypatch):
    xen.guest.when["migrate"] = breaks(xen.world)
    monkeypatch.setattr(mover.xen, "standing", lambda control, domid: True)
    monkeypatch.setattr(mover.subprocess, "run", lambda argv, **dummy: types.SimpleNamespace(returncode=1, stderr="no\n"))
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


# --- suspend ----------------------------------------------------------------

def test_state_file_is_of_this_move_alone(kvm):
    names = []
    kvm.guest.when["save"] = lambda dom, path: (names.append(path), open(path, "w").write("g"), dom._end(5))
    kvm.move(mode="suspend")
    assert names == ["%s.%s.t0.state" % (kvm.disk, kvm.guest.UUIDString())] and kvm.states() == []


def test_old_state_file_refuses_the_move(site):
    open(site.disk + ".u.state", "w").close()
    done = site.move(mode="suspend")
    assert done["failed"] and "a saved state of a guest lies beside its disk" in done["msg"] and site.world.log == [] and len(site.states()) == 1


@pytest.mark.parametrize("plant", [lambda path: os.symlink("/etc/hostname", path), os.mkfifo])
def test_planted_name_is_not_written_to(kvm, plant, monkeypatch):
    monkeypatch.setattr(facts, "state_files", lambda disk: [])
    plant("%s.%s.t0.state" % (kvm.disk, kvm.guest.UUIDString()))
    done = kvm.move(mode="suspend")
    assert done["place"] == "source" and "its state cannot be saved to" in done["msg"] and "one: save" not in kvm.did
    assert kvm.words() == {"one": "running"} and len(kvm.states()) == 1


def test_save_that_fails(site):
    site.guest.when["save"] = lambda dom, path: (dummy for dummy in ()).throw(site.world.error("no space"))
    done = site.move(mode="suspend")
    assert done["place"] == "source" and "it could not be saved: no space" in done["msg"]
    assert site.words() == {"one": "running"} and site.states() == [] and not any("restore" in line for line in site.did)


def test_save_that_fails_as_the_guest_ends(site):
    """What lies there is no state of it."""
    def save(dom, path):
        dom._end(1)
        raise site.world.error("guest has shut down meanwhile")

    site.guest.when["save"] = save
    done = site.move(mode="suspend")
    assert done["place"] == "nowhere" and "it was shut down" in done["msg"] and site.states() == []
    assert not any("restore" in line for line in site.did) and site.words() == {"one": "stopped"}


@pytest.mark.parametrize("reason, word, place", [(5, "running", "source"), (1, "stopped", "nowhere")])
def test_connection_lost_while_it_was_saved(kvm, reason, word, place):
    """libvirtd has ended it, or not; only a state that libvirtd calls saved is one."""
    def save(dom, path):
        with open(path, "w", encoding="utf-8") as stream:
            stream.write("g")
        dom._end(reason)
        for conn in kvm.one.connections:
            conn.broken = True
        raise kvm.world.error("client socket is closed")

    kvm.guest.when["save"] = save
    done = kvm.move(mode="suspend")
    assert done["place"] == place and kvm.words() == {"one": word} and len(kvm.states()) == (0 if place == "source" else 1)


def test_restore_that_fails_there_is_made_here(site):
    site.two.when["restore"] = lambda host, path: (dummy for dummy in ()).throw(site.world.error("no bridge"))
    done = site.move(mode="suspend")
    assert done["place"] == "source" and "it could not go on from its saved state on two: no bridge" in done["msg"]
    assert site.words() == {"one": "running"} and site.states() == []


def test_restore_fails_on_both(kvm):
    for host in (kvm.one, kvm.two):
        host.when["restore"] = lambda host, path: (dummy for dummy in ()).throw(kvm.world.error("damaged"))
    done = kvm.move(mode="suspend")
    assert done["place"] == "nowhere" and "does not go on (damaged)" in done["msg"] and "`virsh restore %s/" % kvm.root in done["msg"]
    assert len(kvm.states()) == 1


def test_target_lost_with_the_state_saved(kvm):
    def restore(host, path):
        host.up = False
        raise kvm.world.error("gone")

    kvm.two.when["restore"] = restore
    done = kvm.move(mode="suspend")
    path = str(kvm.root / kvm.states()[0])
    assert done["place"] == "unknown" and "its state is saved in %s" % path in done["msg"] and "`virsh restore %s` on one makes it go on" % path in done["msg"]


# --- offline ----------------------------------------------------------------

def test_start_that_fails_there_is_made_here(site):
    real = fake_libvirt.Domain.create

    def create(dom):
        if dom.host is site.two:
            raise site.world.error("not enough memory")
        real(dom)

    fake_libvirt.Domain.create = create
    try:
        done = site.move(mode="offline")
    finally:
        fake_libvirt.Domain.create = real
    assert done["place"] == "source" and "not enough memory" in done["msg"] and site.words() == {"one": "running"}


def test_guest_that_does_not_power_off(site):
    site.guest.when["shutdown"] = lambda dom: None
    done = site.move(mode="offline")
    assert done["place"] == "source" and "it still runs 30 s after it was asked to power off" in done["msg"] and site.words() == {"one": "running"}


def test_plug_is_pulled_when_asked(site):
    site.guest.when["shutdown"] = lambda dom: None
    assert not site.move(mode="offline", force=True).get("failed") and site.words() == {"two": "running"}


def test_definition_lost_on_both_is_made_again(kvm):
    kvm.guest.word = "stopped"

    def define(host, text):
        del kvm.one.domains["g"]
        raise kvm.world.error("schema")

    kvm.two.when["define"] = define
    done = kvm.move(mode="offline")
    assert done["place"] == "source" and kvm.words() == {"one": "stopped"} and kvm.one.domains["g"].auto


# --- leases -----------------------------------------------------------------

class Leases:
    """In the place of the lease's functions: what was called, and what withdraw says."""

    def __init__(self, monkeypatch, tmp_path):
        self.calls, self.back, self.error = [], True, ()
        (tmp_path / "lease.json").write_text("{}")
        monkeypatch.setattr(lease, "CONFIG", str(tmp_path / "lease.json"))
        monkeypatch.setattr(lease.Node, "here", lambda: "node")
        monkeypatch.setattr(lease, "promise", self.promise)
        monkeypatch.setattr(lease, "withdraw", self.withdraw)

    def promise(self, node, guest, target):
        self.calls.append(("promise", guest.name, guest.disks, target))
        if self.error:
            raise lease.LeaseError(*self.error)

    def withdraw(self, node, guest, target):
        self.calls.append(("withdraw", guest.name, guest.disks, target))
        return self.back


@pytest.fixture(name="leases")
def fixture_leases(monkeypatch, tmp_path):
    return Leases(monkeypatch, tmp_path)


@pytest.mark.parametrize("mode", ["suspend", "offline"])
def test_target_gets_the_promise_before_the_guest_stops(site, leases, mode):
    stopped = []
    site.guest.when["save"] = lambda dom, path: (stopped.append(list(leases.calls)), open(path, "w").write("g"), dom._end(5))
    site.guest.when["shutdown"] = lambda dom: (stopped.append(list(leases.calls)), dom._end(1))
    assert not site.move(mode=mode).get("failed")
    assert stopped == [[("promise", "g", (site.disk,), "two")]] and len(leases.calls) == 1


def test_live_moves_and_stopped_guests_need_no_promise(site, leases):
    site.move()
    site.two.domains["g"].word = "stopped"
    site.world.hosts = {"two": site.two, "one": site.one}
    site.move(mode="offline", target="one")
    assert leases.calls == []


@pytest.mark.parametrize("mode", ["suspend", "offline"])
def test_without_the_lease_it_is_not_stopped(site, leases, mode):
    leases.error = ("one", "guest g", "this host holds no lease of it")
    done = site.move(mode=mode)
    assert done["place"] == "source" and "this host holds no lease of it" in done["msg"] and site.words() == {"one": "running"}
    assert not {"one: save", "one: shutdown"} & set(site.did) and len(leases.calls) == 1


@pytest.mark.parametrize("mode", ["suspend", "offline"])
def test_promise_is_taken_back_before_it_goes_on_here(site, leases, mode):
    real = fake_libvirt.Domain.create
    site.two.when["restore"] = lambda host, path: (dummy for dummy in ()).throw(site.world.error("no"))
    site.guest.when["create"] = lambda dom: (site.said.append(leases.calls[-1][0]), setattr(dom, "word", "running"))
    fake_libvirt.Domain.create = lambda dom: (dummy for dummy in ()).throw(site.world.error("no")) if dom.host is site.two else real(dom)
    try:
        done = site.move(mode=mode)
    finally:
        fake_libvirt.Domain.create = real
    assert done["place"] == "source" and [call[0] for call in leases.calls] == ["promise", "withdraw"] and site.words() == {"one": "running"}
    assert mode == "suspend" or site.said[-1] == "withdraw"


def test_what_the_target_has_taken_does_not_go_on_here(kvm, leases):
    leases.back = False
    kvm.two.when["restore"] = lambda host, path: (dummy for dummy in ()).throw(kvm.world.error("no"))
    done = kvm.move(mode="suspend")
    assert done["place"] == "unknown" and "two holds its lease, so it runs there or is being started" in done["msg"]
    assert kvm.words() == {"one": "stopped", "two": "stopped"} and len(kvm.states()) == 1


def test_copy_there_that_never_went_on_is_ended_before_the_lease_is_asked_for(kvm, leases, monkeypatch):
    def restore(host, path):
        dom = host.domains["g"]
        dom.word, dom.reason, dom.cpu = "paused", mover.PAUSED_STARTING_UP, 0
        raise kvm.world.error("no")

    def withdraw(*arguments):
        kvm.said.append(kvm.two.domains["g"].word)
        return leases.withdraw(*arguments)

    monkeypatch.setattr(lease, "withdraw", withdraw)
    kvm.two.when["restore"] = restore
    assert kvm.move(mode="suspend")["place"] == "source" and "stopped" in kvm.said and kvm.words()["one"] == "running"


def test_promise_stays_while_the_target_is_silent(kvm, leases):
    def restore(host, path):
        host.up = False
        raise kvm.world.error("gone")

    kvm.two.when["restore"] = restore
    kvm.move(mode="suspend")
    assert [call[0] for call in leases.calls] == ["promise"]


# --- facts ------------------------------------------------------------------

def test_state_files(tmp_path):
    disk = tmp_path / "g[1].img"
    for name, seconds in (("g[1].img.u.b.state", 2000), ("g[1].img.u.state", 1000), ("h.img.u.state", 1)):
        (tmp_path / name).write_text("abc")
        os.utime(tmp_path / name, (seconds, seconds))
    os.symlink("/etc/hostname", "%s.x.state" % disk)
    found = facts.state_files(str(disk))
    assert [(os.path.basename(one["path"])[len("g[1].img."):], one["size"]) for one in found] == [("u.state", 3), ("u.b.state", 3), ("x.state", 0)]


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


# --- two guests on their way to one target ----------------------------------

def test_two_guests_count_together(kvm, monkeypatch):
    """Each fits alone; the second one, while the first is on its way, does not, as far as the first has not arrived."""
    kvm.two.free = 600
    other = kvm.one.add("h", "running", str(kvm.root / "h.img"))
    seen = []

    def migrate(dom, *dummy):
        second = asked.Asked({**PARAMS, "name": "h"}, False, "t1")
        seen.append(second.answer(hypervisor.open_local(), kvm.tell))
        there = kvm.two.add("g", "paused", kvm.disk, uuid=dom.UUIDString())
        there.rss, kvm.two.free = 250, 350
        seen.append(asked.Asked({**PARAMS, "name": "h"}, True, "t2").answer(hypervisor.open_local(), kvm.tell))
        kvm.two.domains.clear()
        dom.arrive(kvm.two)
        dom._leave()

    kvm.guest.when["migrate"] = migrate
    assert not kvm.move().get("failed")
    assert seen[0]["failed"] and "of which 320 MiB are for guests on their way there (g)" in seen[0]["msg"] and other.word == "running"
    assert not seen[1].get("failed")
    kvm.two.free = 350
    assert not asked.Asked({**PARAMS, "name": "h"}, False, "t3").answer(hypervisor.open_local(), kvm.tell).get("failed")
    assert sorted(kvm.two.domains) == ["g", "h"]


def test_resident(kvm, xen_host=None):
    dom = kvm.two.add("x", "running")
    dom.rss = 200
    conn = kvm.two.connect()
    assert hypervisor.resident(conn, "x") == 200 and hypervisor.resident(conn, "y") == 0
    dom.word = "stopped"
    assert hypervisor.resident(conn, "x") == 0
    dom.word = "running"
    dom.memoryStats = lambda: (dummy for dummy in ()).throw(kvm.world.error("gone"))
    assert hypervisor.resident(conn, "x") == 0
    kvm.two.kind = "Xen"
    assert hypervisor.resident(conn, "x") == 200
