# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Leases: who runs a guest, and who writes on a disk of the store. A lease never expires; it is given back, handed over, or broken.

    STORE/.our-cloud-leases/disk-INODE          held for one writable disk, under whatever path it is known
    STORE/.our-cloud-leases/guest-UUID          held for the guest itself, in the node's configured store
    STORE/.our-cloud-leases/KEY.claim           who gets it next: a guest that is on its way
    STORE/.our-cloud-leases/nodes/HOST          the heartbeat of a node

Each is a small JSON file, made whole under another name and then linked into place, which the file server does in one step.
Who may change what, so that no lock is needed across hosts:

    KEY appears        by link(2), which fails if it is there
    KEY is replaced    by its holder's own host (a lock there keeps it to one process), or by the rename of KEY.claim
    KEY goes away      by its holder's own host, or by `break_host` when that host is proven dead
    KEY.claim          is made by link(2); its end is one unlink or one rename, and only one of those can succeed

The hooks of libvirt call `take` before a guest's first instruction and `release` after its last one. This file stands alone
(standard library only): the collection's modules import it, and the role lease copies it to the nodes, where it is the hook itself.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import fcntl
import glob
import hashlib
import json
import os
import pwd
import re
import select
import signal
import stat
import subprocess
import sys
import time
import uuid as uuids
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator

MARKER = ".our-cloud-store"
FOLDER, NODES = ".our-cloud-leases", "nodes"
CLAIM = ".claim"
CONFIG = "/etc/our-cloud/lease.json"
RUN = "/run/our-cloud"
STATUS = ("/run/libvirt/qemu", "/run/libvirt/libxl")
QEMU_USER = "libvirt-qemu"
XEN_SAYS = "/proc/xen/capabilities"
LARGEST = 65536  # bytes of a lease that are read

# What a file says it is.
LEASE = "lease"        # it runs there, or is about to
LEFT = "left"          # it has stopped there and waits for the host of the promise beside it
ARRIVAL = "arrival"    # a claim: libvirt has announced a live migration to that host
ARRIVING = "arriving"  # a claim: the migration has begun there
PROMISE = "promise"    # a claim that the source makes for the target of a move that stops the guest

ARRIVAL_TIME = 60   # s between libvirt's announcement of a migration and its begin
START_TIME = 120    # s that a start may take before libvirt and the hypervisor know of the guest
GONE_TIME = 600     # s after which a guest counts as gone of which libvirt has no status file, without asking libvirt
HOOK_TIME = 30      # s that libvirt waits for the store
EVERY = 10          # s between two heartbeats
TRIES = 20          # times that a lease may change hands while it is looked at


class LeaseError(Exception):
    """A lease is not to be had: host, thing, cause, remedy; `holder` is the host that has it, if that is the reason."""

    def __init__(self, host: str, thing: str, cause: str, remedy: str = "", holder: str = "") -> None:
        self.host, self.thing, self.cause, self.remedy, self.holder = host, thing, cause, remedy, holder
        super().__init__(f"{host}: {thing}: {cause}. {remedy}" if remedy else f"{host}: {thing}: {cause}")


@dataclasses.dataclass(frozen=True)
class Guest:
    """What a lease is asked for. disks: paths of the disks that it writes on and shares with nobody; unlabelled: those of them whose owner
    libvirt leaves alone."""

    name: str
    uuid: str
    disks: tuple[str, ...] = ()
    ours: bool = False
    unlabelled: tuple[str, ...] = ()

    @property
    def thing(self) -> str:
        return f"guest {self.name}"


@dataclasses.dataclass(frozen=True)
class Place:
    """One lease: the store's root, the name of the file, the disk (empty for the guest itself)."""

    root: str
    key: str
    path: str = ""


def guest_of(text: str | bytes) -> Guest:
    """The guest of a libvirt domain XML, also of the status file that libvirt keeps of one that runs. ValueError if it is none."""
    try:
        root = ET.fromstring(text)
    except ET.ParseError as error:
        raise ValueError(f"not XML: {error}") from None
    if root.tag != "domain":
        root = root.find("domain")
    if root is None or not root.findtext("uuid"):
        raise ValueError("not a domain")
    disks, unlabelled = [], []
    for disk in root.findall("devices/disk"):
        source = disk.find("source")
        if (disk.get("device", "disk") in ("disk", "lun") and source is not None and source.get("file")
                and disk.find("readonly") is None and disk.find("shareable") is None):
            disks.append(source.get("file"))
            if any(label.get("model") == "dac" and label.get("relabel") == "no" for label in source.findall("seclabel")):
                unlabelled.append(source.get("file"))
    metadata = root.find("metadata")
    ours = metadata is not None and any("our.cloud" in item.tag or "our-cloud" in item.tag for item in metadata)
    return Guest(root.findtext("name", ""), root.findtext("uuid"), tuple(disks), ours, tuple(unlabelled))


def is_store(root: str) -> bool:
    """Whether a directory is a site's store."""
    return os.path.isfile(os.path.join(root, MARKER))


def store_of(path: str) -> str | None:
    """The root of the store that a path lies in; None if it lies in none."""
    folder = os.path.dirname(path)
    while not is_store(folder):
        if folder == os.path.dirname(folder):
            return None
        folder = os.path.dirname(folder)
    return folder


# --- the files in the store -------------------------------------------------

