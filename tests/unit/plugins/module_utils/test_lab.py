# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import dataclasses
import os
import shutil
import socket
import subprocess
import sys
import tarfile

import pytest
from ansible_collections.our.cloud.plugins.module_utils._lab import host, process
from ansible_collections.our.cloud.plugins.module_utils._lab import machine as lab_machine
from ansible_collections.our.cloud.plugins.module_utils._lab.hardware import Hardware, Nic

FRONT = Hardware("front", 768, 1, "/images/a/disk.raw", "tcg", (Nic("outside", "52:54:00:00:00:01"), Nic("lan", "52:54:00:00:01:01")), 2222)


@pytest.fixture(name="sleeper")
def fixture_sleeper():
    """A process with a path among its arguments, as QEMU has its pid file."""
    processes = []

    def start(*arguments):
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)", *arguments])
        processes.append(child)
        return child

    yield start
    for child in processes:
        child.kill()
        child.wait()


def test_command_line_of_an_emulated_front_end():
    argv = lab_machine.qemu_argv(FRONT, lab_machine.Machine("/lab", "front"))
    assert argv == [
        "qemu-system-x86_64", "-accel", "tcg,thread=multi,tb-size=256", "-cpu", "qemu64,-cx16,+svm,+npt,+vme,x-force-features=on",
        "-name", "front", "-M", "q35", "-smp", "1", "-m", "768", "-nodefaults", "-display", "none", "-device", "virtio-rng-pci",
        "-drive", "file=/lab/machines/front/disk.qcow2,format=qcow2,if=none,id=disk,cache=unsafe,discard=unmap",
        "-device", "virtio-blk-pci,drive=disk,bootindex=0",
        "-drive", "file=/lab/machines/front/seed.tar,format=raw,if=none,id=seed,readonly=on",
        "-device", "virtio-blk-pci,drive=seed,serial=seed",
        "-serial", "file:/lab/machines/front/console.log", "-monitor", "unix:/lab/machines/front/monitor.sock,server,nowait",
        "-pidfile", "/lab/machines/front/qemu.pid", "-daemonize", "-d", "unimp", "-D", "/lab/machines/front/qemu.log",
        "-netdev", "user,id=nic0,hostfwd=tcp:127.0.0.1:2222-:22", "-device", "virtio-net-pci,netdev=nic0,mac=52:54:00:00:00:01",
        "-netdev", "vde,id=nic1,sock=/lab/lan.ctl", "-device", "virtio-net-pci,netdev=nic1,mac=52:54:00:00:01:01",
    ]


def test_command_line_with_hardware_virtualization():
    argv = lab_machine.qemu_argv(dataclasses.replace(FRONT, accelerator="kvm", forward_ssh=None), lab_machine.Machine("/lab", "front"))
    assert argv[1:5] == ["-accel", "kvm", "-cpu", "host"]
    assert "user,id=nic0" in argv


def test_seed_unpacks_to_names_keys_and_the_first_card_alone(tmp_path):
    files = lab_machine.seed_files("front", FRONT.nics[0], "ssh-ed25519 AAAA lab", "PRIVATE\n", "ssh-ed25519 BBBB front")
    seed = tmp_path / "seed.tar"
    lab_machine.write_seed(seed, files)
    assert seed.stat().st_mode & 0o777 == 0o600
    with tarfile.open(seed) as tar:
        modes = {member.name: member.mode for member in tar.getmembers()}
        network = tar.extractfile("etc/systemd/network/10-lab.network").read().decode()
        assert tar.extractfile("etc/hostname").read() == b"front\n"
    assert modes["etc/ssh/ssh_host_ed25519_key"] == 0o600
    assert modes["root/.ssh/authorized_keys"] == 0o600
    assert "52:54:00:00:00:01" in network
    assert "52:54:00:00:01:01" not in network
    assert "etc/machine-id" not in modes


@pytest.mark.parametrize("content", ["", "no number\n", "999999999\n"])
def test_stale_pid_files(tmp_path, content):
    pid_file = tmp_path / "qemu.pid"
    pid_file.write_text(content)
    assert process.running_pid(pid_file, str(pid_file)) is None


def test_the_pid_of_another_process_is_stale(tmp_path, sleeper):
    pid_file = tmp_path / "qemu.pid"
    pid_file.write_text(f"{sleeper().pid}\n")
    assert process.running_pid(pid_file, str(pid_file)) is None


