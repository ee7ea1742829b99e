# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the prechecks decide over: facts of the guest, of this host and of the target."""

from __future__ import annotations

import glob
import os
import stat
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from typing import Any

from ansible_collections.our.cloud.plugins.module_utils._common.bounded import bounded
from ansible_collections.our.cloud.plugins.module_utils._common.errors import CloudError
from ansible_collections.our.cloud.plugins.module_utils._guest import domain, domain_facts
from ansible_collections.our.cloud.plugins.module_utils._guest.told import Copy, Memory
from ansible_collections.our.cloud.plugins.module_utils._hypervisor import hypervisor, remote_files
from ansible_collections.our.cloud.plugins.module_utils._move.options import Options
from ansible_collections.our.cloud.plugins.module_utils._site.store import MARKER, PATIENCE, store_of


@dataclass(frozen=True)
class SavedState:
    """A guest's saved state, a file beside its disk."""

    path: str
    size: int  # bytes
    saved: int  # seconds since 1970


@dataclass(frozen=True)
class Stored:
    """What the store tells of a guest's files."""

    stores: dict[str, str | None]  # by path of a file of the guest: its store's root, None: it is in none
    markers: dict[str, str]  # by root of a store: what its marker says
    states: tuple[SavedState, ...] = ()  # saved beside its disk, the oldest first
    room: int | None = None  # MiB beside its disk; None: it has none in a store


@dataclass(frozen=True)
class Other:
    """A domain at the target."""

    active: bool  # whether it has memory there
    persistent: bool  # whether it has a definition there
    uuid: str


@dataclass(frozen=True)
class Target:
    """The target, as far as the guest needs it."""

    family: str  # xen or qemu
    host: str  # its name by itself
    guests: dict[str, Other]  # by name
    memory: Memory
    bridges: dict[str, bool]  # by bridge that the guest needs: whether it is there
    markers: dict[str, str | None]  # by root of a store: what its marker there says, None: it is not mounted
    machine_problem: str | None = None  # why it cannot be the guest's machine
    cpu_problem: str | None = None  # why its CPU cannot carry on what runs in the guest


@dataclass(frozen=True)
class Awaited:
    """Another guest that is on its way to the target."""

    name: str
    memory: int  # MiB that it will still take there


@dataclass(frozen=True)
class Facts:
    """What the prechecks decide over."""

    options: Options
    family: str  # of this host: xen or qemu
    guest: Copy  # what runs; of its state: state, active, persistent
    snapshots: tuple[str, ...]  # their names
    stored: Stored
    target: Target | None = None  # None: it does not answer
    target_error: str | None = None  # why it does not
    arrivals: tuple[Awaited, ...] = ()  # those that came before this one


def state_files(disk: str) -> list[SavedState]:
    """The saved states of guests that lie beside a disk, the oldest first."""
    found = []
    for path in glob.glob(glob.escape(disk) + ".*.state"):
        try:
            seen = os.lstat(path)
        except FileNotFoundError:
            continue
        found.append(SavedState(path, seen.st_size if stat.S_ISREG(seen.st_mode) else 0, int(seen.st_mtime)))
    return sorted(found, key=lambda one: (one.saved, one.path))


def in_store(guest: domain_facts.Domain) -> Stored:
    """What the store tells of the guest's files."""
    files = [path for disk in guest.disks for path in (disk.path, *disk.backing)] + [guest.kernel, guest.ramdisk]
    stores = {path: store_of(path) for path in files if path}
    markers = {}
    for root in {root for root in stores.values() if root}:
        with open(os.path.join(root, MARKER), encoding="utf-8", errors="replace") as stream:
            markers[root] = stream.read()
    disk = state_disk(guest)
    room = None
    if disk is not None and stores[disk] is not None:
        free = os.statvfs(os.path.dirname(disk))
        room = free.f_bavail * free.f_frsize >> 20
    return Stored(stores, markers, tuple(state_files(disk)) if disk else (), room)


def state_disk(guest: domain_facts.Domain) -> str | None:
    """The disk beside which the guest's state is saved; None if it has none."""
    return next((item.path for item in guest.disks if item.path and not item.readonly), None)


def snapshots(dom: Any) -> list[str]:
    """The names of its snapshots; Xen's driver has none."""
    try:
        return dom.snapshotListNames()
    except hypervisor.libvirt.libvirtError as error:
        if error.get_error_code() == hypervisor.libvirt.VIR_ERR_NO_SUPPORT:
            return []
        raise


