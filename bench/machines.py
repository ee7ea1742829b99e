# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A site and its machines: playbooks and commands run there, each with its time."""

from __future__ import annotations

import glob
import json
import os
import pathlib
import shlex
import shutil
import subprocess
import tempfile
import threading
import time

from ansible.utils.collection_loader._collection_finder import _AnsibleCollectionFinder

import figures

CHECKOUT = pathlib.Path(__file__).resolve().parents[1]
CACHE = CHECKOUT / ".cache" / "bench"
_AnsibleCollectionFinder([str(CHECKOUT / "collections")])._install()

from ansible_collections.our.cloud.plugins.module_utils._guest import description  # noqa: E402  pylint: disable=wrong-import-position
from ansible_collections.our.cloud.plugins.module_utils._hypervisor import hypervisor  # noqa: E402  pylint: disable=wrong-import-position
from ansible_collections.our.cloud.plugins.module_utils._lab.machine import Machine  # noqa: E402  pylint: disable=wrong-import-position

PING_INTERVAL = 0.2


class NotTaken(Exception):
    """A figure could not be taken; the text says why."""


def say(text):
    """A line of progress."""
    print("[%s] %s" % (time.strftime("%H:%M:%S"), text), flush=True)


def environment(accelerated, **more):
    """For ansible-playbook: like the Makefile's, with the accelerator or without, whatever the caller's says."""
    ours = ("ANSIBLE_STRATEGY", "ANSIBLE_STRATEGY_PLUGINS", "ANSIBLE_STDOUT_CALLBACK", "ANSIBLE_CALLBACKS_ENABLED")
    env = {key: value for key, value in os.environ.items() if key not in ours}
    env.update(PATH="%s:%s" % (CHECKOUT / ".venv" / "bin", env.get("PATH", os.defpath)), ANSIBLE_TIMEOUT="120",
               ANSIBLE_CONFIG=str(CHECKOUT / "ansible.cfg"), ANSIBLE_NOCOLOR="1", **more)
    if accelerated:
        plugins = glob.glob(str(CHECKOUT / ".venv/lib/python3*/site-packages/ansible_mitogen/plugins/strategy"))
        if not plugins:
            raise NotTaken("Mitogen is not installed in .venv")
        env.update(ANSIBLE_STRATEGY="mitogen_linear", ANSIBLE_STRATEGY_PLUGINS=plugins[0])
    return env


class Run:
    """A program that has ended."""

    def __init__(self, seconds, status, output):
        self.seconds, self.status, self.output = seconds, status, output

    def last_words(self):
        """The line that most likely says what went wrong."""
        lines = [text.strip() for text in self.output.splitlines() if text.strip()]
        told = [text for text in lines if "msg:" in text or "fatal:" in text or "ERROR" in text or "error:" in text]
        return (told or lines or ["no output"])[-1][:300]


