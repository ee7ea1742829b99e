# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two hosts that are dictionaries, and a guest that moves."""

from __future__ import annotations

import dataclasses
import os

import fake_libvirt
from ansible_collections.our.cloud.plugins.module_utils._hypervisor import hypervisor
from ansible_collections.our.cloud.plugins.module_utils._move import asked, job
from ansible_collections.our.cloud.plugins.module_utils._move.options import Options
from ansible_collections.our.cloud.plugins.module_utils._site.store import MARKER


PARAMS = {"name": "g", "target": "two", "mode": "live", "timeout": 30, "force": False, "bandwidth": None, "max_downtime": None, "auto_converge": True,
          "post_copy": False, "encrypt": True, "address": None, "address_timeout": 1, "port": 16514, "uri": None}


class Site:
    """Two hosts, one guest with a disk in their store; `move` asks for a move of it."""

    def __init__(self, monkeypatch, tmp_path, kind):
        self.world = fake_libvirt.World(monkeypatch)
        self.root = tmp_path / "store"
        self.root.mkdir()
        (self.root / MARKER).write_text("marker\n")
        self.disk = str(self.root / "g.img")
        self.one, self.two = self.world.host("one", kind), self.world.host("two", kind)
        for host in (self.one, self.two):
            host.folders = {str(self.root): {MARKER: b"marker\n"}, "/sys/class/net/br0/brif": {}}
        self.guest = self.one.add("g", "running", self.disk, autostart=True)
        self.tell = job.Job("g", str(tmp_path / "run"))
        self.said = []
        self.tell.say = self._say
        self.asked = None

    def _say(self, **told):
        self.said.append(told)
        self.tell.held = dataclasses.replace(self.tell.held, **told, elapsed_ms=5)

    def move(self, check_mode=False, **params):
        self.asked = asked.Asked(Options(**{**PARAMS, **params}), check_mode, "t0")
        return self.asked.answer(hypervisor.open_local(), self.tell)

    def words(self):
        """Where it is, and what it does there."""
        return {host.name: host.domains["g"].word for host in (self.one, self.two) if "g" in host.domains}

    @property
    def did(self):
        """What changed the guest, in order, without what every move does."""
        return [line.replace(" g", "") for line in self.world.log]

    def states(self):
        return sorted(name for name in os.listdir(self.root) if name.endswith(".state"))


def breaks(world, *steps, text="Operation failed"):
    """A migrateToURI3 that takes steps and fails."""
    def migrate(dom, *dummy):
        for step in steps:
            step(dom)
        raise world.error(text)
    return migrate


def set_to(word, reason=0):
    def step(dom):
        dom.word, dom.reason = word, reason
    return step
