# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a kernel and a ramdisk are, told from their content, and whether they go together.

Whether a kernel needs a ramdisk is decided by what can be known, in this order:

1. its configuration, if it lies beside it (config-VERSION, as in /boot, or config):
   the driver of the root disk and ext4 must be built in (=y);
2. the name of its builder: Debian's stock kernels have these drivers as modules;
3. else it is not known, and the guest is not refused for it.
"""

from __future__ import annotations

import os
import re
import struct
from collections import namedtuple

Kernel = namedtuple("Kernel", "path kind version")
Ramdisk = namedtuple("Ramdisk", "path kind")

HEAD = 64 * 1024
RAMDISK_MAGIC = (
    (b"070701", "cpio"), (b"070702", "cpio"), (b"\x1f\x8b", "gzip"), (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"\xfd7zXZ\x00", "xz"), (b"BZh", "bzip2"), (b"\x5d\x00\x00", "lzma"), (b"\x02\x21\x4c\x18", "lz4"),
    (b"\x04\x22\x4d\x18", "lz4"), (b"\x89LZO", "lzo"),
)
DISK_DRIVER = {"xen": "XEN_BLKDEV_FRONTEND", "qemu": "VIRTIO_BLK"}


class BootFileError(ValueError):
    """A kernel or ramdisk that a guest cannot boot; the text says which and what to do."""


def _head(path, what):
    try:
        with open(path, "rb") as stream:
            return stream.read(HEAD)
    except OSError as error:
        raise BootFileError("%s %s cannot be read: %s" % (what, path, error.strerror)) from None


def _x86_version(head):
    # Documentation/arch/x86/boot.rst: kernel_version, offset 0x20e, counts from 0x200
    offset = struct.unpack_from("<H", head, 0x20E)[0] + 0x200
    if offset == 0x200 or offset >= len(head):
        return ""
    return head[offset:offset + 256].split(b"\0")[0].decode("ascii", "replace")


def kernel(path):
    """Identify a kernel by its content."""
    head = _head(path, "kernel")
    if len(head) > 0x212 and head[0x1FE:0x200] == b"\x55\xaa" and head[0x202:0x206] == b"HdrS":
        return Kernel(path, "x86", _x86_version(head))
    if len(head) > 40 and head[36:40] == b"\x18\x28\x6f\x01":
        return Kernel(path, "arm", "")
    if len(head) > 60 and head[56:60] == b"ARM\x64":
        return Kernel(path, "arm64", "")
    if head[:4] == b"\x7fELF" and len(head) > 20:
        machine = struct.unpack_from("<H", head, 18)[0]
        kind = {3: "x86", 62: "x86", 40: "arm", 183: "arm64"}.get(machine)
        if kind:
            return Kernel(path, kind, "")
    if not head:
        raise BootFileError("kernel %s is empty" % path)
    raise BootFileError("%s is not a kernel (neither bzImage, zImage, ARM64 Image nor ELF)" % path)


def ramdisk(path):
    """Identify a ramdisk by its content."""
    head = _head(path, "ramdisk")
    for magic, kind in RAMDISK_MAGIC:
        if head.startswith(magic):
            return Ramdisk(path, kind)
    if head[:4] == b"\x27\x05\x19\x56":
        raise BootFileError("ramdisk %s is wrapped for U-Boot; give the plain initramfs" % path)
    raise BootFileError("%s is not a ramdisk (no known initramfs or compression magic)" % path)


def _config(found):
    """The text of the kernel's configuration, if it lies beside the kernel."""
    folder = os.path.dirname(found.path)
    release = found.version.split(" ")[0]
    names = ["config"]
    if release:
        names.insert(0, "config-" + release)
    match = re.match(r"vmlinuz-(.+)$", os.path.basename(found.path))
    if match:
        names.insert(0, "config-" + match.group(1))
    for name in names:
        try:
            with open(os.path.join(folder, name), encoding="ascii", errors="replace") as stream:
                return name, stream.read()
        except OSError:
            continue
    return None, None


def why_ramdisk(found, hypervisor):
    """Why this kernel needs a ramdisk to find its root disk; None if it does not, or if that is not known."""
    name, text = _config(found)
    if text is not None:
        modules = [option for option in (DISK_DRIVER[hypervisor], "EXT4_FS")
                   if not re.search(r"^CONFIG_%s=y$" % option, text, re.MULTILINE)]
        if modules:
            return "%s beside it says that %s is not built in" % (name, " and ".join("CONFIG_" + item for item in modules))
        return None
    if "debian-kernel@" in found.version or re.search(r"\+deb\d+", found.version):
        return "it is a Debian stock kernel (%s), whose disk and ext4 drivers are modules" % found.version.split(" ")[0]
    return None


def check(kernel_path, ramdisk_path, kernel_kind, hypervisor):
    """Raise BootFileError if a guest of this architecture and hypervisor cannot boot from these files."""
    found = kernel(kernel_path)
    if found.kind != kernel_kind:
        raise BootFileError("kernel %s is for %s, the guest needs one for %s" % (kernel_path, found.kind, kernel_kind))
    if ramdisk_path:
        ramdisk(ramdisk_path)
        return
    reason = why_ramdisk(found, hypervisor)
    if reason:
        raise BootFileError("kernel %s needs a ramdisk and the guest has none: %s. Give the guest the ramdisk (initrd) "
                            "made for this kernel" % (kernel_path, reason))
