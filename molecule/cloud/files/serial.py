# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Types a command on a serial console that is a WebSocket, and shows what comes back: serial.py URL CA COMMAND WANTED"""

import base64
import os
import socket
import ssl
import struct
import sys
import time
import urllib.parse


def main(url, authority, command, wanted):
    """Until what is wanted has come, or a minute is over."""
    parts = urllib.parse.urlsplit(url)
    with socket.create_connection((parts.hostname, parts.port), 20) as plain:
        line = ssl.create_default_context(cafile=authority).wrap_socket(plain, server_hostname=parts.hostname) if parts.scheme == "wss" else plain
        line.sendall((f"GET {parts.path or '/'}?{parts.query} HTTP/1.1\r\nHost: {parts.netloc}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                      f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: binary\r\n"
                      f"Origin: {'https' if parts.scheme == 'wss' else 'http'}://{parts.netloc}\r\n\r\n").encode())
        said = b""
        while b"\r\n\r\n" not in said:
            said += line.recv(4096) or sys.exit(f"it ended: {said!r}")
        if b" 101 " not in said.splitlines()[0]:
            sys.exit(f"it was refused: {said!r}")
        said = said.partition(b"\r\n\r\n")[2]
        line.sendall(frame(command.encode() + b"\n"))
        line.settimeout(5)
        end = time.monotonic() + 60
        while wanted.encode() not in text(said):
            try:
                said += line.recv(4096) or sys.exit(f"it ended: {said!r}")
            except TimeoutError:
                line.sendall(frame(b"\n"))
            if time.monotonic() > end:
                sys.exit(f"not seen: {text(said)!r}")
        print(text(said).decode(errors="replace"))


def text(frames):
    """What the server's frames carry; of the last one what has come of it."""
    carried = b""
    while len(frames) > 1:
        head, size = 2, frames[1] & 0x7F
        if size == 126:
            head, size = 4, int.from_bytes(frames[2:4], "big")
        carried += frames[head:head + size]
        frames = frames[head + size:]
    return carried


def frame(data):
    """A frame of bytes as a client sends it."""
    mask = os.urandom(4)
    return struct.pack("!BB", 0x82, 0x80 | len(data)) + mask + bytes(byte ^ mask[number % 4] for number, byte in enumerate(data))


main(*sys.argv[1:])
