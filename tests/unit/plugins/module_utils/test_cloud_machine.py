# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a machine of the cloud tells of itself."""

from __future__ import annotations

import datetime
import os
import time

import pytest
from ansible_collections.our.cloud.plugins.action import cloud_machine_info as action
from ansible_collections.our.cloud.plugins.module_utils._cloud import machine

CERTIFICATE = """notAfter=Nov 28 10:00:00 2027 GMT
X509v3 Subject Alternative Name:\x20
    DNS:front, DNS:front.lan, IP Address:10.1.2.1
"""
SHOWN = """Id=nova-compute.service
LoadState=loaded
ActiveState=active
SubState=running
Result=success
NRestarts=2

Id=glance-api.service
LoadState=loaded
ActiveState=failed
SubState=failed
Result=exit-code
NRestarts=0

Id=neutron-api.service
LoadState=loaded
ActiveState=active
SubState=exited
Result=success
NRestarts=0

Id=openvswitch-switch.service
Type=oneshot
LoadState=loaded
ActiveState=active
SubState=exited

Id=epmd.socket
LoadState=loaded
ActiveState=active
SubState=listening

Id=gone.service
LoadState=not-found
ActiveState=inactive
SubState=dead
"""


def test_memory():
    assert machine.memory("MemTotal:        8174908 kB\nMemFree:  1 kB\nSwapTotal:       2097152 kB\n") == {"memory": 7983, "swap": 2048}
    assert machine.memory("") == {"memory": 0, "swap": 0}


@pytest.mark.parametrize("cpuinfo, device, has", [
    ("flags : fpu vmx sse", False, True), ("flags : fpu svm", True, True), ("flags : fpu svm_lock", True, False),
    ("CPU implementer : 0x41", True, True), ("CPU implementer : 0x41", False, False)])
def test_virtualization(cpuinfo, device, has):
    assert machine.virtualization(cpuinfo, device) is has


def test_names():
    asked = []

    def resolve(name, dummy):
        asked.append(name)
        if name != "good":
            raise OSError("unknown")

    assert machine.unresolved(["good", "bad", "good"], resolve) == ["bad"]
    assert asked == ["good", "bad"]


def test_cards(tmp_path):
    for name, mac in (("lo", "00:00:00:00:00:00"), ("eth0", "52:54:00:00:00:0B"), ("br0", "52:54:00:00:00:0b"), ("tun", "")):
        (tmp_path / f"sys/class/net/{name}").mkdir(parents=True)
        (tmp_path / f"sys/class/net/{name}/address").write_text(mac + "\n")
    assert machine.macs(str(tmp_path)) == ["52:54:00:00:00:0b"]


def test_store(tmp_path):
    assert machine.store("") == {"store": "", "store_free": None, "store_total": None}
    assert machine.store(str(tmp_path))["store"] == ""
    (tmp_path / ".our-cloud-store").write_text("f00\n")
    told = machine.store(str(tmp_path))
    assert told["store"] == "f00" and 0 < told["store_free"] <= told["store_total"]
    (tmp_path / ".our-cloud-store").write_text("")
    assert machine.store(str(tmp_path))["store"] == "without a name"


def test_facts_of_this_machine(tmp_path):
    (tmp_path / "etc/openvswitch").mkdir(parents=True)
    (tmp_path / "etc/openvswitch/system-id.conf").write_text("abc\n")
    told = machine.facts(["localhost"], "", str(tmp_path))
    assert told["system_id"] == "abc" and told["memory"] == 0 and told["virtualization"] is False and told["macs"] == []
    assert "localhost" not in told["unresolved"] and abs(told["time"] - time.time()) < 5


def test_units():
    assert machine.units(SHOWN) == [
        {"name": "nova-compute", "runs": True, "state": "active (running)", "restarts": 2},
        {"name": "glance-api", "runs": False, "state": "failed (failed), exit-code", "restarts": 0},
        {"name": "neutron-api", "runs": False, "state": "active (exited)", "restarts": 0},
        {"name": "openvswitch-switch", "runs": True, "state": "active (exited)", "restarts": 0},
        {"name": "epmd.socket", "runs": True, "state": "active (listening)", "restarts": 0},
        {"name": "gone", "runs": False, "state": "not-found", "restarts": 0}]
    assert machine.units("") == []


def test_units_are_those_with_our_drop_in(tmp_path):
    for path in ("nova-compute.service.d/our-cloud.conf", "libvirtd.service.d/our-cloud-kvm.conf",
                 "glance-api.service.d/our-cloud.conf", "epmd.socket.d/our-cloud.conf"):
        (tmp_path / "etc/systemd/system" / path).parent.mkdir(parents=True)
        (tmp_path / "etc/systemd/system" / path).touch()
    assert machine.units_of(str(tmp_path)) == ["epmd.socket", "glance-api.service", "nova-compute.service"]


def test_certificate():
    now = datetime.datetime(2027, 11, 26, 12, tzinfo=datetime.timezone.utc)
    assert machine.certificate(CERTIFICATE, True, now) == {"days": 1, "names": ["front", "front.lan", "10.1.2.1"], "signed": True}
    assert machine.certificate("", False, now) is None


def test_a_program_that_is_not_there():
    assert machine.run("/no/such/program") == "" and machine.run("false") == "" and machine.run("echo", "x") == "x\n"


def test_health_of_a_machine_without_a_cloud(monkeypatch):
    monkeypatch.setattr(machine, "units_of", lambda: [])
    monkeypatch.setattr(machine, "CERTIFICATE", os.devnull)
    assert machine.health() == {"units": [], "certificate": None, "schemas": []}


def test_tables(monkeypatch):
    def look(name):
        if name == "glance":
            raise machine.schema.NotThere("no configuration")
        return machine.schema.Work(name, ["nova: 2 of 5 migrations", "no cell1"] if name == "nova" else [], [])

    monkeypatch.setattr(machine.schema, "look", look)
    assert machine.tables(["nova", "placement", "glance"]) == [
        {"name": "nova", "lacks": "nova: 2 of 5 migrations, no cell1"}, {"name": "placement", "lacks": ""}, {"name": "glance", "lacks": "no configuration"}]


def test_the_clock_is_known_within_the_answers_time(monkeypatch):
    times = iter([100.0, 103.0])
    monkeypatch.setattr(action.time, "time", lambda: next(times))
    monkeypatch.setattr(action.ActionBase, "run", lambda *dummy: {})
    plugin = action.ActionModule.__new__(action.ActionModule)
    plugin._task = type("Task", (), {"args": {}})
    plugin._execute_module = lambda **dummy: {"time": 111.0}
    assert plugin.run()["clock"] == [8.0, 11.0]


def test_no_clock_without_an_answer(monkeypatch):
    monkeypatch.setattr(action.ActionBase, "run", lambda *dummy: {})
    plugin = action.ActionModule.__new__(action.ActionModule)
    plugin._task = type("Task", (), {"args": {}})
    plugin._execute_module = lambda **dummy: {"failed": True}
    assert plugin.run() == {"failed": True}
