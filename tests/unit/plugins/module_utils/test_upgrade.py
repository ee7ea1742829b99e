# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Machines are upgraded or restarted one after the other: whose turn it is, what keeps one from it, whether it is well, how it goes on."""

from __future__ import annotations

import time

import pytest
from ansible_collections.our.cloud.plugins.filter.upgrade_plan import upgrade_plan
from ansible_collections.our.cloud.plugins.filter.upgrade_state import upgrade_state
from ansible_collections.our.cloud.plugins.filter.upgrade_summary import upgrade_summary

GROUPS = {"all": ["front", "k1", "k2", "k3", "web"], "gateway": ["front"], "image_store": ["front"], "hypervisors": ["k1", "k2", "k3"],
          "kvm": ["k1", "k2", "k3"], "oar_nodes": ["web"]}
CLOUD = {**GROUPS, "clc": ["front"], "cc": ["front"], "nc": ["k1", "k2"]}
KERNEL = {"packages": ["linux-image-amd64", "tzdata"]}
ERRAND = {"drained": 7, "errand": {"verb": "upgrade", "began": 1000}}


def guest(name, **more):
    """As vm_info tells it."""
    return {"name": name, "uuid": f"id-{name}", "active": True, "state": "running", "memory": 256, "kind": "kvm", "arch": "x86_64", "persistent": True,
            "owner": "our.cloud", **more}


def node(*guests, free=4096, **more):
    return {"hypervisor": "qemu", "memory": {"free": free}, "guests": list(guests), **more}


def machine(packages=(), up=9000, **more):
    """As machine_info tells it, of one that has run for so many seconds."""
    now = time.time()
    return {"hostname": "m", "time": now, "booted": now - up, "waiting": {"lists": now, "packages": list(packages), "security": []}, **more}


def unit(name, **more):
    return {"name": name, "runs": True, "state": "active (running)", "failed": False, **more}


HOSTS = {"k1": node(guest("a"), guest("b")), "k2": node(guest("c")), "k3": node()}


def plan(verb="upgrade", host="", hosts=None, groups=None, machines=None, **more):
    told = {name: machine() for name in ("front", "k1", "k2", "k3")}
    return upgrade_plan(HOSTS if hosts is None else hosts, verb, host, GROUPS if groups is None else groups, {**told, **(machines or {})}, **more)


def order(found):
    return [turn["host"] for turn in found["turns"]]


def test_nothing_waits():
    found = plan()
    assert (found["turns"], found["stay"], found["error"], found["lines"]) == ([], [], "", [])
    assert found["notes"] == ["k1 is as it should be: nothing waits there.", "k2 is as it should be: nothing waits there.",
                              "k3 is as it should be: nothing waits there.",
                              "front is no hypervisor and is left out. playbooks/upgrade.yml -e host=front"]


def test_those_with_few_guests_come_first():
    found = plan(machines={name: machine(["tzdata"]) for name in ("k1", "k2", "k3")})
    assert order(found) == ["k3", "k2", "k1"]
    assert found["turns"][2] == {"host": "k1", "drain": True, "resumed": False, "undrain": True, "restart": "wanted", "guests": 2, "packages": 1, "why": "",
                                 "units": ["libvirtd", "our-cloud-lease"]}
    assert [line.split() for line in found["lines"]] == [
        ["machine", "guests", "packages", "restart", "afterwards"],
        *([name, count, "1", "if", "something", "wants", "it", "in", "use", "again"] for name, count in (("k3", "0"), ("k2", "1"), ("k1", "2")))]


@pytest.mark.parametrize("more, why", [
    ({"packages": ["tzdata", "linux-image-amd64"]}, "linux-image-amd64"),
    ({"outdated": {"boot": ["vmlinuz-6.13"], "libvirt": True, "guests": ["a"]}},
     "vmlinuz-6.13 came since its start; its libvirtd is from before an upgrade; QEMU of a is from before an upgrade"),
])
def test_a_restart_is_told_before(more, why):
    turn = plan(host="k1", machines={"k1": machine(**more)})["turns"][0]
    assert (turn["restart"], turn["why"]) == ("wanted", why)


