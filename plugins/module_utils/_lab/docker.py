# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The computer that runs a lab of containers: what docker needs there, and a dockerd where none runs.

Which labs use docker is noted in RECORDS. A reboot empties it, as it ends a dockerd that was started by hand.
"""
from __future__ import annotations

import ipaddress
import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.our.cloud.plugins.module_utils._common import shapes
from ansible_collections.our.cloud.plugins.module_utils._lab.containers import IMAGES, LABEL, LAN_BRIDGES, OUTSIDE_BRIDGES
from ansible_collections.our.cloud.plugins.module_utils._lab.host import available_memory, check_port
from ansible_collections.our.cloud.plugins.module_utils._lab.process import LabError, run, search_path

PROGRAMS = {"docker": "docker.io", "dockerd": "docker.io", "ip": "iproute2", "iptables": "iptables"}
RECORDS = "/run/our-cloud-lab"
SYSTEMD = "/run/systemd/system"
PID_FILE = "/run/docker.pid"
DATA = "/var/lib/docker"
TUN = "/dev/net/tun"
BRIDGE_FILTER = "/proc/sys/net/bridge/bridge-nf-call-iptables"
# Each container's systemd and services watch files. The kernel's usual 128 watchers are for one machine; beyond them services do not start.
WATCHERS = "/proc/sys/fs/inotify/max_user_instances"
WATCHERS_WANTED = 1024
# The image while it is built, in the cache, and in docker.
IMAGE_MIB = 8192
# What a machine writes until it is useful.
DISK_USE_MIB = 1024
TIMEOUT = 60


@dataclass(frozen=True)
class Container:
    """A machine that is to run as a container."""

    name: str
    memory: int  # MiB that it takes
    forward_ssh: int | None = None  # the port on loopback that leads to its ssh
    addresses: Sequence[str] = ()  # of its cards on networks outside, with the lengths of these


def prepare(params: Mapping[str, Any], check_mode: bool) -> dict[str, Any]:
    """What lab_docker does for state present. Returns its result."""
    machines = [shapes.of(Container, machine) for machine in params["machines"]]
    check_programs()
    answers = docker_answers()
    if not answers:
        check_start()
    check_computer(machines, containers() if answers else {})
    to_note = machines and not os.path.exists(user_file(params["name"]))
    changed = bool(not answers or machines and (to_note or not lan_open() or watchers() < WATCHERS_WANTED))
    said = []
    if not check_mode and changed:
        check_root()
        os.makedirs(os.path.dirname(user_file(params["name"])), exist_ok=True)
        if to_note:
            with open(user_file(params["name"]), "w", encoding="ascii"):
                pass
        if not answers:
            said.append(start_docker())
        if machines:
            raise_watchers()
            open_lan()
    if answers or not check_mode:
        check_names(machines, params["name"], containers())
    return {"changed": changed, "answers": answers or not check_mode, "said": said}


def release(params: Mapping[str, Any], check_mode: bool) -> dict[str, Any]:
    """What lab_docker does for state absent: the last lab that used docker takes away what was made for it. Returns its result."""
    users = os.path.join(RECORDS, "users")
    noted = os.listdir(users) if os.path.isdir(users) else []
    last = not set(noted) - {params["name"]}
    changed = params["name"] in noted or last and os.path.exists(started_file())
    said = []
    if changed and not check_mode:
        if params["name"] in noted:
            os.remove(user_file(params["name"]))
        if last and docker_answers() and any(state == "running" for dummy, state in containers().values()):
            said.append("Docker runs on: it has other containers.")
        elif last:
            close_lan()
            said += stop_docker()
    return {"changed": changed, "answers": docker_answers(), "said": said}


def user_file(name: str) -> str:
    return os.path.join(RECORDS, "users", name)


def started_file() -> str:
    """It says how docker was started, if it was."""
    return os.path.join(RECORDS, "started")


# What must be there

def check_programs() -> None:
    missing = sorted({package for program, package in PROGRAMS.items() if shutil.which(program, path=search_path()) is None})
    if missing:
        raise LabError(f"A lab of containers needs {', '.join(missing)}, which this computer lacks. Remedy: apt-get install {' '.join(missing)}")


def check_root() -> None:
    if os.geteuid() != 0:
        raise LabError("A lab of containers needs root for docker and for this computer's packet filter. Remedy: run as root, or as a user who may use sudo")


def check_start() -> None:
    """Whether a dockerd could be started."""
    pid = docker_pid()
    if pid:
        raise LabError(f"A dockerd runs (process {pid}) and does not answer at {os.environ.get('DOCKER_HOST', 'its usual socket')}. "
                       "Remedy: set DOCKER_HOST to the socket that it listens on (its --host), or stop it")


def docker_pid() -> int | None:
    """The process of a dockerd that has noted itself, or None."""
    try:
        with open(PID_FILE, encoding="ascii") as file:
            pid = int(file.read())
        with open(f"/proc/{pid}/comm", encoding="ascii") as file:
            return pid if file.read().strip() == "dockerd" else None
    except (FileNotFoundError, ValueError):
        return None


def check_computer(machines: Iterable[Container], known: Mapping[str, tuple[str, str]]) -> None:
    """Memory, disk, ports, networks and packet filter, for the machines that do not run yet. known: as containers() returns them."""
    to_start = [machine for machine in machines if known.get(machine.name, ("", ""))[1] != "running"]
    if not to_start:
        return
    if not os.path.exists(TUN):
        raise LabError(f"This computer has no {TUN}, which virtual networks need. Remedy: modprobe tun")
    check_memory(to_start, available_memory())
    check_disk([machine for machine in to_start if machine.name not in known])
    for machine in to_start:
        if machine.forward_ssh:
            check_port(machine.name, machine.forward_ssh)
    check_networks(to_start, json.loads(run(["ip", "-json", "-4", "route", "show"]) or "[]"))
    check_filter()


def check_memory(to_start: Sequence[Container], available: int) -> None:
    need = sum(machine.memory for machine in to_start)
    if need > available:
        raise LabError(f"{len(to_start)} machines need {need} MiB of memory, {available} MiB are available. "
                       "Remedy: stop other programs, or lower lab_memory if they will do with less")


def check_disk(to_make: Sequence[Container]) -> None:
    directory = docker_root()
    while not os.path.isdir(directory):
        directory = os.path.dirname(directory)
    need = DISK_USE_MIB * len(to_make)
    if to_make and not has_image():
        need += IMAGE_MIB
    free = shutil.disk_usage(directory).free // 2**20
    if need > free:
        raise LabError(f"{len(to_make)} machines and their image will take about {need} MiB below {directory}, {free} MiB are free. "
                       "Remedy: free some space, or move docker's data (data-root in /etc/docker/daemon.json)")


def check_networks(to_start: Iterable[Container], routes: Iterable[Mapping[str, Any]]) -> None:
    """routes: what `ip -json route` says. A network outside must be nobody else's."""
    for machine in to_start:
        for address in machine.addresses:
            network = ipaddress.ip_interface(address).network
            for route in routes:
                if route["dst"] == "default" or route.get("dev", "").startswith((LAN_BRIDGES, OUTSIDE_BRIDGES)):
                    continue
                if network.overlaps(ipaddress.ip_network(route["dst"])):
                    raise LabError(f"{machine.name}: the network {network} is taken on this computer, by {route['dst']} on {route.get('dev', '?')}. "
                                   f"Remedy: give the cards on the network outside (lab_nics of {machine.name}) addresses in another one")


