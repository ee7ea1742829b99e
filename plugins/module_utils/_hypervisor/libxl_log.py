# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Xen's library says in its log on this host. libvirt tells no more than that it has failed."""

from __future__ import annotations

import os
import re

LOG = "/var/log/libvirt/libxl/libxl-driver.log"
# time: libxl: file.c:line:function: text
LINE = re.compile(r"^\S+ \S+: libxl: (?:\S+\.c:\d+:\w+: )?(?P<text>.*)$", re.MULTILINE)
LINES = 3  # the first ones name the cause, the others what it has led to


def end() -> int:
    """Where the log ends now, bytes; 0 if there is none."""
    try:
        return os.stat(LOG).st_size
    except OSError:
        return 0


def since(offset: int) -> str:
    """What has been said since the log ended there, in one line; "" if nothing has been, or nobody may read it."""
    try:
        with open(LOG, encoding="utf-8", errors="replace") as stream:
            # a shorter one has been rotated meanwhile
            stream.seek(offset if offset <= end() else 0)
            return "; ".join([found["text"] for found in LINE.finditer(stream.read(1 << 16))][:LINES])
    except OSError:
        return ""