def test_what_broke_off_goes_on():
    """Also where nothing waits any more, and in a site of two nodes, where the other one can only be drained afterwards."""
    hosts = {"k1": node(guest("a")), "k2": node(**ERRAND)}
    groups = {**GROUPS, "hypervisors": ["k1", "k2"], "kvm": ["k1", "k2"]}
    found = plan(hosts=hosts, groups=groups, machines={"k1": machine(["tzdata"])})
    assert (order(found), found["stay"], found["began"]) == (["k2", "k1"], [], 1000)
    # one that is not meant stays drained, and is no target
    assert plan(hosts=hosts, groups=groups, host="k1", machines={"k1": machine(["tzdata"])})["stay"] == [
        "a has nowhere to go: no other hypervisor of its kind (qemu) is open. Bring one up. k2 is drained: playbooks/undrain.yml -e host=k2 opens it again."]
    assert [turn["resumed"] for turn in found["turns"]] == [True, False] and [turn["undrain"] for turn in found["turns"]] == [True, True]


def test_a_node_that_somebody_drained_stays_so():
    hosts = {**HOSTS, "k3": node(drained=7)}
    found = plan(hosts=hosts, host="k3", machines={"k3": machine(["tzdata"])})
    assert found["turns"][0]["undrain"] is False and found["lines"][1].endswith("stays drained")
    assert found["notes"] == ["k3 is drained and stays so: playbooks/undrain.yml -e host=k3 opens it."]


def test_what_cannot_leave_is_told_before():
    hosts = {"k1": node(guest("a"), guest("theirs", owner="proxmox")), "k2": node(guest("c", memory=9000)), "k3": node()}
    found = plan(hosts=hosts, machines={name: machine(["tzdata"]) for name in ("k1", "k2")})
    assert found["stay"] == ["c needs 9064 MiB, and no hypervisor of its kind has more than 4096 MiB left (k1). Stop another guest, or give this one less "
                             "memory.", "theirs on k1 belongs to proxmox: nothing here touches it. Move or stop it by what made it."]
    assert plan(hosts=hosts, host="k3", machines={"k3": machine(["tzdata"])})["stay"] == []


@pytest.mark.parametrize("verb, host, words", [
    ("upgrade", "k9", "k9 is no host of the inventory. Machines: front, k1, k2, k3."),
    ("upgrade", "k1, web", "web is none of the site's machines. Machines: front, k1, k2, k3."),
])
def test_what_is_asked_for_wrongly(verb, host, words):
    found = upgrade_plan({}, verb, host, GROUPS)
    assert (found["wrong"], found["error"]) == (words, words)


def test_what_is_asked_for_wrongly_in_other_ways():
    assert "mode is banana" in upgrade_plan({}, "upgrade", "", GROUPS, mode="banana")["wrong"]
    assert upgrade_plan({}, "reboot", "", {"all": ["front"], "gateway": ["front"]})["wrong"] == (
        "The inventory has no hypervisor. Name a machine: playbooks/reboot.yml -e host=NAME. Machines: front.")


def test_who_is_silent():
    hosts = {"k1": HOSTS["k1"], "k2": HOSTS["k2"]}
    assert plan(hosts=hosts)["error"] == "k3 could not be asked. Bring k3 up, or, if it is lost, run playbooks/rescue.yml -e host=k3."
    assert plan(hosts=hosts, host="k1,k2")["error"] == ""
    assert plan(machines={"k2": {"unreachable": True, "msg": "no route."}})["error"] == "k2 does not tell how it fares: no route."
    assert upgrade_plan(HOSTS, "upgrade", "k1", GROUPS)["error"] == "k1 does not tell how it fares: nobody has asked it."
    hidden = {"k2": machine(unknown=["what waits for an upgrade: it hangs."], waiting=None)}
    assert plan(machines=hidden)["error"] == "k2 does not tell which packages wait there. what waits for an upgrade: it hangs."
    assert plan(verb="reboot", machines=hidden)["error"] == ""


