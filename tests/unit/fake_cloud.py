# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A cloud as openstacksdk shows it, in this process: what it is told it has, and it notes what it is asked to do."""

from __future__ import annotations

from types import SimpleNamespace as Thing


class Answer:
    """Of placement."""

    def __init__(self, body):
        self.body = body

    def json(self):
        return self.body


def image(name, **more):
    return Thing(**{"id": f"id-{name}", "name": name, "status": "active", "disk_format": "ami", "min_ram": 0, "min_disk": 0, "is_hidden": False,
                    "properties": {"hw_architecture": "x86_64"}, **more})


def flavor(name, ram=128, disk=1, vcpus=1):
    return Thing(id=f"id-{name}", name=name, original_name=name, ram=ram, vcpus=vcpus, disk=disk)


def server(name="web", **more):
    return Thing(**{"id": f"id-{name}", "name": name, "status": "ACTIVE", "task_state": None, "compute_host": "node1", "instance_name": "instance-00000001",
                    "is_locked": False, "fault": None, "addresses": {}, "attached_volumes": [], "image": Thing(id="id-debian"), "flavor": flavor("tiny"),
                    "key_name": None, "created_at": "2026-01-01T00:00:00Z", "project_id": "p1", **more})


def port(mac="fa:16:3e:00:00:01", device="id-web", **more):
    return Thing(**{"id": f"port-{mac}", "mac_address": mac, "device_id": device, "network_id": "id-private", "description": "", "status": "ACTIVE",
                    "fixed_ips": [{"ip_address": "10.0.0.5"}], "binding_vif_type": "ovs", "binding_host_id": "node1", "security_group_ids": ["id-default"],
                    **more})


def service(binary, host, state="up", status="enabled"):
    return Thing(binary=binary, host=host, state=state, status=status, updated_at="12:00", disabled_reason=None)


def agent(host, alive=True, kind="OVN Controller agent"):
    return Thing(agent_type=kind, host=host, is_alive=alive)


def network(name, external=False):
    return Thing(id=f"id-{name}", name=name, is_router_external=external)


def group(name, project="p1"):
    return Thing(id=f"id-{name}", name=name, project_id=project)


def share(name, project="*"):
    return Thing(object_id=f"id-{name}", target_project_id=project)


class Part:
    """Answers what is asked of lists with what there is, and notes all that changes something."""

    def __init__(self, cloud, lists):
        self.cloud, self.lists = cloud, lists

    def __getattr__(self, name):
        if name in self.lists:
            return lambda *args, **query: iter([each for each in self.lists[name] if all(
                getattr(each, key, value) == value for key, value in query.items() if key not in ("details", "all_projects", "server_id"))])
        return lambda *args, **more: self.cloud.did(name, *args, **more)


class Cloud:
    """happens: {call: what it does, called with the cloud and its arguments}; calls: what was asked that changes something."""

    current_project_id = "p1"

    def __init__(self, servers=(), ports=(), ips=(), services=None, agents=None, actions=(), happens=None, chosen=None, room=True):
        self.servers, self.ports, self.ips, self.keys = list(servers), list(ports), list(ips), []
        self.calls, self.happens, self.chosen, self.room, self.console = [], happens or {}, chosen, room, "Linux\nlogin:"
        self.actions, self.migrations, self.under_way = list(actions), [], []
        self.compute = Part(self, {
            "servers": self.servers, "flavors": [flavor("tiny"), flavor("large", 2048, 20)], "keypairs": self.keys,
            "services": services if services is not None else [service("nova-scheduler", "clc"), service("nova-conductor", "clc"),
                                                               service("nova-compute", "node1"), service("nova-compute", "node2")],
            "server_actions": self.actions, "migrations": self.migrations, "server_migrations": self.under_way})
        self.network = Part(self, {
            "networks": [network("private"), network("lan", True)], "ports": self.ports, "ips": self.ips,
            "security_groups": [group("default"), group("default", "p2"), group("login", "admin"), group("lan-dhcp", "admin")],
            "rbac_policies": [share("login"), share("lan-dhcp")],
            "agents": agents if agents is not None else [agent("node1"), agent("node2")]})
        debian = {"hw_architecture": "aarch64", "our_cloud_id": "emi-1", "our_cloud_names": "debian,stable"}
        self.image = Part(self, {"images": [image("debian", properties=debian), image("vmlinuz", disk_format="aki"),
                                            image("big", min_ram=1024, min_disk=10)]})
        self.identity = Part(self, {"projects": [Thing(id="p1", name="physics")]})
        self.placement = Part(self, {})

    def did(self, call, *args, **more):
        if call == "get_server":
            return next(each for each in self.servers if each.id == args[0])
        if call == "get_server_action":
            return next(each for each in self.actions if each.request_id == args[0])
        if call == "get_server_console_output":
            return {"output": self.console}
        if call == "get":
            return self._placement(args[0])
        self.calls.append((call, *args, more) if more else (call, *args))
        return self.happens.get(call, self._usual(call))(self, *args, **more)

    def _placement(self, path):
        if path.startswith("/allocations/"):
            return Answer({"allocations": {"rp": {}} if self.chosen else {}})
        if path.startswith("/resource_providers/"):
            return Answer({"name": self.chosen})
        return Answer({"provider_summaries": {"rp": {}} if self.room else {}})

    def _usual(self, call):
        return {"create_server": Cloud.make, "delete_server": Cloud.drop,
                "create_keypair": lambda cloud, **more: cloud.keys.append(Thing(id=more["name"], **more)),
                "create_port": lambda cloud, **more: port(more["mac_address"], "", **{
                    "fixed_ips": [], **{key: more[key] for key in ("description", "network_id")}}),
                }.get(call, lambda cloud, *args, **more: None)

    def make(self, name, **more):
        made = server(name, **{"flavor": flavor("tiny")})
        self.servers.append(made)
        self.ports.append(port(device=made.id))
        return made

    def drop(self, identity, **more):
        self.servers[:] = [each for each in self.servers if each.id != identity]
