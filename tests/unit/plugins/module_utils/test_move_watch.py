# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is measured while a guest moves, and who is asked for it."""

from __future__ import annotations

import calendar
import json
import os
import select
import signal
import socket
import struct
import time
import types

import fake_libvirt
import pytest

from ansible_collections.our.cloud.plugins.module_utils._guest.told import Ending, Progress
from ansible_collections.our.cloud.plugins.module_utils._hypervisor import hypervisor
from ansible_collections.our.cloud.plugins.module_utils._move import address, job, mover, watch
from ansible_collections.our.cloud.plugins.module_utils._move.options import Options


@pytest.mark.parametrize("stats, expected", [
    ({"data_total": 100, "data_remaining": 40, "data_processed": 70, "memory_bps": 9}, watch.Amounts(percent=60, transferred=70, remaining=40, rate=9)),
    ({"data_total": 100, "data_remaining": 400}, watch.Amounts(percent=0, transferred=0, remaining=400, rate=0)),
    ({}, None), ({"data_total": 0}, None),
])
def test_progress(stats, expected):
    assert watch.progress(stats) == expected


@pytest.mark.parametrize("sent, mib, elapsed, percent, rate", [
    (0, 256, 0, 0, 0), (1 << 27, 256, 2, 50, 1 << 26), (1 << 30, 256, 1, 99, 1 << 30), (5, 0, 1, 0, 5),
])
def test_xen_progress(sent, mib, elapsed, percent, rate):
    found = watch.xen_progress(sent, mib, elapsed)
    assert found == watch.Amounts(percent, sent, max(0, (mib << 20) - sent), rate)


def test_job_lock(tmp_path):
    held = job.Job("our-vm", str(tmp_path))
    assert job.running_job("our-vm", str(tmp_path)) is None
    assert held.take()
    assert not job.Job("our-vm", str(tmp_path)).take()
    held.say(target="two", percent=3)
    held.started -= 100
    held.say(percent=5)
    seen = job.running_job("our-vm", str(tmp_path))
    assert 100000 <= seen.elapsed_ms < 100050 and seen == Progress(target="two", percent=5, elapsed_ms=seen.elapsed_ms)
    assert json.loads((tmp_path / "our-vm.json").read_text()) == {"target": "two", "percent": 5, "elapsed_ms": seen.elapsed_ms}
    held.drop()
    assert job.running_job("our-vm", str(tmp_path)) is None
    assert job.Job("our-vm", str(tmp_path)).take()


def test_who_else_is_on_the_host_sees_nothing_of_a_move(tmp_path):
    job.Job("our-vm", str(tmp_path / "jobs"))
    assert (tmp_path / "jobs").stat().st_mode & 0o7777 == 0o700


def test_the_next_move_takes_the_place_of_the_last_one(tmp_path):
    folder = str(tmp_path / "moves")
    options = Options("g", "two")
    job.end(job.begin("t1", options, "one", folder), {"failed": True, "msg": "no"}, folder)
    job.begin("t2", Options("g", "three"), "one", folder)
    told, = job.unheard(folder, str(tmp_path))
    assert told == Ending(told.text, "g", "one", "three", "live", told.began, ended=None, failed=True)
    assert abs(calendar.timegm(time.strptime(told.began, "%Y-%m-%dT%H:%M:%SZ")) - time.time()) < 60
    assert (tmp_path / "moves").stat().st_mode & 0o7777 == 0o700
    # it is the last one that is heard, and nobody is told of it once more
    job.hear("g", "t1", folder)
    assert len(job.unheard(folder, str(tmp_path))) == 1
    job.hear("g", "t2", folder)
    assert job.unheard(folder, str(tmp_path)) == []


def test_job_of_a_dead_one_does_not_count(tmp_path):
    (tmp_path / "our-vm.json").write_text('{"target": "two"}')
    (tmp_path / "our-vm.lock").write_text("")
    assert job.running_job("our-vm", str(tmp_path)) is None


def test_job_file_broken(tmp_path):
    held = job.Job("our-vm", str(tmp_path))
    held.take()
    (tmp_path / "our-vm.json").write_text("{")
    assert job.running_job("our-vm", str(tmp_path)) == Progress("our-vm", target="another host", phase="checking", percent=0)


@pytest.mark.parametrize("words, expected", [
    ([b"/usr/lib/xen-4.20/bin/libxl-save-helper", b"--save-domain", b"31", b"-1", b"7", b"1", b""], True),
    ([b"/usr/lib/xen-4.20/bin/libxl-save-helper", b"--save-domain", b"7", b"-1", b"8", b"1", b""], False),
    ([b"/usr/lib/xen-4.20/bin/libxl-save-helper", b"--restore-domain", b"7", b"7", b"7", b""], False),
    ([b"vi", b"--save-domain", b"7", b"7", b"7"], False),
    ([b"/usr/lib/xen-4.20/bin/libxl-save-helper", b"--save-domain", b"31", b"7"], False),
    ([b""], False),
])
def test_saver(words, expected):
    assert mover.is_saver(words, 7) is expected


