# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The registry's files on the site's shared store, where several hosts read and write at once.

    registry/eki-0123456789ab/   vmlinuz, about.json (the record), perhaps config
    registry/eri-0123456789ab/   initrd.img, about.json
    registry/emi-0123456789ab/   root.img, about.json
    registry/.../uses/           a file for everybody who needs it: guest.NAME, image.ID
    registry/names/image/NAME    a link to what the name leads to; also kernel, ramdisk
    registry/.part-*/            what somebody is putting in or taking away at this moment

What decides is done by the server in one step, so that it does not matter what a host has in its caches: a thing
appears and goes away with the rename of its directory. Who needs a thing makes a file in its uses/; who removes it
takes it out of the way first and then removes uses/, which the server refuses while there is a file in it.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from ansible_collections.our.cloud.plugins.module_utils._common import pinned, sparse
from ansible_collections.our.cloud.plugins.module_utils._registry.storage import (
    FILE, KEY, PREFIX, Gone, Record, RegistryError, Storage, Use, is_record, keys, kind_of)
from ansible_collections.our.cloud.plugins.module_utils._registry.staging import NEW, Staging
from ansible_collections.our.cloud.plugins.module_utils._site.store import MARKER, is_anybodys, is_store

FOLDER, ABOUT, USES, NAMES = "registry", "about.json", "uses", "names"
DISKS = "images"
QCOW2 = b"QFI\xfb"
SPARE = 16 << 20  # bytes that are left free beside what is put in
FULL = (errno.ENOSPC, errno.EDQUOT)
TAKEN = (errno.EEXIST, errno.ENOTEMPTY)


def _sync(folder):
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write(path, content):
    pinned.write(path, (json.dumps(content, indent=1, sort_keys=True) + "\n").encode())


def _refresh(folder: str) -> None:
    """Make the NFS client drop its cached contents of a directory, which may be a minute old. It does so when, after a change
    of its own, it notices that somebody else has changed the directory, too."""
    try:
        os.rmdir(tempfile.mkdtemp(dir=folder, prefix=NEW))
    except OSError:
        # the directory is missing or read-only; then the cache is used as it is
        pass


def check_room(folder: str, size: int) -> None:
    """Refuse what would fill the store."""
    stat = os.statvfs(folder)
    free = stat.f_bavail * stat.f_frsize
    if size + SPARE > free:
        raise RegistryError(f"{folder} has {free >> 20} MiB free and {(size + SPARE) >> 20} MiB are needed. "
                            "Remove images that nobody needs (the playbook prune), or make it larger")


def damaged(path: str, why: object) -> RegistryError:
    """The error for a record that cannot be one."""
    return RegistryError(f"{path} is damaged ({why}). Restore it, or remove its directory and register it again")


