# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A hypervisor that is taken out of use: who goes where, who cannot, and who may return."""

from __future__ import annotations

import pytest
from ansible_collections.our.cloud.plugins.filter.drain_plan import drain_plan
from ansible_collections.our.cloud.plugins.filter.drain_summary import drain_summary
from ansible_collections.our.cloud.plugins.filter.undrain_plan import undrain_plan

GROUPS = {"all": ["front", "k1", "k2", "k3", "x1", "x2"], "gateway": ["front"], "hypervisors": ["k1", "k2", "k3", "x1", "x2"], "kvm": ["k1", "k2", "k3"],
          "xen": ["x1", "x2"]}
CLOUD = {**GROUPS, "clc": ["front"], "nc": ["k1", "k2"]}


def guest(name, memory=256, **more):
    """As vm_info tells it."""
    return {"name": name, "uuid": f"id-{name}", "active": True, "state": "running", "memory": memory, "kind": "kvm", "arch": "x86_64", "persistent": True,
            "owner": "our.cloud", **more}


def off(name, **more):
    return guest(name, active=False, state="stopped", **more)


def instance(name, host="k1", **more):
    """As instance_info tells it."""
    return {"name": name, "id": f"id-{name}", "host": host, "status": "ACTIVE", "state": "running", "memory": 256, **more}


def domain(name):
    """Of an instance."""
    return guest(f"instance-{name}", uuid=f"id-{name}", owner="nova")


def node(*guests, free=4096, family="qemu", **more):
    return {"hypervisor": family, "memory": {"free": free}, "guests": list(guests), **more}


def site(*guests, **more):
    return {"k1": node(*guests), "k2": node(free=1000), "k3": node(free=2000), "x1": node(family="xen", free=9000), **more}


def plan(hosts, groups=None, host="k1", **more):
    return drain_plan(hosts, host, groups or GROUPS, **more)


def targets(found):
    return {move["name"]: move["target"] for move in found["moves"]}


# --- what is asked for ------------------------------------------------------

@pytest.mark.parametrize("host, words", [
    ("", "Which host? Give it with -e host=NAME. Hypervisors: k1, k2, k3, x1, x2."),
    (None, "Which host?"),
    (" , ", "Which host?"),
    ("k9", "k9 is no host of the inventory. Hypervisors: k1"),
    ("front", "front is none of the site's hypervisors."),
    ("k1, k2", "k1 and k2 are 2 hosts, and this is for one at a time, as the others take its guests: playbooks/drain.yml -e host=k1, then -e host=k2."),
    ("k1,k2,k3", "k1 and k2 and k3 are 3 hosts"),
])
def test_another_host_is_meant(host, words):
    found = plan(site(guest("web")), host=host)
    assert words in found["wrong"] and found["error"] == found["wrong"] and found["moves"] == []


def test_a_host_that_is_silent():
    hosts = site()
    del hosts["k1"]
    found = plan(hosts)
    assert found["error"] == "k1 could not be asked. Bring k1 up, or, if it is lost, run playbooks/rescue.yml -e host=k1." and found["wrong"] == ""
    assert "none of live, suspend, offline" in plan({}, mode="banana")["wrong"]


def test_blanks_are_no_part_of_a_name():
    assert plan(site(), host=" k1 ")["error"] == "" and plan(site(), host="k1 ")["host"] == "k1"
    # nor is a comma, which the playbook would take along
    assert "k1, is no host of the inventory" in plan(site(), host="k1,")["wrong"]


# --- who goes where ---------------------------------------------------------

def test_memory_counts_as_it_is_given_away():
    """The largest first, each to where most is free then."""
    found = plan(site(guest("small", 100), guest("large", 1500), guest("middle", 600)))
    assert [move["name"] for move in found["moves"]] == ["large", "middle", "small"]
    assert targets(found) == {"large": "k3", "middle": "k2", "small": "k3"} and found["stay"] == []
    assert found["lines"][0].split() == ["moves", "is", "MiB", "from", "to", "mode"]
    assert found["lines"][1].split() == ["large", "guest", "1564", "k1", "k3", "live"]


