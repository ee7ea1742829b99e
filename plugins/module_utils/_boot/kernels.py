# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a kernel is: one reader for each form, told from its first bytes and what they point to."""

from __future__ import annotations

import struct
import zlib

from ansible_collections.our.cloud.plugins.module_utils._boot import compression
from ansible_collections.our.cloud.plugins.module_utils._boot.kinds import Kernel, Other
from ansible_collections.our.cloud.plugins.module_utils._boot.sources import Source, little

SEARCH = 64 << 10  # an ARM kernel's compressed part begins within this many bytes behind its decompressor
ELF_ARCH = {3: "i386", 62: "x86_64", 40: "arm", 183: "arm64", 243: "riscv", 8: "mips", 20: "powerpc", 21: "powerpc", 22: "s390", 258: "loongarch"}
PE_ARCH = {0x14C: "i386", 0x8664: "x86_64", 0x1C0: "arm", 0x1C2: "arm", 0x1C4: "arm", 0xAA64: "arm64", 0x5064: "riscv", 0x6264: "loongarch"}
UBOOT_ARCH = {2: "arm", 3: "i386", 5: "mips", 7: "powerpc", 22: "arm64", 24: "x86_64", 26: "riscv"}
UBOOT_TYPE = {2: "kernel", 3: "ramdisk", 4: "multi-file image", 6: "script", 8: "device tree"}
UBOOT_COMPRESSION = {0: "", 1: "gzip", 2: "bzip2", 3: "lzma", 4: "lzo", 5: "lz4", 6: "zstd"}


def _kernel(source, form, arch, whole=None, inside="", **more):
    values = {"wrapping": "", "compression": inside, "version": "", **more}
    what = f"a kernel for {arch} ({form}{', ' + inside if inside else ''})"
    return Kernel("", source.size, source.size if whole is None else whole, what, form, arch, **values)


def _pe(source, head):
    """(machine, bytes that must be there, names of the sections) of an EFI program, else None.
    Microsoft's PE format: the header's place is at 0x3c; a signature is behind the sections."""
    place = little(head, "I", 0x3C)
    if head[:2] != b"MZ" or not 0x40 <= place <= 0x4000 or head[place:place + 4] != b"PE\0\0":
        return None
    machine, count, optional = (little(head, "H", place + offset) for offset in (4, 6, 20))
    if not count or optional < 96:
        return None
    whole, names = place + 24 + optional + 40 * count, []
    for index in range(min(count, 96)):
        section = source.at(place + 24 + optional + 40 * index, 40)
        if len(section) == 40:
            names.append(section[:8].rstrip(b"\0"))
            whole = max(whole, little(section, "I", 16) + little(section, "I", 20) if little(section, "I", 16) else 0)
    directory = place + 24 + (112 if little(head, "H", place + 24) == 0x20B else 96)
    if little(head, "I", directory - 4) > 4:
        whole = max(whole, little(head, "I", directory + 32) + little(head, "I", directory + 36))
    return machine, whole, names


def _bzimage(source, head):
    """Documentation/arch/x86/boot.rst: the header is at 0x1f1, the kernel behind setup_sects + 1 sectors."""
    if head[0x1FE:0x200] != b"\x55\xaa" or head[0x202:0x206] != b"HdrS":
        return None
    protocol, setup = little(head, "H", 0x206), ((head[0x1F1] or 4) + 1) * 512
    paragraphs = little(head, "I" if protocol >= 0x204 else "H", 0x1F4)
    arch = "x86" if protocol < 0x20C else "x86_64" if little(head, "H", 0x236) & 1 else "i386"
    place, version = little(head, "H", 0x20E), ""
    if place and place + 0x200 < setup:
        version = source.at(place + 0x200, 256).split(b"\0")[0].decode("ascii", "replace").strip()
    pe = _pe(source, head)
    return _kernel(source, "bzImage", arch, max(setup + paragraphs * 16, pe[1] if pe else 0),
                   compression.method(source.at(setup + little(head, "I", 0x248), 32)) if protocol >= 0x208 else None, version=version)


