# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Guests that are on their way to one target count together: each notes in the store what it will need there, then looks at the others' notes.

STORE/.our-cloud-moves/UUID.json, made by the source before its prechecks and removed when the move is over. Of two that note at the same time at least
one sees the other; the earlier one goes, by the time of the store's server.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
import time
from dataclasses import dataclass

from ansible_collections.our.cloud.plugins.module_utils._common import shapes

FOLDER = ".our-cloud-moves"
LARGEST = 65536


@dataclass(frozen=True)
class Said:
    """What a note says."""

    name: str  # the guest
    uuid: str
    target: str  # the host that it is on its way to
    memory: int  # MiB that it will need there
    until: float  # when the note counts no more, seconds since 1970


def read(path: str) -> tuple[Said, float] | None:
    """A note and the server's time of it; None for what is none. No link is followed, and no pipe waited for."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    about = os.fstat(descriptor)
    if not stat.S_ISREG(about.st_mode):
        os.close(descriptor)
        return None
    with open(descriptor, "rb") as stream:
        try:
            note = json.loads(stream.read(LARGEST))
            return Said(str(note["name"]), str(note["uuid"]), str(note["target"]), int(note["memory"]), float(note["until"])), about.st_mtime
        except (ValueError, KeyError, TypeError, OverflowError):
            return None


def to(root: str, target: str) -> list[str]:
    """The names of the guests on their way to a host."""
    folder = os.path.join(root, FOLDER)
    try:
        entries = sorted(os.listdir(folder))
    except OSError:
        # nobody has ever been moved
        return []
    notes = [read(os.path.join(folder, entry)) for entry in entries if entry.endswith(".json")]
    return [note[0].name for note in notes if note and note[0].target == target and note[0].until >= time.time()]


class Note:
    """This guest's note. memory: MiB that it will need at the target; seconds: how long the move may take at most."""

    def __init__(self, root: str, name: str, uuid: str, target: str, memory: int, seconds: float) -> None:
        self.folder = os.path.join(root, FOLDER)
        self.path = os.path.join(self.folder, uuid + ".json")
        self.said = Said(name, uuid, target, memory, time.time() + seconds)

    def leave(self) -> None:
        """Put it there. What lies under its name is of a move of this guest that is over."""
        with contextlib.suppress(FileExistsError):
            os.mkdir(self.folder, 0o700)
        if not stat.S_ISDIR(os.lstat(self.folder).st_mode):
            raise OSError(f"{self.folder} is no directory")
        part = f"{self.path}.{os.uname().nodename}.{os.getpid()}"
        with contextlib.suppress(FileNotFoundError):
            os.unlink(part)
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with open(descriptor, "w", encoding="utf-8") as stream:
            json.dump(shapes.plain(self.said), stream)
            stream.flush()
            os.fsync(descriptor)
        os.replace(part, self.path)

    def others(self) -> list[Said]:
        """The notes of the guests on their way to the same target that came before."""
        mine = read(self.path)
        found = []
        for entry in sorted(os.listdir(self.folder)):
            note = read(os.path.join(self.folder, entry)) if entry.endswith(".json") else None
            if note is None or note[0].uuid == self.said.uuid or note[0].target != self.said.target or note[0].until < time.time():
                continue
            if mine is None or (note[1], note[0].uuid) < (mine[1], self.said.uuid):
                found.append(note[0])
        return found

    def remove(self) -> None:
        """The move is over."""
        with contextlib.suppress(OSError):
            os.unlink(self.path)
