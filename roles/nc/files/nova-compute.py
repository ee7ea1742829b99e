# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""nova-compute, where two things are not as they are by themselves.

At its very first start on a node nova asks libvirt for instances before it has libvirt's event loop, and is told of no event until it is started
again. An instance that moves away then keeps its port for seconds after it has gone.

With the last volume nova unmounts the share of volumes. Here systemd mounts it, and it stays.
"""

# first: it prepares Python for what comes after it
from nova.cmd import compute

import libvirt
from nova.virt.libvirt.volume import mount


def in_use(dummy_volume, dummy_mountpoint, dummy_instance):
    """What nova asks when a volume goes: whether the share is in use still."""
    return True


def main():
    """Be nova-compute."""
    libvirt.virEventRegisterDefaultImpl()
    mount.umount = in_use
    compute.main()


if __name__ == "__main__":
    main()
