# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab of virtual machines from its making to its end. QEMU and the switch are scripts in a directory that is first in the PATH."""
from __future__ import annotations

import json
import os
import pathlib
import socket
import subprocess
import threading

import pytest
from ansible_collections.our.cloud.plugins.module_utils._lab import host, machine, network, process
from ansible_collections.our.cloud.plugins.module_utils._lab.process import LabError

NICS = [{"network": "outside", "mac": "52:54:00:00:00:01"}, {"network": "lan", "mac": "52:54:00:00:01:01"}]
FRONT = {"name": "front", "memory": 16, "vcpus": 1, "image": "/images/a/disk.raw", "accelerator": "tcg", "forward_ssh": None, "nics": NICS}

# $HERE is the folder of the scripts; what they are called with is in $HERE/asked. A daemon has its pid file among its arguments.
PROGRAMS = {
    "qemu-system-x86_64": """
        [ ! -e $HERE/broken ] || { echo "Could not access KVM"; exit 1; }
        case " $* " in *" -daemonize "*) ;; *) cat $HERE/probe; exec sleep 60;; esac
        file=$(echo "$*" | sed 's/.*-pidfile //; s/ .*//')
        setsid sh -c 'sleep 60; :' sleeper "$file" >/dev/null 2>&1 </dev/null & echo $! >$file
        cp $HERE/console "$(dirname $file)/console.log"
        i=0; while ! tr '\\0' '\\n' </proc/$!/cmdline | grep -qx "$file" && [ $i -lt 100 ]; do i=$((i+1)); sleep 0.02; done""",
    "qemu-img": "for last; do :; done; touch $last",
    "vde_switch": """
        mkdir -p $3
        setsid sh -c 'sleep 60; :' sleeper $3 >/dev/null 2>&1 </dev/null & echo $! >$5
        i=0; while ! tr '\\0' '\\n' </proc/$!/cmdline | grep -qx "$3" && [ $i -lt 100 ]; do i=$((i+1)); sleep 0.02; done
        [ -e $HERE/deaf ] || touch $3/ctl""",
}


@pytest.fixture(name="here")
def fixture_here(tmp_path, monkeypatch):
    """The folder of the programs; processes that they leave are ended."""
    here = tmp_path / "programs"
    (here / "bin").mkdir(parents=True)
    for name, text in PROGRAMS.items():
        program = here / "bin" / name
        program.write_text(f"#!/bin/sh\nHERE={here}\necho {name} \"$@\" >>$HERE/asked\n{text}\n", encoding="ascii")
        program.chmod(0o755)
    (here / "console").write_bytes(b"Debian GNU/Linux\r\nfront login: ")
    (here / "probe").write_text("Linux version 6.12\n")
    monkeypatch.setenv("PATH", str(here / "bin"), prepend=os.pathsep)
    yield here
    for path in (*tmp_path.glob("lab/machines/*/qemu.pid"), *tmp_path.glob("lab/*.pid")):
        mark = path if path.name == "qemu.pid" else path.with_suffix(".ctl")
        pid = process.running_pid(str(path), str(mark))
        if pid:
            os.kill(pid, 9)


@pytest.fixture(name="lab")
def fixture_lab(here, tmp_path):
    return str(tmp_path / "lab")


def asked(here, name):
    path = here / "asked"
    return [line for line in path.read_text().splitlines() if line.startswith(name)] if path.exists() else []


def prepare(lab, check_mode=False, **params):
    return host.prepare_host({"state_dir": lab, "machines": [FRONT], "accelerator": "tcg", "image": "/image", **params}, check_mode)


def ensure(lab, state, check_mode=False, **params):
    return machine.ensure_machine({**FRONT, "state": state, "state_dir": lab, "timeout": 20, **params}, check_mode)


# --- this computer

def test_what_all_machines_share_is_made_once_and_goes(lab, here):
    assert prepare(lab, True) == {"changed": True, "accelerator": "tcg"} and asked(here, "vde_switch") == []
    assert not os.path.exists(lab)
    made = prepare(lab)
    assert made["changed"] and made["public_key"].startswith("ssh-ed25519 ")
    assert network.network_runs(lab, "lan") and len(asked(here, "vde_switch")) == 1
    assert not prepare(lab)["changed"] and not prepare(lab, True)["changed"]
    assert host.remove_host(lab, True) and network.network_runs(lab, "lan")
    assert host.remove_host(lab, False)
    # nothing is left, so that a second run has nothing to do
    assert not os.path.exists(lab)
    assert not host.remove_host(lab, False)


