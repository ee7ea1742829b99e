# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a kernel, a ramdisk and a disk are, told from their content, and whether they go together.

`identify` says what a file is, whatever it is; `kernel`, `ramdisk` and `disk` refuse what is something else, or cut
short; `check` says whether a guest can boot from what it is given. Files are read at the places that matter, never
whole, unless that is asked for (`version`, `config`, `ramdisk(whole=True)`), and then in bounded memory. All failures
are BootFileError, whatever is in the file.

Whether a kernel needs a ramdisk is decided by what can be known, in this order:

1. its configuration: beside it (config-VERSION, as in /boot, or config), or inside of it (CONFIG_IKCONFIG);
   the drivers of the root disk and of its file system must be built in (=y);
2. the name of its builder: Debian's stock kernels have the drivers of disks as modules;
3. else it is not known, and the guest is not refused for it.
"""

from __future__ import annotations

import codecs
import errno
import os
import re
import struct
import zlib
from collections import namedtuple

from ansible_collections.our.cloud.plugins.module_utils._boot import compression, disk_images
from ansible_collections.our.cloud.plugins.module_utils._common import sparse
from ansible_collections.our.cloud.plugins.module_utils._common.errors import Refused
from ansible_collections.our.cloud.plugins.module_utils._guest.arch import ARCHES
from ansible_collections.our.cloud.plugins.module_utils._boot.disk_images import Disk

# path, size (bytes; of a file), whole (the bytes that must be there; more than size: it was cut short) and what (in
# words, with article) are the same in all four, and in Disk.
# format: bzImage, zImage, Image, EFI zboot, uImage or ELF. arch: x86_64, i386, x86 (either, before Linux 3.8), arm,
# arm64 or another of Linux's names. wrapping: a compression around all of it. compression: of what is inside;
# None: not looked at. version: release, builder and date, if it says that without being unpacked (bzImage), else "".
Kernel = namedtuple("Kernel", "path size whole what format arch wrapping compression version")
# compression: "" (a plain cpio archive), gzip, ... of the last archive, None if that is too far behind to have been
# looked at. prefix: bytes of plain archives before it (early microcode, modules that are compressed already).
Ramdisk = namedtuple("Ramdisk", "path size whole what compression prefix")
# Compressed data that this machine cannot look into.
Packed = namedtuple("Packed", "path size whole what compression")
# Anything else. hint: what most likely happened, a sentence or "".
Other = namedtuple("Other", "path size whole what hint")

HEAD = disk_images.HEAD
INSIDE = 4096  # bytes that are unpacked to see what is inside
LARGEST_KERNEL = 256 << 20  # unpacked; QEMU's bound as well
SEARCH = 64 << 10  # an ARM kernel's compressed part begins within this many bytes behind its decompressor
QUICK = 64  # files of a plain archive that are passed over without being asked for all
BANNER = re.compile(rb"Linux version (\d[^\0\n]{0,500})[\0\n]")
CPIO_HEADER = re.compile(rb"07070[12][0-9A-Fa-f]{104}")
CONFIG_BEGIN = b"IKCFG_ST"  # kernel/configs.c
CONFIG_SIZE = 4 << 20
CONFIG_LINE = re.compile(r"^(CONFIG_\w+=|# CONFIG_\w+ is not set$)", re.MULTILINE)
NO_IDEA = "data of no known kind"
NO_DISK = ("damaged", "blank")
CONTAINERS = ("qcow2", "vmdk", "vhd", "vhdx", "vdi")
FILE_SYSTEM_DRIVER = {"ext2": "EXT4_FS", "ext3": "EXT4_FS", "ext4": "EXT4_FS", "xfs": "XFS_FS", "btrfs": "BTRFS_FS"}
# =m in Debian 13's kernels for amd64, armhf, armel and arm64, the cloud kernels included
DEBIAN_MODULES = ("VIRTIO_BLK", "VIRTIO_MMIO", "XEN_BLKDEV_FRONTEND", "XFS_FS", "BTRFS_FS")
ELF_ARCH = {3: "i386", 62: "x86_64", 40: "arm", 183: "arm64", 243: "riscv", 8: "mips", 20: "powerpc", 21: "powerpc", 22: "s390", 258: "loongarch"}
PE_ARCH = {0x14C: "i386", 0x8664: "x86_64", 0x1C0: "arm", 0x1C2: "arm", 0x1C4: "arm", 0xAA64: "arm64", 0x5064: "riscv", 0x6264: "loongarch"}
UBOOT_ARCH = {2: "arm", 3: "i386", 5: "mips", 7: "powerpc", 22: "arm64", 24: "x86_64", 26: "riscv"}
UBOOT_TYPE = {2: "kernel", 3: "ramdisk", 4: "multi-file image", 6: "script", 8: "device tree"}
UBOOT_COMPRESSION = {0: "", 1: "gzip", 2: "bzip2", 3: "lzma", 4: "lzo", 5: "lz4", 6: "zstd"}
# What boots a guest's kernel: QEMU and Xen's domain builder. {arch: {format: compressions}}, None: any.
# QEMU 10.0 unpacks an arm64 Image, an EFI zboot kernel and a uImage by gzip alone (hw/core/loader.c, hw/arm/boot.c).
LOADABLE = {
    "x86_64": {"bzImage": None, "ELF": None},
    "i386": {"bzImage": None, "ELF": None},
    "arm": {"zImage": None, "uImage": ("", "gzip")},
    "arm64": {"Image": ("", "gzip"), "EFI zboot": ("gzip",), "uImage": ("", "gzip")},
}
UNPACK = "Unpack it first"
OLD_CPIO = "a cpio archive of the old kind, which Linux does not take"
OTHERS = (
    (0, b"PK\x03\x04", "a zip archive", UNPACK),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive", UNPACK),
    (0, b"!<arch>\ndebian-binary", "a Debian package", UNPACK),
    (0, b"!<arch>\n", "an ar archive", UNPACK),
    (0, b"\xed\xab\xee\xdb", "an RPM package", UNPACK),
    (257, b"ustar", "a tar archive", UNPACK),
    (0, b"070707", OLD_CPIO, "Make it anew: cpio -H newc"),
    (0, b"\xc7\x71", OLD_CPIO, "Make it anew: cpio -H newc"),
    (0, b"\x04\x22\x4d\x18", "lz4 data of the kind that Linux does not take", UNPACK + ", or make the other kind: lz4 -l"),
    (0, b"\xd0\x0d\xfe\xed", "a device tree or a FIT image of U-Boot", ""),
    (0, b"ANDROID!", "an Android boot image", ""),
    (0, b"\x1f\x9d", "data compressed by compress", UNPACK),
    (0, b"%PDF", "a PDF document", ""),
    (0, b"\x89PNG", "a picture", ""),
)
PAGE_HINT = "A server answered with a page instead of the file: look at its address there"
SWAP_HINT = "Have kernel, ramdisk and disk been mixed up?"
WHOLE = "Where it comes from, make one that is whole: qemu-img convert -O qcow2"
AGAIN = "Fetch or copy it again and compare its checksum"


class BootFileError(Refused, ValueError):
    """A kernel, ramdisk or disk that a guest cannot boot; the text says which, what it is and what to do."""


# --- where bytes come from --------------------------------------------------

class _File:
    """A file or block device, read at places. Closed at the end of a `with`."""

    def __init__(self, path, role, follow=True):
        self._what, self._fd = "%s %s" % (role, path), -1
        try:
            self._fd = sparse.open_data(path, follow)
            self.size = os.lseek(self._fd, 0, os.SEEK_END)
        except (OSError, ValueError) as error:
            self.close()
            if getattr(error, "errno", None) == errno.ELOOP and not follow:
                raise BootFileError("%s is a link, which may lead to anybody's file. Put the file itself there" % self._what) from None
            raise BootFileError("%s cannot be read: %s" % (self._what, getattr(error, "strerror", None) or error)) from None

    def __enter__(self):
        return self

    def __exit__(self, *dummy):
        self.close()

    def close(self):
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def at(self, offset, count):
        if offset >= self.size:
            return b""
        try:
            return os.pread(self._fd, count, offset)
        except OSError as error:
            raise BootFileError("%s cannot be read: %s" % (self._what, error.strerror)) from None


class _Bytes:
    """The first bytes of something; how long it is nobody knows."""

    size = None

    def __init__(self, data):
        self._data = data

    def at(self, offset, count):
        return self._data[offset:offset + count] if offset < len(self._data) else b""


class _Part:
    """A part of a source."""

    def __init__(self, source, offset, size):
        self._source, self._offset = source, offset
        self.size = size if source.size is None else max(0, min(size, source.size - offset))

    def at(self, offset, count):
        return self._source.at(self._offset + offset, min(count, self.size - offset)) if offset < self.size else b""


class _Reader:
    """Called, it gives a source's next bytes."""

    def __init__(self, source, offset=0):
        self._source, self.offset = source, offset

    def __call__(self, count):
        data = self._source.at(self.offset, count)
        self.offset += len(data)
        return data


