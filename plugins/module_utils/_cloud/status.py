# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Does the cloud work? Asks each service for a real answer, judges the answers, and returns a table with the next command.

`look` asks, on the clc. `judge` evaluates that and what the machines report of themselves (see machine.py), without any request.
"""

from __future__ import annotations

import calendar
import concurrent.futures
import dataclasses
import json
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ansible_collections.our.cloud.plugins.module_utils._cloud import preflight, session
from ansible_collections.our.cloud.plugins.module_utils._cloud.machine_facts import Certificate, Health, Store
from ansible_collections.our.cloud.plugins.module_utils._cloud.status_facts import Agent, Answer, Api, NovaService, Parts, Queue, VolumeService, Waiting
from ansible_collections.our.cloud.plugins.module_utils._common import shapes
from ansible_collections.our.cloud.plugins.module_utils._common.errors import CloudError
from ansible_collections.our.cloud.plugins.module_utils._guest.drain import REASON
from ansible_collections.our.cloud.plugins.module_utils._site.machine_facts import Room
from ansible_collections.our.cloud.plugins.module_utils._site.tables import table

# Nova's API waits 60 s for an answer of a nova-compute by RPC.
RPC_TIME = 75
COMPUTE_API = "2.87"  # the last one in which a hypervisor's uptime is a question of its own, with errors of its own
QUEUE_TIME = 300  # s that rabbitmqctl may take on a machine that has much to do
AT_ONCE = 8
# What is asked of each service with a token: something that it has to look up in its database, or in its rings.
APIS = (
    ("placement", "placement", "/resource_providers"),
    ("compute", "nova", "/servers?limit=1&all_tenants=True"),
    ("image", "glance", "/images?limit=1"),
    ("network", "neutron", "/networks?limit=1"),
    ("block-storage", "cinder", "/volumes?limit=1"),
    ("object-store", "swift", "/?limit=1&format=json"),
)
GROUP_OF = {"keystone": "clc", "placement": "clc", "nova": "clc", "page": "clc", "glance": "walrus", "swift": "walrus", "cinder": "sc", "neutron": "cc"}
CHASSIS = ("OVN Controller agent", "OVN Controller Gateway agent")
METADATA = ("OVN Metadata agent", "OVN Neutron agent")

DAYS = 30          # that a certificate must still be valid
BACKLOG = 100      # messages that wait in a queue
STUCK = 600        # s after which an instance that is still being built is stuck

GOOD, LOOK, BAD = "good", "look", "BAD"
HEAD = ("part", "where", "state", "tells")


# --- asking -----------------------------------------------------------------

def attempt(call: Callable[[], Any]) -> Answer:
    """What comes of a question."""
    began, told, failed = time.monotonic(), None, {}
    try:
        told = call()
    except CloudError as error:
        failed = {"error": error.cause, "remedy": error.remedy}
    return Answer(round(time.monotonic() - began, 2), told, **failed)


def body(connection: Any, kind: str, path: str, thing: str, **more: Any) -> Any:
    """The JSON that a service of this type answers to GET."""
    with session.speaking(thing):
        # openstacksdk's look for the API's version is a request already
        answer = getattr(connection, kind.replace("-", "_")).get(path, **more)
        if answer.status_code >= 400:
            kind = session.Silent if answer.status_code in session.NO_ANSWER else CloudError
            raise kind("", thing, f"HTTP {answer.status_code}: {' '.join(answer.text.split())[:200]}", session.remedy(answer.status_code, ValueError()))
        return answer.json() if answer.content else None


def apis(connection: Any, types: Iterable[str]) -> tuple[Api, ...]:
    """One answer of each service that the catalog has."""
    return tuple(Api(name, attempt(lambda kind=kind, path=path, name=name: body(connection, kind, path, name) is not None))
                 for kind, name, path in APIS if kind in types)


def uptime(connection: Any, hypervisor: Mapping[str, Any]) -> Answer:
    """Whether a nova-compute answers by RPC: how long its node is up is known there alone."""
    thing = f"nova-compute on {hypervisor['service']['host']}"

    def asked() -> str:
        path = f"/os-hypervisors/{hypervisor['id']}/uptime"
        return body(connection, "compute", path, thing, microversion=COMPUTE_API, timeout=RPC_TIME)["hypervisor"]["uptime"].strip()

    return attempt(asked)


def computes(connection: Any) -> tuple[NovaService, ...]:
    """All of nova's services; each nova-compute is asked by RPC."""
    services = body(connection, "compute", "/os-services", "nova", microversion=COMPUTE_API)["services"]
    hypervisors = body(connection, "compute", "/os-hypervisors/detail", "nova", microversion=COMPUTE_API)["hypervisors"]
    by_host = {one["service"]["host"]: one for one in hypervisors}
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        answers = dict(zip(by_host, pool.map(lambda one: uptime(connection, one), by_host.values())))
    return tuple(NovaService(one["binary"], one["host"], one["state"], one["status"], bool(one.get("forced_down")), one.get("disabled_reason"),
                             answers.get(one["host"]), (by_host.get(one["host"]) or {}).get("hypervisor_hostname")) for one in services)


