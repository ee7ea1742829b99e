# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What starts nova-compute, with stand-ins for nova and libvirt."""

from __future__ import annotations

import pathlib
import subprocess
import sys

PROGRAM = pathlib.Path(__file__).resolve().parents[2] / "roles/nc/files/nova-compute.py"
STUBS = {
    "nova/__init__.py": "",
    "nova/cmd/__init__.py": "print('Python is prepared')",
    "nova/cmd/compute.py": "import sys\nfrom nova.virt.libvirt.volume import fs\n\n\ndef main():\n    print('nova with', sys.argv[1], fs.disconnect())\n",
    "nova/virt/__init__.py": "",
    "nova/virt/libvirt/__init__.py": "",
    "nova/virt/libvirt/volume/__init__.py": "",
    "nova/virt/libvirt/volume/mount.py": "def umount(volume, mountpoint, instance):\n    print('unmounted')\n",
    "nova/virt/libvirt/volume/fs.py": "from nova.virt.libvirt.volume import mount\n\n\ndef disconnect():\n    return mount.umount('volume', '/mnt', None)\n",
    "libvirt.py": "print('libvirt')\n\n\ndef virEventRegisterDefaultImpl():\n    print('events')\n",
}


def test_events_are_there_first_and_the_share_stays(tmp_path):
    for name, content in STUBS.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content, encoding="utf-8")
    done = subprocess.run([sys.executable, str(PROGRAM), "--config-file=x"], env={"PYTHONPATH": str(tmp_path)}, check=True, capture_output=True, text=True)
    assert done.stdout.splitlines() == ["Python is prepared", "libvirt", "events", "nova with --config-file=x True"]
