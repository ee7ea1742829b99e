# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One instance in the wanted state: found, planned and, outside of check mode, made. After a failure, what was made is removed."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Optional

from ansible_collections.our.cloud.plugins.module_utils._cloud import explain, instances, session
from ansible_collections.our.cloud.plugins.module_utils._common import shapes
from ansible_collections.our.cloud.plugins.module_utils._common.errors import CloudError
from ansible_collections.our.cloud.plugins.module_utils._site.address_plan import guest_mac, normalise_mac

if TYPE_CHECKING:
    from openstack.connection import Connection

PAUSE = 0.5
MODES = ("managed", "system", "static")
NO_SYSTEM = ("aki", "ari")
# How it comes from a state to one that runs, and from one that runs to one that does not.
STARTS = {"SHUTOFF": "start_server", "PAUSED": "unpause_server", "SUSPENDED": "resume_server"}
STOPPED = ("SHUTOFF", "SUSPENDED", "PAUSED")


@dataclasses.dataclass(frozen=True)
class Plan:
    """What an instance is made of, as openstacksdk has it."""

    image: Any
    flavor: Any
    network: Any
    groups: list[Any]  # security groups
    outside: Any = None  # the network of its floating address; None: it gets none


class Instance:
    """Find, plan, and (unless it is a check) apply. params: what the module instance takes. tell: called with each step that is seen."""

    def __init__(self, cloud: Connection, params: dict[str, Any], check: bool = False, tell: Callable[[str], None] = lambda text: None,
                 now: Callable[[], float] = time.monotonic, pause: Callable[[float], None] = time.sleep) -> None:
        self.cloud, self.params, self.check, self.tell, self.now, self.pause = cloud, params, check, tell, now, pause
        self.name = params["name"]
        self.actions: list[str] = []
        self.server = self._find()
        self.mark = instances.MARK + (self.server.name if self.server is not None else self.name)

    # -- what there is ------------------------------------------------------

    def _find(self) -> Any:
        with session.speaking(f"instance {self.name}"):
            return instances.one(self.cloud.compute.servers(details=True), self.name)

    def refuse(self, cause: str, remedy: str) -> CloudError:
        """The error that says why this instance cannot have the wanted state."""
        return CloudError(os.uname().nodename, f"instance {self.name}", cause, remedy)

    def _choose(self, kind: str, wanted: str, known: list[Any], names: Callable[[Any], list[str]], remedy: str = "") -> Any:
        """The one of several that a name or id leads to."""
        found = [each for each in known if each.id == wanted] or [each for each in known if wanted in names(each)]
        if not found:
            there = ", ".join(sorted({each.name for each in known if each.name})) or "none"
            raise self.refuse(f"there is no {kind} {wanted}", f"There are: {there}. {remedy}".strip())
        if len(found) > 1:
            raise self.refuse(f"{len(found)} of the kind {kind} are called {wanted}", f"Give the id of one: {', '.join(sorted(each.id for each in found))}")
        return found[0]

    def _image(self) -> Any:
        known = [image for image in self.cloud.image.images() if image.status == "active" and image.disk_format not in NO_SYSTEM]
        return self._choose("image", self.params["image"], known, instances.names_of, "our.cloud.register adds one")

    def _flavor(self, image: Any) -> Any:
        known = list(self.cloud.compute.flavors())
        if self.params["flavor"]:
            flavor = self._choose("flavor", self.params["flavor"], known, lambda each: [each.name], "The inventory's cloud_flavors declares them")
        else:
            fit = [each for each in known if each.ram >= (image.min_ram or 0) and each.disk >= (image.min_disk or 0)]
            if not fit:
                raise self.refuse(f"no flavor is large enough for the image {image.name} ({image.min_ram} MiB, {image.min_disk} GiB)",
                                  "Declare one in the inventory's cloud_flavors and run our.cloud.cloud")
            return min(fit, key=lambda each: (each.ram, each.vcpus, each.disk))
        for what, has, needs, unit in (("memory", flavor.ram, image.min_ram, "MiB"), ("disk", flavor.disk, image.min_disk, "GiB")):
            if has < (needs or 0):
                raise self.refuse(f"the image {image.name} needs {needs} {unit} of {what} and the flavor {flavor.name} has {has}", "Take a larger flavor")
        return flavor

    def _network(self) -> Any:
        wanted = self.params["network"]
        name = {"managed": self.params["private"], "system": self.params["lan"], "static": self.params["lan"]}.get(wanted, wanted)
        if wanted == "static" and not self.params["address"]:
            raise self.refuse("the network mode static needs an address", "Give one of the cloud's static range (cc_static_range)")
        return self._choose("network", name, list(self.cloud.network.networks()), lambda each: [each.name], "The role cc makes them")

    def _groups(self) -> list[Any]:
        project = self.cloud.current_project_id
        shared = {each.object_id for each in self.cloud.network.rbac_policies(object_type="security_group", action="access_as_shared")
                  if each.target_project_id in ("*", project)}
        known = [each for each in self.cloud.network.security_groups() if each.project_id == project or each.id in shared]
        wanted = list(self.params["security_groups"] or ["default"])
        if self.params["network"] == "system":
            wanted.append(self.params["dhcp_group"])
        own = sorted(known, key=lambda each: each.project_id != project)
        chosen = []
        for name in dict.fromkeys(wanted):
            mine = [each for each in own if each.project_id == project and each.name == name]
            chosen.append(mine[0] if len(mine) == 1 else self._choose("security group", name, known, lambda each: [each.name], "cloud_projects declares them"))
        return chosen

    def _outside(self) -> Any:
        known = [each for each in self.cloud.network.networks() if each.is_router_external]
        if not known:
            raise self.refuse("the cloud has no outside network for floating addresses", "The role cc makes one where cc_floating_range is set")
        return known[0]

    def plan(self) -> Plan:
        """What to make it of. All refusals happen here, before anything is made."""
        if not self.params["image"]:
            raise self.refuse("there is none, and no image is named to make it of", "Give an image, or correct the name; our.cloud.list shows what there is")
        with session.speaking(f"instance {self.name}"):
            image = self._image()
            plan = Plan(image, self._flavor(image), self._network(), self._groups(), self._outside() if self.params["floating"] else None)
            if self.params["key"] and not self.params["public_key"]:
                self._choose("key", self.params["key"], list(self.cloud.compute.keypairs()), lambda each: [each.name], "cloud_projects declares them")
        return plan

    # -- what is done -------------------------------------------------------

    def do(self, action: str, step: Callable[[], Any]) -> Any:
        """One path for check and real: only the last step differs."""
        self.actions.append(action)
        if self.check:
            return None
        self.tell(action)
        with session.speaking(f"instance {self.name}"):
            return step()

    def key(self) -> Optional[str]:
        """The name of its key, which is registered if it is given as a text. A name says what the key is, so it is never another one."""
        text = self.params["public_key"]
        if not text:
            return self.params["key"]
        body = text.split()[1] if len(text.split()) > 1 else text
        name = f"{self.params['key'] or 'key'}-{hashlib.sha256(body.encode()).hexdigest()[:12]}"
        with session.speaking(f"key {name}"):
            known = {each.name for each in self.cloud.compute.keypairs()}
        if name not in known:
            self.do(f"key {name}", lambda: self.cloud.compute.create_keypair(name=name, public_key=text.strip()))
        return name

    def leftovers(self) -> list[Any]:
        """Ports that an interrupted run has made for it."""
        return [port for port in self.cloud.network.ports(description=self.mark) if not port.device_id]

    def port(self, plan: Plan) -> Any:
        """Its own port where the cloud must not choose the address."""
        mac = normalise_mac(self.params["mac"]) if self.params["mac"] else guest_mac(self.name)
        with session.speaking(f"instance {self.name}"):
            for old in self.leftovers():
                if not self.check:
                    self.cloud.network.delete_port(old.id)
        body: dict[str, Any] = {"network_id": plan.network.id, "name": self.name, "description": self.mark, "mac_address": mac,
                                "security_group_ids": [each.id for each in plan.groups]}
        if self.params["network"] == "system":
            body["fixed_ips"] = []
        elif self.params["address"]:
            body["fixed_ips"] = [{"ip_address": self.params["address"]}]
        return self.do(f"port {mac} on {plan.network.name}", lambda: self.cloud.network.create_port(**body))

    def create(self) -> None:
        """Make it and wait until it runs; after a failure, remove what was made and say why."""
        plan = self.plan()
        key = self.key()
        own = self.params["network"] == "system" or bool(self.params["mac"])
        port = self.port(plan) if own else None
        network: dict[str, Any] = {"uuid": plan.network.id}
        if self.params["address"]:
            network["fixed_ip"] = self.params["address"]
        body: dict[str, Any] = {
            "name": self.name, "image_id": plan.image.id, "flavor_id": plan.flavor.id,
            "networks": [{"port": port.id}] if port is not None else [network],
            # the LAN has no metadata service
            "config_drive": self.params["network"] in ("system", "static")}
        if not own:
            body["security_groups"] = [{"name": each.id} for each in plan.groups]
        if key:
            body["key_name"] = key
        if self.params["user_data"]:
            body["user_data"] = base64.b64encode(self.params["user_data"].encode()).decode()
        if self.params["host"]:
            body["host"] = self.params["host"]
        made: list[Callable[[], Any]] = [] if port is None else [lambda: self.cloud.network.delete_port(port.id)]
        try:
            self.server = self.do(f"create of {plan.image.name} as {plan.flavor.name} on {plan.network.name}", lambda: self.cloud.compute.create_server(**body))
            if not self.check:
                self.wait("become ACTIVE", lambda server: server.status == "ACTIVE")
            self.float(plan)
        except CloudError as error:
            if not self.params["keep_failed"]:
                self.take_back(made, error)
            raise

    def take_back(self, made: list[Callable[[], Any]], error: CloudError) -> None:
        """Remove what was made. If that fails, too, the first error also says this."""
        try:
            self.server = self.server or self._find()
            if self.server is not None:
                self.remove()
            for undo in made:
                with session.speaking(f"instance {self.name}"):
                    undo()
        except CloudError as another:
            raise CloudError(error.host, error.thing, f"{error.cause}. What was made of it could not be removed: {another}",
                             "our.cloud.terminate removes it once that works again") from error

    def float(self, plan: Optional[Plan] = None) -> None:
        """A floating address, if it is to have one and has none."""
        if not self.params["floating"]:
            return
        with session.speaking(f"instance {self.name}"):
            ports = list(self.cloud.network.ports(device_id=self.server.id)) if self.server is not None else []
            if any(list(self.cloud.network.ips(port_id=port.id)) for port in ports):
                return
            outside = plan.outside if plan else self._outside()
            spare = [each for each in self.cloud.network.ips(description=self.mark) if not each.port_id]

        def step() -> None:
            if not ports:
                raise self.refuse("it has no network card for a floating address", "Look at `openstack port list --server` of it")
            if spare:
                self.cloud.network.update_ip(spare[0].id, port_id=ports[0].id)
            else:
                self.cloud.network.create_ip(floating_network_id=outside.id, port_id=ports[0].id, description=self.mark)

        self.do("floating address", step)

    def groups(self) -> None:
        """The security groups of its cards, if any are named."""
        if not self.params["security_groups"]:
            return
        with session.speaking(f"instance {self.name}"):
            wanted = sorted(each.id for each in self._groups())
            for port in self.cloud.network.ports(device_id=self.server.id):
                if sorted(port.security_group_ids or []) != wanted:
                    self.do(f"security groups of {port.mac_address}", lambda port=port: self.cloud.network.update_port(port.id, security_group_ids=wanted))

    def differs(self) -> None:
        """What an instance was made of never changes: another image or flavor is refused."""
        with session.speaking(f"instance {self.name}"):
            image = self._image() if self.params["image"] else None
        has = getattr(self.server.image, "id", None)
        if image is not None and image.id != has:
            raise self.refuse(f"it was made of the image {has} and not of {image.id} ({image.name})",
                              "Terminate it first (our.cloud.terminate), or give the new one another name")
        flavor = self.server.flavor.original_name or self.server.flavor.name
        if self.params["flavor"] and flavor != self.params["flavor"]:
            raise self.refuse(f"it has the flavor {flavor} and not {self.params['flavor']}", "Terminate it first, or `openstack server resize` it")

    # -- states -------------------------------------------------------------

    def look(self, call: Callable[[], Any]) -> Any:
        """The cloud's answer, also while one of its services restarts."""
        return instances.patiently(call, f"instance {self.name}", self.now, self.pause)

    def wait(self, what: str, done: Callable[[Any], bool]) -> None:
        """Waits until it is so. CloudError with all that is known if it fails, or takes too long."""
        end, seen = self.now() + self.params["timeout"], ""
        while True:
            self.server = self.look(lambda: self.cloud.compute.get_server(self.server.id))
            told = f"{self.server.status.lower()}{', ' + self.server.task_state if self.server.task_state else ''}" + (
                f" on {self.server.compute_host}" if self.server.compute_host else "")
            if told != seen:
                seen = told
                self.tell(told)
            if done(self.server):
                return
            late = self.now() > end
            if late or (self.server.status == "ERROR" and not self.server.task_state):
                cause, remedy = explain.text(explain.gather(self.cloud, self.server))
                raise self.refuse(f"it has not {what}{' within %d s' % self.params['timeout'] if late else ''} ({told}): {cause}", remedy)
            self.pause(PAUSE)

    def start(self) -> None:
        """Start it, from any state that allows this."""
        if self.server is None or self.server.status == "ACTIVE":
            return
        call = STARTS.get(self.server.status)
        if call is None:
            cause, remedy = explain.text(explain.gather(self.cloud, self.server))
            raise self.refuse(f"it is {self.server.status} and cannot be started: {cause}", remedy or "Terminate it (our.cloud.terminate)")
        if self.do("start", lambda: getattr(self.cloud.compute, call)(self.server.id)) is None and not self.check:
            self.wait("started", lambda server: server.status == "ACTIVE" and not server.task_state)

    def stop(self) -> None:
        """Shut it down; nova powers it off if it does not react."""
        if self.server.status in STOPPED:
            return
        self.do("stop", lambda: self.cloud.compute.stop_server(self.server.id))
        if not self.check:
            self.wait("stopped", lambda server: server.status == "SHUTOFF" and not server.task_state)

    def reboot(self) -> None:
        """Reboot it, or start it if it does not run."""
        if self.server.status in STARTS:
            self.start()
            return
        kind = "HARD" if self.params["hard"] or self.server.status == "ERROR" else "SOFT"
        self.do(f"{kind.lower()} reboot", lambda: self.cloud.compute.reboot_server(self.server.id, kind))
        if not self.check:
            self.wait("rebooted", lambda server: server.status == "ACTIVE" and not server.task_state)

    def remove(self) -> None:
        """Delete it, with the ports and the floating addresses that were made for it. Others' floating addresses stay with their project."""
        server = self.server
        with session.speaking(f"instance {self.name}"):
            ports = list(self.cloud.network.ports(device_id=server.id)) if server is not None else []
            mine = [each for each in self.cloud.network.ips(description=self.mark) if not each.port_id or each.port_id in {port.id for port in ports}]
            own = [port for port in ports if port.description == self.mark] + self.leftovers()
        for each in mine:
            self.do(f"release {each.floating_ip_address}", lambda each=each: self.cloud.network.delete_ip(each.id))
        if server is not None:
            self.do("delete", lambda: self.cloud.compute.delete_server(server.id, ignore_missing=True))
            if not self.check:
                self._wait_gone(server)
        for port in own:
            self.do(f"delete port {port.mac_address}", lambda port=port: self.cloud.network.delete_port(port.id, ignore_missing=True))
        self.server = None

    def _wait_gone(self, server: Any) -> None:
        """Nova lists one that is deleted for a moment; one that can be brought back (SOFT_DELETED) it lists for as long as it keeps it."""
        end = self.now() + self.params["timeout"]
        while True:
            left = self.look(lambda: [each for each in self.cloud.compute.servers(details=True)
                                      if each.id == server.id and each.status != "SOFT_DELETED"])
            if not left:
                return
            if self.now() > end:
                cause, remedy = explain.text(explain.gather(self.cloud, left[0]))
                raise self.refuse(f"it is not gone within {self.params['timeout']} s ({left[0].status}, {left[0].task_state}): {cause}", remedy)
            self.pause(PAUSE)

    def ensure(self) -> dict[str, Any]:
        """Make it so; returns what the module tells."""
        wanted = self.params["state"]
        if wanted == "absent":
            self.remove()
            return self.result(None)
        if self.server is None:
            self.create()
        else:
            self.differs()
            self.groups()
            self.float()
        if self.server is not None and wanted in ("started", "stopped", "rebooted"):
            getattr(self, {"started": "start", "stopped": "stop", "rebooted": "reboot"}[wanted])()
        elif self.server is not None and self.server.status == "ERROR":
            cause, remedy = explain.text(explain.gather(self.cloud, self.server))
            raise self.refuse(f"it has failed: {cause}", remedy or "Terminate it (our.cloud.terminate)")
        if self.check or self.server is None:
            return self.result(self.server)
        with session.speaking(f"instance {self.name}"):
            return self.result(self.cloud.compute.get_server(self.server.id))

    def result(self, server: Any) -> dict[str, Any]:
        """What the module returns."""
        with session.speaking(f"instance {self.name}"):
            told = instances.told(self.cloud, [server])[0] if server is not None else None
        return {"changed": bool(self.actions), "actions": self.actions, "instance": shapes.plain(told)}


def of_project(cloud: Connection, project: Optional[str]) -> Connection:
    """A connection to the same cloud in another project. CloudError if that cannot be."""
    if not project:
        return cloud
    with session.speaking(f"project {project}"):
        known = {each.name for each in cloud.identity.projects()}
        if project not in known:
            raise CloudError(os.uname().nodename, f"project {project}", "there is none", f"There are: {', '.join(sorted(known))}. cloud_projects declares them")
        other = cloud.connect_as_project(project)
        other.authorize()
        return other


def ensure(params: dict[str, Any], check: bool, tell: Callable[[str], None] = lambda text: None) -> dict[str, Any]:
    """Bring an instance into the wanted state. In check mode also where there is no cloud yet."""
    try:
        cloud = session.connect()
    except session.NotThere:
        if not check:
            raise
        return {"changed": params["state"] != "absent", "actions": ["create"] if params["state"] != "absent" else [], "instance": None}
    return Instance(of_project(cloud, params["project"]), params, check, tell).ensure()
