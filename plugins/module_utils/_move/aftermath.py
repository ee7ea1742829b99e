# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""After a move: what is true on both sides, whatever the move itself said, and what makes the guest run in exactly one place."""

from __future__ import annotations

import os
import time
from typing import Any

from ansible_collections.our.cloud.plugins.module_utils._common.errors import CloudError
from ansible_collections.our.cloud.plugins.module_utils._guest import lease
from ansible_collections.our.cloud.plugins.module_utils._hypervisor import hypervisor
from ansible_collections.our.cloud.plugins.module_utils._move import settle
from ansible_collections.our.cloud.plugins.module_utils._move.begun import Begun, Interrupted

# libvirt's virDomainShutoffReason
SHUTOFF_SAVED = 5


class Aftermath:
    """Looks at both sides of a move and settles it."""

    def __init__(self, begun: Begun) -> None:
        self.begun, self.trip, self.mover = begun, begun.trip, begun.mover

    def finish(self) -> None:
        """After a move that says it worked: is it so, on both sides?"""
        here, there = self.state_here(), self.state_there()
        expected = ("stopped",) if not self.begun.was_active else ("running", "paused")
        if there not in expected or here not in ("gone", "stopped"):
            raise Interrupted(f"libvirt says that it was moved, but it is {there} on {self.trip.target_name} and {here} on {self.trip.host}")
        self.take_over()

    def reopen(self, timeout: float) -> None:
        """Connections to both sides that work, waiting for a libvirtd that comes back; None where there is none to be had."""
        trip, end = self.trip, time.monotonic() + timeout

        def source() -> bool:
            trip.source = again(trip.source, lambda: hypervisor.open_local(trip.options.uri))
            return trip.source is not None

        def target() -> bool:
            trip.target = again(trip.target, lambda: hypervisor.open_target(self.mover.family, trip.target_name, trip.options.port))
            return trip.target is not None

        hypervisor.wait(source, timeout, step=1)
        hypervisor.wait(target, max(0, end - time.monotonic()), step=1)

    def _find(self, conn: Any) -> Any:
        dom = hypervisor.find(conn, self.trip.name)
        return dom if dom is not None and dom.UUIDString() == self.trip.uuid else None

    def state_here(self) -> str:
        """One of settle.HERE."""
        if self.trip.source is None:
            return "silent"
        dom = self._find(self.trip.source)
        if dom is None:
            return "gone"
        return plain(self.mover.state_here(dom)) if hypervisor.active(dom) else "stopped"

    def state_there(self) -> str:
        """One of settle.THERE."""
        if self.trip.target is None:
            return "silent"
        dom = self._find(self.trip.target)
        if dom is None:
            return "gone"
        if hypervisor.active(dom):
            return plain(hypervisor.state(dom))
        # libvirt knows it, and it is neither defined nor started
        return "stopped" if dom.isPersistent() else "arriving"

    def see(self, timeout: float) -> settle.Seen:
        """What both hosts tell, after they have had time to come to rest."""
        trip = self.trip
        self.reopen(timeout)
        moving = trip.source is not None and not hypervisor.wait(self.mover.quiet, timeout, step=1)
        if trip.source is not None and trip.target is not None:
            hypervisor.wait(lambda: self.state_there() != "arriving", timeout, step=1)
            # a libvirtd that comes back first cleans up what it finds half done
            active = ("running", "paused", "standing", "half")
            hypervisor.wait(lambda: self.state_here() not in active or self.state_there() not in active, min(20, timeout), step=1)
        here = self.state_here()
        there = "arriving" if moving and trip.target is not None else self.state_there()
        copy = self._find(trip.target) if there in ("running", "paused") else None
        ran = bool(trip.arrival and trip.arrival.at) if copy is None else self.mover.has_run(copy)
        return settle.Seen(trip.options.mode, here, there, ran, self.has_state(here), self.begun.wanted)

    def has_state(self, here: str) -> bool:
        """Whether this move's state file is there and whole."""
        if not self.begun.state_file or not os.path.exists(self.begun.state_file):
            return False
        if not self.begun.saved and here == "stopped":
            # the connection broke while it was saved
            self.begun.saved = self._find(self.trip.source).state()[1] == SHUTOFF_SAVED
        return self.begun.saved

    def settle(self, timeout: float = 90) -> tuple[str, str]:
        """After a move that failed: make it run in exactly one place, and say where. Returns (place, text), see settle.Plan."""
        done: set[str] = set()
        errors: list[str] = []
        while len(errors) < 3:
            try:
                seen = self.see(timeout)
                plan = settle.decide(seen)
                text = self.words(plan.text, seen)
                steps = [step for step in plan.actions if step not in settle.CLOSING]
                if done & set(steps):
                    saved = ("Its state is saved in {file}; `virsh restore {file}` on {host} makes it go on once the cause is gone" if seen.file
                             else settle.AFRESH)
                    why = f" ({errors[-1]})" if errors else ""
                    return "nowhere", (f"it is {seen.here} on {self.trip.host} and {seen.there} on {self.trip.target_name}, and does not go on{why}. "
                                       f"Look at the journal of libvirtd on both. {self.words(saved, seen)}")
                if self.needs_lease(seen, plan, steps) and not self.take_back():
                    return "unknown", (f"{self.trip.target_name} holds its lease, so it runs there or is being started, and it was not let go on here. "
                                       "Look there with our.cloud.vm_info")
                for action in plan.actions:
                    done.add(action)
                    self.carry_out(action)
                if not steps:
                    return plan.place, text
                timeout = min(timeout, 30)
            except (CloudError, OSError, lease.LeaseError) as error:
                return "nowhere", f"it does not run on {self.trip.host}: {str(error).rstrip('.')}"
            except hypervisor.libvirt.libvirtError as error:
                # what was seen a moment ago is gone: the other libvirtd cleans up too, or its connection broke; look again
                errors.append(str(error))
        return "unknown", f"it could not be found out where it is ({errors[-1]}); vm_info tells"

    @staticmethod
    def needs_lease(seen: settle.Seen, plan: settle.Plan, steps: list[str]) -> bool:
        """Whether it is to go on here, or to be left here: then the promise to the target is over."""
        return seen.there != "silent" and plan.place in ("source", "nowhere") and (not steps or bool(settle.GOES_ON & set(steps)))

    def take_back(self) -> bool:
        """After a move that broke off, before the guest may go on here: whether it may. False: the target has it."""
        if self.begun.promised is None:
            return True
        guest, self.begun.promised = self.begun.promised, None
        return self.begun.ask_store(lambda: lease.withdraw(lease.Node.here(), guest, self.trip.target_name))

    def words(self, text: str, seen: settle.Seen) -> str:
        """The plan's text with what it is about."""
        ending = ""
        if seen.here == "stopped":
            ending = hypervisor.ending(self._find(self.trip.source))
        return text.format(name=self.trip.name, host=self.trip.host, target=self.trip.target_name, file=self.begun.state_file,
                           ending=f": {ending}" if ending else "")

    # settle's steps, by their names

    def carry_out(self, step: str) -> None:
        """One of the steps that settle's plans consist of."""
        if step == "forget state":
            self.begun.forget_state()
        else:
            getattr(self, step.replace(" ", "_"))()

    def take_over(self) -> None:
        """The guest is on the target: so is its definition, and nothing of it is left here."""
        there = self._find(self.trip.target)
        if not there.isPersistent() or (self.trip.options.mode == "live" and self.mover.forgets_pending):
            there = hypervisor.define(self.trip.target, self.trip.definition)
        if bool(there.autostart()) != self.begun.autostart:
            there.setAutostart(int(self.begun.autostart))
        here = self._find(self.trip.source) if self.trip.source is not None else None
        if here is not None and here.isPersistent() and not hypervisor.active(here):
            hypervisor.undefine(here)
        self.begun.forget_state()

    def tidy_target(self) -> None:
        """What the failed move left on the target: a definition that was not there before."""
        there = self._find(self.trip.target)
        if there is not None and not hypervisor.active(there) and not self.begun.was_defined_there and there.isPersistent():
            hypervisor.undefine(there)

    def destroy_source(self) -> None:
        """What stands still here is out of date."""
        self._find(self.trip.source).destroy()

    def destroy_target(self) -> None:
        """A copy that has never gone on."""
        self._find(self.trip.target).destroy()

    def wake_source(self) -> None:
        """What stands still goes on."""
        self.mover.wake(self._find(self.trip.source))

    def resume_source(self) -> None:
        """What is paused goes on."""
        self._find(self.trip.source).resume()

    def restore_source(self) -> None:
        """It goes on from its saved state."""
        self.trip.source.restore(self.begun.state_file)

    def start_source(self) -> None:
        """It starts anew, as the mode has it."""
        hypervisor.start(self._find(self.trip.source))

    def define_source(self) -> None:
        """Its definition is nowhere any more."""
        here = hypervisor.define(self.trip.source, self.trip.definition)
        if self.begun.autostart:
            here.setAutostart(1)


def plain(word: str) -> str:
    """One of libvirt's states of an active domain, in settle's words."""
    return {"paused": "paused", "crashed": "paused", "standing": "standing", "half": "half"}.get(word, "running")


def again(conn: Any, connect: Any) -> Any:
    """The connection if it works, else a new one; None if there is none to be had."""
    try:
        if conn is not None and conn.isAlive():
            conn.getHostname()
            return conn
    except hypervisor.libvirt.libvirtError:
        # it broke; a new one
        pass
    try:
        return connect()
    except CloudError:
        return None
