# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The site's store: one directory that all hypervisors have under the same path, told by a marker file in it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from ansible_collections.our.cloud.plugins.module_utils._common.bounded import bounded

Answer = TypeVar("Answer")

MARKER = ".our-cloud-store"
# Seconds that a store has to answer: as long as a server needs to come up again
PATIENCE = 60


def is_store(root: str) -> bool:
    """Whether a directory is a site's store. CloudError if its server does not answer."""
    return answered(lambda: _is_store(root), f"the store {root}")


def answered(call: Callable[[], Answer], what: str) -> Answer:
    """What a look into a store returns. CloudError if its server does not answer."""
    return bounded(call, PATIENCE, what, "Is its server up? Guests that wait for it go on when it is back")


def _is_store(root: str) -> bool:
    return os.path.isfile(os.path.join(root, MARKER))


def is_anybodys(root: str) -> str:
    """Why a store is not root's alone to write to, "" if it is. Whoever runs this may own it, too, and one that is not there is nobody's.
    CloudError if its server does not answer."""
    try:
        status = answered(lambda: os.stat(root), f"the store {root}")
    except FileNotFoundError:
        return ""
    if status.st_uid not in (0, os.geteuid()):
        return f"belongs to user {status.st_uid}"
    return f"can be written to by others than its owner (mode {status.st_mode & 4095:04o})" if status.st_mode & 0o022 else ""


def store_of(path: str) -> str | None:
    """The root of the store that a path lies in; None if it lies in none. CloudError if its server does not answer."""
    return answered(lambda: _store_of(path), f"the store of {path}")


def _store_of(path: str) -> str | None:
    folder = os.path.dirname(path)
    while not _is_store(folder):
        if folder == os.path.dirname(folder):
            return None
        folder = os.path.dirname(folder)
    return folder


def store_host(groups: Mapping[str, Sequence[str]]) -> str:
    """The first host of image_store, or of hypervisors where that group has none; empty if there is no such host."""
    return next((host for group in ("image_store", "hypervisors") for host in groups.get(group) or ()), "")
