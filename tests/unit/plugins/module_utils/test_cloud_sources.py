# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the cloud's databases, API and machine are asked, at the last step before the library or the system: answers, refusals and silence."""

from __future__ import annotations

import http.server
import json
import os
import socket
import sys
import threading
import types

import fake_cloud
import pytest
import requests
from keystoneauth1 import exceptions as auth_errors

from ansible_collections.our.cloud.plugins.module_utils._cloud import contents, database, glance_api, instances, projects, schema, session, units
from ansible_collections.our.cloud.plugins.module_utils._cloud.project_entries import Rule
from ansible_collections.our.cloud.plugins.module_utils._common.errors import CloudError

Thing = types.SimpleNamespace


# --- MariaDB

class MySQLError(Exception):
    """As pymysql's own."""


class OperationalError(MySQLError):
    pass


class ProgrammingError(MySQLError):
    pass


@pytest.fixture(name="pymysql")
def fixture_pymysql(monkeypatch):
    """A pymysql whose `answer` says what a connection does; `asked` has the arguments."""
    library = Thing(err=Thing(OperationalError=OperationalError, ProgrammingError=ProgrammingError, MySQLError=MySQLError), asked=[],
                    answer=lambda **dummy: Thing(close=lambda: library.asked.append("closed"), cursor=lambda: "cursor"))

    def connect(**arguments):
        library.asked.append(arguments)
        return library.answer(**arguments)

    library.connect = connect
    monkeypatch.setitem(sys.modules, "pymysql", library)
    return library


def raises(error):
    def function(*dummy, **more):
        raise error
    return function


def test_root_comes_by_the_socket(pymysql):
    with database.Server("192.0.2.1", "/ca").root() as cursor:
        assert cursor == "cursor" and pymysql.asked[0]["unix_socket"] == database.SOCKET
    assert pymysql.asked[-1] == "closed"


@pytest.mark.parametrize("code", database.MISSING)
def test_nobody_is_at_the_socket_yet(pymysql, code):
    pymysql.answer = raises(OperationalError(code, "Can't connect to local server through socket"))
    with database.Server("192.0.2.1", "/ca").root() as cursor:
        assert cursor is None


def test_a_root_that_is_refused_is_no_absence(pymysql):
    pymysql.answer = raises(OperationalError(1698, "Access denied for user 'root'@'localhost'"))
    with pytest.raises(CloudError, match="MariaDB: Access denied .*. root must be able to log in by the socket"):
        with database.Server("192.0.2.1", "/ca").root():
            pass


def test_users_come_by_tls(pymysql):
    server = database.Server("192.0.2.1", "/ca")
    assert server.logs_in("nova", "pw") is True
    assert (pymysql.asked[0]["host"], pymysql.asked[0]["ssl"]) == ("192.0.2.1", {"ca": "/ca"}) and pymysql.asked[-1] == "closed"
    for code in database.REFUSED:
        pymysql.answer = raises(OperationalError(code, "Access denied"))
        assert server.logs_in("nova", "pw") is False
    # a certificate that is not right is no wrong password, which would be set anew without end
    pymysql.answer = raises(OperationalError(2003, "certificate verify failed"))
    with pytest.raises(CloudError, match="MariaDB at 192.0.2.1: certificate verify failed. It must answer there with the certificate"):
        server.logs_in("nova", "pw")


class Cursor:
    """Answers queries out of a dictionary of tables; a table that is not there is an error of its own."""

    def __init__(self, tables):
        self.tables, self.rows = tables, []

    def __enter__(self):
        return self

    def __exit__(self, *dummy):
        pass

    def execute(self, query):
        table = query.split(" FROM ")[1]
        if table not in self.tables:
            raise ProgrammingError(schema.NO_SUCH_TABLE, f"Table '{table}' doesn't exist")
        if isinstance(self.tables[table], Exception):
            raise self.tables[table]
        self.rows = self.tables[table]

    def fetchall(self):
        return tuple(self.rows)


URL = "mysql+pymysql://nova:p%40w@192.0.2.1:3307/nova_api?charset=utf8&ssl_ca=/ca"


