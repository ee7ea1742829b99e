# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Virtual machines that stand for the metal: QEMU and vde_switch as processes of the caller, state in one directory.

Below the state directory: ``id_ed25519`` (the lab's own key), ``NETWORK.ctl``, ``NETWORK.pid`` and ``NETWORK.rc`` (a LAN's switch),
``machines/NAME/`` (disk, seed, host key, console, monitor, pid file, and the hardware as it was started).
Sizes are MiB, times are seconds. Whatever goes wrong is a LabError that names the machine and the remedy.
"""
from __future__ import annotations

import io
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tarfile
import time

from ansible_collections.our.cloud.plugins.module_utils._common.errors import Refused

QEMU = "qemu-system-x86_64"
PROGRAMS = {
    QEMU: "qemu-system-x86",
    "qemu-img": "qemu-utils",
    "ssh-keygen": "openssh-client",
    "vde_switch": "vde2",
}
OUTSIDE = "outside"  # the network that QEMU itself routes to the world
# An address may be at another port at once. By itself vde_switch believes it only after 3 s of silence, and so takes no
# notice of a guest that announces itself after a move.
SWITCH_SETTINGS = "hash/setminper -1\n"
LOGIN_PROMPT = re.compile(rb"^\S+ login: ", re.MULTILINE)
# Beside a machine's memory: QEMU itself, its translation cache when it emulates.
OVERHEAD_MIB = {"kvm": 64, "tcg": 320}
# A disk grows as it is written; this much is needed for a lab machine to be useful.
DISK_USE_MIB = 1024
# sun_path holds 108 bytes; QEMU's and vde's names below a machine's directory take their part.
SOCKET_PATH_MAX = 107


class LabError(Refused):
    """Something that the person in front of the lab must know, with what to do."""


class Machine:
    """A machine's directory and the process that it belongs to."""

    def __init__(self, state_dir, name):
        self.name = name
        self.state_dir = state_dir
        self.directory = os.path.join(state_dir, "machines", name)

    def path(self, name):
        return os.path.join(self.directory, name)

    @property
    def pid(self):
        """The process id of this machine's QEMU, or None. A pid file whose process is another one is stale."""
        return running_pid(self.path("qemu.pid"), self.path("qemu.pid"))

    def hardware(self):
        """What the machine was last started with (dict), or None."""
        try:
            with open(self.path("hardware.json"), encoding="utf-8") as file:
                return json.load(file)
        except FileNotFoundError:
            return None

    def console(self):
        return self.log("console.log")

    def log(self, name):
        """What it has written to a file of its directory, console.log or qemu.log (bytes, none if there is no file)."""
        try:
            with open(self.path(name), "rb") as file:
                return file.read()
        except FileNotFoundError:
            return b""

    def state(self):
        """absent, stopped, booting or up (it has shown a login prompt)."""
        if self.pid:
            return "up" if LOGIN_PROMPT.search(self.console()) else "booting"
        return "stopped" if os.path.exists(self.path("disk.qcow2")) else "absent"


def running_pid(pid_file, mark):
    """The pid in the file if that process runs and has ``mark`` among its arguments, else None."""
    try:
        with open(pid_file, encoding="ascii") as file:
            pid = int(file.read())
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            arguments = file.read().decode(errors="replace").split("\0")
    except (FileNotFoundError, ProcessLookupError, ValueError):
        return None
    return pid if mark in arguments else None


def run(argv):
    """Run a program to its end; its output, or a LabError with its last words."""
    try:
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    except FileNotFoundError as exc:
        raise LabError(missing_programs([argv[0]])) from exc
    output = done.stdout.decode(errors="replace").strip()
    if done.returncode:
        raise LabError(f"{argv[0]} ended with status {done.returncode}: {output[-2000:]}")
    return output


def missing_programs(missing):
    packages = " ".join(sorted({PROGRAMS.get(name, name) for name in missing}))
    return f"the lab needs {', '.join(missing)}, which this machine lacks. Remedy: apt-get install {packages}"


# The control machine

