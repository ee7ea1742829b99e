# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a machine of the cloud tells of itself, as cloud_machine_info returns it: the preflight judges Facts, the status Health and Store.

They are read from its results again on the control machine.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.our.cloud.plugins.module_utils._common import shapes


@dataclass(frozen=True)
class Store:
    """The store as a machine sees it."""

    marker: str = ""  # empty: there is none
    free: int | None = None  # MiB; None: there is no store
    total: int | None = None  # likewise

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Store:
        """From what cloud_machine_info returned."""
        return cls(told["store"], told.get("store_free"), told.get("store_total"))

    def told(self) -> dict[str, Any]:
        """As the module returns it."""
        return {"store": self.marker, "store_free": self.free, "store_total": self.total}


@dataclass(frozen=True)
class Facts:
    """What a machine has before anything is made."""

    memory: int  # MiB
    swap: int  # MiB
    virtualization: bool  # whether its CPU has it for guests
    macs: tuple[str, ...]  # of its cards and bridges, sorted
    hostname: str
    unresolved: tuple[str, ...]  # names that lead to no address
    time: float  # its clock, seconds since 1970
    system_id: str  # Open vSwitch's identity; empty: there is none yet
    store: Store
    clock: tuple[float, ...] = ()  # seconds that its clock is ahead of ours, at least and at most; empty: it has not been compared

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Facts:
        """From what cloud_machine_info returned."""
        return shapes.of(cls, {**told, "macs": tuple(told["macs"]), "unresolved": tuple(told["unresolved"]), "store": Store.of(told),
                               "clock": tuple(told.get("clock") or ())})

    def told(self) -> dict[str, Any]:
        """As the module returns it; `clock` is added on the control machine."""
        values = shapes.plain(self)
        del values["clock"]
        return {**values, **self.store.told()}


@dataclass(frozen=True)
class Unit:
    """A unit of systemd that the cloud has set up."""

    name: str  # without .service
    runs: bool
    state: str  # for people
    restarts: int  # by systemd, since somebody started it


@dataclass(frozen=True)
class Certificate:
    """A machine's certificate."""

    days: int  # whole ones that are left; below 0: it has expired
    names: tuple[str, ...]  # and addresses that it is for
    signed: bool  # whether the cloud's CA has signed it


@dataclass(frozen=True)
class Tables:
    """The tables of a service."""

    name: str
    lacks: str  # a sentence; empty: nothing


@dataclass(frozen=True)
class Health:
    """The state of a machine's services."""

    units: tuple[Unit, ...] = ()
    certificate: Certificate | None = None  # None: it has none
    schemas: tuple[Tables, ...] = ()  # those that were asked for

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Health:
        """From what cloud_machine_info returned. KeyError: it is no answer, and must not count as a machine without units."""
        has = told["certificate"]
        return cls(tuple(shapes.of(Unit, unit) for unit in told["units"]),
                   shapes.of(Certificate, {**has, "names": tuple(has["names"])}) if has else None,
                   tuple(shapes.of(Tables, one) for one in told.get("schemas") or ()))