@pytest.mark.parametrize("tables, cells, expected", [
    ({}, True, ([], [])),
    ({"alembic_version": [("abc",)]}, False, (["abc"], [])),
    ({"alembic_version": [("abc",)], "cell_mappings": [("u", "cell1", "rabbit", "mysql")]}, True,
     (["abc"], [{"uuid": "u", "name": "cell1", "queue": "rabbit", "database": "mysql"}])),
])
def test_what_a_database_records(pymysql, tables, cells, expected):
    pymysql.answer = lambda **dummy: Thing(close=lambda: None, __enter__=None, cursor=lambda: Cursor(tables))
    assert schema.ask(URL, cells) == expected
    told = pymysql.asked[0]
    assert (told["host"], told["port"], told["user"], told["password"], told["database"], told["charset"], told["ssl_ca"]) == (
        "192.0.2.1", 3307, "nova", "p@w", "nova_api", "utf8", "/ca")


@pytest.mark.parametrize("error, cause", [(OperationalError(1045, "Access denied"), "Access denied"), (MySQLError(), "database nova_api: $"),
                                          (ProgrammingError(1142, "SELECT command denied"), "SELECT command denied")])
def test_a_database_that_does_not_answer_is_none_without_tables(pymysql, error, cause):
    pymysql.answer = lambda **dummy: Thing(close=lambda: None, cursor=lambda: Cursor({"alembic_version": error}))
    with pytest.raises(schema.NotThere, match=f"database nova_api: .*{cause}" if "$" not in cause else cause):
        schema.ask(URL, False)


def test_the_fewest_words_of_a_url():
    found = schema.arguments_of("mysql+pymysql://one/nova")
    assert (found["port"], found["user"], found["password"], found["charset"]) == (3306, "", "", "utf8mb4") and "ssl_ca" not in found


# --- commands of services

@pytest.fixture(name="runs")
def fixture_runs(monkeypatch):
    """runs(command): what a command of a service does; what was run."""
    done = []

    def put(act):
        monkeypatch.setattr(schema, "run_as", lambda user, command: done.append((user, command)) or act(command))
        return done

    monkeypatch.setattr(schema, "url_of", lambda one: "mysql+pymysql://nova:hunter2@one/nova")
    return put


WORK = schema.Work("nova", ["tables"], [("nova-manage", "db", "sync"), ("nova-manage", "cell_v2", "map_cell0")])


@pytest.mark.parametrize("act, why", [
    (raises(FileNotFoundError(2, "No such file or directory")), "Is the package of the service installed?"),
    (raises(KeyError("nova")), "Is the package of the service installed?"),
    (raises(schema.subprocess.TimeoutExpired(["nova-manage"], 1)), f"not done within {schema.SYNC_TIME} s. What does the database do"),
    (lambda command: Thing(returncode=1, stdout="Access denied for nova with hunter2\n"), r"Access denied for nova with \*\*\*\*\*\*\*\*"),
])
def test_a_command_that_fails_is_the_last_one(runs, act, why):
    done = runs(act)
    with pytest.raises(CloudError, match=why) as error:
        schema.bring(WORK)
    assert len(done) == 1 and "nova-manage db sync" in str(error.value) and "hunter2" not in str(error.value)


def test_no_secret_is_left_in_a_text():
    assert schema.masked("a hunter2 b", ["hunter2", "", None]) == "a ******** b"


def test_a_command_runs_as_its_user(monkeypatch):
    given = []
    monkeypatch.setattr(schema.pwd, "getpwnam", lambda name: Thing(pw_uid=77, pw_gid=78, pw_dir="/var/lib/nova"))
    monkeypatch.setattr(os, "getgrouplist", lambda user, group: [78, 79])
    monkeypatch.setattr(schema.subprocess, "run", lambda command, **how: given.append((command, how)))
    schema.run_as("nova", ("nova-manage", "db", "sync"))
    command, how = given[0]
    assert command == ("nova-manage", "db", "sync") and (how["user"], how["group"], how["extra_groups"]) == (77, 78, [78, 79])
    assert how["env"]["HOME"] == "/var/lib/nova" and "OS_PASSWORD" not in how["env"]


# --- the API

@pytest.fixture(name="cloud")
def fixture_cloud(monkeypatch):
    cloud = fake_cloud.Cloud(servers=[fake_cloud.server("web"), fake_cloud.server("db", project_id="p2", compute_host=None)],
                             ports=[fake_cloud.port()], ips=[Thing(port_id="port-fa:16:3e:00:00:01", floating_ip_address="192.0.2.50")])
    monkeypatch.setattr(session, "connect", lambda *dummy: cloud)
    return cloud


ALL = {"name": None, "project": None, "console_lines": 0, "serial": False}


