# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pathlib
import re

import pytest
import yaml

from ansible_collections.our.cloud.plugins.module_utils._guest.arch import ARCHES, HOSTS, arch, emulator_packages
from ansible_collections.our.cloud.plugins.modules import vm

CHECKOUT = pathlib.Path(__file__).resolve().parents[4]


@pytest.mark.parametrize("name, kernel, libvirt, emulator, package, cpu, console, hosts", [
    ("amd64", "x86_64", "x86_64", "qemu-system-x86_64", "qemu-system-x86", {}, "ttyS0", ("amd64",)),
    ("i386", "i386", "i686", "qemu-system-i386", "qemu-system-x86", {}, "ttyS0", ("amd64", "i386")),
    ("armel", "arm", "armv7l", "qemu-system-arm", "qemu-system-arm", {"kvm": "host-passthrough", "qemu": "cortex-a15"}, "ttyAMA0", ("arm64",)),
    ("armhf", "arm", "armv7l", "qemu-system-arm", "qemu-system-arm", {"kvm": "host-passthrough", "qemu": "cortex-a15"}, "ttyAMA0", ("arm64",)),
    ("arm64", "arm64", "aarch64", "qemu-system-aarch64", "qemu-system-arm", {"kvm": "host-passthrough", "qemu": "cortex-a53"}, "ttyAMA0", ("arm64",)),
])
def test_rows(name, kernel, libvirt, emulator, package, cpu, console, hosts):
    row = arch(name)
    assert (row.debian, row.kernel, row.libvirt, row.emulator, row.package, row.cpu, row.console["qemu"], row.accelerated_by) == (
        name, kernel, libvirt, emulator, package, cpu, console, hosts)


@pytest.mark.parametrize("row", ARCHES.values(), ids=lambda row: row.debian)
def test_rows_are_whole(row):
    for kind in row.machine:
        hypervisor = "qemu" if kind in ("kvm", "qemu") else "xen"
        assert row.console[hypervisor] and row.root[hypervisor].startswith("/dev/") and row.drivers[hypervisor]
    assert set(row.cpu) <= set(row.machine) and set(row.accelerated_by) <= set(HOSTS.values())
    assert row.virtio in ("pci", "mmio") and "VIRTIO_" + row.virtio.upper() in row.drivers["qemu"]


def test_what_libvirt_calls_a_host():
    assert HOSTS == {"x86_64": "amd64", "i686": "i386", "armv6l": "armel", "armv7l": "armhf", "aarch64": "arm64"}


@pytest.mark.parametrize("name", ["x86_64", "", None, 64, []])
def test_unknown(name):
    with pytest.raises(ValueError, match="amd64, arm64, armel, armhf, i386"):
        arch(name)


def test_emulator_packages():
    assert emulator_packages([]) == []
    assert emulator_packages([{"kind": "pvh"}, {"kind": "pv", "arch": "i386"}]) == []
    assert emulator_packages([{"kind": "kvm"}, {"kind": "qemu", "arch": "armhf"}, {"kind": "qemu", "arch": "arm64"}]) == ["qemu-system-arm", "qemu-system-x86"]
    assert emulator_packages([{"kind": "qemu", "arch": "armhf", "state": "absent"}, {"kind": "qemu", "state": "stopped"}]) == ["qemu-system-x86"]
    images = [{"name": "debian-arm", "arch": "arm64"}, {"name": "debian"}]
    assert emulator_packages([{"kind": "qemu", "image": "debian-arm"}], images) == ["qemu-system-arm"]
    assert emulator_packages([{"kind": "qemu", "image": "debian"}, {"kind": "kvm", "image": "emi-0f3a5c771e20"}], images) == ["qemu-system-x86"]
    assert emulator_packages([{"kind": "qemu", "image": "debian-arm", "arch": "amd64"}], images) == ["qemu-system-x86"]
    with pytest.raises(ValueError, match="architecture 'sparc'"):
        emulator_packages([{"kind": "qemu", "arch": "sparc"}])


def test_choices():
    """Where people read which architectures there are."""
    options = yaml.safe_load(vm.DOCUMENTATION)["options"]
    assert options["arch"]["choices"] == list(ARCHES)
    role = yaml.safe_load((CHECKOUT / "roles/guests/meta/argument_specs.yml").read_text(encoding="utf-8"))["argument_specs"]["main"]["options"]
    assert role["guests_declared"]["options"]["arch"]["choices"] == list(ARCHES)
    assert role["guests_images"]["options"]["arch"]["choices"] == list(ARCHES)
    assert " Debian's name: %s\n" % ", ".join(ARCHES) in (CHECKOUT / "inventories/example/group_vars/all.yml").read_text(encoding="utf-8")


def test_the_table_in_the_guide():
    guide = (CHECKOUT / "docs/guests.md").read_text(encoding="utf-8")
    for row in ARCHES.values():
        said = re.search(r"^\| `%s` \| (.*) \|$" % row.debian, guide, re.MULTILINE).group(1).split(" | ")
        assert said == [row.kernel, row.libvirt, row.emulator, "%s, %s" % (row.machine["qemu"], row.cpu.get("qemu", "libvirt's own")),
                        row.console["qemu"], "virtio-" + row.virtio, "yes" if "pvh" in row.machine else "no", ", ".join(row.accelerated_by)]
