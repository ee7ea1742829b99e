# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes services run with their current configuration.

Our drop-in contains a digest of the unit's configuration, and writes it into a file below /run at each start of the service, whoever starts it.
A service is restarted if that file has not the current digest: also after a run that was interrupted between the change and the restart.
"""

from __future__ import annotations

import dataclasses
import hashlib
import http.client
import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Optional

from ansible_collections.our.cloud.plugins.module_utils._cloud import config_files, secrets
from ansible_collections.our.cloud.plugins.module_utils._common.errors import CloudError

UNITS = "/etc/systemd/system"
NOTES = "/run/our-cloud/units"
UWSGI = "/etc/our-cloud/uwsgi"
DROP_IN = "our-cloud.conf"
PROPERTIES = ("Id", "LoadState", "ActiveState", "SubState", "UnitFileState", "NeedDaemonReload", "Result")
# What uWSGI is told for every service. One process with one thread is what a small cloud needs; a unit may say otherwise.
WSGI = {
    "master": True, "plugins": "python3", "single-interpreter": True, "lazy-apps": True, "processes": 1, "threads": 1, "enable-threads": True,
    "thunder-lock": True, "no-orphans": True, "die-on-term": True, "exit-on-reload": True, "close-on-exec": True, "close-on-exec2": True,
    "buffer-size": 65535, "listen": 100, "rem-header": "Content-Length", "add-header": "Connection: close", "http-auto-chunked": True,
    "http-chunked-input": True, "wsgi-manage-chunked-input": True, "socket-timeout": 60, "disable-logging": True,
    # Between requests nothing but a thread of the system's runs: without one the queue hears no heartbeat and closes the connection.
    "env": "OS_OSLO_MESSAGING_RABBIT__HEARTBEAT_IN_PTHREAD=true",
}


@dataclasses.dataclass(frozen=True)
class Unit:
    """A unit of systemd as it is wanted."""

    name: str  # without .service if it is one
    files: tuple[str, ...] = ()  # that it reads, or folders, of which the files count
    exec: Optional[str] = ""  # its command; none: its package's
    wsgi: Optional[Mapping[str, Any]] = None  # what uWSGI runs: port, module, processes, threads, options; None: nothing
    groups: tuple[str, ...] = ()  # that it is in besides its own
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)  # {section: {key: value}} of its drop-in
    reload: bool = False  # it can read its files anew without a restart
    port: str = ""  # or HOST:PORT, where it answers when it has started; empty: not asked
    timeout: int = 600  # seconds until it must answer
    state: str = "started"  # or absent

    @property
    def full(self) -> str:
        return self.name if self.name.endswith((".socket", ".timer", ".target", ".path")) else self.name + ".service"

    @property
    def drop_in(self) -> str:
        return os.path.join(UNITS, self.full + ".d", DROP_IN)

    @property
    def note(self) -> str:
        return os.path.join(NOTES, self.name)

    @property
    def ini(self) -> str:
        return os.path.join(UWSGI, self.name + ".ini")

    @property
    def log(self) -> str:
        """Where Debian's services write, and their logrotate looks."""
        return f"/var/log/{self.name.partition('-')[0]}/{self.name}.log"

    @property
    def path(self) -> str:
        """What is asked for over HTTP, if it speaks that."""
        return (self.wsgi["module"].partition("=")[0] if "=" in self.wsgi["module"] else "") + "/" if self.wsgi else ""

    @property
    def address(self) -> Optional[tuple[str, int]]:
        asked = self.port or str((self.wsgi or {}).get("port", ""))
        if not asked:
            return None
        host, dummy, port = asked.rpartition(":")
        return host or "127.0.0.1", int(port)


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What was done about units, or would be, as service_units returns it."""

    done: tuple[str, ...] = ()  # sentences
    diff: tuple[dict[str, str], ...] = ()  # as Ansible shows it

    @property
    def changed(self) -> bool:
        """Whether anything was."""
        return bool(self.done or self.diff)


def wsgi_ini(unit: Unit) -> str:
    """What uWSGI is told of the unit: on loopback alone, the front end is before it."""
    asked = dict(unit.wsgi)
    port, program, more = asked.pop("port"), asked.pop("module"), asked.pop("options", None) or {}
    # below a path of the site, a file, or a module of Python
    kind = "mount" if "=" in program else "wsgi-file" if program.startswith("/") else "module"
    options = {**WSGI, "name": unit.name, "http-socket": f"127.0.0.1:{port}", kind: program, "manage-script-name": kind == "mount", "logto": unit.log}
    options.update({key: value for key, value in asked.items() if value is not None}, **more)
    return config_files.ini({"uwsgi": options})


def body(unit: Unit) -> str:
    """The drop-in without the digest."""
    sections = {name: dict(keys) for name, keys in unit.options.items()}
    service: dict = {}
    if unit.wsgi:
        service["ExecStart"] = ["", f"/usr/bin/uwsgi_python3 --ini {unit.ini}"]
        service["Type"] = "notify"
    elif unit.exec:
        service["ExecStart"] = ["", unit.exec]
    if unit.full.endswith(".service"):
        # Python on a machine that has much to do takes longer than systemd's minute and a half.
        service["TimeoutStartSec"] = 900
        # Debian gives a project's services one directory below /run, and who stops takes it from the others.
        service["RuntimeDirectoryPreserve"] = True
    if unit.groups:
        service["SupplementaryGroups"] = " ".join(unit.groups)
    if service:
        sections["Service"] = {**service, **sections.get("Service", {})}
    return config_files.ini(sections)


def digests(unit: Unit) -> str:
    """How the service is started, and what it reads."""
    what = hashlib.sha256()
    for path in unit.files + ((unit.ini,) if unit.wsgi else ()):
        for file in sorted(os.path.join(path, name) for name in os.listdir(path)) if os.path.isdir(path) else [path]:
            what.update(file.encode() + b"\0" + (_read(file) or b"(none)") + b"\0")
    return f"{hashlib.sha256(body(unit).encode()).hexdigest()[:16]} {what.hexdigest()[:16]}"


def drop_in(unit: Unit, noted: str) -> str:
    """The drop-in: it notes the digest when the service starts, with the rights of root, as the first command would not."""
    note = f"+/bin/sh -c 'mkdir -p {NOTES} && echo {noted} >{unit.note}'"
    section = "Socket" if unit.full.endswith(".socket") else "Service"
    keys = {"ExecStartPre": note}
    if unit.reload:
        keys["ExecReload"] = note
    return body(unit) + "\n" + config_files.section(section, keys)


def _read(path: str) -> Optional[bytes]:
    try:
        with open(path, "rb") as stream:
            return stream.read()
    except (FileNotFoundError, NotADirectoryError):
        return None


class System:
    """systemd, the files and the ports of this machine."""

    def call(self, *argv: str) -> str:
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        if done.returncode:
            raise CloudError(os.uname().nodename, " ".join(argv), (done.stderr or done.stdout).strip() or f"it ended with {done.returncode}")
        return done.stdout

    def show(self, names: Sequence[str]) -> dict[str, dict[str, str]]:
        """{full name: properties}"""
        text = self.call("systemctl", "show", "--property", ",".join(PROPERTIES), "--", *names)
        blocks = [dict(line.partition("=")[::2] for line in block.splitlines()) for block in text.strip().split("\n\n")]
        return dict(zip(names, blocks))

    def is_enabled(self, name: str) -> bool:
        """For units that systemd generates from init scripts, and whose properties do not tell."""
        return subprocess.run(["systemctl", "is-enabled", "--quiet", name], capture_output=True, check=False).returncode == 0

    def told(self, unit: Unit) -> str:
        """The last lines of a unit in the journal, and of its log."""
        done = subprocess.run(["journalctl", "--unit", unit.full, "--lines", "10", "--no-pager", "--output", "cat"],
                              capture_output=True, text=True, check=False)
        log = (_read(unit.log) or b"").decode(errors="replace").splitlines()[-10:]
        parts = [f"its journal ends: {done.stdout.strip() or '(empty)'}"] + ([f"{unit.log} ends: " + "\n".join(log)] if log else [])
        return secrets.mask("\n".join(parts))

    def answers(self, address: tuple[str, int], path: str) -> str:
        """Empty if the service answers there, over HTTP if there is a path; else why not."""
        try:
            if not path:
                socket.create_connection(address, timeout=5).close()
                return ""
            connection = http.client.HTTPConnection(*address, timeout=60)
            connection.request("GET", path)
            status = connection.getresponse().status
            connection.close()
            return f"it answers with HTTP status {status}" if status >= 500 else ""
        except (OSError, http.client.HTTPException) as error:
            return str(error) or type(error).__name__

    now: Callable[[], float] = staticmethod(time.monotonic)
    sleep: Callable[[float], None] = staticmethod(time.sleep)


def ensure(wanted: Sequence[Unit], check: bool, changed: Iterable[str] = (), system: Optional[System] = None) -> Outcome:
    """Bring units into the wanted state. changed: files that a check would have changed."""
    return _Run(wanted, check, set(changed), system or System()).run()


# Seconds for units that failed at their start and that systemd starts again.
RESTARTS = 180


class _Run:
    def __init__(self, wanted: Sequence[Unit], check: bool, changed: set[str], system: System) -> None:
        self.units = [unit for unit in wanted if unit.state == "started"]
        self.leaving = [unit for unit in wanted if unit.state != "started"]
        self.check, self.changed, self.system = check, changed, system
        self.done: list[str] = []
        self.diff: list[dict[str, str]] = []
        self.state: dict[str, dict[str, str]] = {}  # {full name: properties as systemd says them}

    def run(self) -> Outcome:
        self.look()
        self.leave()
        self.write()
        if not self.check:
            # systemd may have read one of them before a run that ended then
            self.look()
            if any(state.get("NeedDaemonReload") == "yes" for state in self.state.values()) or self.diff:
                self.system.call("systemctl", "daemon-reload")
                self.look()
            for unit in self.units:
                if self.state[unit.full]["LoadState"] != "loaded":
                    raise CloudError(os.uname().nodename, unit.full, f"systemd does not know it ({self.state[unit.full]['LoadState']})",
                                     "The package that brings it has to be installed first")
        self.enable()
        self.start()
        if not self.check:
            self.wait()
        return Outcome(tuple(self.done), tuple(self.diff))

    def look(self) -> None:
        self.state = self.system.show([unit.full for unit in self.units + self.leaving])

    def leave(self) -> None:
        there = [unit for unit in self.leaving if self.state[unit.full]["LoadState"] == "loaded"]
        running = [unit.full for unit in there if self.state[unit.full]["ActiveState"] not in ("inactive", "failed")]
        enabled = [unit.full for unit in there if self.enabled(unit, ("enabled",))]
        self.done += [f"stop {name}" for name in running] + [f"disable {name}" for name in enabled]
        if not self.check:
            if enabled:
                self.system.call("systemctl", "disable", "--quiet", *enabled)
            if running:
                self.system.call("systemctl", "stop", *running)
        for unit in self.leaving:
            for path in (unit.drop_in, unit.ini):
                self.keep(path, None)

    def write(self) -> None:
        for unit in self.units:
            if unit.wsgi:
                self.keep(unit.ini, wsgi_ini(unit))
            self.keep(unit.drop_in, drop_in(unit, digests(unit)))

    def keep(self, path: str, text: Optional[str]) -> None:
        """A file of ours has this text, or is not there."""
        file = config_files.File(path, "root", "root", "0644", text, state="absent" if text is None else "present")
        done = config_files.ensure([file], self.check)
        self.changed.update(done.paths)
        self.diff += done.diff

    def enable(self) -> None:
        names = [unit.full for unit in self.units if not self.enabled(unit)]
        self.done += [f"enable {name}" for name in names]
        if names and not self.check:
            self.system.call("systemctl", "enable", "--quiet", *names)

    def enabled(self, unit: Unit, states: tuple[str, ...] = ("enabled", "static", "indirect", "alias")) -> bool:
        state = self.state[unit.full].get("UnitFileState")
        return self.system.is_enabled(unit.full) if state == "generated" else state in states

    def start(self) -> None:
        # A front that is reloaded leads to what is started then, and some ask for each other while they start.
        steps: dict = {"reload": [], "start": [], "restart": []}
        for unit in self.units:
            verb, why = self.verb(unit)
            if verb:
                self.done.append(f"{verb} {unit.full}: {why}")
                steps[verb].append(unit.full)
        if self.check:
            return
        for verb, names in steps.items():
            if names:
                self.systemctl(verb, names)

    def verb(self, unit: Unit) -> tuple[str, str]:
        """What is to be done about a unit, and why."""
        if self.state[unit.full].get("ActiveState") not in ("active", "reloading", "activating"):
            return "start", f"it is {self.state[unit.full].get('ActiveState') or 'not there'}"
        own = unit.files + (unit.ini, unit.drop_in)
        mine = sorted(path for path in self.changed if path in own or os.path.dirname(path) in own)
        wanted, noted = digests(unit).split(), (_read(unit.note) or b"").decode().split()
        # what a check would have written is not in the digest
        if noted == wanted and not (self.check and mine):
            return "", ""
        why = "changed: " + ", ".join(mine) if mine else "it runs with an older configuration"
        return ("reload" if unit.reload and noted[:1] == wanted[:1] else "restart"), why

    def systemctl(self, verb: str, names: Sequence[str]) -> None:
        try:
            self.system.call("systemctl", verb, *names)
        except CloudError as error:
            asked = [unit for unit in self.units if unit.full in names]
            if verb != "reload" and self.restarted(asked):
                return
            bad = [unit for unit in asked if self.state[unit.full]["ActiveState"] != "active"] or asked
            raise CloudError(os.uname().nodename, ", ".join(unit.full for unit in bad), f"systemctl {verb}: {error.cause}\n" + "\n".join(
                f"{unit.full} is {self.state[unit.full]['ActiveState']} ({self.state[unit.full]['Result']}); {self.system.told(unit)}"
                for unit in bad)) from None

    def restarted(self, units: Sequence[Unit]) -> bool:
        """Whether systemd, which restarts failed units, has started them meanwhile: what they need may not have been there at first."""
        began = self.system.now()
        while True:
            self.look()
            states = {self.state[unit.full]["ActiveState"] for unit in units}
            if states == {"active"}:
                return True
            if not states <= {"active", "activating"} or self.system.now() - began > RESTARTS:
                return False
            self.system.sleep(0.2)

    def wait(self) -> None:
        began = self.system.now()
        waiting = [unit for unit in self.units if unit.address]
        while True:
            silent = {unit.full: reason for unit in waiting for reason in [self.system.answers(unit.address, unit.path)] if reason}
            waiting = [unit for unit in waiting if unit.full in silent]
            if not waiting:
                return
            self.look()
            lost = [unit for unit in waiting
                    if self.state[unit.full]["ActiveState"] == "failed" or self.system.now() - began > unit.timeout]
            if lost:
                unit = lost[0]
                state = self.state[unit.full]
                raise CloudError(os.uname().nodename, unit.full, f"no answer at {unit.address[0]}:{unit.address[1]} after "
                                 f"{self.system.now() - began:.0f} s ({silent[unit.full]}); it is {state['ActiveState']} "
                                 f"({state['SubState']}, {state['Result']}); {self.system.told(unit)}")
            self.system.sleep(0.2)
