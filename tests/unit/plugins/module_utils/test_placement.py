# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.our.cloud.plugins.module_utils._guest import guests, placement, told


def guest(name, active=True, memory=256, kind="pvh", **more):
    """As vm_info tells it."""
    return {"name": name, "active": active, "memory": memory, "kind": kind, "state": "running" if active else "stopped", "persistent": True, "reason": None,
            "suspended": False, "owner": "our.cloud", "lease": None, "state_files": [], "managed_save": False, "defined": None, **more}


def site(**guests):
    hosts = {
        "x1": {"hypervisor": "xen", "memory": {"free": 300}, "guests": []},
        "x2": {"hypervisor": "xen", "memory": {"free": 600}, "guests": []},
        "x3": {"hypervisor": "xen", "memory": {"free": 900}, "guests": []},
        "k1": {"hypervisor": "qemu", "memory": {"free": 5000}, "guests": []},
    }
    for host, found in guests.items():
        hosts[host]["guests"] = found
    return hosts


def plan(name, hosts, *how, **more):
    return placement.plan(name, told.read(hosts), *how, **more)


def test_most_free_memory_of_the_same_kind():
    found = plan("our-vm", site(x1=[guest("our-vm")]))
    assert (found.source, found.target, found.mode, found.error) == ("x1", "x3", "live", "")


def test_named_target_and_mode():
    found = plan("our-vm", site(x1=[guest("our-vm")]), "x2", "suspend")
    assert (found.target, found.mode, found.error) == ("x2", "suspend", "")


def test_already_there():
    assert plan("our-vm", site(x1=[guest("our-vm")]), "x1").already


def test_stopped_guest_goes_offline_and_needs_no_memory():
    found = plan("our-vm", site(x2=[guest("our-vm", active=False, memory=4096)]))
    assert (found.source, found.target, found.mode) == ("x2", "x3", "offline")


def test_running_place_counts_before_a_stale_definition():
    assert plan("our-vm", site(x1=[guest("our-vm", active=False)], x3=[guest("our-vm")])).source == "x3"


@pytest.mark.parametrize("name, target, hosts, words", [
    ("", None, site(x1=[guest("our-vm")]), "Which guest? Give it with -e vm=NAME. Guests: our-vm (x1)."),
    ("nope", None, site(x1=[guest("our-vm")], k1=[guest("their-vm", kind="kvm")]), "There is no guest nope. Guests: our-vm (x1), their-vm (k1)."),
    ("nope", None, {}, "Guests: none."),
    ("our-vm", None, site(x1=[guest("our-vm")], x2=[guest("our-vm")]), "runs on x1 and x2 at once"),
    ("our-vm", None, site(x1=[guest("our-vm", False)], x2=[guest("our-vm", False)]), "is stopped and defined on x1 and x2"),
    ("our-vm", "k1", site(x1=[guest("our-vm")]),
     "our-vm cannot go to k1: it is a qemu hypervisor and our-vm is a pvh guest on a xen one. These would do: x3, x2."),
    ("our-vm", "zz", site(x1=[guest("our-vm")]), "The target zz is no hypervisor of this inventory. There are: k1, x1, x2, x3."),
    ("our-vm", "x1", site(x2=[guest("our-vm")]), ""),
    ("our-vm", "x1", site(x2=[guest("our-vm", memory=512)]), "it has 300 MiB free and our-vm needs 528 MiB. These would do: x3."),
    ("our-vm", "x1", site(x2=[guest("our-vm", memory=284)]), ""),
    ("our-vm", "x1", site(x2=[guest("our-vm", memory=285)]), "it has 300 MiB free and our-vm needs 301 MiB."),
    ("our-vm", None, site(x3=[guest("our-vm", memory=2000)]), "our-vm on x3 has nowhere to go. No other host would do either: k1 is a qemu hypervisor"),
])
def test_errors(name, target, hosts, words):
    error = plan(name, hosts, target).error
    assert words in error if words else error == ""


