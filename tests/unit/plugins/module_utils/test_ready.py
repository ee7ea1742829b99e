# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""May a machine be switched off now? Each reason why not."""

from __future__ import annotations

import pytest
from ansible_collections.our.cloud.plugins.filter.ready_verdict import ready_verdict

GROUPS = {"all": ["front", "store", "k1", "k2", "x1", "web"], "gateway": ["front"], "image_store": ["store", "front"], "hypervisors": ["k1", "k2", "x1"],
          "kvm": ["k1", "k2"], "xen": ["x1"], "oar_nodes": ["web"]}
CLOUD = {**GROUPS, "clc": ["front"], "cc": ["front"], "nc": ["k1", "k2"]}
LEASES = {"leases": []}


def guest(name, **more):
    """As vm_info tells it."""
    return {"name": name, "uuid": f"id-{name}", "active": True, "state": "running", "memory": 256, "kind": "kvm", "arch": "x86_64", "persistent": True,
            "owner": "our.cloud", **more}


def off(name, **more):
    return guest(name, active=False, state="stopped", **more)


def node(*guests, **more):
    return {"hypervisor": "qemu", "memory": {"free": 4096}, "guests": list(guests), **more}


def verdict(*guests, groups=None, other=(), host="k1", leases=None, more=None, **asked):
    hosts = {"k1": node(*guests, **{"drained": 7, **(more or {})}), "k2": node(*other)}
    return ready_verdict(hosts, host, groups or GROUPS, leases=LEASES if leases is None else leases, **asked)


def test_yes():
    assert verdict() == {"error": "", "wrong": "", "reasons": [], "notes": []}


@pytest.mark.parametrize("guests, more, reasons", [
    ([guest("web")], {}, ["web runs on k1. playbooks/drain.yml -e host=k1 moves it."]),
    ([guest("web", state="paused")], {}, ["web is paused on k1. playbooks/drain.yml -e host=k1 moves it."]),
    ([guest("web", owner="proxmox")], {}, ["web on k1 belongs to proxmox: nothing here touches it. Move or stop it by what made it."]),
    ([guest("web", migration={"target": "k2"})], {}, ["web is on its way to k2. Wait for that to end."]),
    ([guest("web", migration={"percent": 1})], {}, ["web is on its way to ?. Wait for that to end."]),
    ([off("web", managed_save=True)], {}, ["The memory of web is saved on k1, where alone it can go on: `virsh start web` there and move it; "
                                           "or, if it may begin anew, `virsh managedsave-remove web`."]),
    ([], {"drained": None}, ["k1 is not drained, so guests may be placed there at any time. playbooks/drain.yml -e host=k1 prevents that."]),
    ([], {"orphans": [{"domid": 4, "name": "g", "memory": 9}]}, ["Xen domain 4 (g) on k1 is unknown to libvirt, left by an arrival that broke off. "
                                                                 "our.cloud.vm with state absent removes it there."]),
])
def test_no(guests, more, reasons):
    assert verdict(*guests, more=more)["reasons"] == reasons


def test_what_comes():
    comes = guest("web", migration={"target": "k1"})
    reason = "web is on its way here from k2. Wait for that to end, then drain.yml again."
    assert verdict(other=[comes])["reasons"] == [reason]
    assert verdict(other=[guest("web", migration={"target": "x1"})])["reasons"] == []
    # told once
    assert len(verdict(guest("web", state="paused", persistent=False), other=[comes])["reasons"]) == 1


def test_what_is_stopped_is_said():
    found = verdict(off("web"), off("elsewhere"), off("theirs", owner="x"), other=[guest("elsewhere")])
    assert found["reasons"] == [] and found["notes"] == [
        "web is stopped on k1: nothing starts it while k1 is off. playbooks/migrate.yml -e vm=web moves its definition."]


