# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is in a cloud, as its API tells it: the proof that it works, and the list to compare another time's with."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from ansible_collections.our.cloud.plugins.module_utils._cloud import session
from ansible_collections.our.cloud.plugins.module_utils._common.errors import CloudError

PAUSE = 2
NOVA_DOMAIN = re.compile("instance-[0-9a-f]{8}")


# {kind: (type of the service, its call in openstacksdk, what it is called with)}
LISTS: dict = {
    "projects": ("identity", "projects", {}),
    "users": ("identity", "users", {}),
    "instances": ("compute", "servers", {"all_projects": True}),
    "images": ("image", "images", {}),
    "volumes": ("block-storage", "volumes", {"details": False, "all_projects": True}),
    "networks": ("network", "networks", {}),
    "routers": ("network", "routers", {}),
    "floating addresses": ("network", "ips", {}),
}


@dataclass(frozen=True)
class Contents:
    """What is in a cloud."""

    contents: Mapping[str, Mapping[str, str]]  # {kind: {id: name, empty if it has none}}
    placed: Mapping[str, str]  # {id of an instance: its node, empty if it is on none}
    silent: tuple[str, ...] = ()  # nodes whose nova-compute is enabled and not up, sorted


def look() -> Contents:
    """What the cloud tells now."""
    connection = session.connect()
    with session.speaking("catalog"):
        kinds = {service.type for service in connection.identity.services()}
    contents: dict[str, dict[str, str]] = {}
    placed, silent = {}, []
    for what, (kind, call, arguments) in LISTS.items():
        if kind in kinds:
            with session.speaking(what):
                told = list(getattr(getattr(connection, kind.replace("-", "_")), call)(**arguments))
            contents[what] = {one.id: one.name or "" for one in told}
            if what == "instances":
                placed = {one.id: one.compute_host or "" for one in told}
    if "compute" in kinds:
        with session.speaking("nodes"):
            silent = sorted(one.host for one in connection.compute.services(binary="nova-compute") if one.state != "up" and one.status == "enabled")
    return Contents(contents, placed, tuple(silent))


def wait(seconds: float, nodes: Iterable[str] = (), look_now: Callable[[], Contents] = look, clock: Callable[[], float] = time.monotonic,
         pause: Callable[[float], None] = time.sleep) -> Contents:
    """What is there as soon as all services answer and these nodes are up; CloudError about those that do not within the time."""
    end = clock() + seconds
    while True:
        try:
            told, trouble = look_now(), None
            late = sorted(set(told.silent) & set(nodes))
            if not late:
                return told
        except CloudError as error:
            trouble = error
        if clock() >= end:
            if trouble:
                raise trouble
            raise CloudError("", "nodes", f"nova-compute of {', '.join(late)} is not up after {seconds:g} s",
                             "/var/log/nova/nova-compute.log there tells why; our.cloud.cloud_status looks at everything")
        pause(PAUSE)


def missing(before: Mapping[str, Mapping[str, str]], now: Mapping[str, Mapping[str, str]]) -> list[str]:
    """What there was before and is not now, in words."""
    return [f"{what}: {', '.join(sorted(name or ident for ident, name in had.items() if ident not in now.get(what, {})))}"
            for what, had in before.items() if set(had) - set(now.get(what, {}))]


def strays(names: Mapping[str, str], placed: Mapping[str, str], running: Mapping[str, Iterable[str]]) -> list[str]:
    """Instances that run where nova does not look for them, in words. running: {node: lines of `virsh list --uuid --name`}."""
    found = []
    for node, lines in sorted(running.items()):
        for ident, name in (line.split(None, 1) for line in lines if len(line.split(None, 1)) == 2):
            if ident in placed and placed[ident] != node:
                found.append(f"{names.get(ident) or ident} runs on {node}, and nova has it on {placed[ident] or 'no node'}: nova considers it shut off. "
                             f"`virsh shutdown {name.strip()}` on {node}, then start it; until then its lease prevents a second start")
            elif ident not in placed and NOVA_DOMAIN.match(name):
                found.append(f"{name.strip()} ({ident}) runs on {node}, and nova does not know it: it was made after the backup. "
                             f"`virsh destroy {name.strip()}` on {node} ends it")
    return found
