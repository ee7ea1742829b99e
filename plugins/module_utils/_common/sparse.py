# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Large files with holes: compared, copied and sent without reading or writing what is not there.

A file is a row of blocks of 4 MiB; blocks without data are passed over. Its checksum is the SHA-256 of its blocks'
SHA-256, one line of hexadecimal digits each, so that blocks can be read by several threads and holes cost nothing.
coreutils know it, too:

    split --bytes=4M --filter='sha256sum | cut -c 1-64' FILE | sha256sum
"""

from __future__ import annotations

import collections
import concurrent.futures
import errno
import functools
import gzip
import hashlib
import os
import stat
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Protocol

BLOCK = 4 << 20
PIECE = 64 << 10  # zeros of this length become a hole
ALGORITHM = "sha256-4m"
WORKERS = min(4, (os.cpu_count() or 1) + 1)
BEHIND = 16  # blocks that are written before the first of them are read again
FRAME = struct.Struct(">QI")  # in a pack: a block's offset and length; length 0 is the end of a file
ZERO = bytes(PIECE)
# copy_file_range: not between these two files, or not here
CANNOT = (errno.EXDEV, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS)


# A block's offset, and the function that reads it
Block = tuple[int, Callable[[], bytes]]


class SparseError(OSError):
    """A file is not, or is no longer, what it was said to be."""


class Source(Protocol):
    """Where blocks come from."""

    size: int  # bytes, with the holes

    def close(self) -> None:
        """It is not needed any more."""

    def skip(self) -> None:
        """Pass over what nobody reads."""

    def data(self) -> int:
        """Bytes that a copy takes."""

    def blocks(self) -> Iterator[Block]:
        """The blocks with data, in order."""


# --- where blocks come from -------------------------------------------------

def extents(descriptor: int, size: int) -> Iterator[tuple[int, int]]:
    """(begin, end) of what a file has that is no hole. A block device tells of no holes."""
    end = 0
    while end < size:
        try:
            begin = os.lseek(descriptor, end, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return
            if error.errno != errno.EINVAL:
                raise
            yield end, size
            return
        end = min(size, os.lseek(descriptor, begin, os.SEEK_HOLE))
        yield begin, end


def open_data(path: str, follow: bool = True) -> int:
    """A descriptor of a file or block device for reading; OSError says that it is something else. follow: it may be a link to one."""
    # a FIFO without a writer must not make us wait
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW))
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode) or stat.S_ISBLK(mode):
        return descriptor
    os.close(descriptor)
    raise OSError(errno.EINVAL, "it is a directory" if stat.S_ISDIR(mode) else "it is neither a file nor a block device", path)


class FileSource:
    """The blocks of a file or block device. To be closed, or used in a `with`. follow: it may be a link."""

    def __init__(self, path: str, follow: bool = True) -> None:
        self.path = path
        self.descriptor = open_data(path, follow)
        self.size, self._written = self._state()

    def _state(self) -> tuple[int, int | None]:
        # a device has no size of its own in its inode, and its time is not that of its content
        status, size = os.fstat(self.descriptor), os.lseek(self.descriptor, 0, os.SEEK_END)
        return size, status.st_mtime_ns if stat.S_ISREG(status.st_mode) else None

    def __enter__(self) -> FileSource:
        return self

    def __exit__(self, *dummy: object) -> None:
        self.close()

    def close(self) -> None:
        os.close(self.descriptor)

    def skip(self) -> None:
        """Nothing to skip: no data is read before it is asked for."""

    def data(self) -> int:
        """Bytes that a copy takes."""
        return sum(end - begin for begin, end in extents(self.descriptor, self.size))

    def blocks(self) -> Iterator[Block]:
        """(offset, function that reads it) of each block with data."""
        following = 0
        for begin, end in extents(self.descriptor, self.size):
            for offset in range(max(following, begin // BLOCK * BLOCK), end, BLOCK):
                yield offset, functools.partial(self._read, offset)
                following = offset + BLOCK
        if self._state() != (self.size, self._written):
            raise SparseError(f"{self.path} changed while it was read")

    def _read(self, offset: int) -> bytes:
        data = os.pread(self.descriptor, BLOCK, offset)
        if len(data) != min(BLOCK, self.size - offset):
            raise SparseError(f"{self.path} changed while it was read")
        return data


class BytesSource:
    """A small file that is in memory."""

    def __init__(self, content: bytes) -> None:
        self.content, self.size = content, len(content)

    def close(self) -> None:
        """Nothing is open."""

    def skip(self) -> None:
        """Nothing has to be read."""

    def data(self) -> int:
        return self.size

    def blocks(self) -> Iterator[Block]:
        for offset in range(0, self.size, BLOCK):
            yield offset, functools.partial(self.content.__getitem__, slice(offset, offset + BLOCK))


class PackSource:
    """The next file of a pack, which is read once and in order."""

    def __init__(self, stream: gzip.GzipFile, size: int, data: int) -> None:
        self.stream, self.size, self._data = stream, size, data

    def close(self) -> None:
        """The pack goes on with the next file."""

    def skip(self) -> None:
        """Pass over it."""
        for dummy in self.blocks():
            pass

    def data(self) -> int:
        return self._data

    def blocks(self) -> Iterator[Block]:
        while True:
            offset, length = FRAME.unpack(self._exactly(FRAME.size))
            if not length and offset == self.size:
                return
            if offset % BLOCK or not length or length != min(BLOCK, self.size - offset):
                raise SparseError("the pack is damaged")
            yield offset, functools.partial(bytes, self._exactly(length))

    def _exactly(self, count: int) -> bytes:
        try:
            data = self.stream.read(count)
        except (EOFError, zlib.error) as error:
            raise SparseError(f"the pack is damaged: {error}") from None
        if len(data) != count:
            raise SparseError("the pack ends too early")
        return data


def pack(sources: Iterable[Source], path: str) -> None:
    """Write files one behind the other, without their holes and compressed."""
    with gzip.open(path, "wb", compresslevel=1) as stream:
        for source in sources:
            for offset, read in source.blocks():
                data = read()
                stream.write(FRAME.pack(offset, len(data)))
                stream.write(data)
            stream.write(FRAME.pack(source.size, 0))


def unpack(path: str) -> gzip.GzipFile:
    """The stream of a pack, for PackSource."""
    return gzip.open(path, "rb")


# --- checksums and copies ---------------------------------------------------

def _spread(function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
    """The results of a function over items, in order, by several threads. Never more of them under way than are needed."""
    with concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:
        pending: collections.deque[concurrent.futures.Future] = collections.deque()
        for item in items:
            if len(pending) == 2 * WORKERS:
                yield pending.popleft().result()
            pending.append(pool.submit(function, item))
        while pending:
            yield pending.popleft().result()


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@functools.lru_cache(maxsize=4)
def _digest_of_hole(length: int) -> str:
    return _digest(bytes(length))


def _total(size: int, digests: Mapping[int, str]) -> str:
    """The checksum of a file, from {offset: digest} of its blocks with data."""
    whole = hashlib.sha256()
    for offset in range(0, size, BLOCK):
        whole.update(f"{digests.get(offset) or _digest_of_hole(min(BLOCK, size - offset))}\n".encode())
    return f"{ALGORITHM}:{whole.hexdigest()}"


def checksum(source: Source) -> str:
    """The checksum of a source."""
    def digest(block: Block) -> tuple[int, str]:
        offset, read = block
        return offset, _digest(read())

    return _total(source.size, dict(_spread(digest, source.blocks())))


def _write(descriptor: int, data: bytes, offset: int) -> None:
    """Write a block, leaving out its zeros."""
    begin = None
    for place in range(0, len(data) + PIECE, PIECE):
        if place < len(data) and not data.startswith(ZERO[:len(data) - place], place):
            begin = place if begin is None else begin
        elif begin is not None:
            _write_all(descriptor, memoryview(data)[begin:place], offset + begin)
            begin = None


def _write_all(descriptor: int, data: memoryview, offset: int) -> None:
    while data:
        count = os.pwrite(descriptor, data, offset)
        data, offset = data[count:], offset + count


def copy(source: Source, path: str) -> str:
    """Copy a source to a new file that is safe on its disk when this returns, and return the checksum of what was read.

    What was written is read again, from the disk or server and not from this machine's memory, while later blocks are
    still being written. A CRC sees whether it is the same, at a third of the price of a digest.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    digests: dict[int, str] = {}
    codes: dict[int, int] = {}

    def put(offset: int, read: Callable[[], bytes]) -> tuple[int, str]:
        data = read()
        _write(descriptor, data, offset)
        codes[offset] = zlib.crc32(data)
        return offset, _digest(data)

    def look(offsets: Iterable[int]) -> None:
        os.fdatasync(descriptor)
        for offset in offsets:
            os.posix_fadvise(descriptor, offset, BLOCK, os.POSIX_FADV_DONTNEED)
            if zlib.crc32(os.pread(descriptor, BLOCK, offset)) != codes[offset]:
                raise SparseError(f"{path} is not what was written there (at byte {offset})")

    def steps() -> Iterator[Callable[[], Any]]:
        written: list[int] = []
        for offset, read in source.blocks():
            yield functools.partial(put, offset, read)
            written.append(offset)
            # _spread has seen the end of all but the last few
            if len(written) == 2 * WORKERS + BEHIND:
                yield functools.partial(look, written[:BEHIND])
                del written[:BEHIND]
        last.extend(written)

    last: list[int] = []
    try:
        os.fchmod(descriptor, 0o644)
        os.ftruncate(descriptor, source.size)
        for result in _spread(lambda step: step(), steps()):
            if result:
                digests[result[0]] = result[1]
        for dummy in _spread(look, ([offset] for offset in last)):
            pass
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return _total(source.size, digests)


def clone(origin: str, path: str) -> None:
    """Copy a file to a new one, by the file system or the server itself where they can. What is read is not compared. A link is refused."""
    with FileSource(origin, follow=False) as source:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.ftruncate(descriptor, source.size)
            for begin, end in extents(source.descriptor, source.size):
                while begin < end:
                    begin += _clone_part(source.descriptor, descriptor, begin, end)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _clone_part(origin: int, descriptor: int, begin: int, end: int) -> int:
    try:
        count = os.copy_file_range(origin, descriptor, end - begin, begin, begin)
    except OSError as error:
        if error.errno not in CANNOT:
            raise
        count = 0
    if not count:
        data = os.pread(origin, min(BLOCK, end - begin), begin)
        if not data:
            raise SparseError("the image changed while it was copied")
        _write(descriptor, data, begin)
        count = len(data)
    return count
