# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Torture a site that is up (make torture: that of scenario moves): nodes lose power, the LAN is cut, moves are killed, everything goes off, in random order.

  tests/torture.py [--rounds N] [--seed N] [--inventory DIR] [--events NAME,NAME] [--bound SECONDS]

Each event has its turn once, in random order, before one comes again. After each the site is put right as its documentation says
(rescue.yml, guests.yml), and then every guest must run on exactly one node, its counter must not have gone back behind what it had
synced, and its journal must show no error of its file system. Every fifth round, and in the last one, the guest is stopped and its
disk is checked by e2fsck. The first thing that is wrong ends it.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import os
import pathlib
import random
import re
import shlex
import signal
import socket
import statistics
import subprocess
import sys
import time

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[1]
BOUND = 900  # s that anything here may take, unless it is said
# A counter on the disk; what is known to be there stands in /run, and must be there after whatever happens. One process: in an emulated
# guest each one more costs a quarter of a second.
COUNTER = r"""
use IO::Handle;
$0 = "counter";
sub written { my ($path, $text) = @_; my $file; open($file, ">", $path) && (print {$file} $text) && $file->flush && $file->sync or die "$path: $!\n"; }
sub synced { my $folder; open($folder, "<", $_[0]) && $folder->sync or die "$_[0]: $!\n"; }
my $count = 0;
if (open(my $file, "<", "/root/counter")) { $count = <$file> + 0; }
while (1) {
    $count++;
    written("/root/counter.new", "$count\n");
    rename "/root/counter.new", "/root/counter" or die "rename: $!\n";
    synced("/root");
    written("/run/counter.new", "$count\n");
    rename "/run/counter.new", "/run/counter" or die "rename: $!\n";
    sleep 1;
}
"""
COUNT = f"setsid perl -e {shlex.quote(COUNTER)} </dev/null >/run/counter.log 2>&1 &"
ASK = "cat %s; dmesg | grep -E 'EXT4-fs (error|warning)|I/O error|Remounting filesystem read-only' | tail -n 3"


class Wrong(Exception):
    """What must not be has been seen."""


def until(condition, what: str, bound: float | None = None, step: float = 1.0):
    """The condition's value once it is true; what was seen last is told if it does not become so."""
    bound = bound or BOUND
    end = time.monotonic() + bound
    while True:
        good, seen = condition()
        if good:
            return seen
        if time.monotonic() > end:
            raise Wrong(f"{what}: not within {bound:.0f} s, at a load of {os.getloadavg()[0]:.0f}; seen: {seen}")
        time.sleep(step)


def descendants(pid: int) -> list[int]:
    """A play's workers have sessions of their own."""
    listed = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False).stdout
    children = [int(word) for word in listed.split()]
    return children + [one for child in children for one in descendants(child)]


