# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of the playbooks that operate a site: each has a short name for the command line, and a long one. What the modules then get."""

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
[image_store]
front
[clc]
front
[walrus]
front
[kvm]
k1
k2
[hypervisors:children]
kvm
[all:vars]
ansible_connection=local
site_store=/srv/cloud
site_bridge=br0
image_store_kind=mounted
"""
STUBS = ("vm_info", "vm_migrate", "moves_idle", "lease_info", "lease", "image", "instance", "instance_info", "appliance", "s3_credentials", "machine_info",
         "stub_apt")
# Writes a line with its arguments.
STUB = r"""#!/usr/bin/python
# WANT_JSON
import json, os, sys
with open(sys.argv[1]) as stream:
    args = {key: value for key, value in json.load(stream).items() if not key.startswith("_ansible")}
with open(os.path.join(os.environ["STUB"], "calls"), "a") as stream:
    stream.write("NAME " + json.dumps(args) + "\n")
one = {"name": "web", "id": "id-web", "project": "physics", "host": "k1", "state": "running", "console": [], "serial": "wss://x", "domain": "i-1",
       "why": "", "volumes": [], "address": "192.0.2.5", "cards": [{"mac": "02:00:00:00:00:01"}]}
print(json.dumps({"changed": False, "instances": [one], "instance": one, "actions": [], "guests": [], "hypervisor": "qemu", "orphans": [], "drained": 7,
                  "memory": {"free": 9999, "total": 9999}, "signs": [], "renewed": False, "leases": [], "id": "emi-1", "previous": None, "plan": [],
                  "files": {}, "access": None, "hostname": "k1", "time": 9999, "booted": 1, "waiting": {"lists": 1, "packages": ["tzdata"], "security": []}}))
