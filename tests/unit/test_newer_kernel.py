# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A node that runs an older Linux or Xen than the one that is installed is told."""

from __future__ import annotations

import pathlib
import subprocess
import time

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

ROLES = pathlib.Path(__file__).resolve().parents[2] / "roles"


def look(role, tmp_path, started):
    """What the role makes of a machine that has started then: its variables, evaluated."""
    boot = tmp_path / "boot"
    boot.mkdir()
    for name in ("vmlinuz-6.12.48", "initrd.img-6.12.48", "xen-4.20-amd64.gz", "xen-vmlinuz-6.gz", "config-6.12.48"):
        (boot / name).touch()
    (tmp_path / "stat").write_text(f"cpu 1 2\nbtime {int(started)}\nprocesses 7\n", encoding="ascii")
    (tmp_path / "cpuinfo").write_text("flags : fpu svm\n", encoding="ascii")
    task = next(task for task in yaml.safe_load((ROLES / role / "tasks/preflight.yml").read_text(encoding="utf-8")) if "ansible.builtin.shell" in task)
    script = task["ansible.builtin.shell"].replace("/proc/stat", str(tmp_path / "stat")).replace("/proc/cpuinfo", str(tmp_path / "cpuinfo"))
    done = subprocess.run(["sh", "-c", script.replace("/boot", str(boot))], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    said = done.stdout.replace(str(boot), "/boot")
    variables = yaml.safe_load((ROLES / role / "vars/main.yml").read_text(encoding="utf-8"))
    answer = {task["register"]: {"stdout": said, "stdout_lines": said.splitlines()}}
    templar = Templar(loader=DataLoader(), variables={**answer, "kvm_apparmor": True})
    asked = ("xen__newer", "xen__running", "xen__architecture", "kvm__newer", "kvm__found")
    return {name: templar.template(trust_as_template(variables[name])) for name in asked if name in variables}


@pytest.mark.parametrize("age, newer", [(1000, True), (-1000, False)])
def test_xen(tmp_path, age, newer):
    found = look("xen", tmp_path, time.time() - age)
    assert found["xen__newer"] == (["/boot/vmlinuz-6.12.48", "/boot/xen-4.20-amd64.gz", "/boot/xen-vmlinuz-6.gz"] if newer else [])
    assert found["xen__architecture"] and not found["xen__architecture"].startswith("/")
    assert found["xen__running"] is False


@pytest.mark.parametrize("age, newer", [(1000, True), (-1000, False)])
def test_kvm(tmp_path, age, newer):
    assert look("kvm", tmp_path, time.time() - age) == {"kvm__found": "svm", "kvm__newer": ["/boot/vmlinuz-6.12.48"] if newer else []}
