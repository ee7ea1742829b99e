# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Users of the RabbitMQ of this machine. It reads them from a file of definitions when it starts; passwords are proved by a login."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import socket
import ssl
import struct
import subprocess
from collections.abc import Mapping

from ansible_collections.our.cloud.plugins.module_utils._common.errors import CloudError

# AMQP 0-9-1
HEADER = b"AMQP\x00\x00\x09\x01"
START, START_OK, TUNE, CLOSE = (10, 10), (10, 11), (10, 30), (10, 50)
ACCESS_REFUSED = 403


def definitions(users: Mapping[str, str]) -> str:
    """The file, from {user: password}: one virtual host in which each may do everything, and nobody else."""
    return json.dumps({
        "vhosts": [{"name": "/"}],
        "users": [{"name": name, "password_hash": _hashed(name, password), "hashing_algorithm": "rabbit_password_hashing_sha256", "tags": []}
                  for name, password in sorted(users.items())],
        "permissions": [{"user": name, "vhost": "/", "configure": ".*", "write": ".*", "read": ".*"} for name in sorted(users)],
    }, indent=2) + "\n"


def _hashed(name: str, password: str) -> str:
    # the salt is the same every time, so that the file is; the secret has 160 bits of its own
    salt = hashlib.sha256(f"{name}:{password}".encode()).digest()[:4]
    return base64.b64encode(salt + hashlib.sha256(salt + password.encode()).digest()).decode()


def logs_in(host: str, port: int, ca: str, user: str, password: str, seconds: float = 30) -> bool:
    """Whether the queue takes the password. OSError if it does not answer, or without the right certificate."""
    context = ssl.create_default_context(cafile=ca)
    with socket.create_connection((host, port), timeout=seconds) as plain, context.wrap_socket(plain, server_hostname=host) as stream:
        stream.sendall(HEADER)
        if _method(stream)[0] != START:
            raise OSError("it does not speak AMQP 0-9-1")
        response = f"\0{user}\0{password}".encode()
        # a client that does not know this word is told nothing, only cut off
        able = _table({"capabilities": {"authentication_failure_close": True}})
        stream.sendall(_frame(START_OK, able + b"\x05PLAIN" + struct.pack(">I", len(response)) + response + b"\x05en_US"))
        method, arguments = _method(stream)
        if method == TUNE:
            return True
        if method == CLOSE and struct.unpack(">H", arguments[:2])[0] == ACCESS_REFUSED:
            return False
        raise OSError(f"it answers a login with {method}")


def _table(entries: dict) -> bytes:
    packed = b""
    for key, value in entries.items():
        packed += bytes([len(key)]) + key.encode() + (b"F" + _table(value) if isinstance(value, dict) else b"t" + bytes([value]))
    return struct.pack(">I", len(packed)) + packed


def _frame(method: tuple, arguments: bytes) -> bytes:
    payload = struct.pack(">HH", *method) + arguments
    return struct.pack(">BHI", 1, 0, len(payload)) + payload + b"\xce"


def _method(stream: socket.socket) -> tuple[tuple[int, int], bytes]:
    kind, dummy, size = struct.unpack(">BHI", _exactly(stream, 7))
    payload = _exactly(stream, size + 1)[:-1]
    if kind != 1:
        raise OSError(f"it sends a frame of type {kind}")
    return struct.unpack(">HH", payload[:4]), payload[4:]


def _exactly(stream: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        more = stream.recv(count - len(data))
        if not more:
            raise OSError("it closes the connection")
        data += more
    return data


def ensure(host: str, port: int, ca: str, users: Mapping[str, str], path: str, check: bool) -> list[str]:
    """All users can log in, or the file of definitions is read once more; what was done, as sentences."""
    try:
        refused = _refused(host, port, ca, users)
    except OSError as error:
        if check:
            return [f"create user {name}" for name in users]
        raise _deaf(host, port, error) from None
    if refused and not check:
        load(path)
        try:
            still = _refused(host, port, ca, users)
        except OSError as error:
            raise _deaf(host, port, error) from None
        if still:
            raise CloudError(os.uname().nodename, "RabbitMQ", f"still refuses {', '.join(still)}", f"{path} must have them; see journalctl -u rabbitmq-server")
    return [f"set the password of {name}" for name in refused]


def _refused(host: str, port: int, ca: str, users: Mapping[str, str]) -> list[str]:
    return [name for name, password in users.items() if not logs_in(host, port, ca, name, password)]


def _deaf(host: str, port: int, error: OSError) -> CloudError:
    return CloudError(os.uname().nodename, f"RabbitMQ at {host}:{port}", error, "See systemctl status rabbitmq-server")


def load(path: str) -> None:
    """Have the running RabbitMQ read the file, without a restart. Not by stdin: rabbitmqctl starts Erlang without one for this command, and waits."""
    argv = ["rabbitmqctl", "--quiet", "import_definitions", path]
    try:
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=180)
    except subprocess.TimeoutExpired as error:
        raise CloudError(os.uname().nodename, " ".join(argv), f"no end after {error.timeout} s", "See systemctl status rabbitmq-server") from None
    if done.returncode:
        raise CloudError(os.uname().nodename, " ".join(argv), (done.stderr or done.stdout).strip())
