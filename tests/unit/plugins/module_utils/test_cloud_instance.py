# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An instance of the cloud: what is asked of nova and neutron, what is refused, and what is taken back."""

from __future__ import annotations

import json
import pathlib
import re
import subprocess
import sys
from types import SimpleNamespace as Thing

import pytest
from fake_cloud import Cloud, agent, flavor, port, server, service

from ansible_collections.our.cloud.plugins.module_utils._cloud import (
    explain, flavors, instance, instance_key, instance_move, instance_plan, instances, job, session)
from ansible_collections.our.cloud.plugins.module_utils._common.errors import CloudError
from ansible_collections.our.cloud.plugins.module_utils._site.address_plan import guest_mac

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOLL ada@home"


def params(**more):
    return {"name": "web", "state": "started", "image": None, "flavor": None, "network": "managed", "private": "private", "lan": "lan",
            "dhcp_group": "lan-dhcp",
            "address": None, "mac": None, "floating": False, "key": None, "public_key": None, "security_groups": [], "user_data": None, "host": None,
            "project": None, "hard": False, "keep_failed": False, "timeout": 10, **more}


class Clock:
    """Time that passes when somebody waits."""

    def __init__(self):
        self.time = 0.0

    def now(self):
        return self.time

    def pause(self, seconds):
        self.time += seconds


def ensure(cloud, check=False, tell=lambda text: None, **more):
    clock = Clock()
    return instance.Instance(cloud, params(**more), check, tell, clock.now, clock.pause).ensure()


def calls(cloud):
    return [call[0] for call in cloud.calls]


def test_one_is_made():
    cloud, steps = Cloud(), []
    result = ensure(cloud, image="stable", key="laptop", public_key=KEY, user_data="#!/bin/sh", host="node2", security_groups=["default", "login"],
                    floating=True,
                    tell=steps.append)
    key = cloud.keys[0].name
    assert key.startswith("laptop-") and cloud.keys[0].public_key == KEY
    assert cloud.calls[1:] == [
        ("create_server", {"name": "web", "image_id": "id-debian", "flavor_id": "id-tiny", "networks": [{"uuid": "id-private"}], "config_drive": False,
                           "security_groups": [{"name": "id-default"}, {"name": "id-login"}], "key_name": key, "user_data": "IyEvYmluL3No", "host": "node2"}),
        ("create_ip", {"floating_network_id": "id-lan", "port_id": "port-fa:16:3e:00:00:01", "description": "our.cloud instance web"})]
    assert result["actions"] == [f"key {key}", "create of debian as tiny on private", "floating address"]
    assert steps[-2:] == ["active on node1", "floating address"]
    told = result["instance"]
    assert (told["name"], told["project"], told["state"], told["host"], told["arch"], told["image"], told["address"]) == (
        "web", "physics", "running", "node1", "arm64", "debian", "10.0.0.5")


def test_a_second_run_does_nothing():
    cloud = Cloud([server()], [port()])
    assert ensure(cloud, image="emi-1", flavor="tiny", security_groups=["default"])["changed"] is False
    assert cloud.calls == []


def test_a_check_makes_nothing():
    cloud = Cloud()
    result = ensure(cloud, check=True, image="debian", network="system", public_key=KEY, floating=False)
    assert cloud.calls == [] and result["instance"] is None
    assert [action.split()[0] for action in result["actions"]] == ["key", "port", "create"]


def test_on_the_lan_it_has_a_port_without_an_address():
    cloud = Cloud()
    ensure(cloud, image="debian", network="system")
    assert cloud.calls == [
        ("create_port", {"network_id": "id-lan", "name": "web", "description": "our.cloud instance web", "mac_address": guest_mac("web"),
                         "security_group_ids": ["id-default", "id-lan-dhcp"], "fixed_ips": []}),
        ("create_server", {"name": "web", "image_id": "id-debian", "flavor_id": "id-tiny", "networks": [{"port": "port-" + guest_mac("web")}],
                           "config_drive": True})]


def test_a_static_address():
    cloud = Cloud()
    ensure(cloud, image="debian", network="static", address="192.0.2.9")
    assert cloud.calls[0][1]["networks"] == [{"uuid": "id-lan", "fixed_ip": "192.0.2.9"}] and cloud.calls[0][1]["config_drive"] is True


