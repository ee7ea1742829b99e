# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A hypervisor is lost: is it, and which guests go where? Signs of life, seen from another host, and decisions over them."""

from __future__ import annotations

import dataclasses
import errno
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ansible_collections.our.cloud.plugins.module_utils._common.bounded import bounded
from ansible_collections.our.cloud.plugins.module_utils._common.errors import CloudError
from ansible_collections.our.cloud.plugins.module_utils._guest import lease
from ansible_collections.our.cloud.plugins.module_utils._guest.guests import Guest
from ansible_collections.our.cloud.plugins.module_utils._guest.placement import OVERHEAD, is_others, open_again, places
from ansible_collections.our.cloud.plugins.module_utils._guest.told import Hypervisor

STORE_TIME = 30  # s that the store may take to answer
# s for which a host must have been silent: an NFS server keeps the locks of a dead one, which QEMU asks for, for 90 s
QUIET = 100
# A host that refuses is one that answers.
ANSWERS = (errno.ECONNREFUSED, errno.ECONNRESET)


@dataclasses.dataclass(frozen=True)
class Held:
    """A lease of a store, as lease.holders tells it."""

    name: str  # the guest
    host: str
    disks: tuple[str, ...] = ()  # their paths

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Held:
        """From an element of lease_info's `leases`."""
        return cls(told["name"], told["host"], tuple(told["disks"]))


@dataclasses.dataclass(frozen=True)
class Look:
    """What one hypervisor sees of another."""

    signs: tuple[str, ...]  # sentences: what shows that it lives
    renewed: bool | None  # whether its heartbeat in the store goes on; None: it has never had one
    leases: tuple[Held, ...]  # all of the store

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Look:
        """From what the module lease_info returned. KeyError: it is no look, and must not count as one that saw nothing."""
        return cls(tuple(told["signs"]), told["renewed"], tuple(map(Held.of, told["leases"])))


@dataclasses.dataclass(frozen=True)
class Rescue:
    """Which guests of a lost host go where."""

    here: dict[str, list[dict[str, Any]]]  # by hypervisor: the parameters of the module vm, guest by guest
    lines: list[str] = dataclasses.field(default_factory=list)  # sentences: what will happen
    refused: list[str] = dataclasses.field(default_factory=list)  # sentences: what cannot be done


# --- what another host sees -------------------------------------------------

def answers_ping(address: str) -> bool:
    """Whether it does; where there is no program for it, it does not."""
    program = shutil.which("ping")
    return bool(program) and subprocess.run([program, "-c", "3", "-i", "0.3", "-W", "2", address], capture_output=True, check=False).returncode == 0


def answers_tcp(address: str, port: int, timeout: float = 5) -> bool:
    """Whether something answers there, be it that nothing listens."""
    try:
        socket.create_connection((address, port), timeout=timeout).close()
    except OSError as error:
        return error.errno in ANSWERS
    return True


def signs(address: str, ports: Iterable[int], ping: Callable = answers_ping, tcp: Callable = answers_tcp) -> list[str]:
    """What shows that the host at this address lives."""
    found = [f"{address} answers ping"] if ping(address) else []
    return found + [f"{address} answers at port {port}" for port in ports if tcp(address, port)]


def silence(root: str, host: str) -> float:
    """Seconds since the host's last heartbeat, by the clock of the store's server."""
    with lease.Ledger(root) as ledger:
        return os.stat(ledger.temp).st_mtime - os.stat(os.path.join(root, lease.FOLDER, lease.NODES, host)).st_mtime


def renewed(root: str, host: str, seconds: float, quiet: float, pause: Callable = time.sleep) -> bool | None:
    """Whether the host's heartbeat in the store goes on, watched for some seconds, and until it has been away for `quiet` seconds.
    None: it has never had one."""
    first = lease.heartbeats(root).get(host)
    if first is None:
        return None
    end = time.monotonic() + max(seconds, quiet - silence(root, host))
    while time.monotonic() < end:
        pause(1)
        now = lease.heartbeats(root).get(host)
        if now and (now.get("count"), now.get("boot")) != (first.get("count"), first.get("boot")):
            return True
    return False