def _le(data, form, offset):
    """Unpack one number, little endian; 0 behind the end."""
    size = struct.calcsize(form)
    return struct.unpack("<" + form, data[offset:offset + size])[0] if 0 <= offset <= len(data) - size else 0


# --- kernels ----------------------------------------------------------------

def _kernel(source, form, arch, whole=None, inside="", **more):
    values = {"wrapping": "", "compression": inside, "version": "", **more}
    what = "a kernel for %s (%s%s)" % (arch, form, ", " + inside if inside else "")
    return Kernel("", source.size, source.size if whole is None else whole, what, form, arch, **values)


def _pe(source, head):
    """(machine, bytes that must be there, names of the sections) of an EFI program, else None.
    Microsoft's PE format: the header's place is at 0x3c; a signature is behind the sections."""
    place = _le(head, "I", 0x3C)
    if head[:2] != b"MZ" or not 0x40 <= place <= 0x4000 or head[place:place + 4] != b"PE\0\0":
        return None
    machine, count, optional = (_le(head, "H", place + offset) for offset in (4, 6, 20))
    if not count or optional < 96:
        return None
    whole, names = place + 24 + optional + 40 * count, []
    for index in range(min(count, 96)):
        section = source.at(place + 24 + optional + 40 * index, 40)
        if len(section) == 40:
            names.append(section[:8].rstrip(b"\0"))
            whole = max(whole, _le(section, "I", 16) + _le(section, "I", 20) if _le(section, "I", 16) else 0)
    directory = place + 24 + (112 if _le(head, "H", place + 24) == 0x20B else 96)
    if _le(head, "I", directory - 4) > 4:
        whole = max(whole, _le(head, "I", directory + 32) + _le(head, "I", directory + 36))
    return machine, whole, names


