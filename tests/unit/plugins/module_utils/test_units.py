# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Units are started, and restarted when and only when it is needed, on a systemd of the test's own."""

from __future__ import annotations

import dataclasses
import grp
import os
import pathlib
import pwd
import re

import pytest

from ansible_collections.our.cloud.plugins.module_utils._cloud import units
from ansible_collections.our.cloud.plugins.module_utils._common.errors import CloudError


class Systemd:
    """Knows units, and does at a start what the drop-in says."""

    def __init__(self, *names):
        self.units = {name: {"ActiveState": "inactive", "UnitFileState": "disabled"} for name in names}
        self.calls, self.failing, self.silent, self.clock = [], set(), 0, 0.0

    def call(self, *argv):
        self.calls.append(" ".join(argv[1:]))
        verb, names = argv[1], [name for name in argv[2:] if not name.startswith("-")]
        for name in names:
            if verb == "enable":
                self.units[name]["UnitFileState"] = "enabled"
            elif verb == "disable":
                self.units[name]["UnitFileState"] = "disabled"
            elif verb == "stop":
                self.units[name]["ActiveState"] = "inactive"
            elif name in self.failing:
                self.units[name]["ActiveState"] = "failed"
                raise CloudError("node", " ".join(argv), "Job failed")
            else:
                self.begin(name, "ExecReload" if verb == "reload" else "ExecStartPre")
        return ""

    def begin(self, name, command="ExecStartPre"):
        self.units[name]["ActiveState"] = "active"
        text = pathlib.Path(units.UNITS, name + ".d/our-cloud.conf").read_text()
        noted, path = re.search(command + r" = .*echo (\w+ \w+) >(\S+)'", text).groups()
        pathlib.Path(path).parent.mkdir(parents=True, exist_ok=True)
        pathlib.Path(path).write_text(noted + "\n")

    def show(self, names):
        nothing = {"ActiveState": "inactive", "UnitFileState": "", "LoadState": "not-found"}
        return {name: {"SubState": "", "Result": "success", "NeedDaemonReload": "no", "LoadState": "loaded", **self.units.get(name, nothing)} for name in names}

    def told(self, unit):
        return f"the journal of {unit.name}"

    def is_enabled(self, name):
        return self.units[name]["init"] == "enabled"

    def answers(self, address, path):
        self.silent -= 1
        return "" if self.silent < 0 else f"nobody at {address}{path}"

    def now(self):
        return self.clock

    def sleep(self, seconds):
        self.clock += seconds


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch):
    for name in ("UNITS", "NOTES", "UWSGI"):
        monkeypatch.setattr(units, name, str(tmp_path / name))
    # files of the test belong to whoever runs it
    ensure = units.config_files.ensure
    mine = {"owner": pwd.getpwuid(os.geteuid()).pw_name, "group": grp.getgrgid(os.getegid()).gr_name}
    monkeypatch.setattr(units.config_files, "ensure", lambda files, check: ensure([dataclasses.replace(file, **mine) for file in files], check))
    return tmp_path


@pytest.fixture
def conf(root):
    path = root / "a.conf"
    path.write_text("1\n")
    return path


def test_from_nothing_to_a_second_run(conf):
    systemd = Systemd("a.service", "b.service")
    wanted = [units.Unit("a", files=(str(conf),)), units.Unit("b")]
    check = units.ensure(wanted, True, system=systemd)
    assert check.changed and systemd.calls == []
    result = units.ensure(wanted, False, system=systemd)
    assert result.done == check.done == ("enable a.service", "enable b.service", "start a.service: it is inactive", "start b.service: it is inactive")
    assert systemd.calls == ["daemon-reload", "enable --quiet a.service b.service", "start a.service b.service"]
    systemd.calls.clear()
    for check in (True, False):
        assert units.ensure(wanted, check, system=systemd) == units.Outcome()
    assert systemd.calls == []


def test_only_the_one_whose_file_changed_is_restarted(conf):
    systemd = Systemd("a.service", "b.service")
    wanted = [units.Unit("a", files=(str(conf),)), units.Unit("b")]
    units.ensure(wanted, False, system=systemd)
    assert units.ensure(wanted, True, [str(conf)], systemd).done == (f"restart a.service: changed: {conf}",)
    conf.write_text("2\n")
    systemd.calls.clear()
    assert units.ensure(wanted, False, [str(conf)], systemd).done == (f"restart a.service: changed: {wanted[0].drop_in}, {conf}",)
    assert systemd.calls == ["daemon-reload", "restart a.service"]
    assert not units.ensure(wanted, False, system=systemd).changed


