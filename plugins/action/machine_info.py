# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tells the machine's clock from ours."""

from __future__ import annotations

from ansible_collections.our.cloud.plugins.plugin_utils.clocked import Clocked


class ActionModule(Clocked):
    """The action of our.cloud.machine_info."""

    MODULE = "our.cloud.machine_info"
