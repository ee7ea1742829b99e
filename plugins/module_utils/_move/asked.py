# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Somebody asks for a move: facts of both sides (facts), every precheck as a decision over these alone (prechecks), the move, and the answer."""

from __future__ import annotations

import dataclasses
import os
import time
from typing import Any

from ansible_collections.our.cloud.plugins.module_utils._common.errors import CloudError
from ansible_collections.our.cloud.plugins.module_utils._guest.placement import need
from ansible_collections.our.cloud.plugins.module_utils._hypervisor import hypervisor
from ansible_collections.our.cloud.plugins.module_utils._move import address, arrivals, facts, job, mover, prechecks
from ansible_collections.our.cloud.plugins.module_utils._move.aftermath import Aftermath
from ansible_collections.our.cloud.plugins.module_utils._move.begun import Begun, Interrupted
from ansible_collections.our.cloud.plugins.module_utils._move.facts import Awaited, Facts
from ansible_collections.our.cloud.plugins.module_utils._move.move import Move
from ansible_collections.our.cloud.plugins.module_utils._move.options import Options

# Seconds that a move may take beyond its timeout: a target that comes back, the address
GRACE = 900


class Asked:
    """Somebody asked for a move: the answer, as vm_migrate returns it."""

    def __init__(self, options: Options, check_mode: bool = False, token: str = "") -> None:
        self.options, self.check_mode, self.token = options, check_mode, token
        self.moving: Move | None = None
        self.cancelled = False

    def cancel(self) -> None:
        """End it, as far as it can be ended; it is settled all the same."""
        self.cancelled = True
        if self.moving is not None:
            self.moving.cancelled.set()

    def answer(self, conn: Any, tell: job.Job) -> dict[str, Any]:
        """Move it. Raises CloudError and libvirtError; a move that had begun and failed is in the answer (`failed`, `msg`, `place`)."""
        options, host = self.options, conn.getHostname()
        dom = hypervisor.find(conn, options.name)
        if dom is None:
            return self._elsewhere(conn)
        if is_here(conn, options.target):
            return self._already(host)
        tell.say(name=options.name, source=host, target=options.target, mode=options.mode, phase="checking", percent=0)
        told, target = facts.gather(conn, dom, options)
        note = self._note(told)
        try:
            told = dataclasses.replace(told, arrivals=self._arrivals(note, target))
            refused = prechecks.refusals(told)
            if refused:
                return self._failed(f"{host}: guest {options.name} cannot be moved to {options.target}: {'; '.join(refused)}", refusals=refused)
            result = {} if self.check_mode else self._carry_out(conn, dom, told, target, tell)
        finally:
            if note is not None:
                note.remove()
        if result.get("failed"):
            return result
        names = {f"{side}_header": f"{options.name} (place)" for side in ("before", "after")}
        return {**result, "changed": True, "source": host, "target": options.target, "mode": options.mode,
                "diff": {"before": f"{host}\n", "after": f"{options.target}\n", **names}}

    def _failed(self, text: str, **more: Any) -> dict[str, Any]:
        return {"failed": True, "changed": False, "msg": text, "target": self.options.target, "mode": self.options.mode, **more}

    def _already(self, where: str) -> dict[str, Any]:
        return {"changed": False, "source": where, "target": self.options.target, "mode": self.options.mode,
                "msg": f"{self.options.name} is on {where} already"}

    def _elsewhere(self, conn: Any) -> dict[str, Any]:
        """The guest is not here: on the target already, or nowhere that we know."""
        name, target = self.options.name, self.options.target
        there = None
        if not is_here(conn, target):
            there = hypervisor.find(hypervisor.open_target(hypervisor.family(conn), target, self.options.port), name)
        if there is not None:
            return self._already(target)
        raise CloudError(conn.getHostname(), f"guest {name}", f"it is neither here nor on {target}",
                         f"Guests here: {', '.join(hypervisor.names(conn)) or 'none'}")

    def _note(self, told: Facts) -> arrivals.Note | None:
        """What the guest will need at the target, noted in its store; in check mode it goes nowhere."""
        root = next((root for root in told.stored.stores.values() if root), None)
        if root is None or self.check_mode or not told.guest.active:
            return None
        note = arrivals.Note(root, self.options.name, str(told.guest.uuid), self.options.target, need(told.guest, told.family), self.options.timeout + GRACE)
        note.leave()
        return note

    @staticmethod
    def _arrivals(note: arrivals.Note | None, target: Any) -> tuple[Awaited, ...]:
        """The guests on their way to the target, without what they have taken there already."""
        if note is None or target is None:
            return ()
        return tuple(Awaited(one.name, max(0, one.memory - hypervisor.resident(target, one.name))) for one in note.others())

    def _carry_out(self, conn: Any, dom: Any, told: Facts, target: Any, tell: job.Job) -> dict[str, Any]:
        options = self.options
        where = options.address or address.resolve(options.name)
        before = bool(where) and told.guest.active and address.answers(where, 2)
        begun = Begun.of(mover.Trip(conn, target, dom, told), tell, self.token or f"{os.getpid()}-{int(time.time())}")
        self.moving = moving = Move(begun)
        aftermath = Aftermath(begun)
        if self.cancelled:
            return self._failed(f"{begun.trip.host}: guest {options.name}: it was not moved: it was called off, or this host goes down")
        warnings = []
        try:
            moving.run()
            aftermath.finish()
        except (Interrupted, CloudError, hypervisor.libvirt.libvirtError) as error:
            tell.say(phase="cleaning up")
            place, text = aftermath.settle()
            if place != "target":
                return self._failed(f"{begun.trip.host}: move of {options.name} to {options.target} failed: {str(error).rstrip('.')}. "
                                    f"Now {text}", place=place)
            warnings.append(f"The move was interrupted ({error}), but {text}")
            moving.result = dataclasses.replace(moving.result, downtime_ms=None, transferred=None)
        tell.say(phase="verifying", percent=100)
        result = {"total_ms": tell.held.elapsed_ms, **moving.result.told(), "address_answers": None}
        if warnings:
            result["warnings"] = warnings
        if where:
            result["address"] = where
        if where and before and begun.was_active:
            result["address_answers"] = address.answers(where, options.address_timeout)
            if not result["address_answers"]:
                silent = self._failed(f"{options.target}: guest {options.name}: it was moved and runs there, but its address {where} has not answered "
                                      f"for {options.address_timeout} s. Look at the bridge there and at the guest's console", place="target")
                return {**silent, **result, "changed": True}
        return result


def is_here(conn: Any, target: str) -> bool:
    """Whether the target is this host."""
    return target in (conn.getHostname(), conn.getHostname().split(".")[0])
