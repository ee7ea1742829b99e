# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later


from __future__ import annotations


import pytest

from ansible_collections.our.cloud.plugins.module_utils._move import address, job, mover, watch


@pytest.mark.parametrize("stats, expected", [
    ({"data_total": 100, "data_remaining": 40, "data_processed": 70, "memory_bps": 9}, {"percent": 60, "transferred": 70, "remaining": 40, "rate": 9}),
    ({"data_total": 100, "data_remaining": 400}, {"percent": 0, "transferred": 0, "remaining": 400, "rate": 0}),
    ({}, None), ({"data_total": 0}, None),
])
def test_progress(stats, expected):
    assert watch.progress(stats) == expected


@pytest.mark.parametrize("sent, mib, elapsed, percent, rate", [
    (0, 256, 0, 0, 0), (1 << 27, 256, 2, 50, 1 << 26), (1 << 30, 256, 1, 99, 1 << 30), (5, 0, 1, 0, 5),
])
def test_xen_progress(sent, mib, elapsed, percent, rate):
    found = watch.xen_progress(sent, mib, elapsed)
    assert (found["percent"], found["rate"]) == (percent, rate)


def test_job_lock(tmp_path):
    held = job.Job("our-vm", str(tmp_path))
    assert job.running_job("our-vm", str(tmp_path)) is None
    assert held.take()
    assert not job.Job("our-vm", str(tmp_path)).take()
    held.say(target="two", percent=3)
    held.say(percent=5)
    seen = job.running_job("our-vm", str(tmp_path))
    assert (seen["target"], seen["percent"]) == ("two", 5)
    held.drop()
    assert job.running_job("our-vm", str(tmp_path)) is None
    assert job.Job("our-vm", str(tmp_path)).take()


def test_job_of_a_dead_one_does_not_count(tmp_path):
    (tmp_path / "our-vm.json").write_text('{"target": "two"}')
    (tmp_path / "our-vm.lock").write_text("")
    assert job.running_job("our-vm", str(tmp_path)) is None


def test_job_file_broken(tmp_path):
    held = job.Job("our-vm", str(tmp_path))
    held.take()
    (tmp_path / "our-vm.json").write_text("{")
    assert job.running_job("our-vm", str(tmp_path)) == {"name": "our-vm", "target": "another host", "phase": "checking", "percent": 0}


@pytest.mark.parametrize("words, expected", [
    ([b"/usr/lib/xen-4.20/bin/libxl-save-helper", b"--save-domain", b"31", b"-1", b"7", b"1", b""], True),
    ([b"/usr/lib/xen-4.20/bin/libxl-save-helper", b"--save-domain", b"7", b"-1", b"8", b"1", b""], False),
    ([b"/usr/lib/xen-4.20/bin/libxl-save-helper", b"--restore-domain", b"7", b"7", b"7", b""], False),
    ([b"vi", b"--save-domain", b"7", b"7", b"7"], False),
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


@pytest.mark.parametrize("port, one_of_them", [(49151, False), (49152, True), (49159, True), (49199, True), (49216, True), (49217, False), (4916, False)])
def test_data_ports(port, one_of_them):
    assert bool(watch.WireWatch.pattern("192.0.2.12", watch.DATA_PORTS).search("ESTAB 0 0 192.0.2.11:50000 192.0.2.12:%d" % port)) is one_of_them
