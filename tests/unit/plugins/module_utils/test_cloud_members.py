# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who leaves the cloud, and what a lost node's instances do."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import re
import subprocess

import pytest
from ansible_collections.our.cloud.plugins.filter.cloud_departed import cloud_departed
from ansible_collections.our.cloud.plugins.module_utils._cloud import evacuation, members
from ansible_collections.our.cloud.plugins.module_utils._cloud.identity import Wanted, WantedService, WantedUser
from ansible_collections.our.cloud.plugins.module_utils._cloud.members import Compute
from ansible_collections.our.cloud.plugins.module_utils._common.errors import CloudError, Refused

ROLES = pathlib.Path(__file__).resolve().parents[4] / "roles"
GROUPS = {"clc": ["front"], "walrus": ["front"], "cc": ["front"], "nc": ["n1"], "kvm": ["n1", "n2"]}


def compute(host, state="up", forced=False):
    return Compute("id-" + host, host, state, forced)


def state(*computes, **more):
    return members.State(computes=computes, nodes={one.host: one.host + ".lan" for one in computes}, **more)


# --- refusals and plans -----------------------------------------------------

def test_nothing_has_left():
    known = state(compute("n1"), providers={"n1.lan": "p1"}, services={"nova", "glance"})
    assert members.refusals(["n1"], [], known) == [] and members.plan(["n1"], [], known) == []


@pytest.mark.parametrize("known, absent, stopped, words", [
    (state(compute("n2"), instances={"n2": ["a", "b"]}), [], [], "n2 is not in the group nc any more and has 2 instances (a, b): put it back"),
    (state(compute("n2", "down"), instances={"n2": list("abcdefg")}), [], [], "(a, b, c, d, e and 2 more)"),
    (state(compute("n2"), instances={}), [], [], "its nova-compute reports: on n2, `systemctl disable --now nova-compute"),
    (state(services={"cinder"}, held={"sc": "volumes (3)"}), ["sc"], [], "The group sc has no host any more, and there are volumes (3)"),
])
def test_refusals(known, absent, stopped, words):
    faults = members.refusals(["n1"], absent, known, stopped)
    assert len(faults) == 1 and words in faults[0]


@pytest.mark.parametrize("known, stopped", [
    (state(compute("n2", "down")), []), (state(compute("n2")), ["n2"]), (state(compute("n2", "up", True)), []),
    (state(services={"keystone"}, held={"sc": "volumes (3)"}), [])])
def test_what_may_go(known, stopped):
    assert members.refusals(["n1"], ["sc"], known, stopped) == []


def test_the_plan():
    known = state(compute("n2", "down"), compute("n1", forced=True), compute("n3", forced=True), providers={"n1.lan": "p1", "n2.lan": "p2", "lost": "p9"},
                  services={"cinder", "nova", "glance"}, users={"cinder", "swift"})
    steps = members.plan(["n1", "n3"], ["sc", "walrus"], known, back=["n1"])
    assert [str(step) for step in steps] == ["release compute n1", "remove compute n2", "remove provider lost", "remove service cinder",
                                             "remove service glance", "remove service swift"]
    assert members.absent_groups({"clc": ["x"], "walrus": [], "cc": ["x"]}) == ["walrus", "sc"]


def test_agents_of_a_node_that_has_left():
    known = state(agents=(members.Agent("b", "n2"), members.Agent("c", "n1"), members.Agent("a", "n2")))
    assert [(str(step), step.id) for step in members.plan(["n1"], [], known)] == [("remove agent n2", "a"), ("remove agent n2", "b")]
    assert members.refusals(["n1"], [], known) == []


# --- on a machine -----------------------------------------------------------

@pytest.mark.parametrize("units, host, gone", [
    (["nova-compute", "neutron-ovn-agent", "ovs-vswitchd", "somebodys"], "n1", []),
    (["nova-compute", "neutron-ovn-agent", "ovs-vswitchd", "somebodys"], "n2", ["neutron-ovn-agent", "nova-compute", "ovs-vswitchd"]),
    (["keystone", "cinder-api", "haproxy", "glance-api", "mariadb"], "front", ["cinder-api"]),
    (["keystone", "haproxy", "memcached"], "old", ["haproxy", "keystone", "memcached"]),
    ([], "n2", []),
])
def test_units_that_have_to_go(units, host, gone):
    assert cloud_departed([{"name": name} for name in units], host, GROUPS)["units"] == gone


