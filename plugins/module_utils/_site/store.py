# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The site's store: one directory that all hypervisors have under the same path, told by a marker file in it."""

from __future__ import annotations

import os

from ansible_collections.our.cloud.plugins.module_utils._common.bounded import bounded

MARKER = ".our-cloud-store"
# Seconds that a store has to answer: as long as a server needs to come up again
PATIENCE = 60


def is_store(root: str) -> bool:
    """Whether a directory is a site's store."""
    return os.path.isfile(os.path.join(root, MARKER))


def store_of(path: str) -> str | None:
    """The root of the store that a path lies in; None if it lies in none. CloudError if its server does not answer."""
    return bounded(lambda: _store_of(path), PATIENCE, f"the store of {path}", "Is its server up? Guests that wait for it go on when it is back")


def _store_of(path: str) -> str | None:
    folder = os.path.dirname(path)
    while not is_store(folder):
        if folder == os.path.dirname(folder):
            return None
        folder = os.path.dirname(folder)
    return folder
