# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Moves an instance from one node controller to another while it runs: prechecks, nova's live migration, its progress, where it is then."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Optional

from ansible_collections.our.cloud.plugins.module_utils._cloud import compute_log, explain, instances, session
from ansible_collections.our.cloud.plugins.module_utils._common import shapes
from ansible_collections.our.cloud.plugins.module_utils._common.errors import CloudError
from ansible_collections.our.cloud.plugins.module_utils._guest.drain import REASON
from ansible_collections.our.cloud.plugins.module_utils._move import address

if TYPE_CHECKING:
    from openstack.connection import Connection

PAUSE = 0.5
# A guest that answered before has this long to answer again, seconds
ANSWERS = 60
FAILED = ("error", "failed", "cancelled")


def refusals(server: Any, target: str, services: list[Any], agents: list[Any]) -> list[str]:
    """Every reason not to move it there, each with what to do. services: nova's; agents: neutron's."""
    found = []
    computes = {each.host: each for each in services if each.binary == "nova-compute"}
    if server.task_state:
        found.append(f"it is busy ({server.task_state}). Wait for that to end")
    elif server.status not in ("ACTIVE", "PAUSED"):
        found.append(f"it is {server.status}, and nova only moves running instances. Start it first (`openstack server start {server.name}`)")
    if server.is_locked:
        found.append(f"it is locked. Unlock it: `openstack server unlock {server.name}`")
    for host, role in ((target, "target"), (server.compute_host, "source")):
        service = computes.get(host)
        if service is None:
            found.append(f"the {role} {host} is no node controller. There are: {', '.join(sorted(computes)) or 'none'}")
        elif service.state != "up":
            found.append(f"nova-compute on the {role} {host} has not reported since {service.updated_at}. There: `systemctl restart nova-compute`")
        elif role == "target" and service.status != "enabled" and service.disabled_reason == REASON:
            found.append(f"{host} is drained. Open it: playbooks/undrain.yml -e host={host}")
        elif role == "target" and service.status != "enabled":
            found.append(f"{host} is closed to new instances{' (%s)' % service.disabled_reason if service.disabled_reason else ''}. "
                         f"Open it: `openstack compute service set --enable {host} nova-compute`")
    # without that of the metadata its network goes on
    dead = sorted(each.agent_type for each in agents if each.host == target and not each.is_alive and "Controller" in each.agent_type)
    if target in computes and target not in {each.host for each in agents}:
        found.append(f"OVN knows no chassis {target}, so its card could not be plugged there. Run our.cloud.cloud")
    elif dead:
        found.append(f"{' and '.join(dead)} on {target} is not alive. There: `systemctl status ovn-controller`")
    return found


def size(count: Optional[int]) -> str:
    """Bytes as people read them."""
    return f"{(count or 0) / 1048576:.0f} MiB"


