# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of boot files share."""

from __future__ import annotations

import os

import pytest

from ansible_collections.our.cloud.plugins.module_utils._boot import compression
from ansible_collections.our.cloud.plugins.module_utils._boot.sources import BootFileError

READABLE = [method for method in compression.METHODS if method != "lzo"]
AGAIN = "Fetch or copy it again and compare its checksum"


def refused(call, *arguments, **options):
    """The text of a BootFileError, paths cut off."""
    with pytest.raises(BootFileError) as error:
        call(*arguments, **options)
    text = str(error.value)
    return text.replace(os.path.dirname(arguments[0]) + "/", "")
