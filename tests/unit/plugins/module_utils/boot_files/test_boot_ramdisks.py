# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is a ramdisk, and whether Linux unpacks it."""

from __future__ import annotations

import boot_samples as sample
import pytest
from boot_checks import AGAIN, READABLE, refused

from ansible_collections.our.cloud.plugins.module_utils._boot import boot_files, compression, identify
from ansible_collections.our.cloud.plugins.module_utils._boot.kinds import Packed, Ramdisk


@pytest.mark.parametrize("content, packed, prefix", [
    (sample.cpio(), "", 0),
    (sample.cpio(magic=b"070702"), "", 0),
    (sample.cpio(padding=4), "", 0),
    (b"\0" * 512 + sample.cpio(), "", 512),
    (b"\0" * 6 + sample.compress("gzip", sample.cpio()), "gzip", 6),
    *((sample.compress(kind, sample.cpio()), kind, 0) for kind in READABLE),
    *((sample.EARLY + sample.compress(kind, sample.cpio()), kind, len(sample.EARLY)) for kind in READABLE + ["lzo"]),
    (sample.EARLY + sample.cpio(), "", 0),
    # as Debian 13 makes them: microcode, modules that are compressed already, the rest
    (sample.EARLY + b"\0" * 512 + sample.cpio((("lib/a.ko.xz", b"x" * 999),)) + sample.compress("zstd", sample.cpio()), "zstd", 2 * 512 + 1536),
    (sample.cpio(tuple(("f%d" % number, b"") for number in range(70))) + sample.compress("zstd", sample.cpio()), None, 0),
])
def test_ramdisks(put, content, packed, prefix):
    found = boot_files.ramdisk(put(content))
    what = "a ramdisk (cpio, %s)" % packed if packed else "a ramdisk (cpio)"
    assert (found.size, found.compression, found.what) == (len(content), packed, what)
    if packed:
        assert found.prefix == prefix
    assert found.whole <= found.size
    assert boot_files.ramdisk(put(content), whole=True).compression == ("zstd" if packed is None else packed)


@pytest.mark.parametrize("kind", READABLE)
def test_ramdisks_cut_short(put, kind):
    content = sample.EARLY + sample.compress(kind, sample.cpio((("init", bytes(range(256)) * 40),)))
    assert boot_files.ramdisk(put(content), whole=True).prefix == len(sample.EARLY)
    damage = 8 if kind == "gzip" else 60
    for size in (len(content) - 1, len(content) - 9, len(sample.EARLY) + 40):
        assert "ramdisk file is cut short: %s data ends before its end. %s" % (kind, AGAIN) == refused(boot_files.ramdisk, put(content[:size]), whole=True)
    assert "ramdisk file is damaged: " in refused(boot_files.ramdisk, put(content[:-damage] + b"\xff" * damage), whole=True)


def test_ramdisks_that_are_not_compressed_cut_short(put):
    content = sample.cpio((("init", b"x" * 1000),), padding=4)
    assert boot_files.ramdisk(put(content[:-3]), whole=True).whole == len(content) - 3  # zeros that fill it up
    for size in (0, 1, 60, 109, 110, 114, 500, len(content) - 124, len(content) - 20, len(content) - 4):
        refused(boot_files.ramdisk, put(content[:size]))
        refused(boot_files.ramdisk, put(content[:size]), whole=True)
    assert refused(boot_files.ramdisk, put(content[:500])) == (
        "ramdisk file is cut short: a ramdisk (cpio) of at least 1116 bytes, and 500 are there. " + AGAIN)