def test_machines_that_others_wait_for_are_upgraded_first_and_not_restarted():
    machines = {"front": machine(["linux-image-amd64"]), "k3": machine(["tzdata"])}
    found = plan(host="k3,front", groups=CLOUD, machines=machines)
    assert order(found) == ["front", "k3"]
    front = found["turns"][0]
    assert (front["drain"], front["undrain"], front["restart"], front["units"]) == (False, False, "never", [])
    assert found["notes"] == [
        "front is the image store of k1, k2, k3: while it restarts, their guests wait for their disks, and go on afterwards.",
        "front is the gateway: while it restarts, nobody gets an address or a name from it, and nobody gets in or out.",
        "front is clc, cc: while it restarts, the cloud's services do not answer; instances go on."]
    found = plan(host="front", machines={"front": machine(outdated={"boot": ["vmlinuz-7"]})})
    assert found["turns"] == [] and found["notes"][0] == (
        "front wants a restart (vmlinuz-7 came since its start), and others wait for it: playbooks/reboot.yml -e host=front")
    assert plan("reboot", "front")["turns"][0]["restart"] == "always"


def test_a_restart_of_all_leaves_out_who_others_wait_for():
    found = plan("reboot", groups={**GROUPS, "image_store": ["k2"]})
    assert order(found) == ["k3", "k1"] and "k2 is left out, as others wait for it. playbooks/reboot.yml -e host=k2" in found["notes"]


def test_a_restart_that_broke_off_goes_on():
    """k1 has restarted since that run began, k2 was drained by it and has not, k3 has not had its turn. By its own clock, k1's would be long ago."""
    began = time.time() - 1000
    hosts = {**HOSTS, "k2": node(drained=7, errand={"verb": "reboot", "began": began})}
    old = {"hostname": "m", "time": 5000.0, "booted": 4500.0}
    found = plan("reboot", hosts=hosts, machines={"k1": old})
    assert (order(found), found["began"]) == (["k2", "k3"], began) and "k1 has restarted already." in found["notes"]
    assert [turn["restart"] for turn in found["turns"]] == ["always", "always"]
    # and k2 has restarted before it broke off
    found = plan("reboot", hosts=hosts, machines={"k1": old, "k2": machine(up=10)})
    assert [(turn["host"], turn["restart"], turn["undrain"]) for turn in found["turns"]] == [("k2", "never", True), ("k3", "always", True)]
    # a new run restarts all
    assert order(plan("reboot", machines={"k1": machine(up=10)})) == ["k3", "k2", "k1"]


@pytest.mark.parametrize("packages, standstill, more, stay", [
    (["tzdata"], False, {}, []),
    (["linux-image-amd64"], True, {}, []),
    (["linux-image-amd64"], False, {"chassis": ["k1", "k2", "k3"]}, []),
    (["linux-image-amd64"], False, {}, [
        "The way out of 1 of the cloud's routers is on k1, and nobody would take it while k1 restarts: that needs another node that is a gateway and "
        "reaches a third one. With -e standstill=true they stand still for so long."]),
    (["linux-image-amd64"], False, {"failed": True, "msg": "it hangs."}, ["Nobody can tell whether the way out of the cloud's routers is on k1: it hangs."]),
])
def test_routers(packages, standstill, more, stay):
    routers = {"ports": {"cr-lrp-1": "k1"}, "gateways": ["k1", "k2"], "chassis": ["k1", "k2"], **more}
    found = plan(host="k1", groups=CLOUD, machines={"k1": machine(packages)}, routers=routers, standstill=standstill)
    assert found["stay"] == stay


def test_a_cloud_that_does_not_answer():
    found = plan(host="k1", groups=CLOUD, machines={"k1": machine(["tzdata"])}, cloud=None)
    assert found["stay"] == ["The cloud controller does not answer, so nobody knows the instances on k1. playbooks/cloud_status.yml tells why."]