@dataclasses.dataclass
class Site:
    """An inventory and the way into its machines. nodes: the hypervisors; front: the front end; guest: the one that is watched; off: what
    has no power or no cable just now."""

    folder: pathlib.Path
    nodes: list[str]
    front: str
    guest: dict
    family: str
    off: set[str] = dataclasses.field(default_factory=set)

    @classmethod
    def read(cls, folder: pathlib.Path) -> Site:
        listed = json.loads(subprocess.run([str(ROOT / ".venv/bin/ansible-inventory"), "-i", str(folder), "--list"], cwd=ROOT,
                                           capture_output=True, text=True, check=True).stdout)
        with open(folder / "group_vars/all.yml", encoding="utf-8") as stream:
            guest = yaml.safe_load(stream)["guests"][0]
        family = "xen" if guest["kind"] in ("pvh", "pv", "hvm") else "kvm"
        return cls(folder, listed[family]["hosts"], listed["gateway"]["hosts"][0], guest, family)

    def ssh(self, host: str, command: str, timeout: float = 120) -> subprocess.CompletedProcess:
        """Run it there; 255 and what ssh says if the host is not reached in time."""
        argv = ["ssh", "-F", str(self.folder / ".lab/ssh_config"), "-o", "BatchMode=yes", "-o", "ConnectTimeout=60", "-o", "ControlMaster=no",
                "-o", "ControlPath=none", "-o", "StrictHostKeyChecking=accept-new", host, command]
        try:
            return subprocess.run(argv, capture_output=True, text=True, timeout=timeout, check=False, stdin=subprocess.DEVNULL)
        except subprocess.TimeoutExpired:
            return subprocess.CompletedProcess(argv, 255, "", f"no answer within {timeout} s")

    def play(self, name: str, *more: str, wait: bool = True):
        """A playbook, as a user types it; its process if it is not waited for, else (status, output)."""
        argv = [str(ROOT / ".venv/bin/ansible-playbook"), "-i", str(self.folder), f"playbooks/{name}.yml", *more]
        env = dict(os.environ, ANSIBLE_NOCOLOR="1", PYTHONUNBUFFERED="1")
        process = subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=env,
                                   stdin=subprocess.DEVNULL, start_new_session=True)
        if not wait:
            return process
        output = process.communicate(timeout=2 * BOUND)[0]
        return process.returncode, output

    def must(self, name: str, *more: str) -> str:
        status, output = self.play(name, *more)
        if status:
            raise Wrong(f"{name}.yml {' '.join(more)} failed:\n{output[-3000:]}")
        return output

    # what is to be seen

    def running(self) -> list[str]:
        """The nodes whose hypervisor has the guest running, asked of it and not of our own modules. All but those that are off must answer."""
        found = []
        for node in self.nodes:
            if node not in self.off:
                listed = until(lambda node=node: self.told(node, "xl list" if self.family == "xen" else "pgrep -af qemu-system || [ $? = 1 ]"),
                               f"{node} says what runs there")
                if re.search(rf"(^|guest=){re.escape(self.guest['name'])}[\s,]", listed, re.MULTILINE):
                    found.append(node)
        return found

    def place(self) -> str:
        """Where the guest runs; it must be one place, now."""
        found = self.running()
        if len(found) > 1:
            raise Wrong(f"{self.guest['name']} RUNS ON {' and '.join(found)}")
        return found[0] if found else ""

    def ask(self, path: str) -> tuple[bool, object]:
        done = self.ssh(self.guest["name"], ASK % path)
        words = done.stdout.split("\n")
        if done.returncode not in (0, 1) or not words[0].isdigit():
            return False, (done.stdout + done.stderr)[-300:]
        if words[1:] and words[1].strip():
            raise Wrong(f"{self.guest['name']}: its file system is damaged: {' / '.join(words[1:])}")
        return True, int(words[0])

    def counter(self) -> int:
        """What the guest reads from its disk, once it answers."""
        return until(lambda: self.ask("/root/counter"), f"{self.guest['name']} answers")

    def counted(self) -> int:
        """What it is known to have on its disk. It is made to count, unless it does."""
        until(lambda: self.told(self.guest["name"], "pgrep -f '^counter' >/dev/null || " + COUNT), "the counter starts")
        return until(lambda: self.ask("/run/counter"), f"{self.guest['name']} counts")

    def told(self, host: str, command: str) -> tuple[bool, str]:
        """For `until`: whether it succeeds there, and what it says."""
        done = self.ssh(host, command)
        return done.returncode == 0, done.stdout or done.stderr


class Containers:
    """Power and cables of nodes that are containers."""

    def __init__(self, site: Site) -> None:
        self.site = site

    @staticmethod
    def docker(*words: str) -> str:
        return subprocess.run(["docker", *words], capture_output=True, text=True, check=True).stdout

    def kill(self, node: str) -> None:
        self.docker("kill", "--signal", "KILL", node)
        self.site.off.add(node)

    def start(self, nodes: list[str]) -> None:
        for node in nodes:
            self.docker("start", node)
        self.site.off -= set(nodes)

    def cut(self, node: str, away: bool) -> None:
        index = self.docker("exec", node, "cat", "/sys/class/net/eth0/iflink").strip()
        name = next(path.parent.name for path in pathlib.Path("/sys/class/net").glob("*/ifindex") if path.read_text().strip() == index)
        subprocess.run(["ip", "link", "set", name, "down" if away else "up"], check=True)
        (self.site.off.add if away else self.site.off.discard)(node)


