# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keystone's services, endpoints, roles, projects and users: read what is there, plan the changes, make them.

The plan uses names, and is a pure function of what is wanted and what is there; only reading and changing use keystone's API.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from ansible_collections.our.cloud.plugins.module_utils._cloud import session
from ansible_collections.our.cloud.plugins.module_utils._common import shapes
from ansible_collections.our.cloud.plugins.module_utils._common.errors import CloudError, Refused

if TYPE_CHECKING:
    from openstack.connection import Connection

DOMAIN = "Default"
INTERFACES = ("public", "internal", "admin")
LOGINS_AT_ONCE = 4
# Values that a step's name already contains.
NAMED = ("project", "user", "group", "rule", "key", "public_key", "id")


@dataclass(frozen=True)
class Service:
    """A service of the catalog."""

    id: str
    type: str = ""
    description: str | None = None
    enabled: bool = True


@dataclass(frozen=True)
class Endpoint:
    """Where a service is."""

    id: str
    service: str | None  # its name; None: it has gone
    interface: str  # one of INTERFACES
    region: str | None
    url: str
    enabled: bool = True


@dataclass(frozen=True)
class Project:
    """A project."""

    id: str
    description: str | None = None
    tags: tuple[str, ...] = ()
    enabled: bool = True


@dataclass(frozen=True)
class User:
    """A user."""

    id: str
    description: str | None = None
    default_project: str | None = None  # its name; None: the user has none
    enabled: bool = True


@dataclass
class State:
    """What is there, by name. An empty one is a keystone that has nothing. What steps make is added to it."""

    domain: str = ""  # its id
    regions: set[str] = field(default_factory=set)
    services: dict[str, Service] = field(default_factory=dict)
    endpoints: list[Endpoint] = field(default_factory=list)
    roles: dict[str, str] = field(default_factory=dict)  # name: id
    projects: dict[str, Project] = field(default_factory=dict)
    users: dict[str, User] = field(default_factory=dict)
    granted: set[tuple[str, str, str]] = field(default_factory=set)  # (user, project, role)
    logins: set[str] = field(default_factory=set)  # names of users whose wanted password is right


@dataclass(frozen=True)
class WantedService:
    """A service as it is to be."""

    name: str
    type: str | None = None
    description: str | None = None  # None: any is right
    endpoints: Mapping[str, str | None] = field(default_factory=dict)  # {interface: URL}
    state: str = "present"  # or absent


@dataclass(frozen=True)
class WantedProject:
    """A project as it is to be."""

    name: str
    description: str | None = None  # None: any is right
    tags: tuple[str, ...] = ()  # beside those that it has
    state: str = "present"  # or absent


@dataclass(frozen=True)
class WantedUser:
    """A user as it is to be."""

    name: str
    password: str = ""
    project: str | None = None  # the default one
    roles: Sequence[str] = ()  # there
    grants: Mapping[str, Sequence[str]] = field(default_factory=dict)  # {another project: roles there}
    description: str | None = None  # None: any is right
    state: str = "present"  # or absent

    def granted(self) -> dict[str, Sequence[str]]:
        """{project: roles}"""
        return {**self.grants, **({self.project: self.roles} if self.project and self.roles else {})}


@dataclass(frozen=True)
class Wanted:
    """What keystone must have. What is not named is left alone."""

    region: str = ""  # of the endpoints
    services: tuple[WantedService, ...] = ()
    roles: tuple[str, ...] = ()  # beside those that users have
    projects: tuple[WantedProject, ...] = ()
    users: tuple[WantedUser, ...] = ()

    @classmethod
    def of(cls, params: Mapping[str, Any]) -> Wanted:
        """From the parameters of cloud_identity."""
        return cls(params["region"], tuple(shapes.of(WantedService, one) for one in params["services"]), tuple(params["roles"]),
                   tuple(shapes.of(WantedProject, one) for one in params["projects"]), tuple(shapes.of(WantedUser, one) for one in params["users"]))


Entry = TypeVar("Entry", WantedService, WantedProject, WantedUser)


@dataclass(frozen=True)
class Step:
    """One change: `verb` a `kind` of this name, with these values. Secrets are not shown."""

    verb: str  # make, change, remove, grant, revoke, mark, unmark
    kind: str
    name: str
    values: Mapping[str, Any] = field(default_factory=dict)
    was: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        values = ", ".join(f"{key} {value}" for key, value in shown(self.values).items())
        return f"{self.verb} {self.kind} {self.name}" + (f": {values}" if values else "")


def shown(values: Mapping[str, Any]) -> dict[str, Any]:
    """A step's values for the output."""
    return {key: "********" if key == "password" else value for key, value in sorted(values.items()) if key not in NAMED and value not in (None, "")}


def changed_values(wanted: Mapping[str, Any], found: Mapping[str, Any]) -> dict[str, Any]:
    """The wanted values that differ from those that are there. None means that any value is right."""
    return {key: value for key, value in wanted.items() if value is not None and value != found.get(key)}


