# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The site's log: lines that are whole, one each, and nobody else's file."""

from __future__ import annotations

import datetime
import stat

import pytest
from ansible_collections.our.cloud.plugins.module_utils._common.errors import CloudError
from ansible_collections.our.cloud.plugins.module_utils._site import log

WHEN = datetime.datetime(2026, 11, 28, 15, 52, 3, tzinfo=datetime.timezone(datetime.timedelta(hours=1)))


def test_a_line_says_who_did_what_when():
    assert log.line(WHEN, "ada@laptop", "migrate.yml", "our-vm moved from maggie to marge (live).") \
        == "2026-11-28T14:52:03Z ada@laptop: migrate.yml: our-vm moved from maggie to marge (live)."
    assert log.line(WHEN, "", "", "x") == "2026-11-28T14:52:03Z ?: ?: x"


@pytest.mark.parametrize("text, noted", [
    ("web\n2026-11-28T14:52:04Z root@homer: x", "web 2026-11-28T14:52:04Z root@homer: x"),
    ("red \x1b[31m and \x9b31m, \u2028 and\r\n\x00end\n", "red  [31m and  31m,   and end"),
    ("größer", "größer")])
def test_nobody_writes_a_line_of_his_own(text, noted):
    assert log.line(WHEN, "a@b", "run.yml", text) == "2026-11-28T14:52:03Z a@b: run.yml: " + noted


def test_a_line_has_an_end():
    line = log.line(WHEN, "a@b", "run.yml", "x" * 5000)
    assert len(line) == 1000 and line.endswith("xxx")


def test_lines_are_appended(tmp_path):
    path = tmp_path / "our-cloud" / "site.log"
    assert log.note(str(path), "a@b", "guests.yml", []) == []
    first = log.note(str(path), "a@b", "guests.yml", ["one", "two \udcff"])
    second = log.note(str(path), "c@d", "run.yml", ["three"])
    assert [line.split(" ", 1)[1] for line in first + second] == ["a@b: guests.yml: one", "a@b: guests.yml: two \udcff", "c@d: run.yml: three"]
    assert path.read_text(encoding="utf-8") == "".join(line + "\n" for line in first + second).replace("\udcff", "?")
    assert stat.S_IMODE(path.stat().st_mode) == 0o640 and stat.S_IMODE(path.parent.stat().st_mode) == 0o750


def test_the_last_lines(tmp_path):
    path = tmp_path / "site.log"
    assert log.last(str(path)) == []
    path.write_bytes("one\ntwo größer \n".encode() + b"three \xff\n")
    assert log.last(str(path)) == log.last(str(path), 26) == ["one", "two größer ", "three \N{REPLACEMENT CHARACTER}"]
    assert log.last(str(path), 25) == ["two größer ", "three \N{REPLACEMENT CHARACTER}"]


def test_moves_among_the_lines():
    moved = "our-vm moved from maggie to marge (live) in 29.3 s; it stood still for 7 ms: fine."
    lines = [f"2026-11-28T14:52:03Z ada@laptop: migrate.yml: {moved}", "2026-11-28T15:02:31Z root@homer: site.yml, drain.yml: web moved from a to b (live)",
             "2026-11-28T15:20:10Z ada@laptop: guests.yml: their-vm on bart: define, start", "2026-11-28T15:20:11Z a@b: drain.yml: marge is drained: nothing",
             "", "web moved from a to b"]
    assert log.moves(lines) == [("2026-11-28T14:52:03Z", "our-vm", moved.removeprefix("our-vm ")), ("2026-11-28T15:02:31Z", "web", "moved from a to b (live)")]


def test_a_link_is_not_followed(tmp_path):
    (tmp_path / "passwd").write_text("root\n", encoding="utf-8")
    (tmp_path / "site.log").symlink_to(tmp_path / "passwd")
    with pytest.raises(CloudError, match="site.log: .*What was done is done; only this note of it is missing"):
        log.note(str(tmp_path / "site.log"), "a@b", "run.yml", ["one"])
    assert (tmp_path / "passwd").read_text(encoding="utf-8") == "root\n"


def test_guests_that_have_changed():
    results = [
        {"changed": True, "actions": ["use emi-1", "disk", "define", "start"], "item": {"name": "our-vm"}, "xml": "<domain/>"},
        {"changed": False, "actions": [], "item": {"name": "same"}},
        {"skipped": True, "changed": False, "item": {"name": "skipped"}},
        {"failed": True, "msg": "no disk", "item": {"name": "failed"}},
        {"changed": True, "actions": ["stop"], "item": {"name": "their-vm"}},
    ]
    assert log.of_guests(results, "marge") == ["our-vm on marge: use emi-1, disk, define, start", "their-vm on marge: stop"]


@pytest.mark.parametrize("groups, host", [
    ({"gateway": ["homer", "ned"], "image_store": ["store"]}, "homer"), ({"gateway": [], "image_store": ["store"]}, "store"),
    ({"hypervisors": ["marge", "maggie"]}, "maggie")])
def test_the_front_end_has_the_log(groups, host):
    assert log.log_host(groups, "maggie") == host
