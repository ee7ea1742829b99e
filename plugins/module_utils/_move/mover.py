# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a move asks of each hypervisor: Mover is the interface, with Xen's and KVM's way of each thing."""

from __future__ import annotations

import contextlib
import glob
import os
import signal
import subprocess
import time
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from typing import Any

from ansible_collections.our.cloud.plugins.module_utils._common.errors import CloudError
from ansible_collections.our.cloud.plugins.module_utils._hypervisor import hypervisor, xen
from ansible_collections.our.cloud.plugins.module_utils._move.facts import Facts
from ansible_collections.our.cloud.plugins.module_utils._move.watch import (
    DATA_PORTS, Amounts, Arrival, Figures, Standstill, WireWatch, progress, xen_progress)

# libvirt's virDomainPausedReason
PAUSED_MIGRATION, PAUSED_STARTING_UP, PAUSED_POSTCOPY, PAUSED_POSTCOPY_FAILED = 2, 11, 12, 13
# Seconds after which a Xen target that does not answer counts as gone
LOST = 5
PROC = "/proc"


@dataclass
class Trip:
    """What moves, and between whom. The connections are opened anew where they break."""

    source: Any
    target: Any
    dom: Any
    facts: Facts

    def __post_init__(self) -> None:
        self.options, self.guest = self.facts.options, self.facts.guest
        self.name, self.host, self.target_name = self.options.name, self.source.getHostname(), self.options.target
        self.uuid, self.domid = self.dom.UUIDString(), self.dom.ID()
        self.definition: ET.Element = hypervisor.persistent_xml(self.dom)
        self.arrival: Arrival | None = None

    @property
    def there(self) -> Any:
        """The domain at the target, or None."""
        return hypervisor.find(self.target, self.name)


class Mover:
    """How one hypervisor moves a guest."""

    family = ""
    # Whether a live move takes along what runs, and forgets what was defined for the next start
    forgets_pending = False

    def __init__(self, trip: Trip) -> None:
        self.trip = trip

    # a live move

    def prepare(self) -> None:
        """Before a move of any mode."""

    def clear_way(self) -> bool:
        """Before a live move: whether the target's old definition of the guest was taken away."""
        return False

    def flags(self) -> int:
        """For migrateToURI3, as `parameters`."""
        libvirt = hypervisor.libvirt
        return libvirt.VIR_MIGRATE_LIVE | libvirt.VIR_MIGRATE_PEER2PEER | libvirt.VIR_MIGRATE_PERSIST_DEST | libvirt.VIR_MIGRATE_UNDEFINE_SOURCE

    def parameters(self) -> dict[str, Any]:
        """Where the stream goes, and how fast, by libvirt's names."""
        return {hypervisor.libvirt.VIR_MIGRATE_PARAM_BANDWIDTH: self.trip.options.bandwidth} if self.trip.options.bandwidth else {}

    def watch(self) -> None:
        """Begin to measure."""

    def unwatch(self) -> None:
        """End it."""

    def look(self, elapsed: float) -> Amounts | None:
        """The progress so far; None while there is nothing to tell."""
        raise NotImplementedError

    def step(self, elapsed: float) -> str | None:
        """What is to be done while it moves. Returns why the move has to be given up, or None."""
        return None

    def abort(self) -> None:
        """Give up the move under way."""
        raise NotImplementedError

    def figures(self) -> Figures:
        """Of a live move that has ended."""
        raise NotImplementedError

    # afterwards

    def quiet(self) -> bool:
        """See to it that the source sends no more; whether it is so."""
        raise NotImplementedError

    def state_here(self, dom: Any) -> str:
        """Of the source's domain, which is active: its state, or `standing`, or `half` (see settle.HERE)."""
        return hypervisor.state(dom)

    def has_run(self, there: Any) -> bool:
        """Whether the target's copy, which is active, is whole and has gone on."""
        raise NotImplementedError

    def wake(self, dom: Any) -> None:
        """Let the source's copy, which stands still, go on."""
        dom.resume()


