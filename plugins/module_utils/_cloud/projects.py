# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The inventory's `cloud_projects`: projects, their users, quotas, ssh keys and security groups. Look, plan, do, as _cloud.identity.

What has been made here bears a mark: projects and security groups a tag, users their description, which also names the keys that they have
from here. What bears it and is not declared any more goes; what does not is left alone.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from ansible_collections.our.cloud.plugins.module_utils._cloud import identity, session
from ansible_collections.our.cloud.plugins.module_utils._cloud.identity import Step
from ansible_collections.our.cloud.plugins.module_utils._common.errors import Refused

if TYPE_CHECKING:
    from openstack.connection import Connection

MARK = "our-cloud"
MARKED_USER = re.compile(r"our-cloud(?:; keys: (.*))?\Z")
# Names become names of files, and of secrets beside those of services.
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*\Z")
RESERVED_PROJECTS = ("admin", "service")
RESERVED_USERS = ("admin", "cinder", "glance", "keystone", "neutron", "nova", "placement", "swift")
DEFAULT_GROUP = "default"
PROTOCOLS = {"tcp": "tcp", "udp": "udp", "sctp": "sctp", "icmp": "icmp", "any": ""}
EVERYWHERE = {"IPv4": "0.0.0.0/0", "IPv6": "::/0"}
# quota: (type of the service, its name there)
QUOTAS = {
    **{name: ("compute", name) for name in ("instances", "cores", "ram", "key_pairs", "server_groups", "server_group_members", "metadata_items")},
    **{name: ("block-storage", name) for name in ("volumes", "snapshots", "gigabytes", "per_volume_gigabytes")},
    **{name: ("network", name[:-1].replace("floating_ip", "floatingip"))
       for name in ("networks", "subnets", "ports", "routers", "floating_ips", "security_groups", "security_group_rules")},
}


class Rule(NamedTuple):
    """A rule of a security group. `remote` is a range, the name of a group, or empty: everybody."""

    direction: str
    ethertype: str
    protocol: str = ""
    low: int | None = None
    high: int | None = None
    remote: str = ""

    def __str__(self) -> str:
        ports = "" if self.low is None else f" {self.low}" if self.low == self.high else f" {self.low}-{self.high}"
        way = "from" if self.direction == "ingress" else "to"
        return f"{self.ethertype} {self.protocol or 'any'}{ports} {way} {self.remote or 'everybody'}"


OUTGOING = frozenset(Rule("egress", ethertype) for ethertype in EVERYWHERE)
# What neutron puts into each project's group of this name.
DEFAULT_RULES = OUTGOING | {Rule("ingress", ethertype, remote=DEFAULT_GROUP) for ethertype in EVERYWHERE}


@dataclasses.dataclass
class Tenancy:
    """What is there."""

    identity: identity.State = dataclasses.field(default_factory=identity.State)
    quotas: dict = dataclasses.field(default_factory=dict)  # project: {quota: value}
    usual: dict = dataclasses.field(default_factory=dict)  # quota: value, of a project that nobody has said anything about
    keys: dict = dataclasses.field(default_factory=dict)  # user: {name: public key}
    groups: dict = dataclasses.field(default_factory=dict)  # project: {name: {id, description, tags, rules: {Rule: id}}}
    contents: dict = dataclasses.field(default_factory=dict)  # project that would go: what is in it, in words


# -- the inventory


