# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Asks a machine how it fares, and what of it is older than what is installed. It only looks, and needs no network."""

from __future__ import annotations

import glob
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TypeVar

from ansible_collections.our.cloud.plugins.module_utils._common.bounded import bounded
from ansible_collections.our.cloud.plugins.module_utils._common.errors import CloudError
from ansible_collections.our.cloud.plugins.module_utils._site import log, systemd
from ansible_collections.our.cloud.plugins.module_utils._site.machine_facts import Machine, Outdated, Room, Store, Waiting
from ansible_collections.our.cloud.plugins.module_utils._site.store import MARKER

Answer = TypeVar("Answer")

# Seconds that the store, and the list of processes, have to answer
PATIENCE = 10
APT_TIME = 180  # s that apt may take to compute upgrades on a machine that is emulated
# Where files lie that a machine cannot do without; those that are one file system count once
ROOMS = ("/", "/boot", "/var")
# Packages of which it is asked what is installed
PACKAGES = ("libvirt-daemon", "qemu-system-*", "xen-hypervisor-*")
DELETED = " (deleted)"
MOVES = 5  # of the site's log


def read(path: str, root: str = "/") -> str:
    """A small file's text; empty if it is not there."""
    try:
        with open(os.path.join(root, path.lstrip("/")), encoding="utf-8", errors="replace") as stream:
            return stream.read()
    except OSError:
        return ""


# --- what runs, and what is installed ---------------------------------------

def booted(stat: str) -> int:
    """When the machine has started, seconds since 1970, of /proc/stat."""
    found = re.search(r"^btime (\d+)$", stat, re.MULTILINE)
    return int(found.group(1)) if found else 0


def is_xen(root: str = "/") -> bool:
    """Whether Xen runs, and this is its first domain."""
    return "control_d" in read("proc/xen/capabilities", root)


def xen_version(root: str = "/") -> str:
    """Of the Xen that runs here; empty if none does."""
    version = [read(f"sys/hypervisor/version/{part}", root).strip() for part in ("major", "minor", "extra")]
    return f"{version[0]}.{version[1]}{version[2]}" if is_xen(root) and version[0] else ""


def newer_boot(since: float, root: str = "/") -> tuple[str, ...]:
    """As the roles xen and kvm look for it: Linux and, where Xen runs, Xen that came into /boot since then. A container has no /boot of its own."""
    found = []
    for pattern in ("vmlinuz-*", *(("xen-*.gz",) if is_xen(root) else ())):
        for path in glob.glob(os.path.join(glob.escape(root), "boot", pattern)):
            if os.lstat(path).st_ctime > since:
                found.append(os.path.basename(path))
    return tuple(sorted(found))


def installed(shown: str) -> dict[str, str]:
    """{package: version} of what dpkg-query says, of those that are installed."""
    rows = (line.split("\t") for line in shown.splitlines() if line.count("\t") == 2)
    return {name: version for name, version, status in rows if status == "installed"}


def ask_dpkg() -> dict[str, str]:
    """What of PACKAGES is installed."""
    argv = ["dpkg-query", "--show", "--showformat", "${Package}\\t${Version}\\t${db:Status-Status}\\n", *PACKAGES]
    # it fails where one of them is not known at all, and tells of the others
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=PATIENCE, env={**os.environ, "LC_ALL": "C"})
    return installed(done.stdout)


def processes(root: str = "/") -> list[tuple[str, str]]:
    """(its folder in /proc, its program) of each process, as far as it is told; a program that has been replaced since ends in DELETED."""
    found = []
    for folder in glob.glob(os.path.join(glob.escape(root), "proc", "[0-9]*")):
        try:
            found.append((folder, os.readlink(os.path.join(folder, "exe"))))
        except OSError:
            # it has ended, or is the kernel's
            continue
    return sorted(found)


def guest_of(cmdline: str) -> str:
    """The guest that a QEMU runs, by its command line in /proc; empty if that does not say it."""
    words = cmdline.split("\0")
    name = words[words.index("-name") + 1] if "-name" in words[:-1] else ""
    return name.split(",")[0].removeprefix("guest=")


def outdated(since: float, root: str = "/") -> Outdated:
    """What runs, and is older than what is installed. A package's upgrade replaces a program's file, and what runs keeps the one that it has begun with."""
    old, names = False, set()
    for folder, program in processes(root):
        base = os.path.basename(program.removesuffix(DELETED))
        if base == "libvirtd":
            old = old or program.endswith(DELETED) or re.search(r"/libvirt\S*\.so\S* \(deleted\)$", read("maps", folder), re.MULTILINE) is not None
        elif base.startswith("qemu-system-") and program.endswith(DELETED):
            names.add(guest_of(read("cmdline", folder)))
    return Outdated(newer_boot(since, root), old, tuple(sorted(names - {""})))


# --- its services, its room -------------------------------------------------

def units_of(root: str = "/") -> list[str]:
    """The units that the site's roles have set up, but for the cloud's, which cloud_machine_info tells of."""
    folder = os.path.join(glob.escape(root), "etc/systemd/system")
    own = [path for kind in ("service", "timer", "socket") for path in glob.glob(f"{folder}/our-cloud-*.{kind}")]
    tables = glob.glob(f"{folder}/*.wants/nft-table@?*.service")
    changed = [os.path.dirname(path).removesuffix(".d") for path in glob.glob(f"{folder}/*.d/our-cloud-*.conf")]
    return sorted({os.path.basename(path) for path in (*own, *tables, *changed)})


