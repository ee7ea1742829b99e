# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Domain XML: from a guest's description (see description), and compared as libvirt normalises it.

A description (the `guests` of the inventory) says little; libvirt adds much to
what it is given (UUID, controllers, PCI addresses, the exact machine version).
So a description is laid over the XML that libvirt holds: what it says is set,
all else stays. Nothing to do is when that changes nothing.
"""

from __future__ import annotations

import copy
import os
import re
import xml.etree.ElementTree as ET

from ansible_collections.our.cloud.plugins.module_utils._guest.description import CPU_MODES, Complete, is_overlay
from ansible_collections.our.cloud.plugins.module_utils._site.address_plan import guest_port

OS_TYPE = {"pvh": "xenpvh", "pv": "linux", "hvm": "hvm", "kvm": "hvm", "qemu": "hvm"}
HIDDEN = "********"
# Whose a domain is, it says in its metadata. Ours: <our:cloud xmlns:our="urn:our-cloud:1" owner="guests" name="NAME in the inventory"/>
OURS = "our.cloud"
NAMESPACE = "urn:our-cloud:1"
MARK = f"{{{NAMESPACE}}}cloud"
# Other managers, by the beginning of their namespaces. One that is not known here is told by its whole namespace.
MANAGERS = (("http://openstack.org/xmlns/libvirt/nova/", "nova"), ("http://ovirt.org/", "oVirt"))
# These say what is in a domain, not whose it is.
DESCRIPTIONS = ("http://libosinfo.org/",)
ET.register_namespace("our", NAMESPACE)
# beside QEMU's own log of the guest
CONSOLE_LOG = "/var/log/libvirt/qemu/%s-console.log"


def is_same_machine(full: Complete, current: ET.Element) -> bool:
    """Whether a definition is of the same kind and architecture, so that its emulator goes on to be right."""
    system = current.find("os/type")
    return kind_of(current) == full.kind and system is not None and system.get("arch") == full.arch.libvirt


def _set(parent: ET.Element, path: str, text: object = None, **attributes: object) -> ET.Element:
    """Make parent/path exist, with this text and these attributes; what else it has stays."""
    for tag in path.split("/"):
        child = parent.find(tag)
        if child is None:
            child = ET.SubElement(parent, tag)
        parent = child
    if text is not None:
        parent.text = str(text)
    for key, value in attributes.items():
        parent.set(key, str(value))
    return parent


def _drop(parent: ET.Element, tag: str) -> None:
    for child in parent.findall(tag):
        parent.remove(child)


def _attach(device: ET.Element, full: Complete) -> None:
    """Where a virtio device is; libvirt chooses the place on a PCI bus."""
    address = device.find("address")
    if full.arch.virtio == "mmio":
        address = _set(device, "address")
        address.attrib.clear()
        address.set("type", "virtio-mmio")
    elif address is not None and address.get("type") == "virtio-mmio":
        device.remove(address)


def owner(root: ET.Element) -> str | None:
    """Whose a domain is by its metadata: OURS, another manager's name, or None if it says nothing."""
    found = [item.tag[1:].partition("}")[0] for item in root.findall("metadata/*") if item.tag.startswith("{")]
    if NAMESPACE in found:
        return OURS
    for namespace in found:
        if not namespace.startswith(DESCRIPTIONS):
            return next((name for beginning, name in MANAGERS if namespace.startswith(beginning)), namespace)
    return None


def _own(root: ET.Element, full: Complete) -> None:
    """Say in the metadata that it is ours, and which guest of the inventory it is."""
    metadata = _set(root, "metadata")
    mark = metadata.find(MARK)
    if mark is None:
        mark = ET.SubElement(metadata, MARK)
    mark.set("owner", "guests")
    mark.set("name", full.name)