def test_some_are_better_avoided():
    """They take what fits nowhere else."""
    assert targets(plan(site(guest("large", 1500), guest("small", 100)), avoid=["k3"])) == {"large": "k3", "small": "k2"}
    assert "MiB left (k3)" in plan(site(guest("more", 1937)), avoid=["k3"])["stay"][0]


def test_the_limit_is_what_it_needs():
    assert targets(plan(site(guest("exact", 1936)))) == {"exact": "k3"}
    found = plan(site(guest("more", 1937)))
    assert found["moves"] == [] and found["stay"] == [
        "more needs 2001 MiB, and no hypervisor of its kind has more than 2000 MiB left (k3). Stop another guest, or give this one less memory."]


def test_what_is_on_its_way_counts():
    hosts = site(guest("web", 300), x1=node(family="xen"))
    hosts["k2"]["guests"] = [guest("coming", 1600, migration={"target": "k3"})]
    assert targets(plan(hosts)) == {"web": "k2"}
    # to the MiB: 2000 - (1600 + 64) - (136 + 64) of k3 are left, those of k2 are k1's own need
    coming = [guest(name, memory, migration={"target": "k3"}) for name, memory in (("coming", 1600), ("also", 136))]
    hosts = {"k1": node(guest("web", 72)), "k2": node(*coming, free=0), "k3": node(free=2000)}
    assert targets(plan(hosts)) == {"web": "k3"}
    hosts["k3"]["memory"]["free"] = 1999
    assert "no hypervisor of its kind has more than 135 MiB left (k3)" in plan(hosts)["stay"][0]
    hosts["k3"]["memory"]["free"] = 100
    assert "no hypervisor of its kind has more than 0 MiB left (k2)" in plan(hosts)["stay"][0]


def test_a_drained_one_is_no_target():
    hosts = site(guest("web"))
    hosts["k3"]["drained"] = 0
    assert targets(plan(hosts)) == {"web": "k2"}
    hosts["k2"]["drained"] = 7
    assert plan(hosts)["stay"] == ["web has nowhere to go: no other hypervisor of its kind (qemu) is open. Bring one up. "
                                   "k2 is drained: playbooks/undrain.yml -e host=k2 opens it again."]
    assert "no other hypervisor of its kind (qemu) answers. Bring one up." in plan({"k1": node(guest("web"))})["stay"][0]


def test_the_drained_node_itself_may_be_drained_again():
    hosts = site(guest("web"))
    hosts["k1"]["drained"] = 7
    assert targets(plan(hosts)) == {"web": "k3"}


# --- who cannot -------------------------------------------------------------

@pytest.mark.parametrize("kind, arch, mode, chosen, words", [
    ("pvh", "x86_64", "suspend", "live", ""),
    ("pv", "x86_64", "suspend", "suspend", ""),
    ("pv", "x86_64", "offline", "offline", ""),
    ("pv", "x86_64", "", None, "g cannot be moved live, as a guest of kind pv: -e mode=suspend saves it and lets it go on there; "
                               "-e mode=offline powers it off and starts it there."),
    ("pv", "x86_64", "live", None, "cannot be moved live"),
    ("pvh", "aarch64", "suspend", None, "as a guest of kind pvh on ARM: -e mode=offline powers it off and starts it there."),
    ("pvh", "armv7l", "offline", "offline", ""),
])
def test_a_guest_is_not_stopped_unasked(kind, arch, mode, chosen, words):
    hosts = {"x1": node(guest("g", kind=kind, arch=arch), family="xen"), "x2": node(family="xen")}
    found = plan(hosts, host="x1", mode=mode)
    assert [move["mode"] for move in found["moves"]] == ([chosen] if chosen else [])
    assert words in "".join(found["stay"]) and bool(words) == bool(found["stay"])


def test_whose_a_guest_is():
    hosts = site(guest("theirs", owner="proxmox"), guest("old", owner=None), guest("stray", owner=None), guest("nova", owner="nova"), off("asleep", owner="x"))
    found = plan(hosts, guests=[{"name": "old"}])
    assert targets(found) == {"old": "k3"}
    assert found["stay"] == [f"{name} on k1 {why}: nothing here touches it. Move or stop it by what made it." for name, why in (
        ("theirs", "belongs to proxmox"), ("stray", "does not say whose it is, and is not in the inventory"), ("nova", "belongs to nova"))]


