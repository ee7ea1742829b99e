# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is done to a project, step by step."""

from __future__ import annotations

import fake_cloud
import pytest
from api_samples import Thing, answers

from ansible_collections.our.cloud.plugins.module_utils._cloud import projects, session
from ansible_collections.our.cloud.plugins.module_utils._cloud.identity import Project, User
from ansible_collections.our.cloud.plugins.module_utils._cloud.project_entries import Rule
from ansible_collections.our.cloud.plugins.module_utils._common.errors import CloudError

PROJECT = {"projects": {"lab": Project("p1")}, "users": {"ada": User("u1")}}
SSH, DEFAULT = Rule("ingress", "IPv4", "tcp", 22, 22, "192.0.2.0/24"), Rule("egress", "IPv6")


class Projects:
    """A cloud that notes what steps do to a project; its groups are as neutron tells them."""

    def __init__(self, **groups):
        told = {"security_groups": [
            {"id": f"id-{name}", "name": name, "project_id": "p1", "description": "", "tags": [],
             "security_group_rules": [{"id": f"r-{number}", "direction": rule.direction, "ethertype": rule.ethertype, "protocol": rule.protocol or None,
                                       "port_range_min": rule.low, "port_range_max": rule.high, "remote_ip_prefix": rule.remote or None}
                                      for number, rule in enumerate(rules)]} for name, rules in groups.items()]}
        good = answers({"any": {}})
        self.cloud = fake_cloud.Cloud(happens={
            "create_security_group": lambda cloud, **more: Thing(id="id-new"), "put": lambda cloud, *dummy, **more: good("any"),
            "delete": lambda cloud, *dummy, **more: good("any")})
        self.cloud._placement = answers({"/security-groups?project_id=p1": told})
        self.there = projects.Tenancy(Thing(**PROJECT), groups={"lab": {"web": projects.Group("id-web", rules={SSH: "r-ssh"})}})

    def do(self, verb, kind, name, was=None, **values):
        projects.do(self.cloud, self.there, projects.Step(verb, kind, name, values, was or {}))
        return self.cloud.calls


WEB = {"project": "lab", "group": "web"}


def test_quotas_go_to_the_service_that_counts():
    one = Projects()
    one.do("change", "quota", "compute of lab", instances=4)
    assert one.do("change", "quota", "network of lab", networks=5) == [
        ("put", "/os-quota-sets/p1", {"json": {"quota_set": {"instances": 4}}}), ("put", "/quotas/p1", {"json": {"quota": {"network": 5}}})]


def test_keys_are_their_users():
    one = Projects()
    one.do("make", "key", "laptop of ada", key="laptop", public_key="ssh-ed25519 A", user="ada")
    assert one.do("remove", "key", "laptop of ada", {"key": "laptop", "user": "ada"}) == [
        ("create_keypair", {"name": "laptop", "public_key": "ssh-ed25519 A", "user_id": "u1"}), ("delete_keypair", "laptop", {"user_id": "u1"})]


@pytest.mark.parametrize("verb, was, values, calls", [
    ("change", {}, {**WEB, "description": "new"}, [("update_security_group", "id-web", {"description": "new"})]),
    ("remove", WEB, {}, [("delete_security_group", "id-web")]),
    ("mark", {}, WEB, [("put", "/security-groups/id-web/tags/our-cloud")]),
    ("unmark", WEB, {}, [("delete", "/security-groups/id-web/tags/our-cloud")]),
])
def test_a_group(verb, was, values, calls):
    assert Projects().do(verb, "security group", "web of lab", was, **values) == calls


def test_a_new_group_loses_the_rules_that_neutron_gave_it():
    one = Projects(db=[Rule("egress", "IPv4"), DEFAULT])
    one.do("make", "security group", "db of lab", project="lab", group="db", description="")
    calls = one.do("remove", "rule", "egress of db", {"project": "lab", "group": "db", "rule": DEFAULT})
    assert calls == [("create_security_group", {"name": "db", "description": "", "project_id": "p1"}), ("delete_security_group_rule", "r-1")]


def test_a_rule_that_neutron_did_not_give_need_not_go():
    """What new groups have can be changed in neutron."""
    one = Projects(db=[])
    one.do("make", "security group", "db of lab", project="lab", group="db", description="")
    assert len(one.do("remove", "rule", "egress of db", {"project": "lab", "group": "db", "rule": DEFAULT})) == 1


@pytest.mark.parametrize("remote, more", [
    ("192.0.2.0/24", {"remote_ip_prefix": "192.0.2.0/24"}), ("", {}), ("web", {"remote_group_id": "id-web"}), ("default", {"remote_group_id": "id-default"}),
])
def test_a_rule_is_made(remote, more):
    """The default group of a project is neutron's, and is asked for."""
    one = Projects(web=[], default=[])
    calls = one.do("make", "rule", "ssh to web", **WEB, rule=Rule("ingress", "IPv4", "tcp", 22, 23, remote))
    assert calls == [("create_security_group_rule", {"security_group_id": "id-web", "project_id": "p1", "direction": "ingress", "ethertype": "IPv4",
                                                     "protocol": "tcp", "port_range_min": 22, "port_range_max": 23, **more})]


def test_a_rule_goes():
    assert Projects().do("remove", "rule", "ssh to web", {**WEB, "rule": SSH}) == [("delete_security_group_rule", "r-ssh")]


def test_without_a_cloud_a_check_tells_all_and_a_run_stops(monkeypatch):
    def none():
        raise session.NotThere("one", "cloud admin", "it is not there")

    monkeypatch.setattr(session, "connect", none)
    declared = [{"name": "lab", "users": [{"name": "ada"}]}]
    found = [(step.verb, step.kind, step.name) for step in projects.ensure(declared, {"ada": "pw"}, True)]
    assert {("make", "project", "lab"), ("make", "user", "ada")} <= set(found)
    with pytest.raises(session.NotThere):
        projects.ensure(declared, {"ada": "pw"}, False)
    with pytest.raises(CloudError, match="the user ada has no password"):
        projects.ensure(declared, {}, True)


@pytest.mark.parametrize("check", [True, False])
def test_what_is_done_is_what_is_planned(monkeypatch, check):
    done, one = [], Projects()
    monkeypatch.setattr(session, "connect", lambda: one.cloud)
    monkeypatch.setattr(projects, "look", lambda connection, declared: one.there)
    monkeypatch.setattr(projects, "plan", lambda declared, there: ["first", "second"])
    monkeypatch.setattr(projects, "do", lambda connection, there, step: done.append(step))
    assert projects.ensure([], {}, check) == ["first", "second"] and done == ([] if check else ["first", "second"])
