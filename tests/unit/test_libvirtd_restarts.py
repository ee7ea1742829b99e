# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""No role restarts libvirtd while a guest is on its way from or to the node."""

from __future__ import annotations

import json
import pathlib
import re

import yaml

ROLES = pathlib.Path(__file__).resolve().parents[2] / "roles"
WAITS = "our.cloud.moves_idle"


def tasks(path):
    """The tasks of a file, those in blocks, too."""
    def inside(found):
        for task in found or []:
            yield task
            for part in ("block", "rescue", "always"):
                yield from inside(task.get(part))

    return list(inside(yaml.safe_load(path.read_text(encoding="utf-8"))))


def ends_libvirtd(task):
    """Whether it stops or restarts libvirtd."""
    service = task.get("ansible.builtin.systemd_service") or task.get("ansible.builtin.service") or {}
    said = json.dumps([value for key, value in task.items() if key.startswith("ansible.builtin.") and "service" not in key.rpartition(".")[2]])
    return (re.match(r"libvirtd|virt\w+d\b", str(service.get("name", ""))) is not None and service.get("state") in ("restarted", "stopped")
            or re.search(r"systemctl [^;&|]*\b(stop|restart|try-restart)\b[^;&|]*libvirtd", said) is not None)


def unguarded():
    """Tasks before which nothing waits for the moves, within what notifies them."""
    for path in sorted(ROLES.glob("*/tasks/**/*.yml")) + sorted(ROLES.glob("*/handlers/*.yml")):
        waited = set()
        for task in tasks(path):
            topic = task.get("listen") or task.get("name")
            if WAITS in task:
                waited.add(topic)
            elif ends_libvirtd(task) and topic not in waited:
                yield f"{path.relative_to(ROLES)}: {task.get('name')}"


def test_who_restarts_libvirtd_waits_for_moves():
    assert list(unguarded()) == []


def test_restarts_are_found():
    found = [task for path in ROLES.glob("*/handlers/*.yml") for task in tasks(path) if ends_libvirtd(task)]
    assert len(found) >= 4
    assert ends_libvirtd({"ansible.builtin.command": "systemctl stop libvirtd.service libvirtd.socket"})
    assert not ends_libvirtd({"ansible.builtin.command": "virt-admin server-update-tls libvirtd"})
    assert not ends_libvirtd({"ansible.builtin.systemd_service": {"name": "libvirtd.service", "state": "started"}})
