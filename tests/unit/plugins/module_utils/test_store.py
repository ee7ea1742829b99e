# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is a store, and whose."""

from __future__ import annotations

import os
import types

import pytest
from ansible_collections.our.cloud.plugins.module_utils._site import store


def test_the_store_of_a_path(tmp_path):
    (tmp_path / "images").mkdir()
    assert store.store_of(str(tmp_path / "images/one.img")) is None and not store.is_store(str(tmp_path))
    (tmp_path / store.MARKER).write_text("id\n", encoding="ascii")
    assert store.store_of(str(tmp_path / "images/one.img")) == store.store_of(str(tmp_path / "one.img")) == str(tmp_path)
    assert store.is_store(str(tmp_path)) and not store.is_store(str(tmp_path / "images"))


@pytest.mark.parametrize("owner, mode, why", [
    (0, 0o40755, ""), (4242, 0o40700, ""), (1, 0o40755, "belongs to user 1"), (4243, 0o40755, "belongs to user 4243"),
    (0, 0o40775, "can be written to by others than its owner (mode 0775)"), (0, 0o41757, "can be written to by others than its owner (mode 1757)"),
])
def test_whose_a_store_is(monkeypatch, owner, mode, why):
    monkeypatch.setattr(os, "geteuid", lambda: 4242)
    monkeypatch.setattr(os, "stat", lambda path: types.SimpleNamespace(st_uid=owner, st_mode=mode))
    assert store.is_anybodys("/srv/store") == why


def test_one_that_is_not_there_is_nobodys(tmp_path):
    assert store.is_anybodys(str(tmp_path / "none")) == ""


@pytest.mark.parametrize("groups, host", [
    ({"image_store": ["nas"], "hypervisors": ["one"]}, "nas"), ({"image_store": [], "hypervisors": ["one", "two"]}, "one"),
    ({"image_store": None, "hypervisors": ["one"]}, "one"), ({"hypervisors": []}, ""), ({}, ""),
])
def test_the_host_of_the_store(groups, host):
    assert store.store_host(groups) == host
