# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Virtual machines that stand for the metal: QEMU as a process of the caller, state in one directory.

Below the state directory: ``machines/NAME/`` (disk, seed, host key, console, monitor, pid file, and the hardware as it was started).
Sizes are MiB, times are seconds. Whatever goes wrong is a LabError that names the machine and the remedy.
"""
from __future__ import annotations

import io
import json
import os
import re
import shutil
import socket
import tarfile
import time
from collections.abc import Mapping
from typing import Any

from ansible_collections.our.cloud.plugins.module_utils._lab.hardware import Hardware, Nic
from ansible_collections.our.cloud.plugins.module_utils._lab.network import OUTSIDE, network_paths
from ansible_collections.our.cloud.plugins.module_utils._lab.process import (
    QEMU, LabError, create_key, end_process, read_line, remove, run, running_pid, wait_for)

LOGIN_PROMPT = re.compile(rb"^\S+ login: ", re.MULTILINE)


class Machine:
    """A machine's directory and the process that it belongs to."""

    def __init__(self, state_dir: str, name: str) -> None:
        self.name = name
        self.state_dir = state_dir
        self.directory = os.path.join(state_dir, "machines", name)

    def path(self, name: str) -> str:
        return os.path.join(self.directory, name)

    @property
    def pid(self) -> int | None:
        """The process id of this machine's QEMU, or None. A pid file whose process is another one is stale."""
        return running_pid(self.path("qemu.pid"), self.path("qemu.pid"))

    def hardware(self) -> Hardware | None:
        """What the machine was last started with; None if that is not known."""
        try:
            with open(self.path("hardware.json"), encoding="utf-8") as file:
                return Hardware.of(json.load(file))
        except (FileNotFoundError, ValueError, TypeError, AttributeError):
            # a full disk may have cut it short
            return None

    def console(self) -> bytes:
        return self.log("console.log")

    def log(self, name: str) -> bytes:
        """What it has written to a file of its directory, console.log or qemu.log (bytes, none if there is no file)."""
        try:
            with open(self.path(name), "rb") as file:
                return file.read()
        except FileNotFoundError:
            return b""

    def state(self) -> str:
        """absent, stopped, booting or up (it has shown a login prompt)."""
        if self.pid:
            return "up" if LOGIN_PROMPT.search(self.console()) else "booting"
        return "stopped" if os.path.exists(self.path("disk.qcow2")) else "absent"


def qemu_argv(hardware: Hardware, machine: Machine) -> list[str]:
    """The command line of a machine. The network OUTSIDE is QEMU's own."""
    if hardware.accelerator == "kvm":
        processor = ["-accel", "kvm", "-cpu", "host"]
    else:
        # An AMD processor with SVM and nested paging, so that Xen PVH and KVM guests run. libvirt's Xen driver knows no
        # processor without vme, which the emulator has no name for: hence x-force-features. QEMU 7.2's cmpxchg16b may put another
        # instruction's operand into EFLAGS, the direction flag too, and kernels die of that.
        processor = ["-accel", "tcg,thread=multi,tb-size=256", "-cpu", "qemu64,-cx16,+svm,+npt,+vme,x-force-features=on"]
    argv = [
        QEMU, *processor, "-name", hardware.name, "-M", "q35", "-smp", str(hardware.vcpus), "-m", str(hardware.memory),
        "-nodefaults", "-display", "none", "-device", "virtio-rng-pci",
        "-drive", f"file={machine.path('disk.qcow2')},format=qcow2,if=none,id=disk,cache=unsafe,discard=unmap",
        "-device", "virtio-blk-pci,drive=disk,bootindex=0",
        "-drive", f"file={machine.path('seed.tar')},format=raw,if=none,id=seed,readonly=on", "-device", "virtio-blk-pci,drive=seed,serial=seed",
        "-serial", f"file:{machine.path('console.log')}", "-monitor", f"unix:{machine.path('monitor.sock')},server,nowait",
        "-pidfile", machine.path("qemu.pid"), "-daemonize",
        # A daemon's error output goes to its log, if it logs anything: QEMU's last words when it aborts.
        "-d", "unimp", "-D", machine.path("qemu.log"),
    ]
    for number, nic in enumerate(hardware.nics):
        if nic.network == OUTSIDE:
            backend = f"user,id=nic{number}"
            if hardware.forward_ssh:
                backend += f",hostfwd=tcp:127.0.0.1:{hardware.forward_ssh}-:22"
        else:
            backend = f"vde,id=nic{number},sock={network_paths(machine.state_dir, nic.network)[0]}"
        argv += ["-netdev", backend, "-device", f"virtio-net-pci,netdev=nic{number},mac={nic.mac}"]
    return argv


def seed_files(name: str, first: Nic, authorized_key: str, host_key: str, host_key_public: str) -> dict[str, tuple[str, int]]:
    """What makes a clone this machine and no other: {path: (text, mode)}. Its machine id it makes itself, from an empty file. first: its first card."""
    return {
        "etc/hostname": (name + "\n", 0o644),
        "etc/hosts": (f"127.0.0.1 localhost\n127.0.1.1 {name}\n::1 localhost ip6-localhost\n", 0o644),
        "etc/ssh/ssh_host_ed25519_key": (host_key, 0o600),
        "etc/ssh/ssh_host_ed25519_key.pub": (host_key_public + "\n", 0o644),
        "root/.ssh/authorized_keys": (authorized_key + "\n", 0o600),
        # As after an installation: the first NIC by DHCP, any other one is left alone.
        "etc/systemd/network/10-lab.network": (
            f"[Match]\nMACAddress={first.mac}\nType=ether\n\n[Network]\nDHCP=yes\n\n[DHCPv4]\nClientIdentifier=mac\nUseDomains=yes\n", 0o644),
        "var/lib/lab-seed": ("", 0o644),
    }


