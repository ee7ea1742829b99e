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
import subprocess
import time
from collections.abc import Callable, Iterable

from ansible_collections.our.cloud.plugins.module_utils._cloud import schema
from ansible_collections.our.cloud.plugins.module_utils._common.bounded import bounded
from ansible_collections.our.cloud.plugins.module_utils._common.errors import CloudError
from ansible_collections.our.cloud.plugins.module_utils._site.store import MARKER, PATIENCE, is_store

DROP_IN = "our-cloud.conf"
CERTIFICATE, AUTHORITY = "/etc/our-cloud/host.pem", "/etc/our-cloud/ca.pem"
SYSTEM_ID = "/etc/openvswitch/system-id.conf"
KEYS = ("Id", "Type", "LoadState", "ActiveState", "SubState", "Result", "NRestarts")


def run(*argv: str) -> str:
    """What a program says; empty if it is not there or fails."""
    try:
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=30, env={**os.environ, "LC_ALL": "C"})
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""


def read(path: str, root: str = "/") -> str:
    """A small file's text; empty if it is not there."""
    try:
        with open(os.path.join(root, path.lstrip("/")), encoding="utf-8", errors="replace") as stream:
            return stream.read()
    except OSError:
        return ""


# --- what it has ------------------------------------------------------------

def memory(meminfo: str) -> dict[str, int]:
    """MiB of memory and swap, of /proc/meminfo."""
    found = {key: int(value) // 1024 for key, value in re.findall(r"^(\w+): +(\d+) kB$", meminfo, re.MULTILINE)}
    return {"memory": found.get("MemTotal", 0), "swap": found.get("SwapTotal", 0)}


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


def store(path: str) -> dict:
    """The marker of the store (`store`, empty if there is none), and its room."""
    def ask() -> dict:
        if not path or not is_store(path):
            return {"store": "", "store_free": None, "store_total": None}
        room = shutil.disk_usage(path)
        return {"store": read(os.path.join(path, MARKER)).strip() or "without a name", "store_free": room.free >> 20, "store_total": room.total >> 20}

    return bounded(ask, PATIENCE, f"store {path}", "Is its server up?")


def facts(names: Iterable[str], store_path: str, root: str = "/") -> dict:
    """What the preflight judges. names: to be resolved, besides the machine's own."""
    hostname = socket.gethostname()
    return {
        **memory(read("proc/meminfo", root)), **store(store_path), "time": time.time(), "hostname": hostname, "macs": macs(root),
        "virtualization": virtualization(read("proc/cpuinfo", root), os.path.exists(os.path.join(root, "dev/kvm"))),
        "unresolved": unresolved([hostname, *names]), "system_id": read(SYSTEM_ID, root).strip(),
    }


# --- the state of its services ----------------------------------------------

def units_of(root: str = "/") -> list[str]:
    """The units that have a drop-in of the cloud's."""
    return sorted(os.path.basename(os.path.dirname(path))[:-len(".d")] for path in glob.glob(os.path.join(root, f"etc/systemd/system/*.d/{DROP_IN}")))


def units(shown: str) -> list[dict]:
    """Of `systemctl show`: name, state (as people say it), runs, restarts."""
    found = []
    for block in shown.strip().split("\n\n"):
        one = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        if not one.get("Id"):
            continue
        # a daemon that has exited does not run, though its unit is "active"
        running = ("running", "listening", *(("exited",) if one.get("Type") == "oneshot" else ()))
        runs = one.get("ActiveState") == "active" and one.get("SubState") in running
        state = f"{one.get('ActiveState')} ({one.get('SubState')})" if one.get("LoadState") == "loaded" else one.get("LoadState", "")
        if one.get("Result", "success") != "success":
            state += f", {one['Result']}"
        found.append({"name": one["Id"][:-len(".service")] if one["Id"].endswith(".service") else one["Id"], "runs": runs, "state": state,
                      "restarts": int(one.get("NRestarts") or 0)})
    return found


def certificate(told: str, verified: bool, now: datetime.datetime) -> dict | None:
    """Of `openssl x509 -enddate -ext subjectAltName`: days left (whole ones), addresses and names, whether the CA has signed it. None: there is none."""
    end = re.search(r"^notAfter=(.+)$", told, re.MULTILINE)
    if not end:
        return None
    date = datetime.datetime.strptime(end.group(1).strip(), "%b %d %H:%M:%S %Y %Z").replace(tzinfo=datetime.timezone.utc)
    return {"days": (date - now).days, "names": re.findall(r"(?:DNS|IP Address):([^,\s]+)", told), "signed": verified}


def tables(names: Iterable[str]) -> list[dict]:
    """What the databases of these services lack of what the installed package wants, each with its name and a sentence (empty: nothing)."""
    found = []
    for name in names:
        try:
            lacks = ", ".join(schema.look(name).lacks)
        except (schema.NotThere, CloudError) as error:
            lacks = str(error)
        found.append({"name": name, "lacks": lacks})
    return found


def health(schemas: Iterable[str] = ()) -> dict:
    """What the status judges: `units`, `certificate` and the `schemas` that were asked for."""
    ours = units_of()
    shown = run("systemctl", "show", "--property", ",".join(KEYS), *ours) if ours else ""
    told = run("openssl", "x509", "-in", CERTIFICATE, "-noout", "-enddate", "-ext", "subjectAltName")
    verified = bool(told and run("openssl", "verify", "-CAfile", AUTHORITY, CERTIFICATE))
    return {"units": units(shown), "certificate": certificate(told, verified, datetime.datetime.now(datetime.timezone.utc)), "schemas": tables(schemas)}