def rule_of(said: Mapping) -> Rule:
    """A declared rule. ValueError says what is wrong with it."""
    direction, remote = said.get("direction") or "ingress", str(said.get("remote") or "")
    ethertype = said.get("ethertype") or "IPv4"
    if re.search("[/:]|^[0-9.]+$", remote):
        network = ipaddress.ip_network(remote)
        if said.get("ethertype") and ethertype != f"IPv{network.version}":
            raise ValueError(f"{remote} is not of {ethertype}")
        ethertype = f"IPv{network.version}"
        remote = "" if str(network) == EVERYWHERE[ethertype] else str(network)
    protocol = said.get("protocol") or "tcp"
    if protocol not in PROTOCOLS:
        raise ValueError(f"protocol {protocol} is none of {', '.join(PROTOCOLS)}")
    low = high = None
    if said.get("ports") is not None:
        ends = re.fullmatch(r"(\d+)(?:-(\d+))?", str(said["ports"]))
        if not ends:
            raise ValueError(f"ports {said['ports']} is neither a port nor a range such as 8000-8010")
        low, high = int(ends[1]), int(ends[2] or ends[1])
        if not 1 <= low <= high <= 65535:
            raise ValueError(f"ports {said['ports']} is no range of ports")
        if protocol in ("icmp", "any"):
            raise ValueError(f"{protocol} has no ports")
    if protocol == "icmp" and ethertype == "IPv6":
        return Rule(direction, ethertype, "ipv6-icmp", remote=remote)
    return Rule(direction, ethertype, PROTOCOLS[protocol], low, high, remote)


def rules_of(group: Mapping) -> frozenset:
    """The rules of a declared group: what goes out may go, unless it says what may."""
    rules = frozenset(map(rule_of, group.get("rules") or ()))
    if group["name"] == DEFAULT_GROUP:
        rules |= DEFAULT_RULES - OUTGOING
    return rules if any(rule.direction == "egress" for rule in rules) else rules | OUTGOING


def key_of(text: str) -> tuple:
    """Kind and content of a public key: without the comment, which says nothing."""
    return tuple(text.split()[:2])


def faults(projects: Iterable) -> list:
    """What is wrong with the declared projects, one sentence each."""
    found: list = []
    projects = list(projects)

    def names(where, things, what):
        seen = set()
        for name in (str(thing.get("name", "")) for thing in things):
            if not NAME.match(name):
                found.append(f"{where}: {name or 'a ' + what + ' without a name'} cannot be the name of a {what}: letters, digits, dashes and underscores, "
                             "the first one a letter or a digit")
            if name in seen:
                found.append(f"{where}: the {what} {name} is declared twice")
            seen.add(name)

    names("cloud_projects", projects, "project")
    keys: dict = {}
    for project in projects:
        where = f"project {project.get('name')}"
        if project.get("name") in RESERVED_PROJECTS:
            found.append(f"{where}: the cloud's own; choose another name")
        users, groups = project.get("users") or [], project.get("security_groups") or []
        names(where, users, "user")
        names(where, groups, "security group")
        for user in users:
            if user.get("name") in RESERVED_USERS:
                found.append(f"{where}: the user {user['name']} is the cloud's own; choose another name")
            names(f"{where}, user {user.get('name')}", user.get("keys") or [], "key")
            for key in user.get("keys") or []:
                content = key_of(str(key.get("public_key") or ""))
                if len(content) != 2 or not re.match("(ssh|ecdsa|sk)-", content[0]):
                    found.append(f"{where}: the key {key.get('name')} of {user.get('name')} is no ssh public key (the text of a file such as id_ed25519.pub)")
                if keys.setdefault((user.get("name"), key.get("name")), content) != content:
                    found.append(f"{where}: the key {key.get('name')} of {user.get('name')} is another one than in another project; a user has each name once")
        found += [f"{where}: there is no quota {name}; there are {', '.join(QUOTAS)}" for name in project.get("quotas") or {} if name not in QUOTAS]
        known = {DEFAULT_GROUP, *(group.get("name") for group in groups)}
        for group in groups:
            for said in group.get("rules") or ():
                try:
                    rule = rule_of(said)
                except ValueError as error:
                    found.append(f"{where}, security group {group.get('name')}: {error}")
                    continue
                if rule.remote and "/" not in rule.remote and rule.remote not in known:
                    found.append(f"{where}, security group {group.get('name')}: there is no security group {rule.remote} in the project, and it is no range")
    return found


