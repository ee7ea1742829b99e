# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs on a node, as nova: fakes.py FIRST LAST FOLDER. Nova-computes fake-FIRST to fake-LAST whose instances are nova's make-believe, until it is ended.

They are forks of one process, and share what they have loaded.
"""

from __future__ import annotations

import gc
import importlib
import os
import pathlib
import sys

from nova import objects
from nova.cmd import compute

OWN = "[DEFAULT]\nhost = {name}\ncompute_driver = fake.FakeDriver\nstate_path = {folder}\n[serial_console]\nenabled = false\n"

first, last, base = int(sys.argv[1]), int(sys.argv[2]), pathlib.Path(sys.argv[3])
objects.register_all()
# once for all of them
for name in ("nova.compute.manager", "nova.compute.resource_tracker", "nova.virt.fake"):
    importlib.import_module(name)
gc.collect()
gc.freeze()
for number in range(first, last + 1):
    folder = base / str(number)
    folder.mkdir(parents=True)
    (folder / "own.conf").write_text(OWN.format(name=f"fake-{number}", folder=folder), encoding="ascii")
    if os.fork() == 0:
        sys.argv = ["nova-compute", "--config-file=/etc/nova/our-cloud-compute.conf", f"--config-file={folder / 'own.conf'}", f"--log-file={folder / 'log'}"]
        compute.main()
        sys.exit(0)
for number in range(first, last + 1):
    os.wait()