@pytest.mark.parametrize("reason", ["migration", "postcopy", "postcopy failed"])
def test_what_a_move_has_left_paused_does_not_run(reason):
    left = guest("our-vm", state="paused", reason=reason)
    found = placement.locate("our-vm", told.read(site(x1=[left], x2=[guest("our-vm")])))
    assert (found.verdict, found.host) == ("refused", "x2") and "the copy on x1 stands still because of a move" in found.text
    arriving = placement.locate("our-vm", told.read(site(x1=[{**left, "persistent": False}], x2=[guest("our-vm")])))
    assert (arriving.verdict, arriving.host) == ("moving", "x2") and "is being moved from x2 to x1 already" in arriving.text


def test_silent_hosts_are_named():
    error = plan("nope", site(), silent=["x9", "x8"]).error
    assert error == ("No hypervisor that answered has a guest nope. Guests: none. These could not be asked: x8, x9. "
                     "Bring x8, x9 up, or, if it is lost, run playbooks/rescue.yml -e host=x8.")


def test_a_silent_target_is_named_with_what_to_do():
    error = plan("our-vm", site(x1=[guest("our-vm")]), "x9", silent=["x9"]).error
    assert error == ("our-vm cannot go to x9: it could not be asked. These would do: x3, x2. "
                     "Bring x9 up, or, if it is lost, run playbooks/rescue.yml -e host=x9.")


def test_a_guest_that_runs_moves_though_a_host_is_silent():
    assert plan("our-vm", site(x1=[guest("our-vm")]), silent=["x9"]).target == "x3"


def test_a_stopped_guest_that_a_silent_host_may_run_does_not_move():
    stopped = site(x1=[guest("our-vm", False)])
    assert "x9 could not be asked and may run it" in plan("our-vm", stopped, silent=["x9"], families={"x9": "xen"}).error
    assert plan("our-vm", stopped, silent=["x9"], families={"x9": "qemu"}).target == "x3"


def test_a_wrong_mode():
    assert plan("our-vm", site(x1=[guest("our-vm")]), mode="banana").error == "mode is banana, which is none of live, suspend, offline."


def test_what_is_wrong_is_told_before_anybody_is_asked():
    assert placement.asked_for(["x1"], None, None) == placement.asked_for(["x1"], "x1", "live") == ""
    assert placement.asked_for(["x2", "x1"], "zz") == "The target zz is no hypervisor of this inventory. There are: x1, x2."


@pytest.mark.parametrize("target", [None, "x2", "x3"])
def test_on_both_while_it_is_moved(target):
    moving = dict(guest("our-vm"), migration={"target": "x2", "percent": 12})
    found = plan("our-vm", site(x1=[moving], x2=[guest("our-vm")]), target)
    assert found.error == "our-vm is being moved from x1 to x2 already (12% done). Wait for that to end."


# --- where a guest is

STANDS = {"suspended": True}
ARRIVES = {"state": "paused", "persistent": False, "reason": "migration"}
PAUSED = {"state": "paused", "reason": "migration"}


def on(**copies):
    """Hosts x1 and x2, each with what is said of its copy of the guest g; None: none."""
    return {host: {"hypervisor": "xen", "memory": {"free": 1000}, "guests": [guest("g", **copy)] if copy is not None else []}
            for host, copy in {"x1": None, "x2": None, **copies}.items()}