# -- the plan


def marked_keys(description: str | None) -> list | None:
    """The keys that a user has from here, by the description; None for a user who is not from here."""
    found = MARKED_USER.match(description or "")
    return (found[1] or "").split() if found else None


def description_of(keys: Iterable) -> str:
    """The mark of a user with these keys."""
    return MARK + (f"; keys: {' '.join(sorted(keys))}" if keys else "")


def people(projects: Iterable) -> dict:
    """{user: {password, project (the first), grants, keys}} of all projects."""
    found: dict = {}
    for project in projects:
        for user in project.get("users") or ():
            one = found.setdefault(user["name"], {"name": user["name"], "password": user["password"], "project": project["name"], "grants": {}, "keys": {}})
            one["grants"][project["name"]] = list(user.get("roles") or ["member"])
            one["keys"].update({key["name"]: key["public_key"] for key in user.get("keys") or ()})
    return found


def identity_wanted(projects: list, state: identity.State) -> dict:
    """What keystone shall have, with what is to go."""
    users = people(projects)
    declared = {project["name"] for project in projects}
    ours = {name for name, found in state.users.items() if marked_keys(found["description"]) is not None}
    for name in sorted(ours & set(users)):
        for who, where, dummy in sorted(state.granted):
            if who == name and where in declared and where not in users[name]["grants"]:
                users[name]["grants"][where] = []
    return {
        "projects": [{"name": project["name"], "description": project.get("description"), "tags": [MARK]} for project in projects]
        + [{"name": name, "state": "absent"} for name in sorted(leaving(projects, state))],
        "users": [dict(user, description=description_of(user["keys"])) for user in users.values()]
        + [{"name": name, "state": "absent"} for name in sorted(ours - set(users))]}


def leaving(projects: Iterable, state: identity.State) -> set:
    """Projects that bear the mark and are not declared."""
    return {name for name, found in state.projects.items() if MARK in found["tags"]} - {project["name"] for project in projects}


def plan_quotas(projects: Iterable, there: Tenancy) -> list:
    """Steps for quotas; one that is not declared is as for any project."""
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


def plan_keys(projects: Iterable, there: Tenancy) -> list:
    """Steps for the keys of users; another content under the same name is another key."""
    steps = []
    users = people(projects)
    for name, user in users.items():
        found = there.keys.get(name, {})
        for key, content in sorted(user["keys"].items()):
            if key in found and key_of(found[key]) == key_of(content):
                continue
            if key in found:
                steps.append(Step("remove", "key", f"{key} of {name}", was={"user": name, "key": key}))
            steps.append(Step("make", "key", f"{key} of {name}", {"user": name, "key": key, "public_key": content}))
    for name, found in there.identity.users.items():
        ours, has = marked_keys(found["description"]), there.keys.get(name, {})
        # with a user who goes all of them go, also those that the user has made
        gone = set() if ours is None else set(ours) - set(users[name]["keys"]) if name in users else set(has)
        steps += [Step("remove", "key", f"{key} of {name}", was={"user": name, "key": key}) for key in sorted(gone & set(has))]
    return steps


def plan_group(project: str, name: str, rules: frozenset, description: str | None, found: Mapping | None, mark: bool = True) -> list:
    """Steps for one security group and its rules, which are these and no others."""
    of = f"{name} of {project}"
    steps, place = [], {"project": project, "group": name}
    # neutron lets a new group's instances speak to everybody
    has = set(found["rules"] if found else DEFAULT_RULES if name == DEFAULT_GROUP else OUTGOING)
    if found is None and name != DEFAULT_GROUP:
        steps.append(Step("make", "security group", of, {**place, "description": description or ""}))
    elif found and description is not None and description != found["description"]:
        steps.append(Step("change", "security group", of, {**place, "description": description}, {"description": found["description"]}))
    if (MARK in found["tags"] if found else False) != mark:
        steps.append(Step("mark" if mark else "unmark", "security group", of, place))
    steps += [Step("remove", "rule", f"{rule} of {of}", was={**place, "rule": rule}) for rule in sorted(has - rules, key=str)]
    steps += [Step("make", "rule", f"{rule} of {of}", {**place, "rule": rule}) for rule in sorted(rules - has, key=str)]
    return steps