def preflight(machines, state_dir, accelerator):
    """Refuse what cannot work before anything starts.

    machines: list of hardware dicts (see qemu_argv) that are to run. Those that run already cost nothing more.
    """
    missing = [name for name in PROGRAMS if shutil.which(name, path=search_path()) is None]
    if missing:
        raise LabError(missing_programs(missing))
    to_start = [machine for machine in machines if Machine(state_dir, machine["name"]).pid is None]
    check_socket_paths(machines, state_dir)
    check_memory(to_start, available_memory(), accelerator)
    os.makedirs(state_dir, mode=0o700, exist_ok=True)
    check_disk(to_start, shutil.disk_usage(state_dir).free // 2**20, state_dir)
    for machine in to_start:
        if machine.get("forward_ssh"):
            check_port(machine["name"], machine["forward_ssh"])


def search_path():
    return os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin"


def available_memory():
    """MemAvailable of this machine in MiB."""
    with open("/proc/meminfo", encoding="ascii") as file:
        return int(re.search(r"^MemAvailable:\s+(\d+)", file.read(), re.MULTILINE).group(1)) // 1024


def check_memory(to_start, available, accelerator):
    overhead = OVERHEAD_MIB.get(accelerator, max(OVERHEAD_MIB.values()))
    need = sum(machine["memory"] + overhead for machine in to_start)
    if need > available:
        raise LabError(
            f"{len(to_start)} lab machines need {need} MiB of memory (with {overhead} MiB each for QEMU itself), {available} MiB are available. "
            "Remedy: stop other programs, lower lab_memory, or start fewer machines with --limit")


def check_disk(to_start, free, state_dir):
    need = DISK_USE_MIB * len(to_start)
    if need > free:
        raise LabError(f"{len(to_start)} lab machines will write about {need} MiB to {state_dir}, {free} MiB are free. "
                       "Remedy: free some space or set lab_state_dir to a larger file system")


def check_socket_paths(machines, state_dir):
    for machine in machines:
        longest = Machine(state_dir, machine["name"]).path("monitor.sock")
        if len(longest.encode()) > SOCKET_PATH_MAX:
            raise LabError(f"{longest} is too long for a socket's name ({len(longest.encode())} of {SOCKET_PATH_MAX} bytes). "
                           "Remedy: set lab_state_dir to a shorter path")


def check_port(name, port):
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as exc:
            raise LabError(f"{name}: port {port} on 127.0.0.1 is taken. Remedy: set lab_forward_ssh of {name} to a free port") from exc


def find_accelerator(image, timeout=30):
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


def create_key(path, comment):
    """An ed25519 key pair without passphrase, mode 0600, made once. Returns (public key, whether it was made now)."""
    made = not os.path.exists(path)
    if made:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", path])
    with open(path + ".pub", encoding="ascii") as file:
        return file.read().strip(), made


def prepare_host(params, check_mode):
    """What lab_host does for state present. Returns its result."""
    state_dir = os.path.realpath(params["state_dir"])
    machines = params["machines"]
    chosen = os.path.join(state_dir, "accelerator")
    accelerator = params["accelerator"]
    if accelerator == "auto":
        accelerator = read_line(chosen) or find_accelerator(params["image"])
    preflight(machines, state_dir, accelerator)
    networks = sorted({nic["network"] for machine in machines for nic in machine["nics"]} - {OUTSIDE})
    if check_mode:
        changed = any(not network_runs(state_dir, network) for network in networks)
        return {"changed": changed, "accelerator": accelerator}
    with open(chosen, "w", encoding="ascii") as file:
        file.write(accelerator + "\n")
    public_key, changed = create_key(os.path.join(state_dir, "id_ed25519"), "our.cloud lab")
    for network in networks:
        changed |= start_network(state_dir, network)
    return {"changed": changed, "accelerator": accelerator, "public_key": public_key}


def remove_host(state_dir, check_mode):
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


def read_line(path):
    try:
        with open(path, encoding="ascii") as file:
            return file.readline().strip()
    except FileNotFoundError:
        return ""


# LANs

def network_runs(state_dir, network):
    """Whether the switch runs and can be plugged into."""
    control, pid_file = network_paths(state_dir, network)
    return running_pid(pid_file, control) is not None and os.path.exists(os.path.join(control, "ctl"))


def network_paths(state_dir, network):
    return os.path.join(state_dir, network + ".ctl"), os.path.join(state_dir, network + ".pid")


def start_network(state_dir, network):
    """A switch for a LAN. Returns whether it was started now."""
    if network_runs(state_dir, network):
        return False
    stop_network(state_dir, network)
    control, pid_file = network_paths(state_dir, network)
    settings = os.path.join(state_dir, network + ".rc")
    with open(settings, "w", encoding="ascii") as stream:
        stream.write(SWITCH_SETTINGS)
    run(["vde_switch", "-daemon", "-sock", control, "-pidfile", pid_file, "-rcfile", settings])
    # It goes into the background before it listens.
    if not wait_for(lambda: network_runs(state_dir, network), 30):
        raise LabError(f"the switch of the LAN {network} does not listen at {control}")
    return True


def stop_network(state_dir, network):
    """Returns whether it ran."""
    control, pid_file = network_paths(state_dir, network)
    pid = running_pid(pid_file, control)
    if pid:
        end_process(pid, pid_file, control, network)
    shutil.rmtree(control, ignore_errors=True)
    remove(pid_file)
    return pid is not None


# Machines

def qemu_argv(hardware, machine):
    """The command line of a machine.

    hardware: name, memory (MiB), vcpus, image (path of the disk that its own lies over), accelerator (kvm or tcg), forward_ssh (port
    on loopback or None), nics: list of {network, mac}; the network OUTSIDE is QEMU's own, any other is a LAN by its name.
    """
    if hardware["accelerator"] == "kvm":
        processor = ["-accel", "kvm", "-cpu", "host"]
    else:
        # An AMD processor with SVM and nested paging, so that Xen PVH and KVM guests run. libvirt's Xen driver knows no
        # processor without vme, which the emulator has no name for: hence x-force-features. QEMU 7.2's cmpxchg16b may put another
        # instruction's operand into EFLAGS, the direction flag too, and kernels die of that.
        processor = ["-accel", "tcg,thread=multi,tb-size=256", "-cpu", "qemu64,-cx16,+svm,+npt,+vme,x-force-features=on"]
    argv = [
        QEMU, *processor, "-name", hardware["name"], "-M", "q35", "-smp", str(hardware["vcpus"]), "-m", str(hardware["memory"]),
        "-nodefaults", "-display", "none", "-device", "virtio-rng-pci",
        "-drive", f"file={machine.path('disk.qcow2')},format=qcow2,if=none,id=disk,cache=unsafe,discard=unmap",
        "-device", "virtio-blk-pci,drive=disk,bootindex=0",
        "-drive", f"file={machine.path('seed.tar')},format=raw,if=none,id=seed,readonly=on", "-device", "virtio-blk-pci,drive=seed,serial=seed",
        "-serial", f"file:{machine.path('console.log')}", "-monitor", f"unix:{machine.path('monitor.sock')},server,nowait",
        "-pidfile", machine.path("qemu.pid"), "-daemonize",
        # A daemon's error output goes to its log, if it logs anything: QEMU's last words when it aborts.
        "-d", "unimp", "-D", machine.path("qemu.log"),
    ]
    for number, nic in enumerate(hardware["nics"]):
        if nic["network"] == OUTSIDE:
            backend = f"user,id=nic{number}"
            if hardware.get("forward_ssh"):
                backend += f",hostfwd=tcp:127.0.0.1:{hardware['forward_ssh']}-:22"
        else:
            backend = f"vde,id=nic{number},sock={network_paths(machine.state_dir, nic['network'])[0]}"
        argv += ["-netdev", backend, "-device", f"virtio-net-pci,netdev=nic{number},mac={nic['mac']}"]
    return argv


def seed_files(hardware, authorized_key, host_key, host_key_public):
    """What makes a clone this machine and no other: {path: (text, mode)}. Its machine id it makes itself, from an empty file."""
    first = hardware["nics"][0]
    return {
        "etc/hostname": (hardware["name"] + "\n", 0o644),
        "etc/hosts": (f"127.0.0.1 localhost\n127.0.1.1 {hardware['name']}\n::1 localhost ip6-localhost\n", 0o644),
        "etc/ssh/ssh_host_ed25519_key": (host_key, 0o600),
        "etc/ssh/ssh_host_ed25519_key.pub": (host_key_public + "\n", 0o644),
        "root/.ssh/authorized_keys": (authorized_key + "\n", 0o600),
        # As after an installation: the first NIC by DHCP, any other one is left alone.
        "etc/systemd/network/10-lab.network": (
            f"[Match]\nMACAddress={first['mac']}\nType=ether\n\n[Network]\nDHCP=yes\n\n[DHCPv4]\nClientIdentifier=mac\nUseDomains=yes\n", 0o644),
        "var/lib/lab-seed": ("", 0o644),
    }


def write_seed(path, files):
    """A tar that the machine unpacks at its first boot, from a read-only disk."""
    with tarfile.open(path, "w") as tar:
        for name, (text, mode) in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode, member.mtime = len(text.encode()), mode, int(time.time())
            tar.addfile(member, io.BytesIO(text.encode()))
    os.chmod(path, 0o600)


def start_machine(hardware, state_dir, authorized_key):
    """Start a machine that does not run. Returns whether it was started now."""
    machine = Machine(state_dir, hardware["name"])
    if machine.pid:
        return False
    os.makedirs(machine.directory, mode=0o700, exist_ok=True)
    # What an ended process left: a stale pid file would make QEMU refuse, an old console would look like a finished boot.
    for name in ("qemu.pid", "console.log", "qemu.log", "monitor.sock"):
        remove(machine.path(name))
    public, made = create_key(machine.path("ssh_host_ed25519_key"), hardware["name"])
    if made or not os.path.exists(machine.path("disk.qcow2")):
        with open(machine.path("ssh_host_ed25519_key"), encoding="ascii") as file:
            write_seed(machine.path("seed.tar"), seed_files(hardware, authorized_key, file.read(), public))
        run(["qemu-img", "create", "-q", "-f", "qcow2", "-b", hardware["image"], "-F", "raw", machine.path("disk.qcow2")])
    try:
        run(qemu_argv(hardware, machine))
    except LabError as exc:
        raise LabError(f"{machine.name} does not start: {exc}") from exc
    with open(machine.path("hardware.json"), "w", encoding="utf-8") as file:
        json.dump(hardware, file)
    return True


def wait_for_login(state_dir, name, timeout):
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


def console_tail(machine, lines=15):
    text = re.sub(r"\x1b\[[0-9;?!]*[a-zA-Z]", "", machine.console().decode(errors="replace")).replace("\r", "")
    tail = "\n".join(line for line in text.splitlines()[-lines:] if line.strip())
    qemu = "\n".join(machine.log("qemu.log").decode(errors="replace").splitlines()[-lines:])
    return f"Last lines of {machine.path('console.log')}:\n{tail or '(nothing)'}\n" + (f"QEMU says:\n{qemu}\n" if qemu else "")


def stop_machine(state_dir, name, timeout):
    """Shut a machine down cleanly, within a bound. Returns whether it ran."""
    machine = Machine(state_dir, name)
    pid = machine.pid
    if not pid:
        return False
    with socket.socket(socket.AF_UNIX) as monitor:
        monitor.connect(machine.path("monitor.sock"))
        monitor.sendall(b"system_powerdown\n")
        if not wait_for(lambda: machine.pid is None, timeout):
            end_process(pid, machine.path("qemu.pid"), machine.path("qemu.pid"), name)
    return True


def remove_machine(state_dir, name):
    """End the machine's process and remove its directory. Returns whether there was anything."""
    machine = Machine(state_dir, name)
    pid = machine.pid
    if pid:
        end_process(pid, machine.path("qemu.pid"), machine.path("qemu.pid"), name)
    existed = os.path.isdir(machine.directory)
    shutil.rmtree(machine.directory, ignore_errors=True)
    return existed


def end_process(pid, pid_file, mark, name, timeout=20):
    """End exactly this process; killing it is the last resort."""
    for sig in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.kill(pid, sig)
        except ProcessLookupError:
            return
        if wait_for(lambda: not os.path.exists(f"/proc/{pid}") or running_pid(pid_file, mark) != pid, timeout):
            return
    raise LabError(f"process {pid} of {name} does not end")


def wait_for(condition, timeout):
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def remove(path):
    try:
        os.remove(path)
    except FileNotFoundError:
        pass


def ensure_machine(params, check_mode):
    """What lab_machine does. Returns (changed, warnings)."""
    state_dir, name = os.path.realpath(params["state_dir"]), params["name"]
    machine = Machine(state_dir, name)
    before = machine.state()
    wanted = params["state"]
    warnings = []
    if wanted == "started":
        hardware = {key: params[key] for key in ("name", "memory", "vcpus", "image", "accelerator", "nics", "forward_ssh")}
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


def status(state_dir, name):
    """{name, state, pid, memory, vcpus, accelerator, console} of one machine."""
    machine = Machine(os.path.realpath(state_dir), name)
    hardware = machine.hardware() or {}
    return {
        "name": name,
        "state": machine.state(),
        "pid": machine.pid,
        "memory": hardware.get("memory"),
        "vcpus": hardware.get("vcpus"),
        "accelerator": hardware.get("accelerator"),
        "console": machine.path("console.log"),
    }
