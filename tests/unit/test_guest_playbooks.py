# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""guests.yml, migrate.yml and list.yml with hypervisors that are files: what they ask for, and what they say."""

from __future__ import annotations

import datetime
import json
import os
import shutil
import subprocess
import sys

import pytest
from checkout import CHECKOUT, log_beside
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

INVENTORY = """[gateway]
[image_store]
[xen]
x1
x2
[kvm]
k1
[hypervisors:children]
xen
kvm
[all:vars]
ansible_connection=local
site_store=/srv/cloud
site_bridge=br0
"""
CLOUD = """[clc]
c1
[kvm]
k2
[nc]
k1
k2
"""
# vm_info: what HOST.json says; no file: it does not answer. The others: a line in `calls`.
STUB = r"""#!/usr/bin/python
# WANT_JSON
import json, os, sys
with open(sys.argv[1]) as stream:
    args = json.load(stream)
# the host is where Ansible puts it
folder, host, name = os.environ["STUB"], os.path.abspath(sys.argv[0]).split("/tmp-of-")[1].split("/")[0], "NAME"
HOW = [f"{key}={args[key]}" for key in ("timeout", "bandwidth", "max_downtime", "post_copy", "encrypt", "address") if key in args and "migrate" in name]
if name == "vm_info":
    try:
        with open(os.path.join(folder, host + ".json")) as stream:
            print(json.dumps({"changed": False, **json.load(stream)}))
    except FileNotFoundError:
        print(json.dumps({"failed": True, "msg": "libvirt does not answer"}))
elif name == "instance_info":
    with open(os.path.join(folder, "cloud.json")) as stream:
        print(stream.read())
elif name == "compute_log":
    assert args["since"] > 1e9
    print(json.dumps({"changed": False, "unread": "", "lines": ["Unsafe migration: of " + args["id"]]}))
elif name == "instance_migrate" and os.path.exists(os.path.join(folder, "refuse")):
    print(json.dumps({"failed": True, "msg": "c1: move of web to k2: it was not moved."}))
elif name == "instance_migrate" and not args.get("_ansible_check_mode"):
    files = [os.path.join(folder, name + ".json") for name in ("k1", "k2")]
    told = [json.load(open(file)) for file in files]
    told[1]["guests"] += told[0]["guests"]
    told[0]["guests"] = []
    for file, content in zip(files, told):
        with open(file, "w") as stream:
            json.dump(content, stream)
    with open(os.path.join(folder, "calls"), "a") as stream:
        stream.write(" ".join([host, name, args["name"], args["target"], *HOW]) + "\n")
    print(json.dumps({"changed": True, "source": "k1", "target": args["target"], "mode": "live", "total_ms": 2400, "transferred": 3 << 20,
                      "address": "192.0.2.5",
                      "address_answers": True}))
elif name == "image_info":
    print(json.dumps({"changed": False, "images": [], "kernels": [], "ramdisks": []}))
else:
    with open(os.path.join(folder, "calls"), "a") as stream:
        stream.write(" ".join([host, name, args["name"], args.get("state") or args.get("target"), *HOW]) + "\n")
    print(json.dumps({"changed": True, "source": host, "target": args.get("target"), "mode": args.get("mode")}))
"""


def guest(name, **more):
    """As vm_info tells it."""
    return {"name": name, "active": True, "state": "running", "uuid": "u", "kind": "pvh", "arch": "x86_64", "memory": 160, "vcpus": 1, "persistent": True,
            "disks": [], "owner": "our.cloud", **more}


def entry(name, host="x2"):
    """As an inventory has it."""
    return {"name": name, "host": host, "kind": "pvh", "memory": 160, "image": "debian"}


OFF = {"active": False, "state": "stopped"}
ARRIVES = {"state": "paused", "persistent": False}


