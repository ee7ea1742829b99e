# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is planned for the inventory's projects, by what is declared and what is there."""

from __future__ import annotations

import copy
import dataclasses

import pytest

from ansible_collections.our.cloud.plugins.module_utils._cloud import identity, project_entries, project_plan, projects
from ansible_collections.our.cloud.plugins.module_utils._cloud.identity import Project, Service, User
from ansible_collections.our.cloud.plugins.module_utils._cloud.project_entries import DEFAULT_RULES, OUTGOING, Rule, faults, rule_of
from ansible_collections.our.cloud.plugins.module_utils._cloud.project_plan import Group, Tenancy, plan
from ansible_collections.our.cloud.plugins.module_utils._common.errors import Refused

KEY, OTHER_KEY = "ssh-ed25519 AAAAC3Nz ada@laptop", "ssh-ed25519 AAAAC3Xx ada@desk"
SSH = Rule("ingress", "IPv4", "tcp", 22, 22, "192.0.2.0/24")
USUAL = {"instances": 10, "cores": 20, "ram": 51200, "networks": 100, "floating_ips": 50, "volumes": 10}
LAB = {"name": "lab", "users": [{"name": "ada", "password": "hidden", "keys": [{"name": "laptop", "public_key": KEY}]}], "quotas": {"instances": 4},
       "security_groups": [{"name": "web", "rules": [{"ports": 22, "remote": "192.0.2.0/24"}]}]}


def complete():
    """A cloud in which LAB is there."""
    state = identity.State(
        domain="default", roles={"member": "r1", "admin": "r2"}, granted={("ada", "lab", "member"), ("admin", "lab", "admin")}, logins={"ada"},
        services={name: Service(name, kind) for name, kind in (("nova", "compute"), ("neutron", "network"), ("cinder", "block-storage"))},
        projects={"lab": Project("p1", "", ("our-cloud",)), "admin": Project("p0", "")},
        users={"ada": User("u1", "our-cloud; keys: laptop", "lab"), "admin": User("u0", "")})
    return Tenancy(state, quotas={"lab": dict(USUAL, instances=4)}, usual=dict(USUAL), keys={"ada": {"laptop": KEY}},
                   groups={"lab": {"web": Group("g1", "", ("our-cloud",), {SSH: "1", **{rule: str(rule) for rule in OUTGOING}}),
                                   "default": Group("g0", "", (), {rule: str(rule) for rule in DEFAULT_RULES})}})


def other(known, name, **change):
    """What is there of this name is otherwise."""
    known[name] = dataclasses.replace(known[name], **change)


def said(steps):
    return [str(step) for step in steps]


# -- what is declared


@pytest.mark.parametrize("declared, rule, text", [
    ({"ports": 22}, Rule("ingress", "IPv4", "tcp", 22, 22), "IPv4 tcp 22 from everybody"),
    ({"ports": "8000-8010", "protocol": "udp", "remote": "192.0.2.0/24"}, Rule("ingress", "IPv4", "udp", 8000, 8010, "192.0.2.0/24"),
     "IPv4 udp 8000-8010 from 192.0.2.0/24"),
    ({"remote": "192.0.2.7"}, Rule("ingress", "IPv4", "tcp", remote="192.0.2.7/32"), "IPv4 tcp from 192.0.2.7/32"),
    ({"remote": "0.0.0.0/0"}, Rule("ingress", "IPv4", "tcp"), "IPv4 tcp from everybody"),
    ({"remote": "::/0", "ports": 22}, Rule("ingress", "IPv6", "tcp", 22, 22), "IPv6 tcp 22 from everybody"),
    ({"protocol": "icmp"}, Rule("ingress", "IPv4", "icmp"), "IPv4 icmp from everybody"),
    ({"protocol": "icmp", "ethertype": "IPv6"}, Rule("ingress", "IPv6", "ipv6-icmp"), "IPv6 ipv6-icmp from everybody"),
    ({"protocol": "any", "remote": "web"}, Rule("ingress", "IPv4", remote="web"), "IPv4 any from web"),
    ({"protocol": "any", "direction": "egress", "remote": "2001:db8::/32"}, Rule("egress", "IPv6", remote="2001:db8::/32"), "IPv6 any to 2001:db8::/32"),
])
def test_rules(declared, rule, text):
    assert (rule_of(declared), str(rule)) == (rule, text)


