# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The TLS front end of a machine: haproxy, for services that listen on loopback."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from ansible_collections.our.cloud.plugins.module_utils._cloud import config_files
from ansible_collections.our.cloud.plugins.module_utils._common import shapes
from ansible_collections.our.cloud.plugins.module_utils._common.errors import Refused

FOLDER = "/etc/our-cloud/front"
# 00: haproxy reads the files of a folder in the order of their names.
BASE = config_files.HEADING + """
global
    log stderr format short daemon notice
    user haproxy
    group haproxy
    maxconn 2000
    ssl-default-bind-options ssl-min-ver TLSv1.2 no-tls-tickets

defaults
    mode http
    log global
    option dontlognull
    option dontlog-normal
    option httplog
    option forwardfor
    retries 3
    timeout connect 5s
    timeout queue 30s
    timeout http-request 30s
    timeout http-keep-alive 30s
    timeout client 10m
    timeout server 10m
    # consoles
    timeout tunnel 1h
"""


@dataclass(frozen=True)
class Front:
    """The front of a service."""

    name: str
    port: int  # where it listens
    backend: str  # where the service does, ADDRESS:PORT
    public: bool = True  # also at the address outside
    rules: tuple[str, ...] = ()  # further lines of haproxy's language

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Front:
        """From a variable of a role. Refused if it has other words."""
        names = {field.name for field in fields(cls)}
        strange = set(told) - names
        if strange:
            raise Refused(f"front of {told.get('name')}: there is no {', '.join(sorted(strange))}", f"It can have {', '.join(sorted(names))}")
        return shapes.of(cls, {**told, "rules": tuple(told.get("rules", ()))})


def files(fronts: Iterable[Front], addresses: Sequence[str], certificate: str) -> list[dict[str, str]]:
    """The files, as the module config_files takes them. addresses: the LAN's first, then that outside, if any."""
    return [_file("00-base", BASE)] + [_file(front.name, section(front, addresses, certificate)) for front in fronts]


def _file(name: str, content: str) -> dict[str, str]:
    return {"path": f"{FOLDER}/{name}.cfg", "content": content, "mode": "0644"}


def section(front: Front, addresses: Sequence[str], certificate: str) -> str:
    """What haproxy does for one service."""
    own = [address for address in addresses if address]
    at = dict.fromkeys(own if front.public else own[:1])
    lines = [f"listen {front.name}"]
    lines += [f"    bind {address}:{front.port} ssl crt {certificate}" for address in at]
    lines += ["    http-request set-header X-Forwarded-Proto https"] + ["    " + rule for rule in front.rules]
    lines += [f"    server local {front.backend}"]
    return config_files.HEADING + "\n" + "\n".join(lines) + "\n"
