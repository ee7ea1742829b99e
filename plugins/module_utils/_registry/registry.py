# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The kernels, ramdisks and images of a site: what each is, what is refused, and who needs it.

An id is made of the content: the same file has the same id, and what an id stands for never changes. A name leads to
an id, and moves to another one when the content changes. An image's id covers all that makes a difference to a guest:
its file, architecture, kernel, ramdisk, root device and command line.

Where the files are kept is a Storage's matter.
"""

from __future__ import annotations

import abc
import hashlib
import json
import os
import re
import time

from ansible_collections.our.cloud.plugins.module_utils._boot import boot_files, kernel_config
from ansible_collections.our.cloud.plugins.module_utils._common import sparse
from ansible_collections.our.cloud.plugins.module_utils._common.errors import Refused
from ansible_collections.our.cloud.plugins.module_utils._guest.arch import ARCHES, arch
from ansible_collections.our.cloud.plugins.module_utils._registry import conversion

PREFIX = {"kernel": "eki", "ramdisk": "eri", "image": "emi"}
FILE = {"kernel": "vmlinuz", "ramdisk": "initrd.img", "image": "root.img"}
KEY = re.compile(r"(eki|eri|emi)-[0-9a-f]{8,64}\Z")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}\Z")
# An id has so many digits of the digest; all of them if another content has the short one.
DIGITS = (12, 64)
NOT_BOOTED = ("swap",)
WITH_LOADER = ("gpt", "mbr", "iso9660")
IDENTITY = ("checksum", "arch", "kernel", "ramdisk", "root_device", "cmdline")


class RegistryError(Refused, ValueError):
    """Something cannot be registered, found or removed; the text says what, why and what to do."""


class Gone(RegistryError):
    """What is to be used has just been removed."""


# --- ids --------------------------------------------------------------------

def digest(kind, record):
    """The digest, 64 hexadecimal digits, of all that makes a difference to who boots it."""
    if kind != "image":
        return record["checksum"].rpartition(":")[2]
    return hashlib.sha256(json.dumps([record.get(key) for key in IDENTITY]).encode()).hexdigest()


def keys(kind, whole):
    """The ids that this digest may have, the usual one first."""
    return ["%s-%s" % (PREFIX[kind], whole[:digits]) for digits in DIGITS]


def kind_of(key):
    """The kind of thing that an id stands for."""
    return next(kind for kind, prefix in PREFIX.items() if key.startswith(prefix))


# --- where the files are ----------------------------------------------------

class Records(abc.ABC):
    """What is known of the things of a registry: their records, names and uses, wherever their files are.

    A record is a dict with `id`, `kind`, `digest` and what people want to know. It never changes. A use says that
    somebody (`guest.NAME`, `image.ID`) needs a thing, and keeps it from being removed.
    """

    @abc.abstractmethod
    def get(self, key):
        """The record of an id; None if there is none."""

    @abc.abstractmethod
    def all(self, kind):
        """The records of a kind, oldest first."""

    @abc.abstractmethod
    def names(self, kind):
        """{name: id} of a kind."""

    @abc.abstractmethod
    def set_name(self, kind, name, key):
        """Let a name lead to an id."""

    @abc.abstractmethod
    def drop_name(self, kind, name):
        """Forget a name."""

    @abc.abstractmethod
    def uses(self, key):
        """{user: what is known of the use}."""

    @abc.abstractmethod
    def use(self, key, user, about):
        """Say that somebody needs it. True if that is new; Gone if there is nothing left to need."""

    @abc.abstractmethod
    def unuse(self, key, user):
        """Say that somebody no longer needs it."""


class Files(abc.ABC):
    """Where the files of a registry are. root: the directory of the site's store, in which the guests' disks are, too."""

    root = ""

    @abc.abstractmethod
    def add(self, kind, sources, checksum, describe, needs):
        """Take files in, all or nothing. Returns the record, with its id: somebody else's if he was faster.
        sources: {file name: source}; checksum: what the kind's FILE must have, None if that is not known;
        describe: makes the record out of the checksum; needs: ids that this one uses."""

    @abc.abstractmethod
    def remove(self, key, force):
        """Take a thing away and return {}; or leave it there and return who needs it (as `uses`)."""

    @abc.abstractmethod
    def path(self, key):
        """Where a guest, and who asks, can read the file."""

    @abc.abstractmethod
    def key_of(self, path):
        """The id whose file a path is; None if it is no file of the registry."""

    @abc.abstractmethod
    def is_image(self, path):
        """Whether a path is the file of an image that is there."""


class Storage(Records, Files):
    """What a registry stands on: what goes in and out goes with its record."""


# --- what is to be registered: looked at where the files are ------------------

class Part:
    """A kernel, ramdisk or image that is to be registered.

    facts: what its record will say of it. size, checksum: of its file. sources: its files; without them it is known
    from afar alone. inspect: what takes its time to find out, and is asked only of what is not registered yet.
    """

    def __init__(self, kind, facts, size, sources=None, checksum=None, inspect=None):
        self.kind, self.facts, self.size, self.sources, self.checksum, self._inspect = kind, facts, size, sources, checksum, inspect

    def measure(self):
        """Read it for its checksum."""
        if self.checksum is None:
            self.checksum = sparse.checksum(self.sources[FILE[self.kind]])

    def inspect(self):
        """Look at all of it, once."""
        if self._inspect is not None:
            self._inspect(self)
            self._inspect = None

    def told(self):
        """All but the files, for another machine."""
        return {"kind": self.kind, "facts": self.facts, "size": self.size, "checksum": self.checksum,
                "files": [[name, source.size, source.data()] for name, source in self.sources.items()]}

    def close(self):
        for source in (self.sources or {}).values():
            source.close()


def arrived(told, stream=None):
    """The Part that another machine told of. Its files, if they were sent, come out of a pack's stream, in order."""
    sources = None
    if told["files"] is not None:
        sources = {name: sparse.PackSource(stream, size, data) for name, size, data in told["files"]}
    return Part(told["kind"], told["facts"], told["size"], sources, told["checksum"])


