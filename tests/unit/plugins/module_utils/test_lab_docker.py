# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The computer of a lab of containers. Programs are scripts in a directory that is the PATH: what they are asked is in `asked`."""
from __future__ import annotations

import json
import os
import socket

import pytest
from ansible_collections.our.cloud.plugins.module_utils._lab import docker
from ansible_collections.our.cloud.plugins.module_utils._lab.process import LabError

HOMER = {"name": "homer", "memory": 100, "forward_ssh": None, "addresses": ["192.0.2.10/24"]}
BART = {"name": "bart", "memory": 100, "forward_ssh": None, "addresses": []}

PROGRAMS = {
    # $HERE/up: whether a daemon runs; $HERE/containers: what it has
    "docker": """
        case $1 in
        info) [ -e $HERE/up ] || exit 1; case $3 in *RootDir*) echo $HERE;; *) echo 20.10;; esac;;
        container) cat $HERE/containers;;
        image) echo 0123;;
        esac""",
    "dockerd": "touch $HERE/up; echo \\$\\$ >$HERE/docker.pid; exec sleep 60",
    "ip": "cat $HERE/routes",
    # the rule is a file
    "iptables": """
        case $2 in
        --check) [ -e $HERE/rule ];;
        --insert) touch $HERE/rule;;
        --delete) rm $HERE/rule;;
        esac""",
    "nft": "cat $HERE/nft",
    "systemctl": "case $1 in start) touch $HERE/up;; stop) rm $HERE/up;; esac",
}


@pytest.fixture(name="computer")
def fixture_computer(tmp_path, monkeypatch):
    """A computer on which nothing runs yet. Returns its directory."""
    for name, text in PROGRAMS.items():
        program = tmp_path / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(f"#!/bin/sh\nHERE={tmp_path}\necho {name} \"$@\" >>$HERE/asked\n{text.replace(chr(92) + '$', '$')}\n", encoding="ascii")
        program.chmod(0o755)
    for name, text in {"containers": "", "routes": "[]", "nft": '{"nftables": []}', "watchers": "128", "filter": "1", "tun": ""}.items():
        (tmp_path / name).write_text(text, encoding="ascii")
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:/usr/bin:/bin")
    monkeypatch.setattr(docker, "search_path", lambda: os.environ["PATH"])
    monkeypatch.setattr(docker, "check_root", lambda: None)
    monkeypatch.setattr(docker, "TIMEOUT", 5)
    for name, path in {"RECORDS": "records", "SYSTEMD": "systemd", "PID_FILE": "docker.pid", "DATA": "data", "TUN": "tun", "BRIDGE_FILTER": "filter",
                       "WATCHERS": "watchers"}.items():
        monkeypatch.setattr(docker, name, str(tmp_path / path))
    monkeypatch.setattr(docker, "docker_pid", lambda: None)
    return tmp_path


def prepare(*machines, name="springfield", check=False):
    return docker.prepare({"name": name, "machines": list(machines)}, check)


def test_a_docker_that_answers_is_used(computer):
    (computer / "up").touch()
    assert prepare(HOMER, BART) == {"changed": True, "answers": True, "said": []}
    assert (computer / "rule").exists()
    assert (computer / "watchers").read_text(encoding="ascii") == "1024"
    assert prepare(HOMER, BART) == {"changed": False, "answers": True, "said": []}
    assert "dockerd" not in (computer / "asked").read_text(encoding="ascii")


def test_a_check_starts_nothing(computer):
    assert prepare(HOMER, check=True) == {"changed": True, "answers": False, "said": []}
    assert not (computer / "up").exists()
    assert not (computer / "records").exists()


def test_a_service_is_started_and_stopped(computer):
    (computer / "systemd").mkdir()
    assert prepare(HOMER)["said"] == ["docker.service was started."]
    assert docker.release({"name": "springfield"}, False) == {
        "changed": True, "answers": False, "said": ["The dockerd that was started for the lab was stopped."]}
    assert not (computer / "rule").exists()
    assert docker.release({"name": "springfield"}, False)["changed"] is False


def test_the_last_lab_stops_it(computer):
    (computer / "systemd").mkdir()
    prepare(HOMER)
    prepare(BART, name="shelbyville")
    assert docker.release({"name": "springfield"}, False) == {"changed": True, "answers": True, "said": []}
    assert (computer / "rule").exists()
    assert docker.release({"name": "shelbyville"}, False)["answers"] is False


def test_to_look_for_containers_docker_is_started_and_stopped(computer):
    (computer / "systemd").mkdir()
    assert docker.release({"name": "springfield"}, False)["changed"] is False
    assert prepare() == {"changed": True, "answers": True, "said": ["docker.service was started."]}
    assert not (computer / "rule").exists()
    assert docker.release({"name": "springfield"}, False)["answers"] is False


def test_others_containers_keep_it(computer):
    (computer / "systemd").mkdir()
    prepare(HOMER)
    (computer / "containers").write_text("theirs\t\trunning\n", encoding="ascii")
    assert docker.release({"name": "springfield"}, False) == {"changed": True, "answers": True, "said": ["Docker runs on: it has other containers."]}


