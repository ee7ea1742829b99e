# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which ssh key may log in to an instance: one of the project's in the inventory, or one of the user who runs the playbook."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import Any

KIND = re.compile(r"(ssh|ecdsa|sk)-[a-z0-9@.-]+ [A-Za-z0-9+/=]{16,}")
# Of several files, the first of these
PREFERRED = ("id_ed25519.pub", "id_ecdsa.pub", "id_rsa.pub")


@dataclass(frozen=True)
class Key:
    """The key, or why there is none."""

    name: str = ""  # in the project, or "key"
    public_key: str = ""  # its text
    error: str = ""  # a sentence; empty: there is a key


def _rank(path: str) -> tuple[int, str]:
    name = os.path.basename(path)
    return (PREFERRED.index(name) if name in PREFERRED else len(PREFERRED), name)


def choose(projects: list[dict[str, Any]], key: str, project: str, files: dict[str, str]) -> Key:
    """The key that is meant. projects: cloud_projects; files: {path: text} of public keys."""
    known = {each["name"]: each["public_key"] for one in projects if not project or one.get("name") == project
             for user in one.get("users") or [] for each in user.get("keys") or []}
    mine = {path: text.strip() for path, text in sorted(files.items(), key=lambda item: _rank(item[0])) if KIND.match(text)}
    if KIND.match(key):
        return Key("key", key)
    if key in known:
        return Key(key, known[key])
    for path, text in mine.items():
        if key in (path, path[:-len(".pub")], os.path.basename(path), os.path.basename(path)[:-len(".pub")]):
            return Key("key", text)
    names = ", ".join([*sorted(known), *mine]) or "none"
    if key:
        return Key(error=f"There is no ssh key {key}. There are: {names}.")
    for name, text in [*known.items(), *(("key", text) for text in mine.values())]:
        return Key(name, text)
    return Key(error="Nobody could log in: there is no ssh key, neither in cloud_projects nor in ~/.ssh. "
                     "Make one (`ssh-keygen -t ed25519`), or give one with -e key=FILE.")
