# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A store in a directory, and what a builder leaves."""

from __future__ import annotations

import os

import pytest
from registry_samples import build

from ansible_collections.our.cloud.plugins.module_utils._site.store import MARKER


@pytest.fixture(autouse=True)
def fixture_no_waiting(monkeypatch):
    """For the disk: nothing here outlives the test."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    monkeypatch.setattr(os, "fdatasync", lambda descriptor: None)


@pytest.fixture(name="root")
def fixture_root(tmp_path):
    root = tmp_path / "store"
    (root / "images").mkdir(parents=True)
    (root / MARKER).write_text("uuid\n", encoding="ascii")
    return root


@pytest.fixture(name="folder")
def fixture_folder(tmp_path):
    folder = tmp_path / "built"
    folder.mkdir()
    build(folder)
    return folder