def skeleton(full: Complete, uuid: str | None = None) -> ET.Element:
    """What a new domain has beside the description's own words."""
    root = ET.Element("domain")
    ET.SubElement(root, "name").text = full.name
    if uuid:
        ET.SubElement(root, "uuid").text = uuid
    _own(root, full)
    _set(root, "memory"), _set(root, "currentMemory"), _set(root, "vcpu"), _set(root, "os/type")
    if full.kind in ("hvm", "kvm", "qemu") and full.arch.firmware:
        # ACPI carries the request to power off
        _set(root, "features/acpi")
        if full.kind == "hvm":
            _set(root, "features/apic"), _set(root, "features/pae")
        else:
            # QEMU's main loop ticks for the HPET though the guest has a better clock: on a slow node nothing else gets done.
            _set(root, "clock", offset="utc"), _set(root, "clock/timer", name="hpet", present="no")
    _set(root, "on_poweroff", "destroy"), _set(root, "on_reboot", "restart"), _set(root, "on_crash", "destroy")
    devices = ET.SubElement(root, "devices")
    if full.emulator:
        ET.SubElement(devices, "emulator").text = full.emulator
    if full.hypervisor == "xen":
        console = ET.SubElement(devices, "console", type="pty")
        ET.SubElement(console, "target", type="xen" if full.kind != "hvm" else "serial", port="0")
    else:
        ET.SubElement(devices, "controller", type="usb", model="none")
        console = ET.SubElement(devices, "console", type="pty")
        ET.SubElement(console, "target", type="serial", port="0")
        # What a guest says that nobody watches. libvirt's virtlogd bounds its size; Xen's has a switch of xenconsoled, and no bound.
        ET.SubElement(console, "log", file=CONSOLE_LOG % full.name, append="on")
        rng = ET.SubElement(devices, "rng", model="virtio")
        ET.SubElement(rng, "backend", model="random").text = "/dev/urandom"
        _attach(rng, full)
    return root


def _backing(disk: ET.Element, path: str | None) -> None:
    """What a qcow2 disk is based on, None if on nothing. Without these words libvirt believes the disk's header, which root of a guest's disk writes."""
    wanted = ET.Element("backingStore")
    if path:
        wanted.set("type", "file")
        ET.SubElement(wanted, "format", type="raw"), ET.SubElement(wanted, "source", file=path), ET.SubElement(wanted, "backingStore")
    place = list(disk).index(disk.find("source")) + 1
    there = disk.find("backingStore")
    if there is None:
        disk.insert(place, wanted)
    elif not same(there, wanted):
        disk[list(disk).index(there)] = wanted


def _disk(devices: ET.Element, full: Complete) -> None:
    target = os.path.basename(full.arch.root[full.hypervisor])
    if full.kind == "hvm":
        target = "hda"
    disk = next((item for item in devices.findall("disk") if item.find("target") is not None and item.find("target").get("dev") == target), None)
    if disk is None:
        disk = ET.Element("disk")
        devices.insert(0 if devices.find("emulator") is None else 1, disk)
    disk.set("type", "file")
    disk.set("device", "disk")
    if full.hypervisor == "xen":
        # The kernel's loop device (blkback): no QEMU per guest. xen.direct_io makes it safe on NFS.
        _set(disk, "driver", name="phy", type="raw")
        _set(disk, "source", file=full.disk)
        _set(disk, "target", dev=target, bus="ide" if full.kind == "hvm" else "xen")
    else:
        # cache=none: nothing of the guest's data stays in this host's memory when the guest leaves
        _set(disk, "driver", name="qemu", type="qcow2" if is_overlay(full.disk) else "raw", cache="none", io="native", discard="unmap")
        source = _set(disk, "source", file=full.disk)
        if source.find("seclabel") is None:
            # Whoever ends a copy here must not take the file from the one that runs elsewhere. The lease's hook gives it to QEMU's user.
            ET.SubElement(source, "seclabel", model="dac", relabel="no")
        if is_overlay(full.disk):
            _backing(disk, full.backing)
        _set(disk, "target", dev=target, bus="virtio")
        _attach(disk, full)


def _nic(devices: ET.Element, full: Complete) -> None:
    nics = devices.findall("interface")
    nic = next((item for item in nics if full.mac and item.find("mac") is not None and item.find("mac").get("address") == full.mac), None)
    if nic is None:
        nic = nics[0] if nics else ET.SubElement(devices, "interface")
    nic.set("type", "bridge")
    if full.mac:
        _set(nic, "mac", address=full.mac)
    _set(nic, "source", bridge=full.bridge)
    if full.mac:
        _set(nic, "target", dev=guest_port(full.mac))
    if full.hypervisor == "qemu":
        _set(nic, "model", type="virtio")
        _attach(nic, full)


