# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""May a machine be switched off now? A decision over what hypervisors, the store and the cloud tell."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from ansible_collections.our.cloud.plugins.module_utils._guest import drain, placement
from ansible_collections.our.cloud.plugins.module_utils._guest.instance_facts import InstanceFacts
from ansible_collections.our.cloud.plugins.module_utils._guest.rescue import Held
from ansible_collections.our.cloud.plugins.module_utils._guest.told import Copy, Hypervisor
from ansible_collections.our.cloud.plugins.module_utils._site.machines import site_hosts
from ansible_collections.our.cloud.plugins.module_utils._site.store import store_host

CONTROLLERS = ("clc", "walrus", "sc", "cc")


@dataclasses.dataclass(frozen=True)
class Routers:
    """Where the way out of the cloud's routers is, as OVN has it."""

    ports: Mapping[str, str] = dataclasses.field(default_factory=dict)  # {port of a router: host that it is on}
    gateways: tuple[str, ...] = ()  # hosts that may take them
    chassis: tuple[str, ...] = ()  # all hosts of OVN

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Routers:
        """From what ovn_gateway_info returned."""
        return cls(told.get("ports", {}), tuple(told.get("gateways", ())), tuple(told.get("chassis", ())))


@dataclasses.dataclass(frozen=True)
class Ready:
    """Whether a machine may be switched off."""

    error: str = ""  # why that cannot be told; empty if it can
    wrong: str = ""  # the error, if it is of what was asked for and could be told before anybody is asked
    reasons: tuple[str, ...] = ()  # sentences: why not, and what to do; none: it may
    notes: tuple[str, ...] = ()  # sentences: what somebody should know who does it


def asked_for(host: str | None, groups: Mapping[str, Sequence[str]]) -> tuple[str, str]:
    """As drain.asked_for, of any machine of the site."""
    return drain.asked_for("ready", host, groups.get("all", ()), site_hosts(groups), "Machines")


def of_machine(host: str, groups: Mapping[str, Sequence[str]]) -> list[str]:
    """What of the site ends with this machine, by its groups."""
    found = []
    others = [name for name in site_hosts(groups) if name != host]
    if host in groups.get("gateway", ()):
        found.append(f"{host} is the gateway: the way to the other machines, their names and the guests' addresses end with it. Switch it off last.")
    if host in groups.get("image_store", ()) and store_host(groups) == host:
        clients = [name for name in others if name in groups.get("hypervisors", ())] or others
        if clients:
            found.append(f"{host} is the image store of {', '.join(clients)}: their guests would stand still until it is back. Switch it off after them.")
    its = [name for name in CONTROLLERS if host in groups.get(name, ())]
    if its:
        found.append(f"{host} is {', '.join(its)}: the cloud's services end with it; instances go on. Tell its users, and switch it off after the nodes.")
    return found


def of_guests(host: str, hosts: Mapping[str, Hypervisor], declared: Collection[str], instances: Mapping[str, InstanceFacts]) -> tuple[list[str], list[str]]:
    """(reasons, notes): what runs there, comes, goes, or has its memory there. instances: by id."""
    reasons, notes = [], []
    here = hosts[host]
    for copy in here.guests:
        if copy.migration:
            reasons.append(f"{copy.name} is on its way to {copy.migration.target or '?'}. Wait for that to end.")
        elif copy.active:
            reasons.append(_runs(host, copy, declared, instances.get(copy.uuid or "")))
        elif copy.managed_save:
            reasons.append(f"The memory of {copy.name} is saved on {host}, where alone it can go on: `virsh start {copy.name}` there and move it; "
                           f"or, if it may begin anew, `virsh managedsave-remove {copy.name}`.")
        elif drain.is_ours(copy, declared) and placement.locate(copy.name, hosts).host in (None, host):
            notes.append(f"{copy.name} is {copy.state} on {host}: nothing starts it while {host} is off. "
                         f"playbooks/migrate.yml -e vm={copy.name} moves its definition.")
    known = {copy.name for copy in here.guests if copy.active}
    reasons += [f"{copy.name} is on its way here from {other}. Wait for that to end, then drain.yml again." for other, info in sorted(hosts.items())
                for copy in info.guests if other != host and copy.migration and copy.migration.target == host and copy.name not in known]
    reasons += [f"Xen domain {orphan.domid} ({orphan.name}) on {host} is unknown to libvirt, left by an arrival that broke off. "
                "our.cloud.vm with state absent removes it there." for orphan in here.orphans]
    return reasons, notes


