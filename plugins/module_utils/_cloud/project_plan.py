# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The steps from what is there to the declared projects: a decision, without any request.

What was made here has a mark: projects and security groups a tag, users their description, which also names the keys that they have
from here. What has the mark and is not declared any more is removed; what has no mark stays as it is.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ansible_collections.our.cloud.plugins.module_utils._cloud import identity
from ansible_collections.our.cloud.plugins.module_utils._cloud.identity import Step
from ansible_collections.our.cloud.plugins.module_utils._cloud.project_entries import DEFAULT_GROUP, DEFAULT_RULES, OUTGOING, QUOTAS, Rule, key_of, rules_of
from ansible_collections.our.cloud.plugins.module_utils._common.errors import Refused

MARK = "our-cloud"
MARKED_USER = re.compile(r"our-cloud(?:; keys: (.*))?\Z")


@dataclasses.dataclass(frozen=True)
class Group:
    """A security group."""

    id: str
    description: str = ""
    tags: tuple[str, ...] = ()
    rules: Mapping[Rule, str] = dataclasses.field(default_factory=dict)  # {rule: its id}


@dataclasses.dataclass
class Tenancy:
    """What is there. What steps make is added to it."""

    identity: identity.State = dataclasses.field(default_factory=identity.State)
    quotas: dict[str, dict[str, int]] = dataclasses.field(default_factory=dict)  # project: {quota: value}
    usual: dict[str, int] = dataclasses.field(default_factory=dict)  # quota: value, the defaults
    keys: dict[str, dict[str, str]] = dataclasses.field(default_factory=dict)  # user: {name: public key}
    groups: dict[str, dict[str, Group]] = dataclasses.field(default_factory=dict)  # project: {name: group}
    contents: dict[str, list[str]] = dataclasses.field(default_factory=dict)  # project that would be removed: what is in it, in words


@dataclasses.dataclass(frozen=True)
class Person:
    """A declared user, of all projects together."""

    name: str
    password: str
    project: str  # the first one
    grants: dict[str, list[str]] = dataclasses.field(default_factory=dict)  # {project: roles}
    keys: dict[str, str] = dataclasses.field(default_factory=dict)  # {name: public key}


def marked_keys(description: str | None) -> list[str] | None:
    """The keys that a user has from here, by the description; None for a user who is not from here."""
    found = MARKED_USER.match(description or "")
    return (found[1] or "").split() if found else None


def description_of(keys: Iterable[str]) -> str:
    """The mark of a user with these keys."""
    return MARK + (f"; keys: {' '.join(sorted(keys))}" if keys else "")


def people(projects: Iterable[Mapping[str, Any]]) -> dict[str, Person]:
    """By name, the users of all declared projects."""
    found: dict[str, Person] = {}
    for project in projects:
        for user in project.get("users") or ():
            one = found.setdefault(user["name"], Person(user["name"], user["password"], project["name"]))
            one.grants[project["name"]] = list(user.get("roles") or ["member"])
            one.keys.update({key["name"]: key["public_key"] for key in user.get("keys") or ()})
    return found


def users_wanted(projects: Iterable[Mapping[str, Any]]) -> dict[str, identity.WantedUser]:
    """By name, the users as keystone must have them."""
    return {name: identity.WantedUser(name, one.password, one.project, grants=one.grants, description=description_of(one.keys))
            for name, one in people(projects).items()}


def identity_wanted(projects: Sequence[Mapping[str, Any]], state: identity.State) -> identity.Wanted:
    """What keystone must have, with what is to be removed."""
    users = users_wanted(projects)
    declared = {project["name"] for project in projects}
    ours = {name for name, found in state.users.items() if marked_keys(found.description) is not None}
    for name in ours & set(users):
        left = {where: () for who, where, dummy in state.granted if who == name and where in declared and where not in users[name].grants}
        users[name] = dataclasses.replace(users[name], grants={**users[name].grants, **left})
    return identity.Wanted(
        projects=(*(identity.WantedProject(project["name"], project.get("description"), (MARK,)) for project in projects),
                  *(identity.WantedProject(name, state="absent") for name in sorted(leaving(projects, state)))),
        users=(*users.values(), *(identity.WantedUser(name, state="absent") for name in sorted(ours - set(users)))))


def leaving(projects: Iterable[Mapping[str, Any]], state: identity.State) -> set[str]:
    """Projects that have the mark and are not declared."""
    return {name for name, found in state.projects.items() if MARK in found.tags} - {project["name"] for project in projects}


def plan_quotas(projects: Iterable[Mapping[str, Any]], there: Tenancy) -> list[Step]:
    """Steps for quotas; one that is not declared gets the default."""
    steps = []
    for project in projects:
        said, found = project.get("quotas") or {}, there.quotas.get(project["name"], there.usual)
        missing = sorted({QUOTAS[name][0] for name in said if there.usual and name not in there.usual})
        if missing:
            raise Refused(f"project {project['name']} has quotas of {', '.join(missing)}, a service that this cloud does not have",
                          "Take them out, or give the inventory the group that carries it")
        for kind in sorted({kind for kind, dummy in QUOTAS.values()}):
            values = {name: said.get(name, there.usual.get(name)) for name in QUOTAS if QUOTAS[name][0] == kind and (name in said or name in there.usual)}
            values = identity.changed_values(values, found)
            if values:
                steps.append(Step("change", "quota", f"{kind} of {project['name']}", values, {name: found.get(name) for name in values}))
    return steps