def test_instances_are_told_with_what_is_asked_elsewhere(cloud):
    found = instances.gather(ALL)
    assert [(each["name"], each["project"], each["address"]) for each in found] == [("db", "p2", None), ("web", "physics", "192.0.2.50")]
    assert [each["name"] for each in instances.gather({**ALL, "project": "physics"})] == ["web"]
    assert [each["name"] for each in instances.gather({**ALL, "name": "id-db"})] == ["db"]
    assert instances.gather({**ALL, "name": "none"}) == []


@pytest.mark.parametrize("status", ["DELETED", "SOFT_DELETED"])
def test_one_that_nova_still_lists_is_told_no_more(cloud, status):
    cloud.servers.append(fake_cloud.server("web", id="id-former", status=status))
    assert [each["id"] for each in instances.gather(ALL)] == ["id-db", "id-web"]
    assert [each["id"] for each in instances.gather({**ALL, "name": "web"})] == ["id-web"]
    assert instances.gather({**ALL, "name": "id-former"}) == []


def test_consoles_are_told_without_what_terminals_are_told(cloud):
    cloud.console = "\x1b[1;32mLinux\x1b[0m\r\n\n\x07login: \n"
    cloud.happens["create_server_remote_console"] = lambda cloud, *dummy, **more: Thing(url=f"ws://{more['type']}")
    found = instances.gather({**ALL, "name": "web", "console_lines": 5, "serial": True})[0]
    assert (found["console"], found["serial"], found["why"]) == (["Linux", "login:"], "ws://serial", "")
    assert instances.gather({**ALL, "name": "web", "console_lines": 1})[0]["console"] == ["login:"]


def test_a_console_that_is_not_there_hides_no_other(cloud):
    def none(cloud, server, **dummy):
        if server == "id-db":
            raise auth_errors.Conflict("Guest does not have a console available")
        return Thing(url="ws://one")

    cloud.happens["create_server_remote_console"] = none
    found = {each["name"]: each for each in instances.gather({**ALL, "serial": True, "console_lines": 1})}
    assert found["web"]["serial"] == "ws://one" and found["db"]["serial"] is None and "Guest does not have a console" in found["db"]["why"]


def test_what_is_in_the_cloud(cloud):
    cloud.identity.lists["services"] = [Thing(type=kind) for kind in ("identity", "compute", "image")]
    cloud.identity.lists["users"] = [Thing(id="u1", name="ada")]
    cloud.compute.lists["services"][3].state = "down"
    found = contents.look()
    assert found["contents"] == {"projects": {"p1": "physics"}, "users": {"u1": "ada"}, "instances": {"id-web": "web", "id-db": "db"},
                                 "images": {"id-debian": "debian", "id-vmlinuz": "vmlinuz", "id-big": "big"}}
    assert (found["placed"], found["silent"]) == ({"id-web": "node1", "id-db": ""}, ["node2"])


def test_a_cloud_without_nova_has_no_silent_nodes(cloud):
    cloud.identity.lists.update(services=[Thing(type="identity")], users=[])
    assert contents.look() == {"contents": {"projects": {"p1": "physics"}, "users": {}}, "placed": {}, "silent": []}


# projects

def answers(table):
    """An API by its paths; a status alone is an error's."""
    def ask(path):
        said, response = table[path], requests.Response()
        response.status_code = 200 if isinstance(said, dict) else said
        response._content, response.request = json.dumps(said).encode(), requests.Request("GET", "http://one" + path)
        return response
    return ask


def test_quotas_are_asked_of_the_services_that_there_are():
    cloud = Thing(network=Thing(get=answers({"/quotas/p1": {"quota": {"network": 5, "other": 7, "floatingip": 2}}})),
                  compute=Thing(get=answers({"/os-quota-sets/p1/defaults": {"quota_set": {"instances": 10, "cores": 20}}})))
    assert projects.look_at_quotas(cloud, ["network"], "p1") == {"networks": 5, "floating_ips": 2}
    assert projects.look_at_quotas(cloud, ["compute"], "p1", True) == {"instances": 10, "cores": 20}
    cloud.compute.get = answers({"/os-quota-sets/p1": 503})
    with pytest.raises(session.Silent, match="quotas of compute"):
        projects.look_at_quotas(cloud, ["compute"], "p1")


