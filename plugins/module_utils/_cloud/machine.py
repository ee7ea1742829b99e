# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a machine of the cloud reports of itself: what it has before anything is made, and the state of its services afterwards."""

from __future__ import annotations

import datetime
import glob
import os
import re
import shutil
import socket
import time
from collections.abc import Callable, Iterable

from ansible_collections.our.cloud.plugins.module_utils._cloud import schema
from ansible_collections.our.cloud.plugins.module_utils._cloud.machine_facts import Certificate, Facts, Health, Store, Tables, Unit
from ansible_collections.our.cloud.plugins.module_utils._common.bounded import bounded
from ansible_collections.our.cloud.plugins.module_utils._common.errors import CloudError
from ansible_collections.our.cloud.plugins.module_utils._site import systemd
from ansible_collections.our.cloud.plugins.module_utils._site.machine import read
from ansible_collections.our.cloud.plugins.module_utils._site.store import MARKER, PATIENCE, is_store
from ansible_collections.our.cloud.plugins.module_utils._site.systemd import run

DROP_IN = "our-cloud.conf"
CERTIFICATE, AUTHORITY = "/etc/our-cloud/host.pem", "/etc/our-cloud/ca.pem"
SYSTEM_ID = "/etc/openvswitch/system-id.conf"


# --- what it has ------------------------------------------------------------

def memory(meminfo: str) -> tuple[int, int]:
    """MiB of memory and of swap, of /proc/meminfo."""
    found = {key: int(value) // 1024 for key, value in re.findall(r"^(\w+): +(\d+) kB$", meminfo, re.MULTILINE)}
    return found.get("MemTotal", 0), found.get("SwapTotal", 0)


def virtualization(cpuinfo: str, device: bool) -> bool:
    """Whether the CPU offers it: on x86 by its flags, on ARM by Linux's device."""
    return bool(re.search(r"\b(vmx|svm)\b", cpuinfo)) or ("CPU implementer" in cpuinfo and device)


def macs(root: str = "/") -> list[str]:
    """The MAC addresses of all cards and bridges."""
    found = {read(path, "/").strip().lower() for path in glob.glob(os.path.join(root, "sys/class/net/*/address"))}
    return sorted(found - {"", "00:00:00:00:00:00"})


def unresolved(names: Iterable[str], resolve: Callable = socket.getaddrinfo) -> list[str]:
    """Those that lead to no address."""
    found = []
    for name in dict.fromkeys(names):
        try:
            resolve(name, None)
        except OSError:
            found.append(name)
    return found


def store(path: str) -> Store:
    """The store at this path."""
    def ask() -> Store:
        if not path or not is_store(path):
            return Store()
        room = shutil.disk_usage(path)
        return Store(read(os.path.join(path, MARKER)).strip() or "without a name", room.free >> 20, room.total >> 20)

    return bounded(ask, PATIENCE, f"store {path}", "Is its server up?")


def facts(names: Iterable[str], store_path: str, root: str = "/") -> Facts:
    """What the preflight judges. names: to be resolved, besides the machine's own."""
    hostname = socket.gethostname()
    size, swap = memory(read("proc/meminfo", root))
    return Facts(size, swap, virtualization(read("proc/cpuinfo", root), os.path.exists(os.path.join(root, "dev/kvm"))), tuple(macs(root)), hostname,
                 tuple(unresolved([hostname, *names])), time.time(), read(SYSTEM_ID, root).strip(), store(store_path))


# --- the state of its services ----------------------------------------------

def units_of(root: str = "/") -> list[str]:
    """The units that have a drop-in of the cloud's."""
    return sorted(os.path.basename(os.path.dirname(path))[:-len(".d")] for path in glob.glob(os.path.join(root, f"etc/systemd/system/*.d/{DROP_IN}")))


def units(names: list[str]) -> tuple[Unit, ...]:
    """These units, by their whole names."""
    return tuple(Unit(unit.name, unit.runs, unit.state, unit.restarts) for unit in systemd.look(names))


def certificate(told: str, verified: bool, now: datetime.datetime) -> Certificate | None:
    """Of `openssl x509 -enddate -ext subjectAltName`, and whether the CA has signed it. None: there is none."""
    end = re.search(r"^notAfter=(.+)$", told, re.MULTILINE)
    if not end:
        return None
    date = datetime.datetime.strptime(end.group(1).strip(), "%b %d %H:%M:%S %Y %Z").replace(tzinfo=datetime.timezone.utc)
    return Certificate((date - now).days, tuple(re.findall(r"(?:DNS|IP Address):([^,\s]+)", told)), verified)


def tables(names: Iterable[str]) -> tuple[Tables, ...]:
    """What the databases of these services lack of what the installed package wants."""
    found = []
    for name in names:
        try:
            lacks = ", ".join(schema.look(name).lacks)
        except (schema.NotThere, CloudError) as error:
            lacks = str(error)
        found.append(Tables(name, lacks))
    return tuple(found)


def health(schemas: Iterable[str] = ()) -> Health:
    """What the status judges. schemas: services whose tables are looked at."""
    told = run("openssl", "x509", "-in", CERTIFICATE, "-noout", "-enddate", "-ext", "subjectAltName")
    verified = bool(told and run("openssl", "verify", "-CAfile", AUTHORITY, CERTIFICATE))
    return Health(units(units_of()), certificate(told, verified, datetime.datetime.now(datetime.timezone.utc)), tables(schemas))