class Ledger:
    """The leases of one store. What it answers is what the server says now, not what this host remembers: before it looks, it has
    made a file of its own there, by which an NFS client notices that others were there, too."""

    def __init__(self, root: str) -> None:
        self.root, self.folder = root, os.path.join(root, FOLDER)

    def __enter__(self) -> Ledger:
        try:
            os.mkdir(self.folder, 0o700)
        except FileExistsError:
            pass
        found = os.lstat(self.folder)
        if not stat.S_ISDIR(found.st_mode) or found.st_uid not in (0, os.geteuid()):
            raise OSError(errno.ENOTDIR, "not a directory of root", self.folder)
        self.temp = os.path.join(self.folder, f".{os.uname().nodename}-{os.getpid()}-{uuids.uuid4().hex}")
        self.write(b"")
        return self

    def __exit__(self, *dummy: object) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.temp)

    def write(self, content: bytes) -> None:
        """Make the file anew that `link` and `replace` put into place; what has been put there before stays as it is."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.temp)
        descriptor = os.open(self.temp, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        try:
            os.write(descriptor, content)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def put(self, entry: dict) -> None:
        """`write` for a lease."""
        self.write(json.dumps(entry, sort_keys=True).encode() + b"\n")

    def path(self, key: str) -> str:
        return os.path.join(self.folder, key)

    def names(self) -> list[str]:
        """All leases and claims."""
        return sorted(name for name in os.listdir(self.folder) if name.startswith(("disk-", "guest-")))

    def read(self, key: str) -> dict | None:
        """What a lease or a claim says; None if there is none."""
        return read_entry(self.path(key))

    def link(self, key: str) -> bool:
        """Put it there if nothing is there."""
        try:
            os.link(self.temp, self.path(key))
        except FileExistsError:
            # the server may have done it and its answer got lost: NFS asks again
            with contextlib.suppress(FileNotFoundError):
                return os.path.samefile(self.temp, self.path(key))
            # it was another's, and has just been given back
            return False
        return True

    def replace(self, key: str) -> None:
        """Put it there whatever is there: for the holder's host alone."""
        second = self.temp + "r"
        os.link(self.temp, second)
        os.rename(second, self.path(key))
        # a rename onto another name of the same file does nothing
        with contextlib.suppress(FileNotFoundError):
            os.unlink(second)

    def hand(self, key: str) -> bool:
        """The claim becomes the lease. False: somebody else has ended the claim."""
        try:
            os.rename(self.path(key + CLAIM), self.path(key))
        except FileNotFoundError:
            return False
        return True

    def promote(self, key: str) -> bool:
        """The claim becomes the lease, if there is none."""
        try:
            os.link(self.path(key + CLAIM), self.path(key))
        except (FileExistsError, FileNotFoundError):
            return False
        self.drop(key + CLAIM)
        return True

    def drop(self, key: str) -> bool:
        """Take it away. False: it was gone."""
        try:
            os.unlink(self.path(key))
        except FileNotFoundError:
            return False
        return True


def read_entry(path: str) -> dict | None:
    """A lease, a claim or a heartbeat. None if there is none; what is damaged says that nobody may have it."""
    for last in (False, False, True):
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            with open(descriptor, "rb") as stream:
                if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                    raise OSError(errno.EINVAL, "not a regular file", path)
                text = stream.read(LARGEST)
            break
        except FileNotFoundError:
            return None
        except OSError as error:
            # NFS: replaced on the server since this host saw it
            if last or error.errno != errno.ESTALE:
                raise
    try:
        entry = json.loads(text)
        if isinstance(entry, dict) and isinstance(entry.get("host"), str):
            return entry
    except ValueError:
        pass
    return {"host": "", "damaged": path}


# --- this node --------------------------------------------------------------

class Node:
    """A hypervisor as leases see it. Its boot id is made once per boot (containers share that of the kernel)."""

    def __init__(self, host: str = "", store: str = "", run: str = RUN, status: tuple[str, ...] = STATUS) -> None:
        self.host, self.store, self.run, self.status = host or os.uname().nodename, store, run, status
        self.state = os.path.join(run, "leases")
        os.makedirs(self.state, mode=0o700, exist_ok=True)
        self.boot = self._boot()

    @classmethod
    def here(cls, config: str = CONFIG) -> Node:
        """This one, as the role lease has set it up."""
        try:
            with open(config, encoding="utf-8") as stream:
                told = json.load(stream)
        except FileNotFoundError:
            told = {}
        return cls(told.get("host", ""), told.get("store", ""))

    def _boot(self) -> str:
        path = os.path.join(self.run, "boot")
        with contextlib.suppress(FileNotFoundError):
            with open(path, encoding="ascii") as stream:
                return stream.read().strip()
        part = f"{path}.{os.getpid()}"
        with open(part, "w", encoding="ascii") as stream:
            stream.write(uuids.uuid4().hex + "\n")
        with contextlib.suppress(FileExistsError):
            os.link(part, path)
        os.unlink(part)
        with open(path, encoding="ascii") as stream:
            return stream.read().strip()

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """One process of this host at a time."""
        with open(os.path.join(self.state, "lock"), "a", encoding="ascii") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    @staticmethod
    def clock() -> float:
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    def entry(self, guest: Guest, places: list[Place], kind: str = LEASE, **more: object) -> dict:
        """The content of a lease or claim in this node's name."""
        return {"host": self.host, "boot": self.boot, "kind": kind, "name": guest.name, "uuid": guest.uuid, "nonce": uuids.uuid4().hex,
                "disks": {place.key: place.path for place in places if place.path}, "since": int(time.time()), "clock": self.clock(), **more}

    def age(self, entry: dict) -> float:
        """Seconds since a lease of this boot was written."""
        return self.clock() - float(entry.get("clock", 0))

    # what runs here

    def active(self) -> dict[str, str]:
        """UUID and status file of each guest that libvirt has running here, without asking libvirt."""
        found = {}
        for folder in self.status:
            with contextlib.suppress(FileNotFoundError):
                for name in os.listdir(folder):
                    path = os.path.join(folder, name)
                    if name.endswith(".xml"):
                        with contextlib.suppress(FileNotFoundError):
                            with open(path, "rb") as stream:
                                match = re.search(rb"<uuid>([0-9a-f-]{36})</uuid>", stream.read())
                            if match:
                                found[match.group(1).decode()] = path
        return found

    def gone(self, entry: dict) -> bool:
        """Whether the guest of a lease of this boot is demonstrably not here: no sign of it, and a start would have come to its end."""
        return entry.get("uuid") not in self.active() and (
            self.age(entry) > GONE_TIME or os.path.exists(self._file("queue", entry.get("uuid", ""))))

    # what it remembers of its leases, for the time when the store does not answer

    def _file(self, what: str, uuid: str) -> str:
        return os.path.join(self.state, f"{what}-{os.path.basename(uuid)}")

    def remember(self, what: str, guest: Guest, places: list[Place]) -> None:
        path = self._file(what, guest.uuid)
        part = f"{path}.{os.getpid()}.part"
        with open(part, "w", encoding="utf-8") as stream:
            json.dump({"guest": dataclasses.asdict(guest), "places": [dataclasses.astuple(place) for place in places]}, stream)
        os.replace(part, path)

    def forget(self, what: str, uuid: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._file(what, uuid))

    def recall(self, what: str, uuid: str) -> tuple[Guest, list[Place]] | None:
        try:
            with open(self._file(what, uuid), encoding="utf-8") as stream:
                told = json.load(stream)
        except FileNotFoundError:
            return None
        guest = Guest(**{key: tuple(value) if isinstance(value, list) else value for key, value in told["guest"].items()})
        return guest, [Place(*place) for place in told["places"]]

    def remembered(self, what: str) -> list[str]:
        """The UUIDs of `held` or `queue`."""
        return [name[len(what) + 1:] for name in sorted(os.listdir(self.state)) if name.startswith(what + "-") and not name.endswith(".part")]


