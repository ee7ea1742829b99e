# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Types of volumes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ansible_collections.our.cloud.plugins.module_utils._cloud.session import NotThere

if TYPE_CHECKING:
    from openstack.connection import Connection


def ensure_type(conn: Connection, name: str, description: str, specs: Mapping[str, Any], check_mode: bool = False) -> list[str]:
    """Make a type of volumes what it is to be; what was done, or would be. conn: a Connection of openstacksdk."""
    if not conn.has_service("block-storage"):
        raise NotThere("", "volumes", "the cloud's catalog has no service for them", "The playbook cloud makes it, if the group sc has a host")
    wanted, cinder = {key: str(value) for key, value in specs.items()}, conn.block_storage
    found = next((each for each in cinder.types(is_public=True) if each.name == name), None)
    if found is None:
        if not check_mode:
            cinder.create_type(name=name, description=description, extra_specs=wanted, is_public=True)
        return ["make volume type %s" % name]
    actions = []
    if (found.description or "") != description:
        actions.append("describe volume type %s" % name)
        if not check_mode:
            cinder.update_type(found, description=description)
    new = {key: value for key, value in wanted.items() if (found.extra_specs or {}).get(key) != value}
    if new:
        actions.append("set %s of volume type %s" % (", ".join(sorted(new)), name))
        if not check_mode:
            cinder.update_type_extra_specs(found, **new)
    return actions