def test_one_that_was_there_before_stays(computer):
    (computer / "up").touch()
    prepare(HOMER)
    assert docker.release({"name": "springfield"}, False) == {"changed": True, "answers": True, "said": []}


def test_where_no_service_manager_has_it_it_is_started_by_hand(computer, monkeypatch):
    said = prepare(HOMER)["said"]
    pid = int((computer / "docker.pid").read_text(encoding="ascii"))
    assert said == [f"dockerd was started by hand, since no service manager has it: process {pid}, log {computer}/records/dockerd.log."]
    alive = [True]
    monkeypatch.setattr(docker, "docker_pid", lambda: pid if alive[0] else None)
    monkeypatch.setattr(os, "kill", lambda process, number, kill=os.kill: (alive.clear(), alive.append(False), kill(process, number)))
    docker.release({"name": "springfield"}, False)
    assert alive == [False]


def refusal(*machines):
    with pytest.raises(LabError) as error:
        prepare(*machines)
    return str(error.value)


def test_what_is_missing_is_named_with_its_package(computer):
    (computer / "bin/dockerd").unlink()
    assert refusal(HOMER) == "A lab of containers needs docker.io, which this computer lacks. Remedy: apt-get install docker.io"


def test_another_dockerd(computer, monkeypatch):
    monkeypatch.setattr(docker, "docker_pid", lambda: 4711)
    assert refusal(HOMER).startswith("A dockerd runs (process 4711) and does not answer at ")
    assert not (computer / "up").exists()


def test_memory_and_disk(computer, monkeypatch):
    monkeypatch.setattr(docker, "available_memory", lambda: 150)
    assert refusal(HOMER, BART).startswith("2 machines need 200 MiB of memory, 150 MiB are available. Remedy: ")
    monkeypatch.setattr(docker, "available_memory", lambda: 250)
    monkeypatch.setattr(docker, "DISK_USE_MIB", 10**9)
    assert refusal(HOMER, BART).startswith(f"2 machines and their image will take about {2 * 10**9 + 8192} MiB below {computer}, ")


def test_what_runs_already_needs_nothing_more(computer, monkeypatch):
    (computer / "up").touch()
    (computer / "containers").write_text("homer\tspringfield\trunning\n", encoding="ascii")
    monkeypatch.setattr(docker, "available_memory", lambda: 0)
    assert prepare(HOMER)["answers"]


def test_a_port_is_taken(computer):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert refusal({**HOMER, "forward_ssh": port}) == f"homer: port {port} on 127.0.0.1 is taken. Remedy: set lab_forward_ssh of homer to a free port"
    assert not (computer / "up").exists()


def test_a_network_is_taken(computer):
    routes = [{"dst": "default", "dev": "eth0"}, {"dst": "192.0.2.0/25", "dev": "eth0"}]
    (computer / "routes").write_text(json.dumps(routes), encoding="ascii")
    assert refusal(HOMER) == ("homer: the network 192.0.2.0/24 is taken on this computer, by 192.0.2.0/25 on eth0. "
                              "Remedy: give the cards on the network outside (lab_nics of homer) addresses in another one")
    routes[1]["dev"] = "ocw-0123456789"
    (computer / "routes").write_text(json.dumps(routes), encoding="ascii")
    assert prepare(HOMER)["answers"]


def chain(**more):
    return json.dumps({"nftables": [{"chain": {"family": "inet", "table": "site", "name": "forward", "hook": "forward", "policy": "drop", **more}}]})


def test_a_packet_filter_that_drops_what_the_lan_says(computer):
    (computer / "nft").write_text(chain(), encoding="ascii")
    assert refusal(HOMER) == (
        "br_netfilter is on, and the nftables chain inet site forward drops what it does not know, so also what machines of one LAN send each other. "
        "Remedy: nft insert rule inet site forward iifname oc-* oifname oc-* accept, or sysctl net.bridge.bridge-nf-call-iptables=0")
    (computer / "filter").write_text("0", encoding="ascii")
    assert prepare(HOMER)["answers"]


@pytest.mark.parametrize("more", [{"policy": "accept"}, {"hook": "input"}, {"family": "ip", "table": "filter", "name": "FORWARD"}, {"family": "bridge"}])
def test_a_packet_filter_that_is_in_nobodys_way(computer, more):
    (computer / "nft").write_text(chain(**more), encoding="ascii")
    assert prepare(HOMER)["answers"]


def test_somebody_elses_container(computer):
    (computer / "up").touch()
    (computer / "containers").write_text("homer\t\texited\nbart\tspringfield\texited\n", encoding="ascii")
    assert refusal(HOMER, BART) == ("There is a container homer already, which is no lab machine. "
                                    "Remedy: docker rm homer, if nobody needs it, or another name in the inventory")


def test_without_virtual_networks(computer):
    (computer / "tun").unlink()
    assert refusal(HOMER).endswith("Remedy: modprobe tun")
