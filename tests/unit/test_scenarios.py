# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Scenarios run side by side: what the computer has once, one of them alone has."""

from __future__ import annotations

import itertools
from pathlib import Path

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
