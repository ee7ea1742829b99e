# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the example files of Kameleon's specification are; see test_kameleon_2009.py."""

from __future__ import annotations

import os
import pathlib

import pytest
from checkout import CHECKOUT


def kameleon_folder() -> pathlib.Path | None:
    """None if they are not here."""
    named = os.environ.get("KAMELEON_2009")
    folder = pathlib.Path(named) if named else CHECKOUT.parent / "shared/kameleon-2009"
    if (folder / "recipes").is_dir():
        return folder.resolve()
    if named:
        raise pytest.UsageError(f"KAMELEON_2009 is {named}, where there is no folder recipes")
    return None
