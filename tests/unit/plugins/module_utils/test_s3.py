# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keys of S3."""

from __future__ import annotations

import json
import types

import pytest

from ansible_collections.our.cloud.plugins.module_utils._cloud import s3
from ansible_collections.our.cloud.plugins.module_utils._common.errors import CloudError


class Keystone:
    """openstacksdk's proxy of keystone, and the Connection with it. Ids are names in capitals."""

    def __init__(self):
        self.identity, self.kept, self.roles = self, [], [("LISA", "BAND")]

    def find_user(self, name):
        return types.SimpleNamespace(id=name.upper()) if name in ("lisa", "ralph") else None

    def find_project(self, name):
        return types.SimpleNamespace(id=name.upper()) if name in ("band", "choir") else None

    def credentials(self, user_id, type):  # pylint: disable=redefined-builtin
        assert type == "ec2"
        return iter([each for each in self.kept if each.user_id == user_id])

    def create_credential(self, **wanted):
        self.kept.append(types.SimpleNamespace(**wanted))

    def delete_credential(self, credential):
        self.kept.remove(credential)

    def role_assignments(self, user_id, scope_project_id, effective):
        return iter([role for role in self.roles if effective and role == (user_id, scope_project_id)])


def test_keys_are_made_once_and_revoked():
    keystone = Keystone()
    made = ["make a key for lisa in band"]
    assert s3.ensure(keystone, "lisa", "band", check_mode=True) == (made, s3.Pair())
    assert keystone.kept == []
    actions, pair = s3.ensure(keystone, "lisa", "band")
    assert actions == made and len(pair.access) == len(pair.secret) == 32
    kept = keystone.kept[0]
    assert (kept.user_id, kept.project_id, kept.type, s3.Pair(**json.loads(kept.blob))) == ("LISA", "BAND", "ec2", pair)
    for check_mode in (True, False):
        assert s3.ensure(keystone, "lisa", "band", check_mode=check_mode) == ([], pair)
    gone = ["revoke 1 keys of lisa in band"]
    assert s3.ensure(keystone, "lisa", "band", "absent", check_mode=True) == (gone, s3.Pair())
    assert s3.ensure(keystone, "lisa", "band", "absent") == (gone, s3.Pair())
    assert s3.ensure(keystone, "lisa", "band", "absent") == ([], s3.Pair())
    assert s3.ensure(keystone, "lisa", "band")[1] != pair


@pytest.mark.parametrize("user, project, message", [
    ("bart", "band", "there is no user bart. `openstack user list`"),
    ("lisa", "court", "there is no project court"),
    ("ralph", "band", "user ralph has no role in project band, and no key would open anything there"),
    ("lisa", "choir", "user lisa has no role in project choir"),
])
def test_refusals(user, project, message):
    with pytest.raises(CloudError, match=message):
        s3.ensure(Keystone(), user, project)
