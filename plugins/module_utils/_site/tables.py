# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a site has, in lines that people read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

NOTHING = "-"


def table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[str]:
    """Aligned lines; numbers to the right."""
    lines = [list(head)] + [[NOTHING if cell in (None, "", []) else ", ".join(cell) if isinstance(cell, list) else str(cell) for cell in row] for row in rows]
    right = [bool(rows) and all(isinstance(row[column], int) for row in rows) for column in range(len(head))]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    return ["  ".join(cell.rjust(width) if to_right else cell.ljust(width) for cell, width, to_right in zip(line, widths, right)).rstrip() for line in lines]


def images(registry: Mapping[str, Any]) -> list[str]:
    """Of what image_info returned: images with their kernels and ramdisks, then those that belong to none."""
    release = {kernel["id"]: kernel["version"] for kernel in registry["kernels"]}
    rows = [[image["id"], image["names"], image["arch"], image["size"] >> 20, image["kernel"], release.get(image["kernel"]), image["ramdisk"],
             (image["origin"] or {}).get("recipe"), image["owner"], image["created"], image["guests"]]
            for image in registry["images"]]
    lines = table(("image", "names", "arch", "MiB", "kernel", "release", "ramdisk", "recipe", "owner", "registered", "guests"), rows)
    booted = {image[kind] for image in registry["images"] for kind in ("kernel", "ramdisk")}
    rest = [[kind, one["id"], one["names"], one["size"] >> 10, one["guests"]]
            for kind in ("kernel", "ramdisk") for one in registry[kind + "s"] if one["id"] not in booted]
    return (lines + ([""] + table(("of no image", "id", "names", "KiB", "guests"), rest) if rest else [])
            + (["", room(registry["room"])] if registry.get("room") else []))


def room(told: Mapping[str, Any]) -> str:
    """How full the store is, and will be: disks take room as they are written to."""
    free, size, promised = (told[each] >> 20 for each in ("free", "size", "promised"))
    text = f"{told['path']} has {free} of {size} MiB free. The guests' disks there may still take {promised} MiB"
    if promised <= free:
        return text + "."
    return text + ", which is more: guests stop when it is full. Make it larger, or remove what nobody needs (playbooks/prune.yml)."