def places(node: Node, guest: Guest) -> list[Place]:
    """Which leases a guest needs, in the order in which all hosts take them; none if it concerns no store."""
    found, seen = set(), set()
    device = _device(node.store) if node.store else None
    for path in guest.disks:
        real = os.path.realpath(path)
        if node.store and any(name.startswith(os.path.join(node.store, "")) for name in (os.path.normpath(path), real)):
            _check_mounted(node, guest)
        try:
            about = os.stat(real)
        except (FileNotFoundError, NotADirectoryError):
            # libvirt says it better
            continue
        root = store_of(real)
        if root is None and about.st_dev == device and is_store(node.store):
            # another mount of the store, or of a part of it
            root = node.store
        if root is None or not stat.S_ISREG(about.st_mode):
            continue
        if about.st_dev == os.stat(root).st_dev:
            key = f"disk-{about.st_ino}"
        else:
            # a file system mounted in the store: its numbers may be there twice
            key = "disk-" + hashlib.sha256(os.path.relpath(real, root).encode()).hexdigest()[:32]
        if (root, key) not in seen:
            seen.add((root, key))
            found.add(Place(root, key, path))
    if not found and not guest.ours:
        return []
    if node.store:
        _check_mounted(node, guest)
        found.add(Place(node.store, f"guest-{guest.uuid}"))
    return sorted(found, key=lambda place: (place.root, place.key))


def _check_mounted(node: Node, guest: Guest) -> None:
    if not is_store(node.store):
        raise LeaseError(node.host, guest.thing, f"the store is not mounted at {node.store} (there is no {MARKER} in it)",
                         f"It can be started when `ls {node.store}/{MARKER}` shows the file; the image_store playbook mounts the store")


def _device(folder: str) -> int | None:
    """The device number of a mounted file system without touching it, as it may hang; of a plain directory as it says."""
    with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as stream:
        mounts = [line.split() for line in stream]
    mine = [words[2] for words in mounts if words[4] == folder]
    if mine:
        # the last one lies on top: the file system over its automount
        major, dummy, minor = mine[-1].partition(":")
        return os.makedev(int(major), int(minor))
    with contextlib.suppress(FileNotFoundError):
        return os.stat(folder).st_dev
    return None


def _by_store(wanted: list[Place]) -> list[tuple[str, list[Place]]]:
    return [(root, [place for place in wanted if place.root == root]) for root in sorted({place.root for place in wanted})]


def _since(entry: dict) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(entry.get("since", 0)))


def _refuse(node: Node, guest: Guest, place: Place, held: dict, claim: dict | None = None) -> LeaseError:
    """Why this lease is not to be had, for who reads it in the error of `virsh start`."""
    what = f"its disk {place.path}" if place.path else f"its UUID {guest.uuid}"
    if held.get("damaged") or claim and claim.get("damaged"):
        path = held.get("damaged") or claim.get("damaged")
        return LeaseError(node.host, guest.thing, f"the lease of {what} is damaged ({path})",
                          f"Make sure that no node runs the guest, then remove this file on the store's host and run `systemctl restart our-cloud-lease` "
                          f"on {node.host}")
    who = "the guest" if held.get("uuid") == guest.uuid else f"guest {held.get('name')}"
    if claim and claim["host"] != node.host:
        return LeaseError(node.host, guest.thing, f"{who} is on its way from {held['host']} to {claim['host']} since {_since(claim)} (lease of {what})",
                          "our.cloud.list tells how the move ends. If nothing moves it any more, the service our-cloud-lease "
                          f"on {claim['host']} ends the claim by itself; if that host is lost, our.cloud.rescue -e host={claim['host']} does", claim["host"])
    if held["host"] == node.host:
        return LeaseError(node.host, guest.thing, f"{who} runs on this host with {what} since {_since(held)}",
                          f"Two guests cannot write on one disk: stop {held.get('name')}, or give this guest a disk of its own", held["host"])
    return LeaseError(node.host, guest.thing, f"{who} runs on {held['host']} with {what} since {_since(held)}",
                      "our.cloud.list shows where guests are, our.cloud.migrate moves them; if that host is lost, "
                      f"our.cloud.rescue -e host={held['host']} frees its guests", held["host"])


# --- what the hooks do ------------------------------------------------------

def take(node: Node, guest: Guest) -> list[Place]:
    """Before the guest's first instruction on this host: hold all of its leases, or none and a LeaseError. Returns them."""
    wanted = places(node, guest)
    if wanted:
        with node.locked():
            _take(node, guest, wanted)
            node.remember("held", guest, wanted)
            node.forget("queue", guest.uuid)
    give_to_qemu(guest)
    return wanted


def give_to_qemu(guest: Guest) -> None:
    """Let QEMU's user own the disks that libvirt does not label. Nobody else runs on those of the store: their leases are held."""
    for path in guest.unlabelled:
        with contextlib.suppress(KeyError, FileNotFoundError):
            user = pwd.getpwnam(QEMU_USER).pw_uid
            if os.stat(path).st_uid != user:
                os.chown(path, user, -1)


