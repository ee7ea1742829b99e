# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a file is, whatever it is: a kernel, a ramdisk, a disk, something compressed, or anything else."""

from __future__ import annotations

import codecs
import re
from typing import Union

from ansible_collections.our.cloud.plugins.module_utils._boot import compression, disk_images, kernels
from ansible_collections.our.cloud.plugins.module_utils._boot.disk_images import HEAD, Disk
from ansible_collections.our.cloud.plugins.module_utils._boot.kinds import Kernel, Other, Packed, Ramdisk
from ansible_collections.our.cloud.plugins.module_utils._boot.sources import Beginning, File, Part, Source, Stream

INSIDE = 4096  # bytes that are unpacked to see what is inside
QUICK = 64  # files of a plain archive that are passed over without being asked for all
CPIO_HEADER = re.compile(rb"07070[12][0-9A-Fa-f]{104}")
NO_IDEA = "data of no known kind"
UNPACK = "Unpack it first"
OLD_CPIO = "a cpio archive of the old kind, which Linux does not take"
OTHERS = (
    (0, b"PK\x03\x04", "a zip archive", UNPACK),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive", UNPACK),
    (0, b"!<arch>\ndebian-binary", "a Debian package", UNPACK),
    (0, b"!<arch>\n", "an ar archive", UNPACK),
    (0, b"\xed\xab\xee\xdb", "an RPM package", UNPACK),
    (257, b"ustar", "a tar archive", UNPACK),
    (0, b"070707", OLD_CPIO, "Make it anew: cpio -H newc"),
    (0, b"\xc7\x71", OLD_CPIO, "Make it anew: cpio -H newc"),
    (0, b"\x04\x22\x4d\x18", "lz4 data of the kind that Linux does not take", UNPACK + ", or make the other kind: lz4 -l"),
    (0, b"\xd0\x0d\xfe\xed", "a device tree or a FIT image of U-Boot", ""),
    (0, b"ANDROID!", "an Android boot image", ""),
    (0, b"\x1f\x9d", "data compressed by compress", UNPACK),
    (0, b"%PDF", "a PDF document", ""),
    (0, b"\x89PNG", "a picture", ""),
)
Found = Union[Kernel, Ramdisk, Packed, Disk, Other]
PAGE_HINT = "A server answered with a page instead of the file: look at its address there"


def pass_cpio(source: Source, limit: int, offset: int = 0) -> tuple[int, bool, int, str]:
    """Pass over a cpio archive: (offset behind it, whether its end was reached, bytes that must be there, fault).
    Documentation/driver-api/early-userspace/buffer-format.rst: headers of 110 bytes in hexadecimal, parts aligned to 4."""
    for dummy in range(limit):
        header = source.at(offset, 110)
        if len(header) < 110:
            return offset, False, offset + 110, ""
        if not CPIO_HEADER.match(header):
            return offset, False, offset, "damaged"
        size, name_size = int(header[54:62], 16), int(header[94:102], 16)
        if name_size > 4096:
            return offset, False, offset, "damaged"
        name = source.at(offset + 110, name_size)
        end = (offset + 110 + name_size + 3 & ~3) + size
        if name == b"TRAILER!!!\0":
            return end, True, offset + 110 + name_size, ""
        if source.size is not None and end > source.size:
            return offset, False, end, ""
        offset = end + 3 & ~3
    return offset, False, offset, ""


def _ramdisk_cpio(source, head):
    """One archive or more, each plain or compressed, zeros between them; the last one is the one that matters."""
    if head[:6] not in (b"070701", b"070702"):
        return None
    prefix, offset, left = 0, 0, QUICK
    while True:
        end, ended, whole, fault = pass_cpio(source, left, offset)
        if fault:
            return Other("", source.size, source.size, f"a cpio archive that is damaged at byte {end}", "")
        if not ended:
            name = "" if source.size is not None and whole > source.size else None
            return made_ramdisk(source, name, prefix, whole)
        left -= 1
        data = source.at(end, HEAD)
        rest = data.lstrip(b"\0")
        if not rest:
            return made_ramdisk(source, "", prefix, whole)
        offset = prefix = end + len(data) - len(rest)
        name = compression.method(rest[:32])
        if name:
            return made_ramdisk(source, name, prefix, whole, rest[:32])
        if rest[:6] not in (b"070701", b"070702") or left <= 0:
            return Other("", source.size, source.size, f"a cpio archive with data of no known kind behind it (at byte {offset})", "")


def _late_ramdisk(source, head):
    """A ramdisk with zeros before it, which Linux passes over."""
    begin = len(head) - len(head.lstrip(b"\0"))
    if not 0 < begin < len(head):
        return None
    part = Part(source, begin, source.size)
    rest = part.at(0, HEAD).ljust(HEAD, b"\0")
    found = _ramdisk_cpio(part, rest) or _compressed(part, rest)
    if not isinstance(found, Ramdisk):
        return None
    return found._replace(size=source.size, whole=found.whole + begin, prefix=found.prefix + begin)


