# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The cloud's projects, users, quotas, ssh keys and security groups: requests for what is there, and for each step. Read, plan, do, as _cloud.identity."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ansible_collections.our.cloud.plugins.module_utils._cloud import identity, session
from ansible_collections.our.cloud.plugins.module_utils._cloud.identity import Step
from ansible_collections.our.cloud.plugins.module_utils._cloud.project_entries import EVERYWHERE, QUOTAS, Rule, faults
from ansible_collections.our.cloud.plugins.module_utils._cloud.project_plan import MARK, Group, Tenancy, leaving, marked_keys, plan, users_wanted
from ansible_collections.our.cloud.plugins.module_utils._common.errors import Refused

if TYPE_CHECKING:
    from openstack.connection import Connection


def service(connection: Connection, kind: str) -> Any:
    """The proxy of a service, by its type."""
    return getattr(connection, kind.replace("-", "_"))


def answer(response: Any) -> Any:
    """What the API answered, or its error."""
    from openstack import exceptions

    exceptions.raise_from_response(response)
    return response.json()


def quota_url(kind: str, project: str, usual: bool = False) -> str:
    """Where a project's quotas are."""
    return f"/quotas/{project}" + ("/default" if usual else "") if kind == "network" else f"/os-quota-sets/{project}" + ("/defaults" if usual else "")


def look_at_quotas(connection: Connection, kinds: Iterable[str], project: str, usual: bool = False) -> dict[str, int]:
    """{quota: value} of a project, in the services that there are."""
    found = {}
    for kind in kinds:
        with session.speaking(f"quotas of {kind}"):
            said = answer(service(connection, kind).get(quota_url(kind, project, usual)))
        values = said.get("quota") or said.get("quota_set") or {}
        found.update({name: values[there] for name, (of, there) in QUOTAS.items() if of == kind and there in values})
    return found


def rule_there(said: Mapping[str, Any], names: Mapping[str, str]) -> Rule:
    """A rule as neutron tells it; names: {id of a group: its name}."""
    remote, ethertype = said.get("remote_ip_prefix") or "", said["ethertype"]
    if said.get("remote_group_id"):
        # a group of another project has no name here, and so is no declared rule's
        remote = names.get(said["remote_group_id"], said["remote_group_id"])
    elif said.get("remote_address_group_id"):
        remote = said["remote_address_group_id"]
    return Rule(said["direction"], ethertype, {"icmpv6": "ipv6-icmp"}.get(said.get("protocol") or "", said.get("protocol") or ""),
                said.get("port_range_min"), said.get("port_range_max"), "" if remote == EVERYWHERE[ethertype] else remote)


def look_at_groups(connection: Connection, projects: Mapping[str, str], only: str = "") -> dict[str, dict[str, Group]]:
    """Security groups by project and name; projects: {id: name}. Asked for one project only, neutron makes its default group if there is none yet."""
    with session.speaking("security groups"):
        told = answer(connection.network.get("/security-groups" + (f"?project_id={only}" if only else "")))["security_groups"]
    names = {one["id"]: one["name"] for one in told}
    found: dict[str, dict[str, Group]] = {name: {} for name in projects.values()}
    for one in told:
        if one["project_id"] in projects:
            rules = {rule_there(rule, names): rule["id"] for rule in one["security_group_rules"]}
            found[projects[one["project_id"]]][one["name"]] = Group(one["id"], one["description"], tuple(one["tags"]), rules)
    return found


def look_inside(connection: Connection, kinds: set[str], project: str) -> list[str]:
    """What is in a project, and would be lost or left without an owner if the project were removed."""
    lists = {"compute": [("instances", lambda: connection.compute.servers(details=False, all_projects=True, project_id=project))],
             "block-storage": [("volumes", lambda: connection.block_storage.volumes(details=False, all_projects=True, project_id=project)),
                               ("snapshots", lambda: connection.block_storage.snapshots(details=False, all_projects=True, project_id=project))],
             "network": [("networks", lambda: connection.network.networks(project_id=project)),
                         ("routers", lambda: connection.network.routers(project_id=project)),
                         ("floating addresses", lambda: connection.network.ips(project_id=project))],
             "image": [("images", lambda: connection.image.images(owner=project))]}
    found = []
    for kind, asked in lists.items():
        for what, call in asked if kind in kinds else ():
            with session.speaking(what):
                names = [one.name or one.id for one in call()]
            if names:
                found.append(f"{what} ({', '.join(sorted(names)[:5])}{', …' if len(names) > 5 else ''})")
    return found


