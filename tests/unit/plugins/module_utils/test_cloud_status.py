# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The state of the cloud: what is asked, and what is made of the answers."""

from __future__ import annotations

import dataclasses
import json
import subprocess

import pytest
from ansible_collections.our.cloud.plugins.filter.cloud_table import cloud_table
from ansible_collections.our.cloud.plugins.module_utils._cloud import status
from ansible_collections.our.cloud.plugins.module_utils._cloud.machine_facts import Certificate, Health, Store, Tables, Unit
from ansible_collections.our.cloud.plugins.module_utils._cloud.status_facts import Agent, Answer, Api, NovaService, Parts, Queue, VolumeService, Waiting
from ansible_collections.our.cloud.plugins.module_utils._common.errors import CloudError
from ansible_collections.our.cloud.plugins.module_utils._common.shapes import plain

GROUPS = {"clc": ["front"], "walrus": ["front"], "sc": ["front"], "cc": ["front"], "nc": ["n1", "n2"]}
UNIT = Unit("x", True, "active (running)", 0)
HEALTH = Health((UNIT,), Certificate(300, ("10.1.2.1",), True))
STORE = Store("f00", 5000, 9000)
MACHINE = status.Machine(HEALTH, STORE, "10.1.2.1")
RPC = Answer(0.12, "up 3 days")


def service(binary="nova-compute", host="n1", **more):
    return NovaService(**{"binary": binary, "host": host, "state": "up", "status": "enabled", "rpc": RPC if binary == "nova-compute" else None, **more})


def agent(host, kind="OVN Controller Gateway agent", alive=True):
    return Agent(kind, host, alive)


def told(value):
    return Answer(0.3, value)


def cloud(**more):
    return Parts(**{
        "keystone": told(["compute"]), "page": told(True), "instances": told(()), "volumes": told((VolumeService("cinder-volume", "up", "enabled"),)),
        "apis": told((Api("glance", Answer(0.2, True)),)),
        "computes": told((service("nova-scheduler", "front"), service(), service(host="n2"))),
        "agents": told(tuple(agent(host, kind) for host in ("n1", "n2") for kind in ("OVN Controller Gateway agent", "OVN Neutron agent"))),
        "queues": told((Queue("compute.n1", 0, 1),)), **more})


def machines(store=STORE, **health):
    """Three of them; n1 differs."""
    return {"front": MACHINE, "n1": status.Machine(dataclasses.replace(HEALTH, **health), store, "10.1.2.1"), "n2": MACHINE}


def odd(rows):
    return [(row.part, row.where, row.state) for row in rows if row.state != status.GOOD]


def only(rows):
    found = [row for row in rows if row.state != status.GOOD]
    assert len(found) == 1, found
    return found[0]


def test_all_is_well():
    rows = status.judge(GROUPS, machines(), cloud())
    assert odd(rows) == []
    found = status.overview(rows)
    assert found.good and found.verdict == f"The cloud works: {len(rows)} of {len(rows)} parts are good." and found.next == ""
    assert found.lines[0].split() == ["part", "where", "state", "tells"] and found.lines[-1] == found.verdict
    assert {row.part for row in rows} >= {"keystone", "glance", "page", "nova-compute", "nova-scheduler", "chassis", "network agent", "cinder-volume", "queues",
                                          "certificate", "store", "units"}


@pytest.mark.parametrize("change, part, state, says, remedy", [
    ({"units": (Unit("x", False, "failed (failed)", 0), Unit("y", True, "a", 0))}, "unit x", "BAD", "failed (failed)", "ssh n1 journalctl -n 30 -u x"),
    ({"units": ()}, "units", "BAD", "none of the cloud's", "ansible-playbook our.cloud.cloud --limit n1"),
    ({"units": (Unit("x", True, "a", 3),)}, "units", "look", "restarted by themselves: x 3", "ssh n1 journalctl -p err"),
    ({"schemas": (Tables("nova", "nova: 2 of 5 migrations"),)}, "tables nova", "BAD", "2 of 5", "--limit n1"),
    ({"certificate": None}, "certificate", "BAD", "there is none", "--limit n1"),
    ({"certificate": Certificate(-2, (), True)}, "certificate", "BAD", "expired 2 days ago", "--limit n1"),
    ({"certificate": Certificate(9, (), False)}, "certificate", "BAD", "has not signed it", "--limit n1"),
    ({"certificate": Certificate(90, ("n1",), True)}, "certificate", "BAD", "it lacks 10.1.2.1; it has n1", "--limit n1"),
    ({"certificate": Certificate(9, ("10.1.2.1",), True)}, "certificate", "look", "9 days", "--limit n1"),
    ({"store": Store("f00", 100, 9000)}, "store", "BAD", "100 of 9000 MiB free", "our.cloud.prune"),
])
def test_a_machine(change, part, state, says, remedy):
    rows = [row for row in status.judge(GROUPS, machines(**change), cloud()) if row.state != status.GOOD and not (row.part == "units" and part != "units")]
    row = only(rows)
    assert (row.part, row.where, row.state) == (part, "n1", state) and says in row.tells and remedy in row.remedy