class Machines:
    """Power and cables of the lab's virtual machines."""

    def __init__(self, site: Site) -> None:
        self.site = site

    def path(self, node: str, name: str) -> pathlib.Path:
        return self.site.folder.resolve() / ".lab/machines" / node / name

    def kill(self, node: str) -> None:
        pid = int(self.path(node, "qemu.pid").read_text())
        os.kill(pid, signal.SIGKILL)
        until(lambda: (not os.path.exists(f"/proc/{pid}"), f"process {pid}"), f"{node} has ended", 60)
        self.site.off.add(node)

    def start(self, nodes: list[str]) -> None:
        # each by itself, so that they come up as they happen to
        plays = {node: self.site.play("lab", "--limit", node, wait=False) for node in nodes}
        said = {node: play.communicate(timeout=2 * BOUND)[0] for node, play in plays.items()}
        for node, play in plays.items():
            if play.returncode:
                raise Wrong(f"{node} does not start:\n{said[node][-3000:]}")
        self.site.off -= set(nodes)

    def cut(self, node: str, away: bool) -> None:
        with socket.socket(socket.AF_UNIX) as monitor:
            monitor.settimeout(60)
            monitor.connect(str(self.path(node, "monitor.sock")))
            # its greeting ends with a prompt, and so does its answer
            self.hear(monitor)
            monitor.sendall(b"set_link nic0 %s\n" % (b"off" if away else b"on"))
            said = self.hear(monitor)
        if b"rror" in said:
            raise Wrong(f"the cable of {node}: {said.decode(errors='replace')}")
        (self.site.off.add if away else self.site.off.discard)(node)

    @staticmethod
    def hear(monitor: socket.socket) -> bytes:
        said = b""
        while not said.endswith(b"(qemu) "):
            part = monitor.recv(4096)
            if not part:
                raise Wrong(f"QEMU's monitor has hung up: {said.decode(errors='replace')}")
            said += part
        return said


