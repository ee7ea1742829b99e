# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Removals that break off: what was taken away comes back if it is needed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest
from checkout import UNIT
from registry_samples import guest, register, site

from ansible_collections.our.cloud.plugins.module_utils._registry.storage import RegistryError


def needed_late(root, monkeypatch, then):
    """A guest's use comes between the question and the removal; then the remover fails."""
    rename = os.rename

    def late(origin, target):
        key = os.path.basename(origin)
        if key.startswith("emi-") and ".part-" not in origin and os.path.basename(target) == key:
            monkeypatch.setattr(os, "rename", rename)
            (root / "registry" / key / "uses/guest.late").write_text('{"disk": "images/late.qcow2"}', encoding="ascii")
            (root / "images/late.qcow2").write_text("disk", encoding="ascii")
            rename(origin, target)
            then()
        else:
            rename(origin, target)

    monkeypatch.setattr(os, "rename", late)


def test_what_a_killed_removal_took_away_comes_back_if_it_is_needed(root, folder, monkeypatch):
    done = register(root, folder)
    pid = os.fork()
    if not pid:
        needed_late(root, monkeypatch, lambda: os.kill(os.getpid(), signal.SIGKILL))
        site(root).remove("image", "debian")
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == signal.SIGKILL
    assert site(root).find("image", "debian") is None
    # whoever comes next, with whatever
    register(root, folder / "vmlinuz", "kernel", "other")
    assert site(root).find("image", "debian")["id"] == done["id"]
    assert list(site(root).storage.uses(done["id"])) == ["guest.late"]
    assert list(site(root).storage.uses(done["record"]["kernel"])) == ["image." + done["id"]]
    assert [name for name in os.listdir(root / "registry") if name.startswith(".")] == []


def test_what_a_killed_removal_took_away_goes_if_nobody_needs_it(root, folder, monkeypatch):
    key = register(root, folder)["id"]
    pid = os.fork()
    if not pid:
        monkeypatch.setattr(os, "rmdir", lambda path, **more: os.kill(os.getpid(), signal.SIGKILL) if path.endswith("/uses") else None)
        site(root).remove("image", "debian")
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == signal.SIGKILL
    register(root, folder / "vmlinuz", "kernel", "other")
    assert not [name for name in os.listdir(root / "registry") if name.startswith(".") or name == key]


def test_what_a_failed_removal_took_away_comes_back_at_once(root, folder, monkeypatch):
    key, rmdir = register(root, folder)["id"], os.rmdir

    def broken(path, **more):
        if path.endswith("/uses"):
            raise OSError(5, "Input/output error")
        rmdir(path, **more)

    monkeypatch.setattr(os, "rmdir", broken)
    needed_late(root, monkeypatch, lambda: None)
    with pytest.raises(RegistryError, match="it was not removed: Input/output error"):
        site(root).remove("image", "debian")
    assert site(root).find("image", "debian")["id"] == key
    assert list(site(root).storage.uses(key)) == ["guest.late"]


def test_what_cannot_come_back_now_is_kept_for_later(root, folder, monkeypatch):
    key, rename, rmdir = register(root, folder)["id"], os.rename, os.rmdir
    needed_late(root, monkeypatch, lambda: monkeypatch.setattr(os, "rename", broken))

    def broken(origin, target):
        raise OSError(5, "Input/output error")

    with pytest.raises(RegistryError, match="it was not removed: Input/output error"):
        site(root).remove("image", "debian")
    monkeypatch.setattr(os, "rename", rename)
    assert (os.rmdir, site(root).find("image", "debian")) == (rmdir, None)
    # by another process, which does not share the locks of this one
    subprocess.run([sys.executable, "-c", REGISTER, str(UNIT), str(root), str(folder / "vmlinuz")], check=True)
    assert site(root).find("image", "debian")["id"] == key


REGISTER = """
import sys
sys.path.insert(0, sys.argv[1])
import checkout
from ansible_collections.our.cloud.plugins.module_utils._registry import registration
from ansible_collections.our.cloud.plugins.module_utils._registry.open import open_registry
open_registry({"store": sys.argv[2]}, False).register("other", registration.parts_of("kernel", {}, sys.argv[3]), "me", None)
"""


def test_what_was_registered_again_while_it_was_away_gets_the_uses_of_both(root, folder, monkeypatch):
    key = register(root, folder)["id"]
    guest(root, key)
    (root / "images/our-vm.qcow2").unlink()

    def again():
        assert register(root, folder)["id"] == key
        guest(root, key, "new", "images/new.qcow2")

    needed_late(root, monkeypatch, again)
    with pytest.raises(RegistryError, match="needed by guest late .*guest new"):
        site(root).remove("image", "debian")
    assert sorted(site(root).storage.uses(key)) == ["guest.late", "guest.new"]
    assert site(root).find("image", "debian")["id"] == key
    assert [name for name in os.listdir(root / "registry") if name.startswith(".")] == []


def test_an_image_without_its_kernel_comes_back_all_the_same(root, folder, monkeypatch):
    """Guests' disks are based on it; what they boot is gone by force."""
    done = register(root, folder)
    needed_late(root, monkeypatch, lambda: site(root).remove("kernel", done["record"]["kernel"], True))
    with pytest.raises(RegistryError, match="needed by guest late"):
        site(root).remove("image", "debian")
    assert site(root).find("image", "debian")["id"] == done["id"] and site(root).find("kernel", "debian") is None


def test_a_name_that_goes_while_names_are_read_is_none(root, folder, monkeypatch):
    done, readlink = register(root, folder), os.readlink
    (root / "registry/names/image/other").symlink_to("../../" + done["id"])

    def late(path, **more):
        if path.endswith("/debian"):
            os.unlink(path)
        return readlink(path, **more)

    monkeypatch.setattr(os, "readlink", late)
    assert site(root).storage.names("image") == {"other": done["id"]}
