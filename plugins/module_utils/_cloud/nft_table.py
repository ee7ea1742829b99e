# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One table of nftables: the file that has it, the unit that loads it at boot, and the table in the kernel."""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
import subprocess

from ansible_collections.our.cloud.plugins.module_utils._cloud import config_files
from ansible_collections.our.cloud.plugins.module_utils._common.errors import CloudError, Refused

FOLDER = "/etc/nft-table.d"
UNITS = "/etc/systemd/system"


def ensure(name: str, family: str, text: str, units: dict, state: str, check: bool) -> dict:
    """Keep or remove a table. text: its file; units: {path below UNITS: text}. Returns changed, done (sentences) and diff."""
    if not re.fullmatch("[A-Za-z][A-Za-z0-9_]*", name):
        raise Refused(f"nft_table_name {name}", "Use letters, digits and underscores, a letter first")
    table = _Table(name, family, check)
    return table.present(text, units) if state == "present" else table.absent()


def _call(*argv: str, text: str = "", may_fail: bool = False) -> subprocess.CompletedProcess:
    done = subprocess.run(argv, input=text, capture_output=True, text=True, check=False)
    if done.returncode and not may_fail:
        raise CloudError(os.uname().nodename, " ".join(argv), (done.stderr or done.stdout).strip() or f"it ended with {done.returncode}")
    return done


class _Table:
    def __init__(self, name: str, family: str, check: bool) -> None:
        self.name, self.family, self.check = name, family, check
        self.path, self.unit = f"{FOLDER}/{name}.nft", f"nft-table@{name}.service"
        self.done: list = []

    def result(self, *changes: config_files.Changes) -> dict:
        return {"changed": any(change.changed for change in changes) or bool(self.done), "done": self.done,
                "diff": [diff for change in changes for diff in change.diff]}

    def step(self, what: str, *argv: str, text: str = "") -> None:
        self.done.append(what)
        if not self.check:
            _call(*argv, text=text)

    def present(self, text: str, units: dict) -> dict:
        file = self.file(text, "present")
        changed = config_files.ensure([file], True).changed
        if changed and not self.check:
            _call("nft", "--check", "--file", "-", text=text)
        written = config_files.ensure([dataclasses.replace(file, path=f"{UNITS}/{path}", content=content) for path, content in units.items()], self.check,
                                      [config_files.Directory(FOLDER)])
        if changed or not self.loaded():
            # Before it is in the file: if this breaks off here, the next run does it again.
            self.step(f"load table {self.family} {self.name}", "nft", "--file", "-", text=text)
        kept = config_files.ensure([file], self.check)
        if written.changed and not self.check:
            _call("systemctl", "daemon-reload")
        states = _call("systemctl", "show", "--property", "UnitFileState,ActiveState", self.unit).stdout.splitlines()
        if "UnitFileState=enabled" not in states:
            self.step(f"enable {self.unit}", "systemctl", "enable", "--quiet", self.unit)
        if "ActiveState=active" not in states:
            self.step(f"start {self.unit}", "systemctl", "start", self.unit)
        return self.result(written, kept)

    def loaded(self) -> bool:
        """After a manual `nft flush ruleset` the unit is still active, but the machine is open."""
        if self.check and not shutil.which("nft"):
            # a new machine
            return False
        done = _call("nft", "--terse", "list", "table", self.family, self.name, may_fail=True)
        if done.returncode not in (0, 1):
            raise CloudError(os.uname().nodename, f"table {self.family} {self.name}", done.stderr.strip())
        return done.returncode == 0

    def absent(self) -> dict:
        if os.path.exists(self.path):
            # its unit finds in the file what it has to remove
            self.step(f"stop {self.unit}", "systemctl", "stop", self.unit)
            self.step(f"disable {self.unit}", "systemctl", "disable", "--quiet", self.unit)
        return self.result(config_files.ensure([self.file("", "absent")], self.check))

    def file(self, content: str, state: str) -> config_files.File:
        return config_files.File(self.path, mode="0644", content=content, state=state)
