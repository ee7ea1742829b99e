# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The log of a build, its progress, and the message when a macrostep fails."""
from __future__ import annotations

import os
import re
import time
from dataclasses import dataclass

from ansible_collections.our.cloud.plugins.module_utils._recipe.recipe import Macrostep, RecipeError
from ansible_collections.our.cloud.plugins.module_utils._recipe.recipe_job import Job, names_of

TAIL = 15  # lines
LOG_END = 256 << 10  # bytes in which these lines are
FULL = 4  # MiB; with less, lack of space may be the reason for any failure
# The kernel's words, and apt's.
NO_SPACE = re.compile("No space left on device|enough free space")
READ_ONLY = " exec_appliance may write below the working directory alone: the appliance's /etc is ./etc there"


class Log:
    """The log of a build, and the progress file that the action plugin shows."""

    def __init__(self, job: Job) -> None:
        self.path = job.paths.log
        self.progress = job.options.progress or os.path.join(job.paths.state, "progress")
        self.file = None

    def __enter__(self) -> Log:
        self.file = open(self.path, "w", encoding="utf-8")
        return self

    def __exit__(self, *dummy) -> None:
        self.file.close()

    def say(self, text: str) -> None:
        self.file.write(text + "\n")
        self.file.flush()

    def tell(self, text: str) -> None:
        """Write a line to the log and to the progress file."""
        self.say(f"=== {text}")
        with open(self.progress, "a", encoding="utf-8") as file:
            file.write(f"{int(time.time())} {text}\n")

    def tail(self) -> str:
        """The last lines that the last command has written."""
        with open(self.path, "rb") as file:
            file.seek(max(0, os.path.getsize(self.path) - LOG_END))
            return last_lines(file.read().decode(errors="replace"))


def last_lines(text: str) -> str:
    """The last lines of a log after its last heading."""
    # of a line that was written over and over the last state counts, as on a terminal
    lines = [line.rstrip("\r").rpartition("\r")[2] for line in text.rstrip("\n").split("\n")]
    begin = max((number for number, line in enumerate(lines) if line.startswith(("-- ", "=== "))), default=-1)
    return "\n".join(lines[begin + 1:][-TAIL:]) or "(nothing)"


@dataclass(frozen=True)
class Ending:
    """How the script of a macrostep ended."""

    status: int
    told: bytes  # reported by its ERR trap: status, microstep, command, line, text; empty if the trap did not run
    known: str  # the last place that it reported: microstep, command, line
    tail: str  # the last lines of the log
    free: int  # MiB that could be written to the working directory
    stays: bool  # whether its state is kept for people to look at


def failure(job: Job, macrostep: Macrostep, ending: Ending) -> RecipeError:
    """The error for a macrostep that failed: what failed, what happens next, and what to do."""
    names = names_of(macrostep.microsteps)
    microstep, said = cause(job, names, ending)
    paths = job.paths
    if ending.stays:
        then = f"It is as it was left. {paths.shell} opens a shell in it, start_at={macrostep.name}/{microstep} goes on"
    else:
        then = f"The next build resumes with {macrostep.name}"
    following = [f"{macrostep.name}/{name}" for name in names[names.index(microstep) + 1:]]
    following += names_of(job.macrosteps[job.macrosteps.index(macrostep) + 1:])
    return RecipeError(
        f"{job.name}: macrostep {macrostep.name}, microstep {microstep}: {said}. Last lines of {paths.log}:\n{ending.tail}\n{then}."
        + space(job, ending.tail, ending.free) + (READ_ONLY if "Read-only file system" in ending.tail else ""), {
            "failed_at": {"macrostep": macrostep.name, "microstep": microstep, "next": following[0] if following else None},
            "recipe": job.name, "workdir": paths.workdir, "log": paths.log, "shell": paths.shell})


def cause(job: Job, names: list[str], ending: Ending) -> tuple[str, str]:
    """(microstep, description of the failure). names: those of the macrostep's microsteps."""
    told = ending.told.decode(errors="replace").split("\0")
    if len(told) >= 5 and told[1] in names:
        status, microstep, command, where, text = told[:5]
        return microstep, f"{command} ({os.path.join(job.data.path, where)}) failed with status {status}" + (f": {text.strip()}" if text.strip() else "")
    known = ending.known.split("\0")
    if len(told) < 5 and len(known) > 3 and known[0] in names:
        microstep, command, where = known[:3]
        said = f"{command} ({os.path.join(job.data.path, where)}) ended the macrostep's script with status {ending.status}, and nothing behind it ran"
        if ending.status < 128:
            said += ". Remedy: put exec and a trap for EXIT in parentheses, and they are the command's own"
        return microstep, said
    return names[0], f"its script ended with status {ending.status} before anything ran"


def space(job: Job, tail: str, free: int) -> str:
    """A sentence about disk space if the disk may be full, else "". tail: the last lines of the log; free: MiB"""
    if not NO_SPACE.search(tail) and free >= FULL:
        return ""
    return f" {job.paths.base} has {free} MiB free. Remedy: free some space, or choose another {job.options.base_option}"


def free(job: Job) -> int:
    """MiB that can be written to the working directory."""
    status = os.statvfs(job.paths.base)
    return status.f_bavail * status.f_frsize // 2**20