def test_a_machine_that_does_not_answer():
    row = only(status.judge(GROUPS, {"front": MACHINE, "n1": MACHINE}, cloud()))
    assert (row.part, row.where, row.tells) == ("machine", "n2", "does not answer")


def test_no_store_no_row():
    assert status.judge_room("x", Store()) == []
    # little in per cent, and enough in MiB
    assert status.judge_room("x", Store("f00", 20000, 900000))[0].state == "good"


@pytest.mark.parametrize("services, part, where, state, says, remedy", [
    ([service(host="n2")], "nova-compute", "n1", "BAD", "does not know it", "--limit n1"),
    ([service(forced_down=True), service(host="n2")], "nova-compute", "n1", "BAD", "declared lost", "--limit n1"),
    ([service(state="down"), service(host="n2")], "nova-compute", "n1", "BAD", "does not report", "our.cloud.rescue -e host=n1 --check"),
    ([service(rpc=Answer(60, error="HTTP 500: timed out")), service(host="n2")], "nova-compute", "n1", "BAD",
     "it reports, but does not answer by RPC (HTTP 500: timed out)", "ssh n1 systemctl restart nova-compute"),
    ([service(rpc=None), service(host="n2")], "nova-compute", "n1", "BAD", "(no hypervisor)", "restart nova-compute"),
    ([service(status="disabled"), service(host="n2")], "nova-compute", "n1", "look", "it is disabled", "--enable n1"),
    ([service(), service(host="n2"), service(host="old")], "nova-compute", "old", "look", "no nc of the inventory", "our.cloud.cloud"),
    ([service(), service(host="n2"), service("nova-conductor", "front", state="down")], "nova-conductor", "front", "BAD", "down, enabled",
     "nova-conductor.log"),
])
def test_computes(services, part, where, state, says, remedy):
    row = only(status.judge_computes(["n1", "n2"], "front", services))
    assert (row.part, row.where, row.state) == (part, where, state) and says in row.tells and remedy in row.remedy


@pytest.mark.parametrize("agents, where, state, says", [
    ([agent("N1.lan")], "n1", "BAD", "there is none of this name, so no port binds there; unknown are N1.lan"),
    ([agent("n1", alive=False)], "n1", "BAD", "it does not follow"),
    ([agent("n1", "OVN Controller agent", False), agent("n1")], "n1", "look", "2 of one name"),
    ([agent("n1"), agent("old")], "old", "look", "no nc of the inventory"),
])
def test_chassis(agents, where, state, says):
    rows = [row for row in status.judge_agents(["n1"], agents) if row.part == "chassis"]
    row = next(row for row in rows if row.state != "good")
    assert (row.where, row.state) == (where, state) and says in row.tells


def test_queues():
    rows = status.judge_queues("front", ["n1"], [Queue("compute.n1", 3, 0), Queue("scheduler", 0, 0), Queue("reply_1", 500, 1)])
    assert [(row.part, row.state) for row in rows] == [("queue scheduler", "BAD"), ("queue compute.n1", "BAD"), ("queues", "look")]
    assert rows[0].remedy == "ssh front systemctl restart nova-scheduler" and rows[1].remedy == "ssh n1 systemctl restart nova-compute"
    assert rows[2].tells == "3, 503 messages wait (reply_1 500)"


def test_instances():
    found = [Waiting("a", "1", "ERROR", 5, "n1", "No valid host"), Waiting("b", "2", "BUILD", 5), Waiting("c", "3", "BUILD", 1900)]
    assert [(row.part, row.where, row.tells) for row in status.judge_instances("front", found)] == [
        ("instance a", "n1", "No valid host"), ("instance c", "front", "BUILD for 31 minutes")]