def test_what_a_run_that_broke_off_has_left_is_used_up():
    cloud = Cloud(ports=[port("00:16:3e:00:00:09", "", description="our.cloud instance web")],
                  ips=[Thing(id="ip", port_id=None, description="our.cloud instance web", floating_ip_address="192.0.2.7")])
    ensure(cloud, image="debian", network="system", floating=True)
    assert calls(cloud) == ["delete_port", "create_port", "create_server", "update_ip"]


@pytest.mark.parametrize("more, words", [
    ({}, "no image is named"),
    ({"image": "fedora"}, "there is no image fedora. There are: big, debian. our.cloud.register"),
    ({"image": "vmlinuz"}, "there is no image vmlinuz"),
    ({"image": "debian", "flavor": "huge"}, "there is no flavor huge. There are: large, tiny"),
    ({"image": "big", "flavor": "tiny"}, "needs 1024 MiB of memory and the flavor tiny has 128"),
    ({"image": "debian", "network": "office"}, "there is no network office. There are: lan, private"),
    ({"image": "debian", "network": "static"}, "needs an address"),
    ({"image": "debian", "security_groups": ["web"]}, "there is no security group web"),
    ({"image": "debian", "key": "laptop"}, "there is no key laptop. There are: none"),
])
def test_refusals_come_before_anything_is_made(more, words):
    cloud = Cloud()
    with pytest.raises(CloudError, match=words.replace("(", r"\(")):
        ensure(cloud, **more)
    assert cloud.calls == []


def test_the_smallest_flavor_that_fits_is_taken():
    cloud = Cloud()
    ensure(cloud, image="big")
    assert cloud.calls[0][1]["flavor_id"] == "id-large"


@pytest.mark.parametrize("more, words", [
    ({"image": "big"}, "was made of the image id-debian and not of id-big"),
    ({"flavor": "large"}, "has the flavor tiny and not large"),
])
def test_what_it_was_made_of_never_changes(more, words):
    with pytest.raises(CloudError, match=words):
        ensure(Cloud([server()], [port()]), **more)


def failing(cloud, name, **more):
    made = server(name, status="ERROR", compute_host=None, fault={"message": "No valid host was found. "})
    cloud.servers.append(made)
    return made


def test_one_that_fails_is_explained_and_taken_back():
    cloud = Cloud(services=[service("nova-compute", "node1", "down")], happens={"create_server": failing})
    with pytest.raises(CloudError) as error:
        ensure(cloud, image="debian", network="system")
    assert "has not become ACTIVE (error): no node controller takes instances: node1 (since 12:00) does not report. No valid host was found" in str(error.value)
    assert "On the nodes: `systemctl restart nova-compute`" in str(error.value)
    assert calls(cloud) == ["create_port", "create_server", "delete_server", "delete_port"] and cloud.servers == []


def test_one_that_fails_is_left_if_that_is_wanted():
    cloud = Cloud(happens={"create_server": failing})
    with pytest.raises(CloudError, match="no node passes the scheduler's filters"):
        ensure(cloud, image="debian", keep_failed=True)
    assert len(cloud.servers) == 1


def test_one_that_takes_too_long_is_told_so():
    def slow(cloud, name, **more):
        cloud.servers.append(server(name, status="BUILD", task_state="scheduling", compute_host=None))
        return cloud.servers[0]

    cloud = Cloud(happens={"create_server": slow}, chosen="node2")
    with pytest.raises(CloudError, match="within 10 s .build, scheduling.: nova-compute on node2 was told to make it and has not begun.*"
                                         "On node2: .systemctl restart"):
        ensure(cloud, image="debian")
    assert cloud.servers == []


def test_a_service_that_is_restarted_meanwhile_ends_nothing():
    fails = iter(range(3))

    def slow(cloud, name, **more):
        usual = cloud.did

        def did(call, *args, **more):
            if call == "get_server" and next(fails, None) is not None:
                raise CloudError("", "nova", "502")
            return usual(call, *args, **more)
        cloud.did = did
        return cloud.make(name)

    cloud = Cloud(happens={"create_server": slow})
    assert ensure(cloud, image="debian")["instance"]["state"] == "running" and next(fails, None) is None
    clock = Clock()

    def away():
        raise CloudError("", "nova", "away")

    with pytest.raises(CloudError, match="away"):
        instances.patiently(away, "x", clock.now, clock.pause)
    assert clock.time > instances.PATIENCE


