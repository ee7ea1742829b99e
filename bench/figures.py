# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Figures: out of what programs print, their spread and ratios, and tables of them.

A row is a dict: `what`, `unit`, `values` (None where a figure could not be taken), perhaps `base` (the values that
it is compared with, pair by pair) and `aim` ({"of": "median" or "ratio", "limit": number}).
"""

from __future__ import annotations

import datetime
import json
import re
import statistics

HEAD = ("what", "n", "min", "median", "max", "ratio, pair by pair", "aim")
NOT_TAKEN = "not taken"


# --- out of what programs print ----------------------------------------------

def answers(text):
    """[(time, sequence number)] of the lines of `ping -D`, in order of time, each answer once."""
    found = {}
    for match in re.finditer(r"^\[(\d+\.\d+)\] \d+ bytes from .*?icmp_seq=(\d+) ", text, re.MULTILINE):
        found.setdefault(int(match.group(2)), float(match.group(1)))
    return sorted((when, number) for number, when in found.items())


def ping_gap(text, interval):
    """The longest silence beyond the interval of `ping -D -i interval` in ms, and how many answers are missing; None without answers."""
    seen = answers(text)
    if len(seen) < 2:
        return None
    gap = max(later[0] - earlier[0] for earlier, later in zip(seen, seen[1:]))
    numbers = [number for dummy, number in seen]
    return {"gap_ms": max(0, round((gap - interval) * 1000)), "lost": max(numbers) - min(numbers) + 1 - len(numbers)}


def recap(text):
    """{host: {"ok": 3, "changed": 0, ...}} of ansible-playbook's last lines."""
    dummy, found, rest = text.rpartition("PLAY RECAP")
    hosts = {}
    for match in re.finditer(r"^(\S+)\s*:((?:\s+\w+=\d+)+)\s*$", rest if found else "", re.MULTILINE):
        hosts[match.group(1)] = {key: int(value) for key, value in re.findall(r"(\w+)=(\d+)", match.group(2))}
    return hosts


def total(hosts, *keys):
    """The sum of these counts over all hosts of a recap."""
    return sum(counts.get(key, 0) for counts in hosts.values() for key in keys)


def callback_json(text):
    """What the callback ansible.posix.json wrote, behind lines of progress; None if it is not there."""
    begin = re.search(r"^\{", text, re.MULTILINE)
    if not begin:
        return None
    try:
        return json.JSONDecoder().raw_decode(text, begin.start())[0]
    except ValueError:
        return None


def task(data, name):
    """(seconds, result) of a task that ran on one host, out of callback_json; None if it did not run."""
    for play in (data or {}).get("plays", []):
        for item in play["tasks"]:
            results = [result for result in item["hosts"].values() if not result.get("skipped")]
            if item["task"]["name"].rpartition(" : ")[2] == name and results:
                begin, end = (datetime.datetime.fromisoformat(item["task"]["duration"][key].replace("Z", "+00:00")) for key in ("start", "end"))
                return (end - begin).total_seconds(), results[0]
    return None


def downtime(text):
    """Milliseconds that `virsh domjobinfo --completed` tells; None if it does not."""
    match = re.search(r"^Total downtime:\s+(\d+)\s+ms", text, re.MULTILINE)
    return int(match.group(1)) if match else None


# --- statistics ----------------------------------------------------------------

def spread(values):
    """n, min, median and max of the figures that were taken; None if none was."""
    taken = [value for value in values if value is not None]
    if not taken:
        return None
    return {"n": len(taken), "min": min(taken), "median": statistics.median(taken), "max": max(taken)}


def ratios(values, base):
    """Each figure over its partner in the pair; None where one of both is missing or nothing can be divided by it."""
    return [None if None in pair or not pair[1] else pair[0] / pair[1] for pair in zip(values, base)]


def line(points):
    """(what it takes without any, what each adds): the straight line through [(count, seconds)] with the least squares."""
    if len({count for count, dummy in points}) < 2:
        return None
    slope, intercept = statistics.linear_regression([count for count, dummy in points], [seconds for dummy, seconds in points])
    return intercept, slope


# --- tables --------------------------------------------------------------------

def number(value, unit):
    """A figure as people read it."""
    return "%d %s" % (round(value), unit) if unit in ("ms", "MiB") else "%.*f s" % (1 if value < 100 else 0, value)


def verdict(row):
    """The aim and whether it was met."""
    aim = row.get("aim")
    if not aim:
        return ""
    if aim["of"] == "ratio":
        text, found = "≤ %g times" % aim["limit"], spread(ratios(row["values"], row["base"]))
    else:
        text, found = "≤ %s" % number(aim["limit"], row["unit"]).replace(".0 ", " "), spread(row["values"])
    if not found:
        return "%s: %s" % (text, NOT_TAKEN)
    return "%s: %s" % (text, "met" if found["median"] <= aim["limit"] else "missed")


def cells(row):
    """A row of the table, as HEAD names them."""
    found = spread(row["values"])
    if not found:
        return [row["what"], "0", NOT_TAKEN, "", "", "", verdict(row)]
    compared = ""
    if row.get("base"):
        each = ratios(row["values"], row["base"])
        middle = spread(each)
        compared = " ".join("-" if one is None else "%.2f" % one for one in each)
        compared = "%s; median %.2f" % (compared, middle["median"]) if middle and middle["n"] > 1 else compared
    return [row["what"], str(found["n"])] + [number(found[key], row["unit"]) for key in ("min", "median", "max")] + [compared, verdict(row)]


def text_table(rows):
    """For a terminal."""
    lines = [list(HEAD)] + [cells(row) for row in rows]
    widths = [max(len(item[column]) for item in lines) for column in range(len(HEAD))]
    return "\n".join("  ".join(
        text.rjust(width) if 1 <= column <= 4 else text.ljust(width) for column, (text, width) in enumerate(zip(item, widths))).rstrip() for item in lines)


def markdown_table(rows):
    """For docs/benchmarks.md."""
    lines = [list(HEAD), ["---", "---:", "---:", "---:", "---:", "---", "---"]] + [cells(row) for row in rows]
    return "\n".join("| %s |" % " | ".join(item) for item in lines)
