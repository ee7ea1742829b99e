# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Saves what a machine of the cloud has and nothing can make again into one archive, and restores it.

Databases, the keys of keystone, Swift's rings and hash, OVN's northbound database, the identities of nodes. What can be made again is not
saved: configuration, users of database and queue, certificates. The data of images, volumes and objects is in the store.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import fnmatch
import functools
import glob
import gzip
import hashlib
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from ansible_collections.our.cloud.plugins.module_utils._common.errors import CloudError

ARCHIVES = "/var/tmp"
PLACE = "our-cloud-backup-"
LOCK = "/run/our-cloud-backup.lock"
PROGRAM_TIME = 3600
DUMP_ENDS = b"-- Dump completed"
NORTHBOUND, NORTHBOUND_SOCKET = "OVN_Northbound", "unix:/run/ovn/ovnnb_db.sock"
SYSTEM_DATABASES = ("information_schema", "mysql", "performance_schema", "sys")
KEYS = ("/etc/keystone/fernet-keys", "/etc/keystone/credential-keys")


@dataclasses.dataclass(frozen=True)
class Carried:
    """What a backup saves of a group's machines."""

    files: tuple[str, ...] = ()  # patterns of files
    folders: tuple[str, ...] = ()  # whole: a restore removes files that are not in the backup
    databases: bool = False  # whether MariaDB is there
    northbound: bool = False  # whether OVN's northbound database is
    units: tuple[str, ...] = ()  # patterns of units that must be stopped meanwhile; memcached would remember old data
    packages: tuple[str, ...] = ()  # their versions tell which tables the data has


@dataclasses.dataclass(frozen=True)
class Saved:
    """What a machine has put into its archive, as cloud_save returns it."""

    archive: str = ""  # its path; empty: there is nothing to save
    sum: str = ""  # its SHA-256
    size: int = 0  # bytes
    members: Mapping[str, str] = dataclasses.field(default_factory=dict)  # {name in the archive: SHA-256}
    versions: Mapping[str, str] = dataclasses.field(default_factory=dict)  # {package that the data is of: version}


@dataclasses.dataclass(frozen=True)
class Member:
    """A member of an archive that was found to be what was saved."""

    path: str  # where it was unpacked
    owner: str  # whose the file was
    group: str
    mode: int


@dataclasses.dataclass(frozen=True)
class Step:
    """One thing that a restore does."""

    what: str  # in words
    do: Callable[[], None]


@dataclasses.dataclass(frozen=True)
class Standing:
    """A service of this machine."""

    runs: bool
    enabled: bool  # whether it shall run


GROUPS = {
    "clc": Carried(folders=KEYS, databases=True, units=("keystone", "placement-api", "nova-*", "memcached"),
                   packages=("mariadb-server", "keystone", "placement-api", "nova-common")),
    "walrus": Carried(files=("/etc/swift/*.builder", "/etc/swift/*.ring.gz", "/etc/swift/swift.conf"), units=("glance-*", "swift-*"),
                      packages=("glance-common", "swift")),
    "sc": Carried(units=("cinder-*",), packages=("cinder-common",)),
    "cc": Carried(northbound=True, units=("neutron-*",), packages=("neutron-common", "ovn-central")),
    "nc": Carried(files=("/var/lib/nova/compute_id",), units=("nova-compute",), packages=("nova-common",)),
}


def carried(groups: Iterable[str]) -> Carried:
    """What a machine of these groups carries."""
    here = [GROUPS[name] for name in GROUPS if name in set(groups)]

    def joined(field: str) -> tuple[str, ...]:
        return tuple(dict.fromkeys(value for one in here for value in getattr(one, field)))

    return Carried(joined("files"), joined("folders"), any(one.databases for one in here), any(one.northbound for one in here), joined("units"),
                   joined("packages"))


# -- programs