RULE = {"direction": "ingress", "ethertype": "IPv4", "protocol": "tcp", "port_range_min": 22, "port_range_max": 22}


@pytest.mark.parametrize("said, rule", [
    (RULE, Rule("ingress", "IPv4", "tcp", 22, 22)), ({**RULE, "remote_ip_prefix": "0.0.0.0/0"}, Rule("ingress", "IPv4", "tcp", 22, 22)),
    ({**RULE, "remote_ip_prefix": "192.0.2.0/24"}, Rule("ingress", "IPv4", "tcp", 22, 22, "192.0.2.0/24")),
    ({**RULE, "remote_group_id": "g1"}, Rule("ingress", "IPv4", "tcp", 22, 22, "web")),
    ({**RULE, "remote_group_id": "g9"}, Rule("ingress", "IPv4", "tcp", 22, 22, "g9")),
    ({**RULE, "remote_address_group_id": "a1"}, Rule("ingress", "IPv4", "tcp", 22, 22, "a1")),
    ({"direction": "egress", "ethertype": "IPv6", "protocol": "icmpv6"}, Rule("egress", "IPv6", "ipv6-icmp")),
])
def test_rules_as_neutron_tells_them(said, rule):
    assert projects.rule_there(said, {"g1": "web"}) == rule


def test_groups_of_projects_that_are_ours_to_look_at():
    told = {"security_groups": [
        {"id": "g1", "name": "web", "project_id": "p1", "description": "", "tags": ["our-cloud"], "security_group_rules": [{**RULE, "id": "r1"}]},
        {"id": "g2", "name": "web", "project_id": "p2", "description": "", "tags": [], "security_group_rules": []}]}
    cloud = Thing(network=Thing(get=answers({"/security-groups": told, "/security-groups?project_id=p1": told})))
    assert projects.look_at_groups(cloud, {"p1": "lab", "p3": "none"}) == {
        "lab": {"web": {"id": "g1", "description": "", "tags": ["our-cloud"], "rules": {Rule("ingress", "IPv4", "tcp", 22, 22): "r1"}}}, "none": {}}
    assert list(projects.look_at_groups(cloud, {"p1": "lab"}, "p1")["lab"]) == ["web"]


def test_what_would_be_lost_with_a_project():
    def lists(**found):
        return Thing(**{name: lambda names=names, **query: [Thing(id=f"id-{each}", name=each) for each in names] for name, names in found.items()})

    cloud = Thing(compute=lists(servers=["web", ""]), block_storage=lists(volumes=list("gfedcba"), snapshots=[]),
                  network=lists(networks=[], routers=["r"], ips=[]), image=lists(images=["debian"]))
    assert projects.look_inside(cloud, {"compute", "block-storage", "network"}, "p1") == [
        "instances (id-, web)", "volumes (a, b, c, d, e, …)", "routers (r)"]
    assert projects.look_inside(cloud, {"image"}, "p1") == ["images (debian)"] and projects.look_inside(cloud, set(), "p1") == []


# Glance

class Images:
    """Glance's API by its paths; what it was told is in `asked`. short: it loses the end of what it is sent."""

    def __init__(self, status=None, short=False):
        self.asked, self.status, self.short, self.kept = [], status or {}, short, {}

    def call(self, method, path, raise_exc, data=None, **more):
        assert raise_exc is False
        self.asked.append((method, path, more.get("json")))
        if data is not None:
            text = data.read()[:-1] if self.short else data.read()
            self.kept = {"os_hash_algo": "sha512", "os_hash_value": glance_api.hashlib.sha512(text).hexdigest()}
        pages = {"/images?limit=500&visibility=all&os_hidden=false": {"images": [{"id": "a"}], "next": "/v2/images?marker=a"},
                 "/images?marker=a": {"images": [{"id": "b"}]}, "/images?limit=500&visibility=all&os_hidden=true": {"images": [{"id": "h"}]}}
        return Thing(status_code=self.status.get(method, 200), text="<html><b>no</b> room</html>", json=lambda: pages.get(path, self.kept))

    def __getattr__(self, method):
        return lambda path, **more: self.call(method, path, **more)


def glance(tmp_path, **how):
    images = Images(**how)
    return images, glance_api.Glance(Thing(image=images, current_project_id="p", has_service=lambda kind: False), str(tmp_path))


def test_images_of_all_pages_and_hidden_ones(tmp_path):
    assert [each["id"] for each in glance(tmp_path)[1].images()] == ["a", "b", "h"]