@pytest.mark.parametrize("role", ["clc", "walrus", "sc", "cc", "nc"])
def test_the_table_has_the_units_of_the_roles(role):
    said = set()
    for path in (ROLES / role).rglob("*.yml"):
        text = path.read_text(encoding="utf-8")
        for block in re.findall(rf"^{role}__\w*units\w*:(.*?)(?=^\S|\Z)", text, re.MULTILINE | re.DOTALL):
            said |= {name for name, rest in re.findall(r"^  - (?:\{)?name: ([\w.-]+)(.*)$", block, re.MULTILINE) if "state: absent" not in rest}
    assert said - set(members.COMMON) <= set(members.UNITS[role])


def test_fronts_that_have_to_go():
    assert members.old_fronts("front", GROUPS) == ["cinder"]
    assert "keystone" in members.old_fronts("n1", GROUPS)
    assert cloud_departed([], "old", GROUPS)["fronts"] == []


# --- what is done -----------------------------------------------------------

class Answer:
    def __init__(self, value=None, code=200):
        self.status_code, self.value, self.text, self.content = code, value, json.dumps(value), b"x"

    def json(self):
        return self.value


class Service:
    """Answers GET by the end of the path, and notes what is changed."""

    def __init__(self, paths=(), code=204):
        self.paths, self.code, self.done = dict(paths), code, []

    def get(self, path, **dummy):
        for end, value in self.paths.items():
            if path.partition("?")[0].endswith(end):
                return Answer(value(path) if callable(value) else value)
        return Answer({}, 404)

    def put(self, path, json=None, **more):
        self.done.append(("PUT", path, json))
        return Answer({}, self.code)

    def post(self, path, json=None, **more):
        self.done.append(("POST", path, json, more.get("microversion")))
        return Answer({}, self.code)

    def delete(self, path, **dummy):
        self.done.append(("DELETE", path))
        return Answer({}, self.code)


class Keystone:
    def __init__(self, **services):
        self.named = services

    def services(self):
        return [type("S", (), {"name": name, "type": kind}) for name, kind in self.named.items()]

    def users(self):
        return [type("U", (), {"name": "cinder"})]


def server(name, host="n2", status="ACTIVE", vm="active", task=None, **more):
    return {"id": "s-" + name, "name": name, "status": status, "OS-EXT-STS:vm_state": vm, "OS-EXT-STS:task_state": task, "OS-EXT-SRV-ATTR:host": host, **more}


def cloud(servers=(), forced=False, **more):
    services = [{"id": "id-n1", "host": "n1", "state": "up"},
                {"id": "id-n2", "host": "n2", "state": "down", "forced_down": forced}]
    hypervisors = [{"service": {"host": "n2"}, "hypervisor_hostname": "n2.lan"}]
    nova = Service({"os-services": {"services": services}, "hypervisors/detail": {"hypervisors": hypervisors},
                    "servers/detail": lambda path: {"servers": [one for one in servers if "host=" + one["OS-EXT-SRV-ATTR:host"] in path]}, **more})
    providers = [{"name": name, "uuid": uuid, "parent_provider_uuid": parent}
                 for name, uuid, parent in (("n2.lan", "p2", None), ("gone", "p9", None), ("child", "p3", "p2"))]
    placement = Service({"resource_providers": {"resource_providers": providers}})
    agents = [{"id": f"{kind}-{host}", "host": host, "agent_type": kind} for host in ("n1", "n2") for kind in ("OVN Controller agent", "Other agent")]
    return type("Connection", (), {"identity": Keystone(nova="compute", placement="placement", cinder="block-storage", neutron="network"), "compute": nova,
                                   "placement": placement, "block_storage": Service({"volumes": {"volumes": [1, 2]}}),
                                   "network": Service({"agents": {"agents": agents}, "ports": {"ports": []}})})()


def test_looking():
    found = members.look(cloud([server("a")]), ["sc", "cc"])
    assert found.instances == {"n1": [], "n2": ["a"]} and found.providers == {"n2.lan": "p2", "gone": "p9"}
    assert found.held == {"sc": "volumes (2)"} and found.services == {"nova", "placement", "cinder", "neutron"}
    assert found.agents == (members.Agent("OVN Controller agent-n1", "n1"), members.Agent("OVN Controller agent-n2", "n2"))
    assert found.nodes == {"n2": "n2.lan"} and found.computes == (Compute("id-n1", "n1", "up"), Compute("id-n2", "n2", "down"))


