# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Open vSwitch's and OVN's databases: what is read of them, and the one transaction that makes them as they are wanted."""

from __future__ import annotations

import json
import subprocess

import pytest
from ansible_collections.our.cloud.plugins.module_utils._cloud import ovs
from ansible_collections.our.cloud.plugins.module_utils._common.errors import CloudError

PORT = ["uuid", "0b5cf5ed-0d8c-4f0b-8a34-f4f3f5a1d001"]
SSL = {"private_key": "/etc/k", "certificate": "/etc/c", "ca_cert": "/etc/a"}
WANTED = {
    "external_ids": {"hostname": "left", "gone": None},
    "other_config": {"userspace-tso-enable": True},
    "managers": ["punix:/run/x/db.sock"],
    "ssl": SSL,
    "bridges": [{"name": "br-ex", "datapath_type": "netdev", "other_config": {"hwaddr": "02:00:00:00:00:01"}, "ports": [{"name": "to-br0"}]}],
}


def lines(*rows):
    """The output of ovs-vsctl --format=json for tables of (headings, rows)."""
    return "".join(json.dumps({"headings": list(headings), "data": data}) + "\n" for headings, data in rows)


def switch(ids=(), config=(), managers=(), ssl=(), bridges=(), ports=(), interfaces=()):
    """The answer to ovs.LOOK."""
    return lines(
        (("external_ids", "other_config"), [[["map", list(ids)], ["map", list(config)]]]),
        (("target",), [[one] for one in managers]),
        (("private_key", "certificate", "ca_cert"), list(ssl)),
        (("name", "datapath_type", "other_config", "fail_mode", "ports"), list(bridges)),
        (("_uuid", "name"), list(ports)),
        (("name", "type", "error"), list(interfaces)))


DONE = switch(
    ids=[["hostname", "left"]], config=[["userspace-tso-enable", "true"]], managers=["punix:/run/x/db.sock"], ssl=[["/etc/k", "/etc/c", "/etc/a"]],
    bridges=[["br-ex", "netdev", ["map", [["hwaddr", "02:00:00:00:00:01"]]], ["set", []], PORT]], ports=[[PORT, "to-br0"]],
    interfaces=[["to-br0", "", ["set", []]]])
FRESH = switch()


class Runner:
    """Answers calls in turn and notes them."""

    def __init__(self, *answers):
        self.answers, self.calls = list(answers), []

    def __call__(self, words, **dummy):
        self.calls.append(words)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, subprocess.CompletedProcess) else subprocess.CompletedProcess(words, 0, answer, "")


def failed(text):
    return subprocess.CompletedProcess([], 1, "", text)


@pytest.fixture(name="pid_file")
def fixture_pid_file(tmp_path):
    path = tmp_path / "pid"
    path.write_text("1\n", encoding="ascii")
    return str(path)


def test_values_of_the_database():
    assert ovs.plain(["map", [["a", "1"], ["b", ["set", []]]]]) == {"a": "1", "b": []}
    assert ovs.plain(["set", [["uuid", "x"], "y"]]) == ["x", "y"]
    assert ovs.plain("netdev") == "netdev"


def test_a_fresh_switch_gets_all_in_one_transaction(tmp_path):
    run = Runner(FRESH, "", DONE)
    plan = ovs.ensure_switch(WANTED, False, run, str(tmp_path / "none"))
    assert run.calls[1] == [
        "ovs-vsctl", "--timeout=60", "--no-wait",
        "--", "set", "Open_vSwitch", ".", 'external_ids:hostname="left"',
        "--", "set", "Open_vSwitch", ".", 'other_config:userspace-tso-enable="true"',
        "--", "set-manager", "punix:/run/x/db.sock",
        "--", "set-ssl", "/etc/k", "/etc/c", "/etc/a",
        "--", "--may-exist", "add-br", "br-ex",
        "--", "set", "Bridge", "br-ex", "datapath_type=netdev",
        "--", "set", "Bridge", "br-ex", 'other_config:hwaddr="02:00:00:00:00:01"',
        "--", "--may-exist", "add-port", "br-ex", "to-br0"]
    assert plan.before["bridge br-ex"] is None and plan.after["bridge br-ex"] == "present"


def test_a_switch_that_has_all_is_asked_once_and_left_alone(pid_file):
    run = Runner(DONE)
    assert ovs.ensure_switch(WANTED, False, run, pid_file).commands == []
    assert len(run.calls) == 1 and "--no-wait" in run.calls[0]


def test_a_switch_that_runs_is_waited_for(pid_file):
    run = Runner(DONE, "", DONE)
    ovs.ensure_switch({"external_ids": {"hostname": "right"}}, False, run, pid_file)
    assert run.calls[1] == ["ovs-vsctl", "--timeout=60", "--", "set", "Open_vSwitch", ".", 'external_ids:hostname="right"']


