# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What dpkg says of a machine's packages."""

from __future__ import annotations

import os

import pytest

from ansible_collections.our.cloud.plugins.module_utils._common import dpkg
from ansible_collections.our.cloud.plugins.module_utils._common.errors import CloudError

SAID = "installed bash\nconfig-files nginx\ninstalled libc6\ninstalled libc6\nhalf-configured broken\nnot-installed gone\n"


def command(folder, monkeypatch, script):
    (folder / "dpkg-query").write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    os.chmod(folder / "dpkg-query", 0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


def test_only_what_is_installed_counts(tmp_path, monkeypatch):
    (tmp_path / "said").write_text(SAID, encoding="utf-8")
    command(tmp_path, monkeypatch, f'[ "$*" = "--show --showformat \\${{db:Status-Status}} \\${{Package}}\\n" ] && cat {tmp_path}/said')
    assert dpkg.installed() == ["bash", "libc6"]


def test_this_computer_tells():
    assert {"bash", "dpkg"} <= set(dpkg.installed())


def test_a_dpkg_that_fails_and_none(tmp_path, monkeypatch):
    command(tmp_path, monkeypatch, "echo no database >&2; exit 2")
    with pytest.raises(CloudError, match="dpkg-query: no database"):
        dpkg.installed()
    monkeypatch.setenv("PATH", str(tmp_path / "nowhere"))
    with pytest.raises(CloudError, match="dpkg-query: No such file or directory. Only machines that run Debian can be used"):
        dpkg.installed()