class Move:
    """One move. params: name, target, timeout, address_timeout. tell: called with each step that is seen."""

    def __init__(self, cloud: Connection, params: dict[str, Any], check: bool = False, tell: Callable[[str], None] = lambda text: None,
                 now: Callable[[], float] = time.monotonic, pause: Callable[[float], None] = time.sleep,
                 answers: Callable[[str, float], bool] = address.answers) -> None:
        self.cloud, self.params, self.check, self.tell, self.now, self.pause, self.answers = cloud, params, check, tell, now, pause, answers
        self.name, self.target = params["name"], params["target"]

    def refuse(self, cause: str, remedy: str = "") -> CloudError:
        """The error of a move that is not possible, or failed."""
        return CloudError(os.uname().nodename, f"move of {self.name} to {self.target}", cause, remedy)

    def look(self) -> Any:
        """The instance as it is now."""
        with session.speaking(f"instance {self.name}"):
            return instances.one(self.cloud.compute.servers(details=True, all_projects=True), self.name)

    def run(self) -> dict[str, Any]:
        """Move it, or say why not."""
        server = self.look()
        if server is None:
            raise self.refuse("there is no instance of this name or id", "our.cloud.list shows what there is")
        with session.speaking(f"instance {self.name}"):
            known = instances.told(self.cloud, [server])[0]
        source = server.compute_host
        result = {"changed": source != self.target, "instance": shapes.plain(known), "source": source, "target": self.target, "mode": "live"}
        if source == self.target:
            return result
        with session.speaking("nova"):
            services, agents = list(self.cloud.compute.services()), list(self.cloud.network.agents())
        reasons = refusals(server, self.target, services, agents)
        if reasons:
            raise self.refuse("; ".join(reasons))
        if self.check:
            return result
        answered = bool(known.address) and self.answers(known.address, 2)
        began = self.now()
        with session.speaking(f"move of {self.name} to {self.target}"):
            before = {each.id for each in self.cloud.compute.migrations(server_id=server.id)}
            self.cloud.compute.live_migrate_server(server.id, host=self.target, block_migration="auto")
        self.tell(f"{source} -> {self.target}: asked")
        sent = self.follow(server, before, began)
        result.update(total_ms=int((self.now() - began) * 1000), transferred=sent, address=known.address,
                      address_answers=self.answers(known.address, self.params["address_timeout"]) if answered else None)
        if result["address_answers"] is False:
            raise self.refuse(f"it runs on {self.target} and {known.address} has not answered since, as it did before",
                              f"On {self.target}: `ovs-vsctl show` and /var/log/ovn/ovn-controller.log; a hard reboot plugs in its card again")
        return result

    def ask(self, call: Callable[[], Any]) -> Any:
        """What nova tells; a move goes on during restarts of its API."""
        return instances.patiently(call, f"move of {self.name} to {self.target}", self.now, self.pause)

    def follow(self, server: Any, before: set[Any], began: float) -> Optional[int]:
        """Waits until nova has ended the move. Returns the bytes of memory that were sent, as far as was seen."""
        seen, sent, number = "", None, None
        while True:
            for each in self.ask(lambda: list(self.cloud.compute.server_migrations(server.id))):
                if each.id in before:
                    continue
                number, sent = each.id, max(sent or 0, each.memory_processed_bytes or 0)
                told = f"{server.compute_host} -> {self.target}: {each.status}" + (
                    f", {size(each.memory_remaining_bytes)} of {size(each.memory_total_bytes)} left" if each.memory_total_bytes else "")
                if told != seen:
                    seen = told
                    self.tell(told)
            now = self.ask(lambda: self.cloud.compute.get_server(server.id))
            if not now.task_state and (now.compute_host == self.target or now.status == "ERROR" or self.record(server, before) in FAILED):
                break
            if self.now() - began > self.params["timeout"]:
                self.give_up(server, number)
            self.pause(PAUSE)
        if now.compute_host != self.target:
            raise self.failed(now, self.record(server, before), server.compute_host)
        return sent

    def record(self, server: Any, before: set[Any]) -> Optional[str]:
        """How the newest migration of it ended, by nova's record; that of one under way is elsewhere."""
        found = self.ask(lambda: [each for each in self.cloud.compute.migrations(server_id=server.id) if each.id not in before])
        return max(found, key=lambda each: each.id).status if found else None

    def give_up(self, server: Any, number: Optional[Any]) -> None:
        """It takes too long: it is stopped if that is still possible."""
        text = "no migration of it was seen"
        if number is not None:
            with session.speaking("nova"):
                self.cloud.compute.abort_server_migration(number, server.id, ignore_missing=True)
            text = "nova was told to stop it"
        raise self.refuse(f"it has not ended within {self.params['timeout']} s; {text}. {self.why(server)}",
                          "A guest that writes faster than can be sent: try when it is quiet, or raise the timeout")

    def why(self, server: Any) -> str:
        """What nova's events say of it."""
        with session.speaking("nova"):
            _action, events = explain.last_action(self.cloud, server)
        return "; ".join(explain.said(event) for event in events if event.why)

    def failed(self, now: Any, record: Optional[str], source: str) -> CloudError:
        """The error of a move that failed."""
        told = self.why(now) or (now.fault or {}).get("message") or (
            f"nova's record of it says {record or 'nothing'}, and the nodes' logs alone say why")
        return self.refuse(f"it was not moved and is {now.status} on {now.compute_host}: {told}",
                           f"`grep {now.id} {compute_log.PATH}` on {source} and {self.target} tells more")


def run(params: dict[str, Any], check: bool, tell: Callable[[str], None] = lambda text: None) -> dict[str, Any]:
    """Move an instance."""
    return Move(session.connect(), params, check, tell).run()