def _bzimage(source, head):
    """Documentation/arch/x86/boot.rst: the header is at 0x1f1, the kernel behind setup_sects + 1 sectors."""
    if head[0x1FE:0x200] != b"\x55\xaa" or head[0x202:0x206] != b"HdrS":
        return None
    protocol, setup = _le(head, "H", 0x206), ((head[0x1F1] or 4) + 1) * 512
    paragraphs = _le(head, "I" if protocol >= 0x204 else "H", 0x1F4)
    arch = "x86" if protocol < 0x20C else "x86_64" if _le(head, "H", 0x236) & 1 else "i386"
    place, version = _le(head, "H", 0x20E), ""
    if place and place + 0x200 < setup:
        version = source.at(place + 0x200, 256).split(b"\0")[0].decode("ascii", "replace").strip()
    pe = _pe(source, head)
    return _kernel(source, "bzImage", arch, max(setup + paragraphs * 16, pe[1] if pe else 0),
                   compression.kind(source.at(setup + _le(head, "I", 0x248), 32)) if protocol >= 0x208 else None, version=version)


def _zimage_inside(source, head):
    """(offset, size, compression) of the kernel in a zImage; (0, 0, None) if it is not found.
    arch/arm/boot/compressed/vmlinux.lds.S: a table says where the compressed part ends, nothing says where it begins."""
    table = _le(head, "I", 0x38)
    entries = source.at(table, 12)
    if len(entries) < 12 or entries[4:8] != b"KLSZ":
        return 0, 0, None
    # it is followed by the size of what is in it
    end = _le(entries, "I", 8)
    data = source.at(table, SEARCH)
    best, name = len(data), None
    for magic in (b"\xfd7zXZ\0", b"\x1f\x8b\x08", compression.LZ4_MAGIC, b"\x89LZO", b"\x5d\0\0"):
        place = data.find(magic, 0, best)
        while place >= 0:
            # the decompressor has the magic in it, too
            kind = compression.kind(data[place:place + 32])
            if kind:
                best, name = place, kind
                break
            place = data.find(magic, place + 1, best)
    if name is None or table + best >= end:
        return 0, 0, None
    return table + best, end - table - best, name


def _zimage(source, head):
    """arch/arm/boot/compressed/head.S: magic at 0x24, begin, end and byte order behind it."""
    if head[0x24:0x28] == b"\x01\x6f\x28\x18":
        return Other("", source.size, source.size, "a big-endian ARM kernel (zImage)", "")
    if head[0x24:0x28] != b"\x18\x28\x6f\x01":
        return None
    pe = _pe(source, head)
    whole = max(_le(head, "I", 0x2C) - _le(head, "I", 0x28), pe[1] if pe else 0, 0x30)
    return _kernel(source, "zImage", "arm", whole, _zimage_inside(source, head)[2])


def _image(source, head):
    """Documentation/arch/arm64/booting.rst and Documentation/arch/riscv/boot-image-header.rst: magic at 56."""
    if head[56:60] == b"ARM\x64":
        arch = "arm64"
    elif head[48:53] == b"RISCV" and head[56:60] == b"RSC\x05":
        arch = "riscv"
    else:
        return None
    pe, memory = _pe(source, head), _le(head, "Q", 16)
    # image_size counts memory that the file does not have (.bss); the EFI header knows the file.
    whole = pe[1] if pe else memory // 2
    return _kernel(source, "Image", arch, max(whole, 64))


