# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import copy
import types

import pytest

from ansible_collections.our.cloud.plugins.module_utils._move import migration

UUID = "e5d11d1f-09f5-460e-b50f-d0851c5d7b14"


def facts(family="qemu", **changes):
    disk = {"path": "/srv/cloud/images/our-vm.img", "readonly": False, "cache": "none" if family == "qemu" else None,
            "driver": "qemu" if family == "qemu" else "phy"}
    result = {
        "name": "our-vm", "target": "two", "mode": "live", "family": family, "target_error": None,
        "options": {"bandwidth": None, "max_downtime": None, "post_copy": False},
        "guest": {"name": "our-vm", "uuid": UUID, "kind": "kvm" if family == "qemu" else "pvh", "arch": "x86_64", "state": "running", "active": True,
                  "persistent": True, "memory": 256, "hostdevs": 0, "disks": [disk]},
        "stores": {"/srv/cloud/images/our-vm.img": "/srv/cloud"}, "markers": {"/srv/cloud": "uuid-1\n"},
        "target_facts": {"family": family, "host": "two", "guests": {}, "memory": {"free": 1000, "total": 2000}, "bridges": {"br0": True},
                         "markers": {"/srv/cloud": "uuid-1\n"}, "cpu_problem": None},
    }
    result = copy.deepcopy(result)
    for path, value in changes.items():
        place = result
        *way, last = path.split("__")
        for part in way:
            place = place[int(part) if part.isdigit() else part]
        place[last] = value
    return result


@pytest.mark.parametrize("family", ["qemu", "xen"])
@pytest.mark.parametrize("mode", ["live", "suspend", "offline"])
def test_fit(family, mode):
    assert migration.refusals(facts(family, mode=mode)) == []


REFUSED = [
    ("qemu", {"guest__active": False, "guest__state": "stopped"}, "it is stopped; mode live needs a running guest. Use mode offline"),
    ("qemu", {"guest__persistent": False}, "it has no definition"),
    ("xen", {"guest__kind": "pv"}, "cannot move a PV guest live (it is built without shadow paging). Use mode suspend"),
    ("xen", {"guest__arch": "aarch64"}, "Xen on ARM cannot save"),
    ("xen", {"options__bandwidth": 10, "options__post_copy": True}, "cannot do bandwidth, post_copy"),
    ("qemu", {"mode": "suspend", "options__max_downtime": 10}, "max_downtime: only for mode live"),
    ("qemu", {"guest__hostdevs": 1}, "it has 1 devices of this host"),
    ("qemu", {"stores": {"/var/lib/x.img": None}}, "/var/lib/x.img is not on the shared store"),
    ("qemu", {"guest__disks__0__cache": "writeback"}, "has cache mode writeback"),
    ("qemu", {"guest__disks__0__cache": None}, "has cache mode default"),
    ("xen", {"guest__disks__0__driver": "qemu"}, "is served by qemu"),
    ("qemu", {"target_error": "two: nothing listens", "target_facts": None}, "two: nothing listens"),
    ("qemu", {"target_facts__family": "xen"}, "two is a xen hypervisor and the guest is of kind kvm"),
    ("qemu", {"target_facts__guests": {"our-vm": {"active": True, "persistent": True, "uuid": UUID}}}, "runs on two already"),
    ("qemu", {"target_facts__guests": {"our-vm": {"active": False, "persistent": True, "uuid": "other"}}}, "another guest of that name (UUID other)"),
    ("xen", {"target_facts__guests": {"our-vm": {"active": False, "persistent": False, "uuid": UUID}}}, "Restart libvirtd there"),
    ("qemu", {"target_facts__markers": {"/srv/cloud": None}}, "the store /srv/cloud is not mounted on two"),
    ("qemu", {"target_facts__markers": {"/srv/cloud": "uuid-2\n"}}, "is another store (marker uuid-2 there, uuid-1 here)"),
    ("qemu", {"target_facts__bridges": {"br0": False}}, "there is no bridge br0 on two"),
    ("qemu", {"target_facts__memory__free": 319}, "two has 319 MiB free and the guest needs 320 MiB"),
    ("xen", {"target_facts__memory__free": 271}, "two has 271 MiB free and the guest needs 272 MiB"),
    ("qemu", {"target_facts__cpu_problem": "two lacks it"}, "two lacks it. Give the guest a CPU model"),
]


@pytest.mark.parametrize("family, change, words", REFUSED)
def test_each_refusal_alone_and_in_its_own_words(family, change, words):
    refused = migration.refusals(facts(family, **change))
    assert len(refused) == 1 and words in refused[0]


def test_all_reasons_at_once():
    refused = migration.refusals(facts(guest__hostdevs=1, target_facts__bridges={"br0": False}, target_facts__memory__free=0))
    assert len(refused) == 3


@pytest.mark.parametrize("change", [
    {"guest__disks__0__cache": "writeback"}, {"target_facts__cpu_problem": "differs"}, {"guest__active": False, "guest__state": "stopped"},
])
def test_offline_needs_less(change):
    assert migration.refusals(facts(mode="offline", **change)) == []


def test_stopped_guest_needs_no_memory():
    assert migration.refusals(facts(mode="offline", guest__active=False, target_facts__memory__free=0)) == []


def test_stale_definition_there_does_not_matter():
    assert migration.refusals(facts(target_facts__guests={"our-vm": {"active": False, "persistent": True, "uuid": UUID}})) == []


