# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Removes nodes and services that have left the inventory from the cloud's records, unless something of users is still there.

The plan is a pure function of the inventory and of what the services report; only reading and changing use their APIs.
"""

from __future__ import annotations

import dataclasses
import json
import subprocess
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ansible_collections.our.cloud.plugins.module_utils._cloud import identity, preflight, session
from ansible_collections.our.cloud.plugins.module_utils._cloud.status import COMPUTE_API, body
from ansible_collections.our.cloud.plugins.module_utils._common import shapes
from ansible_collections.our.cloud.plugins.module_utils._common.errors import CloudError, Refused

# The units that each group has on its machines. Other units stay as they are.
UNITS = {
    "clc": ("epmd.socket", "mariadb", "rabbitmq-server", "keystone", "placement-api", "nova-api", "nova-api-metadata", "nova-conductor", "nova-scheduler",
            "nova-serialproxy", "nova-novncproxy", "horizon", "apache2"),
    "walrus": ("glance-api", "swift-account", "swift-container", "swift-object", "swift-proxy"),
    "sc": ("cinder-api", "cinder-scheduler", "cinder-volume"),
    "cc": ("neutron-api", "neutron-periodic-workers", "neutron-ovn-maintenance-worker", "ovn-central", "ovn-northd", "ovn-ovsdb-server-nb",
           "ovn-ovsdb-server-sb"),
    "nc": ("nova-compute", "neutron-ovn-agent", "ovn-host", "ovn-controller", "openvswitch-switch", "ovs-vswitchd", "ovsdb-server"),
}
# What every controller has.
COMMON = ("haproxy", "memcached")
# What each group has on its machine's front.
FRONTS = {"clc": ("keystone", "placement", "nova", "nova-metadata", "nova-serial", "nova-vnc", "horizon"), "walrus": ("glance", "swift"),
          "sc": ("cinder",), "cc": ("neutron",)}


@dataclasses.dataclass(frozen=True)
class Layer:
    """A group that may be missing."""

    services: tuple[str, ...]  # as the catalog names them
    # what of users' it holds
    type: str  # of the service that is asked
    path: str  # what it is asked
    key: str  # where the answer has the list
    what: str  # for people


LAYERS = {
    "walrus": Layer(("glance", "swift"), "image", "/images?limit=1000", "images", "images"),
    "sc": Layer(("cinder",), "block-storage", "/volumes?all_tenants=True&limit=1000", "volumes", "volumes"),
    "cc": Layer(("neutron",), "network", "/ports?device_owner=compute:nova", "ports", "ports of instances"),
}
TOLD = 5  # names in a refusal
PROVIDER_API = "1.39"


@dataclasses.dataclass(frozen=True)
class Compute:
    """A nova-compute as nova has it."""

    id: str
    host: str
    state: str  # up, down: whether it reports
    forced_down: bool = False  # whether it was declared lost
    closed: bool = False  # whether it is disabled: no new instance comes there


@dataclasses.dataclass(frozen=True)
class Agent:
    """An agent that neutron knows by OVN's chassis."""

    id: str
    host: str


@dataclasses.dataclass(frozen=True)
class Chassis:
    """A chassis in OVN's southbound database."""

    name: str
    hostname: str


@dataclasses.dataclass(frozen=True)
class State:
    """What the cloud knows. An empty one is a cloud that has nothing yet."""

    computes: tuple[Compute, ...] = ()
    nodes: Mapping[str, str] = dataclasses.field(default_factory=dict)  # {host: name of its resource provider}
    instances: Mapping[str, Sequence[str]] = dataclasses.field(default_factory=dict)  # {host: names}
    providers: Mapping[str, str] = dataclasses.field(default_factory=dict)  # {name of a root provider: id}
    agents: tuple[Agent, ...] = ()
    services: frozenset[str] = frozenset()  # names in the catalog
    users: frozenset[str] = frozenset()  # names of services' users
    held: Mapping[str, str] = dataclasses.field(default_factory=dict)  # {group: sentence of what users have there}


@dataclasses.dataclass(frozen=True)
class Step:
    """One thing to do: `verb` a `kind` of this name."""

    verb: str  # remove, release
    kind: str  # compute, provider, agent, service
    name: str
    id: str = ""

    def __str__(self) -> str:
        return f"{self.verb} {self.kind} {self.name}"


@dataclasses.dataclass(frozen=True)
class Members:
    """What was done about the cloud's members, or would be."""

    steps: tuple[Step, ...] = ()
    held: tuple[str, ...] = ()  # nodes that are held down


def some(names: Iterable[str]) -> str:
    """A few names, and how many more."""
    names = sorted(names)
    return ", ".join(names[:TOLD]) + (f" and {len(names) - TOLD} more" if len(names) > TOLD else "")


