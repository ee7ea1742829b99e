# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host can run, by what its libvirt tells."""

from __future__ import annotations

import pytest
from domain_samples import AMD64, ARM64, GUEST, capabilities, complete

from ansible_collections.our.cloud.plugins.module_utils._guest import description, domain


def test_host():
    assert (AMD64.arch, ARM64.arch) == ("amd64", "arm64")
    assert ARM64.emulators["armv7l"] == description.Emulator("/usr/bin/qemu-system-aarch64", frozenset({"qemu", "kvm"}))
    for little in ("<capabilities><guest><os_type>exe</os_type></guest><guest><os_type>hvm</os_type></guest></capabilities>", capabilities("riscv64")):
        assert description.host(little) == description.Host(None, {})


EMULATING = description.host(capabilities("x86_64", ("x86_64", "qemu-system-x86_64", ["qemu"])))


@pytest.mark.parametrize("where, change, words", [
    (AMD64, {"kind": "kvm", "arch": "armhf"},
     "guest our-vm: KVM runs armhf guests on arm64 hosts, and this one is amd64. Give it kind: qemu (emulated, slow), or another host"),
    (ARM64, {"kind": "kvm", "arch": "i386"}, "guest our-vm: KVM runs i386 guests on amd64 and i386 hosts, and this one is arm64. Give"),
    (EMULATING, {"kind": "qemu", "arch": "arm64"},
     "guest our-vm: this host has no emulator for arm64 (qemu-system-aarch64). "
     "Give the guest arch: arm64 in the inventory and run the hypervisors playbook, or install qemu-system-arm"),
    (EMULATING, {"kind": "kvm"}, "guest our-vm: kind kvm needs hardware virtualization, and libvirt has none for amd64 here. Give it kind: qemu"),
])
def test_what_a_host_cannot_run(where, change, words):
    with pytest.raises(description.GuestError) as error:
        complete({**GUEST, **change}, where)
    assert words in str(error.value)
    complete({**GUEST, **change})


def test_a_host_of_no_known_architecture_is_asked_for_its_emulators():
    where = description.host(capabilities("armv8l", ("armv7l", "qemu-system-arm", ["kvm"])))
    assert complete({**GUEST, "kind": "kvm", "arch": "armhf"}, where).emulator == "/usr/bin/qemu-system-arm"


def test_a_cpu_that_is_asked_for():
    full = complete({**GUEST, "kind": "qemu", "arch": "armhf", "cpu": "cortex-a7"}, AMD64)
    assert domain.overlay(full).findtext("cpu/model") == "cortex-a7"
