# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Starts the instances of a dead node elsewhere. The caller proves that it is dead (see _guest/rescue.py): nova does not check this."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.our.cloud.plugins.module_utils._cloud import members, session
from ansible_collections.our.cloud.plugins.module_utils._cloud.members import Compute
from ansible_collections.our.cloud.plugins.module_utils._cloud.status import COMPUTE_API, body
from ansible_collections.our.cloud.plugins.module_utils._common.errors import CloudError, Refused

# The last one that starts an evacuated instance again if it ran; later ones leave it stopped.
EVACUATE_API = "2.94"
# What nova evacuates, by an instance's state.
MOVABLE = ("active", "stopped", "error")
TIME = 900  # s that all of them may take


@dataclass(frozen=True)
class Server:
    """An instance of a lost node."""

    id: str
    name: str
    status: str  # ACTIVE, ERROR ...
    state: str  # active, stopped, error ...: what nova's database has
    task: str | None = None  # what nova is doing with it; None: nothing
    host: str | None = None  # the node that it is on; None: on none
    fault: str | None = None  # what nova says of its failure


@dataclass(frozen=True)
class Plan:
    """What is to be done with a lost node's instances."""

    lines: tuple[str, ...] = ()  # sentences: which goes where
    evacuate: tuple[str, ...] = ()  # their ids
    stay: tuple[str, ...] = ()  # sentences about those that nova does not evacuate
    service: str = ""  # nova's id of the node's nova-compute; empty: it is no node


@dataclass(frozen=True)
class Evacuated:
    """What was done, or would be, as cloud_evacuate returns it."""

    changed: bool
    lines: tuple[str, ...]  # sentences: where each is now, or goes
    stay: tuple[str, ...]  # as of the Plan


def plan(host: str, computes: Iterable[Compute], servers: Iterable[Server]) -> Plan:
    """What is to be done with a lost node's instances. computes: nova's; servers: those of the node."""
    computes, servers = list(computes), list(servers)
    its = next((one for one in computes if one.host == host), None)
    if not its:
        return Plan()
    others = sorted(one.host for one in computes if one.host != host and one.state == "up" and not one.forced_down and not one.closed)
    if servers and not others:
        raise Refused(f"{host} had {len(servers)} instances and no other nc reports and is open to instances, so they have nowhere to go",
                      "Bring one up, or take a drained one into use (playbooks/undrain.yml), and run this again")
    movable = [one for one in servers if one.state in MOVABLE]
    stay = tuple(f"{one.name} is {one.state}, in which nova does not evacuate it: it stays with {host} until that is back, or "
                 f"`openstack server set --state error {one.id}` and this again." for one in servers if one.state not in MOVABLE)
    lines = tuple(f"{one.name} ({one.state}) goes to {others[0] if len(others) == 1 else 'another nc'}." for one in movable)
    return Plan(lines, tuple(one.id for one in movable), stay, its.id)


def judge(host: str, server: Server) -> str | None:
    """Whether an instance has arrived: where it is, in a sentence; None: not yet. CloudError if it never will."""
    if server.status == "ERROR" and server.task is None:
        raise CloudError("", f"instance {server.name}", server.fault or "nova says ERROR without a reason",
                         f"`openstack server show {server.id}`, and the log of nova-compute on {server.host or 'the nodes'}, tell more")
    if server.task is not None or server.host in (host, None):
        return None
    return f"{server.name} is {server.status} on {server.host}."


# --- requests to nova --------------------------------------------------------

def servers_of(connection: Any, host: str) -> list[Server]:
    """The instances that nova has on a node."""
    found = body(connection, "compute", f"/servers/detail?all_tenants=True&host={host}", "nova", microversion=COMPUTE_API)["servers"]
    return [shown(one) for one in found]


def shown(one: Mapping[str, Any]) -> Server:
    """An instance as nova's API returns it."""
    return Server(one["id"], one["name"], one["status"], one["OS-EXT-STS:vm_state"], one["OS-EXT-STS:task_state"], one["OS-EXT-SRV-ATTR:host"],
                  (one.get("fault") or {}).get("message"))


def evacuate(connection: Any, host: str, planned: Plan, clock: Callable[[], float] = time.monotonic,
             pause: Callable[[float], None] = time.sleep) -> list[str]:
    """Forces the node down in nova, and starts its instances elsewhere, in parallel. Returns a sentence for each."""
    members.down(connection, planned.service, host, True)
    for identifier in planned.evacuate:
        thing = f"instance {identifier}"
        with session.speaking(thing):
            members.sent(connection.compute.post(f"/servers/{identifier}/action", json={"evacuate": {}}, microversion=EVACUATE_API), thing)
    waiting, done, faults, end = list(planned.evacuate), [], [], clock() + TIME
    while waiting:
        for identifier in list(waiting):
            server = shown(body(connection, "compute", f"/servers/{identifier}", "nova", microversion=COMPUTE_API)["server"])
            try:
                arrived = judge(host, server)
            except CloudError as error:
                faults.append(str(error))
                waiting.remove(identifier)
                continue
            if arrived:
                done.append(arrived)
                waiting.remove(identifier)
            elif clock() > end:
                faults.append(f"{server.name} has not arrived within {TIME} s: it is {server.status} ({server.task or 'nothing is done with it'}) on "
                              f"{server.host}")
                waiting.remove(identifier)
        if waiting:
            pause(1)
    if faults:
        raise CloudError("", f"instances of {host}", "; ".join(faults), " ".join(["Arrived:", *done]) if done else "None has arrived")
    return sorted(done)


def ensure(host: str, check: bool) -> Evacuated:
    """The instances of a lost node run elsewhere."""
    connection = session.connect()
    computes = members.look(connection, ()).computes
    planned = plan(host, computes, servers_of(connection, host))
    held = any(one.host == host and one.forced_down for one in computes)
    changed = bool(planned.service) and (not held or bool(planned.evacuate))
    lines = planned.lines
    if changed and not check:
        lines = tuple(evacuate(connection, host, planned))
    return Evacuated(changed, lines, planned.stay)