def _zboot(source, head):
    """drivers/firmware/efi/libstub/zboot-header.S: magic, place and size of the compressed Image, its compression."""
    if head[:2] != b"MZ" or head[4:8] != b"zimg":
        return None
    name = head[24:56].split(b"\0")[0].decode("ascii", "replace")
    pe = _pe(source, head)
    return _kernel(source, "EFI zboot", PE_ARCH.get(pe[0], "unknown") if pe else "unknown",
                   max(64, _le(head, "I", 8) + _le(head, "I", 12), pe[1] if pe else 0),
                   next((kind for kind in compression.KINDS if name.startswith(kind)), name))


def _uimage(source, head):
    """include/image.h of U-Boot, struct legacy_img_hdr; big endian, with a checksum of its own."""
    if head[:4] != b"\x27\x05\x19\x56":
        return None
    size, (arch, kind, packed) = struct.unpack_from(">I", head, 12)[0], struct.unpack_from("BBB", head, 29)
    if zlib.crc32(head[:4] + bytes(4) + head[8:64]) != struct.unpack_from(">I", head, 4)[0]:
        return Other("", source.size, source.size, "a file of U-Boot whose header is damaged", "")
    if kind == 2:
        return _kernel(source, "uImage", UBOOT_ARCH.get(arch, "unknown"), 64 + size, UBOOT_COMPRESSION.get(packed, "unknown"))
    return Other("", source.size, 64 + size, "a %s wrapped for U-Boot" % UBOOT_TYPE.get(kind, "file"),
                 "Give the plain ramdisk, without its first 64 bytes" if kind == 3 else "")


def _elf(source, head):
    """A kernel is no program: no interpreter, and addresses where kernels are, or Xen's note (PVH)."""
    if head[:4] != b"\x7fELF" or head[4] not in (1, 2) or head[5] not in (1, 2):
        return None
    wide, order = head[4] == 2, "<" if head[5] == 1 else ">"
    kind, machine = struct.unpack_from(order + "HH", head, 16)
    place, sections = struct.unpack_from(order + ("QQ" if wide else "II"), head, 32 if wide else 28)
    size, count, section_size, section_count = struct.unpack_from(order + "HHHH", head, 54 if wide else 42)
    needed = 56 if wide else 32
    whole, program, high = max(64 if wide else 52, sections + section_size * section_count), kind not in (2, 3) or size < needed, False
    for index in range(min(count, 64) if size >= needed else 0):
        item = source.at(place + size * index, needed)
        if len(item) < needed:
            whole = max(whole, place + size * count)
            break
        if wide:
            what, dummy, offset, address, dummy, length = struct.unpack_from(order + "IIQQQQ", item)
        else:
            what, offset, address, dummy, length = struct.unpack_from(order + "IIIII", item)
        whole = max(whole, offset + length)
        program = program or what == 3
        high = high or what == 1 and address >= (1 << 63 if wide else 1 << 30)
        high = high or what == 4 and b"Xen\0" in source.at(offset, min(length, 4096))
    if program or not high:
        return Other("", source.size, whole, {1: "an ELF object, such as a kernel module", 4: "a core dump"}.get(kind, "an ELF program"), "")
    return _kernel(source, "ELF", ELF_ARCH.get(machine, "unknown"), whole)


def _efi(source, head):
    pe = _pe(source, head)
    if pe is None:
        return None
    if b".linux" in pe[2]:
        return Other("", source.size, pe[1], "a unified kernel image", "Give the kernel and the ramdisk that it was made of")
    return Other("", source.size, pe[1], "an EFI program", "")


# --- ramdisks ---------------------------------------------------------------

def _cpio(source, limit, offset=0):
    """Pass over a cpio archive: (offset behind it, whether its end was reached, bytes that must be there, fault).
    Documentation/driver-api/early-userspace/buffer-format.rst: headers of 110 bytes in hexadecimal, parts aligned to 4."""
    for dummy in range(limit):
        header = source.at(offset, 110)
        if len(header) < 110:
            return offset, False, offset + 110, ""
        if not CPIO_HEADER.match(header):
            return offset, False, offset, "damaged"
        size, name_size = int(header[54:62], 16), int(header[94:102], 16)
        if name_size > 4096:
            return offset, False, offset, "damaged"
        name = source.at(offset + 110, name_size)
        end = (offset + 110 + name_size + 3 & ~3) + size
        if name == b"TRAILER!!!\0":
            return end, True, offset + 110 + name_size, ""
        if source.size is not None and end > source.size:
            return offset, False, end, ""
        offset = end + 3 & ~3
    return offset, False, offset, ""


