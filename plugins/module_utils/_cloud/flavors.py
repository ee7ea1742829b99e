# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The cloud's flavors as the inventory declares them. nova cannot change one: one that differs is removed and made again; instances keep what they have."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ansible_collections.our.cloud.plugins.module_utils._cloud import session
from ansible_collections.our.cloud.plugins.module_utils._common import shapes
from ansible_collections.our.cloud.plugins.module_utils._common.errors import CloudError


@dataclasses.dataclass(frozen=True)
class Flavor:
    """A flavor."""

    name: str
    memory: int  # MiB
    vcpus: int
    disk: int  # GiB

    def __str__(self) -> str:
        return f"{self.name}: {self.memory} MiB, {self.vcpus} CPUs, {self.disk} GiB"


@dataclasses.dataclass(frozen=True)
class Step:
    """One flavor that is made, made anew or removed."""

    name: str
    old: str | None  # nova's id of what goes; None: nothing
    before: str  # that, in a line; empty: nothing
    after: str  # what comes, likewise
    new: Flavor | None  # what comes; None: nothing


def told(flavor: Any) -> Flavor:
    """One of nova's flavors."""
    return Flavor(flavor.name, flavor.ram, flavor.vcpus, flavor.disk)


def plan(wanted: Sequence[Mapping[str, Any]], known: Iterable[Any]) -> list[Step]:
    """What is to be done. wanted: as the module takes them. Flavors that are not named are left alone."""
    twice = sorted({each["name"] for each in wanted if [other["name"] for other in wanted].count(each["name"]) > 1})
    if twice:
        raise CloudError(os.uname().nodename, f"flavor {twice[0]}", "it is declared twice", "Give one of them another name")
    there, steps = {flavor.name: flavor for flavor in known}, []
    for each in wanted:
        old = there.get(each["name"])
        before = str(told(old)) if old is not None else ""
        if each["state"] == "absent":
            if old is not None:
                steps.append(Step(each["name"], old.id, before, "", None))
            continue
        new = shapes.of(Flavor, each)
        if old is None or told(old) != new:
            steps.append(Step(new.name, old.id if old is not None else None, before, str(new), new))
    return steps


def apply(cloud: Any, steps: Iterable[Step]) -> None:
    """Do what a plan says."""
    for step in steps:
        with session.speaking(f"flavor {step.name}"):
            if step.old:
                cloud.compute.delete_flavor(step.old, ignore_missing=True)
            if step.new:
                cloud.compute.create_flavor(name=step.name, ram=step.new.memory, vcpus=step.new.vcpus, disk=step.new.disk)


def ensure(wanted: Sequence[Mapping[str, Any]], check: bool) -> list[Step]:
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
