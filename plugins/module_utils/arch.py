# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One table of the architectures that a guest can have, and what each is called by whom."""

from __future__ import annotations

from collections import namedtuple

# debian: dpkg's name. kernel: what boot_files finds in a kernel. libvirt: <type arch=...>.
# machine, console, root: by hypervisor ('xen' is pv and pvh, 'qemu' is kvm and qemu).
Arch = namedtuple("Arch", "debian kernel libvirt emulator machine console root")

X86_MACHINE = {"pvh": "xenpvh", "pv": "xenpv", "hvm": "xenfv", "kvm": "q35", "qemu": "q35"}
ARM_MACHINE = {"kvm": "virt", "qemu": "virt"}
ROOT = {"xen": "/dev/xvda", "qemu": "/dev/vda"}


def _x86(debian, libvirt):
    return Arch(debian, "x86", libvirt, "qemu-system-" + libvirt.replace("i686", "i386"),
                X86_MACHINE, {"xen": "hvc0", "qemu": "ttyS0"}, ROOT)


def _arm(debian, kernel, libvirt, emulator):
    return Arch(debian, kernel, libvirt, emulator, ARM_MACHINE, {"qemu": "ttyAMA0"}, ROOT)


ARCHES = {arch.debian: arch for arch in (
    _x86("amd64", "x86_64"),
    _x86("i386", "i686"),
    _arm("armel", "arm", "armv6l", "qemu-system-arm"),
    _arm("armhf", "arm", "armv7l", "qemu-system-arm"),
    _arm("arm64", "arm64", "aarch64", "qemu-system-aarch64"),
)}


def arch(name):
    """The row of a Debian architecture name; ValueError names those that exist."""
    try:
        return ARCHES[name]
    except (KeyError, TypeError):
        raise ValueError("architecture %r is not one of %s" % (name, ", ".join(sorted(ARCHES)))) from None