def test_check_mode_changes_nothing_and_says_the_same(pid_file):
    run = Runner(FRESH)
    assert ovs.ensure_switch(WANTED, True, run, pid_file).commands == ovs.ensure_switch(WANTED, False, Runner(FRESH, "", DONE), pid_file).commands


@pytest.mark.parametrize("answer", [FileNotFoundError(), failed("ovs-vsctl: unix:/x: database connection failed (No such file or directory)\n")],
                         ids=["not installed", "not started"])
def test_a_check_of_a_bare_machine_says_that_all_would_be_made(answer, pid_file):
    assert len(ovs.ensure_switch(WANTED, True, Runner(answer), pid_file).commands) == 8
    with pytest.raises(CloudError, match="ovs-vsctl: (is not installed|unix:/x: database connection failed)"):
        ovs.ensure_switch(WANTED, False, Runner(answer), pid_file)


def test_keys_are_taken_away_and_bridges_too(pid_file):
    run = Runner(DONE, "", DONE)
    plan = ovs.ensure_switch({"external_ids": {"hostname": None}, "managers": [],
                              "bridges": [{"name": name, "state": "absent"} for name in ("br-ex", "br-no")]}, False, run, pid_file)
    assert plan.commands == [["remove", "Open_vSwitch", ".", "external_ids", "hostname"], ["del-manager"], ["--if-exists", "del-br", "br-ex"]]


def test_a_port_of_another_type_is_corrected(pid_file):
    run = Runner(DONE, "", DONE)
    wanted = {"bridges": [{"name": "br-ex", "ports": [{"name": "to-br0", "type": "internal"}, {"name": "new", "type": "internal"}]}]}
    assert ovs.ensure_switch(wanted, False, run, pid_file).commands == [
        ["set", "Interface", "to-br0", 'type="internal"'],
        ["--may-exist", "add-port", "br-ex", "new"], ["set", "Interface", "new", "type=internal"]]


def test_a_port_that_cannot_be_opened_is_told(pid_file):
    broken = DONE.replace(json.dumps(["to-br0", "", ["set", []]]), json.dumps(["to-br0", "", "could not open network device to-br0 (No such device)"]))
    with pytest.raises(CloudError, match="port to-br0: could not open network device.*networkctl"):
        ovs.ensure_switch(WANTED, False, Runner(broken), pid_file)


def test_what_fails_is_told_in_its_own_words(pid_file):
    with pytest.raises(CloudError, match="ovs-vsctl: no row"):
        ovs.ensure_switch(WANTED, False, Runner(FRESH, failed("ovs-vsctl: no row\n")), pid_file)
    with pytest.raises(CloudError, match="has not answered within 60 s"):
        ovs.ensure_switch(WANTED, False, Runner(subprocess.TimeoutExpired("ovs-vsctl", 60)), pid_file)


def test_a_daemon_without_a_process_does_not_run(tmp_path):
    path = tmp_path / "pid"
    path.write_text("4194304000\n", encoding="ascii")
    assert not ovs.runs(str(path))
    assert not ovs.runs(str(tmp_path / "none"))


def central(targets=(), ssl=()):
    return lines((("target", "inactivity_probe"), list(targets)), (("private_key", "certificate", "ca_cert"), list(ssl)))


def test_ovn_s_databases_listen_with_tls_alone():
    run = Runner(central(), "", central([["ptcp:6642", ["set", []]]], [["/etc/k", "/etc/c", "/etc/a"]]), "")
    plans = ovs.ensure_central("10.1.0.1", SSL, False, run)
    assert run.calls[1] == ["ovn-nbctl", "--timeout=60", "--", "--inactivity-probe=60000", "set-connection", "pssl:6641:10.1.0.1",
                            "--", "set-ssl", "/etc/k", "/etc/c", "/etc/a"]
    assert run.calls[3] == ["ovn-sbctl", "--timeout=60", "--", "--inactivity-probe=60000", "set-connection", "pssl:6642:10.1.0.1"]
    assert plans["southbound"].before == {"connections": ["ptcp:6642"]}


def test_ovn_s_databases_that_listen_are_left_alone():
    run = Runner(*(central([[f"pssl:{port}:10.1.0.1", 60000]], [["/etc/k", "/etc/c", "/etc/a"]]) for port in (6641, 6642)))
    assert [plan.commands for plan in ovs.ensure_central("10.1.0.1", SSL, False, run).values()] == [[], []]


def test_ovn_that_is_not_there_yet():
    assert all(plan.commands for plan in ovs.ensure_central("10.1.0.1", SSL, True, Runner(FileNotFoundError(), FileNotFoundError())).values())
    with pytest.raises(CloudError, match="ovn-nbctl: is not installed"):
        ovs.ensure_central("10.1.0.1", SSL, False, Runner(FileNotFoundError()))