def test_doing(monkeypatch):
    connection, gone = cloud(), []
    monkeypatch.setattr(members.session, "connect", lambda: connection)
    monkeypatch.setattr(members.identity, "ensure", lambda wanted, check: gone.append((wanted, check)))
    connection.block_storage.paths["volumes"] = {"volumes": []}
    done = members.ensure(["n1"], ["sc"], [], [], True, False)
    assert [str(step) for step in done.steps] == ["remove compute n2", "remove provider gone", "remove agent n2", "remove service cinder"]
    assert connection.network.done == [("DELETE", "/agents/OVN Controller agent-n2")]
    assert connection.compute.done == [("DELETE", "/os-services/id-n2")] and connection.placement.done == [("DELETE", "/resource_providers/p9")]
    assert gone == [(Wanted(services=(WantedService("cinder", state="absent"),), users=(WantedUser("cinder", state="absent"),)), False)]


def test_a_check_does_nothing_and_refuses(monkeypatch):
    connection = cloud([server("a")])
    monkeypatch.setattr(members.session, "connect", lambda: connection)
    with pytest.raises(Refused, match="n2 is not in the group nc any more and has 1 instance .a."):
        members.ensure(["n1"], [], [], [], True, True)
    assert members.ensure(["n1"], [], [], [], False, True) == members.Members()
    assert connection.compute.done == []


def test_a_node_that_is_back_is_released(monkeypatch):
    connection = cloud(forced=True)
    monkeypatch.setattr(members.session, "connect", lambda: connection)
    assert members.ensure(["n1", "n2"], [], [], [], False, False) == members.Members(held=("n2",))
    done = members.ensure(["n1", "n2"], [], [], ["n2"], False, False)
    assert [str(step) for step in done.steps] == ["release compute n2"]
    assert connection.compute.done == [("PUT", "/os-services/id-n2", {"forced_down": False})]


def test_a_cloud_that_is_half_made(monkeypatch):
    def silent(*dummy, **dummy2):
        raise members.session.Silent("front", "nova", "no connection to https://192.0.2.1:8774: Connection refused")

    monkeypatch.setattr(members.session, "connect", cloud)
    monkeypatch.setattr(members, "body", silent)
    assert members.ensure(["n1"], [], [], [], True, True) == members.Members()
    with pytest.raises(members.session.Silent):
        members.ensure(["n1"], [], [], [], True, False)


def test_no_cloud_yet(monkeypatch):
    def absent():
        raise members.session.NotThere("front", "cloud admin", "there is none", "make it")

    monkeypatch.setattr(members.session, "connect", absent)
    assert members.ensure(["n1"], [], [], [], True, True) == members.Members()
    with pytest.raises(members.session.NotThere):
        members.ensure(["n1"], [], [], [], True, False)


def test_what_a_service_says_against_it():
    connection = cloud()
    connection.compute.code = 409
    with pytest.raises(CloudError, match="HTTP 409"):
        members.do(connection, members.Step("remove", "compute", "n2", "id-n2"))
    connection.compute.code = 404
    members.do(connection, members.Step("remove", "compute", "n2", "id-n2"))


# --- OVN --------------------------------------------------------------------

def test_chassis():
    asked = []

    def ask(*arguments):
        asked.append(arguments)
        return json.dumps({"headings": ["name", "hostname"], "data": [["c1", "n1"], ["c2", "n2"]]})

    assert members.ensure_chassis(["n1"], True, ask) == ["n2"] and len(asked) == 1
    assert members.ensure_chassis(["n1"], False, ask) == ["n2"] and asked[-1] == ("--if-exists", "chassis-del", "c2")
    assert members.ensure_chassis(["n1", "n2"], False, ask) == []


def test_a_database_that_does_not_answer(monkeypatch):
    monkeypatch.setattr(members.subprocess, "run", lambda argv, **more: subprocess.CompletedProcess(argv, 1, "", "no\nconnection"))
    with pytest.raises(CloudError, match="no connection. `systemctl status ovn-central`"):
        members.sbctl("list", "Chassis")
    monkeypatch.undo()
    monkeypatch.setenv("PATH", "")
    with pytest.raises(CloudError, match="ovn-central is"):
        members.ensure_chassis(["n1"], False)
    # a check of a machine that has none yet
    assert members.ensure_chassis(["n1"], True) == []


# --- evacuation -------------------------------------------------------------

