# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs nova-compute with two changes.

At its first start on a node, nova connects to libvirt before libvirt's event loop exists, and receives no events until it is restarted.
An instance that moves away then keeps its port for seconds after it has gone. So the event loop is registered first.

When its last volume is detached, nova unmounts the share of volumes. Here systemd mounts the share, and it must stay mounted.
"""

# This import must come first: it prepares Python for the following ones.
from nova.cmd import compute

import libvirt
from nova.virt.libvirt.volume import mount


def in_use(dummy_volume, dummy_mountpoint, dummy_instance):
    """Tell nova, which asks when a volume is detached, that the share is still in use."""
    return True


def main():
    """Run nova-compute."""
    libvirt.virEventRegisterDefaultImpl()
    mount.umount = in_use
    compute.main()


if __name__ == "__main__":
    main()
