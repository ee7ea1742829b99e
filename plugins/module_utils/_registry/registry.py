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

import re
import time
from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.our.cloud.plugins.module_utils._registry.parts import Part, check_bootable
from ansible_collections.our.cloud.plugins.module_utils._registry.storage import (
    KEY, PREFIX, Record, RegistryError, Storage, Use, digest, keys, kind_of)

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}\Z")


class Registry:
    """Rules over a Storage. With check_mode all is decided and nothing done."""

    def __init__(self, storage: Storage, check_mode: bool = False) -> None:
        self.storage, self.check_mode = storage, check_mode

    def find(self, kind: str, wanted: str) -> Record | None:
        """The record of a name or id, or None."""
        if not KEY.match(wanted):
            wanted = self.storage.names(kind).get(wanted)
        return self.storage.get(wanted) if wanted and kind_of(wanted) == kind else None

    def require(self, kind: str, wanted: str) -> Record:
        """The record of a name or id; RegistryError says what there is instead."""
        record = self.find(kind, wanted)
        if record is None:
            raise RegistryError(f"there is no {kind} {wanted} in the registry; there are: {', '.join(sorted(self.storage.names(kind))) or 'none'}")
        return record

    def register(self, name: str, parts: list[Part], owner: str = "", origin: dict | None = None) -> dict[str, Any]:
        """Put what is not there yet into the storage, and let the name lead to it. Returns what was done, or would be.
        `missing`: kinds that are to be sent first; then nothing is done."""
        if not NAME.match(name) or KEY.match(name):
            raise RegistryError(f"name {name!r} is not letters, digits, dot, dash and underscore (63 at most), or is an id")
        kind = parts[-1].kind
        result = {"actions": [], "missing": [], "previous": self.storage.names(kind).get(name)}
        # what is wrong with one of them is said before anything is done
        for part in parts:
            if self._there(part) is None:
                part.inspect()
        records = {}
        for part in parts:
            if part.kind == "image":
                self._resolve(name, part, records)
            records[part.kind] = self._put(part, owner, origin, result)
        if self.check_mode or not result["missing"]:
            for each in [part.kind for part in parts]:
                self._name(each, name, records[each], result)
        return dict(result, changed=bool(result["actions"]), id=records[kind]["id"], record=records[kind])

    def _resolve(self, name: str, part: Part, records: Mapping[str, Record]) -> None:
        """What an image boots: what came with it, or what is there already."""
        facts = part.facts
        if "kernel" in records or not (facts["kernel"] or facts["ramdisk"]):
            facts.update(kernel=records.get("kernel", {}).get("id"), ramdisk=records.get("ramdisk", {}).get("id"))
            if not facts["kernel"]:
                check_bootable(name, facts, None, None, None)
            return
        if not facts["kernel"]:
            raise RegistryError(f"image {name}: a ramdisk without a kernel boots nothing; give the kernel too")
        found = {each: self.require(each, facts[each]) for each in ("kernel", "ramdisk") if facts[each]}
        check_bootable(name, facts, found["kernel"]["arches"],
                       *(self.storage.path(found[each]["id"]) if each in found else None for each in ("kernel", "ramdisk")))
        facts.update((each, record["id"]) for each, record in found.items())

    def _there(self, part: Part) -> Record | None:
        """The record of a part that is registered already, or None."""
        # What has another size is another file: it is read once, when it is copied.
        if self.check_mode or any(record["size"] == part.size for record in self.storage.all(part.kind)):
            part.measure()
        if part.checksum is None:
            return None
        whole = digest(part.kind, dict(part.facts, checksum=part.checksum))
        found = (self.storage.get(key) for key in keys(part.kind, whole))
        return next((record for record in found if record and record["digest"] == whole), None)

    def _put(self, part: Part, owner: str, origin: dict | None, result: dict[str, Any]) -> Record:
        """The record of a part, after it has been put in if it was not there."""
        def describe(checksum: str) -> Record:
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
        result["actions"].append(f"register {record['id']}")
        return record

    def _name(self, kind: str, name: str, record: Record, result: dict[str, Any]) -> None:
        if self.storage.names(kind).get(name) == record["id"]:
            return
        if not self.check_mode:
            self.storage.set_name(kind, name, record["id"])
        result["actions"].append(f"name {record['id']} {name}")

    def remove(self, kind: str, wanted: str, force: bool = False) -> dict[str, Any]:
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
                users = ", ".join(said(user, about) for user, about in sorted(needed.items()))
                raise RegistryError(
                    f"{kind} {' '.join([record['id'], *sorted(called)])} is needed by {users}. Remove these first (the disk of a guest that is absent "
                    "stays until somebody deletes the file), or take it away from them with force")
            for each in ("kernel", "ramdisk"):
                part = self.storage.get(record[each]) if record.get(each) else None
                names = self._called(part) if part else set()
                if part and (names - called or self._take(part, names, False, result, "image." + record["id"])):
                    self._forget(each, names & called, result)
        return dict(result, changed=bool(result["actions"]))

    def _called(self, record: Record) -> set[str]:
        return {name for name, key in self.storage.names(record["kind"]).items() if key == record["id"]}

    def _forget(self, kind: str, names: Iterable[str], result: dict[str, Any]) -> None:
        for name in sorted(names):
            if not self.check_mode:
                self.storage.drop_name(kind, name)
            result["actions"].append(f"forget {kind} {name}")

    def _take(self, record: Record, called: Iterable[str], force: bool, result: dict[str, Any], gone: str | None = None) -> dict[str, Use]:
        """Remove a thing and its names, or return who needs it. gone: who needed it until a moment ago."""
        if self.check_mode:
            needed = {} if force else {user: about for user, about in self.storage.uses(record["id"]).items() if user != gone}
        else:
            needed = self.storage.remove(record["id"], force)
        if not needed:
            result["actions"].append(f"remove {record['id']}")
            self._forget(record["kind"], called, result)
        return needed

    def listing(self, kind: str) -> list[Record]:
        """The records of a kind with their names, where the file is, who needs it, and whether nobody does or could by a name."""
        found = []
        for record in self.storage.all(kind):
            called = sorted(self._called(record))
            uses = sorted(self.storage.uses(record["id"]).items())
            found.append(dict(record, names=called, needed_by=[said(*use) for use in uses], unused=not called and not uses,
                              guests=[user.partition(".")[2] for user, dummy in uses if user.startswith("guest.")], file=self.storage.path(record["id"])))
        return found

    def used_by(self, user: str) -> dict[str, Use]:
        """{id: what is known of the use} of all that somebody needs."""
        found = {}
        for kind in PREFIX:
            for record in self.storage.all(kind):
                about = self.storage.uses(record["id"]).get(user)
                if about is not None:
                    found[record["id"]] = about
        return found


def said(user: str, about: Use) -> str:
    """A use as people read it."""
    kind, dummy, name = user.partition(".")
    if about.get("name"):
        return f"{kind} {about['name']} ({name})"
    return f"{kind} {name}" + (f" (disk {about['disk']})" if about.get("disk") else "")
