# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A guest of an image: what it boots, the disk that it gets, and the registry's knowledge that it needs both.

On KVM the disk is a qcow2 file that has what differs from the image, which lies beside it on the same store and never
changes: with cache=none such a chain moves from host to host like any other disk. Xen's blkback takes raw disks alone,
and a QEMU process for each guest would be the price of another; so there the disk is a copy without the holes, which an
NFS server makes by itself. A disk's name says which of both it is.
"""

from __future__ import annotations

import dataclasses
import os
import subprocess
import time
from collections.abc import Mapping
from typing import Any

from ansible_collections.our.cloud.plugins.module_utils._common import shapes, sparse
from ansible_collections.our.cloud.plugins.module_utils._guest.description import Complete, Description, is_overlay
from ansible_collections.our.cloud.plugins.module_utils._registry.nfs_store import check_room
from ansible_collections.our.cloud.plugins.module_utils._registry.registry import Registry
from ansible_collections.our.cloud.plugins.module_utils._registry.storage import KEY, Gone, RegistryError
from ansible_collections.our.cloud.plugins.module_utils._registry.staging import Staging

DISKS = "images"
OVERLAY_SIZE = 1 << 20  # of a new one, more than enough


class GuestImage:
    """What is between one guest and the registry. family: xen or qemu; params: the guest, as the module vm has it."""

    def __init__(self, registry: Registry, params: Mapping[str, Any], family: str) -> None:
        self.registry, self.store, self.params, self.family = registry, registry.storage, params, family
        self.name, self.user = params["name"], "guest." + params["name"]
        self.used = registry.used_by(self.user)
        self.record: dict[str, Any] | None = None
        self.disk: str | None = None
        self.about: dict[str, str] | None = None
        if params["image"]:
            self.disk = self._choose_disk()
            inside = os.path.relpath(self.disk, self.store.root)
            self.about = {"disk": self.disk if inside.startswith("../") else inside, "image": params["image"], "host": os.uname().nodename,
                          "since": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
            self.record = self._choose_image()
            self.about = self.used.get(self.record["id"], self.about)

    # --- decisions

    def _path(self, name: str) -> str:
        return os.path.normpath(os.path.join(self.store.root, name))

    def _choose_disk(self) -> str:
        """The guest's own disk: what is said, or what it has already, or what is right for its hypervisor."""
        if self.params["disk"]:
            return self._path(self.params["disk"])
        overlay, raw = (self._path(f"{DISKS}/{self.name}{suffix}") for suffix in (".qcow2", ".img"))
        if self.family == "qemu":
            return raw if os.path.exists(raw) and not os.path.exists(overlay) else overlay
        if os.path.exists(overlay) and not os.path.exists(raw):
            raise RegistryError(f"guest {self.name}: its disk {overlay} is one for KVM, and Xen takes raw ones. "
                                f"Convert it (qemu-img convert -O raw {overlay} {raw}), or remove it")
        return raw

    def _choose_image(self) -> dict[str, Any]:
        """The image that the disk was made from, as long as there is that disk; else the one that is asked for."""
        wanted = self.params["image"]
        asked = self.registry.find("image", wanted)
        for key, about in self.used.items():
            if about.get("disk") != self.about["disk"]:
                continue
            if (asked is None or asked["id"] != key) and about.get("image") != wanted:
                raise RegistryError(
                    f"guest {self.name}: its disk {about.get('disk')} was made from {key} ({about.get('image')}) and is never written over. "
                    f"Say that image, or stop the guest and remove the disk to have it made from {wanted}")
            return self.store.get(key)
        return self.registry.require("image", wanted)

    def described(self) -> Description:
        """The guest with what the image says; what the guest says itself counts for more."""
        full, record = shapes.of(Description, self.params), self.record
        files = {kind: getattr(full, kind) for kind in ("kernel", "ramdisk")}
        for kind, named in files.items():
            if named and KEY.match(named):
                files[kind] = self.store.path(self.registry.require(kind, named)["id"])
        if record is None:
            return dataclasses.replace(full, **files)
        if full.arch not in (None, record["arch"]):
            raise RegistryError(f"guest {self.name}: image {full.image} is for {record['arch']}, not for {full.arch}")
        if not files["kernel"]:
            files = {kind: path or (record[kind] and self.store.path(record[kind])) for kind, path in files.items()}
        return dataclasses.replace(full, **files, arch=record["arch"], disk=self.disk, root_device=record["root_device"], append=record["cmdline"])

    def is_new(self) -> bool:
        """Whether the disk is yet to be made."""
        return self.record is not None and not os.path.exists(self.disk)

    def _uses(self, full: Description | Complete) -> dict[str, dict[str, str]]:
        """{id: what is known of the use} as it should be."""
        uses = {}
        if self.record is not None:
            uses[self.record["id"]] = self.about
        for path in (full.kernel, full.ramdisk):
            key = self.store.key_of(path) if path else None
            if key and (self.record is None or key not in (self.record["kernel"], self.record["ramdisk"])):
                uses[key] = {}
        return uses

    def wants(self, full: Description | Complete) -> list[str]:
        """The ids that are not yet known to be needed."""
        return sorted(set(self._uses(full)) - set(self.used))

    def surplus(self, full: Description | Complete | None = None) -> list[str]:
        """The ids that the guest needs no more; without a description, because it is gone. Its disk stays, and needs its image as long as it does."""
        keys = set(self.used) - set(self._uses(full) if full else ())
        return sorted(key for key in keys if not self._has_disk(self.used[key].get("disk")))

    def _has_disk(self, disk: str | None) -> bool:
        return bool(disk) and os.path.lexists(self._path(disk))

    # --- deeds

    def take(self, full: Description | Complete) -> None:
        """Say what the guest needs, before it is made."""
        if self.is_new():
            # what was made from another image is gone, and must not be taken for the disk that comes now
            for record in self.store.all("image"):
                if self.user not in self.store.uses(record["id"]):
                    self.store.unuse(record["id"], self.user)
        for key, about in self._uses(full).items():
            self.store.use(key, self.user, about)

    def make_disk(self) -> None:
        """Make the guest's disk. One that exists is never written to, nor one that appears meanwhile."""
        image, folder = self.store.path(self.record["id"]), os.path.dirname(self.disk)
        if not os.path.isdir(folder):
            raise RegistryError(f"guest {self.name}: there is no directory {folder} for its disk. Make it, or say another disk")
        try:
            with Staging(folder) as work:
                part = os.path.join(work, "disk")
                if is_overlay(self.disk):
                    check_room(folder, OVERLAY_SIZE)
                    self._qemu_img("create", "-q", "-f", "qcow2", "-F", "raw", "-b", image, part)
                    with open(part, "rb") as stream:
                        os.fsync(stream.fileno())
                else:
                    with sparse.FileSource(image, follow=False) as source:
                        check_room(folder, source.data())
                    sparse.clone(image, part)
                os.chmod(part, 0o600)
                os.link(part, self.disk)
        except FileExistsError:
            return
        except OSError as error:
            raise RegistryError(f"guest {self.name}: its disk {self.disk} cannot be made: {error.strerror or error}") from None
        try:
            # Before there was a disk the use stood for nothing, and whoever removed the image at that moment passed over it.
            self.store.use(self.record["id"], self.user, self.about)
        except Gone:
            os.unlink(self.disk)
            raise

    def _qemu_img(self, *arguments: str) -> None:
        try:
            done = subprocess.run(["qemu-img", *arguments], capture_output=True, text=True, check=False)
        except FileNotFoundError:
            raise RegistryError(f"guest {self.name}: its disk cannot be made, as qemu-img is missing. "
                                "Install qemu-utils, or run the hypervisors playbook") from None
        if done.returncode:
            raise RegistryError(f"guest {self.name}: its disk cannot be made: {done.stderr.strip()}")

    def give_up(self, key: str) -> None:
        """Say that it is no longer needed."""
        self.store.unuse(key, self.user)
