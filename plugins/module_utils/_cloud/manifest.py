# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Backups on the control machine: a directory each, with an archive of each machine and a manifest that says what they must be."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.our.cloud.plugins.module_utils._cloud.backup import GROUPS, Saved, sum_of
from ansible_collections.our.cloud.plugins.module_utils._common import shapes
from ansible_collections.our.cloud.plugins.module_utils._common.errors import Refused

FORMAT = 1
FILE = "manifest.json"
# The machine of such a group has something that belongs to no other one.
SINGLE = ("clc", "walrus", "cc")


@dataclass(frozen=True)
class Kept(Saved):
    """What a backup has of a machine. The archive is a name in the backup's directory."""

    groups: tuple[str, ...] = ()  # of the cloud, that the machine was in

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Kept:
        """From an entry of the file. KeyError: it is none."""
        missing = {"groups", "archive", "sum", "members", "versions"} - set(told)
        if missing:
            raise KeyError(", ".join(sorted(missing)))
        return shapes.of(cls, {**told, "groups": tuple(told["groups"])})


@dataclass(frozen=True)
class Manifest:
    """What a backup says of itself, as cloud_backup_info returns it."""

    format: int
    hosts: Mapping[str, Kept]  # by machine
    made: str = ""  # when, 2026-01-31T12:00:00Z
    contents: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # {kind: {id: name}} of the cloud; empty: it could not be asked

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Manifest:
        """From the file. KeyError, TypeError, AttributeError: it is none."""
        return shapes.of(cls, {**told, "format": told["format"], "hosts": {name: Kept.of(host) for name, host in told["hosts"].items()}})


def backups(directory: str) -> list[str]:
    """Names of the backups in a directory, the newest last; what is not finished has no manifest."""
    try:
        return sorted(name for name in os.listdir(directory) if os.path.isfile(os.path.join(directory, name, FILE)))
    except FileNotFoundError:
        return []


def read(directory: str, name: str) -> tuple[str, Manifest]:
    """(name, manifest) of a backup, the newest without a name. Refused if there is none, or it is not of this kind."""
    there = backups(directory)
    if not there:
        raise Refused(f"{directory} has no backup", "our.cloud.cloud_backup makes one; cloud_backup_dir says where they are")
    name = name or there[-1]
    if name not in there:
        raise Refused(f"{directory} has no backup {name}", f"There are {', '.join(there)}")
    path = os.path.join(directory, name, FILE)
    try:
        with open(path, encoding="utf-8") as file:
            manifest = Manifest.of(json.load(file))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise Refused(f"{path} is no manifest of a backup ({type(error).__name__}: {error})", "Choose another backup") from error
    if manifest.format != FORMAT:
        raise Refused(f"{path} is of format {manifest.format}, and this is for format {FORMAT}", "Use the version of our.cloud that made it")
    return name, manifest


def groups_of(groups: Mapping[str, Iterable[str]]) -> dict[str, list[str]]:
    """{host: its groups of the cloud} from Ansible's `groups`."""
    found: dict[str, list[str]] = {}
    for group in GROUPS:
        for host in groups.get(group) or ():
            found.setdefault(host, []).append(group)
    return found


def faults(folder: str, manifest: Manifest, groups: Mapping[str, Iterable[str]], databases: Iterable[str]) -> list[str]:
    """Why a backup must not be restored to the cloud of these groups: its archives, then whose they are."""
    found = []
    for name, host in sorted(manifest.hosts.items()):
        path = os.path.join(folder, host.archive)
        if not host.archive:
            continue
        if not os.path.isfile(path):
            found.append(f"{path} is missing: take another copy of the backup.")
        elif sum_of(path) != host.sum:
            found.append(f"{path} is not what was saved of {name}: take another copy of the backup.")
    here = groups_of(groups)
    for group in SINGLE:
        was = sorted(name for name, host in manifest.hosts.items() if group in host.groups)
        now = sorted(name for name, has in here.items() if group in has)
        if was != now:
            found.append(f"The backup is of a cloud whose {group} is {', '.join(was) or 'nowhere'}, and the inventory has {', '.join(now) or 'none'}: "
                         "give the machine the name that it had, or choose a backup of this cloud.")
    saved = {member[len("databases/"):-len(".sql.gz")] for host in manifest.hosts.values() for member in host.members
             if member.startswith("databases/")}
    for what, names in (("has", saved - set(databases)), ("lacks", set(databases) - saved)):
        if names and not any("whose clc" in fault for fault in found):
            found.append(f"The backup {what} {', '.join(sorted(names))}, other databases than the inventory's cloud: give the inventory the groups "
                         "that it had, or choose a backup of this cloud.")
    return found
