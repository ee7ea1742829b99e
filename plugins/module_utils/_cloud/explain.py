# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Why an instance is not in the wanted state: what all parts of the cloud say about it, and the likely cause with a remedy.

`gather` asks; `judge` is a function of what was told.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Optional

from ansible_collections.our.cloud.plugins.module_utils._cloud import instances

if TYPE_CHECKING:
    from openstack.connection import Connection

LINES = 15
CONTROLLERS = ("nova-conductor", "nova-scheduler")
TAKEN = "compute__do_build_and_run_instance"
LOGS = {each: f"/var/log/nova/{each}.log" for each in ("nova-scheduler", "nova-conductor", "nova-compute")}


@dataclass(frozen=True)
class Event:
    """A part of what was done to an instance last."""

    event: str  # in nova's words, compute__do_build_and_run_instance
    result: Optional[str] = None  # Success, Error; None: it has not ended
    host: Optional[str] = None  # where; None: on no node
    ended: bool = False
    why: str = ""  # what nova says of its failure


@dataclass(frozen=True)
class Service:
    """One of nova's services."""

    binary: str  # nova-compute, nova-scheduler ...
    host: str
    up: bool  # whether it reports
    enabled: bool
    since: str = ""  # when it reported last, 2026-01-31T12:00:00; empty: never


@dataclass(frozen=True)
class Port:
    """A port of the instance, as neutron tells it."""

    mac: str
    status: str  # ACTIVE, DOWN ...
    vif: Optional[str] = None  # how it is bound; binding_failed: it is not
    host: Optional[str] = None  # where; None: nowhere


@dataclass(frozen=True)
class Agent:
    """An agent of the networks."""

    type: str  # in neutron's words
    host: str
    alive: bool


@dataclass(frozen=True)
class Facts:
    """What is known about an instance."""

    status: str = ""  # ACTIVE, BUILD, ERROR ...
    task: Optional[str] = None  # what nova is doing with it; None: nothing
    host: Optional[str] = None  # its node; None: none yet
    fault: str = ""  # what nova says of its failure
    action: str = ""  # the last thing that was done to it, in nova's words
    events: tuple[Event, ...] = ()  # of that
    services: tuple[Service, ...] = ()
    ports: tuple[Port, ...] = ()
    agents: tuple[Agent, ...] = ()
    chosen: Optional[str] = None  # the node of its allocation in placement; None: it has none
    room: Optional[bool] = None  # whether any node has room for it; None: not known
    wants: str = ""  # what it needs, in words
    console: tuple[str, ...] = ()  # its last lines
    unasked: tuple[str, ...] = ()  # services that could not be asked, and why


def last_action(cloud: Connection, server: Any) -> tuple[str, tuple[Event, ...]]:
    """The name and the events of the last thing that was done to it."""
    actions = sorted(cloud.compute.server_actions(server.id), key=lambda action: action.start_time or "")
    if not actions:
        return "", ()
    found = cloud.compute.get_server_action(actions[-1].request_id, server.id)
    return found.action, tuple(Event(event["event"], event.get("result"), event.get("host"), bool(event.get("finish_time")),
                                     event.get("details") or last_line(event.get("traceback"))) for event in found.events or ())


def said(event: Event) -> str:
    """An event with its failure, in a line."""
    return f"{event.event}{' on ' + event.host if event.host else ''}: {event.why}"


def last_line(text: Optional[str]) -> str:
    """The last line of a traceback, which says what it is about."""
    lines = [line.strip() for line in (text or "").splitlines() if line.strip()]
    return lines[-1] if lines else ""


def _placed(cloud: Connection, server: Any) -> Optional[str]:
    found = cloud.placement.get(f"/allocations/{server.id}", microversion="1.28").json().get("allocations") or {}
    for provider in found:
        return cloud.placement.get(f"/resource_providers/{provider}", microversion="1.28").json().get("name")
    return None