@pytest.mark.parametrize("hosts, silent, verdict, host, words", [
    (on(), [], "nowhere", None, ""),
    (on(), ["x3"], "unknown", None, "g is on no hypervisor that could be asked, and x3 could not be asked and may run it. It is not started. "
     "Bring x3 up, or, if it is lost, run playbooks/rescue.yml -e host=x3"),
    (on(x1={}), [], "here", "x1", ""),
    (on(x1={}), ["x2", "x3"], "here", "x1", ""),
    (on(x1={"active": False}), [], "here", "x1", ""),
    (on(x1={"active": False}), ["x3"], "unknown", None, "g is stopped on x1, and x3 could not be asked and may run it. It is not started. Bring x3 up"),
    (on(x1={"active": False, "lease": {"host": "x3"}}), ["x3", "x4"], "unknown", None,
     "x3 and x4 could not be asked and may run it (it has its lease). It is not started. Bring x3 up, or, if it is lost, run playbooks/rescue.yml -e host=x3"),
    # its definition is left over where it ran before
    (on(x1={}, x2={"active": False}), [], "here", "x1", ""),
    # somebody paused it: it is there all the same
    (on(x1={"state": "paused", "reason": "user"}), [], "here", "x1", ""),
    (on(x1={"state": "paused", "reason": "I/O error"}), [], "here", "x1", ""),
    # on its way
    (on(x1={"migration": {"target": "x2", "percent": 3}}, x2=ARRIVES), [], "moving", "x1", "g is being moved from x1 to x2 already (3% done)"),
    (on(x1={}, x2=ARRIVES), [], "moving", "x1",
     "g is being moved from x1 to x2 already. Wait for that to end; if nothing moves it (`virsh domjobinfo g` on x1)"),
    (on(x1={}, x2={"active": False, "persistent": False, "state": "nostate"}), [], "moving", "x1", "g is being moved from x1 to x2"),
    (on(x1=STANDS, x2={"active": False, "persistent": False, "state": "nostate"}), [], "moving", "x1", "g is being moved from x1 to x2"),
    (on(x2=ARRIVES), ["x1"], "unknown", None, "its source may be x1, which could not be asked"),
    (on(x2=ARRIVES), [], "refused", None, "g waits on x2 for an arrival that broke off. Restart libvirtd there"),
    # broken off: one copy is dead
    (on(x1=STANDS, x2={}), [], "refused", "x2",
     "g runs on x2; the copy on x1 stands still because of a move. If that is still so in a minute, the move has broken off "
     "and that copy is dead and only holds memory: end that one, and no other (`virsh destroy g` on x1)"),
    (on(x1=PAUSED, x2={}), [], "refused", "x2", "end that one, and no other (`virsh destroy g` on x1)"),
    (on(x1=STANDS), ["x2"], "unknown", None, "g stands still on x1 since a move that broke off, and may run on x2"),
    (on(x1=STANDS), [], "refused", None, "runs nowhere else. It goes on by `virsh resume g` there; on Xen by `xl resume g`"),
    (on(x1=PAUSED, x2=PAUSED), [], "refused", None, "What is whole is on the host that it came from"),
    # twice
    (on(x1={}, x2={}), [], "refused", None, "If it is so: nothing tells which is right"),
    (on(x1={}, x2={}), [], "refused", None, "Pause both (`virsh suspend g` on x1 and x2), which loses neither"),
    (on(x1={}, x2={"lease": {"host": "x1"}}), [], "refused", None, "its lease is x1's, so the one on x2 must end: `virsh destroy g` there"),
    # defined twice and running nowhere
    (on(x1={"active": False, "defined": 1000000000}, x2={"active": False, "defined": 1000000060}), [], "refused", None,
     "g is stopped and defined on x1 and x2. By what is known the definition on x1 is stale: the definition on x2 is the newest "
     "(x1: 2001-09-09 01:46:40 UTC, x2: 2001-09-09 01:47:40 UTC). Remove it: `virsh undefine g` on x1"),
    (on(x1={"active": False, "defined": 1, "lease": {"host": "x1"}}, x2={"active": False, "defined": 2}), [], "refused", None,
     "the definition on x2 is stale: its lease is x1's. Remove it: `virsh undefine g` on x2"),
    (on(x1={"active": False, "managed_save": True, "defined": 1}, x2={"active": False, "defined": 2, "lease": {"host": "x2"}}), [], "refused", None,
     "the definition on x2 is stale: its memory is saved on x1"),
    (on(x1={"active": False, "state_files": ["/s/g.img.u.state"]}, x2={"active": False}), [], "refused", None,
     "Its memory is saved in /s/g.img.u.state, by a move that broke off, and a start anew would lose it"),
    (on(x1={"active": False, "state_files": ["/s/g.img.u.state"]}), [], "here", "x1", "g is stopped on x1. Its memory is saved in /s/g.img.u.state, "
     "by a move that broke off, and a start anew would lose it. `virsh restore /s/g.img.u.state` there makes it go on where it was. "
     "If it has run since then, or may begin anew, delete that file"),
    (on(x1={"state_files": ["/s/g.img.u.state"]}), [], "here", "x1", ""),
    (on(x1={"active": False}, x2={"active": False}), [], "refused", None, "Nothing tells which definition is stale. Compare them (`virsh dumpxml g`)"),
    # somebody else's
    (on(x1={"owner": "nova"}), [], "refused", None, "g on x1 belongs to nova, and nothing here touches it"),
    (on(x1={"owner": "nova", "active": False}), ["x2"], "refused", None, "g on x1 belongs to nova"),
    # ours from before ours said so
    (on(x1={"owner": None}), [], "here", "x1", ""),
])
def test_locate(hosts, silent, verdict, host, words):
    found = placement.locate("g", told.read(hosts), silent)
    assert (found.verdict, found.host) == (verdict, host)
    assert words in found.text and bool(words) == bool(found.text)


