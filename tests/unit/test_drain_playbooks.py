# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""drain.yml, ready.yml and undrain.yml with hypervisors that are files: what they ask for, in which order, and what they say."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys

import pytest
from checkout import CHECKOUT, log_beside

INVENTORY = """[gateway]
front
[image_store]
front
[kvm]
k1
k2
k3
[hypervisors:children]
kvm
[clc]
front
[cc]
front
[nc]
k1
k2
k3
[all:vars]
ansible_connection=local
site_store=/srv/cloud
"""
MARK = "/var/lib/our-cloud/drained"
# vm_info: what HOST.json says; no file: it does not answer. A move takes a guest from file to file. What changes something is a line in `calls`.
STUB = r"""#!/usr/bin/python
# WANT_JSON
import glob, json, os, sys
with open(sys.argv[1]) as stream:
    args = json.load(stream)
folder, host, name = os.environ["STUB"], os.path.abspath(sys.argv[0]).split("/tmp-of-")[1].split("/")[0], "NAME"
check = args.get("_ansible_check_mode")

def read(path, other=None):
    path = os.path.join(folder, path)
    if not os.path.exists(path):
        return other
    with open(path) as stream:
        return json.load(stream)

def write(path, content):
    with open(os.path.join(folder, path), "w") as stream:
        json.dump(content, stream)

def call(*words):
    with open(os.path.join(folder, "calls"), "a") as stream:
        stream.write(" ".join(map(str, words)) + "\n")

def end(**result):
    print(json.dumps({"changed": False, **result}))
    sys.exit()

if name == "vm_info":
    found = read(host + ".json")
    mark = "mark-" + host
    end(**({**found, "drained": 7 if os.path.exists(os.path.join(folder, mark)) else None, "errand": read(mark + "/errand.json")} if found
           else {"failed": True, "msg": "libvirt does not answer"}))
if name in ("instance_info", "lease_info", "ovn_gateway_info"):
    end(**read(name))
if name == "moves_idle":
    end(waited=[])
if name == "compute_log":
    end(unread="", lines=[])
if name == "compute_service":
    state = read("nova", True)
    if state != args["enabled"] and not check:
        call(name, args["host"], args["enabled"])
        write("nova", args["enabled"])
    end(changed=state != args["enabled"], note="")
kind = "refused" if check else "failed"
if args["name"] in read(kind, []):
    end(failed=True, msg=f"move of {args['name']} to {args['target']}: {kind}. Mend it")
if not check:
    call(name, args["name"], args["target"], args.get("mode", "live"), *(f"{key}={args[key]}" for key in ("encrypt", "bandwidth") if key in args))
    for path in glob.glob(os.path.join(folder, "k?.json")):
        told = read(path)
        going = [guest for guest in told["guests"] if args["name"] in (guest["name"], guest["uuid"])]
        if going and os.path.basename(path) != args["target"] + ".json":
            write(path, {**told, "guests": [guest for guest in told["guests"] if guest not in going]})
            there = read(args["target"] + ".json")
            write(args["target"] + ".json", {**there, "guests": there["guests"] + going})
end(changed=True, source="k1", target=args["target"], mode=args.get("mode", "live"), total_ms=2400, downtime_ms=30, transferred=3 << 20)
"""
STUBS = ("vm_info", "vm_migrate", "vm", "moves_idle", "instance_info", "instance_migrate", "compute_log", "compute_service", "lease_info", "ovn_gateway_info")


def guest(name, memory=160, **more):
    """As vm_info tells it."""
    return {"name": name, "active": True, "state": "running", "uuid": f"id-{name}", "kind": "kvm", "arch": "x86_64", "memory": memory, "vcpus": 1,
            "persistent": True, "disks": [], "owner": "our.cloud", **more}


def entry(name, host="k1"):
    """As an inventory has it."""
    return {"name": name, "host": host, "kind": "kvm", "memory": 160, "image": "debian"}


WEB = guest("instance-00000001", uuid="id-web", owner="nova")
INSTANCE = {"name": "web", "id": "id-web", "project": "physics", "state": "running", "status": "ACTIVE", "host": "k1", "domain": "instance-00000001",
            "memory": 128}


