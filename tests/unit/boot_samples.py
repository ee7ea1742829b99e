# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Small kernels, ramdisks and disks, each as its format's description says."""

from __future__ import annotations

import bz2
import ctypes
import gzip
import lzma
import struct
import uuid
import zlib

DEBIAN = "6.12.48+deb13-amd64 (debian-kernel@lists.debian.org) #1 SMP"
OWN = "6.1.0-own (me@here) (gcc 14) #1 SMP"
UUID = "0fc63daf-8483-4772-8e79-3d69d8477de4"


def put(data, offset, form, *values):
    struct.pack_into("<" + form, data, offset, *values)


def compress(kind, data):
    if kind == "gzip":
        return gzip.compress(data, mtime=0)
    if kind == "bzip2":
        return bz2.compress(data)
    if kind in ("xz", "lzma"):
        return lzma.compress(data, {"xz": lzma.FORMAT_XZ, "lzma": lzma.FORMAT_ALONE}[kind], **({"check": lzma.CHECK_CRC32} if kind == "xz" else {}))
    if kind.startswith("xz "):
        return lzma.compress(data, lzma.FORMAT_XZ, {"xz CRC64": lzma.CHECK_CRC64, "xz SHA-256": lzma.CHECK_SHA256, "xz none": lzma.CHECK_NONE}[kind])
    if kind == "zstd":
        library = ctypes.CDLL("libzstd.so.1")
        library.ZSTD_compress.restype = ctypes.c_size_t
        room = ctypes.create_string_buffer(len(data) + 1024)
        size = library.ZSTD_compress(room, ctypes.c_size_t(len(room)), data, ctypes.c_size_t(len(data)), 3)
        return room.raw[:size]
    if kind == "lz4":
        library, result = ctypes.CDLL("liblz4.so.1"), b"\x02\x21\x4c\x18"
        for begin in range(0, len(data), 8 << 20):
            part = data[begin:begin + (8 << 20)]
            room = ctypes.create_string_buffer(len(part) * 2 + 1024)
            size = library.LZ4_compress_default(part, room, len(part), len(room))
            result += struct.pack("<I", size) + room.raw[:size]
        return result
    return b"\x89LZO\x00\x0d\x0a\x1a\x0a" + data


def inside(banner=OWN, config=None):
    """A kernel, unpacked."""
    data = b"\0" * 70000 + b"Linux version %s" + b"\0" * 50 + b"Linux version " + banner.encode() + b"\n\0" + b"\1" * 5000
    if config is not None:
        data += b"IKCFG_ST" + gzip.compress(config.encode(), mtime=0) + b"IKCFG_ED"
    return data + bytes(range(256)) * 100


def efi(machine, size, wide=True, place=0x40, sections=((b".text", 0x200),), certificate=0):
    """An EFI header, and `size` bytes behind it."""
    data = bytearray(size)
    data[0:2] = b"MZ"
    put(data, 0x3C, "I", place)
    data[place:place + 4] = b"PE\0\0"
    optional = 160 if wide else 144
    put(data, place + 4, "HH", machine, len(sections))
    put(data, place + 20, "H", optional)
    put(data, place + 24, "H", 0x20B if wide else 0x10B)
    directory = place + 24 + (112 if wide else 96)
    put(data, directory - 4, "I", 6)
    if certificate:
        put(data, directory + 32, "II", size - certificate, certificate)
    for index, (name, begin) in enumerate(sections):
        at = place + 24 + optional + 40 * index
        data[at:at + len(name)] = name
        put(data, at + 16, "II", size - certificate - begin, begin)
    return data


