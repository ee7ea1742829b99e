# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Access keys for S3: a pair for a user in a project, kept by keystone."""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ansible_collections.our.cloud.plugins.module_utils._common import shapes
from ansible_collections.our.cloud.plugins.module_utils._common.errors import CloudError

if TYPE_CHECKING:
    from openstack.connection import Connection

TYPE = "ec2"
REMEDY = "`openstack user list` and `openstack project list` tell those that there are; cloud_projects in the inventory makes them"


@dataclass(frozen=True)
class Pair:
    """An access key for S3, as s3_credentials returns it."""

    access: str | None = None  # None: there is none
    secret: str | None = None  # likewise


def _one(found: Any, thing: str, name: str) -> Any:
    if found is None:
        raise CloudError("", "keystone", "there is no %s %s" % (thing, name), REMEDY)
    return found


def ensure(conn: Connection, user: str, project: str, state: str = "present", check_mode: bool = False) -> tuple[list[str], Pair]:
    """(what was done or would be, the pair). conn: a Connection of an administrator."""
    identity = conn.identity
    who, where = _one(identity.find_user(user), "user", user), _one(identity.find_project(project), "project", project)
    found = [each for each in identity.credentials(user_id=who.id, type=TYPE) if each.project_id == where.id]
    if state == "absent":
        for each in found:
            if not check_mode:
                identity.delete_credential(each)
        return ["revoke %d keys of %s in %s" % (len(found), user, project)] if found else [], Pair()
    if found:
        return [], shapes.of(Pair, json.loads(found[0].blob))
    if not any(identity.role_assignments(user_id=who.id, scope_project_id=where.id, effective=True)):
        raise CloudError("", "keystone", "user %s has no role in project %s, and no key would open anything there" % (user, project),
                         "Name the user in the project's users in cloud_projects")
    pair = Pair(secrets.token_hex(16), secrets.token_hex(16))
    if not check_mode:
        identity.create_credential(user_id=who.id, project_id=where.id, type=TYPE, blob=json.dumps(shapes.plain(pair)))
    return ["make a key for %s in %s" % (user, project)], Pair() if check_mode else pair
