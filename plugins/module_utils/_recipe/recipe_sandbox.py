# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The sandbox that an appliance is built in: processes and mounts of its own, which end with it, however it ends.

A sandbox is a mount and a process namespace (with a user namespace for an ordinary user). In it the appliance's layers lie over
each other at ``WORKDIR/chroot``; outside that is an empty directory. Process 1 stops what was started and unmounts what was
mounted, newest first, when its command ends or when nobody holds its leash any more; if it is killed itself, the kernel does
the same. So nothing is left on this computer, not even by a build that was killed.
"""
from __future__ import annotations

import fcntl
import os
import pwd
import shlex
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import IO, Any, BinaryIO

from ansible_collections.our.cloud.plugins.module_utils._recipe.recipe import RecipeError

# Programs of this computer; the same for everybody, so that a build does not depend on who runs it.
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PASSED_ON = ("http_proxy", "https_proxy", "ftp_proxy", "no_proxy")
# Seconds for process 1 to end the sandbox: it gives processes ten of them, and unmounting writes what is not on the disk yet.
END_TIMEOUT = 120
# The file descriptors that we pass into a sandbox begin here. Debian's sh cannot redirect those above 9, so the low ones are left to the
# programs in the sandbox.
HIGH = 90

OVERLAY = "userxattr,volatile"
# Bytes for the names of layers: the kernel takes a page of options.
LAYERS = 4096 - 80

# Prints how layers can be kept in the directory $1.
PROBE = f"""set -eu
cd "$1"
rm -rf probe
mkdir -p probe/lower probe/upper probe/work probe/root
if mount -t overlay -o lowerdir=probe/lower,upperdir=probe/upper,workdir=probe/work,{OVERLAY} overlay probe/root 2>/dev/null &&
    : 2>/dev/null >probe/root/file; then
    echo overlay
    umount probe/root
else
    echo copies
fi
rm -rf probe
"""

ENTER = f"""#!/usr/bin/env bash
# Runs a command in the sandbox of an appliance, as its process 1: enter COMMAND...
# From the environment: RECIPE_WORKDIR, RECIPE_LAYERS, RECIPE_SNAPSHOTS (overlay or copies), RECIPE_LOWER (layers, the top one first),
# RECIPE_UPPER (the layer that is written to, or nothing), RECIPE_FROM (what it is a copy of at first), RECIPE_LEASH (a file descriptor
# that comes to its end when nobody wants the sandbox any more).
set -euo pipefail
umask 022