def _open(path, follow):
    try:
        return sparse.FileSource(path, follow)
    except OSError as error:
        raise RegistryError("%s cannot be read: %s" % (path, error.strerror)) from None


def kernel_part(path, follow=True):
    """A kernel in a file. Its configuration, if that is known, comes with it. follow: it may be a link, as what somebody names himself."""
    found = boot_files.kernel(path, follow=follow)
    rows = [row for row in ARCHES.values() if row.kernel == found.arch or (found.arch == "x86" and row.kernel in ("x86_64", "i386"))]
    if not rows:
        raise RegistryError("kernel %s is for %s, and no guest is; architectures of guests: %s" % (path, found.arch, ", ".join(sorted(ARCHES))))
    boot_files.kernel(path, rows[0].kernel)

    def inspect(part):
        boot_files.kernel(path, whole=True)
        part.facts["version"] = kernel_config.release(found)
        text = kernel_config.config(found)[1]
        if text is not None:
            part.sources["config"] = sparse.BytesSource(text.encode())

    source = _open(path, follow)
    return Part("kernel", {"arches": sorted(row.debian for row in rows), "format": found.format}, source.size, {FILE["kernel"]: source}, inspect=inspect)


def ramdisk_part(path, follow=True):
    """A ramdisk in a file."""
    found = boot_files.ramdisk(path, follow=follow)
    source = _open(path, follow)
    return Part("ramdisk", {"compression": found.compression}, source.size, {FILE["ramdisk"]: source},
                inspect=lambda part: boot_files.ramdisk(path, whole=True))


def image_part(path, facts, follow=True, alone=None):
    """A disk in a file: a root file system, or partitions. facts: what people say of it. Of a qcow2 disk it is a raw copy.
    alone: whether it must boot without a kernel; if that is not said, whether the facts name none."""
    alone = not facts["kernel"] if alone is None else alone
    found = boot_files.disk(path, follow=follow)
    if found.format == "qcow2":
        # the copy stays as long as its source is open
        with conversion.raw_copy(path) as copy:
            return image_part(copy, facts, follow=False, alone=alone)
    found = boot_files.disk(path, raw=True, follow=follow)
    if found.format in NOT_BOOTED:
        raise RegistryError("image %s is %s, and nothing boots from that" % (path, found.what))
    if alone:
        _refuse_unbootable(path, found)
    source = _open(path, follow)
    return Part("image", dict(facts, format=found.format), source.size, {FILE["image"]: source})


def _refuse_unbootable(path, disk):
    """What a BIOS starts wants something in a partition."""
    if disk.format in ("gpt", "mbr") and not disk.partitions:
        raise RegistryError("image %s is %s without partitions: nothing boots it. Has it been built to its end? Build it again, "
                            "or give it a kernel and its ramdisk" % (path, disk.what))


def triple(folder, facts):
    """The Parts in a directory with vmlinuz, initrd.img and root.img, as builders leave them. Without vmlinuz, root.img has partitions.
    A link is refused: it leads where whoever made the directory may not look, and whoever registers it may."""
    paths = {kind: os.path.join(folder, name) for kind, name in FILE.items()}
    there = {kind: os.path.lexists(path) for kind, path in paths.items()}
    if there["ramdisk"] and not there["kernel"]:
        raise RegistryError("%s has a ramdisk (%s) and no kernel (%s); build it again" % (folder, FILE["ramdisk"], FILE["kernel"]))
    image = image_part(paths["image"], facts, follow=False, alone=not there["kernel"])
    parts = [make(paths[kind], follow=False) for kind, make in (("kernel", kernel_part), ("ramdisk", ramdisk_part)) if there[kind]]
    complete(folder, image.facts, parts[0].facts["arches"] if parts else None,
             paths["kernel"] if there["kernel"] else None, paths["ramdisk"] if there["ramdisk"] else None)
    return parts + [image]