def agents(connection: Any) -> tuple[Agent, ...]:
    """All agents of the networks."""
    found = body(connection, "network", "/agents", "neutron")["agents"]
    return tuple(Agent(one["agent_type"], one["host"], bool(one["alive"])) for one in found)


def volume_services(connection: Any) -> tuple[VolumeService, ...]:
    """All of cinder's services."""
    return tuple(shapes.of(VolumeService, one) for one in body(connection, "block-storage", "/os-services", "cinder")["services"])


def instances(connection: Any, now: float) -> tuple[Waiting, ...]:
    """Those in ERROR and those that are being built. now: seconds since 1970."""
    found = []
    for status in ("ERROR", "BUILD"):
        for one in body(connection, "compute", f"/servers/detail?all_tenants=True&status={status}", "nova", microversion=COMPUTE_API)["servers"]:
            age = now - calendar.timegm(time.strptime(one["updated"], "%Y-%m-%dT%H:%M:%SZ"))
            found.append(Waiting(one["name"], one["id"], status, int(age), one.get("OS-EXT-SRV-ATTR:host"), (one.get("fault") or {}).get("message")))
    return tuple(found)


def queues() -> tuple[Queue, ...]:
    """RabbitMQ's."""
    try:
        done = subprocess.run(["rabbitmqctl", "--quiet", "--formatter", "json", "list_queues", "name", "messages", "consumers"], capture_output=True, text=True,
                              check=False, timeout=QUEUE_TIME)
    except (FileNotFoundError, subprocess.TimeoutExpired) as error:
        raise CloudError("", "rabbitmqctl", error, "`systemctl status rabbitmq-server` tells") from error
    if done.returncode:
        raise CloudError("", "rabbitmqctl", " ".join((done.stderr or done.stdout).split())[:300], "`systemctl restart rabbitmq-server` brings it back")
    return tuple(shapes.of(Queue, one) for one in json.loads(done.stdout))


def page(url: str, verify: str) -> bool:
    """Whether the page's login is there."""
    import requests

    try:
        answer = requests.get(url, verify=verify, timeout=60)
    except requests.RequestException as error:
        raise CloudError("", url, error, "`systemctl status apache2 haproxy` tells") from error
    if answer.status_code != 200 or "password" not in answer.text:
        raise CloudError("", url, f"HTTP {answer.status_code}, and no login", "/var/log/apache2/error.log tells")
    return True


def look(page_url: str, verify: str) -> Parts:
    """Everything that is asked on the clc; without keystone nothing but the queue is asked."""
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        waiting = pool.submit(attempt, queues)
        found = ask_services(pool, page_url, verify)
        return dataclasses.replace(found, queues=waiting.result())