class KvmMover(Mover):
    """QEMU moves the memory, libvirt on both sides tells it to."""

    family = "qemu"

    def __init__(self, trip: Trip) -> None:
        super().__init__(trip)
        self.iteration, self.post_copied = 0, False

    def flags(self) -> int:
        libvirt, options = hypervisor.libvirt, self.trip.options
        flags = super().flags() | libvirt.VIR_MIGRATE_ABORT_ON_ERROR
        if options.encrypt:
            flags |= libvirt.VIR_MIGRATE_TLS
        if options.auto_converge:
            flags |= libvirt.VIR_MIGRATE_AUTO_CONVERGE
        if options.post_copy:
            flags |= libvirt.VIR_MIGRATE_POSTCOPY
        return flags

    def parameters(self) -> dict[str, Any]:
        # by the name that it has in the inventory, not by what the target thinks it is called
        parameters = {**super().parameters(), hypervisor.libvirt.VIR_MIGRATE_PARAM_URI: "tcp://" + self.trip.target_name}
        if self.trip.options.encrypt:
            parameters[hypervisor.libvirt.VIR_MIGRATE_PARAM_TLS_DESTINATION] = hypervisor.qemu_name(self.trip.target_name)
        return parameters

    def watch(self) -> None:
        if self.trip.options.max_downtime:
            self.trip.dom.migrateSetMaxDowntime(self.trip.options.max_downtime)

    def look(self, elapsed: float) -> Amounts | None:
        try:
            stats = self.trip.dom.jobStats()
        except hypervisor.libvirt.libvirtError:
            # it has just gone
            return None
        self.iteration = stats.get("memory_iteration", 0)
        return progress(stats)

    def step(self, elapsed: float) -> str | None:
        if self.trip.options.post_copy and not self.post_copied and self.iteration > 1:
            try:
                self.trip.dom.migrateStartPostCopy(0)
                self.post_copied = True
            except hypervisor.libvirt.libvirtError:
                # it has just come to its end; or else the next look tries again
                pass
        return None

    def abort(self) -> None:
        try:
            self.trip.dom.abortJob()
        except hypervisor.libvirt.libvirtError:
            # it came to its end by itself in this moment, or cannot be ended any more; the result tells
            pass

    def figures(self) -> Figures:
        there = self.trip.there
        stats = there.jobStats(hypervisor.libvirt.VIR_DOMAIN_JOB_STATS_COMPLETED) if there is not None else {}
        return Figures(stats.get("downtime"), stats.get("data_processed"), "hypervisor")

    def quiet(self) -> bool:
        dom = hypervisor.find(self.trip.source, self.trip.name)
        if dom is None or not hypervisor.active(dom):
            return True
        if dom.jobInfo()[0] == hypervisor.libvirt.VIR_DOMAIN_JOB_NONE or self.state_here(dom) == "half":
            return True
        self.trip.dom = dom
        self.abort()
        return False

    def state_here(self, dom: Any) -> str:
        number, reason = dom.state()
        word = hypervisor.STATES.get(number, "nostate")
        return "half" if word == "paused" and reason in (PAUSED_POSTCOPY, PAUSED_POSTCOPY_FAILED) else word

    def has_run(self, there: Any) -> bool:
        number, reason = there.state()
        if hypervisor.STATES.get(number) != "paused":
            return True
        # 0: a libvirtd that was started anew does not know why; then only a copy that has used time may have run
        return reason not in (0, PAUSED_MIGRATION, PAUSED_STARTING_UP) or (reason == 0 and there.info()[4] > 0)


