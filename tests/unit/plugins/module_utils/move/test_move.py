# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Moves between two hosts that are dictionaries: what is done and told."""

from __future__ import annotations

import itertools
import json
import os
import pathlib
import time
import types

import fake_libvirt
import pytest
from ansible_collections.our.cloud.plugins.module_utils._common.errors import CloudError
from ansible_collections.our.cloud.plugins.module_utils._hypervisor import hypervisor
from ansible_collections.our.cloud.plugins.module_utils._hypervisor import xen as xen_calls
from ansible_collections.our.cloud.plugins.module_utils._move import address, asked, move, mover, watch
from ansible_collections.our.cloud.plugins.module_utils._move.options import Options
from ansible_collections.our.cloud.plugins.module_utils._move.watch import Figures
from move_samples import PARAMS


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


MOVED = {"changed": True, "source": "one", "target": "two", "address_answers": None, "diff": {
    "before": "one\n", "after": "two\n", "before_header": "g (place)", "after_header": "g (place)"}}


@pytest.mark.parametrize("mode, told, phases", [
    ("suspend", {"downtime_ms": 2000, "total_ms": 6000, "transferred": 1, "transferred_from": "state file"},
     [("defining", 0), ("saving", 5), ("restoring", 50)]),
    ("offline", {"downtime_ms": 2000, "total_ms": 6000, "transferred": 0}, [("stopping", 10), ("defining", 50), ("starting", 75)]),
])
def test_what_is_told_of_a_move(site, monkeypatch, mode, told, phases):
    """By a clock that goes on by two seconds whenever somebody looks at it."""
    clock = itertools.count(100, 2)
    monkeypatch.setattr(move, "time", types.SimpleNamespace(monotonic=lambda: next(clock)))
    assert site.move(mode=mode) == {**MOVED, **told, "mode": mode}
    assert site.said[0] == {"name": "g", "source": "one", "target": "two", "mode": mode, "phase": "checking", "percent": 0}
    assert [(told["phase"], told["percent"]) for told in site.said[1:]] == [*phases, ("verifying", 100)]


def test_what_is_told_of_a_live_move(site, monkeypatch):
    monkeypatch.setattr(move, "time", types.SimpleNamespace(monotonic=itertools.count(100, 2).__next__))
    site.guest.when["migrate"] = lambda dom, *dummy: (setattr(dom.arrive(site.two), "stats", {"downtime": 7, "data_processed": 9 << 20}), dom._leave())
    done = site.move()
    assert done == {**MOVED, "mode": "live", "total_ms": done["total_ms"], "transferred": 9 << 20, "downtime_ms": 7 if site.one.kind == "QEMU" else None,
                    "transferred_from": "hypervisor" if site.one.kind == "QEMU" else "tcp"}
    assert done["total_ms"] % 2000 == 0
    assert (site.said[0]["phase"], site.said[-1]) == ("checking", {"phase": "verifying", "percent": 100})


def test_the_downtime_on_xen():
    seen = mover.XenMover(types.SimpleNamespace(arrival=types.SimpleNamespace(at=176.75)))
    seen.standstill, seen.wire = types.SimpleNamespace(at=101.5), types.SimpleNamespace(total=lambda: 5)
    assert seen.figures() == Figures(75250, 5, "tcp")
    seen.trip.arrival = None
    assert seen.figures().downtime_ms is None


def test_when_a_target_of_xen_is_lost(monkeypatch):
    now, alive = [100.0], [True]
    monkeypatch.setattr(mover, "time", types.SimpleNamespace(monotonic=lambda: now[0]))
    seen = mover.XenMover(types.SimpleNamespace(target=types.SimpleNamespace(isAlive=lambda: alive[0]), target_name="two"))
    said = []
    for seconds, lives in ((0, True), (50, True), (1, False), (0.05, True), (0.06, False), (9, True)):
        now[0], alive[0] = now[0] + seconds, lives
        said.append(seen.step(0))
    # LOST is 0.1 here, from the first time on that it was not there
    assert said == [None, None, None, None, "the connection to two was lost", "the connection to two was lost"]


def test_what_others_may_know_of_a_move_under_way(kvm):
    notes = []

    def migrate(dom, *dummy):
        folder = kvm.root / ".our-cloud-moves"
        notes.extend((folder.stat().st_mode, path.stat().st_mode, json.loads(path.read_text())) for path in folder.iterdir())
        dom.arrive(kvm.two)
        dom._leave()

    kvm.guest.when["migrate"] = migrate
    kvm.move()
    (folder, mode, note), = notes
    assert (folder & 0o7777, mode & 0o7777) == (0o700, 0o600)
    # as long as it may take, and a quarter of an hour
    assert 0 <= time.time() + 930 - note.pop("until") < 30
    assert note == {"name": "g", "uuid": note["uuid"], "target": "two", "memory": 256 + 64}


@pytest.mark.parametrize("encrypt, ports", [(True, "16514"), (False, watch.DATA_PORTS)])
def test_what_is_listened_to_on_xen(xen, monkeypatch, encrypt, ports):
    heard, prepared = [], []
    wire = mover.WireWatch
    monkeypatch.setattr(mover, "WireWatch", lambda *asked: heard.append(asked) or wire(*asked))
    monkeypatch.setattr(xen_calls, "direct_io", prepared.append)
    xen.guest.xml = xen.guest.xml.replace("<devices>", "<devices><disk type='file' device='cdrom'><source file='%s/cd.iso'/><readonly/></disk>" % xen.root)
    xen.move(encrypt=encrypt)
    assert heard == [("192.0.2.2", ports)] and prepared == [xen.disk]


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


def test_post_copy_begins_after_the_first_pass(kvm):
    kvm.guest.stats = {"memory_iteration": 1}
    kvm.guest.when["migrate"] = lambda dom, *dummy: (time.sleep(0.8), dom.arrive(kvm.two), dom._leave())
    kvm.move(post_copy=True)
    assert "one: post-copy" not in kvm.did


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


# --- two guests on their way to one target ----------------------------------

def test_two_guests_count_together(kvm, monkeypatch):
    """Each fits alone; the second one, while the first is on its way, does not, as far as the first has not arrived."""
    kvm.two.free = 600
    other = kvm.one.add("h", "running", str(kvm.root / "h.img"))
    seen = []

    def migrate(dom, *dummy):
        second = asked.Asked(Options(**{**PARAMS, "name": "h"}), False, "t1")
        seen.append(second.answer(hypervisor.open_local(), kvm.tell))
        there = kvm.two.add("g", "paused", kvm.disk, uuid=dom.UUIDString())
        there.rss, kvm.two.free = 250, 350
        seen.append(asked.Asked(Options(**{**PARAMS, "name": "h"}), True, "t2").answer(hypervisor.open_local(), kvm.tell))
        kvm.two.domains.clear()
        dom.arrive(kvm.two)
        dom._leave()

    kvm.guest.when["migrate"] = migrate
    assert not kvm.move().get("failed")
    assert seen[0]["failed"] and "of which 320 MiB are for guests on their way there (g)" in seen[0]["msg"] and other.word == "running"
    assert not seen[1].get("failed")
    kvm.two.free = 350
    assert not asked.Asked(Options(**{**PARAMS, "name": "h"}), False, "t3").answer(hypervisor.open_local(), kvm.tell).get("failed")
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