def _ramdisk_cpio(source, head):
    """One archive or more, each plain or compressed, zeros between them; the last one is the one that matters."""
    if head[:6] not in (b"070701", b"070702"):
        return None
    prefix, offset, left = 0, 0, QUICK
    while True:
        end, ended, whole, fault = _cpio(source, left, offset)
        if fault:
            return Other("", source.size, source.size, "a cpio archive that is damaged at byte %d" % end, "")
        if not ended:
            name = "" if source.size is not None and whole > source.size else None
            return _ramdisk(source, name, prefix, whole)
        left -= 1
        data = source.at(end, HEAD)
        rest = data.lstrip(b"\0")
        if not rest:
            return _ramdisk(source, "", prefix, whole)
        offset = prefix = end + len(data) - len(rest)
        name = compression.kind(rest[:32])
        if name:
            return _ramdisk(source, name, prefix, whole, rest[:32])
        if rest[:6] not in (b"070701", b"070702") or left <= 0:
            return Other("", source.size, source.size, "a cpio archive with data of no known kind behind it (at byte %d)" % offset, "")


def _late_ramdisk(source, head):
    """A ramdisk with zeros before it, which Linux passes over."""
    begin = len(head) - len(head.lstrip(b"\0"))
    if not 0 < begin < len(head):
        return None
    part = _Part(source, begin, source.size)
    rest = part.at(0, HEAD).ljust(HEAD, b"\0")
    found = _ramdisk_cpio(part, rest) or _compressed(part, rest)
    if not isinstance(found, Ramdisk):
        return None
    return found._replace(size=source.size, whole=found.whole + begin, prefix=found.prefix + begin)


def _ramdisk(source, name, prefix, whole, begin=b""):
    """begin: of its last archive, if that is compressed: Linux does not unpack all that there is of its kinds."""
    unknown = compression.unknown_to_linux(begin)
    if unknown:
        return Other("", source.size, whole, "a ramdisk (cpio, %s) that Linux cannot unpack: %s" % (name, unknown[0]), unknown[1])
    return Ramdisk("", source.size, whole, "a ramdisk (%s)" % ("cpio, " + name if name else "cpio"), name, prefix)


def _compressed(source, head):
    """What is compressed is told by its beginning."""
    name = compression.kind(head[:32])
    if not name:
        return None
    try:
        data = compression.first(_Reader(source), name, INSIDE)
        if data and not data.strip(b"\0"):
            # such as an ISO image
            data = compression.first(_Reader(source), name, HEAD)
    except compression.Unreadable:
        return Packed("", source.size, source.size, "%s data that this machine cannot look into" % name, name)
    except compression.CutShort:
        return Other("", source.size, source.size + 1, "%s data that ends too early" % name, "")
    except compression.CompressionError:
        return Other("", source.size, source.size, "%s data that is damaged" % name, "")
    if not data:
        return Other("", source.size, source.size, "%s data with nothing in it" % name, "")
    inside = _classify(_Bytes(data), data.ljust(HEAD, b"\0"), False)
    if isinstance(inside, Ramdisk) and not inside.compression:
        return _ramdisk(source, name, 0, source.size, head[:32])
    if isinstance(inside, Kernel):
        return inside._replace(size=source.size, whole=source.size, wrapping=name, what="%s, compressed by %s" % (inside.what, name))
    return Other("", source.size, source.size, "%s, compressed by %s" % (inside.what, name), UNPACK)


# --- everything -------------------------------------------------------------

def _text(head):
    """A page or another text; None for data."""
    data = head[:1024].rstrip(b"\0")
    if not data or b"\0" in data:
        return None
    begin = data.lstrip(b"\xef\xbb\xbf \t\r\n")[:512].lower()
    if begin.startswith((b"<!doctype html", b"<html", b"<head")) or b"<html" in begin:
        return "an HTML page", PAGE_HINT
    if begin.startswith(b"<?xml"):
        return "an XML document", PAGE_HINT
    try:
        # the last character may be cut
        text = codecs.getincrementaldecoder("utf-8")().decode(data)
    except UnicodeDecodeError:
        return None
    if re.search(r"[^\t\r\n\f\x1b -~\xa0-\U0010ffff]", text):
        return None
    line = text.strip().split("\n")[0].strip()
    return 'a text that begins "%s"' % (line if len(line) <= 60 else line[:57] + "..."), ""


KERNELS = (_elf, _uimage, _zboot, _bzimage, _zimage, _image, _efi)


def _classify(source, head, deep=True):
    """What it is; `path` is left empty. `deep`: look into compressed data."""
    for reader in KERNELS + (_ramdisk_cpio,) + ((_compressed,) if deep else ()):
        found = reader(source, head)
        if found is not None:
            return found
    found = disk_images.find(source, head)
    if found is not None:
        return found
    for offset, magic, what, hint in OTHERS:
        if head[offset:offset + len(magic)] == magic:
            return Other("", source.size, source.size, what, hint)
    if not deep and compression.kind(head[:32]):
        return Other("", source.size, source.size, "compressed data", "")
    text = _text(head)
    if text:
        return Other("", source.size, source.size, *text)
    late = _late_ramdisk(source, head) if deep else None
    if late:
        return late
    if not head.strip(b"\0"):
        return disk_images.Disk("", source.size, source.size, "zeros", "blank", source.size, "", "", (), None)
    return Other("", source.size, source.size, NO_IDEA, "")