def ask_services(pool: concurrent.futures.Executor, page_url: str, verify: str) -> Parts:
    """What asks keystone for a token first."""
    holder: dict = {}

    def login() -> list[str]:
        holder["connection"] = session.connect()
        with session.speaking("keystone"):
            return sorted(one.type for one in holder["connection"].identity.services())

    keystone = attempt(login)
    if keystone.error is not None:
        return Parts(keystone)
    connection, types = holder["connection"], keystone.told
    parts: dict[str, Callable[[], Any]] = {"apis": lambda: apis(connection, types)}
    if "compute" in types:
        parts.update(computes=lambda: computes(connection), instances=lambda: instances(connection, time.time()))
    if "network" in types:
        parts["agents"] = lambda: agents(connection)
    if "block-storage" in types:
        parts["volumes"] = lambda: volume_services(connection)
    if page_url:
        parts["page"] = lambda: page(page_url, verify)
    return Parts(keystone, **dict(zip(parts, pool.map(attempt, parts.values()))))


# --- judging ----------------------------------------------------------------

@dataclasses.dataclass(frozen=True)
class Machine:
    """What a machine tells, and the address that others connect to (empty: not known)."""

    health: Health
    store: Store
    address: str = ""


@dataclasses.dataclass(frozen=True)
class Row:
    """One line of the table."""

    part: str
    where: str  # the machine
    state: str  # GOOD, LOOK, BAD
    tells: str
    remedy: str = ""  # the command that mends it; empty: none is needed


@dataclasses.dataclass(frozen=True)
class Overview:
    """What people read of it."""

    lines: list[str]  # table, verdict, next command
    good: bool  # whether all works
    verdict: str  # a sentence
    next: str  # the command that goes on with what does not work; empty: there is none


def _again(host: str) -> str:
    return f"ansible-playbook our.cloud.cloud --limit {host}"


ALL_AGAIN = "ansible-playbook our.cloud.cloud"


def judge_machine(host: str, machine: Machine | None) -> list[Row]:
    """A machine: does it answer, do its units run, is its certificate good, has its store room?"""
    if machine is None:
        return [Row("machine", host, BAD, "does not answer", f"ansible -m ping {host}")]
    units = machine.health.units
    bad = [unit for unit in units if not unit.runs]
    rows = [Row(f"unit {unit.name}", host, BAD, unit.state, f"ssh {host} journalctl -n 30 -u {unit.name}") for unit in bad]
    if units:
        often = [f"{unit.name} {unit.restarts}" for unit in units if unit.restarts]
        rows.append(Row("units", host, LOOK if often else BAD if bad else GOOD,
                        f"{len(units) - len(bad)} of {len(units)} run" + (f"; restarted by themselves: {', '.join(often)}" if often else ""),
                        f"ssh {host} journalctl -p err -n 30" if often else ""))
    else:
        rows.append(Row("units", host, BAD, "it has none of the cloud's", _again(host)))
    for tables in machine.health.schemas:
        rows.append(Row(f"tables {tables.name}", host, BAD if tables.lacks else GOOD, tables.lacks or "as the package wants them",
                        _again(host) if tables.lacks else ""))
    return rows + judge_certificate(host, machine.health.certificate, machine.address) + judge_room(host, machine.store)


def judge_certificate(host: str, found: Certificate | None, address: str) -> list[Row]:
    """Days, the CA, and the address that others connect to."""
    if found is None:
        return [Row("certificate", host, BAD, "there is none", _again(host))]
    if found.days < 0:
        return [Row("certificate", host, BAD, f"it has expired {-found.days} days ago", _again(host))]
    if not found.signed:
        return [Row("certificate", host, BAD, "the CA in /etc/our-cloud/ca.pem has not signed it", _again(host))]
    if address and address not in found.names:
        return [Row("certificate", host, BAD, f"it lacks {address}; it has {', '.join(found.names)}", _again(host))]
    return [Row("certificate", host, LOOK if found.days < DAYS else GOOD, f"{found.days} days", _again(host) if found.days < DAYS else "")]


def judge_room(host: str, store: Store) -> list[Row]:
    """The store's free room, where there is one."""
    if not store.marker or store.free is None or store.total is None:
        return []
    full = Room("", store.free, store.total).full
    return [Row("store", host, BAD if full else GOOD, f"{store.free} of {store.total} MiB free",
                f"ssh {host} df -h; ansible-playbook our.cloud.prune" if full else "")]