def _take(node: Node, guest: Guest, wanted: list[Place]) -> None:
    entry, done = node.entry(guest, wanted), []
    try:
        for root, here in _by_store(wanted):
            with Ledger(root) as ledger:
                ledger.put(entry)
                for place in here:
                    _take_one(node, guest, ledger, place, entry, done)
    except (LeaseError, OSError):
        _undo(node, entry, done)
        raise


def _undo(node: Node, entry: dict, done: list[Place]) -> None:
    """Give back what this attempt has taken."""
    for root, here in _by_store(done):
        with Ledger(root) as ledger:
            for place in here:
                held = ledger.read(place.key)
                if held and held.get("nonce") == entry["nonce"]:
                    ledger.drop(place.key)


def _take_one(node: Node, guest: Guest, ledger: Ledger, place: Place, entry: dict, done: list[Place]) -> None:
    held: dict = {}
    for dummy in range(TRIES):
        if ledger.link(place.key):
            done.append(place)
            claim = ledger.read(place.key + CLAIM)
            if claim and claim["host"] != node.host and claim.get("kind") != ARRIVAL:
                raise _refuse(node, guest, place, dict(claim), claim)
            if claim:
                ledger.drop(place.key + CLAIM)
            return
        found = ledger.read(place.key)
        if found is None:
            continue
        held, claim = found, ledger.read(place.key + CLAIM)
        if held["host"] == node.host:
            if held.get("uuid") != guest.uuid and held.get("boot") == node.boot and not node.gone(held):
                raise _refuse(node, guest, place, held)
            if claim and claim["host"] != node.host:
                if not _broken_off(node, claim):
                    raise _refuse(node, guest, place, held, claim)
                if not ledger.drop(place.key + CLAIM):
                    continue
            elif claim:
                ledger.drop(place.key + CLAIM)
            ledger.replace(place.key)
            done.append(place)
            return
        if claim and claim["host"] == node.host and claim.get("uuid") == guest.uuid:
            if claim.get("kind") == PROMISE and held.get("kind") == LEFT and claim.get("by") == held["host"]:
                ledger.hand(place.key)
                continue
            if claim.get("kind") == ARRIVAL and claim.get("boot") == node.boot and node.age(claim) < ARRIVAL_TIME:
                ledger.put({**claim, "kind": ARRIVING})
                ledger.replace(place.key + CLAIM)
                ledger.put(entry)
                return
        raise _refuse(node, guest, place, held, claim)
    raise LeaseError(node.host, guest.thing, "its lease changes hands all the time", "Try again", held.get("host", ""))


def _broken_off(node: Node, claim: dict) -> bool:
    """Whether a promise of this host is one whose maker is no more."""
    return claim.get("kind") == PROMISE and claim.get("by") == node.host and (
        claim.get("by_boot") != node.boot or process_start(claim.get("pid", 0)) != claim.get("start"))


def process_start(pid: int) -> int | None:
    """When a process began, in the kernel's ticks: with the number, what tells it from a later one. None: there is none."""
    try:
        with open(f"/proc/{int(pid)}/stat", encoding="ascii", errors="replace") as stream:
            return int(stream.read().rpartition(")")[2].split()[19])
    except (FileNotFoundError, ProcessLookupError, ValueError):
        return None


def announce(node: Node, guest: Guest) -> None:
    """On the target, before libvirt makes anything there for a guest that arrives live: claim the leases that its source holds.
    Without one (a guest that does not run is moved, or its source has no leases yet) the arrival takes them itself, if it comes to that."""
    wanted = places(node, guest)
    if not wanted:
        return
    with node.locked():
        entry, done = node.entry(guest, wanted, ARRIVAL), []
        try:
            for root, here in _by_store(wanted):
                with Ledger(root) as ledger:
                    ledger.put(entry)
                    for place in here:
                        held = ledger.read(place.key)
                        if held is None or held["host"] == node.host and held.get("uuid") == guest.uuid:
                            continue
                        if held.get("uuid") != guest.uuid or held["host"] == node.host:
                            raise _refuse(node, guest, place, held)
                        claim = ledger.read(place.key + CLAIM)
                        if claim and claim["host"] == node.host and claim.get("kind") != PROMISE and guest.uuid not in node.active():
                            # of an arrival that broke off
                            ledger.drop(place.key + CLAIM)
                        if not ledger.link(place.key + CLAIM):
                            raise _refuse(node, guest, place, held, ledger.read(place.key + CLAIM))
                        done.append(place)
        except (LeaseError, OSError):
            _undo(node, entry, [dataclasses.replace(place, key=place.key + CLAIM) for place in done])
            raise


def announce_by_name(node: Node, named: Guest) -> None:
    """The same where libvirt tells nothing but the guest's name: the lease that its source holds tells the rest. Xen's driver in libvirt
    11.3 formats the description with flags of another kind, gets none, and calls the hook without."""
    with Ledger(node.store) as ledger:
        entries = [ledger.read(key) for key in ledger.names() if key.startswith("guest-") and not key.endswith(CLAIM)]
    found = {entry["uuid"]: entry for entry in entries if entry and entry.get("name") == named.name and entry.get("uuid") and entry["host"] != node.host}
    if len(found) > 1:
        raise LeaseError(node.host, named.thing, f"{' and '.join(sorted(entry['host'] for entry in found.values()))} run guests of this name",
                         "Rename one of them, then move it")
    for entry in found.values():
        announce(node, Guest(named.name, entry["uuid"], tuple(entry.get("disks", {}).values()), True))


def release(node: Node, guest: Guest) -> None:
    """After the guest's last instruction here, or after a start or an arrival that failed: give back what is held, or hand it to who claims it.
    If the store does not answer, the heartbeat tries again."""
    known = node.recall("held", guest.uuid)
    node.remember("queue", *(known or (guest, [])))
    wanted = known[1] if known else places(node, guest)
    if wanted:
        node.remember("queue", guest, wanted)
    with node.locked():
        _release(node, guest.uuid, wanted)
        node.forget("held", guest.uuid)
        node.forget("queue", guest.uuid)


