# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One move of a guest at a time, what is told of it meanwhile, and how it ended.

Under JOB_DIR: NAME.lock, held by the process that moves the guest; NAME.json, what it tells while it moves.
Under ENDED_DIR, which a reboot leaves: NAME.json, the last move from here that nobody has heard the end of yet.
"""

from __future__ import annotations

import fcntl
import glob
import json
import os
import time

JOB_DIR = "/run/our-cloud"
ENDED_DIR = "/var/lib/our-cloud/moves"


def put(path: str, facts: dict) -> None:
    """Write a file that others read at any moment: it appears whole."""
    part = f"{path}.{os.getpid()}"
    with open(part, "w", encoding="utf-8") as stream:
        json.dump(facts, stream)
    os.replace(part, path)


def fetch(path: str) -> dict | None:
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
        self.held: dict = {}

    def take(self) -> bool:
        """False if somebody else is moving this guest."""
        try:
            fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.lock.close()
            return False
        return True

    def say(self, **facts) -> None:
        """Tell vm_info."""
        self.held.update(facts, elapsed_ms=int((time.monotonic() - self.started) * 1000))
        put(self.path, self.held)

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


def running_job(name: str, folder: str = JOB_DIR) -> dict | None:
    """The move of this guest that is under way here, or None. What a dead one left behind does not count."""
    if not is_held(os.path.join(folder, name + ".lock")):
        return None
    # it may not have said a word yet
    return fetch(os.path.join(folder, name + ".json")) or {"name": name, "target": "another host", "phase": "checking", "percent": 0}


def under_way(folder: str = JOB_DIR) -> list[str]:
    """The names of the guests that are being moved from here."""
    return sorted(os.path.basename(path)[:-len(".lock")] for path in glob.glob(os.path.join(glob.escape(folder), "*.lock")) if is_held(path))


# --- how it ended -----------------------------------------------------------

def now() -> str:
    """The time as people and programs read it, UTC."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def begin(token: str, params: dict, source: str, folder: str = ENDED_DIR) -> dict:
    """Note that a move has begun, in the place of the one before: the record, to be given to `end`."""
    os.makedirs(folder, mode=0o700, exist_ok=True)
    record = {"token": token, "name": params["name"], "source": source, "target": params["target"], "mode": params["mode"], "began": now(),
              "ended": None, "result": None}
    put(os.path.join(folder, params["name"] + ".json"), record)
    return record


def end(record: dict, result: dict, folder: str = ENDED_DIR) -> None:
    """Note how it ended. result: what vm_migrate returns."""
    put(os.path.join(folder, record["name"] + ".json"), {**record, "ended": now(), "result": result})


def hear(name: str, token: str, folder: str = ENDED_DIR) -> None:
    """Whoever asked for the move has been told; nobody else need be."""
    path = os.path.join(folder, name + ".json")
    if (fetch(path) or {}).get("token") == token:
        os.unlink(path)


def outcome(record: dict) -> str:
    """How a move ended, as a sentence."""
    began = f"The move of {record['name']} to {record['target']} ({record['mode']}) that began at {record['began']}"
    if record["result"] is None:
        return (f"{began} did not come to its end: {record['source']} went down, or its process was killed. "
                "Look at both hosts with our.cloud.vm_info; a guest that was being saved has its state beside its disk")
    if record["result"].get("failed"):
        return f"{began} failed at {record['ended']}: {record['result'].get('msg', 'it does not say why')}"
    return f"{began} ended at {record['ended']}: it is on {record['result'].get('target', record['target'])}"


def unheard(folder: str = ENDED_DIR, jobs: str = JOB_DIR) -> list[dict]:
    """The last moves from here whose end nobody has been told yet.

    Each with name, source, target, mode, began, ended (None if it never came to its end), failed and text, a sentence.
    """
    found = []
    for path in sorted(glob.glob(os.path.join(glob.escape(folder), "*.json"))):
        record = fetch(path)
        if record is None or (record["result"] is None and is_held(os.path.join(jobs, record["name"] + ".lock"))):
            continue
        told = {key: record[key] for key in ("name", "source", "target", "mode", "began", "ended")}
        found.append({**told, "failed": record["result"] is None or bool(record["result"].get("failed")), "text": outcome(record)})
    return found
