# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The registry's kernels, ramdisks and images in Glance, where the cloud reads them: what differs, and what is done about it.

The registry decides what there is. A thing has the same id in Glance on all sites, made of ours. Glance never gives an id
away twice, so one that was removed there and comes back gets the next of a row of ids; what a thing is, is told by a
property, which counts only on images of our own project with our tag: snapshots inherit properties, and anybody can set
them on his own.
"""

from __future__ import annotations

import dataclasses
import re
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ansible_collections.our.cloud.plugins.module_utils._boot import boot_files, kernel_config
from ansible_collections.our.cloud.plugins.module_utils._common.errors import CloudError
from ansible_collections.our.cloud.plugins.module_utils._guest.arch import Arch, arch
from ansible_collections.our.cloud.plugins.module_utils._registry.registry import Registry
from ansible_collections.our.cloud.plugins.module_utils._registry.storage import Gone

TAG = "our-cloud"
ID, NAMES = "our_cloud_id", "our_cloud_names"
NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "urn:our-cloud:1")
ROW = 50  # ids that a thing can have, one after the other
KINDS = ("kernel", "ramdisk", "image")
FORMAT = {"kernel": "aki", "ramdisk": "ari", "image": "ami"}
PARTITIONED = ("gpt", "mbr", "iso9660")
USERS = ("instance", "volume", "snapshot")
GONE = ("deleted", "pending_delete")


class Taken(Exception):
    """Glance has, or had, an image of this id."""


@dataclasses.dataclass(frozen=True)
class User:
    """An instance or a volume that was made of an image."""

    id: str
    name: str | None
    image: str | None  # Glance's id; None: of none


def glance_ids(key: str) -> list[str]:
    """The ids in Glance that a thing of the registry may have, the usual one first."""
    return [str(uuid.uuid5(NAMESPACE, key if not number else "%s/%d" % (key, number))) for number in range(ROW)]


def of_arch(row: Arch) -> dict[str, str]:
    """What nova is told of guests of an Arch."""
    # To nova i686 is foreign on a 64-bit node, and would be emulated.
    found = {"hw_architecture": "x86_64" if row.libvirt == "i686" else row.libvirt, "hw_machine_type": row.machine["kvm"],
             "hw_disk_bus": "virtio", "hw_vif_model": "virtio"}
    if not row.firmware:
        # nova gives a 64-bit one ACPI, which libvirt refuses there without UEFI; a kernel for 32 bits boots by itself. Their machine has no IDE for
        # the drive with the configuration.
        found.update(hw_firmware_type="uefi" if row.kernel == "arm64" else "bios", hw_cdrom_bus="scsi", hw_scsi_model="virtio-scsi", hw_video_model="none")
    return found


def command_line(record: Mapping[str, Any], row: Arch) -> str:
    """What the kernel of an image gets on nova's machine. The console that nova keeps the log of is the serial one."""
    return " ".join(["root=%s ro" % (record.get("root_device") or row.root["qemu"]), "console=%s" % row.console["qemu"]]
                    + ([record["cmdline"]] if record.get("cmdline") else []))


