# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An inventory may have hosts that are no machines of the site, such as guests. The layers leave them alone."""

from __future__ import annotations

import os
import pathlib
import re
import subprocess
import sys

import pytest

CHECKOUT = pathlib.Path(__file__).resolve().parents[2]
# as docs/oar.md has it, and a guest of the user's own
GUESTS = """[oar_server]
oar
[oar_nodes]
oar-1
oar-2
[webs]
web
"""
FURTHER = """[site]
shelf
[all]
spare
"""


def list_hosts(*inventories):
    """[(play, its hosts)], in order. As `ansible-playbook --list-hosts` tells it, for which `hosts:` may not need variables of hosts."""
    arguments = [word for path in inventories for word in ("-i", str(path))]
    done = subprocess.run(
        [sys.executable, "-m", "ansible", "playbook", *arguments, "playbooks/lab.yml", "playbooks/site.yml", "--list-hosts"],
        capture_output=True, text=True, check=False, cwd=CHECKOUT, timeout=300,
        env={**os.environ, "ANSIBLE_STRATEGY": "linear", "ANSIBLE_NOCOLOR": "1", "ANSIBLE_LOCALHOST_WARNING": "0"})
    assert done.returncode == 0, done.stdout + done.stderr
    return [(name, sorted(re.findall(r"^      (\S+)$", rest, re.MULTILINE)))
            for name, rest in re.findall(r"^  play #\d+ \(.*?\): (.*?)\tTAGS: .*?\n(.*?)(?=^  play #|\Z)", done.stdout, re.MULTILINE | re.DOTALL)]


def guests_of(*inventories):
    """The hosts of the group guests."""
    arguments = [word for path in inventories for word in ("-i", str(path))]
    done = subprocess.run([sys.executable, "-m", "ansible", "adhoc", "guests", "--list-hosts", *arguments], capture_output=True, text=True, check=True,
                          cwd=CHECKOUT, timeout=300)
    return done.stdout.split()


@pytest.mark.parametrize("inventory", ["inventories/example", "inventories/cloud"])
def test_guests_that_are_hosts_are_left_alone(tmp_path, inventory):
    (tmp_path / "guests").write_text(GUESTS, encoding="utf-8")
    alone = list_hosts(inventory)
    assert len(alone) > 20 and {"Lab", "Image store, the clients"} <= {play for play, hosts in alone if len(hosts) > 2}
    assert list_hosts(inventory, tmp_path / "guests") == alone


@pytest.mark.parametrize("inventory", ["inventories/lab", "inventories/cloud"])
def test_guests_of_the_inventory_plugin_are_left_alone(tmp_path, inventory):
    """The example inventory has it already."""
    (tmp_path / "our_cloud.yml").write_text("plugin: our.cloud.guests\n", encoding="utf-8")
    (tmp_path / "group_vars").mkdir()
    (tmp_path / "group_vars/all.yml").write_text("guests: [{name: web, host: bart, kind: kvm, memory: 256, image: debian}]\n", encoding="utf-8")
    assert "web" in guests_of(inventory, tmp_path)
    assert list_hosts(inventory, tmp_path) == list_hosts(inventory)


def test_further_machines_of_the_site(tmp_path):
    """Those in the group `site`, and one that has left all groups, which image_store takes the store from."""
    (tmp_path / "further").write_text(FURTHER, encoding="utf-8")
    found = dict(list_hosts("inventories/example", tmp_path / "further"))
    assert found["Image store, the clients"] == ["front", "node1", "node2", "node3", "node4", "shelf", "spare"]
    assert found["Image store, the clients"] == found["Image store, the server"]
