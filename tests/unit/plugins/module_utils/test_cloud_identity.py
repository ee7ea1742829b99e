# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is planned for keystone, by what is wanted and what is there."""

from __future__ import annotations

import pytest

from ansible_collections.our.cloud.plugins.module_utils._cloud import identity
from ansible_collections.our.cloud.plugins.module_utils._cloud.identity import State, plan
from ansible_collections.our.cloud.plugins.module_utils._common.errors import Refused

GLANCE = {"name": "glance", "type": "image", "endpoints": {"public": "https://p:9292", "internal": "https://i:9292", "admin": "https://i:9292"}}
USER = {"name": "glance", "password": "hidden", "project": "service", "roles": ["admin", "service"]}
WANTED = {"region": "regionOne", "services": [GLANCE], "projects": [{"name": "service"}], "users": [USER]}


def endpoint(interface, url, ident="e", **more):
    return {"id": ident, "service": "glance", "interface": interface, "region": "regionOne", "url": url, "enabled": True, **more}


def complete():
    """A keystone in which all of WANTED is there."""
    return State(domain="default", regions={"regionOne"}, roles={"admin": "r1", "service": "r2", "member": "r3"},
                 services={"glance": {"id": "s1", "type": "image", "description": "", "enabled": True}},
                 endpoints=[endpoint("public", "https://p:9292"), endpoint("internal", "https://i:9292"), endpoint("admin", "https://i:9292")],
                 projects={"service": {"id": "p1", "description": "", "tags": [], "enabled": True}},
                 users={"glance": {"id": "u1", "description": "", "default_project": "service", "enabled": True}},
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
    (lambda state: state.users["glance"].update(enabled=False), ["change user glance: enabled True"]),
    (lambda state: state.services["glance"].update(type="volume"), ["change service glance: type image"]),
    (lambda state: state.endpoints[0].update(url="https://old"), ["change endpoint glance public: url https://p:9292"]),
    (lambda state: state.endpoints.append(endpoint("admin", "https://i:9292", "e2")), ["remove endpoint glance admin"]),
    (lambda state: state.endpoints.append(endpoint("admin", "https://far", "e2", region="far")), []),
    (lambda state: state.projects["service"].update(enabled=False), ["change project service: enabled True"]),
    (lambda state: state.projects["service"].update(tags=["a"]), []),
])
def test_one_thing_differs(change, steps):
    state = complete()
    change(state)
    assert said(plan(WANTED, state)) == steps


def test_an_endpoint_that_is_not_wanted_goes():
    state = complete()
    wanted = dict(WANTED, services=[dict(GLANCE, endpoints={"public": "https://p:9292", "internal": "https://i:9292", "admin": None})])
    (step,) = plan(wanted, state)
    assert (str(step), step.was) == ("remove endpoint glance admin", {"id": "e", "url": "https://i:9292"})


def test_what_goes_goes_last():
    state = complete()
    state.users["cinder"] = {"id": "u2", "description": "", "default_project": "service", "enabled": True}
    state.projects["old"] = {"id": "p2", "description": "", "tags": [], "enabled": True}
    state.logins.clear()
    wanted = dict(WANTED, users=[{"name": "cinder", "state": "absent"}, {"name": "gone", "state": "absent"}, USER],
                  services=[{"name": "glance", "state": "absent"}], projects=[{"name": "old", "state": "absent"}])
    assert said(plan(wanted, state)) == ["change user glance: password ********", "remove service glance", "remove user cinder", "remove project old"]


def test_tags_are_added():
    state = complete()
    state.projects["service"]["tags"] = ["theirs"]
    (step,) = plan(dict(WANTED, projects=[{"name": "service", "tags": ["ours"]}]), state)
    assert step.values == {"tags": ["ours", "theirs"]}


def test_a_user_in_several_projects():
    user = {"name": "ada", "password": "hidden", "grants": {"service": ["member"], "lab": ["member", "reader"]}}
    wanted = {"projects": [{"name": "lab"}], "users": [user], "roles": ["member", "reader"]}
    state = complete()
    state.granted.add(("ada", "lab", "admin"))
    assert [line for line in said(plan(wanted, state)) if "role" in line] == [
        "make role reader", "grant role member to ada in lab", "grant role reader to ada in lab", "revoke role admin of ada in lab",
        "grant role member to ada in service"]


def test_a_project_that_nobody_makes():
    with pytest.raises(Refused, match="roles in service, which are no projects. Name them"):
        plan({"users": [USER]}, State())


def test_diff_has_no_passwords():
    state = complete()
    state.logins.clear()
    state.endpoints[0]["url"] = "https://old"
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
          for interface, url in GLANCE["endpoints"].items()),
        ("create_role", {"name": "admin"}),
        ("create_role", {"name": "service"}),
        ("create_project", {"name": "service", "domain_id": "default", "is_enabled": True}),
        ("create_user", {"name": "glance", "domain_id": "default", "default_project_id": "id-service", "is_enabled": True, "password": "hidden"}),
        ("assign_project_role_to_user", "id-service", "id-glance", "id-admin", {}),
        ("assign_project_role_to_user", "id-service", "id-glance", "id-service", {})]


def test_changes_and_removals(connection):
    state = complete()
    state.logins.clear()
    state.endpoints[0]["url"] = "https://old"
    state.endpoints.append(endpoint("admin", "https://i:9292", "e2"))
    state.granted.add(("glance", "service", "member"))
    for step in plan(dict(WANTED, projects=[{"name": "service", "state": "absent"}]), state):
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
