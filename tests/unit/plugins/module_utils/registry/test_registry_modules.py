# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the modules of the registry do, and the storage that they do it to."""

from __future__ import annotations

import os
import types

import pytest
from registry_samples import site

from ansible_collections.our.cloud.plugins.module_utils._registry import registration
from ansible_collections.our.cloud.plugins.module_utils._registry.nfs_store import NfsStore
from ansible_collections.our.cloud.plugins.module_utils._registry.storage import RegistryError


def test_no_room_is_told_of_no_store(tmp_path):
    assert NfsStore(str(tmp_path / "none"), True).room() is None
    assert NfsStore(str(tmp_path), True).room()["promised"] == 0


def module(root, check_mode=False, **params):
    """A module of the registry, as registration.run sees it."""
    usual = {"name": "debian", "path": None, "state": "present", "owner": "me", "force": False, "store": str(root), "parts": None, "pack": None}
    return types.SimpleNamespace(params={**usual, **params}, check_mode=check_mode, _diff=True)


def test_what_the_modules_do(root, folder):
    done = registration.run(module(root, path=str(folder)), "image")
    assert done["file"] == str(root / "registry" / done["id"] / "root.img") and done["registered"]["owner"] == "me"
    assert done["diff"]["before_header"] == done["diff"]["after_header"] == "image debian"
    assert done["diff"]["before"] == "" and f"id: {done['id']}\n" in done["diff"]["after"]
    again = registration.run(module(root, path=str(folder)), "image")
    assert not again["changed"] and again["diff"]["before"] == again["diff"]["after"]
    checked = registration.run(module(root, True, state="absent"), "image")
    gone = registration.run(module(root, state="absent"), "image")
    assert checked["actions"] == gone["actions"] and gone["changed"] and gone["diff"] == {**done["diff"], "before": done["diff"]["after"], "after": ""}
    assert not registration.run(module(root, state="absent"), "image")["changed"]
    assert [site(root).listing(kind) for kind in ("image", "kernel", "ramdisk")] == [[], [], []]


def test_a_directory_has_its_own_kernel(folder):
    with pytest.raises(RegistryError, match="is a directory, whose kernel and ramdisk are registered with it; leave kernel and ramdisk out"):
        registration.parts_of("image", {"kernel": "eki-1"}, str(folder))


def test_what_is_registered_is_no_longer_open(root, folder):
    opened = []
    for part in registration.parts_of("image", {}, str(folder)):
        opened += [source.descriptor for source in part.sources.values()]
        part.close()
    assert len(opened) == 3 and not any(os.path.exists(f"/proc/self/fd/{descriptor}") for descriptor in opened)
