# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A directory in which something is made before it is moved to its place, on a file system that several hosts share.

It holds a lock as long as its owner lives, on whatever host that is; what a killed one left is swept by the next.
The lock is a POSIX one: knfsd and the NFS client know those of each other, and those of flock they do not.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile

NEW, PART, LOCK = ".new-", ".part-", "lock"
ABANDONED = 3600  # seconds after which one that never got its lock counts as left behind


class Workspace:
    """`with Workspace(folder) as path:`"""

    def __init__(self, folder):
        self.folder = folder
        self.owner = "%s-%d-" % (os.uname().nodename, os.getpid())

    def __enter__(self):
        new = tempfile.mkdtemp(prefix=NEW + self.owner, dir=self.folder)
        self.lock = os.open(os.path.join(new, LOCK), os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        fcntl.lockf(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # locked before it has the name that is swept
        self.path = os.path.join(self.folder, PART + os.path.basename(new)[len(NEW):])
        os.rename(new, self.path)
        self._sweep()
        return self.path

    def __exit__(self, *dummy):
        os.close(self.lock)
        shutil.rmtree(self.path, ignore_errors=True)

    def _sweep(self):
        # the server's clock, whatever this host's says
        now = os.stat(self.path).st_mtime
        for name in os.listdir(self.folder):
            path = os.path.join(self.folder, name)
            # a process is never kept out by its own locks
            if name.startswith(PART) and not name.startswith(PART + self.owner) and not _is_held(os.path.join(path, LOCK)):
                shutil.rmtree(path, ignore_errors=True)
            elif name.startswith(NEW) and _age(path, now) > ABANDONED:
                shutil.rmtree(path, ignore_errors=True)


def _is_held(path):
    try:
        with open(path, "r+b") as lock:
            fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False


def _age(path, now):
    try:
        return now - os.stat(path).st_mtime
    except FileNotFoundError:
        return 0
