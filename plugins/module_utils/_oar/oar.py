# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The resources of an OAR cluster: one for each core of each node, as OAR's hierarchy host, cpu, core wants them.

Plain Python without Ansible; what it decides are arguments of OAR's own programs.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.our.cloud.plugins.module_utils._common.errors import Refused

PROPERTIES = {"host": ["-c"], "cpu": [], "core": []}


@dataclass(frozen=True)
class Core:
    """A core of a node, which is one resource."""

    socket: int  # the number of its processor
    cpuset: str  # the numbers of its threads, such as 0+4


@dataclass(frozen=True)
class Plan:
    """What is to be called so that resources are what nodes have."""

    commands: list[list[str]]  # arguments of OAR's programs, in this order
    before: list[str]  # a line for each resource, sorted
    after: list[str]  # likewise, once the commands have been called


class OarError(Refused):
    """What keeps resources from being declared."""


def cores(node: str, text: str) -> list[Core]:
    """The cores of a node, from what `lscpu --parse=CPU,CORE,SOCKET` says there. Threads of one core are one resource."""
    threads: dict[tuple[int, bool, int], list[int]] = {}
    for line in text.splitlines():
        if line.startswith("#") or not line.strip():
            continue
        if not re.match(r"\d+,\d*,\d*$", line):
            raise OarError(f"Node {node}: lscpu says '{line}', which is no line of CPU,CORE,SOCKET")
        # what a machine does not tell is empty: a core of its own, for all that is known
        cpu, core, socket = line.split(",")
        threads.setdefault((int(socket or 0), not core, int(core or cpu)), []).append(int(cpu))
    if not threads:
        raise OarError(f"Node {node}: lscpu names no CPU")
    return [Core(socket, "+".join(map(str, sorted(cpus)))) for (socket, dummy, dummy2), cpus in sorted(threads.items())]


def state(resource: Mapping[str, Any]) -> str:
    """The state that a resource has, or will have as soon as the server has seen to it."""
    return resource["state"] if resource.get("next_state", "UnChanged") == "UnChanged" else resource["next_state"]


def _number(resource: Mapping[str, Any], name: str) -> int:
    return int(resource.get(name) or 0)


def _line(node: str, cpu: int, core: int, cpuset: str, its_state: str) -> str:
    return f"{node} cpu {cpu} core {core} cpuset {cpuset} {its_state}"


def plan(nodes: Mapping[str, list[Core] | None], resources: Iterable[Mapping[str, Any]], properties: Iterable[str]) -> Plan:
    """Decide over what nodes have and OAR knows.

    nodes: {name: its cores, or None where nobody looked}; resources: as `oarnodes --json` tells them; properties: those that OAR knows.
    A resource keeps its numbers for ever, since the history of jobs refers to them. What is gone is Dead. What is there is
    Alive: OAR itself never forgives a node on which a job could not start. What an administrator has made Absent stays so.
    """
    commands = [["oarproperty", "--add", name, *options] for name, options in PROPERTIES.items() if name not in properties]
    # OAR tells them in another order each time.
    ours = sorted((resource for resource in resources if resource["type"] == "default"), key=lambda resource: resource["resource_id"])
    known = {(resource["network_address"], str(resource["cpuset"])): resource for resource in ours}
    next_cpu = 1 + max([_number(resource, "cpu") for resource in ours], default=0)
    next_core = 1 + max([_number(resource, "core") for resource in ours], default=0)
    before = [_line(resource["network_address"], _number(resource, "cpu"), _number(resource, "core"), resource["cpuset"], state(resource))
              for resource in ours]
    after = []
    for resource in ours:
        node, cpuset, now = resource["network_address"], str(resource["cpuset"]), state(resource)
        there = node in nodes and (nodes[node] is None or cpuset in [core.cpuset for core in nodes[node] or []])
        then = "Dead" if not there else "Alive" if now in ("Dead", "Suspected") and nodes[node] is not None else now
        if then != now:
            commands.append(["oarnodesetting", "-r", str(resource["resource_id"]), "-s", then])
        after.append(_line(node, _number(resource, "cpu"), _number(resource, "core"), cpuset, then))
    for node in sorted(nodes):
        cpus = {core.socket: _number(known[node, core.cpuset], "cpu") for core in nodes[node] or [] if (node, core.cpuset) in known}
        for core in nodes[node] or []:
            if (node, core.cpuset) in known:
                continue
            if core.socket not in cpus:
                cpus[core.socket], next_cpu = next_cpu, next_cpu + 1
            values = {"host": node, "cpu": cpus[core.socket], "core": next_core, "cpuset": core.cpuset}
            commands.append(["oarnodesetting", "-a", "-h", node] + [word for key, value in values.items() for word in ("-p", f"{key}={value}")])
            after.append(_line(node, cpus[core.socket], next_core, core.cpuset, "Alive"))
            next_core += 1
    return Plan(commands, sorted(before), sorted(after))


def ensure(nodes: Mapping[str, str], run: Callable[[list[str]], str], check_mode: bool) -> dict[str, Any]:
    """Declare the resources of nodes ({name: what lscpu says there, empty where nobody looked}); run(argv) returns what a program prints."""
    detected = {name: cores(name, text) if text else None for name, text in nodes.items()}
    answer = run(["oarnodes", "--json"])
    try:
        told = json.loads(answer)
        # none at all may be a list
        resources = list(told.values()) if told else []
        if not all(isinstance(resource, dict) for resource in resources):
            raise ValueError(answer)
    except (ValueError, AttributeError) as exc:
        raise OarError(f"oarnodes does not say what resources there are, but: {answer.strip()}") from exc
    decided = plan(detected, resources, run(["oarproperty", "--list"]).split())
    if not check_mode:
        for command in decided.commands:
            run(command)
    return {"changed": bool(decided.commands), "commands": [" ".join(command) for command in decided.commands],
            "diff": {"before": "".join(line + "\n" for line in decided.before), "after": "".join(line + "\n" for line in decided.after)}}