def _release(node: Node, uuid: str, wanted: list[Place]) -> None:
    for root, here in _by_store(wanted):
        with Ledger(root) as ledger:
            for place in here:
                claim, held = ledger.read(place.key + CLAIM), ledger.read(place.key)
                if claim and claim["host"] == node.host and claim.get("uuid") == uuid and claim.get("kind") != PROMISE:
                    ledger.drop(place.key + CLAIM)
                    claim = None
                if not held or held["host"] != node.host or held.get("uuid") != uuid:
                    continue
                if claim and claim["host"] != node.host and claim.get("kind") == PROMISE and not _broken_off(node, claim):
                    ledger.put({**held, "kind": LEFT})
                    ledger.replace(place.key)
                elif claim and claim["host"] != node.host and claim.get("kind") == ARRIVING and ledger.hand(place.key):
                    continue
                else:
                    if claim and claim.get("kind") == PROMISE:
                        ledger.drop(place.key + CLAIM)
                    ledger.drop(place.key)


def holder_elsewhere(node: Node, guest: Guest, wanted: list[Place]) -> dict | None:
    """The lease that another host has of a guest which runs here and does not arrive just now; None if all is well."""
    for root, here in _by_store(wanted):
        with Ledger(root) as ledger:
            for place in here:
                held = ledger.read(place.key)
                if held and held["host"] and held["host"] != node.host:
                    claim = ledger.read(place.key + CLAIM)
                    if not (claim and claim["host"] == node.host and claim.get("uuid") == guest.uuid):
                        return held
    return None


# --- what moves and rescue do -----------------------------------------------

def promise(node: Node, guest: Guest, target: str) -> None:
    """On the source of a move that stops the guest, before it stops (or is saved): nobody but `target` can start it from then on.

    guest: as `guest_of` makes it from the domain's XML. target: the inventory's name of the other host.
    The promise lasts as long as this process: keep it until the guest runs on the target, or take it back with `withdraw`; when the
    process has died, a start on the source takes it back. Raises LeaseError if this host does not hold the leases or the guest is
    on its way already. A guest that does not run needs no promise.
    """
    wanted = places(node, guest)
    with node.locked():
        entry = {**node.entry(guest, wanted, PROMISE), "host": target, "boot": "", "by": node.host, "by_boot": node.boot,
                 "pid": os.getpid(), "start": process_start(os.getpid())}
        done = []
        try:
            for root, here in _by_store(wanted):
                with Ledger(root) as ledger:
                    ledger.put(entry)
                    for place in here:
                        held = ledger.read(place.key)
                        if held is None:
                            raise LeaseError(node.host, guest.thing, "this host holds no lease of it",
                                             "It is taken within seconds by the service our-cloud-lease (systemctl status our-cloud-lease)")
                        if held["host"] != node.host or held.get("uuid") != guest.uuid:
                            raise _refuse(node, guest, place, held)
                        claim = ledger.read(place.key + CLAIM)
                        if claim and (claim["host"] == node.host or _broken_off(node, claim)):
                            ledger.drop(place.key + CLAIM)
                        if not ledger.link(place.key + CLAIM):
                            raise _refuse(node, guest, place, held, ledger.read(place.key + CLAIM))
                        done.append(place)
        except (LeaseError, OSError):
            _undo(node, entry, [dataclasses.replace(place, key=place.key + CLAIM) for place in done])
            raise


def withdraw(node: Node, guest: Guest, target: str) -> bool:
    """Take a promise back, whoever made it here. True: nobody but this host can start it now; start it here, or give its leases back with
    `release`. False: `target` has taken them, so that it runs there, or is being started. Without a promise: whether `target` holds none."""
    wanted = places(node, guest)
    with node.locked():
        for number, (root, place) in enumerate((root, place) for root, here in _by_store(wanted) for place in here):
            with Ledger(root) as ledger:
                claim = ledger.read(place.key + CLAIM)
                mine = claim and claim.get("kind") == PROMISE and claim.get("by") == node.host and claim["host"] == target
                dropped = mine and ledger.drop(place.key + CLAIM)
                held = ledger.read(place.key)
                # the first one decides, as the target takes them in the same order
                if number == 0 and not dropped and held and held["host"] == target:
                    return False
    return True


def holders(root: str) -> list[dict]:
    """Who runs what on a store: one dict for each guest, sorted by name: name, uuid, host, since (seconds since 1970), disks (paths),
    `to` (the host that it is on its way to, or None), `boot`. Empty where there is no lease yet; OSError if the store cannot be read."""
    folder, found = os.path.join(root, FOLDER), {}
    try:
        names = sorted(os.listdir(folder))
    except FileNotFoundError:
        return []
    for name in names:
        if not name.startswith(("disk-", "guest-")) or name.endswith(CLAIM):
            continue
        entry = read_entry(os.path.join(folder, name))
        if entry is None or entry.get("damaged"):
            continue
        claim = read_entry(os.path.join(folder, name + CLAIM)) if name + CLAIM in names else None
        row = found.setdefault((entry.get("uuid"), entry["host"]), {
            "name": entry.get("name"), "uuid": entry.get("uuid"), "host": entry["host"], "since": entry.get("since"), "boot": entry.get("boot"),
            "disks": sorted(entry.get("disks", {}).values()), "to": None})
        if claim and claim["host"] != entry["host"]:
            row["to"] = claim["host"]
    return sorted(found.values(), key=lambda row: (row["name"] or "", row["host"]))


def heartbeats(root: str) -> dict[str, dict]:
    """host: {host, boot, count, since} of each node that has ever had this store. A `count` that grows is a node that lives."""
    folder = os.path.join(root, FOLDER, NODES)
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return {}
    found = {name: read_entry(os.path.join(folder, name)) for name in sorted(names) if not name.startswith(".")}
    return {name: entry for name, entry in found.items() if entry and not entry.get("damaged")}