@pytest.fixture(name="collections", scope="module")
def fixture_collections(tmp_path_factory):
    """The collection with these stubs in the places of its modules."""
    root = tmp_path_factory.mktemp("collections")
    ours = root / "ansible_collections/our/cloud"
    for folder in ("plugins", "roles", "playbooks", "meta"):
        shutil.copytree(CHECKOUT / folder, ours / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("vm_migrate", "instance_migrate"):
        (ours / f"plugins/action/{name}.py").unlink()
    for name in ("vm", "vm_info", "vm_migrate", "image_info", "instance_info", "instance_migrate", "compute_log"):
        (ours / f"plugins/modules/{name}.py").write_text(STUB.replace("NAME", name), encoding="utf-8")
    log_beside(ours)
    return root


@pytest.fixture(name="play")
def fixture_play(collections, tmp_path):
    """A function that runs a playbook: (status, calls, what it said without line breaks)."""
    def play(name, told, guests, *arguments, cloud=None):
        for host, found in told.items():
            hypervisor = {"hypervisor": "qemu" if host[0] == "k" else "xen", "host": host, "memory": {"free": 9999, "total": 9999}, "orphans": [],
                          "guests": found}
            (tmp_path / f"{host}.json").write_text(json.dumps(hypervisor), encoding="utf-8")
        (tmp_path / "hosts").write_text(INVENTORY + (CLOUD if cloud else ""), encoding="utf-8")
        (tmp_path / "cloud.json").write_text(json.dumps(cloud), encoding="utf-8")
        (tmp_path / "ansible.cfg").touch()
        (tmp_path / "group_vars").mkdir()
        (tmp_path / "group_vars/all.json").write_text(json.dumps({
            "guests": guests, "guests_announce": False, "ansible_python_interpreter": sys.executable,
            "ansible_remote_tmp": f"{tmp_path}/tmp-of-{{{{ inventory_hostname }}}}"}), encoding="utf-8")
        site = [path for path in sys.path if path.endswith("site-packages")]
        done = subprocess.run(
            [sys.executable, "-m", "ansible", "playbook", "-i", str(tmp_path / "hosts"), f"our.cloud.{name}", *arguments],
            capture_output=True, text=True, check=False, cwd=tmp_path, timeout=300,
            # the stand-ins find their host by its folder, which Mitogen, that `make` switches on, does not use
            env={**os.environ, "ANSIBLE_STRATEGY": "linear", "ANSIBLE_COLLECTIONS_PATH": ":".join([str(collections), *site]),
                 "ANSIBLE_CONFIG": str(tmp_path / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1",
                 "ANSIBLE_HOME": str(tmp_path / "home"), "ANSIBLE_CALLBACK_RESULT_FORMAT": "yaml", "ANSIBLE_LOCALHOST_WARNING": "0",
                 "STUB": str(tmp_path)})
        calls = (tmp_path / "calls").read_text(encoding="utf-8").splitlines() if (tmp_path / "calls").exists() else []
        return done.returncode, sorted(calls), " ".join((done.stdout + done.stderr).split())
    return play


def test_where_a_guest_is_decides(play, tmp_path):
    moving = guest("moving", migration={"target": "x2", "percent": 7})
    status, calls, said = play("guests", {
        "x1": [guest("twice", **OFF), moving, guest("stale", **OFF), guest("old"), guest("theirs", owner="nova")],
        "x2": [guest("twice", **OFF), guest("moving", **ARRIVES), guest("stale")],
        "k1": []}, [entry(name) for name in ("new", "twice", "moving", "stale", "theirs")])
    assert status == 2, said
    assert calls == ["x1 vm stale absent", "x2 vm new running", "x2 vm stale running"], said
    noted = [line.split(": ", 1)[1] for line in (tmp_path / "site.log").read_text(encoding="utf-8").splitlines()]
    assert sorted(noted) == ["our.cloud.guests: new on x2: changed", "our.cloud.guests: stale on x1: changed", "our.cloud.guests: stale on x2: changed"]
    assert "twice is stopped and defined on x1 and x2." in said
    assert "moving is being moved from x1 to x2 already" in said
    assert "old on x1 has left the inventory" in said
    assert "theirs on x1 belongs to nova" in said
    assert "top one of them" not in said


def test_a_hypervisor_that_was_not_asked_may_run_it(play):
    status, calls, said = play("guests", {"x1": [guest("stale", **OFF), guest("here")], "x2": [guest("stale")]},
                               [entry("stale"), entry("here"), entry("new", "x1")], "--limit", "x1")
    assert status == 2, said
    assert calls == ["x1 vm here running"]
    assert "stale is stopped on x1, and x2 could not be asked and may run it." in said
    assert "new is on no hypervisor that could be asked, and x2 could not be asked and may run it." in said
    assert "playbooks/rescue.yml -e host=x2" in said


def test_a_fault_of_the_inventory_comes_first(play):
    status, calls, said = play("guests", {"x1": [], "x2": [], "k1": []}, [{**entry("web"), "memory": "1G"}, {**entry("b"), "disk": "images/c.img"}, entry("c")])
    assert (status, calls) == (2, [])
    assert "guest web: memory: ''1G'' is no number of MiB" in said and "guests b and c have the same disk /srv/cloud/images/c.img" in said
    assert "argument" not in said


@pytest.mark.parametrize("arguments, words", [
    (["--limit", "k1"], "Run it without --limit."),
    (["-e", "mode=banana"], "mode is banana, which is none of live, suspend, offline."),
])
def test_a_move_that_cannot_be_meant(play, arguments, words):
    status, calls, said = play("migrate", {"x1": [guest("g")], "x2": [], "k1": []}, [], "-e", "vm=g", *arguments)
    assert (status, calls) == (2, []) and words in said
    assert "Ask this hypervisor" not in said


def test_blanks_are_no_part_of_a_name_and_a_silent_node_keeps_nobody(play):
    status, calls, said = play("migrate", {"x1": [guest("g")], "x2": []}, [], "-e", "{vm: 'g ', target: ' x2'}")
    assert (status, calls) == (0, ["x1 vm_migrate g x2"]), said


@pytest.mark.parametrize("prefix", ["", "migrate_"])
def test_a_move_is_told_what_is_asked_for_and_noted(play, prefix, tmp_path):
    options = {"vm": "g", "target": "x2", "mode": "live", "timeout": 60, "bandwidth": 8, "max_downtime": 70, "post_copy": True, "encrypt": False,
               "address": "192.0.2.9"}
    status, calls, said = play("migrate", {"x1": [guest("g")], "x2": [], "k1": []}, [],
                               "-e", json.dumps({prefix + name: value for name, value in options.items()}))
    assert (status, calls) == (0, ["x1 vm_migrate g x2 timeout=60 bandwidth=8 max_downtime=70 post_copy=True encrypt=False address=192.0.2.9"]), said
    assert (tmp_path / "site.log").read_text(encoding="utf-8").endswith(": our.cloud.migrate: g moved from x1 to x2 (live).\n")


@pytest.mark.parametrize("options, how", [
    # an inventory may have these words for something else
    ({"migrate_vm": "g", "vm": "other", "migrate_target": "x2", "target": "x9", "migrate_mode": "live", "mode": "0644", "migrate_address": "192.0.2.9",
      "address": "10.0.0.1"}, " address=192.0.2.9"),
    # what is typed counts for more than an inventory's migrate_...
    ({"vm": "g", "encrypt": True, "migrate_encrypt": False, "timeout": 5, "migrate_timeout": 9, "bandwidth": 1, "migrate_bandwidth": 2,
      "max_downtime": 3, "migrate_max_downtime": 4, "post_copy": False, "migrate_post_copy": True},
     " timeout=5 bandwidth=1 max_downtime=3 post_copy=False encrypt=True"),
])
def test_of_a_short_and_a_long_name_one_counts(play, options, how):
    status, calls, said = play("migrate", {"x1": [guest("g")], "x2": [], "k1": []}, [], "-e", json.dumps(options))
    assert (status, calls) == (0, ["x1 vm_migrate g x2" + how]), said


def test_the_list_says_what_should_be_looked_at(play):
    status, calls, said = play("list", {"x1": [guest("g", **OFF), guest("old")], "x2": [guest("g")]}, [entry("g")])
    assert (status, calls) == (0, [])
    assert "g runs on x2; x1 has an old definition of it" in said
    assert "old on x1 has left the inventory" in said
    assert "k1 could not be asked. Bring k1 up, or, if it is lost, run playbooks/rescue.yml -e host=k1." in said


def instance(name, host="k1"):
    """As instance_info tells it."""
    return {"name": name, "id": f"id-{name}", "project": "physics", "state": "running", "status": "ACTIVE", "host": host, "domain": "instance-00000001",
            "arch": "amd64", "memory": 128, "vcpus": 1, "image": "debian", "cards": [], "fault": None, "address": None}


CLOUDY = {"changed": False, "instances": [instance("web")]}
DOMAIN = guest("instance-00000001", uuid="id-web", owner="nova", kind="qemu")


def test_an_instance_is_moved_by_the_cloud_and_looked_for_on_both_nodes(play):
    status, calls, said = play("migrate", {"k1": [DOMAIN], "k2": [], "x1": [guest("g")]}, [], "-e", "migrate_vm=web migrate_timeout=60",
                               cloud=CLOUDY)
    assert (status, calls) == (0, ["c1 instance_migrate id-web k2 timeout=60"]), said
    assert "web moved from k1 to k2 (live) in 2.4 s; 3 MiB were sent; 192.0.2.5 answers." in said


def test_a_move_that_failed_is_explained_by_its_nodes(play, tmp_path):
    (tmp_path / "refuse").touch()
    status, calls, said = play("migrate", {"k1": [DOMAIN], "k2": []}, [], "-e", "vm=web", cloud=CLOUDY)
    assert (status, calls) == (2, [])
    assert ("move of web to k2: it was not moved. nova-compute on k1 wrote: Unsafe migration: of id-web. "
            "nova-compute on k2 wrote: Unsafe migration: of id-web. On k1 the directory of one of its disks") in said


def test_a_name_of_both_is_refused(play):
    status, calls, said = play("migrate", {"k1": [DOMAIN], "k2": [guest("web", kind="qemu")]}, [], "-e", "vm=web", cloud=CLOUDY)
    assert (status, calls) == (2, [])
    assert "web is a guest on k2 and an instance (id-web of project physics)" in said


def test_a_silent_cloud_keeps_no_guest_and_is_one_line_of_the_list(play):
    silent = {"failed": True, "msg": "c1: cloud admin: nobody is there"}
    status, calls, said = play("migrate", {"x1": [guest("g")], "x2": []}, [], "-e", "vm=g", cloud=silent)
    assert (status, calls) == (0, ["x1 vm_migrate g x2"]), said


def test_the_list_has_instances(play):
    status, dummy, said = play("list", {"k1": [DOMAIN, guest("g")], "k2": [], "x1": [], "x2": []}, [entry("g")], cloud=CLOUDY)
    assert status == 0
    assert "web k1 running - instance amd64 128 1 debian - physics" in said and "domains of nova" not in said


def test_the_list_tells_what_expires(play, tmp_path):
    """A site that is never run for a year would end with hypervisors that trust nobody."""
    key = ec.generate_private_key(ec.SECP256R1())
    name, now = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "a CA")]), datetime.datetime.now(datetime.timezone.utc)
    (tmp_path / ".pki").mkdir()
    for ca, days in (("relocation", 12), ("other", 300)):
        made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(7).not_valid_before(now)
        made = made.not_valid_after(now + datetime.timedelta(days=days, hours=1)).sign(key, hashes.SHA256())
        (tmp_path / f".pki/{ca}-ca.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    status, dummy, said = play("list", {"x1": [guest("a")], "x2": [], "k1": []}, [entry("a")])
    assert status == 0, said
    assert "relocation: the CA is valid for 12 more days. The CA is replaced by hand (docs/certificates.md)." in said
    assert "other: the CA" not in said