@pytest.fixture(name="collections", scope="module")
def fixture_collections(tmp_path_factory):
    """The collection with these stubs in the places of its modules, and a mark that is a file beside them."""
    root = tmp_path_factory.mktemp("collections")
    ours = root / "ansible_collections/our/cloud"
    for folder in ("plugins", "roles", "playbooks", "meta"):
        shutil.copytree(CHECKOUT / folder, ours / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for name in STUBS:
        (ours / f"plugins/action/{name}.py").unlink(missing_ok=True)
        (ours / f"plugins/modules/{name}.py").write_text(STUB.replace("NAME", name), encoding="utf-8")
    log_beside(ours)
    for name in ("drain", "undrain"):
        path = ours / f"playbooks/{name}.yml"
        text = path.read_text(encoding="utf-8")
        assert f"path: {MARK}\n" in text
        path.write_text(text.replace(MARK, "\"{{ lookup('ansible.builtin.env', 'STUB') }}/mark-{{ inventory_hostname }}\""), encoding="utf-8")
    return root


class Site:
    """Three nodes that are files, and what is done to them."""

    def __init__(self, folder, collections):
        self.folder, self.collections = folder, collections
        for name, content in {"instance_info": {"instances": []}, "lease_info": {"leases": []},
                              "ovn_gateway_info": {"ports": {}, "gateways": [], "chassis": []}}.items():
            self.write(name, content)
        for host in ("k1", "k2", "k3"):
            self.node(host)
        (folder / "ansible.cfg").touch()
        (folder / "hosts").write_text(INVENTORY, encoding="utf-8")
        (folder / "group_vars").mkdir()
        self.guests()

    def write(self, name, content):
        (self.folder / name).write_text(json.dumps(content), encoding="utf-8")

    def node(self, host, *guests, free=9999):
        self.write(f"{host}.json", {"hypervisor": "qemu", "host": host, "memory": {"free": free, "total": 9999}, "orphans": [], "guests": list(guests)})

    def guests(self, *entries):
        self.write("group_vars/all.json", {"guests": list(entries), "ansible_python_interpreter": sys.executable, "migrate_encrypt": False,
                                           "ansible_remote_tmp": f"{self.folder}/tmp-of-{{{{ inventory_hostname }}}}"})

    def names(self, host):
        return [one["name"] for one in json.loads((self.folder / f"{host}.json").read_text())["guests"]]

    @property
    def log(self):
        """The site's log, without times and hosts."""
        path = self.folder / "site.log"
        return [line.split(": ", 1)[1] for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []

    @property
    def drained(self):
        return [path.name.removeprefix("mark-") for path in self.folder.glob("mark-*")]

    def play(self, name, *arguments):
        """(status, calls, how much has changed, what it said without line breaks)"""
        (self.folder / "calls").unlink(missing_ok=True)
        site = [path for path in sys.path if path.endswith("site-packages")]
        done = subprocess.run(
            [sys.executable, "-m", "ansible", "playbook", "-i", str(self.folder / "hosts"), f"our.cloud.{name}", *arguments],
            capture_output=True, text=True, check=False, cwd=self.folder, timeout=900,
            # the stand-ins find their host by its folder, which Mitogen, that `make` switches on, does not use
            env={**os.environ, "ANSIBLE_STRATEGY": "linear", "ANSIBLE_COLLECTIONS_PATH": ":".join([str(self.collections), *site]),
                 "ANSIBLE_CONFIG": str(self.folder / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1", "ANSIBLE_HOME": str(self.folder / "home"),
                 "ANSIBLE_CALLBACK_RESULT_FORMAT": "yaml", "ANSIBLE_LOCALHOST_WARNING": "0", "STUB": str(self.folder)})
        calls = (self.folder / "calls").read_text(encoding="utf-8").splitlines() if (self.folder / "calls").exists() else []
        changed = sum(map(int, re.findall(r"changed=(\d+)", done.stdout)))
        return done.returncode, calls, changed, " ".join((done.stdout + done.stderr).split())


@pytest.fixture(name="site")
def fixture_site(collections, tmp_path):
    return Site(tmp_path, collections)


def test_a_site_without_a_cloud(site):
    (site.folder / "hosts").write_text(re.sub(r"\[clc\].*(?=\[all)", "", INVENTORY, flags=re.DOTALL), encoding="utf-8")
    site.node("k1", guest("our-vm"))
    status, calls, dummy_changed, said = site.play("drain", "-e", "host=k1")
    assert (status, len(calls), site.names("k1"), site.drained) == (0, 1, [], ["k1"]), said


def test_guests_and_instances_leave_and_return(site):
    site.node("k1", guest("big", 4000), guest("small"), WEB, guest("off", active=False, state="stopped"))
    site.node("k2", free=4100)
    site.node("k3", free=1000)
    site.write("instance_info", {"instances": [INSTANCE]})
    site.guests(entry("big"), entry("small"), entry("off"), entry("other", "k2"))

    status, calls, changed, said = site.play("ready", "-e", "host=k1")
    assert (status, calls, changed) == (2, [], 0), said
    assert "No: k1 must not be switched off now." in said and "big runs on k1. playbooks/drain.yml -e host=k1 moves it." in said
    assert "Instance web runs on k1." in said and "k1 is not drained" in said

    status, calls, changed, said = site.play("drain", "-e", "host=k1", "--check")
    assert (status, calls, site.drained, site.log) == (0, [], [], []), said
    assert "big guest 4064 k1 k2 live" in said and "off is stopped on k1 and stays" in said and "k1 would be drained: 3 to move." in said

    status, calls, changed, said = site.play("drain", "-e", "host=k1")
    assert (status, calls[0]) == (0, "compute_service k1 False"), said
    assert sorted(calls[1:]) == ["instance_migrate id-web k3 live", "vm_migrate big k2 live encrypt=False", "vm_migrate small k3 live encrypt=False"]
    assert site.drained == ["k1"] and site.names("k1") == ["off"]
    assert site.log[0] == "our.cloud.drain: k1 is drained: nothing is placed there"
    moved = (("big", "k2"), ("small", "k3"), ("web", "k3"))
    assert sorted(site.log[1:]) == [f"our.cloud.drain: {name} moved from k1 to {there} (live)" for name, there in moved]
    assert "small k1 k3 live moved 2.4 30 3" in said and "k1 is drained, and nothing is placed there until playbooks/undrain.yml -e host=k1" in said

    # nova says so now
    site.write("instance_info", {"instances": [{**INSTANCE, "host": "k3"}]})
    status, calls, changed, said = site.play("drain", "-e", "host=k1")
    assert (status, calls, changed) == (0, [], 0), said
    assert "Nothing on k1 is to be moved." in said
    status, calls, changed, said = site.play("ready", "-e", "host=k1")
    assert (status, changed) == (0, 0) and "Yes: k1 may be switched off." in said, said

    status, calls, changed, said = site.play("migrate", "-e", "vm=small", "-e", "target=k1")
    assert (status, calls) == (2, []) and "small cannot go to k1: it is drained (playbooks/undrain.yml -e host=k1 opens it again)." in said
    status, calls, changed, said = site.play("drain", "-e", "host=k2", "--check")
    assert status == 2 and "big needs 4064 MiB, and no hypervisor of its kind has more than" in said
    assert "k1 is drained: playbooks/undrain.yml -e host=k1 opens it again." in said

    status, calls, changed, said = site.play("undrain", "-e", "host=k1", "--check")
    assert (status, calls, site.drained) == (0, [], ["k1"]) and "k1 would be in use again." in said
    status, calls, changed, said = site.play("undrain", "-e", "host=k1")
    assert (status, calls, site.drained) == (0, ["compute_service k1 True"], []), said
    assert site.log[-1] == "our.cloud.undrain: k1 is in use again"
    assert "k1 is in use again." in said and "big (now on k2), small (now on k3) have the host k1 in the inventory" in said
    assert "for vm in big small; do ansible-playbook our.cloud.migrate -e vm=$vm -e target=k1 || break; done" in said
    status, calls, changed, said = site.play("undrain", "-e", "host=k1")
    assert (status, calls, changed) == (0, [], 0) and "k1 was not drained." in said


def test_what_cannot_leave_is_told_before_anything_moves(site):
    site.node("k1", guest("one"), guest("two"), guest("theirs", owner="proxmox"))
    site.write("refused", ["two"])
    status, calls, dummy, said = site.play("drain", "-e", "host=k1")
    assert (status, calls, site.drained) == (2, [], []), said
    assert "Nothing was moved or changed, as these cannot leave k1:" in said
    assert "two: move of two to" in said and "refused. Mend it" in said and "theirs on k1 belongs to proxmox: nothing here touches it." in said
    status, calls, dummy, said = site.play("drain", "-e", "host=k1 partly=true")
    assert (status, site.names("k1"), site.drained) == (0, ["two", "theirs"], ["k1"]), said
    assert "k1 is drained but for what stays" in said
    status, calls, dummy, said = site.play("ready", "-e", "host=k1")
    assert status == 2 and "two runs on k1." in said and "theirs on k1 belongs to proxmox" in said


def test_a_drain_that_failed_goes_on(site):
    site.node("k1", guest("one"), guest("two"))
    site.write("failed", ["two"])
    status, calls, dummy, said = site.play("drain", "-e", "host=k1")
    assert (status, site.names("k1"), site.drained) == (2, ["two"], ["k1"]), said
    assert "two: move of two to" in said and "failed. Mend it" in said and "k1 stays marked as drained. Run this again" in said
    (site.folder / "failed").unlink()
    status, calls, dummy, said = site.play("drain", "-e", "{drain_host: 'k1 '}")
    assert (status, [call.split()[1] for call in calls], site.names("k1")) == (0, ["two"], []), said


def test_the_way_out_of_the_cloud_and_leases_count(site):
    site.write("ovn_gateway_info", {"ports": {"cr-lrp-1": "k1"}, "gateways": ["k1", "k2"], "chassis": ["k1", "k2"]})
    site.write("lease_info", {"leases": [{"name": "gone", "host": "k1", "disks": []}]})
    (site.folder / "mark-k1").mkdir()
    status, dummy, dummy2, said = site.play("ready", "-e", "host=k1")
    assert status == 2 and "The way out of 1 of the cloud's routers is on k1, and nobody would take it" in said
    assert "k1 holds the lease of gone" in said
    site.write("lease_info", {"failed": True, "msg": "k1: store: it hangs."})
    site.write("ovn_gateway_info", {"failed": True, "msg": "ovn-sbctl: it hangs"})
    site.write("instance_info", {"failed": True, "msg": "nobody is there"})
    status, dummy, dummy2, said = site.play("ready", "-e", "host=k1")
    assert status == 2 and "Nobody can tell what leases k1 holds: k1: store: it hangs." in said
    assert "whether the way out of the cloud's routers is on k1: ovn-sbctl: it hangs." in said and "The cloud controller does not answer" in said
    status, calls, dummy, said = site.play("drain", "-e", "host=k1")
    assert (status, calls) == (2, []) and "The cloud controller does not answer, so nobody knows the instances on k1." in said


def test_the_front_end_is_switched_off_last(site):
    status, dummy, changed, said = site.play("ready", "-e", "host=front")
    assert (status, changed) == (2, 0) and "front is the gateway" in said and "front is the image store of k1, k2, k3" in said
    assert "front is clc, cc: the cloud's services end with it" in said


@pytest.mark.parametrize("name", ["drain", "undrain", "ready"])
@pytest.mark.parametrize("arguments, words", [
    ([], "Which host? Give it with -e host=NAME."),
    (["-e", "host=k9"], "k9 is no host of the inventory."),
    (["-e", "host=k1,k2"], "k1 and k2 are 2 hosts, and this is for one at a time"),
    (["-e", "{host: [k1]}"], "is no host of the inventory."),
    (["-e", "host=k1", "--limit", "k1"], "Run it without --limit."),
    (["-e", "host=k3"], "playbooks/rescue.yml -e host=k3"),
])
def test_refused(site, name, arguments, words):
    (site.folder / "k3.json").unlink()
    status, calls, changed, said = site.play(name, *arguments)
    assert (status, calls, changed) == (2, [], 0) and words in said, said


@pytest.mark.parametrize("arguments, words", [
    (["-e", "host=front"], "front is none of the site's hypervisors. Hypervisors: k1, k2, k3."),
    (["-e", "host=k1 mode=banana"], "mode is banana, which is none of live, suspend, offline."),
    (["-e", "host=k1 at_once=0"], "at_once is 0, which is no number of moves."),
])
def test_refused_by_drain(site, arguments, words):
    status, calls, changed, said = site.play("drain", *arguments)
    assert (status, calls, changed) == (2, [], 0) and words in said, said
