# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What nova-compute wrote of an instance on a node, which nova's API tells nobody, and what to do about it."""

from __future__ import annotations

import os
import re
import time
from typing import Any

PATH = "/var/log/nova/nova-compute.log"
# of the end of the log
SIZE = 4 << 20
LINES = 3
# Machines' clocks may be so far apart, seconds
APART = 10
ENTRY = re.compile(r"(?P<time>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)\.\d+ \d+ (?P<level>[A-Z]+) \S+ (?:\[(?P<request>(?!instance:)[^\]]*)\] )?"
                   r"(?:\[instance: (?P<instance>[^\]]*)\] )?(?P<text>.*)")
REQUEST = re.compile(r"req-[0-9a-f-]{36}")
# of an exception's way through the code
TRACE = re.compile(r"\s|Traceback|[~^]")

REMEDIES = (
    (r"Unsafe migration", "On {source} the directory of one of its disks is not shared for libvirt: `findmnt --target DIRECTORY` must show NFS. Where it "
     "is a local one that the other nodes mount, name it in shared_filesystems of /etc/libvirt/qemu.conf and `systemctl restart libvirtd`, which passes over "
     "directories that are not there when it starts"),
    (r"certificate|TLS handshake|x509|[Aa]uthentication failed", "Certificates for moves are the role relocation's: run our.cloud.hypervisors"),
    (r"unable to connect to server|Connection refused|No route to host|timed out", "{source} does not reach libvirt or QEMU on {target}: there "
     "`systemctl status libvirtd` and `nft list table inet relocation`; the ports are in docs/relocation.md"),
    (r"CPU", "The nodes' processors differ: set nc_cpu_model to a model that all of them have, and run our.cloud.cloud"),
    (r"lease|hook script", "Another node has it in its lease: our.cloud.list shows who runs what, docs/leases.md what to do"),
    (r"lock", "Somebody else has its disk open: our.cloud.list shows what runs where"),
    (r"[Nn]o space left|[Cc]annot allocate memory|[Nn]ot enough memory", "Make room on {target}"),
    (r"[Vv]if|[Pp]ort.*[Bb]ind", "On {target}: `systemctl status ovn-controller` and `ovs-vsctl show`"),
)


def told(text: str, instance: str, since: float) -> list[str]:
    """The first errors of an instance that a log has since then, each once, without the ways of exceptions through the code."""
    entries = [found for found in map(ENTRY.match, text.splitlines())
               if found and time.mktime(time.strptime(found["time"], "%Y-%m-%d %H:%M:%S")) >= since - APART]
    requests = {request for each in entries if each["instance"] == instance for request in REQUEST.findall(each["request"] or "")}
    found: list[str] = []
    for each in entries:
        ours = each["instance"] == instance or instance in each["text"] or requests & set(REQUEST.findall(each["request"] or ""))
        text = once(each["text"])
        if each["level"] in ("ERROR", "CRITICAL") and ours and text and not TRACE.match(each["text"]) and not any(text in line for line in found):
            found.append(text)
    return found[:LINES]


def once(text: str) -> str:
    """A message without the exception's text at its end, where that says the same again."""
    head, mark, tail = text.partition(": libvirt.libvirtError: ")
    return head if mark and tail in head else text.strip()


def look(instance: str, since: float, path: str = PATH) -> dict[str, Any]:
    """{lines, unread}: what the log says, or why it could not be read."""
    try:
        with open(path, "rb") as stream:
            stream.seek(max(0, os.fstat(stream.fileno()).st_size - SIZE))
            return {"lines": told(stream.read().decode("utf-8", "replace"), instance, since), "unread": ""}
    except OSError as error:
        return {"lines": [], "unread": f"{path} could not be read: {error.strerror}"}


def failure(message: str, said: dict[str, dict[str, Any]], source: str, target: str) -> str:
    """The text of a move that failed: what the module said, what the nodes' logs say, and the remedy. said: by node, what `look` returned there."""
    parts, lines = [message.rstrip(".")], []
    for node, each in said.items():
        lines += each.get("lines") or []
        if each.get("lines"):
            parts.append(f"nova-compute on {node} wrote: {' | '.join(line.rstrip('.') for line in each['lines'])}")
        elif each.get("unread"):
            parts.append(f"On {node} {each['unread']}")
    for pattern, remedy in REMEDIES:
        if any(re.search(pattern, line) for line in lines):
            parts.append(remedy.format(source=source, target=target))
            break
    return ". ".join(parts)