def absent_groups(groups: Mapping[str, Iterable[str]]) -> list[str]:
    """Groups without a host; the cloud may still have services of them."""
    return [name for name in LAYERS if not list(groups.get(name) or [])]


def refusals(ncs: Iterable[str], absent: Iterable[str], state: State, stopped: Iterable[str] = ()) -> list[str]:
    """Why what has left the inventory may not leave the cloud."""
    faults, wanted, still = [], set(ncs), set(stopped)
    for one in state.computes:
        host, its = one.host, state.instances.get(one.host) or ()
        if host in wanted:
            continue
        if its:
            faults.append(f"{host} is not in the group nc any more and has {len(its)} instance{'s' if len(its) != 1 else ''} ({some(its)}): put it back and "
                          f"move or end them (our.cloud.migrate, our.cloud.terminate); if the node is dead, our.cloud.rescue -e host={host} first.")
        elif one.state == "up" and not one.forced_down and host not in still:
            faults.append(f"{host} is not in the group nc any more and its nova-compute reports: on {host}, `systemctl disable --now nova-compute "
                          "neutron-ovn-agent ovn-controller`; while the machine is in the group kvm, our.cloud.cloud does so itself.")
    faults += [f"The group {name} has no host any more, and there are {state.held[name]}: remove them first, or put the machine back." for name in absent
               if state.held.get(name) and state.services & set(LAYERS[name].services)]
    return faults


def plan(ncs: Iterable[str], absent: Iterable[str], state: State, back: Iterable[str] = ()) -> list[Step]:
    """What is to be done, when nothing is refused. back: nodes of which this run knows that they are up again."""
    wanted, back, steps = set(ncs), set(back), []
    for one in sorted(state.computes, key=lambda one: one.host):
        if one.host not in wanted:
            steps.append(Step("remove", "compute", one.host, one.id))
        elif one.forced_down and one.host in back:
            steps.append(Step("release", "compute", one.host, one.id))
    # nova removes the provider of a service that it removes; these have lost theirs before
    steps += [Step("remove", "provider", name, uuid) for name, uuid in sorted(state.providers.items()) if name not in state.nodes.values()]
    # each API process keeps them in memory until it is told, whatever becomes of the chassis
    steps += [Step("remove", "agent", one.host, one.id) for one in sorted(state.agents, key=lambda one: (one.host, one.id)) if one.host not in wanted]
    for name in absent:
        steps += [Step("remove", "service", service) for service in LAYERS[name].services if service in state.services or service in state.users]
    return steps


# --- on a machine that has left a group -------------------------------------

def departed(units: Iterable[str], host: str, groups: Mapping[str, Iterable[str]]) -> list[str]:
    """Of the units that the cloud has set up on a machine, those of groups that it is not in any more."""
    its = {name for name in preflight.GROUPS if host in preflight.members(groups, name)}
    owner = {unit: group for group, names in UNITS.items() for unit in names}
    controls = bool(its & set(preflight.CONTROLLERS))
    return sorted(unit for unit in units if (not controls if unit in COMMON else unit in owner and owner[unit] not in its))


def old_fronts(host: str, groups: Mapping[str, Iterable[str]]) -> list[str]:
    """Services that the front of a machine must not lead to any more."""
    return sorted(name for group, names in FRONTS.items() if host not in preflight.members(groups, group) for name in names)


# --- requests to the services -----------------------------------------------

def look(connection: Any, absent: Iterable[str]) -> State:
    """What the cloud knows."""
    with session.speaking("keystone"):
        services = {one.name: one.type for one in connection.identity.services()}
        users = frozenset(one.name for one in connection.identity.users())
    state = dataclasses.replace(computes(connection) if "compute" in services.values() else State(), services=frozenset(services), users=users)
    if "placement" in services.values():
        found = body(connection, "placement", "/resource_providers", "placement", microversion=PROVIDER_API)["resource_providers"]
        state = dataclasses.replace(state, providers={one["name"]: one["uuid"] for one in found if one["parent_provider_uuid"] is None})
    if "network" in services.values():
        found = body(connection, "network", "/agents", "neutron")["agents"]
        state = dataclasses.replace(state, agents=tuple(Agent(one["id"], one["host"]) for one in found if one["agent_type"].startswith("OVN")))
    held = {}
    for group in absent:
        layer = LAYERS[group]
        if layer.type in services.values():
            count = len(body(connection, layer.type, layer.path, layer.type)[layer.key])
            if count:
                held[group] = f"{layer.what} ({count})"
    return dataclasses.replace(state, held=held)


