# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who answers is asked once in a run; who does not is left out of a check, and otherwise named with what to do."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys

import pytest

CHECKOUT = pathlib.Path(__file__).resolve().parents[2]
# port 9: nobody listens there
INVENTORY = """here ansible_connection=local
away ansible_host=127.0.0.1 ansible_port=9
[all:vars]
site_reach_timeout=1
"""
PLAY = """
- hosts: all
  gather_facts: false
  pre_tasks:
    - name: Reach them
      ansible.builtin.import_tasks: {reach}
  tasks:
    - ansible.builtin.debug: {{msg: "used {{{{ inventory_hostname }}}}"}}
"""


@pytest.fixture(name="plays")
def fixture_plays(tmp_path):
    """(status, what was said) of two plays, the second after the first."""
    (tmp_path / "hosts").write_text(INVENTORY, encoding="utf-8")
    (tmp_path / "play.yml").write_text(PLAY.format(reach=CHECKOUT / "playbooks/tasks/reach.yml") * 2, encoding="utf-8")
    (tmp_path / "ansible.cfg").touch()

    def plays(*arguments):
        done = subprocess.run(
            [sys.executable, "-m", "ansible", "playbook", "-i", str(tmp_path / "hosts"), "-e", f"ansible_python_interpreter={sys.executable}", *arguments,
             str(tmp_path / "play.yml")], capture_output=True, text=True, check=False, cwd=tmp_path, timeout=300,
            env={**os.environ, "ANSIBLE_STRATEGY": "linear", "ANSIBLE_CONFIG": str(tmp_path / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1", "COLUMNS": "2000",
                 "ANSIBLE_DISPLAY_SKIPPED_HOSTS": "yes"})
        return done.returncode, " ".join(done.stdout.split())
    return plays


def test_a_check_says_who_does_not_answer_and_goes_on(plays):
    status, said = plays("--check")
    assert status == 0 and said.count("used here") == 2 and "used away" not in said
    assert "away does not answer (nodes do not until the gateway is set up)" in said


def test_a_run_ends_for_who_does_not_answer_with_words(plays):
    status, said = plays()
    assert status == 2 and said.count("used here") == 2 and "used away" not in said
    assert "away has not answered for" in said and "-e site_reach_timeout=SECONDS waits longer" in said


def test_who_has_answered_is_not_asked_again(plays):
    status, said = plays("--limit", "here")
    assert status == 0 and said.count("ok: [here]") == 3
    assert "skipped=3" in said