@pytest.mark.parametrize("one", [None, {}, {"active": False}, STANDS, ARRIVES, PAUSED])
@pytest.mark.parametrize("other", [None, {}, {"active": False}, STANDS, ARRIVES, PAUSED])
@pytest.mark.parametrize("silent", [[], ["x3"]])
def test_a_guest_that_runs_somewhere_is_started_nowhere_else(one, other, silent):
    """Whatever is seen: where a guest is said to be, no other copy is active, and nobody who was not asked could run it."""
    hosts = on(x1=one, x2=other)
    plan = placement.declare([declared()], told.read(hosts), {"x1": "xen", "x2": "xen", "x3": "xen"} if silent else {"x1": "xen", "x2": "xen"}, ["x1", "x2"])
    starts = [host for host, items in plan.here.items() for item in items if item["state"] == "running"]
    active = [host for host, copy in (("x1", one), ("x2", other)) if copy is not None and copy.get("active", True)]
    assert len(starts) <= 1
    if starts:
        assert active in ([], starts)
        assert active or not silent


# --- what is to be done

FAMILIES = {"x1": "xen", "x2": "xen", "k1": "qemu"}


def declared(name="g", host="x1", **more):
    return guests.Guest(**{"name": name, "host": host, "kind": "pvh", "memory": 256, "image": "debian", **more})


def declare(hosts, *entries, asked=("x1", "x2", "k1")):
    return placement.declare(entries or [declared()], told.read(hosts), FAMILIES, asked)


def names(plan):
    return {host: [item["name"] for item in items] for host, items in plan.here.items() if items}


def test_made_at_home():
    plan = declare(on())
    assert names(plan) == {"x1": ["g"]} and plan.left == plan.refused == []


def test_it_stays_where_it_is():
    assert names(declare(on(x2={}))) == {"x2": ["g"]}


def test_a_definition_where_it_does_not_run_goes():
    plan = declare(on(x2={}, x1={"active": False}))
    assert plan.here == {"x1": [{"name": "g", "state": "absent", "elsewhere": True}], "x2": [declared().told()]}


def test_saved_memory_is_not_thrown_away():
    plan = declare(on(x2={}, x1={"active": False, "managed_save": True}))
    assert plan.here["x1"] == [] and "`virsh managedsave-remove g`" in plan.left[0]


@pytest.mark.parametrize("state, refused", [("running", 1), ("stopped", 0), ("absent", 0)])
def test_saved_memory_keeps_a_guest_from_starting(state, refused):
    plan = declare(on(x1={"active": False, "state_files": ["/s/g.img.u.state"]}), declared(state=state))
    assert len(plan.refused) == refused and names(plan) == ({} if refused else {"x1": ["g"]})
    assert plan.left == [] and all("a start anew would lose it" in line for line in plan.refused)


