# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import dataclasses

import pytest

from ansible_collections.our.cloud.plugins.module_utils._guest.domain_facts import Disk
from ansible_collections.our.cloud.plugins.module_utils._guest.told import Copy, Memory
from ansible_collections.our.cloud.plugins.module_utils._move import prechecks
from ansible_collections.our.cloud.plugins.module_utils._move.facts import Awaited, Facts, Other, SavedState, Stored, Target
from ansible_collections.our.cloud.plugins.module_utils._move.options import Options

UUID = "e5d11d1f-09f5-460e-b50f-d0851c5d7b14"


def changed(shape, way, value):
    """The shape with another value at the end of the way, by names of fields and numbers."""
    if not way:
        return value
    if isinstance(shape, tuple):
        return tuple(changed(held, way[1:], value) if number == int(way[0]) else held for number, held in enumerate(shape))
    return dataclasses.replace(shape, **{way[0]: changed(getattr(shape, way[0]), way[1:], value)})


def facts(family="qemu", **changes):
    disk = Disk("/srv/cloud/images/our-vm.img", cache="none" if family == "qemu" else None, driver="qemu" if family == "qemu" else "phy")
    result = Facts(
        Options("our-vm", "two"), family,
        Copy("our-vm", UUID, kind="kvm" if family == "qemu" else "pvh", arch="x86_64", state="running", active=True, memory=256, disks=(disk,)),
        (), Stored({"/srv/cloud/images/our-vm.img": "/srv/cloud"}, {"/srv/cloud": "uuid-1\n"}, (), 10000),
        Target(family, "two", {}, Memory(1000, 2000), {"br0": True}, {"/srv/cloud": "uuid-1\n"}))
    for path, value in changes.items():
        result = changed(result, path.split("__"), value)
    return result


@pytest.mark.parametrize("family", ["qemu", "xen"])
@pytest.mark.parametrize("mode", ["live", "suspend", "offline"])
def test_fit(family, mode):
    assert prechecks.refusals(facts(family, options__mode=mode)) == []


REFUSED = [
    ("qemu", {"guest__active": False, "guest__state": "stopped"}, "it is stopped; mode live needs a running guest. Use mode offline"),
    ("qemu", {"guest__persistent": False}, "it has no definition"),
    ("qemu", {"guest__owner": "nova"}, "it belongs to nova, as its metadata says, and nothing here touches it"),
    ("xen", {"guest__kind": "pv"}, "cannot move a PV guest live (it is built without shadow paging). Use mode suspend"),
    ("xen", {"guest__arch": "aarch64"}, "Xen on ARM cannot save"),
    ("xen", {"options__bandwidth": 10, "options__post_copy": True}, "cannot do bandwidth, post_copy"),
    ("qemu", {"options__mode": "suspend", "options__max_downtime": 10}, "max_downtime: only for mode live"),
    ("xen", {"guest__state": "paused"}, "it is paused, and Xen's toolstack waits for ever"),
    ("xen", {"guest__state": "paused", "options__mode": "suspend"}, "Let it go on first (virsh resume our-vm)"),
    ("qemu", {"snapshots": ("a", "b")},
     "it has snapshots (a, b), which libvirt leaves behind. Delete them first (virsh snapshot-delete our-vm SNAPSHOT)"),
    ("qemu", {"stored__states": (SavedState("/srv/cloud/images/our-vm.img.u.t.state", 7, 86400),)}, "our-vm.img.u.t.state, 1970-01-02 00:00"),
    ("qemu", {"options__mode": "suspend", "stored__room": 319}, "its state needs 320 MiB in the store, which has 319 MiB free"),
    ("qemu", {"options__mode": "suspend", "stored__room": None}, "it has no disk on the shared store beside which its state could be saved"),
    ("qemu", {"target__memory__free": 640, "arrivals": (Awaited("b", 321),)}, "of which 321 MiB are for guests on their way there (b)"),
    ("qemu", {"target__machine_problem": "two does not have it"}, "two does not have it. Install the QEMU of this host there"),
    ("qemu", {"guest__hostdevs": 1}, "it has 1 devices of this host"),
    ("qemu", {"stored__stores": {"/var/lib/x.img": None}}, "/var/lib/x.img is not on the shared store"),
    ("qemu", {"guest__disks__0__cache": "writeback"}, "has cache mode writeback"),
    ("qemu", {"guest__disks__0__cache": None}, "has cache mode default"),
    ("xen", {"guest__disks__0__driver": "qemu"}, "is served by qemu"),
    ("qemu", {"target_error": "two: nothing listens", "target": None}, "two: nothing listens"),
    ("qemu", {"target__family": "xen"}, "two is a xen hypervisor and the guest is of kind kvm"),
    ("qemu", {"target__guests": {"our-vm": Other(True, True, UUID)}}, "runs on two already"),
    ("qemu", {"target__guests": {"our-vm": Other(False, True, "other")}}, "another guest of that name (UUID other)"),
    ("xen", {"target__guests": {"our-vm": Other(False, False, UUID)}}, "Restart libvirtd there"),
    ("qemu", {"target__markers": {"/srv/cloud": None}}, "the store /srv/cloud is not mounted on two"),
    ("qemu", {"target__markers": {"/srv/cloud": "uuid-2\n"}}, "is another store (marker uuid-2 there, uuid-1 here)"),
    ("qemu", {"target__bridges": {"br0": False}}, "there is no bridge br0 on two"),
    ("qemu", {"target__memory__free": 319}, "two has 319 MiB free and the guest needs 320 MiB"),
    ("xen", {"target__memory__free": 271}, "two has 271 MiB free and the guest needs 272 MiB"),
    ("qemu", {"target__cpu_problem": "two lacks it"}, "two lacks it. Give the guest a CPU model"),
]