def test_a_run_that_ended_before_the_restart_is_caught_up(conf):
    systemd = Systemd("a.service")
    wanted = [units.Unit("a", files=(str(conf),))]
    units.ensure(wanted, False, system=systemd)
    conf.write_text("2\n")
    # the drop-in is written, systemd is told, and that is all
    pathlib.Path(wanted[0].drop_in).write_text(units.drop_in(wanted[0], units.digests(wanted[0])))
    assert units.ensure(wanted, True, system=systemd).done == ("restart a.service: it runs with an older configuration",)
    assert units.ensure(wanted, False, system=systemd).done == ("restart a.service: it runs with an older configuration",)
    assert not units.ensure(wanted, False, system=systemd).changed


def test_who_was_restarted_by_somebody_else_is_left_alone(conf):
    systemd = Systemd("a.service")
    wanted = [units.Unit("a", files=(str(conf),))]
    units.ensure(wanted, False, system=systemd)
    systemd.begin("a.service")
    assert not units.ensure(wanted, False, system=systemd).changed


def test_a_reload_is_enough_unless_the_drop_in_changes(conf):
    systemd = Systemd("a.service")
    wanted = [units.Unit("a", files=(str(conf),), reload=True)]
    units.ensure(wanted, False, system=systemd)
    conf.write_text("2\n")
    systemd.calls.clear()
    units.ensure(wanted, False, system=systemd)
    assert systemd.calls == ["daemon-reload", "reload a.service"]
    assert not units.ensure(wanted, False, system=systemd).changed
    wanted = [dataclasses.replace(wanted[0], options={"Service": {"Nice": 5}}), *wanted[1:]]
    assert units.ensure(wanted, True, system=systemd).done == (f"restart a.service: changed: {wanted[0].drop_in}",)
    systemd.calls.clear()
    units.ensure(wanted, False, system=systemd)
    assert systemd.calls == ["daemon-reload", "restart a.service"]


def test_the_files_of_a_directory_count(root):
    (root / "d").mkdir()
    systemd, wanted = Systemd("a.service"), [units.Unit("a", files=(str(root / "d"),))]
    units.ensure(wanted, False, system=systemd)
    assert units.ensure(wanted, True, [str(root / "d/new")], systemd).done == (f"restart a.service: changed: {root}/d/new",)
    (root / "d/new").write_text("1\n")
    assert units.ensure(wanted, False, system=systemd).changed
    assert not units.ensure(wanted, False, system=systemd).changed


def test_a_drop_in(conf):
    unit = units.Unit("a", exec="/usr/bin/a --b", groups=("ssl", "more"), options={"Service": {"Nice": 5}, "Unit": {"After": "b.service"}})
    text = units.drop_in(unit, "1 2")
    assert "[Service]\nExecStart =\nExecStart = /usr/bin/a --b\nTimeoutStartSec = 900\n" \
        "RuntimeDirectoryPreserve = true\nSupplementaryGroups = ssl more\nNice = 5\n" in text
    assert "[Unit]\nAfter = b.service\n" in text
    assert f"ExecStartPre = +/bin/sh -c 'mkdir -p {units.NOTES} && echo 1 2 >{units.NOTES}/a'\n" in text


def test_an_application_of_uwsgi(root):
    systemd = Systemd("nova-api.service")
    wanted = [units.Unit("nova-api", wsgi={"port": 8774, "module": "/usr/bin/nova-api-wsgi", "processes": 2, "threads": None, "options": {"start-time": "%t"}})]
    units.ensure(wanted, False, system=systemd)
    text = (root / "UWSGI/nova-api.ini").read_text()
    for line in ("http-socket = 127.0.0.1:8774", "wsgi-file = /usr/bin/nova-api-wsgi", "processes = 2", "threads = 1", "start-time = %t",
                 "logto = /var/log/nova/nova-api.log"):
        assert line + "\n" in text
    assert f"ExecStart = /usr/bin/uwsgi_python3 --ini {root}/UWSGI/nova-api.ini\n" in pathlib.Path(wanted[0].drop_in).read_text()
    assert wanted[0].address == ("127.0.0.1", 8774)
    wanted[0].wsgi["processes"] = 1
    assert "restart nova-api.service" in units.ensure(wanted, False, system=systemd).done[0]


