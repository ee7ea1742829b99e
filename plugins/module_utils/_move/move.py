# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Moving one guest to one other hypervisor.

Facts are gathered from both sides (facts); every precheck is a decision over these alone (prechecks); then the move, by a Mover; then both
sides are looked at again, whatever the move itself said (settle).
"""

from __future__ import annotations

import os
import threading
import time
from typing import Any

from ansible_collections.our.cloud.plugins.module_utils._common.bounded import bounded
from ansible_collections.our.cloud.plugins.module_utils._common.errors import CloudError, Refused
from ansible_collections.our.cloud.plugins.module_utils._guest import lease
from ansible_collections.our.cloud.plugins.module_utils._guest.placement import need
from ansible_collections.our.cloud.plugins.module_utils._hypervisor import hypervisor
from ansible_collections.our.cloud.plugins.module_utils._move import address, arrivals, facts, job, mover, prechecks, settle
from ansible_collections.our.cloud.plugins.module_utils._move.watch import Arrival

# Seconds that a move may take beyond its timeout: a target that comes back, the address
GRACE = 900
# Seconds that the store has to answer about a lease
PATIENCE = 60
# libvirt's virDomainShutoffReason
SHUTOFF_SAVED = 5


class Interrupted(Refused):
    """The move did not come to its end; the text says why."""


class Move:
    """One move: carry it out, then find out what is true on both sides."""

    def __init__(self, source: Any, target: Any, dom: Any, told: dict, tell: job.Job, token: str = "") -> None:
        """told: see facts.gather. token: what makes this move's state file its own."""
        self.trip = mover.Trip(source, target, dom, told)
        self.mover = mover.mover(self.trip)
        self.job, self.token = tell, token or "%d-%d" % (os.getpid(), time.time())
        self.autostart = bool(dom.isPersistent() and dom.autostart())
        self.was_defined_there = told["name"] in told["target_facts"]["guests"]
        self.was_active = told["guest"]["active"]
        self.wanted = "stopped" if not self.was_active else "paused" if told["guest"]["state"] == "paused" else "running"
        self.state_file: str | None = None
        self.saved = False
        self.promised: lease.Guest | None = None
        self.cancelled = threading.Event()
        self.result: dict = {"downtime_ms": 0, "transferred": 0}

    # the three ways

    def run(self) -> None:
        """Move it. Raises Interrupted; then look with `settle`."""
        began = time.monotonic()
        self.mover.prepare()
        self.trip.arrival = Arrival(self.trip.target, self.trip.uuid)
        {"live": self.live, "suspend": self.suspend, "offline": self.offline}[self.trip.facts["mode"]]()
        self.result["total_ms"] = int((time.monotonic() - began) * 1000)

    def live(self) -> None:
        """It goes on while it is moved."""
        trip, outcome = self.trip, {}
        if self.mover.clear_way():
            self.was_defined_there = False
        uri = hypervisor.target_uri(self.mover.family, trip.target_name, trip.params["port"])

        def call() -> None:
            try:
                trip.dom.migrateToURI3(uri, self.mover.parameters(), self.mover.flags())
            except (hypervisor.libvirt.libvirtError, CloudError) as error:
                outcome["error"] = str(error)

        self.mover.watch()
        thread = threading.Thread(target=call, daemon=True)
        thread.start()
        try:
            self.follow(thread, outcome)
        finally:
            self.mover.unwatch()
        if outcome.get("error"):
            if "stopped" not in outcome and not trip.target.isAlive():
                outcome["stopped"] = "the connection to %s was lost, its libvirtd ended or the host went down (%s)" % (trip.target_name, outcome["error"])
            raise Interrupted(outcome.get("stopped", outcome["error"]))
        self.result.update(self.mover.figures())

    def follow(self, thread: threading.Thread, outcome: dict) -> None:
        """Report progress until the move ends; end it when its time is over or the target is gone."""
        began, pause = time.monotonic(), 0.5
        while thread.is_alive():
            thread.join(pause)
            asked = time.monotonic()
            now = self.mover.look(asked - began)
            # a slow machine is asked less often: the move needs its processor
            pause = max(0.5, min(5, 50 * (time.monotonic() - asked)))
            if now:
                self.job.say(phase="moving", **now)
            reason = self.mover.step(asked - began)
            if not reason and self.cancelled.is_set():
                reason = "it was called off, or this host goes down"
            if not reason and asked - began > self.trip.params["timeout"]:
                reason = "it took longer than %d s (timeout) and was stopped. Give it more time, a higher max_downtime, or post_copy" % (
                    self.trip.params["timeout"])
            if reason and thread.is_alive():
                if "stopped" not in outcome or self.mover.family == "xen":
                    self.mover.abort()
                outcome.setdefault("stopped", reason)

    def promise(self) -> None:
        """Before the guest stops here: from now on nobody but the target can start it. Where nodes hold no leases, nothing to do."""
        if not self.was_active or not os.path.exists(lease.CONFIG):
            return
        guest = lease.guest_of(self.trip.dom.XMLDesc(0))
        try:
            self._store(lambda: lease.promise(lease.Node.here(), guest, self.trip.target_name))
        except (lease.LeaseError, OSError) as error:
            raise Interrupted("%s" % error) from None
        self.promised = guest

    @staticmethod
    def needs_lease(seen: settle.Seen, plan: settle.Plan, steps: list[str]) -> bool:
        """Whether it is to go on here, or to be left here: then the promise to the target is over."""
        return seen.there != "silent" and plan.place in ("source", "nowhere") and (not steps or bool(settle.GOES_ON & set(steps)))

    def take_back(self) -> bool:
        """After a move that broke off, before the guest may go on here: whether it may. False: the target has it."""
        if self.promised is None:
            return True
        guest, self.promised = self.promised, None
        return self._store(lambda: lease.withdraw(lease.Node.here(), guest, self.trip.target_name))

    def _store(self, call: Any) -> Any:
        return bounded(call, PATIENCE, "the store", "Is its server up? Guests that wait for it go on when it is back", self.trip.host)

    def suspend(self) -> None:
        """Save into the store, go on from there on the target. The saved state is kept until the guest runs again."""
        trip = self.trip
        self.promise()
        path = "%s.%s.%s.state" % (facts.state_disk(trip.guest), trip.uuid, self.token)
        self.job.say(phase="defining", percent=0)
        hypervisor.define(trip.target, trip.definition)
        self.job.say(phase="saving", percent=5)
        began = time.monotonic()
        try:
            # a name that is there already, whatever it leads to, is not written to
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600))
        except OSError as error:
            raise Interrupted("its state cannot be saved to %s: %s" % (path, error.strerror)) from None
        self.state_file = path
        try:
            trip.dom.save(path)
        except hypervisor.libvirt.libvirtError as error:
            if trip.source.isAlive():
                # what is there is no whole state
                self.forget_state()
            raise Interrupted("it could not be saved: %s" % error) from None
        self.saved = True
        self.result.update(transferred=os.path.getsize(path), transferred_from="state file")
        self.job.say(phase="restoring", percent=50)
        try:
            trip.target.restore(path)
        except hypervisor.libvirt.libvirtError as error:
            raise Interrupted("it could not go on from its saved state on %s: %s" % (trip.target_name, error)) from None
        self.result["downtime_ms"] = int((time.monotonic() - began) * 1000)

    def offline(self) -> None:
        """Stop it here, define it there, start it there if it ran."""
        trip, began = self.trip, time.monotonic()
        self.promise()
        if self.was_active:
            self.job.say(phase="stopping", percent=10)
            hypervisor.stop(trip.dom, trip.params["timeout"], trip.params["force"])
        self.job.say(phase="defining", percent=50)
        there = hypervisor.define(trip.target, trip.definition)
        if self.was_active:
            self.job.say(phase="starting", percent=75)
            try:
                hypervisor.start(there)
            except CloudError as error:
                raise Interrupted(str(error)) from None
            self.result["downtime_ms"] = int((time.monotonic() - began) * 1000)

    # afterwards

    def finish(self) -> None:
        """After a move that says it worked: is it so, on both sides?"""
        here, there = self.state_here(), self.state_there()
        expected = ("stopped",) if not self.was_active else ("running", "paused")
        if there not in expected or here not in ("gone", "stopped"):
            raise Interrupted("libvirt says that it was moved, but it is %s on %s and %s on %s" % (there, self.trip.target_name, here, self.trip.host))
        self.take_over()

    def reopen(self, timeout: float) -> None:
        """Connections to both sides that work, waiting for a libvirtd that comes back; None where there is none to be had."""
        trip, end = self.trip, time.monotonic() + timeout

        def source() -> bool:
            trip.source = again(trip.source, lambda: hypervisor.open_local(trip.params["uri"]))
            return trip.source is not None

        def target() -> bool:
            trip.target = again(trip.target, lambda: hypervisor.open_target(self.mover.family, trip.target_name, trip.params["port"]))
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
        if trip.source is not None:
            moving = not hypervisor.wait(self.mover.quiet, timeout, step=1)
        else:
            moving = False
        if trip.source is not None and trip.target is not None:
            hypervisor.wait(lambda: self.state_there() != "arriving", timeout, step=1)
            # a libvirtd that comes back first cleans up what it finds half done
            active = ("running", "paused", "standing", "half")
            hypervisor.wait(lambda: self.state_here() not in active or self.state_there() not in active, min(20, timeout), step=1)
        here = self.state_here()
        there = "arriving" if moving and trip.target is not None else self.state_there()
        copy = self._find(trip.target) if there in ("running", "paused") else None
        ran = bool(trip.arrival and trip.arrival.at) if copy is None else self.mover.has_run(copy)
        return settle.Seen(trip.facts["mode"], here, there, ran, self.has_state(here), self.wanted)

    def has_state(self, here: str) -> bool:
        """Whether this move's state file is there and whole."""
        if not self.state_file or not os.path.exists(self.state_file):
            return False
        if not self.saved and here == "stopped":
            # the connection broke while it was saved
            self.saved = self._find(self.trip.source).state()[1] == SHUTOFF_SAVED
        return self.saved

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
                    return "nowhere", "it is %s on %s and %s on %s, and does not go on%s. Look at the journal of libvirtd on both. %s" % (
                        seen.here, self.trip.host, seen.there, self.trip.target_name, " (%s)" % errors[-1] if errors else "", self.words(saved, seen))
                if self.needs_lease(seen, plan, steps) and not self.take_back():
                    return "unknown", ("%s holds its lease, so it runs there or is being started, and it was not let go on here. "
                                       "Look there with our.cloud.vm_info" % self.trip.target_name)
                for action in plan.actions:
                    done.add(action)
                    getattr(self, action.replace(" ", "_"))()
                if not steps:
                    return plan.place, text
                timeout = min(timeout, 30)
            except (CloudError, OSError, lease.LeaseError) as error:
                return "nowhere", "it does not run on %s: %s" % (self.trip.host, str(error).rstrip("."))
            except hypervisor.libvirt.libvirtError as error:
                # what was seen a moment ago is gone: the other libvirtd cleans up too, or its connection broke; look again
                errors.append(str(error))
        return "unknown", "it could not be found out where it is (%s); vm_info tells" % errors[-1]

    def words(self, text: str, seen: settle.Seen) -> str:
        """The plan's text with what it is about."""
        ending = ""
        if seen.here == "stopped":
            ending = hypervisor.ending(self._find(self.trip.source))
        return text.format(name=self.trip.name, host=self.trip.host, target=self.trip.target_name, file=self.state_file,
                           ending=": %s" % ending if ending else "")

    # settle's steps, by their names

    def take_over(self) -> None:
        """The guest is on the target: so is its definition, and nothing of it is left here."""
        there = self._find(self.trip.target)
        if not there.isPersistent() or (self.trip.facts["mode"] == "live" and self.mover.forgets_pending):
            there = hypervisor.define(self.trip.target, self.trip.definition)
        if bool(there.autostart()) != self.autostart:
            there.setAutostart(int(self.autostart))
        here = self._find(self.trip.source) if self.trip.source is not None else None
        if here is not None and here.isPersistent() and not hypervisor.active(here):
            hypervisor.undefine(here)
        self.forget_state()

    def forget_state(self) -> None:
        """The state file has done its work."""
        if self.state_file and os.path.lexists(self.state_file):
            os.unlink(self.state_file)

    def tidy_target(self) -> None:
        """What the failed move left on the target: a definition that was not there before."""
        there = self._find(self.trip.target)
        if there is not None and not hypervisor.active(there) and not self.was_defined_there and there.isPersistent():
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
        self.trip.source.restore(self.state_file)

    def start_source(self) -> None:
        """It starts anew, as the mode has it."""
        hypervisor.start(self._find(self.trip.source))

    def define_source(self) -> None:
        """Its definition is nowhere any more."""
        here = hypervisor.define(self.trip.source, self.trip.definition)
        if self.autostart:
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