def look(root: str, host: str, address: str, ports: Iterable[int], seconds: float, quiet: float = QUIET) -> dict[str, Any]:
    """Everything that this machine sees of another: `signs` (sentences), `renewed` (see there), `leases` (see lease.holders; all of the store)."""
    def ask() -> dict[str, Any]:
        if not lease.is_store(root):
            raise CloudError(os.uname().nodename, f"store {root}", "it is not mounted here", "Run the image_store playbook")
        return {"renewed": renewed(root, host, seconds, quiet), "leases": lease.holders(root)}

    found = signs(address, ports) if address else []
    told = bounded(ask, max(seconds, quiet) + STORE_TIME, f"store {root}", "Is its server up? Without it nobody can tell what runs where")
    return {"signs": found, **told}


# --- decisions --------------------------------------------------------------

def life(host: str, looks: Mapping[str, Look], ssh: bool, fenced: bool) -> str:
    """Why the host must not be taken for lost; empty if it may. looks: {host that looked: what it saw}; ssh: whether it answers Ansible."""
    if not looks:
        return f"No other hypervisor that has the store could look at {host}, so nobody knows whether it lives. Bring one up"
    beats = [other for other, told in sorted(looks.items()) if told.renewed]
    if beats:
        return (f"{host} lives: it renews its heartbeat in the store (seen by {', '.join(beats)}). Move its guests with our.cloud.migrate, "
                "or switch it off and run this again")
    if fenced:
        return ""
    alive = [f"{host} answers ssh"] if ssh else []
    for other, told in sorted(looks.items()):
        alive += [f"{sign} (seen by {other})" for sign in told.signs]
    if alive:
        return (f"{host} may live, though its heartbeat in the store has stopped: {'; '.join(alive)}. Switch it off at its power supply, and run this again; "
                "or, if it is certain that nothing of it writes to the store any more, with -e fenced=true")
    if all(told.renewed is None for told in looks.values()):
        return (f"{host} has never shown a heartbeat in the store, so its silence proves nothing. Switch it off at its power supply, "
                "and run this again with -e fenced=true")
    return ""


def plan(host: str, guests: list[Guest], hosts: dict[str, Hypervisor], families: dict[str, str], leases: Sequence[Held]) -> Rescue:
    """Which guests of a lost host go where. hosts: {hypervisor that answered: what it told}; families: of all; leases: of the store."""
    result = Rescue({name: [] for name in hosts})
    free = {name: info.memory.free for name, info in hosts.items() if info.drained is None}
    held = {row.name: row for row in leases}
    lost = [guest for guest in guests if _is_lost(guest, host, families.get(host), hosts, held)]
    # the largest first, so that the small ones fill what is left
    for guest in sorted(lost, key=lambda guest: (-guest.memory, guest.name)):
        needs = guest.memory + OVERHEAD[guest.family]
        fit = sorted((name for name in free if families.get(name) == guest.family and free[name] >= needs),
                     key=lambda name: (name not in places(guest.name, hosts), name != guest.host, -free[name], name))
        if not fit:
            most = max((free[name] for name in free if families.get(name) == guest.family), default=None)
            closed = sorted(name for name in hosts if name not in free and families.get(name) == guest.family)
            opens = f" {closed[0]} is drained: {open_again(closed[0])}." if closed else ""
            result.refused.append(f"{guest.name} needs {needs} MiB and " + (
                f"no hypervisor of its kind has more than {most} MiB free. Stop another guest, or give this one less memory" if most is not None else
                f"no other hypervisor of its kind ({guest.family}) {'is open' if closed else 'answers'}") + "." + opens)
            continue
        free[fit[0]] -= needs
        result.here[fit[0]].append(guest.told())
        result.lines.append(f"{guest.name} ({guest.memory} MiB) starts on {fit[0]}.")
    names = {guest.name for guest in guests}
    for row in leases:
        if row.host == host and row.name not in names:
            result.lines.append(f"{row.name} ran on {host} and is not in the inventory: its lease is broken, and it starts nowhere.")
    return result


def _is_lost(guest: Guest, host: str, family: str | None, hosts: dict[str, Hypervisor], held: dict[str, Held]) -> bool:
    """Whether this guest is to be started elsewhere because the host is lost. Without a lease it runs nowhere: it was stopped when the host
    was lost, or an earlier rescue broke off; as long as the host is silent, guests.yml leaves it to this one."""
    if guest.state != "running" or guest.family != family:
        return False
    if guest.name in held:
        return held[guest.name].host == host
    return not any(copy.active or is_others(copy) for copy in places(guest.name, hosts).values())
