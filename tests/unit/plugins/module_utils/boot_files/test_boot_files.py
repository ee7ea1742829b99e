# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kernels, ramdisks and disks together, and the bounds within which all of them are read."""

from __future__ import annotations

import os

import boot_samples as sample
import pytest
from boot_checks import refused

from ansible_collections.our.cloud.plugins.module_utils._boot import boot_files, identify, kernel_config
from ansible_collections.our.cloud.plugins.module_utils._boot.disk_images import Disk
from ansible_collections.our.cloud.plugins.module_utils._boot.kinds import Kernel, Other, Ramdisk
from ansible_collections.our.cloud.plugins.module_utils._boot.sources import BootFileError
from ansible_collections.our.cloud.plugins.module_utils._guest.arch import arch


def test_stock_kernel_needs_ramdisk(put):
    path = put(sample.bzimage())
    assert refused(boot_files.check, path, None, arch("amd64"), "xen") == (
        "kernel file needs a ramdisk and the guest has none: it is a Debian stock kernel (6.12.48+deb13-amd64), which has "
        "CONFIG_XEN_BLKDEV_FRONTEND as modules. Give the guest the ramdisk (initrd) made for this kernel")
    assert boot_files.check(path, put(sample.cpio(), "initrd"), arch("amd64"), "xen").format == "bzImage"
    path = put(sample.zimage(sample.inside("6.12.48+deb13-armmp (debian-kernel@lists.debian.org) # SMP")))
    assert "CONFIG_VIRTIO_BLK and CONFIG_VIRTIO_MMIO as modules" in refused(boot_files.check, path, None, arch("armhf"), "qemu")


@pytest.mark.parametrize("name, hypervisor, file_system, drivers", [
    ("amd64", "xen", "ext4", ("XEN_BLKDEV_FRONTEND", "EXT4_FS")),
    ("amd64", "qemu", "ext4", ("VIRTIO_BLK", "VIRTIO_PCI", "EXT4_FS")),
    ("amd64", "qemu", "xfs", ("VIRTIO_BLK", "VIRTIO_PCI", "XFS_FS")),
    ("amd64", "qemu", "gpt", ("VIRTIO_BLK", "VIRTIO_PCI")),
    ("armhf", "qemu", "ext3", ("VIRTIO_BLK", "VIRTIO_MMIO", "EXT4_FS")),
    ("arm64", "qemu", None, ("VIRTIO_BLK", "VIRTIO_PCI")),
])
def test_configuration_decides(put, name, hypervisor, file_system, drivers):
    content = {"amd64": sample.bzimage("6.1-own (me)"), "armhf": sample.zimage(), "arm64": sample.image()}[name]
    path = put(content, "vmlinuz-6.1-own")
    for missing in drivers:
        put("CONFIG_ARCH_VIRT=y\n" + "".join("CONFIG_%s=%s\n" % (driver, "m" if driver == missing else "y") for driver in drivers), "config-6.1-own")
        assert "config-6.1-own beside it says that CONFIG_%s is not built in. Give" % missing in refused(
            boot_files.check, path, "", arch(name), hypervisor, file_system)
    put("CONFIG_ARCH_VIRT=y\n" + "".join("CONFIG_%s=y\n" % driver for driver in drivers), "config-6.1-own")
    boot_files.check(path, "", arch(name), hypervisor, file_system)


def test_unknown_kernel_is_not_refused(put):
    boot_files.check(put(sample.bzimage("6.1.0-own (me@here)", content=b"")), None, arch("amd64"), "qemu")


def test_a_kernel_for_boards(put):
    path = put(sample.zimage(), "vmlinuz-6.12.48+deb13-rpi")
    put("CONFIG_ARCH_BCM=y\n", "config-6.12.48+deb13-rpi")
    assert refused(boot_files.check, path, put(sample.cpio(), "initrd"), arch("armel"), "qemu") == (
        "kernel vmlinuz-6.12.48+deb13-rpi is for other machines than a guest of arch armel: config-6.12.48+deb13-rpi beside it says that "
        "CONFIG_ARCH_VIRT is not built in. Give the guest a kernel for virtual machines")


def test_wrong_files_together(put):
    kernel, ramdisk = put(sample.bzimage(), "vmlinuz"), put(sample.compress("zstd", sample.cpio()), "initrd")
    assert "is for x86_64 and the guest needs one for arm64" in refused(boot_files.check, kernel, ramdisk, arch("arm64"), "qemu")
    assert "kernel initrd is a ramdisk (cpio, zstd), and a kernel is needed" in refused(boot_files.check, ramdisk, kernel, arch("amd64"), "qemu")
    assert "ramdisk vmlinuz is a kernel" in refused(boot_files.check, kernel, kernel, arch("amd64"), "qemu")


# --- bounds

def test_a_large_file_is_not_read(put, monkeypatch):
    count, pread = [0], os.pread

    def counted(fd, size, offset):
        data = pread(fd, size, offset)
        count[0] += len(data)
        return data

    monkeypatch.setattr(os, "pread", counted)
    for content in (sample.bzimage(), sample.zimage(), sample.image(), sample.compress("zstd", sample.image()),
                    sample.EARLY + sample.compress("xz", sample.cpio()),
                    sample.ext4(), sample.xfs(), sample.iso(), sample.qcow2(), bytes(sample.mbr()), sample.gpt(), b"\0", b"\1\2\3", b"<html>"):
        path, count[0] = put(content), 0
        os.truncate(path, 1 << 36)
        identify.identify(path)
        assert count[0] <= 300 << 10


def test_a_bomb_is_not_unpacked(put, monkeypatch):
    monkeypatch.setattr(kernel_config, "LARGEST_KERNEL", 1 << 20)
    bomb = sample.compress("gzip", sample.image(b"\0" * (8 << 20)))
    assert kernel_config.version(boot_files.kernel(put(bomb))) == ""
    assert "unpacks to more than can be sensible" in refused(boot_files.kernel, put(bomb), whole=True)


def test_nothing_stays_open(put):
    before = len(os.listdir("/proc/self/fd"))
    for content in (sample.zimage(), sample.compress("gzip", sample.cpio()), b"", b"<html>"):
        for call in (identify.identify, boot_files.kernel, boot_files.ramdisk, boot_files.disk):
            try:
                call(put(content))
            except BootFileError:
                pass
    assert len(os.listdir("/proc/self/fd")) == before


def test_kinds_are_apart(put):
    assert [type(identify.identify(put(content))) for content in (sample.image(), sample.cpio(), sample.ext4(), b"hello")] == [Kernel, Ramdisk, Disk, Other]
