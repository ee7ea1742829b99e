# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An instance of the cloud: what is asked of nova and neutron, what is refused, and what is taken back."""

from __future__ import annotations

from types import SimpleNamespace as Thing

import pytest
from fake_cloud import Cloud, port, server, service
from instance_samples import Clock, FLAVOR, KEY, calls, ensure, params

from ansible_collections.our.cloud.plugins.module_utils._cloud import flavors, instance, instances, session
from ansible_collections.our.cloud.plugins.module_utils._common.errors import CloudError
from ansible_collections.our.cloud.plugins.module_utils._site.address_plan import guest_mac


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