def plan_keys(projects: Iterable[Mapping[str, Any]], there: Tenancy) -> list[Step]:
    """Steps for the keys of users; another content under the same name is another key."""
    steps = []
    users = people(projects)
    for name, user in users.items():
        found = there.keys.get(name, {})
        for key, content in sorted(user.keys.items()):
            if key in found and key_of(found[key]) == key_of(content):
                continue
            if key in found:
                steps.append(Step("remove", "key", f"{key} of {name}", was={"user": name, "key": key}))
            steps.append(Step("make", "key", f"{key} of {name}", {"user": name, "key": key, "public_key": content}))
    for name, known in there.identity.users.items():
        ours, has = marked_keys(known.description), there.keys.get(name, {})
        # a user who is removed loses all keys, also those that the user has made
        gone = set() if ours is None else set(ours) - set(users[name].keys) if name in users else set(has)
        steps += [Step("remove", "key", f"{key} of {name}", was={"user": name, "key": key}) for key in sorted(gone & set(has))]
    return steps


def plan_group(project: str, name: str, rules: frozenset[Rule], description: str | None, found: Group | None, mark: bool = True) -> list[Step]:
    """Steps for one security group and its rules, which are these and no others."""
    of = f"{name} of {project}"
    steps: list[Step] = []
    place = {"project": project, "group": name}
    # neutron gives a new group rules that allow all outgoing traffic
    has = set(found.rules if found else DEFAULT_RULES if name == DEFAULT_GROUP else OUTGOING)
    if found is None and name != DEFAULT_GROUP:
        steps.append(Step("make", "security group", of, {**place, "description": description or ""}))
    elif found and description is not None and description != found.description:
        steps.append(Step("change", "security group", of, {**place, "description": description}, {"description": found.description}))
    if (MARK in found.tags if found else False) != mark:
        steps.append(Step("mark" if mark else "unmark", "security group", of, place))
    steps += [Step("remove", "rule", f"{rule} of {of}", was={**place, "rule": rule}) for rule in sorted(has - rules, key=str)]
    steps += [Step("make", "rule", f"{rule} of {of}", {**place, "rule": rule}) for rule in sorted(rules - has, key=str)]
    return steps


def plan_groups(projects: Iterable[Mapping[str, Any]], there: Tenancy) -> list[Step]:
    """Steps for security groups. Groups exist before rules that name them; those that go, go with their projects' networks unharmed."""
    steps: list[Step] = []
    for project in projects:
        name, found = project["name"], there.groups.get(project["name"], {})
        declared = {group["name"]: group for group in project.get("security_groups") or ()}
        for group in declared.values():
            steps += plan_group(name, group["name"], rules_of(group), group.get("description"), found.get(group["name"]))
        for group in sorted(set(found) - set(declared)):
            if MARK in found[group].tags and group == DEFAULT_GROUP:
                steps += plan_group(name, group, DEFAULT_RULES, None, found[group], mark=False)
            elif MARK in found[group].tags:
                steps.append(Step("remove", "security group", f"{group} of {name}", was={"project": name, "group": group}))
    for name in sorted(leaving(projects, there.identity)):
        steps += [Step("remove", "security group", f"{group} of {name}", was={"project": name, "group": group}) for group in sorted(there.groups.get(name, {}))]
    first = [step for step in steps if step.kind == "security group" and step.verb != "remove"]
    return first + [step for step in steps if step.kind == "rule"] + [step for step in steps if step.kind == "security group" and step.verb == "remove"]


def plan(projects: Iterable[Mapping[str, Any]], there: Tenancy) -> list[Step]:
    """All steps. Refused if something that is in use would be removed."""
    projects = list(projects)
    used = [f"project {name} is not in cloud_projects any more, and has {', '.join(texts)}" for name, texts in sorted(there.contents.items()) if texts]
    if used:
        raise Refused("; ".join(used), "Remove these first (our.cloud.list and `openstack --os-project-name` show them), or declare the project again")
    keystone = identity.plan(identity_wanted(projects, there.identity), there.identity)
    # so that an operator can do for a project what its users can
    keystone += [Step("grant", "role", f"admin to admin in {project['name']}", {"user": "admin", "project": project["name"], "key": "admin"})
                 for project in projects if ("admin", project["name"], "admin") not in there.identity.granted]
    makes, removes = [step for step in keystone if step.verb != "remove"], [step for step in keystone if step.verb == "remove"]
    return makes + plan_quotas(projects, there) + plan_groups(projects, there) + plan_keys(projects, there) + removes