def _answer(part: str, where: str, answer: Answer, good: str) -> Row:
    """A row of what `attempt` brought."""
    if answer.error is not None:
        return Row(part, where, BAD, answer.error, answer.remedy)
    return Row(part, where, GOOD, f"{good} in {answer.seconds:.1f} s")


def judge_computes(ncs: Sequence[str], clc: str, services: Sequence[NovaService]) -> list[Row]:
    """Each nova-compute answers by RPC and is known by its inventory name; scheduler and conductor report."""
    rows = []
    for one in services:
        if one.binary != "nova-compute":
            good = one.state == "up" and one.status == "enabled"
            rows.append(Row(one.binary, one.host, GOOD if good else BAD, f"{one.state}, {one.status}",
                            "" if good else f"ssh {clc} tail -n 30 /var/log/nova/{one.binary}.log"))
    by_host = {one.host: one for one in services if one.binary == "nova-compute"}
    for host in ncs:
        found = by_host.pop(host, None)
        if not found:
            rows.append(Row("nova-compute", host, BAD, "nova does not know it by this name", _again(host)))
        elif found.forced_down:
            rows.append(Row("nova-compute", host, BAD, "it was declared lost, and is forced down until it is back in use", _again(host)))
        elif found.state != "up":
            rows.append(Row("nova-compute", host, BAD, "it does not report", f"ansible-playbook our.cloud.rescue -e host={host} --check"))
        elif not found.rpc or found.rpc.error is not None:
            said = found.rpc.error if found.rpc else "no hypervisor"
            rows.append(Row("nova-compute", host, BAD, f"it reports, but does not answer by RPC ({said})",
                            f"ssh {host} systemctl restart nova-compute"))
        elif found.status != "enabled" and found.reason == REASON:
            rows.append(Row("nova-compute", host, LOOK, "answers by RPC; it is drained, nothing is placed here",
                            f"ansible-playbook our.cloud.undrain -e host={host}"))
        elif found.status != "enabled":
            rows.append(Row("nova-compute", host, LOOK, "answers by RPC; it is disabled, no new instance comes here", f"openstack compute service set --enable "
                            f"{host} nova-compute"))
        else:
            rows.append(Row("nova-compute", host, GOOD, f"answered by RPC in {found.rpc.seconds:.1f} s"))
    rows += [Row("nova-compute", host, LOOK, "it is no nc of the inventory", ALL_AGAIN) for host in sorted(by_host)]
    return rows


def judge_agents(ncs: Sequence[str], found: Sequence[Agent]) -> list[Row]:
    """Each nc is a chassis of the same name, and answers for metadata; a chassis counts as alive when it has followed the last change."""
    rows = []
    for part, kinds, unit in (("chassis", CHASSIS, "ovn-controller"), ("network agent", METADATA, "neutron-ovn-agent")):
        by_host: dict[str, list[Agent]] = {}
        for one in found:
            if one.type in kinds:
                by_host.setdefault(one.host, []).append(one)
        for host in ncs:
            its = by_host.pop(host, [])
            if not its:
                others = ", ".join(sorted(set(by_host) - set(ncs)))
                rows.append(Row(part, host, BAD, "there is none of this name, so no port binds there" + (f"; unknown are {others}" if others else ""),
                                _again(host)))
            elif not any(one.alive for one in its):
                rows.append(Row(part, host, BAD, "it does not follow OVN's changes", f"ssh {host} journalctl -n 30 -u {unit}"))
            elif len(its) > 1:
                rows.append(Row(part, host, LOOK, f"{len(its)} of one name; one is left from before", ALL_AGAIN))
            else:
                rows.append(Row(part, host, GOOD, "follows"))
        rows += [Row(part, host, LOOK, "it is no nc of the inventory", ALL_AGAIN) for host in sorted(by_host)]
    return rows


