# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Why an instance is not what was asked for, and what its console says."""

from __future__ import annotations

import re
from types import SimpleNamespace as Thing

import pytest
from fake_cloud import Cloud, server

from ansible_collections.our.cloud.plugins.module_utils._cloud import explain, instances
from ansible_collections.our.cloud.plugins.module_utils._cloud.explain import Agent, Event, Port, Service

UP = (Service("nova-compute", "node1", True, True), Service("nova-compute", "node2", True, True))
TAKEN = (Event(explain.TAKEN, None, "node1"),)
READY = (Port("m", "ACTIVE", "ovs", "node1"),)
DOWN = (Port("m", "DOWN", "ovs", "node1"),)
UNBOUND = (Port("m", "ACTIVE", "binding_failed", "node1"),)


@pytest.mark.parametrize("facts, cause, remedy", [
    ({"status": "BUILD", "task": "scheduling", "services": UP}, "neither nova-conductor nor nova-scheduler has chosen a node",
     "systemctl restart nova-conductor"),
    ({"status": "BUILD", "task": "scheduling", "services": (Service("nova-scheduler", "clc", False, True, "12:00"),)},
     "nova-scheduler on clc has not reported since 12:00",
     "On clc: `systemctl restart nova-scheduler`"),
    ({"status": "BUILD", "task": "scheduling", "chosen": "node2", "services": UP}, "nova-compute on node2 was told",
     "On node2: `systemctl restart nova-compute`"),
    ({"status": "BUILD", "task": "spawning", "host": "node1", "events": TAKEN, "ports": DOWN, "agents": (Agent("OVN", "node2", True),)},
     "OVN knows no chassis node1", "hostname=node1"),
    ({"status": "BUILD", "task": "spawning", "host": "node1", "events": TAKEN, "ports": DOWN, "agents": (Agent("OVN", "node1", False),)},
     "OVN on node1 is not alive", "systemctl status ovn-controller"),
    ({"status": "BUILD", "task": "spawning", "host": "node1", "events": TAKEN, "ports": DOWN}, "its port m is not plugged on node1",
     "ovn-controller"),
    ({"status": "BUILD", "task": "spawning", "host": "node1", "events": TAKEN, "ports": READY}, "has not been told that its port is ready",
     "section \\[nova\\]"),
    ({"status": "BUILD", "task": "block_device_mapping", "host": "node1", "events": TAKEN}, "node1 is still at it",
     "/var/log/nova/nova-compute.log on node1"),
    ({"status": "ERROR", "fault": "No valid host was found.", "room": False, "wants": "9 MiB, 1 CPUs and 1 GiB", "services": UP},
     "none of node1, node2 has 9 MiB, 1 CPUs and 1 GiB left", "smaller flavor"),
    ({"status": "ERROR", "fault": "No valid host was found.", "room": True, "services": UP}, "no node passes the scheduler's filters", "nova-scheduler.log"),
    ({"status": "ERROR", "fault": "No valid host was found.", "room": True, "services": UP,
      "events": (Event("x", "Error", "node1", True, "qemu died"),)}, "no node could start it: qemu died",
     "nova-scheduler.log"),
    ({"status": "ERROR", "fault": "Host 'node3' is not mapped to any cell"}, "a node is in no cell yet", "our.cloud.cloud"),
    ({"status": "ERROR", "fault": "Image 1 could not be found."}, "its image, or the kernel or ramdisk of it, is not in Glance", "our.cloud.register"),
    ({"status": "ERROR", "fault": "disk does not pass safety check"}, "nova considers its image unsafe", "partition table"),
    ({"status": "ERROR", "fault": "Build of instance aborted: Failed to allocate the network", "host": "node1", "agents": (Agent("OVN", "node2", True),),
      "ports": UNBOUND}, "OVN knows no chassis node1", "hostname=node1"),
    ({"status": "ERROR", "fault": "x", "host": "node1", "ports": UNBOUND}, "its port m could not be bound on node1",
     "neutron-api.log"),
    ({"status": "ERROR", "fault": "disk is gone.", "host": "node1"}, "^disk is gone$", "/var/log/nova/nova-compute.log on node1"),
    ({"status": "ERROR", "fault": "disk is gone."}, "disk is gone", "nova-conductor.log"),
    ({"status": "ACTIVE"}, "nothing tells why", "^$"),
    ({"status": "ERROR", "fault": "x", "console": ("a", "b")}, "x. Its console's last lines: a | b", ""),
    ({"status": "ERROR", "fault": "x", "unasked": ("neutron does not answer: 503",)}, "x. neutron does not answer: 503", ""),
])
def test_why(facts, cause, remedy):
    said, advice = explain.text(explain.Facts(**facts))
    assert re.search(cause, said) and re.search(remedy, advice), (said, advice)


def test_who_does_not_answer_is_told():
    def broken(*args, **more):
        raise RuntimeError("503\nno backend")

    cloud = Cloud([server()], actions=[Thing(start_time="1", request_id="r", action="create", events=[
        {"event": "e", "result": "Error", "host": "node1", "finish_time": "2", "traceback": "Traceback\n  File\nLibvirtError: no\n"}])])
    cloud.network = Thing(ports=broken, agents=broken)
    facts = explain.gather(cloud, server(status="ERROR"))
    assert facts.unasked == ("neutron does not answer: 503 no backend", "neutron's list of agents does not answer: 503 no backend")
    assert facts.events == (Event("e", "Error", "node1", True, "LibvirtError: no"),)
    assert facts.console == ("Linux", "login:")


def test_a_console_has_no_words_for_terminals():
    cloud = Cloud()
    cloud.console = "\x1b[6n~ # \x1b[1;31mred\x1b[0m\r\n\n a\x07b\nlast\n"
    assert instances.console(cloud, server(), 2) == [" ab", "last"]
    assert instances.console(cloud, server(), 9)[0] == "~ # red"
