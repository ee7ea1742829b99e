# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import errno
import gzip
import hashlib
import os
import subprocess

import pytest

from ansible_collections.our.cloud.plugins.module_utils._common import sparse

MIB = 1 << 20
# (offset, bytes), size: data at the beginning, across a block's end, a piece of zeros, a tail that is a hole
LAYOUT = ([(0, b"begin"), (4 * MIB - 3, b"across"), (9 * MIB, bytes(MIB)), (13 * MIB, b"x" * 100000)], 30 * MIB + 77)


def make(path, parts, size):
    with open(path, "wb") as stream:
        for offset, data in parts:
            stream.seek(offset)
            stream.write(data)
        stream.truncate(size)
    return str(path)


@pytest.fixture(name="file")
def fixture_file(tmp_path):
    return make(tmp_path / "file", *LAYOUT)


def checksum(path):
    with sparse.FileSource(path) as source:
        return sparse.checksum(source)


def allocated(path):
    return os.stat(path).st_blocks * 512


def test_checksum_is_what_coreutils_say(file):
    done = subprocess.run("split --bytes=4M --filter='sha256sum | cut -c 1-64' %s | sha256sum" % file, shell=True, capture_output=True, text=True, check=True)
    assert checksum(file) == "sha256-4m:" + done.stdout.split()[0]


def test_checksum_does_not_depend_on_holes(file, tmp_path):
    dense = tmp_path / "dense"
    with open(file, "rb") as stream:
        dense.write_bytes(stream.read())
    assert allocated(dense) > allocated(file) + 20 * MIB
    assert checksum(dense) == checksum(file)