def machine_matches(machine: str | None, alias: str) -> bool:
    """libvirt turns an alias into the version of the day (q35 -> pc-q35-10.0) and the guest keeps that one."""
    return machine is not None and (machine == alias or re.match(rf"^(pc-)?{re.escape(alias)}-\d", machine) is not None)


def overlay(full: Complete, current: ET.Element | None = None) -> ET.Element:
    """The domain XML of a completed description, laid over the one that libvirt holds if there is one.
    A guest of another architecture is another machine: only its name and UUID stay."""
    row, kind = full.arch, full.kind
    here = current.find("os/type") if current is not None else None
    if here is None or here.get("arch", row.libvirt) != row.libvirt:
        root = skeleton(full, current.findtext("uuid") if current is not None else None)
    else:
        root = copy.deepcopy(current)
    root.set("type", "xen" if full.hypervisor == "xen" else kind)
    _own(root, full)
    for tag in ("memory", "currentMemory"):
        _set(root, tag, full.memory * 1024, unit="KiB")
    _set(root, "vcpu", full.vcpus)
    os_type = _set(root, "os/type", OS_TYPE[kind], arch=row.libvirt)
    if not machine_matches(os_type.get("machine"), row.machine[kind]):
        os_type.set("machine", row.machine[kind])
    system = root.find("os")
    for tag, value in (("kernel", full.kernel), ("initrd", full.ramdisk), ("cmdline", full.kernel and full.cmdline)):
        if value:
            _set(system, tag, value)
        else:
            _drop(system, tag)
    if full.cpu:
        cpu = root.find("cpu")
        if full.cpu in CPU_MODES:
            if cpu is None or cpu.get("mode") != full.cpu:
                _drop(root, "cpu")
                _set(root, "cpu", mode=full.cpu)
        elif cpu is None or cpu.findtext("model") != full.cpu:
            _drop(root, "cpu")
            _set(root, "cpu", mode="custom", match="exact")
            _set(root, "cpu/model", full.cpu, fallback="forbid")
    devices = _set(root, "devices")
    if full.disk:
        _disk(devices, full)
    if full.bridge:
        _nic(devices, full)
    return root


def parse(text: str) -> ET.Element:
    """libvirt's domain XML; ValueError says that it is not one."""
    try:
        root = ET.fromstring(text)
    except ET.ParseError as error:
        raise ValueError(f"not XML: {error}") from None
    if root.tag != "domain":
        raise ValueError(f"not a domain but a <{root.tag}>")
    return root


def to_text(root: ET.Element) -> str:
    """As people read it: two spaces a level, single lines for leaves, as virsh prints."""
    root = copy.deepcopy(root)
    for item in root.iter():
        if len(item) and not (item.text or "").strip():
            item.text = None
        item.tail = None
    ET.indent(root, "  ")
    return ET.tostring(root, encoding="unicode") + "\n"


def shown(root: ET.Element) -> str:
    """As people may read it: what results and diffs have lands in logs, and passwords of graphics do not belong there."""
    root = copy.deepcopy(root)
    for item in root.iter():
        if item.get("passwd") is not None:
            item.set("passwd", HIDDEN)
    return to_text(root)


def same(one: ET.Element, other: ET.Element) -> bool:
    """Whether two domain XMLs say the same, whatever their white space and order of attributes."""
    return _canonical(one) == _canonical(other)


def runs_alike(one: ET.Element, other: ET.Element) -> bool:
    """Whether they differ, if at all, in nothing that a running guest would have to be restarted for."""
    return same(*(_without_metadata(root) for root in (one, other)))


def _without_metadata(root: ET.Element) -> ET.Element:
    root = copy.deepcopy(root)
    _drop(root, "metadata")
    return root


def _canonical(item: ET.Element) -> tuple:
    return (item.tag, (item.text or "").strip(), sorted(item.attrib.items()), [_canonical(child) for child in item])


def kind_of(root: ET.Element) -> str:
    """The guest kind of a domain XML."""
    os_type = root.findtext("os/type", "")
    if root.get("type") == "xen":
        return {"xenpvh": "pvh", "hvm": "hvm"}.get(os_type, "pv")
    return "kvm" if root.get("type") == "kvm" else "qemu"
