# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is planned for keystone, by what is wanted and what is there."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ansible_collections.our.cloud.plugins.module_utils._cloud import identity
from ansible_collections.our.cloud.plugins.module_utils._cloud.identity import Endpoint, Project, Service, State, User, Wanted, plan
from ansible_collections.our.cloud.plugins.module_utils._cloud.identity import WantedProject, WantedService, WantedUser
from ansible_collections.our.cloud.plugins.module_utils._common.errors import Refused

URLS = {"public": "https://p:9292", "internal": "https://i:9292", "admin": "https://i:9292"}
GLANCE = WantedService("glance", "image", endpoints=URLS)
USER = WantedUser("glance", "hidden", "service", ["admin", "service"])
WANTED = Wanted("regionOne", (GLANCE,), (), (WantedProject("service"),), (USER,))


def endpoint(interface, url, ident="e", region="regionOne"):
    return Endpoint(ident, "glance", interface, region, url)


def other(known, name, **change):
    """What is there of this name is otherwise."""
    known[name] = replace(known[name], **change)


def complete():
    """A keystone in which all of WANTED is there."""
    return State(domain="default", regions={"regionOne"}, roles={"admin": "r1", "service": "r2", "member": "r3"},
                 services={"glance": Service("s1", "image", "")},
                 endpoints=[endpoint("public", "https://p:9292"), endpoint("internal", "https://i:9292"), endpoint("admin", "https://i:9292")],
                 projects={"service": Project("p1", "")},
                 users={"glance": User("u1", "", "service")},
                 granted={("glance", "service", "admin"), ("glance", "service", "service")}, logins={"glance"})


def said(steps):
    return [str(step) for step in steps]


def test_from_nothing():
    assert said(plan(WANTED, State())) == [
        "make region regionOne",
        "make service glance: enabled True, type image",
        "make endpoint glance public: enabled True, interface public, region regionOne, service glance, url https://p:9292",
        "make endpoint glance internal: enabled True, interface internal, region regionOne, service glance, url https://i:9292",
        "make endpoint glance admin: enabled True, interface admin, region regionOne, service glance, url https://i:9292",
        "make role admin",
        "make role service",
        "make project service: enabled True",
        "make user glance: default_project service, enabled True, password ********",
        "grant role admin to glance in service",
        "grant role service to glance in service"]


def test_nothing_to_do():
    assert plan(WANTED, complete()) == []


@pytest.mark.parametrize("change, steps", [
    (lambda state: state.logins.clear(), ["change user glance: password ********"]),
    (lambda state: state.granted.remove(("glance", "service", "service")), ["grant role service to glance in service"]),
    (lambda state: state.granted.add(("glance", "service", "member")), ["revoke role member of glance in service"]),
    (lambda state: state.granted.add(("glance", "other", "member")), []),
    (lambda state: other(state.users, "glance", enabled=False), ["change user glance: enabled True"]),
    (lambda state: other(state.services, "glance", type="volume"), ["change service glance: type image"]),
    (lambda state: other(state.endpoints, 0, url="https://old"), ["change endpoint glance public: url https://p:9292"]),
    (lambda state: state.endpoints.append(endpoint("admin", "https://i:9292", "e2")), ["remove endpoint glance admin"]),
    (lambda state: state.endpoints.append(endpoint("admin", "https://far", "e2", region="far")), []),
    (lambda state: other(state.projects, "service", enabled=False), ["change project service: enabled True"]),
    (lambda state: other(state.projects, "service", tags=("a",)), []),
])
def test_one_thing_differs(change, steps):
    state = complete()
    change(state)
    assert said(plan(WANTED, state)) == steps


def test_an_endpoint_that_is_not_wanted_goes():
    state = complete()
    wanted = replace(WANTED, services=(replace(GLANCE, endpoints={**URLS, "admin": None}),))
    (step,) = plan(wanted, state)
    assert (str(step), step.was) == ("remove endpoint glance admin", {"id": "e", "url": "https://i:9292"})


def test_what_goes_goes_last():
    state = complete()
    state.users["cinder"] = User("u2", "", "service")
    state.projects["old"] = Project("p2", "")
    state.logins.clear()
    wanted = replace(WANTED, users=(WantedUser("cinder", state="absent"), WantedUser("gone", state="absent"), USER),
                     services=(WantedService("glance", state="absent"),), projects=(WantedProject("old", state="absent"),))
    assert said(plan(wanted, state)) == ["change user glance: password ********", "remove service glance", "remove user cinder", "remove project old"]


def test_tags_are_added():
    state = complete()
    other(state.projects, "service", tags=("theirs",))
    (step,) = plan(replace(WANTED, projects=(WantedProject("service", tags=("ours",)),)), state)
    assert (step.values, step.was) == ({"tags": ["ours", "theirs"]}, {"tags": ["theirs"]})


def test_a_user_in_several_projects():
    user = WantedUser("ada", "hidden", grants={"service": ["member"], "lab": ["member", "reader"]})
    wanted = Wanted(projects=(WantedProject("lab"),), users=(user,), roles=("member", "reader"))
    state = complete()
    state.granted.add(("ada", "lab", "admin"))
    assert [line for line in said(plan(wanted, state)) if "role" in line] == [
        "make role reader", "grant role member to ada in lab", "grant role reader to ada in lab", "revoke role admin of ada in lab",
        "grant role member to ada in service"]