def test_wire_records():
    lines = [
        "ESTAB 0 0 192.0.2.11:50000 192.0.2.12:16514\n", "\t cubic bytes_sent:12 bytes_acked:11 segs_out:4\n",
        "ESTAB 0 0 192.0.2.11:50001 192.0.2.12:22\n", "\t cubic bytes_acked:999\n",
        "UNCONN 0 0 [::ffff:192.0.2.11]:50002 [::ffff:192.0.2.12]:16514 \t cubic bytes_acked:77\n",
        "ESTAB 0 0 192.0.2.11:50003 192.0.2.123:16514\n", "\t bytes_acked:5\n", "",
    ]
    assert list(watch.WireWatch.records(lines, watch.WireWatch.pattern("192.0.2.12", "16514"))) == [11, 77]


def test_checksum():
    assert address._checksum(b"\x45\x00\x00\x73\x00\x00\x40\x00\x40\x11\x00\x00\xc0\xa8\x00\x01\xc0\xa8\x00\xc7") == 0xB861
    # what is carried is carried again
    assert address._checksum(b"\xff\xff\xff\xff\x00\x01") == 0xFFFE


@pytest.mark.parametrize("port, one_of_them", [(49151, False), (49152, True), (49159, True), (49199, True), (49216, True), (49217, False), (4916, False)])
def test_data_ports(port, one_of_them):
    assert bool(watch.WireWatch.pattern("192.0.2.12", watch.DATA_PORTS).search("ESTAB 0 0 192.0.2.11:50000 192.0.2.12:%d" % port)) is one_of_them


# --- whether the guest answers at its address

class Socket:
    """A raw socket on a LAN of which the test decides what comes back: answers(echo request) gives packets, or raises."""

    def __init__(self, answers):
        self.answers, self.waiting, self.sent = answers, [], []

    def __enter__(self):
        return self

    def __exit__(self, *dummy):
        pass

    def sendto(self, packet, where):
        self.sent.append((packet, where))
        self.waiting += self.answers(packet)

    def recvfrom(self, dummy):
        return self.waiting.pop(0)


@pytest.fixture(name="lan")
def fixture_lan(monkeypatch):
    """lan(answers): the socket that is opened then. Time passes while it is waited for answers that do not come."""
    def made(answers):
        found, clock = Socket(answers), [1000.0]

        def wait(asked, dummy, more, seconds):
            clock[0] += 0 if found.waiting else seconds
            return [found] if found.waiting else [], [], []

        monkeypatch.setattr(socket, "socket", lambda *dummy: found)
        monkeypatch.setattr(select, "select", wait)
        monkeypatch.setattr(address, "time", types.SimpleNamespace(monotonic=lambda: clock[0]))
        return found

    return made


