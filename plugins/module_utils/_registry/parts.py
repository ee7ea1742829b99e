# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is to be registered: kernels, ramdisks and images, looked at where the files are, and refused for what nothing could boot."""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible_collections.our.cloud.plugins.module_utils._boot import boot_files, kernel_config
from ansible_collections.our.cloud.plugins.module_utils._boot.disk_images import Disk
from ansible_collections.our.cloud.plugins.module_utils._common import sparse
from ansible_collections.our.cloud.plugins.module_utils._guest.arch import ARCHES, arch
from ansible_collections.our.cloud.plugins.module_utils._registry import conversion
from ansible_collections.our.cloud.plugins.module_utils._registry.storage import FILE, RegistryError

NOT_BOOTED = ("swap",)
WITH_LOADER = ("gpt", "mbr", "iso9660")
SECTOR = 512


class Part:
    """A kernel, ramdisk or image that is to be registered.

    facts: what its record will say of it. size, checksum: of its file. sources: its files; without them it is known
    from afar alone. inspect: what takes its time to find out, and is asked only of what is not registered yet.
    """

    def __init__(self, kind: str, facts: dict[str, Any], size: int, sources: dict[str, sparse.Source] | None = None, checksum: str | None = None,
                 inspect: Callable[[Part], None] | None = None) -> None:
        self.kind, self.facts, self.size, self.sources, self.checksum, self._inspect = kind, facts, size, sources, checksum, inspect

    def measure(self) -> None:
        """Read it for its checksum."""
        if self.checksum is None:
            self.checksum = sparse.checksum(self.sources[FILE[self.kind]])

    def inspect(self) -> None:
        """Look at all of it, once."""
        if self._inspect is not None:
            self._inspect(self)
            self._inspect = None

    def told(self) -> dict[str, Any]:
        """All but the files, for another machine."""
        return {"kind": self.kind, "facts": self.facts, "size": self.size, "checksum": self.checksum,
                "files": [[name, source.size, source.data()] for name, source in self.sources.items()]}

    def close(self) -> None:
        for source in (self.sources or {}).values():
            source.close()


def arrived(told: Mapping[str, Any], stream: gzip.GzipFile | None = None) -> Part:
    """The Part that another machine told of. Its files, if they were sent, come out of a pack's stream, in order."""
    sources = None
    if told["files"] is not None:
        sources = {name: sparse.PackSource(stream, size, data) for name, size, data in told["files"]}
    return Part(told["kind"], told["facts"], told["size"], sources, told["checksum"])


def _open(path: str, follow: bool) -> sparse.FileSource:
    try:
        return sparse.FileSource(path, follow)
    except OSError as error:
        raise RegistryError(f"{path} cannot be read: {error.strerror}") from None


def kernel_part(path: str, follow: bool = True) -> Part:
    """A kernel in a file. Its configuration, if that is known, comes with it. follow: it may be a link, as what somebody names himself."""
    found = boot_files.kernel(path, follow=follow)
    rows = [row for row in ARCHES.values() if row.kernel == found.arch or (found.arch == "x86" and row.kernel in ("x86_64", "i386"))]
    if not rows:
        raise RegistryError(f"kernel {path} is for {found.arch}, and no guest is; architectures of guests: {', '.join(sorted(ARCHES))}")
    boot_files.kernel(path, rows[0].kernel)

    def inspect(part):
        boot_files.kernel(path, whole=True)
        part.facts["version"] = kernel_config.release(found)
        text = kernel_config.config(found)[1]
        if text is not None:
            part.sources["config"] = sparse.BytesSource(text.encode())

    source = _open(path, follow)
    return Part("kernel", {"arches": sorted(row.debian for row in rows), "format": found.format}, source.size, {FILE["kernel"]: source}, inspect=inspect)


def ramdisk_part(path: str, follow: bool = True) -> Part:
    """A ramdisk in a file."""
    found = boot_files.ramdisk(path, follow=follow)
    source = _open(path, follow)
    return Part("ramdisk", {"compression": found.compression}, source.size, {FILE["ramdisk"]: source},
                inspect=lambda part: boot_files.ramdisk(path, whole=True))


