# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""LANs of the lab: a vde_switch each. Below the state directory: ``NETWORK.ctl``, ``NETWORK.pid`` and ``NETWORK.rc``."""
from __future__ import annotations

import os
import shutil

from ansible_collections.our.cloud.plugins.module_utils._lab.process import LabError, end_process, remove, run, running_pid, wait_for

OUTSIDE = "outside"  # the network that QEMU itself routes to the world
# An address may be at another port at once. By itself vde_switch believes it only after 3 s of silence, and so takes no
# notice of a guest that announces itself after a move.
SWITCH_SETTINGS = "hash/setminper -1\n"


def network_runs(state_dir: str, network: str) -> bool:
    """Whether the switch runs and can be plugged into."""
    control, pid_file = network_paths(state_dir, network)
    return running_pid(pid_file, control) is not None and os.path.exists(os.path.join(control, "ctl"))


def network_paths(state_dir: str, network: str) -> tuple[str, str]:
    """The switch's control directory and its pid file."""
    return os.path.join(state_dir, network + ".ctl"), os.path.join(state_dir, network + ".pid")


def settings_path(state_dir: str, network: str) -> str:
    """The file of commands that the switch begins with."""
    return os.path.join(state_dir, network + ".rc")


def start_network(state_dir: str, network: str) -> bool:
    """A switch for a LAN. Returns whether it was started now."""
    if network_runs(state_dir, network):
        return False
    stop_network(state_dir, network)
    control, pid_file = network_paths(state_dir, network)
    settings = settings_path(state_dir, network)
    with open(settings, "w", encoding="ascii") as stream:
        stream.write(SWITCH_SETTINGS)
    run(["vde_switch", "-daemon", "-sock", control, "-pidfile", pid_file, "-rcfile", settings])
    # It goes into the background before it listens.
    if not wait_for(lambda: network_runs(state_dir, network), 30):
        raise LabError(f"the switch of the LAN {network} does not listen at {control}")
    return True


def stop_network(state_dir: str, network: str) -> bool:
    """Returns whether it ran."""
    control, pid_file = network_paths(state_dir, network)
    pid = running_pid(pid_file, control)
    if pid:
        end_process(pid, pid_file, control, network)
    shutil.rmtree(control, ignore_errors=True)
    remove(pid_file)
    remove(settings_path(state_dir, network))
    return pid is not None
