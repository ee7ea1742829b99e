# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Asks a site's machines what runs where, from outside of a play: what playbooks/list.yml asks, by an ansible-playbook of its own."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
from base64 import b64decode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.our.cloud.plugins.module_utils._common.errors import CloudError

HYPERVISOR, CLOUD, LEASES = "guests", "instances", "leases"
FILE = "/var/lib/misc/dnsmasq.leases"
FORKS = 25
# All questions together may take so many times what each machine may take for one
ROUNDS = 4


@dataclass(frozen=True)
class Told:
    """What the machines answered."""

    hypervisors: dict[str, dict[str, Any]] = field(default_factory=dict)  # by host, what vm_info returned
    instances: list[dict[str, Any]] | None = None  # what instance_info returned; None: there is no cloud, or it is silent
    leases: str = ""  # the text of the gateway's file
    silent: list[str] = field(default_factory=list)  # sentences: who has not answered, and why


def playbook(groups: Mapping[str, Sequence[str]], seconds: int) -> list[dict[str, Any]]:
    """One play with a question for each of these groups: hypervisors, clc, gateway. Nobody has more than `seconds` for an answer."""
    def question(name: str, group: str, module: str, arguments: dict[str, Any]) -> dict[str, Any]:
        return {"name": name, module: arguments, "when": f"inventory_hostname in groups['{group}'] | default([])", "timeout": seconds,
                # who fails here is asked the rest
                "ignore_errors": True}

    hosts = [host for group in ("hypervisors", "clc", "gateway") for host in groups.get(group) or ()]
    return [{"name": "What runs where", "hosts": list(dict.fromkeys(hosts)), "gather_facts": False, "tasks": [
        question(HYPERVISOR, "hypervisors", "our.cloud.vm_info", {}),
        question(CLOUD, "clc", "our.cloud.instance_info", {}),
        question(LEASES, "gateway", "ansible.builtin.slurp", {"src": FILE})]}]


def _why(result: Mapping[str, Any]) -> str:
    return " ".join(str(result.get("msg") or "it does not say why").split())


def read(text: str) -> Told:
    """From what the callback ansible.posix.json wrote. ValueError: it is nothing of the kind."""
    hypervisors, leases, silent = {}, "", []
    cloud: list[dict[str, Any]] | None = None
    # it is one line; other callbacks may write more
    line = next((line for line in text.splitlines() if line.startswith("{")), "")
    for task in (task for play in json.loads(line)["plays"] for task in play["tasks"]):
        for host, result in task["hosts"].items():
            if result.get("skipped"):
                continue
            if result.get("unreachable") or result.get("failed"):
                silent.append(f"{host}, asked for {task['task']['name']}: {_why(result)}")
            elif task["task"]["name"] == HYPERVISOR:
                hypervisors[host] = result
            elif task["task"]["name"] == CLOUD:
                cloud = (cloud or []) + result["instances"]
            elif task["task"]["name"] == LEASES:
                leases += b64decode(result["content"]).decode("utf-8", "replace")
    return Told(hypervisors, cloud, leases, silent)


def ask(sources: Sequence[str], groups: Mapping[str, Sequence[str]], seconds: int, options: Sequence[str] = ()) -> Told:
    """What the machines answer. sources: the inventory's files; options: further ones of ansible-playbook. CloudError: none of it is to be had."""
    with tempfile.TemporaryDirectory(prefix="our-cloud-ask-") as folder:
        play, said, wrong = (pathlib.Path(folder) / name for name in ("ask.json", "said", "wrong"))
        play.write_text(json.dumps(playbook(groups, seconds)), encoding="utf-8")
        argv = [sys.executable, "-m", "ansible", "playbook", *(word for source in sources for word in ("-i", source)), "--forks", str(FORKS),
                "--timeout", str(seconds), *options, str(play)]
        environment = {**os.environ, "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json", "ANSIBLE_JSON_INDENT": "0",
                       "ANSIBLE_DISPLAY_SKIPPED_HOSTS": "true", "ANSIBLE_RETRY_FILES_ENABLED": "false"}
        # files, not pipes: what outlives it, such as ssh's master, would keep a pipe open
        with said.open("w") as out, wrong.open("w") as err, \
                subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=err, env=environment, start_new_session=True) as running:
            try:
                running.wait(ROUNDS * seconds)
            except subprocess.TimeoutExpired:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(running.pid, signal.SIGKILL)
                raise CloudError("", "asking the site's machines", f"no end within {ROUNDS * seconds} s",
                                 "A longer `timeout` in the inventory's file gives them more time") from None
        try:
            return read(said.read_text(encoding="utf-8"))
        except (ValueError, KeyError) as error:
            reason = wrong.read_text(encoding="utf-8", errors="replace").strip() or str(error)
            raise CloudError("", "asking the site's machines", " ".join(reason.split())[-400:]) from None
