# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a site fares, as a report: rows by section, a verdict, and the next command. The screen, the JSON and the page are made of it."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ansible_collections.our.cloud.plugins.module_utils._site.tables import table

GOOD, NOTICE, BAD = "good", "notice", "bad"
SECTIONS = ("machines", "guests", "instances", "leases", "store", "certificates", "versions", "moves", "cloud")
# Notices of one section that the screen has room for
SHOWN = 5
# Names in the verdict
NAMED = 5


@dataclass(frozen=True)
class Row:
    """One thing of the site, and how it fares."""

    section: str  # one of SECTIONS
    name: str
    state: str  # GOOD, NOTICE: somebody should know, BAD: somebody must do something
    text: str
    remedy: str = ""  # the command that mends it, or goes on; empty where nothing is to be done


@dataclass(frozen=True)
class Section:
    """The rows of a section, those first that are not well."""

    name: str
    good: int
    notice: int
    bad: int
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Report:
    """How a site fares."""

    made: str  # 2026-01-31T12:00:00Z
    good: bool  # whether nothing is bad
    verdict: str  # a sentence
    next: str  # the command to go on with; empty: there is none
    sections: tuple[Section, ...]  # without those that have no rows


def ago(seconds: float) -> str:
    """A time span in words."""
    for size, word in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= size:
            count = int(seconds // size)
            return f"{count} {word}{'s' if count > 1 else ''}"
    return "less than a minute"


def report(rows: Sequence[Row], now: float) -> Report:
    """Of all rows, in the order in which they are to be told."""
    bad, notices = _of(rows, BAD), _of(rows, NOTICE)
    if bad:
        names = list(dict.fromkeys(f"{row.name} ({row.section})" for row in bad))
        more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
        verdict = f"{len(bad)} of {len(rows)} lines are not well: {', '.join(names[:NAMED])}{more}."
    elif notices:
        verdict = f"The site is well: {len(rows)} lines, of which {len(notices)} want a look."
    else:
        verdict = f"The site is well: {len(rows)} lines."
    following = next((row.remedy for row in (*bad, *notices) if row.remedy), "")
    return Report(time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now)), not bad, verdict, following,
                  tuple(_section(name, [row for row in rows if row.section == name]) for name in SECTIONS if any(row.section == name for row in rows)))


def _of(rows: Iterable[Row], state: str) -> list[Row]:
    return [row for row in rows if row.state == state]


def _section(name: str, rows: list[Row]) -> Section:
    bad, notices, good = _of(rows, BAD), _of(rows, NOTICE), _of(rows, GOOD)
    return Section(name, len(good), len(notices), len(bad), (*bad, *notices, *good))


def screen(told: Report) -> list[str]:
    """What fits on a screen: how many of each section are well, and what is not, with its command."""
    lines = table(("section", GOOD, NOTICE, BAD), [[one.name, one.good, one.notice, one.bad] for one in told.sections])
    for one in told.sections:
        shown = [*_of(one.rows, BAD), *_of(one.rows, NOTICE)[:SHOWN]]
        lines += [line for row in shown for line in ("", f"{row.state if row.state == NOTICE else 'BAD'}: {row.name} ({one.name}): {row.text}",
                                                     *([f"    {row.remedy}"] if row.remedy else []))]
        if one.notice > SHOWN:
            lines += ["", f"and {one.notice - SHOWN} more notices about {one.name}: -e page=FILE writes a page that has all"]
    return [*lines, "", told.verdict, *([f"Next: {told.next}"] if told.next else [])]
