# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Moves over a saved state, and leases: what breaks, and who may start the guest then."""

from __future__ import annotations

import os

import fake_libvirt
import pytest
from ansible_collections.our.cloud.plugins.module_utils._guest import lease
from ansible_collections.our.cloud.plugins.module_utils._move import facts, mover


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


def test_restore_fails_there_and_nothing_is_left_here(kvm):
    """What was saved whole is the state of the guest, whatever became of its definition."""
    def restore(host, path):
        del kvm.one.domains["g"]
        raise kvm.world.error("no bridge")

    kvm.two.when["restore"] = restore
    done = kvm.move(mode="suspend")
    assert done["place"] == "nowhere" and f"`virsh restore {kvm.root / kvm.states()[0]}` there makes it go on" in done["msg"]


def test_target_lost_with_the_state_saved(kvm):
    def restore(host, path):
        host.up = False
        raise kvm.world.error("gone")

    kvm.two.when["restore"] = restore
    done = kvm.move(mode="suspend")
    path = str(kvm.root / kvm.states()[0])
    assert done["place"] == "unknown" and "its state is saved in %s" % path in done["msg"] and "`virsh restore %s` on one makes it go on" % path in done["msg"]


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


def test_promise_is_taken_back_of_a_guest_that_ended(kvm, leases):
    """Whoever starts it again is not to be refused."""
    def save(dom, path):
        dom._end(1)
        raise kvm.world.error("guest has shut down meanwhile")

    kvm.guest.when["save"] = save
    assert kvm.move(mode="suspend")["place"] == "nowhere" and [call[0] for call in leases.calls] == ["promise", "withdraw"]


def test_promise_stays_while_the_target_is_silent(kvm, leases):
    def restore(host, path):
        host.up = False
        raise kvm.world.error("gone")

    kvm.two.when["restore"] = restore
    kvm.move(mode="suspend")
    assert [call[0] for call in leases.calls] == ["promise"]