def run(command: Sequence[str], feed: Any = None, into: Any = None, remedy: str = "") -> str:
    """What a program says; CloudError with its last words if it fails."""
    try:
        done = subprocess.run(command, check=False, stdin=feed or subprocess.DEVNULL, stdout=into or subprocess.PIPE, stderr=subprocess.PIPE,
                              timeout=PROGRAM_TIME, env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", "HOME": "/root"})
    except FileNotFoundError as error:
        raise CloudError(os.uname().nodename, f"`{' '.join(command)}`", error, "Install what the cloud needs first: our.cloud.cloud") from error
    except subprocess.TimeoutExpired as error:
        raise CloudError(os.uname().nodename, f"`{' '.join(command)}`", f"not done within {PROGRAM_TIME} s", remedy) from error
    if done.returncode:
        last = " | ".join(done.stderr.decode(errors="replace").strip().splitlines()[-4:])
        raise CloudError(os.uname().nodename, f"`{' '.join(command)}`", f"exit status {done.returncode}: {last}", remedy)
    return (done.stdout or b"").decode(errors="replace")


def databases_there() -> set[str]:
    """Names of the databases of this machine."""
    return set(run(["mariadb", "-NBe", "SHOW DATABASES"], remedy="Is it up? `systemctl status mariadb`").split()) - set(SYSTEM_DATABASES)


def versions_of(packages: Iterable[str]) -> dict[str, str]:
    """{package: version} of those that are installed."""
    found = {}
    for package in packages:
        done = subprocess.run(["dpkg-query", "-Wf", "${db:Status-Status} ${Version}", package], check=False, stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL, text=True)
        state, dummy, version = done.stdout.partition(" ")
        if state == "installed":
            found[package] = version
    return found


def upstream(version: str) -> tuple[int, ...]:
    """The numbers of a Debian version that say which tables a service has: without epoch and without what Debian has mended."""
    return tuple(int(part) for part in re.findall(r"\d+", version.split(":", 1)[-1].rsplit("-", 1)[0])[:3])


def older(saved: Mapping[str, str], here: Mapping[str, str]) -> list[str]:
    """Sentences about packages that are older here than those that the backup is of."""
    return [f"{package} is {here[package]} here and was {version}" for package, version in sorted(saved.items())
            if package in here and upstream(here[package]) < upstream(version)]


# -- saving


@contextlib.contextmanager
def workplace() -> Iterator[str]:
    """A directory on disk that only root can read, and that is removed afterwards, together with those of killed runs."""
    with open(LOCK, "w", encoding="ascii") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise CloudError(os.uname().nodename, "backup", "another backup or restore is running here", "Wait until it ends") from error
        for left in glob.glob(os.path.join(ARCHIVES, PLACE + "*/")):
            shutil.rmtree(left)
        folder = tempfile.mkdtemp(prefix=PLACE, dir=ARCHIVES)
        try:
            yield folder
        finally:
            shutil.rmtree(folder)


def sum_of(path: str) -> str:
    """A file's SHA-256."""
    found = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            found.update(block)
    return found.hexdigest()


def dump(name: str, path: str) -> None:
    """One database, consistent in itself, with what makes it again."""
    plain = path + ".plain"
    with open(plain, "wb") as file:
        # no --routines: the services have none
        run(["mariadb-dump", "--single-transaction", "--quick", "--hex-blob", "--add-drop-database", "--databases", name], into=file)
    with open(plain, "rb") as file, gzip.open(path, "wb", compresslevel=6) as packed:
        shutil.copyfileobj(file, packed, 1 << 20)
    os.unlink(plain)
    if not dump_is_whole(path):
        raise CloudError(os.uname().nodename, f"the dump of {name}", "it does not end as dumps do", "Is the disk full? `df -h /var/tmp`")


def dump_is_whole(path: str) -> bool:
    """Whether a packed dump says that it was completed."""
    last = b""
    try:
        with gzip.open(path, "rb") as file:
            for block in iter(lambda: file.read(1 << 20), b""):
                last = (last + block)[-4096:]
    except (OSError, EOFError):
        return False
    return DUMP_ENDS in last


def files_of(here: Carried) -> list[str]:
    """Paths of the files that a machine saves."""
    patterns = [*here.files, *(folder + "/*" for folder in here.folders)]
    return sorted(path for pattern in patterns for path in glob.glob(pattern) if os.path.isfile(path))


def save(groups: Iterable[str], wanted: Sequence[str]) -> Saved:
    """Makes the archive of a machine. `wanted`: the databases that its cloud has."""
    here = carried(groups)
    members: dict[str, str] = {}
    with workplace() as folder:
        sources = {"files" + path: path for path in files_of(here)}
        if here.databases:
            missing = sorted(set(wanted) - databases_there())
            if missing:
                raise CloudError(os.uname().nodename, "backup", f"there is no database {', '.join(missing)}",
                                 "What is lost cannot be saved: restore an earlier backup (our.cloud.cloud_restore), or let our.cloud.cloud make it new")
            for name in wanted:
                sources[f"databases/{name}.sql.gz"] = os.path.join(folder, name + ".sql.gz")
                dump(name, os.path.join(folder, name + ".sql.gz"))
        if here.northbound:
            sources["ovn/northbound"] = os.path.join(folder, "northbound")
            with open(sources["ovn/northbound"], "wb") as file:
                run(["ovsdb-client", "backup", NORTHBOUND_SOCKET, NORTHBOUND], into=file, remedy="Is it up? `systemctl status ovn-central`")
        versions = versions_of(here.packages)
        if not sources:
            return Saved(versions=versions)
        handle, path = tempfile.mkstemp(prefix=PLACE, suffix=".tar", dir=ARCHIVES)  # 0600
        os.close(handle)
        try:
            with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
                for name, source in sorted(sources.items()):
                    members[name] = sum_of(source)
                    archive.add(source, name, recursive=False)
        except BaseException:  # also if it is interrupted: half an archive has secrets in it
            os.unlink(path)
            raise
        return Saved(path, sum_of(path), os.path.getsize(path), members, versions)


# -- putting back


def open_archive(path: str, sums: Mapping[str, str], folder: str) -> dict[str, Member]:
    """Unpacks an archive into a directory, if it has exactly what the manifest says: its members by name. CloudError tells what differs."""
    thing, remedy = f"archive {os.path.basename(path)}", "Take another backup, or another copy of this one"
    opened: dict[str, Member] = {}
    try:
        with tarfile.open(path) as archive:
            for number, member in enumerate(archive):
                source = archive.extractfile(member) if member.isfile() else None
                if source is None or member.name not in sums:
                    raise CloudError(os.uname().nodename, thing, f"{member.name} is not in its manifest", remedy)
                target = os.path.join(folder, str(number))
                with source, open(target, "wb") as file:
                    shutil.copyfileobj(source, file, 1 << 20)
                if sum_of(target) != sums[member.name]:
                    raise CloudError(os.uname().nodename, thing, f"{member.name} is not what was saved", remedy)
                if member.name.startswith("databases/") and not dump_is_whole(target):
                    raise CloudError(os.uname().nodename, thing, f"{member.name} is not a complete dump", remedy)
                opened[member.name] = Member(target, member.uname, member.gname, member.mode)
    except (tarfile.TarError, OSError) as error:
        raise CloudError(os.uname().nodename, thing, error, remedy) from error
    missing = sorted(set(sums) - set(opened))
    if missing:
        raise CloudError(os.uname().nodename, thing, f"it lacks {', '.join(missing)}", remedy)
    return opened


def same(path: str, source: str) -> bool:
    """Whether a file is there with this content."""
    return os.path.isfile(path) and sum_of(path) == sum_of(source)


def file_steps(here: Carried, opened: Mapping[str, Member]) -> list[Step]:
    """Each file that is to be put back or to go."""
    steps: list[Step] = []
    saved = {name[len("files"):]: member for name, member in opened.items() if name.startswith("files/")}
    for path, member in sorted(saved.items()):
        if not same(path, member.path):
            steps.append(Step(f"write {path}", functools.partial(put, member, path)))
    for folder in here.folders:
        for path in sorted(glob.glob(folder + "/*")) if any(os.path.dirname(kept) == folder for kept in saved) else ():
            if path not in saved:
                steps.append(Step(f"remove {path}", functools.partial(os.unlink, path)))
    return steps


def put(member: Member, path: str) -> None:
    """Puts a complete file in its place, with its owner and mode; its directory gets the same owner."""
    folder = os.path.dirname(path)
    if not os.path.isdir(folder):
        os.makedirs(folder, 0o700)
        shutil.chown(folder, member.owner, member.group)
    fresh = f"{path}.our-cloud"
    with open(member.path, "rb") as file, open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as out:
        shutil.copyfileobj(file, out)
        out.flush()
        os.fsync(out.fileno())
    shutil.chown(fresh, member.owner, member.group)
    os.chmod(fresh, member.mode)
    os.rename(fresh, path)


def load(name: str, path: str) -> None:
    """Replaces one database by its packed dump."""
    with tempfile.TemporaryFile(dir=ARCHIVES) as plain:
        with gzip.open(path, "rb") as file:
            shutil.copyfileobj(file, plain, 1 << 20)
        plain.seek(0)
        run(["mariadb", "--abort-source-on-error", "--default-character-set=utf8mb4"], feed=plain,
            remedy=f"The database {name} is incomplete now: remove the cause and restore again")


def northbound(path: str) -> None:
    """OVN's northbound database as it was saved."""
    with open(path, "rb") as file:
        run(["ovsdb-client", "restore", NORTHBOUND_SOCKET, NORTHBOUND], feed=file, remedy="Is it up? `systemctl status ovn-central`")


def steps_of(here: Carried, opened: Mapping[str, Member]) -> list[Step]:
    """All that is put back, in order. Databases are loaded even if they are the same: nobody can tell without a dump."""
    steps = file_steps(here, opened)
    for name, member in sorted(opened.items()):
        if name.startswith("databases/"):
            database = name[len("databases/"):-len(".sql.gz")]
            steps.append(Step(f"load database {database}", functools.partial(load, database, member.path)))
        elif name == "ovn/northbound":
            steps.append(Step(f"load {NORTHBOUND}", functools.partial(northbound, member.path)))
    return steps


def restore(groups: Iterable[str], archive: str, sums: Mapping[str, str], versions: Mapping[str, str], check: bool) -> list[str]:
    """What was restored, or would be. It finds everything that can be wrong with the archive or the machine before the first change."""
    here, host = carried(groups), os.uname().nodename
    with workplace() as folder:
        opened = open_archive(archive, sums, folder) if archive else {}
        behind = older(versions, versions_of(versions))
        if behind:
            raise CloudError(host, "restore", f"{'; '.join(behind)}: the tables would be newer than the programs", "apt-get install the newer ones first")
        if any(name.startswith("databases/") for name in opened):
            databases_there()  # it answers
        room, needed = shutil.disk_usage(ARCHIVES).free, 12 * sum(os.path.getsize(member.path) for member in opened.values())
        if room < needed:
            raise CloudError(host, ARCHIVES, f"{room >> 20} MiB are free and {needed >> 20} are needed to unpack dumps", "Make room there")
        steps = steps_of(here, opened)
        if not check:
            for step in steps:
                step.do()
    return [step.what for step in steps]


# -- what is stopped meanwhile


def units_there(patterns: Sequence[str]) -> dict[str, Standing]:
    """By unit, the services that these patterns mean."""
    def listed(what: str) -> dict[str, list[str]]:
        lines = run(["systemctl", what, "--no-legend", "--plain", "--all", "--type=service"]).splitlines()
        return {words[0]: words for words in map(str.split, lines) if any(fnmatch.fnmatch(words[0], pattern + ".service") for pattern in patterns)}

    found = {}
    loaded = listed("list-units")
    for unit, words in listed("list-unit-files").items():
        enabled = words[1] == "enabled"
        if words[1] == "generated":
            # made from an old script: only this knows
            done = subprocess.run(["systemctl", "is-enabled", unit], check=False, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
            enabled = done.returncode == 0
        found[unit] = Standing(unit in loaded and loaded[unit][2] in ("active", "activating", "reloading"), enabled)
    return found


def still(groups: Iterable[str], stopped: bool, check: bool) -> list[str]:
    """Stops what uses the data, or starts what is enabled of it. The units that it was about."""
    found = units_there(carried(groups).units)
    chosen = sorted(unit for unit, one in found.items() if (one.runs if stopped else one.enabled and not one.runs))
    if chosen and not check:
        run(["systemctl", "stop" if stopped else "start", *chosen], remedy=f"`journalctl -u {' -u '.join(chosen[:3])}` may tell why")
    return chosen