# --- all of it --------------------------------------------------------------

class Asked:
    """Somebody asked for a move: the answer, as vm_migrate returns it."""

    def __init__(self, params: dict, check_mode: bool = False, token: str = "") -> None:
        """params: vm_migrate's."""
        self.params, self.check_mode, self.token = params, check_mode, token
        self.moving: Move | None = None
        self.cancelled = False

    def cancel(self) -> None:
        """End it, as far as it can be ended; it is settled all the same."""
        self.cancelled = True
        if self.moving is not None:
            self.moving.cancelled.set()

    def answer(self, conn: Any, tell: job.Job) -> dict:
        """Move it. Raises CloudError and libvirtError; a move that had begun and failed is in the answer (`failed`, `msg`, `place`)."""
        params, host = self.params, conn.getHostname()
        dom = hypervisor.find(conn, params["name"])
        if dom is None:
            return self._elsewhere(conn)
        if is_here(conn, params["target"]):
            return self._already(host)
        tell.say(name=params["name"], source=host, target=params["target"], mode=params["mode"], phase="checking", percent=0)
        told, target = facts.gather(conn, dom, params)
        note = self._note(told)
        try:
            told["arrivals"] = self._arrivals(note, target)
            refused = prechecks.refusals(told)
            if refused:
                return self._failed("%s: guest %s cannot be moved to %s: %s" % (host, params["name"], params["target"], "; ".join(refused)), refusals=refused)
            result = {} if self.check_mode else self._carry_out(conn, dom, told, target, tell)
        finally:
            if note is not None:
                note.remove()
        if result.get("failed"):
            return result
        names = {"%s_header" % side: "%s (place)" % params["name"] for side in ("before", "after")}
        return {**result, "changed": True, "source": host, "target": params["target"], "mode": params["mode"],
                "diff": {"before": "%s\n" % host, "after": "%s\n" % params["target"], **names}}

    def _failed(self, text: str, **more: Any) -> dict:
        return {"failed": True, "changed": False, "msg": text, "target": self.params["target"], "mode": self.params["mode"], **more}

    def _already(self, where: str) -> dict:
        return {"changed": False, "source": where, "target": self.params["target"], "mode": self.params["mode"],
                "msg": "%s is on %s already" % (self.params["name"], where)}

    def _elsewhere(self, conn: Any) -> dict:
        """The guest is not here: on the target already, or nowhere that we know."""
        name, target = self.params["name"], self.params["target"]
        there = None
        if not is_here(conn, target):
            there = hypervisor.find(hypervisor.open_target(hypervisor.family(conn), target, self.params["port"]), name)
        if there is not None:
            return self._already(target)
        raise CloudError(conn.getHostname(), "guest %s" % name, "it is neither here nor on %s" % target,
                         "Guests here: %s" % (", ".join(hypervisor.names(conn)) or "none"))

    def _note(self, told: dict) -> arrivals.Note | None:
        """What the guest will need at the target, noted in its store; in check mode it goes nowhere."""
        root = next((root for root in told["stores"].values() if root), None)
        if root is None or self.check_mode or not told["guest"]["active"]:
            return None
        note = arrivals.Note(root, told["name"], told["guest"]["uuid"], told["target"], need(told["guest"], told["family"]), self.params["timeout"] + GRACE)
        note.leave()
        return note

    @staticmethod
    def _arrivals(note: arrivals.Note | None, target: Any) -> list[dict]:
        """The guests on their way to the target, each with `awaited`: MiB that it will still take there."""
        if note is None or target is None:
            return []
        return [{**one, "awaited": max(0, one["memory"] - hypervisor.resident(target, one["name"]))} for one in note.others()]

    def _carry_out(self, conn: Any, dom: Any, told: dict, target: Any, tell: job.Job) -> dict:
        params = self.params
        where = params["address"] or address.resolve(params["name"])
        before = bool(where) and told["guest"]["active"] and address.answers(where, 2)
        self.moving = moving = Move(conn, target, dom, told, tell, self.token)
        if self.cancelled:
            return self._failed("%s: guest %s: it was not moved: %s" % (moving.trip.host, params["name"], "it was called off, or this host goes down"))
        warnings = []
        try:
            moving.run()
            moving.finish()
        except (Interrupted, CloudError, hypervisor.libvirt.libvirtError) as error:
            tell.say(phase="cleaning up")
            place, text = moving.settle()
            if place != "target":
                return self._failed("%s: move of %s to %s failed: %s. Now %s" % (
                    moving.trip.host, params["name"], params["target"], str(error).rstrip("."), text), place=place)
            warnings.append("The move was interrupted (%s), but %s" % (error, text))
            moving.result.update(downtime_ms=None, transferred=None)
        tell.say(phase="verifying", percent=100)
        result = {"total_ms": tell.held["elapsed_ms"], **moving.result, "address_answers": None}
        if warnings:
            result["warnings"] = warnings
        if where:
            result["address"] = where
        if where and before and moving.was_active:
            result["address_answers"] = address.answers(where, params["address_timeout"])
            if not result["address_answers"]:
                return {**self._failed("%s: guest %s: it was moved and runs there, but its address %s has not answered for %d s. "
                                       "Look at the bridge there and at the guest's console" % (
                                           params["target"], params["name"], where, params["address_timeout"]), place="target"), **result, "changed": True}
        return result


def is_here(conn: Any, target: str) -> bool:
    """Whether the target is this host."""
    return target in (conn.getHostname(), conn.getHostname().split(".")[0])
