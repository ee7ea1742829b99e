# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One move of a guest at a time, what is told of it meanwhile, and how it ended.

Under JOB_DIR: NAME.lock, held by the process that moves the guest; NAME.json, what it tells while it moves.
Under ENDED_DIR, which a reboot leaves: NAME.json, the last move from here that nobody has heard the end of yet.
"""

from __future__ import annotations

import dataclasses
import fcntl
import glob
import json
import os
import time
from collections.abc import Mapping
from typing import Any

from ansible_collections.our.cloud.plugins.module_utils._common import shapes
from ansible_collections.our.cloud.plugins.module_utils._guest.told import Ending, Progress
from ansible_collections.our.cloud.plugins.module_utils._move.options import Options

JOB_DIR = "/run/our-cloud"
ENDED_DIR = "/var/lib/our-cloud/moves"


@dataclasses.dataclass(frozen=True)
class Record:
    """A move from here, as it is noted until somebody has heard its end."""

    token: str  # what tells it from others of the guest
    name: str  # the guest
    source: str
    target: str
    mode: str  # live, suspend, offline
    began: str  # see `now`
    ended: str | None = None  # likewise
    result: dict[str, Any] | None = None  # what vm_migrate returns; None: it has not come to its end

    @property
    def failed(self) -> bool:
        """Whether it did not end well, or not at all."""
        return self.result is None or bool(self.result.get("failed"))


def put(path: str, facts: Mapping[str, Any]) -> None:
    """Write a file that others read at any moment: it appears whole."""
    part = f"{path}.{os.getpid()}"
    with open(part, "w", encoding="utf-8") as stream:
        json.dump(facts, stream)
    os.replace(part, path)


def fetch(path: str) -> dict[str, Any] | None:
    """What `put` wrote; None if there is nothing, or nothing whole."""
    try:
        with open(path, encoding="utf-8") as stream:
            return json.load(stream)
    except (FileNotFoundError, ValueError):
        return None


class Job:
    """The lock on a guest's move, and what vm_info reports of it."""

    def __init__(self, name: str, folder: str = JOB_DIR) -> None:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        self.path = os.path.join(folder, name + ".json")
        self.lock = open(os.path.join(folder, name + ".lock"), "a", encoding="ascii")
        self.started = time.monotonic()
        self.held = Progress()

    def take(self) -> bool:
        """False if somebody else is moving this guest."""
        try:
            fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.lock.close()
            return False
        return True

    def say(self, **facts: Any) -> None:
        """Tell vm_info. facts: fields of Progress."""
        self.held = dataclasses.replace(self.held, **facts, elapsed_ms=int((time.monotonic() - self.started) * 1000))
        put(self.path, shapes.said(self.held))

    def drop(self) -> None:
        """The move is over."""
        try:
            os.unlink(self.path)
        except FileNotFoundError:
            pass
        self.lock.close()


def is_held(path: str) -> bool:
    """Whether a process holds this lock file."""
    try:
        with open(path, "rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        pass
    return False


def running_job(name: str, folder: str = JOB_DIR) -> Progress | None:
    """The move of this guest that is under way here, or None. What a dead one left behind does not count."""
    if not is_held(os.path.join(folder, name + ".lock")):
        return None
    # it may not have said a word yet
    told = fetch(os.path.join(folder, name + ".json"))
    return shapes.of(Progress, told) if told else Progress(name, target="another host", phase="checking", percent=0)


def under_way(folder: str = JOB_DIR) -> list[str]:
    """The names of the guests that are being moved from here."""
    return sorted(os.path.basename(path)[:-len(".lock")] for path in glob.glob(os.path.join(glob.escape(folder), "*.lock")) if is_held(path))


# --- how it ended -----------------------------------------------------------

def now() -> str:
    """The time as people and programs read it, UTC."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def begin(token: str, options: Options, source: str, folder: str = ENDED_DIR) -> Record:
    """Note that a move has begun, in the place of the one before: the record, to be given to `end`."""
    os.makedirs(folder, mode=0o700, exist_ok=True)
    record = Record(token, options.name, source, options.target, options.mode, now())
    put(os.path.join(folder, options.name + ".json"), shapes.plain(record))
    return record


def end(record: Record, result: dict[str, Any], folder: str = ENDED_DIR) -> Record:
    """Note how it ended: the record with its end. result: what vm_migrate returns."""
    record = dataclasses.replace(record, ended=now(), result=result)
    put(os.path.join(folder, record.name + ".json"), shapes.plain(record))
    return record


def last(path: str) -> Record | None:
    """The record in this file; None if there is nothing, or nothing whole."""
    found = fetch(path)
    return shapes.of(Record, found) if found else None


def hear(name: str, token: str, folder: str = ENDED_DIR) -> None:
    """Whoever asked for the move has been told; nobody else need be."""
    path = os.path.join(folder, name + ".json")
    if (fetch(path) or {}).get("token") == token:
        os.unlink(path)


def outcome(record: Record) -> str:
    """How a move ended, as a sentence."""
    began = f"The move of {record.name} to {record.target} ({record.mode}) that began at {record.began}"
    if record.result is None:
        return (f"{began} did not come to its end: {record.source} went down, or its process was killed. "
                "Look at both hosts with our.cloud.vm_info; a guest that was being saved has its state beside its disk")
    if record.failed:
        return f"{began} failed at {record.ended}: {record.result.get('msg', 'it does not say why')}"
    return f"{began} ended at {record.ended}: it is on {record.result.get('target', record.target)}"


def unheard(folder: str = ENDED_DIR, jobs: str = JOB_DIR) -> list[Ending]:
    """The last moves from here whose end nobody has been told yet."""
    found = []
    for path in sorted(glob.glob(os.path.join(glob.escape(folder), "*.json"))):
        record = last(path)
        if record is None or (record.result is None and is_held(os.path.join(jobs, record.name + ".lock"))):
            continue
        found.append(Ending(outcome(record), record.name, record.source, record.target, record.mode, record.began, record.ended, record.failed))
    return found
