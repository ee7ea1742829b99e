# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Dataclasses out of dicts, and back; those of what hypervisors tell above all, which go through JSON."""

from __future__ import annotations

import dataclasses
import json

import pytest
import yaml

from ansible_collections.our.cloud.plugins.module_utils._common import shapes
from ansible_collections.our.cloud.plugins.module_utils._guest.domain_facts import Card, Disk
from ansible_collections.our.cloud.plugins.module_utils._guest.instance_facts import CloudCard, InstanceFacts
from ansible_collections.our.cloud.plugins.module_utils._guest.placement import Planned
from ansible_collections.our.cloud.plugins.module_utils._guest.rescue import Look
from ansible_collections.our.cloud.plugins.module_utils._guest.told import Copy, Ending, Hypervisor, Lease, Memory, Orphan, Progress, read
from ansible_collections.our.cloud.plugins.module_utils._move.options import Options
from ansible_collections.our.cloud.plugins.modules import vm_migrate

COPY = Copy("g", "u", "our.cloud", "kvm", "x86_64", "q35", 256, 2, "/k", "/r", "quiet",
            (Disk("/s/g.qcow2", format="qcow2", backing=("/s/root.img",)), Disk()), (Card("00:16:3e:00:00:01", "br0", "bridge"),), 1, "/log",
            "paused", True, False, True, "user", True, True, 5, Lease("one", 3, "two"), ("/s/g.state",), Progress("g", "one", "two", percent=7))
TOLD = Hypervisor("qemu", Memory(1, 2), (COPY, Copy("h")), "one", (Orphan(9, "x", 64, True),), (Ending("It failed", "i", failed=True),), "it is away")


def test_what_goes_through_json_comes_back():
    assert read({"one": json.loads(json.dumps(TOLD.told()))}) == {"one": TOLD}


def test_as_json_has_it():
    told = TOLD.told()
    assert told == json.loads(json.dumps(told))
    assert told["guests"][0]["disks"][0]["backing"] == ["/s/root.img"] and told["guests"][0]["lease"] == {"host": "one", "since": 3, "to": "two"}
    # what a move has not said is not there, and neither is a move that there is not
    assert told["guests"][0]["migration"] == {"name": "g", "source": "one", "target": "two", "percent": 7} and "migration" not in told["guests"][1]
    assert (told["hypervisor"], told["host"], told["memory"], told["store_error"]) == ("qemu", "one", {"free": 1, "total": 2}, "it is away")


def test_what_is_no_answer_is_not_one_without_guests():
    with pytest.raises(KeyError):
        Hypervisor.of({"unreachable": True, "msg": "no route"})
    assert Hypervisor.of({"guests": []}) == Hypervisor()


def test_what_is_not_told_is_said_of_nobody():
    """Another release's vm_info may tell less."""
    copy = Copy.of({"name": "g", "active": True, "state": "running", "persistent": True, "disks": [{}]}).told()
    assert copy == {
        "name": "g", "uuid": None, "owner": None, "kind": "", "arch": None, "machine": None, "memory": 0, "vcpus": 1, "kernel": None, "ramdisk": None,
        "cmdline": None, "interfaces": [], "hostdevs": 0, "console_log": None, "state": "running", "active": True, "persistent": True, "autostart": False,
        "reason": None, "suspended": False, "managed_save": False, "defined": None, "lease": None, "state_files": [],
        "disks": [{"path": None, "device": "disk", "target": None, "type": None, "driver": None, "format": None, "cache": None, "readonly": False,
                   "shareable": False, "backing": []}]}
    found = Hypervisor.of({"guests": [], "orphans": [{"domid": 1, "name": "x", "memory": 2}], "moves": [{"text": "t"}]})
    assert (found.memory, found.drained, found.orphans[0].has_run, found.moves[0].failed, found.moves[0].ended) == (Memory(0, 0), None, False, False, None)
    assert shapes.plain(InstanceFacts.of({"name": "a", "id": "i"})) == {
        "name": "a", "id": "i", "state": "", "status": "", "locked": False, "memory": 0, "vcpus": 0, "disk": 0, "cards": [], "volumes": [],
        **dict.fromkeys(("project", "task", "host", "domain", "arch", "flavor", "image", "key", "created", "fault", "address"))}


def test_a_move_s_defaults_are_those_of_the_module():
    documented = yaml.safe_load(vm_migrate.DOCUMENTATION)["options"]
    assert {field.name: field.default for field in dataclasses.fields(Options) if field.default is not dataclasses.MISSING} == {
        "uri": None, **{name: about.get("default") for name, about in documented.items() if not about.get("required") and name not in ("wait", "code")}}


@pytest.mark.parametrize("key", ["active", "state", "persistent"])
def test_a_copy_that_may_run_is_not_taken_for_one_that_does_not(key):
    told = COPY.told()
    del told[key]
    with pytest.raises(KeyError):
        Copy.of(told)


@pytest.mark.parametrize("key", ["signs", "renewed", "leases"])
def test_what_is_no_look_has_not_seen_nothing(key):
    look = {"signs": [], "renewed": False, "leases": []}
    assert Look.of(look) == Look((), False, ())
    del look[key]
    with pytest.raises(KeyError):
        Look.of(look)


def test_fields_that_are_none():
    assert shapes.of(Lease, {"host": "one", "boot": "x"}) == Lease("one")
    assert shapes.said(Lease("one")) == {"host": "one", "since": 0}
    assert shapes.plain({"a": (Lease("one"),), "b": [1, (2,)]}) == {"a": [{"host": "one", "since": 0, "to": None}], "b": [1, [2]]}
    with pytest.raises(TypeError):
        shapes.of(Lease, {})


def test_an_instance_goes_through_json_and_comes_back():
    web = InstanceFacts("web", "u1", "physics", host="n1", cards=(CloudCard("00:16:3e:00:00:01", "lan", ("192.0.2.5",), ("10.0.0.5",)),), volumes=("v1",))
    planned = Planned("web", "live", "n1", "n2", instance=web)
    assert Planned.of(json.loads(json.dumps(shapes.plain(planned)))) == planned
    assert Planned.of(shapes.plain(Planned("g"))) == Planned("g")
