# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an inventory says of guests: defaults, and every fault in a line of its own."""

from __future__ import annotations

import pytest

from ansible_collections.our.cloud.plugins.module_utils._guest import guests

GROUPS = {"hypervisors": ["x1", "x2", "k1"], "xen": ["x1", "x2"], "kvm": ["k1"], "all": ["front", "x1", "x2", "k1"]}


def pvh(name="web", **more):
    return {"name": name, "host": "x1", "kind": "pvh", "memory": 256, "image": "debian", **more}


def kvm(name="db", **more):
    return {"name": name, "host": "k1", "kind": "kvm", "memory": 256, "image": "debian", **more}


def read(*entries):
    return guests.read(list(entries), GROUPS, "/srv/cloud", "br0")


def test_the_least_and_its_defaults():
    found = read(pvh())
    assert found.faults == []
    guest = found.guests[0]
    assert (guest.state, guest.vcpus, guest.bridge, guest.arch, guest.family) == ("running", 1, "br0", None, "xen")
    assert guest.mac.startswith("00:16:3e:")
    assert "disk" not in guest.told() and "autostart" not in guest.told()


def test_hypervisors():
    assert guests.hypervisors(GROUPS) == {"x1": "xen", "x2": "xen", "k1": "qemu"}
    assert guests.hypervisors({**GROUPS, "hypervisors": ["x2"]}) == {"x2": "xen"}
    assert guests.hypervisors({"kvm": ["k1"]}) == {"k1": "qemu"} and guests.hypervisors({}) == {}


def test_cpus_are_promised_twice():
    """Guests share those of their node, which are not known here: any number may be right."""
    assert read(pvh(vcpus=300)).faults == [] and read(pvh(vcpus=300)).guests[0].vcpus == 300


def test_values_are_normalised():
    guest = read(kvm(mac="52-54-00-AA-bb-01", memory="512", disk="images/../images//db.qcow2", autostart=False, address="192.0.2.7")).guests[0]
    assert (guest.mac, guest.memory, guest.disk, guest.address) == ("52:54:00:aa:bb:01", 512, "/srv/cloud/images/db.qcow2", "192.0.2.7")
    assert guest.told()["autostart"] is False


@pytest.mark.parametrize("entry, line", [
    (pvh(memory="1G"), "guest web: memory: '1G' is no number of MiB, which is a whole number of at least 16"),
    (pvh(memory=True), "guest web: memory: True is no number of MiB, which is a whole number of at least 16"),
    (pvh(memory=8), "guest web: memory: 8 is no number of MiB, which is a whole number of at least 16"),
    (pvh(vcpus=0), "guest web: vcpus: 0 is no number of CPUs, which is a whole number of at least 1"),
    (pvh(arch="sparc"), "guest web: arch: 'sparc' is none of amd64, i386, armel, armhf, arm64"),
    (pvh(kind="lxc"), "guest web: kind: 'lxc' is none of pvh, pv, hvm, kvm, qemu"),
    (pvh(state="paused"), "guest web: state: 'paused' is none of running, stopped, absent"),
    (pvh(host="front"), "guest web: host: 'front' is no hypervisor of the inventory; there are k1, x1, x2"),
    (pvh(host="k1"), "guest web: kind: its host k1 cannot run pvh; it runs kvm, qemu"),
    (kvm(host="x1"), "guest db: kind: its host x1 cannot run kvm; it runs pvh, pv, hvm"),
    (pvh(arch="armhf"), "guest web: arch: kind pvh does not exist for armhf; kinds that do: kvm, qemu"),
    (pvh(disk="images/web.qcow2"), "guest web: disk: /srv/cloud/images/web.qcow2 is a qcow2 one, and Xen takes raw ones"),
    (pvh(disk=""), "guest web: disk: '' is no text of one line"),
    (pvh(mac=52540012), "guest web: mac: was read by YAML as the number 52540012: put the MAC address in quotes"),
    (pvh(address="192.0.2.256"), "guest web: address: '192.0.2.256' is no IPv4 address"),
    (pvh(autostart="perhaps"), "guest web: autostart: 'perhaps' is neither true nor false"),
    (kvm(image=None), "guest db: image: it is missing, and nothing else says what the guest boots; give an image, or a kernel"),
    (pvh(kind="pv", image=None, disk="web.img"), "guest web: image: it is missing, and nothing else says what the guest boots; give an image, or a kernel"),
    (kvm(arch="arm64", image=None, disk="a.img"), "guest db: image: it is missing, and nothing else says what the guest boots; give an image, or a kernel"),
    (pvh(image=None), "guest web: image: it is missing, and nothing else says what the guest boots; give an image, or a kernel"),
    ({"name": "web", "host": "x1", "kind": "pvh"}, "guest web: memory: it is missing; needed: name, host, kind, memory"),
    ({"host": "x1"}, "entry 1 of guests: name: None is no name, which is letters, digits, dot, dash and underscore (63 at most)"),
    (pvh("web\n"), "entry 1 of guests: name: 'web\\n' is no name, which is letters, digits, dot, dash and underscore (63 at most)"),
    ("web", "entry 1 of guests: name: None is no name, which is letters, digits, dot, dash and underscore (63 at most)"),
])
def test_a_fault_names_guest_key_and_what_is_allowed(entry, line):
    found = read(entry)
    assert (found.faults, found.guests) == ([line], [])