@pytest.mark.parametrize("content, what", [
    (b"", "is empty"),
    (b"hello", 'is a text that begins "hello", and a ramdisk is needed. ' + AGAIN),
    (b"<html>", "is an HTML page, and a ramdisk"),
    (sample.bzimage(), "is a kernel for x86_64 (bzImage, zstd), and a ramdisk is needed. Have kernel, ramdisk and disk been mixed up?"),
    (sample.compress("gzip", sample.image()), "is a kernel for arm64 (Image), compressed by gzip, and a ramdisk"),
    (sample.compress("gzip", sample.ext4()), "is an ext4 file system, compressed by gzip, and a ramdisk"),
    (sample.uimage(sample.cpio(), kind=3), "is a ramdisk wrapped for U-Boot, and a ramdisk is needed. Give the plain ramdisk, without its first 64 bytes"),
    (sample.cpio(magic=b"070707"), "is a cpio archive of the old kind, which Linux does not take, and a ramdisk is needed. Make it anew: cpio -H newc"),
    (b"\x04\x22\x4d\x18" + b"\0" * 50, "is lz4 data of the kind that Linux does not take, and a ramdisk is needed. "
     "Unpack it first, or make the other kind: lz4 -l"),
    (b"\0" * 1024 + b"0707x", "is data of no known kind, and"),
    (b"\0" * 1024 + sample.compress("gzip", sample.ext4()), "is data of no known kind, and"),
    (sample.cpio()[:60] + b"x" * 600, "is a cpio archive that is damaged at byte 0, and"),
    (sample.cpio().replace(b"0000000B", b"-000000B"), "is a cpio archive that is damaged at byte 128, and"),
    (sample.cpio().replace(b"0000000B", b"00FF000B"), "is a cpio archive that is damaged at byte 128, and"),
    (sample.cpio() + b"junk", "is a cpio archive with data of no known kind behind it (at byte 512), and"),
    (b"\x1f\x8b\x08\0\0", "is gzip data that ends too early, and a ramdisk is needed. Fetch"),
    (sample.compress("gzip", b"")[:10], "is gzip data that ends too early, and"),
    (sample.compress("gzip", b""), "is gzip data with nothing in it, and"),
    (b"caf\xe9 and other latin letters", "is data of no known kind, and"),
])
def test_no_ramdisk(put, content, what):
    assert refused(boot_files.ramdisk, put(content)).startswith("ramdisk file " + what)


@pytest.mark.parametrize("kind", ["gzip", "xz", "zstd"])
def test_data_behind_a_ramdisk_is_told_as_such(put, kind):
    content = sample.compress(kind, sample.cpio())
    assert refused(boot_files.ramdisk, put(content + b"\1" * 100), whole=True) == (
        "ramdisk file is damaged: behind its archive is data of no known kind (at byte %d). Fetch or copy it again and compare its checksum" % len(content))


@pytest.mark.parametrize("content", [b"PK\x03\x04" + b"\1" * 99, b"7z\xbc\xaf\x27\x1c", b"!<arch>\ndebian-binary", bytes(257) + b"ustar", b"\x1f\x9d\x90"])
def test_archives_are_to_be_unpacked(put, content):
    assert refused(boot_files.disk, put(content)).endswith(", and a disk is needed. Unpack it first")


def test_a_ramdisk_that_cannot_be_looked_into(put, monkeypatch):
    content = sample.compress("lzo", sample.cpio())
    assert isinstance(identify.identify(put(content)), Packed)
    assert boot_files.ramdisk(put(content), whole=True) == Ramdisk(
        put(content), len(content), len(content), "lzo data that this machine cannot look into", "lzo", 0)
    monkeypatch.setattr(compression, "_library", lambda name: None)
    for kind in ("zstd", "lz4"):
        assert isinstance(identify.identify(put(sample.compress(kind, sample.cpio()))), Packed)
        assert boot_files.ramdisk(put(sample.EARLY + sample.compress(kind, sample.cpio())), whole=True).compression == kind


@pytest.mark.parametrize("name", ["xz CRC64", "xz SHA-256"])
@pytest.mark.parametrize("before", [b"", sample.EARLY], ids=["alone", "behind another archive"])
def test_a_ramdisk_with_a_check_that_linux_does_not_know(put, name, before):
    path = put(before + sample.compress(name, sample.cpio()))
    assert refused(boot_files.ramdisk, path).startswith(
        "ramdisk file is a ramdisk (cpio, xz) that Linux cannot unpack: its check is %s, and a ramdisk is needed. Compress it with xz --check=crc32" % name[3:])


def test_such_a_check_behind_what_linux_unpacks(put):
    path = put(sample.compress("gzip", sample.cpio()) + sample.compress("xz CRC64", sample.cpio()))
    assert "Linux cannot unpack its archive at byte" in refused(boot_files.ramdisk, path, whole=True)


@pytest.mark.parametrize("name", ["xz", "xz none"])
def test_checks_that_linux_knows(put, name):
    assert boot_files.ramdisk(put(sample.compress(name, sample.cpio())), whole=True).compression == "xz"