def _runs(host: str, copy: Copy, declared: Collection[str], instance: InstanceFacts | None) -> str:
    if instance is not None:
        return f"Instance {instance.name} runs on {host}. playbooks/drain.yml -e host={host} moves it."
    if drain.is_ours(copy, declared):
        return f"{copy.name} {'runs' if copy.state == 'running' else 'is ' + copy.state} on {host}. playbooks/drain.yml -e host={host} moves it."
    return f"{copy.name} on {host} {drain.whose(copy)}: nothing here touches it. Move or stop it by what made it."


def takers(host: str, routers: Routers) -> tuple[int, list[str]]:
    """(how many routers have their way out on this host, who may take them): OVN gives a router's way out to another gateway if that one still reaches a
    third node, or it takes itself for cut off."""
    count = sum(1 for where in routers.ports.values() if where == host)
    others = [name for name in routers.gateways if name != host]
    return count, others if len([name for name in routers.chassis if name != host]) > 1 else []


def of_routers(host: str, routers: Routers, cc: str) -> tuple[list[str], list[str]]:
    """(reasons, notes)"""
    count, others = takers(host, routers)
    if not count:
        return [], []
    what = f"The way out of {count} of the cloud's routers is on {host}"
    if others:
        return [], [f"{what}; OVN takes {' or '.join(others)} within seconds when it is off."]
    return [f"{what}, and nobody would take it: that needs another node that is a gateway and reaches a third one. Bring one up; or, if they may stand "
            f"still, switch it off and then, on {cc}, `ovn-sbctl chassis-del` with its name (`ovn-sbctl show`), which it takes back when it is on again."], []


def verdict(host: str, groups: Mapping[str, Sequence[str]], families: Mapping[str, str], hosts: Mapping[str, Hypervisor], declared: Collection[str] = (),
            instances: Sequence[InstanceFacts] | None = (), leases: Sequence[Held] | str = (), routers: Routers | str = Routers(),
            restart: bool = False) -> Ready:
    """Whether the host may be switched off. hosts: what answered; declared: names of the inventory's guests; instances: the cloud's, None: it does not
    answer; leases: of the store, or why it does not tell; routers: likewise. restart: it is only restarted, so what it is for others returns with it."""
    reasons, notes = [] if restart else of_machine(host, groups), []
    if host not in families:
        return Ready(reasons=tuple(reasons))
    if host not in hosts:
        return Ready(error=f"{host} does not answer, so nobody can tell what runs there. {placement.rescue([host])}.")
    here, is_node = hosts[host], host in groups.get("nc", ())
    found = {each.id: each for each in instances or () if each.host == host} if is_node else {}
    more, less = of_guests(host, hosts, declared, found)
    reasons, notes = reasons + more, notes + less
    if here.drained is None:
        reasons.append(f"{host} is not drained, so guests may be placed there at any time. playbooks/drain.yml -e host={host} prevents that.")
    if isinstance(leases, str):
        reasons.append(f"Nobody can tell what leases {host} holds: {leases.rstrip('.')}.")
    else:
        known = {copy.name for copy in here.guests if copy.active}
        reasons += [f"{host} holds the lease of {row.name}, which it does not run, so that it starts nowhere else. It gives it back within a minute; if not: "
                    f"`systemctl restart our-cloud-lease` there." for row in leases if row.host == host and row.name not in known]
    if is_node and instances is None:
        reasons.append(f"The cloud controller does not answer, so nobody knows the instances on {host}. playbooks/cloud_status.yml tells why.")
    notes += [f"Instance {each.name} is {each.state or each.status}: nobody can start it while {host} is off." for each in found.values()
              if not any(copy.uuid == each.id and copy.active for copy in here.guests)]
    if isinstance(routers, str):
        reasons.append(f"Nobody can tell whether the way out of the cloud's routers is on {host}: {routers.rstrip('.')}.")
    else:
        more, less = of_routers(host, routers, next(iter(groups.get("cc", ())), ""))
        reasons, notes = reasons + more, notes + less
    return Ready(reasons=tuple(reasons), notes=tuple(notes))
