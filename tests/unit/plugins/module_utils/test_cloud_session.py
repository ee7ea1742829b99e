# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The way to the API, with openstacksdk itself and a keystone that says the few sentences it is asked for."""

from __future__ import annotations

import http.server
import json
import socket
import threading

import pytest
import yaml

from ansible_collections.our.cloud.plugins.module_utils._cloud import identity, session
from ansible_collections.our.cloud.plugins.module_utils._cloud.identity import Project, User, WantedUser
from ansible_collections.our.cloud.plugins.module_utils._common.errors import CloudError

PASSWORDS = {"admin": "right", "glance": "good"}


class Keystone(http.server.BaseHTTPRequestHandler):
    """Tokens, and lists of what there is. It resets the connection of a request whose path is in `resets`, once."""

    protocol_version = "HTTP/1.1"
    resets: list = []
    broken = 0

    def log_message(self, *arguments):  # pylint: disable=arguments-differ
        pass

    def answer(self, status, content, **headers):
        text = json.dumps(content).encode()
        self.send_response(status)
        for key, value in {"Content-Type": "application/json", "Content-Length": len(text), **headers}.items():
            self.send_header(key.replace("_", "-"), str(value))
        self.end_headers()
        self.wfile.write(text)

    def do_GET(self):
        path = self.path.split("?")[0]
        here = f"http://127.0.0.1:{self.server.server_port}/v3"
        if path in self.resets:
            self.resets.remove(path)
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True
        elif self.broken:
            self.answer(self.broken, {"error": {"message": "out of order"}})
        elif path in ("/v3", "/v3/"):
            self.answer(200, {"version": {"id": "v3.14", "status": "stable", "links": [{"rel": "self", "href": here}]}})
        else:
            kind = path.rsplit("/", 1)[1]
            self.answer(200, {kind: {"domains": [{"id": "default", "name": "Default"}], "roles": [{"id": "r1", "name": "admin"}],
                                     "projects": [{"id": "p1", "name": "service", "tags": ["a"], "enabled": True}],
                                     "users": [{"id": "u1", "name": "glance", "default_project_id": "p1", "enabled": True}],
                                     "role_assignments": [{"user": {"id": "u1"}, "role": {"id": "r1"}, "scope": {"project": {"id": "p1"}}},
                                                          {"user": {"id": "u1"}, "role": {"id": "r1"}, "scope": {"system": {"all": True}}}]}.get(kind, [])})

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        user = asked["auth"]["identity"]["password"]["user"]
        if self.broken:
            self.answer(self.broken, {"error": {"message": "out of order"}})
        elif PASSWORDS.get(user["name"]) != user["password"]:
            self.answer(401, {"error": {"message": "The request you have made requires authentication."}})
        else:
            here = f"http://127.0.0.1:{self.server.server_port}/v3"
            catalog = [{"type": "identity", "name": "keystone", "id": "s", "endpoints": [
                {"interface": "public", "url": here, "region": "regionOne", "region_id": "regionOne", "id": "e"}]}]
            self.answer(201, {"token": {"user": {"id": "x", "name": user["name"], "domain": {"id": "default", "name": "Default"}}, "methods": ["password"],
                                        "expires_at": "2099-01-01T00:00:00.000000Z", "issued_at": "2026-01-01T00:00:00.000000Z", "catalog": catalog,
                                        "roles": [], "project": {"id": "p", "name": "admin", "domain": {"id": "default", "name": "Default"}}}},
                        X_Subject_Token="token")


@pytest.fixture
def keystone(tmp_path, monkeypatch):
    """A keystone, and the clouds.yaml of its administrator."""
    handler = type("Handler", (Keystone,), {"resets": [], "broken": 0})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    clouds = {"clouds": {"admin": {"region_name": "regionOne", "auth": {
        "auth_url": f"http://127.0.0.1:{server.server_port}/v3", "username": "admin", "password": "right", "project_name": "admin",
        "user_domain_name": "Default", "project_domain_name": "Default"}}}}
    (tmp_path / "clouds.yaml").write_text(yaml.safe_dump(clouds))
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(tmp_path / "clouds.yaml"))
    yield handler
    server.shutdown()
    server.server_close()


