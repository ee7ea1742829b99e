# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The working directory of an appliance: its paths, its lock, and what one build leaves for the next.

In it are ``chroot`` (the appliance, seen from inside of its sandbox alone), ``output``, ``build.log`` and the build's own ``.build``: a layer for
each checkpoint, by its key; the scripts; ``memory.json``.
"""
from __future__ import annotations

import contextlib
import datetime
import fcntl
import json
import os
import re
import socket
import time
from typing import Any, TextIO

from ansible_collections.our.cloud.plugins.module_utils._recipe.recipe import RecipeError
from ansible_collections.our.cloud.plugins.module_utils._recipe.recipe_sandbox import user_name

# Values go into scripts as they are: a directory must not need quotes.
DIRECTORY = re.compile(r"/[\w./@+,=-]*")
EMPTY = "empty"  # the layer below all others
LIVE = "live"  # the one that is written to
# The sandbox of a killed build takes a moment to clean up after itself.
PATIENCE = 30


class Workdir:
    """The paths of one appliance's working directory."""

    def __init__(self, base: str, name: str) -> None:
        self.base, self.name = os.path.realpath(os.path.expanduser(base)), name
        self.workdir = os.path.join(self.base, name)
        self.lock = os.path.join(self.base, f".{name}.lock")
        self.chroot, self.output, self.log, self.shell, self.tmp = (
            os.path.join(self.workdir, part) for part in ("chroot", "output", "build.log", "shell", "tmp"))
        self.layers, self.state, self.scripts, self.view, self.enter, self.library, self.memory, self.by_hand = (
            os.path.join(self.workdir, ".build", part)
            for part in ("layers", "state", "scripts", "view", "enter.sh", "library.sh", "memory.json", "by-hand"))
        if not DIRECTORY.fullmatch(self.workdir):
            raise RecipeError(f"the working directory {self.workdir} has a character that would need quotes in a recipe."
                              " Remedy: choose another directory to build in")

    def layer(self, key: str) -> str:
        return os.path.join(self.layers, key)

    def variables(self, key: str) -> str:
        """Where the variables of a checkpoint are."""
        return os.path.join(self.layers, key + ".variables")

    def script(self, macrostep: str) -> str:
        """The script of a macrostep as it ran last."""
        return os.path.join(self.scripts, macrostep + ".sh")

    def exists(self) -> bool:
        return os.path.isdir(self.workdir)

    def refuse_foreign(self) -> None:
        """Refuse a directory that no build has made: one is removed with all that is in it. What was made has ``.build`` first."""
        mark = os.path.join(self.workdir, ".build")
        if not self.exists() or os.path.islink(self.workdir) or os.lstat(self.workdir).st_uid != os.geteuid():
            return  # make says so
        if os.listdir(self.workdir) and (os.path.islink(mark) or not os.path.isdir(mark)):
            raise RecipeError(f"{self.workdir} has other files in it and was not made by a build, which would remove them."
                              " Remedy: choose another directory to build in, or move what is there")

    def make(self) -> None:
        """The directories. Somebody else's is refused, who could change what is built."""
        os.makedirs(self.base, exist_ok=True)
        try:
            os.mkdir(self.workdir, 0o700)
        except FileExistsError:
            owner = os.lstat(self.workdir).st_uid
            if owner != os.geteuid() or os.path.islink(self.workdir):
                raise RecipeError(f"{self.workdir} belongs to user {owner} or is a link. Remedy: choose another directory to build in") from None
        self.refuse_foreign()
        for path in (self.layer(EMPTY), self.state, self.scripts, self.view, self.chroot, self.tmp):
            os.makedirs(path, exist_ok=True)


class Lock:
    """One build of an appliance at a time. The file says whose it is; the sandbox has it too, until its last process has ended.
    waits: until another build has ended, rather than be refused."""

    def __init__(self, paths: Workdir, waits: bool = False) -> None:
        self.paths, self.waits, self.file = paths, waits, None

    def __enter__(self) -> TextIO:
        os.makedirs(self.paths.base, exist_ok=True)
        deadline = time.monotonic() + PATIENCE
        while not self.take():
            holder = read(self.paths.lock).strip()
            known = re.match(r"process (\d+) of \S+ on (\S+) ", holder)
            gone = known and known.group(2) == socket.gethostname() and not os.path.exists(f"/proc/{known.group(1)}")
            if not self.waits and (known and not gone or time.monotonic() > deadline):
                raise RecipeError(f"{self.paths.name} is being built by {holder or 'somebody'}. Remedy: wait until that ends, or end it")
            time.sleep(0.1)
        self.file.truncate(0)
        self.file.write(f"process {os.getpid()} of {user_name()} on {socket.gethostname()} since {datetime.datetime.now().isoformat(' ', 'seconds')}\n")
        self.file.flush()
        return self.file

    def take(self) -> bool:
        """Try to take the lock. False if another build holds it, or if the file was replaced meanwhile."""
        self.file = os.fdopen(os.open(self.paths.lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600), "r+", encoding="utf-8")
        try:
            fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(self.file.fileno()), os.stat(self.paths.lock)):
                return True
        except (BlockingIOError, FileNotFoundError):
            pass
        self.file.close()
        return False

    def __exit__(self, *dummy: object) -> None:
        if not self.paths.exists():
            remove(self.paths.lock)
        self.file.close()


class Memory:
    """What a build leaves for the next one, besides checkpoints."""

    NOTHING = {
        "built": {},  # {macrostep: hash of what it was when it ran last}
        "stopped": None,  # the key of the macrostep that was left before its end
        "chain": [],  # [macrostep, key] of the layers that the working state is made of
        "live": None,  # the macrostep that is half done: its name, the microstep to go on with, the key of the state, whether it is clean
        "output": None,  # the key and the files of the output
    }

    def __init__(self, path: str) -> None:
        self.path, self.values = path, dict(self.NOTHING)
        # what is no such thing is forgotten: checkpoints are found by their keys
        with contextlib.suppress(ValueError):
            found = json.loads(read(path) or "{}")
            if isinstance(found, dict) and self.can_be({**self.NOTHING, **found}):
                self.values.update(found)

    @staticmethod
    def can_be(found: dict[str, Any]) -> bool:
        """Whether a build can have left this."""
        def texts(values: object, *names: str) -> bool:
            return isinstance(values, dict) and all(isinstance(values.get(name), str) for name in names or values)

        chain, live, output = found["chain"], found["live"], found["output"]
        return (texts(found["built"]) and isinstance(found["stopped"], (str, type(None)))
                and isinstance(chain, list) and all(isinstance(pair, list) and [type(text) for text in pair] == [str, str] for pair in chain)
                and (live is None or texts(live, "macrostep", "microstep", "key") and "clean" in live)
                and (output is None or texts(output, "key") and texts(output.get("files"))))

    def __getitem__(self, name: str) -> Any:
        return self.values[name]

    def update(self, **values: Any) -> None:
        self.values.update(values)
        write(self.path + ".new", json.dumps(self.values))
        os.replace(self.path + ".new", self.path)


def default_base() -> str:
    """Where working directories are unless a recipe or its caller says so."""
    return os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "our.cloud", "builds")


def read(path: str) -> str:
    """The text of a file; nothing if there is none."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape", newline="") as file:
            return file.read()
    except FileNotFoundError:
        return ""


def write(path: str, text: str) -> None:
    with open(path, "w", encoding="utf-8", errors="surrogateescape", newline="") as file:
        file.write(text)


def remove(path: str) -> None:
    try:
        os.remove(path)
    except FileNotFoundError:
        pass