def break_host(root: str, host: str) -> list[dict]:
    """Break all leases and claims of a host that is proven dead, or that the caller has fenced. A guest that had arrived elsewhere keeps
    its lease there. Returns what `holders` said of the guests whose leases were broken."""
    broken = [row for row in holders(root) if row["host"] == host]
    with Ledger(root) as ledger:
        names = ledger.names()
        for name in names:
            if name.endswith(CLAIM):
                claim = ledger.read(name)
                if claim and claim["host"] == host:
                    ledger.drop(name)
        for name in names:
            held = None if name.endswith(CLAIM) else ledger.read(name)
            if not held or held["host"] != host:
                continue
            claim = ledger.read(name + CLAIM)
            if claim and claim["host"] != host and claim.get("kind") == ARRIVING and ledger.hand(name):
                continue
            if claim:
                ledger.drop(name + CLAIM)
            _break(ledger, name, held)
    return broken


def _break(ledger: Ledger, name: str, held: dict) -> None:
    """Take away this very lease and no later one: out of the way first, then look at what it is."""
    aside = os.path.join(ledger.folder, f".broken-{uuids.uuid4().hex}")
    try:
        os.rename(ledger.path(name), aside)
    except FileNotFoundError:
        return
    now = read_entry(aside)
    if now and now.get("nonce") != held.get("nonce"):
        # somebody else has broken it and a node has taken it since
        with contextlib.suppress(FileExistsError):
            os.link(aside, ledger.path(name))
    os.unlink(aside)


# --- the heartbeat ----------------------------------------------------------

def write_line(text: str) -> None:
    """For the journal of the service."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


class Watch:
    """What each hypervisor does every few seconds: show that it lives, give back what could not be given back, take leases of what
    runs without, and end what runs here though another host has its lease."""

    def __init__(self, node: Node, say: Callable[[str], None] = write_line, destroy: Callable | None = None, libvirt_active: Callable | None = None) -> None:
        self.node, self.say = node, say
        self.destroy, self.libvirt_active = destroy or destroy_guest, libvirt_active or active_by_libvirt
        self.count, self.strikes, self.looked, self.told = 0, {}, {}, set()

    def round(self) -> None:
        """One look. OSError if the store does not answer as it should."""
        if not is_store(self.node.store):
            return
        self.beat()
        active = self.node.active()
        for uuid in self.node.remembered("queue"):
            self.give_back(uuid, active)
        for uuid, path in active.items():
            self.look_at(uuid, path)
        for uuid in self.node.remembered("held"):
            if uuid not in active:
                self.look_for(uuid)
        if self.count % 6 == 1:
            self.sweep(active)

    def beat(self) -> None:
        """Written over in place: who opens an NFS file sees what has been written, who reads a directory may not."""
        self.count += 1
        folder = os.path.join(self.node.store, FOLDER, NODES)
        try:
            descriptor = os.open(os.path.join(folder, self.node.host), os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        except FileNotFoundError:
            with Ledger(self.node.store):
                os.makedirs(folder, mode=0o700, exist_ok=True)
            descriptor = os.open(os.path.join(folder, self.node.host), os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            text = json.dumps({"host": self.node.host, "boot": self.node.boot, "count": self.count, "since": int(time.time())})
            os.write(descriptor, text.ljust(250).encode() + b"\n")
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def give_back(self, uuid: str, active: dict[str, str]) -> None:
        """A release that the store kept from coming to its end."""
        known = self.node.recall("queue", uuid)
        if known and uuid not in active:
            self.say(f"{known[0].thing}: its lease is given back now that the store answers")
            release(self.node, known[0])
        elif known:
            self.node.forget("queue", uuid)

    def look_at(self, uuid: str, path: str) -> None:
        """A guest that runs here: does it hold what it should?"""
        known = self.node.recall("held", uuid)
        try:
            changed = os.stat(path).st_mtime_ns
            if known is None or self.looked.get(uuid) != changed:
                with open(path, "rb") as stream:
                    guest = guest_of(stream.read())
                wanted = places(self.node, guest)
                if known is None or set(wanted) - set(known[1]):
                    self.adopt(guest, wanted, known)
                    known = self.node.recall("held", uuid)
                self.looked[uuid] = changed
        except FileNotFoundError:
            # it has just ended
            return
        except (LeaseError, ValueError) as error:
            self.say_once(str(error))
        if known is None or not known[1]:
            return
        guest, wanted = known
        if all((read_entry(os.path.join(place.root, FOLDER, place.key)) or {}).get("host") == self.node.host for place in wanted):
            self.strikes.pop(uuid, None)
            return
        held = holder_elsewhere(self.node, guest, wanted)
        self.strikes[uuid] = self.strikes.get(uuid, 0) + 1 if held else 0
        if held and self.strikes[uuid] > 1:
            self.say(f"{guest.thing}: ended here, because {held['host']} has its lease since {_since(held)}")
            self.destroy(guest)
        elif not held:
            self.mend(guest, wanted)

    def adopt(self, guest: Guest, wanted: list[Place], known: tuple[Guest, list[Place]] | None) -> None:
        """A guest that ran before there were leases, or that got another disk since."""
        new = [place for place in wanted if known is None or place not in known[1]]
        if not new:
            return
        with self.node.locked():
            try:
                _take(self.node, guest, new)
            except LeaseError as error:
                where = f"{error.holder} as well as here" if error.holder != self.node.host else "this host with another guest"
                self.say_once(f"TWO WRITE ON ONE DISK: {guest.thing} runs here without a lease. {error}. It is in use on {where}: stop one of them at once")
                return
            self.node.remember("held", guest, wanted)
        self.say(f"{guest.thing}: its lease is taken")

    def mend(self, guest: Guest, wanted: list[Place]) -> None:
        """A guest that has arrived while its source went down without handing the lease over; a lease that was lost."""
        for root, here in _by_store(wanted):
            with Ledger(root) as ledger:
                for place in here:
                    held, claim = ledger.read(place.key), ledger.read(place.key + CLAIM)
                    mine = claim and claim["host"] == self.node.host and claim.get("kind") == ARRIVING
                    if held is None and mine:
                        ledger.promote(place.key)
                    elif held is None and claim is None:
                        ledger.put(self.node.entry(guest, wanted))
                        ledger.link(place.key)
                    elif held and mine and held["host"] != self.node.host and self.has_restarted(root, held):
                        self.say(f"{guest.thing}: {held['host']}, where it came from, has gone down; its lease is here")
                        ledger.hand(place.key)

    @staticmethod
    def has_restarted(root: str, held: dict) -> bool:
        """Whether the host of a lease has been restarted since, so that nothing of it runs there."""
        beat = read_entry(os.path.join(root, FOLDER, NODES, held["host"]))
        return bool(beat and beat.get("boot") and held.get("boot") and beat["boot"] != held["boot"])

    def look_for(self, uuid: str) -> None:
        """A lease whose guest is not seen: a start that never came to its end, unless it is still under way."""
        known = self.node.recall("held", uuid)
        if known is None:
            return
        age = time.time() - os.stat(self.node._file("held", uuid)).st_mtime
        if age > START_TIME and self.libvirt_active(uuid) is False:
            self.say(f"{known[0].thing}: it does not run here, its lease is given back")
            release(self.node, known[0])

    def sweep(self, active: dict[str, str]) -> None:
        """Leases and claims in this host's name that nothing here stands for: of an earlier boot, or of an arrival or a move that broke off."""
        known = set(self.node.remembered("held")) | set(self.node.remembered("queue"))
        with Ledger(self.node.store) as ledger:
            # libvirt is asked without the lock, which a hook of it may wait for
            old = {name: entry for name in ledger.names() for entry in [ledger.read(name)]
                   if entry and not entry.get("damaged") and entry.get("uuid") not in active and self.is_old(ledger, name, entry, known)}
            with self.node.locked():
                for name, entry in old.items():
                    now = ledger.read(name)
                    if now and now.get("nonce") == entry.get("nonce") and self.clear(ledger, name, now):
                        self.say(f"guest {entry.get('name')}: a {'claim' if name.endswith(CLAIM) else 'lease'} of {entry['host']} "
                                 f"that nothing stands for any more is ended ({name})")

    def is_old(self, ledger: Ledger, name: str, entry: dict, known: set[str]) -> bool:
        """Whether this host is to end that lease or claim."""
        node, uuid = self.node, entry.get("uuid", "")
        if name.endswith(CLAIM) and entry.get("kind") == PROMISE:
            if entry.get("by") == node.host:
                return _broken_off(node, entry) and (entry.get("by_boot") != node.boot or node.age(entry) > START_TIME)
            # its maker's; of one that has been restarted nothing will come any more
            return entry["host"] == node.host and self.has_restarted(ledger.root, {"host": entry.get("by", ""), "boot": entry.get("by_boot")})
        if entry["host"] != node.host:
            return False
        if entry.get("boot") != node.boot:
            return True
        if name.endswith(CLAIM):
            return node.age(entry) > 2 * ARRIVAL_TIME and self.libvirt_active(uuid) is False
        return uuid not in known and node.age(entry) > START_TIME and self.libvirt_active(uuid) is False

    def clear(self, ledger: Ledger, name: str, entry: dict) -> bool:
        """End it. False: it is left, for who waits for it."""
        claim = None if name.endswith(CLAIM) else ledger.read(name + CLAIM)
        if claim and claim["host"] != self.node.host:
            if claim.get("kind") == ARRIVING:
                # it may have arrived there before this host went down; if it has not, that host ends the lease
                return ledger.hand(name)
            if claim.get("kind") == PROMISE and not _broken_off(self.node, claim):
                return False
            if claim.get("kind") == PROMISE and not ledger.drop(name + CLAIM):
                return False
        return ledger.drop(name)

    def say_once(self, text: str) -> None:
        if text not in self.told:
            self.told.add(text)
            self.say(text)


