# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The hardware of the lab's machines, as the inventory describes it and as a machine was started with it."""
from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.our.cloud.plugins.module_utils._common import shapes


@dataclass(frozen=True)
class Nic:
    """A machine's network card."""

    network: str  # network.OUTSIDE leads to the world, any other is a LAN by its name
    mac: str
    address: str | None = None  # of a container, with the length of its network; None: docker chooses one


@dataclass(frozen=True)
class Hardware:
    """A virtual machine."""

    name: str
    memory: int = 0  # MiB
    vcpus: int = 1
    image: str = ""  # the path of the disk that its own lies over
    accelerator: str = ""  # kvm or tcg
    nics: tuple[Nic, ...] = ()
    forward_ssh: int | None = None  # the port on loopback that leads to its ssh

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Hardware:
        """From parameters or the file of `plain`. TypeError, AttributeError: it is none."""
        return dataclasses.replace(shapes.of(cls, told), nics=cards(told.get("nics") or ()))

    def plain(self) -> dict[str, Any]:
        """As it is noted beside the machine."""
        return {**shapes.plain(self), "nics": [shapes.said(nic) for nic in self.nics]}


def cards(nics: Iterable[Mapping[str, Any]]) -> tuple[Nic, ...]:
    """The cards that parameters describe."""
    return tuple(shapes.of(Nic, nic) for nic in nics)