def test_what_goes_out_may_go_unless_told():
    assert project_entries.rules_of({"name": "web", "rules": []}) == OUTGOING
    assert project_entries.rules_of({"name": "web", "rules": [{"direction": "egress", "ports": 443}]}) == {Rule("egress", "IPv4", "tcp", 443, 443)}
    assert project_entries.rules_of({"name": "default", "rules": []}) == DEFAULT_RULES


def test_nothing_is_wrong():
    assert faults([LAB, {"name": "other"}]) == []


@pytest.mark.parametrize("declared, words", [
    ([{"name": "a b"}], "a b cannot be the name of a project"),
    ([{}], "a project without a name cannot"),
    ([{"name": "a"}, {"name": "a"}], "the project a is declared twice"),
    ([{"name": "service"}], "project service: the cloud's own"),
    ([{"name": "a", "users": [{"name": "nova"}]}], "the user nova is the cloud's own"),
    ([{"name": "a", "users": [{"name": "x"}, {"name": "x"}]}], "the user x is declared twice"),
    ([{"name": "a", "users": [{"name": "x", "keys": [{"name": "k", "public_key": "/root/.ssh/id.pub"}]}]}], "key k of x is no ssh public key"),
    ([{"name": name, "users": [{"name": "x", "keys": [{"name": "k", "public_key": key}]}]} for name, key in (("a", KEY), ("b", OTHER_KEY))],
     "project b: the key k of x is another one than in another project"),
    ([{"name": "a", "quotas": {"memory": 1}}], "there is no quota memory; there are instances, cores, ram"),
    ([{"name": "a", "security_groups": [{"name": "g", "rules": [{"ports": "22,80"}]}]}], "ports 22,80 is neither a port nor a range"),
    ([{"name": "a", "security_groups": [{"name": "g", "rules": [{"ports": "90-80"}]}]}], "ports 90-80 is no range of ports"),
    ([{"name": "a", "security_groups": [{"name": "g", "rules": [{"ports": 22, "protocol": "icmp"}]}]}], "icmp has no ports"),
    ([{"name": "a", "security_groups": [{"name": "g", "rules": [{"protocol": "gre"}]}]}], "protocol gre is none of tcp"),
    ([{"name": "a", "security_groups": [{"name": "g", "rules": [{"remote": "192.0.2.1/24"}]}]}], "192.0.2.1/24 has host bits set"),
    ([{"name": "a", "security_groups": [{"name": "g", "rules": [{"remote": "::/0", "ethertype": "IPv4"}]}]}], "::/0 is not of IPv4"),
    ([{"name": "a", "security_groups": [{"name": "g", "rules": [{"remote": "web"}]}]}], "there is no security group web in the project"),
])
def test_faults(declared, words):
    (fault,) = faults(declared)
    assert words in fault


# -- the plan


def test_from_nothing():
    assert said(plan([LAB], Tenancy())) == [
        "make role member",
        "make project lab: enabled True, tags ['our-cloud']",
        "make user ada: default_project lab, description our-cloud; keys: laptop, enabled True, password ********",
        "grant role member to ada in lab",
        "grant role admin to admin in lab",
        "change quota compute of lab: instances 4",
        "make security group web of lab",
        "mark security group web of lab",
        "make rule IPv4 tcp 22 from 192.0.2.0/24 of web of lab",
        "make key laptop of ada"]


def test_nothing_to_do():
    assert plan([LAB], complete()) == []


def without(path, **change):
    """LAB with another value somewhere."""
    changed = copy.deepcopy(LAB)
    found = changed
    for key in path:
        found = found[key]
    found.update(change)
    return changed