@pytest.mark.parametrize("how, why", [
    ({}, None), ({"short": True}, "Glance received something else than was sent"),
    ({"status": {"put": 413}}, r"Glance's store is full, and nothing of it was kept \(no room\)"),
    ({"status": {"put": 500}}, "Glance: PUT /images/i/file: 500 no room. Look at"),
])
def test_an_upload(tmp_path, how, why):
    (tmp_path / "root.img").write_bytes(b"content")
    images, to = glance(tmp_path, **how)
    if why:
        with pytest.raises(CloudError, match=why):
            to.upload("i", str(tmp_path / "root.img"))
    else:
        to.upload("i", str(tmp_path / "root.img"))
        assert [call[:2] for call in images.asked] == [("put", "/images/i/file"), ("get", "/images/i")]


def test_what_glance_is_told(tmp_path):
    images, to = glance(tmp_path)
    to.create({"id": "i"})
    to.update("i", {"name": "n", "our": "x", "gone": None})
    to.delete("i")
    assert images.asked == [("post", "/images", {"id": "i"}), ("patch", "/images/i", [
        {"op": "remove", "path": "/gone"}, {"op": "replace", "path": "/name", "value": "n"}, {"op": "add", "path": "/our", "value": "x"}]),
        ("delete", "/images/i", None)]
    (tmp_path / "left").touch()
    assert to.stored() == {"left"}
    to.drop("left")
    assert to.stored() == set()


@pytest.mark.parametrize("status, error", [(409, glance_api.Taken), (403, CloudError)])
def test_an_id_is_never_given_twice(tmp_path, status, error):
    with pytest.raises(error):
        glance(tmp_path, status={"post": status})[1].create({"id": "i"})


@pytest.mark.parametrize("status, fails", [(404, False), (204, False), (409, True)])
def test_an_image_that_has_gone_need_not_go(tmp_path, status, fails):
    to = glance(tmp_path, status={"delete": status})[1]
    if fails:
        with pytest.raises(CloudError, match="DELETE /images/i: 409"):
            to.delete("i")
    else:
        to.delete("i")


def test_how_glance_logs_in(tmp_path):
    path = tmp_path / "glance-api.conf"
    path.write_text("# comments alone\n[keystone_authtoken]\n")
    with pytest.raises(session.NotThere, match="it does not say how Glance logs in. our.cloud.cloud writes it"):
        glance_api.credentials(str(path))
    with pytest.raises(session.NotThere):
        glance_api.credentials(str(tmp_path / "none"))


# --- the machine

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


# projects' steps

PROJECT = {"projects": {"lab": {"id": "p1"}}, "users": {"ada": {"id": "u1"}}}
SSH, DEFAULT = Rule("ingress", "IPv4", "tcp", 22, 22, "192.0.2.0/24"), Rule("egress", "IPv6")


class Projects:
    """A cloud that notes what steps do to a project; its groups are as neutron tells them."""

    def __init__(self, **groups):
        told = {"security_groups": [
            {"id": f"id-{name}", "name": name, "project_id": "p1", "description": "", "tags": [],
             "security_group_rules": [{"id": f"r-{number}", "direction": rule.direction, "ethertype": rule.ethertype, "protocol": rule.protocol or None,
                                       "port_range_min": rule.low, "port_range_max": rule.high, "remote_ip_prefix": rule.remote or None}
                                      for number, rule in enumerate(rules)]} for name, rules in groups.items()]}
        good = answers({"any": {}})
        self.cloud = fake_cloud.Cloud(happens={
            "create_security_group": lambda cloud, **more: Thing(id="id-new"), "put": lambda cloud, *dummy, **more: good("any"),
            "delete": lambda cloud, *dummy, **more: good("any")})
        self.cloud._placement = answers({"/security-groups?project_id=p1": told})
        self.there = projects.Tenancy(Thing(**PROJECT), groups={"lab": {"web": {"id": "id-web", "rules": {SSH: "r-ssh"}, "tags": []}}})

    def do(self, verb, kind, name, was=None, **values):
        projects.do(self.cloud, self.there, projects.Step(verb, kind, name, values, was or {}))
        return self.cloud.calls


WEB = {"project": "lab", "group": "web"}


