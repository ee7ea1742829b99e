# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The three ways to move a guest: live, suspended and offline, by a Mover. What is true afterwards, aftermath finds out."""

from __future__ import annotations

import dataclasses
import os
import threading
import time

from ansible_collections.our.cloud.plugins.module_utils._common.errors import CloudError
from ansible_collections.our.cloud.plugins.module_utils._guest import lease
from ansible_collections.our.cloud.plugins.module_utils._hypervisor import hypervisor
from ansible_collections.our.cloud.plugins.module_utils._move import facts
from ansible_collections.our.cloud.plugins.module_utils._move.begun import Begun, Interrupted
from ansible_collections.our.cloud.plugins.module_utils._move.watch import Arrival, Figures


@dataclasses.dataclass
class Call:
    """libvirt's call that moves a guest live, in a thread of its own."""

    error: str = ""  # what it raised
    stopped: str | None = None  # why it was ended; None: it was not


class Move:
    """Carries one move out."""

    def __init__(self, begun: Begun) -> None:
        self.begun, self.trip, self.mover, self.job, self.token = begun, begun.trip, begun.mover, begun.job, begun.token
        self.cancelled = threading.Event()
        self.result = Figures()

    def run(self) -> None:
        """Move it. Raises Interrupted; then look with `settle`."""
        began = time.monotonic()
        self.mover.prepare()
        self.trip.arrival = Arrival(self.trip.target, self.trip.uuid)
        {"live": self.live, "suspend": self.suspend, "offline": self.offline}[self.trip.options.mode]()
        self.result = dataclasses.replace(self.result, total_ms=int((time.monotonic() - began) * 1000))

    def live(self) -> None:
        """It goes on while it is moved."""
        trip, call = self.trip, Call()
        if self.mover.clear_way():
            self.begun.was_defined_there = False
        uri = hypervisor.target_uri(self.mover.family, trip.target_name, trip.options.port)

        def run() -> None:
            try:
                trip.dom.migrateToURI3(uri, self.mover.parameters(), self.mover.flags())
            except (hypervisor.libvirt.libvirtError, CloudError) as error:
                call.error = str(error)

        self.mover.watch()
        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        try:
            self.follow(thread, call)
        finally:
            self.mover.unwatch()
        if call.error:
            if call.stopped is None and not trip.target.isAlive():
                call.stopped = f"the connection to {trip.target_name} was lost, its libvirtd ended or the host went down ({call.error})"
            raise Interrupted(call.error if call.stopped is None else call.stopped)
        self.result = self.mover.figures()

    def follow(self, thread: threading.Thread, call: Call) -> None:
        """Report progress until the move ends; end it when its time is over or the target is gone."""
        began, pause = time.monotonic(), 0.5
        while thread.is_alive():
            thread.join(pause)
            asked = time.monotonic()
            now = self.mover.look(asked - began)
            # a slow machine is asked less often: the move needs its processor
            pause = max(0.5, min(5, 50 * (time.monotonic() - asked)))
            if now:
                self.job.say(phase="moving", **vars(now))
            reason = self.mover.step(asked - began)
            if not reason and self.cancelled.is_set():
                reason = "it was called off, or this host goes down"
            if not reason and asked - began > self.trip.options.timeout:
                reason = (f"it took longer than {self.trip.options.timeout} s (timeout) and was stopped. "
                          "Give it more time, a higher max_downtime, or post_copy")
            if reason and thread.is_alive():
                if call.stopped is None or self.mover.family == "xen":
                    self.mover.abort()
                if call.stopped is None:
                    call.stopped = reason

    def promise(self) -> None:
        """Before the guest stops here: from now on nobody but the target can start it. Where nodes hold no leases, nothing to do."""
        if not self.begun.was_active or not os.path.exists(lease.CONFIG):
            return
        guest = lease.guest_of(self.trip.dom.XMLDesc(0))
        try:
            self.begun.ask_store(lambda: lease.promise(lease.Node.here(), guest, self.trip.target_name))
        except (lease.LeaseError, OSError) as error:
            raise Interrupted(f"{error}") from None
        self.begun.promised = guest

    def suspend(self) -> None:
        """Save into the store, go on from there on the target. The saved state is kept until the guest runs again."""
        trip = self.trip
        self.promise()
        path = f"{facts.state_disk(trip.guest)}.{trip.uuid}.{self.token}.state"
        self.job.say(phase="defining", percent=0)
        hypervisor.define(trip.target, trip.definition)
        self.job.say(phase="saving", percent=5)
        began = time.monotonic()
        try:
            # a name that is there already, whatever it leads to, is not written to
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600))
        except OSError as error:
            raise Interrupted(f"its state cannot be saved to {path}: {error.strerror}") from None
        self.begun.state_file = path
        try:
            trip.dom.save(path)
        except hypervisor.libvirt.libvirtError as error:
            if trip.source.isAlive():
                # what is there is no whole state
                self.begun.forget_state()
            raise Interrupted(f"it could not be saved: {error}") from None
        self.begun.saved = True
        self.result = Figures(transferred=os.path.getsize(path), transferred_from="state file")
        self.job.say(phase="restoring", percent=50)
        try:
            trip.target.restore(path)
        except hypervisor.libvirt.libvirtError as error:
            raise Interrupted(f"it could not go on from its saved state on {trip.target_name}: {error}") from None
        self.result = dataclasses.replace(self.result, downtime_ms=int((time.monotonic() - began) * 1000))

    def offline(self) -> None:
        """Stop it here, define it there, start it there if it ran."""
        trip, began = self.trip, time.monotonic()
        self.promise()
        if self.begun.was_active:
            self.job.say(phase="stopping", percent=10)
            hypervisor.stop(trip.dom, trip.options.timeout, trip.options.force)
        self.job.say(phase="defining", percent=50)
        there = hypervisor.define(trip.target, trip.definition)
        if self.begun.was_active:
            self.job.say(phase="starting", percent=75)
            try:
                hypervisor.start(there)
            except CloudError as error:
                raise Interrupted(str(error)) from None
            self.result = dataclasses.replace(self.result, downtime_ms=int((time.monotonic() - began) * 1000))
