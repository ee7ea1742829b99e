# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a file is what a guest is to boot from, and whether what it is given goes together.

`kernel`, `ramdisk` and `disk` refuse what is something else, or cut short; `check` says whether a guest can boot from what
it is given. Files are read at the places that matter, never whole, unless that is asked for (`ramdisk(whole=True)`,
kernel_config), and then in bounded memory. All failures are BootFileError, whatever is in the file.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import TypeVar

from ansible_collections.our.cloud.plugins.module_utils._boot import compression, kernel_config
from ansible_collections.our.cloud.plugins.module_utils._boot.disk_images import HEAD, Disk
from ansible_collections.our.cloud.plugins.module_utils._boot.identify import NO_IDEA, identify_as, made_ramdisk, pass_cpio
from ansible_collections.our.cloud.plugins.module_utils._boot.kinds import Kernel, Other, Packed, Ramdisk
from ansible_collections.our.cloud.plugins.module_utils._boot.sources import BootFileError, File, Passing, Stream
from ansible_collections.our.cloud.plugins.module_utils._guest.arch import ARCHES, Arch

Answer = TypeVar("Answer")
NO_DISK = ("damaged", "blank")
CONTAINERS = ("qcow2", "vmdk", "vhd", "vhdx", "vdi")
FILE_SYSTEM_DRIVER = {"ext2": "EXT4_FS", "ext3": "EXT4_FS", "ext4": "EXT4_FS", "xfs": "XFS_FS", "btrfs": "BTRFS_FS"}
# What boots a guest's kernel: QEMU and Xen's domain builder. {arch: {format: compressions}}, None: any.
# QEMU 10.0 unpacks an arm64 Image, an EFI zboot kernel and a uImage by gzip alone (hw/core/loader.c, hw/arm/boot.c).
LOADABLE = {
    "x86_64": {"bzImage": None, "ELF": None},
    "i386": {"bzImage": None, "ELF": None},
    "arm": {"zImage": None, "uImage": ("", "gzip")},
    "arm64": {"Image": ("", "gzip"), "EFI zboot": ("gzip",), "uImage": ("", "gzip")},
}
SWAP_HINT = "Have kernel, ramdisk and disk been mixed up?"
WHOLE = "Where it comes from, make one that is whole: qemu-img convert -O qcow2"
AGAIN = "Fetch or copy it again and compare its checksum"


def _expect(path: str, role: str, kinds: type | tuple[type, ...], follow: bool) -> Kernel | Ramdisk | Packed | Disk:
    """Identify, and refuse what is none of `kinds` or is cut short."""
    found = identify_as(path, role, follow)
    if found.size == 0:
        raise BootFileError(f"{role} {path} is empty. {AGAIN}")
    if not isinstance(found, kinds) or getattr(found, "format", "") in NO_DISK:
        mixed = isinstance(found, (Kernel, Ramdisk, Disk)) and getattr(found, "format", "") not in NO_DISK
        hint = getattr(found, "hint", "") or (SWAP_HINT if mixed else AGAIN)
        raise BootFileError(f"{role} {path} is {found.what}, and a {role} is needed. {hint}")
    if found.whole > found.size:
        raise BootFileError(f"{role} {path} is cut short: {found.what} of at least {found.whole} bytes, and {found.size} are there. {AGAIN}")
    return found


def kernel(path: str, arch: str | None = None, whole: bool = False, follow: bool = True) -> Kernel:
    """The Kernel in a file. `arch`: the kernel architecture that it must be for (Arch.kernel), and in a form that boots there.
    `whole`: unpack one that is compressed as a whole to its end; all others say how long they are. `follow`: it may be a link.
    BootFileError: it is something else, cut short, damaged, for another architecture, or in a form that nothing boots."""
    found = _expect(path, "kernel", Kernel, follow)
    if whole and found.wrapping:
        with File(path, "kernel") as source:
            _to_the_end("kernel", path, lambda: sum(map(len, kernel_config.expanded(Stream(source), found.wrapping))))
    if arch is None:
        return found
    if found.arch != arch and not (found.arch == "x86" and arch in ("x86_64", "i386")):
        takers = sorted(row.debian for row in ARCHES.values() if row.kernel == found.arch)
        raise BootFileError(f"kernel {path} is for {found.arch} and the guest needs one for {arch}. Give it that"
                            + (f", or the guest the arch that goes with this one: {' or '.join(takers)}" if takers else ""))
    if not _boots(found, LOADABLE[arch]):
        forms = [form + (f" ({', '.join(method or 'plain' for method in methods)})" if methods else "") for form, methods in LOADABLE[arch].items()]
        raise BootFileError(f"kernel {path} is {found.what}, which nothing here boots. Give it as {' or '.join(forms)}")
    return found


def _boots(found, forms):
    methods = forms.get(found.format, ())
    if methods is None:
        return not found.wrapping
    if found.format == "Image":
        return found.wrapping in methods
    return not found.wrapping and found.compression in methods