def look_at_units(needs: Iterable[str], names: Iterable[str], look: Callable[[list[str]], list[systemd.Unit]] = systemd.look) -> tuple[systemd.Unit, ...]:
    """These units, of which `needs` are to run. One that its socket starts when it is needed runs, for all that one sees from outside."""
    wanted = {name.removesuffix(".service") for name in needs}
    found = [replace(unit, wanted=unit.wanted or unit.name in wanted) for unit in look(sorted({*needs, *names}))]
    asleep = {trigger for unit in found if unit.there and not unit.runs and not unit.failed for trigger in unit.triggers}
    awake = {unit.name for unit in look(sorted(asleep)) if unit.runs}
    return tuple(replace(unit, runs=True, state=f"{unit.state}, starts when it is asked") if not unit.runs and not unit.failed and awake & set(unit.triggers)
                 else unit for unit in found)


def room(path: str) -> Room:
    """How full the file system is."""
    usage = shutil.disk_usage(path)
    return Room(path, usage.free >> 20, usage.total >> 20)


def rooms(paths: Iterable[str] = ROOMS) -> tuple[Room, ...]:
    """Of each file system that these lie in."""
    devices: dict[int, Room] = {}
    for path in paths:
        if os.path.isdir(path):
            devices.setdefault(os.stat(path).st_dev, room(path))
    return tuple(devices.values())


def store(path: str) -> Store:
    """The store, whether or not it answers."""
    def ask() -> Store:
        if not os.path.isfile(os.path.join(path, MARKER)):
            return Store(path, None, "it is not mounted here")
        return Store(path, room(path))

    try:
        return bounded(ask, PATIENCE, f"the store {path}", "Is its server up?")
    except CloudError as error:
        return Store(path, None, error.cause)
    except OSError as error:
        return Store(path, None, str(error))


# --- what waits -------------------------------------------------------------

def upgrades(said: str, lists: float | None) -> Waiting:
    """Of what `apt-get --simulate dist-upgrade` says. What has no version yet is only new with something else."""
    found = re.findall(r"^Inst (\S+) \[[^\]]*\] \((.*?)\)", said, re.MULTILINE)
    return Waiting(lists, tuple(sorted(name for name, dummy in found)), tuple(sorted(name for name, origin in found if "-security" in origin.lower())))


def lists_age(root: str = "/") -> float | None:
    """When the package lists were current for the last time: as new as the newest one's server made it, or as they were fetched."""
    folder = os.path.join(root, "var/lib/apt")
    releases = glob.glob(os.path.join(glob.escape(folder), "lists", "*Release"))
    if not releases:
        return None
    stamps = [path for path in (os.path.join(folder, "lists"), os.path.join(folder, "periodic/update-success-stamp")) if os.path.exists(path)]
    return max(os.stat(path).st_mtime for path in (*releases, *stamps))


def waiting(root: str = "/") -> Waiting:
    """What apt would upgrade, without asking the network, or anything that has a lock."""
    argv = ["apt-get", "--simulate", "--quiet", "--option", "Debug::NoLocking=true", "dist-upgrade"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=APT_TIME, env={**os.environ, "LC_ALL": "C"})
    if done.returncode:
        raise CloudError("", "apt-get", " ".join((done.stderr or done.stdout).split())[-300:])
    return upgrades(done.stdout, lists_age(root))


# --- all of it --------------------------------------------------------------

class _Asking:
    """Asks one thing after the other, and notes what does not answer."""

    def __init__(self) -> None:
        self.unknown: list[str] = []

    def ask(self, what: str, call: Callable[[], Answer], seconds: float = PATIENCE) -> Answer | None:
        """The answer; None if there is none, which is noted then."""
        try:
            return bounded(call, seconds, what, "")
        except CloudError as error:
            self.unknown.append(f"{what}: {error.cause.rstrip('.')}.")
        except (OSError, subprocess.SubprocessError) as error:
            self.unknown.append(f"{what}: {str(error).rstrip('.')}.")
        return None


def gather(needs: Sequence[str] = (), store_path: str | None = None) -> Machine:
    """What machine_info returns. needs: units that are to run on this machine, besides those that are found on it; store_path: the store, if it has one."""
    asking = _Asking()
    since = booted(read("proc/stat"))
    names = [name if name.endswith((".service", ".socket", ".timer", ".mount")) else f"{name}.service" for name in needs]
    units = asking.ask("what runs", lambda: look_at_units(names, units_of()), 60)
    return Machine(
        os.uname().nodename, time.time(), since, read("etc/debian_version").strip(), os.uname().release, xen_version(),
        asking.ask("what is installed", ask_dpkg), asking.ask("what is older than what is installed", lambda: outdated(since)) or Outdated(),
        units or (), asking.ask("free room", rooms) or (), store(store_path) if store_path else None,
        asking.ask("what waits for an upgrade", waiting, APT_TIME + PATIENCE),
        tuple(asking.ask("the last moves", lambda: log.moves(log.last(log.PATH))[-MOVES:]) or ()), tuple(asking.unknown))
