# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a file is, as far as it matters to who boots from it. A disk is a disk_images.Disk."""

from __future__ import annotations

from typing import NamedTuple


class Kernel(NamedTuple):
    """A kernel."""

    path: str
    size: int | None  # bytes of the file; None if that is not known
    whole: int  # the bytes that must be there; more than size: it was cut short
    what: str  # in words, with article
    format: str  # bzImage, zImage, Image, EFI zboot, uImage or ELF
    arch: str  # x86_64, i386, x86 (either, before Linux 3.8), arm, arm64 or another of Linux's names
    wrapping: str  # a compression around all of it
    compression: str | None  # of what is inside; None: not looked at
    version: str  # release, builder and date, if it says that without being unpacked (bzImage), else ""


class Ramdisk(NamedTuple):
    """A ramdisk: one cpio archive or more."""

    path: str
    size: int | None
    whole: int
    what: str
    compression: str | None  # "" (a plain archive), gzip, ... of the last archive; None if that is too far behind to have been looked at
    prefix: int  # bytes of plain archives before it (early microcode, modules that are compressed already)


class Packed(NamedTuple):
    """Compressed data that this machine cannot look into."""

    path: str
    size: int | None
    whole: int
    what: str
    compression: str


class Other(NamedTuple):
    """Anything else."""

    path: str
    size: int | None
    whole: int
    what: str
    hint: str  # what most likely happened, a sentence or ""
