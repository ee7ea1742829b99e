# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is measured while a guest moves."""

from __future__ import annotations

import re
import subprocess
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.our.cloud.plugins.module_utils._hypervisor import hypervisor, xen

# 49152 to 49216, of which libvirt's drivers choose one for a stream of their own
DATA_PORTS = r"49(?:15[2-9]|1[6-9]\d|20\d|21[0-6])"


@dataclass(frozen=True)
class Amounts:
    """How far a live move has come."""

    percent: int
    transferred: int  # bytes
    remaining: int  # bytes
    rate: int  # bytes per second


@dataclass(frozen=True)
class Figures:
    """What a move cost."""

    downtime_ms: int | None = 0  # ms for which the guest stood still; None: nobody knows
    transferred: int | None = 0  # bytes of memory or state; None: nobody knows
    transferred_from: str | None = None  # whose count that is: hypervisor, tcp, state file; None: nothing was counted
    total_ms: int | None = None  # ms from the beginning to the end; None: it has not come to its end

    def told(self) -> dict[str, int | str | None]:
        """As vm_migrate returns it."""
        values: dict[str, int | str | None] = {"downtime_ms": self.downtime_ms, "transferred": self.transferred}
        for key, value in (("transferred_from", self.transferred_from), ("total_ms", self.total_ms)):
            if value is not None:
                values[key] = value
        return values


class Arrival:
    """When the guest went on at the target, by this host's clock."""

    def __init__(self, target: Any, uuid: str) -> None:
        self.at: float | None = None
        self.target, self.uuid = target, uuid
        self.callback = target.domainEventRegisterAny(None, hypervisor.libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, self._event, None)

    def _event(self, dummy_conn, dom, event, detail, dummy_opaque) -> None:
        if event == hypervisor.libvirt.VIR_DOMAIN_EVENT_RESUMED and dom.UUIDString() == self.uuid:
            self.at = time.monotonic()

    def stop(self) -> None:
        """Listen no more; what was heard is kept."""
        try:
            self.target.domainEventDeregisterAny(self.callback)
        except hypervisor.libvirt.libvirtError:
            # the target's connection is gone, and the callback with it
            pass


class Standstill:
    """When a Xen guest was suspended here, by this host's clock."""

    def __init__(self, domid: int) -> None:
        self.at: float | None = None
        self.domid, self.control = domid, xen.control()
        self.done = threading.Event()
        self.thread = threading.Thread(target=self._look, daemon=True)
        self.thread.start()

    def _look(self) -> None:
        pause = 0.02
        while self.at is None and not self.done.wait(pause):
            asked = time.monotonic()
            if xen.standing(self.control, self.domid):
                self.at = time.monotonic()
            # to look must not cost what is measured, and to wake up for it costs more than the look
            pause = max(0.02, min(0.5, 200 * (time.monotonic() - asked)))

    def stop(self) -> None:
        """Look no more."""
        self.done.set()
        self.thread.join()


class WireWatch:
    """Bytes of the connection that carries a move, as the kernel counts what the other side acknowledged.

    In a tunnelled move they include TLS and libvirt's framing. `ss --events` tells the final count when the connection is closed.
    ports is a regular expression.
    """

    def __init__(self, address: str, ports: str) -> None:
        self.peer = self.pattern(address, ports)
        self.closed, self.last = 0, 0
        self.process = subprocess.Popen(["ss", "-E", "-tinH"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    @staticmethod
    def pattern(address: str, ports: str) -> re.Pattern:
        """The peer as ss prints it."""
        return re.compile(rf"\s\[?(?:::ffff:)?{re.escape(address)}\]?:(?:{ports})\b")

    @staticmethod
    def records(lines: Iterable[str], peer: re.Pattern) -> Iterator[int]:
        """The counts of the connections to the peer in what ss prints."""
        ours = False
        for line in lines:
            if line[:1] not in (" ", "\t"):
                ours = bool(peer.search(line))
            if ours:
                match = re.search(r"bytes_acked:(\d+)", line)
                if match:
                    yield int(match.group(1))

    def _read(self) -> None:
        for count in self.records(self.process.stdout, self.peer):
            self.closed = max(self.closed, count)

    def now(self) -> int:
        """So far."""
        done = subprocess.run(["ss", "-tinH"], capture_output=True, text=True, check=False)
        self.last = max([self.last, *self.records(done.stdout.splitlines(), self.peer)])
        return self.last

    def stop(self) -> None:
        """Listen no more."""
        self.process.terminate()
        self.thread.join(5)
        self.process.wait()

    def total(self) -> int:
        """At the end."""
        return max(self.closed, self.last)


def progress(stats: Mapping[str, Any]) -> Amounts | None:
    """Out of libvirt's job statistics; None while there is nothing to tell."""
    total, remaining = stats.get("data_total", 0), stats.get("data_remaining", 0)
    if not total:
        return None
    return Amounts(max(0, min(100, int(100 * (total - remaining) / total))), stats.get("data_processed", 0), remaining, stats.get("memory_bps", 0) or 0)


def xen_progress(sent: int, memory_mib: int, elapsed: float) -> Amounts:
    """The same out of the bytes sent: an estimate, since pages that change are sent again. Never 100 before the end."""
    total = memory_mib << 20
    return Amounts(max(0, min(99, int(100 * sent / total))) if total else 0, sent, max(0, total - sent), int(sent / elapsed) if elapsed > 0 else 0)
