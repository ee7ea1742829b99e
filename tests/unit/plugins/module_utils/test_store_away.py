# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A hard mount whose server is away waits for ever, and so would who looks at it without a bound."""

from __future__ import annotations

import os
import threading

import pytest
from ansible_collections.our.cloud.plugins.module_utils._common.errors import CloudError
from ansible_collections.our.cloud.plugins.module_utils._guest import domain
from ansible_collections.our.cloud.plugins.module_utils._registry.nfs_store import NfsStore
from ansible_collections.our.cloud.plugins.module_utils._site import store
from ansible_collections.our.cloud.plugins.module_utils._vm import in_hand

DEFINITION = domain.ET.fromstring("<domain><name>g</name><memory>1</memory><devices><disk><source file='/srv/cloud/images/g.img'/></disk></devices></domain>")
SILENT = "no answer within 0.1 s. Is its server up"


@pytest.fixture(name="away")
def fixture_away(monkeypatch):
    """away(name): that call of os hangs for what is below /srv/cloud."""
    back = threading.Event()
    monkeypatch.setattr(store, "PATIENCE", 0.1)

    def hang(name):
        real = getattr(os, name)
        monkeypatch.setattr(os, name, lambda path, *more, **others: back.wait(20) if str(path).startswith("/srv/cloud") else real(path, *more, **others))

    yield hang
    back.set()


def test_room_beside_the_disk_of_a_guest_that_stands_still(away):
    away("statvfs")
    with pytest.raises(CloudError, match=SILENT):
        in_hand.full_stores(DEFINITION)


def test_saved_memory_of_a_guest_that_is_to_start(away):
    away("scandir")
    with pytest.raises(CloudError, match=SILENT):
        in_hand.check_saved("node", "g", DEFINITION)


def test_a_check(away):
    """It takes a store that is not there for an empty one, and must look whose it is all the same."""
    away("stat")
    with pytest.raises(CloudError, match=SILENT):
        NfsStore("/srv/cloud", check_mode=True)
