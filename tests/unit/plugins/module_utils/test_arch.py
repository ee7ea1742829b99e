# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.our.cloud.plugins.module_utils.arch import ARCHES, arch


@pytest.mark.parametrize("name, kernel, libvirt, emulator", [
    ("amd64", "x86", "x86_64", "qemu-system-x86_64"),
    ("i386", "x86", "i686", "qemu-system-i386"),
    ("armel", "arm", "armv6l", "qemu-system-arm"),
    ("armhf", "arm", "armv7l", "qemu-system-arm"),
    ("arm64", "arm64", "aarch64", "qemu-system-aarch64"),
])
def test_rows(name, kernel, libvirt, emulator):
    row = arch(name)
    assert (row.debian, row.kernel, row.libvirt, row.emulator) == (name, kernel, libvirt, emulator)


def test_every_machine_has_console_and_root():
    for row in ARCHES.values():
        for kind in row.machine:
            hypervisor = "qemu" if kind in ("kvm", "qemu") else "xen"
            assert row.console[hypervisor] and row.root[hypervisor].startswith("/dev/")


@pytest.mark.parametrize("name", ["x86_64", "", None, 64, []])
def test_unknown(name):
    with pytest.raises(ValueError, match="amd64, arm64, armel, armhf, i386"):
        arch(name)
