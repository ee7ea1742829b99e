# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rings of a Swift of one device, and the proof that its objects were stored by the same hash.

Swift finds an object by a hash that begins and ends with two secrets. With others it finds none of those that it has,
and stores new ones beside them. So a digest of the secrets is kept with the objects, and others are refused.
With one device the rings have nothing in them that could not be made again.
"""

from __future__ import annotations

import configparser
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from typing import Any

from ansible_collections.our.cloud.plugins.module_utils._common.errors import CloudError

PARTS = ("account", "container", "object")
PORTS = {"account": 6202, "container": 6201, "object": 6200}
BUILDER = "swift-ring-builder"
# of the number of partitions; it cannot be changed while there are objects
POWER = "10"
MARKER = ".our-cloud-hash"


def digest(prefix: str, suffix: str) -> str:
    """What is kept of the two secrets."""
    return hashlib.sha256(("%s\n%s\n" % (prefix, suffix)).encode()).hexdigest()


def _read(path: str) -> str | None:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read().strip()
    except FileNotFoundError:
        return None


def configured(path: str) -> str | None:
    """The digest of what Swift's configuration says now; None if there is none."""
    parser = configparser.RawConfigParser(strict=False)
    try:
        parser.read(path)
        return digest(parser["swift-hash"]["swift_hash_path_prefix"], parser["swift-hash"]["swift_hash_path_suffix"])
    except (configparser.Error, KeyError):
        return None


class Rings:
    """folder: of Swift's configuration; devices: the directory with the device's; device: its name."""

    def __init__(self, folder: str, devices: str, device: str, run: Callable[..., Any] = subprocess.run) -> None:
        self.folder, self.devices, self.device, self.run = folder, devices, device, run
        self.host, self.marker = os.uname().nodename, os.path.join(devices, MARKER)

    def ensure(self, prefix: str, suffix: str, check_mode: bool = False) -> list[str]:
        """What was done, or would be. CloudError."""
        actions = self._mark(digest(prefix, suffix), check_mode)
        for part in PARTS:
            if not all(os.path.exists(os.path.join(self.folder, part + end)) for end in (".builder", ".ring.gz")):
                actions.append("make the %s ring" % part)
                if not check_mode:
                    self._make(part)
        return actions

    def _mark(self, wanted: str, check_mode: bool) -> list[str]:
        found = _read(self.marker)
        if found == wanted:
            return []
        if found is None and self._has_objects():
            found = configured(os.path.join(self.folder, "swift.conf"))
        if found not in (None, wanted) or (found is None and self._has_objects()):
            raise CloudError(self.host, self.devices,
                             "it has objects that were stored with other secrets than those of the site, and none of them would be found",
                             "Put the files swift-prefix and swift-suffix back into the site's .secrets, from a backup or from %s/swift.conf; "
                             "or, if nobody needs the objects, remove that directory" % self.folder)
        if not check_mode:
            self._write(wanted)
        return ["note by which secrets objects are stored"]

    def _has_objects(self) -> bool:
        return any(os.path.isdir(os.path.join(self.devices, self.device, name)) for name in ("accounts", "containers", "objects"))

    def _write(self, wanted: str) -> None:
        with tempfile.NamedTemporaryFile("w", dir=self.devices, prefix=MARKER, encoding="ascii", delete=False) as file:
            try:
                file.write(wanted + "\n")
                file.flush()
                os.fsync(file.fileno())
                os.setxattr(file.fileno(), "user.our-cloud", b"1")
                os.fchmod(file.fileno(), 0o444)
                os.rename(file.name, self.marker)
            except OSError as error:
                os.unlink(file.name)
                raise CloudError(self.host, self.devices, "Swift keeps what it knows of objects in extended attributes, and they cannot be set there: %s"
                                 % error.strerror, "Give the store a file system with them (ext4, XFS; NFS 4.2 from Linux 5.9 on)") from None

    def _make(self, part: str) -> None:
        """Both files are whole when they are there, the builder first: without it the other is made again."""
        folder = tempfile.mkdtemp(dir=self.folder, prefix=".ring-")
        try:
            builder = os.path.join(folder, part + ".builder")
            for arguments in (["create", POWER, "1", "1"],
                              ["add", "--region", "1", "--zone", "1", "--ip", "127.0.0.1", "--port", str(PORTS[part]),
                               "--device", self.device, "--weight", "1"],
                              ["rebalance"]):
                done = self.run([BUILDER, builder, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
                # 1: with a warning
                if done.returncode not in (0, 1):
                    raise CloudError(self.host, "%s %s" % (BUILDER, " ".join([builder, *arguments])),
                                     done.stdout.strip() or "it ended with %d" % done.returncode)
            for end in (".builder", ".ring.gz"):
                os.chmod(os.path.join(folder, part + end), 0o644)
                os.rename(os.path.join(folder, part + end), os.path.join(self.folder, part + end))
        finally:
            shutil.rmtree(folder, ignore_errors=True)