def libvirt_uri() -> str:
    """The hypervisor of this machine."""
    with contextlib.suppress(OSError):
        with open(XEN_SAYS, encoding="ascii") as stream:
            if "control_d" in stream.read():
                return "xen:///system"
    return "qemu:///system"


def ask_virsh(*words: str, timeout: int = 60) -> tuple[str | None, str]:
    """(output, "") of virsh, or (None, why) if it fails or libvirtd does not answer."""
    try:
        done = subprocess.run(["virsh", "--connect", libvirt_uri(), "--quiet", *words], capture_output=True, text=True, timeout=timeout,
                              check=False, stdin=subprocess.DEVNULL)
    except (subprocess.TimeoutExpired, FileNotFoundError) as error:
        return None, str(error)
    return (done.stdout, "") if done.returncode == 0 else (None, done.stderr.strip())


def virsh(*words: str) -> str | None:
    """The output of virsh; None if there is none."""
    return ask_virsh(*words)[0]


def active_by_libvirt(uuid: str) -> bool | None:
    """Whether the hypervisor runs that guest, or makes it just now; None if it cannot be asked."""
    listed = virsh("list", "--uuid")
    if listed is None:
        return None
    if uuid in listed.split():
        return True
    if libvirt_uri().startswith("xen"):
        # libvirt lists a guest when it is made, Xen while it is
        try:
            done = subprocess.run(["xl", "list", "-v"], capture_output=True, text=True, timeout=60, check=False, stdin=subprocess.DEVNULL)
        except (subprocess.TimeoutExpired, FileNotFoundError):
            return None
        return None if done.returncode else uuid in done.stdout
    return False


def destroy_guest(guest: Guest) -> None:
    """End a guest at once, by libvirt, or without it if it does not answer."""
    if virsh("destroy", guest.uuid) is not None:
        return
    if libvirt_uri().startswith("xen"):
        with contextlib.suppress(subprocess.TimeoutExpired, FileNotFoundError):
            subprocess.run(["xl", "destroy", guest.name], timeout=60, check=False, stdin=subprocess.DEVNULL)
        return
    with contextlib.suppress(FileNotFoundError, ValueError, ProcessLookupError):
        with open(os.path.join(STATUS[0], guest.name + ".pid"), encoding="ascii") as stream:
            pid = int(stream.read())
        with open(f"/proc/{pid}/cmdline", "rb") as stream:
            if guest.uuid.encode() in stream.read():
                os.kill(pid, signal.SIGKILL)