@pytest.fixture(name="device")
def fixture_device(tmp_path):
    """A loop device of a megabyte and a half."""
    (tmp_path / "image").write_bytes(b"device" * (MIB // 4))
    done = subprocess.run(["losetup", "--find", "--show", "--read-only", tmp_path / "image"], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip("no loop device: %s" % done.stderr.strip())
    yield done.stdout.strip()
    subprocess.run(["losetup", "--detach", done.stdout.strip()], check=True)


def test_a_block_device(device, tmp_path):
    """Its inode says that it has no bytes."""
    whole = tmp_path / "image"
    with sparse.FileSource(device) as source:
        assert (source.size, source.data()) == (6 * MIB // 4, 6 * MIB // 4)
        assert sparse.copy(source, str(tmp_path / "copy")) == checksum(whole) == checksum(device)
    sparse.clone(device, str(tmp_path / "clone"))
    assert (tmp_path / "copy").read_bytes() == (tmp_path / "clone").read_bytes() == whole.read_bytes()


def test_what_has_no_bytes_to_copy(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(OSError, match="it is neither a file nor a block device"):
        sparse.FileSource(str(tmp_path / "fifo"))
    with pytest.raises(OSError, match="it is a directory"):
        sparse.FileSource(str(tmp_path))
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "file").write_bytes(b"x")
    sparse.FileSource(str(tmp_path / "link")).close()
    with pytest.raises(OSError, match="symbolic links"):
        sparse.FileSource(str(tmp_path / "link"), follow=False)


@pytest.mark.parametrize("size", [1, sparse.BLOCK - 1, sparse.BLOCK, sparse.BLOCK + 1, 3 * sparse.BLOCK])
def test_checksum_of_holes(tmp_path, size):
    lengths = [min(sparse.BLOCK, size - offset) for offset in range(0, size, sparse.BLOCK)]
    lines = "".join("%s\n" % hashlib.sha256(bytes(length)).hexdigest() for length in lengths)
    assert checksum(make(tmp_path / "hole", [], size)) == "sha256-4m:" + hashlib.sha256(lines.encode()).hexdigest()


@pytest.mark.parametrize("change", [(0, b"B"), (4 * MIB, b"X"), (30 * MIB, b"\1")])
def test_checksum_sees_a_byte(file, change):
    before = checksum(file)
    with open(file, "r+b") as stream:
        stream.seek(change[0])
        stream.write(change[1])
    assert checksum(file) != before


def test_checksum_sees_the_size(file):
    before = checksum(file)
    os.truncate(file, LAYOUT[1] + 1)
    assert checksum(file) != before


def test_copy(file, tmp_path):
    target = str(tmp_path / "copy")
    with sparse.FileSource(file) as source:
        assert sparse.copy(source, target) == checksum(file)
    with open(file, "rb") as one, open(target, "rb") as other:
        assert one.read() == other.read()
    # the piece of zeros has become a hole, too
    assert allocated(target) < allocated(file) - MIB // 2
    assert os.stat(target).st_mode & 0o777 == 0o644


def test_copy_of_many_blocks_is_read_again_on_the_way(tmp_path, monkeypatch):
    origin = make(tmp_path / "many", [(number * sparse.BLOCK, b"%d" % number) for number in range(60)], 60 * sparse.BLOCK)
    looked = []
    fadvise = os.posix_fadvise

    def watch(descriptor, offset, *rest):
        looked.append(offset // sparse.BLOCK)
        return fadvise(descriptor, offset, *rest)

    monkeypatch.setattr(os, "posix_fadvise", watch)
    with sparse.FileSource(origin) as source:
        assert sparse.copy(source, str(tmp_path / "copy")) == checksum(origin)
    assert sorted(looked) == list(range(60))


def test_copy_never_overwrites(file, tmp_path):
    target = tmp_path / "copy"
    target.write_text("mine", encoding="ascii")
    with sparse.FileSource(file) as source, pytest.raises(FileExistsError):
        sparse.copy(source, str(target))
    assert target.read_text(encoding="ascii") == "mine"


def test_copy_that_arrives_damaged(file, tmp_path, monkeypatch):
    write = os.pwrite

    def lie(descriptor, data, offset):
        return write(descriptor, b"\xff" * len(data), offset)

    monkeypatch.setattr(os, "pwrite", lie)
    with sparse.FileSource(file) as source, pytest.raises(sparse.SparseError, match="is not what was written there"):
        sparse.copy(source, str(tmp_path / "copy"))


@pytest.mark.parametrize("size", [20 * MIB, 4 * MIB - 1, LAYOUT[1] + 1])
def test_copy_of_what_changes_meanwhile(file, tmp_path, size):
    with sparse.FileSource(file) as source:
        os.truncate(file, size)
        with pytest.raises(sparse.SparseError, match="changed while it was read"):
            sparse.copy(source, str(tmp_path / "copy"))


def test_short_writes(file, tmp_path, monkeypatch):
    write = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda descriptor, data, offset: write(descriptor, data[:1000], offset))
    with sparse.FileSource(file) as source:
        assert sparse.copy(source, str(tmp_path / "copy")) == checksum(file)


def test_pack(file, tmp_path):
    packed = str(tmp_path / "pack")
    with sparse.FileSource(file) as source:
        sparse.pack([source, sparse.BytesSource(b"small"), source], packed)
        data = source.data()
    assert os.path.getsize(packed) < 200000
    with sparse.unpack(packed) as stream:
        assert sparse.copy(sparse.PackSource(stream, LAYOUT[1], data), str(tmp_path / "one")) == checksum(file)
        sparse.copy(sparse.PackSource(stream, 5, 5), str(tmp_path / "two"))
        assert sparse.copy(sparse.PackSource(stream, LAYOUT[1], data), str(tmp_path / "three")) == checksum(file)
    assert (tmp_path / "two").read_bytes() == b"small"
    assert allocated(tmp_path / "one") < 2 * MIB


@pytest.mark.parametrize("content, reason", [
    (gzip.compress(sparse.FRAME.pack(0, 10) + b"1234567890"), "ends too early"),
    (gzip.compress(sparse.FRAME.pack(0, 10) + b"12345"), "ends too early"),
    (gzip.compress(sparse.FRAME.pack(1, 10) + b"1234567890"), "is damaged"),
    (gzip.compress(sparse.FRAME.pack(0, 9) + b"123456789"), "is damaged"),
    (gzip.compress(sparse.FRAME.pack(sparse.BLOCK, 10) + b"1234567890"), "is damaged"),
    (gzip.compress(sparse.FRAME.pack(11, 0)), "is damaged"),
    (gzip.compress(sparse.FRAME.pack(0, 10) + b"1234567890")[:-9], "is damaged"),
])
def test_damaged_pack(tmp_path, content, reason):
    (tmp_path / "pack").write_bytes(content)
    with sparse.unpack(str(tmp_path / "pack")) as stream, pytest.raises(sparse.SparseError, match=reason):
        sparse.copy(sparse.PackSource(stream, 10, 10), str(tmp_path / "copy"))


@pytest.mark.parametrize("number", [None, errno.EXDEV, errno.EOPNOTSUPP])
def test_clone(file, tmp_path, monkeypatch, number):
    if number:
        def cannot(*dummy):
            raise OSError(number, os.strerror(number))
        monkeypatch.setattr(os, "copy_file_range", cannot)
    target = str(tmp_path / "clone")
    sparse.clone(file, target)
    assert checksum(target) == checksum(file)
    assert allocated(target) <= allocated(file)
    assert os.stat(target).st_mode & 0o777 == 0o600


def test_clone_fails_for_other_reasons(file, tmp_path, monkeypatch):
    def full(*dummy):
        raise OSError(errno.ENOSPC, "full")
    monkeypatch.setattr(os, "copy_file_range", full)
    with pytest.raises(OSError, match="full"):
        sparse.clone(file, str(tmp_path / "clone"))


def test_memory_is_bounded(tmp_path):
    """As many blocks are in memory as threads need, however many a file has."""
    origin = make(tmp_path / "many", [(number * sparse.BLOCK, b"x") for number in range(100)], 100 * sparse.BLOCK)
    pulled, done = [], []

    class Watched(sparse.FileSource):
        def blocks(self):
            for offset, read in super().blocks():
                pulled.append(offset)
                assert len(pulled) - len(done) <= 2 * sparse.WORKERS + 1
                yield offset, read

    with Watched(origin) as source:
        for block in sparse._spread(lambda item: item[1](), source.blocks()):
            done.append(len(block))
    assert len(done) == 100