class Torture:
    """The events. Each leaves the guest running in one place."""

    def __init__(self, site: Site, power, dice: random.Random) -> None:
        self.site, self.power, self.dice = site, power, dice
        self.deck: list = []

    def others(self, node: str) -> list[str]:
        return [other for other in self.site.nodes if other != node]

    def back(self, nodes: list[str]) -> None:
        """Nodes return; what was moved away does not start there, and the next run cleans up."""
        self.power.start(nodes)
        for node in nodes:
            until(lambda node=node: self.site.told(node, "true" if node == self.site.front else "virsh -q list"), f"{node} is back")

    def node_dies(self, here: str) -> str:
        """The guest's node loses power; rescue; the node returns."""
        self.power.kill(here)
        self.site.must("rescue", "-e", f"host={here}")
        there = self.site.place()
        if not there or there == here:
            raise Wrong(f"rescue.yml said that all is well, and the guest runs on {there or 'no node'}")
        self.site.counter()
        self.back([here])
        self.site.must("guests")
        return f"rescued on {there}"

    def node_blinks(self, here: str) -> str:
        """The guest's node loses power and comes back by itself; then guests.yml."""
        self.power.kill(here)
        self.back([here])
        self.by_itself()
        self.site.must("guests")
        return "back on its node"

    def all_off(self, dummy_here: str) -> str:
        """Everything loses power, the front end, too, and returns in any order."""
        nodes = [*self.site.nodes, self.site.front]
        self.dice.shuffle(nodes)
        for node in nodes:
            self.power.kill(node)
        self.dice.shuffle(nodes)
        self.back(nodes)
        self.by_itself()
        self.site.must("guests")
        return "order " + ", ".join(nodes)

    def by_itself(self) -> None:
        """A guest with autostart comes back without being asked."""
        if self.site.guest.get("autostart"):
            until(lambda: (bool(self.site.place()), "it runs nowhere"), f"{self.site.guest['name']} comes back by itself")

    def partition(self, here: str) -> str:
        """The guest's node is cut from the LAN and lives: a rescue of it is refused where its lease is renewed."""
        self.power.cut(here, True)
        try:
            status, output = self.site.play("rescue", "-e", f"host={here}")
        finally:
            self.power.cut(here, False)
        until(lambda: self.site.told(here, "true"), f"{here} is on the LAN again")
        if status == 0:
            self.site.must("guests")
            return f"taken over by {self.site.place()}"
        if f"{here} lives" not in output and f"{here} may live" not in output:
            raise Wrong(f"rescue.yml failed for another reason than that {here} lives:\n{output[-3000:]}")
        return "rescue refused"

    def move(self, here: str) -> str:
        """A move in any mode."""
        mode = self.dice.choice(("live", "suspend", "offline"))
        there = self.dice.choice(self.others(here))
        self.site.must("migrate", "-e", f"vm={self.site.guest['name']}", "-e", f"target={there}", "-e", f"mode={mode}")
        return f"{mode} to {there}"

    def move_killed(self, here: str) -> str:
        """A move whose play is killed in the middle: it ends by itself."""
        mode = self.dice.choice(("live", "suspend", "offline"))
        there = self.dice.choice(self.others(here))
        play = self.site.play("migrate", "-e", f"vm={self.site.guest['name']}", "-e", f"target={there}", "-e", f"mode={mode}", wait=False)
        for line in play.stdout:
            if " -> " in line and not re.search("checking", line):
                break
        for pid in [play.pid, *descendants(play.pid)]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        play.wait()
        until(lambda: (not self.moving(here), "a move is under way"), "the move ends")
        return f"{mode} to {there}, on {self.site.place() or 'no node'} afterwards"

    def move_and_death(self, here: str) -> str:
        """The target loses power in the middle of a move."""
        there = self.dice.choice(self.others(here))
        # slow where that can be, so that there is a middle
        slow = ("-e", "bandwidth=8") if self.site.family == "kvm" else ()
        play = self.site.play("migrate", "-e", f"vm={self.site.guest['name']}", "-e", f"target={there}", *slow, wait=False)
        for line in play.stdout:
            if ": moving" in line:
                break
        self.power.kill(there)
        play.communicate(timeout=BOUND)
        at = self.site.place()
        self.back([there])
        self.site.must("guests")
        return f"{there} died; on {at or 'no node'} then"

    def libvirtd_dies(self, here: str) -> str:
        """libvirtd is killed on any node; the guest does not notice."""
        node = self.dice.choice(self.site.nodes)
        self.site.ssh(node, "kill -KILL $(pidof libvirtd)")
        until(lambda: self.site.told(node, "virsh -q list"), f"libvirtd is back on {node}")
        if self.site.place() != here:
            raise Wrong(f"{self.site.guest['name']} left {here} when libvirtd was killed on {node}")
        return f"on {node}"

    def second_start(self, here: str) -> str:
        """Another node starts the same guest, and another one with its disk: both are refused."""
        there = self.dice.choice(self.others(here))
        name = self.site.guest["name"]
        for rename in (name, name + "-twin"):
            text = self.site.ssh(here, f"virsh dumpxml --inactive {shlex.quote(name)}").stdout.replace(f"<name>{name}<", f"<name>{rename}<")
            if rename != name:
                text = re.sub(r"<(uuid|mac) .*?/>|<uuid>.*?</uuid>", "", text)
            done = self.site.ssh(there, f"virsh create /dev/stdin <<'END'\n{text}\nEND")
            if done.returncode == 0:
                raise Wrong(f"{there} started {rename} while {name} runs on {here}")
            if "lease" not in done.stdout + done.stderr:
                raise Wrong(f"{there} refused {rename} for another reason than its lease: {done.stderr}")
        return f"vetoed on {there}"

    def moving(self, here: str) -> bool:
        done = self.site.ssh(here, f"flock -n /run/our-cloud/{self.site.guest['name']}.lock true")
        return done.returncode != 0

    EVENTS = (node_dies, node_blinks, all_off, partition, move, move_killed, move_and_death, libvirtd_dies, second_start)

    def check_disk(self) -> str:
        """The guest stops, its disk is checked by e2fsck, it starts again."""
        here, name = self.site.place(), self.site.guest["name"]
        disk = self.site.ssh(here, f"virsh domblklist {shlex.quote(name)} | awk '$2 ~ \"^/\" {{print $2; exit}}'").stdout.strip()
        self.vm(here, "stopped")
        check = f"e2fsck -fn {shlex.quote(disk)}"
        if disk.endswith(".qcow2"):
            copy = "/var/tmp/torture.raw"
            check = f"qemu-img convert -O raw {shlex.quote(disk)} {copy} && e2fsck -fn {copy}; s=$?; rm -f {copy}; exit $s"
        done = self.site.ssh(here, check, timeout=BOUND)
        if done.returncode:
            raise Wrong(f"e2fsck of {disk} on {here}: {done.stdout[-2000:]}{done.stderr[-500:]}")
        self.vm(here, "running")
        self.site.counter()
        return "clean"

    def vm(self, node: str, state: str) -> None:
        argv = [str(ROOT / ".venv/bin/ansible"), "-i", str(self.site.folder), node, "-m", "our.cloud.vm", "-a",
                f"name={self.site.guest['name']} state={state} timeout=300"]
        done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False, timeout=BOUND, stdin=subprocess.DEVNULL)
        if done.returncode:
            raise Wrong(f"{' '.join(argv)}: {done.stdout[-2000:]}{done.stderr[-1000:]}")

    def round(self, number: int, rounds: int) -> tuple[str, str]:
        before = self.site.counted()
        here = self.site.place()
        if not here:
            raise Wrong(f"{self.site.guest['name']} runs nowhere before the event")
        if not self.deck:
            self.deck = self.dice.sample(self.EVENTS, len(self.EVENTS))
        event = self.deck.pop()
        told = event(self, here)
        after = self.site.counter()
        at = self.site.place()
        if not at:
            raise Wrong(f"{self.site.guest['name']} answers and runs nowhere")
        if after < before:
            raise Wrong(f"the counter went back from {before} to {after}")
        told += f"; counter {before} -> {after}"
        if number % 5 == 0 or number == rounds:
            told += f"; file system {self.check_disk()}"
        return event.__name__.replace("_", " "), told


