# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hypervisors that are dictionaries, and programs that answer as a test says."""

from __future__ import annotations

import subprocess

import fake_libvirt
import pytest


@pytest.fixture(name="world")
def fixture_world(monkeypatch):
    return fake_libvirt.World(monkeypatch)


@pytest.fixture(name="one")
def fixture_one(world):
    return world.host("one")


@pytest.fixture(name="programs")
def fixture_programs(monkeypatch):
    """Answers of programs by their names: (status, stdout, stderr); what was called."""
    answers, called = {}, []

    def run(argv, **dummy):
        called.append(" ".join(argv))
        return subprocess.CompletedProcess(argv, *answers.get(argv[0], (0, "", "")))

    monkeypatch.setattr(subprocess, "run", run)
    return answers, called