class NfsStore(Storage):
    """root: the store's directory, the same on all hosts. In check mode one that is not there is an empty one.

    Whoever can write to the store can put links, FIFOs and files of any content there. None is followed, waited for or
    taken for something else (pinned.py); RegistryError names it.
    """

    def __init__(self, root: str, check_mode: bool = False) -> None:
        self.root, self.folder = os.path.normpath(root), os.path.join(root, FOLDER)
        # a check changes nothing, not even for a moment
        self.check_mode, self.seen = check_mode, set()
        if not check_mode and not is_store(root):
            raise RegistryError(f"{root} is not the site's store (there is no {MARKER} in it). Is it mounted here? Run the image_store playbook")
        why = is_anybodys(root)
        if why:
            raise RegistryError(f"{root} {why}, and whoever else can write there could give the guests any disk. Make it root's, mode 0755")

    @contextlib.contextmanager
    def _at(self, *names: str, make: bool = False) -> Iterator[str]:
        """A directory of the registry, pinned. FileNotFoundError."""
        try:
            with pinned.pin(self.root, FOLDER, *names, make=make) as folder:
                yield folder
        except pinned.Planted as error:
            raise _planted(error, self._shown(error.filename, names)) from None

    def _shown(self, path: str, names: Iterable[str]) -> str:
        """A path in a pinned directory as people know it."""
        return re.sub(r"^/proc/self/fd/\d+", lambda dummy: os.path.join(self.folder, *names), path)

    def _list(self, *names: str) -> list[str]:
        """What is in a directory now; the first time whatever this host remembers."""
        try:
            with self._at(*names) as folder:
                if not self.check_mode and names not in self.seen:
                    _refresh(folder)
                    self.seen.add(names)
                return [name for name in os.listdir(folder) if not name.startswith(".")]
        except FileNotFoundError:
            return []

    # --- what is there

    def get(self, key: str) -> Record | None:
        path = os.path.join(self.folder, key, ABOUT)
        try:
            with self._at(key) as folder:
                about = json.loads(pinned.read(os.path.join(folder, ABOUT)))
                self._check_file(folder, key)
        except FileNotFoundError:
            return None
        except ValueError as error:
            if isinstance(error, RegistryError):
                raise
            raise damaged(path, error) from None
        if not is_record(about, kind_of(key)):
            raise damaged(path, f"it is no record of a{'n' if kind_of(key) == 'image' else ''} {kind_of(key)}")
        return dict(about, id=key)

    def _check_file(self, folder: str, key: str) -> None:
        """Who asks for the file gets its path, and so does QEMU."""
        path = os.path.join(folder, FILE[kind_of(key)])
        if os.path.lexists(path) and not stat.S_ISREG(os.lstat(path).st_mode):
            raise pinned.Planted(path, "file")

    def all(self, kind: str) -> list[Record]:
        found = [self.get(key) for key in self._list() if KEY.match(key) and key.startswith(PREFIX[kind])]
        return sorted((record for record in found if record), key=lambda record: (record["created"], record["id"]))

    def path(self, key: str) -> str:
        return os.path.join(self.folder, key, FILE[kind_of(key)])

    def key_of(self, path: str) -> str | None:
        folder, name = os.path.split(os.path.normpath(path))
        key = os.path.basename(folder)
        return key if KEY.match(key) and self.path(key) == os.path.join(folder, name) else None

    def is_image(self, path: str) -> bool:
        key = self.key_of(path)
        return key is not None and kind_of(key) == "image" and self.get(key) is not None

    def room(self) -> dict[str, Any] | None:
        """How full the store is, bytes: `path`, `size`, `free`, and what the guests' disks may take beyond what they have (`promised`).
        None if there is no store."""
        try:
            about = os.statvfs(self.root)
            with pinned.pin(self.root, DISKS) as folder:
                promised = sum(_growth(os.path.join(folder, name)) for name in os.listdir(folder))
        except FileNotFoundError:
            if not os.path.isdir(self.root):
                return None
            promised = 0
        return {"path": self.root, "size": about.f_blocks * about.f_frsize, "free": about.f_bavail * about.f_frsize, "promised": promised}

    # --- names

    def names(self, kind: str) -> dict[str, str]:
        found = {}
        for name in self._list(NAMES, kind):
            with self._at(NAMES, kind) as folder:
                key = _leads_to(os.path.join(folder, name))
            if key and KEY.match(key) and kind_of(key) == kind:
                found[name] = key
        return found

    def set_name(self, kind: str, name: str, key: str) -> None:
        with self._writing(f"the name {name} leads where it led"), self._at(NAMES, kind, make=True) as folder, self._staging() as work:
            os.symlink(os.path.join("..", "..", key), os.path.join(work, name))
            os.rename(os.path.join(work, name), os.path.join(folder, name))

    def drop_name(self, kind: str, name: str) -> None:
        self._unlink(name, NAMES, kind)

    # --- putting in and taking away

    @contextlib.contextmanager
    def _staging(self) -> Iterator[str]:
        with self._at(make=True) as top, Staging(top, lambda path: self._rescue(top, path)) as work:
            yield work

    def add(self, kind: str, sources: Mapping[str, sparse.Source], checksum: str | None, describe: Callable[[str], Record], needs: Iterable[str]) -> Record:
        with self._writing("nothing was registered"), self._staging() as work:
            # what others have left is gone now
            check_room(self.folder, sum(source.data() for source in sources.values()))
            with pinned.pin(work, "new", make=True) as folder, pinned.pin(work, "new", USES, make=True):
                found = {name: sparse.copy(source, os.path.join(folder, name)) for name, source in sources.items()}[FILE[kind]]
                if checksum not in (None, found):
                    raise RegistryError(f"the {kind}'s file is not what was announced: its checksum is {found} instead of {checksum}. "
                                        "Has it changed meanwhile? Try again")
                record = describe(found)
                _write(os.path.join(folder, ABOUT), record)
                _sync(folder)
            return self._commit(os.path.join(work, "new"), record, needs)

    @contextlib.contextmanager
    def _writing(self, instead: str) -> Iterator[None]:
        """Where writing fails it is said, and what did not happen."""
        try:
            yield
        except OSError as error:
            if error.errno in FULL:
                raise RegistryError(f"{self.root} is full; {instead}. Remove images that nobody needs (the playbook prune), or make it larger") from None
            raise RegistryError(f"{self.folder} cannot be written, {instead}: {error.strerror or self._shown(str(error), ('.part-', 'new'))}") from None

    def _commit(self, folder: str, record: Record, needs: Iterable[str]) -> Record:
        for key in keys(record["kind"], record["digest"]):
            there = self.get(key)
            if there is None:
                for need in needs:
                    self.use(need, "image." + key, {})
                with self._at() as top:
                    try:
                        os.rename(folder, os.path.join(top, key))
                    except OSError as error:
                        if error.errno not in TAKEN:
                            raise
                    else:
                        _sync(top)
                        self._still_there(key, needs)
                there = self.get(key)
            if there is not None and there["digest"] == record["digest"]:
                return there
        raise RegistryError(f"id {key} is taken by something else; look into {self.folder}")

    def _still_there(self, key: str, needs: Iterable[str]) -> None:
        """Before the image was there its uses stood for nothing, and whoever removed a kernel at that moment passed over them."""
        try:
            for need in needs:
                self.use(need, "image." + key, {})
        except Gone:
            self.remove(key, True)
            raise

    def remove(self, key: str, force: bool) -> dict[str, Use]:
        try:
            with self._at(key, USES) as uses:
                _refresh(uses)
        except FileNotFoundError:
            pass
        for about in self._uses(key).values():
            disk = self._disk(about)
            if disk:
                _refresh(os.path.dirname(disk))
        needed = self.uses(key)
        if needed and not force:
            return needed
        with self._writing("it was not removed"), self._at(make=True) as top, self._staging() as work:
            away, record = os.path.join(work, key), self.get(key)
            try:
                os.rename(os.path.join(top, key), away)
            except FileNotFoundError:
                return {}
            try:
                goes = self._goes(away, force)
            except BaseException:
                self._put_back(top, key, away)
                raise
            if not goes:
                self._put_back(top, key, away)
                needed = self.uses(key)
                if not needed:
                    raise RegistryError(f"somebody looks at {key} in this moment, and it was not removed; try again")
                return needed
            for need in _needs(record):
                self.unuse(need, "image." + key)
        return {}

    def _goes(self, away: str, force: bool = False) -> bool:
        """Whether what was taken out of its place goes: the server decides, which removes no directory of uses with a use in it."""
        try:
            with pinned.pin(away, USES) as uses:
                for user in os.listdir(uses):
                    path = os.path.join(uses, user)
                    if user.startswith(NEW):
                        # what a killed _refresh left
                        shutil.rmtree(path, ignore_errors=True)
                    elif force or not self._is_true(user, _use(path)):
                        _unlink(path)
            with pinned.pin(away) as folder:
                os.rmdir(os.path.join(folder, USES))
        except (FileNotFoundError, pinned.Planted):
            # it was decided before, or is nothing of ours
            return True
        except OSError as error:
            if error.errno not in TAKEN:
                raise
            return False
        return True

    def _rescue(self, top: str, work: str) -> None:
        """What was being removed when its remover was killed, or failed, and is needed comes back."""
        for key in os.listdir(work):
            if KEY.match(key) and not self._goes(os.path.join(work, key)):
                self._put_back(top, key, os.path.join(work, key))

    def _put_back(self, top: str, key: str, away: str) -> None:
        """Somebody has begun to need it."""
        try:
            os.rename(away, os.path.join(top, key))
        except FileNotFoundError:
            return
        except OSError as error:
            if error.errno not in TAKEN:
                raise
            # and somebody else has put the same in again
            with pinned.pin(away, USES) as old, self._at(key, USES) as new:
                for user in os.listdir(old):
                    os.rename(os.path.join(old, user), os.path.join(new, user))
        for need in _needs(self.get(key)):
            try:
                self.use(need, "image." + key, {})
            except Gone:
                # nobody can help that; the guests' disks need the image all the same
                pass

    # --- who needs what

    def uses(self, key: str) -> dict[str, Use]:
        return {user: about for user, about in self._uses(key).items() if self._is_true(user, about)}

    def _uses(self, key: str) -> dict[str, Use]:
        try:
            with self._at(key, USES) as folder:
                return {user: _use(os.path.join(folder, user)) for user in os.listdir(folder) if not user.startswith(".")}
        except FileNotFoundError:
            return {}

    def _disk(self, about: Use) -> str | None:
        """The path of the disk that a use is for, if it is in the store; None if not."""
        disk = about.get("disk")
        inside = os.path.normpath(disk) if isinstance(disk, str) and disk else ".."
        return None if os.path.isabs(inside) or inside.startswith("..") else os.path.join(self.root, inside)

    def _is_true(self, user: str, about: Use) -> bool:
        """A guest needs an image as long as its disk exists: it may be made of it. An image needs a kernel as long as it is there."""
        kind, dummy, name = user.partition(".")
        if kind == "image":
            return KEY.match(name) is not None and self.get(name) is not None
        disk = self._disk(about)
        return disk is None or os.path.lexists(disk)

    def use(self, key: str, user: str, about: Use) -> bool:
        try:
            with self._at(key, USES) as folder:
                path = os.path.join(folder, user)
                try:
                    # the server decides, whatever this host remembers
                    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644))
                except FileExistsError:
                    if _use(path) == about:
                        return False
                _write(path, about)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ESTALE):
                raise
            raise Gone(f"{key} is no longer in the registry; it was removed a moment ago. Choose another, or register it again") from None
        return True

    def unuse(self, key: str, user: str) -> None:
        self._unlink(user, key, USES)

    def _unlink(self, name: str, *names: str) -> None:
        try:
            with self._at(*names) as folder:
                _unlink(os.path.join(folder, name))
        except FileNotFoundError:
            pass


def _growth(path: str) -> int:
    """Bytes that a disk may still take."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
    except OSError:
        # a link, or gone
        return 0
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            return 0
        head = os.pread(descriptor, 32, 0)
        size = int.from_bytes(head[24:32], "big") if head[:4] == QCOW2 else status.st_size
        return max(0, size - status.st_blocks * 512)
    finally:
        os.close(descriptor)


def _needs(record: Record | None) -> list[str]:
    """The ids that an image's record names."""
    return [record[each] for each in ("kernel", "ramdisk") if record and record.get(each)]


def _planted(error: OSError, path: str) -> RegistryError:
    return RegistryError(f"{path}: {error.strerror}. Find out who put it there, and remove it")


def _use(path: str) -> Use:
    """What is known of a use. One that is just being written is a use all the same, and so is what is none."""
    try:
        about = json.loads(pinned.read(path))
    except (FileNotFoundError, ValueError, pinned.Planted):
        return {}
    return about if isinstance(about, dict) else {}


def _leads_to(path: str) -> str | None:
    """Where a name leads; None if it is gone, or none."""
    try:
        return os.path.basename(os.readlink(path))
    except OSError:
        return None


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
