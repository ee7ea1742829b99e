# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What nova-compute wrote about an instance on a node, which nova's API does not tell."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

PATH = "/var/log/nova/nova-compute.log"
# of the end of the log
SIZE = 4 << 20
LINES = 3
# How far machines' clocks may differ, in seconds
APART = 10
ENTRY = re.compile(r"(?P<time>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)\.\d+ \d+ (?P<level>[A-Z]+) \S+ (?:\[(?P<request>(?!instance:)[^\]]*)\] )?"
                   r"(?:\[instance: (?P<instance>[^\]]*)\] )?(?P<text>.*)")
REQUEST = re.compile(r"req-[0-9a-f-]{36}")
# of an exception's way through the code
TRACE = re.compile(r"\s|Traceback|[~^]")


def told(text: str, instance: str, since: float) -> list[str]:
    """The first errors of an instance that a log has since then, each once, without tracebacks."""
    entries = [found for found in map(ENTRY.match, text.splitlines())
               if found and time.mktime(time.strptime(found["time"], "%Y-%m-%d %H:%M:%S")) >= since - APART]
    requests = {request for each in entries if each["instance"] == instance for request in REQUEST.findall(each["request"] or "")}
    found: list[str] = []
    for each in entries:
        ours = each["instance"] == instance or instance in each["text"] or requests & set(REQUEST.findall(each["request"] or ""))
        text = once(each["text"])
        if each["level"] in ("ERROR", "CRITICAL") and ours and text and not TRACE.match(each["text"]) and not any(text in line for line in found):
            found.append(text)
    return found[:LINES]


def once(text: str) -> str:
    """A message without the exception's text at its end, where that says the same again."""
    head, mark, tail = text.partition(": libvirt.libvirtError: ")
    return head if mark and tail in head else text.strip()


@dataclass(frozen=True)
class Log:
    """What a node's log says of an instance, as compute_log returns it."""

    lines: tuple[str, ...] = ()
    unread: str = ""  # why it could not be read; empty: it could

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Log:
        """From what compute_log returned, also if it failed."""
        return cls(tuple(told.get("lines") or ()), told.get("unread") or "")


def look(instance: str, since: float, path: str = PATH) -> Log:
    """What the log says. since: seconds since 1970."""
    try:
        with open(path, "rb") as stream:
            stream.seek(max(0, os.fstat(stream.fileno()).st_size - SIZE))
            return Log(tuple(told(stream.read().decode("utf-8", "replace"), instance, since)))
    except OSError as error:
        return Log(unread=f"{path} could not be read: {error.strerror}")
