# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Programs that the lab runs, to their end or as processes of the caller, and the files that say which those are.

Whatever goes wrong is a LabError that names the remedy.
"""
from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable

from ansible_collections.our.cloud.plugins.module_utils._common.errors import Refused

QEMU = "qemu-system-x86_64"
PROGRAMS = {
    QEMU: "qemu-system-x86",
    "qemu-img": "qemu-utils",
    "ssh-keygen": "openssh-client",
    "vde_switch": "vde2",
}


class LabError(Refused):
    """Something that the person in front of the lab must know, with what to do."""


def run(argv: list[str]) -> str:
    """Run a program to its end; its output, or a LabError with its last words."""
    try:
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    except FileNotFoundError as exc:
        raise LabError(missing_programs([argv[0]])) from exc
    output = done.stdout.decode(errors="replace").strip()
    if done.returncode:
        raise LabError(f"{argv[0]} ended with status {done.returncode}: {output[-2000:]}")
    return output


def missing_programs(missing: list[str]) -> str:
    packages = " ".join(sorted({PROGRAMS.get(name, name) for name in missing}))
    return f"the lab needs {', '.join(missing)}, which this machine lacks. Remedy: apt-get install {packages}"


def search_path() -> str:
    return os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin"


def running_pid(pid_file: str, mark: str) -> int | None:
    """The pid in the file if that process runs and has ``mark`` among its arguments, else None."""
    try:
        with open(pid_file, encoding="ascii") as file:
            pid = int(file.read())
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            arguments = file.read().decode(errors="replace").split("\0")
    except (FileNotFoundError, ProcessLookupError, ValueError):
        return None
    return pid if mark in arguments else None


def end_process(pid: int, pid_file: str, mark: str, name: str, timeout: float = 20) -> None:
    """End exactly this process; killing it is the last resort."""
    for sig in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.kill(pid, sig)
        except ProcessLookupError:
            return
        if wait_for(lambda: not os.path.exists(f"/proc/{pid}") or running_pid(pid_file, mark) != pid, timeout):
            return
    raise LabError(f"process {pid} of {name} does not end")


def wait_for(condition: Callable[[], bool], timeout: float) -> bool:
    """Whether the condition came true within the bound."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def create_key(path: str, comment: str) -> tuple[str, bool]:
    """An ed25519 key pair without passphrase, mode 0600, made once. Returns (public key, whether it was made now)."""
    made = not os.path.exists(path)
    if made:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", path])
    with open(path + ".pub", encoding="ascii") as file:
        return file.read().strip(), made


def read_line(path: str) -> str:
    try:
        with open(path, encoding="ascii") as file:
            return file.readline().strip()
    except FileNotFoundError:
        return ""


def remove(path: str) -> None:
    try:
        os.remove(path)
    except FileNotFoundError:
        pass
