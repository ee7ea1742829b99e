# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The tables of OpenStack's services: which of a package's migrations its database lacks, and the commands that apply them.

It compares the migrations of the package with those that the database has recorded. It only reads files and one row, so a run with
nothing to do starts no program of a service. The migration itself is done by that program.
"""

from __future__ import annotations

import ast
import concurrent.futures
import configparser
import contextlib
import dataclasses
import os
import pathlib
import pwd
import subprocess
import urllib.parse
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ansible_collections.our.cloud.plugins.module_utils._common.errors import CloudError

PACKAGES = pathlib.Path("/usr/lib/python3/dist-packages")
# Seconds for one program: neutron's 139 migrations take 45 on a slow machine.
SYNC_TIME = 1200
TOLD_LINES = 12
NO_SUCH_TABLE = 1146
CELL0 = "00000000-0000-0000-0000-000000000000"
# Nova fills them from its own configuration, so that passwords are neither in arguments nor copied to where a rotation would miss them.
CELL_DATABASE = "{scheme}://{username}:{password}@{hostname}/%s?{query}"
CELL_QUEUE = "{scheme}://{username}:{password}@{hostname}:{port}/{path}"
NO_QUEUE = "none:///"


class NotThere(Exception):
    """A file, a package or a database that is made before the tables are. The text says which."""


@dataclasses.dataclass(frozen=True)
class Schema:
    """One database, where its migrations are, and the command that brings them in."""

    name: str
    user: str
    config: str
    migrations: str
    sync: tuple[str, ...]
    section: str = "database"
    suffix: str = ""  # of the database's name in the configured URL
    cells: bool = False  # it has nova's list of cells


NOVA = "/etc/nova/nova.conf"
NOVA_SYNC = ("nova-manage", "db", "sync")
NEUTRON = "/etc/neutron/neutron.conf"
SCHEMAS = {
    "keystone": (Schema("keystone", "keystone", "/etc/keystone/keystone.conf", "keystone/common/sql/migrations/versions",
                        ("keystone-manage", "db_sync")),),
    "placement": (Schema("placement", "placement", "/etc/placement/placement.conf", "placement/db/sqlalchemy/alembic/versions",
                         ("placement-manage", "db", "sync"), section="placement_database"),),
    "glance": (Schema("glance", "glance", "/etc/glance/glance-api.conf", "glance/db/sqlalchemy/alembic_migrations/versions",
                      ("glance-manage", "db_sync")),),
    "cinder": (Schema("cinder", "cinder", "/etc/cinder/cinder.conf", "cinder/db/migrations/versions", ("cinder-manage", "db", "sync")),),
    "neutron": (Schema("neutron", "neutron", NEUTRON, "neutron/db/migration/alembic_migrations/versions",
                       ("neutron-db-manage", "--config-file", NEUTRON, "--config-file", "/etc/neutron/plugins/ml2/ml2_conf.ini", "upgrade", "heads")),),
    # in this order: cell0 is one of the databases that `db sync` asks the list of cells for
    "nova": (Schema("nova_api", "nova", NOVA, "nova/db/api/migrations/versions", ("nova-manage", "api_db", "sync"), section="api_database", cells=True),
             Schema("nova_cell0", "nova", NOVA, "nova/db/main/migrations/versions", NOVA_SYNC, suffix="_cell0"),
             Schema("nova", "nova", NOVA, "nova/db/main/migrations/versions", NOVA_SYNC)),
}


@dataclasses.dataclass(frozen=True)
class Cell:
    """An entry of nova's list of cells."""

    uuid: str
    name: str
    queue: str  # its URL, with words in the place of its parts
    database: str  # likewise


@dataclasses.dataclass(frozen=True)
class Work:
    """What one service's databases lack."""

    name: str  # of the service
    lacks: Sequence[str]  # in words
    commands: Sequence[tuple[str, ...]]  # that end it, in their order


# -- what the package has


def revisions_of(text: str) -> dict[str, list[str]]:
    """{revision: those that come with it} of one migration file; nothing if it is none."""
    said = {}
    for node in ast.parse(text).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id in ("revision", "down_revision", "depends_on"):
            with contextlib.suppress(ValueError):
                said[node.targets[0].id] = ast.literal_eval(node.value)
    if not isinstance(said.get("revision"), str):
        return {}
    before = []
    for key in ("down_revision", "depends_on"):
        value = said.get(key) or ()
        before.extend([value] if isinstance(value, str) else value)
    return {said["revision"]: before}


