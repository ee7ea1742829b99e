# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which Debian packages a machine has. dpkg tells it quickly; to open apt's database takes an emulated machine many seconds."""

from __future__ import annotations

import os
import subprocess

from ansible_collections.our.cloud.plugins.module_utils._common.errors import CloudError

QUERY = ("dpkg-query", "--show", "--showformat", "${db:Status-Status} ${Package}\\n")


def installed() -> list:
    """The names of the packages that are installed, each once."""
    try:
        done = subprocess.run(QUERY, capture_output=True, text=True, check=False)
    except OSError as error:
        raise CloudError(os.uname().nodename, QUERY[0], error.strerror, "Only machines that run Debian can be used") from None
    if done.returncode:
        raise CloudError(os.uname().nodename, QUERY[0], done.stderr.strip() or f"it ended with {done.returncode}")
    return names(done.stdout)


def names(text: str) -> list:
    """The same, from what dpkg says: a package of two architectures has two lines, and one that was removed may have left its configuration."""
    return sorted({name for status, dummy, name in (line.partition(" ") for line in text.splitlines()) if status == "installed"})
