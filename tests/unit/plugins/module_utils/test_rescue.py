# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A lost hypervisor: what shows that it lives, and where its guests go."""

from __future__ import annotations

import os
import socket

import pytest
from ansible_collections.our.cloud.plugins.filter.rescue_plan import rescue_plan
from ansible_collections.our.cloud.plugins.module_utils._common.errors import CloudError
from ansible_collections.our.cloud.plugins.module_utils._guest import lease, rescue

GROUPS = {"hypervisors": ["one", "two", "three", "xen1"], "kvm": ["one", "two", "three"], "xen": ["xen1"]}
SILENT = {"signs": [], "renewed": False, "leases": []}


def guest(name, host="one", memory=512, **more):
    return {"name": name, "host": host, "kind": "kvm", "memory": memory, "image": "small", **more}


def info(free=4096, *guests):
    return {"memory": {"free": free, "total": 8192}, "guests": list(guests), "hypervisor": "qemu"}


def held(name, host):
    return {"name": name, "uuid": name, "host": host, "since": 0, "disks": [], "to": None}


def planned(entries, hosts, leases=(), **more):
    looks = {name: dict(SILENT, leases=list(leases)) for name in hosts}
    return rescue_plan(entries, "one", hosts, looks, GROUPS, **more)


def started(plan):
    return {host: [told["name"] for told in guests] for host, guests in plan["here"].items() if guests}


# --- does it live? ----------------------------------------------------------

@pytest.mark.parametrize("looks, ssh, fenced, word", [
    ({"two": SILENT}, False, False, ""),
    ({"two": SILENT}, True, False, "answers ssh"),
    ({"two": SILENT}, True, True, ""),
    ({"two": dict(SILENT, signs=["192.0.2.1 answers ping"])}, False, False, "answers ping (seen by two)"),
    ({"two": SILENT, "three": dict(SILENT, signs=["192.0.2.1 answers at port 22"])}, False, False, "seen by three"),
    ({"two": dict(SILENT, signs=["192.0.2.1 answers ping"])}, False, True, ""),
    ({"two": dict(SILENT, renewed=True)}, False, False, "lives"),
    # whoever says that it is fenced is wrong
    ({"two": SILENT, "three": dict(SILENT, renewed=True)}, False, True, "lives: it renews its heartbeat"),
    ({"two": dict(SILENT, renewed=None)}, False, False, "has never shown a heartbeat"),
    ({"two": dict(SILENT, renewed=None)}, False, True, ""),
    ({}, False, False, "nobody knows"),
    ({}, False, True, "nobody knows"),
])
def test_whether_it_may_be_taken_for_lost(looks, ssh, fenced, word):
    said = rescue.life("one", {name: rescue.Look.of(look) for name, look in looks.items()}, ssh, fenced)
    assert word in said and bool(word) == bool(said)


def test_a_look_is_whole_or_none():
    row = dict(held("web", "one"), disks=["/store/web.img"])
    assert rescue.Look.of({"signs": ["it answers"], "renewed": None, "leases": [row]}) == rescue.Look(
        ("it answers",), None, (rescue.Held("web", "one", ("/store/web.img",)),))
    for missing in ("signs", "renewed", "leases"):
        with pytest.raises(KeyError):
            rescue.Look.of({key: value for key, value in SILENT.items() if key != missing})


def test_signs_of_life_on_the_network(monkeypatch):
    server = socket.create_server(("127.0.0.1", 0))
    port = server.getsockname()[1]
    assert rescue.answers_tcp("127.0.0.1", port)
    server.close()
    # nothing listens, and the host says so
    assert rescue.answers_tcp("127.0.0.1", port)
    for silence in (TimeoutError("timed out"), OSError(113, "No route to host")):
        def refuse(*dummy, silence=silence, **more):
            raise silence

        monkeypatch.setattr(socket, "create_connection", refuse)
        assert not rescue.answers_tcp("192.0.2.1", port)
    assert rescue.signs("192.0.2.1", [22, 1], ping=lambda address: True, tcp=lambda address, port: port == 22) == [
        "192.0.2.1 answers ping", "192.0.2.1 answers at port 22"]