def computes(connection: Any) -> State:
    """What nova alone knows."""
    services = body(connection, "compute", "/os-services?binary=nova-compute", "nova", microversion=COMPUTE_API)["services"]
    hypervisors = body(connection, "compute", "/os-hypervisors/detail", "nova", microversion=COMPUTE_API)["hypervisors"]
    instances = {}
    for one in services:
        servers = body(connection, "compute", f"/servers/detail?all_tenants=True&host={one['host']}", "nova", microversion=COMPUTE_API)["servers"]
        instances[one["host"]] = [server["name"] for server in servers]
    return State(tuple(Compute(one["id"], one["host"], one["state"], bool(one.get("forced_down")), one.get("status") == "disabled") for one in services),
                 {one["service"]["host"]: one["hypervisor_hostname"] for one in hypervisors}, instances)


def sent(answer: Any, thing: str) -> None:
    """Raise the error with which a service refuses a change."""
    if answer.status_code >= 400 and answer.status_code != 404:
        raise CloudError("", thing, f"HTTP {answer.status_code}: {' '.join(answer.text.split())[:300]}", session.remedy(answer.status_code, ValueError()))


def down(connection: Any, identifier: str, host: str, forced: bool) -> None:
    """Set or clear that nova considers a nova-compute down (forced down)."""
    thing = f"nova-compute on {host}"
    with session.speaking(thing):
        sent(connection.compute.put(f"/os-services/{identifier}", json={"forced_down": forced}, microversion=COMPUTE_API), thing)


def do(connection: Any, step: Step) -> None:
    """One step."""
    with session.speaking(str(step)):
        if step.kind == "compute" and step.verb == "release":
            down(connection, step.id, step.name, False)
        elif step.kind == "compute":
            sent(connection.compute.delete(f"/os-services/{step.id}", microversion=COMPUTE_API), str(step))
        elif step.kind == "provider":
            sent(connection.placement.delete(f"/resource_providers/{step.id}", microversion=PROVIDER_API), str(step))
        elif step.kind == "agent":
            sent(connection.network.delete(f"/agents/{step.id}"), str(step))
        else:
            identity.ensure(identity.Wanted(services=(identity.WantedService(step.name, state="absent"),),
                                            users=(identity.WantedUser(step.name, state="absent"),)), False)


def ensure(ncs: Iterable[str], absent: Iterable[str], stopped: Iterable[str], back: Iterable[str], leave: bool, check: bool) -> Members:
    """Nodes and services that have left leave the cloud, and nodes that are back are used again. Refused where users have something that would be lost.

    stopped: machines whose services this run stops; back: nodes that are up again; leave: whether what has left the inventory leaves the cloud."""
    ncs, absent = list(ncs), list(absent)
    try:
        connection = session.connect()
        state = look(connection, absent)
    except (session.NotThere, session.Silent):
        # a cloud whose first run has not come to its end has no members to lose
        if not check:
            raise
        return Members()
    faults = refusals(ncs, absent, state, stopped) if leave else []
    if faults:
        raise Refused(" ".join(faults))
    steps = [step for step in plan(ncs, absent, state, back) if leave or step.verb == "release"]
    if not check:
        for step in steps:
            do(connection, step)
    return Members(tuple(steps), tuple(sorted(one.host for one in state.computes if one.forced_down and one.host in ncs)))


# --- OVN's chassis, on the machine with its databases -----------------------

def chassis_of(told: str) -> list[Chassis]:
    """Of `ovn-sbctl --format=json --columns=name,hostname list Chassis`."""
    found = json.loads(told)
    return [shapes.of(Chassis, dict(zip(found["headings"], row))) for row in found["data"]]


def left(chassis: Iterable[Chassis], ncs: Iterable[str]) -> list[Chassis]:
    """Those whose host is no nc any more."""
    wanted = set(ncs)
    return [one for one in chassis if one.hostname not in wanted]


class NoDatabase(CloudError):
    """OVN's databases are not there: not installed yet, or not up."""


def sbctl(*arguments: str) -> str:
    """What ovn-sbctl says."""
    argv = ["ovn-sbctl", "--timeout=30", *arguments]
    try:
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
    except (FileNotFoundError, subprocess.TimeoutExpired) as error:
        raise NoDatabase("", "ovn-sbctl", error, "It is on the first host of the group cc, where ovn-central is") from error
    if done.returncode:
        raise NoDatabase("", " ".join(argv), " ".join(done.stderr.split())[:300], "`systemctl status ovn-central` tells")
    return done.stdout


def ensure_chassis(ncs: Iterable[str], check: bool, ask: Callable[..., str] = sbctl) -> list[str]:
    """Hosts whose chassis went, or would go."""
    try:
        gone = left(chassis_of(ask("--format=json", "--columns=name,hostname", "list", "Chassis")), ncs)
    except NoDatabase:
        if not check:
            raise
        return []
    if gone and not check:
        for one in gone:
            ask("--if-exists", "chassis-del", one.name)
    return sorted(one.hostname for one in gone)
