# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the modules kernel, ramdisk and image have in common, and the action plugin that sends them files."""

from __future__ import annotations

import contextlib
import getpass
import json
import os
from typing import Any

from ansible_collections.our.cloud.plugins.module_utils._common import sparse
from ansible_collections.our.cloud.plugins.module_utils._common.errors import CloudError
from ansible_collections.our.cloud.plugins.module_utils._boot.sources import BootFileError
from ansible_collections.our.cloud.plugins.module_utils._registry.open import open_registry
from ansible_collections.our.cloud.plugins.module_utils._registry.parts import Part, arrived, image_part, kernel_part, ramdisk_part, triple
from ansible_collections.our.cloud.plugins.module_utils._registry.storage import RegistryError

ERRORS = (RegistryError, BootFileError, CloudError, OSError)
COMMON = {
    "name": {"type": "str", "required": True},
    "path": {"type": "path"},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "owner": {"type": "str"},
    "force": {"type": "bool", "default": False},
    "store": {"type": "path", "default": "/srv/cloud"},
    "remote_src": {"type": "bool", "default": False},
    "parts": {"type": "list", "elements": "dict"},
    "pack": {"type": "path"},
}


def parts_of(kind: str, params: dict, path: str) -> list[Part]:
    """The Parts that are to be registered; called where the files are."""
    if kind == "kernel":
        return [kernel_part(path)]
    if kind == "ramdisk":
        return [ramdisk_part(path)]
    facts = {key: params.get(key) or None for key in ("arch", "kernel", "ramdisk", "root_device", "cmdline")}
    if not os.path.isdir(path):
        return [image_part(path, facts)]
    if facts["kernel"] or facts["ramdisk"]:
        raise RegistryError(f"{path} is a directory, whose kernel and ramdisk are registered with it; leave kernel and ramdisk out, or give the file")
    return triple(path, facts)


def text(record: dict | None) -> str:
    """A record as a diff shows it."""
    shown = {key: value for key, value in (record or {}).items() if value is not None and key not in ("created", "digest")}
    return "".join(f"{key}: {value if isinstance(value, str) else json.dumps(value, sort_keys=True)}\n" for key, value in sorted(shown.items()))


def run(module: Any, kind: str) -> dict:
    """The module's work; its result."""
    params = module.params
    known = open_registry(params, module.check_mode)
    before = known.find(kind, params["name"])
    with contextlib.ExitStack() as stack:
        if params["state"] == "absent":
            result = known.remove(kind, params["name"], params["force"])
            after = None
        else:
            stream = stack.enter_context(sparse.unpack(params["pack"])) if params["pack"] else None
            if params["parts"] is not None:
                parts = [arrived(told, stream) for told in params["parts"]]
            else:
                parts = parts_of(kind, params, params["path"])
            for part in parts:
                stack.callback(part.close)
            result = known.register(params["name"], parts, params["owner"] or getpass.getuser(), params.get("origin"))
            after = result["record"]
            result["file"] = known.storage.path(result["id"])
            if not result["missing"]:
                del result["missing"]
    result["registered"] = result.pop("record")
    if module._diff:
        result["diff"] = {"before_header": f"{kind} {params['name']}", "after_header": f"{kind} {params['name']}",
                          "before": text(before), "after": text(after)}
    return result
