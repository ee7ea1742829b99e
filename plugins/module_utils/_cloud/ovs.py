# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The database of Open vSwitch on a machine, and those of OVN: writes what differs from the wanted state, in one transaction each.

What is not named stays as it is: OVN has its own bridge, ports and keys there.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from typing import Any, Callable, Optional

from ansible_collections.our.cloud.plugins.module_utils._common.errors import CloudError

PID_FILE = "/run/openvswitch/ovs-vswitchd.pid"
# Seconds for one call.
PATIENCE = 60
LOOK = (
    ("switch", ("--columns=external_ids,other_config", "list", "Open_vSwitch")),
    ("managers", ("--columns=target", "list", "Manager")),
    ("ssl", ("--columns=private_key,certificate,ca_cert", "list", "SSL")),
    ("bridges", ("--columns=name,datapath_type,other_config,fail_mode,ports", "list", "Bridge")),
    ("ports", ("--columns=_uuid,name", "list", "Port")),
    ("interfaces", ("--columns=name,type,error", "list", "Interface")),
)
LOOK_OVN = (
    ("connections", ("--columns=target,inactivity_probe", "list", "Connection")),
    ("ssl", ("--columns=private_key,certificate,ca_cert", "list", "SSL")),
)
OVN_DATABASES = {"northbound": ("ovn-nbctl", 6641), "southbound": ("ovn-sbctl", 6642)}
# Milliseconds of silence after which a database checks the connection.
PROBE = 60000


class NotThere(CloudError):
    """The program or its database: not installed, or not started."""


def call(words: Sequence[str], run: Callable[..., Any] = subprocess.run) -> str:
    """The output of ovs-vsctl, ovn-nbctl or ovn-sbctl."""
    try:
        done = run(list(words), capture_output=True, text=True, check=False, timeout=PATIENCE + 10, stdin=subprocess.DEVNULL)
    except FileNotFoundError:
        raise NotThere(os.uname().nodename, words[0], "is not installed") from None
    except subprocess.TimeoutExpired:
        raise CloudError(os.uname().nodename, words[0], f"has not answered within {PATIENCE} s",
                         "`journalctl -u ovs-vswitchd -u ovsdb-server` may tell why") from None
    if done.returncode:
        error = NotThere if "database connection failed" in done.stderr else CloudError
        raise error(os.uname().nodename, words[0], done.stderr.strip().replace(f"{words[0]}: ", ""))
    return done.stdout


def plain(value: Any) -> Any:
    """A value of OVSDB's JSON as Python has it: maps are dicts, sets are lists (of one element: that element)."""
    if not isinstance(value, list):
        return value
    kind, content = value
    if kind == "map":
        return {key: plain(item) for key, item in content}
    if kind == "set":
        return [plain(item) for item in content]
    return content


