# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Types of volumes."""

from __future__ import annotations

import types

import pytest

from ansible_collections.our.cloud.plugins.module_utils._cloud import session, volumes


class Cinder:
    """openstacksdk's proxy, of types alone, and the Connection with it."""

    def __init__(self, *found):
        self.found, self.asked, self.block_storage = [types.SimpleNamespace(**each) for each in found], [], self

    def has_service(self, name):
        return self.found is not None and name == "block-storage"

    def types(self, is_public):
        assert is_public
        return iter(self.found)

    def create_type(self, **wanted):
        self.asked.append(("create", wanted))

    def update_type(self, found, **wanted):
        self.asked.append(("update", found.name, wanted))

    def update_type_extra_specs(self, found, **wanted):
        self.asked.append(("specs", found.name, wanted))


OTHER = {"name": "__DEFAULT__", "description": "Default Volume Type", "extra_specs": {}}


@pytest.mark.parametrize("found, actions, asked", [
    ([OTHER], ["make volume type store"],
     [("create", {"name": "store", "description": "files", "extra_specs": {"volume_backend_name": "store"}, "is_public": True})]),
    ([OTHER, {"name": "store", "description": None, "extra_specs": {"theirs": "1"}}],
     ["describe volume type store", "set volume_backend_name of volume type store"],
     [("update", "store", {"description": "files"}), ("specs", "store", {"volume_backend_name": "store"})]),
    ([{"name": "store", "description": "files", "extra_specs": {"volume_backend_name": "store", "theirs": "1"}}], [], []),
])
def test_a_type(found, actions, asked):
    for check_mode in (True, False):
        cinder = Cinder(*found)
        assert volumes.ensure_type(cinder, "store", "files", {"volume_backend_name": "store"}, check_mode) == actions
        assert cinder.asked == ([] if check_mode else asked)


def test_a_cloud_without_volumes():
    cinder = Cinder()
    cinder.found = None
    with pytest.raises(session.NotThere, match="volumes: the cloud's catalog has no service for them"):
        volumes.ensure_type(cinder, "store", "", {})
