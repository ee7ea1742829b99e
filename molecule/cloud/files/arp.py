# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Asks by ARP what is behind an interface who has these addresses, and shows those that answer: arp.py INTERFACE ADDRESS..."""

import socket
import sys
import time

ALL, ARP, REQUEST, REPLY = 0x0003, 0x0806, 1, 2
HEADER = bytes.fromhex("000108000604")


def main(interface, *addresses):
    """Each answer on a line: address and MAC address."""
    # all protocols: of one alone nothing is heard on a bridge's port
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ALL)) as wire:
        wire.bind((interface, ALL))
        # one that nobody has: what answers the interface's own would be heard by others, too
        asker = bytes.fromhex("02000000a59b")
        for address in addresses:
            wire.send(b"\xff" * 6 + asker + ARP.to_bytes(2, "big") + HEADER + REQUEST.to_bytes(2, "big")
                      + asker + bytes(4) + bytes(6) + socket.inet_aton(address))
        end = time.monotonic() + 3
        found = set()
        while (left := end - time.monotonic()) > 0:
            wire.settimeout(left)
            try:
                frame, origin = wire.recvfrom(1514)
            except TimeoutError:
                break
            answer = frame[14:42]
            if (frame[:6] == asker and frame[12:14] == ARP.to_bytes(2, "big") and answer[:8] == HEADER + REPLY.to_bytes(2, "big")
                    and origin[2] != socket.PACKET_OUTGOING):
                found.add((socket.inet_ntoa(answer[14:18]), answer[8:14].hex(":")))
    for address, mac in sorted(found):
        print(address, mac)


if __name__ == "__main__":
    main(*sys.argv[1:])
