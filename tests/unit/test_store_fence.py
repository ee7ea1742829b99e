# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which fenced nodes the store's server lets in again: the decision of role image_store, with nodes that are this machine, or not there."""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import subprocess
import sys

import pytest

CHECKOUT = pathlib.Path(__file__).resolve().parents[2]
PLAY = """
- hosts: server
  gather_facts: false
  tasks:
    - ansible.builtin.include_role:
        name: our.cloud.image_store
        tasks_from: returns
"""
# A fresh start has not written its boot yet; that of `lives` is what the store has seen last.
INVENTORY = """
[gateway]
server
[hypervisors]
anew
dead ansible_connection=ssh ansible_host=127.0.0.1 ansible_port=9
lives
[all:vars]
site_store=/srv/nowhere
image_store_server=server
"""
INFO = """#!/usr/bin/python
from ansible.module_utils.basic import AnsibleModule
AnsibleModule({}).exit_json(guests=%s)
"""


@pytest.fixture(name="readmit")
def fixture_readmit(tmp_path):
    """(status, who is fenced afterwards, what was said), for who was fenced and the guests that vm_info tells."""
    ours = tmp_path / "collections/ansible_collections/our/cloud"
    for folder in ("plugins", "roles", "meta"):
        shutil.copytree(CHECKOUT / folder, ours / folder, ignore=shutil.ignore_patterns("__pycache__"))
    boot = tmp_path / "boot"
    task = ours / "roles/image_store/tasks/return.yml"
    task.write_text(task.read_text(encoding="utf-8").replace("/run/our-cloud/boot", f"{boot}-{{{{ image_store__node }}}}"), encoding="utf-8")
    (tmp_path / "boot-lives").write_text("one\n", encoding="ascii")
    (tmp_path / "hosts").write_text(INVENTORY, encoding="utf-8")
    (tmp_path / "play.yml").write_text(PLAY, encoding="utf-8")
    (tmp_path / "ansible.cfg").touch()

    def readmit(fenced, guests=()):
        (ours / "plugins/modules/vm_info.py").write_text(INFO % repr(list(guests)), encoding="utf-8")
        fences = tmp_path / "fenced.json"
        fences.write_text(json.dumps(fenced), encoding="utf-8")
        site = [path for path in sys.path if path.endswith("site-packages")]
        done = subprocess.run(
            [sys.executable, "-m", "ansible", "playbook", "-i", str(tmp_path / "hosts"), "-c", "local", "-e", f"image_store__fences={fences}",
             "-e", f"ansible_python_interpreter={sys.executable}", str(tmp_path / "play.yml")],
            capture_output=True, text=True, check=False, cwd=tmp_path, timeout=300,
            env={**os.environ, "ANSIBLE_STRATEGY": "linear", "ANSIBLE_COLLECTIONS_PATH": ":".join([str(tmp_path / "collections"), *site]),
                 "ANSIBLE_CONFIG": str(tmp_path / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1", "COLUMNS": "2000"})
        return done.returncode, json.loads(fences.read_text(encoding="utf-8")), " ".join((done.stdout + done.stderr).split())
    return readmit


def test_who_has_started_anew_is_let_in_and_who_is_silent_is_not(readmit):
    status, fenced, said = readmit({"anew": "one", "dead": "one", "no-more": "one"})
    assert status == 0 and fenced == {"dead": "one"}
    assert "dead does not answer, so it stays cut off from the store (its guests were rescued)" in said


@pytest.mark.parametrize("boot", ["one", ""])
def test_one_that_lives_with_others_guests_is_not_restarted(readmit, boot):
    status, fenced, said = readmit({"lives": boot}, [{"name": "i-1", "active": True, "owner": "nova"}, {"name": "off", "active": False, "owner": None},
                                                     {"name": "web", "active": True, "owner": "our.cloud"}])
    assert status == 2 and fenced == {"lives": boot}
    assert "guests run there that our.cloud does not manage: i-1. Shut them down" in said
