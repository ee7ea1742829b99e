# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Databases and their users in the MariaDB of this machine, where root logs in by the socket. Passwords are proved by a login."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Optional

from ansible_collections.our.cloud.plugins.module_utils._common.errors import CloudError

SOCKET = "/run/mysqld/mysqld.sock"
# what pymysql raises when the server refuses somebody: wrong password, no right to use the database
REFUSED = (1044, 1045, 1698)
MISSING = (2002, 2003)


@dataclass(frozen=True)
class User:
    """A user as it is to be."""

    name: str
    password: str
    databases: Sequence[str] = ()  # in which it may do everything


@dataclass(frozen=True)
class Step:
    """One thing to do."""

    what: str  # in words
    statement: str
    arguments: tuple[str, ...] = ()


class Server:
    """MariaDB on this machine: as root by its socket, as anybody else by TLS at its address."""

    def __init__(self, host: str, ca: str) -> None:
        import pymysql

        self.host, self.ca, self.library = host, ca, pymysql

    @contextlib.contextmanager
    def root(self) -> Iterator[Any]:
        """A cursor, or None if nobody is at the socket."""
        try:
            connection = self.library.connect(unix_socket=SOCKET, user="root", charset="utf8mb4", autocommit=True, connect_timeout=30)
        except self.library.err.OperationalError as error:
            if error.args[0] not in MISSING:
                raise CloudError(os.uname().nodename, "MariaDB", error.args[-1], "root must be able to log in by the socket, as Debian sets it up") from None
            yield None
            return
        with contextlib.closing(connection):
            yield connection.cursor()

    def logs_in(self, user: str, password: str) -> bool:
        """Whether the password is right, the way that services log in."""
        try:
            self.library.connect(host=self.host, user=user, password=password, ssl={"ca": self.ca}, connect_timeout=30).close()
        except self.library.err.OperationalError as error:
            if error.args[0] in REFUSED:
                return False
            raise CloudError(os.uname().nodename, f"MariaDB at {self.host}", error.args[-1],
                             "It must answer there with the certificate of the cloud's CA; see journalctl -u mariadb") from None
        return True


def ensure(server: Optional[Server], databases: Sequence[str], users: Sequence[User], check: bool) -> list[str]:
    """Make databases and users; what was done, as sentences. server: none if its library is not installed yet."""
    if server is None:
        return _all(databases, users)
    with server.root() as cursor:
        if cursor is None and check:
            return _all(databases, users)
        if cursor is None:
            raise CloudError(os.uname().nodename, SOCKET, "MariaDB does not answer there", "See systemctl status mariadb")
        steps = _plan(server, cursor, databases, users)
        if not check:
            for step in steps:
                cursor.execute(step.statement, step.arguments)
            for user in users:
                if not server.logs_in(user.name, user.password):
                    raise CloudError(os.uname().nodename, "MariaDB", f"{user.name} cannot log in with the password that was set", "Run this again")
    return [step.what for step in steps]


def _all(databases: Sequence[str], users: Sequence[User]) -> list[str]:
    return [f"create database {name}" for name in databases] + [f"create user {user.name}" for user in users]


def _plan(server: Server, cursor: Any, databases: Sequence[str], users: Sequence[User]) -> list[Step]:
    cursor.execute("SHOW DATABASES")
    there = {row[0] for row in cursor.fetchall()}
    # three bytes: what the services' own indexes are made for
    steps = [Step(f"create database {name}", f"CREATE DATABASE `{name}` CHARACTER SET utf8mb3") for name in databases if name not in there]
    cursor.execute("SELECT User FROM mysql.user WHERE Host = '%'")
    known = {row[0] for row in cursor.fetchall()}
    for user in users:
        name = user.name
        granted = ""
        if name not in known:
            steps.append(Step(f"create user {name}", "CREATE USER %s@'%%' IDENTIFIED BY %s", (name, user.password)))
        else:
            if not server.logs_in(name, user.password):
                steps.append(Step(f"set the password of {name}", "ALTER USER %s@'%%' IDENTIFIED BY %s ACCOUNT UNLOCK", (name, user.password)))
            cursor.execute("SHOW GRANTS FOR %s@'%%'", (name,))
            granted = "\n".join(row[0] for row in cursor.fetchall())
        for database in user.databases:
            if f"GRANT ALL PRIVILEGES ON `{database}`.*" not in granted.replace("\\_", "_"):
                # an underscore in a grant stands for any character
                pattern = database.replace("_", "\\_")
                steps.append(Step(f"grant {database} to {name}", f"GRANT ALL PRIVILEGES ON `{pattern}`.* TO %s@'%%'", (name,)))
    return steps
