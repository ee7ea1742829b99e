# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A cloud's networks, routers and shared security groups, as its operator wants them: read, compared, made."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Optional

from ansible_collections.our.cloud.plugins.module_utils._cloud import session
from ansible_collections.our.cloud.plugins.module_utils._common.errors import CloudError

if TYPE_CHECKING:
    from openstack.connection import Connection

# Properties that cannot change after a network has been made.
FIXED = {"network_type": "provider_network_type", "physical_network": "provider_physical_network", "segment": "provider_segmentation_id"}
NETWORK = {"shared": "is_shared", "external": "is_router_external", "mtu": "mtu"}
SHARED = "access_as_shared"


@dataclasses.dataclass(frozen=True)
class Step:
    """One difference."""

    thing: str  # what it is about, in words
    before: Any  # None: it is not there
    after: Any
    do: Callable[[], Any]  # makes the change


@dataclasses.dataclass(frozen=True)
class Admitted:
    """A rule of a security group that lets something in."""

    protocol: str | None  # None: any
    port: int | None  # None: all
    remote: str | None  # a range; None: everybody

    def __str__(self) -> str:
        return _words(dataclasses.asdict(self))


class _Look:
    """What the cloud has. Without a cloud: nothing."""

    def __init__(self, cloud: Optional[Connection]) -> None:
        self.cloud = cloud
        network = cloud.network if cloud else None
        self.project = cloud.current_project_id if cloud else ""
        self.networks = {one.name: one for one in network.networks()} if network else {}
        self.subnets = {one.name: one for one in network.subnets()} if network else {}
        self.routers = {one.name: one for one in network.routers()} if network else {}
        self.groups = {one.name: one for one in network.security_groups(project_id=self.project)} if network else {}
        self.shares = list(network.rbac_policies(object_type="security_group", action=SHARED)) if network else []

    def ports_of(self, router: Any) -> set[str]:
        """The subnets on which a router has a port."""
        ports = self.cloud.network.ports(device_id=router.id) if self.cloud else ()
        return {each["subnet_id"] for port in ports if port.device_owner != "network:router_gateway" for each in port.fixed_ips}


def pools(ranges: Sequence[str]) -> list[dict[str, str]]:
    """FIRST-LAST as neutron writes it."""
    return [dict(zip(("start", "end"), (part.strip() for part in text.split("-")))) for text in ranges]


def subnet_body(wanted: Mapping[str, Any]) -> dict[str, Any]:
    """What can be changed of a subnet."""
    body: dict[str, Any] = {"dns_nameservers": list(wanted.get("dns") or []), "is_dhcp_enabled": True}
    if wanted.get("gateway"):
        body["gateway_ip"] = wanted["gateway"]
    if wanted.get("pools"):
        body["allocation_pools"] = pools(wanted["pools"])
    return body


def _differs(now: Any, then: Any) -> bool:
    if isinstance(then, list):
        return sorted(map(str, now or [])) != sorted(map(str, then))
    return now != then