def test_disks_that_stay_keep_the_key_that_they_know(lab):
    prepare(lab)
    os.makedirs(os.path.join(lab, "machines/front"))
    host.remove_host(lab, False)
    assert {"id_ed25519", "id_ed25519.pub", "machines"} <= set(os.listdir(lab)) and not network.network_runs(lab, "lan")
    os.rmdir(os.path.join(lab, "machines/front"))
    host.remove_host(lab, False)
    assert not os.path.exists(lab)


def test_a_switch_that_died_is_made_anew(lab, here):
    prepare(lab)
    control, pid_file = network.network_paths(lab, "lan")
    process.end_process(process.running_pid(pid_file, control), pid_file, control, "lan")
    assert not network.network_runs(lab, "lan") and prepare(lab)["changed"] and network.network_runs(lab, "lan")


def test_a_switch_that_does_not_listen_is_told(lab, here, monkeypatch):
    (here / "deaf").touch()
    real = network.wait_for
    monkeypatch.setattr(network, "wait_for", lambda condition, timeout: real(condition, 0.1))
    with pytest.raises(LabError, match="the switch of the LAN lan does not listen at .*/lan.ctl"):
        prepare(lab)


@pytest.mark.parametrize("access, said, accelerator", [
    (False, "Linux version 6.12\n", "tcg"), (True, "Linux version 6.12\n", "kvm"), (True, "KVM: entry failed\n", "tcg"),
])
def test_hardware_virtualization_counts_where_a_kernel_boots_with_it(lab, here, monkeypatch, access, said, accelerator):
    real = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: access if path == "/dev/kvm" else real(path, mode))
    (here / "probe").write_text(said)
    assert host.find_accelerator("/image", 1) == accelerator
    assert bool(asked(here, "qemu-system-x86_64 -accel kvm")) is access


def test_it_is_tried_once(lab, monkeypatch):
    tried = []
    monkeypatch.setattr(host, "find_accelerator", lambda image: tried.append(image) or "kvm")
    assert [prepare(lab, accelerator="auto")["accelerator"] for dummy in range(2)] == ["kvm", "kvm"] and tried == ["/image"]


def test_machines_that_run_already_cost_nothing_more(lab, here, monkeypatch):
    monkeypatch.setattr(host, "available_memory", lambda: 400)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        front = {**FRONT, "forward_ssh": taken.getsockname()[1]}
        with pytest.raises(LabError, match="front: port .* is taken"):
            prepare(lab, machines=[front])
        ensure(lab, "started")
        monkeypatch.setattr(host, "available_memory", lambda: 0)
        assert prepare(lab, machines=[front])["changed"]


def test_memory_of_this_computer():
    assert 0 < host.available_memory() < 1 << 24


# --- a machine

def test_a_machine_from_its_making_to_its_end(lab, here):
    assert ensure(lab, "status") == (False, [])
    assert ensure(lab, "started", True) == (True, []) and not os.path.exists(lab)
    assert ensure(lab, "started") == (True, [])
    seen = machine.status(lab, "front")
    assert (seen["state"], seen["memory"], seen["accelerator"]) == ("up", 16, "tcg") and seen["pid"]
    assert len(asked(here, "qemu-img")) == 1 and asked(here, "qemu-img")[0].endswith("-b /images/a/disk.raw -F raw " + lab + "/machines/front/disk.qcow2")
    assert ensure(lab, "started") == (False, []) and len(asked(here, "qemu-system")) == 1
    assert ensure(lab, "started", memory=32)[1] == [
        "front runs with other hardware than the inventory describes now; destroy it and start it again to change that"]
    assert ensure(lab, "absent", True) == (True, []) and machine.status(lab, "front")["state"] == "up"
    assert ensure(lab, "absent") == (True, []) and machine.status(lab, "front")["state"] == "absent"
    assert ensure(lab, "absent") == (False, [])


@pytest.fixture(name="monitor")
def fixture_monitor(lab):
    """QEMU's monitor; monitor(what happens when the power button is pressed)."""
    server = socket.socket(socket.AF_UNIX)
    heard = []

    def listen(pressed):
        server.bind(os.path.join(lab, "machines/front/monitor.sock"))
        server.listen()

        def serve():
            connection = server.accept()[0]
            with connection:
                heard.append(connection.recv(100))
                pressed()

        threading.Thread(target=serve, daemon=True).start()
        return heard

    yield listen
    server.close()