def kept(wanted: Iterable[Entry], state: str = "present") -> list[Entry]:
    """Those with this state: present or absent."""
    return [one for one in wanted if one.state == state]


def make_or_change(kind: str, name: str, wanted: Mapping[str, Any], there: Service | Endpoint | Project | User | None) -> list[Step]:
    """The step, if any, that makes a thing so."""
    if there is None:
        return [Step("make", kind, name, {key: value for key, value in wanted.items() if value is not None})]
    found = shapes.plain(there)
    values = changed_values(wanted, found)
    return [Step("change", kind, name, values, {key: found.get(key) for key in values})] if values else []


def plan_services(wanted: Sequence[WantedService], region: str, state: State) -> list[Step]:
    """Steps for services and their endpoints in a region. A service's endpoints that are not wanted go."""
    steps = []
    if any(one.endpoints for one in kept(wanted)) and region not in state.regions:
        steps.append(Step("make", "region", region))
    for one in kept(wanted):
        steps += make_or_change("service", one.name, {"type": one.type, "description": one.description, "enabled": True}, state.services.get(one.name))
        there = [endpoint for endpoint in state.endpoints if endpoint.service == one.name and endpoint.region == region]
        endpoints = {interface: url for interface, url in one.endpoints.items() if url}
        for interface in INTERFACES:
            first, *more = [endpoint for endpoint in there if endpoint.interface == interface] or [None]
            name = f"{one.name} {interface}"
            if interface in endpoints:
                values = {"url": endpoints[interface], "enabled": True}
                if first is None:
                    values.update(service=one.name, interface=interface, region=region)
                steps += [dataclasses.replace(step, was={**step.was, "id": first.id if first else None})
                          for step in make_or_change("endpoint", name, values, first)]
            elif first:
                more.insert(0, first)
            steps += [Step("remove", "endpoint", name, was={"id": endpoint.id, "url": endpoint.url}) for endpoint in more if endpoint]
    steps += [Step("remove", "service", one.name) for one in kept(wanted, "absent") if one.name in state.services]
    return steps


def plan_roles(names: Iterable[str], state: State) -> list[Step]:
    """Steps for roles that must exist."""
    return [Step("make", "role", name) for name in sorted(set(names) - set(state.roles))]


def plan_projects(wanted: Iterable[WantedProject], state: State) -> list[Step]:
    """Steps for projects that shall be there. Tags are added to those that a project has."""
    steps = []
    for one in kept(wanted):
        found = state.projects.get(one.name)
        tags = sorted({*(found.tags if found else ()), *one.tags}) or None
        if found:
            found = dataclasses.replace(found, tags=tuple(sorted(found.tags)))
        steps += make_or_change("project", one.name, {"description": one.description, "tags": tags, "enabled": True}, found)
    return steps


def plan_users(wanted: Sequence[WantedUser], state: State) -> list[Step]:
    """Steps for users: they exist, their password is right, they have these roles in these projects and no others there."""
    steps: list[Step] = []
    for one in kept(wanted):
        name, found = one.name, state.users.get(one.name)
        values = {"description": one.description, "default_project": one.project, "enabled": True,
                  "password": one.password if name not in state.logins else None}
        steps += make_or_change("user", name, values, found)
        for project, roles in sorted(one.granted().items()):
            has = {role for user, where, role in state.granted if (user, where) == (name, project)}
            steps += [Step("grant", "role", f"{role} to {name} in {project}", {"user": name, "project": project, "key": role})
                      for role in sorted(set(roles) - has)]
            steps += [Step("revoke", "role", f"{role} of {name} in {project}", {"user": name, "project": project, "key": role})
                      for role in sorted(has - set(roles))]
    steps += [Step("remove", "user", one.name) for one in kept(wanted, "absent") if one.name in state.users]
    return steps


def plan(wanted: Wanted, state: State) -> list[Step]:
    """All steps, in an order in which they can be done; what goes, goes last."""
    users = kept(wanted.users)
    roles = {*wanted.roles, *(role for user in users for given in user.granted().values() for role in given)}
    unknown = sorted({project for user in users for project in user.granted()} - {one.name for one in kept(wanted.projects)} - set(state.projects))
    if unknown:
        raise Refused(f"Users have roles in {', '.join(unknown)}, which are no projects", "Name them in `projects`")
    steps = plan_services(wanted.services, wanted.region, state) + plan_roles(roles, state)
    steps += plan_projects(wanted.projects, state) + plan_users(wanted.users, state)
    steps += [Step("remove", "project", one.name) for one in kept(wanted.projects, "absent") if one.name in state.projects]
    return [step for step in steps if step.verb != "remove"] + [step for step in steps if step.verb == "remove"]


# -- requests to keystone


