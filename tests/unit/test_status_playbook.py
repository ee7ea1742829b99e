# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""status.yml with machines that are files: who is asked for what, and the screen, the page, the JSON and the exit status that come of it."""

from __future__ import annotations

import html.parser
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time

import pytest

CHECKOUT = pathlib.Path(__file__).resolve().parents[2]
INVENTORY = """[gateway]
front
[image_store]
front
[kvm]
k1
k2
[hypervisors:children]
kvm
[clc]
front
[cc]
front
[nc]
k1
[webs]
web ansible_host=192.0.2.9
[all:vars]
ansible_connection=local
site_store=/srv/cloud
site_domain=<lan>
site_address=192.0.2.1
"""
# What HOST.MODULE.json says, or else MODULE.json; neither: it does not tell. Each call is a line.
STUB = r"""#!/usr/bin/python
# WANT_JSON
import json, os, sys
with open(sys.argv[1]) as stream:
    args = json.load(stream)
folder, host, name = os.environ["STUB"], os.path.abspath(sys.argv[0]).split("/tmp-of-")[1].split("/")[0], "NAME"
with open(os.path.join(folder, "calls"), "a") as stream:
    stream.write(json.dumps([name, host, {key: value for key, value in args.items() if not key.startswith("_ansible")}]) + "\n")
for path in (f"{host}.{name}.json", f"{name}.json"):
    if os.path.exists(os.path.join(folder, path)):
        with open(os.path.join(folder, path)) as stream:
            print(json.dumps({"changed": False, **json.load(stream)}))
        sys.exit()
print(json.dumps({"failed": True, "msg": f"{name} on {host} <does> not tell."}))
"""
MODULES = ("machine_info", "vm_info", "lease_info", "image_info", "instance_info", "cloud_machine_info", "cloud_status")
WEB = {"name": "web", "active": True, "state": "running", "uuid": "id-web", "kind": "kvm", "arch": "x86_64", "memory": 160, "vcpus": 1, "persistent": True,
       "disks": [], "owner": "our.cloud"}
VM = {**WEB, "name": "instance-1", "uuid": "id-vm", "owner": "nova"}


