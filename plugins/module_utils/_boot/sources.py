# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where bytes come from: a file, a part of one, or a stream that is passed over once. All are read at places, never whole."""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Callable
from typing import Protocol

from ansible_collections.our.cloud.plugins.module_utils._boot import compression
from ansible_collections.our.cloud.plugins.module_utils._common import sparse
from ansible_collections.our.cloud.plugins.module_utils._common.errors import Refused


class BootFileError(Refused, ValueError):
    """A kernel, ramdisk or disk that a guest cannot boot; the text says which, what it is and what to do."""


class Source(Protocol):
    """What can be read at places."""

    size: int | None  # bytes; None if that is not known

    def at(self, offset: int, count: int) -> bytes:
        """Up to so many bytes from there; fewer where it ends."""


class File:
    """A file or block device, read at places. Closed at the end of a `with`."""

    def __init__(self, path: str, role: str, follow: bool = True) -> None:
        self._what, self._fd = f"{role} {path}", -1
        try:
            self._fd = sparse.open_data(path, follow)
            self.size = os.lseek(self._fd, 0, os.SEEK_END)
        except (OSError, ValueError) as error:
            self.close()
            if getattr(error, "errno", None) == errno.ELOOP and not follow:
                raise BootFileError(f"{self._what} is a link, which may lead to anybody's file. Put the file itself there") from None
            raise BootFileError(f"{self._what} cannot be read: {getattr(error, 'strerror', None) or error}") from None

    def __enter__(self) -> File:
        return self

    def __exit__(self, *dummy) -> None:
        self.close()

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def at(self, offset: int, count: int) -> bytes:
        if offset >= self.size:
            return b""
        try:
            return os.pread(self._fd, count, offset)
        except OSError as error:
            raise BootFileError(f"{self._what} cannot be read: {error.strerror}") from None


class Beginning:
    """The first bytes of something; how long it is nobody knows."""

    size = None

    def __init__(self, data: bytes) -> None:
        self._data = data

    def at(self, offset: int, count: int) -> bytes:
        return self._data[offset:offset + count] if offset < len(self._data) else b""


class Part:
    """A part of a source."""

    def __init__(self, source: Source, offset: int, size: int) -> None:
        self._source, self._offset = source, offset
        self.size = size if source.size is None else max(0, min(size, source.size - offset))

    def at(self, offset: int, count: int) -> bytes:
        return self._source.at(self._offset + offset, min(count, self.size - offset)) if offset < self.size else b""


class Stream:
    """Called, it gives a source's next bytes."""

    def __init__(self, source: Source, offset: int = 0) -> None:
        self._source, self.offset = source, offset

    def __call__(self, count: int) -> bytes:
        data = self._source.at(self.offset, count)
        self.offset += len(data)
        return data


def little(data: bytes, form: str, offset: int) -> int:
    """Unpack one number, little endian; 0 behind the end."""
    size = struct.calcsize(form)
    return struct.unpack("<" + form, data[offset:offset + size])[0] if 0 <= offset <= len(data) - size else 0


class Passing:
    """A stream as a source that is passed over once."""

    size = None

    def __init__(self, read: Callable[[int], bytes]) -> None:
        self._read, self._position = read, 0

    def at(self, offset: int, count: int) -> bytes:
        while self._position < offset:
            data = self._read(min(offset - self._position, compression.CHUNK))
            if not data:
                return b""
            self._position += len(data)
        data = self._read(count)
        self._position += len(data)
        return data
