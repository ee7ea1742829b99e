# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.our.cloud.plugins.module_utils._guest import placement


def guest(name, active=True, memory=256, kind="pvh"):
    return {"name": name, "active": active, "memory": memory, "kind": kind}


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


def test_most_free_memory_of_the_same_kind():
    found = placement.plan("our-vm", site(x1=[guest("our-vm")]))
    assert (found["source"], found["target"], found["mode"], found["error"]) == ("x1", "x3", "live", "")


def test_named_target_and_mode():
    found = placement.plan("our-vm", site(x1=[guest("our-vm")]), "x2", "suspend")
    assert (found["target"], found["mode"], found["error"]) == ("x2", "suspend", "")


def test_already_there():
    assert placement.plan("our-vm", site(x1=[guest("our-vm")]), "x1")["already"]


def test_stopped_guest_goes_offline_and_needs_no_memory():
    found = placement.plan("our-vm", site(x2=[guest("our-vm", active=False, memory=4096)]))
    assert (found["source"], found["target"], found["mode"]) == ("x2", "x3", "offline")


def test_running_place_counts_before_a_stale_definition():
    assert placement.plan("our-vm", site(x1=[guest("our-vm", active=False)], x3=[guest("our-vm")]))["source"] == "x3"


@pytest.mark.parametrize("name, target, hosts, words", [
    ("", None, site(x1=[guest("our-vm")]), "Which guest? Give it with -e vm=NAME. Guests: our-vm (x1)."),
    ("nope", None, site(x1=[guest("our-vm")], k1=[guest("their-vm", kind="kvm")]), "There is no guest nope. Guests: our-vm (x1), their-vm (k1)."),
    ("nope", None, {}, "Guests: none."),
    ("our-vm", None, site(x1=[guest("our-vm")], x2=[guest("our-vm")]), "runs on x1 and x2 at once"),
    ("our-vm", None, site(x1=[guest("our-vm", False)], x2=[guest("our-vm", False)]), "is stopped and defined on x1 and x2"),
    ("our-vm", "k1", site(x1=[guest("our-vm")]),
     "our-vm cannot go to k1: it is a qemu hypervisor and our-vm is a pvh guest on a xen one. These would do: x3, x2."),
    ("our-vm", "zz", site(x1=[guest("our-vm")]), "our-vm cannot go to zz: it is no hypervisor of this inventory, or did not answer. These would do: x3, x2."),
    ("our-vm", "x1", site(x2=[guest("our-vm")]), ""),
    ("our-vm", "x1", site(x2=[guest("our-vm", memory=512)]), "it has 300 MiB free and our-vm needs 528 MiB. These would do: x3."),
    ("our-vm", None, site(x3=[guest("our-vm", memory=2000)]), "our-vm on x3 has nowhere to go. No other host would do either: k1 is a qemu hypervisor"),
])
def test_errors(name, target, hosts, words):
    error = placement.plan(name, hosts, target)["error"]
    assert words in error if words else error == ""


def test_silent_hosts_are_named():
    error = placement.plan("nope", site(), silent=["x9", "x8"])["error"]
    assert error == "No hypervisor that answered has a guest nope. Guests: none. These did not answer: x8, x9."


@pytest.mark.parametrize("target", [None, "x2", "x3"])
def test_on_both_while_it_is_moved(target):
    moving = dict(guest("our-vm"), migration={"target": "x2", "percent": 12})
    found = placement.plan("our-vm", site(x1=[moving], x2=[guest("our-vm")]), target)
    assert found["error"] == "our-vm is being moved from x1 to x2 already (12% done). Wait for that to end."
