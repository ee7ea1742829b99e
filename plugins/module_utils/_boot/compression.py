# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compressed data: told by its magic, and read in bounded memory.

The methods are those that Linux unpacks by itself (lib/decompress.c): gzip, bzip2, lzma, xz, lzo, lz4 (its legacy
format) and zstd. Python has gzip, bzip2, lzma and xz; zstd comes with Python 3.14, so libzstd and liblz4 are called
here, which every Debian has because dpkg and apt need them. lzo is told and not read.
"""

from __future__ import annotations

import bz2
import ctypes
import functools
import lzma
import struct
import zlib
from collections.abc import Callable

from ansible_collections.our.cloud.plugins.module_utils._common.errors import Refused

METHODS = ("gzip", "bzip2", "lzma", "xz", "lzo", "lz4", "zstd")
CHUNK = 1 << 20
STEP = 32 << 10
MEMORY = 160 << 20  # bytes that a decompressor may take; `zstd -22` needs 128 MiB
LZ4_BLOCK = 8 << 20
LZ4_LARGEST = LZ4_BLOCK + LZ4_BLOCK // 255 + 16  # LZ4_COMPRESSBOUND of lz4.h
LZ4_MAGIC = b"\x02\x21\x4c\x18"
XZ_CHECKS = {4: "CRC64", 10: "SHA-256"}


class CompressionError(Refused, ValueError):
    """Compressed data that cannot be read: damaged, cut short, too large, or by a method that nothing here reads."""


class CutShort(CompressionError):
    """Compressed data whose end is missing."""


class Unreadable(CompressionError):
    """A method that this machine has no means to read. That says nothing against the data."""


def method(data: bytes) -> str:
    """The method by which `data` (bytes; 32 are enough) begins to be compressed, "" if by none. Where the magic number is
    short, the header after it is checked, too."""
    if data[:3] == b"\x1f\x8b\x08" and len(data) > 3 and not data[3] & 0xE0:
        return "gzip"
    if data[:6] == b"\xfd7zXZ\x00" and len(data) >= 12 and struct.unpack_from("<I", data, 8)[0] == zlib.crc32(data[6:8]):
        return "xz"
    if data[:4] == b"\x28\xb5\x2f\xfd":
        return "zstd"
    if data[:3] == b"BZh" and b"1" <= data[3:4] <= b"9" and data[4:10] in (b"1AY&SY", b"\x17rE8P\x90"):
        return "bzip2"
    if data[:4] == LZ4_MAGIC and len(data) >= 8 and 0 < struct.unpack_from("<I", data, 4)[0] <= LZ4_LARGEST:
        return "lz4"
    if data[:9] == b"\x89LZO\x00\x0d\x0a\x1a\x0a":
        return "lzo"
    if data[:3] == b"\x5d\x00\x00" and len(data) >= 13:
        dictionary, size = struct.unpack_from("<IQ", data, 1)
        if 4096 <= dictionary <= 1 << 30 and (size == (1 << 64) - 1 or size < 1 << 40):
            return "lzma"
    return ""


def unknown_to_linux(data: bytes) -> tuple[str, str] | None:
    """Why Linux does not unpack what begins so (24 bytes or more), and what to do: (reason, remedy); None if it does.
    lib/xz/xz_dec_stream.c knows no check but CRC32; xz takes CRC64 unless told otherwise."""
    check = data[7] & 0x0F if method(data) == "xz" else 0
    if check in (0, 1):
        return None
    return f"its check is {XZ_CHECKS.get(check, 'of an unknown kind')}", "Compress it with xz --check=crc32"


@functools.lru_cache(maxsize=None)
def _library(name):
    try:
        return ctypes.CDLL(name)
    except OSError:
        return None


class _Gzip:
    """zlib with the interface of bz2's and lzma's decompressors."""

    def __init__(self):
        self._engine, self._tail = zlib.decompressobj(31), b""
        self.eof, self.needs_input, self.unused_data = False, True, b""

    def decompress(self, data, limit):
        found = self._engine.decompress(self._tail + data, limit)
        self._tail = self._engine.unconsumed_tail
        self.eof, self.unused_data = self._engine.eof, self._engine.unused_data
        self.needs_input = not self._tail and len(found) < limit
        return found


class _Buffer(ctypes.Structure):
    # ZSTD_inBuffer and ZSTD_outBuffer of zstd.h
    _fields_ = [("data", ctypes.c_void_p), ("size", ctypes.c_size_t), ("position", ctypes.c_size_t)]


class _Zstd:
    """One frame, by libzstd. Its own bound on the window (128 MiB) bounds the memory."""

    def __init__(self):
        self._lib = _library("libzstd.so.1")
        if self._lib is None:
            raise Unreadable("zstd data cannot be read here: libzstd.so.1 is missing (Debian: libzstd1)")
        self._lib.ZSTD_createDStream.restype = ctypes.c_void_p
        self._lib.ZSTD_freeDStream.argtypes = [ctypes.c_void_p]
        self._lib.ZSTD_decompressStream.argtypes = [ctypes.c_void_p, ctypes.POINTER(_Buffer), ctypes.POINTER(_Buffer)]
        self._lib.ZSTD_decompressStream.restype = ctypes.c_size_t
        self._lib.ZSTD_isError.argtypes = [ctypes.c_size_t]
        self._stream = self._lib.ZSTD_createDStream()
        if not self._stream:
            raise CompressionError("there is no memory to read zstd data")
        self._tail = b""
        self.eof, self.needs_input, self.unused_data = False, True, b""

    def __del__(self):
        if getattr(self, "_stream", None):
            self._lib.ZSTD_freeDStream(self._stream)

    def decompress(self, data, limit):
        data = self._tail + data
        buffer = ctypes.create_string_buffer(limit)
        source = _Buffer(ctypes.cast(ctypes.c_char_p(data), ctypes.c_void_p), len(data), 0)
        target = _Buffer(ctypes.cast(buffer, ctypes.c_void_p), limit, 0)
        while True:
            left = self._lib.ZSTD_decompressStream(self._stream, ctypes.byref(target), ctypes.byref(source))
            if self._lib.ZSTD_isError(left):
                raise CompressionError("zstd data is damaged")
            if left == 0 or target.position == limit or source.position == len(data):
                break
        self.eof, rest = left == 0, data[source.position:]
        self._tail, self.unused_data = (b"", rest) if self.eof else (rest, b"")
        self.needs_input = not rest and target.position < limit
        return ctypes.string_at(buffer, target.position)


class _Lz4:
    """The legacy format (`lz4 -l`), by liblz4: blocks of 8 MiB, each with its size before it. It has no end of its own."""

    def __init__(self):
        self._lib = _lz4()
        self._data, self._found, self._begun = b"", b"", False
        self.eof, self.needs_input, self.unused_data = False, True, b""

    def _block(self):
        """Unpack the next block if it is all there."""
        if self._data[:4] == LZ4_MAGIC:
            self._data, self._begun = self._data[4:], True
        if not self._begun or len(self._data) < 4:
            return
        size = struct.unpack_from("<I", self._data)[0]
        if not 0 < size <= LZ4_LARGEST:
            self.eof, self.unused_data, self._data = True, self._data, b""
            return
        if len(self._data) < 4 + size:
            return
        buffer = ctypes.create_string_buffer(LZ4_BLOCK)
        got = self._lib.LZ4_decompress_safe(self._data[4:4 + size], buffer, size, LZ4_BLOCK)
        if got < 0:
            raise CompressionError("lz4 data is damaged")
        self._data, self._found = self._data[4 + size:], ctypes.string_at(buffer, got)

    def decompress(self, data, limit):
        self._data += data
        if not self._found:
            self._block()
        found, self._found = self._found[:limit], self._found[limit:]
        self.needs_input = not found and not self.eof
        return found

    def end(self):
        """Whether the data may end here."""
        return self._begun and not self._data and not self._found


def _lz4():
    library = _library("liblz4.so.1")
    if library is None:
        raise Unreadable("lz4 data cannot be read here: liblz4.so.1 is missing (Debian: liblz4-1)")
    return library


def _engine(name):
    if name == "gzip":
        return _Gzip()
    if name == "bzip2":
        return bz2.BZ2Decompressor()
    if name == "xz":
        return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=MEMORY)
    if name == "lzma":
        return lzma.LZMADecompressor(lzma.FORMAT_ALONE, memlimit=MEMORY)
    if name == "zstd":
        return _Zstd()
    if name == "lz4":
        return _Lz4()
    raise Unreadable(f"{name or 'unknown'} data cannot be read here")


class Expanded:
    """What compressed data says, as a stream.

    `read(count)` gives the compressed bytes, at most `count` of them, b"" at their end. `limit`: more bytes than that
    are not unpacked (CompressionError). Every failure is a CompressionError.
    `step`, `chunk`: bytes that are read and unpacked at a time. `ended`: all was given.
    `rest`: then, the bytes that were read from behind it.
    """

    def __init__(self, read: Callable[[int], bytes], name: str, limit: int = 1 << 32, step: int = CHUNK, chunk: int = CHUNK) -> None:
        self._read, self._step, self._chunk, self._left = read, step, chunk, limit
        self._ready = b""
        try:
            self._engine = _engine(name)
        except lzma.LZMAError as error:
            raise CompressionError(str(error)) from None
        self.name, self.rest, self.ended = name, b"", False

    def part(self) -> bytes:
        """The next bytes, as they come; b"" says nothing about the end, `ended` does."""
        engine, data = self._engine, b""
        try:
            if engine.needs_input:
                data = self._read(self._step)
                if not data:
                    if self.name == "lz4" and engine.end():
                        self.ended = True
                        return b""
                    raise CutShort(f"{self.name} data ends before its end")
            found = engine.decompress(data, self._chunk)
        except (zlib.error, lzma.LZMAError, OSError, EOFError, MemoryError) as error:
            raise CompressionError(f"{self.name} data is damaged ({error})") from None
        if engine.eof:
            self.ended, self.rest = True, engine.unused_data
        self._left -= len(found)
        if self._left < 0:
            raise CompressionError(f"{self.name} data unpacks to more than can be sensible")
        return found

    def read(self, count: int) -> bytes:
        """The next `count` bytes; fewer at the end."""
        parts, got = [self._ready], len(self._ready)
        while got < count and not self.ended:
            part = self.part()
            parts.append(part)
            got += len(part)
        data = b"".join(parts)
        self._ready = data[count:]
        return data[:count]


def first(read: Callable[[int], bytes], name: str, count: int) -> bytes:
    """The first `count` bytes of what compressed data says, or as many as there are. Takes no more compressed bytes
    than are needed, in steps of 32 KiB. `read` and failures: see Expanded; no data at all is CutShort."""
    if name == "lz4":
        # a block is large, and its beginning can be had alone
        data, buffer = read(2 * STEP), ctypes.create_string_buffer(count)
        block = data[8:8 + int.from_bytes(data[4:8], "little")]
        got = _lz4().LZ4_decompress_safe_partial(block, buffer, len(block), count, count)
        if got <= 0:
            raise CompressionError("lz4 data is damaged") if block else CutShort("lz4 data ends before its end")
        return ctypes.string_at(buffer, got)
    stream, data = Expanded(read, name, step=STEP, chunk=min(count, CHUNK)), b""
    while len(data) < count and not stream.ended:
        try:
            data += stream.part()
        except CutShort:
            if not data:
                raise
            break
    return data[:count]