def bzimage(version=DEBIAN, protocol=0x20F, wide=True, content=None, kind="zstd"):
    body = compress(kind, content if content is not None else inside()) + b"\0\0\0\0"
    body += b"\0" * (-len(body) % 16)
    data = bytearray(0x1000) + body
    data[0x1F1] = 7
    put(data, 0x1F4, "I", len(body) // 16)
    data[0x1FE:0x200] = b"\x55\xaa"
    data[0x202:0x206] = b"HdrS"
    put(data, 0x206, "H", protocol)
    put(data, 0x236, "H", int(wide))
    put(data, 0x248, "II", 0, len(body))
    if version:
        put(data, 0x20E, "H", 0x600)
        data[0x800:0x800 + len(version)] = version.encode()
    return bytes(data)


def zimage(content=None, kind="xz", big=False):
    content = inside() if content is None else content
    packed = compress(kind, content) + struct.pack("<I", len(content))
    data = bytearray(0x800)
    struct.pack_into(">I" if big else "<I", data, 0x24, 0x016F2818)
    put(data, 0x28, "II", 0, len(data) + len(packed) + 64)
    put(data, 0x30, "III", 0x04030201, 0x45454545, 0x600)
    put(data, 0x600, "III", 6, 0x5A534C4B, len(data) + len(packed) - 4)
    # the decompressor knows what it looks for
    data[0x700:0x706] = b"\xfd7zXZ\0"
    return bytes(data) + packed + b"\0" * 64


def image(content=None, with_efi=True, memory=None, signed=0):
    content = inside() if content is None else content
    size = 0x1000 + len(content) + signed
    data = efi(0xAA64, size, certificate=signed) if with_efi else bytearray(size)
    data[0x1000:0x1000 + len(content)] = content
    put(data, 16, "Q", memory or size + 0x4000)
    data[56:60] = b"ARM\x64"
    return bytes(data)


def zboot(content=None, kind="gzip", name=None):
    packed = compress(kind, image() if content is None else content)
    data = efi(0xAA64, 0x1000 + len(packed), place=0x80, sections=((b".text", 0x1000),))
    data[0x1000:] = packed
    data[4:8] = b"zimg"
    put(data, 8, "II", 0x1000, len(packed))
    data[24:24 + len(name or kind)] = (name or kind).encode()
    return bytes(data)


def uimage(content, kind=2, arch=2, packed=0):
    head = struct.pack(">7I4B32s", 0x27051956, 0, 0, len(content), 0, 0, 0, 5, arch, kind, packed, b"name")
    return head[:4] + struct.pack(">I", zlib.crc32(head)) + head[8:] + content


def elf(machine=62, wide=True, kind=2, address=None, interpreter=False, note=b"", order="<", content=None):
    content = inside() if content is None else content
    if address is None:
        address = 0xFFFFFFFF81000000 if wide else 0xC1000000
    parts = [(1, address, content)] + ([(3, 0, b"/lib/ld.so\0")] if interpreter else []) + ([(4, 0, note)] if note else [])
    size, table = (56, 64) if wide else (32, 52)
    offset, headers, body = table + size * len(parts), b"", b""
    for what, where, data in parts:
        place = offset + len(body)
        headers += (struct.pack(order + "IIQQQQQQ", what, 5, place, where, where, len(data), len(data), 8) if wide
                    else struct.pack(order + "8I", what, place, where, where, len(data), len(data), 5, 4))
        body += data
    head = b"\x7fELF" + bytes([2 if wide else 1, 1 if order == "<" else 2, 1]) + b"\0" * 9
    head += struct.pack(order + ("HHIQQQIHHHHHH" if wide else "HHIIIIIHHHHHH"), kind, machine, 1, address, table, 0, 0, table, size, len(parts), 64, 0, 0)
    return head + headers + body


def cpio(files=(("init", b"#!/bin/sh\n"),), magic=b"070701", padding=512):
    data = b""
    for name, content in (*files, ("TRAILER!!!", b"")):
        name = name.encode() + b"\0"
        numbers = (0, 0o100644, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name), 0)
        data += magic + b"".join(b"%08X" % number for number in numbers) + name
        data += b"\0" * (-len(data) % 4) + content
        data += b"\0" * (-len(data) % 4)
    return data + b"\0" * (-len(data) % padding)


EARLY = cpio((("kernel/x86/microcode/GenuineIntel.bin", b"\1" * 100),))


def ext4(size=1 << 20, label=b"root", journal=True, extents=True, large=False):
    data = bytearray(size)
    put(data, 1024 + 4, "I", size // 1024)
    put(data, 1024 + 56, "H", 0xEF53)
    put(data, 1024 + 92, "II", 4 if journal else 0, (0x40 if extents else 0) | (0x80 if large else 0))
    data[1128:1144] = uuid.UUID(UUID).bytes
    data[1144:1144 + len(label)] = label
    if large:
        put(data, 1024 + 0x150, "I", 1)
    return bytes(data)


def xfs(size=1 << 20):
    data = bytearray(size)
    data[:16] = b"XFSB" + struct.pack(">IQ", 4096, size // 4096)
    data[32:48] = uuid.UUID(UUID).bytes
    data[108:112] = b"root"
    return bytes(data)


def iso(blocks=40):
    data = bytearray(blocks * 2048)
    data[0x8000:0x8007] = b"\x01CD001\x01"
    data[0x8000 + 40:0x8000 + 72] = b"DEBIAN".ljust(32)
    put(data, 0x8000 + 80, "I", blocks)
    put(data, 0x8000 + 128, "H", 2048)
    return bytes(data)


def qcow2(clusters=6, backing=b"", version=3, shift=16, features=0, encryption=0, backing_format=b"raw"):
    cluster = 1 << shift
    data = bytearray(clusters * cluster)
    struct.pack_into(">4sIQIIQIIQQI", data, 0, b"QFI\xfb", version, 512 if backing else 0, len(backing), shift, 1 << 30, encryption, 2, 3 * cluster, cluster, 1)
    if version == 3:
        struct.pack_into(">Q", data, 72, features)
        struct.pack_into(">II", data, 96, 4, 104)
    if backing_format:
        struct.pack_into(">II8s", data, 104 if version == 3 else 72, 0xE2792ACA, len(backing_format), backing_format)
    data[512:512 + len(backing)] = backing
    struct.pack_into(">Q", data, cluster, 2 * cluster)
    for index in range(clusters):
        struct.pack_into(">H", data, 2 * cluster + 2 * index, 1)
    return bytes(data)


def mbr(size=1 << 20, kind=0x83, code=b"\xeb\x63\x90"):
    data = bytearray(size)
    data[:len(code)] = code
    data[446:462] = struct.pack("<B3xB3xII", 0x80, kind, 64, size // 512 - 64)
    data[510:512] = b"\x55\xaa"
    return data


def gpt(size=1 << 20, sector=512, code=b"\xeb\x63\x90"):
    data = mbr(size, 0xEE, code)
    data[sector:sector + 8] = b"EFI PART"
    put(data, sector + 32, "Q", size // sector - 1)
    data[sector + 56:sector + 72] = uuid.UUID(UUID).bytes_le
    put(data, sector + 72, "QII", 2, 4, 128)
    entry = 2 * sector + 128
    data[entry:entry + 16] = uuid.UUID(UUID).bytes_le
    put(data, entry + 32, "QQ", 64, 127)
    data[entry + 56:entry + 64] = "root".encode("utf-16-le")
    return bytes(data)
