# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nodes that share one directory as their store."""

from __future__ import annotations

import shutil
import time

import pytest
from ansible_collections.our.cloud.plugins.module_utils._guest import lease
from lease_samples import UUID


@pytest.fixture(name="store")
def fixture_store(tmp_path):
    root = tmp_path / "store"
    (root / "images").mkdir(parents=True)
    (root / lease.MARKER).write_text("id\n")
    for name in ("one.img", "two.img"):
        (root / "images" / name).write_bytes(b"disk")
    return root


@pytest.fixture(name="make")
def fixture_make(tmp_path, store):
    """A node; made again under the same name it has been restarted."""
    def made(host):
        run = tmp_path / f"run-{host}"
        shutil.rmtree(run, ignore_errors=True)
        (run / "libvirt").mkdir(parents=True)
        return lease.Node(host, str(store), run=str(run), status=(str(run / "libvirt"),))
    return made


@pytest.fixture(name="guest")
def fixture_guest(store):
    return lease.Guest("web", UUID, (str(store / "images/one.img"),))


@pytest.fixture(name="later")
def fixture_later(monkeypatch):
    """later(seconds): the clock of all nodes is so far ahead."""
    def ahead(seconds):
        monkeypatch.setattr(lease.Node, "clock", staticmethod(lambda: time.clock_gettime(time.CLOCK_BOOTTIME) + seconds))
    return ahead