def judge_queues(clc: str, ncs: Sequence[str], found: Sequence[Queue]) -> list[Row]:
    """Every nova-compute, the scheduler and the conductor listen, and nothing piles up."""
    rows = []
    by_name = {one.name: one for one in found}
    for name, host in [("scheduler", clc), ("conductor", clc)] + [(f"compute.{host}", host) for host in ncs]:
        if name in by_name and not by_name[name].consumers:
            unit = "nova-compute" if host != clc or name.startswith("compute.") else f"nova-{name}"
            rows.append(Row(f"queue {name}", clc, BAD, f"nobody listens; {by_name[name].messages} messages wait", f"ssh {host} systemctl restart {unit}"))
    long = sorted(f"{one.name} {one.messages}" for one in found if one.messages > BACKLOG)
    rows.append(Row("queues", clc, LOOK if long else GOOD, f"{len(found)}, {sum(one.messages for one in found)} messages wait" +
                    (f" ({', '.join(long)})" if long else ""), f"ssh {clc} rabbitmqctl list_queues name messages consumers" if long else ""))
    return rows


def judge_instances(clc: str, found: Iterable[Waiting]) -> list[Row]:
    """What users wait for."""
    rows = []
    for one in found:
        if one.status == "ERROR" or one.age > STUCK:
            said = one.fault or (f"BUILD for {one.age // 60} minutes" if one.status == "BUILD" else "ERROR")
            rows.append(Row(f"instance {one.name}", one.host or clc, LOOK, said, f"openstack server show {one.id}"))
    return rows


def judge(groups: Mapping[str, Iterable[str]], machines: Mapping[str, Machine], cloud: Parts | None) -> list[Row]:
    """All rows. machines: of the cloud, those that answered; cloud: what `look` told, None: it was not possible."""
    rows = [row for host in preflight.machines(groups) for row in judge_machine(host, machines.get(host))]
    first = {name: (preflight.members(groups, name) or ["-"])[0] for name in preflight.GROUPS}
    clc, ncs = first["clc"], preflight.members(groups, "nc")
    if cloud is None:
        return rows + [Row("keystone", clc, BAD, "it could not be asked", f"ansible -m ping {clc}")]
    rows.append(_answer("keystone", clc, cloud.keystone, "a token"))
    for one in (cloud.apis.told if cloud.apis else None) or ():
        rows.append(_answer(one.name, first[GROUP_OF[one.name]], one.answer, "an answer"))
    if cloud.page:
        rows.append(_answer("page", clc, cloud.page, "its login"))
    for part, answer, judged in (("computes", cloud.computes, lambda told: judge_computes(ncs, clc, told)),
                                 ("agents", cloud.agents, lambda told: judge_agents(ncs, told)),
                                 ("volumes", cloud.volumes, lambda told: [_volume(first["sc"], one) for one in told]),
                                 ("queues", cloud.queues, lambda told: judge_queues(clc, ncs, told)),
                                 ("instances", cloud.instances, lambda told: judge_instances(clc, told))):
        if answer:
            rows += judged(answer.told) if answer.error is None else [Row(part, clc, BAD, answer.error, answer.remedy)]
    return rows


def _volume(host: str, one: VolumeService) -> Row:
    # it has a name of its own, not the machine's
    good = one.state == "up" and one.status == "enabled"
    return Row(one.binary, host, GOOD if good else BAD, f"{one.state}, {one.status}",
               "" if good else f"ssh {host} tail -n 30 /var/log/cinder/{one.binary}.log")


def overview(rows: Sequence[Row]) -> Overview:
    """The table, and what to do next."""
    bad, doubtful = [row for row in rows if row.state == BAD], [row for row in rows if row.state == LOOK]
    if bad:
        verdict = f"{len(bad)} of {len(rows)} parts do not work: {', '.join(dict.fromkeys(f'{row.part} on {row.where}' for row in bad))}."
    elif doubtful:
        verdict = f"The cloud works; {len(doubtful)} of {len(rows)} parts want a look."
    else:
        verdict = f"The cloud works: {len(rows)} of {len(rows)} parts are good."
    following = next((row.remedy for row in bad + doubtful if row.remedy), "")
    lines = table(HEAD, [[row.part, row.where, row.state, row.tells] for row in rows]) + ["", verdict]
    return Overview(lines + ([f"Next: {following}"] if following else []), not bad, verdict, following)
