# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a disk, or the file system on one, is: told from its first bytes and what they point to.

Each reader says how many bytes must be there, so that one that was cut short is seen. A disk is never read whole:
at most a megabyte of tables.
"""

from __future__ import annotations

import struct
import uuid
from typing import Any, NamedTuple


class Partition(NamedTuple):
    """A part of a disk."""

    number: int  # from 1
    start: int  # bytes
    size: int  # bytes
    type: str  # GUID (GPT) or two hexadecimal digits (MBR)
    name: str  # GPT's


class Disk(NamedTuple):
    """A disk, or the file system on one."""

    path: str
    size: int | None  # bytes of the file; None if that is not known
    whole: int  # the bytes that must be there; more than size: it was cut short
    what: str  # in words, with article
    format: str  # ext2, ext3, ext4, xfs, iso9660, qcow2, gpt, mbr ...
    virtual_size: int | None  # what a guest sees, bytes
    uuid: str
    label: str
    partitions: tuple[Partition, ...]
    backing: str | None  # qcow2's other file, None if it has none
    unfit: str = ""  # why no guest is to get it, whatever it is
    boot_code: bool = False  # whether a partitioned disk has something that a BIOS starts
    sector: int = 512  # bytes in which a GPT counts


HEAD = 0x9000  # ISO 9660's volume descriptor ends at 0x8800
BOOT_CODE = 440  # bytes that a BIOS loads and starts; then the table of the MBR
TABLE = 1 << 20  # no table of partitions or clusters is read further than that
SECTORS = (512, 4096)
# Told by what lies behind the first sector, which is where a table of partitions (MBR) is.
BEHIND_THE_TABLE = ("ext2", "ext3", "ext4", "lvm", "erofs", "f2fs", "swap", "btrfs")
BEFORE_PARTITIONS = 4096  # bytes that no partition begins in, and no code of a boot sector could be taken for one's beginning
# offset, magic, format, name: told, and not looked into
OTHERS = (
    (0, b"hsqs", "squashfs", "a squashfs file system"),
    (0, b"KDMV", "vmdk", "a VMDK disk"),
    (0, b"# Disk DescriptorFile", "vmdk", "a VMDK disk"),
    (0, b"vhdxfile", "vhdx", "a VHDX disk"),
    (0, b"conectix", "vhd", "a VHD disk"),
    (64, b"\x7f\x10\xda\xbe", "vdi", "a VDI disk"),
    (0, b"LUKS\xba\xbe", "luks", "an encrypted disk (LUKS)"),
    (3, b"NTFS    ", "ntfs", "an NTFS file system"),
    (82, b"FAT32   ", "fat", "a FAT file system"),
    (54, b"FAT16   ", "fat", "a FAT file system"),
    (54, b"FAT12   ", "fat", "a FAT file system"),
    (512, b"LABELONE", "lvm", "an LVM physical volume"),
    (1024, b"\xe2\xe1\xf5\xe0", "erofs", "an EROFS file system"),
    (1024, b"\x10\x20\xf5\xf2", "f2fs", "an F2FS file system"),
    (4086, b"SWAPSPACE2", "swap", "swap space"),
)


def _disk(source, form, what, whole=None, **more):
    values = {"virtual_size": source.size, "uuid": "", "label": "", "partitions": (), "backing": None, **more}
    return Disk("", source.size, source.size if whole is None else whole, what, form, **values)


def _text(data, encoding="utf-8"):
    return data.split(b"\0")[0].decode(encoding, "replace").strip()


def _guid(data):
    return str(uuid.UUID(bytes_le=bytes(data)))


def _ext(source, head):
    """Documentation/filesystems/ext4/super.rst; the super block is at 1024."""
    if head[1080:1082] != b"\x53\xef":
        return None
    low, shift = struct.unpack_from("<I", head, 1028)[0], struct.unpack_from("<I", head, 1048)[0]
    compatible, incompatible = struct.unpack_from("<II", head, 1116)
    if shift > 6 or not low:
        return None
    high = struct.unpack_from("<I", head, 1024 + 0x150)[0] if incompatible & 0x80 else 0
    # extents, 64bit, flex_bg, inline data and their like came with ext4
    form = "ext4" if incompatible & 0x1FFC0 else "ext3" if compatible & 0x4 else "ext2"
    return _disk(source, form, f"an {form} file system", max(2048, ((high << 32) + low) * (1024 << shift)),
                 uuid=str(uuid.UUID(bytes=bytes(head[1128:1144]))), label=_text(head[1144:1160]))


def _xfs(source, head):
    """fs/xfs/libxfs/xfs_format.h, struct xfs_dsb; big endian."""
    block, blocks = struct.unpack_from(">IQ", head, 4)
    if head[:4] != b"XFSB" or block not in [1 << shift for shift in range(9, 17)]:
        return None
    return _disk(source, "xfs", "an XFS file system", max(512, block * blocks),
                 uuid=str(uuid.UUID(bytes=bytes(head[32:48]))), label=_text(head[108:120]))


def _iso(source, head):
    """ECMA-119, 8.4: the primary volume descriptor in sector 16."""
    volume = head[0x8000:0x8800]
    if volume[:7] != b"\x01CD001\x01":
        return None
    blocks, block = struct.unpack_from("<I", volume, 80)[0], struct.unpack_from("<H", volume, 128)[0]
    return _disk(source, "iso9660", "an ISO 9660 image", max(0x8800, blocks * block), label=_text(volume[40:72], "ascii"))


def _last_cluster(source, cluster, table_at, table_size, bits):
    """The number of the last cluster that qcow2's reference counts say is in use."""
    table = source.at(table_at, min(table_size, TABLE))
    table = table[:len(table) // 8 * 8].rstrip(b"\0")
    if not table:
        return None, None
    index = (len(table) - 1) // 8
    block_at = struct.unpack(">Q", table[index * 8:].ljust(8, b"\0"))[0] & ~511
    counts = source.at(block_at, cluster).rstrip(b"\0")
    return block_at, index * (cluster * 8 // bits) + max(0, len(counts) - 1) * 8 // bits


# Incompatible features that change nothing for a guest: dirty, compression type, extended L2 entries. Of the others corrupt is 1.
QCOW2_HARMLESS = 1 << 0 | 1 << 3 | 1 << 4
QCOW2_DATA_FILE = 1 << 2
QCOW2_BACKING_FORMAT = 0xE2792ACA


def _qcow2_extensions(source, head, begin, end):
    """{type: content} of a qcow2 file's header extensions."""
    found = {}
    while begin + 8 <= min(end, HEAD):
        extension, size = struct.unpack_from(">II", head, begin)
        if not extension:
            break
        found[extension] = source.at(begin + 8, min(size, TABLE))
        begin += 8 + (size + 7 & ~7)
    return found


def _qcow2_unfit(source, head, version, backing_at, cluster):
    """Why a guest must not get a qcow2 file: what QEMU would open or do for it beyond this file and its backing file."""
    features, header = (struct.unpack_from(">Q", head, 72)[0], struct.unpack_from(">I", head, 100)[0]) if version == 3 else (0, 72)
    if features & QCOW2_DATA_FILE:
        return "its data is in another file, which its header names"
    if features & ~QCOW2_HARMLESS:
        return f"it has features that are not known here ({features & ~QCOW2_HARMLESS:#x})"
    if struct.unpack_from(">I", head, 32)[0]:
        return "it is encrypted"
    if not backing_at:
        return ""
    said = _qcow2_extensions(source, head, header, backing_at if backing_at > header else cluster).get(QCOW2_BACKING_FORMAT)
    form = "of any kind" if said is None else said.decode("ascii", "replace")[:20]
    return "" if said == b"raw" else f"its header says that its backing file is {form}, not raw"


def _qcow2(source, head):
    """docs/interop/qcow2.rst of QEMU; big endian."""
    if head[:4] != b"QFI\xfb":
        return None
    version, backing_at, backing_size, shift, size = struct.unpack_from(">IQIIQ", head, 4)
    if version not in (2, 3) or not 9 <= shift <= 21:
        return _disk(source, "damaged", "a qcow2 disk whose header is damaged")
    (l1_entries, l1_at, table_at, table_clusters) = struct.unpack_from(">IQQI", head, 36)
    cluster, order = 1 << shift, struct.unpack_from(">I", head, 96)[0] if version == 3 else 4
    if order > 6:
        return _disk(source, "damaged", "a qcow2 disk whose header is damaged")
    ends = [104 if version == 3 else 72, l1_at + l1_entries * 8, table_at + table_clusters * cluster]
    # The header of a download that stopped is whole; the counts know what should be at the end.
    if source.size is not None and max(ends) <= source.size:
        block_at, last = _last_cluster(source, cluster, table_at, table_clusters * cluster, 1 << order)
        if last is not None:
            ends += [block_at + 1, last * cluster + 1]
    backing = _text(source.at(backing_at, min(backing_size, 1023))) if backing_at else None
    return _disk(source, "qcow2", "a qcow2 disk", max(ends), virtual_size=size, backing=backing,
                 unfit=_qcow2_unfit(source, head, version, backing_at, cluster))


def _gpt(source, head):
    """UEFI specification, 5.3; the header is in sector 1."""
    for sector in SECTORS:
        if head[sector:sector + 8] == b"EFI PART":
            break
    else:
        return None
    other, table_at = struct.unpack_from("<Q", head, sector + 32)[0], struct.unpack_from("<Q", head, sector + 72)[0]
    count, entry = struct.unpack_from("<II", head, sector + 80)
    found = []
    if 128 <= entry <= 4096:
        data = source.at(table_at * sector, min(count * entry, TABLE))
        for index in range(len(data) // entry):
            item = data[index * entry:(index + 1) * entry]
            if any(item[:16]):
                first, last = struct.unpack_from("<QQ", item, 32)
                found.append(Partition(index + 1, first * sector, max(0, last - first + 1) * sector, _guid(item[:16]),
                                       item[56:128].decode("utf-16-le", "replace").split("\0")[0]))
    # the other header is in the last sector
    return _disk(source, "gpt", "a partitioned disk (GPT)", max(sector + 92, (other + 1) * sector), partitions=tuple(found),
                 uuid=_guid(head[sector + 56:sector + 72]), boot_code=any(head[:BOOT_CODE]), sector=sector)


def _mbr(source, head):
    """Four entries of 16 bytes at 446, counted in sectors of 512 bytes."""
    if head[510:512] != b"\x55\xaa":
        return None
    found, whole = [], 512
    for index in range(4):
        item = head[446 + 16 * index:462 + 16 * index]
        start, count = struct.unpack_from("<II", item, 8)
        if item[0] not in (0, 0x80):
            return None
        if item[4] and count:
            found.append(Partition(index + 1, start * 512, count * 512, f"{item[4]:02x}", ""))
            if item[4] != 0xEE:  # the one that stands for a GPT may say more than there is
                whole = max(whole, (start + count) * 512)
    return _disk(source, "mbr", "a partitioned disk (MBR)", whole, partitions=tuple(found), boot_code=any(head[:BOOT_CODE])) if found else None


def _other(source, head):
    for offset, magic, form, what in OTHERS:
        if head[offset:offset + len(magic)] == magic:
            return _disk(source, form, what)
    if source.at(0x10040, 8) == b"_BHRfS_M":
        return _disk(source, "btrfs", "a Btrfs file system")
    return None


def find(source: Any, head: bytes) -> Disk | None:
    """The Disk that this is; None if it is none that is known.

    `source`: has `size` (bytes; None if not known) and `at(offset, count)` (bytes, fewer behind the end).
    `head`: its first HEAD bytes, filled up with zeros. Raises nothing of its own. `path` is left empty.
    """
    # ISO images that boot from USB sticks and GPT disks have an MBR too
    for reader in (_qcow2, _xfs, _iso, _ext, _gpt, _other, _mbr):
        disk = reader(source, head)
        if disk is not None:
            return _made_later(source, head) or disk if disk.format in BEHIND_THE_TABLE else disk
    return None


def _made_later(source, head):
    """The partitions of a disk that was a file system as a whole before: who makes a table leaves what lies behind the first sector, and a BIOS
    and Linux believe the table. None if it holds nothing that could be so."""
    disk = _mbr(source, head)
    if disk is None or source.size is not None and disk.whole > source.size:
        return None
    end = BEFORE_PARTITIONS
    for part in sorted(disk.partitions, key=lambda part: part.start):
        if part.start < end or part.type == "ee":
            return None
        end = part.start + part.size
    return disk
