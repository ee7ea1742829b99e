# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.our.cloud.plugins.module_utils._hypervisor import hypervisor


class Domain:
    """As libvirt tells its state: number and reason."""

    def __init__(self, *told):
        self.told = list(told)

    def state(self):
        return self.told


@pytest.mark.parametrize("told, how", [
    ((5, 1), "it was shut down"), ((5, 2), "it was destroyed"), ((5, 3), "it crashed"), ((5, 4), "it was migrated"), ((5, 0), ""), ((5, 99), ""),
    # a reason counts for the state that it belongs to
    ((1, 3), ""), ((3, 1), ""),
])
def test_how_a_guest_ended(told, how):
    assert hypervisor.ending(Domain(*told)) == how


@pytest.mark.parametrize("told, word", [((1, 0), "running"), ((5, 3), "stopped"), ((7, 0), "suspended"), ((99, 0), "nostate")])
def test_state_in_a_word(told, word):
    assert hypervisor.state(Domain(*told)) == word
