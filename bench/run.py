# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Measures the site's playbooks side by side with plain tools: `make bench`, or bench/run.py --only migrate --pairs 3.

Writes .cache/bench/DATE.json, the logs of all runs beside it, and docs/benchmarks.md. What was not running before is
brought up and taken away again; guests go back to where they were.
"""

from __future__ import annotations

import argparse
import datetime
import glob
import ipaddress
import json
import os
import pathlib
import shlex
import shutil
import subprocess
import sys
import tempfile
import threading
import time

from ansible.utils.collection_loader._collection_finder import _AnsibleCollectionFinder

import figures
import page

CHECKOUT = pathlib.Path(__file__).resolve().parents[1]
_AnsibleCollectionFinder([str(CHECKOUT / "collections")])._install()

from ansible_collections.our.cloud.plugins.module_utils import domain, hypervisor, lab  # noqa: E402  pylint: disable=wrong-import-position
from ansible_collections.our.cloud.plugins.module_utils.address_plan import guest_mac  # noqa: E402  pylint: disable=wrong-import-position

CACHE = CHECKOUT / ".cache" / "bench"
LAYERS = ("gateway", "image_store", "hypervisors", "guests")
PING_INTERVAL = 0.2
# What our.cloud.vm_migrate asks of libvirt (module_utils/migration.py, Move.flags), as virsh calls it.
FLAGS = {
    "xen": ["--live", "--p2p", "--persistent", "--undefinesource", "--tunnelled"],
    "qemu": ["--live", "--p2p", "--persistent", "--undefinesource", "--tls", "--abort-on-error", "--auto-converge"],
}


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
        shutil.rmtree(self.folder)


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

    def is_up(self):
        return all(lab.Machine(str(self.state_dir), host).pid for host in self.hosts)

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
        return domain.family(guest["kind"])

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


# --- noop --------------------------------------------------------------------------

def noop(site, pairs, result):
    """site.yml with nothing to do, with the accelerator and without, in turn."""
    without, accelerated = [], []
    for pair in range(1, pairs + 1):
        for on, values in ((True, accelerated), (False, without)):
            what = "noop %d/%d %s Mitogen" % (pair, pairs, "with" if on else "without")
            values.append(take(result, what, lambda on=on: no_op(site, "playbooks/site.yml", accelerated=on)))
    result["rows"] = [
        {"what": "site.yml without the accelerator", "unit": "s", "values": without},
        {"what": "site.yml with the accelerator", "unit": "s", "values": accelerated, "base": without, "aim": {"of": "median", "limit": 40}},
    ]


# --- hosts -------------------------------------------------------------------------

def hosts(site, pairs, result):
    """A layer with nothing to do on more and more hosts; rounds, so that what changes with time hits all counts."""
    counts = [count for count in (1, 2, 3, 5, 10, 20, 50) if count <= len(site.hosts)]
    taken = {count: [] for count in counts}
    for turn in range(1, pairs + 1):
        for count in counts:
            limit = ",".join(site.hosts[:count] + ["localhost"])
            taken[count].append(take(result, "hosts %d/%d image_store.yml on %d" % (turn, pairs, count),
                                     lambda limit=limit: no_op(site, "playbooks/image_store.yml", "--limit", limit)))
    for count in counts:
        result["rows"].append({"what": "image_store.yml on %d host%s" % (count, "s" if count > 1 else ""), "unit": "s", "values": taken[count]})
    for count in counts:
        values = [None if value is None else value / count for value in taken[count]]
        result["rows"].append({"what": "the same, per host of %d" % count, "unit": "s", "values": values})
    straight = figures.line([(count, value) for count in counts for value in taken[count] if value is not None])
    if straight:
        result["notes"].append("The straight line through these figures: %.1f s, and %.1f s more for each host." % straight)


# --- migrate -----------------------------------------------------------------------

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


def direct_io(site, guest, source):
    """As the module does before it moves a Xen guest; without it the guest's last writes may be lost."""
    disk = "%s/%s" % (site.vars[source]["site_store"], guest.get("disk", "images/%s.img" % guest["name"]))
    site.ssh.read(source, "for loop in $(losetup -n -O NAME -j %s); do losetup --direct-io=on $loop; done" % shlex.quote(disk))