def test_leases():
    leases = {"leases": [{"name": name, "host": host, "disks": []} for name, host in (("gone", "k1"), ("web", "k1"), ("else", "k2"))]}
    reasons = verdict(guest("web"), leases=leases)["reasons"]
    assert len(reasons) == 2 and "k1 holds the lease of gone, which it does not run" in reasons[1] and "our-cloud-lease" in reasons[1]
    assert verdict(leases={"failed": True, "msg": "store: it hangs."})["reasons"] == ["Nobody can tell what leases k1 holds: store: it hangs."]
    assert "nobody has asked the store" in verdict(leases={})["reasons"][0]


INSTANCES = [{"name": "web", "id": "id-i", "host": "k1", "state": "running"}, {"name": "off", "id": "id-off", "host": "k1", "state": "stopped"},
             {"name": "away", "id": "id-away", "host": "k2", "state": "running"}]


def test_instances():
    found = verdict(guest("i", owner="nova"), groups=CLOUD, cloud={"instances": INSTANCES})
    assert found["reasons"] == ["Instance web runs on k1. playbooks/drain.yml -e host=k1 moves it."]
    assert found["notes"] == ["Instance off is stopped: nobody can start it while k1 is off."]
    assert verdict(groups=CLOUD, cloud=None)["reasons"] == [
        "The cloud controller does not answer, so nobody knows the instances on k1. playbooks/cloud_status.yml tells why."]
    assert verdict(groups=GROUPS, cloud=None)["reasons"] == []


@pytest.mark.parametrize("gateways, chassis, note", [
    (["k1", "k2"], ["k1", "k2", "k3"], "OVN takes k2 within seconds when it is off"), (["k1", "k2", "k3"], ["k1", "k2", "k3"], "OVN takes k2 or k3"),
    (["k1", "k2"], ["k1", "k2"], ""), (["k1"], ["k1", "k2", "k3"], ""),
])
def test_routers(gateways, chassis, note):
    found = verdict(groups=CLOUD, routers={"ports": {"a": "k1", "b": "k1", "c": "k2"}, "gateways": gateways, "chassis": chassis})
    if note:
        assert found["reasons"] == [] and "The way out of 2 of the cloud's routers is on k1; " in found["notes"][0] and note in found["notes"][0]
    else:
        assert len(found["reasons"]) == 1 and "nobody would take it" in found["reasons"][0] and "on front, `ovn-sbctl chassis-del`" in found["reasons"][0]
    assert verdict(groups=CLOUD, routers={"ports": {"c": "k2"}, "gateways": gateways, "chassis": chassis})["notes"] == []
    assert verdict(groups=CLOUD, routers={"failed": True, "msg": "it hangs."})["reasons"] == [
        "Nobody can tell whether the way out of the cloud's routers is on k1: it hangs."]


@pytest.mark.parametrize("host, groups, starts", [
    ("front", GROUPS, ["front is the gateway"]), ("store", GROUPS, ["store is the image store of k1, k2, x1: their guests would stand still"]),
    ("front", CLOUD, ["front is the gateway", "front is clc, cc: the cloud's services end with it"]),
    ("front", {**GROUPS, "gateway": [], "walrus": ["front"], "sc": ["front"]}, ["front is walrus, sc: the cloud's"]),
    ("k1", {**GROUPS, "image_store": ["k1"]}, ["k1 is the image store of k2, x1"]),
    ("store", {"all": ["store", "backup"], "image_store": ["store"], "site": ["backup"]}, ["store is the image store of backup"]),
    ("store", {"all": ["store"], "image_store": ["store"]}, []),
])
def test_what_a_machine_is_for_others(host, groups, starts):
    reasons = verdict(host=host, groups=groups)["reasons"]
    assert len(reasons) == len(starts) and all(reason.startswith(start) for reason, start in zip(reasons, starts))


def test_another_host_is_meant():
    assert "x1 does not answer, so nobody can tell what runs there. Bring x1 up" in verdict(host="x1")["error"]
    assert verdict(host="web")["wrong"] == "web is none of the site's machines. Machines: front, k1, k2, store, x1."
    assert "Which host?" in verdict(host="")["wrong"] and "k9 is no host of the inventory" in verdict(host="k9")["error"]
    assert "playbooks/ready.yml -e host=k1, then -e host=k2." in verdict(host="k1,k2")["wrong"]