def test_quotas_go_to_the_service_that_counts():
    one = Projects()
    one.do("change", "quota", "compute of lab", instances=4)
    assert one.do("change", "quota", "network of lab", networks=5) == [
        ("put", "/os-quota-sets/p1", {"json": {"quota_set": {"instances": 4}}}), ("put", "/quotas/p1", {"json": {"quota": {"network": 5}}})]


def test_keys_are_their_users():
    one = Projects()
    one.do("make", "key", "laptop of ada", key="laptop", public_key="ssh-ed25519 A", user="ada")
    assert one.do("remove", "key", "laptop of ada", {"key": "laptop", "user": "ada"}) == [
        ("create_keypair", {"name": "laptop", "public_key": "ssh-ed25519 A", "user_id": "u1"}), ("delete_keypair", "laptop", {"user_id": "u1"})]


@pytest.mark.parametrize("verb, was, values, calls", [
    ("change", {}, {**WEB, "description": "new"}, [("update_security_group", "id-web", {"description": "new"})]),
    ("remove", WEB, {}, [("delete_security_group", "id-web")]),
    ("mark", {}, WEB, [("put", "/security-groups/id-web/tags/our-cloud")]),
    ("unmark", WEB, {}, [("delete", "/security-groups/id-web/tags/our-cloud")]),
])
def test_a_group(verb, was, values, calls):
    assert Projects().do(verb, "security group", "web of lab", was, **values) == calls


def test_a_new_group_loses_the_rules_that_neutron_gave_it():
    one = Projects(db=[Rule("egress", "IPv4"), DEFAULT])
    one.do("make", "security group", "db of lab", project="lab", group="db", description="")
    calls = one.do("remove", "rule", "egress of db", {"project": "lab", "group": "db", "rule": DEFAULT})
    assert calls == [("create_security_group", {"name": "db", "description": "", "project_id": "p1"}), ("delete_security_group_rule", "r-1")]


def test_a_rule_that_neutron_did_not_give_need_not_go():
    """What new groups have can be changed in neutron."""
    one = Projects(db=[])
    one.do("make", "security group", "db of lab", project="lab", group="db", description="")
    assert len(one.do("remove", "rule", "egress of db", {"project": "lab", "group": "db", "rule": DEFAULT})) == 1


@pytest.mark.parametrize("remote, more", [
    ("192.0.2.0/24", {"remote_ip_prefix": "192.0.2.0/24"}), ("", {}), ("web", {"remote_group_id": "id-web"}), ("default", {"remote_group_id": "id-default"}),
])
def test_a_rule_is_made(remote, more):
    """The default group of a project is neutron's, and is asked for."""
    one = Projects(web=[], default=[])
    calls = one.do("make", "rule", "ssh to web", **WEB, rule=Rule("ingress", "IPv4", "tcp", 22, 23, remote))
    assert calls == [("create_security_group_rule", {"security_group_id": "id-web", "project_id": "p1", "direction": "ingress", "ethertype": "IPv4",
                                                     "protocol": "tcp", "port_range_min": 22, "port_range_max": 23, **more})]


def test_a_rule_goes():
    assert Projects().do("remove", "rule", "ssh to web", {**WEB, "rule": SSH}) == [("delete_security_group_rule", "r-ssh")]


def test_without_a_cloud_a_check_tells_all_and_a_run_stops(monkeypatch):
    def none():
        raise session.NotThere("one", "cloud admin", "it is not there")

    monkeypatch.setattr(session, "connect", none)
    declared = [{"name": "lab", "users": [{"name": "ada"}]}]
    found = [(step.verb, step.kind, step.name) for step in projects.ensure(declared, {"ada": "pw"}, True)]
    assert {("make", "project", "lab"), ("make", "user", "ada")} <= set(found)
    with pytest.raises(session.NotThere):
        projects.ensure(declared, {"ada": "pw"}, False)
    with pytest.raises(CloudError, match="the user ada has no password"):
        projects.ensure(declared, {}, True)


@pytest.mark.parametrize("check", [True, False])
def test_what_is_done_is_what_is_planned(monkeypatch, check):
    done, one = [], Projects()
    monkeypatch.setattr(session, "connect", lambda: one.cloud)
    monkeypatch.setattr(projects, "look", lambda connection, declared: one.there)
    monkeypatch.setattr(projects, "plan", lambda declared, there: ["first", "second"])
    monkeypatch.setattr(projects, "do", lambda connection, there, step: done.append(step))
    assert projects.ensure([], {}, check) == ["first", "second"] and done == ([] if check else ["first", "second"])