class Ssh:
    """Commands on the site's machines, over connections that stay open: what is measured is the command."""

    def __init__(self, config):
        self.config, self.folder = config, tempfile.mkdtemp(prefix="our-cloud-bench-")
        self.opened = set()

    def argv(self, host, command):
        self.opened.add(host)
        return ["ssh", "-F", str(self.config), "-o", "BatchMode=yes", "-o", "ControlMaster=auto", "-o", "ControlPath=%s/%%C" % self.folder,
                "-o", "ControlPersist=yes", host, command]

    def run(self, host, command, timeout=900):
        began = time.monotonic()
        try:
            # not pipes: the connection that stays open would hold their ends
            with tempfile.TemporaryFile("w+") as output:
                done = subprocess.run(self.argv(host, command), stdin=subprocess.DEVNULL, stdout=output, stderr=output, timeout=timeout, check=False)
                seconds = time.monotonic() - began
                output.seek(0)
                return Run(seconds, done.returncode, output.read())
        except subprocess.TimeoutExpired:
            raise NotTaken("%s: no end after %d s: %s" % (host, timeout, command)) from None

    def read(self, host, command):
        """The output of a command that works."""
        done = self.run(host, command)
        if done.status:
            raise NotTaken("%s: %s" % (host, done.last_words()))
        return done.output

    def close(self):
        for host in self.opened:
            subprocess.run(["ssh", "-F", str(self.config), "-o", "ControlPath=%s/%%C" % self.folder, "-O", "exit", host],
                           stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
        shutil.rmtree(self.folder, ignore_errors=True)


class Site:
    """An inventory and its machines."""

    def __init__(self, inventory, logs):
        self.inventory, self.logs, self.count = pathlib.Path(inventory).resolve(), logs, 0
        data = json.loads(subprocess.run(
            ["ansible-inventory", "--inventory", str(self.inventory), "--list"], env=environment(False), cwd=CHECKOUT, check=True,
            stdout=subprocess.PIPE, text=True).stdout)
        self.vars = data["_meta"]["hostvars"]
        self.groups = {name: self._members(data, name) for name in data if name != "_meta"}
        self.hosts = self.groups["gateway"] + sorted(set(self.vars) - set(self.groups["gateway"]))
        self.guests = next(iter(self.vars.values())).get("guests", [])
        self.state_dir = self.inventory / ".lab"
        self.ssh = Ssh(self.state_dir / "ssh_config")

    def _members(self, data, group):
        found = list(data[group].get("hosts", []))
        for child in data[group].get("children", []):
            found += [host for host in self._members(data, child) if host not in found] if child in data else []
        return found

    @property
    def gateway(self):
        return self.groups["gateway"][0]

    def is_lab(self):
        return all("lab_nics" in self.vars[host] for host in self.hosts)

    def states(self):
        """The different states of its machines; of metal nothing is known and nothing is to be restored."""
        return {Machine(str(self.state_dir), host).state() for host in self.hosts} if self.is_lab() else set()

    def playbook(self, name, *arguments, accelerated=True, **more):
        """Run a playbook to its end; its log is kept."""
        argv = ["ansible-playbook", "--inventory", str(self.inventory), name, *arguments]
        return self.program(argv, environment(accelerated, **more), pathlib.Path(name).stem)

    def program(self, argv, env, name):
        self.count += 1
        path = self.logs / ("%03d-%s.log" % (self.count, name))
        with open(path, "w+", encoding="utf-8", errors="replace") as log:
            log.write("%s\n" % shlex.join(argv))
            log.flush()
            began = time.monotonic()
            done = subprocess.run(argv, env=env, cwd=CHECKOUT, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, check=False)
            seconds = time.monotonic() - began
        return Run(seconds, done.returncode, path.read_text(encoding="utf-8", errors="replace"))

    def must(self, name, *arguments):
        """A playbook on the way to what is measured."""
        done = self.playbook(name, *arguments)
        if done.status:
            raise NotTaken("%s failed: %s" % (name, done.last_words()))
        return done

    def family(self, guest):
        return description.family(guest["kind"])

    def homes(self, guest):
        """The hypervisors that the guest can run on."""
        return sorted(self.groups.get({"xen": "xen", "qemu": "kvm"}[self.family(guest)], []))

    def place(self, guest):
        """The hypervisor that the guest runs on."""
        found = [host for host in self.homes(guest)
                 if guest["name"] in self.ssh.read(host, "virsh -c %s list --name" % hypervisor.LOCAL_URI[self.family(guest)]).split()]
        if len(found) != 1:
            raise NotTaken("%s runs on %s" % (guest["name"], " and ".join(found) or "no hypervisor"))
        return found[0]


def no_op(site, *arguments, accelerated=True):
    """Seconds of a run that changes nothing; what changed something was none."""
    done = site.playbook(*arguments, accelerated=accelerated)
    hosts = figures.recap(done.output)
    if done.status or not hosts:
        raise NotTaken("%s failed: %s" % (arguments[0], done.last_words()))
    changed = figures.total(hosts, "changed")
    if changed:
        raise NotTaken("%s changed %d things, so it was no no-op" % (arguments[0], changed))
    return done.seconds


def take(result, what, function):
    """A figure, or None and the reason among the result's notes."""
    try:
        value = function()
    except NotTaken as reason:
        note = "%s: %s: %s" % (what, figures.NOT_TAKEN, reason)
        say(note)
        result["notes"].append(note)
        return None
    say("%s: %s" % (what, figures.number(value, "s")))
    return value


class Pings:
    """ping from the gateway to a guest, as long as it is wanted."""

    def __init__(self, site, name):
        command = "ping -D -n -i %s %s & p=$!; read -r end; kill -INT $p; wait $p" % (PING_INTERVAL, shlex.quote(name))
        self.lines, self.grown = [], threading.Condition()
        # the connection is open before, so that it does not keep the pipe
        site.ssh.read(site.gateway, "true")
        self.process = subprocess.Popen(site.ssh.argv(site.gateway, command), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT, text=True)
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self):
        for text in self.process.stdout:
            with self.grown:
                self.lines.append(text)
                self.grown.notify_all()

    def text(self):
        with self.grown:
            return "".join(self.lines)

    def wait_answers(self, more, timeout=180):
        """Until so many more answers have come."""
        wanted = len(figures.answers(self.text())) + more
        with self.grown:
            if not self.grown.wait_for(lambda: len(figures.answers("".join(self.lines))) >= wanted, timeout):
                raise NotTaken("the guest has not answered pings for %d s; the last line: %s" % (timeout, (self.lines or ["none"])[-1].strip()))

    def end(self):
        self.process.stdin.close()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
        self.thread.join(10)
