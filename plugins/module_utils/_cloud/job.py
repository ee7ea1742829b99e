# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Long work in the cloud runs in a systemd unit on the host that asks for it: it goes on even if the control machine's run breaks off.

Its code comes as one zip file from the control machine. It writes its steps into a file, and its result at the end.
"""

from __future__ import annotations

import base64
import importlib
import io
import json
import os
import subprocess
import sys
import time
import traceback
import uuid
import zipfile
from collections.abc import Callable
from typing import Any, Optional

from ansible_collections.our.cloud.plugins.module_utils._common.errors import CloudError

PACKAGE = ("ansible_collections", "our", "cloud", "plugins", "module_utils")
WINGS = ("_common", "_site", "_guest", "_move", "_cloud")
JOBS = "/run/our-cloud/jobs"
# What does each kind of job: a module here, and its function, which takes the parameters, False (it is no check) and what is called with a step.
KINDS = {"instance": ("instance", "ensure"), "instance_migrate": ("instance_move", "run")}
MAIN = f"""import sys
from {'.'.join(PACKAGE)}._cloud import job
sys.exit(job.main(sys.argv[1]))
"""


def pack(folder: str) -> str:
    """The code that a job needs, as text: for the control machine, where `folder` holds the collection's module_utils."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("__main__.py", MAIN)
        for depth in range(1, len(PACKAGE) + 1):
            archive.writestr("/".join([*PACKAGE[:depth], "__init__.py"]), "")
        for wing in WINGS:
            for name in sorted(os.listdir(os.path.join(folder, wing))):
                if name.endswith(".py"):
                    archive.write(os.path.join(folder, wing, name), "/".join([*PACKAGE, wing, name]))
    return base64.b64encode(stream.getvalue()).decode("ascii")


def begin(kind: str, params: dict[str, Any], code: str, jobs: str = JOBS, run: Callable[..., Any] = subprocess.run) -> dict[str, Any]:
    """Start a job: its folder and its unit. CloudError."""
    token = uuid.uuid4().hex[:12]
    folder, unit = os.path.join(jobs, token), f"our-cloud-{kind}-{token}.service"
    os.makedirs(folder, mode=0o700)
    with open(os.path.join(folder, "code.zip"), "wb") as stream:
        stream.write(base64.b64decode(code))
    with open(os.open(os.path.join(folder, "request.json"), os.O_WRONLY | os.O_CREAT, 0o600), "w", encoding="utf-8") as file:
        json.dump({"kind": kind, "params": params}, file)
    argv = ["systemd-run", "--quiet", "--collect", "--service-type=exec", "--unit", unit, "--description", f"{kind} {params['name']}",
            "--property=Environment=PYTHONDONTWRITEBYTECODE=1", sys.executable, os.path.join(folder, "code.zip"), folder]
    done = run(argv, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CloudError(os.uname().nodename, f"{kind} {params['name']}", f"it could not be started as a unit of systemd ({done.stderr.strip()})",
                         f"See `systemctl status {unit}` there")
    return {"folder": folder, "unit": unit}


class Steps:
    """Called with a step, it writes a line with the seconds since it was made."""

    def __init__(self, path: str) -> None:
        self.path, self.began = path, time.monotonic()

    def __call__(self, text: str) -> None:
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(f"{time.monotonic() - self.began:5.1f} s  {text}\n")


def main(folder: str) -> int:
    """The job itself, in its unit: its result is written completely, or not at all."""
    with open(os.path.join(folder, "request.json"), encoding="utf-8") as file:
        request = json.load(file)
    module, function = KINDS[request["kind"]]
    try:
        work = getattr(importlib.import_module(".".join([*PACKAGE, "_cloud", module])), function)
        result = work(request["params"], False, Steps(os.path.join(folder, "steps")))
    except (CloudError, ValueError) as error:
        result = {"failed": True, "msg": str(error)}
    except Exception as error:  # whoever follows the job is told
        result = {"failed": True, "msg": f"{type(error).__name__}: {error}", "exception": traceback.format_exc()}
    path = os.path.join(folder, "result.json")
    with open(path + ".new", "w", encoding="utf-8") as file:
        json.dump(result, file)
    os.rename(path + ".new", path)
    return int(bool(result.get("failed")))


def verdict(active: str, result: Optional[dict[str, Any]], unit: str) -> Optional[dict[str, Any]]:
    """What came of a job, of what was seen first as its unit's state, then as its result; None while it runs."""
    if result is not None:
        return result
    if active in ("active", "activating", "deactivating", "reloading", ""):
        return None
    return {"failed": True, "msg": f"the job ended without a result: `journalctl -u {unit}` there may tell why"}
