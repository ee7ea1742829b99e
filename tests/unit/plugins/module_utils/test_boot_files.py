# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import struct

import pytest

from ansible_collections.our.cloud.plugins.module_utils import boot_files

DEBIAN = "6.12.48+deb13-amd64 (debian-kernel@lists.debian.org) #1 SMP"


def bzimage(version=DEBIAN):
    head = bytearray(0x1000)
    head[0x1FE:0x200] = b"\x55\xaa"
    head[0x202:0x206] = b"HdrS"
    if version:
        struct.pack_into("<H", head, 0x20E, 0x600)
        head[0x800:0x800 + len(version)] = version.encode()
    return bytes(head)


@pytest.fixture(name="put")
def fixture_put(tmp_path):
    def put(name, content):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(path)
    return put


@pytest.mark.parametrize("content, kind", [
    (bzimage(), "x86"),
    (b"\0" * 36 + b"\x18\x28\x6f\x01" + b"\0" * 100, "arm"),
    (b"\0" * 56 + b"ARM\x64" + b"\0" * 100, "arm64"),
    (b"\x7fELF" + b"\0" * 14 + struct.pack("<H", 62) + b"\0" * 20, "x86"),
    (b"\x7fELF" + b"\0" * 14 + struct.pack("<H", 183) + b"\0" * 20, "arm64"),
])
def test_kernels(put, content, kind):
    assert boot_files.kernel(put("vmlinuz", content)).kind == kind


def test_version(put):
    assert boot_files.kernel(put("vmlinuz", bzimage())).version == DEBIAN
    assert boot_files.kernel(put("vmlinuz", bzimage(""))).version == ""


@pytest.mark.parametrize("content, reason", [
    (b"", "is empty"),
    (b"#!/bin/sh\n", "is not a kernel"),
    (b"\x55\xaaHdrS", "is not a kernel"),
    (b"\x7fELF", "is not a kernel"),
])
def test_no_kernel(put, content, reason):
    with pytest.raises(boot_files.BootFileError, match=reason):
        boot_files.kernel(put("vmlinuz", content))


def test_missing(tmp_path):
    with pytest.raises(boot_files.BootFileError, match="kernel .*none cannot be read: No such file"):
        boot_files.kernel(str(tmp_path / "none"))
    with pytest.raises(boot_files.BootFileError, match="cannot be read: Is a directory"):
        boot_files.ramdisk(str(tmp_path))


@pytest.mark.parametrize("content, kind", [
    (b"070701", "cpio"), (b"\x1f\x8b\x08", "gzip"), (b"\x28\xb5\x2f\xfd", "zstd"), (b"\xfd7zXZ\x00", "xz"), (b"\x02\x21\x4c\x18", "lz4"),
])
def test_ramdisks(put, content, kind):
    assert boot_files.ramdisk(put("initrd", content)).kind == kind


@pytest.mark.parametrize("content, reason", [(b"", "is not a ramdisk"), (b"hello", "is not a ramdisk"), (b"\x27\x05\x19\x56", "U-Boot")])
def test_no_ramdisk(put, content, reason):
    with pytest.raises(boot_files.BootFileError, match=reason):
        boot_files.ramdisk(put("initrd", content))


def test_stock_kernel_needs_ramdisk(put):
    path = put("vmlinuz", bzimage())
    with pytest.raises(boot_files.BootFileError, match="needs a ramdisk and the guest has none: it is a Debian stock kernel"):
        boot_files.check(path, None, "x86", "xen")
    boot_files.check(path, put("initrd", b"070701"), "x86", "xen")


@pytest.mark.parametrize("hypervisor, driver", [("xen", "XEN_BLKDEV_FRONTEND"), ("qemu", "VIRTIO_BLK")])
def test_configuration_decides(put, hypervisor, driver):
    path = put("vmlinuz-6.1-own", bzimage("6.1-own (me)"))
    put("config-6.1-own", "CONFIG_%s=m\nCONFIG_EXT4_FS=y\n" % driver)
    with pytest.raises(boot_files.BootFileError, match="config-6.1-own beside it says that CONFIG_%s is not built in" % driver):
        boot_files.check(path, "", "x86", hypervisor)
    put("config-6.1-own", "CONFIG_%s=y\nCONFIG_EXT4_FS=y\n" % driver)
    boot_files.check(path, "", "x86", hypervisor)


def test_unknown_kernel_is_not_refused(put):
    boot_files.check(put("vmlinuz", bzimage("6.1.0-own (me@here)")), None, "x86", "qemu")


def test_wrong_architecture(put):
    with pytest.raises(boot_files.BootFileError, match="is for x86, the guest needs one for arm64"):
        boot_files.check(put("vmlinuz", bzimage()), None, "arm64", "qemu")
