# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The site's log: who did what to which guest when. One line each, on the front end."""

from __future__ import annotations

import contextlib
import datetime
import os
import re
from collections.abc import Iterable, Mapping, Sequence

from ansible_collections.our.cloud.plugins.module_utils._common.errors import CloudError

PATH = "/var/log/our-cloud/site.log"
LONGEST = 1000  # characters of a line: what is longer is cut, so that one write() is one line


def line(when: datetime.datetime, who: str, command: str, text: str) -> str:
    """One line of the log, without its end. What could begin a line of its own, or steer a terminal, becomes a space."""
    told = f"{when.astimezone(datetime.timezone.utc):%Y-%m-%dT%H:%M:%SZ} {who or '?'}: {command or '?'}: {text}"
    return re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+", " ", told).strip()[:LONGEST]


def note(path: str, who: str, command: str, entries: Sequence[str]) -> list[str]:
    """Appends a line for each entry and returns them. Raises CloudError."""
    now = datetime.datetime.now(datetime.timezone.utc)
    lines = [line(now, who, command, entry) for entry in entries]
    append(path, lines)
    return lines


def append(path: str, lines: Sequence[str]) -> None:
    """Each line in a write() of its own: several hosts' lines come at the same time. Raises CloudError."""
    try:
        with contextlib.suppress(FileExistsError):
            os.mkdir(os.path.dirname(path), 0o750)
        handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o640)
        try:
            for each in lines:
                os.write(handle, (each + "\n").encode(errors="replace"))
        finally:
            os.close(handle)
    except OSError as error:
        raise CloudError(os.uname().nodename, path, error, "What was done is done; only this note of it is missing") from error


def last(path: str, size: int = 1 << 16) -> list[str]:
    """The last lines, oldest first, of so many bytes; none if there is no log."""
    try:
        with open(path, "rb") as stream:
            start = max(0, stream.seek(0, os.SEEK_END) - size)
            stream.seek(start)
            lines = stream.read().decode(errors="replace").splitlines()
    except FileNotFoundError:
        return []
    # the first one is cut
    return lines[1:] if start else lines


def moves(lines: Iterable[str]) -> list[tuple[str, str, str]]:
    """(when, guest or instance, what has become of it) of each line about a move."""
    found = (re.match(r"(\S+Z) [^:]*: [^:]*: (\S+) (moved from \S+ to .+)$", each) for each in lines)
    return [(match[1], match[2], match[3]) for match in found if match]


def of_guests(results: Iterable[Mapping[str, object]], host: str) -> list[str]:
    """What the module vm has changed on a host, a sentence for each guest. results: of a loop over guests, as Ansible registers it."""
    found = []
    for each in results:
        actions = each.get("actions") or []
        if each.get("changed") and isinstance(actions, list):
            item = each.get("item")
            name = item.get("name", "?") if isinstance(item, Mapping) else "?"
            found.append(f"{name} on {host}: {', '.join(str(action) for action in actions) or 'changed'}")
    return found


def log_host(groups: Mapping[str, Sequence[str]], host: str) -> str:
    """The front end; where there is none, the host of the store; else the host itself."""
    return next(iter(groups.get("gateway") or ()), "") or next(iter(groups.get("image_store") or ()), "") or host
