# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Scenarios run side by side: what the computer has once, one of them alone has."""

from __future__ import annotations

import itertools
import subprocess
from pathlib import Path

import pytest
import yaml

CHECKOUT = Path(__file__).resolve().parents[2]
BRIDGE = "com.docker.network.bridge.name"


def load(path):
    return yaml.safe_load(path.read_text(encoding="utf-8")) or {}


def machines(group):
    """{name: variables} of the hosts below one group of a YAML inventory."""
    found = {name: variables or {} for name, variables in ((group or {}).get("hosts") or {}).items()}
    for child in ((group or {}).get("children") or {}).values():
        found.update(machines(child))
    return found


def claims(scenario):
    """What a scenario takes for itself: names of containers, of docker's networks and of their bridges, ports of this computer."""
    found = set()
    for platform in load(scenario / "molecule.yml").get("platforms", []):
        found.add("container %s" % platform["name"])
        for network in platform.get("docker_networks", []):
            found.add("network %s" % network["name"])
            found.update("bridge %s" % name for name in [network.get("driver_options", {}).get(BRIDGE)] if name)
    inventory = scenario / "inventory"
    if inventory.is_dir():
        hosts = {}
        for group in load(inventory / "hosts.yml").values():
            hosts.update(machines(group))
        found.update("port %s" % variables["lab_forward_ssh"] for variables in hosts.values() if "lab_forward_ssh" in variables)
        in_containers = any("container_networks" in load(path) for path in inventory.glob("group_vars/*.yml"))
        if in_containers:
            found.update("container %s" % name for name in hosts)
            found.add("bridge oc-%s" % scenario.name)
        everywhere = {}
        for path in [*inventory.glob("group_vars/all.yml"), *inventory.glob("group_vars/all/*.yml")]:
            everywhere.update(load(path))
        if everywhere.get("lab_kind") == "container":
            found.update("container %s" % name for name in hosts)
            found.add("lab %s" % everywhere["site_domain"])
            found.update("address %s" % variables["cloud_public_address"] for variables in hosts.values() if "cloud_public_address" in variables)
    return found


def shared(scenarios):
    """What two scenarios both take."""
    return ["%s and %s: %s" % (one.name, other.name, claim)
            for one, other in itertools.combinations(sorted(scenarios), 2) for claim in sorted(claims(one) & claims(other))]


def test_no_scenario_takes_what_another_one_has():
    assert shared(path.parent for path in CHECKOUT.glob("molecule/*/molecule.yml")) == []


def test_what_two_take_is_found(tmp_path):
    for name, platform in {"one": "otto", "two": "otto"}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "molecule.yml").write_text(yaml.safe_dump({"platforms": [
            {"name": platform, "docker_networks": [{"name": "lan-" + name, "driver_options": {BRIDGE: "oc-school"}}]}]}), encoding="utf-8")
    assert shared(tmp_path.iterdir()) == ["one and two: bridge oc-school", "one and two: container otto"]


def leaves(settings, *path):
    """{(key, key, ...): value} of all that is below."""
    if not isinstance(settings, dict):
        return {path: settings}
    return {place: value for key, below in settings.items() for place, value in leaves(below, *path, key).items()}


def test_what_all_scenarios_have_in_common_is_in_one_file():
    common = leaves(load(CHECKOUT / ".config/molecule/config.yml"))
    assert {path.parent.name: again for path in CHECKOUT.glob("molecule/*/molecule.yml") if (again := common.keys() & leaves(load(path)).keys())} == {}


def test_the_machine_that_scenarios_repeat_is_the_same():
    """Platforms are in a list, and molecule merges no lists."""
    own = ("name", "groups", "networks", "docker_networks", "sysctls", "devices")
    machines_of = [{key: value for key, value in platform.items() if key not in own} for path in sorted(CHECKOUT.glob("molecule/*/molecule.yml"))
                   for platform in load(path).get("platforms", []) if platform["image"] == "our-cloud/systemd:trixie"]
    assert len(machines_of) > 10 and all(machine == machines_of[0] for machine in machines_of)


@pytest.mark.parametrize("group, passwd, others", [
    ("me:x:7:", "me:x:7:7::/:/bin/sh", ""), ("me:x:7:root,me", "me:x:7:7::/:/bin/sh\nyou:x:8:8::/:/bin/sh", ""),
    ("users:x:7:you", "me:x:7:7::/:/bin/sh", "you"), ("users:x:7:", "me:x:7:7::/:/bin/sh\nyou:x:8:7::/:/bin/sh\nshe:x:9:7::/:/bin/sh", "she you"),
])
def test_docker_is_given_to_nobody_else(tmp_path, group, passwd, others):
    """Who may write to its socket is root on the developer's computer."""
    for name, script in (("getent", f"case $1 in group) echo '{group}' ;; passwd) echo '{passwd}' ;; esac"),
                         ("id", f"case $1 in -gn) echo {group.partition(':')[0]} ;; -g) echo 7 ;; -un) echo me ;; esac")):
        (tmp_path / name).write_text("#!/bin/sh\n" + script + "\n")
        (tmp_path / name).chmod(0o755)
    text = (CHECKOUT / "molecule/shared/docker-bed").read_text(encoding="utf-8")
    function = text[text.index("own_group() {"):text.index("start_dockerd() {")]
    done = subprocess.run(["bash", "-c", "set -euo pipefail\nsay() { echo \"$*\" >&2; }\n" + function + "group=$(own_group)\necho \"for $group\""],
                          capture_output=True, text=True, check=False, env={"PATH": f"{tmp_path}:/usr/bin:/bin"})
    assert done.returncode == (1 if others else 0), done.stderr
    assert f"has others in it ({others})" in done.stderr if others else done.stdout == "for %s\n" % group.partition(":")[0]
