# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Steps of what takes its time, written down for who shows them."""

from __future__ import annotations

import os
import time
from typing import Optional


class Progress:
    """Called with a step, it writes a line with the seconds since it was made. Without a file it does nothing."""

    def __init__(self, path: Optional[str]) -> None:
        self.path, self.began = path, time.monotonic()

    def __call__(self, text: str) -> None:
        if self.path:
            with open(os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "w", encoding="utf-8") as file:
                file.write(f"{time.monotonic() - self.began:5.1f} s  {text}\n")
