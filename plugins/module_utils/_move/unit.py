# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A move outlives who asked for it: it runs as a systemd unit of its own on the source, and whoever asked follows it by its files (see job).

The code comes from the control machine as one zip file of this collection's module_utils, which the unit's Python runs. It is put beside the request, so
that nothing of the move depends on a connection, on Ansible's temporary directory or on what is installed on the node.
"""

from __future__ import annotations

import base64
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import traceback
import uuid
import zipfile
from typing import Any

from ansible_collections.our.cloud.plugins.module_utils._common import shapes
from ansible_collections.our.cloud.plugins.module_utils._common.errors import CloudError, unforeseen
from ansible_collections.our.cloud.plugins.module_utils._hypervisor import hypervisor
from ansible_collections.our.cloud.plugins.module_utils._move import job
from ansible_collections.our.cloud.plugins.module_utils._move.asked import Asked
from ansible_collections.our.cloud.plugins.module_utils._move.options import Options

WINGS = ("_common", "_site", "_guest", "_hypervisor", "_move")
PACKAGE = ("ansible_collections", "our", "cloud", "plugins", "module_utils")
MAIN = """import sys
from ansible_collections.our.cloud.plugins.module_utils._move import unit
sys.exit(unit.main(sys.argv[1]))
"""
# systemd's states of a unit that has not ended
RUNNING = ("active", "activating", "reloading", "deactivating")
# Seconds to give up and settle when the node goes down
STOP_TIME = 240


def pack(folder: str) -> str:
    """The code that a move needs, as text: for the control machine, where `folder` holds the collection's module_utils."""
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


def unit_name(name: str) -> str:
    """The unit that moves a guest."""
    return f"our-cloud-move-{re.sub('[^A-Za-z0-9:_.-]', '_', name)}.service"


def refuse_second(name: str, host: str) -> None:
    """CloudError if the guest is being moved."""
    other = job.running_job(name)
    if other is not None:
        raise CloudError(host, f"guest {name}", f"it is being moved to {other.target or 'another host'} already ({other.percent or 0}% done)",
                         "Wait for that to end; vm_info shows it")


def start(options: Options, code: str) -> str:
    """Begin the move in a unit of its own. Returns its token, by which the record of its end is known."""
    host, token = os.uname().nodename, uuid.uuid4().hex[:12]
    refuse_second(options.name, host)
    folder = os.path.join(job.JOB_DIR, "moves", token)
    os.makedirs(folder, mode=0o700)
    with open(os.path.join(folder, "code.zip"), "wb") as stream:
        stream.write(base64.b64decode(code))
    with open(os.path.join(folder, "request.json"), "w", encoding="utf-8") as stream:
        json.dump({"params": shapes.plain(options), "token": token}, stream)
    # before libvirtd and the store when the node goes down
    argv = ["systemd-run", "--quiet", "--collect", "--service-type=exec", "--unit", unit_name(options.name),
            "--description", f"Move of the guest {options.name} to {options.target}",
            "--property=After=libvirtd.service remote-fs.target", "--property=KillMode=mixed", f"--property=TimeoutStopSec={STOP_TIME}",
            "--property=Environment=PYTHONDONTWRITEBYTECODE=1", sys.executable, os.path.join(folder, "code.zip"), folder]
    try:
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=120)
        why = done.stderr.strip() if done.returncode else ""
    except (OSError, subprocess.TimeoutExpired) as error:
        why = str(error)
    if why:
        shutil.rmtree(folder)
        # two asked in one moment
        refuse_second(options.name, host)
        raise CloudError(host, f"move of {options.name}", f"it could not be begun as a unit of systemd ({why})",
                         f"See `systemctl status {unit_name(options.name)}` there")
    return token


def ended(name: str, token: str) -> dict[str, Any] | None:
    """What came of a move that was begun here: None while it runs, then what vm_migrate returns."""
    active = subprocess.run(["systemctl", "is-active", unit_name(name)], capture_output=True, text=True, check=False).stdout.strip()
    return verdict(name, token, active, job.last(os.path.join(job.ENDED_DIR, name + ".json")))


def verdict(name: str, token: str, active: str, record: job.Record | None) -> dict[str, Any] | None:
    """As `ended`, of what was seen first as the unit's state, then as the record."""
    ours = record if record is not None and record.token == token else None
    if ours and ours.result is not None:
        return ours.result
    if active in RUNNING:
        return None
    return {"failed": True, "changed": False, "msg": job.outcome(ours) if ours else (
        f"{name}: its move ended without a word. `journalctl -u {unit_name(name)}` on its host may tell why, our.cloud.vm_info where it is")}


def answer(asked: Asked, tell: job.Job) -> dict[str, Any]:
    """As Asked.answer, with every error in words."""
    options = asked.options
    try:
        hypervisor.start_event_loop()
        return asked.answer(hypervisor.open_local(options.uri), tell)
    except CloudError as error:
        return {"failed": True, "msg": str(error), "target": options.target, "mode": options.mode}
    except (hypervisor.libvirt.libvirtError, OSError) as error:
        return {"failed": True, "msg": unforeseen(f"move of {options.name} to {options.target}", error),
                "exception": traceback.format_exc(), "target": options.target, "mode": options.mode}


def main(folder: str) -> int:
    """The unit: move the guest and note how it ended."""
    with open(os.path.join(folder, "request.json"), encoding="utf-8") as stream:
        request = json.load(stream)
    options = shapes.of(Options, request["params"])
    asked = Asked(options, token=request["token"])
    signal.signal(signal.SIGTERM, lambda *dummy: asked.cancel())
    tell = job.Job(options.name)
    if not tell.take():
        return 1
    record = job.begin(request["token"], options, os.uname().nodename)
    try:
        result = answer(asked, tell)
    except Exception as error:  # whoever follows must be told, whatever it is
        result = {"failed": True, "msg": unforeseen(f"move of {options.name} to {options.target}", error), "exception": traceback.format_exc()}
    record = job.end(record, result)
    tell.drop()
    sys.stdout.write(job.outcome(record) + "\n")
    shutil.rmtree(folder, ignore_errors=True)
    return int(bool(result.get("failed")))
