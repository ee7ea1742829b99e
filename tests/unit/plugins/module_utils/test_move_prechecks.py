# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import copy

import pytest

from ansible_collections.our.cloud.plugins.module_utils._move import prechecks

UUID = "e5d11d1f-09f5-460e-b50f-d0851c5d7b14"


def facts(family="qemu", **changes):
    disk = {"path": "/srv/cloud/images/our-vm.img", "readonly": False, "cache": "none" if family == "qemu" else None,
            "driver": "qemu" if family == "qemu" else "phy"}
    result = {
        "name": "our-vm", "target": "two", "mode": "live", "family": family, "target_error": None,
        "options": {"bandwidth": None, "max_downtime": None, "post_copy": False},
        "guest": {"name": "our-vm", "uuid": UUID, "kind": "kvm" if family == "qemu" else "pvh", "arch": "x86_64", "state": "running", "active": True,
                  "persistent": True, "memory": 256, "hostdevs": 0, "snapshots": [], "disks": [disk]},
        "stores": {"/srv/cloud/images/our-vm.img": "/srv/cloud"}, "markers": {"/srv/cloud": "uuid-1\n"},
        "states": [], "room": 10000, "arrivals": [],
        "target_facts": {"family": family, "host": "two", "guests": {}, "memory": {"free": 1000, "total": 2000}, "bridges": {"br0": True},
                         "markers": {"/srv/cloud": "uuid-1\n"}, "machine_problem": None, "cpu_problem": None},
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
    assert prechecks.refusals(facts(family, mode=mode)) == []


REFUSED = [
    ("qemu", {"guest__active": False, "guest__state": "stopped"}, "it is stopped; mode live needs a running guest. Use mode offline"),
    ("qemu", {"guest__persistent": False}, "it has no definition"),
    ("qemu", {"guest__owner": "nova"}, "it belongs to nova, as its metadata says, and nothing here touches it"),
    ("xen", {"guest__kind": "pv"}, "cannot move a PV guest live (it is built without shadow paging). Use mode suspend"),
    ("xen", {"guest__arch": "aarch64"}, "Xen on ARM cannot save"),
    ("xen", {"options__bandwidth": 10, "options__post_copy": True}, "cannot do bandwidth, post_copy"),
    ("qemu", {"mode": "suspend", "options__max_downtime": 10}, "max_downtime: only for mode live"),
    ("xen", {"guest__state": "paused"}, "it is paused, and Xen's toolstack waits for ever"),
    ("xen", {"guest__state": "paused", "mode": "suspend"}, "Let it go on first (virsh resume our-vm)"),
    ("qemu", {"guest__snapshots": ["a", "b"]},
     "it has snapshots (a, b), which libvirt leaves behind. Delete them first (virsh snapshot-delete our-vm SNAPSHOT)"),
    ("qemu", {"states": [{"path": "/srv/cloud/images/our-vm.img.u.t.state", "size": 7, "saved": 86400}]}, "our-vm.img.u.t.state, 1970-01-02 00:00"),
    ("qemu", {"mode": "suspend", "room": 319}, "its state needs 320 MiB in the store, which has 319 MiB free"),
    ("qemu", {"mode": "suspend", "room": None}, "it has no disk on the shared store beside which its state could be saved"),
    ("qemu", {"target_facts__memory__free": 640, "arrivals": [{"name": "b", "awaited": 321}]}, "of which 321 MiB are for guests on their way there (b)"),
    ("qemu", {"target_facts__machine_problem": "two does not have it"}, "two does not have it. Install the QEMU of this host there"),
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
    refused = prechecks.refusals(facts(family, **change))
    assert len(refused) == 1 and words in refused[0]


def test_all_reasons_at_once():
    refused = prechecks.refusals(facts(guest__hostdevs=1, target_facts__bridges={"br0": False}, target_facts__memory__free=0))
    assert len(refused) == 3


@pytest.mark.parametrize("change", [
    {"guest__disks__0__cache": "writeback"}, {"target_facts__cpu_problem": "differs"}, {"guest__active": False, "guest__state": "stopped"},
])
def test_offline_needs_less(change):
    assert prechecks.refusals(facts(mode="offline", **change)) == []


def test_stopped_guest_needs_no_memory():
    assert prechecks.refusals(facts(mode="offline", guest__active=False, target_facts__memory__free=0)) == []


def test_stale_definition_there_does_not_matter():
    assert prechecks.refusals(facts(target_facts__guests={"our-vm": {"active": False, "persistent": True, "uuid": UUID}})) == []


@pytest.mark.parametrize("family, change", [
    ("xen", {"guest__state": "paused", "mode": "offline"}), ("qemu", {"guest__state": "paused"}), ("qemu", {"mode": "suspend", "room": 320}),
    ("qemu", {"mode": "live", "room": None}), ("qemu", {"target_facts__memory__free": 640, "arrivals": [{"name": "b", "awaited": 320}]}),
    ("qemu", {"guest__disks__0__readonly": True, "guest__disks__0__cache": "writeback"}), ("xen", {"guest__disks__0__driver": None}),
    ("xen", {"guest__arch": "aarch64", "mode": "offline"}),
    ("qemu", {"guest__disks__0__path": None, "guest__disks__0__cache": None}),
])
def test_just_so(family, change):
    assert prechecks.refusals(facts(family, **change)) == []


def test_suspend_is_the_way_for_pv():
    assert prechecks.refusals(facts("xen", mode="suspend", guest__kind="pv")) == []