def tables(text: str, names: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    """The rows of each table that was listed: one JSON object a line."""
    found = {}
    for name, line in zip(names, [line for line in text.splitlines() if line.strip()]):
        listed = json.loads(line)
        found[name] = [{key: plain(value) for key, value in zip(listed["headings"], row)} for row in listed["data"]]
    return found


def listed(value: Any) -> list[Any]:
    """A set of OVSDB, which is not written as one when it has one element."""
    return value if isinstance(value, list) else [value]


def look(program: str, questions: Sequence[tuple[str, Sequence[str]]], run: Callable[..., Any] = subprocess.run) -> dict[str, list[dict[str, Any]]]:
    """What the database has now."""
    words = [program, f"--timeout={PATIENCE}", "--format=json"] + (["--no-wait"] if program == "ovs-vsctl" else [])
    for dummy, question in questions:
        words += ["--", *question]
    return tables(call(words, run), [name for name, dummy in questions])


def empty(questions: Sequence[tuple[str, Sequence[str]]]) -> dict[str, list[dict[str, Any]]]:
    """What a database has that is not there yet."""
    return {name: [] for name, dummy in questions}


class Plan:
    """Commands of one transaction, and what they change."""

    def __init__(self) -> None:
        self.commands: list[list[str]] = []
        self.before: dict[str, Any] = {}
        self.after: dict[str, Any] = {}

    def add(self, thing: str, before: Any, after: Any, *commands: Sequence[str]) -> None:
        """One difference."""
        self.before[thing], self.after[thing] = before, after
        self.commands += [list(command) for command in commands]

    def map(self, table: str, record: str, column: str, now: Mapping[str, str], wanted: Optional[Mapping[str, Any]]) -> None:
        """Keys of a column. A value of None takes the key away."""
        for key, value in sorted((wanted or {}).items()):
            thing = f"{column}:{key}" if table == "Open_vSwitch" else f"{record} {column}:{key}"
            if value is None:
                if key in now:
                    self.add(thing, now[key], None, ["remove", table, record, column, key])
                continue
            text = _text(value)
            if now.get(key) != text:
                self.add(thing, now.get(key), text, ["set", table, record, f"{column}:{key}={json.dumps(text)}"])

    def words(self) -> list[str]:
        """The transaction as ovs-vsctl's arguments."""
        return [word for command in self.commands for word in ["--", *command]]


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def switch_plan(state: Mapping[str, Sequence[Mapping[str, Any]]], wanted: Mapping[str, Any]) -> Plan:
    """The changes to Open vSwitch: external_ids, other_config (dicts), managers (a list, if given), ssl (private_key, certificate,
    ca_cert) and bridges ({name, state, datapath_type, other_config, fail_mode, ports: [{name, type}]})."""
    plan = Plan()
    switch = state["switch"][0] if state["switch"] else {}
    for column in ("external_ids", "other_config"):
        plan.map("Open_vSwitch", ".", column, switch.get(column, {}), wanted.get(column))
    if wanted.get("managers") is not None:
        now, then = sorted(row["target"] for row in state["managers"]), sorted(wanted["managers"])
        if now != then:
            plan.add("managers", now, then, ["set-manager", *then] if then else ["del-manager"])
    if wanted.get("ssl"):
        _ssl(plan, state, wanted["ssl"])
    names = {json.dumps(row["_uuid"]): row["name"] for row in state["ports"]}
    for bridge in wanted.get("bridges") or []:
        _bridge(plan, state, names, bridge)
    return plan


def _ssl(plan: Plan, state: Mapping[str, Sequence[Mapping[str, Any]]], wanted: Mapping[str, str]) -> None:
    now = dict(state["ssl"][0]) if state["ssl"] else None
    then = {key: wanted[key] for key in ("private_key", "certificate", "ca_cert")}
    if now != then:
        plan.add("ssl", now, then, ["set-ssl", then["private_key"], then["certificate"], then["ca_cert"]])


def _bridge(plan: Plan, state: Mapping[str, Sequence[Mapping[str, Any]]], names: Mapping[str, str], bridge: Mapping[str, Any]) -> None:
    name = bridge["name"]
    now = next((row for row in state["bridges"] if row["name"] == name), None)
    if bridge.get("state", "present") == "absent":
        if now is not None:
            plan.add(f"bridge {name}", "present", None, ["--if-exists", "del-br", name])
        return
    if now is None:
        plan.add(f"bridge {name}", None, "present", ["--may-exist", "add-br", name])
        now = {"datapath_type": "", "other_config": {}, "fail_mode": [], "ports": []}
    for column in ("datapath_type", "fail_mode"):
        value = bridge.get(column)
        if value and now[column] != value:
            plan.add(f"{name} {column}", now[column] or None, value, ["set", "Bridge", name, f"{column}={value}"])
    plan.map("Bridge", name, "other_config", now["other_config"], bridge.get("other_config"))
    there = {names.get(json.dumps(port)) for port in _uuids(now["ports"])}
    types = {row["name"]: row["type"] for row in state["interfaces"]}
    for port in bridge.get("ports") or []:
        kind = port.get("type") or ""
        if port["name"] not in there:
            plan.add(f"{name} port {port['name']}", None, kind or "system", ["--may-exist", "add-port", name, port["name"]],
                     *([["set", "Interface", port["name"], f"type={kind}"]] if kind else []))
        elif types.get(port["name"], "") != kind:
            plan.add(f"{name} port {port['name']}", types.get(port["name"]) or "system", kind or "system",
                     ["set", "Interface", port["name"], f"type={json.dumps(kind)}"])


def _uuids(value: Any) -> list[Any]:
    return listed(value)


def faults(state: Mapping[str, Sequence[Mapping[str, Any]]], wanted: Mapping[str, Any]) -> dict[str, str]:
    """What Open vSwitch says is wrong with the wanted ports."""
    names = {port["name"] for bridge in wanted.get("bridges") or [] for port in bridge.get("ports") or []}
    return {row["name"]: row["error"] for row in state["interfaces"] if row["name"] in names and row["error"] and row["error"] != []}


def runs(pid_file: str = PID_FILE) -> bool:
    """Whether ovs-vswitchd runs, so that it is possible to wait for it."""
    try:
        with open(pid_file, encoding="ascii") as stream:
            return os.path.isdir(f"/proc/{int(stream.read())}")
    except (FileNotFoundError, ValueError):
        return False


def ensure_switch(wanted: Mapping[str, Any], check: bool, run: Callable[..., Any] = subprocess.run, pid_file: str = PID_FILE) -> Plan:
    """Bring Open vSwitch's database to what is wanted; if ovs-vswitchd runs, wait until it has done so, too. Before its first start
    what is written is what it starts with. Returns what was done, or would be."""
    try:
        state = look("ovs-vsctl", LOOK, run)
    except NotThere:
        if not check:
            raise
        state = empty(LOOK)
    plan = switch_plan(state, wanted)
    if plan.commands and not check:
        wait = [] if runs(pid_file) else ["--no-wait"]
        call(["ovs-vsctl", f"--timeout={PATIENCE}", *wait, *plan.words()], run)
        state = look("ovs-vsctl", LOOK, run)
    found = faults(state, wanted) if runs(pid_file) and not check else {}
    if found:
        raise CloudError(os.uname().nodename, "Open vSwitch", "; ".join(f"port {name}: {error}" for name, error in sorted(found.items())),
                         "Is the interface there (networkctl status)? `journalctl -u ovs-vswitchd` may tell more")
    return plan


def central_plan(state: Mapping[str, Sequence[Mapping[str, Any]]], address: str, port: int, ssl: Mapping[str, str]) -> Plan:
    """The changes to one of OVN's databases, so that it listens on the address with TLS and nowhere else."""
    plan = Plan()
    target = f"pssl:{port}:{address}"
    now = sorted((row["target"], row["inactivity_probe"]) for row in state["connections"])
    if now != [(target, PROBE)]:
        plan.add("connections", [one for one, dummy in now], [target],
                 [f"--inactivity-probe={PROBE}", "set-connection", target])
    _ssl(plan, state, ssl)
    return plan


def ensure_central(address: str, ssl: Mapping[str, str], check: bool, run: Callable[..., Any] = subprocess.run) -> dict[str, Plan]:
    """Let OVN's two databases listen with TLS. Returns what was done, or would be, by database."""
    plans = {}
    for name, (program, port) in OVN_DATABASES.items():
        try:
            state = look(program, LOOK_OVN, run)
        except NotThere:
            if not check:
                raise
            state = empty(LOOK_OVN)
        plans[name] = central_plan(state, address, port, ssl)
        if plans[name].commands and not check:
            call([program, f"--timeout={PATIENCE}", *plans[name].words()], run)
    return plans