def look(connection: Connection, projects: Sequence[Mapping[str, Any]]) -> Tenancy:
    """What is there of what is declared, and of what has the mark."""
    users = users_wanted(projects)
    state = identity.look(connection, users.values())
    kinds = {found.type for found in state.services.values()}
    counted = sorted({kind for kind, dummy in QUOTAS.values()} & kinds)
    there = Tenancy(state)
    going = leaving(projects, state)
    known = {project["name"]: state.projects[project["name"]].id for project in projects if project["name"] in state.projects}
    # of any project: the question is the same for all
    there.usual = look_at_quotas(connection, counted, next(iter(state.projects.values())).id, usual=True)
    there.quotas = {name: look_at_quotas(connection, counted, project) for name, project in known.items()}
    if "network" in kinds:
        there.groups = look_at_groups(connection, {state.projects[name].id: name for name in {*known, *going}})
    if "compute" in kinds:
        for name, found in state.users.items():
            if name in users or marked_keys(found.description) is not None:
                with session.speaking(f"keys of {name}"):
                    there.keys[name] = {key.name: key.public_key for key in connection.compute.keypairs(user_id=found.id)}
    there.contents = {name: look_inside(connection, kinds, state.projects[name].id) for name in sorted(going)}
    return there


def refresh(connection: Connection, there: Tenancy, project: str) -> None:
    """Asks anew for the security groups of a project."""
    ident = there.identity.projects[project].id
    there.groups.update(look_at_groups(connection, {ident: project}, ident))


def group_id(connection: Connection, there: Tenancy, project: str, name: str) -> str:
    """The id of a group, also of a project's default group, which nobody has to make."""
    if name not in there.groups.get(project, {}):
        refresh(connection, there, project)
    return there.groups[project][name].id


def do_group(connection: Connection, there: Tenancy, step: Step) -> None:
    """A step about a security group."""
    network, place = connection.network, {**step.was, **step.values}
    project, name = place["project"], place["group"]
    if step.verb == "make":
        made = network.create_security_group(name=name, description=place["description"], project_id=there.identity.projects[project].id)
        there.groups.setdefault(project, {})[name] = Group(made.id)
        return
    ident = group_id(connection, there, project, name)
    if step.verb == "change":
        network.update_security_group(ident, description=place["description"])
    elif step.verb == "remove":
        network.delete_security_group(ident)
    else:
        call = network.put if step.verb == "mark" else network.delete
        from openstack import exceptions

        exceptions.raise_from_response(call(f"/security-groups/{ident}/tags/{MARK}"))


def do_rule(connection: Connection, there: Tenancy, step: Step) -> None:
    """A step about a rule. What a new group has from neutron is asked for when a rule of it goes."""
    place = {**step.was, **step.values}
    project, rule = place["project"], place["rule"]
    ident = group_id(connection, there, project, place["group"])
    if step.verb == "make":
        remote = {"remote_ip_prefix": rule.remote} if "/" in rule.remote else \
            {"remote_group_id": group_id(connection, there, project, rule.remote)} if rule.remote else {}
        connection.network.create_security_group_rule(
            security_group_id=ident, project_id=there.identity.projects[project].id, direction=rule.direction, ethertype=rule.ethertype,
            protocol=rule.protocol or None, port_range_min=rule.low, port_range_max=rule.high, **remote)
        return
    if rule not in there.groups[project][place["group"]].rules:
        refresh(connection, there, project)
    # neutron can be told to give new groups other rules than it usually does
    found = there.groups[project][place["group"]].rules.get(rule)
    if found:
        connection.network.delete_security_group_rule(found)


def do(connection: Connection, there: Tenancy, step: Step) -> None:
    """One step."""
    users = there.identity.users
    with session.speaking(f"{step.kind} {step.name}"):
        if step.kind == "quota":
            kind, project = step.name.split(" of ", 1)
            values = {QUOTAS[name][1]: value for name, value in step.values.items()}
            answer(service(connection, kind).put(quota_url(kind, there.identity.projects[project].id),
                                                 json={"quota" if kind == "network" else "quota_set": values}))
        elif step.kind == "key" and step.verb == "make":
            connection.compute.create_keypair(name=step.values["key"], public_key=step.values["public_key"], user_id=users[step.values["user"]].id)
        elif step.kind == "key":
            connection.compute.delete_keypair(step.was["key"], user_id=users[step.was["user"]].id)
        elif step.kind == "security group":
            do_group(connection, there, step)
        elif step.kind == "rule":
            do_rule(connection, there, step)
        else:
            identity.do(connection, there.identity, step)


def ensure(declared: Iterable[Mapping[str, Any]], passwords: Mapping[str, str], check: bool) -> list[Step]:
    """The steps that were done, or would be in check mode; there, a cloud that does not answer has nothing yet."""
    declared = list(declared)
    wrong = faults(declared)
    names = {user["name"] for project in declared for user in project.get("users") or ()}
    wrong += [f"the user {name} has no password" for name in sorted(names - set(passwords))]
    if wrong:
        raise Refused("; ".join(wrong))
    projects = [dict(project, users=[dict(user, password=passwords[user["name"]]) for user in project.get("users") or ()]) for project in declared]
    try:
        connection = session.connect()
    except session.NotThere:
        if not check:
            raise
        return plan(projects, Tenancy())
    there = look(connection, projects)
    steps = plan(projects, there)
    if not check:
        for step in steps:
            do(connection, there, step)
    return steps