def test_login_and_look(keystone):
    state = identity.look(session.connect(), [WantedUser("glance", "good"), WantedUser("new", "any")])
    assert (state.domain, state.roles, state.logins, state.granted) == ("default", {"admin": "r1"}, {"glance"}, {("glance", "service", "admin")})
    assert state.projects == {"service": Project("p1", tags=("a",))}
    assert state.users == {"glance": User("u1", default_project="service")}


def test_passwords_are_tried(keystone):
    connection = session.connect()
    assert session.logs_in(connection, "glance", "good")
    assert not session.logs_in(connection, "glance", "bad")


def test_a_connection_that_is_reset_once(keystone):
    connection = session.connect()
    keystone.resets.append("/v3/roles")
    assert [role.name for role in connection.identity.roles()] == ["admin"]
    assert keystone.resets == []


def test_a_wrong_password(keystone, monkeypatch):
    monkeypatch.setitem(PASSWORDS, "admin", "another")
    with pytest.raises(session.NotThere, match=r"cloud admin: The request you have made requires authentication.*\. The password in .*clouds\.yaml is not"):
        session.connect()


def test_a_service_behind_the_front_that_is_down(keystone):
    keystone.broken = 503
    with pytest.raises(session.NotThere, match="haproxy answers and the service behind it does not"):
        session.connect()


def test_an_error_after_the_login(keystone):
    connection = session.connect()
    keystone.broken = 500
    with pytest.raises(CloudError, match=r"keystone: .*out of order.*The log of the service in /var/log tells why") as error:
        identity.look(connection, [])
    assert not isinstance(error.value, session.NotThere)


def test_nobody_answers(keystone, tmp_path, monkeypatch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    clouds = yaml.safe_load((tmp_path / "clouds.yaml").read_text())
    clouds["clouds"]["admin"]["auth"]["auth_url"] = f"http://127.0.0.1:{port}/v3"
    (tmp_path / "clouds.yaml").write_text(yaml.safe_dump(clouds))
    with pytest.raises(session.NotThere, match=r"Is it up\? `systemctl status haproxy`"):
        session.connect()


def test_no_such_cloud(keystone, tmp_path):
    (tmp_path / "clouds.yaml").write_text("clouds: {}\n")
    with pytest.raises(session.NotThere, match="our.cloud.cloud writes /etc/openstack/clouds.yaml on the host of the group clc"):
        session.connect()


def test_a_cloud_without_its_domain(keystone, monkeypatch):
    connection = session.connect()
    monkeypatch.setattr(connection.identity, "domains", lambda name: [])
    with pytest.raises(CloudError, match="there is no domain Default. `keystone-manage bootstrap` makes it"):
        identity.look(connection, [])


@pytest.mark.parametrize("status, text, words", [
    (401, "", "our.cloud.cloud tries them all by login"), (403, "", "roles do not allow it"), (403, "Quota exceeded for ram", "A quota"),
    (413, "", "A quota"), (409, "Quota exceeded for resources", "A quota"), (502, "", "haproxy answers"), (500, "", "/var/log"),
    (0, "certificate verify failed", "CA in /etc/our-cloud/ca.pem"), (0, "refused", "Is it up?"), (0, "/os-quota-sets refused", "Is it up?"), (404, "", ""),
])
def test_remedies(status, text, words):
    assert words in session.remedy(status, Exception(text))
    assert bool(words) == bool(session.remedy(status, Exception(text)))


def test_a_failed_connection_in_few_words():
    said = ("Unable to establish connection to https://192.0.2.1:8774/v2.1/os-services: HTTPSConnectionPool(host='192.0.2.1', port=8774): Max retries exceeded "
            "with url: /v2.1/os-services (Caused by NewConnectionError('<urllib3.connection.HTTPSConnection object at 0x7f>: Failed to establish a new "
            "connection: [Errno 111] Connection refused'))")
    assert session.cause(ValueError(said)) == "no connection to https://192.0.2.1:8774: Connection refused"
    assert session.cause(ValueError("HTTP 403:\n no")) == "HTTP 403: no"