def plan_groups(projects: Iterable, there: Tenancy) -> list:
    """Steps for security groups. Groups exist before rules that name them; those that go, go with their projects' networks unharmed."""
    steps: list = []
    for project in projects:
        name, found = project["name"], there.groups.get(project["name"], {})
        declared = {group["name"]: group for group in project.get("security_groups") or ()}
        for group in declared.values():
            steps += plan_group(name, group["name"], rules_of(group), group.get("description"), found.get(group["name"]))
        for group in sorted(set(found) - set(declared)):
            if MARK in found[group]["tags"] and group == DEFAULT_GROUP:
                steps += plan_group(name, group, DEFAULT_RULES, None, found[group], mark=False)
            elif MARK in found[group]["tags"]:
                steps.append(Step("remove", "security group", f"{group} of {name}", was={"project": name, "group": group}))
    for name in sorted(leaving(projects, there.identity)):
        steps += [Step("remove", "security group", f"{group} of {name}", was={"project": name, "group": group}) for group in sorted(there.groups.get(name, {}))]
    first = [step for step in steps if step.kind == "security group" and step.verb != "remove"]
    return first + [step for step in steps if step.kind == "rule"] + [step for step in steps if step.kind == "security group" and step.verb == "remove"]


def plan(projects: Iterable, there: Tenancy) -> list:
    """All steps. Refused if something would go that is in use."""
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


# -- what speaks with the cloud


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


def look_at_quotas(connection: Connection, kinds: Iterable, project: str, usual: bool = False) -> dict:
    """{quota: value} of a project, in the services that there are."""
    found = {}
    for kind in kinds:
        with session.speaking(f"quotas of {kind}"):
            said = answer(service(connection, kind).get(quota_url(kind, project, usual)))
        values = said.get("quota") or said.get("quota_set") or {}
        found.update({name: values[there] for name, (of, there) in QUOTAS.items() if of == kind and there in values})
    return found


def rule_there(said: Mapping, names: Mapping) -> Rule:
    """A rule as neutron tells it; names: {id of a group: its name}."""
    remote, ethertype = said.get("remote_ip_prefix") or "", said["ethertype"]
    if said.get("remote_group_id"):
        # a group of another project has no name here, and so is no declared rule's
        remote = names.get(said["remote_group_id"], said["remote_group_id"])
    elif said.get("remote_address_group_id"):
        remote = said["remote_address_group_id"]
    return Rule(said["direction"], ethertype, {"icmpv6": "ipv6-icmp"}.get(said.get("protocol") or "", said.get("protocol") or ""),
                said.get("port_range_min"), said.get("port_range_max"), "" if remote == EVERYWHERE[ethertype] else remote)


def look_at_groups(connection: Connection, projects: Mapping, only: str = "") -> dict:
    """Security groups by project and name; projects: {id: name}. Asked for one project only, neutron makes its default group if there is none yet."""
    with session.speaking("security groups"):
        told = answer(connection.network.get("/security-groups" + (f"?project_id={only}" if only else "")))["security_groups"]
    names = {one["id"]: one["name"] for one in told}
    found: dict = {name: {} for name in projects.values()}
    for one in told:
        if one["project_id"] in projects:
            found[projects[one["project_id"]]][one["name"]] = {
                "id": one["id"], "description": one["description"], "tags": one["tags"],
                "rules": {rule_there(rule, names): rule["id"] for rule in one["security_group_rules"]}}
    return found