def test_exactly_the_own_process_ends(tmp_path, sleeper):
    machine = lab_machine.Machine(str(tmp_path), "front")
    os.makedirs(machine.directory)
    other, own = sleeper(), sleeper(machine.path("qemu.pid"))
    with open(machine.path("qemu.pid"), "w", encoding="ascii") as file:
        file.write(str(own.pid))
    assert process.wait_for(lambda: machine.pid == own.pid, 10)
    assert lab_machine.remove_machine(str(tmp_path), "front") is True
    assert own.wait(10) < 0
    assert other.poll() is None
    assert not os.path.exists(machine.directory)
    assert lab_machine.remove_machine(str(tmp_path), "front") is False


def test_states(tmp_path, sleeper):
    machine = lab_machine.Machine(str(tmp_path), "front")
    assert machine.state() == "absent"
    os.makedirs(machine.directory)
    with open(machine.path("disk.qcow2"), "wb"):
        pass
    assert machine.state() == "stopped"
    child = sleeper(machine.path("qemu.pid"))
    with open(machine.path("qemu.pid"), "w", encoding="ascii") as file:
        file.write(str(child.pid))
    assert process.wait_for(lambda: machine.state() == "booting", 10)
    with open(machine.path("console.log"), "wb") as file:
        file.write(b"Debian GNU/Linux 13 front ttyS0\r\n\r\nfront login: ")
    assert machine.state() == "up"


def test_a_machine_that_ended_while_booting_shows_its_last_lines(tmp_path):
    machine = lab_machine.Machine(str(tmp_path), "front")
    os.makedirs(machine.directory)
    with open(machine.path("console.log"), "wb") as file:
        file.write(b"\x1b[0;32mone\x1b[0m\r\nKernel panic\r\n")
    with open(machine.path("qemu.log"), "wb") as file:
        file.write(b"Assertion failed\n")
    told = r"front has ended while it booted\. Last lines of .*console\.log:\none\nKernel panic\nQEMU says:\nAssertion failed\n"
    with pytest.raises(process.LabError, match=told):
        lab_machine.wait_for_login(str(tmp_path), "front", 5)


def test_too_little_memory_is_said_in_numbers():
    host.check_memory([FRONT], 768 + 64, "kvm")
    with pytest.raises(process.LabError, match=r"1 lab machines need 1088 MiB of memory .* 1000 MiB are available\. Remedy: "):
        host.check_memory([FRONT], 1000, "tcg")


def test_too_little_disk_is_said_in_numbers():
    host.check_disk([FRONT], 1024, "/lab")
    with pytest.raises(process.LabError, match=r"about 1024 MiB to /lab, 1023 MiB are free\. Remedy: "):
        host.check_disk([FRONT], 1023, "/lab")


def test_a_taken_port_is_named():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(process.LabError, match=rf"front: port {port} on 127\.0\.0\.1 is taken\. Remedy: set lab_forward_ssh of front"):
            host.check_port("front", port)
    host.check_port("front", port)


def test_a_path_too_long_for_a_socket():
    host.check_socket_paths([FRONT], "/lab")
    with pytest.raises(process.LabError, match="is too long for a socket's name .* Remedy: set lab_state_dir"):
        host.check_socket_paths([FRONT], "/lab" * 30)


def test_missing_programs_name_the_packages(monkeypatch, tmp_path):
    monkeypatch.setattr(shutil, "which", lambda name, path=None: None)
    with pytest.raises(process.LabError, match="Remedy: apt-get install openssh-client qemu-system-x86 qemu-utils vde2"):
        host.preflight([FRONT], str(tmp_path), "tcg")


def test_a_failing_program_is_quoted():
    with pytest.raises(process.LabError, match="sh ended with status 3: no luck"):
        process.run(["sh", "-c", "echo no luck; exit 3"])
    with pytest.raises(process.LabError, match="the lab needs no-such-program, which this machine lacks"):
        process.run(["no-such-program"])


def test_a_key_is_made_once(tmp_path):
    path = str(tmp_path / "state" / "id_ed25519")
    public, made = process.create_key(path, "lab")
    assert made and public.startswith("ssh-ed25519 ") and os.stat(path).st_mode & 0o777 == 0o600
    assert process.create_key(path, "lab") == (public, False)