def test_the_plan_of_an_evacuation():
    computes = [compute("n1"), compute("n2", "down"), compute("n3", "up", True)]
    servers = [evacuation.shown(server("a")), evacuation.shown(server("b", vm="paused", status="PAUSED"))]
    found = evacuation.plan("n2", computes, servers)
    assert found.lines == ("a (active) goes to n1.",) and found.evacuate == ("s-a",) and found.service == "id-n2"
    assert "b is paused, in which nova does not evacuate it" in found.stay[0] and "--state error s-b" in found.stay[0]
    assert evacuation.plan("n2", computes + [compute("n4")], servers).lines == ("a (active) goes to another nc.",)
    assert evacuation.plan("x", computes, []) == evacuation.Plan()
    with pytest.raises(Refused, match="no other nc reports"):
        evacuation.plan("n2", [compute("n2", "down")], servers)
    with pytest.raises(Refused, match="no other nc reports"):
        evacuation.plan("n2", [compute("n2", "down"), dataclasses.replace(compute("n1"), closed=True)], servers)
    assert evacuation.plan("n2", [compute("n2", "down")], []).evacuate == ()


@pytest.mark.parametrize("change, said", [
    ({"host": "n1"}, "a is ACTIVE on n1."), ({}, None), ({"host": None}, None), ({"host": "n1", "task": "rebuilding"}, None),
    ({"host": "n1", "status": "SHUTOFF"}, "a is SHUTOFF on n1.")])
def test_whether_it_has_arrived(change, said):
    assert evacuation.judge("n2", dataclasses.replace(evacuation.shown(server("a")), **change)) == said


def test_one_that_never_arrives():
    with pytest.raises(CloudError, match="No valid host"):
        evacuation.judge("n2", evacuation.shown(server("a", status="ERROR", fault={"message": "No valid host"})))


def test_an_evacuation(monkeypatch):
    looks = iter([server("a", "n2", task="rebuilding"), server("b", "n1"), server("a", "n1")])
    connection = cloud([server("a"), server("b")], **{"servers/s-a": lambda path: {"server": next(looks)}, "servers/s-b": lambda path: {"server": next(looks)}})
    monkeypatch.setattr(evacuation.session, "connect", lambda: connection)
    monkeypatch.setattr(evacuation.time, "sleep", lambda seconds: None)
    assert evacuation.ensure("n2", True) == evacuation.Evacuated(True, ("a (active) goes to n1.", "b (active) goes to n1."), ())
    assert connection.compute.done == []
    planned = evacuation.plan("n2", members.look(connection, ()).computes, evacuation.servers_of(connection, "n2"))
    assert evacuation.evacuate(connection, "n2", planned, pause=lambda seconds: None) == ["a is ACTIVE on n1.", "b is ACTIVE on n1."]
    assert connection.compute.done == [("PUT", "/os-services/id-n2", {"forced_down": True}), ("POST", "/servers/s-a/action", {"evacuate": {}}, "2.94"),
                                       ("POST", "/servers/s-b/action", {"evacuate": {}}, "2.94")]


def test_one_that_fails_does_not_hide_the_others():
    connection = cloud([server("a"), server("b")], **{
        "servers/s-a": {"server": server("a", status="ERROR", fault={"message": "No valid host"})}, "servers/s-b": {"server": server("b", "n1")}})
    planned = evacuation.Plan(evacuate=("s-a", "s-b"), service="id-n2")
    with pytest.raises(CloudError, match="No valid host.*Arrived: b is ACTIVE on n1"):
        evacuation.evacuate(connection, "n2", planned, pause=lambda seconds: None)


def test_one_that_takes_too_long():
    connection = cloud([server("a")], **{"servers/s-a": {"server": server("a", "n2", task="rebuilding")}})
    times = iter([0, evacuation.TIME + 1])
    with pytest.raises(CloudError, match="a has not arrived within 900 s: it is ACTIVE .rebuilding. on n2.*None has arrived"):
        evacuation.evacuate(connection, "n2", evacuation.Plan(evacuate=("s-a",), service="id-n2"), clock=lambda: next(times), pause=lambda seconds: None)


def test_a_node_that_is_held_and_empty_stays_so(monkeypatch):
    monkeypatch.setattr(evacuation.session, "connect", lambda: cloud(forced=True))
    assert evacuation.ensure("n2", False) == evacuation.Evacuated(False, (), ())
    assert evacuation.ensure("unknown", False).changed is False