def watch(node: Node) -> None:
    """The service. Where the store hangs, it hangs, too: that is what a missing heartbeat says."""
    job = Watch(node)
    while True:
        try:
            job.round()
        except (LeaseError, OSError, ValueError) as error:
            job.say_once(f"the store {node.store}: {error}")
        else:
            job.told = {text for text in job.told if not text.startswith("the store ")}
        time.sleep(EVERY)


# --- at boot ----------------------------------------------------------------

def hook_said(text: str) -> str:
    """What the hook said, without the words in which libvirt's error wraps it; empty if the error is not the hook's."""
    dummy, found, said = text.partition("our-cloud-lease ")
    return said.partition("unexpected exit status 1: ")[2].strip() if found else ""


def autostart(node: Node, say: Callable[[str], None] = write_line, ask: Callable[..., tuple[str | None, str]] = ask_virsh,
              pause: Callable[[float], object] = time.sleep) -> None:
    """Start the guests of the store that libvirt has marked for it. libvirtd tries once, when it starts, and the store may come later
    than it. The hook decides: what runs elsewhere by now is not started."""
    wait, told = 5, False
    while not is_store(node.store):
        if not told:
            say(f"waits for the store {node.store}")
        told = True
        pause(wait)
    names, why = ask("list", "--all", "--autostart", "--name")
    while names is None:
        say(f"libvirt does not say which guests to start: {why}")
        pause(wait)
        names, why = ask("list", "--all", "--autostart", "--name")
    waiting = names.split()
    while waiting:
        again = []
        for name in waiting:
            text, why = ask("dumpxml", name)
            if text is None or (ask("domstate", name)[0] or "").strip() != "shut off":
                continue
            try:
                guest = guest_of(text)
                if not places(node, guest):
                    continue
                saved = [path for disk in guest.disks for path in sorted(glob.glob(glob.escape(disk) + ".*.state"))]
                if saved:
                    say(f"guest {name}: not started: its memory is saved in {saved[-1]}, by a move that broke off. `virsh restore {saved[-1]}` makes it go on; "
                        "if it is to begin anew, delete that file and start it")
                    continue
                why = ask("start", name, timeout=600)[1]
                why = hook_said(why) or why
            except (LeaseError, OSError) as error:
                why = str(error)
            if "the store is not mounted" in why or "the store does not answer" in why:
                again.append(name)
            say(f"guest {name}: {'not started: ' + why if why else 'started'}")
        waiting = again
        if waiting:
            pause(6 * wait)


# --- libvirt's hook ---------------------------------------------------------

def bounded(seconds: float, function: Callable[[], object]) -> tuple[bool, str]:
    """Run it in a process that may hang in the store. (True, "") it has; (False, text) it refused; (False, "") it does not come back.
    The process has none of this one's pipes: libvirt waits until they are closed."""
    ear, mouth = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(ear)
            os.setsid()
            null = os.open(os.devnull, os.O_RDWR)
            for descriptor in (0, 1, 2):
                os.dup2(null, descriptor)
            try:
                function()
                answer = {"text": "", "done": True}
            except Exception as error:  # pylint: disable=broad-exception-caught
                # whatever it is, the guest must not start, and libvirt's log is to say why
                answer = {"text": str(error) or repr(error), "done": False}
            os.write(mouth, json.dumps(answer).encode())
        finally:
            os._exit(0)
    os.close(mouth)
    try:
        ready = select.select([ear], [], [], seconds)[0]
        text = b""
        while ready:
            part = os.read(ear, 65536)
            if not part:
                break
            text += part
    finally:
        os.close(ear)
    if not text:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        if ready:
            os.waitpid(pid, 0)
            return False, "the process that looks after leases has died"
        return False, ""
    os.waitpid(pid, 0)
    answer = json.loads(text)
    return answer["done"], answer["text"]


def reconnect(node: Node, guest: Guest) -> None:
    """A libvirtd that starts has found this guest running: refuse it only if another host has its lease."""
    known = node.recall("held", guest.uuid)
    if known:
        held = holder_elsewhere(node, guest, known[1])
        if held:
            raise LeaseError(node.host, guest.thing, f"ended here, because {held['host']} has its lease since {_since(held)}", "", held["host"])


def hook(words: list[str], text: bytes, seconds: float = HOOK_TIME) -> int:
    """NAME OPERATION SUBOPERATION EXTRA, and the domain's XML: libvirt's hook. 0: go on; 1: no, stderr says why."""
    operation = tuple(words[1:3])
    does = {("prepare", "begin"): take, ("migrate", "begin"): announce, ("release", "end"): release, ("reconnect", "begin"): reconnect}.get(operation)
    if does is None:
        return 0
    try:
        node = Node.here()
        if not text and operation == ("migrate", "begin"):
            guest, does = Guest(words[0], ""), announce_by_name
        else:
            guest = guest_of(text)
    except (ValueError, OSError) as error:
        sys.stderr.write(f"{os.uname().nodename}: guest {words[0]}: its lease cannot be looked at: {error}\n")
        return 1
    done, why = bounded(seconds, lambda: does(node, guest))
    if done:
        return 0
    # a guest that runs is not ended because the store is away
    if operation == ("reconnect", "begin") and "has its lease" not in why:
        return 0
    if operation == ("release", "end"):
        # it is in the queue of the heartbeat
        return 0
    if not why:
        why = str(LeaseError(node.host, guest.thing, f"the store does not answer within {seconds:.0f} s, so its lease cannot be taken",
                             "Is the store's host up? (our.cloud.list) Start the guest when it is back"))
    sys.stderr.write(why + "\n")
    return 1


def main(words: list[str]) -> int:
    """lease.py hook ...|watch|autostart|list|boot"""
    if words[:1] == ["hook"]:
        return hook(words[1:], sys.stdin.buffer.read())
    if words == ["watch"]:
        watch(Node.here())
    elif words == ["autostart"]:
        autostart(Node.here())
    elif words == ["list"]:
        json.dump(holders(Node.here().store), sys.stdout, indent=1)
        sys.stdout.write("\n")
    elif words == ["boot"]:
        write_line(Node.here().boot)
    else:
        sys.stderr.write(f"{main.__doc__}\n")
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