def test_where_somebody_must_look_first():
    hosts = site(guest("twice"), guest("waits", state="paused", reason="migration"), orphans=None)
    del hosts["orphans"]
    hosts["k2"]["guests"] = [guest("twice")]
    hosts["k1"]["orphans"] = [{"domid": 4, "name": "lost", "memory": 100}]
    found = plan(hosts)
    assert found["moves"] == [] and [text.split(" on ")[0] for text in found["stay"]] == ["twice runs", "waits stands still", "Xen domain 4 (lost)"]


def test_what_moves_already_and_what_is_stopped():
    hosts = site(guest("goes", migration={"target": "k2", "percent": 7}), off("rests"), off("stale"))
    hosts["k2"]["guests"] = [guest("stale")]
    found = plan(hosts)
    assert found["moves"] == [] and found["stay"] == []
    assert found["notes"] == ["goes is being moved from k1 to k2 already (7% done). Wait for that to end.",
                              "rests is stopped on k1 and stays: nothing starts it while k1 is off. playbooks/migrate.yml -e vm=rests moves its definition."]


# --- instances --------------------------------------------------------------

def cloudy(*instances, domains=()):
    return plan(site(*domains), CLOUD, cloud={"instances": list(instances)})


def test_instances_go_to_node_controllers_alone():
    found = cloudy(instance("web"), instance("other", host="k2"), domains=[domain("web"), guest("own", 700)])
    assert targets(found) == {"own": "k3", "web": "k2"} and found["stay"] == []
    assert found["moves"][1]["instance"]["id"] == "id-web"
    assert found["lines"][2].split() == ["web", "instance", "320", "k1", "k2", "live"]


def test_a_paused_instance_moves_if_it_is_there():
    paused = instance("web", status="PAUSED", state="paused")
    assert targets(cloudy(paused, domains=[domain("web")])) == {"web": "k2"}
    found = cloudy(paused)
    assert found["moves"] == [] and found["notes"] == [] and found["stay"][0].startswith("nova has instance web running on k1, and libvirt there does not")


def test_two_of_a_name():
    found = cloudy(instance("web", id="a"), instance("web", id="b"), domains=[guest("i-a", uuid="a", owner="nova"), guest("i-b", uuid="b", owner="nova")])
    assert sorted(move["key"] for move in found["moves"]) == ["move-web-a", "move-web-b"]


@pytest.mark.parametrize("told, domains, words", [
    ({"task": "migrating"}, [domain("web")], "nova is busy with instance web (migrating). Wait for that to end."),
    ({"locked": True}, [domain("web")], "Instance web is locked. Unlock it: `openstack server unlock id-web`."),
    ({"status": "ERROR"}, [domain("web")], "Instance web is ERROR, and nova only moves what it has as running, yet libvirt runs it."),
    ({}, [], "nova has instance web running on k1, and libvirt there does not run it. `openstack server reboot --hard id-web` starts it again."),
])
def test_instances_that_cannot_be_moved(told, domains, words):
    found = cloudy(instance("web", **told), domains=domains)
    assert found["moves"] == [] and len(found["stay"]) == 1 and words in found["stay"][0]


def test_instances_that_stay_and_domains_that_nova_does_not_know():
    found = cloudy(instance("web", status="SHUTOFF", state="stopped"), domains=[off("instance-web", uuid="id-web", owner="nova"), domain("lost")])
    assert found["notes"] == ["Instance web is stopped on k1 and stays: nobody can start it while k1 is off. `openstack server migrate id-web` moves it."]
    assert found["stay"] == ["instance-lost on k1 belongs to nova: nothing here touches it. Move or stop it by what made it."]