def _identify(path, role, follow=True):
    with _File(path, role, follow) as source:
        if source.size == 0:
            return Other(path, 0, 0, "empty", "")
        head = source.at(0, HEAD)
        return _classify(source, head.ljust(HEAD, b"\0"))._replace(path=path)


def identify(path):
    """What a file (or block device) is: a Kernel, Ramdisk, Disk, Packed or Other, whatever its name.

    Reads its first 36 KiB and what those point to, and unpacks the first 4 KiB of what is compressed (of bzip2, which
    gives nothing before that, a block of up to 900 kB: 30 ms instead of less than one).
    BootFileError: it cannot be read. A file that was cut short has `whole` above `size`.
    """
    return _identify(path, "file")


def _expect(path, role, kinds, follow):
    """Identify, and refuse what is none of `kinds` or is cut short."""
    found = _identify(path, role, follow)
    if found.size == 0:
        raise BootFileError("%s %s is empty. %s" % (role, path, AGAIN))
    if not isinstance(found, kinds) or getattr(found, "format", "") in NO_DISK:
        mixed = isinstance(found, (Kernel, Ramdisk, Disk)) and getattr(found, "format", "") not in NO_DISK
        hint = getattr(found, "hint", "") or (SWAP_HINT if mixed else AGAIN)
        raise BootFileError("%s %s is %s, and a %s is needed. %s" % (role, path, found.what, role, hint))
    if found.whole > found.size:
        raise BootFileError("%s %s is cut short: %s of at least %d bytes, and %d are there. %s"
                            % (role, path, found.what, found.whole, found.size, AGAIN))
    return found


def kernel(path, arch=None, whole=False, follow=True):
    """The Kernel in a file. `arch`: the kernel architecture that it must be for (Arch.kernel), and in a form that boots there.
    `whole`: unpack one that is compressed as a whole to its end; all others say how long they are. `follow`: it may be a link.
    BootFileError: it is something else, cut short, damaged, for another architecture, or in a form that nothing boots."""
    found = _expect(path, "kernel", Kernel, follow)
    if whole and found.wrapping:
        with _File(path, "kernel") as source:
            _to_the_end("kernel", path, lambda: sum(map(len, _expanded(_Reader(source), found.wrapping))))
    if arch is None:
        return found
    if found.arch != arch and not (found.arch == "x86" and arch in ("x86_64", "i386")):
        takers = sorted(row.debian for row in ARCHES.values() if row.kernel == found.arch)
        raise BootFileError("kernel %s is for %s and the guest needs one for %s. Give it that%s" % (
            path, found.arch, arch, ", or the guest the arch that goes with this one: %s" % " or ".join(takers) if takers else ""))
    if not _boots(found, LOADABLE[arch]):
        forms = ["%s%s" % (form, " (%s)" % ", ".join(kind or "plain" for kind in kinds) if kinds else "") for form, kinds in LOADABLE[arch].items()]
        raise BootFileError("kernel %s is %s, which nothing here boots. Give it as %s" % (path, found.what, " or ".join(forms)))
    return found


def _boots(found, forms):
    kinds = forms.get(found.format, ())
    if kinds is None:
        return not found.wrapping
    if found.format == "Image":
        return found.wrapping in kinds
    return not found.wrapping and found.compression in kinds


def ramdisk(path, whole=False, follow=True):
    """The Ramdisk in a file. `whole`: read it to its end, which finds what is damaged or cut short in compressed data
    (about as long as unpacking it takes; an archive in a compression that this machine cannot read is passed over).
    `follow`: it may be a link.
    BootFileError: it is something else, or cut short or damaged."""
    found = _expect(path, "ramdisk", (Ramdisk, Packed), follow)
    if isinstance(found, Packed):
        return Ramdisk(path, found.size, found.whole, found.what, found.compression, 0)
    if not whole:
        return found
    with _File(path, "ramdisk") as source:
        name, prefix = _to_the_end("ramdisk", path, lambda: _read_archives(source))
    return _ramdisk(source, name, prefix, found.size)._replace(path=path)


def _to_the_end(role, path, read):
    """What `read` returns; what it finds wrong is a BootFileError."""
    try:
        return read()
    except compression.CutShort as error:
        raise BootFileError("%s %s is cut short: %s. %s" % (role, path, error, AGAIN)) from None
    except compression.CompressionError as error:
        raise BootFileError("%s %s is damaged: %s. %s" % (role, path, error, AGAIN)) from None


class _Passing:
    """A stream as a source that is passed over once."""

    size = None

    def __init__(self, read):
        self._read, self._position = read, 0

    def at(self, offset, count):
        while self._position < offset:
            data = self._read(min(offset - self._position, compression.CHUNK))
            if not data:
                return b""
            self._position += len(data)
        data = self._read(count)
        self._position += len(data)
        return data


