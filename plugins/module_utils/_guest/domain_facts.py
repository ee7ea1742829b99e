# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What people and prechecks ask of a domain's XML: its files, its network, its size."""

from __future__ import annotations

import xml.etree.ElementTree as ET

from ansible_collections.our.cloud.plugins.module_utils._guest import domain


def memory_mib(root: ET.Element) -> int:
    """What the guest may use at most, MiB."""
    memory = root.find("memory")
    # without a unit, and with any other, KiB
    factor = {"b": 1, "bytes": 1, "MiB": 1 << 20, "M": 1 << 20, "GiB": 1 << 30, "G": 1 << 30}
    return int(int(memory.text) * factor.get(memory.get("unit"), 1024)) >> 20


def facts(root: ET.Element) -> dict:
    """What people ask of a domain: its files, network and size."""
    disks = []
    for item in root.findall("devices/disk"):
        source, driver = item.find("source"), item.find("driver")
        attributes = source.attrib if source is not None else {}
        disks.append({
            "device": item.get("device", "disk"),
            "target": item.find("target").get("dev") if item.find("target") is not None else None,
            "path": attributes.get("file") or attributes.get("dev") or attributes.get("name"),
            "type": item.get("type"),
            "driver": driver.get("name") if driver is not None else None,
            "format": driver.get("type") if driver is not None else None,
            "cache": driver.get("cache") if driver is not None else None,
            "readonly": item.find("readonly") is not None,
            "shareable": item.find("shareable") is not None,
            "backing": [below.get("file") for below in item.findall(".//backingStore/source") if below.get("file")],
        })
    nics = [{
        "mac": item.find("mac").get("address") if item.find("mac") is not None else None,
        "bridge": item.find("source").get("bridge") if item.find("source") is not None else None,
        "type": item.get("type"),
    } for item in root.findall("devices/interface")]
    log = root.find("devices/console/log")
    return {
        "name": root.findtext("name"),
        "uuid": root.findtext("uuid"),
        "owner": domain.owner(root),
        "kind": domain.kind_of(root),
        "arch": (root.find("os/type").get("arch") if root.find("os/type") is not None else None),
        "machine": (root.find("os/type").get("machine") if root.find("os/type") is not None else None),
        "memory": memory_mib(root),
        "vcpus": int(root.findtext("vcpu", "1")),
        "kernel": root.findtext("os/kernel"),
        "ramdisk": root.findtext("os/initrd"),
        "cmdline": root.findtext("os/cmdline"),
        "disks": disks,
        "interfaces": nics,
        # what ties it to this host: devices, network functions, directories, a TPM
        "hostdevs": sum(len(root.findall(f"devices/{what}")) for what in ("hostdev", "interface[@type='hostdev']", "filesystem", "tpm")),
        "console_log": log.get("file") if log is not None else None,
    }
