# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One table of the architectures that a guest can have, and what each is called by whom.

To add one: a row here; if its kernels have a form of their own, a reader in _boot/kernels.py and what boots it in
boot_files.LOADABLE; its name in the choices of the module vm and of the role guests; a line in docs/guests.md.
Tests compare all of these with the table.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Arch:
    """An architecture that a guest can have. By hypervisor: `xen` is pv, pvh and hvm, `qemu` is kvm and qemu."""

    debian: str  # dpkg's name, the one that people use
    kernel: str  # whose kernels it boots, by Linux's name: what _boot finds in a kernel
    libvirt: str  # <type arch=...>
    emulator: str  # QEMU's program, which libvirt finds by itself
    package: str  # the Debian package that has it
    machine: dict[str, str]  # by kind of guest; a kind that is not there does not exist for this architecture
    cpu: dict[str, str]  # by kind of guest, what it gets if it asks for none; a kind that is not there: libvirt's choice
    console: dict[str, str]  # by hypervisor
    root: dict[str, str]  # the root disk's device, by hypervisor
    drivers: dict[str, tuple[str, ...]]  # by hypervisor, the kernel's options (without CONFIG_) that the root disk needs
    platform: str | None  # the kernel's option without which it does not run on the machine at all, if there is one
    virtio: str  # how QEMU's disks and cards are attached, pci or mmio
    firmware: bool  # whether a guest can boot from its disk alone
    accelerated_by: tuple[str, ...]  # Debian's names of the hosts whose KVM runs it


ROOT = {"xen": "/dev/xvda", "qemu": "/dev/vda"}
XEN_DRIVERS = ("XEN_BLKDEV_FRONTEND",)


def _x86(debian: str, kernel: str, libvirt: str, emulator: str, accelerated_by: tuple[str, ...]) -> Arch:
    return Arch(debian, kernel, libvirt, emulator, "qemu-system-x86",
                machine={"pvh": "xenpvh", "pv": "xenpv", "hvm": "xenfv", "kvm": "q35", "qemu": "q35"}, cpu={},
                console={"xen": "hvc0", "qemu": "ttyS0"}, root=ROOT, drivers={"xen": XEN_DRIVERS, "qemu": ("VIRTIO_BLK", "VIRTIO_PCI")},
                platform=None, virtio="pci", firmware=True, accelerated_by=accelerated_by)


def _arm(debian: str, kernel: str, libvirt: str, emulator: str, cpu: str, virtio: str, platform: str | None) -> Arch:
    # Xen on ARM has no row: no node runs it. Without a CPU, QEMU takes a 32-bit one, which KVM and arm64 kernels do not run on.
    return Arch(debian, kernel, libvirt, emulator, "qemu-system-arm",
                machine={"kvm": "virt", "qemu": "virt"}, cpu={"kvm": "host-passthrough", "qemu": cpu},
                console={"qemu": "ttyAMA0"}, root=ROOT, drivers={"qemu": ("VIRTIO_BLK", "VIRTIO_" + virtio.upper())},
                platform=platform, virtio=virtio, firmware=False, accelerated_by=("arm64",))


# 32-bit ARM: QEMU puts the machine's PCI bus above 4 GiB, where a kernel without LPAE (Debian's armmp) does not see it;
# so virtio-mmio. On arm64 hosts libvirt's emulator for armv7l is qemu-system-aarch64, to which it gives -cpu host,aarch64=off.
# armel: there is no ARMv6 machine with virtio, and Debian's only armel kernel (rpi) is for boards. An armel guest boots an
# armhf kernel on armhf's machine.
# cortex-a53 has no speculation that its kernel must work around at every entry, which an emulator only pays for.
ARCHES = {row.debian: row for row in (
    _x86("amd64", "x86_64", "x86_64", "qemu-system-x86_64", ("amd64",)),
    _x86("i386", "i386", "i686", "qemu-system-i386", ("amd64", "i386")),
    _arm("armel", "arm", "armv7l", "qemu-system-arm", "cortex-a15", "mmio", "ARCH_VIRT"),
    _arm("armhf", "arm", "armv7l", "qemu-system-arm", "cortex-a15", "mmio", "ARCH_VIRT"),
    _arm("arm64", "arm64", "aarch64", "qemu-system-aarch64", "cortex-a53", "pci", None),
)}
# what libvirt calls a host
HOSTS = {"x86_64": "amd64", "i686": "i386", "armv6l": "armel", "armv7l": "armhf", "aarch64": "arm64"}
QEMU_KINDS = ("kvm", "qemu")


def arch(name: str) -> Arch:
    """The Arch of a Debian architecture name; ValueError names those that exist."""
    try:
        return ARCHES[name]
    except (KeyError, TypeError):
        raise ValueError(f"architecture {name!r} is not one of {', '.join(sorted(ARCHES))}") from None


def emulator_packages(guests: Iterable[Mapping[str, Any]], images: Iterable[Mapping[str, Any]] = ()) -> list[str]:
    """The Debian packages, sorted, with the emulators of a list of guests (dicts with kind, arch, image and state, as the
    inventory has them). A guest without arch has that of its image, if `images` (dicts with name and arch) say it.
    ValueError: an architecture that does not exist."""
    of_image = {image.get("name"): image.get("arch") for image in images}
    return sorted({arch(guest.get("arch") or of_image.get(guest.get("image")) or "amd64").package for guest in guests
                   if guest.get("kind") in QEMU_KINDS and guest.get("state") != "absent"})
