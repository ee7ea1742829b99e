# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The cloud's part of the site's report."""

from __future__ import annotations

from ansible_collections.our.cloud.plugins.module_utils._cloud import in_report
from ansible_collections.our.cloud.plugins.module_utils._cloud.machine_facts import Certificate, Health, Store, Unit
from ansible_collections.our.cloud.plugins.module_utils._cloud.status import Machine
from ansible_collections.our.cloud.plugins.module_utils._cloud.status_facts import Answer, Parts, Waiting
from ansible_collections.our.cloud.plugins.module_utils._site.report import BAD, GOOD, NOTICE, Row

GROUPS = {"all": ["front", "n1"], "clc": ["front"], "nc": ["n1"]}
FRONT = Machine(Health((Unit("keystone", True, "active (running)", 2),), Certificate(300, ("front",), True)), Store())
NODE = Machine(Health((Unit("nova-compute", False, "failed (failed)", 0),), Certificate(3, ("n1",), True)), Store())
KEYSTONE = Row("cloud", "keystone on front", GOOD, "a token in 0.5 s")


def test_each_state():
    found = in_report.rows(GROUPS, {"front": FRONT, "n1": NODE}, Parts(Answer(0.5, ["identity"])), (), False)
    assert found == [
        Row("cloud", "units on front", NOTICE, "1 of 1 run; restarted by themselves: keystone 2", "ssh front journalctl -p err -n 30"),
        Row("cloud", "certificate on front", GOOD, "300 days"),
        Row("cloud", "unit nova-compute on n1", BAD, "failed (failed)", "ssh n1 journalctl -n 30 -u nova-compute"),
        Row("cloud", "units on n1", BAD, "0 of 1 run"),
        Row("cloud", "certificate on n1", NOTICE, "3 days", "ansible-playbook our.cloud.cloud --limit n1"), KEYSTONE]


def test_a_machine_that_does_not_answer_is_told_elsewhere():
    found = in_report.rows(GROUPS, {}, None, ("front", "n1"), False)
    assert found == [Row("cloud", "keystone on front", BAD, "it could not be asked", "ansible -m ping front")]
    # it told how it fares, and nothing of the cloud
    found = in_report.rows(GROUPS, {"front": FRONT}, Parts(Answer(0.5, ["identity"])), ("front",), False)
    assert [row for row in found if row.state == BAD] == [Row("cloud", "machine on n1", BAD, "does not answer", "ansible -m ping n1")]


def test_what_has_failed_is_told_once():
    waiting = (Waiting("a", "id-a", "ERROR", 7), Waiting("b", "id-b", "BUILD", 9999))
    parts = Parts(Answer(0.5, ["identity"]), instances=Answer(0.1, waiting))
    stuck = Row("cloud", "instance b on front", NOTICE, "BUILD for 166 minutes", "openstack server show id-b")
    assert in_report.rows(GROUPS, {}, parts, ("front", "n1"), True) == [KEYSTONE, stuck]
    assert in_report.rows(GROUPS, {}, parts, ("front", "n1"), False) == [
        KEYSTONE, Row("cloud", "instance a on front", NOTICE, "ERROR", "openstack server show id-a"), stuck]
    mute = Parts(Answer(0.5, ["identity"]), instances=Answer(0.1, error="HTTP 500", remedy="look"))
    assert in_report.rows(GROUPS, {}, mute, ("front", "n1"), True) == [KEYSTONE, Row("cloud", "instances on front", BAD, "HTTP 500", "look")]


def test_no_cloud():
    assert in_report.rows({"all": ["front"], "clc": []}, {"front": FRONT}, None, (), False) == []
    assert in_report.rows({}, {}, None, (), False) == []