def with_virsh(site, guest, source, target):
    """The bare move: {"seconds", "downtime_ms"}. Its libvirt URI is the module's, so that both encrypt alike."""
    family = site.family(guest)
    local = hypervisor.LOCAL_URI[family]
    aes = site.ssh.run(source, "grep -qw aes /proc/cpuinfo").status == 0
    uri = "%s+tls://%s/system%s" % (family, target, "" if aes else hypervisor.WITHOUT_AES)
    argv = ["virsh", "-c", local, "migrate", *FLAGS[family], guest["name"], uri] + ([] if family == "xen" else ["tcp://" + target])
    if family == "xen":
        direct_io(site, guest, source)
    done = site.ssh.run(source, shlex.join(argv))
    if done.status:
        raise NotTaken("virsh: %s" % done.last_words())
    told = site.ssh.run(target, "virsh -c %s domjobinfo %s --completed" % (local, shlex.quote(guest["name"])))
    return {"seconds": done.seconds, "downtime_ms": figures.downtime(told.output)}


def with_playbook(site, guest, source, target):
    """migrate.yml, and in it the module: {"seconds", "playbook", "move", "downtime_ms"}."""
    done = site.playbook("playbooks/migrate.yml", "-e", "vm=%s target=%s" % (guest["name"], target), ANSIBLE_STDOUT_CALLBACK="ansible.posix.json")
    found = figures.task(figures.callback_json(done.output), "Move the guest")
    if found is None or done.status:
        raise NotTaken("migrate.yml: %s" % ((found or (0, {}))[1].get("msg") or done.last_words()))
    seconds, said = found
    return {"seconds": seconds, "playbook": done.seconds, "move": said["total_ms"] / 1000, "downtime_ms": said["downtime_ms"]}


def one_move(site, guest, way):
    """One measured move to the other place; what was measured, with the network gap."""
    source = site.place(guest)
    target = next(host for host in site.homes(guest) if host != source)
    pings = Pings(site, guest["name"])
    try:
        pings.wait_answers(10)
        taken = way(site, guest, source, target)
        pings.wait_answers(10)
    finally:
        pings.end()
        (site.logs / ("pings-%s-%s.log" % (guest["name"], time.strftime("%H%M%S")))).write_text(pings.text(), encoding="utf-8")
    if site.place(guest) != target:
        raise NotTaken("%s is not on %s afterwards" % (guest["name"], target))
    gap = figures.ping_gap(pings.text(), PING_INTERVAL)
    taken.update(gap_ms=gap["gap_ms"], lost=gap["lost"], source=source, target=target)
    return taken


def migrate_guest(site, guest, pairs, result):
    """Bare virsh and migrate.yml in turn. Who begins changes from pair to pair, so that both go both ways."""
    home = site.place(guest)
    taken = {with_virsh: [], with_playbook: []}
    names = {with_virsh: "virsh", with_playbook: "migrate.yml"}
    try:
        for pair in range(pairs):
            for way in ((with_virsh, with_playbook), (with_playbook, with_virsh))[pair % 2]:
                moved = {}

                def move(way=way, moved=moved):
                    moved.update(one_move(site, guest, way))
                    return moved["seconds"]

                take(result, "migrate %d/%d %s with %s" % (pair + 1, pairs, guest["name"], names[way]), move)
                taken[way].append(moved)
    finally:
        send_home(site, guest, home)

    def values(way, key):
        return [moved.get(key) for moved in taken[way]]

    kind, bare = "%s (%s): " % (guest["name"], guest["kind"]), values(with_virsh, "seconds")
    rows = [
        {"what": "bare virsh migrate", "unit": "s", "values": bare},
        {"what": "the module vm_migrate", "unit": "s", "values": values(with_playbook, "seconds"), "base": bare, "aim": {"of": "ratio", "limit": 1.15}},
        {"what": "of that the move itself", "unit": "s", "values": values(with_playbook, "move"), "base": bare},
        {"what": "all of migrate.yml", "unit": "s", "values": values(with_playbook, "playbook"), "base": bare},
        {"what": "stood still, bare virsh", "unit": "ms", "values": values(with_virsh, "downtime_ms")},
        {"what": "stood still, vm_migrate", "unit": "ms", "values": values(with_playbook, "downtime_ms")},
        {"what": "ping gap, bare virsh", "unit": "ms", "values": values(with_virsh, "gap_ms")},
        {"what": "ping gap, migrate.yml", "unit": "ms", "values": values(with_playbook, "gap_ms")},
    ]
    if site.family(guest) == "xen":
        del rows[4]
        result["notes"].append("%s: how long it stood still in a bare move: %s: virsh does not tell it of Xen guests." % (guest["name"], figures.NOT_TAKEN))
    result["rows"] += [dict(row, what=kind + row["what"]) for row in rows]
    result["moves"] = result.get("moves", []) + [dict(moved, guest=guest["name"], way=names[way]) for way in taken for moved in taken[way]]