def image_part(path: str, facts: dict[str, Any], follow: bool = True, alone: bool | None = None) -> Part:
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
        raise RegistryError(f"image {path} is {found.what}, and nothing boots from that")
    if found.sector != SECTOR:
        raise RegistryError(f"image {path} is {found.what} for sectors of {found.sector} bytes, and guests' disks have {SECTOR}: they would not see its "
                            "partitions. Make the table anew for these, or give the root file system alone, and a kernel")
    if alone:
        _refuse_unbootable(path, found)
    source = _open(path, follow)
    return Part("image", dict(facts, format=found.format), source.size, {FILE["image"]: source})


def _refuse_unbootable(path: str, disk: Disk) -> None:
    """Guests have a BIOS. It wants something in a partition, and code that starts it."""
    if disk.format not in ("gpt", "mbr"):
        return
    if not disk.partitions:
        raise RegistryError(f"image {path} is {disk.what} without partitions: nothing boots it. "
                            "Has it been built to its end? Build it again, or give it a kernel and its ramdisk")
    if not disk.boot_code:
        raise RegistryError(f"image {path} is {disk.what} without code that a BIOS starts, and a BIOS is what guests have: it would hang at its boot. "
                            "It may be made for UEFI alone. Install a boot loader for BIOS into it (grub-pc), or give it a kernel and its ramdisk")


def triple(folder: str, facts: dict[str, Any]) -> list[Part]:
    """The Parts in a directory with vmlinuz, initrd.img and root.img, as builders leave them. Without vmlinuz, root.img has partitions.
    A link is refused: it leads where whoever made the directory may not look, and whoever registers it may."""
    paths = {kind: os.path.join(folder, name) for kind, name in FILE.items()}
    there = {kind: os.path.lexists(path) for kind, path in paths.items()}
    if there["ramdisk"] and not there["kernel"]:
        raise RegistryError(f"{folder} has a ramdisk ({FILE['ramdisk']}) and no kernel ({FILE['kernel']}); build it again")
    image = image_part(paths["image"], facts, follow=False, alone=not there["kernel"])
    parts = [make(paths[kind], follow=False) for kind, make in (("kernel", kernel_part), ("ramdisk", ramdisk_part)) if there[kind]]
    check_bootable(folder, image.facts, parts[0].facts["arches"] if parts else None,
                   paths["kernel"] if there["kernel"] else None, paths["ramdisk"] if there["ramdisk"] else None)
    return parts + [image]


def check_bootable(what: str, facts: dict[str, Any], arches: Sequence[str] | None, kernel: str | None, ramdisk: str | None) -> None:
    """Fill in the architecture of an image (a name or path), and refuse one that boots nowhere.
    arches: of guests that its kernel boots; kernel, ramdisk: paths. None: it has none."""
    if not facts["arch"]:
        if arches and len(arches) > 1:
            raise RegistryError(f"image {what}: its kernel boots guests of {' and '.join(arches)}; say which with arch")
        facts["arch"] = arches[0] if arches else "amd64"
    try:
        row = arch(facts["arch"])
    except ValueError as error:
        raise RegistryError(f"image {what}: {error}") from None
    if arches and row.debian not in arches:
        raise RegistryError(f"image {what} is said to be for {row.debian} and its kernel is for {' and '.join(arches)}; give it another kernel or arch")
    if not kernel:
        if not row.firmware:
            raise RegistryError(f"image {what} has no kernel, and {row.debian} guests have no firmware to boot without one; give it a kernel")
        if facts["format"] not in WITH_LOADER:
            raise RegistryError(f"image {what} has neither a kernel nor partitions, so nothing boots it; give it a kernel and its ramdisk")
        return
    reasons = []
    for hypervisor in row.drivers:
        try:
            boot_files.check(kernel, ramdisk, row, hypervisor, facts["format"])
            return
        except boot_files.BootFileError as error:
            reasons.append(str(error))
    raise RegistryError(f"image {what} is not registered, as no guest could boot it: {reasons[-1]}")