def test_a_silent_cloud_and_one_without_another_node():
    found = plan(site(domain("web"), guest("own")), CLOUD, cloud=None)
    assert targets(found) == {"own": "k3"}
    assert found["stay"] == ["The cloud controller does not answer, so nobody knows the instances on k1. playbooks/cloud_status.yml tells why."]
    # a node that is none of the cloud's needs no answer
    assert plan(site(), CLOUD, host="k3", cloud=None)["stay"] == []
    alone = plan({"k1": node(domain("web")), "k3": node()}, CLOUD, cloud={"instances": [instance("web")]})
    assert alone["stay"] == ["web has nowhere to go: no other node controller answers. Bring one up."]


# --- how it ended -----------------------------------------------------------

MOVED = {"moved": {"total_ms": 240000, "downtime_ms": 30, "transferred": 3 << 20}}


def test_the_summary():
    found = plan(site(guest("a", 300), guest("b", 200), guest("c", 100), guest("theirs", owner="x")))
    after = site(guest("b", 200), guest("new"), guest("theirs", owner="x"))
    ended = drain_summary(after, found, {"move-a": MOVED, "move-b": {"failure": "b: it broke."}})
    assert ended["lines"][0].split(maxsplit=6) == ["moved", "from", "to", "mode", "ended", "seconds", "ms it stood still  MiB sent"]
    assert [line.split() for line in ended["lines"][1:]] == [
        ["a", "k1", "k3", "live", "moved", "240.0", "30", "3"], ["b", "k1", "k3", "live", "failed", "-", "-", "-"],
        ["c", "k1", "k3", "live", "failed", "-", "-", "-"]]
    assert ended["faults"] == ["b: it broke.", "c: nobody has heard how its move to k3 ended (playbooks/list.yml tells).",
                               "new runs on k1, where it came meanwhile."]


def test_the_summary_looks_itself():
    found = plan(site(guest("a")))
    assert drain_summary(site(guest("a")), found, {"move-a": MOVED})["faults"] == ["a runs on k1, though its move said that it had gone."]
    assert drain_summary(site(), found, {"move-a": {"moved": {"mode": "live"}}})["faults"] == []
    assert drain_summary(site(), plan(site()), {}) == {"lines": [], "faults": []}


def test_the_summary_of_an_instance():
    found = cloudy(instance("web"), domains=[domain("web")])
    arrived = site()
    arrived["k2"]["guests"] = [domain("web")]
    assert drain_summary(arrived, found, {"move-web": MOVED})["faults"] == []
    assert "libvirt there does not run it" in drain_summary(site(domain("web")), found, {"move-web": MOVED})["faults"][0]
    # a guest of the same name is another one
    arrived["k1"]["guests"] = [guest("web", uuid="own")]
    assert drain_summary(arrived, {**found, "there": ["web"]}, {"move-web": MOVED})["faults"] == []


# --- and back ---------------------------------------------------------------

def test_who_may_return():
    hosts = site(guest("stays"))
    hosts["k2"]["guests"] = [guest("web"), guest("db"), guest("away")]
    entries = [{"name": name, "host": "k1"} for name in ("web", "db", "stays", "nowhere")] + [{"name": "away", "host": "k2"}]
    found = undrain_plan(hosts, "k1", GROUPS, entries)
    assert (found["error"], found["drained"]) == ("", False)
    assert found["lines"] == [
        "web (now on k2), db (now on k2) have the host k1 in the inventory and stay elsewhere until somebody moves them back:",
        "for vm in web db; do ansible-playbook our.cloud.migrate -e vm=$vm -e target=k1 || break; done"]
    assert undrain_plan(hosts, "k1", GROUPS, entries[:1])["lines"] == [
        "web (now on k2) has the host k1 in the inventory and stays elsewhere until somebody moves it back:",
        "ansible-playbook our.cloud.migrate -e vm=web -e target=k1"]
    hosts["k1"]["drained"] = 0
    assert undrain_plan(hosts, "k1", GROUPS)["drained"] is True and undrain_plan(hosts, "k1", GROUPS)["lines"] == []


def test_what_cannot_be_taken_into_use():
    assert "playbooks/rescue.yml -e host=k1" in undrain_plan({}, "k1", GROUPS)["error"] and undrain_plan({}, "k1", GROUPS)["wrong"] == ""
    assert "playbooks/undrain.yml -e host=k1, then" in undrain_plan({}, "k1,k2", GROUPS)["wrong"]
