# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

# importing it is what makes the collection importable
import checkout  # noqa: F401  pylint: disable=unused-import
from kameleon_2009 import kameleon_folder


def pytest_terminal_summary(terminalreporter):
    """What a green run does not say by itself."""
    folder = kameleon_folder()
    if folder:
        text = f"{len(list(folder.glob('*/**/*.yaml')))} example files of Kameleon 2009 were checked, from {folder}"
    else:
        text = "no example files of Kameleon 2009 here (KAMELEON_2009 names their folder); our own recipes in that form were checked"
    terminalreporter.write_line(text)
