# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs on the clc, with bare calls of the API: instance.py create NAME IMAGE FLAVOR | alone NAME IMAGE FLAVOR | move NAME | delete NAME | only PREFIX.

alone: without a network. only: nodes whose names begin so take new instances, and no others. The last line is JSON.
"""

from __future__ import annotations

import json
import sys
import time

import openstack

BOUND = 600


def until(cloud, server, done):
    """The instance when it is so."""
    end = time.monotonic() + BOUND
    while time.monotonic() < end:
        server = cloud.compute.get_server(server.id)
        if server.status == "ERROR":
            sys.exit("instance %s: %s" % (server.name, server.fault))
        if done(server):
            return server
        time.sleep(0.2)
    sys.exit("instance %s is %s (%s) after %d s" % (server.name, server.status, server.task_state, BOUND))


def create(cloud, name, image, flavor):
    image, flavor = cloud.image.find_image(image, ignore_missing=False), cloud.compute.find_flavor(flavor, ignore_missing=False)
    network, outside = cloud.network.find_network("private", ignore_missing=False), next(cloud.network.networks(is_router_external=True))
    group = cloud.network.find_security_group("bench") or cloud.network.create_security_group(name="bench")
    if not any(rule["port_range_min"] == 22 for rule in group.security_group_rules or ()):
        cloud.network.create_security_group_rule(security_group_id=group.id, direction="ingress", protocol="tcp", port_range_min=22, port_range_max=22)
    began = time.monotonic()
    server = cloud.compute.create_server(name=name, image_id=image.id, flavor_id=flavor.id, networks=[{"uuid": network.id}],
                                         security_groups=[{"name": group.name}])
    server = until(cloud, server, lambda one: one.status == "ACTIVE")
    active = time.monotonic() - began
    port = next(cloud.network.ports(device_id=server.id))
    address = cloud.network.create_ip(floating_network_id=outside.id, port_id=port.id).floating_ip_address
    return {"active": active, "all": time.monotonic() - began, "address": address}


def alone(cloud, name, image, flavor):
    image, flavor = cloud.image.find_image(image, ignore_missing=False), cloud.compute.find_flavor(flavor, ignore_missing=False)
    began = time.monotonic()
    server = cloud.compute.create_server(name=name, image_id=image.id, flavor_id=flavor.id, networks="none")
    until(cloud, server, lambda one: one.status == "ACTIVE")
    return {"active": time.monotonic() - began}


def only(cloud, prefix):
    for service in cloud.compute.services(binary="nova-compute"):
        if service.host.startswith(prefix):
            cloud.compute.enable_service(service)
        else:
            cloud.compute.disable_service(service)
    return {}


def move(cloud, name):
    server = cloud.compute.get_server(cloud.compute.find_server(name, ignore_missing=False).id)
    source, began = server.compute_host, time.monotonic()
    cloud.compute.live_migrate_server(server, host=None, block_migration="auto")
    until(cloud, server, lambda one: one.task_state is None and one.compute_host != source)
    return {"seconds": time.monotonic() - began}


def delete(cloud, name):
    server = cloud.compute.find_server(name)
    if server:
        for port in list(cloud.network.ports(device_id=server.id)):
            for address in list(cloud.network.ips(port_id=port.id)):
                cloud.network.delete_ip(address)
        cloud.compute.delete_server(server)
        cloud.compute.wait_for_delete(server)
    return {}


VERBS = {"create": create, "alone": alone, "move": move, "delete": delete, "only": only}
print(json.dumps(VERBS[sys.argv[1]](openstack.connect(cloud="admin"), *sys.argv[2:])))