def complete(what, facts, arches, kernel, ramdisk):
    """Fill in the architecture of an image (a name or path), and refuse one that boots nowhere.
    arches: of guests that its kernel boots; kernel, ramdisk: paths. None: it has none."""
    if not facts["arch"]:
        if arches and len(arches) > 1:
            raise RegistryError("image %s: its kernel boots guests of %s; say which with arch" % (what, " and ".join(arches)))
        facts["arch"] = arches[0] if arches else "amd64"
    try:
        row = arch(facts["arch"])
    except ValueError as error:
        raise RegistryError("image %s: %s" % (what, error)) from None
    if arches and row.debian not in arches:
        raise RegistryError("image %s is said to be for %s and its kernel is for %s; give it another kernel or arch"
                            % (what, row.debian, " and ".join(arches)))
    if not kernel:
        if not row.firmware:
            raise RegistryError("image %s has no kernel, and %s guests have no firmware to boot without one; give it a kernel" % (what, row.debian))
        if facts["format"] not in WITH_LOADER:
            raise RegistryError("image %s has neither a kernel nor partitions, so nothing boots it; give it a kernel and its ramdisk" % what)
        return
    reasons = []
    for hypervisor in row.drivers:
        try:
            boot_files.check(kernel, ramdisk, row, hypervisor, facts["format"])
            return
        except boot_files.BootFileError as error:
            reasons.append(str(error))
    raise RegistryError("image %s is not registered, as no guest could boot it: %s" % (what, reasons[-1]))


# --- the registry -----------------------------------------------------------

