# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's machines are a cloud, too, or they are not: the inventory in both cases, and who decides it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
CLOUD = {"clc", "walrus", "sc", "cc", "nc"}


@pytest.fixture(name="lab")
def a_lab(tmp_path):
    """A copy of the lab's inventory, without any state."""
    return Path(shutil.copytree(CHECKOUT / "inventories/lab", tmp_path / "lab", ignore=shutil.ignore_patterns(".*")))


def inventory(folder):
    """(groups, variables of hosts) as Ansible reads them."""
    told = subprocess.run([Path(sys.executable).parent / "ansible-inventory", "--inventory", folder, "--list"],
                          cwd=CHECKOUT, check=True, capture_output=True, text=True)
    assert "Unable to parse" not in told.stderr, told.stderr
    groups = json.loads(told.stdout)
    return groups, groups.pop("_meta")["hostvars"]


def decide(folder, *arguments, probe="false"):
    """What `make lab` does before anything else."""
    return subprocess.run(["make", "--old-file", "deps", "lab-cloud", "INVENTORY=%s" % folder, "PLAYBOOK=%s" % probe, *arguments],
                          cwd=CHECKOUT, check=False, capture_output=True, text=True)


def has_machines(folder):
    (folder / ".lab/machines/homer").mkdir(parents=True)


@pytest.mark.parametrize("said", [None, "no\n"])
def test_without_a_cloud_nothing_of_it_is_there(lab, said):
    if said:
        (lab / ".lab").mkdir()
        (lab / ".lab/cloud").write_text(said, encoding="ascii")
    found = inventory(lab)
    (lab / "lab_cloud.yml").unlink()
    groups, variables = inventory(lab)
    assert found == (groups, {host: {**own, "lab_cloud": False} for host, own in variables.items()})
    assert not any(name.startswith("cc_") for own in variables.values() for name in own)


def test_with_a_cloud_the_machines_have_its_groups_and_are_made_for_it(lab):
    without = inventory(lab)[1]
    (lab / ".lab").mkdir()
    (lab / ".lab/cloud").write_text("yes\n", encoding="ascii")
    groups, variables = inventory(lab)
    assert {name: groups[name]["hosts"] for name in CLOUD} == {**dict.fromkeys(CLOUD - {"nc"}, ["homer"]), "nc": ["bart", "lisa"]}
    assert {host: own["lab_memory"] for host, own in variables.items()} == {"homer": 4096, "marge": 2048, "maggie": 2048, "bart": 2048, "lisa": 2048}
    for host, own in variables.items():
        assert set(without[host]["lab_packages"]) <= set(own["lab_packages"])
        assert set(without[host]["lab_disabled_units"]) <= set(own["lab_disabled_units"])
        assert own["cc_floating_range"] == variables["homer"]["cc_floating_range"]
    assert "keystone" in variables["homer"]["lab_packages"] and "nova-compute-kvm" in variables["bart"]["lab_packages"]
    assert variables["marge"]["lab_packages"] == without["marge"]["lab_packages"]


@pytest.mark.parametrize("answer", ["yes", "no"])
def test_what_is_said_counts_until_there_are_machines(lab, answer):
    assert decide(lab, "CLOUD=%s" % {"yes": "no", "no": "yes"}[answer]).returncode == 0
    assert decide(lab, "CLOUD=%s" % answer).returncode == 0
    assert (lab / ".lab/cloud").read_text(encoding="ascii") == answer + "\n"
    has_machines(lab)
    assert decide(lab).returncode == 0
    assert (lab / ".lab/cloud").read_text(encoding="ascii") == answer + "\n"
    refused = decide(lab, "CLOUD=%s" % {"yes": "no", "no": "yes"}[answer])
    assert refused.returncode != 0 and "made with CLOUD=%s. Remedy: make lab-destroy" % answer in refused.stdout


def test_machines_from_before_have_none(lab):
    has_machines(lab)
    (lab / ".lab/accelerator").write_text("kvm\n", encoding="ascii")
    assert decide(lab).returncode == 0
    assert (lab / ".lab/cloud").read_text(encoding="ascii") == "no\n"


def test_what_emulates_has_none_by_itself(lab):
    (lab / ".lab").mkdir()
    (lab / ".lab/accelerator").write_text("tcg\n", encoding="ascii")
    assert "too: no" in decide(lab).stdout
    assert (lab / ".lab/cloud").read_text(encoding="ascii") == "no\n"


@pytest.mark.parametrize("needs, answer", [(1, "yes"), (10**9, "no")])
def test_where_hardware_virtualization_is_found_memory_decides(lab, needs, answer):
    (lab / "probe").write_text('#!/bin/sh\nmkdir -p "$2/.lab"\necho kvm >"$2/.lab/accelerator"\n', encoding="ascii")
    (lab / "probe").chmod(0o755)
    told = decide(lab, "LAB_CLOUD_MIB=%d" % needs, probe=lab / "probe")
    assert told.returncode == 0, told.stderr
    assert (lab / ".lab/cloud").read_text(encoding="ascii") == answer + "\n"


def test_a_probe_that_fails_is_told(lab):
    assert decide(lab).returncode != 0
    assert not (lab / ".lab/cloud").exists()


def test_another_word_is_refused(lab):
    refused = decide(lab, "CLOUD=maybe")
    assert refused.returncode != 0 and "CLOUD is yes or no, not maybe" in refused.stdout


def test_other_inventories_are_left_alone(tmp_path):
    assert decide(tmp_path, "CLOUD=yes").returncode == 0
    assert list(tmp_path.iterdir()) == []
