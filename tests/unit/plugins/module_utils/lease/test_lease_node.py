# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Leases on their node: what asks virsh, xl and the kernel, and a store whose answers get lost."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
import time

import pytest
from ansible_collections.our.cloud.plugins.module_utils._guest import lease
from lease_samples import OTHER, UUID, domain, orphan_promise, runs


@pytest.fixture
def programs(tmp_path, monkeypatch):
    """virsh and xl are what a test says they are; `calls` has what they were asked."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    monkeypatch.setattr(lease, "XEN_SAYS", str(tmp_path / "none"))
    calls = tmp_path / "calls"

    def make_program(name, script):
        path = folder / name
        path.write_text(f"#!/bin/sh\necho {name} \"$@\" >>{calls}\n{script}\n")
        path.chmod(0o755)
    make_program.calls = lambda: calls.read_text().splitlines() if calls.exists() else []
    return make_program


def raises(error):
    """A function that does nothing else."""
    def function(*dummy):
        raise error
    return function


# --- the files --------------------------------------------------------------

def test_a_link_whose_answer_got_lost_is_ours(store, monkeypatch):
    real, given = os.link, []

    def link(source, target):
        real(source, target)
        given.append(target)
        raise FileExistsError(target)
    with lease.Ledger(str(store)) as ledger:
        ledger.put({"host": "one"})
        monkeypatch.setattr(os, "link", link)
        assert ledger.link("disk-1") is True
        monkeypatch.setattr(os, "link", real)
        assert ledger.read("disk-1")["host"] == "one"
        # another's, which is there, and one that has just been given back
        ledger.put({"host": "two"})
        assert ledger.link("disk-1") is False
        monkeypatch.setattr(os, "link", raises(FileExistsError()))
        assert ledger.link("disk-2") is False


def test_a_claim_that_is_gone_hands_nothing_over(store):
    with lease.Ledger(str(store)) as ledger:
        assert ledger.hand("disk-1") is False
        assert ledger.promote("disk-1") is False
        assert ledger.drop("disk-1") is False
        ledger.put({"host": "two"})
        ledger.link("disk-1" + lease.CLAIM)
        assert ledger.promote("disk-1") is True
        assert ledger.read("disk-1")["host"] == "two" and ledger.read("disk-1" + lease.CLAIM) is None


@pytest.mark.parametrize("failures, error", [(1, None), (2, None), (3, errno.ESTALE)])
def test_a_file_that_the_server_has_replaced_is_opened_again(store, monkeypatch, failures, error):
    path, real, tries = store / "entry", os.open, []
    path.write_text('{"host": "one"}')

    def stale(name, *more):
        tries.append(name)
        if len(tries) <= failures:
            raise OSError(errno.ESTALE, "stale")
        return real(name, *more)
    monkeypatch.setattr(os, "open", stale)
    if error:
        with pytest.raises(OSError) as failed:
            lease.read_entry(str(path))
        assert failed.value.errno == error
    else:
        assert lease.read_entry(str(path)) == {"host": "one"}


def test_another_error_is_told_at_once(store, monkeypatch):
    monkeypatch.setattr(os, "open", raises(OSError(errno.EIO, "input/output error")))
    with pytest.raises(OSError):
        lease.read_entry(str(store / "entry"))


# --- this node --------------------------------------------------------------

def test_a_node_is_what_the_role_has_written(tmp_path, monkeypatch):
    monkeypatch.setattr(lease.Node.__init__, "__defaults__", ("", "", str(tmp_path / "run"), ()))
    config = tmp_path / "lease.json"
    without = lease.Node.here(str(config))
    assert (without.host, without.store) == (os.uname().nodename, "")
    config.write_text(json.dumps({"host": "one", "store": "/srv/one"}))
    node = lease.Node.here(str(config))
    assert (node.host, node.store) == ("one", "/srv/one")
    # one start of the machine, one boot
    assert node.boot == without.boot and len(node.boot) == 32


def test_the_device_of_a_mount_without_touching_it(tmp_path):
    assert lease._device("/proc") == os.stat("/proc").st_dev
    assert lease._device(str(tmp_path)) == os.stat(tmp_path).st_dev
    assert lease._device(str(tmp_path / "nowhere")) is None


def test_when_a_process_began(tmp_path):
    # whatever it is called
    program = shutil.copy(shutil.which("sleep"), tmp_path / "schläft ) 1")
    with subprocess.Popen([program, "60"]) as process:
        began = lease.process_start(process.pid) / os.sysconf("SC_CLK_TCK")
        process.kill()
    assert abs(began - time.clock_gettime(time.CLOCK_BOOTTIME)) < 20
    assert lease.process_start(2**22 + 1) is None
    assert lease.process_start("nobody") is None


# --- a lease that changes hands --------------------------------------------

def test_a_lease_that_never_rests_is_refused(make, store, guest, monkeypatch):
    one = make("one")
    monkeypatch.setattr(lease.Ledger, "link", lambda *dummy: False)
    monkeypatch.setattr(lease.Ledger, "read", lambda *dummy: None)
    with pytest.raises(lease.LeaseError, match="changes hands all the time"):
        lease.take(one, guest)


def test_a_free_lease_that_is_promised_to_another_host(make, store, guest):
    one, two = make("one"), make("two")
    lease.take(one, guest)
    lease.promise(one, guest, "two")
    key = lease.places(one, guest)[0].key
    with lease.Ledger(str(store)) as ledger:
        ledger.drop(key)
    with pytest.raises(lease.LeaseError) as refused:
        lease.take(make("three"), guest)
    assert refused.value.holder == "two" and "on its way" in str(refused.value)
    # to the host that it is promised to it is free
    with lease.Ledger(str(store)) as ledger:
        for place in lease.places(one, guest):
            ledger.drop(place.key)
    lease.take(two, guest)
    assert [(row["host"], row["to"]) for row in lease.holders(str(store))] == [("two", None)]


def test_one_that_arrives_is_not_started_beside_itself(make, store, guest):
    one, two = make("one"), make("two")
    lease.take(one, guest)
    lease.announce(two, guest)
    with pytest.raises(lease.LeaseError, match="on its way"):
        lease.take(one, guest)


def test_who_leaves_a_guest_that_nobody_claims_any_more(make, store, guest):
    lease.release(orphan_promise(make, store, guest), guest)
    assert lease.holders(str(store)) == []


# --- the heartbeat ----------------------------------------------------------

def test_what_cannot_be_read_is_said_once(make, store, guest):
    one, said = make("one"), []
    watch = lease.Watch(one, say=said.append, destroy=pytest.fail)
    path = runs(one, guest, f"<domstatus><uuid>{UUID}</uuid>")
    watch.look_at(UUID, path)
    watch.look_at(UUID, path)
    assert len(said) == 1 and "not XML" in said[0]
    os.unlink(path)
    watch.look_at(UUID, path)
    assert len(said) == 1


def test_two_that_write_on_one_disk_are_told(make, store, guest):
    one, two, said = make("one"), make("two"), []
    lease.take(one, guest)
    twin = lease.Guest("twin", OTHER, guest.disks)
    lease.Watch(two, say=said.append, destroy=pytest.fail).look_at(OTHER, runs(two, twin))
    lease.Watch(one, say=said.append, destroy=pytest.fail).look_at(OTHER, runs(one, twin))
    assert [text.partition(".")[0] for text in said] == ["TWO WRITE ON ONE DISK: guest twin runs here without a lease"] * 2
    assert "on one as well as here" in said[0] and "on this host with another guest" in said[1]


def test_a_guest_that_has_arrived_from_a_host_that_has_gone_down(make, store, guest):
    one, two, said = make("one"), make("two"), []
    lease.Watch(one).beat()
    lease.take(one, guest)
    lease.announce(two, guest)
    lease.take(two, guest)
    runs(two, guest)
    watch = lease.Watch(two, say=said.append, destroy=pytest.fail)
    wanted = lease.places(two, guest)
    watch.mend(guest, wanted)
    assert lease.holders(str(store))[0]["host"] == "one" and not said
    # it has been restarted
    one.boot = "another"
    lease.Watch(one).beat()
    watch.mend(guest, wanted)
    assert lease.holders(str(store))[0]["host"] == "two" and "has gone down" in said[0]


def test_a_guest_that_has_arrived_while_its_lease_was_given_back(make, store, guest):
    one, two = make("one"), make("two")
    lease.take(one, guest)
    lease.announce(two, guest)
    lease.take(two, guest)
    with lease.Ledger(str(store)) as ledger:
        for place in lease.places(two, guest):
            ledger.drop(place.key)
    lease.Watch(two, destroy=pytest.fail).mend(guest, lease.places(two, guest))
    assert [(row["host"], row["to"]) for row in lease.holders(str(store))] == [("two", None)]


@pytest.mark.parametrize("answer, left", [(True, True), (None, True), (False, False)])
def test_a_start_of_which_nothing_is_seen_any_more(make, store, guest, answer, left):
    one, said = make("one"), []
    lease.take(one, guest)
    watch = lease.Watch(one, say=said.append, libvirt_active=lambda dummy: answer)
    watch.look_for(OTHER)
    watch.look_for(UUID)
    assert len(lease.holders(str(store))) == 1
    long_ago = time.time() - lease.START_TIME - 1
    os.utime(one._file("held", UUID), (long_ago, long_ago))
    watch.look_for(UUID)
    assert bool(lease.holders(str(store))) is left and bool(said) is not left


def test_a_release_that_the_guest_has_outlived_is_forgotten(make, store, guest):
    one = make("one")
    lease.take(one, guest)
    one.remember("queue", guest, lease.places(one, guest))
    watch = lease.Watch(one, say=pytest.fail)
    watch.give_back(UUID, {UUID: "its status"})
    assert one.remembered("queue") == [] and len(lease.holders(str(store))) == 1
    watch.give_back(OTHER, {})


def test_the_promise_of_a_host_that_has_been_restarted(make, store, guest):
    one, two, said = make("one"), make("two"), []
    lease.Watch(one).beat()
    lease.take(one, guest)
    lease.promise(one, guest, "two")
    watch = lease.Watch(two, say=said.append, libvirt_active=lambda dummy: False)
    watch.sweep({})
    assert lease.holders(str(store))[0]["to"] == "two" and not said
    one.boot = "another"
    lease.Watch(one).beat()
    watch.sweep({})
    assert lease.holders(str(store))[0]["to"] is None and "claim" in said[0]


def test_an_earlier_boots_lease_is_left_to_who_was_promised_it(make, store, guest):
    one = make("one")
    lease.take(one, guest)
    lease.promise(one, guest, "two")
    with lease.Ledger(str(store)) as ledger:
        key = lease.places(one, guest)[0].key
        claim, held = ledger.read(key + lease.CLAIM), ledger.read(key)
        watch = lease.Watch(one, say=[].append)
        # this very process has promised it
        assert watch.clear(ledger, key, held) is False
        ledger.put({**claim, "pid": 2**22 + 1})
        ledger.replace(key + lease.CLAIM)
        assert watch.clear(ledger, key, held) is True
        # one that is arriving there
        ledger.put(held)
        ledger.link(key)
        ledger.put({**claim, "kind": lease.ARRIVING})
        ledger.link(key + lease.CLAIM)
        assert watch.clear(ledger, key, held) is True and ledger.read(key)["host"] == "two"


def test_the_service_says_what_the_store_says_and_goes_on(make, monkeypatch):
    class Enough(Exception):
        pass

    one, said, rounds = make("one"), [], []
    answers = [OSError("it hangs"), OSError("it hangs"), None, OSError("it hangs"), Enough()]

    def look(dummy):
        rounds.append(1)
        answer = answers[len(rounds) - 1]
        if answer:
            raise answer
    monkeypatch.setattr(lease.Watch, "round", look)
    monkeypatch.setattr(lease, "write_line", said.append)
    monkeypatch.setattr(lease.Watch.__init__, "__defaults__", (said.append, None, None))
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    with pytest.raises(Enough):
        lease.watch(one)
    assert said == [f"the store {one.store}: it hangs"] * 2


# --- what it asks -----------------------------------------------------------

def test_virsh_answers_fails_is_missing_or_hangs(programs):
    assert lease.ask_virsh("list")[0] is None
    programs("virsh", "echo out")
    assert lease.ask_virsh("list", "--all") == ("out\n", "")
    assert programs.calls() == ["virsh --connect qemu:///system --quiet list --all"]
    programs("virsh", "echo why >&2; exit 1")
    assert lease.ask_virsh("list") == (None, "why") and lease.virsh("list") is None
    programs("virsh", "exec sleep 30")
    assert lease.ask_virsh("list", timeout=0.2)[0] is None


@pytest.mark.parametrize("uri, virsh, xl, expected", [
    ("qemu:///system", f"echo {UUID}", None, True),
    ("qemu:///system", f"echo {OTHER}", None, False),
    ("qemu:///system", "exit 1", None, None),
    ("xen:///system", f"echo {UUID}", None, True),
    ("xen:///system", "true", f"echo web {UUID}", True),
    ("xen:///system", "true", f"echo web {OTHER}", False),
    ("xen:///system", "true", "exit 1", None),
    ("xen:///system", "true", None, None),
])
def test_whether_the_hypervisor_runs_it(programs, monkeypatch, uri, virsh, xl, expected):
    monkeypatch.setattr(lease, "libvirt_uri", lambda: uri)
    programs("virsh", virsh)
    if xl:
        programs("xl", xl)
    assert lease.active_by_libvirt(UUID) is expected
    assert programs.calls() == [f"virsh --connect {uri} --quiet list --uuid", *(["xl list -v"] if xl else [])]


@pytest.mark.parametrize("said, uri", [("control_d\n", "xen:///system"), ("", "qemu:///system"), (None, "qemu:///system")])
def test_the_hypervisor_of_this_machine(monkeypatch, tmp_path, said, uri):
    monkeypatch.setattr(lease, "XEN_SAYS", str(tmp_path / "capabilities"))
    if said is not None:
        (tmp_path / "capabilities").write_text(said)
    assert lease.libvirt_uri() == uri


def test_the_end_of_a_guest(programs, monkeypatch, tmp_path, guest):
    programs("virsh", "true")
    lease.destroy_guest(guest)
    assert programs.calls() == [f"virsh --connect {lease.libvirt_uri()} --quiet destroy {UUID}"]
    # libvirtd does not answer
    programs("virsh", "exit 1")
    programs("xl", "true")
    monkeypatch.setattr(lease, "libvirt_uri", lambda: "xen:///system")
    lease.destroy_guest(guest)
    assert programs.calls()[-1] == "xl destroy web"
    monkeypatch.setattr(lease, "libvirt_uri", lambda: "qemu:///system")
    monkeypatch.setattr(lease, "STATUS", (str(tmp_path),))
    lease.destroy_guest(guest)
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)", "-uuid", UUID]) as process:
        (tmp_path / "web.pid").write_text(f"{process.pid}\n")
        lease.destroy_guest(lease.Guest("web", OTHER))
        assert process.poll() is None
        lease.destroy_guest(guest)
        assert process.wait(timeout=60) == -9


# --- as it is called --------------------------------------------------------

def test_the_words_that_it_knows(make, store, guest, monkeypatch, capsys):
    one, done = make("one"), []
    monkeypatch.setattr(lease.Node, "here", classmethod(lambda cls: one))
    monkeypatch.setattr(lease, "watch", lambda node: done.append(("watch", node.host)))
    monkeypatch.setattr(lease, "autostart", lambda node: done.append(("autostart", node.host)))
    lease.take(one, guest)
    assert [lease.main([word]) for word in ("watch", "autostart", "list", "boot", "dance")] == [0, 0, 0, 0, 2]
    assert done == [("watch", "one"), ("autostart", "one")]
    said = capsys.readouterr()
    listed, dummy, boot = said.out.rstrip().rpartition("\n")
    assert json.loads(listed)[0]["name"] == "web" and boot == one.boot and "lease.py hook" in said.err


def test_the_hook_that_libvirt_calls(make, guest, monkeypatch):
    class Input:
        buffer = None

    one = make("one")
    monkeypatch.setattr(lease.Node, "here", classmethod(lambda cls: one))
    reader, writer = os.pipe()
    with os.fdopen(writer, "wb") as stream:
        stream.write(domain(guest).encode())
    with os.fdopen(reader, "rb") as Input.buffer:
        monkeypatch.setattr(sys, "stdin", Input)
        assert lease.main(["hook", "web", "prepare", "begin", "-"]) == 0
    assert lease.holders(one.store)[0]["host"] == "one"