def described(kind: str, record: Mapping[str, Any], ids: Mapping[str, str]) -> dict[str, Any]:
    """An image of Glance as it is to be, for a record of the registry. ids: Glance's, of what it boots by."""
    names = record["names"]
    found = {"name": names[0] if names and kind == "image" else record["id"], "os_hidden": not names, "protected": True, "visibility": "public",
             "disk_format": FORMAT[kind], "container_format": FORMAT[kind], "tags": [TAG], "min_disk": 0, ID: record["id"]}
    if names:
        found[NAMES] = ",".join(names)
    if (record.get("origin") or {}).get("recipe"):
        found["our_cloud_recipe"] = record["origin"]["recipe"]
    if kind == "image":
        row = arch(record["arch"])
        found.update(of_arch(row), os_type="linux", min_disk=-(-record["size"] // (1 << 30)))
        if record["kernel"]:
            found.update(kernel_id=ids[record["kernel"]], os_command_line=command_line(record, row))
            if record["ramdisk"]:
                found["ramdisk_id"] = ids[record["ramdisk"]]
        else:
            found.update(disk_format="raw", container_format="bare")
    return found


def differences(aim: Mapping[str, Any], image: Mapping[str, Any]) -> dict[str, Any]:
    """{property: value, or None if it is to go} that an image of Glance lacks."""
    found = {key: value for key, value in aim.items() if image.get(key) != value and key not in ("tags", "disk_format", "container_format")}
    found.update((key, None) for key in (NAMES, "our_cloud_recipe", "ramdisk_id") if key not in aim and image.get(key) is not None)
    return found


def wanted(records: Mapping[str, Iterable[Mapping[str, Any]]]) -> set[str]:
    """The ids of what the cloud can be asked for by a name, and of what that boots by. The rest is there for guests that have it already."""
    named = [record for kind in KINDS for record in records[kind] if record["names"]]
    return {key for record in named for key in (record["id"], record.get("kernel"), record.get("ramdisk")) if key}


def why_not(record: Mapping[str, Any], kernel: str | None, ramdisk: str | None, is_unsafe: Callable[[str], str | None]) -> str | None:
    """Why nova's guests cannot boot an image, though others can; None if they can.
    kernel, ramdisk: their files. is_unsafe: says why nova refuses a disk with partitions, or None."""
    row = arch(record["arch"])
    if not kernel:
        reason = is_unsafe(record["file"]) if record["format"] in PARTITIONED else None
        return reason and "nova refuses disks like this: %s. Make a new partition table in it, and register it again" % reason
    if row.virtio == "mmio":
        # nova's machine has its disks on PCI, above 4 GiB
        found = boot_files.kernel(kernel, row.kernel)
        text = kernel_config.config(found)[1]
        if text is not None and not re.search(r"^CONFIG_ARM_LPAE=y$", text, re.MULTILINE):
            return "its kernel does not see the disks of nova's machine (CONFIG_ARM_LPAE is not set). Build it with the kernel linux-image-armmp-lpae"
        row = dataclasses.replace(row, drivers={"qemu": ("VIRTIO_BLK", "VIRTIO_PCI")})
    try:
        boot_files.check(kernel, ramdisk, row, "qemu", record["format"])
    except boot_files.BootFileError as error:
        return str(error)
    return None


def ours(images: Iterable[Mapping[str, Any]], project: str) -> dict[str, list[Mapping[str, Any]]]:
    """{our id: images of Glance, oldest first} of those that this module has put there."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for image in sorted(images, key=lambda image: image["created_at"]):
        if image.get("owner") == project and TAG in image.get("tags", ()) and image.get(ID) and image["status"] not in GONE:
            found.setdefault(image[ID], []).append(image)
    return found


def needed(images: Sequence[Mapping[str, Any]], servers: Iterable[User], volumes: Iterable[User], project: str) -> dict[str, dict[str, dict]]:
    """{our id: {user: what is known of the use}}: who in the cloud needs what.

    A snapshot boots by the kernel and ramdisk of the image that its instance was made of.
    """
    keys = {image["id"]: key for key, several in ours(images, project).items() for image in several}
    found: dict[str, dict[str, dict]] = {}

    def need(image: str | None, kind: str, user: str, name: str | None) -> None:
        if image in keys:
            found.setdefault(keys[image], {})["%s.%s" % (kind, user)] = {"name": name}

    for kind, users in (("instance", servers), ("volume", volumes)):
        for user in users:
            need(user.image, kind, user.id, user.name)
    for image in images:
        if image["id"] not in keys and image["status"] not in GONE:
            for each in ("kernel_id", "ramdisk_id"):
                need(image.get(each), "snapshot", image["id"], image.get("name"))
    return found


class Feeder:
    """Brings Glance to what the registry says. glance: a Glance, or what is like one; registry: a Registry.
    room: refuses a file that does not fit; is_unsafe: see why_not."""

    def __init__(self, glance: Any, registry: Registry, room: Callable[[str], None], is_unsafe: Callable[[str], str | None], check_mode: bool = False) -> None:
        self.glance, self.registry, self.room, self.is_unsafe, self.check_mode = glance, registry, room, is_unsafe, check_mode
        self.actions: list[str] = []  # what was done, or would be
        self.noted: list[str] = []  # our ids whose uses were written
        self.left_out: dict[str, str] = {}  # our ids: why the cloud does not get it
        self.kept: dict[str, list[str]] = {}  # our ids: who needs what the registry has no more
        self.ids: dict[str, str] = {}  # our ids: Glance's

    def run(self) -> dict[str, Any]:
        """What was done, or would be. What is noted counts as no change: the cloud's users come and go."""
        project, images = self.glance.project, self.glance.images()
        there = self._discard(ours(images, project))
        records = {kind: self.registry.listing(kind) for kind in KINDS}
        files = {record["id"]: record["file"] for kind in KINDS for record in records[kind]}
        called = wanted(records)
        for kind in KINDS:
            for record in records[kind]:
                if record["id"] in called or record["id"] in there:
                    self._feed(kind, record, there.get(record["id"]), files)
        # asked last: without nova or cinder images can be uploaded all the same
        uses = needed(images, self.glance.servers(), self.glance.volumes(), project)
        self._note(files, uses)
        self._remove({key: image for key, image in there.items() if key not in files}, uses)
        self._sweep({*files, *there})
        return {"changed": bool(self.actions), "actions": self.actions, "noted": self.noted, "left_out": self.left_out, "kept": self.kept,
                "ids": {key: value for key, value in sorted(self.ids.items()) if key not in self.left_out},
                "needed": {key: sorted(users) for key, users in sorted(uses.items())}}

    def _discard(self, found: Mapping[str, list[Mapping[str, Any]]]) -> dict[str, Mapping[str, Any]]:
        """{our id: its image}, without what was left half uploaded, or twice."""
        there = {}
        for key, several in found.items():
            whole = [image for image in several if image["status"] in ("active", "deactivated")]
            if whole:
                there[key] = whole[0]
            for image in several:
                if image is not there.get(key):
                    self.actions.append("discard %s %s" % (key, image["id"]))
                    self._delete(image)
        return there

    def _feed(self, kind: str, record: Mapping[str, Any], image: Mapping[str, Any] | None, files: Mapping[str, str]) -> None:
        key = record["id"]
        self.ids[key] = image["id"] if image else glance_ids(key)[0]
        if kind == "image" and image is None:
            missing = [each for each in ("kernel", "ramdisk") if record[each] and record[each] not in files]
            reason = ("its %s %s is not in the registry" % (missing[0], record[missing[0]]) if missing else
                      why_not(record, files.get(record["kernel"]), files.get(record["ramdisk"]), self.is_unsafe))
            if reason:
                self.left_out[key] = reason
                return
        aim = described(kind, record, self.ids)
        if image is None:
            self.actions.append("upload %s" % key)
            if not self.check_mode:
                self.room(record["file"])
                self.ids[key] = self._upload(key, aim, record["file"])
            return
        changes = differences(aim, image)
        if changes:
            self.actions.append("update %s: %s" % (key, ", ".join(sorted(changes))))
            if not self.check_mode:
                self.glance.update(image["id"], changes)

    def _upload(self, key: str, aim: Mapping[str, Any], path: str) -> str:
        """Glance's id of what was uploaded: all of it, or nothing."""
        for each in glance_ids(key):
            try:
                # nobody sees it before it is whole
                self.glance.create(dict(aim, id=each, protected=False, visibility="private"))
                break
            except Taken:
                continue
        else:
            raise CloudError("", "Glance", "%s has been removed there %d times, or somebody else has taken its ids" % (key, ROW),
                             "See `openstack image list --all`")
        try:
            self.glance.upload(each, path)
            self.glance.update(each, {"protected": True, "visibility": "public"})
        except BaseException:
            self.glance.delete(each)
            raise
        return each

    def _note(self, files: Iterable[str], uses: Mapping[str, dict[str, dict]]) -> None:
        """Let the registry know who in the cloud needs what, so that nobody takes it away."""
        storage = self.registry.storage
        for key in files:
            before = {user: about for user, about in storage.uses(key).items() if user.partition(".")[0] in USERS}
            after = uses.get(key, {})
            if before == after:
                continue
            self.noted.append(key)
            if self.check_mode:
                continue
            try:
                for user, about in after.items():
                    storage.use(key, user, about)
                for user in set(before) - set(after):
                    storage.unuse(key, user)
            except Gone:
                # removed by somebody in this moment; then Glance's goes with the next run
                continue

    def _remove(self, images: Mapping[str, Mapping[str, Any]], uses: Mapping[str, dict[str, dict]]) -> None:
        """What the registry has no more goes, if nobody needs it: first what boots by others."""
        order = {"emi": 0}
        for key, image in sorted(images.items(), key=lambda item: (order.get(item[0][:3], 1), item[0])):
            boots = [other for other in images.values() if image["id"] in (other.get("kernel_id"), other.get("ramdisk_id")) and other[ID] in self.kept]
            users = sorted(uses.get(key, {})) + ["image.%s" % other[ID] for other in boots]
            if users:
                self.kept[key] = users
                continue
            self.actions.append("remove %s" % key)
            self._delete(image)

    def _sweep(self, keys: Iterable[str]) -> None:
        """Remove the files of uploads that Glance has lost sight of, as when its database went away in the middle."""
        stored = self.glance.stored()
        lost = {each for key in keys for each in glance_ids(key)} & stored
        if lost:
            lost -= {image["id"] for image in self.glance.images()}
        for each in sorted(lost):
            self.actions.append("remove what is left of %s" % each)
            if not self.check_mode:
                self.glance.drop(each)

    def _delete(self, image: Mapping[str, Any]) -> None:
        if self.check_mode:
            return
        if image["protected"]:
            self.glance.update(image["id"], {"protected": False})
        self.glance.delete(image["id"])