def check_filter() -> None:
    """Where br_netfilter is on, nftables sees what machines of one LAN send each other. Docker's own rules (iptables) are opened for it."""
    if not bridge_filter() or shutil.which("nft", path=search_path()) is None:
        return
    chains = [entry["chain"] for entry in json.loads(run(["nft", "--json", "list", "chains"])).get("nftables", []) if "chain" in entry]
    for chain in chains:
        docker = chain["family"] == "ip" and chain["table"] == "filter" and chain["name"] == "FORWARD"
        if chain.get("hook") == "forward" and chain.get("policy") == "drop" and chain["family"] in ("ip", "inet") and not docker:
            where = f"{chain['family']} {chain['table']} {chain['name']}"
            raise LabError(f"br_netfilter is on, and the nftables chain {where} drops what it does not know, so also what machines of one LAN send each other. "
                           f"Remedy: nft insert rule {where} iifname {LAN_BRIDGES}* oifname {LAN_BRIDGES}* accept, "
                           "or sysctl net.bridge.bridge-nf-call-iptables=0")


def bridge_filter() -> bool:
    try:
        with open(BRIDGE_FILTER, encoding="ascii") as file:
            return file.read().strip() == "1"
    except FileNotFoundError:
        return False


def check_names(machines: Iterable[Container], lab: str, known: Mapping[str, tuple[str, str]]) -> None:
    """A container of a machine's name is that machine, or somebody else's."""
    for machine in machines:
        label, dummy = known.get(machine.name, (lab, ""))
        if label != lab:
            raise LabError(f"There is a container {machine.name} already, {'of the lab ' + label if label else 'which is no lab machine'}. "
                           f"Remedy: docker rm {machine.name}, if nobody needs it, or another name in the inventory")


