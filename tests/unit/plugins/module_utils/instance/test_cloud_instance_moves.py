# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An instance that moves, and which one is meant by a name."""

from __future__ import annotations

from types import SimpleNamespace as Thing

import pytest
from fake_cloud import Cloud, agent, port, server, service
from instance_samples import Clock, calls

from ansible_collections.our.cloud.plugins.module_utils._cloud import instance_move, instance_plan
from ansible_collections.our.cloud.plugins.module_utils._common.errors import CloudError
from ansible_collections.our.cloud.plugins.module_utils._guest import told as vm_info
from ansible_collections.our.cloud.plugins.module_utils._guest.instance_facts import InstanceFacts


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
    known = [InstanceFacts.of(each) for each in ([told()] if instances_ is None else instances_)]
    return instance_plan.plan(name, vm_info.read(site([domain()]) if hosts is None else hosts), target, mode, silent, {}, nodes, known)


@pytest.mark.parametrize("name", ["web", "u1", "instance-00000001"])
def test_an_instance_is_found(name):
    found = plan(name)
    assert (found.source, found.target, found.instance.id, found.error, found.name) == ("node1", "node2", "u1", "", "web")


def test_a_guest_is_planned_as_ever():
    hosts = site([domain("g", owner="our.cloud", name="db")])
    assert plan("db", hosts).instance is None and plan("db", hosts).target == "node2"


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
    ({"hosts": {**site([domain()]), "node2": {**site()["node2"], "drained": 7}}, "target": "node2"},
     "cannot go to node2: it is drained (playbooks/undrain.yml -e host=node2 opens it again)."),
    ({"nodes": ["node1"], "target": "node2"}, "cannot go to node2: it is no node controller (group nc)."),
    ({"nodes": ["node1"]}, "nowhere to go, there is no other node controller"),
    ({"target": "node9"}, "The target node9 is no hypervisor of this inventory"),
    ({"name": "nobody"}, "There is no guest nobody. Guests: none. Instances: web."),
])
def test_a_plan_that_cannot_be(more, words):
    assert words in plan(**more).error


def test_a_cloud_that_does_not_answer_is_told_where_it_matters():
    hosts = site([domain("g", owner="our.cloud", name="db")])
    assert "The cloud controller does not answer" in instance_plan.plan("web", vm_info.read(hosts), instances=None).error
    assert instance_plan.plan("db", vm_info.read(hosts), instances=None).error == ""
    assert "cloud" not in instance_plan.plan("web", vm_info.read(hosts), instances=[]).error


def test_it_is_where_it_is_wanted():
    assert plan(target="node1").already is True
