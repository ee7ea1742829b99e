# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the cloud's services answer, as cloud_status returns it by part, and reads it again on the control machine.

Of an answer that failed only `error` and `remedy` are there, of another one only `told`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.our.cloud.plugins.module_utils._common import shapes


@dataclass(frozen=True)
class Answer:
    """What came of a question."""

    seconds: float  # that it took
    told: Any = None  # one of the shapes below or several of them, a word, True
    error: str | None = None  # None: there was none
    remedy: str = ""  # for an error

    @classmethod
    def of(cls, told: Mapping[str, Any], shape: Any = None) -> Answer:
        """From the result; shape: of each of what was told, None: it is no row."""
        answer = shapes.of(cls, told)
        if shape is None or answer.error is not None:
            return answer
        return dataclasses.replace(answer, told=tuple(shape.of(each) if hasattr(shape, "of") else shapes.of(shape, each) for each in answer.told))

    def result(self) -> dict[str, Any]:
        """As the module returns it."""
        if self.error is not None:
            return {"error": self.error, "remedy": self.remedy, "seconds": self.seconds}
        several = isinstance(self.told, (tuple, list))
        return {"told": [each.result() if hasattr(each, "result") else shapes.plain(each) for each in self.told] if several else self.told,
                "seconds": self.seconds}


@dataclass(frozen=True)
class Api:
    """Whether the API of a service answers."""

    name: str  # of the service
    answer: Answer

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Api:
        """From the result."""
        return cls(told["name"], Answer.of(told))

    def result(self) -> dict[str, Any]:
        """As the module returns it."""
        return {"name": self.name, **self.answer.result()}


@dataclass(frozen=True)
class NovaService:
    """One of nova's services on a machine."""

    binary: str  # nova-compute, nova-scheduler ...
    host: str  # the machine as nova knows it
    state: str  # up, down: whether it reports
    status: str  # enabled, disabled: whether instances are placed there
    forced_down: bool = False  # whether somebody declared it lost
    reason: str | None = None  # of being disabled
    rpc: Answer | None = None  # whether a nova-compute answers by RPC; None: it has no hypervisor, or is none
    node: str | None = None  # the hypervisor's name; likewise

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> NovaService:
        """From the result."""
        return shapes.of(cls, {**told, "rpc": Answer.of(told["rpc"]) if told.get("rpc") else None})

    def result(self) -> dict[str, Any]:
        """As the module returns it."""
        return {**shapes.plain(self), "rpc": self.rpc.result() if self.rpc else None}


@dataclass(frozen=True)
class Agent:
    """An agent of the networks."""

    type: str  # in neutron's words
    host: str
    alive: bool


@dataclass(frozen=True)
class VolumeService:
    """One of cinder's services."""

    binary: str  # cinder-volume, cinder-scheduler
    state: str  # up, down
    status: str  # enabled, disabled


@dataclass(frozen=True)
class Waiting:
    """An instance that failed, or is being built."""

    name: str
    id: str
    status: str  # ERROR, BUILD
    age: int  # seconds since it changed
    host: str | None = None  # None: none has it yet
    fault: str | None = None  # what nova says of its failure


@dataclass(frozen=True)
class Queue:
    """A queue of RabbitMQ's."""

    name: str
    messages: int  # that wait
    consumers: int  # who listen


ROWS = {"apis": Api, "computes": NovaService, "agents": Agent, "volumes": VolumeService, "queues": Queue, "instances": Waiting}


@dataclass(frozen=True)
class Parts:
    """What was asked on the clc. None: a service that the catalog has not, or that cannot be asked without keystone."""

    keystone: Answer  # the types in its catalog
    queues: Answer | None = None  # Queues
    apis: Answer | None = None  # Apis
    computes: Answer | None = None  # NovaServices
    instances: Answer | None = None  # Waitings
    agents: Answer | None = None  # Agents
    volumes: Answer | None = None  # VolumeServices
    page: Answer | None = None  # True: its login is there

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Parts:
        """From the result. TypeError: keystone is not in it, and it is none."""
        return shapes.of(cls, {part: Answer.of(answer, ROWS.get(part)) for part, answer in told.items()})

    def result(self) -> dict[str, Any]:
        """As the module returns it."""
        return {field.name: getattr(self, field.name).result() for field in dataclasses.fields(self) if getattr(self, field.name) is not None}
