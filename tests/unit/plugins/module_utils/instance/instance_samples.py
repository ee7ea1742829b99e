# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An instance and a flavor that are asked for, and time that passes when somebody waits."""

from __future__ import annotations

from ansible_collections.our.cloud.plugins.module_utils._cloud import instance

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOLL ada@home"


def params(**more):
    return {"name": "web", "state": "started", "image": None, "flavor": None, "network": "managed", "private": "private", "lan": "lan",
            "dhcp_group": "lan-dhcp",
            "address": None, "mac": None, "floating": False, "key": None, "public_key": None, "security_groups": [], "user_data": None, "host": None,
            "project": None, "hard": False, "keep_failed": False, "timeout": 10, **more}


class Clock:
    """Time that passes when somebody waits."""

    def __init__(self):
        self.time = 0.0

    def now(self):
        return self.time

    def pause(self, seconds):
        self.time += seconds


def ensure(cloud, check=False, tell=lambda text: None, **more):
    clock = Clock()
    return instance.Instance(cloud, params(**more), check, tell, clock.now, clock.pause).ensure()


def calls(cloud):
    return [call[0] for call in cloud.calls]


FLAVOR = {"name": "tiny", "memory": 128, "vcpus": 1, "disk": 1, "state": "present"}
