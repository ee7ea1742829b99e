# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ids of what is registered, and what a Storage, which keeps the records and the files, has to do."""

from __future__ import annotations

import abc
import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ansible_collections.our.cloud.plugins.module_utils._common.errors import Refused
from ansible_collections.our.cloud.plugins.module_utils._common.sparse import Source

PREFIX = {"kernel": "eki", "ramdisk": "eri", "image": "emi"}
FILE = {"kernel": "vmlinuz", "ramdisk": "initrd.img", "image": "root.img"}
KEY = re.compile(r"(eki|eri|emi)-[0-9a-f]{8,64}\Z")
# An id has so many digits of the digest; all of them if another content has the short one.
DIGITS = (12, None)
# What is known of a thing: `id`, `kind`, `digest`, `size` (bytes), `checksum`, `created`, `owner`, `origin`, and what its kind has beside these
Record = dict[str, Any]
# What is known of a use: `name`, or of a guest `disk`, `image`, `host`, `since`
Use = dict[str, Any]
IDENTITY = ("checksum", "arch", "kernel", "ramdisk", "root_device", "cmdline")


class RegistryError(Refused, ValueError):
    """Something cannot be registered, found or removed; the text says what, why and what to do."""


class Gone(RegistryError):
    """What is to be used has just been removed."""


def digest(kind: str, record: Record) -> str:
    """The digest, 64 hexadecimal digits, of all that makes a difference to who boots it."""
    if kind != "image":
        return record["checksum"].rpartition(":")[2]
    return hashlib.sha256(json.dumps([record.get(key) for key in IDENTITY]).encode()).hexdigest()


def keys(kind: str, whole: str) -> list[str]:
    """The ids that this digest may have, the usual one first."""
    return [f"{PREFIX[kind]}-{whole[:digits]}" for digits in DIGITS]


def kind_of(key: str) -> str:
    """The kind of thing that an id stands for."""
    return next(kind for kind, prefix in PREFIX.items() if key.startswith(prefix))


def is_record(about: object, kind: str) -> bool:
    """Whether this can be what is known of a thing of that kind: all has its place and its form of which somebody makes use."""
    if not isinstance(about, dict) or about.get("kind") != kind or not isinstance(about.get("size"), int):
        return False
    texts = ("digest", "created", "checksum") + (("arch", "format") if kind == "image" else ())
    perhaps = ("kernel", "ramdisk", "root_device", "cmdline") if kind == "image" else ()
    arches = about.get("arches") if kind == "kernel" else []
    needs = [about[each] for each in ("kernel", "ramdisk") if about.get(each)] if kind == "image" else []
    return (all(isinstance(about.get(each), str) for each in texts) and all(isinstance(about.get(each), (str, type(None))) for each in perhaps)
            and isinstance(arches, list) and all(isinstance(each, str) for each in arches) and all(KEY.match(each) for each in needs))


class Records(abc.ABC):
    """What is known of the things of a registry: their records, names and uses, wherever their files are.

    A record is a dict with `id`, `kind`, `digest` and what people want to know. It never changes. A use says that
    somebody (`guest.NAME`, `image.ID`) needs a thing, and keeps it from being removed.
    """

    @abc.abstractmethod
    def get(self, key: str) -> Record | None:
        """The record of an id; None if there is none."""

    @abc.abstractmethod
    def all(self, kind: str) -> list[Record]:
        """The records of a kind, oldest first."""

    @abc.abstractmethod
    def names(self, kind: str) -> dict[str, str]:
        """{name: id} of a kind."""

    @abc.abstractmethod
    def set_name(self, kind: str, name: str, key: str) -> None:
        """Let a name lead to an id."""

    @abc.abstractmethod
    def drop_name(self, kind: str, name: str) -> None:
        """Forget a name."""

    @abc.abstractmethod
    def uses(self, key: str) -> dict[str, Use]:
        """{user: what is known of the use}."""

    @abc.abstractmethod
    def use(self, key: str, user: str, about: Use) -> bool:
        """Say that somebody needs it. True if that is new; Gone if there is nothing left to need."""

    @abc.abstractmethod
    def unuse(self, key: str, user: str) -> None:
        """Say that somebody no longer needs it."""


class Files(abc.ABC):
    """Where the files of a registry are. root: the directory of the site's store, in which the guests' disks are, too."""

    root = ""

    @abc.abstractmethod
    def add(self, kind: str, sources: Mapping[str, Source], checksum: str | None, describe: Callable[[str], Record], needs: Iterable[str]) -> Record:
        """Take files in, all or nothing. Returns the record, with its id: somebody else's if he was faster.
        sources: {file name: source}; checksum: what the kind's FILE must have, None if that is not known;
        describe: makes the record out of the checksum; needs: ids that this one uses."""

    @abc.abstractmethod
    def remove(self, key: str, force: bool) -> dict[str, Use]:
        """Take a thing away and return {}; or leave it there and return who needs it (as `uses`)."""

    @abc.abstractmethod
    def path(self, key: str) -> str:
        """Where a guest, and who asks, can read the file."""

    @abc.abstractmethod
    def key_of(self, path: str) -> str | None:
        """The id whose file a path is; None if it is no file of the registry."""

    @abc.abstractmethod
    def is_image(self, path: str) -> bool:
        """Whether a path is the file of an image that is there."""


class Storage(Records, Files):
    """What a registry stands on: what goes in and out goes with its record."""
