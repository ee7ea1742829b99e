# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The cloud's instances as instance_info returns them: what is listed beside the guests, and moved like them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.our.cloud.plugins.module_utils._common import shapes


@dataclass(frozen=True)
class CloudCard:
    """A network card of an instance."""

    mac: str
    network: str = ""  # its name, or its id if the network is gone
    floating: tuple[str, ...] = ()  # addresses outside
    addresses: tuple[str, ...] = ()  # the cloud knows none that the LAN's DHCP server gave it


@dataclass(frozen=True)
class InstanceFacts:
    """An instance. None: nova does not say it."""

    name: str
    id: str
    project: str | None = None  # its name, or its id if the project is gone
    state: str = ""  # running, stopped, being made, moving, failed ...
    status: str = ""  # in nova's words
    task: str | None = None  # what nova is doing with it; None: nothing
    host: str | None = None  # the node controller that has it; None: none has it yet
    domain: str | None = None  # the name of its libvirt domain there
    locked: bool = False  # whether it is locked against changes
    arch: str | None = None  # Debian's name, as its image says
    flavor: str | None = None  # the name of the one that it was made with
    memory: int = 0  # MiB
    vcpus: int = 0
    disk: int = 0  # GiB
    image: str | None = None  # its name, or its id in Glance if that is gone
    key: str | None = None  # the name of its key pair
    cards: tuple[CloudCard, ...] = ()
    volumes: tuple[str, ...] = ()  # their ids, sorted
    created: str | None = None  # 2026-01-31T12:00:00Z
    fault: str | None = None  # what nova says of its failure; None: it has none
    address: str | None = None  # where to reach it, a floating address if it has one

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> InstanceFacts:
        """From an element of instance_info's `instances`."""
        cards = (shapes.of(CloudCard, {**card, "floating": tuple(card.get("floating", ())), "addresses": tuple(card.get("addresses", ()))})
                 for card in told.get("cards", ()))
        return dataclasses.replace(shapes.of(cls, told), cards=tuple(cards), volumes=tuple(told.get("volumes", ())))
