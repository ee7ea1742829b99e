# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is asked of MariaDB, and what is said to it; and nodes that come onto nova's list."""

from __future__ import annotations

import contextlib
import re

import pytest

from ansible_collections.our.cloud.plugins.module_utils._cloud import compute_hosts, database
from ansible_collections.our.cloud.plugins.module_utils._common.errors import CloudError


class MariaDB:
    """Knows databases, users with their passwords, and grants, by the statements that it is told."""

    def __init__(self, up=True):
        self.up, self.databases, self.passwords, self.grants, self.said, self.rows = up, {"mysql"}, {}, {}, [], []
        self.services, self.mapped = set(), set()

    @contextlib.contextmanager
    def root(self):
        yield self if self.up else None

    def logs_in(self, user, password):
        return self.passwords.get(user) == password

    def execute(self, statement, arguments=()):
        if statement == "SHOW DATABASES":
            self.rows = [(name,) for name in self.databases]
        elif statement.startswith("SELECT User"):
            self.rows = [(name,) for name in self.passwords]
        elif statement.startswith("SHOW GRANTS"):
            self.rows = [(f"GRANT ALL PRIVILEGES ON `{pattern}`.* TO `{arguments[0]}`@`%`",) for pattern in self.grants.get(arguments[0], [])]
        elif "information_schema" in statement:
            self.rows = [(1 if "nova_api" in self.databases else 0,)]
        elif "nova.services" in statement:
            self.rows = [(name,) for name in self.services]
        elif "host_mappings" in statement:
            self.rows = [(name,) for name in self.mapped]
        else:
            self.said.append(statement)
            name = re.search("`(.*?)`", statement)
            if statement.startswith("CREATE DATABASE"):
                self.databases.add(name[1])
            elif "IDENTIFIED BY" in statement:
                self.passwords[arguments[0]] = arguments[1]
            else:
                self.grants.setdefault(arguments[0], []).append(name[1])

    def fetchall(self):
        return self.rows

    def fetchone(self):
        return self.rows[0]


NOVA = database.User("nova", "one", ["nova_api", "nova"])


def test_from_nothing_to_a_second_run():
    server = MariaDB()
    wanted = (["nova_api", "nova"], [NOVA])
    done = database.ensure(server, *wanted, check=True)
    assert done == ["create database nova_api", "create database nova", "create user nova", "grant nova_api to nova", "grant nova to nova"]
    assert server.said == []
    assert database.ensure(server, *wanted, check=False) == done
    assert server.grants == {"nova": ["nova\\_api", "nova"]}
    assert database.ensure(server, *wanted, check=False) == []


def test_a_wrong_password_is_set_and_another_user_left_alone():
    server = MariaDB()
    database.ensure(server, ["nova"], [NOVA], check=False)
    server.passwords.update(nova="by hand", other="theirs")
    assert database.ensure(server, ["nova"], [NOVA], check=False) == ["set the password of nova"]
    assert server.passwords == {"nova": "one", "other": "theirs"}


def test_a_password_that_does_not_take():
    server = MariaDB()
    server.logs_in = lambda user, password: False
    with pytest.raises(CloudError, match="nova cannot log in with the password that was set"):
        database.ensure(server, [], [NOVA], check=False)


@pytest.mark.parametrize("server", [None, MariaDB(up=False)])
def test_where_there_is_none(server):
    assert database.ensure(server, ["nova"], [NOVA], check=True) == ["create database nova", "create user nova"]
    assert compute_hosts.ensure(server, ["n2", "n1"], 1, check=True) == ["n1", "n2"]


def test_it_must_answer():
    with pytest.raises(CloudError, match="MariaDB does not answer"):
        database.ensure(MariaDB(up=False), [], [], check=False)


def test_nodes_are_waited_for_and_put_on_the_list():
    server, clock = MariaDB(), [0.0]
    server.databases.add("nova_api")
    server.services, server.mapped = {"n1"}, {"n1"}

    def sleep(seconds):
        clock[0] += seconds
        if clock[0] > 3:
            server.services.add("n2")

    def ensure(names, check=False):
        return compute_hosts.ensure(server, names, 10, check, lambda: server.mapped.update(server.services), lambda: clock[0], sleep)

    assert ensure(["n1"]) == []
    assert ensure(["n1", "n2"], check=True) == ["n2"]
    assert ensure(["n1", "n2"]) == ["n2"] and 3 < clock[0] < 4
    assert ensure(["n1", "n2"]) == []
    with pytest.raises(CloudError, match="n3: nova-compute there has not reported for 10 s"):
        ensure(["n1", "n3"])


def test_a_node_that_nova_does_not_take():
    server = MariaDB()
    server.services = {"n1"}
    with pytest.raises(CloudError, match="n1: nova-manage cell_v2 discover_hosts has not put it on the list"):
        compute_hosts.ensure(server, ["n1"], 10, False, lambda: None)
