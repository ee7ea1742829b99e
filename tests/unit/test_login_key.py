# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A guest is not built with a key that lets nobody in."""

from __future__ import annotations

import pathlib
import subprocess

import pytest
from ansible_collections.our.cloud.plugins.module_utils._recipe import recipe_files, recipe_load, recipe_resolve

DATA = recipe_files.DataDirectory(pathlib.Path(__file__).resolve().parents[2] / "roles/appliance/files")


def build(folder, key):
    """What the step login does to an appliance: (status, what it said, its authorized_keys)."""
    resolved = recipe_resolve.resolve(DATA, recipe_load.load(DATA, "debian-13-amd64-guest", {"authorized_key": key}), "/w")
    command = next(macrostep for macrostep in resolved.macrosteps if macrostep.name == "login").microsteps[0].commands[0]
    (folder / "root").mkdir()
    done = subprocess.run(["bash", "-euo", "pipefail", "-c", command.arguments[0]], cwd=folder, capture_output=True, text=True, check=False)
    path = folder / "root/.ssh/authorized_keys"
    return done.returncode, done.stderr, path.read_text(encoding="utf-8") if path.exists() else None


@pytest.mark.parametrize("comment", ["", " pat o'brien@laptop"])
def test_a_key(tmp_path, comment):
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(tmp_path / "key")], check=True)
    key = (tmp_path / "key.pub").read_text(encoding="ascii").strip() + comment
    assert build(tmp_path, key) == (0, "", key + "\n")


@pytest.mark.parametrize("key", ["ssh-ed25519 AAAA me@home", "~/.ssh/id_ed25519.pub", "-----BEGIN OPENSSH PRIVATE KEY-----"])
def test_what_is_none(tmp_path, key):
    status, said, dummy = build(tmp_path, key)
    assert status and "Nobody could log in to the guest. Remedy: set the variable authorized_key to a public ssh key" in said


def test_without_one_there_is_no_login(tmp_path):
    assert build(tmp_path, "") == (0, "", None)