def test_an_application_below_a_path():
    unit = units.Unit("page", wsgi={"port": 8443, "module": "/page=/usr/share/page/wsgi.py", "options": {"logto": None}})
    text = units.wsgi_ini(unit)
    assert "mount = /page=/usr/share/page/wsgi.py\nmanage-script-name = true\n" in text and "wsgi-file" not in text and "logto" not in text
    assert unit.path == "/page/"


def test_a_unit_made_from_an_init_script():
    systemd = Systemd("a.service")
    systemd.units["a.service"] = {"ActiveState": "active", "UnitFileState": "generated", "init": "disabled"}
    assert "enable a.service" in units.ensure([units.Unit("a")], True, system=systemd).done
    systemd.units["a.service"]["init"] = "enabled"
    assert "enable a.service" not in units.ensure([units.Unit("a")], True, system=systemd).done


def test_ports_are_waited_for():
    systemd = Systemd("a.service")
    systemd.silent = 5
    wanted = [units.Unit("a", port="192.0.2.1:80", timeout=3)]
    assert wanted[0].address == ("192.0.2.1", 80)
    units.ensure(wanted, False, system=systemd)
    systemd.silent = 1000
    with pytest.raises(CloudError, match=r"a.service: no answer at 192.0.2.1:80 after 3 s \(nobody at .*the journal of a"):
        units.ensure(wanted, False, system=systemd)


def test_one_that_fails_is_named_with_its_last_words():
    systemd = Systemd("a.service", "b.service")
    systemd.failing.add("b.service")
    with pytest.raises(CloudError, match="b.service: systemctl start: Job failed\nb.service is failed .*the journal of b"):
        units.ensure([units.Unit("a"), units.Unit("b")], False, system=systemd)


class Impatient(Systemd):
    """A unit fails at its start, and systemd starts it again until it runs, after a while."""

    def __init__(self, name, after):
        super().__init__(name)
        self.failing.add(name)
        self.after = after

    def show(self, names):
        for name in self.failing:
            if self.units[name]["ActiveState"] == "failed":
                self.units[name]["ActiveState"] = "activating"
            if self.units[name]["ActiveState"] == "activating" and self.clock >= self.after:
                self.begin(name)
        return super().show(names)


def test_one_that_systemd_starts_again_is_waited_for():
    systemd = Impatient("a.service", after=20)
    assert units.ensure([units.Unit("a")], False, system=systemd).changed
    assert systemd.units["a.service"]["ActiveState"] == "active"
    with pytest.raises(CloudError, match="b.service: systemctl start: Job failed\nb.service is activating "):
        units.ensure([units.Unit("b")], False, system=Impatient("b.service", after=1000))


def test_a_front_leads_to_what_starts_after_its_reload(conf):
    systemd = Systemd("front.service", "api.service")
    front = units.Unit("front", files=(str(conf),), reload=True)
    units.ensure([front], False, system=systemd)
    conf.write_text("[api]\n")
    systemd.calls.clear()
    units.ensure([units.Unit("api"), front], False, system=systemd)
    assert [call for call in systemd.calls if call.split()[0] in ("start", "reload")] == ["reload front.service", "start api.service"]


def test_a_unit_that_is_not_there():
    systemd = Systemd()
    assert units.ensure([units.Unit("a")], True, system=systemd).done == ("enable a.service", "start a.service: it is inactive")
    with pytest.raises(CloudError, match="systemd does not know it .not-found.. The package"):
        units.ensure([units.Unit("a")], False, system=systemd)


def test_absent():
    systemd = Systemd("a.service")
    units.ensure([units.Unit("a")], False, system=systemd)
    leaving = [units.Unit("a", state="absent"), units.Unit("never", state="absent")]
    assert units.ensure(leaving, True, system=systemd).done == ("stop a.service", "disable a.service")
    systemd.calls.clear()
    assert units.ensure(leaving, False, system=systemd).done == ("stop a.service", "disable a.service")
    assert systemd.calls == ["disable --quiet a.service", "stop a.service", "daemon-reload"]
    assert not pathlib.Path(leaving[0].drop_in).exists()
    assert not units.ensure(leaving, False, system=systemd).changed