def machine_problem(target: Any, root: ET.Element, target_name: str) -> str | None:
    """Why the target cannot be the guest's machine; None if it can."""
    if hypervisor.family(target) == "xen":
        return None
    try:
        target.getDomainCapabilities(*_machine(root), 0)
    except hypervisor.libvirt.libvirtError as error:
        machine, arch = root.find("os/type").get("machine"), root.find("os/type").get("arch")
        return f"{target_name} does not have the guest's machine {machine} ({arch}): {str(error).rstrip('.')}"
    return None


def _machine(root: ET.Element) -> tuple:
    os_type = root.find("os/type")
    return (root.findtext("devices/emulator"), os_type.get("arch"), os_type.get("machine"), root.get("type"))


def cpu_problem(source: Any, target: Any, root: ET.Element, target_name: str) -> str | None:
    """Why the target's CPU cannot carry on what runs in the guest; None if it can."""
    libvirt = hypervisor.libvirt
    if hypervisor.family(source) == "xen":
        host = domain.ET.fromstring(source.getCapabilities()).find("host/cpu")
        if host is None:
            return None
        result = target.compareCPU(domain.ET.tostring(host, encoding="unicode"), 0)
        return f"the CPU of {target_name} lacks what the one of this host has" if result == libvirt.VIR_CPU_COMPARE_INCOMPATIBLE else None
    cpu = root.find("cpu")
    if cpu is None:
        return None
    mode = cpu.get("mode")
    if mode in ("host-passthrough", "maximum"):
        here, there = (domain.ET.fromstring(conn.getCapabilities()).find("host/cpu") for conn in (source, target))
        return None if _cpu_words(here) == _cpu_words(there) else f"the guest sees this host's own CPU ({mode}) and the one of {target_name} differs"
    if root.get("type") == "kvm":
        try:
            result = target.compareHypervisorCPU(*_machine(root), domain.ET.tostring(cpu, encoding="unicode"), 0)
            return (f"{target_name} cannot give the guest its CPU ({cpu.findtext('model')})"
                    if result == libvirt.VIR_CPU_COMPARE_INCOMPATIBLE else None)
        except libvirt.libvirtError as error:
            if error.get_error_code() != libvirt.VIR_ERR_NO_SUPPORT:
                return f"{target_name} cannot give the guest its CPU: {error}"
    model = cpu.findtext("model")
    try:
        capabilities = domain.ET.fromstring(target.getDomainCapabilities(*_machine(root), 0))
    except libvirt.libvirtError:
        # it has no such machine at all, which machine_problem tells
        return None
    if model and model not in [item.text for item in capabilities.findall("cpu/mode[@name='custom']/model") if item.get("usable") != "no"]:
        return f"{target_name} does not have the guest's CPU model {model}"
    return None


def _cpu_words(cpu: ET.Element | None) -> tuple | None:
    return (cpu.findtext("model"), sorted(item.get("name") for item in cpu.findall("feature"))) if cpu is not None else None


def of_target(source: Any, target: Any, live: ET.Element, guest: domain_facts.Domain, markers: dict[str, str], target_name: str) -> Target:
    """The target, as far as this guest needs it."""
    return Target(
        family=hypervisor.family(target),
        host=target.getHostname(),
        guests={other.name(): Other(hypervisor.active(other), bool(other.isPersistent()), other.UUIDString()) for other in target.listAllDomains()},
        memory=hypervisor.memory(target),
        bridges={nic.bridge: remote_files.has_bridge(target, nic.bridge) for nic in guest.interfaces if nic.bridge},
        markers={root: remote_files.read_file(target, root, MARKER) for root in markers},
        machine_problem=machine_problem(target, live, target_name),
        cpu_problem=cpu_problem(source, target, live, target_name),
    )


def gather(source: Any, dom: Any, options: Options) -> tuple[Facts, Any]:
    """What the prechecks decide over; opens the target. Returns the facts and the connection (or None)."""
    live = hypervisor.live_xml(dom)
    guest = Copy(**vars(domain_facts.facts(live)), state=hypervisor.state(dom), active=hypervisor.active(dom), persistent=bool(dom.isPersistent()))
    names = tuple(snapshots(dom))
    stored = bounded(lambda: in_store(guest), PATIENCE, f"the store of guest {options.name}",
                     "Is its server up? Guests that wait for it go on when it is back", source.getHostname())
    family = hypervisor.family(source)
    try:
        target = hypervisor.open_target(family, options.target, options.port)
    except CloudError as error:
        return Facts(options, family, guest, names, stored, target_error=str(error)), None
    return Facts(options, family, guest, names, stored, of_target(source, target, live, guest, stored.markers, options.target)), target