def reply(packet, kind=0, mark=0, options=b""):
    """The answer to an echo request, in its IP packet; kind: of ICMP."""
    number = struct.unpack("!H", packet[4:6])[0] ^ mark
    return bytes([0x45 + len(options) // 4]) + bytes(19) + options + struct.pack("!BBHHH", kind, 0, 0, number, 1)


@pytest.mark.parametrize("options", [b"", bytes(8)])
def test_a_guest_that_answers(lan, options):
    found = lan(lambda packet: [(reply(packet, options=options), ("192.0.2.9", 0))])
    assert address.answers("192.0.2.9", 1) and len(found.sent) == 1
    packet, where = found.sent[0]
    # the checksum over a packet with its checksum is 0
    assert where == ("192.0.2.9", 0) and packet[:2] == b"\x08\0" and address._checksum(packet) == 0


@pytest.mark.parametrize("answers", [
    lambda packet: [], lambda packet: [(reply(packet, kind=8), ("192.0.2.9", 0))], lambda packet: [(reply(packet, kind=3), ("192.0.2.9", 0))],
    lambda packet: [(reply(packet, mark=1), ("192.0.2.9", 0))], lambda packet: [(reply(packet)[:26], ("192.0.2.9", 0))],
    # its old host's card, or a neighbour that answers another one's ping
    lambda packet: [(reply(packet), ("192.0.2.8", 0))],
])
def test_what_is_no_answer_of_the_guest(lan, answers):
    found = lan(answers)
    # asked again every half second
    assert not address.answers("192.0.2.9", 1.75) and [packet[6:8] for packet, dummy in found.sent] == [b"\0\1", b"\0\2", b"\0\3", b"\0\4"]


def test_the_mark_of_a_request_has_sixteen_bits(lan, monkeypatch):
    monkeypatch.setattr(os, "getpid", lambda: 0x12345)
    found = lan(lambda packet: [(reply(packet), ("192.0.2.9", 0))])
    assert address.answers("192.0.2.9", 1) and struct.unpack("!BBHHH", found.sent[0][0])[3:] == (0x2345, 1)


def test_a_name_that_leads_nowhere_is_not_asked(lan, monkeypatch):
    monkeypatch.setattr(address, "resolve", lambda name: None)
    found = lan(lambda packet: [(reply(packet), ("192.0.2.9", 0))])
    assert not address.answers("g", 5) and found.sent == []


def test_a_neighbour_that_is_still_looked_for_is_asked_again(lan):
    tries = []

    def answers(packet):
        tries.append(packet)
        if len(tries) < 3:
            raise OSError(113, "No route to host")
        return [(reply(packet), ("192.0.2.9", 0))]

    lan(answers)
    assert address.answers("192.0.2.9", 5) and len(tries) == 3


def test_the_address_of_a_name(monkeypatch):
    def resolve(name, *dummy):
        if name != "g":
            raise socket.gaierror(-2, "Name or service not known")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.9", 0))]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    assert address.resolve("g") == "192.0.2.9" and address.resolve("h") is None


# --- what is measured

def test_an_arrival_is_this_guests_and_is_heard_once_it_goes_on(monkeypatch):
    world = fake_libvirt.World(monkeypatch)
    two = world.host("two")
    ours, other = two.add("g"), two.add("h")
    target = hypervisor.open_local()
    arrival = watch.Arrival(target, ours.UUIDString())
    two.event(other, 4)
    two.event(ours, 5)
    assert arrival.at is None
    two.event(ours, 4)
    heard = arrival.at
    assert heard is not None
    arrival.stop()
    two.event(ours, 4)
    assert arrival.at == heard
    # its connection has gone, and with it who listens
    gone = watch.Arrival(target, ours.UUIDString())
    two.up = False
    gone.stop()


def test_a_standstill_is_seen(monkeypatch):
    answers = iter([False, None, True])
    monkeypatch.setattr(watch.xen, "control", lambda: "binding")
    asked = []
    monkeypatch.setattr(watch.xen, "standing", lambda binding, domid: asked.append((binding, domid)) or next(answers))
    seen = watch.Standstill(7)
    seen.thread.join(10)
    assert seen.at is not None and asked == [("binding", 7)] * 3
    seen.stop()


def test_a_guest_that_never_stood_still(monkeypatch):
    monkeypatch.setattr(watch.xen, "control", lambda: None)
    seen = watch.Standstill(7)
    seen.stop()
    assert seen.at is None and not seen.thread.is_alive()


def test_bytes_on_the_wire(monkeypatch, tmp_path):
    """ss prints the connections now; with -E it stays, and prints each one at its end."""
    (tmp_path / "ss").write_text("""#!/bin/sh
peer=192.0.2.12:16514
case $1 in
    -E) printf 'UNCONN 0 0 192.0.2.11:5 %s\\n\\t bytes_acked:900\\n' $peer; exec sleep 60 ;;
    *) printf 'ESTAB 0 0 192.0.2.11:5 %s\\n\\t bytes_acked:%s\\n' $peer "$(cat "${0%/*}/count")" ;;
esac
""")
    (tmp_path / "ss").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    (tmp_path / "count").write_text("700")
    wire = watch.WireWatch("192.0.2.12", "16514")
    assert wire.now() == 700
    # a new connection begins at 0, and what was sent has been sent
    (tmp_path / "count").write_text("20")
    assert wire.now() == 700
    while wire.closed == 0 and wire.thread.is_alive():
        time.sleep(0.01)
    wire.stop()
    assert wire.total() == 900 and wire.process.poll() is not None and not wire.thread.is_alive()


# --- who ends Xen's saver

def test_only_the_saver_of_that_domain_is_ended(monkeypatch, tmp_path):
    def process(number, *words):
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / "cmdline").write_bytes(b"\0".join(words) + b"\0")

    saver = [b"/usr/lib/xen-4.20/bin/libxl-save-helper", b"--save-domain", b"31", b"-1"]
    process(11, *saver, b"7", b"1")
    process(12, *saver, b"8", b"1")
    process(13, b"vi")
    (tmp_path / "14/cmdline").mkdir(parents=True)
    ended = []
    monkeypatch.setattr(mover, "PROC", str(tmp_path))
    monkeypatch.setattr(os, "kill", lambda *how: ended.append(how))
    mover.end_saver(7)
    assert ended == [(11, signal.SIGTERM)]


def test_a_saver_that_has_just_ended_is_no_fault(monkeypatch, tmp_path):
    def gone(*dummy):
        raise ProcessLookupError

    (tmp_path / "11").mkdir()
    (tmp_path / "11/cmdline").write_bytes(b"/x/libxl-save-helper\0--save-domain\x0031\0-1\x007\x001\0")
    monkeypatch.setattr(mover, "PROC", str(tmp_path))
    monkeypatch.setattr(os, "kill", gone)
    mover.end_saver(7)
