# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Guests and instances as hosts, by what the inventory says and what machines told."""

from __future__ import annotations

import base64
import json
import subprocess
import time

import pytest

from ansible_collections.our.cloud.plugins.module_utils._common.errors import CloudError
from ansible_collections.our.cloud.plugins.module_utils._guest import as_hosts, inquiry, told
from ansible_collections.our.cloud.plugins.module_utils._guest.guests import Guest
from ansible_collections.our.cloud.plugins.module_utils._guest.instance_facts import CloudCard, InstanceFacts

WEB = Guest("web", "x1", "pvh", 256, mac="00:16:3e:00:00:01", image="debian")
DB = Guest("db", "k1", "kvm", 512, mac="00:16:3e:00:00:02", address="192.0.2.80", image="arm", arch="armhf")
FAMILIES = {"x1": "xen", "x2": "xen", "k1": "qemu"}


def copy(name, **more):
    """As vm_info tells it."""
    return {"name": name, "state": "running", "active": True, "persistent": True, "kind": "pvh", "arch": "x86_64", "memory": 256, "owner": "our.cloud", **more}


def seen(guests, leases=None, **hosts):
    """{guest: its entry}, by what these hypervisors told."""
    answers = told.read({host: {"hypervisor": FAMILIES[host], "guests": copies} for host, copies in hosts.items()})
    return {entry.host: entry for entry in as_hosts.seen(as_hosts.declared(guests), FAMILIES, answers, leases or {})}


def test_declared():
    gone = Guest("old", "x1", "pvh", 16, state="absent")
    web, data = as_hosts.declared([WEB, DB, gone], [{"name": "debian", "path": "/p", "arch": "amd64"}, {"name": "arm", "arch": "arm64"}])
    assert (web.host, web.group, web.near, web.address, web.facts["arch"], web.facts["family"]) == ("web", "guests", "x1", None, "amd64", "xen")
    assert (data.address, data.facts["arch"], data.facts["node"], data.facts["status"]) == ("192.0.2.80", "armhf", None, None)
    assert set(web.facts) == set(data.facts)


@pytest.mark.parametrize("images", ["debian", None, [1, {"path": "/p"}]])
def test_images_that_say_no_architecture(images):
    assert as_hosts.declared([WEB], images)[0].facts["arch"] is None


def test_where_it_runs_and_what_the_gateway_gave_it():
    web = seen([WEB], {WEB.mac: "192.0.2.130"}, x1=[], x2=[copy("web")])["web"]
    assert (web.near, web.address, web.facts["node"], web.facts["status"], web.facts["arch"], web.facts["host"]) == (
        "x2", "192.0.2.130", "x2", "running", "amd64", "x1")


def test_a_fixed_address_stays_and_only_addresses_count():
    found = seen([WEB, DB], {DB.mac: "192.0.2.131", WEB.mac: "-oProxyCommand=x"}, x1=[], x2=[], k1=[copy("db", arch="armv7l", kind="kvm")])
    assert found["db"].address == "192.0.2.80" and found["web"].address is None


def test_one_that_a_silent_hypervisor_may_have_keeps_what_the_inventory_says():
    entry = as_hosts.declared([WEB])[0]
    assert seen([WEB], x1=[])["web"] == entry
    assert seen([WEB], k1=[])["web"] == entry


@pytest.mark.parametrize("hosts, node, status", [
    ({"x1": [], "x2": []}, None, "nowhere"),
    ({"x1": [copy("web", state="stopped", active=False)], "x2": []}, "x1", "stopped"),
    ({"x1": [copy("web", migration={"target": "x2"})]}, "x1", "moving to x2"),
    ({"x1": [copy("web")], "x2": [copy("web")]}, None, "unclear"),
])
def test_status(hosts, node, status):
    facts = seen([WEB], **hosts)["web"].facts
    assert (facts["node"], facts["status"]) == (node, status)


def instance(name, **more):
    return InstanceFacts(name, more.pop("id", f"id-{name}"), more.pop("project", "demo"), **{"state": "running", "address": "192.0.2.70", **more})


def test_an_instance():
    (entry,), left = as_hosts.instances([instance("web-1", host="k1", memory=256, image="debian")], {}, ())
    assert (entry.host, entry.group, entry.near, entry.address, left) == ("web-1.demo", "instances", "k1", "192.0.2.70", [])
    assert entry.facts["name"] == "web-1" and entry.facts["node"] == "k1" and entry.facts["status"] == "running" and entry.facts["memory"] == 256


def test_an_instance_on_the_lan_has_what_the_gateway_gave_it():
    (entry,), left = as_hosts.instances([instance("a", address=None, cards=(CloudCard("fa:1"), CloudCard("fa:2")))], {"fa:2": "192.0.2.140"}, ())
    assert entry.address == "192.0.2.140" and left == []


