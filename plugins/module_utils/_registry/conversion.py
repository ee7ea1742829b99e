# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""qcow2 disks become raw ones at the door: the registry knows what a disk is by its content, and keeps it in one form."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import tempfile
from collections.abc import Iterator

from ansible_collections.our.cloud.plugins.module_utils._boot.sources import BootFileError


@contextlib.contextmanager
def raw_copy(path: str) -> Iterator[str]:
    """The path of a raw copy of a qcow2 disk that has been looked into; it goes with the end of the `with`."""
    # no other file is opened, even if the header has changed since somebody looked
    source = "json:" + json.dumps({"driver": "qcow2", "file": {"driver": "file", "filename": os.path.abspath(path)}, "backing": None})
    folder = os.environ.get("TMPDIR") or "/var/tmp"
    with tempfile.TemporaryDirectory(dir=folder, prefix="our-cloud-") as work:
        copy = os.path.join(work, "raw.img")
        try:
            done = subprocess.run(["qemu-img", "convert", "-O", "raw", source, copy], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                  text=True, check=False)
        except FileNotFoundError:
            raise BootFileError(f"{path} is a qcow2 disk, and there is no qemu-img here to make a raw one of it. Install qemu-utils") from None
        if done.returncode:
            raise BootFileError(f"{path} is a qcow2 disk, and no raw one could be made of it in {folder}: {done.stdout.strip()}. "
                                "TMPDIR names another directory")
        yield copy
