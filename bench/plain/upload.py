# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs on the clc: upload.py MIB STORE. A file of random bytes, by cp and sync into the store, and to Glance. The last line is JSON."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time

import openstack

mib, store = int(sys.argv[1]), sys.argv[2]
cloud = openstack.connect(cloud="admin")
copy = os.path.join(store, "bench-upload")
with tempfile.NamedTemporaryFile() as source:
    for dummy in range(mib):
        source.write(os.urandom(1 << 20))
    source.flush()
    os.fsync(source.fileno())
    try:
        began = time.monotonic()
        subprocess.run(["cp", source.name, copy], check=True)
        subprocess.run(["sync", "-f", copy], check=True)
        copied = time.monotonic() - began
    finally:
        if os.path.exists(copy):
            os.unlink(copy)
    began = time.monotonic()
    image = cloud.image.create_image(name="bench-upload", filename=source.name, disk_format="ami", container_format="ami", wait=True)
    uploaded = time.monotonic() - began
    cloud.image.delete_image(image)
print(json.dumps({"cp": copied, "glance": uploaded}))
