# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the prechecks decide over: facts of the guest, of this host and of the target."""

from __future__ import annotations

import glob
import os
import stat
import xml.etree.ElementTree as ET

from ansible_collections.our.cloud.plugins.module_utils._common.bounded import bounded
from ansible_collections.our.cloud.plugins.module_utils._common.errors import CloudError
from ansible_collections.our.cloud.plugins.module_utils._guest import domain, domain_facts
from ansible_collections.our.cloud.plugins.module_utils._hypervisor import hypervisor, remote_files
from ansible_collections.our.cloud.plugins.module_utils._site.store import MARKER, PATIENCE, store_of


def state_files(disk: str) -> list[dict]:
    """The saved states of guests that lie beside a disk: [{"path", "size" in bytes, "saved" as seconds since 1970}], the oldest first."""
    found = []
    for path in glob.glob(glob.escape(disk) + ".*.state"):
        try:
            seen = os.lstat(path)
        except FileNotFoundError:
            continue
        found.append({"path": path, "size": seen.st_size if stat.S_ISREG(seen.st_mode) else 0, "saved": int(seen.st_mtime)})
    return sorted(found, key=lambda one: (one["saved"], one["path"]))


def in_store(guest: dict) -> dict:
    """{"stores": {path: its store's root or None}, "markers": {root: its marker}, "states": [see state_files], "room": MiB beside its disk or None}."""
    files = [path for disk in guest["disks"] for path in (disk["path"], *disk["backing"])] + [guest["kernel"], guest["ramdisk"]]
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
    return {"stores": stores, "markers": markers, "states": state_files(disk) if disk else [], "room": room}


def state_disk(guest: dict) -> str | None:
    """The disk beside which the guest's state is saved; None if it has none."""
    return next((item["path"] for item in guest["disks"] if item["path"] and not item["readonly"]), None)


def snapshots(dom) -> list[str]:
    """The names of its snapshots; Xen's driver has none."""
    try:
        return dom.snapshotListNames()
    except hypervisor.libvirt.libvirtError as error:
        if error.get_error_code() == hypervisor.libvirt.VIR_ERR_NO_SUPPORT:
            return []
        raise


def machine_problem(target, root: ET.Element, target_name: str) -> str | None:
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


def cpu_problem(source, target, root: ET.Element, target_name: str) -> str | None:
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


def of_target(source, target, live: ET.Element, guest: dict, markers: dict, target_name: str) -> dict:
    """The target, as far as this guest needs it."""
    there = {other.name(): {"active": hypervisor.active(other), "persistent": bool(other.isPersistent()), "uuid": other.UUIDString()}
             for other in target.listAllDomains()}
    return {
        "family": hypervisor.family(target),
        "host": target.getHostname(),
        "guests": there,
        "memory": hypervisor.memory(target),
        "bridges": {nic["bridge"]: remote_files.has_bridge(target, nic["bridge"]) for nic in guest["interfaces"] if nic["bridge"]},
        "markers": {root: remote_files.read_file(target, root, MARKER) for root in markers},
        "machine_problem": machine_problem(target, live, target_name),
        "cpu_problem": cpu_problem(source, target, live, target_name),
    }


def gather(source, dom, params: dict) -> tuple[dict, object]:
    """What the prechecks decide over; opens the target. Returns the facts and the connection (or None)."""
    live = hypervisor.live_xml(dom)
    guest = domain_facts.facts(live)
    guest.update(state=hypervisor.state(dom), active=hypervisor.active(dom), persistent=bool(dom.isPersistent()), snapshots=snapshots(dom))
    stored = bounded(lambda: in_store(guest), PATIENCE, f"the store of guest {params['name']}",
                     "Is its server up? Guests that wait for it go on when it is back", source.getHostname())
    facts = {
        "name": params["name"], "target": params["target"], "mode": params["mode"], "options": params,
        "family": hypervisor.family(source), "guest": guest, **stored, "target_error": None, "target_facts": None,
    }
    try:
        target = hypervisor.open_target(facts["family"], params["target"], params["port"])
    except CloudError as error:
        facts["target_error"] = str(error)
        return facts, None
    facts["target_facts"] = of_target(source, target, live, guest, stored["markers"], params["target"])
    return facts, target