def send_home(site, guest, home):
    """Where the guest was before."""
    if site.place(guest) != home:
        say("%s goes back to %s" % (guest["name"], home))
        site.must("playbooks/migrate.yml", "-e", "vm=%s target=%s" % (guest["name"], home))


def migrate(site, pairs, result):
    """One guest of each hypervisor kind that has two nodes."""
    seen = set()
    for guest in site.guests:
        family = site.family(guest)
        if family in seen or guest.get("state", "running") != "running" or len(site.homes(guest)) < 2:
            continue
        seen.add(family)
        try:
            migrate_guest(site, guest, pairs, result)
        except NotTaken as reason:
            result["notes"].append("%s: %s: %s" % (guest["name"], figures.NOT_TAKEN, reason))
            say(result["notes"][-1])
    for family in sorted({"xen", "qemu"} - seen):
        result["notes"].append("%s: %s: no running guest with two hypervisors of this kind." % (family, figures.NOT_TAKEN))


# --- layers ------------------------------------------------------------------------

def derived_inventory(site):
    """The same machines once more, with state of their own and another forwarded port: a second lab beside the first."""
    folder = CACHE / "site"
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("hosts.yml", "group_vars", "host_vars"):
        link, there = folder / name, site.inventory / name
        link.unlink(missing_ok=True)
        if there.exists():
            link.symlink_to(there)
    # read after hosts.yml
    ports = {host: {"lab_forward_ssh": site.vars[host]["lab_forward_ssh"] + 10} for host in site.hosts if "lab_forward_ssh" in site.vars[host]}
    (folder / "zz-bench.yml").write_text(json.dumps({"all": {"hosts": ports}}), encoding="utf-8")
    return folder


def fresh(site):
    """Machines as they come out of the box."""
    site.ssh.close()
    site.must("playbooks/lab.yml", "-e", "lab_state=absent")
    shutil.rmtree(site.inventory / ".pki", ignore_errors=True)
    done = site.must("playbooks/lab.yml")
    say("fresh machines after %s" % figures.number(done.seconds, "s"))
    site.must("playbooks/guest_image.yml")
    for pack in (site.inventory / ".images").glob("*/pack-*.tar.gz"):
        pack.unlink()
    site.ssh = Ssh(site.state_dir / "ssh_config")