WELL = [unit("libvirtd"), unit("our-cloud-lease"), unit("nft-table@guests", state="active (exited)"), unit("our-cloud-autostart", runs=False)]


@pytest.mark.parametrize("units, here, part, more, faults", [
    (WELL, node(), {}, {}, []),
    (WELL, {"failed": True, "msg": "it hangs."}, {}, {}, ["libvirt on k1 does not answer: it hangs."]),
    (WELL, node(hypervisor="xen"), {}, {}, ["k1 runs Xen: look at its boot loader's choice."]),
    (WELL, node(store_error="k1: store: it hangs."), {}, {}, ["k1: store: it hangs."]),
    (WELL[1:], node(), {}, {}, ["libvirtd on k1 does not run."]),
    ([*WELL[:2], unit("nft-table@guests", runs=False, state="failed (failed)", failed=True)], node(), {}, {},
     ["nft-table@guests on k1 does not run: failed (failed)."]),
    ([*WELL, unit("our-cloud-x", runs=False, state="failed (failed)", failed=True)], node(), {}, {}, ["our-cloud-x on k1 has failed: failed (failed)."]),
    (WELL, node(), {"units": [unit("nova-compute", runs=False, state="inactive (dead)")]}, {}, ["nova-compute on k1 does not run: inactive (dead)."]),
    (WELL, node(), {"failed": True, "msg": "no."}, {}, ["k1 does not tell how its part in the cloud fares: no."]),
    (WELL, node(), {"skipped": True, "changed": False}, {}, []),
    (WELL, node(), {}, {"store": {"path": "/s", "room": None, "error": "it is not mounted here"}}, [
        "k1: the store /s does not answer: it is not mounted here."]),
])
def test_whether_it_is_well(units, here, part, more, faults):
    assert upgrade_state(machine(units=units, **more), "k1", GROUPS, here, part)["faults"] == faults


def test_after_a_restart_all_is_new():
    told = machine(units=WELL, outdated={"boot": ["vmlinuz-7"]})
    assert upgrade_state(told, "k1", GROUPS, node()) == {"reasons": ["vmlinuz-7 came since its start"], "faults": []}
    assert upgrade_state(told, "k1", GROUPS, node(), restarted=True)["faults"] == ["k1 has restarted, and still: vmlinuz-7 came since its start."]
    assert upgrade_state({"failed": True, "msg": "no"}, "front", GROUPS) == {"reasons": [], "faults": ["front does not tell how it fares: no."]}
    assert upgrade_state(machine(), "front", GROUPS)["faults"] == []
    xen = {"all": ["x1"], "hypervisors": ["x1"], "xen": ["x1"]}
    assert upgrade_state(machine(units=WELL), "x1", xen, node())["faults"] == ["x1 runs without Xen: look at its boot loader's choice."]


def test_how_it_ended():
    found = plan(machines={name: machine(["tzdata"]) for name in ("k1", "k2", "k3")})
    well = {"upgraded": True, "restarted": True, "done": True}
    ended = upgrade_summary(found, {"k3": well, "k2": well, "k1": {**well, "restarted": False}})
    assert ended["faults"] == [] and [line.split() for line in ended["lines"]] == [
        ["machine", "upgraded", "restarted", "now"], ["k3", "yes", "yes", "in", "use", "again"], ["k2", "yes", "yes", "in", "use", "again"],
        ["k1", "yes", "no", "in", "use", "again"]]
    ended = upgrade_summary(found, {"k3": well, "k2": {"upgraded": True, "fault": "libvirt on k2 does not answer: no."}})
    assert [line.split()[3:] for line in ended["lines"][1:]] == [["in", "use", "again"], ["stopped", "here"], ["not", "begun"]]
    assert ended["faults"] == ["k2: libvirt on k2 does not answer: no.", "k2 stays as it is, and the others have not been touched. When that is mended, "
                               "playbooks/upgrade.yml -e host=k2,k1 goes on from there."]
    assert upgrade_summary(found, {})["faults"][-1].startswith("It broke off. When that is mended, playbooks/upgrade.yml -e host=k3,k2,k1")