def test_a_machine_is_shut_down_and_its_disk_stays(lab, here, monitor):
    assert ensure(lab, "stopped") == (False, [])
    ensure(lab, "started")
    pid = machine.status(lab, "front")["pid"]
    heard = monitor(lambda: os.kill(pid, 15))
    assert ensure(lab, "stopped", True) == (True, []) and heard == []
    assert ensure(lab, "stopped") == (True, []) and heard == [b"system_powerdown\n"]
    assert machine.status(lab, "front")["state"] == "stopped"
    # its disk and its keys are used again; what the ended process left does not look like a finished boot
    path = pathlib.Path(lab, "machines/front/ssh_host_ed25519_key")
    key = path.read_text(encoding="ascii")
    assert ensure(lab, "started") == (True, []) and len(asked(here, "qemu-img")) == 1
    assert path.read_text(encoding="ascii") == key


def test_a_machine_that_does_not_shut_down_is_ended(lab, here, monitor):
    ensure(lab, "started")
    pid = machine.status(lab, "front")["pid"]
    assert monitor(lambda: None) == []
    assert ensure(lab, "stopped", timeout=0.2) == (True, [])
    assert not os.path.exists(f"/proc/{pid}") or machine.status(lab, "front")["pid"] is None


def test_a_machine_without_a_monitor_is_ended(lab, here):
    """QEMU has not opened it yet, or ends at this moment."""
    ensure(lab, "started")
    assert ensure(lab, "stopped") == (True, []) and machine.status(lab, "front")["state"] == "stopped"


def test_a_machine_that_qemu_refuses(lab, here):
    (here / "broken").touch()
    with pytest.raises(LabError, match="front does not start: qemu-system-x86_64 ended with status 1: Could not access KVM"):
        ensure(lab, "started")
    assert machine.status(lab, "front")["state"] == "stopped" and machine.Machine(lab, "front").hardware() is None


def test_a_machine_that_shows_no_login(lab, here):
    (here / "console").write_bytes(b"Loading Linux ...\r\n")
    with pytest.raises(LabError, match=r"front shows no login prompt after 1 s\. Last lines of .*:\nLoading Linux \.\.\.\n Remedy: raise lab_timeout"):
        ensure(lab, "started", timeout=1)
    assert machine.status(lab, "front")["state"] == "booting"


def test_the_hardware_is_noted(lab, here):
    ensure(lab, "started")
    with open(os.path.join(lab, "machines/front/hardware.json"), encoding="utf-8") as file:
        assert json.load(file) == FRONT


@pytest.mark.parametrize("content", ["", "{", "[]", "7"])
def test_hardware_of_which_the_note_is_none(tmp_path, content):
    front = machine.Machine(str(tmp_path), "front")
    os.makedirs(front.path(""))
    with open(front.path("hardware.json"), "w", encoding="utf-8") as file:
        file.write(content)
    assert front.hardware() is None


# --- processes

def test_a_process_that_does_not_listen_is_killed(tmp_path):
    ready = tmp_path / "ready"
    child = subprocess.Popen(["sh", "-c", f"trap '' TERM; touch {ready}; while :; do sleep 0.05; done", "sh", str(tmp_path)])
    assert process.wait_for(ready.exists, 10)
    (tmp_path / "pid").write_text(str(child.pid))
    reaper = threading.Thread(target=child.wait, daemon=True)
    reaper.start()
    process.end_process(child.pid, str(tmp_path / "pid"), str(tmp_path), "front", timeout=0.5)
    reaper.join(10)
    assert child.returncode == -9
    # there is none of that number any more
    process.end_process(child.pid, str(tmp_path / "pid"), str(tmp_path), "front", timeout=0.5)


def test_a_process_that_cannot_be_ended_is_told(monkeypatch):
    monkeypatch.setattr(os, "kill", lambda *dummy: None)
    monkeypatch.setattr(process, "running_pid", lambda *dummy: os.getpid())
    with pytest.raises(LabError, match=f"process {os.getpid()} of front does not end"):
        process.end_process(os.getpid(), "/none", "/none", "front", timeout=0.1)


def test_a_line_of_a_file(tmp_path):
    (tmp_path / "a").write_text("kvm\nmore\n")
    assert (process.read_line(str(tmp_path / "a")), process.read_line(str(tmp_path / "none"))) == ("kvm", "")
    process.remove(str(tmp_path / "a"))
    process.remove(str(tmp_path / "a"))
    assert os.listdir(tmp_path) == []
