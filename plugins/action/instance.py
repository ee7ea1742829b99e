# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Shows the progress of the module instance."""

from __future__ import annotations

from ansible_collections.our.cloud.plugins.plugin_utils.followed import Followed


class ActionModule(Followed):
    MODULE = "our.cloud.instance"
