# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What became of an instance's move, by what both nodes tell: why it failed, or whether it has arrived."""

from __future__ import annotations

import re
from collections.abc import Mapping

from ansible_collections.our.cloud.plugins.module_utils._cloud import instance_plan
from ansible_collections.our.cloud.plugins.module_utils._cloud.compute_log import Log
from ansible_collections.our.cloud.plugins.module_utils._guest.placement import Planned
from ansible_collections.our.cloud.plugins.module_utils._guest.told import Hypervisor

# What nova-compute writes, and what to do about it
REMEDIES = (
    (r"Unsafe migration", "On {source} the directory of one of its disks is not shared for libvirt: `findmnt --target DIRECTORY` must show NFS. Where it "
     "is a local one that the other nodes mount, name it in shared_filesystems of /etc/libvirt/qemu.conf and `systemctl restart libvirtd`, which passes over "
     "directories that are not there when it starts"),
    (r"certificate|TLS handshake|x509|[Aa]uthentication failed", "The role relocation makes the certificates for moves: run our.cloud.hypervisors"),
    (r"unable to connect to server|Connection refused|No route to host|timed out", "{source} does not reach libvirt or QEMU on {target}: there "
     "`systemctl status libvirtd` and `nft list table inet relocation`; the ports are in docs/relocation.md"),
    (r"CPU", "The nodes' processors differ: set nc_cpu_model to a model that all of them have, and run our.cloud.cloud"),
    (r"\blease\b|[Hh]ook script", "Another node holds its lease: our.cloud.list shows who runs what, docs/leases.md what to do"),
    (r"\block\b", "Another process has its disk open: our.cloud.list shows what runs where"),
    (r"[Nn]o space left|[Cc]annot allocate memory|[Nn]ot enough memory", "Make room on {target}"),
    (r"[Vv]if|[Pp]ort.*[Bb]ind", "On {target}: `systemctl status ovn-controller` and `ovs-vsctl show`"),
)


def failure(logs: Mapping[str, Log], plan: Planned, message: str) -> str:
    """The text of a move that failed: what the module said, what the nodes' logs say, and the remedy. logs: by node."""
    parts = [message.rstrip(".")]
    lines: list[str] = []
    for node, log in logs.items():
        lines += log.lines
        if log.lines:
            parts.append(f"nova-compute on {node} wrote: {' | '.join(line.rstrip('.') for line in log.lines)}")
        elif log.unread:
            parts.append(f"On {node} {log.unread}")
    for pattern, remedy in REMEDIES:
        if any(re.search(pattern, line) for line in lines):
            parts.append(remedy.format(source=plan.source, target=plan.target))
            break
    return ". ".join(parts)


def astray(hosts: Mapping[str, Hypervisor], plan: Planned) -> str:
    """What is wrong after a move; empty if the instance runs on the target alone. hosts: by node, what it told."""
    instance, source, target = plan.instance, plan.source, plan.target
    unasked = [host for host in (source, target) if host not in hosts]
    if unasked:
        return f"nova says that {instance.name} moved to {target}, and {' and '.join(unasked)} could not be asked."
    there = instance_plan.copies(instance, hosts)
    if target not in there or not there[target].active:
        return f"nova says that {instance.name} moved to {target}, and libvirt there does not run it. `openstack server reboot --hard {instance.id}`"
    if source in there:
        return (f"{instance.name} runs on {target}, and {source} still has a domain of it ({there[source].state}). nova-compute removes it at its "
                f"next start: `systemctl restart nova-compute` on {source}")
    return ""
