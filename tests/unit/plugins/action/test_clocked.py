# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How far a machine's clock is from ours."""

from __future__ import annotations

import pytest
from ansible_collections.our.cloud.plugins.action import cloud_machine_info, machine_info
from ansible_collections.our.cloud.plugins.plugin_utils import clocked


@pytest.fixture(name="plugin", params=[cloud_machine_info, machine_info], ids=lambda action: action.__name__.rpartition(".")[2])
def fixture_plugin(request, monkeypatch):
    """An action without Ansible around it."""
    monkeypatch.setattr(clocked.ActionBase, "run", lambda *dummy: {})
    plugin = request.param.ActionModule.__new__(request.param.ActionModule)
    plugin._task = type("Task", (), {"args": {"store": "/s"}})
    return plugin


def test_the_clock_is_known_within_the_answers_time(plugin, monkeypatch):
    times, asked = iter([100.0, 103.0]), {}
    monkeypatch.setattr(clocked.time, "time", lambda: next(times))
    plugin._execute_module = lambda **how: asked.update(how) or {"time": 111.0, "clock": None}
    assert plugin.run(task_vars={"a": 1})["clock"] == [8.0, 11.0]
    assert asked == {"module_name": "our.cloud." + type(plugin).__module__.rpartition(".")[2], "module_args": {"store": "/s"}, "task_vars": {"a": 1}}


def test_no_clock_without_an_answer(plugin):
    plugin._execute_module = lambda **dummy: {"failed": True}
    assert plugin.run() == {"failed": True}