@pytest.mark.parametrize("declared, steps", [
    (without([], quotas={}), ["change quota compute of lab: instances 10"]),
    (without([], quotas={"instances": 4, "volumes": 2, "floating_ips": -1}), ["change quota block-storage of lab: volumes 2",
                                                                              "change quota network of lab: floating_ips -1"]),
    (without(["users", 0], keys=[]), ["change user ada: description our-cloud", "remove key laptop of ada"]),
    (without(["users", 0, "keys", 0], public_key=OTHER_KEY), ["remove key laptop of ada", "make key laptop of ada"]),
    (without(["users", 0, "keys", 0], public_key="ssh-ed25519 AAAAC3Nz another comment"), []),
    (without(["users", 0], roles=["admin"]), ["grant role admin to ada in lab", "revoke role member of ada in lab"]),
    (without([], security_groups=[]), ["remove security group web of lab"]),
    (without(["security_groups", 0], rules=[{"ports": 80}]), ["remove rule IPv4 tcp 22 from 192.0.2.0/24 of web of lab",
                                                              "make rule IPv4 tcp 80 from everybody of web of lab"]),
    (without(["security_groups", 0], description="pages"), ["change security group web of lab: description pages"]),
    (without(["security_groups", 0], name="default"), ["mark security group default of lab", "make rule IPv4 tcp 22 from 192.0.2.0/24 of default of lab",
                                                       "remove security group web of lab"]),
    (without([], users=[]), ["remove key laptop of ada", "remove user ada"]),
])
def test_one_thing_is_declared_otherwise(declared, steps):
    assert said(plan([declared], complete())) == steps


@pytest.mark.parametrize("change, steps", [
    (lambda there: there.identity.logins.clear(), ["change user ada: password ********"]),
    (lambda there: there.keys["ada"].update(own=OTHER_KEY), []),
    (lambda there: there.keys["ada"].clear(), ["make key laptop of ada"]),
    (lambda there: there.groups["lab"].update(theirs=Group("g2")), []),
    (lambda there: other(there.groups["lab"], "web", tags=()), ["mark security group web of lab"]),
    (lambda there: there.groups["lab"]["web"].rules.update({Rule("ingress", "IPv4"): "9"}), ["remove rule IPv4 any from everybody of web of lab"]),
    (lambda there: other(there.groups["lab"], "default", tags=("our-cloud",), rules={rule: "1" for rule in {SSH, *DEFAULT_RULES}}),
     ["unmark security group default of lab", "remove rule IPv4 tcp 22 from 192.0.2.0/24 of default of lab"]),
    (lambda there: other(there.identity.projects, "lab", tags=()), ["change project lab: tags ['our-cloud']"]),
    (lambda there: there.quotas["lab"].update(networks=3), ["change quota network of lab: networks 100"]),
])
def test_one_thing_is_there_otherwise(change, steps):
    there = complete()
    change(there)
    assert said(plan([LAB], there)) == steps


def test_a_project_that_is_not_declared_any_more():
    there = complete()
    there.keys["ada"]["own"] = OTHER_KEY
    assert said(plan([], there)) == ["remove security group default of lab", "remove security group web of lab", "remove key laptop of ada",
                                     "remove key own of ada", "remove user ada", "remove project lab"]


def test_a_project_in_use_is_refused_to_go():
    there = complete()
    there.contents = {"lab": ["instances (a, b)", "volumes (v)"]}
    with pytest.raises(Refused, match=r"project lab is not in cloud_projects any more, and has instances \(a, b\), volumes \(v\)\. Remove these first"):
        plan([], there)


def test_a_user_who_leaves_one_of_two_projects():
    there = complete()
    there.identity.projects["desk"] = Project("p2", "", ("our-cloud",))
    there.identity.granted |= {("ada", "desk", "member"), ("admin", "desk", "admin")}
    there.quotas["desk"] = dict(USUAL)
    assert said(plan([LAB, {"name": "desk"}], there)) == ["revoke role member of ada in desk"]


def test_who_is_not_from_here_is_left_alone():
    there = complete()
    there.identity.users["bob"] = User("u2", "by hand", "lab")
    there.identity.granted.add(("bob", "lab", "member"))
    assert plan([LAB], there) == []


def test_quotas_of_a_service_that_is_not_there():
    there = complete()
    there.usual.pop("volumes")
    with pytest.raises(Refused, match="project lab has quotas of block-storage, a service that this cloud does not have"):
        plan([without([], quotas={"volumes": 3})], there)


# -- what is there