def _room(cloud: Connection, flavor: Any) -> bool:
    wants = {"VCPU": flavor.vcpus, "MEMORY_MB": flavor.ram, "DISK_GB": flavor.disk}
    query = ",".join(f"{name}:{count}" for name, count in wants.items() if count)
    answer = cloud.placement.get(f"/allocation_candidates?resources={query}&limit=1", microversion="1.28").json()
    return bool(answer.get("provider_summaries"))


def gather(cloud: Connection, server: Any) -> Facts:
    """All that the services say. Those that do not answer are named, too: that may be the cause."""
    flavor, host, unasked = server.flavor, server.compute_host, []

    def part(who: str, ask: Callable[[], Any]) -> Any:
        try:
            return ask()
        except Exception as error:  # an explanation of a failure must not fail itself
            unasked.append(f"{who} does not answer: {' '.join(str(error).split())[:200]}")
            return None

    action, events = part("nova's record of actions", lambda: last_action(cloud, server)) or ("", ())
    services = part("nova's list of services", lambda: tuple(
        Service(each.binary, each.host, each.state == "up", each.status == "enabled", each.updated_at or "") for each in cloud.compute.services()))
    ports = part("neutron", lambda: tuple(
        Port(each.mac_address, each.status, each.binding_vif_type, each.binding_host_id) for each in cloud.network.ports(device_id=server.id)))
    agents = part("neutron's list of agents", lambda: tuple(Agent(each.agent_type, each.host, bool(each.is_alive)) for each in cloud.network.agents()))
    chosen = part("placement", lambda: _placed(cloud, server))
    room = part("placement", lambda: _room(cloud, flavor)) if chosen is None else None
    console = part("the console", lambda: tuple(instances.console(cloud, server, LINES))) if host and server.status != "BUILD" else None
    return Facts(server.status, server.task_state, host, (server.fault or {}).get("message") or "", action, events, services or (), ports or (), agents or (),
                 chosen, room, f"{flavor.ram} MiB, {flavor.vcpus} CPUs and {flavor.disk} GiB", console or (), tuple(unasked))


def _down(facts: Facts) -> list[Service]:
    return [service for service in facts.services if not service.up]


def _nodes(facts: Facts) -> list[str]:
    return sorted(service.host for service in facts.services if service.binary == "nova-compute" and service.up and service.enabled)


def _of_network(facts: Facts, host: str) -> Optional[tuple[str, str]]:
    """What is wrong with the network of a node."""
    dead = [agent.type for agent in facts.agents if agent.host == host and not agent.alive]
    known = {agent.host for agent in facts.agents}
    if facts.agents and host not in known:
        return (f"OVN knows no chassis {host}, so no port binds there (it knows {', '.join(sorted(known)) or 'none'})",
                f"On {host}: `ovs-vsctl get open . external_ids` must have hostname={host} and the address of ovn-remote; the role nc sets both")
    if dead:
        return f"{' and '.join(sorted(dead))} on {host} is not alive", f"On {host}: `systemctl status ovn-controller neutron-ovn-agent`"
    return None


