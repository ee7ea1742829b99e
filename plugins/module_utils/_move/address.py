# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A guest's address: what it is, and whether it answers."""

from __future__ import annotations

import os
import select
import socket
import struct
import time


def resolve(name: str) -> str | None:
    """The guest's address by the LAN's DNS, or None."""
    try:
        return socket.getaddrinfo(name, None, socket.AF_INET, socket.SOCK_STREAM)[0][4][0]
    except OSError:
        return None


def _checksum(data: bytes) -> int:
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF


def answers(address: str, timeout: float) -> bool:
    """Whether the address (or name) answers an ICMP echo within the bound, seconds."""
    peer = resolve(address)
    if peer is None:
        return False
    end = time.monotonic() + timeout
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.getprotobyname("icmp") if os.path.exists("/etc/protocols") else 1) as sock:
        mark, number = os.getpid() & 0xFFFF, 0
        while time.monotonic() < end:
            number += 1
            packet = struct.pack("!BBHHH", 8, 0, 0, mark, number)
            packet = struct.pack("!BBHHH", 8, 0, _checksum(packet), mark, number)
            try:
                sock.sendto(packet, (peer, 0))
            except OSError:
                # no route yet, or the neighbour is still being looked for
                pass
            wait = time.monotonic() + 0.5
            while True:
                left = min(wait, end) - time.monotonic()
                if left <= 0 or not select.select([sock], [], [], left)[0]:
                    break
                data, sender = sock.recvfrom(2048)
                size = (data[0] & 15) * 4
                # a raw socket hears all that come here, other programs' and other guests' too
                if sender[0] == peer and len(data) >= size + 8 and data[size] == 0 and struct.unpack_from("!H", data, size + 4)[0] == mark:
                    return True
    return False