def test_what_is_on_its_way_is_left_alone():
    plan = declare(on(x1={"migration": {"target": "x2", "percent": 3}}, x2=ARRIVES))
    assert names(plan) == {} and plan.refused == []
    assert plan.left == ["g is being moved from x1 to x2 already (3% done). Wait for that to end."]


def test_others_go_on_when_a_host_is_silent():
    hosts = on(x1={})
    del hosts["x2"]
    plan = declare(hosts, declared(), declared("new"), declared("old", host="x2"))
    assert names(plan) == {"x1": ["g"]}
    assert len(plan.refused) == 2 and all("playbooks/rescue.yml -e host=x2" in line for line in plan.refused)


def test_the_other_kind_of_hypervisor_may_be_silent():
    assert names(declare(on())) == {"x1": ["g"]} and "k1" not in on()


def test_each_kind_has_silent_ones_of_its_own():
    plan = declare(on(), declared("db", host="k1", kind="kvm"))
    assert len(plan.refused) == 1 and "k1 could not be asked and may run it" in plan.refused[0]


def test_what_limit_leaves_out_is_not_told():
    hosts = on()
    del hosts["x2"]
    plan = declare(hosts, declared(host="x2"), asked=["x1"])
    assert names(plan) == {} and plan.refused == []


def test_defined_twice_and_to_go():
    off = {"active": False}
    plan = declare(on(x1=off, x2=off), declared(state="absent"))
    assert names(plan) == {"x1": ["g"], "x2": ["g"]}
    assert names(declare(on(x1={}, x2={}), declared(state="absent"))) == {}


def test_a_guest_that_left_the_inventory_is_told():
    plan = declare(on(x1={}), declared("other"))
    assert plan.left == ["g on x1 has left the inventory. It stays as it is; to have it removed, say it with state: absent."]


@pytest.mark.parametrize("owner", [None, "nova"])
def test_what_is_not_ours_has_not_left(owner):
    assert declare(on(x1={"owner": owner}), declared("other")).left == []


def test_another_managers_domain_is_no_guest():
    hosts = on(x1={"owner": "nova"}, x2={})
    hosts["x2"]["guests"][0]["name"] = "ours"
    assert plan("", hosts).error == "Which guest? Give it with -e vm=NAME. Guests: ours (x2)."


# --- drained hypervisors ----------------------------------------------------

def drained(hosts, name):
    hosts[name]["drained"] = 7
    return hosts


def test_a_drained_one_is_no_target_of_a_move():
    assert plan("our-vm", drained(site(x1=[guest("our-vm")]), "x3")).target == "x2"
    found = plan("our-vm", drained(site(x1=[guest("our-vm")]), "x3"), "x3")
    assert found.error == "our-vm cannot go to x3: it is drained (playbooks/undrain.yml -e host=x3 opens it again). These would do: x2."
    # its own guests may leave it
    assert plan("our-vm", drained(site(x3=[guest("our-vm")]), "x3")).target == "x2"


@pytest.mark.parametrize("copy, state, refused", [
    (None, "running", "g is not made on x1, which is drained. Give it another host in the inventory; or playbooks/undrain.yml -e host=x1 opens it again."),
    (None, "stopped", "g is not made on x1, which is drained."),
    (None, "absent", ""),
    ({}, "running", ""),
    ({"active": False}, "running", "g is stopped on x1, which is drained, and is not started there. Move it (playbooks/migrate.yml -e vm=g); or "
                                   "playbooks/undrain.yml -e host=x1 opens it again."),
    ({"active": False}, "stopped", ""),
    ({"active": False}, "absent", ""),
])
def test_nothing_is_placed_on_a_drained_one(copy, state, refused):
    found = declare(drained(on(x1=copy) if copy is not None else on(), "x1"), declared(state=state))
    assert refused in "".join(found.refused) and bool(refused) == bool(found.refused) == (names(found) == {})


def test_a_drained_home_does_not_matter_to_a_guest_elsewhere():
    found = declare(drained(on(x2={}, x1={"active": False}), "x1"))
    assert names(found) == {"x1": ["g"], "x2": ["g"]} and found.here["x1"][0]["state"] == "absent" and found.refused == []
