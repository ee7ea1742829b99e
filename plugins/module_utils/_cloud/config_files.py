# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Configuration files, each written as a whole and in one step."""

from __future__ import annotations

import contextlib
import dataclasses
import grp
import os
import pwd
import stat
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Optional

from ansible_collections.our.cloud.plugins.module_utils._cloud import secrets
from ansible_collections.our.cloud.plugins.module_utils._common.errors import CloudError, Refused

HEADING = "# Ansible manages this file: changes here are lost.\n"


@dataclass(frozen=True)
class Directory:
    """A directory as it is to be."""

    path: str
    owner: str = ""  # empty: who writes it
    group: str = ""  # likewise
    mode: str = "0755"  # octal

    @property
    def attributes(self) -> str:
        """As people read it."""
        return f"{self.owner}:{self.group} {int(self.mode, 8):04o}"


@dataclass(frozen=True)
class File(Directory):
    """A file as it is to be."""

    mode: str = "0640"
    content: Optional[str] = None  # its text; None: it is made of `ini`
    ini: Optional[Mapping[str, Any]] = None  # {section: {key: value}}
    state: str = "present"  # or absent


@dataclass(frozen=True)
class Changes:
    """What was done, or would be, as config_files returns it."""

    paths: tuple[str, ...] = ()  # of what changed
    diff: tuple[dict[str, str], ...] = ()  # as Ansible shows it

    @property
    def changed(self) -> bool:
        """Whether anything did."""
        return bool(self.paths)


def ini(sections: Mapping[str, Any]) -> str:
    """The text of a file as oslo.config reads it, from {section: {key: value}}. A list is a key repeated; without a value (None) the key is left out."""
    return "\n".join([HEADING] + [section(name, keys) for name, keys in sections.items()])


def section(name: str, keys: Optional[Mapping[str, Any]]) -> str:
    """One section of such a file."""
    lines = [f"[{name}]"]
    for key, value in (keys or {}).items():
        for item in value if isinstance(value, list) else [value]:
            if item is not None:
                lines.append(f"{key} = {_text(name, key, item)}".rstrip())
    return "\n".join(lines) + "\n"


def _text(section: str, key: str, value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    text = str(value)
    if "\n" in text:
        raise Refused(f"[{section}] {key} has a line break in its value", "Give a list for a key that is to be repeated")
    return text


def text(wanted: File) -> str:
    """What a file is to contain."""
    if wanted.ini is not None:
        return ini(wanted.ini)
    return wanted.content or ""


def secrets_of(files: Iterable[File]) -> set[str]:
    """All secrets in the files."""
    return set().union(*(secrets.found(text(wanted)) for wanted in files if wanted.state == "present"))


def ensure(files: Iterable[File], check: bool, directories: Iterable[Directory] = ()) -> Changes:
    """Write or remove files, before them directories."""
    paths, diff = [], []
    for wanted in map(_owned, [*directories, *files]):
        if isinstance(wanted, File):
            changes = _absent(wanted, check) if wanted.state == "absent" else _present(wanted, check)
        else:
            changes = _directory(wanted, check)
        if changes:
            paths.append(wanted.path)
            diff.append(changes)
    return Changes(tuple(paths), tuple(diff))


def _owned(wanted: Directory) -> Directory:
    """Without owner or group, those of the process that writes it."""
    return dataclasses.replace(wanted, owner=wanted.owner or _name(pwd.getpwuid, os.geteuid()), group=wanted.group or _name(grp.getgrgid, os.getegid()))


def _directory(wanted: Directory, check: bool) -> Optional[dict[str, str]]:
    path, attributes = wanted.path, wanted.attributes
    try:
        status = os.stat(path)
    except FileNotFoundError:
        found = ""
    else:
        if not stat.S_ISDIR(status.st_mode):
            raise CloudError(os.uname().nodename, path, "there must be a directory, and there is something else", "Move it away")
        found = _found(status)
    if found == attributes:
        return None
    if not check:
        owner, group = _ids(wanted)
        os.makedirs(path, mode=0o755, exist_ok=True)
        os.chown(path, owner, group)
        os.chmod(path, int(wanted.mode, 8))
    return {"before_header": f"{path} {found}".rstrip(), "after_header": f"{path} {attributes}", "before": f"{found}\n", "after": f"{attributes}\n"}


def _absent(wanted: File, check: bool) -> Optional[dict[str, str]]:
    path = wanted.path
    before, dummy = _now(path)
    if before is None:
        return None
    if not check:
        os.unlink(path)
    return {"before_header": path, "after_header": path, "before": secrets.mask(before), "after": ""}


def _present(wanted: File, check: bool) -> Optional[dict[str, str]]:
    path, after, attributes = wanted.path, text(wanted), wanted.attributes
    before, found = _now(path)
    if before == after and found == attributes:
        return None
    if not check:
        _write(after, wanted)
    hidden = "(a secret in it has changed)\n" if before not in (None, after) and secrets.mask(before) == secrets.mask(after) else ""
    return {"before_header": f"{path} {found}".rstrip(), "after_header": f"{path} {attributes}",
            "before": _shown(before or "", wanted), "after": _shown(after, wanted) + hidden}


def _shown(content: str, wanted: File) -> str:
    """What a diff shows: of settings no comments, of which a package's sample has thousands of lines."""
    lines = secrets.mask(content).splitlines(keepends=True)
    if wanted.ini is not None:
        lines = [line for line in lines if line.strip() and not line.startswith("#")]
    return "".join(lines)


def _now(path: str) -> tuple[Optional[str], str]:
    """(text, "owner:group mode") of a file, or (None, "") if there is none. A link counts as none: it is replaced."""
    try:
        status = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None, ""
    if stat.S_ISDIR(status.st_mode):
        raise CloudError(os.uname().nodename, path, "there must be a file, and there is a directory", "Move it away")
    if not stat.S_ISREG(status.st_mode):
        return None, ""
    with open(path, encoding="utf-8", errors="replace") as stream:
        return stream.read(), _found(status)


def _found(status: os.stat_result) -> str:
    return f"{_name(pwd.getpwuid, status.st_uid)}:{_name(grp.getgrgid, status.st_gid)} {stat.S_IMODE(status.st_mode):04o}"


def _name(of: Any, number: int) -> str:
    try:
        return of(number)[0]
    except KeyError:
        return str(number)


def _ids(wanted: Directory) -> tuple[int, int]:
    try:
        return pwd.getpwnam(wanted.owner).pw_uid, grp.getgrnam(wanted.group).gr_gid
    except KeyError as error:
        raise CloudError(os.uname().nodename, wanted.path, f"there is no such user or group: {error.args[0]}",
                         "The package that makes it has to be installed first") from None


def _write(content: str, wanted: File) -> None:
    owner, group = _ids(wanted)
    folder = os.path.dirname(wanted.path)
    os.makedirs(folder, mode=0o755, exist_ok=True)
    descriptor, fresh = tempfile.mkstemp(prefix=".our-cloud-", dir=folder)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            os.fchown(descriptor, owner, group)
            os.fchmod(descriptor, int(wanted.mode, 8))
            stream.write(content)
            stream.flush()
            os.fsync(descriptor)
        os.rename(fresh, wanted.path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(fresh)
        raise
