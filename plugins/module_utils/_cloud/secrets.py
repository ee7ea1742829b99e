# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Secrets of a site: made once on the control machine, readable only for its user; and how to show texts without them."""

from __future__ import annotations

import os
import re
import secrets
import string
import tempfile

from ansible_collections.our.cloud.plugins.module_utils._common.errors import Refused

LENGTH = 32
ALPHABET = string.digits + string.ascii_lowercase
PLACEHOLDER = "made-when-it-is-needed"  # in check mode
MASK = "********"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*\Z")
# What neither oslo.config ($), URLs (@ : / #) nor alembic (%) take for something of theirs.
_HARMLESS = re.compile(r"[A-Za-z0-9._~-]{8,}\Z")
_LINE = re.compile(r"""^(?P<key>[ \t]*(?:export[ \t]+)?["']?(?P<name>[A-Za-z0-9_.-]+)["']?[ \t]*[=:][ \t]*["']?)(?P<value>[^\s"'#][^\s"']*)""", re.MULTILINE)
_SECRET_KEY = re.compile(r"(pass(word|wd|phrase)?|password_hash|secret(_key)?|encryption_key|hash_path_(prefix|suffix))\Z", re.IGNORECASE)
_IN_URL = re.compile(r"(?<=://)(?P<user>[^\s:/@]*):(?P<value>[^\s/@]+)(?=@)")
# One of ours, wherever it stands: hexadecimal digits alone would be a checksum.
_OURS = re.compile(r"(?<![0-9A-Za-z])(?=[0-9a-z]*[g-z])(?=[a-z]*[0-9])[0-9a-z]{%d}(?![0-9A-Za-z])" % LENGTH)


def secret(directory: str, name: str, make: bool = True) -> str:
    """The secret of this name, made if it is not there; without `make` a placeholder. Refused if it cannot be used as it is."""
    if not _NAME.match(name):
        raise Refused(f"{name!r} is no name of a secret", "Use letters, digits, dashes and underscores")
    path = os.path.join(directory, name)
    try:
        return _read(path)
    except FileNotFoundError:
        if not make:
            return PLACEHOLDER
    os.makedirs(directory, mode=0o700, exist_ok=True)
    _make(path)
    return _read(path)


def _read(path: str) -> str:
    with open(path, encoding="utf-8") as stream:
        mode, value = os.fstat(stream.fileno()).st_mode & 0o777, stream.read().strip()
    if mode & 0o077:
        raise Refused(f"{path} can be read by others (mode {mode:04o})",
                      f"chmod 600 {path}. If others may have read it, remove it instead: then a new one is made")
    if not _HARMLESS.match(value):
        raise Refused(f"{path} holds a secret that not every service accepts",
                      "At least 8 letters, digits, dots, dashes, underscores and tildes. Remove the file, and a new one is made")
    return value


def _make(path: str) -> None:
    """Writes it completely or not at all. Of two at the same time, the first one's stays."""
    descriptor, fresh = tempfile.mkstemp(prefix=".new-", dir=os.path.dirname(path))  # 0600
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write("".join(secrets.choice(ALPHABET) for dummy in range(LENGTH)) + "\n")
            stream.flush()
            os.fsync(descriptor)
        os.link(fresh, path)
    except FileExistsError:
        pass
    finally:
        os.unlink(fresh)


def found(text: str) -> set[str]:
    """What is secret in the text of a configuration file: by the name of its key, as the password in a URL, or by its looks."""
    values = {match["value"] for match in _LINE.finditer(text) if _SECRET_KEY.search(match["name"])}
    values.update(match["value"] for match in _IN_URL.finditer(text))
    return values | set(_OURS.findall(text))


def mask(text: str) -> str:
    """The text of a configuration file with stars in the place of what is secret."""
    text = _LINE.sub(lambda match: match["key"] + MASK if _SECRET_KEY.search(match["name"]) else match[0], text)
    text = _IN_URL.sub(lambda match: f"{match['user']}:{MASK}", text)
    return _OURS.sub(MASK, text)