@pytest.fixture(name="collections", scope="module")
def fixture_collections(tmp_path_factory):
    """The collection with these stubs in the places of its modules."""
    root = tmp_path_factory.mktemp("collections")
    ours = root / "ansible_collections/our/cloud"
    for folder in ("plugins", "roles", "playbooks", "meta"):
        shutil.copytree(CHECKOUT / folder, ours / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for name in MODULES:
        (ours / f"plugins/action/{name}.py").unlink(missing_ok=True)
        (ours / f"plugins/modules/{name}.py").write_text(STUB.replace("NAME", name), encoding="utf-8")
    return root


class Site:
    """A front end and two nodes that are files, and are well."""

    def __init__(self, folder, collections):
        self.folder, self.collections, now = folder, collections, time.time()
        room = {"path": "/srv/cloud", "free": 5000, "total": 9000}
        self.well = {"hostname": "x", "time": now, "booted": now - 9000, "debian": "13.2", "linux": "6.12.48", "waiting":
                     {"lists": now - 60, "packages": [], "security": []}, "store": {"path": "/srv/cloud", "room": room, "error": ""}}
        self.write("machine_info", self.well)
        self.write("front.machine_info", {**self.well, "units": [{"name": "dnsmasq", "runs": True, "state": "active (running)", "wanted": True}],
                                          "moves": [["2026-11-28T15:02:31Z", "web", "moved from k2 to k1 (live)"]]})
        self.write("k1.vm_info", {"hypervisor": "qemu", "memory": {"free": 9, "total": 9}, "guests": [WEB, VM]})
        self.write("k2.vm_info", {"hypervisor": "qemu", "memory": {"free": 9, "total": 9}, "guests": []})
        self.write("lease_info", {"leases": [{"name": "web", "host": "k1", "disks": []}]})
        self.write("image_info", {"images": [], "kernels": [], "ramdisks": [], "room": {"path": "/srv/cloud", "size": 9, "free": 9, "promised": 0}})
        self.write("instance_info", {"instances": [{"name": "vm", "id": "id-vm", "host": "k1", "state": "running", "status": "ACTIVE"}]})
        self.write("cloud_machine_info", {"units": [{"name": "ovn-controller", "runs": True, "state": "active (running)", "restarts": 0}], "store": "",
                                          "certificate": {"days": 300, "names": ["192.0.2.1"], "signed": True}, "schemas": []})
        self.write("cloud_status", {"parts": {"keystone": {"told": ["identity"], "seconds": 0.5}}})
        (folder / "ansible.cfg").touch()
        self.inventory(INVENTORY)
        (folder / "group_vars").mkdir()
        (folder / "group_vars/all.json").write_text(json.dumps({
            "guests": [{"name": "web", "host": "k1", "kind": "kvm", "memory": 160, "image": "debian"}], "ansible_python_interpreter": sys.executable,
            "ansible_remote_tmp": f"{folder}/tmp-of-{{{{ inventory_hostname }}}}"}), encoding="utf-8")

    def write(self, name, content):
        (self.folder / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")

    def inventory(self, text):
        (self.folder / "hosts").write_text(text, encoding="utf-8")

    def play(self, *arguments):
        """(status, calls, how much has changed, what it said without line breaks)"""
        (self.folder / "calls").unlink(missing_ok=True)
        site = [path for path in sys.path if path.endswith("site-packages")]
        done = subprocess.run(
            [sys.executable, "-m", "ansible", "playbook", "-i", str(self.folder / "hosts"), "our.cloud.status", *arguments],
            capture_output=True, text=True, check=False, cwd=self.folder, timeout=300,
            # the stand-ins find their host by its folder, which Mitogen, that `make` switches on, does not use
            env={**os.environ, "ANSIBLE_STRATEGY": "linear", "ANSIBLE_COLLECTIONS_PATH": ":".join([str(self.collections), *site]),
                 "ANSIBLE_CONFIG": str(self.folder / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1", "ANSIBLE_HOME": str(self.folder / "home"),
                 "ANSIBLE_CALLBACK_RESULT_FORMAT": "yaml", "ANSIBLE_LOCALHOST_WARNING": "0", "STUB": str(self.folder)})
        calls = (self.folder / "calls").read_text(encoding="utf-8").splitlines() if (self.folder / "calls").exists() else []
        changed = sum(map(int, re.findall(r"changed=(\d+)", done.stdout)))
        return done.returncode, [json.loads(line) for line in calls], changed, " ".join((done.stdout + done.stderr).split())


@pytest.fixture(name="site")
def fixture_site(collections, tmp_path):
    return Site(tmp_path, collections)


class Page(html.parser.HTMLParser):
    """A page: its words, and its tags, each of which is closed."""

    def __init__(self, text):
        super().__init__()
        self.words, self.tags, self.open = [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words += data.split() if self.open[-1:] != ["style"] else []


def test_a_site_that_is_well(site):
    status, calls, changed, said = site.play("-e", "page=out.html json=out.json")
    assert (status, changed) == (0, 2) and "The site is well: 16 lines." in said and "BAD" not in said, said
    assert sorted((name, host) for name, host, dummy in calls) == sorted([
        *(("machine_info", host) for host in ("front", "k1", "k2")), ("vm_info", "k1"), ("vm_info", "k2"), ("image_info", "front"), ("lease_info", "k1"),
        *(("cloud_machine_info", host) for host in ("front", "k1")), ("cloud_status", "front"), ("instance_info", "front")])
    asked = {host: arguments for name, host, arguments in calls if name == "machine_info"}
    assert asked == {"front": {"units": ["dnsmasq", "nfs-server"], "store": "/srv/cloud"}, "k1": {"units": ["libvirtd"], "store": "/srv/cloud"},
                     "k2": {"units": ["libvirtd"], "store": "/srv/cloud"}}
    told = json.loads((site.folder / "out.json").read_text(encoding="utf-8"))
    assert (told["good"], told["verdict"], told["next"]) == (True, "The site is well: 16 lines.", "")
    assert [(one["name"], one["good"], one["notice"], one["bad"]) for one in told["sections"]] == [
        ("machines", 3, 0, 0), ("guests", 1, 0, 0), ("instances", 1, 0, 0), ("leases", 1, 0, 0), ("store", 1, 0, 0), ("versions", 3, 0, 0), ("moves", 1, 0, 0),
        ("cloud", 5, 0, 0)]
    page = Page((site.folder / "out.html").read_text(encoding="utf-8"))
    words = " ".join(page.words)
    assert words.startswith("Well: <lan> <lan> The site is well: 16 lines. As of " + told["made"].replace("T", " ").replace("Z", " UTC"))
    # the page has what the JSON has
    assert all(f"{row['state']} {row['name']} : {row['text']}" in words for one in told["sections"] for row in one["rows"])
    assert not {"script", "link", "img", "iframe"} & {tag for tag, dummy in page.tags}
    assert ("meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"}) in page.tags
    assert not any(attributes.get("http-equiv") for dummy, attributes in page.tags)


def test_what_is_not_well(site):
    """A node that is gone, a cloud that is mute, a unit that has failed; all else is told all the same, and files are written before it fails."""
    site.inventory(INVENTORY.replace("k1\nk2\n[hyp", "k1 ansible_connection=ssh ansible_host=127.0.0.1 ansible_port=1\nk2\n[hyp"))
    site.write("front.machine_info", {**site.well, "units": [{"name": "dnsmasq", "runs": False, "state": "failed <b>", "wanted": True, "failed": True}]})
    (site.folder / "instance_info.json").unlink()
    (site.folder / "cloud_status.json").unlink()
    status, calls, changed, said = site.play("-e", "{status_page: out.html, page: other.html, status_json: out.json, json: [other], refresh: 60}")
    assert status == 2 and changed == 2, said
    assert "k1 (machines): it does not answer. Bring k1 up, or, if it is lost, run playbooks/rescue.yml -e host=k1." in said
    assert "Next: ssh front ''systemctl restart dnsmasq || journalctl -n 30 -u dnsmasq''" in said, said
    assert "instance_info on front <does> not tell" in said and "keystone on front (cloud): it could not be asked" in said
    assert ("vm_info", "k1") not in {(name, host) for name, host, dummy in calls} and ("lease_info", "k2") in {(name, host) for name, host, dummy in calls}
    told = json.loads((site.folder / "out.json").read_text(encoding="utf-8"))
    bad = [(row["section"], row["name"]) for one in told["sections"] for row in one["rows"] if row["state"] == "bad"]
    assert bad == [("machines", "dnsmasq on front"), ("machines", "k1"), ("guests", "web"), ("instances", "all"), ("cloud", "keystone on front")]
    page = Page((site.folder / "out.html").read_text(encoding="utf-8"))
    words = " ".join(page.words)
    assert "Not well: <lan>" in words and "bad dnsmasq on front : failed <b>" in words and "instance_info on front <does> not tell" in words
    assert ("meta", {"http-equiv": "refresh", "content": "60"}) in page.tags
    assert not (site.folder / "other.html").exists()


def test_who_cannot_tell_is_told(site):
    """The module fails on a machine, libvirt on another one, the store's registry and leases; a node's notices are no fault."""
    site.write("k1.machine_info", {"failed": True, "msg": "no python <here>"})
    (site.folder / "k1.vm_info.json").unlink()
    for name in ("lease_info", "image_info", "cloud_machine_info"):
        (site.folder / f"{name}.json").unlink()
    status, dummy, changed, said = site.play()
    assert (status, changed) == (2, 0)
    for words in ("k1 (machines): it does not tell how it fares: no python <here>", "registry (store): it does not tell: image_info on front",
                  "all (leases): the store does not tell them: lease_info on k2", "machine on front (cloud): does not answer"):
        assert words in said, said


def test_a_store_that_is_away(site):
    """Nobody is made to wait for it again."""
    site.write("machine_info", {**site.well, "store": {"path": "/srv/cloud", "room": None, "error": "no answer within 10 s"}})
    site.write("front.machine_info", {**site.well, "store": {"path": "/srv/cloud", "room": None, "error": "it is not mounted here"}})
    status, calls, changed, said = site.play("-e", "json=out.json")
    assert (status, changed) == (2, 1) and not {"image_info", "lease_info"} & {name for name, dummy, dummy2 in calls}, said
    told = json.loads((site.folder / "out.json").read_text(encoding="utf-8"))
    assert [(row["section"], row["name"], row["text"]) for one in told["sections"] for row in one["rows"] if row["state"] == "bad"] == [
        ("store", "front", "/srv/cloud: it is not mounted here"), *(("store", host, "/srv/cloud: no answer within 10 s") for host in ("k1", "k2"))]


def test_notices_are_well(site):
    site.write("k2.machine_info", {**site.well, "outdated": {"boot": ["vmlinuz-7"], "libvirt": False, "guests": []}})
    status, dummy, changed, said = site.play("--check")
    assert (status, changed) == (0, 0), said
    assert "notice: k2 (versions): it runs Linux 6.12.48; vmlinuz-7 came since it has started" in said
    assert "Next: ansible-playbook our.cloud.reboot -e host=k2" in said


@pytest.mark.parametrize("inventory, lines", [
    ("[site]\none\n[all:vars]\nansible_connection=local\n", 2),
    # a store that is mounted by other means, and no gateway
    ("[kvm]\nk1\n[hypervisors:children]\nkvm\n[all:vars]\nansible_connection=local\nsite_store=/srv/cloud\nimage_store_kind=mounted\n", 5),
    ("[webs]\nweb\n[all:vars]\nansible_connection=local\n", 0),
])
def test_a_site_without_much(site, inventory, lines):
    """No cloud, no gateway, no store, no hypervisor, no guests; no machine at all."""
    site.inventory(inventory)
    group_vars = site.folder / "group_vars/all.json"
    group_vars.write_text(json.dumps({key: value for key, value in json.loads(group_vars.read_text()).items() if key != "guests"}), encoding="utf-8")
    site.write("k1.vm_info", {"hypervisor": "qemu", "memory": {"free": 9, "total": 9}, "guests": [WEB]})
    if "store" not in inventory:
        site.write("machine_info", {**site.well, "store": None})
    status, calls, dummy, said = site.play()
    assert status == 0 and f"The site is well: {lines} lines." in said, said
    assert [arguments["units"] for name, dummy, arguments in calls if name == "machine_info"] == ([] if "webs" in inventory else [
        ["libvirtd"] if "kvm" in inventory else []])


@pytest.mark.parametrize("arguments, words", [
    (["--limit", "k1"], "status.yml asks all machines, so it does not accept --limit. Run it without --limit."),
    (["-e", "refresh=often"], "refresh is often, which is no number of seconds."),
])
def test_refused(site, arguments, words):
    status, calls, changed, said = site.play(*arguments)
    assert (status, calls, changed) == (2, [], 0) and words in said, said
