# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Moves between two hosts that are dictionaries."""

from __future__ import annotations

import types

import pytest
from ansible_collections.our.cloud.plugins.module_utils._hypervisor import hypervisor
from ansible_collections.our.cloud.plugins.module_utils._hypervisor import xen as xen_calls
from ansible_collections.our.cloud.plugins.module_utils._move import address, mover
from move_samples import Site


@pytest.fixture(autouse=True)
def fast(monkeypatch):
    """Nothing sleeps long, nothing touches this machine."""
    real = hypervisor.wait
    monkeypatch.setattr(hypervisor, "wait", lambda condition, timeout, step=0.25: real(condition, min(timeout, 0.05), 0.01))
    monkeypatch.setattr(xen_calls, "direct_io", lambda path: [])
    monkeypatch.setattr(xen_calls, "control", lambda: None)
    monkeypatch.setattr(mover, "end_saver", lambda domid: None)
    monkeypatch.setattr(mover, "LOST", 0.1)
    monkeypatch.setattr(mover, "WireWatch", lambda peer, ports: types.SimpleNamespace(now=lambda: 1 << 20, total=lambda: 9 << 20, stop=lambda: None,
                                                                                      said=(peer, ports)))
    monkeypatch.setattr(address, "resolve", lambda name: None)


@pytest.fixture(name="kvm")
def fixture_kvm(monkeypatch, tmp_path):
    return Site(monkeypatch, tmp_path, "QEMU")


@pytest.fixture(name="xen")
def fixture_xen(monkeypatch, tmp_path):
    return Site(monkeypatch, tmp_path, "Xen")


@pytest.fixture(name="site", params=["QEMU", "Xen"])
def fixture_site(monkeypatch, tmp_path, request):
    return Site(monkeypatch, tmp_path, request.param)
