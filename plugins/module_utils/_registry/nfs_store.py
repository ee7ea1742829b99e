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

import errno
import json
import os
import shutil
import tempfile

from ansible_collections.our.cloud.plugins.module_utils._common import sparse
from ansible_collections.our.cloud.plugins.module_utils._registry.registry import FILE, KEY, PREFIX, Gone, RegistryError, Storage, keys, kind_of
from ansible_collections.our.cloud.plugins.module_utils._registry.workspace import NEW, Workspace
from ansible_collections.our.cloud.plugins.module_utils._site.store import MARKER, is_store

FOLDER, ABOUT, USES, NAMES = "registry", "about.json", "uses", "names"
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
    with open(path, "w", encoding="utf-8") as stream:
        json.dump(content, stream, indent=1, sort_keys=True)
        stream.write("\n")
        stream.flush()
        os.fsync(stream.fileno())


def _read(path):
    """The content of a JSON file; None if there is none."""
    try:
        with open(path, encoding="utf-8") as stream:
            return json.load(stream)
    except (FileNotFoundError, NotADirectoryError):
        return None


def _make(folder):
    """A directory that guests' processes can look into, whatever the umask is."""
    if not os.path.isdir(folder):
        os.makedirs(folder, exist_ok=True)
        os.chmod(folder, 0o755)


def _refresh(folder):
    """Make the NFS client forget what it remembers of a directory, for up to a minute otherwise.
    It does when it sees that a change of its own was not the only one."""
    try:
        os.rmdir(tempfile.mkdtemp(dir=folder, prefix=NEW))
    except OSError:
        # it is not there, or not to be written to: then this is as good as it gets
        pass


def _list(folder):
    try:
        return os.listdir(folder)
    except FileNotFoundError:
        return []


def check_room(folder, size):
    """Refuse what would fill the store."""
    stat = os.statvfs(folder)
    free = stat.f_bavail * stat.f_frsize
    if size + SPARE > free:
        raise RegistryError("%s has %d MiB free and %d MiB are needed. Remove images that nobody needs (the playbook prune), or make it larger"
                            % (folder, free >> 20, (size + SPARE) >> 20))