class XenMover(Mover):
    """libxl moves the memory; what its driver of libvirt does not tell or do, Xen's own tools do."""

    family = "xen"
    forgets_pending = True

    def __init__(self, trip: Trip) -> None:
        super().__init__(trip)
        self.wire: WireWatch | None = None
        self.standstill: Standstill | None = None
        self.lost: float | None = None

    def prepare(self) -> None:
        for disk in self.trip.guest.disks:
            if disk.path and not disk.readonly:
                xen.direct_io(disk.path)

    def clear_way(self) -> bool:
        there = self.trip.there
        if there is None:
            return False
        # An old definition, which would be replaced; beside it, an arrival that breaks off could not be told.
        hypervisor.undefine(there)
        return True

    def flags(self) -> int:
        # Its driver cannot encrypt its own stream: the way to do it is through libvirt's TLS connection.
        return super().flags() | (hypervisor.libvirt.VIR_MIGRATE_TUNNELLED if self.trip.options.encrypt else 0)

    def parameters(self) -> dict[str, Any]:
        if self.trip.options.encrypt:
            return super().parameters()
        # The target listens where this leads from its own point of view, and its own name leads to its loopback.
        return {**super().parameters(),
                hypervisor.libvirt.VIR_MIGRATE_PARAM_URI: "tcp://" + hypervisor.reach(self.trip.target_name, self.trip.options.port)}

    def watch(self) -> None:
        # the stream goes to libvirtd's port, or to one that the target's driver chooses
        ports = str(self.trip.options.port) if self.trip.options.encrypt else DATA_PORTS
        self.wire = WireWatch(hypervisor.reach(self.trip.target_name, self.trip.options.port), ports)
        self.standstill = Standstill(self.trip.domid)

    def unwatch(self) -> None:
        for watch in (self.wire, self.standstill):
            if watch is not None:
                watch.stop()

    def look(self, elapsed: float) -> Amounts | None:
        return xen_progress(self.wire.now(), self.trip.guest.memory, elapsed)

    def step(self, elapsed: float) -> str | None:
        # With the target gone nobody reads the pipe that Xen's saver writes into, and libvirt waits for it for ever.
        if self.lost is None and not self.trip.target.isAlive():
            self.lost = time.monotonic()
        if self.lost is not None and time.monotonic() - self.lost > LOST:
            return f"the connection to {self.trip.target_name} was lost"
        return None

    def abort(self) -> None:
        end_saver(self.trip.domid)

    def figures(self) -> Figures:
        began, ended = self.standstill.at, self.trip.arrival.at if self.trip.arrival else None
        return Figures(None if began is None or ended is None else int((ended - began) * 1000), self.wire.total(), "tcp")

    def quiet(self) -> bool:
        # It outlives its libvirtd, and what it still sends could make the guest go on there later.
        end_saver(self.trip.domid)
        return True

    def state_here(self, dom: Any) -> str:
        word = hypervisor.state(dom)
        if word == "suspended" or (word in hypervisor.RUNNING and xen.standing(xen.control(), dom.ID())):
            return "standing"
        return word

    def has_run(self, there: Any) -> bool:
        # one that waits to be filled has used no time
        return there.info()[4] > 0

    def wake(self, dom: Any) -> None:
        thing = f"guest {self.trip.name}"
        remedy = "Look at `xl list`; as a last resort restart it (our.cloud.vm with state stopped and force, then running)"
        if hypervisor.state(dom) == "suspended":
            # a libvirtd that was started anew has seen it so
            try:
                dom.pMWakeup(0)
            except hypervisor.libvirt.libvirtError as error:
                raise CloudError(self.trip.host, thing, f"it stands still after the failed move and libvirt says: {error}", remedy) from None
            return
        # libvirt believes that it runs, and would do nothing
        done = subprocess.run(["xl", "resume", self.trip.name], capture_output=True, text=True, check=False)
        if done.returncode:
            raise CloudError(self.trip.host, thing, f"it stands still after the failed move and `xl resume` says: {done.stderr.strip()}", remedy)


def mover(trip: Trip) -> Mover:
    """The one for this guest."""
    return {one.family: one for one in (XenMover, KvmMover)}[trip.facts.family](trip)


def end_saver(domid: int) -> None:
    """End Xen's process that saves this domain; libvirt then gives up the move."""
    for path in glob.glob(PROC + "/[0-9]*/cmdline"):
        try:
            with open(path, "rb") as stream:
                words = stream.read().split(b"\0")
        except OSError:
            continue
        if is_saver(words, domid):
            # one that has just ended by itself will do
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(path.split("/")[-2]), signal.SIGTERM)


def is_saver(words: list[bytes], domid: int) -> bool:
    """libxl-save-helper --save-domain FD FD DOMID ..."""
    return (len(words) > 4 and words[0].endswith(b"libxl-save-helper") and words[1] == b"--save-domain" and words[4] == str(domid).encode())