# What no namespace takes with it.
detach_loops() {{
    local file loop
    for file in /sys/block/loop*/loop/backing_file; do
        if [ -f "$file" ] && [[ $(<"$file") == "$RECIPE_WORKDIR"/* ]]; then
            loop=${{file#/sys/block/}}
            losetup --detach "/dev/${{loop%%/*}}"
        fi
    done
}}

lay() {{
    local options=lowerdir=$RECIPE_LOWER
    mount --bind "$RECIPE_WORKDIR" "$RECIPE_WORKDIR"
    cd "$RECIPE_LAYERS"
    if [ -n "$RECIPE_UPPER" ] && [ ! -e "$RECIPE_UPPER" ]; then
        if [ -n "$RECIPE_FROM" ]; then cp -a --reflink=auto "$RECIPE_FROM" "$RECIPE_UPPER"; else mkdir "$RECIPE_UPPER"; fi
    fi
    if [ "$RECIPE_SNAPSHOTS" = copies ]; then
        mount --bind --make-private "${{RECIPE_UPPER:-${{RECIPE_LOWER%%:*}}}}" "$RECIPE_ROOT"
        [ -n "$RECIPE_UPPER" ] || mount -o remount,bind,ro "$RECIPE_ROOT"
    else
        if [ -n "$RECIPE_UPPER" ]; then
            rm -rf work
            mkdir work
            options+=,upperdir=$RECIPE_UPPER,workdir=work,{OVERLAY}
        else
            options+=,userxattr
        fi
        # the newer system calls take no long list of layers
        LIBMOUNT_FORCE_MOUNT2=always mount -t overlay -o "$options" overlay "$RECIPE_ROOT"
    fi
    cd /
}}

# This computer, of which only the working directory can be written to. What is mounted in there on one side is seen on the other.
view() {{
    mount --make-rshared "$RECIPE_WORKDIR"
    mount --bind "$RECIPE_VIEW" "$RECIPE_VIEW"
    mount --make-private "$RECIPE_VIEW" # or all that is put there would be shared
    mount --rbind / "$RECIPE_VIEW"
    "$RECIPE_PYTHON" -IS -c '
import ctypes, os, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
for path, add, drop in ((sys.argv[1], 1, 0), (sys.argv[2], 0, 1)):
    attributes = struct.pack("=QQQQ", add, drop, 0, 0)
    if libc.syscall(442, -100, os.fsencode(path), 0x8000, attributes, len(attributes)):  # mount_setattr, AT_RECURSIVE, RDONLY
        sys.exit("mount_setattr: %s. Linux 5.12 or newer is needed" % os.strerror(ctypes.get_errno()))
' "$RECIPE_VIEW" "$RECIPE_VIEW$RECIPE_WORKDIR"
}}

runs() {{
    local line
    {{ line=$(<"/proc/$1/stat"); }} 2>/dev/null && [[ ${{line##*) }} != [ZX]* ]]
}}

leave() {{
    local status=$? pid id target end=$((SECONDS + 10))
    trap '' TERM
    set +e
    for pid in $(cd /proc && printf '%s\\n' [0-9]* | sort -rn); do
        [ "$pid" != 1 ] && kill -TERM "$pid" 2>/dev/null || continue
        while runs "$pid" && [ "$SECONDS" -lt "$end" ]; do sleep 0.02; done
        kill -KILL "$pid" 2>/dev/null
    done
    tac /proc/self/mountinfo | while read -r id _ _ _ target _; do
        if [[ " $mounts " != *" $id "* && $target != "$RECIPE_VIEW"* ]]; then
            target=$(printf '%b' "$target")
            umount "$target" 2>/dev/null || umount --lazy "$target"
        fi
    done
    detach_loops
    exit "$status"
}}

detach_loops
lay
view
mounts=$(cut -d ' ' -f 1 /proc/self/mountinfo | tr '\\n' ' ')
trap leave EXIT
trap 'exit 143' TERM
if [ -n "${{RECIPE_LEASH:-}}" ]; then
    {{ read -ru "$RECIPE_LEASH" _ || kill -TERM 1; }} &
fi
"$@" <&0 &
wait "$!"
"""


class Sandbox:
    """The sandbox of one working directory. paths: see recipe_workdir.Workdir."""

    def __init__(self, paths: Any) -> None:
        self.paths = paths
        self.root = os.geteuid() == 0
        self.snapshots: str | None = None  # how layers are kept, overlay or copies; None: not found out yet

    def prepare(self) -> None:
        """Find out whether a sandbox can be made and how layers are kept in it."""
        done = self.simple(["bash", "-c", PROBE, "bash", self.paths.layers], mounts=True)
        if done.returncode:
            remedy = "" if self.root else (
                " An ordinary user needs newuidmap (apt-get install uidmap), a line in /etc/subuid and one in /etc/subgid,"
                " and a kernel that lets him make user namespaces.")
            raise RecipeError(f"this computer does not let {user_name()} make the namespaces that a build runs in: {last_line(done.stdout)}.{remedy}"
                              " Remedy: run it as root (--become)" + (" of a computer or container that may mount (CAP_SYS_ADMIN)" if self.root else ""))
        self.snapshots = last_line(done.stdout)
        with open(self.paths.enter, "w", encoding="utf-8") as file:
            file.write(ENTER)

    def unshare(self, mounts: bool) -> list[str]:
        """The program that makes a sandbox, or one that only is root of the appliance's files."""
        argv = ["unshare"]
        if not self.root:
            argv += ["--map-root-user", "--map-auto"]
        if mounts:
            argv += ["--mount", "--uts", "--ipc", "--pid", "--fork", "--kill-child", "--mount-proc"]
        return argv if len(argv) > 1 else []

    def simple(self, argv: Sequence[str], mounts: bool = False) -> subprocess.CompletedProcess[bytes]:
        """Run a command for the appliance's files, which have other owners than whoever builds."""
        try:
            return subprocess.run([*self.unshare(mounts), *argv], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                  env=base_environment(self.paths.tmp), check=False)
        except FileNotFoundError as exc:
            raise RecipeError(f"a build needs {exc.filename}, which this computer lacks. Remedy: apt-get install util-linux") from exc

    def remove(self, *paths: str) -> None:
        """Remove what an appliance's files or directories are."""
        done = self.simple(["rm", "-rf", "--one-file-system", *paths])
        if done.returncode:
            raise RecipeError(f"{paths[0]} cannot be removed: {last_line(done.stdout)}")

    def environment(self, lower: Sequence[str], upper: str = "", start: str = "", variables: Mapping[str, str] | None = None) -> dict[str, str]:
        """What enter is told. lower: the names of layers, the lowest first; upper: the one to write to, at first a copy of start."""
        paths = self.paths
        if self.snapshots == "copies" and not start and lower:
            start = lower[-1]
        return {
            **base_environment(paths.tmp),
            "RECIPE_WORKDIR": paths.workdir, "RECIPE_LAYERS": paths.layers, "RECIPE_ROOT": paths.chroot, "RECIPE_VIEW": paths.view,
            "RECIPE_SNAPSHOTS": self.snapshots, "RECIPE_LOWER": ":".join([*reversed(lower), "empty"]), "RECIPE_UPPER": upper, "RECIPE_FROM": start,
            "RECIPE_PYTHON": os.path.abspath(sys.executable), "RECIPE_LIBRARY": paths.library, "RECIPE_STATE": paths.state,
            **(variables or {}),
        }

    def most_layers(self, name: str) -> int | None:
        """How many layers of such names go over each other; None: any number."""
        return LAYERS // len(name + ":") if self.snapshots == "overlay" else None

    def write_shell(self, lower: Sequence[str], upper: str) -> None:
        """A program for people, who look at the appliance and may change it; then it is not the recipe's alone any more."""
        environment = self.environment(lower, upper)
        argv = ["env", "-i", *(f"{name}={value}" for name, value in environment.items()), *self.unshare(True), "bash", self.paths.enter]
        with open(self.paths.shell, "w", encoding="utf-8") as file:
            file.write(f"""#!/usr/bin/env bash
# A shell, or a command, beside the appliance as the last build left it: shell [COMMAND...]. `chroot .` leads into it.
set -euo pipefail
exec 9<>{shlex.quote(self.paths.lock)}
flock -n 9 || {{ echo "it is being built by $(cat {shlex.quote(self.paths.lock)})" >&2; exit 1; }}
echo "process $$ of $(id -un) on $(hostname) since $(date '+%F %T'), a shell" >{shlex.quote(self.paths.lock)}
: >{shlex.quote(self.paths.by_hand)}
[ $# -gt 0 ] || set -- bash
exec {shlex.join(argv)} bash -c 'cd "$RECIPE_ROOT" && exec "$@"' bash "$@"
""")
        os.chmod(self.paths.shell, 0o700)

    def run(self, argv: Sequence[str], environment: Mapping[str, str], log: IO, held: Iterable[IO] = ()) -> tuple[int, bytes]:
        """Run a command in the sandbox to its end; its status and what it wrote to RECIPE_TOLD. held: files that it keeps open as long as it lives."""
        # the sandbox ends when we close our end of the leash, or are gone
        leash, hold = pipe()
        told, tells = pipe()
        passed = [fcntl.fcntl(file.fileno(), fcntl.F_DUPFD_CLOEXEC, HIGH) for file in (leash, tells, *held)]
        with leash, hold, told, tells:
            with subprocess.Popen(
                    [*self.unshare(True), "bash", self.paths.enter, *argv], stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                    env={**environment, "RECIPE_LEASH": str(passed[0]), "RECIPE_TOLD": str(passed[1])}, pass_fds=passed, start_new_session=True) as process:
                try:
                    for number in passed:
                        os.close(number)
                    process.wait()
                finally:
                    hold.close()
                    stop(process)
            tells.close()
            return process.returncode, told.read()


def stop(process: subprocess.Popen) -> None:
    """Wait for process 1 to clean up after itself; killing it leaves that to the kernel."""
    try:
        process.wait(END_TIMEOUT)
    except subprocess.TimeoutExpired:
        process.kill()


def pipe() -> tuple[BinaryIO, BinaryIO]:
    """The two ends of a new pipe: the one to read from, the one to write to."""
    reading, writing = os.pipe()
    return os.fdopen(reading, "rb"), os.fdopen(writing, "wb")


def base_environment(tmp: str) -> dict[str, str]:
    environment = {"PATH": PATH, "HOME": os.path.expanduser("~"), "LC_ALL": "C.UTF-8", "TZ": "UTC", "TMPDIR": tmp}
    environment.update((name, os.environ[name]) for name in PASSED_ON if name in os.environ)
    return environment


def user_name() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def last_line(output: bytes) -> str:
    lines = output.decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else ""
