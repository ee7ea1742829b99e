# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A guest's description, checked and completed: what it says, what its architecture adds, and whether a host can run it."""

from __future__ import annotations

import dataclasses
import os
import re
import xml.etree.ElementTree as ET
from dataclasses import dataclass

from ansible_collections.our.cloud.plugins.module_utils._common.errors import Refused
from ansible_collections.our.cloud.plugins.module_utils._guest.arch import HOSTS, QEMU_KINDS, Arch, arch
from ansible_collections.our.cloud.plugins.module_utils._site.address_plan import normalise_mac

XEN_KINDS = ("pvh", "pv", "hvm")
KINDS = XEN_KINDS + QEMU_KINDS
CPU_MODES = ("host-model", "host-passthrough", "maximum")
NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}\Z")


@dataclass(frozen=True)
class Emulator:
    """One of QEMU's programs on a host."""

    path: str
    types: frozenset[str]  # libvirt's types of the domains that it runs: qemu, kvm


@dataclass(frozen=True)
class Host:
    """What a KVM host can run."""

    arch: str | None  # its own, by Debian's name; None: it is not in the table
    emulators: dict[str, Emulator]  # by libvirt's name of an architecture


@dataclass(frozen=True)
class Description:
    """A guest as somebody describes it, such as the module vm is told. None: it is not said."""

    name: str
    kind: str  # one of KINDS
    arch: str | None = None  # Debian's name
    memory: int | None = None  # MiB
    vcpus: int | None = None
    cpu: str | None = None  # one of CPU_MODES, or a model of QEMU's
    kernel: str | None = None  # a path; relative ones begin in the store
    ramdisk: str | None = None  # likewise
    disk: str | None = None  # likewise
    store: str | None = None  # the path of the site's store
    cmdline: str | None = None  # the kernel's command line
    append: str | None = None  # what the image adds to a command line that is not said
    root_device: str | None = None  # of a command line that is not said, if the image knows it
    bridge: str | None = None
    mac: str | None = None
    image: str | None = None  # a name or an id in the registry


@dataclass(frozen=True)
class Complete:
    """A guest with everything said, that a domain can be made of."""

    name: str
    kind: str  # one of KINDS
    arch: Arch
    hypervisor: str  # xen or qemu
    memory: int  # MiB
    vcpus: int
    emulator: str | None = None  # QEMU's program there; None: libvirt finds it
    cpu: str | None = None  # one of CPU_MODES, or a model of QEMU's; None: libvirt's choice
    kernel: str | None = None  # an absolute path; None: it boots from its disk
    ramdisk: str | None = None  # likewise
    cmdline: str | None = None
    disk: str | None = None  # an absolute path; None: it has none
    backing: str | None = None  # what a qcow2 disk is based on; None: on nothing
    bridge: str | None = None  # None: it has no network card
    mac: str | None = None  # of its card; None: libvirt's choice


class GuestError(Refused, ValueError):
    """A description that no domain can be made of; the text names the guest and the field."""


def family(kind: str | None) -> str:
    """The hypervisor of a guest kind: xen or qemu."""
    if kind in XEN_KINDS:
        return "xen"
    if kind in QEMU_KINDS:
        return "qemu"
    raise GuestError(f"kind {kind!r} is not one of {', '.join(KINDS)}")


def is_overlay(path: str) -> bool:
    """Whether a disk is a qcow2 file and not a raw one. Its name decides: what is in a raw disk is its guest's to write,
    who could write what it wants to be taken for."""
    return path.endswith(".qcow2")


def _number(guest: Description, key: str, usual: int, least: int) -> int:
    value = getattr(guest, key)
    if value is None:
        return usual
    if isinstance(value, bool) or not str(value).isdigit() or int(value) < least:
        raise GuestError(f"guest {guest.name}: {key} is {value!r}, a whole number of at least {least} is needed")
    return int(value)


def _path(guest: Description, key: str) -> str | None:
    value = getattr(guest, key)
    if not value:
        return None
    path = value if os.path.isabs(value) else os.path.join(guest.store or "", value)
    if not os.path.isabs(path):
        raise GuestError(f"guest {guest.name}: {key} is the relative path {value} and no store is given to begin it")
    return os.path.normpath(path)


