# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a kernel says of itself: its version, its configuration, and so whether it needs a ramdisk.

Whether it does is decided by what can be known, in this order:

1. its configuration: beside it (config-VERSION, as in /boot, or config), or inside of it (CONFIG_IKCONFIG);
   the drivers of the root disk and of its file system must be built in (=y);
2. the name of its builder: Debian's stock kernels have the drivers of disks as modules;
3. else it is not known, and the guest is not refused for it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator

from ansible_collections.our.cloud.plugins.module_utils._boot import compression
from ansible_collections.our.cloud.plugins.module_utils._boot.disk_images import HEAD
from ansible_collections.our.cloud.plugins.module_utils._boot.identify import classify
from ansible_collections.our.cloud.plugins.module_utils._boot.kernels import zimage_inside
from ansible_collections.our.cloud.plugins.module_utils._boot.kinds import Kernel
from ansible_collections.our.cloud.plugins.module_utils._boot.sources import BootFileError, File, Part, Source, Stream, little

LARGEST_KERNEL = 256 << 20  # unpacked; QEMU's bound as well
BANNER = re.compile(rb"Linux version (\d[^\0\n]{0,500})[\0\n]")
CONFIG_BEGIN = b"IKCFG_ST"  # kernel/configs.c
CONFIG_SIZE = 4 << 20
CONFIG_LINE = re.compile(r"^(CONFIG_\w+=|# CONFIG_\w+ is not set$)", re.MULTILINE)
# =m in Debian 13's kernels for amd64, armhf, armel and arm64, the cloud kernels included
DEBIAN_MODULES = ("VIRTIO_BLK", "VIRTIO_MMIO", "XEN_BLKDEV_FRONTEND", "XFS_FS", "BTRFS_FS")


def expanded(read: Callable[[int], bytes], name: str) -> Iterator[bytes]:
    """The chunks of a compressed kernel."""
    stream = compression.Expanded(read, name, LARGEST_KERNEL)
    while not stream.ended:
        part = stream.part()
        if part:
            yield part


def _chunks(source: Source) -> Iterator[bytes]:
    """The chunks of what is not compressed."""
    for offset in range(0, min(source.size, LARGEST_KERNEL), compression.CHUNK):
        yield source.at(offset, compression.CHUNK)


def _plain(source: Source, depth: int = 0) -> Iterator[bytes]:
    """The chunks of a kernel, unpacked. CompressionError: it cannot be."""
    head = source.at(0, HEAD).ljust(HEAD, b"\0")
    found = classify(source, head)
    if not isinstance(found, Kernel) or depth > 2:
        return _chunks(source)
    if found.wrapping:
        return expanded(Stream(source), found.wrapping)
    offset, size, name = 0, source.size, ""
    if found.format == "bzImage":
        setup = ((head[0x1F1] or 4) + 1) * 512
        offset, size, name = setup + little(head, "I", 0x248), little(head, "I", 0x24C), found.compression
    elif found.format == "zImage":
        offset, size, name = zimage_inside(source, head)
    elif found.format == "EFI zboot":
        offset, size, name = little(head, "I", 8), little(head, "I", 12), found.compression
    elif found.format == "uImage":
        if not found.compression:
            return _plain(Part(source, 64, source.size), depth + 1)
        offset, name = 64, found.compression
    part = Part(source, offset, size)
    return expanded(Stream(part), name) if name else _chunks(part)


def _scan(found: Kernel, want_config: bool) -> tuple[str, str | None]:
    """(banner, configuration): what is found by reading a kernel; "" and None if it is not. Stops when it has what is wanted."""
    banner, text, tail = "", None, b""
    with File(found.path, "kernel") as source:
        chunks = _plain(source)
        try:
            for chunk in chunks:
                data = tail + chunk
                match = None if banner else BANNER.search(data)
                if match:
                    banner = match.group(1).decode("ascii", "replace").strip()
                place = data.find(CONFIG_BEGIN + b"\x1f\x8b") if want_config else -1
                if place >= 0:
                    text = _embedded(data[place + len(CONFIG_BEGIN):], chunks)
                    break
                if banner and not want_config:
                    break
                tail = data[-1024:]
        except compression.CompressionError:
            pass
    return banner, text


def _embedded(data: bytes, chunks: Iterator[bytes]) -> str | None:
    """The configuration in a kernel, from where it begins."""
    read = iter([data])

    def more(dummy):
        return next(read, None) or next(chunks, b"")

    try:
        return compression.first(more, "gzip", CONFIG_SIZE).decode("ascii", "replace")
    except compression.CompressionError:
        return None


def version(found: Kernel) -> str:
    """A Kernel's version: release, builder and the rest, such as "6.12.48+deb13-arm64 (debian-kernel@lists.debian.org) ...";
    "" if it does not say, or not in a compression that this machine can read. All but a bzImage are unpacked for it,
    until it is found (up to a second, ten times as long on an emulated machine). BootFileError: it cannot be read."""
    return found.version or _scan(found, False)[0]


def release(found: Kernel) -> str:
    """The release alone, such as 6.12.48+deb13-arm64; "" if it is not known. As `version`."""
    return version(found).split(" ")[0]


def config(found: Kernel, inside: bool = True) -> tuple[str | None, str | None]:
    """(where it was found, text) of a Kernel's configuration (its .config); (None, None) if it is not found: beside it, or in it.
    `inside`: unpack the kernel for it, as for `version`. BootFileError: the kernel cannot be read."""
    folder, base = os.path.split(found.path)
    names, match = [], re.match(r"vmlinu[xz]-(.+)$", base)
    for text in (found.version.split(" ")[0], match.group(1) if match else ""):
        if text and "config-" + text not in names:
            names.append("config-" + text)
    for name in names + ["config"]:
        try:
            with File(os.path.join(folder, name), "file", follow=False) as source:
                text = source.at(0, CONFIG_SIZE).decode("ascii", "replace")
        except BootFileError:
            continue
        # many things are called config
        if CONFIG_LINE.search(text):
            return name + " beside it", text
    text = _scan(found, True)[1] if inside else None
    return (None, None) if text is None else ("the configuration inside of it", text)


def built_in(found: Kernel, options: tuple[str, ...]) -> tuple[str | None, dict[str, bool | None]]:
    """Whether a Kernel has these options of its configuration (without CONFIG_) built in, as far as that can be known:
    (who says so or None, {option: True, False or None}). BootFileError: the kernel cannot be read."""
    source, text = config(found)
    if text is not None:
        return source, {option: re.search(rf"^CONFIG_{re.escape(option)}=y$", text, re.MULTILINE) is not None for option in options}
    said = version(found)
    if "debian-kernel@" in said or re.search(r"\+deb\d+", said):
        return "a Debian stock kernel", {option: False if option in DEBIAN_MODULES else None for option in options}
    return None, dict.fromkeys(options)


def why_ramdisk(found: Kernel, drivers: tuple[str, ...]) -> str | None:
    """Why a Kernel needs a ramdisk to find its root disk; None if it does not, or if that is not known.
    `drivers`: the options that must be built in for the root disk (Arch.drivers) and its file system."""
    source, has = built_in(found, drivers)
    missing = " and ".join("CONFIG_" + option for option in drivers if has[option] is False)
    if not missing:
        return None
    if source == "a Debian stock kernel":
        return f"it is a Debian stock kernel ({release(found)}), which has {missing} as modules"
    return f"{source} says that {missing} is not built in"