def _read_archives(source):
    """Pass over all archives of a ramdisk; (compression, offset) of the last. CompressionError says what is wrong."""
    offset, last = 0, ("", 0)
    while offset < source.size:
        data = source.at(offset, HEAD)
        rest = data.lstrip(b"\0")
        offset += len(data) - len(rest)
        if not rest:
            continue
        name = compression.kind(rest[:32])
        last = (name, offset)
        if name:
            unknown = compression.unknown_to_linux(rest[:32])
            if unknown:
                raise compression.CompressionError("Linux cannot unpack its archive at byte %d: %s. %s" % (offset, *unknown))
            offset = _pass(source, offset, name)
            if offset is None:
                return last
        else:
            if offset != len(data) - len(rest) and rest[:6] not in (b"070701", b"070702"):
                raise compression.CompressionError("behind its archive is data of no known kind (at byte %d)" % offset)
            offset, ended, whole, fault = _cpio(source, source.size, offset)
            if fault:
                raise compression.CompressionError("its archive is damaged at byte %d" % offset)
            if not ended or whole > source.size:
                raise compression.CutShort("its archive has no end")
    return last


def _pass(source, offset, name):
    """The offset behind a compressed archive; None if it cannot be read here."""
    read = _Reader(source, offset)
    try:
        stream = compression.Expanded(read, name)
        dummy, ended, dummy, fault = _cpio(_Passing(stream.read), 1 << 24)
        if fault or not ended:
            raise compression.CompressionError("the archive in its %s data %s" % (name, "is damaged" if fault else "has no end"))
        while stream.read(compression.CHUNK):
            pass
    except compression.Unreadable:
        return None
    return read.offset - len(stream.rest)


def disk(path, known=True, raw=False, follow=True, backed_by=None):
    """The Disk in a file (or block device). `known`: data of no known kind and zeros are refused; without it they are
    Disks of the formats "unknown" and "blank". `raw`: containers such as qcow2 are refused. `follow`: it may be a link.
    `backed_by`: function that says whether a path may be what a qcow2 disk is based on; without it none may.
    BootFileError: it is something else, cut short or damaged, or leads to other files."""
    if not known:
        found = _identify(path, "disk", follow)
        if isinstance(found, Other) and found.what == NO_IDEA:
            return Disk(path, found.size, found.whole, "a disk of no known kind", "unknown", found.size, "", "", (), None)
        if isinstance(found, Disk) and found.format == "blank":
            return found
    found = _expect(path, "disk", Disk, follow)
    if raw and found.format in CONTAINERS:
        raise BootFileError("disk %s is %s, and a raw one is needed. Convert it: qemu-img convert -O raw" % (path, found.what))
    if found.unfit:
        raise BootFileError("disk %s is %s and no guest gets it: %s. %s" % (path, found.what, found.unfit, WHOLE))
    if found.backing is not None and not (backed_by and backed_by(os.path.normpath(os.path.join(os.path.dirname(path), found.backing)))):
        raise BootFileError("disk %s is %s based on %s, which is no image of the registry. %s" % (path, found.what, found.backing, WHOLE))
    return found


# --- what a kernel says of itself -------------------------------------------

def _expanded(read, name):
    """The chunks of a compressed kernel."""
    stream = compression.Expanded(read, name, LARGEST_KERNEL)
    while not stream.ended:
        part = stream.part()
        if part:
            yield part


def _chunks(source):
    """The chunks of what is not compressed."""
    for offset in range(0, min(source.size, LARGEST_KERNEL), compression.CHUNK):
        yield source.at(offset, compression.CHUNK)


def _plain(source, depth=0):
    """The chunks of a kernel, unpacked. CompressionError: it cannot be."""
    head = source.at(0, HEAD).ljust(HEAD, b"\0")
    found = _classify(source, head)
    if not isinstance(found, Kernel) or depth > 2:
        return _chunks(source)
    if found.wrapping:
        return _expanded(_Reader(source), found.wrapping)
    offset, size, name = 0, source.size, ""
    if found.format == "bzImage":
        setup = ((head[0x1F1] or 4) + 1) * 512
        offset, size, name = setup + _le(head, "I", 0x248), _le(head, "I", 0x24C), found.compression
    elif found.format == "zImage":
        offset, size, name = _zimage_inside(source, head)
    elif found.format == "EFI zboot":
        offset, size, name = _le(head, "I", 8), _le(head, "I", 12), found.compression
    elif found.format == "uImage":
        if not found.compression:
            return _plain(_Part(source, 64, source.size), depth + 1)
        offset, name = 64, found.compression
    part = _Part(source, offset, size)
    return _expanded(_Reader(part), name) if name else _chunks(part)