def zimage_inside(source: Source, head: bytes) -> tuple[int, int, str | None]:
    """(offset, size, compression) of the kernel in a zImage; (0, 0, None) if it is not found.
    arch/arm/boot/compressed/vmlinux.lds.S: a table says where the compressed part ends, nothing says where it begins."""
    table = little(head, "I", 0x38)
    entries = source.at(table, 12)
    if len(entries) < 12 or entries[4:8] != b"KLSZ":
        return 0, 0, None
    # it is followed by the size of what is in it
    end = little(entries, "I", 8)
    data = source.at(table, SEARCH)
    best, name = len(data), None
    for magic in (b"\xfd7zXZ\0", b"\x1f\x8b\x08", compression.LZ4_MAGIC, b"\x89LZO", b"\x5d\0\0"):
        place = data.find(magic, 0, best)
        while place >= 0:
            # the decompressor has the magic in it, too
            method = compression.method(data[place:place + 32])
            if method:
                best, name = place, method
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
    whole = max(little(head, "I", 0x2C) - little(head, "I", 0x28), pe[1] if pe else 0, 0x30)
    return _kernel(source, "zImage", "arm", whole, zimage_inside(source, head)[2])


def _image(source, head):
    """Documentation/arch/arm64/booting.rst and Documentation/arch/riscv/boot-image-header.rst: magic at 56."""
    if head[56:60] == b"ARM\x64":
        arch = "arm64"
    elif head[48:53] == b"RISCV" and head[56:60] == b"RSC\x05":
        arch = "riscv"
    else:
        return None
    pe, memory = _pe(source, head), little(head, "Q", 16)
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
                   max(64, little(head, "I", 8) + little(head, "I", 12), pe[1] if pe else 0),
                   next((method for method in compression.METHODS if name.startswith(method)), name))


def _uimage(source, head):
    """include/image.h of U-Boot, struct legacy_img_hdr; big endian, with a checksum of its own."""
    if head[:4] != b"\x27\x05\x19\x56":
        return None
    size, (arch, content, packed) = struct.unpack_from(">I", head, 12)[0], struct.unpack_from("BBB", head, 29)
    if zlib.crc32(head[:4] + bytes(4) + head[8:64]) != struct.unpack_from(">I", head, 4)[0]:
        return Other("", source.size, source.size, "a file of U-Boot whose header is damaged", "")
    if content == 2:
        return _kernel(source, "uImage", UBOOT_ARCH.get(arch, "unknown"), 64 + size, UBOOT_COMPRESSION.get(packed, "unknown"))
    return Other("", source.size, 64 + size, f"a {UBOOT_TYPE.get(content, 'file')} wrapped for U-Boot",
                 "Give the plain ramdisk, without its first 64 bytes" if content == 3 else "")


def _elf(source, head):
    """A kernel is no program: no interpreter, and addresses where kernels are, or Xen's note (PVH)."""
    if head[:4] != b"\x7fELF" or head[4] not in (1, 2) or head[5] not in (1, 2):
        return None
    wide, order = head[4] == 2, "<" if head[5] == 1 else ">"
    e_type, machine = struct.unpack_from(order + "HH", head, 16)
    place, sections = struct.unpack_from(order + ("QQ" if wide else "II"), head, 32 if wide else 28)
    size, count, section_size, section_count = struct.unpack_from(order + "HHHH", head, 54 if wide else 42)
    needed = 56 if wide else 32
    whole, program, high = max(64 if wide else 52, sections + section_size * section_count), e_type not in (2, 3) or size < needed, False
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
        return Other("", source.size, whole, {1: "an ELF object, such as a kernel module", 4: "a core dump"}.get(e_type, "an ELF program"), "")
    return _kernel(source, "ELF", ELF_ARCH.get(machine, "unknown"), whole)


def _efi(source, head):
    pe = _pe(source, head)
    if pe is None:
        return None
    if b".linux" in pe[2]:
        return Other("", source.size, pe[1], "a unified kernel image", "Give the kernel and the ramdisk that it was made of")
    return Other("", source.size, pe[1], "an EFI program", "")


READERS = (_elf, _uimage, _zboot, _bzimage, _zimage, _image, _efi)