def judge(facts: Facts) -> tuple[list[str], str]:
    """(what is wrong, the likeliest cause first; what to do about that)."""
    found: list[tuple[str, str]] = []
    fault = facts.fault
    failed = [event for event in facts.events if event.result == "Error" and event.why]
    down = _down(facts)
    for one in down:
        if one.binary in CONTROLLERS or one.host in (facts.host, facts.chosen):
            found.append((f"{one.binary} on {one.host} has not reported since {one.since or 'its start'}",
                          f"On {one.host}: `systemctl restart {one.binary}` and look at /var/log/nova/{one.binary}.log"))
    for port in facts.ports:
        if port.vif == "binding_failed":
            reason = _of_network(facts, port.host or "")
            found.append(reason or (f"its port {port.mac} could not be bound on {port.host}",
                                    "/var/log/neutron/neutron-api.log on the cluster controller has the reason"))
    if "No valid host" in fault or (facts.status in ("BUILD", "ERROR") and not facts.host and facts.room is False):
        found.append(_no_host(facts, down))
    if "not mapped to any cell" in fault:
        found.append(("a node is in no cell yet", "Run our.cloud.cloud, which tells nova of new nodes"))
    if re.search(r"Image .*(could not be found|not found)|ImageNotFound", fault):
        found.append(("its image, or the kernel or ramdisk of it, is not in Glance, or is another project's", "Register the image again (our.cloud.register)"))
    if re.search(r"safety check", fault):
        found.append(("nova considers its image unsafe", "Make a new partition table in the image and register it again"))
    if facts.status == "BUILD" and not found:
        found.append(_stuck(facts))
    if not found and fault:
        found.append((fault.rstrip("."), f"{LOGS['nova-compute']} on {facts.host} tells more" if facts.host else f"{LOGS['nova-conductor']} tells more"))
    lines = [text for text, dummy in found]
    lines += [text for text in [fault.rstrip(".")] if text and text not in lines]
    lines += [said(event) for event in failed if event.why not in fault]
    lines += facts.unasked
    return list(dict.fromkeys(lines)), found[0][1] if found else ""


def _no_host(facts: Facts, down: list[Service]) -> tuple[str, str]:
    nodes = _nodes(facts)
    if not nodes:
        dead = [f"{one.host} (since {one.since})" for one in down if one.binary == "nova-compute"]
        return (f"no node controller takes instances: {', '.join(dead) + ' does not report' if dead else 'none is enabled'}",
                "On the nodes: `systemctl restart nova-compute`; `openstack compute service list` tells which are up and enabled")
    if facts.room is False:
        return f"none of {', '.join(nodes)} has {facts.wants} left", "Take a smaller flavor, or remove instances (our.cloud.list shows them)"
    errors = [event.why for event in facts.events if event.result == "Error"]
    return ("no node passes the scheduler's filters, such as that for the image's architecture: a node has the emulator of it or not"
            if not errors else f"no node could start it: {errors[-1]}", f"{LOGS['nova-scheduler']} on the cloud controller names the filter that left no node")


def _stuck(facts: Facts) -> tuple[str, str]:
    """Of an instance that is being made, and makes no progress."""
    taken = [event for event in facts.events if event.event == TAKEN]
    if not taken:
        if facts.chosen:
            return (f"nova-compute on {facts.chosen} was told to make it and has not begun: it receives nothing from the queue",
                    f"On {facts.chosen}: `systemctl restart nova-compute`")
        return ("neither nova-conductor nor nova-scheduler has chosen a node for it: they receive nothing from the queue",
                "On the cloud controller: `systemctl restart nova-conductor nova-scheduler`, and see that rabbitmq-server runs")
    host = facts.host or facts.chosen or taken[-1].host or ""
    waiting = [port for port in facts.ports if port.status != "ACTIVE"]
    if facts.task == "spawning" and waiting:
        return _of_network(facts, host) or (
            f"its port {waiting[0].mac} is not plugged on {host}",
            f"On {host}: `systemctl status ovn-controller`, `ovs-vsctl show`, and {LOGS['nova-compute']}")
    if facts.task == "spawning" and facts.ports:
        return (f"nova-compute on {host} has not been told that its port is ready, or has not got its image yet",
                "neutron.conf needs the section [nova] for that (the role cc writes it); /var/log/neutron/neutron-api.log shows notifications that failed")
    return f"{host} is still at it ({facts.task or 'no task'})", f"{LOGS['nova-compute']} on {host} tells how far it is"


def text(facts: Facts) -> tuple[str, str]:
    """The cause and the remedy for an error's text; the console's last lines come with the cause."""
    lines, remedy = judge(facts)
    cause = ". ".join(lines) or "nothing tells why"
    if facts.console:
        cause += ". Its console's last lines: " + " | ".join(facts.console)
    return cause, remedy
