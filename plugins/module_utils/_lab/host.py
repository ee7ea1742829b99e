# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The computer that the lab's machines run on: whether it can, how it emulates, and what all machines of a lab share.

Below the state directory: ``id_ed25519`` (the lab's own key) and ``accelerator``. Sizes are MiB.
"""
from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Mapping
from typing import Any

from ansible_collections.our.cloud.plugins.module_utils._lab.hardware import Hardware
from ansible_collections.our.cloud.plugins.module_utils._lab.machine import Machine
from ansible_collections.our.cloud.plugins.module_utils._lab.network import OUTSIDE, network_runs, start_network, stop_network
from ansible_collections.our.cloud.plugins.module_utils._lab.process import (
    PROGRAMS, QEMU, LabError, create_key, missing_programs, read_line, remove, search_path)

# Beside a machine's memory: QEMU itself, its translation cache when it emulates.
OVERHEAD_MIB = {"kvm": 64, "tcg": 320}
# A disk grows as it is written; this much is needed for a lab machine to be useful.
DISK_USE_MIB = 1024
# sun_path holds 108 bytes; QEMU's and vde's names below a machine's directory take their part.
SOCKET_PATH_MAX = 107


def preflight(machines: list[Hardware], state_dir: str, accelerator: str) -> None:
    """Refuse what cannot work before anything starts.

    machines: those that are to run. Those that run already cost nothing more.
    """
    missing = [name for name in PROGRAMS if shutil.which(name, path=search_path()) is None]
    if missing:
        raise LabError(missing_programs(missing))
    to_start = [machine for machine in machines if Machine(state_dir, machine.name).pid is None]
    check_socket_paths(machines, state_dir)
    check_memory(to_start, available_memory(), accelerator)
    check_disk(to_start, available_disk(state_dir), state_dir)
    for machine in to_start:
        if machine.forward_ssh:
            check_port(machine.name, machine.forward_ssh)


def available_memory() -> int:
    """MemAvailable of this machine in MiB."""
    with open("/proc/meminfo", encoding="ascii") as file:
        return int(re.search(r"^MemAvailable:\s+(\d+)", file.read(), re.MULTILINE).group(1)) // 1024


def available_disk(path: str) -> int:
    """MiB free where the path is, or will be."""
    while not os.path.exists(path):
        path = os.path.dirname(path)
    return shutil.disk_usage(path).free // 2**20


def check_memory(to_start: list[Hardware], available: int, accelerator: str) -> None:
    overhead = OVERHEAD_MIB.get(accelerator, max(OVERHEAD_MIB.values()))
    need = sum(machine.memory + overhead for machine in to_start)
    if need > available:
        raise LabError(
            f"{len(to_start)} lab machines need {need} MiB of memory (with {overhead} MiB each for QEMU itself), {available} MiB are available. "
            "Remedy: stop other programs, lower lab_memory, or start fewer machines with --limit")


def check_disk(to_start: list[Hardware], free: int, state_dir: str) -> None:
    need = DISK_USE_MIB * len(to_start)
    if need > free:
        raise LabError(f"{len(to_start)} lab machines will write about {need} MiB to {state_dir}, {free} MiB are free. "
                       "Remedy: free some space or set lab_state_dir to a larger file system")


def check_socket_paths(machines: list[Hardware], state_dir: str) -> None:
    for machine in machines:
        longest = Machine(state_dir, machine.name).path("monitor.sock")
        if len(longest.encode()) > SOCKET_PATH_MAX:
            raise LabError(f"{longest} is too long for a socket's name ({len(longest.encode())} of {SOCKET_PATH_MAX} bytes). "
                           "Remedy: set lab_state_dir to a shorter path")


def check_port(name: str, port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as exc:
            raise LabError(f"{name}: port {port} on 127.0.0.1 is taken. Remedy: set lab_forward_ssh of {name} to a free port") from exc


def find_accelerator(image: str, timeout: float = 30) -> str:
    """kvm if a kernel boots with it, else tcg. /dev/kvm may be there and useless, so look at the console, not at the file.

    image: a bootable disk; it is not written to.
    """
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return "tcg"
    argv = [QEMU, "-accel", "kvm", "-cpu", "host", "-M", "q35", "-m", "512", "-display", "none", "-nodefaults", "-serial", "stdio",
            "-drive", f"file={image},format=raw,if=virtio,snapshot=on"]
    with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as probe:
        os.set_blocking(probe.stdout.fileno(), False)
        seen, deadline = b"", time.monotonic() + timeout
        try:
            while time.monotonic() < deadline and probe.poll() is None:
                seen += probe.stdout.read() or b""
                if b"Linux version" in seen:
                    return "kvm"
                time.sleep(0.1)
        finally:
            probe.kill()
    return "tcg"


def prepare_host(params: Mapping[str, Any], check_mode: bool) -> dict[str, Any]:
    """What lab_host does for state present. Returns its result."""
    state_dir = os.path.realpath(params["state_dir"])
    machines = [Hardware.of(machine) for machine in params["machines"]]
    chosen = os.path.join(state_dir, "accelerator")
    accelerator = params["accelerator"]
    if accelerator == "auto":
        accelerator = read_line(chosen) or find_accelerator(params["image"])
    preflight(machines, state_dir, accelerator)
    networks = sorted({nic.network for machine in machines for nic in machine.nics} - {OUTSIDE})
    if check_mode:
        changed = any(not network_runs(state_dir, network) for network in networks)
        return {"changed": changed, "accelerator": accelerator}
    os.makedirs(state_dir, mode=0o700, exist_ok=True)
    with open(chosen, "w", encoding="ascii") as file:
        file.write(accelerator + "\n")
    public_key, changed = create_key(os.path.join(state_dir, "id_ed25519"), "our.cloud lab")
    for network in networks:
        changed |= start_network(state_dir, network)
    return {"changed": changed, "accelerator": accelerator, "public_key": public_key}


def remove_host(state_dir: str, check_mode: bool) -> bool:
    """Stop the switches and remove what prepare_host made. Returns whether there was anything."""
    state_dir = os.path.realpath(state_dir)
    existed = os.path.isdir(state_dir)
    if existed and not check_mode:
        for name in os.listdir(state_dir):
            if name.endswith(".ctl"):
                stop_network(state_dir, name[:-len(".ctl")])
        machines = os.path.join(state_dir, "machines")
        if not os.path.isdir(machines) or not os.listdir(machines):
            # Disks that were kept, or that --limit left out, still need the key that they know.
            for name in ("id_ed25519", "id_ed25519.pub", "accelerator", "cloud", "ssh_config", "known_hosts", "known_guests"):
                remove(os.path.join(state_dir, name))
            for directory in (machines, state_dir):
                if os.path.isdir(directory) and not os.listdir(directory):
                    os.rmdir(directory)
    return existed
