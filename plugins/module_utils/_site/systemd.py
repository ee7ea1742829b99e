# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Units of systemd as they are, and calls of programs that only look."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass

KEYS = ("Id", "Type", "LoadState", "ActiveState", "SubState", "Result", "NRestarts", "UnitFileState", "TriggeredBy")
# What an active unit says that does its work. A service that has exited does none, unless it is of those that do it once.
AT_WORK = ("running", "listening", "waiting", "mounted")


@dataclass(frozen=True)
class Unit:
    """A unit of systemd."""

    name: str  # without .service if it is a service
    runs: bool
    state: str  # as people say it, such as: failed (failed), exit-code
    restarts: int = 0  # how often it has been started again by itself
    wanted: bool = False  # whether it is to run: from the boot on, or because somebody needs it
    failed: bool = False  # whether it ended with an error, or is started again and again
    there: bool = True  # whether there is such a unit
    triggers: tuple[str, ...] = ()  # units that start it when it is needed


def run(*argv: str, timeout: float = 30) -> str:
    """What a program says; empty if it is not there, fails, or takes too long."""
    try:
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=timeout, env={**os.environ, "LC_ALL": "C"})
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""


def units(shown: str) -> list[Unit]:
    """Of what `systemctl show --property KEYS` says."""
    return [_unit(one) for one in (dict(line.partition("=")[::2] for line in block.splitlines()) for block in shown.strip().split("\n\n"))
            if one.get("Id")]


def _unit(one: dict[str, str]) -> Unit:
    active, sub, result = one.get("ActiveState", ""), one.get("SubState", ""), one.get("Result", "success")
    at_work = (*AT_WORK, *(("exited",) if one.get("Type") == "oneshot" else ()))
    state = f"{active} ({sub})" if one.get("LoadState") == "loaded" else one.get("LoadState", "")
    if result != "success":
        state += f", {result}"
    return Unit(one["Id"].removesuffix(".service"), active == "active" and sub in at_work, state, int(one.get("NRestarts") or 0),
                one.get("UnitFileState") in ("enabled", "enabled-runtime"), active == "failed" or sub == "auto-restart",
                one.get("LoadState") != "not-found", tuple(one.get("TriggeredBy", "").split()))


def look(names: list[str]) -> list[Unit]:
    """These units as they are, by their whole names."""
    return units(run("systemctl", "show", "--property", ",".join(KEYS), *names)) if names else []
