# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""upgrade.yml and reboot.yml with machines that are files: what they do, in which order, where they stop, and how they go on."""

from __future__ import annotations

import json
import re
import shutil
import time

import pytest
from checkout import CHECKOUT, log_beside
from test_drain_playbooks import INSTANCE, INVENTORY, MARK, STUB, STUBS, WEB, Site, entry, guest

# What would touch this computer is a stub, and nobody waits.
INSTEAD = {"ansible.builtin.apt:": "our.cloud.stub_apt:", "ansible.builtin.reboot:": "our.cloud.stub_reboot:", "command: dpkg ": "command: true ",
           "retries: 30": "retries: 1", "retries: 12": "retries: 1", "delay: 10": "delay: 0",
           MARK: "{{ lookup('ansible.builtin.env', 'STUB') }}/mark-{{ inventory_hostname }}"}
# machine_info: what machine-HOST says. An upgrade with a kernel wants a restart; a restart brings it, and what breaks-HOST says is broken after it.
MORE = r"""
if name == "machine_info":
    end(**read("machine-" + host, {"failed": True, "msg": "no answer"}))
if name == "cloud_machine_info":
    end(units=[])
if name == "stub_apt":
    told = read("machine-" + host)
    packages = told["waiting"]["packages"]
    if not args.get("upgrade") or not packages:
        end()
    if not check:
        call("upgrade", host, args["upgrade"])
        told["outdated"]["boot"] = [name for name in packages if "linux" in name]
        told["waiting"]["packages"] = []
        write("machine-" + host, told)
    end(changed=True)
if name == "stub_reboot":
    call("reboot", host)
    told = read("machine-" + host)
    told.update(booted=told["time"], outdated={"boot": []}, units=read("breaks-" + host, told["units"]))
    write("machine-" + host, told)
    end(changed=True)
"""
UNITS = [{"name": name, "runs": True, "state": "active (running)"} for name in ("libvirtd", "our-cloud-lease", "nft-table@guests")]