def test_a_failure_of_taking_back_is_told_with_the_first():
    def refuse(cloud, *args, **more):
        raise CloudError("", "nova", "no")

    with pytest.raises(CloudError, match="could not be removed: nova: no. our.cloud.terminate removes it"):
        ensure(Cloud(happens={"create_server": failing, "delete_server": refuse}), image="debian")


@pytest.mark.parametrize("status, state, expected", [
    ("SHUTOFF", "started", ["start_server"]), ("PAUSED", "started", ["unpause_server"]), ("SUSPENDED", "started", ["resume_server"]), ("ACTIVE", "started", []),
    ("ACTIVE", "stopped", ["stop_server"]), ("SHUTOFF", "stopped", []), ("ACTIVE", "present", []), ("SHUTOFF", "present", []),
    ("ACTIVE", "rebooted", ["reboot_server"]), ("SHUTOFF", "rebooted", ["start_server"]),
])
def test_states(status, state, expected):
    def become(after):
        def step(cloud, *args):
            cloud.servers[0].status = after
        return step

    cloud = Cloud([server(status=status)], [port()], happens={
        **dict.fromkeys(("start_server", "unpause_server", "resume_server", "reboot_server"), become("ACTIVE")), "stop_server": become("SHUTOFF")})
    assert ensure(cloud, state=state)["changed"] is bool(expected)
    assert calls(cloud) == expected


def test_a_failed_one_is_explained():
    for state in ("present", "started"):
        with pytest.raises(CloudError, match="disk is gone"):
            ensure(Cloud([server(status="ERROR", fault={"message": "disk is gone"})], [port()]), state=state)


@pytest.mark.parametrize("states, looks", [(["DELETED", None], 2), (["SOFT_DELETED"], 1), (["ACTIVE", "DELETED", None], 3)])
def test_it_is_gone_when_nova_does_not_list_it(states, looks):
    left = list(states)

    def next_state(cloud, *dummy, **more):
        if left[0] is None:
            cloud.servers.clear()
        else:
            cloud.servers[0].status = left[0]
        return left.pop(0)

    cloud, paused = Cloud([server()], [port()], happens={"delete_server": next_state}), []

    def pause(seconds):
        paused.append(seconds)
        next_state(cloud)

    result = instance.Instance(cloud, params(state="absent"), pause=pause).ensure()
    assert result["changed"] and (len(paused), left) == (looks - 1, [])


def test_it_goes_with_what_was_made_for_it():
    mine, others = "our.cloud instance web", Thing(id="theirs", port_id="port-fa:16:3e:00:00:01", description="", floating_ip_address="192.0.2.8")
    floating = Thing(id="ip", port_id="port-fa:16:3e:00:00:01", description=mine, floating_ip_address="192.0.2.7")
    cloud = Cloud([server()], [port(description=mine)], [floating, others])
    result = ensure(cloud, name="id-web", state="absent")
    assert [call[:2] for call in cloud.calls] == [("delete_ip", "ip"), ("delete_server", "id-web"), ("delete_port", "port-fa:16:3e:00:00:01")]
    assert result == {"changed": True, "actions": ["release 192.0.2.7", "delete", "delete port fa:16:3e:00:00:01"], "instance": None}
    assert ensure(Cloud(), state="absent")["changed"] is False


def test_two_of_one_name_are_refused():
    with pytest.raises(CloudError, match="there are 2 of this name: id-a, id-b. Give the id"):
        ensure(Cloud([server("web", id="id-a"), server("web", id="id-b")]))


def test_groups_of_one_that_exists_are_changed():
    cloud = Cloud([server()], [port()])
    ensure(cloud, security_groups=["login"])
    assert cloud.calls == [("update_port", "port-fa:16:3e:00:00:01", {"security_group_ids": ["id-login"]})]


