# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What one move holds from its beginning until it is settled."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ansible_collections.our.cloud.plugins.module_utils._common.bounded import bounded
from ansible_collections.our.cloud.plugins.module_utils._common.errors import Refused
from ansible_collections.our.cloud.plugins.module_utils._guest import lease
from ansible_collections.our.cloud.plugins.module_utils._move.job import Job
from ansible_collections.our.cloud.plugins.module_utils._move.mover import Mover, Trip, mover

# Seconds that the store has to answer about a lease
PATIENCE = 60


class Interrupted(Refused):
    """The move did not come to its end; the text says why."""


@dataclass
class Begun:
    """A move that has begun."""

    trip: Trip
    mover: Mover
    job: Job
    token: str  # what makes this move's state file its own
    autostart: bool
    was_active: bool
    was_defined_there: bool
    wanted: str  # stopped, paused or running: how the guest is to be afterwards
    state_file: str | None = None
    saved: bool = False  # whether what is in it is whole
    promised: lease.Guest | None = None  # what the target alone may start now

    @classmethod
    def of(cls, trip: Trip, tell: Job, token: str) -> Begun:
        """Before anything is done."""
        guest = trip.guest
        wanted = "stopped" if not guest.active else "paused" if guest.state == "paused" else "running"
        return cls(trip, mover(trip), tell, token, bool(trip.dom.isPersistent() and trip.dom.autostart()), guest.active,
                   trip.facts.target is not None and trip.name in trip.facts.target.guests, wanted)

    def forget_state(self) -> None:
        """The state file has done its work."""
        if self.state_file and os.path.lexists(self.state_file):
            os.unlink(self.state_file)

    def ask_store(self, call: Callable[[], Any]) -> Any:
        """What the store answers about a lease, within a bound."""
        return bounded(call, PATIENCE, "the store", "Is its server up? Guests that wait for it go on when it is back", self.trip.host)
