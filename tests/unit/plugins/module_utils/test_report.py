# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report of a site: its verdict, its sections, and what the screen has."""

from __future__ import annotations

import pytest
from ansible_collections.our.cloud.plugins.module_utils._common import shapes
from ansible_collections.our.cloud.plugins.module_utils._site import report
from ansible_collections.our.cloud.plugins.module_utils._site.report import BAD, GOOD, NOTICE, Report, Row, Section

WELL = Row("machines", "n1", GOOD, "up for 2 days")
LOOK = Row("versions", "n1", NOTICE, "3 packages wait for an upgrade", "ssh n1 apt-get dist-upgrade")
WRONG = Row("machines", "n2", BAD, "it does not answer", "ansible -m ping n2")


@pytest.mark.parametrize("seconds, words", [
    (0, "less than a minute"), (59, "less than a minute"), (60, "1 minute"), (3599, "59 minutes"), (3600, "1 hour"), (7200, "2 hours"), (86399, "23 hours"),
    (86400, "1 day"), (200000, "2 days"), (-5, "less than a minute")])
def test_time_spans(seconds, words):
    assert report.ago(seconds) == words


def test_all_is_well():
    found = report.report([WELL], 1795877647)
    assert found == Report("2026-11-28T14:54:07Z", True, "The site is well: 1 lines.", "", (Section("machines", 1, 0, 0, (WELL,)),))
    assert report.screen(found) == ["section   good  notice  BAD".replace("BAD", "bad"), "machines     1       0    0", "", "The site is well: 1 lines."]


def test_a_notice_is_well():
    found = report.report([LOOK, WELL], 0)
    assert (found.good, found.verdict, found.next) == (True, "The site is well: 2 lines, of which 1 want a look.", "ssh n1 apt-get dist-upgrade")
    assert [section.name for section in found.sections] == ["machines", "versions"]
    assert report.screen(found)[3:] == ["", "notice: n1 (versions): 3 packages wait for an upgrade", "    ssh n1 apt-get dist-upgrade", "",
                                        "The site is well: 2 lines, of which 1 want a look.", "Next: ssh n1 apt-get dist-upgrade"]


def test_what_is_not_well():
    mute = Row("guests", "web", BAD, "it runs twice")
    found = report.report([WELL, LOOK, mute, WRONG], 0)
    assert (found.good, found.verdict, found.next) == (False, "2 of 4 lines are not well: web (guests), n2 (machines).", "ansible -m ping n2")
    assert found.sections[0] == Section("machines", 1, 0, 1, (WRONG, WELL))
    assert report.screen(found) == [
        "section   good  notice  bad", "machines     1       0    1", "guests       0       0    1", "versions     0       1    0",
        "", "BAD: n2 (machines): it does not answer", "    ansible -m ping n2", "", "BAD: web (guests): it runs twice",
        "", "notice: n1 (versions): 3 packages wait for an upgrade", "    ssh n1 apt-get dist-upgrade",
        "", "2 of 4 lines are not well: web (guests), n2 (machines).", "Next: ansible -m ping n2"]
    assert shapes.plain(found)["sections"][1]["rows"] == [{"section": "guests", "name": "web", "state": "bad", "text": "it runs twice", "remedy": ""}]


def test_each_section_is_told_in_its_place():
    names = ["machines", "guests", "instances", "leases", "store", "certificates", "versions", "moves", "cloud"]
    found = report.report([Row(name, "it", GOOD, "well") for name in reversed(names)], 0)
    assert [section.name for section in found.sections] == names


def test_many():
    """What is bad is all there; of notices the screen has the first ones, and the report all."""
    notices = [Row("versions", f"n{number}", NOTICE, "old") for number in range(7)]
    found = report.report([*notices, *(Row("guests", f"g{number}", BAD, "away") for number in range(7)), Row("guests", "g0", BAD, "twice")], 0)
    lines = report.screen(found)
    assert len([line for line in lines if line.startswith("BAD: ")]) == 8
    assert [line for line in lines if line.startswith("notice: ")] == [f"notice: n{number} (versions): old" for number in range(5)]
    assert "and 2 more notices about versions: -e page=FILE writes a page that has all" in lines
    assert found.verdict == "8 of 15 lines are not well: g0 (guests), g1 (guests), g2 (guests), g3 (guests), g4 (guests) and 2 more."
    assert len(found.sections[1].rows) == 7
    assert not any("more notices" in line for line in report.screen(report.report(notices[:5], 0)))


def test_nothing_at_all():
    assert report.report([], 0) == Report("1970-01-01T00:00:00Z", True, "The site is well: 0 lines.", "", ())