@pytest.mark.parametrize("address", [None, "front", "-oProxyCommand=x"])
def test_an_instance_without_an_address_is_left_out(address):
    entries, left = as_hosts.instances([instance("a", address=address)], {}, ())
    assert entries == [] and left == ["instance id-a is left out: neither the cloud nor the gateway's leases say its address"]


@pytest.mark.parametrize("name", ["-oProxyCommand=x", "a b", "{{ x }}", "all:!x", "node1.cloud", ""])
def test_users_of_the_cloud_name_no_machine_and_no_group(name):
    entries = as_hosts.instances([instance(name, id="5f0e", project="lan")], {}, {"node1.cloud.lan"})[0]
    assert [entry.host for entry in entries] == ["5f0e"]


def test_two_of_one_name():
    entries = as_hosts.instances([instance("a", id="1"), instance("a", id="2"), instance("a", id="3", project="b")], {}, ())[0]
    assert [entry.host for entry in entries] == ["1", "2", "a.b"]


def test_one_of_nobody_s_project():
    assert as_hosts.instances([instance("a", id="5f0e", project=None)], {}, ())[0][0].host == "5f0e"


# --- asking

GROUPS = {"hypervisors": ["x1", "k1"], "clc": ["front"], "gateway": ["front"]}


def answer(**tasks):
    """What the callback writes."""
    return "a line before\n" + json.dumps({"plays": [{"tasks": [{"task": {"name": name}, "hosts": hosts} for name, hosts in tasks.items()]}]})


def test_playbook():
    (play,) = inquiry.playbook(GROUPS, 9)
    assert play["hosts"] == ["x1", "k1", "front"] and {task["timeout"] for task in play["tasks"]} == {9}
    assert inquiry.playbook({"hypervisors": ["x1"]}, 9)[0]["hosts"] == ["x1"]


def test_read():
    leases = base64.b64encode(b"1 fa:1 192.0.2.9 a *\n").decode()
    found = inquiry.read(answer(guests={"x1": {"guests": []}, "k1": {"unreachable": True, "msg": "no route\nto k1"}, "front": {"skipped": True}},
                                instances={"front": {"failed": True}}, leases={"front": {"content": leases}}))
    assert found == inquiry.Told({"x1": {"guests": []}}, None, "1 fa:1 192.0.2.9 a *\n",
                                 ["k1, asked for guests: no route to k1", "front, asked for instances: it does not say why"])
    assert inquiry.read(answer(instances={"front": {"instances": [1]}})).instances == [1]


@pytest.mark.parametrize("text", ["", "no json", "{}", '{"plays": '])
def test_no_answer(text):
    with pytest.raises((ValueError, KeyError)):
        inquiry.read(text)


def test_a_bound(monkeypatch, tmp_path):
    """What does not end is ended, with all that it has started."""
    (tmp_path / "ansible.py").write_text("import pathlib, subprocess, sys\nchild = subprocess.Popen(['sleep', '600'])\n"
                                         f"pathlib.Path({str(tmp_path / 'child')!r}).write_text(str(child.pid))\nchild.wait()\n", encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(inquiry, "ROUNDS", 1)
    children = []

    class Begun(subprocess.Popen):
        """On a busy computer the bound is over before Python is there."""

        def wait(self, timeout=None):
            if timeout:
                children.append(int(soon(lambda: "".join(path.read_text(encoding="ascii") for path in tmp_path.glob("child")))))
            return super().wait(timeout)

    monkeypatch.setattr(inquiry.subprocess, "Popen", Begun)
    with pytest.raises(CloudError, match=r"asking the site's machines: no end within 2 s\. A longer `timeout`"):
        inquiry.ask(["/hosts"], GROUPS, 2)
    assert soon(lambda: _state(children[0]) in ("", "Z", "X"))


def soon(look):
    """What it returns as soon as that is something, or after a minute."""
    end = time.monotonic() + 60
    while not look() and time.monotonic() < end:
        time.sleep(0.02)
    return look()


def _state(pid):
    """Of a process: the letter, empty if there is none."""
    try:
        with open(f"/proc/{pid}/status", encoding="ascii") as stream:
            return next(line.split()[1] for line in stream if line.startswith("State:"))
    except (FileNotFoundError, ProcessLookupError):
        return ""


def test_what_went_wrong_is_told(monkeypatch, tmp_path):
    (tmp_path / "ansible.py").write_text("import sys\nsys.exit('ERROR! Attempting to decrypt but no vault\\nsecrets found')\n", encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(CloudError, match="asking the site's machines: ERROR! Attempting to decrypt but no vault secrets found$"):
        inquiry.ask(["/hosts"], GROUPS, 9)
