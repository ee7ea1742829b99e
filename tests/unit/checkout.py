# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lets whoever imports this, also a process that a test starts, import ansible_collections.our.cloud from the checkout in place."""

from __future__ import annotations

import pathlib

from ansible.utils.collection_loader._collection_finder import _AnsibleCollectionFinder

UNIT = pathlib.Path(__file__).resolve().parent
CHECKOUT = UNIT.parents[1]

_AnsibleCollectionFinder([str(CHECKOUT / "collections")])._install()
