# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Modules that run in the process of the tests."""

from __future__ import annotations

import pytest
from ansible.module_utils import basic
from module_runs import WARNED, put

from ansible_collections.our.cloud.plugins.module_utils._cloud.machine_facts import Health


@pytest.fixture(autouse=True)
def nothing_of_this_computer(monkeypatch):
    """What cases need beside the one function. Where warnings go depends on what else has been imported."""
    monkeypatch.setattr(basic.AnsibleModule, "warn", lambda module, text: WARNED.append(text))
    put(monkeypatch, "_cloud.manifest.faults", lambda *dummy: [])
    put(monkeypatch, "_cloud.machine.health", lambda schemas: Health())
    put(monkeypatch, "_lab.machine.status", lambda folder, name: {"name": name})
