# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The cloud's flavors as the inventory declares them. nova cannot change one: one that differs is removed and made again; instances keep what they have."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable
from typing import Any

from ansible_collections.our.cloud.plugins.module_utils._cloud import session
from ansible_collections.our.cloud.plugins.module_utils._common.errors import CloudError


@dataclasses.dataclass(frozen=True)
class Step:
    """One flavor that is made, made anew or removed. old: the id of what goes; values: of what comes."""

    name: str
    old: str | None
    before: str
    after: str
    values: dict[str, Any] | None


def words(values: dict[str, Any]) -> str:
    """A flavor in a line."""
    return f"{values['name']}: {values['memory']} MiB, {values['vcpus']} CPUs, {values['disk']} GiB"


def told(flavor: Any) -> dict[str, Any]:
    """One of nova's flavors with our keys."""
    return {"name": flavor.name, "memory": flavor.ram, "vcpus": flavor.vcpus, "disk": flavor.disk}


def plan(wanted: list[dict[str, Any]], known: Iterable[Any]) -> list[Step]:
    """What is to be done. Flavors that are not named are left alone."""
    twice = sorted({each["name"] for each in wanted if [other["name"] for other in wanted].count(each["name"]) > 1})
    if twice:
        raise CloudError(os.uname().nodename, f"flavor {twice[0]}", "it is declared twice", "Give one of them another name")
    there, steps = {flavor.name: flavor for flavor in known}, []
    for each in wanted:
        values = {key: each[key] for key in ("name", "memory", "vcpus", "disk")}
        old = there.get(each["name"])
        before = words(told(old)) if old is not None else ""
        if each["state"] == "absent":
            if old is not None:
                steps.append(Step(each["name"], old.id, before, "", None))
        elif old is None or told(old) != values:
            steps.append(Step(each["name"], old.id if old is not None else None, before, words(values), values))
    return steps


def apply(cloud: Any, steps: list[Step]) -> None:
    """Do what a plan says."""
    for step in steps:
        with session.speaking(f"flavor {step.name}"):
            if step.old:
                cloud.compute.delete_flavor(step.old, ignore_missing=True)
            if step.values:
                cloud.compute.create_flavor(name=step.name, ram=step.values["memory"], vcpus=step.values["vcpus"], disk=step.values["disk"])


def ensure(wanted: list[dict[str, Any]], check: bool) -> list[Step]:
    """What was done, or would be in check mode; there, also where there is no cloud yet."""
    try:
        cloud = session.connect()
    except session.NotThere:
        if not check:
            raise
        return plan(wanted, [])
    with session.speaking("flavors"):
        steps = plan(wanted, cloud.compute.flavors())
    if not check:
        apply(cloud, steps)
    return steps
