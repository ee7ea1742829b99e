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
import glob
import gzip
import hashlib
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping

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

    files: tuple = ()  # patterns of files
    folders: tuple = ()  # whole: a restore removes files that are not in the backup
    databases: bool = False
    northbound: bool = False
    units: tuple = ()  # patterns of units that must be stopped meanwhile; memcached would remember old data
    packages: tuple = ()  # their versions tell which tables the data has


GROUPS = {
    "clc": Carried(folders=KEYS, databases=True, units=("keystone", "placement-api", "nova-*", "memcached"),
                   packages=("mariadb-server", "keystone", "placement-api", "nova-common")),
    "walrus": Carried(files=("/etc/swift/*.builder", "/etc/swift/*.ring.gz", "/etc/swift/swift.conf"), units=("glance-*", "swift-*"),
                      packages=("glance-common", "swift")),
    "sc": Carried(units=("cinder-*",), packages=("cinder-common",)),
    "cc": Carried(northbound=True, units=("neutron-*",), packages=("neutron-common", "ovn-central")),
    "nc": Carried(files=("/var/lib/nova/compute_id",), units=("nova-compute",), packages=("nova-common",)),
}


def carried(groups: Iterable) -> Carried:
    """What a machine of these groups carries."""
    here = [GROUPS[name] for name in GROUPS if name in set(groups)]

    def joined(field: str) -> tuple:
        return tuple(dict.fromkeys(value for one in here for value in getattr(one, field)))

    return Carried(joined("files"), joined("folders"), any(one.databases for one in here), any(one.northbound for one in here), joined("units"),
                   joined("packages"))


# -- programs


def run(command: list, feed: object = None, into: object = None, remedy: str = "") -> str:
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


def databases_there() -> set:
    """Names of the databases of this machine."""
    return set(run(["mariadb", "-NBe", "SHOW DATABASES"], remedy="Is it up? `systemctl status mariadb`").split()) - set(SYSTEM_DATABASES)


def versions_of(packages: Iterable) -> dict:
    """{package: version} of those that are installed."""
    found = {}
    for package in packages:
        done = subprocess.run(["dpkg-query", "-Wf", "${db:Status-Status} ${Version}", package], check=False, stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL, text=True)
        state, dummy, version = done.stdout.partition(" ")
        if state == "installed":
            found[package] = version
    return found


def upstream(version: str) -> tuple:
    """The numbers of a Debian version that say which tables a service has: without epoch and without what Debian has mended."""
    return tuple(int(part) for part in re.findall(r"\d+", version.split(":", 1)[-1].rsplit("-", 1)[0])[:3])


def older(saved: Mapping, here: Mapping) -> list:
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


def files_of(here: Carried) -> list:
    """Paths of the files that a machine saves."""
    patterns = [*here.files, *(folder + "/*" for folder in here.folders)]
    return sorted(path for pattern in patterns for path in glob.glob(pattern) if os.path.isfile(path))


def save(groups: Iterable, wanted: Iterable) -> dict:
    """Makes the archive of a machine: {archive, sum, size, members: {name: sum}, versions}. `wanted`: the databases that its cloud has."""
    here = carried(groups)
    members: dict = {}
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
        answer = {"archive": "", "sum": "", "size": 0, "members": members, "versions": versions_of(here.packages)}
        if sources:
            handle, path = tempfile.mkstemp(prefix=PLACE, suffix=".tar", dir=ARCHIVES)  # 0600
            os.close(handle)
            try:
                with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
                    for name, source in sorted(sources.items()):
                        members[name] = sum_of(source)
                        archive.add(source, name, recursive=False)
            except BaseException:
                os.unlink(path)
                raise
            answer.update(archive=path, sum=sum_of(path), size=os.path.getsize(path))
    return answer


# -- putting back


@dataclasses.dataclass
class Opened:
    """An archive that has been looked at: {name: bytes or a file's path} of its members, and whose the files were."""

    members: dict
    owners: dict


def open_archive(path: str, sums: Mapping, folder: str) -> Opened:
    """Unpacks an archive into a directory, if it has exactly what the manifest says. CloudError tells what differs."""
    thing, remedy = f"archive {os.path.basename(path)}", "Take another backup, or another copy of this one"
    opened = Opened({}, {})
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
                opened.members[member.name] = target
                opened.owners[member.name] = (member.uname, member.gname, member.mode)
    except (tarfile.TarError, OSError) as error:
        raise CloudError(os.uname().nodename, thing, error, remedy) from error
    missing = sorted(set(sums) - set(opened.members))
    if missing:
        raise CloudError(os.uname().nodename, thing, f"it lacks {', '.join(missing)}", remedy)
    return opened