def plain_variables(site):
    """What the plain scripts must know of the inventory, for their environment."""
    front, one = site.vars[site.gateway], site.vars[site.hosts[-1]]
    network = ipaddress.ip_network(one["site_network"])
    images = {image["name"]: image["path"] for image in one.get("guests_images", [])}
    known = {
        "SSH_CONFIG": site.state_dir / "ssh_config", "STATE": site.inventory / ".pki",
        "GATEWAY": site.gateway, "PUBLIC_MAC": front["gateway_public_mac"], "PRIVATE_MAC": front["site_mac"], "GATEWAY_ADDRESS": front["site_address"],
        "NETWORK": network, "PREFIX": network.prefixlen, "DOMAIN": one["site_domain"],
        "DHCP_RANGE": "%s,%s,%s" % (network[network.num_addresses // 2], network[-2], network.netmask),
        "STORE_SERVER": site.groups["image_store"][0], "STORE_ADDRESS": site.vars[site.groups["image_store"][0]]["site_address"], "STORE": one["site_store"],
        "XEN": " ".join(site.groups.get("xen", [])), "KVM": " ".join(site.groups.get("kvm", [])), "BRIDGE": one["site_bridge"],
        # name mac address
        "MACHINES": "\n".join("%s %s %s" % (host, site.vars[host]["site_mac"], site.vars[host]["site_address"]) for host in site.hosts),
        # name mac host kind memory image address
        "GUESTS": "\n".join("%s %s %s %s %s %s %s" % (
            guest["name"], guest_mac(guest["name"]), guest["host"], guest["kind"], guest["memory"], guest["image"], guest.get("address", "-"))
            for guest in site.guests),
        "IMAGES": "\n".join("%s %s" % item for item in images.items()).replace("{{ inventory_dir | realpath }}", str(site.inventory)),
    }
    known = {key: str(value) for key, value in known.items()}
    raw = [key for key, value in known.items() if "{{" in value]
    if raw:
        raise NotTaken("the plain scripts take no templates, and the inventory has some for %s" % ", ".join(raw))
    return known


def layer_with_ansible(site, layer):
    done = site.playbook("playbooks/%s.yml" % layer)
    if done.status:
        raise NotTaken(done.last_words())
    return done.seconds


def layer_plain(site, layer):
    done = site.program(["bash", "bench/plain/%s.sh" % layer], dict(os.environ, **plain_variables(site)), "plain-" + layer)
    if done.status:
        raise NotTaken(done.last_words())
    return done.seconds


def check_site(site):
    """Seconds until all guests answer: whoever made the site, it must work."""
    began = time.monotonic()
    for guest in site.guests:
        pings = Pings(site, guest["name"])
        try:
            pings.wait_answers(1, 600)
        finally:
            pings.end()
        site.place(guest)
        for source in site.homes(guest):
            for target in set(site.homes(guest)) - {source}:
                uri = "%s+tls://%s/system" % (site.family(guest), target)
                if site.ssh.read(source, "virsh -c %s hostname" % uri).strip() != target:
                    raise NotTaken("%s does not reach libvirt of %s" % (source, target))
    return time.monotonic() - began


def layers(site, pairs, result):
    """Each layer on fresh machines, by its playbook and by a plain script."""
    if not site.is_lab():
        raise NotTaken("it takes machines that can be made anew, a lab")
    twin = Site(derived_inventory(site), site.logs)
    ways = {layer_plain: "plain script", layer_with_ansible: "playbook"}
    taken = {(way, layer): [] for way in ways for layer in LAYERS}
    try:
        for pair in range(pairs):
            for way, name in ways.items():
                say("layers %d/%d %s: fresh machines" % (pair + 1, pairs, name))
                fresh(twin)
                for layer in LAYERS:
                    what = "layers %d/%d %s %s" % (pair + 1, pairs, layer, name)
                    taken[way, layer].append(take(result, what, lambda way=way, layer=layer: way(twin, layer)))
                    if taken[way, layer][-1] is None:
                        break
                else:
                    if take(result, "layers %d/%d %s: the site works" % (pair + 1, pairs, name), lambda: check_site(twin)) is None:
                        for layer in LAYERS:
                            taken[way, layer][-1] = None
                for layer in LAYERS:
                    taken[way, layer] += [None] * (pair + 1 - len(taken[way, layer]))
    finally:
        twin.ssh.close()
        twin.playbook("playbooks/lab.yml", "-e", "lab_state=absent")
    for layer in LAYERS:
        plain = taken[layer_plain, layer]
        result["rows"].append({"what": "%s, plain script" % layer, "unit": "s", "values": plain})
        result["rows"].append({"what": "%s, playbook" % layer, "unit": "s", "values": taken[layer_with_ansible, layer], "base": plain})
    sums = {way: [None if None in each else sum(each) for each in zip(*(taken[way, layer] for layer in LAYERS))] for way in ways}
    result["rows"].append({"what": "all layers, plain scripts", "unit": "s", "values": sums[layer_plain]})
    result["rows"].append({"what": "all layers, playbooks", "unit": "s", "values": sums[layer_with_ansible], "base": sums[layer_plain],
                           "aim": {"of": "ratio", "limit": 1.3}})


# --- all of it ---------------------------------------------------------------------

# In this order: layers needs the memory, before the lab is brought up for the rest.
BENCHES = {"layers": (layers, 1), "noop": (noop, 2), "hosts": (hosts, 3), "migrate": (migrate, 5)}


def machine(site):
    """Where it was measured."""
    with open("/proc/cpuinfo", encoding="ascii", errors="replace") as stream:
        model = next((text.partition(":")[2].strip() for text in stream if text.startswith("model name")), "unknown")
    with open("/proc/meminfo", encoding="ascii") as stream:
        memory = int(stream.readline().split()[1]) // 1048576
    accelerator = site.state_dir / "accelerator"
    return {
        "processor": model, "cores": len(os.sched_getaffinity(0)), "memory_gib": memory, "machines": len(site.hosts),
        "accelerator": accelerator.read_text(encoding="ascii").strip() if site.is_lab() and accelerator.exists() else "unknown" if site.is_lab() else "none: metal",
    }


def commit():
    """What was measured."""
    done = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=CHECKOUT, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def bring_up(site):
    """Machines that run and a site with nothing left to do."""
    if site.is_lab():
        say("the lab's machines")
        site.must("playbooks/lab.yml")
    say("site.yml, so that nothing is left to do")
    site.must("playbooks/site.yml")


def measure(site, names, pairs):
    """{name: result} of these benches; what fails is told in the result and does not keep the others from running."""
    results, was_up, is_up = {}, not site.is_lab() or site.is_up(), False
    try:
        for name in [name for name in BENCHES if name in names]:
            function, usual = BENCHES[name]
            result = results[name] = {"date": datetime.datetime.now().strftime("%Y-%m-%d %H:%M"), "commit": commit(), "rows": [], "notes": []}
            began = time.monotonic()
            try:
                if name != "layers" and not is_up:
                    bring_up(site)
                    is_up = True
                say("%s begins" % name)
                function(site, pairs or usual, result)
            except NotTaken as reason:
                result["notes"].append("%s: %s" % (figures.NOT_TAKEN, reason))
                say("%s: %s" % (name, result["notes"][-1]))
            result["took_s"] = round(time.monotonic() - began)
            result["machine"] = machine(site)
            print("\n%s\n%s" % (page.TITLES[name], figures.text_table(result["rows"]) if result["rows"] else figures.NOT_TAKEN), flush=True)
            print("".join("  %s\n" % note for note in result["notes"]), flush=True)
    finally:
        site.ssh.close()
        if is_up and not was_up:
            say("the lab was not running before: it goes")
            site.playbook("playbooks/lab.yml", "-e", "lab_state=absent")
    return results


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", nargs="+", choices=list(BENCHES), default=list(BENCHES), metavar="NAME", help="of %s" % ", ".join(BENCHES))
    parser.add_argument("--pairs", type=int, help="how often; by default %s" % ", ".join("%s %d" % (name, usual) for name, (dummy, usual) in BENCHES.items()))
    parser.add_argument("--inventory", default="lab", help="the site that is measured (lab)")
    arguments = parser.parse_args()
    os.environ["PATH"] = "%s:%s" % (CHECKOUT / ".venv" / "bin", os.environ.get("PATH", os.defpath))
    began = datetime.datetime.now().strftime("%Y-%m-%d_%H%M%S")
    logs = CACHE / began
    logs.mkdir(parents=True)
    inventory = pathlib.Path(arguments.inventory)
    site = Site(inventory if inventory.exists() else CHECKOUT / inventory, logs)
    results = measure(site, arguments.only, arguments.pairs)
    (CACHE / (began + ".json")).write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    newest = page.newest(CACHE)
    (CHECKOUT / "docs" / "benchmarks.md").write_text(page.page(newest), encoding="utf-8")
    say("written: .cache/bench/%s.json, docs/benchmarks.md; logs in .cache/bench/%s" % (began, began))
    whole = all(result["rows"] and all(figures.spread(row["values"]) for row in result["rows"]) for result in results.values())
    return 0 if whole else 1


if __name__ == "__main__":
    sys.exit(main())