@pytest.mark.parametrize("key", ["bridge", "cpu", "image", "kernel", "ramdisk", "cmdline", "disk"])
def test_a_text_is_one_line(key):
    assert read(kvm(**{key: "a"})).faults == []
    for value in ("a\nb", 5, ""):
        assert read(kvm(**{key: value})).faults == [f"guest db: {key}: {value!r} is no text of one line"]


@pytest.mark.parametrize("entry", [kvm(image=None, disk="a.img"), kvm(image=None, kernel="k"), pvh(image=None, kernel="k"), pvh(image=None, state="absent")])
def test_what_boots_without_an_image(entry):
    assert read(entry).faults == []


def test_an_unknown_key():
    assert read(pvh(memroy=3)).faults[0].startswith("guest web: memroy: there is no such key; allowed: name, host, kind, memory,")


def test_all_faults_at_once_and_the_others_are_read():
    found = read(pvh(memory="1G", arch="sparc"), kvm(host="x9"), pvh("good"))
    assert len(found.faults) == 3 and [guest.name for guest in found.guests] == ["good"]


def test_no_list():
    assert guests.read({"web": {}}, GROUPS).faults == ["guests: {'web': {}} is no list of guests"]


SAME_DISK = "guests web and b have the same disk /srv/cloud/images/a.img; change it for one of them"


@pytest.mark.parametrize("one, other, line", [
    (pvh(disk="images/a.img"), pvh("b", disk="/srv/cloud//images/./a.img"), SAME_DISK),
    # the one that an image gives
    (pvh(), pvh("b", disk="images/web.img"), "guests web and b have the same disk /srv/cloud/images/web.img; change it for one of them"),
    (kvm(), kvm("b", disk="images/db.qcow2"), "guests db and b have the same disk /srv/cloud/images/db.qcow2; change it for one of them"),
    (pvh("b", disk="images/db.img"), kvm(), "guests b and db have the same disk /srv/cloud/images/db.img; change it for one of them"),
    (pvh(disk="images/a.img"), pvh("b", disk="images/a.img", state="stopped"), SAME_DISK),
    (pvh(mac="52:54:00:00:00:01"), kvm(mac="52-54-00-00-00-01"), "guests web and db have the same MAC address 52:54:00:00:00:01; change it for one of them"),
    (pvh(address="192.0.2.7"), kvm(address="192.0.2.7"), "guests web and db have the same address 192.0.2.7; change it for one of them"),
    (pvh(), pvh(host="x2"), "guest web: name: it is there twice; rename one of them"),
    (pvh(), pvh("WEB"), "guests web and WEB have the same name web in the DNS; rename one of them"),
])
def test_two_guests_cannot_have_the_same(one, other, line):
    assert read(one, other).faults == [line]


def test_one_that_is_absent_has_nothing():
    assert read(pvh(disk="images/a.img", state="absent"), pvh("b", disk="images/a.img")).faults == []


def test_the_disk_of_an_image_is_raw_on_xen_alone():
    assert read(pvh(), kvm("b", disk="images/web.qcow2")).faults == []
    assert len(read(kvm("web"), kvm("b", disk="images/web.qcow2")).faults) == 1


def test_two_default_disks_are_two():
    assert read(pvh("a"), pvh("b"), kvm("c"), kvm("d")).faults == []


def test_without_a_store_paths_are_compared_as_they_are():
    assert len(guests.read([pvh(disk="images/a.img"), pvh("b", disk="images//a.img")], GROUPS).faults) == 1
