# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which migrations a database lacks, nova's cells, and what is called for them."""

from __future__ import annotations

import dataclasses
import subprocess
import types

import pytest

from ansible_collections.our.cloud.plugins.module_utils._cloud import schema
from ansible_collections.our.cloud.plugins.module_utils._common.errors import CloudError

# Two branches from one root; contract c1 needs expand e1, so a database at c1 records c1 alone.
BRANCHES = {"base": [], "e1": ["base"], "e2": ["e1"], "c1": ["base", "e1"]}
CELL0 = schema.Cell(schema.CELL0, "cell0", "none:///", schema.CELL_DATABASE % "nova_cell0")
CELL1 = schema.Cell("u1", "cell1", schema.CELL_QUEUE, schema.CELL_DATABASE % "nova")


@pytest.mark.parametrize("text, found", [
    ("revision = 'b'\ndown_revision = 'a'\n", {"b": ["a"]}),
    ("revision = 'a'\ndown_revision = None\nbranch_labels = ('expand',)\n", {"a": []}),
    ('revision = "c"\ndown_revision = ("a", "b")\ndepends_on = ("d",)\n', {"c": ["a", "b", "d"]}),
    ("revision = name()\n", {}),
    ("import os\n", {}),
])
def test_revisions_of(text, found):
    assert schema.revisions_of(text) == found


@pytest.mark.parametrize("recorded, missing", [
    ([], ["base", "c1", "e1", "e2"]),
    (["base"], ["c1", "e1", "e2"]),
    (["c1"], ["e2"]),
    (["c1", "e2"], []),
])
def test_outstanding(recorded, missing):
    assert schema.outstanding(BRANCHES, recorded) == missing


def test_a_revision_of_a_newer_package():
    with pytest.raises(KeyError):
        schema.outstanding(BRANCHES, ["e3"])


def test_packaged(tmp_path):
    (tmp_path / "zed/expand").mkdir(parents=True)
    (tmp_path / "a.py").write_text("revision = 'a'\ndown_revision = None\n")
    (tmp_path / "zed/expand/b.py").write_text("revision = 'b'\ndown_revision = 'a'\n")
    (tmp_path / "__init__.py").write_text("")
    assert schema.packaged(tmp_path) == {"a": [], "b": ["a"]}
    with pytest.raises(schema.NotThere, match="has no migrations"):
        schema.packaged(tmp_path / "nothing")


def test_url_and_arguments(tmp_path):
    config = tmp_path / "nova.conf"
    config.write_text("[DEFAULT]\nx = 1\nx = 2\n[database]\nconnection = mysql+pymysql://nova:s3%40cret@192.0.2.1/nova?charset=utf8mb4&ssl_ca=/etc/ca.pem\n")
    url = schema.url_of(schema.Schema("nova_cell0", "nova", str(config), "", (), suffix="_cell0"))
    assert url == "mysql+pymysql://nova:s3%40cret@192.0.2.1/nova_cell0?charset=utf8mb4&ssl_ca=/etc/ca.pem"
    assert schema.arguments_of(url) == {"host": "192.0.2.1", "user": "nova", "password": "s3@cret", "database": "nova_cell0", "port": 3306,
                                        "charset": "utf8mb4", "ssl_ca": "/etc/ca.pem", "connect_timeout": 20, "read_timeout": 60}


@pytest.mark.parametrize("text", [None, "[DEFAULT]\n", "[database]\n", "connection = x\n"])
def test_url_of_what_is_not_configured(tmp_path, text):
    if text is not None:
        (tmp_path / "x.conf").write_text(text)
    with pytest.raises(schema.NotThere, match=r"x\.conf"):
        schema.url_of(schema.Schema("x", "x", str(tmp_path / "x.conf"), "", ()))


@pytest.mark.parametrize("mapped, lacks, verbs", [
    ([], ["no cell0", "no cell1"], ["map_cell0", "create_cell"]),
    ([CELL0], ["no cell1"], ["create_cell"]),
    ([CELL0, CELL1], [], []),
    ([CELL0, dataclasses.replace(CELL1, queue="rabbit://old")], ["cell1 has other addresses"], ["update_cell"]),
    ([dataclasses.replace(CELL0, database="mysql://old"), CELL1, dataclasses.replace(CELL1, name="far")], ["cell0 has other addresses"], ["update_cell"]),
])
def test_cells(mapped, lacks, verbs):
    found, commands = schema.cell_work(mapped, "nova")
    assert (found, [command[2] for command in commands]) == (lacks, verbs)


