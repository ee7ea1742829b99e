# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The inventory's `cloud_projects`: what it may contain, what is wrong with it, and the security group rules that it describes."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

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


def rule_of(said: Mapping[str, Any]) -> Rule:
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


def rules_of(group: Mapping[str, Any]) -> frozenset[Rule]:
    """The rules of a declared group: what goes out may go, unless it says what may."""
    rules = frozenset(map(rule_of, group.get("rules") or ()))
    if group["name"] == DEFAULT_GROUP:
        rules |= DEFAULT_RULES - OUTGOING
    return rules if any(rule.direction == "egress" for rule in rules) else rules | OUTGOING


def key_of(text: str) -> tuple[str, ...]:
    """Kind and content of a public key, without the comment."""
    return tuple(text.split()[:2])


def faults(projects: Iterable[Mapping[str, Any]]) -> list[str]:
    """What is wrong with the declared projects, one sentence each."""
    found: list[str] = []
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
