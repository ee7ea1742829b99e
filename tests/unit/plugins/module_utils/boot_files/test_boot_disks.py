# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is a disk, what is in it, and where it leads."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess

import boot_samples as sample
import pytest
from boot_checks import AGAIN, refused

from ansible_collections.our.cloud.plugins.module_utils._boot import boot_files, identify
from ansible_collections.our.cloud.plugins.module_utils._boot.disk_images import Disk


def test_disks(put):
    for content, expected in (
        (sample.ext4(), ("ext4", 1 << 20, sample.UUID, "root")),
        (sample.ext4(extents=False), ("ext3", 1 << 20, sample.UUID, "root")),
        (sample.ext4(extents=False, journal=False), ("ext2", 1 << 20, sample.UUID, "root")),
        (sample.xfs(), ("xfs", 1 << 20, sample.UUID, "root")),
        (sample.iso(), ("iso9660", 40 * 2048, "", "DEBIAN")),
        (sample.qcow2(), ("qcow2", 1 << 30, "", "")),
        (sample.qcow2(version=2), ("qcow2", 1 << 30, "", "")),
        (bytes(sample.mbr()), ("mbr", 1 << 20, "", "")),
        (sample.gpt(), ("gpt", 1 << 20, sample.UUID, "")),
        (sample.gpt(sector=4096), ("gpt", 1 << 20, sample.UUID, "")),
        (b"hsqs" + b"\0" * 5000, ("squashfs", 5004, "", "")),
        (b"\0" * 0x10040 + b"_BHRfS_M" + b"\0" * 99, ("btrfs", 0x10040 + 107, "", "")),
        (b"LUKS\xba\xbe" + b"\0" * 506, ("luks", 512, "", "")),
        (b"\xeb\x58\x90MSDOS5.0".ljust(82, b"\0") + b"FAT32   ".ljust(428, b"\0") + b"\x55\xaa", ("fat", 512, "", "")),
    ):
        found = boot_files.disk(put(content))
        assert (found.format, found.virtual_size, found.uuid, found.label) == expected
        assert isinstance(found, Disk) and found.whole <= found.size == len(content)


def test_large_file_systems(put):
    assert identify.identify(put(sample.ext4(large=True))).whole == (1 << 42) + (1 << 20)


def test_partitions(put):
    root = (1, 32768, (2048 - 64) * 512, "83", "")
    assert boot_files.disk(put(bytes(sample.mbr()))).partitions == (root,)
    assert boot_files.disk(put(sample.gpt())).partitions == ((2, 32768, 32768, sample.UUID, "root"),)
    assert boot_files.disk(put(sample.gpt(sector=4096))).partitions == ((2, 64 * 4096, 64 * 4096, sample.UUID, "root"),)


def test_an_iso_image_with_partitions_is_an_iso_image(put):
    content = bytearray(sample.iso())
    content[446:512] = sample.mbr(40 * 2048)[446:512]
    assert boot_files.disk(put(bytes(content))).format == "iso9660"


@pytest.mark.parametrize("version", [2, 3])
def test_backing_file(put, version):
    asked = []
    path = put(sample.qcow2(backing=b"../base.img", version=version))
    assert boot_files.disk(path, backed_by=lambda backing: asked.append(backing) or True).backing == "../base.img"
    assert asked == [os.path.join(os.path.dirname(os.path.dirname(path)), "base.img")]
    assert boot_files.disk(put(sample.qcow2(version=version))).backing is None
    assert boot_files.disk(put(sample.qcow2(backing_format=b"", version=version))).unfit == ""


@pytest.mark.parametrize("content, why", [
    (sample.qcow2(features=1 << 2), "and no guest gets it: its data is in another file, which its header names. Where"),
    (sample.qcow2(features=1 << 1), "and no guest gets it: it has features that are not known here (0x2). Where"),
    (sample.qcow2(features=1 << 5 | 1), "and no guest gets it: it has features that are not known here (0x20). Where"),
    (sample.qcow2(encryption=2), "and no guest gets it: it is encrypted. Where"),
    (sample.qcow2(backing=b"/etc/passwd"), "based on /etc/passwd, which is no image of the registry. Where"),
    (sample.qcow2(backing=b"/srv/base", backing_format=b""), "and no guest gets it: its header says that its backing file is of any kind, not raw. Where"),
    (sample.qcow2(backing=b"/srv/base", backing_format=b"qcow2"), "and no guest gets it: its header says that its backing file is qcow2, not raw. Where"),
    (sample.qcow2(backing=b'json:{"file.filename": "/srv/base"}'), "based on json:"),
])
def test_a_qcow2_disk_that_leads_elsewhere(put, content, why):
    text = refused(boot_files.disk, put(content), known=False, backed_by=lambda path: path == "/srv/base")
    assert text.startswith("disk file is a qcow2 disk " + why)


def test_harmless_features_of_qcow2(put):
    assert boot_files.disk(put(sample.qcow2(features=1 << 0 | 1 << 3 | 1 << 4))).unfit == ""


