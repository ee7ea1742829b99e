# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the cloud asks MariaDB and the commands of services: each answer, each silence, each refusal."""

from __future__ import annotations

import os
import sys

import pytest
from api_samples import Thing, raises

from ansible_collections.our.cloud.plugins.module_utils._cloud import database, schema
from ansible_collections.our.cloud.plugins.module_utils._common.errors import CloudError


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
     (["abc"], [schema.Cell("u", "cell1", "rabbit", "mysql")])),
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