def look_inside(connection: Connection, kinds: set, project: str) -> list:
    """What is in a project that would be lost, or left behind without an owner, if the project went."""
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


def look(connection: Connection, projects: list) -> Tenancy:
    """What is there of what is declared, and of what bears the mark."""
    users = people(projects)
    state = identity.look(connection, users.values())
    kinds = {found["type"] for found in state.services.values()}
    counted = sorted({kind for kind, dummy in QUOTAS.values()} & kinds)
    there = Tenancy(state)
    going = leaving(projects, state)
    known = {project["name"]: state.projects[project["name"]]["id"] for project in projects if project["name"] in state.projects}
    # of any project: the question is the same for all
    there.usual = look_at_quotas(connection, counted, next(iter(state.projects.values()))["id"], usual=True)
    there.quotas = {name: look_at_quotas(connection, counted, project) for name, project in known.items()}
    if "network" in kinds:
        there.groups = look_at_groups(connection, {state.projects[name]["id"]: name for name in {*known, *going}})
    if "compute" in kinds:
        for name, found in state.users.items():
            if name in users or marked_keys(found["description"]) is not None:
                with session.speaking(f"keys of {name}"):
                    there.keys[name] = {key.name: key.public_key for key in connection.compute.keypairs(user_id=found["id"])}
    there.contents = {name: look_inside(connection, kinds, state.projects[name]["id"]) for name in sorted(going)}
    return there


def refresh(connection: Connection, there: Tenancy, project: str) -> None:
    """Asks anew for the security groups of a project."""
    ident = there.identity.projects[project]["id"]
    there.groups.update(look_at_groups(connection, {ident: project}, ident))


def group_id(connection: Connection, there: Tenancy, project: str, name: str) -> str:
    """The id of a group, also of a project's default group, which nobody has to make."""
    if name not in there.groups.get(project, {}):
        refresh(connection, there, project)
    return there.groups[project][name]["id"]


def do_group(connection: Connection, there: Tenancy, step: Step) -> None:
    """A step about a security group."""
    network, place = connection.network, {**step.was, **step.values}
    project, name = place["project"], place["group"]
    if step.verb == "make":
        made = network.create_security_group(name=name, description=place["description"], project_id=there.identity.projects[project]["id"])
        groups = there.groups.setdefault(project, {})
        groups[name] = {"id": made.id, "rules": {}, "tags": []}
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
            security_group_id=ident, project_id=there.identity.projects[project]["id"], direction=rule.direction, ethertype=rule.ethertype,
            protocol=rule.protocol or None, port_range_min=rule.low, port_range_max=rule.high, **remote)
        return
    if rule not in there.groups[project][place["group"]]["rules"]:
        refresh(connection, there, project)
    connection.network.delete_security_group_rule(there.groups[project][place["group"]]["rules"][rule])


def do(connection: Connection, there: Tenancy, step: Step) -> None:
    """One step."""
    users = there.identity.users
    with session.speaking(f"{step.kind} {step.name}"):
        if step.kind == "quota":
            kind, project = step.name.split(" of ", 1)
            values = {QUOTAS[name][1]: value for name, value in step.values.items()}
            answer(service(connection, kind).put(quota_url(kind, there.identity.projects[project]["id"]),
                                                 json={"quota" if kind == "network" else "quota_set": values}))
        elif step.kind == "key" and step.verb == "make":
            connection.compute.create_keypair(name=step.values["key"], public_key=step.values["public_key"], user_id=users[step.values["user"]]["id"])
        elif step.kind == "key":
            connection.compute.delete_keypair(step.was["key"], user_id=users[step.was["user"]]["id"])
        elif step.kind == "security group":
            do_group(connection, there, step)
        elif step.kind == "rule":
            do_rule(connection, there, step)
        else:
            identity.do(connection, there.identity, step)


def ensure(declared: Iterable, passwords: Mapping, check: bool) -> list:
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
