# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Packages: dpkg is asked once in a run, apt only for what is missing, and a check says what would be installed, each time."""

from __future__ import annotations

import os
import types

import pytest
from ansible import constants as C
from ansible.errors import AnsibleActionFail

from ansible_collections.our.cloud.plugins.action import packages


class Action(packages.ActionModule):
    """Without Ansible around it."""

    _load_name = "our.cloud.packages"

    def __init__(self, answers, check_mode=False, delegate_to=None, **args):
        self._task = types.SimpleNamespace(args=args, check_mode=check_mode, async_val=0, delegate_to=delegate_to, environment=None)
        self._connection = types.SimpleNamespace(_shell=types.SimpleNamespace(tmpdir="/nowhere"), always_pipeline_modules=True)
        self.answers, self.asked = answers, []

    def _execute_module(self, module_name=None, module_args=None, task_vars=None, **dummy):
        self.asked.append((module_name, module_args, self._task.check_mode))
        return dict(self.answers.get("dpkg" if module_name is None else "lists" if "update_cache" in module_args else "apt", {"changed": True}))

    def result(self, host="one"):
        return self.run(task_vars={"inventory_hostname": host})


DPKG = {"dpkg": {"changed": False, "installed": ["bash", "dpkg"], "invocation": {}}}
LISTS = ("ansible.builtin.apt", {"update_cache": True}, False)


def apt(*names, check=False, **more):
    return ("ansible.builtin.apt", {"name": list(names), "install_recommends": False, **more}, check)


@pytest.fixture(autouse=True)
def fixture_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(C, "DEFAULT_LOCAL_TMP", str(tmp_path))
    return tmp_path


def done(result):
    return {key: result.get(key) for key in ("changed", "missing", "absent")}


def test_nothing_is_missing_and_only_the_first_task_asks_the_machine():
    first, second = Action(DPKG, names=["bash"]), Action(DPKG, names=["dpkg", "bash"])
    for action in (first, second):
        result = action.result()
        assert done(result) == {"changed": False, "missing": [], "absent": []} and "installed" not in result
    assert first.asked == [(None, None, False)] and second.asked == []
    # another machine
    other = Action(DPKG, names=["bash"])
    other.result("two")
    assert other.asked == first.asked


def test_what_is_missing_is_installed_and_then_there():
    first = Action(DPKG, names=["bash", "nginx", "nginx"], start=False)
    assert done(first.result()) == {"changed": True, "missing": ["nginx"], "absent": []}
    assert first.asked[1:] == [LISTS, apt("nginx", policy_rc_d=101)]
    second = Action(DPKG, names=["nginx", "nftables"])
    assert done(second.result()) == {"changed": True, "missing": ["nftables"], "absent": []}
    assert second.asked == [apt("nftables")]


def test_a_check_says_each_time_what_would_be_installed():
    first, second = (Action(DPKG, check_mode=True, names=["bash", "nginx"]) for dummy in range(2))
    for action in (first, second):
        assert done(action.result()) == {"changed": True, "missing": ["nginx"], "absent": ["nginx"]}
    # the lists are refreshed also in check mode
    assert first.asked == [(None, None, True), LISTS, apt("nginx", check=True)] and second.asked == [apt("nginx", check=True)]
    assert first._task.check_mode and second._task.check_mode


@pytest.mark.parametrize("failing, again", [("dpkg", 3), ("lists", 2), ("apt", 1)])
def test_a_failure_is_told_and_what_has_failed_is_done_again(failing, again):
    action = Action({**DPKG, failing: {"failed": True, "msg": "no"}}, names=["nginx"])
    result = action.result()
    assert result["failed"] and result["msg"] == "no" and "missing" not in result
    second = Action(DPKG, names=["nginx"])
    assert done(second.result()) == {"changed": True, "missing": ["nginx"], "absent": []} and len(second.asked) == again


def test_a_task_that_is_delegated_asks_the_other_machine():
    Action(DPKG, names=["bash"]).result("one")
    delegated = Action({"dpkg": {"installed": []}}, delegate_to="two", names=["bash"])
    assert delegated.result("one")["missing"] == ["bash"]
    there = Action(DPKG, names=["bash"])
    assert there.result("two")["missing"] == [] and there.asked == []


def test_what_is_noted_is_a_file_of_the_run_alone(fixture_folder):
    Action(DPKG, names=["bash"]).result("../../one")
    assert [name.startswith("our-cloud-packages-") for name in os.listdir(fixture_folder)] == [True]


@pytest.mark.parametrize("args", [{}, {"names": ["x"], "start": "perhaps"}, {"names": ["x"], "name": "y"}])
def test_wrong_arguments_are_refused(args):
    with pytest.raises(AnsibleActionFail):
        Action(DPKG, **args).result()