def test_a_project_that_nobody_makes():
    with pytest.raises(Refused, match="roles in service, which are no projects. Name them"):
        plan(Wanted(users=(USER,)), State())


def test_diff_has_no_passwords():
    state = complete()
    state.logins.clear()
    other(state.endpoints, 0, url="https://old")
    diff = identity.diff_of(plan(WANTED, state))
    assert diff == {"before": "endpoint glance public url=https://old\nuser glance\n",
                    "after": "endpoint glance public url=https://p:9292\nuser glance password=********\n"}


class Api:
    """Keystone's half of a connection: writes down what is called, and gives ids."""

    def __init__(self):
        self.calls = []

    def __getattr__(self, name):
        def call(*arguments, **values):
            self.calls.append((name, *arguments, values))
            return type("Made", (), {"id": f"id-{values.get('name')}"})()
        return call


@pytest.fixture
def connection(monkeypatch):
    import contextlib
    monkeypatch.setattr(identity.session, "speaking", lambda thing: contextlib.nullcontext())
    return type("Connection", (), {"identity": Api()})()


def test_what_was_made_is_known_to_the_steps_after_it(connection):
    state = State(domain="default")
    for step in plan(WANTED, state):
        identity.do(connection, state, step)
    assert connection.identity.calls == [
        ("create_region", {"id": "regionOne"}),
        ("create_service", {"name": "glance", "type": "image", "is_enabled": True}),
        *(("create_endpoint", {"url": url, "is_enabled": True, "service_id": "id-glance", "interface": interface, "region_id": "regionOne"})
          for interface, url in URLS.items()),
        ("create_role", {"name": "admin"}),
        ("create_role", {"name": "service"}),
        ("create_project", {"name": "service", "domain_id": "default", "is_enabled": True}),
        ("create_user", {"name": "glance", "domain_id": "default", "default_project_id": "id-service", "is_enabled": True, "password": "hidden"}),
        ("assign_project_role_to_user", "id-service", "id-glance", "id-admin", {}),
        ("assign_project_role_to_user", "id-service", "id-glance", "id-service", {})]


def test_changes_and_removals(connection):
    state = complete()
    state.logins.clear()
    other(state.endpoints, 0, url="https://old")
    state.endpoints.append(endpoint("admin", "https://i:9292", "e2"))
    state.granted.add(("glance", "service", "member"))
    for step in plan(replace(WANTED, projects=(WantedProject("service", state="absent"),)), state):
        identity.do(connection, state, step)
    assert connection.identity.calls == [
        ("update_endpoint", "e", {"url": "https://p:9292"}),
        ("update_user", "u1", {"password": "hidden"}),
        ("unassign_project_role_from_user", "p1", "u1", "r3", {}),
        ("delete_endpoint", "e2", {}),
        ("delete_project", "p1", {})]


def test_no_keystone_yet(monkeypatch):
    def connect():
        raise identity.session.NotThere("clc", "cloud admin", "no answer")

    monkeypatch.setattr(identity.session, "connect", connect)
    assert identity.ensure(WANTED, check=True) == plan(WANTED, State())
    with pytest.raises(identity.session.NotThere, match="clc: cloud admin: no answer"):
        identity.ensure(WANTED, check=False)


def test_what_the_module_is_asked_for():
    params = {"region": "regionOne", "roles": ["reader"], "projects": [{"name": "service", "description": None, "state": "present"}],
              "services": [{"name": "glance", "type": "image", "description": None, "endpoints": URLS, "state": "present"}],
              "users": [{"name": "glance", "password": "hidden", "project": "service", "roles": ["admin", "service"], "description": None, "state": "present"}]}
    assert Wanted.of(params) == replace(WANTED, roles=("reader",))


def test_what_keystone_tells(monkeypatch):
    def thing(**values):
        return type("Thing", (), values)()

    api = {"domains": [thing(id="default")], "services": [thing(id="s1", name="glance", type="image", description="", is_enabled=True)],
           "roles": [thing(id="r1", name="admin")], "projects": [thing(id="p1", name="service", description="", tags=["a"], is_enabled=True)],
           "users": [thing(id="u1", name="glance", description=None, default_project_id="p1", is_enabled=False)], "regions": [thing(id="regionOne")],
           "role_assignments": [thing(user={"id": "u1"}, scope={"project": {"id": "p1"}}, role={"id": "r1"})],
           "endpoints": [thing(id="e1", service_id="s1", interface="admin", region_id="regionOne", url="https://i:9292", is_enabled=True)]}
    monkeypatch.setattr(identity.session, "logs_in", lambda connection, name, password: password == "hidden")
    found = identity.look(thing(identity=thing(**{name: lambda self, told=told, **dummy: told for name, told in api.items()})), (USER, WantedUser("x", "y")))
    assert found == State("default", {"regionOne"}, {"glance": Service("s1", "image", "")}, [endpoint("admin", "https://i:9292", "e1")], {"admin": "r1"},
                          {"service": Project("p1", "", ("a",))}, {"glance": User("u1", None, "service", False)}, {("glance", "service", "admin")}, {"glance"})