"""


@pytest.fixture(name="collections", scope="module")
def fixture_collections(tmp_path_factory):
    """The collection with these stubs in the places of its modules."""
    root = tmp_path_factory.mktemp("collections")
    ours = root / "ansible_collections/our/cloud"
    for folder in ("plugins", "roles", "playbooks", "meta"):
        shutil.copytree(CHECKOUT / folder, ours / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for name in STUBS:
        (ours / f"plugins/action/{name}.py").unlink(missing_ok=True)
        (ours / f"plugins/modules/{name}.py").write_text(STUB.replace("NAME", name), encoding="utf-8")
    log_beside(ours)
    # nothing is asked of this computer's apt
    for path in (ours / "playbooks/upgrade.yml", ours / "playbooks/tasks/upgrade_packages.yml"):
        path.write_text(path.read_text(encoding="utf-8").replace("ansible.builtin.apt:", "our.cloud.stub_apt:"), encoding="utf-8")
    return root


@pytest.fixture(name="play")
def fixture_play(collections, tmp_path):
    """A function that runs a playbook with options: (status, [(module, its arguments)], what it said without line breaks)."""
    def play(name, options, *arguments):
        (tmp_path / "calls").unlink(missing_ok=True)
        (tmp_path / "hosts").write_text(INVENTORY, encoding="utf-8")
        (tmp_path / "ansible.cfg").touch()
        site = [path for path in sys.path if path.endswith("site-packages")]
        done = subprocess.run(
            [sys.executable, "-m", "ansible", "playbook", "-i", str(tmp_path / "hosts"), f"our.cloud.{name}", "-e", json.dumps(options),
             "-e", f"ansible_python_interpreter={sys.executable}", *arguments],
            capture_output=True, text=True, check=False, cwd=tmp_path, timeout=300,
            env={**os.environ, "ANSIBLE_STRATEGY": "linear", "ANSIBLE_COLLECTIONS_PATH": ":".join([str(collections), *site]),
                 "ANSIBLE_CONFIG": str(tmp_path / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1", "ANSIBLE_HOME": str(tmp_path / "home"),
                 "ANSIBLE_CALLBACK_RESULT_FORMAT": "yaml", "ANSIBLE_LOCALHOST_WARNING": "0", "STUB": str(tmp_path)})
        lines = (tmp_path / "calls").read_text(encoding="utf-8").splitlines() if (tmp_path / "calls").exists() else []
        calls = [(line.partition(" ")[0], json.loads(line.partition(" ")[2])) for line in lines]
        return done.returncode, calls, " ".join((done.stdout + done.stderr).split())
    return play


KEYS = [{"name": "physics", "users": [{"name": "ada", "keys": [{"name": "lab", "public_key": "ssh-ed25519 AAAA"}]}]}]
# By playbook: options, those of them of which the short name counts for more than the long one, and what a module gets.
RUN = {"image": "debian", "vm": "web", "flavor": "tiny", "key": "lab", "network": "static", "address": "192.0.2.9", "security_groups": ["web"],
       "floating": False, "host": "k1", "project": "physics", "timeout": 60}
BUILD = {"recipe": "hello", "recipe_data_dir": "/d", "recipe_variables": {"greeting": "hi"}, "workdir_base": "/w", "break_at": "b", "start_at": "s",
         "on_error": "keep", "checkpoints": "microstep", "dry_run": True}
ASKED = {
    "run": (RUN, ["flavor", "security_groups", "floating", "timeout"], "instance",
            {"name": "web", "public_key": "ssh-ed25519 AAAA", **{key: value for key, value in RUN.items() if key not in ("vm", "key")}}),
    "console": ({"vm": "web", "lines": 9, "project": "physics"}, ["lines"], "instance_info", {"name": "web", "console_lines": 9, "project": "physics"}),
    "terminate": ({"vm": "web", "project": "physics", "timeout": 60}, ["timeout"], "instance", {"name": "id-web", "state": "absent", "timeout": 60}),
    "register": ({"image": "debian", "path": "/p", "arch": "arm64", "origin": {"recipe": "r"}}, [], "image",
                 {"name": "debian", "path": "/p", "arch": "arm64", "origin": {"recipe": "r"}}),
    "build": (BUILD, [], "appliance", {"data_dir": "/d", "variables": {"greeting": "hi"},
                                       **{key: value for key, value in BUILD.items() if not key.startswith("recipe_")}}),
    "rescue": ({"host": "k2", "fenced": True}, [], "lease", {"host": "k2"}),
    "drain": ({"host": "k2", "mode": "suspend", "partly": True, "timeout": 60, "at_once": 3}, ["timeout", "at_once"], "moves_idle",
              {"host": "k2", "timeout": 60}),
    "undrain": ({"host": "k2"}, [], "vm_info", {}),
    "upgrade": ({"host": "k2", "mode": "suspend", "standstill": True, "autoremove": True, "timeout": 60, "boot_timeout": 70}, ["timeout", "boot_timeout"],
                "moves_idle", {"host": "k2", "timeout": 60}),
    "reboot": ({"host": "k2", "mode": "suspend", "standstill": True, "timeout": 60, "boot_timeout": 70}, ["timeout", "boot_timeout"], "moves_idle",
               {"host": "k2", "timeout": 60}),
    "ready": ({"host": "k2"}, [], "lease_info", {"host": "k2", "wait": 0, "quiet": 0}),
    "s3_credentials": ({"user": "lisa", "project": "band", "state": "absent"}, [], "s3_credentials", {"user": "lisa", "project": "band", "state": "absent"}),
}


@pytest.mark.parametrize("long", [False, True], ids=["short", "long"])
@pytest.mark.parametrize("name", ASKED)
def test_an_option_has_two_names(play, name, long):
    """An inventory may have the short one for something else, and may set some long ones, which are then overridden by what is typed."""
    options, typed, module, wanted = ASKED[name]
    given = {f"{name}_{key}" if long else key: value for key, value in options.items()}
    other = {key: "other" for key in options if key not in typed} if long else {f"{name}_{key}": "other" for key in typed}
    status, calls, said = play(name, {"cloud_projects": KEYS, **other, **given}, "--check")
    assert status == 0, said
    told = [arguments for called, arguments in calls if called == module][-1]
    assert {key: told.get(key) for key in wanted} == wanted


def test_build_still_has_its_old_name(play):
    status, calls, said = play("image", BUILD)
    assert status == 0 and "is called build now" in said
    assert [(called, arguments["recipe"]) for called, arguments in calls] == [("appliance", "hello")]


@pytest.mark.parametrize("name, options, words", [
    ("run", {}, "Which image? Give it with -e image=NAME"),
    ("register", {"image": "debian"}, "No image is named, or no path is given."),
    ("rescue", {}, "Nothing is no hypervisor of the inventory. Give the lost one with -e host=NAME"),
    ("rescue", {"rescue_host": "k2"}, "k2 answers ssh"),
    ("s3_credentials", {"user": "lisa"}, "Whose keys? Name the user and the project with -e user=NAME -e project=NAME"),
    ("s3_credentials", {"user": "lisa", "project": "band", "state": "gone"}, "state is gone, and present and absent are the possible ones"),
    ("s3_credentials", {"user": "lisa", "project": "band", "walrus_objects": False}, "This site has no object storage"),
])
def test_what_is_missing_is_told(play, name, options, words):
    status, dummy, said = play(name, options)
    assert status != 0 and words in said, said


@pytest.mark.parametrize("name", [*ASKED, "migrate", "status"])
def test_the_documentation_has_both_names(name):
    """Each long name that a playbook knows is in a table of the documentation, in a row with its short one."""
    text = (CHECKOUT / f"playbooks/{name}.yml").read_text(encoding="utf-8")
    known = {long: set(re.findall(rf"(?<![\w.]){re.escape(long.removeprefix(name + '_'))}(?=\W)", value))
             for long, value in ((long, line) for line in text.splitlines() if re.match(rf"    {name}__\w+: ", line)
                                 for long in re.findall(rf"\b{name}_(?!_)\w+", line))}
    assert known and all(known.values())
    pages = "\n".join(path.read_text(encoding="utf-8") for path in sorted((CHECKOUT / "docs").glob("*.md")))
    rows = dict(reversed(found) for found in re.findall(r"^\| `(\w+)` \| `(\w+)` \| ", pages, re.MULTILINE))
    assert {long: rows.get(long) for long in known} == {long: long.removeprefix(name + "_") for long in known}
