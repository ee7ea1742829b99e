# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What somebody asks of a move: the module vm_migrate's options, as its unit and its prechecks read them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Options:
    """vm_migrate's options, without those that are about how it is asked (wait, code)."""

    name: str  # the guest
    target: str  # the host that it is to move to, as in the inventory
    mode: str = "live"  # live, suspend, offline
    timeout: int = 900  # s that the move may take
    force: bool = False  # whether a guest that does not stop is ended (offline)
    bandwidth: int | None = None  # MiB/s; None: what the network gives
    max_downtime: int | None = None  # ms; None: the hypervisor's own bound
    auto_converge: bool = True  # whether a guest that changes its memory too fast is slowed down
    post_copy: bool = False  # whether the guest goes on at the target before all its memory is there
    encrypt: bool = True  # whether the guest's memory goes by TLS
    address: str | None = None  # where the guest answers; None: what its name leads to
    address_timeout: int = 60  # s that it has to answer after the move
    port: int = 16514  # of the target's libvirtd
    uri: str | None = None  # of this host's libvirt; None: the local one