def test_without_a_cloud_a_check_says_what_would_be_made(monkeypatch):
    def none():
        raise session.NotThere("clc", "cloud admin", "no")

    monkeypatch.setattr(session, "connect", none)
    assert instance.ensure(params(image="debian"), True)["actions"] == ["create"]
    assert instance.ensure(params(state="absent"), True)["changed"] is False
    with pytest.raises(session.NotThere):
        instance.ensure(params(image="debian"), False)
    assert [step.name for step in flavors.ensure([FLAVOR], True)] == ["tiny"]


# -- why ------------------------------------------------------------------------

UP = [("nova-compute", "node1", True, True, ""), ("nova-compute", "node2", True, True, "")]
TAKEN = {"event": explain.TAKEN, "result": None, "host": "node1", "ended": False, "why": ""}
READY = {"mac": "m", "status": "ACTIVE", "vif": "ovs", "host": "node1"}


@pytest.mark.parametrize("facts, cause, remedy", [
    ({"status": "BUILD", "task": "scheduling", "services": UP}, "neither nova-conductor nor nova-scheduler has chosen a node",
     "systemctl restart nova-conductor"),
    ({"status": "BUILD", "task": "scheduling", "services": [("nova-scheduler", "clc", False, True, "12:00")]},
     "nova-scheduler on clc has not reported since 12:00",
     "On clc: `systemctl restart nova-scheduler`"),
    ({"status": "BUILD", "task": "scheduling", "chosen": "node2", "services": UP}, "nova-compute on node2 was told",
     "On node2: `systemctl restart nova-compute`"),
    ({"status": "BUILD", "task": "spawning", "host": "node1", "events": [TAKEN], "ports": [dict(READY, status="DOWN")], "agents": [("OVN", "node2", True)]},
     "OVN knows no chassis node1", "hostname=node1"),
    ({"status": "BUILD", "task": "spawning", "host": "node1", "events": [TAKEN], "ports": [dict(READY, status="DOWN")], "agents": [("OVN", "node1", False)]},
     "OVN on node1 is not alive", "systemctl status ovn-controller"),
    ({"status": "BUILD", "task": "spawning", "host": "node1", "events": [TAKEN], "ports": [dict(READY, status="DOWN")]}, "its port m is not plugged on node1",
     "ovn-controller"),
    ({"status": "BUILD", "task": "spawning", "host": "node1", "events": [TAKEN], "ports": [READY]}, "has not been told that its port is ready",
     "section \\[nova\\]"),
    ({"status": "BUILD", "task": "block_device_mapping", "host": "node1", "events": [TAKEN]}, "node1 is still at it",
     "/var/log/nova/nova-compute.log on node1"),
    ({"status": "ERROR", "fault": "No valid host was found.", "room": False, "wants": "9 MiB, 1 CPUs and 1 GiB", "services": UP},
     "none of node1, node2 has 9 MiB, 1 CPUs and 1 GiB left", "smaller flavor"),
    ({"status": "ERROR", "fault": "No valid host was found.", "room": True, "services": UP}, "no node passes the scheduler's filters", "nova-scheduler.log"),
    ({"status": "ERROR", "fault": "No valid host was found.", "room": True, "services": UP,
      "events": [{"event": "x", "result": "Error", "host": "node1", "ended": True, "why": "qemu died"}]}, "no node could start it: qemu died",
     "nova-scheduler.log"),
    ({"status": "ERROR", "fault": "Host 'node3' is not mapped to any cell"}, "a node is in no cell yet", "our.cloud.cloud"),
    ({"status": "ERROR", "fault": "Image 1 could not be found."}, "its image, or the kernel or ramdisk of it, is not in Glance", "our.cloud.register"),
    ({"status": "ERROR", "fault": "disk does not pass safety check"}, "nova considers its image unsafe", "partition table"),
    ({"status": "ERROR", "fault": "Build of instance aborted: Failed to allocate the network", "host": "node1", "agents": [("OVN", "node2", True)],
      "ports": [dict(READY, vif="binding_failed")]}, "OVN knows no chassis node1", "hostname=node1"),
    ({"status": "ERROR", "fault": "x", "host": "node1", "ports": [dict(READY, vif="binding_failed")]}, "its port m could not be bound on node1",
     "neutron-api.log"),
    ({"status": "ERROR", "fault": "disk is gone.", "host": "node1"}, "^disk is gone$", "/var/log/nova/nova-compute.log on node1"),
    ({"status": "ERROR", "fault": "disk is gone."}, "disk is gone", "nova-conductor.log"),
    ({"status": "ACTIVE"}, "nothing tells why", "^$"),
    ({"status": "ERROR", "fault": "x", "console": ["a", "b"]}, "x. Its console's last lines: a | b", ""),
    ({"status": "ERROR", "fault": "x", "unasked": ["neutron does not answer: 503"]}, "x. neutron does not answer: 503", ""),
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
    assert facts.unasked == ["neutron does not answer: 503 no backend", "neutron's list of agents does not answer: 503 no backend"]
    assert facts.events == [{"event": "e", "result": "Error", "host": "node1", "ended": True, "why": "LibvirtError: no"}]
    assert facts.console == ["Linux", "login:"]


def test_a_console_has_no_words_for_terminals():
    cloud = Cloud()
    cloud.console = "\x1b[6n~ # \x1b[1;31mred\x1b[0m\r\n\n a\x07b\nlast\n"
    assert instances.console(cloud, server(), 2) == [" ab", "last"]
    assert instances.console(cloud, server(), 9)[0] == "~ # red"


# -- moves ----------------------------------------------------------------------

def move(cloud, check=False, answers=lambda address, seconds: True, tell=lambda text: None, **more):
    clock = Clock()
    asked = {"name": "web", "target": "node2", "timeout": 20, "address_timeout": 60, **more}
    return instance_move.Move(cloud, asked, check, tell, clock.now, clock.pause, answers).run()


def moves(after="node2", record="completed", fault=None):
    def step(cloud, identity, **more):
        cloud.servers[0].task_state = "migrating"
        cloud.under_way.append(Thing(id=7, status="running", memory_processed_bytes=3 << 20, memory_remaining_bytes=1 << 20, memory_total_bytes=4 << 20))
        seen = iter(range(3))
        usual = cloud.did

        def did(call, *args, **more):
            if call == "get_server" and next(seen, None) is None:
                cloud.servers[0].task_state, cloud.servers[0].compute_host = None, after
                cloud.migrations.append(Thing(id=7, status=record))
            return usual(call, *args, **more)
        cloud.did = did
    return step


def test_a_move():
    cloud, steps = Cloud([server()], [port()], happens={"live_migrate_server": moves()}), []
    result = move(cloud, tell=steps.append)
    assert cloud.calls == [("live_migrate_server", "id-web", {"host": "node2", "block_migration": "auto"})]
    assert {key: result[key] for key in ("changed", "source", "target", "mode", "transferred", "address", "address_answers")} == {
        "changed": True, "source": "node1", "target": "node2", "mode": "live", "transferred": 3 << 20, "address": "10.0.0.5", "address_answers": True}
    assert steps == ["node1 -> node2: asked", "node1 -> node2: running, 1 MiB of 4 MiB left"]


def test_one_of_its_name_that_is_deleted_keeps_it_from_nothing():
    cloud = Cloud([server(), server(id="id-former", status="DELETED")], [port()], happens={"live_migrate_server": moves()})
    assert move(cloud)["changed"] and cloud.calls[0][1] == "id-web"


def test_it_is_there_already():
    assert move(Cloud([server(compute_host="node2")], [port()]))["changed"] is False


def test_a_check_moves_nothing():
    cloud = Cloud([server()], [port()])
    assert move(cloud, check=True)["changed"] is True and cloud.calls == []


def test_an_agent_of_the_metadata_that_is_away_keeps_nobody():
    agents = [agent("node1"), agent("node2"), agent("node2", False, "OVN Metadata agent")]
    assert move(Cloud([server()], [port()], agents=agents), check=True)["changed"] is True


def test_a_move_that_nova_gives_up_is_explained():
    cloud = Cloud([server()], [port()], happens={"live_migrate_server": moves("node1", "error")}, actions=[
        Thing(start_time="1", request_id="r", action="live-migration", events=[{"event": "pre", "host": "node2", "details": "no shared storage"}])])
    with pytest.raises(CloudError, match="it was not moved and is ACTIVE on node1: pre on node2: no shared storage"):
        move(cloud)


def test_a_move_of_which_nova_tells_nothing_sends_to_the_logs():
    cloud = Cloud([server()], [port()], happens={"live_migrate_server": moves("node1", "failed")})
    with pytest.raises(CloudError, match="is ACTIVE on node1: nova's record of it says failed, and the nodes' logs alone say why. "
                                         "`grep id-web /var/log/nova/nova-compute.log` on node1 and node2 tells more"):
        move(cloud)


def test_a_move_without_end_is_given_up():
    def never(cloud, *args, **more):
        cloud.servers[0].task_state = "migrating"
        cloud.under_way.append(Thing(id=7, status="running", memory_processed_bytes=None, memory_remaining_bytes=None, memory_total_bytes=None))

    cloud = Cloud([server()], [port()], happens={"live_migrate_server": never})
    with pytest.raises(CloudError, match="not ended within 20 s; nova was told to stop it"):
        move(cloud)
    assert calls(cloud) == ["live_migrate_server", "abort_server_migration"]


def test_an_address_that_fell_silent_is_told():
    asked = []
    with pytest.raises(CloudError, match="it runs on node2 and 10.0.0.5 has not answered since"):
        move(Cloud([server()], [port()], happens={"live_migrate_server": moves()}),
             answers=lambda address, seconds: not asked.append(seconds) and len(asked) == 1)
    assert asked == [2, 60]


@pytest.mark.parametrize("its, more, words", [
    ({"status": "SHUTOFF"}, {}, "it is SHUTOFF, and nova only moves running instances"),
    ({"task_state": "rebooting"}, {}, "it is busy .rebooting."),
    ({"is_locked": True}, {}, "server unlock web"),
    ({}, {"services": [service("nova-compute", "node1")]}, "the target node2 is no node controller. There are: node1"),
    ({}, {"services": [service("nova-compute", "node1"), service("nova-compute", "node2", "down")]},
     "nova-compute on the target node2 has not reported since 12:00"),
    ({}, {"services": [service("nova-compute", "node1", "down"), service("nova-compute", "node2")]}, "nova-compute on the source node1 has not reported"),
    ({}, {"services": [service("nova-compute", "node1"), service("nova-compute", "node2", status="disabled")]}, "node2 is closed to new instances"),
    ({}, {"agents": [agent("node1")]}, "OVN knows no chassis node2"),
    ({}, {"agents": [agent("node1"), agent("node2", False)]}, "OVN Controller agent on node2 is not alive"),
])
def test_moves_that_are_refused(its, more, words):
    cloud = Cloud([server(**its)], [port()], **more)
    with pytest.raises(CloudError, match=words):
        move(cloud)
    assert cloud.calls == []


# -- what is to be moved ----------------------------------------------------------

def told(name="web", host="node1", identity="u1", **more):
    return {"name": name, "id": identity, "project": "physics", "state": "running", "status": "ACTIVE", "host": host,
            "domain": "instance-00000001", "memory": 128,
            "fault": None, **more}


def domain(uuid="u1", active=True, owner="nova", name="instance-00000001"):
    return {"name": name, "uuid": uuid, "active": active, "state": "running" if active else "stopped", "owner": owner, "memory": 128, "kind": "qemu",
            "persistent": True, "reason": None}


def site(node1=(), node2=(), free=(999, 999)):
    return {host: {"hypervisor": "qemu", "guests": list(found), "memory": {"free": left}}
            for host, found, left in zip(("node1", "node2"), (node1, node2), free)}


def plan(name="web", hosts=None, target=None, mode=None, silent=(), nodes=("node1", "node2"), instances_=None):
    cloud = {"instances": [told()] if instances_ is None else instances_}
    return instance_plan.plan(name, site([domain()]) if hosts is None else hosts, target, mode, silent, {}, nodes, cloud)


@pytest.mark.parametrize("name", ["web", "u1", "instance-00000001"])
def test_an_instance_is_found(name):
    found = plan(name)
    assert (found["source"], found["target"], found["instance"]["id"], found["error"], found["name"]) == ("node1", "node2", "u1", "", "web")


def test_a_guest_is_planned_as_ever():
    hosts = site([domain("g", owner="our.cloud", name="db")])
    assert plan("db", hosts)["instance"] is None and plan("db", hosts)["target"] == "node2"


@pytest.mark.parametrize("more, words", [
    ({"hosts": site([domain("g", owner="our.cloud", name="web"), domain()])}, "web is a guest on node1 and an instance (u1 of project physics)"),
    ({"instances_": [told(), told(identity="u2", project="arts")]},
     "There are 2 instances web: u1 of project physics, u2 of project arts. Give the id of one."),
    ({"mode": "suspend"}, "instances only move live"),
    ({"instances_": [told(host=None, state="failed")]}, "web is on no node (failed)"),
    ({"hosts": {"node2": site()["node2"]}, "silent": ["node1"]}, "node1, which runs web, could not be asked. Bring node1 up"),
    ({"hosts": site()}, "nova has web on node1, and libvirt there does not run it"),
    ({"hosts": site([domain()], [domain()])}, "runs on node1 and node2 at once"),
    ({"hosts": site([domain()], free=(999, 100))}, "nowhere to go: node2 has 100 MiB free and web needs 192 MiB"),
    ({"hosts": site([domain()], free=(999, 100)), "target": "node2"}, "cannot go to node2: it has 100 MiB free"),
    ({"nodes": ["node1"], "target": "node2"}, "cannot go to node2: it is no node controller (group nc)."),
    ({"nodes": ["node1"]}, "nowhere to go, there is no other node controller"),
    ({"target": "node9"}, "The target node9 is no hypervisor of this inventory"),
    ({"name": "nobody"}, "There is no guest nobody. Guests: none. Instances: web."),
])
def test_a_plan_that_cannot_be(more, words):
    assert words in plan(**more)["error"]


def test_a_cloud_that_does_not_answer_is_told_where_it_matters():
    hosts = site([domain("g", owner="our.cloud", name="db")])
    assert "The cloud controller does not answer" in instance_plan.plan("web", hosts, cloud=None)["error"]
    assert instance_plan.plan("db", hosts, cloud=None)["error"] == ""
    assert "cloud" not in instance_plan.plan("web", hosts, cloud=instance_plan.NO_CLOUD)["error"]


def test_it_is_where_it_is_wanted():
    assert plan(target="node1")["already"] is True


# -- keys, flavors, progress ---------------------------------------------------------

PROJECTS = [{"name": "physics", "users": [{"name": "ada", "keys": [{"name": "laptop", "public_key": "ssh-ed25519 AAAAlaptop"}]}, {"name": "bob"}]}]
FILES = {"/home/a/.ssh/id_rsa.pub": "ssh-rsa AAAAB3NzaC1yc2EAAAADAQAB a\n", "/home/a/.ssh/id_ed25519.pub": KEY + "\n", "/home/a/.ssh/notes.pub": "no key"}


@pytest.mark.parametrize("projects, key, project, files, name, public", [
    (PROJECTS, "", "physics", FILES, "laptop", "ssh-ed25519 AAAAlaptop"),
    (PROJECTS, "laptop", "", {}, "laptop", "ssh-ed25519 AAAAlaptop"),
    (PROJECTS, "", "arts", FILES, "key", KEY),
    ([], "id_rsa", "", FILES, "key", FILES["/home/a/.ssh/id_rsa.pub"].strip()),
    ([], "/home/a/.ssh/id_rsa", "", FILES, "key", FILES["/home/a/.ssh/id_rsa.pub"].strip()),
    ([], KEY, "", {}, "key", KEY),
])
def test_which_key(projects, key, project, files, name, public):
    assert instance_key.choose(projects, key, project, files) == {"name": name, "public_key": public, "error": ""}


def test_no_key():
    assert "ssh-keygen" in instance_key.choose([], "", "", {})["error"]
    assert instance_key.choose(PROJECTS, "home", "", FILES)["error"] == (
        "There is no ssh key home. There are: laptop, /home/a/.ssh/id_ed25519.pub, /home/a/.ssh/id_rsa.pub.")


FLAVOR = {"name": "tiny", "memory": 128, "vcpus": 1, "disk": 1, "state": "present"}


def test_flavors():
    known = [flavor("tiny", 64), flavor("old"), flavor("same")]
    steps = flavors.plan([FLAVOR, dict(FLAVOR, name="old", state="absent"), dict(FLAVOR, name="none", state="absent"), dict(FLAVOR, name="same"),
                          dict(FLAVOR, name="new", memory=512)], known)
    assert [(step.name, step.old, step.before, step.after) for step in steps] == [
        ("tiny", "id-tiny", "tiny: 64 MiB, 1 CPUs, 1 GiB", "tiny: 128 MiB, 1 CPUs, 1 GiB"), ("old", "id-old", "old: 128 MiB, 1 CPUs, 1 GiB", ""),
        ("new", None, "", "new: 512 MiB, 1 CPUs, 1 GiB")]
    cloud = Cloud()
    flavors.apply(cloud, steps)
    assert cloud.calls == [
        ("delete_flavor", "id-tiny", {"ignore_missing": True}), ("create_flavor", {"name": "tiny", "ram": 128, "vcpus": 1, "disk": 1}),
        ("delete_flavor", "id-old", {"ignore_missing": True}), ("create_flavor", {"name": "new", "ram": 512, "vcpus": 1, "disk": 1})]
    with pytest.raises(CloudError, match="declared twice"):
        flavors.plan([FLAVOR, FLAVOR], [])


def test_a_job_begins_as_a_unit_and_ends_with_a_result(tmp_path, monkeypatch):
    asked = []

    def run(argv, **more):
        asked.append(argv)
        return Thing(returncode=0, stderr="")

    module_utils = pathlib.Path(job.__file__).parents[1]
    begun = job.begin("instance", {"name": "web"}, job.pack(str(module_utils)), str(tmp_path), run)
    folder = pathlib.Path(begun["folder"])
    assert asked[0][:6] == ["systemd-run", "--quiet", "--collect", "--service-type=exec", "--unit", begun["unit"]] and asked[0][-1] == begun["folder"]
    assert (folder / "request.json").stat().st_mode & 0o777 == 0o600
    # the code is whole: it comes to the question for the cloud
    done = subprocess.run([sys.executable, "-c", f"import sys; sys.path.insert(0, {str(folder / 'code.zip')!r}); "
                           f"from ansible_collections.our.cloud.plugins.module_utils._cloud import instance, instance_move, job; print(job.__file__)"],
                          capture_output=True, text=True, check=True, cwd=tmp_path)
    assert "code.zip" in done.stdout
    monkeypatch.setattr(instance, "ensure", lambda params, check, tell: tell("one") or tell("two") or {"changed": True, "name": params["name"]})
    assert job.main(str(folder)) == 0
    assert [line.split("s  ")[1] for line in (folder / "steps").read_text(encoding="utf-8").splitlines()] == ["one", "two"]
    assert json.loads((folder / "result.json").read_text(encoding="utf-8")) == {"changed": True, "name": "web"}


@pytest.mark.parametrize("error, words", [(CloudError("", "instance web", "no"), "instance web: no"), (KeyError("x"), "KeyError: 'x'")])
def test_a_job_that_fails_says_so(tmp_path, monkeypatch, error, words):
    def fail(params, check, tell):
        raise error

    monkeypatch.setattr(instance, "ensure", fail)
    (tmp_path / "request.json").write_text('{"kind": "instance", "params": {}}', encoding="utf-8")
    assert job.main(str(tmp_path)) == 1
    result = json.loads((tmp_path / "result.json").read_text(encoding="utf-8"))
    assert result["failed"] is True and result["msg"] == words


def test_a_job_that_cannot_begin(tmp_path):
    with pytest.raises(CloudError, match="could not be started as a unit of systemd .no bus."):
        job.begin("instance", {"name": "web"}, "", str(tmp_path), lambda argv, **more: Thing(returncode=1, stderr="no bus\n"))


@pytest.mark.parametrize("active, result, expected", [
    ("active", None, None), ("activating", None, None), ("", None, None), ("inactive", {"changed": True}, {"changed": True}),
    ("active", {"changed": True}, {"changed": True}),
    ("failed", None, {"failed": True, "msg": "the job ended without a result: `journalctl -u u.service` there may tell why"}),
])
def test_what_came_of_a_job(active, result, expected):
    assert job.verdict(active, result, "u.service") == expected