def look(connection: Connection, users: Iterable[WantedUser]) -> State:
    """What is there, and which of these users can log in with the wanted password."""
    api: Any = connection.identity
    with session.speaking("keystone"):
        domain = next((one.id for one in api.domains(name=DOMAIN)), None)
        if domain is None:
            raise CloudError("", "keystone", f"there is no domain {DOMAIN}", "`keystone-manage bootstrap` makes it: run our.cloud.cloud")
        services = list(api.services())
        names = {one.id: one.name for one in services}
        roles = {one.name: one.id for one in api.roles()}
        projects = list(api.projects(domain_id=domain))
        found = list(api.users(domain_id=domain))
        ids = [{one.id: one.name for one in found}, {one.id: one.name for one in projects}, {value: key for key, value in roles.items()}]
        granted = set()
        for one in api.role_assignments():
            key = tuple(known.get((part or {}).get("id")) for known, part in zip(ids, (one.user, (one.scope or {}).get("project"), one.role)))
            if all(key):
                granted.add(key)
        state = State(
            domain=domain, regions={one.id for one in api.regions()}, roles=roles, granted=granted,
            services={one.name: Service(one.id, one.type, one.description, one.is_enabled) for one in services},
            endpoints=[Endpoint(one.id, names.get(one.service_id), one.interface, one.region_id, one.url, one.is_enabled) for one in api.endpoints()],
            projects={one.name: Project(one.id, one.description, tuple(one.tags or ()), one.is_enabled) for one in projects},
            users={one.name: User(one.id, one.description, ids[1].get(one.default_project_id), one.is_enabled) for one in found})
    asked = [one for one in kept(users) if one.name in state.users]
    with concurrent.futures.ThreadPoolExecutor(max_workers=LOGINS_AT_ONCE) as pool:
        right = pool.map(lambda one: session.logs_in(connection, one.name, one.password), asked)
        state.logins = {one.name for one, fits in zip(asked, right) if fits}
    return state


def body(state: State, values: Mapping[str, Any]) -> dict[str, Any]:
    """A step's values as the API wants them: ids for names."""
    made = dict(values)
    if "enabled" in made:
        made["is_enabled"] = made.pop("enabled")
    if "default_project" in made:
        made["default_project_id"] = state.projects[made.pop("default_project")].id
    if "service" in made:
        made["service_id"] = state.services[made.pop("service")].id
    if "region" in made:
        made["region_id"] = made.pop("region")
    return made


def do(connection: Connection, state: State, step: Step) -> None:
    """Does one step, and adds what was made to the state, for later steps."""
    api: Any = connection.identity
    with session.speaking(f"{step.kind} {step.name}"):
        if step.kind == "role" and step.verb in ("grant", "revoke"):
            call = api.assign_project_role_to_user if step.verb == "grant" else api.unassign_project_role_from_user
            call(state.projects[step.values["project"]].id, state.users[step.values["user"]].id, state.roles[step.values["key"]])
        elif step.kind == "region":
            api.create_region(id=step.name)
        elif step.kind == "role":
            state.roles[step.name] = api.create_role(name=step.name).id
        elif step.kind == "endpoint":
            if step.verb == "make":
                api.create_endpoint(**body(state, step.values))
            elif step.verb == "change":
                api.update_endpoint(step.was["id"], **body(state, step.values))
            else:
                api.delete_endpoint(step.was["id"])
        else:
            known: dict[str, Any] = {"service": state.services, "project": state.projects, "user": state.users}[step.kind]
            if step.verb == "make":
                place = {} if step.kind == "service" else {"domain_id": state.domain}
                made = getattr(api, f"create_{step.kind}")(name=step.name, **place, **body(state, step.values))
                known[step.name] = {"service": Service, "project": Project, "user": User}[step.kind](made.id)
            elif step.verb == "change":
                getattr(api, f"update_{step.kind}")(known[step.name].id, **body(state, step.values))
            else:
                getattr(api, f"delete_{step.kind}")(known[step.name].id)


def ensure(wanted: Wanted, check: bool) -> list[Step]:
    """The steps that were done, or would be in check mode; there, a keystone that does not answer has nothing yet."""
    try:
        connection = session.connect()
        state = look(connection, wanted.users)
    except session.NotThere:
        if not check:
            raise
        return plan(wanted, State())
    steps = plan(wanted, state)
    if not check:
        for step in steps:
            do(connection, state, step)
    return steps


def diff_of(steps: Iterable[Step]) -> dict[str, str]:
    """What the steps change, as Ansible shows it; passwords are not in it."""
    before: list[str] = []
    after: list[str] = []
    for step in steps:
        for side, verbs, values in ((before, ("change", "remove", "revoke", "unmark"), step.was), (after, ("make", "change", "grant", "mark"), step.values)):
            if step.verb in verbs:
                side.append(f"{step.kind} {step.name}" + "".join(f" {key}={value}" for key, value in shown(values).items()) + "\n")
    return {"before": "".join(before), "after": "".join(after)}
