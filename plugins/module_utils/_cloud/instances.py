# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The cloud's instances as plain values: found by name or id, with their addresses, images and hosts."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Optional

from ansible_collections.our.cloud.plugins.module_utils._cloud import session
from ansible_collections.our.cloud.plugins.module_utils._common import shapes
from ansible_collections.our.cloud.plugins.module_utils._common.errors import CloudError
from ansible_collections.our.cloud.plugins.module_utils._guest.arch import HOSTS
from ansible_collections.our.cloud.plugins.module_utils._guest.instance_facts import CloudCard, InstanceFacts

if TYPE_CHECKING:
    from openstack.connection import Connection

# The description of ports and floating addresses that were made for an instance, and are removed with it.
MARK = "our.cloud instance "
# The registry's property of an image in Glance.
OUR_ID, OUR_NAMES = "our_cloud_id", "our_cloud_names"
# Seconds that a service may be away while somebody waits for something else
PATIENCE = 120
# nova's word: ours
STATES = {"ACTIVE": "running", "SHUTOFF": "stopped", "BUILD": "being made", "MIGRATING": "moving", "ERROR": "failed"}


def same(name: str, server: Any) -> bool:
    """Whether a name or an id is this instance's."""
    return name in (server.id, server.name)


def patiently(look: Callable[[], Any], thing: str, now: Callable[[], float], pause: Callable[[float], None]) -> Any:
    """The result of a request, which is repeated while a service restarts; CloudError if it stays away."""
    end = now() + PATIENCE
    while True:
        try:
            with session.speaking(thing):
                return look()
        except CloudError:
            if now() > end:
                raise
            pause(1)


def living(servers: Iterable[Any]) -> list[Any]:
    """Without those that are deleted: nova lists them for a moment more, or for as long as it keeps them (SOFT_DELETED)."""
    return [server for server in servers if server.status not in ("DELETED", "SOFT_DELETED")]


def find(servers: Iterable[Any], name: str) -> list[Any]:
    """Those that a name or id leads to. An id is nobody's name."""
    found = [server for server in living(servers) if same(name, server)]
    return [server for server in found if server.id == name] or found


def one(servers: Iterable[Any], name: str) -> Optional[Any]:
    """The one that a name or id leads to; None if there is none. CloudError if there are several."""
    found = find(servers, name)
    if len(found) > 1:
        raise CloudError(os.uname().nodename, f"instance {name}", f"there are {len(found)} of this name: {', '.join(sorted(server.id for server in found))}",
                         "Give the id of the one that is meant")
    return found[0] if found else None


def names_of(image: Any) -> list[str]:
    """What an image is known by."""
    said = image.properties or {}
    return [text for text in [image.id, image.name, said.get(OUR_ID), *(said.get(OUR_NAMES) or "").split(",")] if text]


def state(server: Any) -> str:
    """In a word or two."""
    if server.task_state == "migrating":
        return STATES["MIGRATING"]
    return STATES.get(server.status, str(server.status).lower())


def addresses(server: Any, ports: Iterable[Any], networks: dict[str, str], floating: Iterable[Any]) -> list[CloudCard]:
    """Its cards, with the floating addresses, which nova would know only later. The cloud knows no address of a
    card that the LAN's DHCP serves."""
    outer: dict[str, list[str]] = {}
    for each in floating:
        outer.setdefault(each.port_id, []).append(each.floating_ip_address)
    return [CloudCard(port.mac_address, networks.get(port.network_id, port.network_id), tuple(outer.get(port.id, ())),
                      tuple(each["ip_address"] for each in port.fixed_ips or ())) for port in ports if port.device_id == server.id]


def described(server: Any, cards: list[CloudCard], image: Any = None, project: Optional[str] = None) -> InstanceFacts:
    """One instance as people and playbooks read it."""
    flavor = server.flavor
    volumes = tuple(sorted(each["id"] for each in server.attached_volumes or ()))
    return InstanceFacts(
        name=server.name, id=server.id, project=project or server.project_id, state=state(server), status=server.status,
        task=server.task_state, host=server.compute_host, domain=server.instance_name, locked=bool(server.is_locked),
        arch=HOSTS.get((getattr(image, "properties", None) or {}).get("hw_architecture")),
        flavor=flavor.original_name or flavor.name, memory=flavor.ram, vcpus=flavor.vcpus, disk=flavor.disk,
        image=getattr(image, "name", None) or getattr(server.image, "id", None), key=server.key_name, cards=tuple(cards), volumes=volumes,
        created=server.created_at, fault=(server.fault or {}).get("message"),
        address=next((address for card in cards for address in (*card.floating, *card.addresses)), None),
    )


def told(cloud: Connection, servers: Iterable[Any]) -> list[InstanceFacts]:
    """Instances, sorted by name, with what has to be asked elsewhere."""
    servers = list(servers)
    if not servers:
        return []
    ports, floating = list(cloud.network.ports()), list(cloud.network.ips())
    networks = {network.id: network.name for network in cloud.network.networks()}
    images = {image.id: image for hidden in (False, True) for image in cloud.image.images(is_hidden=hidden)}
    projects = {project.id: project.name for project in cloud.identity.projects()}
    return sorted((described(server, addresses(server, ports, networks, floating), images.get(getattr(server.image, "id", None)),
                             projects.get(server.project_id))
                   for server in servers), key=lambda each: (each.name, each.id))


def console(cloud: Connection, server: Any, lines: int) -> list[str]:
    """The last lines of its console, without what terminals are told."""
    said = cloud.compute.get_server_console_output(server.id, length=None) or {}
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|[\x00-\x08\x0b-\x1f]", "", said.get("output") or "")
    return [line.rstrip() for line in text.splitlines() if line.strip()][-lines:] if lines else []


def gather(params: dict[str, Any]) -> list[dict[str, Any]]:
    """What the module instance_info tells: InstanceFacts as dicts, with `console`, `serial` and `why` if they are asked for."""
    cloud = session.connect()
    with session.speaking("instances"):
        servers = {server.id: server for server in cloud.compute.servers(details=True, all_projects=True)}
        known = told(cloud, find(servers.values(), params["name"]) if params["name"] else living(servers.values()))
    found = [shapes.plain(each) for each in known if params["project"] in (None, each.project)]
    if params["console_lines"] or params["serial"]:
        for each in found:
            each["why"] = ""
            try:
                with session.speaking(f"console of {each['name']}"):
                    if params["console_lines"]:
                        each["console"] = console(cloud, servers[each["id"]], params["console_lines"])
                    if params["serial"]:
                        each["serial"] = cloud.compute.create_server_remote_console(each["id"], type="serial").url
            except CloudError as error:
                # one without a console now does not prevent the report of the others
                each.setdefault("console", [])
                each.setdefault("serial", None)
                each["why"] = str(error)
    return found