# Docker

def docker_answers() -> bool:
    done = subprocess.run(["docker", "info", "--format", "{{.ServerVersion}}"], stdin=subprocess.DEVNULL, capture_output=True, check=False)
    return done.returncode == 0 and bool(done.stdout.strip())


def containers() -> dict[str, tuple[str, str]]:
    """All containers of this docker: {name: (lab, state)}; the lab is empty where the container is none of ours."""
    lines = run(["docker", "container", "ls", "--all", "--format", '{{.Names}}\t{{.Label "%s"}}\t{{.State}}' % LABEL]).splitlines()
    return {name: (label, state) for name, label, state in (line.split("\t") for line in lines if line)}


def docker_root() -> str:
    return run(["docker", "info", "--format", "{{.DockerRootDir}}"]) if docker_answers() else DATA


def has_image() -> bool:
    return docker_answers() and bool(run(["docker", "image", "ls", "--quiet", IMAGES]))


def start_docker() -> str:
    """Start a dockerd and wait until it answers. Returns what to say of it."""
    by_service = os.path.isdir(SYSTEMD) and subprocess.run(
        ["systemctl", "cat", "docker.service"], stdin=subprocess.DEVNULL, capture_output=True, check=False).returncode == 0
    log = os.path.join(RECORDS, "dockerd.log")
    if by_service:
        run(["systemctl", "start", "docker.service"])
        note("service")
        said, look = "docker.service was started.", "journalctl -u docker.service"
    else:
        with open(log, "wb") as file:
            process = subprocess.Popen(["dockerd", "--pidfile", PID_FILE], stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT,
                                       start_new_session=True, env={**os.environ, "PATH": search_path()})
        note("dockerd")
        said, look = f"dockerd was started by hand, since no service manager has it: process {process.pid}, log {log}.", f"tail {log}"
    deadline = time.monotonic() + TIMEOUT
    while not docker_answers():
        if time.monotonic() > deadline:
            raise LabError(f"dockerd does not answer {TIMEOUT} s after its start. Its end: {log_tail(log)}Remedy: {look} tells more")
        time.sleep(0.2)
    return said


def log_tail(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return " / ".join(file.read().splitlines()[-5:]) + ". "
    except FileNotFoundError:
        return ""


def note(way: str) -> None:
    with open(started_file(), "w", encoding="ascii") as file:
        file.write(way)


def stop_docker() -> list[str]:
    """Stop the dockerd that start_docker has started, if it has. Returns what to say of it."""
    if not os.path.exists(started_file()):
        return []
    with open(started_file(), encoding="ascii") as file:
        way = file.read()
    pid = docker_pid()
    if way == "service":
        run(["systemctl", "stop", "docker.service", "docker.socket"])
    elif pid:
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + TIMEOUT
        while docker_pid() == pid:
            if time.monotonic() > deadline:
                raise LabError(f"dockerd (process {pid}) does not end in {TIMEOUT} s. Remedy: see {RECORDS}/dockerd.log")
            time.sleep(0.2)
    os.remove(started_file())
    return ["The dockerd that was started for the lab was stopped."]


# The kernel and its packet filter

def watchers() -> int:
    with open(WATCHERS, encoding="ascii") as file:
        return int(file.read())


def raise_watchers() -> None:
    if watchers() < WATCHERS_WANTED:
        with open(WATCHERS, "w", encoding="ascii") as file:
            file.write(str(WATCHERS_WANTED))


def lan_rule(verb: str) -> subprocess.CompletedProcess[bytes]:
    """Docker's rules for networks without a way out also drop what machines of one such network send each other through a gateway of their own."""
    return subprocess.run(["iptables", "--wait", verb, "DOCKER-USER", "--in-interface", LAN_BRIDGES + "+",
                           "--out-interface", LAN_BRIDGES + "+", "--jump", "ACCEPT"],
                          stdin=subprocess.DEVNULL, capture_output=True, check=False)


def lan_open() -> bool:
    """Whether nothing of docker's is in the way: there is the rule, or there is no chain for it."""
    done = lan_rule("--check")
    return done.returncode == 0 or re.search("No chain|does not exist", done.stderr.decode(errors="replace")) is not None


def open_lan() -> None:
    if not lan_open():
        done = lan_rule("--insert")
        if done.returncode:
            raise LabError(f"iptables refuses a rule for the lab's LANs: {done.stderr.decode(errors='replace').strip()}. "
                           "Remedy: iptables -S DOCKER-USER tells more")


def close_lan() -> None:
    while lan_rule("--check").returncode == 0:
        lan_rule("--delete")