class NfsStore(Storage):
    """root: the store's directory, the same on all hosts. In check mode one that is not there is an empty one."""

    def __init__(self, root, check_mode=False):
        self.root, self.folder = os.path.normpath(root), os.path.join(root, FOLDER)
        # a check changes nothing, not even for a moment
        self.check_mode, self.seen = check_mode, set()
        if not check_mode and not is_store(root):
            raise RegistryError("%s is not the site's store (there is no %s in it). Is it mounted here? Run the image_store playbook" % (root, MARKER))

    def _list(self, folder):
        """What is in a directory now; the first time whatever this host remembers."""
        if not self.check_mode and folder not in self.seen:
            _refresh(folder)
            self.seen.add(folder)
        return [name for name in _list(folder) if not name.startswith(".")]

    # --- what is there

    def get(self, key):
        path = os.path.join(self.folder, key, ABOUT)
        try:
            about = _read(path)
        except ValueError as error:
            raise RegistryError("%s is damaged (%s). Restore it, or remove its directory and register it again" % (path, error)) from None
        return None if about is None else dict(about, id=key)

    def all(self, kind):
        found = [self.get(key) for key in self._list(self.folder) if KEY.match(key) and key.startswith(PREFIX[kind])]
        return sorted((record for record in found if record), key=lambda record: (record["created"], record["id"]))

    def path(self, key):
        return os.path.join(self.folder, key, FILE[kind_of(key)])

    def key_of(self, path):
        """The id whose file this path is; None if it is no file of the registry."""
        folder, name = os.path.split(os.path.normpath(path))
        key = os.path.basename(folder)
        return key if KEY.match(key) and self.path(key) == os.path.join(folder, name) else None

    def is_image(self, path):
        """Whether a path is the file of an image that is there."""
        key = self.key_of(path)
        return key is not None and kind_of(key) == "image" and self.get(key) is not None

    # --- names

    def names(self, kind):
        folder = os.path.join(self.folder, NAMES, kind)
        found = {name: _leads_to(os.path.join(folder, name)) for name in self._list(folder)}
        return {name: key for name, key in found.items() if key}

    def set_name(self, kind, name, key):
        folder = os.path.join(self.folder, NAMES, kind)
        _make(os.path.dirname(folder))
        _make(folder)
        with Workspace(self.folder) as work:
            os.symlink(os.path.join("..", "..", key), os.path.join(work, name))
            os.rename(os.path.join(work, name), os.path.join(folder, name))

    def drop_name(self, kind, name):
        _unlink(os.path.join(self.folder, NAMES, kind, name))

    # --- putting in and taking away

    def add(self, kind, sources, checksum, describe, needs):
        _make(self.folder)
        check_room(self.folder, sum(source.data() for source in sources.values()))
        with Workspace(self.folder) as work:
            folder = os.path.join(work, "new")
            _make(folder)
            _make(os.path.join(folder, USES))
            found = {name: self._copy(source, os.path.join(folder, name)) for name, source in sources.items()}[FILE[kind]]
            if checksum not in (None, found):
                raise RegistryError("the %s's file is not what was announced: its checksum is %s instead of %s. Has it changed meanwhile? Try again"
                                    % (kind, found, checksum))
            record = describe(found)
            _write(os.path.join(folder, ABOUT), record)
            _sync(folder)
            return self._commit(folder, record, needs)

    def _copy(self, source, path):
        try:
            return sparse.copy(source, path)
        except OSError as error:
            if error.errno in FULL:
                raise RegistryError("%s is full; nothing was registered. Remove images that nobody needs (the playbook prune), or make it larger"
                                    % self.root) from None
            raise RegistryError("%s cannot be written, nothing was registered: %s" % (self.folder, error.strerror or error)) from None

    def _commit(self, folder, record, needs):
        for key in keys(record["kind"], record["digest"]):
            there = self.get(key)
            if there is None:
                for need in needs:
                    self.use(need, "image." + key, {})
                try:
                    os.rename(folder, os.path.join(self.folder, key))
                except OSError as error:
                    if error.errno not in TAKEN:
                        raise
                else:
                    _sync(self.folder)
                    self._still_there(key, needs)
                there = self.get(key)
            if there is not None and there["digest"] == record["digest"]:
                return there
        raise RegistryError("id %s is taken by something else; look into %s" % (key, self.folder))

    def _still_there(self, key, needs):
        """Before the image was there its uses stood for nothing, and whoever removed a kernel at that moment passed over them."""
        try:
            for need in needs:
                self.use(need, "image." + key, {})
        except Gone:
            self.remove(key, True)
            raise

    def remove(self, key, force):
        _refresh(os.path.join(self.folder, key, USES))
        for disk in {os.path.dirname(about["disk"]) for about in self._uses(key).values() if about.get("disk")}:
            _refresh(os.path.join(self.root, disk))
        needed = self.uses(key)
        if needed and not force:
            return needed
        with Workspace(self.folder) as work:
            away = os.path.join(work, "old")
            record = self.get(key)
            try:
                os.rename(os.path.join(self.folder, key), away)
            except FileNotFoundError:
                return {}
            uses = os.path.join(away, USES)
            for user in _list(uses):
                if user.startswith(NEW):
                    # what a killed _refresh left
                    shutil.rmtree(os.path.join(uses, user), ignore_errors=True)
                elif force or not self._is_true(user, _use(os.path.join(uses, user))):
                    _unlink(os.path.join(uses, user))
            try:
                os.rmdir(uses)
            except OSError as error:
                if error.errno not in TAKEN:
                    raise
                self._put_back(key, away)
                needed = self.uses(key)
                if not needed:
                    raise RegistryError("somebody looks at %s in this moment, and it was not removed; try again" % key) from None
                return needed
            for need in [record[each] for each in ("kernel", "ramdisk") if record and record.get(each)]:
                self.unuse(need, "image." + key)
        return {}

    def _put_back(self, key, away):
        """Somebody has begun to need it in this moment."""
        try:
            os.rename(away, os.path.join(self.folder, key))
        except OSError as error:
            if error.errno not in TAKEN:
                raise
            # and somebody else has put the same in again
            for user in os.listdir(os.path.join(away, USES)):
                os.rename(os.path.join(away, USES, user), os.path.join(self.folder, key, USES, user))

    # --- who needs what

    def uses(self, key):
        return {user: about for user, about in self._uses(key).items() if self._is_true(user, about)}

    def _uses(self, key):
        folder = os.path.join(self.folder, key, USES)
        return {user: _use(os.path.join(folder, user)) for user in _list(folder) if not user.startswith(".")}

    def _is_true(self, user, about):
        """A guest needs an image as long as its disk exists: it may be made of it. An image needs a kernel as long as it is there."""
        kind, dummy, name = user.partition(".")
        if kind == "image":
            return self.get(name) is not None
        disk = about.get("disk")
        return not disk or os.path.isabs(disk) or os.path.lexists(os.path.join(self.root, disk))

    def use(self, key, user, about):
        path = os.path.join(self.folder, key, USES, user)
        try:
            # the server decides, whatever this host remembers
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644))
        except FileExistsError:
            if _use(path) == about:
                return False
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ESTALE):
                raise
            raise Gone("%s is no longer in the registry; it was removed a moment ago. Choose another, or register it again" % key) from None
        _write(path, about)
        return True

    def unuse(self, key, user):
        _unlink(os.path.join(self.folder, key, USES, user))


def _use(path):
    """What is known of a use. One that is just being written is a use all the same."""
    try:
        return _read(path) or {}
    except ValueError:
        return {}


def _leads_to(path):
    """Where a name leads; None if it is gone, or none."""
    try:
        return os.path.basename(os.readlink(path))
    except OSError:
        return None


def _unlink(path):
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
