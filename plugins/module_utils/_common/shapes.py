# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Dataclasses out of the dicts that parameters, results, files and Ansible's facts are, and back."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, TypeVar

Shape = TypeVar("Shape")


def of(shape: type[Shape], values: Mapping[str, Any]) -> Shape:
    """A dataclass of the values that it has fields for; what else there is, is passed over. TypeError: one is missing that has no default."""
    return shape(**{field.name: values[field.name] for field in dataclasses.fields(shape) if field.name in values})


def plain(value: Any) -> Any:
    """As JSON has it: a dataclass is a dict of its fields, a tuple a list, and so is what they hold."""
    if dataclasses.is_dataclass(value):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {key: plain(held) for key, held in value.items()}
    return [plain(held) for held in value] if isinstance(value, (list, tuple)) else value


def said(value: Any) -> dict[str, Any]:
    """As `plain`, of a dataclass, without the fields that are None."""
    return {key: held for key, held in plain(value).items() if held is not None}
