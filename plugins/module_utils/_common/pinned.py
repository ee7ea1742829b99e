# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Directories that others can write to: no link in them leads elsewhere, and what is read or written is a file.

A pinned directory is a path below /proc/self/fd, as good as any other for `os` in this process: it stays that directory, whatever
others do to its names.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator

LARGEST = 1 << 20  # bytes of a file that is read as a whole
# a FIFO must not make us wait
_SAFELY = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Planted(OSError):
    """Something is no directory or file, but a link, a FIFO, a device or the like."""

    def __init__(self, path: str, what: str) -> None:
        super().__init__(errno.ELOOP, f"it is no {what}, but a link or something else that does not belong there", path)


@contextlib.contextmanager
def pin(folder: str, *names: str, make: bool = False) -> Iterator[str]:
    """The directory below a folder that these names lead to. The folder itself may be reached by links.
    make: make what is missing, for everybody to look into. FileNotFoundError, Planted."""
    descriptor, path = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC), folder
    try:
        for name in names:
            path = os.path.join(path, name)
            if make:
                _make(name, descriptor)
            try:
                below = os.open(name, os.O_RDONLY | os.O_DIRECTORY | _SAFELY, dir_fd=descriptor)
            except OSError as error:
                if error.errno in (errno.ENOTDIR, errno.ELOOP):
                    raise Planted(path, "directory") from None
                raise
            os.close(descriptor)
            descriptor = below
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)


def _make(name: str, descriptor: int) -> None:
    try:
        os.mkdir(name, 0o755, dir_fd=descriptor)
    except FileExistsError:
        return
    # whatever the umask is
    os.chmod(name, 0o755, dir_fd=descriptor)


def open_file(path: str, flags: int) -> int:
    """A descriptor of a file that has no other name. The directory is pinned, or not anybody's. FileNotFoundError, FileExistsError, Planted."""
    try:
        descriptor = os.open(path, flags | _SAFELY, 0o644)
    except OSError as error:
        # ENXIO: a FIFO that nobody reads, or a socket
        if error.errno in (errno.ELOOP, errno.ENXIO, errno.EISDIR):
            raise Planted(path, "file") from None
        raise
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
        os.close(descriptor)
        raise Planted(path, "file")
    return descriptor


def read(path: str) -> bytes:
    """What is in a small file. As `open_file`."""
    with os.fdopen(open_file(path, os.O_RDONLY), "rb") as stream:
        return stream.read(LARGEST)


def write(path: str, content: bytes) -> None:
    """Write a small file, safe on its disk. As `open_file`."""
    with os.fdopen(open_file(path, os.O_WRONLY | os.O_CREAT), "wb") as stream:
        stream.truncate()
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