@pytest.mark.skipif(not shutil.which("qemu-img"), reason="qemu-img is missing")
def test_qcow2_disks_as_qemu_makes_them(tmp_path):
    def make(name, *options):
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", *options, tmp_path / name, "64k"], check=True)
        return str(tmp_path / name)

    (tmp_path / "base").write_bytes(bytes(65536))
    assert boot_files.disk(make("plain")).backing is None
    path = make("layer", "-b", str(tmp_path / "base"), "-F", "raw")
    assert boot_files.disk(path, backed_by=lambda each: each == str(tmp_path / "base")).backing == str(tmp_path / "base")
    assert "which is no image of the registry" in refused(boot_files.disk, path)
    assert "its data is in another file" in refused(boot_files.disk, make("data", "-o", "data_file=%s/there,data_file_raw=on" % tmp_path))


def test_a_link_is_refused_where_it_was_not_asked_for(put, tmp_path):
    for call, content, name in ((boot_files.kernel, sample.bzimage(), "kernel"), (boot_files.ramdisk, sample.cpio(), "ramdisk"),
                                (boot_files.disk, sample.ext4(), "disk")):
        link = tmp_path / ("link-" + name)
        link.symlink_to(put(content, name + ".file"))
        assert call(str(link)).size == len(content)
        assert refused(call, str(link), follow=False) == "%s %s is a link, which may lead to anybody's file. Put the file itself there" % (name, link.name)


@pytest.mark.parametrize("content, whole", [
    (sample.ext4(), 1 << 20), (sample.xfs(), 1 << 20), (sample.iso(), 40 * 2048), (bytes(sample.mbr()), 1 << 20), (sample.gpt(), 1 << 20),
    (sample.qcow2(), 5 * 65536 + 1), (sample.qcow2(shift=9, clusters=200), 199 * 512 + 1),
], ids=["ext4", "xfs", "iso", "mbr", "gpt", "qcow2", "small clusters"])
def test_disks_cut_short(put, content, whole):
    assert boot_files.disk(put(content)).whole == whole
    path = put(content[:whole - 1])
    assert refused(boot_files.disk, path) == "disk file is cut short: %s of at least %d bytes, and %d are there. %s" % (
        identify.identify(path).what, whole, whole - 1, AGAIN)


@pytest.mark.parametrize("content, what", [
    (b"", "disk file is empty. " + AGAIN),
    (b"<html>", "disk file is an HTML page, and a disk is needed. A server"),
    (sample.bzimage(), "disk file is a kernel for x86_64 (bzImage, zstd), and a disk is needed. Have"),
    (sample.compress("xz", sample.ext4()), "disk file is an ext4 file system, compressed by xz, and a disk is needed. Unpack it first"),
    (b"\1\2\3\4" * 1000, "disk file is data of no known kind, and a disk"),
    (b"\0" * 5000, "disk file is zeros, and a disk is needed. " + AGAIN),
    (sample.qcow2()[:20] + b"\xff" * 9999, "disk file is a qcow2 disk whose header is damaged, and"),
])
def test_no_disk(put, content, what):
    assert refused(boot_files.disk, put(content)).startswith(what)


def test_a_disk_may_hold_what_nobody_knows(put):
    assert boot_files.disk(put(b"\1\2\3\4" * 1000), known=False)[:5] == (put(b"\1\2\3\4" * 1000), 4000, 4000, "a disk of no known kind", "unknown")
    assert boot_files.disk(put(b"\0" * 5000), known=False).format == "blank"
    for content in (b"", b"<html>", sample.bzimage(), sample.ext4()[:-1]):
        refused(boot_files.disk, put(content), known=False)


def test_containers_are_no_raw_disks(put):
    assert boot_files.disk(put(sample.ext4()), raw=True).format == "ext4"
    assert refused(boot_files.disk, put(sample.qcow2()), raw=True) == "disk file is a qcow2 disk, and a raw one is needed. Convert it: qemu-img convert -O raw"


def overwritten(begin, old):
    """A disk that was something as a whole before its table was made."""
    disk = bytearray(old)
    disk[:512] = begin[:512]
    return bytes(disk)


LVM = bytes(512) + b"LABELONE" + bytes((1 << 20) - 520)
SWAP = bytes(4086) + b"SWAPSPACE2" + bytes((1 << 20) - 4096)


@pytest.mark.parametrize("old", [sample.ext4(), LVM, SWAP])
def test_what_a_disk_was_before_its_table_was_made_is_past(put, old):
    """sfdisk --wipe never leaves it, and so did older ones; a BIOS and Linux believe the table."""
    found = boot_files.disk(put(overwritten(sample.mbr(), old)))
    assert (found.format, len(found.partitions), found.boot_code) == ("mbr", 1, True)


def table(*entries):
    """An MBR of partitions, each (begin, sectors, type)."""
    disk = sample.mbr()
    for number, (begin, count, kind) in enumerate(entries):
        disk[446 + 16 * number:462 + 16 * number] = struct.pack("<B3xB3xII", 0, kind, begin, count)
    return disk


@pytest.mark.parametrize("begin", [
    # code of a boot sector, which is no table
    b"\x90" * 510 + b"\x55\xaa",
    table((64, 1 << 12, 0x83)), table((1, 64, 0x83)), table((64, 128, 0x83), (128, 64, 0x83)), table((64, 128, 0xEE)),
])
def test_a_file_system_with_a_boot_sector_is_one(put, begin):
    assert boot_files.disk(put(overwritten(begin, sample.ext4()))).format == "ext4"


def test_a_fixed_vhd_is_what_is_in_it(put):
    """A raw disk with 512 bytes behind it."""
    assert boot_files.disk(put(sample.gpt() + b"conectix" + bytes(504)), raw=True).format == "gpt"