@pytest.fixture(name="collections", scope="module")
def fixture_collections(tmp_path_factory):
    """The collection with these stubs in the places of modules."""
    root = tmp_path_factory.mktemp("collections")
    ours = root / "ansible_collections/our/cloud"
    for folder in ("plugins", "roles", "playbooks", "meta"):
        shutil.copytree(CHECKOUT / folder, ours / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for name in (*STUBS, "machine_info", "cloud_machine_info", "stub_apt", "stub_reboot"):
        (ours / f"plugins/action/{name}.py").unlink(missing_ok=True)
        text = STUB.replace("NAME", name).replace('kind = "refused"', MORE + '\nkind = "refused"')
        (ours / f"plugins/modules/{name}.py").write_text(text, encoding="utf-8")
    log_beside(ours)
    for path in (ours / "playbooks/upgrade.yml", *(ours / "playbooks/tasks").glob("upgrade_*.yml")):
        text = path.read_text(encoding="utf-8")
        for old, new in INSTEAD.items():
            text = re.sub(rf"(path|dest): ({re.escape(MARK)}\S*)", r'\1: "\2"', text).replace(old, new)
        path.write_text(text, encoding="utf-8")
    return root


@pytest.fixture(name="site")
def fixture_site(collections, tmp_path):
    site = Site(tmp_path, collections)
    (tmp_path / "host_vars").mkdir()
    for host in ("front", "k1", "k2", "k3", "k4"):
        machine(site, host)
        # a task that is delegated has the name of the host that it is for
        site.write(f"host_vars/{host}.json", {"ansible_remote_tmp": f"{tmp_path}/tmp-of-{host}"})
    return site


def machine(site, host, *packages, **more):
    """As machine_info tells it."""
    now = time.time()
    site.write(f"machine-{host}", {"hostname": host, "time": now, "booted": now - 9000, "outdated": {"boot": []}, "units": UNITS,
                                   "waiting": {"lists": now, "packages": list(packages), "security": []}, **more})


def without_a_cloud(site):
    (site.folder / "hosts").write_text(re.sub(r"\[clc\].*(?=\[all)", "", INVENTORY, flags=re.DOTALL), encoding="utf-8")


def test_nodes_in_turn(site):
    site.node("k1", guest("big", 4000), WEB)
    site.node("k2", guest("small"))
    site.write("instance_info", {"instances": [INSTANCE]})
    site.guests(entry("big"), entry("small", "k2"))
    machine(site, "k1", "linux-image-amd64")
    machine(site, "k2", "tzdata")

    status, calls, changed, said = site.play("upgrade", "-e", "host=k1,k2", "--check")
    assert (status, calls, site.drained, site.log) == (0, [], [], []), said
    assert "k1 2 1 yes: linux-image-amd64 in use again" in said and "In turn: k2, then k1." in said

    status, calls, changed, said = site.play("upgrade")
    assert status == 0, said
    # k3 has nothing to do. k1 is no target of k2's, as its own turn is to come.
    assert calls == ["compute_service k2 False", "vm_migrate small k3 live encrypt=False", "upgrade k2 dist", "compute_service k2 True",
                     "compute_service k1 False", "vm_migrate big k2 live encrypt=False", "instance_migrate id-web k3 live", "upgrade k1 dist", "reboot k1",
                     "compute_service k1 True"]
    assert site.drained == [] and site.names("k1") == []
    assert "k1 yes yes in use again" in said and "k2 yes no in use again" in said
    assert site.log[0] == "our.cloud.upgrade: k2 is drained: nothing is placed there"
    assert site.log[-1] == "our.cloud.upgrade: k1 was upgraded and restarted and is in use again"

    status, calls, changed, said = site.play("upgrade")
    assert (status, calls, changed) == (0, [], 0) and "Nothing was to be done." in said, said


def test_it_stops_at_the_first_that_is_not_well_and_goes_on(site):
    without_a_cloud(site)
    site.node("k2", guest("one"))
    for host in ("k1", "k2", "k3"):
        machine(site, host, "linux-image-amd64")
    site.write("breaks-k3", [{**UNITS[0], "runs": False, "state": "failed (failed)"}, *UNITS[1:]])
    status, calls, dummy, said = site.play("upgrade")
    assert (status, calls) == (2, ["upgrade k1 dist", "reboot k1", "upgrade k3 dist", "reboot k3"]), said
    assert site.drained == ["k3"] and json.loads((site.folder / "mark-k3/errand.json").read_text())["verb"] == "upgrade"
    assert "k3: libvirtd on k3 does not run: failed (failed)." in said and "playbooks/upgrade.yml -e host=k3,k2 goes on from there." in said
    assert "k1 yes yes in use again" in said and "k3 yes yes stopped here" in said and "k2 no no not begun" in said

    machine(site, "k3")
    status, calls, dummy, said = site.play("upgrade")
    assert (status, [call.split()[0] for call in calls], site.drained) == (0, ["vm_migrate", "upgrade", "reboot"], []), said
    assert "k3 no no in use again" in said and "k2 yes yes in use again" in said


def test_what_somebody_has_drained_is_restarted_and_stays_drained(site):
    without_a_cloud(site)
    (site.folder / "mark-k1").mkdir()
    status, calls, dummy, said = site.play("reboot", "-e", "host=k1")
    assert (status, calls, site.drained) == (0, ["reboot k1"], ["k1"]), said
    assert "k1 no yes stays drained" in said and "k1 is drained and stays so" in said


def test_machines_that_do_not_answer(site):
    """k3's connection fails, libvirt on k2 does not answer: neither keeps k1 from its turn, in which nothing can leave for k2."""
    without_a_cloud(site)
    site.node("k1", guest("one"))
    (site.folder / "k2.json").unlink()
    with open(site.folder / "hosts", "a", encoding="utf-8") as stream:
        stream.write("[hypervisors:vars]\nx=1\n[kvm]\nk3 ansible_connection=ssh ansible_host=127.0.0.1 ansible_port=1\nk4\n")
    site.node("k4")
    status, calls, dummy, said = site.play("reboot", "-e", "host=k1")
    assert (status, calls, site.drained) == (0, ["vm_migrate one k4 live encrypt=False", "reboot k1"], []), said
    status, calls, dummy, said = site.play("reboot")
    assert (status, calls) == (2, []) and "k2 could not be asked." in said, said


@pytest.mark.parametrize("name, arguments, words", [
    ("upgrade", ["-e", "host=k9"], "k9 is no host of the inventory. Machines: front, k1, k2, k3."),
    ("reboot", ["-e", "mode=banana"], "mode is banana, which is none of live, suspend, offline."),
    ("reboot", ["--limit", "k1"], "reboot.yml asks all hypervisors, so it does not accept --limit. Run it without --limit, with -e host=NAME."),
])
def test_refused(site, name, arguments, words):
    status, calls, changed, said = site.play(name, *arguments)
    assert (status, calls, changed) == (2, [], 0) and words in said, said
