# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the cloud asks a machine of its services: HTTP, ports, systemd, logs."""

from __future__ import annotations

import http.server
import os
import socket
import threading

import pytest
from api_samples import Thing

from ansible_collections.our.cloud.plugins.module_utils._cloud import units
from ansible_collections.our.cloud.plugins.module_utils._common.errors import CloudError


@pytest.fixture(name="server")
def fixture_server():
    """An HTTP server; server(status) gives its address."""
    found = []

    def begin(status):
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(status)
                self.end_headers()

            def log_message(self, *dummy):
                pass

        one = http.server.HTTPServer(("127.0.0.1", 0), Handler)
        found.append(one)
        threading.Thread(target=one.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return one.server_address

    yield begin
    for one in found:
        one.shutdown()
        one.server_close()


@pytest.mark.parametrize("status, told", [(200, ""), (401, ""), (404, ""), (500, "it answers with HTTP status 500"), (503, "it answers with HTTP status 503")])
def test_a_service_that_answers_over_http(server, status, told):
    address = server(status)
    assert units.System().answers(address, "/") == told and units.System().answers(address, "") == ""


def test_a_port_that_nobody_is_at():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = free.getsockname()
        assert "Connection refused" in units.System().answers(address, "") and "Connection refused" in units.System().answers(address, "/")


def test_somebody_who_speaks_no_http():
    with socket.create_server(("127.0.0.1", 0)) as mute:
        def speak():
            with mute.accept()[0] as connection:
                connection.recv(100)
                connection.sendall(b"220 mail ready\r\n")

        threading.Thread(target=speak, daemon=True).start()
        assert "220 mail ready" in units.System().answers(mute.getsockname(), "/")


@pytest.fixture(name="programs")
def fixture_programs(tmp_path, monkeypatch):
    """program(name, script): a program that is first in the PATH."""
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)

    def program(name, script):
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)

    return program


def test_what_systemd_tells_of_units(programs):
    programs("systemctl", "printf 'ActiveState=active\\nExecMainStatus=0\\n\\nActiveState=failed\\nExecMainStatus=3\\n'")
    assert units.System().show(["a.service", "b.service"]) == {
        "a.service": {"ActiveState": "active", "ExecMainStatus": "0"}, "b.service": {"ActiveState": "failed", "ExecMainStatus": "3"}}


def test_a_unit_of_an_init_script(programs):
    programs("systemctl", "[ \"$3\" = on.service ]")
    assert units.System().is_enabled("on.service") and not units.System().is_enabled("off.service")


@pytest.mark.parametrize("script, cause", [("echo no such unit >&2; exit 5", "no such unit"), ("echo said; exit 5", "said"), ("exit 5", "it ended with 5")])
def test_a_systemd_that_refuses(programs, script, cause):
    programs("systemctl", script)
    with pytest.raises(CloudError, match=f"systemctl daemon-reload: {cause}$"):
        units.System().call("systemctl", "daemon-reload")


@pytest.mark.parametrize("log, told", [
    (None, ["its journal ends: started"]),
    ("".join(f"line {number}\n" for number in range(12)), ["its journal ends: started", " ends: line 2\n", "line 11"]),
])
def test_the_last_lines_of_a_unit_are_without_secrets(programs, tmp_path, monkeypatch, log, told):
    programs("journalctl", "echo started with mysql://nova:hunter2@one/nova")
    path = tmp_path / "nova.log"
    if log:
        path.write_text(log)
    found = units.System().told(Thing(full="nova-api.service", log=str(path)))
    assert [part for part in told if part not in found] == [] and "hunter2" not in found and "line 1\n" not in found
    programs("journalctl", "exit 1")
    assert units.System().told(Thing(full="nova-api.service", log=str(tmp_path / "none"))) == "its journal ends: (empty)"
