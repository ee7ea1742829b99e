# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the way out of the cloud's routers is, as OVN's southbound database has it; on the machine with the databases."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from ansible_collections.our.cloud.plugins.module_utils._cloud import members
from ansible_collections.our.cloud.plugins.module_utils._guest.ready import Routers

OPTION, GATEWAY = "ovn-cms-options", "enable-chassis-as-gw"


def rows(told: str) -> list[dict[str, Any]]:
    """Of what ovn-sbctl says with --format=json: {column: value}; a map is a dict, a set a list, a UUID its text."""
    def plain(value: Any) -> Any:
        if isinstance(value, list) and len(value) == 2 and value[0] in ("map", "set", "uuid"):
            if value[0] == "map":
                return {plain(key): plain(held) for key, held in value[1]}
            return [plain(each) for each in value[1]] if value[0] == "set" else value[1]
        return value

    found = json.loads(told)
    return [dict(zip(found["headings"], map(plain, row))) for row in found["data"]]


def look(ask: Callable[..., str] = members.sbctl) -> Routers:
    """Where they are now."""
    chassis = rows(ask("--format=json", "--columns=_uuid,hostname,other_config", "list", "Chassis"))
    bound = rows(ask("--format=json", "--columns=logical_port,chassis", "find", "Port_Binding", "type=chassisredirect"))
    names = {one["_uuid"]: one["hostname"] for one in chassis}
    return Routers({one["logical_port"]: names[one["chassis"]] for one in bound if isinstance(one["chassis"], str) and one["chassis"] in names},
                   tuple(sorted(one["hostname"] for one in chassis if GATEWAY in one["other_config"].get(OPTION, "").split(","))),
                   tuple(sorted(names.values())))
