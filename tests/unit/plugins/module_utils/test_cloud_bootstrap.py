# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keys are made where there are none and never replaced; the administrator's password is tried before it is set."""

from __future__ import annotations

import contextlib
import http.server
import json
import threading

import pytest

from ansible_collections.our.cloud.plugins.module_utils._cloud import bootstrap
from ansible_collections.our.cloud.plugins.module_utils._common.errors import CloudError


class Database:
    """How many users there are; none if there is no table."""

    def __init__(self, users):
        self.users = users

    @contextlib.contextmanager
    def root(self):
        yield self

    def execute(self, statement):
        self.asked = statement

    def fetchone(self):
        return (int(self.users is not None),) if "information_schema" in self.asked else (self.users,)


@pytest.fixture(autouse=True)
def manage(tmp_path, monkeypatch):
    """The calls of keystone-manage."""
    calls = []

    def run(command, *arguments, **environment):
        calls.append((command, environment))
        kind = command.partition("_")[0]
        if kind in bootstrap.KEYS:
            (tmp_path / kind).mkdir(exist_ok=True)
            (tmp_path / kind / "0").write_text("key")

    monkeypatch.setattr(bootstrap, "KEYS", {kind: str(tmp_path / kind) for kind in bootstrap.KEYS})
    monkeypatch.setattr(bootstrap, "_manage", run)
    return calls


@pytest.mark.parametrize("users", [None, 0])
def test_keys_are_made_once(manage, users):
    done = ["make fernet keys", "make credential keys"]
    assert bootstrap.keys(Database(users), check=True) == done and manage == []
    assert bootstrap.keys(Database(users), check=False) == done
    assert bootstrap.keys(Database(3), check=False) == []
    assert [call[0] for call in manage] == ["fernet_setup", "credential_setup"]


def test_one_kind_is_missing(manage, tmp_path):
    (tmp_path / "fernet").mkdir()
    (tmp_path / "fernet/0").write_text("key")
    (tmp_path / "credential").mkdir()
    assert bootstrap.keys(Database(0), check=False) == ["make credential keys"]


@pytest.mark.parametrize("check", [True, False])
def test_lost_keys_are_not_replaced(manage, check):
    with pytest.raises(CloudError, match="there is no key, and keystone's database was used with one.*backup.*EC2 credentials"):
        bootstrap.keys(Database(2), check)
    assert manage == []


def test_before_there_is_a_database():
    assert bootstrap.keys(None, check=True) == ["make fernet keys", "make credential keys"]


@pytest.fixture
def keystone():
    """Knows one password, or answers with a status."""
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["auth"]
            right = asked["identity"]["password"]["user"]["password"] == server.password and asked["scope"]["project"]["name"] == "admin"
            self.send_response(server.status or (201 if right else 401))
            self.end_headers()

        def log_message(self, *arguments):
            """Nothing."""

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    server.password, server.status = "right", 0
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def wanted(server, password="right"):
    return bootstrap.Bootstrap(f"http://127.0.0.1:{server.server_port}/v3", password, "here", "https://out/v3", "https://in/v3")


def test_the_password_is_tried_first(keystone, manage):
    assert bootstrap.administrator(wanted(keystone), check=False) == [] and manage == []
    assert bootstrap.administrator(wanted(keystone, "other"), check=True) == ["set the administrator's password"] and manage == []
    with pytest.raises(CloudError, match="cannot log in with the password that was set"):
        bootstrap.administrator(wanted(keystone, "other"), check=False)
    command, environment = manage[0]
    assert command == "bootstrap" and environment["OS_BOOTSTRAP_PASSWORD"] == "other"
    assert (environment["OS_BOOTSTRAP_INTERNAL_URL"], environment["OS_BOOTSTRAP_PUBLIC_URL"]) == ("https://in/v3", "https://out/v3")


def test_it_is_set(keystone, manage, monkeypatch):
    monkeypatch.setattr(bootstrap, "_manage", lambda *arguments, **environment: setattr(keystone, "password", environment["OS_BOOTSTRAP_PASSWORD"]))
    assert bootstrap.administrator(wanted(keystone, "new"), check=False) == ["set the administrator's password"]


def test_an_answer_that_is_none(keystone):
    keystone.status = 500
    with pytest.raises(CloudError, match="HTTP status 500"):
        bootstrap.administrator(wanted(keystone), check=True)


def test_nobody_there(keystone):
    silent = bootstrap.Bootstrap("http://127.0.0.1:1/v3", "a", "r", "p", "i")
    assert bootstrap.administrator(silent, check=True) == ["set the administrator's password"]
    with pytest.raises(CloudError, match="no answer at http://127.0.0.1:1/v3"):
        bootstrap.administrator(silent, check=False)