def test_who_answers_ping(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert rescue.answers_ping("192.0.2.1") is False
    (tmp_path / "ping").write_text('#!/bin/sh\n[ "$*" = "-c 3 -i 0.3 -W 2 192.0.2.1" ]\n')
    (tmp_path / "ping").chmod(0o755)
    assert rescue.answers_ping("192.0.2.1") is True and rescue.answers_ping("192.0.2.2") is False


def test_a_heartbeat_goes_on_or_not(tmp_path):
    (tmp_path / lease.MARKER).write_text("")
    assert rescue.renewed(str(tmp_path), "one", 0, 0) is None
    watch = lease.Watch(lease.Node("one", str(tmp_path), run=str(tmp_path / "run"), status=()))
    watch.round()
    assert rescue.renewed(str(tmp_path), "one", 0.05, 0, pause=lambda dummy: None) is False
    assert rescue.renewed(str(tmp_path), "one", 60, 0, pause=lambda dummy: watch.round()) is True
    assert rescue.renewed(str(tmp_path), "one", 0, 60, pause=lambda dummy: watch.round()) is True
    os.utime(tmp_path / lease.FOLDER / lease.NODES / "one", (0, 0))
    assert rescue.renewed(str(tmp_path), "one", 0, 60, pause=pytest.fail) is False
    told = rescue.look(str(tmp_path), "one", "", [22], 0)
    assert told == {"signs": [], "renewed": False, "leases": []}


@pytest.mark.parametrize("seconds, quiet, bound", [(20, 7, 50), (20, 100, 130)])
def test_a_look_that_hangs_ends(monkeypatch, seconds, quiet, bound):
    """The store has half a minute beside what the look itself takes."""
    bounds = []
    monkeypatch.setattr(rescue, "bounded", lambda call, seconds, *dummy: bounds.append(seconds) or {})
    rescue.look("/store", "one", "", [], seconds, quiet)
    assert bounds == [bound]


def test_who_has_no_store_cannot_tell(tmp_path):
    with pytest.raises(CloudError, match="not mounted"):
        rescue.look(str(tmp_path), "one", "", [], 0)


# --- where its guests go ----------------------------------------------------

def test_what_the_lost_host_has_a_lease_of_goes_elsewhere():
    plan = planned([guest("web"), guest("db", host="two"), guest("stays", host="two"), guest("moved")],
                   {"two": info(), "three": info()}, [held("web", "one"), held("db", "one"), held("stays", "two"), held("moved", "three")])
    assert plan["error"] == "" and plan["refused"] == []
    assert sorted(name for names in started(plan).values() for name in names) == ["db", "web"]
    # its home, where it is alive
    assert "db" in started(plan)["two"]


def test_guests_at_home_there_that_nobody_knows():
    copy = {"name": "known", "state": "stopped", "persistent": True, "active": False, "owner": "our.cloud"}
    plan = planned([guest("web"), guest("off", state="stopped"), guest("known", host="two"), guest("nova", host="two"), guest("runs")],
                   {"two": info(9000), "three": info(4096, copy, {**copy, "name": "nova", "owner": "nova"}, {**copy, "name": "runs", "active": True})})
    # who has a definition of it is the one that starts it: a rescue that broke off has made it there
    assert started(plan) == {"two": ["web"], "three": ["known"]}


def test_memory_counts_as_it_is_given_away():
    entries = [guest("a", memory=1000), guest("b", memory=900), guest("c", memory=800)]
    plan = planned(entries, {"two": info(1100), "three": info(1800)})
    assert started(plan) == {"two": ["b"], "three": ["a"]}
    assert len(plan["refused"]) == 1 and "c needs 864 MiB" in plan["refused"][0] and "736 MiB free" in plan["refused"][0]


def test_only_to_its_own_kind():
    plan = planned([guest("web")], {"xen1": info()})
    assert started(plan) == {} and "no other hypervisor of its kind" in plan["refused"][0]


def test_what_is_told_is_what_the_module_takes():
    plan = planned([guest("web", autostart=True)], {"two": info()}, store="/srv/cloud", bridge="br0")
    told = plan["here"]["two"][0]
    assert told["state"] == "running" and told["autostart"] is True and told["bridge"] == "br0" and told["memory"] == 512


def test_a_guest_that_the_inventory_does_not_have():
    plan = planned([], {"two": info()}, [held("stranger", "one")])
    assert started(plan) == {} and "stranger ran on one and is not in the inventory" in plan["lines"][0]
    assert planned([guest("web")], {"two": info()}, [held("web", "one"), held("elsewhere", "two")])["lines"] == ["web (512 MiB) starts on two."]


def test_refusals():
    assert "is no hypervisor of the inventory" in rescue_plan([], "nobody", {}, {}, GROUPS)["error"]
    assert "Give the lost one" in rescue_plan([], "", {}, {}, GROUPS)["error"]
    assert "no such key" in planned([guest("web", colour="red")], {"two": info()})["error"]
    # it answers itself
    plan = rescue_plan([guest("web")], "one", {"one": info(), "two": info()}, {"two": SILENT}, GROUPS, ssh=True)
    assert "answers ssh" in plan["error"]


def test_leases_of_a_clouds_instances_are_nova_s_business():
    leases = [dict(held("instance-1", "one"), disks=["/store/nova/instances/u/disk"]), dict(held("stranger", "one"), disks=["/store/disks/stranger.qcow2"])]
    looks = {"two": dict(SILENT, leases=leases)}
    told = rescue_plan([], "one", {"two": info()}, looks, dict(GROUPS, nc=["one", "two"]), store="/store")["lines"]
    assert len(told) == 1 and told[0].startswith("stranger ran on one and is not in the inventory")
    assert len(rescue_plan([], "one", {"two": info()}, looks, GROUPS, store="/store")["lines"]) == 2


def test_a_drained_hypervisor_takes_nothing():
    leases = [held("web", "one")]
    assert started(planned([guest("web")], {"two": dict(info(9000), drained=7), "three": info(900)}, leases)) == {"three": ["web"]}
    assert planned([guest("web")], {"two": dict(info(), drained=7), "three": info(100)}, leases)["refused"] == [
        "web needs 576 MiB and no hypervisor of its kind has more than 100 MiB free. Stop another guest, or give this one less memory. "
        "two is drained: playbooks/undrain.yml -e host=two opens it again."]
    assert planned([guest("web")], {"two": dict(info(), drained=0)}, leases)["refused"] == [
        "web needs 576 MiB and no other hypervisor of its kind (qemu) is open. two is drained: playbooks/undrain.yml -e host=two opens it again."]
