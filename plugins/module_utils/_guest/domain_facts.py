# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What people and prechecks ask of a domain's XML: its files, its network, its size."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import dataclass

from ansible_collections.our.cloud.plugins.module_utils._guest import domain


@dataclass(frozen=True)
class Disk:
    """A disk of a domain. None: the XML does not say it."""

    path: str | None = None  # the file on the host; of an empty drive there is none
    device: str = "disk"  # disk, cdrom, floppy, lun
    target: str | None = None  # what the guest calls it, such as vda
    type: str | None = None  # what the path is: file, block, network ...
    driver: str | None = None  # what serves it: qemu, phy, tap2 ...
    format: str | None = None  # raw, qcow2
    cache: str | None = None  # QEMU's cache mode, such as none
    readonly: bool = False
    shareable: bool = False  # whether several guests may write on it at once
    backing: tuple[str, ...] = ()  # the files below it, the nearest first


@dataclass(frozen=True)
class Card:
    """A network card of a domain. None: the XML does not say it."""

    mac: str | None = None
    bridge: str | None = None  # the host's bridge that it is on
    type: str | None = None  # bridge, network, hostdev ...


@dataclass(frozen=True)
class Domain:
    """A domain by its XML. None: the XML does not say it."""

    name: str
    uuid: str | None = None
    owner: str | None = None  # see domain.owner
    kind: str = ""  # pvh, pv, hvm, kvm, qemu
    arch: str | None = None  # by libvirt's name, such as x86_64
    machine: str | None = None  # the machine type, such as pc-q35-10.0
    memory: int = 0  # what it may use at most, MiB
    vcpus: int = 1
    kernel: str | None = None  # the path of what it boots directly
    ramdisk: str | None = None  # likewise
    cmdline: str | None = None  # the kernel's command line
    disks: tuple[Disk, ...] = ()
    interfaces: tuple[Card, ...] = ()
    hostdevs: int = 0  # how many things tie it to this host: devices, network functions, directories, a TPM
    console_log: str | None = None  # the host's file with what it has said on its console


def memory_mib(root: ET.Element) -> int:
    """What the guest may use at most, MiB."""
    memory = root.find("memory")
    # without a unit, and with any other, KiB
    factor = {"b": 1, "bytes": 1, "MiB": 1 << 20, "M": 1 << 20, "GiB": 1 << 30, "G": 1 << 30}
    return int(int(memory.text) * factor.get(memory.get("unit"), 1024)) >> 20


def _attribute(item: ET.Element | None, path: str, name: str) -> str | None:
    found = item.find(path) if item is not None else None
    return found.get(name) if found is not None else None


def _disk(item: ET.Element) -> Disk:
    return Disk(
        path=next((path for path in (_attribute(item, "source", name) for name in ("file", "dev", "name")) if path), None),
        device=item.get("device", "disk"),
        target=_attribute(item, "target", "dev"),
        type=item.get("type"),
        driver=_attribute(item, "driver", "name"),
        format=_attribute(item, "driver", "type"),
        cache=_attribute(item, "driver", "cache"),
        readonly=item.find("readonly") is not None,
        shareable=item.find("shareable") is not None,
        backing=tuple(below.get("file", "") for below in item.findall(".//backingStore/source") if below.get("file")),
    )


def facts(root: ET.Element) -> Domain:
    """What people ask of a domain: its files, network and size."""
    return Domain(
        name=root.findtext("name"),
        uuid=root.findtext("uuid"),
        owner=domain.owner(root),
        kind=domain.kind_of(root),
        arch=_attribute(root, "os/type", "arch"),
        machine=_attribute(root, "os/type", "machine"),
        memory=memory_mib(root),
        vcpus=int(root.findtext("vcpu", "1")),
        kernel=root.findtext("os/kernel"),
        ramdisk=root.findtext("os/initrd"),
        cmdline=root.findtext("os/cmdline"),
        disks=tuple(_disk(item) for item in root.findall("devices/disk")),
        interfaces=tuple(Card(_attribute(item, "mac", "address"), _attribute(item, "source", "bridge"), item.get("type"))
                         for item in root.findall("devices/interface")),
        hostdevs=sum(len(root.findall(f"devices/{what}")) for what in ("hostdev", "interface[@type='hostdev']", "filesystem", "tpm")),
        console_log=_attribute(root, "devices/console/log", "file"),
    )