def test_suspend_is_the_way_for_pv():
    assert migration.refusals(facts("xen", mode="suspend", guest__kind="pv")) == []


@pytest.mark.parametrize("stats, expected", [
    ({"data_total": 100, "data_remaining": 40, "data_processed": 70, "memory_bps": 9}, {"percent": 60, "transferred": 70, "remaining": 40, "rate": 9}),
    ({"data_total": 100, "data_remaining": 400}, {"percent": 0, "transferred": 0, "remaining": 400, "rate": 0}),
    ({}, None), ({"data_total": 0}, None),
])
def test_progress(stats, expected):
    assert migration.progress(stats) == expected


@pytest.mark.parametrize("sent, mib, elapsed, percent, rate", [
    (0, 256, 0, 0, 0), (1 << 27, 256, 2, 50, 1 << 26), (1 << 30, 256, 1, 99, 1 << 30), (5, 0, 1, 0, 5),
])
def test_xen_progress(sent, mib, elapsed, percent, rate):
    found = migration.xen_progress(sent, mib, elapsed)
    assert (found["percent"], found["rate"]) == (percent, rate)


def test_job_lock(tmp_path):
    job = migration.Job("our-vm", str(tmp_path))
    assert migration.running_job("our-vm", str(tmp_path)) is None
    assert job.take()
    assert not migration.Job("our-vm", str(tmp_path)).take()
    job.say(target="two", percent=3)
    job.say(percent=5)
    seen = migration.running_job("our-vm", str(tmp_path))
    assert (seen["target"], seen["percent"]) == ("two", 5)
    job.drop()
    assert migration.running_job("our-vm", str(tmp_path)) is None
    assert migration.Job("our-vm", str(tmp_path)).take()


def test_job_of_a_dead_one_does_not_count(tmp_path):
    (tmp_path / "our-vm.json").write_text('{"target": "two"}')
    (tmp_path / "our-vm.lock").write_text("")
    assert migration.running_job("our-vm", str(tmp_path)) is None


def test_job_file_broken(tmp_path):
    job = migration.Job("our-vm", str(tmp_path))
    job.take()
    (tmp_path / "our-vm.json").write_text("{")
    assert migration.running_job("our-vm", str(tmp_path)) is None


@pytest.mark.parametrize("words, expected", [
    ([b"/usr/lib/xen-4.20/bin/libxl-save-helper", b"--save-domain", b"31", b"-1", b"7", b"1", b""], True),
    ([b"/usr/lib/xen-4.20/bin/libxl-save-helper", b"--save-domain", b"7", b"-1", b"8", b"1", b""], False),
    ([b"/usr/lib/xen-4.20/bin/libxl-save-helper", b"--restore-domain", b"7", b"7", b"7", b""], False),
    ([b"vi", b"--save-domain", b"7", b"7", b"7"], False),
    ([b""], False),
])
def test_saver(words, expected):
    assert migration.is_saver(words, 7) is expected


def test_wire_records():
    watch = migration.WireWatch.__new__(migration.WireWatch)
    watch.peer = migration.re.compile(r"\s\[?(?:::ffff:)?%s\]?:%d\b" % (migration.re.escape("192.0.2.12"), 16514))
    lines = [
        "ESTAB 0 0 192.0.2.11:50000 192.0.2.12:16514\n", "\t cubic bytes_sent:12 bytes_acked:11 segs_out:4\n",
        "ESTAB 0 0 192.0.2.11:50001 192.0.2.12:22\n", "\t cubic bytes_acked:999\n",
        "UNCONN 0 0 [::ffff:192.0.2.11]:50002 [::ffff:192.0.2.12]:16514 \t cubic bytes_acked:77\n",
        "ESTAB 0 0 192.0.2.11:50003 192.0.2.123:16514\n", "\t bytes_acked:5\n", "",
    ]
    assert list(watch._records(lines)) == [11, 77]


def test_checksum():
    assert migration._checksum(b"\x45\x00\x00\x73\x00\x00\x40\x00\x40\x11\x00\x00\xc0\xa8\x00\x01\xc0\xa8\x00\xc7") == 0xB861


@pytest.mark.parametrize("port, one_of_them", [(49151, False), (49152, True), (49159, True), (49199, True), (49216, True), (49217, False), (4916, False)])
def test_data_ports(port, one_of_them):
    assert bool(migration.re.fullmatch(migration.DATA_PORTS, str(port))) is one_of_them


@pytest.mark.parametrize("encrypt, expected", [
    (True, {"URI": "tcp://two", "TLS_DESTINATION": "two.qemu.invalid"}),
    (False, {"URI": "tcp://two"}),
])
def test_qemu_is_asked_for_its_own_name(monkeypatch, encrypt, expected):
    """Not the host's, by which libvirtd is known: a QEMU that was broken out of must not pass for one."""
    names = {"URI": "VIR_MIGRATE_PARAM_URI", "TLS_DESTINATION": "VIR_MIGRATE_PARAM_TLS_DESTINATION"}
    monkeypatch.setattr(migration, "libvirt", types.SimpleNamespace(**{name: key for key, name in names.items()}))
    move = types.SimpleNamespace(family="qemu", target_name="two", params={"encrypt": encrypt, "bandwidth": None})
    assert migration.Move.parameters(move) == expected