def made_ramdisk(source: Source, name: str | None, prefix: int, whole: int, begin: bytes = b"") -> Ramdisk | Other:
    """begin: of its last archive, if that is compressed: Linux does not unpack all variants of its methods."""
    unknown = compression.unknown_to_linux(begin)
    if unknown:
        return Other("", source.size, whole, f"a ramdisk (cpio, {name}) that Linux cannot unpack: {unknown[0]}", unknown[1])
    return Ramdisk("", source.size, whole, f"a ramdisk ({'cpio, ' + name if name else 'cpio'})", name, prefix)


def _compressed(source, head):
    """What is compressed is told by its beginning."""
    name = compression.method(head[:32])
    if not name:
        return None
    try:
        data = compression.first(Stream(source), name, INSIDE)
        if data and not data.strip(b"\0"):
            # such as an ISO image
            data = compression.first(Stream(source), name, HEAD)
    except compression.Unreadable:
        return Packed("", source.size, source.size, f"{name} data that this machine cannot look into", name)
    except compression.CutShort:
        return Other("", source.size, source.size + 1, f"{name} data that ends too early", "")
    except compression.CompressionError:
        return Other("", source.size, source.size, f"{name} data that is damaged", "")
    if not data:
        return Other("", source.size, source.size, f"{name} data with nothing in it", "")
    inside = classify(Beginning(data), data.ljust(HEAD, b"\0"), False)
    if isinstance(inside, Ramdisk) and not inside.compression:
        return made_ramdisk(source, name, 0, source.size, head[:32])
    if isinstance(inside, Kernel):
        return inside._replace(size=source.size, whole=source.size, wrapping=name, what=f"{inside.what}, compressed by {name}")
    return Other("", source.size, source.size, f"{inside.what}, compressed by {name}", UNPACK)


def _text(head):
    """A page or another text; None for data."""
    data = head[:1024].rstrip(b"\0")
    if not data or b"\0" in data:
        return None
    begin = data.lstrip(b"\xef\xbb\xbf \t\r\n")[:512].lower()
    if begin.startswith((b"<!doctype html", b"<html", b"<head")) or b"<html" in begin:
        return "an HTML page", PAGE_HINT
    if begin.startswith(b"<?xml"):
        return "an XML document", PAGE_HINT
    try:
        # the last character may be cut
        text = codecs.getincrementaldecoder("utf-8")().decode(data)
    except UnicodeDecodeError:
        return None
    if re.search(r"[^\t\r\n\f\x1b -~\xa0-\U0010ffff]", text):
        return None
    line = text.strip().split("\n")[0].strip()
    return f"a text that begins \"{line if len(line) <= 60 else line[:57] + '...'}\"", ""


def classify(source: Source, head: bytes, deep: bool = True) -> Found:
    """What it is; `path` is left empty. `deep`: look into compressed data."""
    for reader in kernels.READERS + (_ramdisk_cpio,) + ((_compressed,) if deep else ()):
        found = reader(source, head)
        if found is not None:
            return found
    found = disk_images.find(source, head)
    if found is not None:
        return found
    for offset, magic, what, hint in OTHERS:
        if head[offset:offset + len(magic)] == magic:
            return Other("", source.size, source.size, what, hint)
    if not deep and compression.method(head[:32]):
        return Other("", source.size, source.size, "compressed data", "")
    text = _text(head)
    if text:
        return Other("", source.size, source.size, *text)
    late = _late_ramdisk(source, head) if deep else None
    if late:
        return late
    if not head.strip(b"\0"):
        return Disk("", source.size, source.size, "zeros", "blank", source.size, "", "", (), None)
    return Other("", source.size, source.size, NO_IDEA, "")


def identify_as(path: str, role: str, follow: bool = True) -> Found:
    """As `identify`; role: what to call the file if it cannot be read; follow: it may be a link."""
    with File(path, role, follow) as source:
        if source.size == 0:
            return Other(path, 0, 0, "empty", "")
        head = source.at(0, HEAD)
        return classify(source, head.ljust(HEAD, b"\0"))._replace(path=path)


def identify(path: str) -> Found:
    """What a file (or block device) is: a Kernel, Ramdisk, Disk, Packed or Other, whatever its name.

    Reads its first 36 KiB and what those point to, and unpacks the first 4 KiB of what is compressed (of bzip2, which
    gives nothing before that, a block of up to 900 kB: 30 ms instead of less than one).
    BootFileError: it cannot be read. A file that was cut short has `whole` above `size`.
    """
    return identify_as(path, "file")
