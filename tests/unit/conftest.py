# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lets the tests import ansible_collections.our.cloud from the checkout in place."""

from __future__ import annotations

import os
import pathlib

import pytest
from ansible.utils.collection_loader._collection_finder import _AnsibleCollectionFinder

CHECKOUT = pathlib.Path(__file__).resolve().parents[2]

_AnsibleCollectionFinder([str(CHECKOUT / "collections")])._install()


def kameleon_folder():
    """Where the example files of Kameleon's specification are, or none; see test_kameleon_2009.py."""
    named = os.environ.get("KAMELEON_2009")
    folder = pathlib.Path(named) if named else CHECKOUT.parent / "shared/kameleon-2009"
    if (folder / "recipes").is_dir():
        return folder.resolve()
    if named:
        raise pytest.UsageError(f"KAMELEON_2009 is {named}, where there is no folder recipes")
    return None


def pytest_terminal_summary(terminalreporter):
    """What a green run does not say by itself."""
    folder = kameleon_folder()
    if folder:
        text = f"{len(list(folder.glob('*/**/*.yaml')))} example files of Kameleon 2009 were checked, from {folder}"
    else:
        text = "no example files of Kameleon 2009 here (KAMELEON_2009 names their folder); our own recipes in that form were checked"
    terminalreporter.write_line(text)