@pytest.mark.parametrize("family, change, words", REFUSED)
def test_each_refusal_alone_and_in_its_own_words(family, change, words):
    refused = prechecks.refusals(facts(family, **change))
    assert len(refused) == 1 and words in refused[0]


def test_all_reasons_at_once():
    refused = prechecks.refusals(facts(guest__hostdevs=1, target__bridges={"br0": False}, target__memory__free=0))
    assert len(refused) == 3


@pytest.mark.parametrize("change", [
    {"guest__disks__0__cache": "writeback"}, {"target__cpu_problem": "differs"}, {"guest__active": False, "guest__state": "stopped"},
])
def test_offline_needs_less(change):
    assert prechecks.refusals(facts(options__mode="offline", **change)) == []


def test_stopped_guest_needs_no_memory():
    assert prechecks.refusals(facts(options__mode="offline", guest__active=False, target__memory__free=0)) == []


def test_stale_definition_there_does_not_matter():
    assert prechecks.refusals(facts(target__guests={"our-vm": Other(False, True, UUID)})) == []


@pytest.mark.parametrize("family, change", [
    ("xen", {"guest__state": "paused", "options__mode": "offline"}), ("qemu", {"guest__state": "paused"}),
    ("qemu", {"options__mode": "suspend", "stored__room": 320}),
    ("qemu", {"options__mode": "live", "stored__room": None}), ("qemu", {"target__memory__free": 640, "arrivals": (Awaited("b", 320),)}),
    ("qemu", {"guest__disks__0__readonly": True, "guest__disks__0__cache": "writeback"}), ("xen", {"guest__disks__0__driver": None}),
    ("xen", {"guest__arch": "aarch64", "options__mode": "offline"}),
    ("qemu", {"guest__disks__0__path": None, "guest__disks__0__cache": None}),
])
def test_just_so(family, change):
    assert prechecks.refusals(facts(family, **change)) == []


def test_suspend_is_the_way_for_pv():
    assert prechecks.refusals(facts("xen", options__mode="suspend", guest__kind="pv")) == []