def test_without_keystone_nothing_else_is_judged():
    rows = status.judge(GROUPS, machines(), Parts(Answer(1, error="no answer", remedy="do this"), told(())))
    assert odd(rows) == [("keystone", "front", "BAD")]
    assert status.overview(rows).lines[-1] == "Next: do this"
    assert odd(status.judge(GROUPS, machines(), None)) == [("keystone", "front", "BAD")]


def test_a_part_that_could_not_be_asked():
    row = only(status.judge(GROUPS, machines(), cloud(agents=Answer(1, error="HTTP 503", remedy="see there"))))
    assert (row.part, row.tells, row.remedy) == ("agents", "HTTP 503", "see there")


def test_what_is_bad_comes_before_what_wants_a_look():
    found = status.overview([status.Row("a", "x", "look", "", "first"), status.Row("b", "y", "BAD", "", "second"), status.Row("b", "y", "BAD", "")])
    assert found.next == "second" and found.verdict == "2 of 3 parts do not work: b on y." and not found.good
    found = status.overview([status.Row("a", "x", "look", "", "first")])
    assert found.good and found.next == "first" and "1 of 1 parts want a look" in found.verdict


def test_the_filter_gives_machines_their_addresses():
    facts = {**plain(HEALTH), **STORE.told()}
    its = dict.fromkeys(("front", "n1", "n2"), facts)
    hostvars = {host: {"site_address": "10.1.2.1"} for host in its}
    found = cloud_table(cloud().result(), its, GROUPS, hostvars)
    assert sorted(found) == ["good", "lines", "next", "verdict"] and found["good"] and isinstance(found["lines"], list)
    assert not cloud_table(cloud().result(), its, GROUPS, dict(hostvars, n2={"site_address": "10.1.2.99"}))["good"]
    assert not cloud_table({}, its, GROUPS, hostvars)["good"]


# --- as the module returns it -----------------------------------------------

DEAF = Answer(75.0, error="HTTP 500", remedy="look there")


def test_the_result_has_what_is_documented():
    found = cloud(computes=told((service(rpc=DEAF, node="n1.lan"),)), instances=told((Waiting("a", "1", "ERROR", 5),)), agents=DEAF).result()
    assert found == {
        "keystone": {"told": ["compute"], "seconds": 0.3}, "page": {"told": True, "seconds": 0.3},
        "apis": {"told": [{"name": "glance", "told": True, "seconds": 0.2}], "seconds": 0.3},
        "computes": {"told": [{"binary": "nova-compute", "host": "n1", "state": "up", "status": "enabled", "forced_down": False, "reason": None,
                               "rpc": {"error": "HTTP 500", "remedy": "look there", "seconds": 75.0}, "node": "n1.lan"}], "seconds": 0.3},
        "agents": {"error": "HTTP 500", "remedy": "look there", "seconds": 75.0},
        "volumes": {"told": [{"binary": "cinder-volume", "state": "up", "status": "enabled"}], "seconds": 0.3},
        "queues": {"told": [{"name": "compute.n1", "messages": 0, "consumers": 1}], "seconds": 0.3},
        "instances": {"told": [{"name": "a", "id": "1", "status": "ERROR", "age": 5, "host": None, "fault": None}], "seconds": 0.3}}


@pytest.mark.parametrize("parts", [
    cloud(), cloud(computes=told((service(rpc=DEAF), service("nova-conductor", "front"))), agents=DEAF, apis=told((Api("nova", DEAF),))), Parts(DEAF, told(())),
    cloud(instances=told((Waiting("a", "1", "ERROR", 5, "n1", "No valid host"),))),
])
def test_the_control_machine_reads_what_was_told(parts):
    assert Parts.of(json.loads(json.dumps(parts.result()))) == parts


# --- asking -----------------------------------------------------------------

class Response:
    def __init__(self, value, code=200):
        self.status_code, self.value = code, value
        self.text, self.content = json.dumps(value), b"x"

    def json(self):
        return self.value


class Adapter:
    """Answers by path; what it does not know is 404."""

    def __init__(self, **paths):
        self.paths, self.asked = {key.replace("__", "/"): value for key, value in paths.items()}, []

    def get(self, path, **more):
        self.asked.append((path, more))
        for key, value in self.paths.items():
            if path.partition("?")[0].endswith(key):
                return value if isinstance(value, Response) else Response(value)
        return Response({}, 404)


class Connection:
    def __init__(self, **services):
        for name, adapter in services.items():
            setattr(self, name, adapter)
        self.identity = type("Identity", (), {"services": lambda self: [type("S", (), {"type": kind.replace("_", "-")}) for kind in services]})()