def packaged(folder: pathlib.Path) -> dict[str, list[str]]:
    """{revision: those that come with it} of all migrations below a folder."""
    found = {}
    for path in sorted(folder.glob("**/*.py")):
        found.update(revisions_of(path.read_text(encoding="utf-8")))
    if not found:
        raise NotThere(f"{folder} has no migrations")
    return found


def outstanding(revisions: Mapping[str, Iterable[str]], recorded: Iterable[str]) -> list[str]:
    """The revisions that a database lacks which has recorded these. KeyError tells one that the package does not know."""
    had, ahead = set(), list(recorded)
    while ahead:
        revision = ahead.pop()
        if revision not in had:
            had.add(revision)
            ahead.extend(revisions[revision])
    return sorted(set(revisions) - had)


# -- what the database has


def url_of(schema: Schema) -> str:
    """The database's URL in the service's configuration."""
    # `$` is oslo's, `%` nobody's: nothing is interpolated here; a key that is repeated is a list there
    parser = configparser.RawConfigParser(strict=False)
    try:
        with open(schema.config, encoding="utf-8") as file:
            parser.read_file(file)
        url = parser.get(schema.section, "connection")
    except (OSError, configparser.Error) as error:
        raise NotThere(f"{schema.config}: {error}") from error
    parts = urllib.parse.urlsplit(url)
    return parts._replace(path=parts.path + schema.suffix).geturl()


def arguments_of(url: str) -> dict[str, Any]:
    """What pymysql wants to know, from a URL in the way of SQLAlchemy."""
    parts = urllib.parse.urlsplit(url)
    query = dict(urllib.parse.parse_qsl(parts.query))
    arguments = {"host": parts.hostname, "user": urllib.parse.unquote(parts.username or ""), "password": urllib.parse.unquote(parts.password or ""),
                 "database": parts.path.strip("/"), "port": parts.port or 3306, "charset": query.get("charset", "utf8mb4"),
                 "connect_timeout": 20, "read_timeout": 60}
    if query.get("ssl_ca"):
        arguments["ssl_ca"] = query["ssl_ca"]
    return arguments


def ask(url: str, cells: bool) -> tuple[list[str], list[Cell]]:
    """(recorded revisions, nova's cells or none) of a database."""
    import pymysql

    def rows(cursor, query):
        try:
            cursor.execute(query)
        except pymysql.err.ProgrammingError as error:
            if error.args[0] == NO_SUCH_TABLE:
                return []
            raise
        return list(cursor.fetchall())

    try:
        with contextlib.closing(pymysql.connect(**arguments_of(url))) as connection, connection.cursor() as cursor:
            recorded = [row[0] for row in rows(cursor, "SELECT version_num FROM alembic_version")]
            mapped = [Cell(*row) for row in (rows(cursor, "SELECT uuid, name, transport_url, database_connection FROM cell_mappings") if cells else ())]
    except pymysql.err.MySQLError as error:
        raise NotThere(f"database {arguments_of(url)['database']}: {error.args[-1] if error.args else error}") from error
    return recorded, mapped


# -- what is to be done


def cell_work(mapped: Iterable[Cell], database: str) -> tuple[list[str], list[tuple[str, ...]]]:
    """(what nova's list of cells lacks, the commands) when the main database has this name."""
    lacks: list[str] = []
    commands: list[tuple[str, ...]] = []
    for name, uuid, queue, kept in (("cell0", CELL0, NO_QUEUE, database + "_cell0"), ("cell1", None, CELL_QUEUE, database)):
        wanted = CELL_DATABASE % kept
        found = next((cell for cell in mapped if (cell.uuid == uuid if uuid else cell.name == name)), None)
        if not found:
            lacks.append(f"no {name}")
            commands.append(("nova-manage", "cell_v2", "map_cell0", "--database_connection", wanted) if uuid else
                            ("nova-manage", "cell_v2", "create_cell", "--name", name, "--database_connection", wanted, "--transport-url", queue))
        elif (found.queue, found.database) != (queue, wanted):
            lacks.append(f"{name} has other addresses")
            commands.append(("nova-manage", "cell_v2", "update_cell", "--cell_uuid", found.uuid, "--name", name,
                             "--database_connection", wanted, "--transport-url", queue))
    return lacks, commands


