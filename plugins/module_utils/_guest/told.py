# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What hypervisors tell of themselves and their domains, as vm_info returns it: what decisions about guests are made over.

The fields have the names of vm_info's results (shapes.plain), and are read from these again on the control machine (`read`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.our.cloud.plugins.module_utils._common import shapes
from ansible_collections.our.cloud.plugins.module_utils._guest.domain_facts import Card, Disk, Domain


@dataclass(frozen=True)
class Memory:
    """A hypervisor's memory for guests, MiB."""

    free: int
    total: int = 0


@dataclass(frozen=True)
class Lease:
    """Who may run a guest, as the store has it."""

    host: str
    since: float = 0  # seconds since 1970
    to: str | None = None  # the host that it is on its way to


@dataclass(frozen=True)
class Progress:
    """What a move that is under way tells. None: it has not said so yet."""

    name: str | None = None
    source: str | None = None
    target: str | None = None
    mode: str | None = None  # live, suspend, offline
    phase: str | None = None  # checking, moving, saving ...
    percent: int | None = None
    transferred: int | None = None  # bytes
    remaining: int | None = None  # bytes
    rate: int | None = None  # bytes per second
    elapsed_ms: int | None = None


@dataclass(frozen=True)
class Ending:
    """How a move from here ended, of which nobody has heard yet."""

    text: str  # a sentence
    name: str = ""
    source: str = ""
    target: str = ""
    mode: str = ""  # live, suspend, offline
    began: str = ""  # 2026-01-31T12:00:00Z
    ended: str | None = None  # likewise; None: it never came to its end
    failed: bool = False


@dataclass(frozen=True)
class Orphan:
    """A Xen domain that libvirt knows nothing of."""

    domid: int
    name: str
    memory: int  # MiB
    has_run: bool = False


@dataclass(frozen=True)
class Copy(Domain):
    """A guest on one hypervisor that knows it: its domain as it runs, or as it is defined."""

    state: str = "stopped"  # running, paused, stopped, ... see hypervisor.STATES
    active: bool = False  # whether it has memory here now
    persistent: bool = True  # whether it has a definition here
    autostart: bool = False
    reason: str | None = None  # why it is paused, empty if that is not known; None: it is not paused
    suspended: bool = False  # whether a Xen guest stands still; its state may be `running` then
    managed_save: bool = False  # whether libvirt has saved its memory here
    defined: int | None = None  # when its definition was last written, seconds since 1970; None: it has none
    lease: Lease | None = None
    state_files: tuple[str, ...] = ()  # files beside its disks with memory that a move has saved
    migration: Progress | None = None  # of a move from here that is under way

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Copy:
        """From an element of vm_info's `guests`. KeyError: it does not say whether it runs, which must not be taken for no."""
        copy = shapes.of(cls, told)
        return dataclasses.replace(
            copy, active=told["active"], state=told["state"], persistent=told["persistent"],
            disks=tuple(shapes.of(Disk, {**disk, "backing": tuple(disk.get("backing", ()))}) for disk in told.get("disks", ())),
            interfaces=tuple(shapes.of(Card, card) for card in told.get("interfaces", ())), state_files=tuple(told.get("state_files") or ()),
            lease=shapes.of(Lease, told["lease"]) if told.get("lease") else None,
            migration=shapes.of(Progress, told["migration"]) if told.get("migration") else None)

    def told(self) -> dict[str, Any]:
        """As an element of vm_info's `guests`."""
        values = shapes.plain(self)
        del values["migration"]
        return {**values, "migration": shapes.said(self.migration)} if self.migration else values


@dataclass(frozen=True)
class Errand:
    """What a hypervisor has been drained for by a playbook that undrains it at its end."""

    verb: str  # upgrade or reboot, as the playbook is called
    began: float  # when its run began, seconds since 1970, by the control machine's clock


@dataclass(frozen=True)
class Hypervisor:
    """What vm_info returns of one hypervisor."""

    hypervisor: str = ""  # xen or qemu; empty in a check of a machine that is yet to become one
    memory: Memory = Memory(0)
    guests: tuple[Copy, ...] = ()
    host: str = ""  # its name by itself
    orphans: tuple[Orphan, ...] = ()
    moves: tuple[Ending, ...] = ()
    store_error: str = ""  # why the store tells nothing; empty if it does
    drained: int | None = None  # since when it is (drain.yml), seconds since 1970; None: it is not
    errand: Errand | None = None  # what for, if whoever did it will undrain it; None: somebody has drained it, or it is not

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Hypervisor:
        """From what vm_info returned. KeyError: it is no answer, and must not count as one without guests."""
        return dataclasses.replace(
            shapes.of(cls, told), memory=shapes.of(Memory, told.get("memory") or {"free": 0}),
            guests=tuple(Copy.of(copy) for copy in told["guests"]), orphans=tuple(shapes.of(Orphan, orphan) for orphan in told.get("orphans", ())),
            moves=tuple(shapes.of(Ending, move) for move in told.get("moves", ())),
            errand=shapes.of(Errand, told["errand"]) if told.get("errand") else None)

    def told(self) -> dict[str, Any]:
        """As vm_info returns it."""
        return {**shapes.plain(self), "guests": [copy.told() for copy in self.guests]}


def read(hosts: Mapping[str, Mapping[str, Any]]) -> dict[str, Hypervisor]:
    """{host: what it told}, from what vm_info returned by host."""
    return {host: Hypervisor.of(info) for host, info in hosts.items()}
