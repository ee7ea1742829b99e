# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Logins at a queue of the test's own, which speaks AMQP over TLS."""

from __future__ import annotations

import base64
import datetime
import hashlib
import ipaddress
import json
import socket
import ssl
import struct
import threading

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from ansible_collections.our.cloud.plugins.module_utils._cloud import queue
from ansible_collections.our.cloud.plugins.module_utils._common.errors import CloudError


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A certificate of 127.0.0.1 that is its own CA, with the key in the same file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "queue")])
    now = datetime.datetime.now(datetime.timezone.utc)
    made = (x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
            .not_valid_before(now - datetime.timedelta(days=1)).not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
            .add_extension(x509.BasicConstraints(True, 0), True).sign(key, hashes.SHA256()))
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    path.write_bytes(made.public_bytes(serialization.Encoding.PEM) + key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    return str(path)


class Queue(threading.Thread):
    """Answers logins, and learns users from definitions."""

    def __init__(self, certificate):
        super().__init__(daemon=True)
        self.users, self.logins, self.answer = {}, [], None
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(certificate)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.start()

    def run(self):
        while True:
            try:
                plain, dummy = self.listener.accept()
            except OSError:
                return
            with self.context.wrap_socket(plain, server_side=True) as stream:
                assert queue._exactly(stream, 8) == queue.HEADER
                stream.sendall(queue._frame((10, 10), b"\0\x09" + struct.pack(">I", 0) + b"\0\0\0\x05PLAIN\0\0\0\x05en_US"))
                method, arguments = queue._method(stream)
                assert method == (10, 11)
                size, = struct.unpack(">I", arguments[:4])
                assert b"authentication_failure_close" in arguments[4:4 + size]
                rest = arguments[4 + size:]
                assert rest[:6] == b"\x05PLAIN" and rest.endswith(b"\x05en_US")
                user, password = rest[10:-6].decode().split("\0")[1:]
                self.logins.append(user)
                if self.answer:
                    stream.sendall(self.answer)
                elif self.users.get(user) == password:
                    stream.sendall(queue._frame((10, 30), bytes(8)))
                else:
                    stream.sendall(queue._frame((10, 50), struct.pack(">H", 403) + b"\x07REFUSED" + bytes(4)))


@pytest.fixture
def server(certificate):
    made = Queue(certificate)
    yield made
    made.listener.close()


def ensure(server, certificate, users, check=False):
    return queue.ensure("127.0.0.1", server.port, certificate, users, "/definitions", check)


def test_logins(server, certificate):
    server.users = {"nova": "one"}
    assert queue.logs_in("127.0.0.1", server.port, certificate, "nova", "one")
    assert not queue.logs_in("127.0.0.1", server.port, certificate, "nova", "two")
    assert ensure(server, certificate, {"nova": "one"}) == []


def test_a_wrong_password_is_repaired(server, certificate, monkeypatch):
    server.users = {"nova": "one", "cinder": "by hand"}
    loaded = []

    def load(path):
        loaded.append(path)
        server.users.update(nova="one", cinder="two")

    monkeypatch.setattr(queue, "load", load)
    wanted = {"nova": "one", "cinder": "two"}
    assert ensure(server, certificate, wanted, check=True) == ["set the password of cinder"] and loaded == []
    assert ensure(server, certificate, wanted) == ["set the password of cinder"]
    assert loaded == ["/definitions"]
    monkeypatch.setattr(queue, "load", lambda path: None)
    with pytest.raises(CloudError, match="still refuses neutron"):
        ensure(server, certificate, {"neutron": "three"})


def test_nobody_there(certificate):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert queue.ensure("127.0.0.1", port, certificate, {"nova": "one"}, "/definitions", True) == ["create user nova"]
    with pytest.raises(CloudError, match=f"RabbitMQ at 127.0.0.1:{port}: .*refused"):
        queue.ensure("127.0.0.1", port, certificate, {"nova": "one"}, "/definitions", False)


def test_an_answer_that_is_none(server, certificate):
    server.answer = queue._frame((10, 50), struct.pack(">H", 320) + b"\x04stop" + bytes(4))
    with pytest.raises(CloudError, match=r"answers a login with \(10, 50\)"):
        ensure(server, certificate, {"nova": "one"})


def test_it_is_called_by_the_file_and_not_by_stdin(tmp_path, monkeypatch):
    calls = tmp_path / "calls"
    (tmp_path / "rabbitmqctl").write_text(f'#!/bin/sh\necho "$@" >{calls}\ncat\n[ "$3" = /right ]\n', encoding="utf-8")
    (tmp_path / "rabbitmqctl").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    queue.load("/right")
    assert calls.read_text() == "--quiet import_definitions /right\n"
    with pytest.raises(CloudError, match="rabbitmqctl --quiet import_definitions /wrong"):
        queue.load("/wrong")


def test_definitions_are_the_same_every_time():
    text = queue.definitions({"nova": "one", "cinder": "two"})
    assert text == queue.definitions({"cinder": "two", "nova": "one"})
    made = json.loads(text)
    hashed = base64.b64decode(made["users"][1]["password_hash"])
    assert made["users"][1]["name"] == "nova" and hashed[4:] == hashlib.sha256(hashed[:4] + b"one").digest()
    assert [one["user"] for one in made["permissions"]] == ["cinder", "nova"] and made["vhosts"] == [{"name": "/"}]