class Planner:
    """Steps towards what is wanted, in the order in which they can be made. What is made on the way is remembered by name."""

    def __init__(self, cloud: Optional[Connection]) -> None:
        self.look = _Look(cloud)
        self.cloud = cloud
        self.steps: list[Step] = []
        self.made: dict[tuple[str, str], str] = {}

    def identity(self, kind: str, name: str) -> str:
        """The id of something that was there or has been made."""
        if (kind, name) in self.made:
            return self.made[kind, name]
        found = {"network": self.look.networks, "subnet": self.look.subnets, "router": self.look.routers, "group": self.look.groups}[kind].get(name)
        if found is None:
            raise CloudError(os.uname().nodename, f"{kind} {name}", "there is none", f"Declare it before what refers to it, or correct the name {name}")
        return found.id

    def _step(self, thing: str, before: Any, after: Any, do: Callable[[], Any]) -> None:
        self.steps.append(Step(thing, before, after, do))

    def _make(self, kind: str, name: str, after: Mapping[str, Any], create: Callable[[], Any]) -> None:
        def do() -> None:
            self.made[kind, name] = create().id

        self._step(f"{kind} {name}", None, after, do)

    def network(self, wanted: Mapping[str, Any]) -> None:
        """A network and its subnets."""
        name = wanted["name"]
        body = {attribute: wanted[key] for key, attribute in NETWORK.items() if wanted.get(key) is not None}
        fixed = {attribute: wanted[key] for key, attribute in FIXED.items() if wanted.get(key) is not None}
        now = self.look.networks.get(name)
        if now is None:
            self._make("network", name, {**body, **fixed}, lambda: self.cloud.network.create_network(name=name, **body, **fixed))
        else:
            other = {key: getattr(now, key) for key, value in fixed.items() if getattr(now, key) != value}
            if other:
                raise CloudError(os.uname().nodename, f"network {name}", f"it has {_words(other)}, which cannot be changed to {_words(fixed)}",
                                 "Give the wanted one another name, or remove this one with all that is on it (openstack network delete)")
            changes = {key: value for key, value in body.items() if getattr(now, key) != value}
            if changes:
                self._step(f"network {name}", {key: getattr(now, key) for key in changes}, changes,
                           lambda: self.cloud.network.update_network(now.id, **changes))
        for subnet in wanted.get("subnets") or []:
            self.subnet(name, subnet)

    def subnet(self, network: str, wanted: Mapping[str, Any]) -> None:
        """A subnet of a network."""
        name, body = wanted["name"], subnet_body(wanted)
        now = self.look.subnets.get(name)
        if now is None:
            self._make("subnet", name, {"cidr": wanted["cidr"], **body}, lambda: self.cloud.network.create_subnet(
                name=name, network_id=self.identity("network", network), ip_version=4, cidr=wanted["cidr"], **body))
            return
        if now.cidr != wanted["cidr"]:
            raise CloudError(os.uname().nodename, f"subnet {name}", f"it is {now.cidr}, which cannot be changed to {wanted['cidr']}",
                             "Give the wanted one another name, or remove this one with all that is on it (openstack subnet delete)")
        changes = {key: value for key, value in body.items() if _differs(getattr(now, key), value)}
        if changes:
            self._step(f"subnet {name}", {key: getattr(now, key) for key in changes}, changes, lambda: self.cloud.network.update_subnet(now.id, **changes))

    def router(self, wanted: Mapping[str, Any]) -> None:
        """A router between an external network and subnets."""
        name, outside = wanted["name"], wanted.get("external_network")
        now = self.look.routers.get(name)
        if now is None:
            self._make("router", name, {"external_network": outside}, lambda: self.cloud.network.create_router(
                name=name, **({"external_gateway_info": {"network_id": self.identity("network", outside)}} if outside else {})))
        elif outside:
            there = (now.external_gateway_info or {}).get("network_id")
            known = self.look.networks.get(outside)
            if known is None or there != known.id:
                self._step(f"router {name}", {"external_network": there}, {"external_network": outside}, lambda: self.cloud.network.update_router(
                    now.id, external_gateway_info={"network_id": self.identity("network", outside)}))
        has = self.look.ports_of(now) if now is not None else set()
        for subnet in wanted.get("subnets") or []:
            known = self.look.subnets.get(subnet)
            if known is None or known.id not in has:
                self._step(f"router {name} subnet {subnet}", None, "present", lambda subnet=subnet: self.cloud.network.add_interface_to_router(
                    self.identity("router", name), subnet_id=self.identity("subnet", subnet)))

    def group(self, wanted: Mapping[str, Any]) -> None:
        """A security group of the operator's project; shared: every project may use it."""
        name = wanted["name"]
        now = self.look.groups.get(name)
        if now is None:
            self._make("group", name, {"description": wanted.get("description", "")}, lambda: self.cloud.network.create_security_group(
                name=name, description=wanted.get("description", "")))
        have = [Admitted(rule.get("protocol"), rule.get("port_range_min"), rule.get("remote_ip_prefix"))
                for rule in (now.security_group_rules if now is not None else ()) if rule.get("direction") == "ingress"]
        for rule in wanted.get("rules") or []:
            one = Admitted(rule["protocol"], rule.get("port"), rule["remote"])
            if one not in have:
                self._step(f"group {name} rule {one}", None, "present", lambda one=one: self.cloud.network.create_security_group_rule(
                    security_group_id=self.identity("group", name), direction="ingress", ether_type="IPv4", protocol=one.protocol,
                    port_range_min=one.port, port_range_max=one.port, remote_ip_prefix=one.remote))
        if wanted.get("shared") and not (now is not None and any(one.object_id == now.id and one.target_project_id == "*" for one in self.look.shares)):
            self._step(f"group {name} shared", False, True, lambda: self.cloud.network.create_rbac_policy(
                object_type="security_group", object_id=self.identity("group", name), action=SHARED, target_project_id="*"))


def _words(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in sorted(values.items()))


def plan(wanted: Mapping[str, Any], cloud: Optional[Connection]) -> list[Step]:
    """What is to be done: networks with their subnets, routers, security groups."""
    planner = Planner(cloud)
    for one in wanted.get("networks") or []:
        planner.network(one)
    for one in wanted.get("routers") or []:
        planner.router(one)
    for one in wanted.get("security_groups") or []:
        planner.group(one)
    return planner.steps


def ensure(wanted: Mapping[str, Any], check: bool, connect: Callable[[], Any] = session.connect) -> list[Step]:
    """Make the cloud's networks as wanted. Returns what was done; in check mode what would be, also where there is no cloud yet."""
    try:
        cloud = connect()
    except session.NotThere:
        if not check:
            raise
        cloud = None
    if cloud is None:
        return plan(wanted, None)
    with session.speaking("networks"):
        steps = plan(wanted, cloud)
    if not check:
        for step in steps:
            with session.speaking(step.thing):
                step.do()
    return steps