def look(name: str) -> Work:
    """What a service's databases lack. NotThere: it cannot be told, since something that comes before is missing."""
    lacks: list[str] = []
    commands: list[tuple[str, ...]] = []
    for schema in SCHEMAS[name]:
        revisions, url = packaged(PACKAGES / schema.migrations), url_of(schema)
        recorded, mapped = ask(url, schema.cells)
        try:
            missing = outstanding(revisions, recorded)
        except KeyError as error:
            raise CloudError(os.uname().nodename, f"database {schema.name}", f"it has migration {error.args[0]}, which the installed package does not know",
                             "A newer version was installed here: install that again, or restore a backup") from error
        if missing:
            lacks.append(f"{schema.name}: {len(missing)} of {len(revisions)} migrations")
            if schema.sync not in commands:
                commands.append(schema.sync)
        if schema.cells:
            texts, more = cell_work(mapped, arguments_of(url_of(SCHEMAS[name][-1]))["database"])
            lacks += [f"{schema.name}: {text}" for text in texts]
            commands += more
    return Work(name, lacks, commands)


def unmade(name: str, error: NotThere) -> Work:
    """All that a service needs, since it has nothing yet."""
    commands: list[tuple[str, ...]] = []
    for schema in SCHEMAS[name]:
        if schema.sync not in commands:
            commands.append(schema.sync)
        if schema.cells:
            commands += cell_work([], "nova")[1]
    return Work(name, [str(error)], commands)


# -- doing it


def run_as(user: str, command: tuple[str, ...]) -> subprocess.CompletedProcess:
    """Runs a command of a service, as its user."""
    entry = pwd.getpwnam(user)
    return subprocess.run(command, check=False, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=SYNC_TIME,
                          cwd="/", user=entry.pw_uid, group=entry.pw_gid, extra_groups=os.getgrouplist(user, entry.pw_gid),
                          env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", "HOME": entry.pw_dir})


def masked(text: str, secrets: Iterable[str | None]) -> str:
    """A text without the secrets in it."""
    for secret in secrets:
        if secret:
            text = text.replace(secret, "********")
    return text


def bring(work: Work) -> None:
    """Does it, and looks again."""
    host, user = os.uname().nodename, SCHEMAS[work.name][0].user
    secrets = {arguments_of(url_of(schema))["password"] for schema in SCHEMAS[work.name]}
    for command in work.commands:
        shown = " ".join(command)
        try:
            done = run_as(user, command)
        except (OSError, KeyError) as error:
            raise CloudError(host, f"`{shown}` as {user}", error, "Is the package of the service installed?") from error
        except subprocess.TimeoutExpired as error:
            raise CloudError(host, f"`{shown}` as {user}", f"not done within {SYNC_TIME} s",
                             "What does the database do? `mariadb -e 'show full processlist'` tells") from error
        if done.returncode:
            last = "\n".join(line for line in done.stdout.splitlines() if line.strip()).splitlines()[-TOLD_LINES:]
            raise CloudError(host, f"`{shown}` as {user}", f"exit status {done.returncode}: {masked(' | '.join(last), secrets)}",
                             f"/var/log/{work.name} may tell more")
    left = look(work.name)
    if left.commands:
        raise CloudError(host, f"the tables of {work.name}", f"after {'; '.join(' '.join(command) for command in work.commands)}: {', '.join(left.lacks)}",
                         f"/var/log/{work.name} may tell more")


def ensure(names: Iterable[str], check: bool) -> list[Work]:
    """Work that was done (or would be, in check mode) for these services, side by side."""
    def one(name):
        try:
            work = look(name)
        except NotThere as error:
            if not check:
                raise CloudError(os.uname().nodename, f"the tables of {name}", error, "Its package, its configuration and its database come before: "
                                 "our.cloud.cloud makes them, and corrects a wrong password") from error
            return unmade(name, error)
        if work.commands and not check:
            bring(work)
        return work

    with contextlib.ExitStack() as stack:
        pool = stack.enter_context(concurrent.futures.ThreadPoolExecutor(max_workers=len(SCHEMAS)))
        return [work for work in list(pool.map(one, names)) if work.commands]