def same(path: str, source: str) -> bool:
    """Whether a file is there with this content."""
    return os.path.isfile(path) and sum_of(path) == sum_of(source)


def file_steps(here: Carried, opened: Opened) -> list:
    """(what, call) for each file that is to be put back or to go."""
    steps: list = []
    saved = {name[len("files"):]: name for name in opened.members if name.startswith("files/")}
    for path, name in sorted(saved.items()):
        if not same(path, opened.members[name]):
            steps.append((f"write {path}", lambda path=path, name=name: put(opened.members[name], path, *opened.owners[name])))
    for folder in here.folders:
        for path in sorted(glob.glob(folder + "/*")) if any(os.path.dirname(kept) == folder for kept in saved) else ():
            if path not in saved:
                steps.append((f"remove {path}", lambda path=path: os.unlink(path)))
    return steps


def put(source: str, path: str, owner: str, group: str, mode: int) -> None:
    """Puts a complete file in its place, with its owner and mode; its directory gets the same owner."""
    folder = os.path.dirname(path)
    if not os.path.isdir(folder):
        os.makedirs(folder, 0o700)
        shutil.chown(folder, owner, group)
    fresh = f"{path}.our-cloud"
    with open(source, "rb") as file, open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as out:
        shutil.copyfileobj(file, out)
        out.flush()
        os.fsync(out.fileno())
    shutil.chown(fresh, owner, group)
    os.chmod(fresh, mode)
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


def steps_of(here: Carried, opened: Opened) -> list:
    """(what, call) of all that is put back, in order. Databases are loaded even if they are the same: nobody can tell without a dump."""
    steps: list[tuple[str, Callable]] = file_steps(here, opened)
    for name, path in sorted(opened.members.items()):
        if name.startswith("databases/"):
            database = name[len("databases/"):-len(".sql.gz")]
            steps.append((f"load database {database}", lambda database=database, path=path: load(database, path)))
        elif name == "ovn/northbound":
            steps.append((f"load {NORTHBOUND}", lambda path=path: northbound(path)))
    return steps


def restore(groups: Iterable, archive: str, sums: Mapping, versions: Mapping, check: bool) -> list:
    """What was restored, or would be. It finds everything that can be wrong with the archive or the machine before the first change."""
    here, host = carried(groups), os.uname().nodename
    with workplace() as folder:
        opened = open_archive(archive, sums, folder) if archive else Opened({}, {})
        behind = older(versions, versions_of(versions))
        if behind:
            raise CloudError(host, "restore", f"{'; '.join(behind)}: the tables would be newer than the programs", "apt-get install the newer ones first")
        if any(name.startswith("databases/") for name in opened.members):
            databases_there()  # it answers
        room, needed = shutil.disk_usage(ARCHIVES).free, 12 * sum(os.path.getsize(path) for path in opened.members.values())
        if room < needed:
            raise CloudError(host, ARCHIVES, f"{room >> 20} MiB are free and {needed >> 20} are needed to unpack dumps", "Make room there")
        steps = steps_of(here, opened)
        if not check:
            for dummy, call in steps:
                call()
    return [what for what, dummy in steps]


# -- what is stopped meanwhile


def units_there(patterns: Iterable) -> dict:
    """{unit: (whether it runs, whether it shall run)} of the services that these patterns mean."""
    def listed(what: str) -> dict:
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
        found[unit] = (unit in loaded and loaded[unit][2] in ("active", "activating", "reloading"), enabled)
    return found


def still(groups: Iterable, stopped: bool, check: bool) -> list:
    """Stops what uses the data, or starts what is enabled of it. The units that it was about."""
    found = units_there(carried(groups).units)
    chosen = sorted(unit for unit, (runs, enabled) in found.items() if (runs if stopped else enabled and not runs))
    if chosen and not check:
        run(["systemctl", "stop" if stopped else "start", *chosen], remedy=f"`journalctl -u {' -u '.join(chosen[:3])}` may tell why")
    return chosen