def test_cell_commands_have_no_secrets():
    assert schema.cell_work([CELL0], "nova")[1] == [
        ("nova-manage", "cell_v2", "create_cell", "--name", "cell1", "--database_connection", "{scheme}://{username}:{password}@{hostname}/nova?{query}",
         "--transport-url", "{scheme}://{username}:{password}@{hostname}:{port}/{path}")]


@pytest.fixture
def site(monkeypatch):
    """A nova whose databases are what `recorded` and `mapped` say, and a program that writes there."""
    there = types.SimpleNamespace(recorded={"nova_api": [], "nova_cell0": [], "nova": []}, mapped=[], called=[], fails=None, works=True)
    monkeypatch.setattr(schema, "packaged", lambda folder: {"a": [], "b": ["a"]})
    monkeypatch.setattr(schema, "url_of", lambda one: f"mysql+pymysql://nova:hidden@h/{one.name}")
    monkeypatch.setattr(schema, "ask", lambda url, cells: (there.recorded[schema.arguments_of(url)["database"]], there.mapped if cells else []))

    def run_as(user, command):
        there.called.append((user, command))
        if there.fails and there.fails in command:
            return subprocess.CompletedProcess(command, 1, "first\n\npassword hidden is wrong\n")
        for name in (["nova_api"] if "api_db" in command else ["nova", "nova_cell0"] if "db" in command else []) if there.works else []:
            there.recorded[name] = ["b"]
        if "map_cell0" in command:
            there.mapped.append(CELL0)
        if "create_cell" in command:
            there.mapped.append(CELL1)
        return subprocess.CompletedProcess(command, 0, "")

    monkeypatch.setattr(schema, "run_as", run_as)
    return there


def test_all_of_nova_in_its_order(site):
    (work,) = schema.ensure(["nova"], check=False)
    assert [command[1:3] for dummy, command in site.called] == [("api_db", "sync"), ("cell_v2", "map_cell0"), ("cell_v2", "create_cell"), ("db", "sync")]
    assert {user for user, dummy in site.called} == {"nova"}
    assert work.lacks == ["nova_api: 2 of 2 migrations", "nova_api: no cell0", "nova_api: no cell1", "nova_cell0: 2 of 2 migrations", "nova: 2 of 2 migrations"]
    assert schema.ensure(["nova"], check=False) == []


def test_check_mode_calls_nothing(site):
    site.recorded["nova_api"] = ["b"]
    (work,) = schema.ensure(["nova"], check=True)
    assert (site.called, [command[1] for command in work.commands]) == ([], ["cell_v2", "cell_v2", "db"])


def test_nothing_there_yet(site, monkeypatch):
    def ask(url, cells):
        raise schema.NotThere("database nova: Access denied")

    monkeypatch.setattr(schema, "ask", ask)
    (work,) = schema.ensure(["nova"], check=True)
    assert work.lacks == ["database nova: Access denied"]
    assert [command[1] for command in work.commands] == ["api_db", "cell_v2", "cell_v2", "db"]
    with pytest.raises(CloudError, match=r"the tables of nova: database nova: Access denied\. Its package"):
        schema.ensure(["nova"], check=False)


def test_a_command_that_fails_tells_its_end_without_the_password(site):
    site.fails = "create_cell"
    with pytest.raises(CloudError, match=r"exit status 1: first \| password \*+ is wrong\. /var/log/nova"):
        schema.ensure(["nova"], check=False)
    assert "hidden" not in str(site.called)


def test_a_command_that_does_nothing(site):
    site.works = False
    with pytest.raises(CloudError, match="the tables of nova: after .*: nova_api: 2 of 2 migrations"):
        schema.ensure(["nova"], check=False)


def test_a_database_from_the_future(site):
    site.recorded["nova_api"] = ["z"]
    with pytest.raises(CloudError, match="has migration z, which the installed package does not know. A newer version"):
        schema.ensure(["nova"], check=False)