def test_a_rule_as_neutron_tells_it():
    told = {"direction": "ingress", "ethertype": "IPv4", "protocol": "tcp", "port_range_min": 22, "port_range_max": 22, "remote_ip_prefix": "192.0.2.0/24",
            "remote_group_id": None}
    assert projects.rule_there(told, {}) == SSH
    assert projects.rule_there(dict(told, remote_ip_prefix="0.0.0.0/0"), {}).remote == ""
    assert projects.rule_there(dict(told, remote_ip_prefix=None, remote_group_id="g1"), {"g1": "web"}).remote == "web"
    assert projects.rule_there(dict(told, protocol="icmpv6", ethertype="IPv6"), {}).protocol == "ipv6-icmp"


@pytest.mark.parametrize("description, keys", [("our-cloud", []), ("our-cloud; keys: a b", ["a", "b"]), ("", None), (None, None), ("our-cloud is nice", None)])
def test_marks(description, keys):
    assert project_plan.marked_keys(description) == keys
    if keys is not None:
        assert project_plan.description_of(keys) == description


def test_wrong_projects_are_refused_before_the_cloud_is_asked():
    with pytest.raises(Refused, match="project service: the cloud's own"):
        projects.ensure([{"name": "service"}], {}, check=True)
    with pytest.raises(Refused, match="the user ada has no password"):
        projects.ensure([LAB], {"bob": "hidden"}, check=True)


# -- doing it


class Network:
    """Neutron's half: keeps groups and rules, and makes a default group when one project is asked for."""

    def __init__(self):
        self.kept, self.calls = {}, []

    def group(self, ident, name, project, rules):
        self.kept[ident] = {"id": ident, "name": name, "description": "", "project_id": project, "tags": [], "security_group_rules": [
            {"id": f"{ident}-{number}", "direction": rule.direction, "ethertype": rule.ethertype, "remote_group_id": ident if rule.remote else None}
            for number, rule in enumerate(sorted(rules))]}

    def get(self, url):
        project = url.partition("?project_id=")[2]
        if project and not any(one["name"] == "default" and one["project_id"] == project for one in self.kept.values()):
            self.group("d1", "default", project, DEFAULT_RULES)
        return {"security_groups": list(self.kept.values())}

    def put(self, url):
        self.calls.append(("put", url))

    def create_security_group(self, name, description, project_id):
        self.group("n1", name, project_id, OUTGOING)
        return type("Made", (), {"id": "n1"})()

    def create_security_group_rule(self, **values):
        self.calls.append(("rule", {key: value for key, value in values.items() if value is not None}))

    def delete_security_group_rule(self, ident):
        self.calls.append(("no rule", ident))


@pytest.fixture
def connection(monkeypatch):
    import contextlib
    monkeypatch.setattr(projects.session, "speaking", lambda thing: contextlib.nullcontext())
    monkeypatch.setattr(projects, "answer", lambda response: response)
    monkeypatch.setattr("openstack.exceptions.raise_from_response", lambda response: None)
    return type("Connection", (), {"network": Network()})()


def test_groups_are_made_with_their_rules(connection):
    there = Tenancy()
    there.identity.projects["lab"] = Project("p1")
    declared = {"name": "lab", "security_groups": [
        {"name": "web", "rules": [{"ports": 443}, {"ports": 22, "remote": "default"}, {"direction": "egress", "protocol": "udp", "ports": 53}]},
        {"name": "default", "rules": [{"protocol": "icmp"}]}]}
    for step in project_plan.plan_groups([declared], there):
        projects.do(connection, there, step)
    assert connection.network.calls == [
        ("put", "/security-groups/n1/tags/our-cloud"),
        ("put", "/security-groups/d1/tags/our-cloud"),
        ("no rule", "n1-0"),
        ("no rule", "n1-1"),
        ("rule", {"security_group_id": "n1", "project_id": "p1", "direction": "ingress", "ethertype": "IPv4", "protocol": "tcp", "port_range_min": 22,
                  "port_range_max": 22, "remote_group_id": "d1"}),
        ("rule", {"security_group_id": "n1", "project_id": "p1", "direction": "ingress", "ethertype": "IPv4", "protocol": "tcp", "port_range_min": 443,
                  "port_range_max": 443}),
        ("rule", {"security_group_id": "n1", "project_id": "p1", "direction": "egress", "ethertype": "IPv4", "protocol": "udp", "port_range_min": 53,
                  "port_range_max": 53}),
        ("rule", {"security_group_id": "d1", "project_id": "p1", "direction": "ingress", "ethertype": "IPv4", "protocol": "icmp"})]
