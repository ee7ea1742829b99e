# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Registering an image, and telling what files are; on this computer alone."""

from __future__ import annotations

import functools
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

from machines import CACHE, CHECKOUT, take
from ansible_collections.our.cloud.plugins.module_utils._boot.identify import identify as identify_file
from ansible_collections.our.cloud.plugins.module_utils._registry import registration
from ansible_collections.our.cloud.plugins.module_utils._registry.open import open_registry
from ansible_collections.our.cloud.plugins.module_utils._site.store import MARKER

sys.path.append(str(CHECKOUT / "tests/unit"))

import boot_samples  # noqa: E402  pylint: disable=wrong-import-position

MIB = 1 << 20
SIZE, STEP, DATA = 2048 * MIB, 256 * MIB, 64 * MIB


def folder_for(bench):
    """Run a bench with a directory on the checkout's disk."""
    @functools.wraps(bench)
    def run(dummy_site, pairs, result):
        CACHE.mkdir(parents=True, exist_ok=True)
        folder = pathlib.Path(tempfile.mkdtemp(dir=CACHE))
        try:
            bench(folder, pairs, result)
        finally:
            shutil.rmtree(folder)
    return run


def make_image(path):
    """A disk with a partition, data in eight places and holes between them."""
    with open(path, "wb") as stream:
        for begin in range(0, SIZE, STEP):
            stream.seek(begin)
            stream.write(os.urandom(DATA))
        stream.seek(0)
        stream.write(boot_samples.mbr(MIB))
        stream.truncate(SIZE)
        os.fsync(stream.fileno())


def timed(function, *arguments):
    """Seconds."""
    began = time.monotonic()
    function(*arguments)
    return time.monotonic() - began


def with_cp(folder, times):
    """cp, and then that it is safe on the disk."""
    target = folder / "copy"
    times["cp"] = timed(subprocess.check_call, ["cp", str(folder / "image"), str(target)])
    times["safe"] = times["cp"] + timed(subprocess.check_call, ["sync", str(target)])
    target.unlink()
    return times["safe"]


def with_registry(folder, times):
    """Into an empty registry."""
    store = folder / "store"
    store.mkdir()
    (store / MARKER).touch()

    def put():
        parts = registration.parts_of("image", {}, str(folder / "image"))
        open_registry({"store": str(store)}).register("bench", parts)
        for part in parts:
            part.close()

    times["registered"] = timed(put)
    shutil.rmtree(store)
    return times["registered"]


@folder_for
def register(folder, pairs, result):
    """cp of an image, and its registration, in turn."""
    make_image(folder / "image")
    taken = []
    for pair in range(pairs):
        taken.append({})
        for way, name in ((with_cp, "cp and sync"), (with_registry, "registration"))[::1 if pair % 2 else -1]:
            take(result, "register %d/%d %s" % (pair + 1, pairs, name), functools.partial(way, folder, taken[-1]))
    values = {key: [times.get(key) for times in taken] for key in ("cp", "safe", "registered")}
    result["rows"] = [
        {"what": "cp", "unit": "s", "values": values["cp"]},
        {"what": "cp and sync", "unit": "s", "values": values["safe"]},
        {"what": "registration", "unit": "s", "values": values["registered"], "base": values["safe"], "aim": {"of": "ratio", "limit": 1.3}},
        {"what": "the same, beside cp alone", "unit": "s", "values": values["registered"], "base": values["cp"]},
    ]


@folder_for
def identify(folder, pairs, result):
    """What 1,000 files are."""
    samples = [boot_samples.bzimage(), boot_samples.compress("gzip", boot_samples.cpio()), boot_samples.ext4(), b"<!DOCTYPE html><html><body>404</body></html>"]
    paths = [str(folder / str(number)) for number in range(1000)]
    for number, path in enumerate(paths):
        pathlib.Path(path).write_bytes(samples[number % len(samples)])

    def look():
        for path in paths:
            identify_file(path)

    values = [take(result, "identify %d/%d" % (turn + 1, pairs), functools.partial(timed, look)) for turn in range(pairs)]
    milliseconds = [None if value is None else 1000 * value for value in values]
    result["rows"] = [{"what": "1,000 files", "unit": "ms", "values": milliseconds, "aim": {"of": "median", "limit": 1000}}]
