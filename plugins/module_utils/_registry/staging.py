# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A directory in which something is made before it is moved to its place, on a file system that several hosts share.

It holds a lock as long as its owner lives, on whatever host that is; what a killed one left is swept by the next.
The lock is a POSIX one: knfsd and the NFS client know those of each other, and those of flock they do not.
Others can write to the file system: a link or FIFO of that name is no staging directory, and goes.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Callable

NEW, PART, LOCK = ".new-", ".part-", "lock"
ABANDONED = 3600  # seconds after which one that never got its lock counts as left behind


class Staging:
    """`with Staging(folder) as path:`

    rescue: called with the path of a staging directory before it is removed, one's own or one that was left: takes out of it what must not go.
    If that fails (OSError), the directory stays, for the next one to try.
    """

    def __init__(self, folder: str, rescue: Callable[[str], None] | None = None) -> None:
        self.folder, self.rescue = folder, rescue or (lambda path: None)
        self.owner = f"{os.uname().nodename}-{os.getpid()}-"

    def __enter__(self) -> str:
        new = tempfile.mkdtemp(prefix=NEW + self.owner, dir=self.folder)
        self.lock = os.open(os.path.join(new, LOCK), os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        fcntl.lockf(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # locked before it has the name that is swept
        self.path = os.path.join(self.folder, PART + os.path.basename(new)[len(NEW):])
        os.rename(new, self.path)
        self._sweep()
        return self.path

    def __exit__(self, *dummy: object) -> None:
        self._remove(self.path, self.lock)

    def _remove(self, path: str, lock: int | None) -> None:
        try:
            self.rescue(path)
        except OSError:
            return
        finally:
            # before the file goes: NFS would keep one that is open, and its directory
            if lock is not None:
                os.close(lock)
        shutil.rmtree(path, ignore_errors=True)

    def _sweep(self) -> None:
        # the server's clock, whatever this host's says
        now = os.stat(self.path).st_mtime
        for name in os.listdir(self.folder):
            path = os.path.join(self.folder, name)
            status = _status(path) if name.startswith((PART, NEW)) else None
            # a process is never kept out by its own locks
            if status is None or name.startswith(PART + self.owner):
                continue
            if not stat.S_ISDIR(status.st_mode):
                _unlink(path)
            elif name.startswith(PART):
                held, lock = _take(os.path.join(path, LOCK))
                if not held:
                    self._remove(path, lock)
            elif now - status.st_mtime > ABANDONED:
                shutil.rmtree(path, ignore_errors=True)


def _take(path: str) -> tuple[bool, int | None]:
    """Take the lock of what may be left behind: (whether somebody has it, its descriptor or None if there is no lock)."""
    try:
        lock = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return False, None
    except OSError as error:
        return error.errno != errno.ELOOP, None
    try:
        if stat.S_ISREG(os.fstat(lock).st_mode):
            fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        return True, None
    return False, lock


def _status(path: str) -> os.stat_result | None:
    try:
        return os.lstat(path)
    except FileNotFoundError:
        return None


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