def host(capabilities: str) -> Host:
    """Of libvirt's capabilities (XML)."""
    root = ET.fromstring(capabilities)
    emulators = {}
    for item in root.findall("guest"):
        found = item.find("arch")
        if item.findtext("os_type") == "hvm" and found is not None and found.findtext("emulator"):
            emulators[found.get("name")] = Emulator(found.findtext("emulator"), frozenset(each.get("type", "") for each in found.findall("domain")))
    return Host(HOSTS.get(root.findtext("host/cpu/arch")), emulators)


def _emulator(guest: Description, row: Arch, where: Host) -> str:
    """The path of the emulator that libvirt has for this guest there; GuestError says why it cannot run there."""
    name, kind = guest.name, guest.kind
    if kind == "kvm" and where.arch and where.arch not in row.accelerated_by:
        raise GuestError(f"guest {name}: KVM runs {row.debian} guests on {' and '.join(row.accelerated_by)} hosts, and this one is {where.arch}. "
                         "Give it kind: qemu (emulated, slow), or another host")
    emulator = where.emulators.get(row.libvirt)
    if emulator is None:
        raise GuestError(f"guest {name}: this host has no emulator for {row.debian} ({row.emulator}). Give the guest arch: "
                         f"{row.debian} in the inventory and run the hypervisors playbook, or install {row.package}")
    if kind not in emulator.types:
        raise GuestError(f"guest {name}: kind kvm needs hardware virtualization, and libvirt has none for {row.debian} here. Give it kind: "
                         "qemu (emulated, slow), or another host")
    return emulator.path


def complete(guest: Description, where: Host | None = None) -> Complete:
    """The description with everything said: checked, paths absolute, defaults of its architecture filled in.
    `where`: what is to run it; without it, nothing is said about whether it can, and libvirt finds the emulator.
    GuestError: no domain can be made of it."""
    name, kind = guest.name, guest.kind
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise GuestError(f"guest name {name!r} is not letters, digits, dot, dash and underscore (63 at most)")
    hypervisor = family(kind)
    try:
        row = arch(guest.arch or "amd64")
    except ValueError as error:
        raise GuestError(f"guest {name}: {error}") from None
    if kind not in row.machine:
        raise GuestError(f"guest {name}: kind {kind} does not exist for {row.debian}; kinds that do: {', '.join(sorted(row.machine))}")
    full = Complete(
        name, kind, row, hypervisor, emulator=_emulator(guest, row, where) if where and hypervisor == "qemu" else None,
        memory=_number(guest, "memory", 256, 16), vcpus=_number(guest, "vcpus", 1, 1), cpu=row.cpu.get(kind) if guest.cpu is None else guest.cpu,
        kernel=_path(guest, "kernel"), ramdisk=_path(guest, "ramdisk"), disk=_path(guest, "disk"), bridge=guest.bridge or None)
    _check_boot(full)
    mac = _mac(guest)
    if mac is not None and not guest.bridge:
        raise GuestError(f"guest {name}: a MAC address without a bridge; name the bridge")
    return dataclasses.replace(full, mac=mac, cmdline=_cmdline(guest, full))


def _mac(guest: Description) -> str | None:
    try:
        return None if guest.mac is None else normalise_mac(guest.mac)
    except ValueError as error:
        raise GuestError(f"guest {guest.name}: mac: {error}") from None


def _check_boot(full: Complete) -> None:
    """GuestError if it has nothing to boot from, or a disk that its hypervisor does not take."""
    name, kind, row = full.name, full.kind, full.arch
    if full.ramdisk and not full.kernel:
        raise GuestError(f"guest {name}: a ramdisk without a kernel boots nothing; give the kernel too")
    if not full.kernel and (kind in ("pvh", "pv") or not row.firmware or not full.disk):
        raise GuestError(f"guest {name}: kind {kind} of {row.debian} has no firmware to boot from{'' if full.disk else ' and no disk'}; give a kernel")
    if full.hypervisor == "xen" and full.disk and is_overlay(full.disk):
        raise GuestError(f"guest {name}: disk {full.disk} is a qcow2 one, and Xen takes raw ones. Convert it: qemu-img convert -O raw")


def _cmdline(guest: Description, full: Complete) -> str | None:
    if not full.kernel or guest.cmdline is not None:
        return guest.cmdline
    words = [f"root={guest.root_device or full.arch.root[full.hypervisor]} ro"] if full.disk else []
    return " ".join([*words, f"console={full.arch.console[full.hypervisor]}", *([guest.append] if guest.append else [])])