def write_seed(path: str, files: dict[str, tuple[str, int]]) -> None:
    """A tar that the machine unpacks at its first boot, from a read-only disk."""
    with tarfile.open(path, "w") as tar:
        for name, (text, mode) in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode, member.mtime = len(text.encode()), mode, int(time.time())
            tar.addfile(member, io.BytesIO(text.encode()))
    os.chmod(path, 0o600)


def start_machine(hardware: Hardware, state_dir: str, authorized_key: str) -> bool:
    """Start a machine that does not run. Returns whether it was started now."""
    machine = Machine(state_dir, hardware.name)
    if machine.pid:
        return False
    os.makedirs(machine.directory, mode=0o700, exist_ok=True)
    # What an ended process left: a stale pid file would make QEMU refuse, an old console would look like a finished boot.
    for name in ("qemu.pid", "console.log", "qemu.log", "monitor.sock"):
        remove(machine.path(name))
    public, made = create_key(machine.path("ssh_host_ed25519_key"), hardware.name)
    if made or not os.path.exists(machine.path("disk.qcow2")):
        with open(machine.path("ssh_host_ed25519_key"), encoding="ascii") as file:
            write_seed(machine.path("seed.tar"), seed_files(hardware.name, hardware.nics[0], authorized_key, file.read(), public))
        run(["qemu-img", "create", "-q", "-f", "qcow2", "-b", hardware.image, "-F", "raw", machine.path("disk.qcow2")])
    try:
        run(qemu_argv(hardware, machine))
    except LabError as exc:
        raise LabError(f"{machine.name} does not start: {exc}") from exc
    with open(machine.path("hardware.json"), "w", encoding="utf-8") as file:
        json.dump(hardware.plain(), file)
    return True


def wait_for_login(state_dir: str, name: str, timeout: float) -> None:
    """Wait until the machine's console shows a login prompt; a LabError with its last lines if it does not."""
    machine = Machine(state_dir, name)
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        state = machine.state()
        if state == "up":
            return
        if state != "booting":
            raise LabError(f"{name} has ended while it booted. {console_tail(machine)}")
        time.sleep(0.5)
    raise LabError(f"{name} shows no login prompt after {timeout} s. {console_tail(machine)} "
                   "Remedy: raise lab_timeout if it only is slow; otherwise destroy the machine and start it again")


def console_tail(machine: Machine, lines: int = 15) -> str:
    text = re.sub(r"\x1b\[[0-9;?!]*[a-zA-Z]", "", machine.console().decode(errors="replace")).replace("\r", "")
    tail = "\n".join(line for line in text.splitlines()[-lines:] if line.strip())
    qemu = "\n".join(machine.log("qemu.log").decode(errors="replace").splitlines()[-lines:])
    return f"Last lines of {machine.path('console.log')}:\n{tail or '(nothing)'}\n" + (f"QEMU says:\n{qemu}\n" if qemu else "")


def stop_machine(state_dir: str, name: str, timeout: float) -> bool:
    """Shut a machine down cleanly, within a bound. Returns whether it ran."""
    machine = Machine(state_dir, name)
    pid = machine.pid
    if not pid:
        return False
    with socket.socket(socket.AF_UNIX) as monitor:
        try:
            monitor.connect(machine.path("monitor.sock"))
            monitor.sendall(b"system_powerdown\n")
            down = wait_for(lambda: machine.pid is None, timeout)
        except OSError:
            # it has no monitor yet, or none any more
            down = False
        if not down:
            end_process(pid, machine.path("qemu.pid"), machine.path("qemu.pid"), name)
    return True


def remove_machine(state_dir: str, name: str) -> bool:
    """End the machine's process and remove its directory. Returns whether there was anything."""
    machine = Machine(state_dir, name)
    pid = machine.pid
    if pid:
        end_process(pid, machine.path("qemu.pid"), machine.path("qemu.pid"), name)
    existed = os.path.isdir(machine.directory)
    shutil.rmtree(machine.directory, ignore_errors=True)
    return existed


def ensure_machine(params: Mapping[str, Any], check_mode: bool) -> tuple[bool, list[str]]:
    """What lab_machine does. Returns (changed, warnings)."""
    state_dir, name = os.path.realpath(params["state_dir"]), params["name"]
    machine = Machine(state_dir, name)
    before = machine.state()
    wanted = params["state"]
    warnings = []
    if wanted == "started":
        hardware = Hardware.of(params)
        changed = before in ("absent", "stopped")
        if not changed and machine.hardware() != hardware:
            warnings.append(f"{name} runs with other hardware than the inventory describes now; destroy it and start it again to change that")
        if not check_mode:
            start_machine(hardware, state_dir, read_line(os.path.join(state_dir, "id_ed25519.pub")))
            wait_for_login(state_dir, name, params["timeout"])
    elif wanted == "stopped":
        changed = before in ("booting", "up")
        if changed and not check_mode:
            stop_machine(state_dir, name, params["timeout"])
    elif wanted == "absent":
        changed = before != "absent" or os.path.isdir(machine.directory)
        if changed and not check_mode:
            remove_machine(state_dir, name)
    else:
        changed = False
    return changed, warnings


def status(state_dir: str, name: str) -> dict[str, Any]:
    """{name, state, pid, memory, vcpus, accelerator, console} of one machine."""
    machine = Machine(os.path.realpath(state_dir), name)
    hardware = machine.hardware()
    return {
        "name": name,
        "state": machine.state(),
        "pid": machine.pid,
        "memory": hardware.memory if hardware else None,
        "vcpus": hardware.vcpus if hardware else None,
        "accelerator": hardware.accelerator if hardware else None,
        "console": machine.path("console.log"),
    }