COMPUTE = {
    "os-services": {"services": [{"binary": "nova-compute", "host": "n1", "state": "up", "status": "enabled"},
                                 {"binary": "nova-conductor", "host": "front", "state": "up", "status": "enabled", "forced_down": False}]},
    "detail": {"hypervisors": [{"id": "u1", "service": {"host": "n1"}, "hypervisor_hostname": "n1.lan"}], "servers": []},
    "uptime": {"hypervisor": {"uptime": " up 3 days "}}, "servers": {"servers": []},
}


def adapter(**changes):
    return Adapter(**{**COMPUTE, **changes})


def test_everything_is_asked(monkeypatch):
    network = Adapter(networks={"networks": []}, agents={"agents": [{"agent_type": "t", "host": "n1", "alive": True}]})
    connection = Connection(compute=adapter(), network=network,
                            block_storage=Adapter(**{"os-services": {"services": [{"binary": "cinder-volume", "host": "front@store", "state": "up",
                                                                                   "status": "enabled"}]}, "volumes": {}}))
    monkeypatch.setattr(status.session, "connect", lambda: connection)
    monkeypatch.setattr(status, "queues", lambda: [])
    monkeypatch.setattr(status, "page", lambda url, verify: (url, verify))
    found = status.look("https://x/", "/ca")
    assert found.keystone.told == ["block-storage", "compute", "network"]
    assert [(one.name, one.answer.told) for one in found.apis.told] == [("nova", True), ("neutron", True), ("cinder", True)]
    first, second = found.computes.told
    assert (first.host, first.node, first.forced_down, first.rpc.told) == ("n1", "n1.lan", False, "up 3 days") and second.rpc is None
    assert found.agents.told == (Agent("t", "n1", True),) and found.volumes.told == (VolumeService("cinder-volume", "up", "enabled"),)
    assert found.page.told == ("https://x/", "/ca") and found.instances.told == () and found.queues.told == []


def test_a_deaf_compute(monkeypatch):
    connection = Connection(compute=adapter(uptime=Response({"computeFault": "timed out"}, 500)))
    found = status.computes(connection)
    assert "HTTP 500" in found[0].rpc.error
    assert connection.compute.asked[-1][1] == {"microversion": "2.87", "timeout": status.RPC_TIME}


def test_instances_that_users_wait_for():
    server = {"name": "a", "id": "1", "updated": "2026-11-27T19:00:00Z", "fault": {"message": "No valid host"}}
    found = status.instances(Connection(compute=adapter(detail={"servers": [server]})), 1795806000.0 + 90)
    assert [(one.status, one.age, one.fault) for one in found] == [("ERROR", 90, "No valid host"), ("BUILD", 90, "No valid host")]


def test_without_a_login(monkeypatch):
    def refused():
        raise CloudError("front", "cloud admin", "HTTP 401", "see there")

    monkeypatch.setattr(status.session, "connect", refused)
    monkeypatch.setattr(status, "queues", lambda: [])
    found = status.look("https://x/", "/ca")
    assert sorted(found.result()) == ["keystone", "queues"] and found.keystone.error == "HTTP 401" and found.keystone.remedy == "see there"


def done(code=0, out="", err=""):
    return lambda *args, **more: subprocess.CompletedProcess(args, code, out, err)


def test_the_queue_is_asked(monkeypatch):
    monkeypatch.setattr(status.subprocess, "run", done(out='[{"name": "x", "messages": 0, "consumers": 1}]'))
    assert status.queues() == (Queue("x", 0, 1),)
    monkeypatch.setattr(status.subprocess, "run", done(69, err="Error: unable to\n connect"))
    with pytest.raises(CloudError, match="unable to connect"):
        status.queues()


def test_a_queue_without_its_program(monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(CloudError, match="rabbitmqctl"):
        status.queues()


def test_the_page(monkeypatch):
    requests = pytest.importorskip("requests")
    answer = Response("")
    monkeypatch.setattr(requests, "get", lambda *args, **more: answer)
    answer.text = '<input type="password">'
    assert status.page("https://x/", "/ca") is True
    answer.status_code = 500
    with pytest.raises(CloudError, match="HTTP 500, and no login"):
        status.page("https://x/", "/ca")

    def broken(*args, **more):
        raise requests.ConnectionError("refused")

    monkeypatch.setattr(requests, "get", broken)
    with pytest.raises(CloudError, match="refused"):
        status.page("https://x/", "/ca")
