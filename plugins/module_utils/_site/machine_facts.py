# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What any machine of the site tells of itself, as machine_info returns it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ansible_collections.our.cloud.plugins.module_utils._common import shapes
from ansible_collections.our.cloud.plugins.module_utils._site.systemd import Unit


SKEW = 10  # s that the clocks of two machines may be apart


@dataclass(frozen=True)
class Room:
    """A file system. MiB."""

    path: str
    free: int
    total: int

    @property
    def full(self) -> bool:
        """Whether there is too little: less than 5 %, and less than a GiB."""
        return self.free * 100 < self.total * 5 and self.free < 1024


@dataclass(frozen=True)
class Store:
    """The store as this machine sees it."""

    path: str
    room: Room | None = None  # None: it does not tell
    error: str = ""  # why not


@dataclass(frozen=True)
class Waiting:
    """Debian packages of which the machine's own lists have a newer version than the installed one."""

    lists: float | None = None  # when the lists were current, seconds since 1970; None: there are none
    packages: tuple[str, ...] = ()
    security: tuple[str, ...] = ()  # those of them that mend faults of security


@dataclass(frozen=True)
class Outdated:
    """What runs, and is older than what has been installed since its start."""

    boot: tuple[str, ...] = ()  # files of Linux or Xen in /boot, installed since the machine has started
    libvirt: bool = False  # whether libvirtd is from before an upgrade
    guests: tuple[str, ...] = ()  # guests with a QEMU that is


@dataclass(frozen=True)
class Machine:
    """What a machine tells of itself."""

    hostname: str
    time: float  # its clock, seconds since 1970
    booted: float = 0  # seconds since 1970
    debian: str = ""  # 13.2; empty: it is no Debian
    linux: str = ""  # the one that runs
    xen: str = ""  # the one that runs below it; empty: none
    installed: Mapping[str, str] | None = None  # {package: version} of PACKAGES; None: nobody knows
    outdated: Outdated = Outdated()
    units: tuple[Unit, ...] = ()
    rooms: tuple[Room, ...] = ()
    store: Store | None = None  # None: it was not asked for
    waiting: Waiting | None = None  # None: nobody knows
    moves: tuple[tuple[str, str, str], ...] = ()  # the last ones of the site's log, if it is here, oldest first: when, what, and where to
    unknown: tuple[str, ...] = ()  # sentences: what could not be found out, and why
    clock: tuple[float, float] | None = None  # seconds that its clock is ahead of the control machine's, at least and at most; None: nobody knows

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Machine:
        """From what machine_info returned. TypeError: it is no answer."""
        units = tuple(shapes.of(Unit, {**unit, "triggers": tuple(unit.get("triggers", ()))}) for unit in told.get("units", ()))
        store, waiting, outdated = told.get("store"), told.get("waiting"), told.get("outdated") or {}
        return replace(
            shapes.of(cls, told), units=units, rooms=tuple(shapes.of(Room, room) for room in told.get("rooms", ())),
            outdated=Outdated(tuple(outdated.get("boot", ())), bool(outdated.get("libvirt")), tuple(outdated.get("guests", ()))),
            store=Store(store["path"], shapes.of(Room, store["room"]) if store.get("room") else None, store.get("error", "")) if store else None,
            waiting=Waiting(waiting["lists"], tuple(waiting["packages"]), tuple(waiting["security"])) if waiting else None,
            moves=tuple((move[0], move[1], move[2]) for move in told.get("moves", ())), unknown=tuple(told.get("unknown", ())),
            clock=tuple(told["clock"]) if told.get("clock") else None)