def ramdisk(path: str, whole: bool = False, follow: bool = True) -> Ramdisk:
    """The Ramdisk in a file. `whole`: read it to its end, which finds what is damaged or cut short in compressed data
    (about as long as unpacking it takes; an archive in a compression that this machine cannot read is passed over).
    `follow`: it may be a link.
    BootFileError: it is something else, or cut short or damaged."""
    found = _expect(path, "ramdisk", (Ramdisk, Packed), follow)
    if isinstance(found, Packed):
        return Ramdisk(path, found.size, found.whole, found.what, found.compression, 0)
    if not whole:
        return found
    with File(path, "ramdisk") as source:
        name, prefix = _to_the_end("ramdisk", path, lambda: _read_archives(source))
    return made_ramdisk(source, name, prefix, found.size)._replace(path=path)


def _to_the_end(role: str, path: str, read: Callable[[], Answer]) -> Answer:
    """What `read` returns; what it finds wrong is a BootFileError."""
    try:
        return read()
    except compression.CutShort as error:
        raise BootFileError(f"{role} {path} is cut short: {error}. {AGAIN}") from None
    except compression.CompressionError as error:
        raise BootFileError(f"{role} {path} is damaged: {error}. {AGAIN}") from None


def _read_archives(source):
    """Pass over all archives of a ramdisk; (compression, offset) of the last. CompressionError says what is wrong."""
    offset, last = 0, ("", 0)
    while offset < source.size:
        data = source.at(offset, HEAD)
        rest = data.lstrip(b"\0")
        offset += len(data) - len(rest)
        if not rest:
            continue
        name = compression.method(rest[:32])
        last = (name, offset)
        if name:
            unknown = compression.unknown_to_linux(rest[:32])
            if unknown:
                raise compression.CompressionError(f"Linux cannot unpack its archive at byte {offset}: {unknown[0]}. {unknown[1]}")
            offset = _pass(source, offset, name)
            if offset is None:
                return last
        else:
            if offset != len(data) - len(rest) and rest[:6] not in (b"070701", b"070702"):
                raise compression.CompressionError(f"behind its archive is data of no known kind (at byte {offset})")
            offset, ended, whole, fault = pass_cpio(source, source.size, offset)
            if fault:
                raise compression.CompressionError(f"its archive is damaged at byte {offset}")
            if not ended or whole > source.size:
                raise compression.CutShort("its archive has no end")
    return last


def _pass(source, offset, name):
    """The offset behind a compressed archive; None if it cannot be read here."""
    read = Stream(source, offset)
    try:
        stream = compression.Expanded(read, name)
        dummy, ended, dummy, fault = pass_cpio(Passing(stream.read), 1 << 24)
        if fault or not ended:
            raise compression.CompressionError(f"the archive in its {name} data {'is damaged' if fault else 'has no end'}")
        while stream.read(compression.CHUNK):
            pass
    except compression.Unreadable:
        return None
    return read.offset - len(stream.rest)


def disk(path: str, known: bool = True, raw: bool = False, follow: bool = True, backed_by: Callable[[str], bool] | None = None) -> Disk:
    """The Disk in a file (or block device). `known`: data of no known kind and zeros are refused; without it they are
    Disks of the formats "unknown" and "blank". `raw`: containers such as qcow2 are refused. `follow`: it may be a link.
    `backed_by`: function that says whether a path may be what a qcow2 disk is based on; without it none may.
    BootFileError: it is something else, cut short or damaged, or leads to other files."""
    if not known:
        found = identify_as(path, "disk", follow)
        if isinstance(found, Other) and found.what == NO_IDEA:
            return Disk(path, found.size, found.whole, "a disk of no known kind", "unknown", found.size, "", "", (), None)
        if isinstance(found, Disk) and found.format == "blank":
            return found
    found = _expect(path, "disk", Disk, follow)
    if raw and found.format in CONTAINERS:
        raise BootFileError(f"disk {path} is {found.what}, and a raw one is needed. Convert it: qemu-img convert -O raw")
    if found.unfit:
        raise BootFileError(f"disk {path} is {found.what} and no guest gets it: {found.unfit}. {WHOLE}")
    if found.backing is not None and not (backed_by and backed_by(os.path.normpath(os.path.join(os.path.dirname(path), found.backing)))):
        raise BootFileError(f"disk {path} is {found.what} based on {found.backing}, which is no image of the registry. {WHOLE}")
    return found


def check(kernel_path: str, ramdisk_path: str | None, row: Arch, hypervisor: str, file_system: str = "ext4") -> Kernel:
    """BootFileError if a guest cannot boot from these files.

    `row`: its Arch. `hypervisor`: xen or qemu. `file_system`: of its root disk (Disk.format); what is not known to be
    one is not asked for. Returns the Kernel.
    """
    found = kernel(kernel_path, row.kernel)
    if row.platform:
        source, text = kernel_config.config(found, inside=False)
        if text is not None and not re.search(rf"^CONFIG_{row.platform}=y$", text, re.MULTILINE):
            raise BootFileError(f"kernel {kernel_path} is for other machines than a guest of arch {row.debian}: "
                                f"{source} says that CONFIG_{row.platform} is not built in. Give the guest a kernel for virtual machines")
    if ramdisk_path:
        ramdisk(ramdisk_path)
        return found
    drivers = row.drivers[hypervisor] + ((FILE_SYSTEM_DRIVER[file_system],) if file_system in FILE_SYSTEM_DRIVER else ())
    reason = kernel_config.why_ramdisk(found, drivers)
    if reason:
        raise BootFileError(f"kernel {kernel_path} needs a ramdisk and the guest has none: {reason}. Give the guest the ramdisk (initrd) made for this kernel")
    return found
