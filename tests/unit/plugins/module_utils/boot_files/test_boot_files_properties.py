# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whatever is in a file: an answer or a BootFileError, and nothing that was cut short passes."""

from __future__ import annotations

import boot_samples as sample
import pytest
from checkout import CHECKOUT
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some
from hypothesis.configuration import set_hypothesis_home_dir

from ansible_collections.our.cloud.plugins.module_utils._boot import boot_files, identify, kernel_config
from ansible_collections.our.cloud.plugins.module_utils._boot.disk_images import Disk
from ansible_collections.our.cloud.plugins.module_utils._boot.kinds import Kernel, Other, Packed, Ramdisk
from ansible_collections.our.cloud.plugins.module_utils._boot.sources import BootFileError

set_hypothesis_home_dir(CHECKOUT / ".cache" / "hypothesis")

FILES = some.lists(some.tuples(some.text("abc/", min_size=1, max_size=9), some.binary(max_size=50)), max_size=5)
KINDS = some.sampled_from(["gzip", "bzip2", "xz", "lzma", "lz4", "zstd"])
SMALL = sample.inside()[69900:75000]
# What says how long it is; all that its bytes say is needed.
WHOLE = [
    sample.bzimage(content=SMALL), sample.zimage(SMALL), sample.zimage(SMALL, "gzip"), sample.image(SMALL), sample.image(SMALL, signed=32),
    sample.zboot(sample.image(SMALL)), sample.uimage(SMALL), sample.elf(content=SMALL), sample.ext4(4096), sample.xfs(8192), sample.iso(18),
    bytes(sample.mbr(64 * 1024)), sample.gpt(64 * 1024),
]
SAMPLES = WHOLE + [
    sample.qcow2(shift=9), sample.qcow2(shift=9, backing=b"base"), sample.elf(3, wide=False, content=SMALL), sample.elf(order=">", content=SMALL),
    sample.compress("gzip", sample.image(SMALL)), sample.compress("xz", sample.image(SMALL)), sample.bzimage(protocol=0x203, content=SMALL),
    sample.image(SMALL, with_efi=False), sample.cpio(), sample.EARLY + sample.cpio(padding=4),
    *(sample.EARLY + sample.compress(kind, sample.cpio()) for kind in ("gzip", "bzip2", "xz", "lzma", "lz4", "lzo", "zstd")),
    *(sample.compress(kind, sample.cpio()) for kind in ("gzip", "bzip2", "xz", "lzma", "lz4", "lzo", "zstd")),
    sample.image(sample.inside(config="CONFIG_A=y\n")[69900:]), sample.uimage(sample.zimage(SMALL)), b"<html></html>", b"070701",
]
EXTREMES = [b"\0" * 8, b"\xff" * 8, b"\xff" * 4, b"\x80\0\0\0", b"\0\0\0\x80", b"-1", b"\x7f"]
VALUES = some.one_of(some.binary(min_size=1, max_size=9), some.sampled_from(EXTREMES))
MAGICS = [b"\x1f\x8b\x08\0", b"BZh91AY&SY", b"\x5d\0\0\x80\0" + b"\xff" * 8, b"\x02\x21\x4c\x18\x20\0\0\0", b"\x28\xb5\x2f\xfd",
          b"\x89LZO\0\r\n\x1a\n", b"070701", b"QFI\xfb\0\0\0\3", b"XFSB", b"\x7fELF\2\1", b"\x7fELF\1\2", b"MZ\0\0zimg", b"MZ" + b"\0" * 58 + b"\x40"]


def quick(examples):
    return settings(max_examples=examples, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))


@pytest.fixture(name="path", scope="module")
def fixture_path(tmp_path_factory):
    return tmp_path_factory.mktemp("boot") / "file"


def ask_everything(path, content):
    """Every public function, as modules call them."""
    path.write_bytes(content)
    found = identify.identify(str(path))
    assert isinstance(found, (Kernel, Ramdisk, Disk, Packed, Other))
    assert found.path == str(path) and found.size == len(content) and found.whole >= 0 and isinstance(found.what, str)
    for call in (
        lambda: boot_files.kernel(str(path), whole=True), lambda: boot_files.kernel(str(path), "arm64"), lambda: boot_files.kernel(str(path), "x86_64"),
        lambda: boot_files.ramdisk(str(path)), lambda: boot_files.ramdisk(str(path), whole=True),
        lambda: boot_files.disk(str(path)), lambda: boot_files.disk(str(path), known=False, raw=True),
    ):
        try:
            assert call().size == len(content)
        except BootFileError as error:
            assert str(path) in str(error)
    if isinstance(found, Kernel):
        assert isinstance(kernel_config.version(found), str)
        assert set(kernel_config.built_in(found, ("EXT4_FS",))[1].values()) <= {True, False, None}
        kernel_config.config(found)


@quick(200)
@given(content=some.binary(max_size=3000))
def test_any_bytes(path, content):
    ask_everything(path, content)


@quick(150)
@given(magic=some.sampled_from(MAGICS), content=some.binary(max_size=500))
def test_any_bytes_behind_a_magic(path, magic, content):
    ask_everything(path, magic + content)


@quick(400)
@given(content=some.sampled_from(SAMPLES), places=some.lists(some.tuples(some.integers(0, 5000), VALUES), max_size=4), end=some.integers(0, 70000))
def test_damaged_headers(path, content, places, end):
    data = bytearray(content)
    for place, value in places:
        place %= len(data)
        data[place:place + len(value)] = value
    ask_everything(path, bytes(data[:end]))


@quick(150)
@given(content=some.sampled_from([data for data in SAMPLES if len(data) < 0x40000]), place=some.integers(0, 700), value=VALUES)
def test_damaged_headers_at_the_beginning(path, content, place, value):
    ask_everything(path, content[:place] + value + content[place + len(value):])


@quick(200)
@given(number=some.integers(0, len(WHOLE) - 1), end=some.integers(0, 70000))
def test_what_was_cut_short_is_refused(path, number, end):
    content = WHOLE[number]
    path.write_bytes(content)
    kind = type(identify.identify(str(path)))
    call = boot_files.kernel if kind is Kernel else boot_files.disk
    assert call(str(path)).whole == len(content)
    path.write_bytes(content[:end % len(content)])
    with pytest.raises(BootFileError):
        call(str(path))


@quick(100)
@given(files=FILES, kind=KINDS, early=some.booleans(), end=some.integers(1, 2000))
def test_ramdisks_are_read_to_their_end(path, files, kind, early, end):
    begin = sample.EARLY if early else b""
    content = begin + sample.compress(kind, sample.cpio(files))
    path.write_bytes(content)
    assert boot_files.ramdisk(str(path), whole=True).compression == kind
    # zeros at the end of the archive do not matter, and lz4 may end with a block
    path.write_bytes(content[:max(len(begin) + 1, len(content) - end)])
    with pytest.raises(BootFileError):
        boot_files.ramdisk(str(path), whole=True)


@quick(100)
@given(files=FILES)
def test_archives(path, files):
    path.write_bytes(sample.cpio(files, padding=4))
    assert boot_files.ramdisk(str(path), whole=True).compression == ""