def _scan(found, want_config):
    """(banner, configuration): what is found by reading a kernel; "" and None if it is not. Stops when it has what is wanted."""
    banner, text, tail = "", None, b""
    with _File(found.path, "kernel") as source:
        chunks = _plain(source)
        try:
            for chunk in chunks:
                data = tail + chunk
                match = None if banner else BANNER.search(data)
                if match:
                    banner = match.group(1).decode("ascii", "replace").strip()
                place = data.find(CONFIG_BEGIN + b"\x1f\x8b") if want_config else -1
                if place >= 0:
                    text = _embedded(data[place + len(CONFIG_BEGIN):], chunks)
                    break
                if banner and not want_config:
                    break
                tail = data[-1024:]
        except compression.CompressionError:
            pass
    return banner, text


def _embedded(data, chunks):
    """The configuration in a kernel, from where it begins."""
    read = iter([data])

    def more(dummy):
        return next(read, None) or next(chunks, b"")

    try:
        return compression.first(more, "gzip", CONFIG_SIZE).decode("ascii", "replace")
    except compression.CompressionError:
        return None


def version(found):
    """A Kernel's version: release, builder and the rest, such as "6.12.48+deb13-arm64 (debian-kernel@lists.debian.org) ...";
    "" if it does not say, or not in a compression that this machine can read. All but a bzImage are unpacked for it,
    until it is found (up to a second, ten times as long on an emulated machine). BootFileError: it cannot be read."""
    return found.version or _scan(found, False)[0]


def release(found):
    """The release alone, such as 6.12.48+deb13-arm64; "" if it is not known. As `version`."""
    return version(found).split(" ")[0]


def config(found, inside=True):
    """(where it was found, text) of a Kernel's configuration (its .config); (None, None) if it is not found: beside it, or in it.
    `inside`: unpack the kernel for it, as for `version`. BootFileError: the kernel cannot be read."""
    folder, base = os.path.split(found.path)
    names, match = [], re.match(r"vmlinu[xz]-(.+)$", base)
    for text in (found.version.split(" ")[0], match.group(1) if match else ""):
        if text and "config-" + text not in names:
            names.append("config-" + text)
    for name in names + ["config"]:
        try:
            with _File(os.path.join(folder, name), "file", follow=False) as source:
                text = source.at(0, CONFIG_SIZE).decode("ascii", "replace")
        except BootFileError:
            continue
        # many things are called config
        if CONFIG_LINE.search(text):
            return name + " beside it", text
    text = _scan(found, True)[1] if inside else None
    return (None, None) if text is None else ("the configuration inside of it", text)


def built_in(found, options):
    """Whether a Kernel has these options of its configuration (without CONFIG_) built in, as far as that can be known:
    (who says so or None, {option: True, False or None}). BootFileError: the kernel cannot be read."""
    source, text = config(found)
    if text is not None:
        return source, {option: re.search(r"^CONFIG_%s=y$" % re.escape(option), text, re.MULTILINE) is not None for option in options}
    said = version(found)
    if "debian-kernel@" in said or re.search(r"\+deb\d+", said):
        return "a Debian stock kernel", {option: False if option in DEBIAN_MODULES else None for option in options}
    return None, dict.fromkeys(options)


def why_ramdisk(found, drivers):
    """Why a Kernel needs a ramdisk to find its root disk; None if it does not, or if that is not known.
    `drivers`: the options that must be built in for the root disk (Arch.drivers) and its file system."""
    source, has = built_in(found, drivers)
    missing = " and ".join("CONFIG_" + option for option in drivers if has[option] is False)
    if not missing:
        return None
    if source == "a Debian stock kernel":
        return "it is a Debian stock kernel (%s), which has %s as modules" % (release(found), missing)
    return "%s says that %s is not built in" % (source, missing)


def check(kernel_path, ramdisk_path, row, hypervisor, file_system="ext4"):
    """BootFileError if a guest cannot boot from these files.

    `row`: its Arch. `hypervisor`: xen or qemu. `file_system`: of its root disk (Disk.format); what is not known to be
    one is not asked for. Returns the Kernel.
    """
    found = kernel(kernel_path, row.kernel)
    if row.platform:
        source, text = config(found, inside=False)
        if text is not None and not re.search(r"^CONFIG_%s=y$" % row.platform, text, re.MULTILINE):
            raise BootFileError("kernel %s is for other machines than a guest of arch %s: %s says that CONFIG_%s is not built in. "
                                "Give the guest a kernel for virtual machines" % (kernel_path, row.debian, source, row.platform))
    if ramdisk_path:
        ramdisk(ramdisk_path)
        return found
    drivers = row.drivers[hypervisor] + ((FILE_SYSTEM_DRIVER[file_system],) if file_system in FILE_SYSTEM_DRIVER else ())
    reason = why_ramdisk(found, drivers)
    if reason:
        raise BootFileError("kernel %s needs a ramdisk and the guest has none: %s. Give the guest the ramdisk (initrd) "
                            "made for this kernel" % (kernel_path, reason))
    return found
