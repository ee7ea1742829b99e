# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Why an instance is not in the wanted state: what all parts of the cloud say about it, and the likely cause with a remedy.

`gather` asks; `judge` is a function of what was told.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Optional

from ansible_collections.our.cloud.plugins.module_utils._cloud import instances

if TYPE_CHECKING:
    from openstack.connection import Connection

LINES = 15
CONTROLLERS = ("nova-conductor", "nova-scheduler")
TAKEN = "compute__do_build_and_run_instance"
LOGS = {each: f"/var/log/nova/{each}.log" for each in ("nova-scheduler", "nova-conductor", "nova-compute")}


@dataclasses.dataclass
class Facts:
    """What is known about an instance. chosen: the node of its allocation in placement; room: whether any node has room for it, None: not known.
    services: (binary, host, up, enabled, since); ports: dicts; events: of its last action; unasked: services that could not be asked, and why."""

    status: str = ""
    task: Optional[str] = None
    host: Optional[str] = None
    fault: str = ""
    action: str = ""
    events: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    services: list[tuple[str, str, bool, bool, str]] = dataclasses.field(default_factory=list)
    ports: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    agents: list[tuple[str, str, bool]] = dataclasses.field(default_factory=list)
    chosen: Optional[str] = None
    room: Optional[bool] = None
    wants: str = ""
    console: list[str] = dataclasses.field(default_factory=list)
    unasked: list[str] = dataclasses.field(default_factory=list)


def last_action(cloud: Connection, server: Any) -> tuple[str, list[dict[str, Any]]]:
    """The name and the events of the last thing that was done to it."""
    actions = sorted(cloud.compute.server_actions(server.id), key=lambda action: action.start_time or "")
    if not actions:
        return "", []
    found = cloud.compute.get_server_action(actions[-1].request_id, server.id)
    return found.action, [{"event": event["event"], "result": event.get("result"), "host": event.get("host"), "ended": bool(event.get("finish_time")),
                           "why": event.get("details") or last_line(event.get("traceback"))} for event in found.events or []]


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
    facts = Facts(server.status, server.task_state, server.compute_host, (server.fault or {}).get("message") or "")
    flavor = server.flavor
    facts.wants = f"{flavor.ram} MiB, {flavor.vcpus} CPUs and {flavor.disk} GiB"

    def part(who: str, ask: Callable[[], Any]) -> Any:
        try:
            return ask()
        except Exception as error:  # an explanation of a failure must not fail itself
            facts.unasked.append(f"{who} does not answer: {' '.join(str(error).split())[:200]}")
            return None

    facts.action, facts.events = part("nova's record of actions", lambda: last_action(cloud, server)) or ("", [])
    facts.services = part("nova's list of services", lambda: [
        (each.binary, each.host, each.state == "up", each.status == "enabled", each.updated_at or "") for each in cloud.compute.services()]) or []
    facts.ports = part("neutron", lambda: [
        {"mac": each.mac_address, "status": each.status, "vif": each.binding_vif_type, "host": each.binding_host_id}
        for each in cloud.network.ports(device_id=server.id)]) or []
    facts.agents = part("neutron's list of agents", lambda: [
        (each.agent_type, each.host, bool(each.is_alive)) for each in cloud.network.agents()]) or []
    facts.chosen = part("placement", lambda: _placed(cloud, server))
    if facts.chosen is None:
        facts.room = part("placement", lambda: _room(cloud, flavor))
    if facts.host and facts.status != "BUILD":
        facts.console = part("the console", lambda: instances.console(cloud, server, LINES)) or []
    return facts


def _down(facts: Facts) -> list[tuple[str, str, str]]:
    return [(binary, host, since) for binary, host, up, dummy, since in facts.services if not up]


def _nodes(facts: Facts) -> list[str]:
    return sorted(host for binary, host, up, enabled, dummy in facts.services if binary == "nova-compute" and up and enabled)


def _of_network(facts: Facts, host: str) -> Optional[tuple[str, str]]:
    """What is wrong with the network of a node."""
    dead = [kind for kind, where, alive in facts.agents if where == host and not alive]
    known = {where for kind, where, dummy in facts.agents}
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
    failed = [event for event in facts.events if event["result"] == "Error" and event["why"]]
    down = _down(facts)
    for binary, host, since in down:
        if binary in CONTROLLERS or host in (facts.host, facts.chosen):
            found.append((f"{binary} on {host} has not reported since {since or 'its start'}",
                          f"On {host}: `systemctl restart {binary}` and look at /var/log/nova/{binary}.log"))
    for port in facts.ports:
        if port["vif"] == "binding_failed":
            reason = _of_network(facts, port["host"] or "")
            found.append(reason or (f"its port {port['mac']} could not be bound on {port['host']}",
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
    lines += [f"{event['event']}{' on ' + event['host'] if event['host'] else ''}: {event['why']}" for event in failed if event["why"] not in fault]
    lines += facts.unasked
    return list(dict.fromkeys(lines)), found[0][1] if found else ""


def _no_host(facts: Facts, down: list[tuple[str, str, str]]) -> tuple[str, str]:
    nodes = _nodes(facts)
    if not nodes:
        dead = [f"{host} (since {since})" for binary, host, since in down if binary == "nova-compute"]
        return (f"no node controller takes instances: {', '.join(dead) + ' does not report' if dead else 'none is enabled'}",
                "On the nodes: `systemctl restart nova-compute`; `openstack compute service list` tells which are up and enabled")
    if facts.room is False:
        return f"none of {', '.join(nodes)} has {facts.wants} left", "Take a smaller flavor, or remove instances (our.cloud.list shows them)"
    errors = [event["why"] for event in facts.events if event["result"] == "Error"]
    return ("no node passes the scheduler's filters, such as that for the image's architecture: a node has the emulator of it or not"
            if not errors else f"no node could start it: {errors[-1]}", f"{LOGS['nova-scheduler']} on the cloud controller names the filter that left no node")


def _stuck(facts: Facts) -> tuple[str, str]:
    """Of an instance that is being made, and makes no progress."""
    taken = [event for event in facts.events if event["event"] == TAKEN]
    if not taken:
        if facts.chosen:
            return (f"nova-compute on {facts.chosen} was told to make it and has not begun: it receives nothing from the queue",
                    f"On {facts.chosen}: `systemctl restart nova-compute`")
        return ("neither nova-conductor nor nova-scheduler has chosen a node for it: they receive nothing from the queue",
                "On the cloud controller: `systemctl restart nova-conductor nova-scheduler`, and see that rabbitmq-server runs")
    host = facts.host or facts.chosen or taken[-1]["host"] or ""
    waiting = [port for port in facts.ports if port["status"] != "ACTIVE"]
    if facts.task == "spawning" and waiting:
        return _of_network(facts, host) or (
            f"its port {waiting[0]['mac']} is not plugged on {host}",
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
