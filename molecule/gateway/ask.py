"""Asks one DNS server for one name, over UDP and TCP. Prints what answers: "udp tcp", "udp", "tcp" or nothing."""

from __future__ import annotations

import socket
import struct
import sys

server, name = sys.argv[1:3]
labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
query = struct.pack(">6H", 42, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack(">2H", 1, 1)
for kind in ("udp", "tcp"):
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM if kind == "udp" else socket.SOCK_STREAM) as sock:
            sock.settimeout(2)
            sock.connect((server, 53))
            sock.send(query if kind == "udp" else struct.pack(">H", len(query)) + query)
            if sock.recv(512):
                print(kind, end=" ")
    except OSError:
        pass
