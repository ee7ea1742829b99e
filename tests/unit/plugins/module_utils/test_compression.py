# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import io
import random

import pytest
from boot_samples import compress

from ansible_collections.our.cloud.plugins.module_utils._boot import compression
from ansible_collections.our.cloud.plugins.module_utils._boot.compression import CompressionError, CutShort, Expanded, Unreadable, first

READABLE = [method for method in compression.METHODS if method != "lzo"]
# longer than a step and a chunk, and only half of it can be compressed
DATA = random.Random(1).randbytes(1 << 20) + b"\0" * (9 << 20) + b"end"


def everything(stream, count):
    return b"".join(iter(lambda: stream.read(count), b""))


@pytest.fixture(name="packed", scope="module", params=READABLE)
def fixture_packed(request):
    return request.param, compress(request.param, DATA)


@pytest.mark.parametrize("kind", compression.METHODS)
def test_kinds(kind):
    assert compression.method(compress(kind, b"x" * 99)[:32]) == kind


@pytest.mark.parametrize("data", [
    b"", b"\x1f\x8b", b"\x1f\x8b\x08", b"\x1f\x8b\x08\xff", b"BZh9 is a text", b"\xfd7zXZ\0\0\4\0\0\0\0", b"\x5d\0\0\0\0\0\0\0\0\0\0\0\0",
    b"\x02\x21\x4c\x18\0\0\0\0", b"\x02\x21\x4c\x18\xff\xff\xff\xff", b"\x89LZOx", b"070701", b"hello" * 9,
])
def test_none_of_them(data):
    assert compression.method(data) == ""


def test_all_of_it(packed):
    kind, data = packed
    for step, chunk in ((1 << 20, 1 << 20), (32768, 4096), (999, 1 << 20)):
        stream = Expanded(io.BytesIO(data).read, kind, step=step, chunk=chunk)
        assert everything(stream, 77777) == DATA
        assert stream.ended and stream.rest == b""


def test_what_follows_is_left(packed):
    kind, data = packed
    stream = Expanded(io.BytesIO(data + b"\0\0\0\0what follows").read, kind)
    assert everything(stream, 1 << 20) == DATA
    assert stream.rest == b"\0\0\0\0what follows"


@pytest.mark.parametrize("cut", [1, 5, 100, 100000])
def test_cut_short(packed, cut):
    kind, data = packed
    with pytest.raises(CutShort, match="%s data ends before its end" % kind):
        everything(Expanded(io.BytesIO(data[:-cut]).read, kind), 1 << 20)


def test_a_bound(packed):
    kind, data = packed
    with pytest.raises(CompressionError, match="%s data unpacks to more than can be sensible" % kind):
        everything(Expanded(io.BytesIO(data).read, kind, limit=5 << 20), 1 << 20)


def test_damaged(packed):
    kind, data = packed
    with pytest.raises(CompressionError, match="%s data (is damaged|unpacks)" % kind):
        everything(Expanded(io.BytesIO(data[:40] + b"\xff" * len(data)).read, kind, limit=20 << 20), 1 << 20)


def test_first(packed):
    kind, data = packed
    for count in (1, 4096, 40000):
        assert first(io.BytesIO(data).read, kind, count) == DATA[:count]
    assert first(io.BytesIO(compress(kind, b"short")).read, kind, 4096) == b"short"
    with pytest.raises(CompressionError):
        first(io.BytesIO(data[:4]).read, kind, 10)


def test_first_of_what_was_cut_short(packed):
    kind, data = packed
    if kind == "bzip2":  # it has nothing before a block is whole
        with pytest.raises(CutShort):
            first(io.BytesIO(data[:200000]).read, kind, 4096)
    else:
        assert first(io.BytesIO(data[:200000]).read, kind, 4096) == DATA[:4096]


def test_without_means(monkeypatch):
    monkeypatch.setattr(compression, "_library", lambda name: None)
    for kind, package in (("zstd", "libzstd1"), ("lz4", "liblz4-1")):
        with pytest.raises(Unreadable, match="Debian: %s" % package):
            Expanded(io.BytesIO(b"").read, kind)
        with pytest.raises(Unreadable):
            first(io.BytesIO(compress(kind, b"x")).read, kind, 10)
    for kind in ("lzo", "", "new"):
        with pytest.raises(Unreadable, match="data cannot be read here"):
            Expanded(io.BytesIO(b"").read, kind)


def test_a_library_that_is_missing():
    assert compression._library("libnothing-of-that-name.so.1") is None
