# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What keystone needs before anybody can log in: its keys and its first user."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import subprocess
import urllib.error
from collections.abc import Iterable
from typing import Optional

from ansible.module_utils.urls import open_url
from ansible_collections.our.cloud.plugins.module_utils._cloud import database
from ansible_collections.our.cloud.plugins.module_utils._common.errors import CloudError

KEYS = {"fernet": "/etc/keystone/fernet-keys", "credential": "/etc/keystone/credential-keys"}
LOST = {"fernet": "all tokens end, and nothing else is lost", "credential": "the EC2 credentials in it, with which users come to S3, cannot be read again"}
USER = "keystone"


@dataclasses.dataclass(frozen=True)
class Bootstrap:
    """The administrator, and where keystone is."""

    url: str  # on loopback
    password: str  # the administrator's
    region: str  # of the endpoints
    public_url: str  # for the catalog
    internal_url: str  # likewise

    def logs_in(self) -> Optional[bool]:
        """Whether the administrator's password is right; None if keystone does not answer."""
        identity = {"methods": ["password"], "password": {"user": {"name": "admin", "domain": {"id": "default"}, "password": self.password}}}
        body = {"auth": {"identity": identity, "scope": {"project": {"name": "admin", "domain": {"id": "default"}}}}}
        try:
            with open_url(f"{self.url}/auth/tokens", json.dumps(body), {"Content-Type": "application/json"}, timeout=60, use_proxy=False):
                return True
        except urllib.error.HTTPError as error:
            if error.code == 401:
                return False
            raise CloudError(os.uname().nodename, "keystone", f"it answers a login with HTTP status {error.code}",
                             "See /var/log/keystone/keystone.log") from None
        except OSError:
            return None

    def run(self) -> None:
        """Make the administrator, or set the password."""
        _manage("bootstrap", OS_BOOTSTRAP_USERNAME="admin", OS_BOOTSTRAP_PROJECT_NAME="admin", OS_BOOTSTRAP_ROLE_NAME="admin",
                OS_BOOTSTRAP_PASSWORD=self.password, OS_BOOTSTRAP_SERVICE_NAME="keystone", OS_BOOTSTRAP_REGION_ID=self.region,
                OS_BOOTSTRAP_ADMIN_URL=self.internal_url, OS_BOOTSTRAP_INTERNAL_URL=self.internal_url, OS_BOOTSTRAP_PUBLIC_URL=self.public_url)


def _manage(command: str, *arguments: str, **environment: str) -> None:
    argv = ["keystone-manage", command, *arguments]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=300, user=USER, group=USER, extra_groups=[],
                          env={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", **environment})
    if done.returncode:
        raise CloudError(os.uname().nodename, " ".join(argv), "\n".join((done.stderr or done.stdout).strip().splitlines()[-5:]))


def missing_keys() -> list[str]:
    """The kinds of keys of which there is none."""
    missing = []
    for kind, folder in KEYS.items():
        with contextlib.suppress(FileNotFoundError):
            if os.listdir(folder):
                continue
        missing.append(kind)
    return missing


def make_keys(kinds: Iterable[str]) -> None:
    """Make keys, each folder as a whole: a run that ends in the middle leaves keystone-manage's own work, which is one file at a time and usable."""
    for kind in kinds:
        _manage(f"{kind}_setup", "--keystone-user", USER, "--keystone-group", USER)


def has_users(server: Optional[database.Server]) -> bool:
    """Whether keystone's database knows somebody already."""
    if server is None:
        return False
    with server.root() as cursor:
        if cursor is None:
            return False
        cursor.execute("SELECT count(*) FROM information_schema.tables WHERE table_schema = 'keystone' AND table_name = 'local_user'")
        if not cursor.fetchone()[0]:
            return False
        cursor.execute("SELECT count(*) FROM keystone.local_user")
        return bool(cursor.fetchone()[0])


def keys(server: Optional[database.Server], check: bool) -> list[str]:
    """There are keys; what was done, as sentences. Keys that an older database was written with are not replaced."""
    missing = missing_keys()
    if missing and has_users(server):
        raise CloudError(os.uname().nodename, ", ".join(KEYS[kind] for kind in missing), "there is no key, and keystone's database was used with one",
                         "Bring the keys back from a backup (cloud_restore.yml). If there is none: "
                         + "; ".join(f"keystone-manage {kind}_setup --keystone-user {USER} --keystone-group {USER} makes new ones, and {LOST[kind]}"
                                     for kind in missing))
    if missing and not check:
        make_keys(missing)
    return [f"make {kind} keys" for kind in missing]


def administrator(wanted: Bootstrap, check: bool) -> list[str]:
    """The administrator can log in; what was done, as sentences."""
    right = wanted.logs_in()
    if right:
        return []
    if check:
        return ["set the administrator's password"]
    if right is None:
        raise CloudError(os.uname().nodename, "keystone", f"no answer at {wanted.url}", "See systemctl status keystone")
    wanted.run()
    if not wanted.logs_in():
        raise CloudError(os.uname().nodename, "keystone", "the administrator cannot log in with the password that was set",
                         "If the clocks are right and memcached answers, /var/log/keystone/keystone.log tells more")
    return ["set the administrator's password"]