def main() -> int:
    global BOUND  # pylint: disable=global-statement
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--inventory", type=pathlib.Path, default=ROOT / "molecule/moves/inventory")
    parser.add_argument("--events", help="only these, by name, with commas between")
    parser.add_argument("--bound", type=float, default=BOUND, help="seconds that anything may take, on a computer that has other work")
    given = parser.parse_args()
    BOUND = given.bound
    site = Site.read(given.inventory)
    power = Machines(site) if (given.inventory.resolve() / ".lab/machines").exists() else Containers(site)
    torture = Torture(site, power, random.Random(given.seed))
    if given.events:
        torture.EVENTS = tuple(getattr(Torture, name) for name in given.events.split(","))
    print(f"{given.rounds} rounds, seed {given.seed}, guest {site.guest['name']} on {', '.join(site.nodes)}\n\n"
          "| round | event | s | what was seen |\n| --- | --- | --- | --- |", flush=True)
    for node in site.nodes:
        done = site.ssh(node, "command -v e2fsck || { apt-get -qq update && apt-get -qq install e2fsprogs; }", timeout=BOUND)
        if done.returncode:
            sys.exit(f"{node}: no e2fsck: {done.stderr}")
    seen: dict[str, list[float]] = {}
    for number in range(1, given.rounds + 1):
        began = time.monotonic()
        try:
            event, told = torture.round(number, given.rounds)
        except (Wrong, subprocess.SubprocessError, OSError) as error:
            print(f"| {number} | WRONG | {time.monotonic() - began:.0f} | {error} |", flush=True)
            return 1
        seen.setdefault(event, []).append(time.monotonic() - began)
        print(f"| {number} | {event} | {seen[event][-1]:.0f} | {told} |", flush=True)
    print("\n| event | rounds | median s | longest s |\n| --- | --- | --- | --- |")
    for event, times in sorted(seen.items()):
        print(f"| {event} | {len(times)} | {statistics.median(times):.0f} | {max(times):.0f} |")
    print(f"\n{given.rounds} passed, 0 failed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