class Registry:
    """Rules over a Storage. With check_mode all is decided and nothing done."""

    def __init__(self, storage, check_mode=False):
        self.storage, self.check_mode = storage, check_mode

    def find(self, kind, wanted):
        """The record of a name or id, or None."""
        if not KEY.match(wanted):
            wanted = self.storage.names(kind).get(wanted)
        return self.storage.get(wanted) if wanted and kind_of(wanted) == kind else None

    def need(self, kind, wanted):
        """The record of a name or id; RegistryError says what there is instead."""
        record = self.find(kind, wanted)
        if record is None:
            raise RegistryError("there is no %s %s in the registry; there are: %s"
                                % (kind, wanted, ", ".join(sorted(self.storage.names(kind))) or "none"))
        return record

    def register(self, name, parts, owner="", origin=None):
        """Put what is not there yet into the storage, and let the name lead to it. Returns what was done, or would be.
        `missing`: kinds that are to be sent first; then nothing is done."""
        if not NAME.match(name) or KEY.match(name):
            raise RegistryError("name %r is not letters, digits, dot, dash and underscore (63 at most), or is an id" % name)
        kind = parts[-1].kind
        result = {"changed": False, "actions": [], "missing": [], "previous": self.storage.names(kind).get(name)}
        # what is wrong with one of them is said before anything is done
        for part in parts:
            if self._there(part) is None:
                part.inspect()
        records = {}
        for part in parts:
            if part.kind == "image":
                self._complete(name, part, records)
            records[part.kind] = self._put(part, owner, origin, result)
        if self.check_mode or not result["missing"]:
            for each in [part.kind for part in parts]:
                self._name(each, name, records[each], result)
        return dict(result, changed=bool(result["actions"]), id=records[kind]["id"], record=records[kind])

    def _complete(self, name, part, records):
        """What an image boots: what came with it, or what is there already."""
        facts = part.facts
        if "kernel" in records or not (facts["kernel"] or facts["ramdisk"]):
            facts.update(kernel=records.get("kernel", {}).get("id"), ramdisk=records.get("ramdisk", {}).get("id"))
            if not facts["kernel"]:
                complete(name, facts, None, None, None)
            return
        if not facts["kernel"]:
            raise RegistryError("image %s: a ramdisk without a kernel boots nothing; give the kernel too" % name)
        found = {each: self.need(each, facts[each]) for each in ("kernel", "ramdisk") if facts[each]}
        complete(name, facts, found["kernel"]["arches"], *(self.storage.path(found[each]["id"]) if each in found else None for each in ("kernel", "ramdisk")))
        facts.update((each, record["id"]) for each, record in found.items())

    def _there(self, part):
        """The record of a part that is registered already, or None."""
        # What has another size is another file: it is read once, when it is copied.
        if self.check_mode or any(record["size"] == part.size for record in self.storage.all(part.kind)):
            part.measure()
        if part.checksum is None:
            return None
        whole = digest(part.kind, dict(part.facts, checksum=part.checksum))
        found = (self.storage.get(key) for key in keys(part.kind, whole))
        return next((record for record in found if record and record["digest"] == whole), None)

    def _put(self, part, owner, origin, result):
        """The record of a part, after it has been put in if it was not there."""
        def describe(checksum):
            record = dict(part.facts, kind=part.kind, checksum=checksum, size=part.size, owner=owner, origin=origin,
                          created=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()))
            return dict(record, digest=digest(part.kind, record))

        record = self._there(part)
        if record is not None:
            # somebody was faster; what comes behind it in a pack is wanted
            for source in (part.sources or {}).values():
                source.skip()
            return record
        if part.sources is None:
            result["missing"].append(part.kind)
        if self.check_mode or part.sources is None:
            record = describe(part.checksum)
            record["id"] = keys(part.kind, record["digest"])[0]
        else:
            needs = [part.facts[each] for each in ("kernel", "ramdisk") if part.facts.get(each)]
            record = self.storage.add(part.kind, part.sources, part.checksum, describe, needs)
        result["actions"].append("register %s" % record["id"])
        return record

    def _name(self, kind, name, record, result):
        if self.storage.names(kind).get(name) == record["id"]:
            return
        if not self.check_mode:
            self.storage.set_name(kind, name, record["id"])
        result["actions"].append("name %s %s" % (record["id"], name))

    def remove(self, kind, wanted, force=False):
        """Take a thing away with its names. An image's kernel and ramdisk lose these names, too, and go if they have no
        other name and nobody else needs them. If it has other names than the one by which it is called here, it loses that name alone."""
        result = {"actions": [], "previous": None, "record": None}
        names, record = self.storage.names(kind), self.find(kind, wanted)
        called = self._called(record) if record else set()
        if record is None or (wanted in called and len(called) > 1):
            self._forget(kind, {wanted} & set(names), result)
        else:
            result.update(previous=record["id"], record=record)
            needed = self._take(record, called, force, result)
            if needed:
                raise RegistryError(
                    "%s %s is needed by %s. Remove these first (the disk of a guest that is absent stays until somebody deletes the file), "
                    "or take it away from them with force" % (kind, " ".join([record["id"], *sorted(called)]),
                                                              ", ".join(said(user, about) for user, about in sorted(needed.items()))))
            for each in ("kernel", "ramdisk"):
                part = self.storage.get(record[each]) if record.get(each) else None
                names = self._called(part) if part else set()
                if part and (names - called or self._take(part, names, False, result, "image." + record["id"])):
                    self._forget(each, names & called, result)
        return dict(result, changed=bool(result["actions"]))

    def _called(self, record):
        return {name for name, key in self.storage.names(record["kind"]).items() if key == record["id"]}

    def _forget(self, kind, names, result):
        for name in sorted(names):
            if not self.check_mode:
                self.storage.drop_name(kind, name)
            result["actions"].append("forget %s %s" % (kind, name))

    def _take(self, record, called, force, result, gone=None):
        """Remove a thing and its names, or return who needs it. gone: who needed it until a moment ago."""
        if self.check_mode:
            needed = {} if force else {user: about for user, about in self.storage.uses(record["id"]).items() if user != gone}
        else:
            needed = self.storage.remove(record["id"], force)
        if not needed:
            result["actions"].append("remove %s" % record["id"])
            self._forget(record["kind"], called, result)
        return needed

    def listing(self, kind):
        """The records of a kind with their names, where the file is, who needs it, and whether nobody does or could by a name."""
        found = []
        for record in self.storage.all(kind):
            called = sorted(self._called(record))
            uses = sorted(self.storage.uses(record["id"]).items())
            found.append(dict(record, names=called, needed_by=[said(*use) for use in uses], unused=not called and not uses,
                              guests=[user.partition(".")[2] for user, dummy in uses if user.startswith("guest.")], file=self.storage.path(record["id"])))
        return found

    def used_by(self, user):
        """{id: what is known of the use} of all that somebody needs."""
        found = {}
        for kind in PREFIX:
            for record in self.storage.all(kind):
                about = self.storage.uses(record["id"]).get(user)
                if about is not None:
                    found[record["id"]] = about
        return found


def said(user, about):
    """A use as people read it."""
    kind, dummy, name = user.partition(".")
    if about.get("name"):
        return "%s %s (%s)" % (kind, about["name"], name)
    return "%s %s%s" % (kind, name, " (disk %s)" % about["disk"] if about.get("disk") else "")
