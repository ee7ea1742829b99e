# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table of guests, and the lines below it."""

from __future__ import annotations

import pytest

from ansible_collections.our.cloud.plugins.module_utils._guest import overview, told
from ansible_collections.our.cloud.plugins.module_utils._guest.instance_facts import InstanceFacts

REGISTRY = {"images": [{"id": "emi-1", "names": [], "guests": ["a"]}], "kernels": [], "ramdisks": []}
FAMILIES = {"node1": "qemu", "node2": "qemu"}


def guest(name, **more):
    """As vm_info tells it."""
    return {"name": name, "state": "running", "active": more.get("state", "running") != "stopped", "persistent": True, "kind": "kvm", "arch": "x86_64",
            "memory": 256, "vcpus": 1, "disks": [{"path": "/srv/cloud/images/%s.img" % name}], "reason": None, "suspended": False, "owner": "our.cloud",
            "lease": None, **more}


def site(node1=(), node2=(), **more):
    return {host: {"hypervisor": "qemu", "guests": list(found), "orphans": [], "store_error": "", **more}
            for host, found in (("node1", node1), ("node2", node2))}


def below(hosts, families=None, declared=None):
    """The lines below the table."""
    lines = overview.guests(told.read(hosts), REGISTRY, FAMILIES if families is None else families, declared)
    return lines[lines.index("") + 1:] if "" in lines else []


def test_nothing():
    assert overview.guests({}, {}) == ["guest  host  state  lease  kind  arch  MiB  CPUs  image  disk"]


def test_guests():
    moving, pvh = guest("b", migration={"target": "node1", "percent": 3}), guest("c", disks=[{"path": None}], memory=16, kind="pvh", lease={"host": "node2"})
    hosts = site([guest("a", state="stopped"), guest("i-1", owner="nova")], [moving, pvh, guest("d", state="paused", reason="I/O error"),
                                                                             guest("e", suspended=True), guest("f", migration={"percent": 3})])
    table = overview.guests(told.read(hosts), REGISTRY)
    assert table[:table.index("")] == [
        "guest  host   state               lease  kind  arch    MiB  CPUs  image  disk",
        "a      node1  stopped             -      kvm   x86_64  256     1  emi-1  /srv/cloud/images/a.img",
        "b      node2  moving to node1     -      kvm   x86_64  256     1  -      /srv/cloud/images/b.img",
        "c      node2  running             node2  pvh   x86_64   16     1  -      -",
        "d      node2  paused (I/O error)  -      kvm   x86_64  256     1  -      /srv/cloud/images/d.img",
        "e      node2  stands still        -      kvm   x86_64  256     1  -      /srv/cloud/images/e.img",
        "f      node2  moving to ?         -      kvm   x86_64  256     1  -      /srv/cloud/images/f.img"]


def test_all_is_well():
    assert below(site([guest("a")], [guest("b")]), declared=[{"name": "a"}, {"name": "b"}]) == []


@pytest.mark.parametrize("hosts, line", [
    (site([guest("a")], [guest("a", state="stopped")]), "a runs on node1; node2 has an old definition of it, which playbooks/guests.yml takes away."),
    (site([guest("a", state="stopped", defined=1)], [guest("a", state="stopped", defined=2)]), "a is stopped and defined on node1 and node2."),
    (site([guest("a", state="stopped", state_files=["/s/a.img.u.state"])]), "a is stopped on node1. Its memory is saved in /s/a.img.u.state, by a move"),
    (site([guest("a", state="paused", reason="I/O error")]), "a on node1 is paused by an I/O error. Is the store full, or away?"),
    (site([guest("a"), guest("old")]), "old on node1 has left the inventory; nothing changes it any more."),
    (site([guest("i-1", owner="nova"), guest("i-2", owner="nova", active=False)]), "node1 has 2 domains of nova, with 256 MiB."),
    ({"node1": {**site([guest("a")])["node1"], "orphans": [{"domid": 7, "name": "x", "memory": 64}]}, "node2": site()["node2"]},
     "node1: Xen domain 7 (x) is unknown to libvirt and holds 64 MiB"),
    ({**site(), "node1": {**site()["node1"], "store_error": "node1: store: no answer within 10 s"}}, "node1: store: no answer within 10 s"),
    ({**site(), "node1": {**site()["node1"], "moves": [{"text": "The move of a to node2 (live) failed"}]}}, "The move of a to node2 (live) failed."),
    ({**site(), "node1": {**site()["node1"], "drained": 7, "errand": {"verb": "reboot", "began": 7}}},
     "node1 is drained by reboot.yml, which has not ended: playbooks/reboot.yml goes on."),
    ({**site(), "node1": {**site()["node1"], "drained": 0}}, "node1 is drained: nothing is placed there (playbooks/undrain.yml -e host=node1 opens it again)."),
])
def test_what_should_be_looked_at(hosts, line):
    found = below(hosts, declared=[{"name": "a"}])
    assert len(found) == 1 and found[0].startswith(line)


def test_a_silent_hypervisor():
    hosts = {"node1": site([guest("a", state="stopped")])["node1"]}
    assert below(hosts) == ["node2 could not be asked. Bring node2 up, or, if it is lost, run playbooks/rescue.yml -e host=node2.",
                            "a is stopped on node1, and node2 could not be asked and may run it. It is not started. "
                            "Bring node2 up, or, if it is lost, run playbooks/rescue.yml -e host=node2."]


def test_what_is_not_ours_has_not_left():
    assert below(site([guest("a", owner=None)]), declared=[]) == []


def instance(name, **more):
    """As instance_info tells it."""
    return {"name": name, "id": f"id-{name}", "host": "node1", "state": "running", "status": "ACTIVE", "arch": "arm64", "memory": 128, "vcpus": 1,
            "image": "debian",
            "project": "physics", "cards": [{"mac": "m", "addresses": ["10.0.0.5"], "floating": ["192.0.2.5"]}], "fault": None, **more}


def test_instances_are_in_the_same_table():
    cloud = [instance("web"), instance("new", host=None, status="ERROR", state="failed", fault="No valid host.",
                                       cards=[{"mac": "m", "addresses": [], "floating": []}])]
    cloud.append(instance("printer", cards=[{"mac": "00:16:3e:00:00:01", "addresses": [], "floating": []}]))
    hosts = site([guest("a"), guest("i-1", owner="nova", uuid="id-web"), guest("i-2", owner="nova", uuid="other")])
    assert overview.guests(told.read(hosts), REGISTRY, FAMILIES, None, [InstanceFacts.of(each) for each in cloud],
                           "99 00:16:3e:00:00:01 192.0.2.9\nduid 00:01\n") == [
        "guest    host   state    lease  kind      arch    MiB  CPUs  image   disk                     project  address",
        "a        node1  running  -      kvm       x86_64  256     1  emi-1   /srv/cloud/images/a.img  -        -",
        "web      node1  running  -      instance  arm64   128     1  debian  -                        physics  192.0.2.5, 10.0.0.5",
        "new      -      failed   -      instance  arm64   128     1  debian  -                        physics  m",
        "printer  node1  running  -      instance  arm64   128     1  debian  -                        physics  192.0.2.9",
        "",
        "node1 has 1 domains of nova, with 256 MiB.",
        "new (id-new) has failed: No valid host. playbooks/terminate.yml -e vm=id-new removes it."]
