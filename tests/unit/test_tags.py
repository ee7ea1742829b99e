# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tags of the layers' playbooks: each role has one with its name, and what checks the inventory runs with any."""

from __future__ import annotations

import os
import pathlib
import re
import subprocess
import sys

import pytest
import yaml

CHECKOUT = pathlib.Path(__file__).resolve().parents[2]
PLAYBOOKS = CHECKOUT / "playbooks"


def load(name):
    return yaml.safe_load((PLAYBOOKS / f"{name}.yml").read_text(encoding="utf-8"))


def imported(name):
    """The playbooks that one consists of, itself first."""
    yield name
    for play in load(name):
        if "ansible.builtin.import_playbook" in play:
            yield from imported(play["ansible.builtin.import_playbook"].removeprefix("our.cloud."))


LAYERS = sorted({*imported("site"), "oar", "lab"})


def tags(part):
    found = part.get("tags", [])
    return {found} if isinstance(found, str) else set(found)


def roles(play):
    """(role, its tags) of each role that a play names."""
    for role in play.get("roles", []):
        role = {"role": role} if isinstance(role, str) else role
        yield role["role"], tags(play) | tags(role)
    for task in [*play.get("pre_tasks", []), *play.get("tasks", [])]:
        for word in ("include_role", "import_role"):
            if f"ansible.builtin.{word}" in task:
                yield task[f"ansible.builtin.{word}"]["name"], tags(play) | tags(task)


@pytest.mark.parametrize("name", LAYERS)
def test_a_role_has_its_tag(name):
    plays = [play for play in load(name) if "hosts" in play]
    # guests.yml gives a node that returns its access back, and makes no store
    named = [(role.removeprefix("our.cloud."), of) for play in plays for role, of in roles(play) if (name, role) != ("guests", "our.cloud.image_store")]
    assert [role for role, of in named if not of & {role, "always"}] == []
    assert [play["name"] for play in plays if not tags(play) and not any(of for dummy, of in roles(play))] == []


@pytest.mark.parametrize("name", LAYERS)
def test_what_reaches_the_machines_runs_with_each_role_of_the_play(name):
    """Otherwise a node that still boots fails the role at once, without the words of reach.yml."""
    for play in load(name):
        for task in play.get("pre_tasks", []):
            wanted = {role.removeprefix("our.cloud.") for role, dummy in roles(play)}
            assert wanted <= tags(play) | tags(task), play["name"]


def run(*arguments):
    return subprocess.run([sys.executable, "-m", "ansible", "playbook", "playbooks/site.yml", *arguments], capture_output=True, text=True, check=False,
                          cwd=CHECKOUT, timeout=300, env={**os.environ, "ANSIBLE_STRATEGY": "linear", "ANSIBLE_NOCOLOR": "1", "ANSIBLE_LOCALHOST_WARNING": "0"})


def test_the_inventory_is_checked_with_any_tag_and_without_a_machine():
    # addresses that nobody has
    done = run("-i", "inventories/example", "-e", "ansible_host=192.0.2.1", "-e", "ansible_timeout=1", "--check", "--tags", "no_such_tag")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("TASK [The variables of the site are set and right]") == 1
    for task in ("The inventory's guests can be declared", "The inventory can have a cloud", "Assert that the inventory has a gateway",
                 "There is one image store, and hypervisors to use it", "Every hypervisor is of one kind"):
        assert task in done.stdout


def test_a_faulty_inventory_is_refused_with_any_tag():
    done = run("-i", "inventories/example", "-e", '{"guests": [{"name": "web", "memory": "1G"}]}', "-e", "ansible_host=192.0.2.1", "--tags", "gateway")
    assert done.returncode != 0 and "guest web: memory" in done.stdout and "Gateway preflight" not in done.stdout


def in_order(name):
    """(play, variables that it is imported with) of all plays."""
    for play in load(name):
        if "ansible.builtin.import_playbook" in play:
            for one, given in in_order(play["ansible.builtin.import_playbook"].removeprefix("our.cloud.")):
                yield one, {**given, **play.get("vars", {})}
        else:
            yield play, {}


@pytest.mark.parametrize("layer", ["gateway", "image_store", "hypervisors", "cloud", "guests"])
def test_a_layer_alone_looks_at_the_sites_variables_first(layer):
    before = []
    for play, given in in_order(layer):
        if play["name"] == "The inventory's site":
            break
        before.append(play["hosts"])
    assert given == {"site_inventory_layers": [layer]} and set(before) <= {"localhost"}
    assert all(given.get("site_inventory_done") for play, given in list(in_order("site"))[1:] if play["name"] == "The inventory's site")


def test_a_site_without_a_variable_is_refused_with_a_limit():
    done = run("-i", "inventories/example", "-e", "ansible_host=192.0.2.1", "-e", "site_bridge=''", "--tags", "xen", "--limit", "node3", "--check")
    assert done.returncode != 0 and done.stdout.count("TASK [") == 1
    assert "site_bridge, the bridge on hypervisors, is not set: set it in group_vars/all.yml, such as br0." in " ".join(done.stdout.split())


def test_the_table_has_all_tags():
    known = set()
    for name in LAYERS:
        for play in load(name):
            for part in (play, *(role for role in play.get("roles", []) if isinstance(role, dict))):
                known |= tags(part)
    table = re.findall(r"^\| (`.*?) \| .* \|$", (CHECKOUT / "docs/design.md").read_text(encoding="utf-8").partition("| tag | does |")[2].partition("\n\n")[0],
                       re.MULTILINE)
    assert {tag for row in table for tag in re.findall(r"`(\w+)`", row)} == known - {"always"}
