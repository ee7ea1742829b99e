# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The registry that a module's parameters mean: here alone it is decided what it stands on."""

from __future__ import annotations

from ansible_collections.our.cloud.plugins.module_utils._registry.nfs_store import NfsStore
from ansible_collections.our.cloud.plugins.module_utils._registry.registry import Registry


def open_registry(params: dict, check_mode: bool) -> Registry:
    """params: `store`, the directory of the site's store. RegistryError: it is none, or not to be trusted."""
    return Registry(NfsStore(params["store"], check_mode), check_mode)
