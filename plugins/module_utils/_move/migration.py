# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Moving one guest to one other hypervisor.

Facts are gathered first, from both sides; then every precheck is a decision over
these facts alone; then the move; then both sides are looked at again, whatever
the move itself said.
"""

from __future__ import annotations

import fcntl
import glob
import json
import os
import re
import select
import signal
import socket
import struct
import subprocess
import threading
import time

from ansible_collections.our.cloud.plugins.module_utils._guest import domain
from ansible_collections.our.cloud.plugins.module_utils._hypervisor import hypervisor
from ansible_collections.our.cloud.plugins.module_utils._common.errors import CloudError, Refused
from ansible_collections.our.cloud.plugins.module_utils._guest.placement import need
from ansible_collections.our.cloud.plugins.module_utils._site.store import MARKER, store_of

try:
    import libvirt
except ImportError:
    libvirt = None

JOB_DIR = "/run/our-cloud"
MODES = ("live", "suspend", "offline")
# 49152 to 49216, of which libvirt's drivers choose one for a stream of their own
DATA_PORTS = r"49(?:15[2-9]|1[6-9]\d|20\d|21[0-6])"
SAFE_CACHES = ("none", "directsync")
# xentoollog and libxl: the reason of a domain that is suspended for a move
XEN_SUSPENDED = 2


# --- one move at a time -----------------------------------------------------

class Job:
    """The lock on a guest's move, and what vm_info reports of it."""

    def __init__(self, name, folder=JOB_DIR):
        os.makedirs(folder, mode=0o700, exist_ok=True)
        self.path = os.path.join(folder, name + ".json")
        self.lock = open(os.path.join(folder, name + ".lock"), "a", encoding="ascii")
        self.started = time.monotonic()
        self.held = {}

    def take(self):
        """False if somebody else is moving this guest."""
        try:
            fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.lock.close()
            return False
        return True

    def say(self, **facts):
        """Tell vm_info; it may read at any moment, so the file appears whole."""
        self.held.update(facts, elapsed_ms=int((time.monotonic() - self.started) * 1000))
        part = "%s.%d" % (self.path, os.getpid())
        with open(part, "w", encoding="utf-8") as stream:
            json.dump(self.held, stream)
        os.replace(part, self.path)

    def drop(self):
        """The move is over."""
        try:
            os.unlink(self.path)
        except FileNotFoundError:
            pass
        self.lock.close()


def running_job(name, folder=JOB_DIR):
    """The move of this guest that is under way here, or None. What a dead one left behind does not count."""
    try:
        with open(os.path.join(folder, name + ".lock"), "rb") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
                return None
            except BlockingIOError:
                pass
        with open(os.path.join(folder, name + ".json"), encoding="utf-8") as stream:
            return json.load(stream)
    except FileNotFoundError:
        return None
    except ValueError:
        return None


# --- prechecks: decisions over facts ----------------------------------------

def _guest(facts):
    return facts["guest"]


def check_running(facts):
    if not _guest(facts)["active"] and facts["mode"] != "offline":
        return "it is %s; mode %s needs a running guest. Use mode offline, which moves its definition" % (
            _guest(facts)["state"], facts["mode"])
    return None


def check_persistent(facts):
    if not _guest(facts)["persistent"]:
        return "it has no definition (it was started without one), so it would be lost at its next stop. Define it with our.cloud.vm first"
    return None


def check_target(facts):
    return facts["target_error"]


def check_kind(facts):
    target = facts["target_facts"]
    if target and target["family"] != facts["family"]:
        return "%s is a %s hypervisor and the guest is of kind %s. Choose a %s one" % (
            facts["target"], target["family"], _guest(facts)["kind"], facts["family"])
    return None


def check_there(facts):
    target = facts["target_facts"]
    other = target["guests"].get(facts["name"]) if target else None
    if other is None:
        return None
    if other["active"]:
        return "a guest of that name runs on %s already. Find out which one is right and stop the other one before its disk is ruined" % facts["target"]
    if not other["persistent"]:
        return "%s still waits for an arrival of it that broke off. Restart libvirtd there (systemctl restart libvirtd; guests go on meanwhile)" % (
            facts["target"])
    if other["uuid"] != _guest(facts)["uuid"]:
        return "another guest of that name (UUID %s) is defined on %s. Remove it there (our.cloud.vm with state absent) or rename it" % (
            other["uuid"], facts["target"])
    return None


def check_hostdevs(facts):
    if _guest(facts)["hostdevs"]:
        return "it has %d devices of this host and cannot leave it with them. Take them from it, or use other hardware" % _guest(facts)["hostdevs"]
    return None


def check_live(facts):
    if facts["mode"] != "live":
        return None
    if _guest(facts)["kind"] == "pv":
        return ("Debian's Xen cannot move a PV guest live (it is built without shadow paging). Use mode suspend: "
                "the guest is saved, and goes on where it was on the target")
    return None


def check_arch(facts):
    if facts["mode"] != "offline" and facts["family"] == "xen" and (_guest(facts)["arch"] or "").startswith(("arm", "aarch")):
        return "Xen on ARM cannot save a guest's state. Use mode offline"
    return None


def check_options(facts):
    given = [name for name in ("bandwidth", "max_downtime", "post_copy") if facts["options"].get(name)]
    if facts["family"] == "xen" and given:
        return "Xen's driver of libvirt cannot do %s. Leave it out" % ", ".join(given)
    if facts["mode"] != "live" and given:
        return "%s: only for mode live. Leave it out" % ", ".join(given)
    return None


def check_store(facts):
    for path, root in sorted(facts["stores"].items()):
        if root is None:
            return ("%s is not on the shared store (no .our-cloud-store in any directory above it): the target would not find it. "
                    "Move the file into the store; is the store mounted here?" % path)
    return None


def check_same_store(facts):
    target = facts["target_facts"]
    if not target:
        return None
    for root, here in sorted(facts["markers"].items()):
        there = target["markers"].get(root)
        if there is None:
            return "the store %s is not mounted on %s (its marker file is not there). Run the image_store playbook" % (root, facts["target"])
        if there.strip() != here.strip():
            return "%s on %s is another store (marker %s there, %s here). Mount the same export on both" % (
                root, facts["target"], there.strip()[:40], here.strip()[:40])
    return None


def check_cache(facts):
    if facts["mode"] == "offline":
        return None
    for disk in _guest(facts)["disks"]:
        if not disk["path"] or disk["readonly"]:
            continue
        if facts["family"] == "qemu" and disk["cache"] not in SAFE_CACHES:
            return ("disk %s has cache mode %s: what this host has in memory would be missing on the target. "
                    "Define the guest with cache=none (our.cloud.vm does) and restart it, or use mode offline" % (disk["path"], disk["cache"] or "default"))
        if facts["family"] == "xen" and disk["driver"] not in (None, "phy"):
            return ("disk %s is served by %s, which writes through this host's memory: data would be missing on the target. "
                    "Define the guest with our.cloud.vm (driver phy) and restart it, or use mode offline" % (disk["path"], disk["driver"]))
    return None


def check_bridge(facts):
    target = facts["target_facts"]
    missing = sorted(name for name, there in (target["bridges"] if target else {}).items() if not there)
    if missing:
        return "there is no bridge %s on %s. Run the hypervisors playbook" % (", ".join(missing), facts["target"])
    return None


def check_memory(facts):
    target = facts["target_facts"]
    needed = need(_guest(facts), facts["family"])
    if target and target["memory"]["free"] < needed:
        return "%s has %d MiB free and the guest needs %d MiB. Choose another target, or stop a guest there" % (
            facts["target"], target["memory"]["free"], needed)
    return None


def check_cpu(facts):
    target = facts["target_facts"]
    if target and facts["mode"] != "offline" and target["cpu_problem"]:
        return "%s. Give the guest a CPU model that both hosts have, or use mode offline" % target["cpu_problem"]
    return None


PRECHECKS = (
    check_running, check_persistent, check_live, check_arch, check_options, check_hostdevs, check_store, check_cache,
    check_target, check_kind, check_there, check_same_store, check_bridge, check_memory, check_cpu,
)


def refusals(facts):
    """Every reason not to move the guest, each saying what to do about it."""
    return [text for text in (check(facts) for check in PRECHECKS) if text]


# --- facts ------------------------------------------------------------------

def cpu_problem(source, target, root, target_name):
    """Why the target's CPU cannot carry on what runs in the guest; None if it can."""
    if source.getType() == "Xen":
        host = domain.ET.fromstring(source.getCapabilities()).find("host/cpu")
        if host is None:
            return None
        result = target.compareCPU(domain.ET.tostring(host, encoding="unicode"), 0)
        return "the CPU of %s lacks what the one of this host has" % target_name if result == libvirt.VIR_CPU_COMPARE_INCOMPATIBLE else None
    cpu = root.find("cpu")
    if cpu is None:
        return None
    mode, os_type = cpu.get("mode"), root.find("os/type")
    if mode in ("host-passthrough", "maximum"):
        here, there = (domain.ET.fromstring(conn.getCapabilities()).find("host/cpu") for conn in (source, target))
        same = all(_cpu_words(one) == _cpu_words(other) for one, other in ((here, there),))
        return None if same else "the guest sees this host's own CPU (%s) and the one of %s differs" % (mode, target_name)
    arguments = (root.findtext("devices/emulator"), os_type.get("arch"), os_type.get("machine"), root.get("type"))
    if root.get("type") == "kvm":
        try:
            result = target.compareHypervisorCPU(*arguments, domain.ET.tostring(cpu, encoding="unicode"), 0)
            return ("%s cannot give the guest its CPU (%s)" % (target_name, cpu.findtext("model"))
                    if result == libvirt.VIR_CPU_COMPARE_INCOMPATIBLE else None)
        except libvirt.libvirtError as error:
            if error.get_error_code() != libvirt.VIR_ERR_NO_SUPPORT:
                return "%s cannot give the guest its CPU: %s" % (target_name, error)
    model = cpu.findtext("model")
    capabilities = domain.ET.fromstring(target.getDomainCapabilities(*arguments, 0))
    if model and model not in [item.text for item in capabilities.findall("cpu/mode[@name='custom']/model") if item.get("usable") != "no"]:
        return "%s does not have the guest's CPU model %s" % (target_name, model)
    return None


def _cpu_words(cpu):
    return (cpu.findtext("model"), sorted(item.get("name") for item in cpu.findall("feature"))) if cpu is not None else None


def gather(source, dom, params):
    """What the prechecks decide over; opens the target. Returns the facts and the connection (or None)."""
    live = hypervisor.live_xml(dom)
    guest = domain.facts(live)
    guest.update(state=hypervisor.state(dom), active=hypervisor.active(dom), persistent=bool(dom.isPersistent()))
    files = [path for disk in guest["disks"] for path in (disk["path"], *disk["backing"])] + [guest["kernel"], guest["ramdisk"]]
    stores = {path: store_of(path) for path in files if path}
    markers = {}
    for root in {root for root in stores.values() if root}:
        with open(os.path.join(root, MARKER), encoding="utf-8", errors="replace") as stream:
            markers[root] = stream.read()
    facts = {
        "name": params["name"], "target": params["target"], "mode": params["mode"], "options": params,
        "family": "xen" if source.getType() == "Xen" else "qemu", "guest": guest, "stores": stores, "markers": markers,
        "target_error": None, "target_facts": None,
    }
    target = None
    try:
        target = hypervisor.open_target(facts["family"], params["target"], params["port"])
    except CloudError as error:
        facts["target_error"] = str(error)
        return facts, None
    there = {other.name(): {"active": hypervisor.active(other), "persistent": bool(other.isPersistent()), "uuid": other.UUIDString()}
             for other in target.listAllDomains()}
    facts["target_facts"] = {
        "family": "xen" if target.getType() == "Xen" else "qemu",
        "host": target.getHostname(),
        "guests": there,
        "memory": hypervisor.memory(target),
        "bridges": {nic["bridge"]: hypervisor.has_bridge(target, nic["bridge"]) for nic in guest["interfaces"] if nic["bridge"]},
        "markers": {root: hypervisor.read_file(target, root, MARKER) for root in markers},
        "cpu_problem": cpu_problem(source, target, live, params["target"]),
    }
    return facts, target


# --- what is measured -------------------------------------------------------

def xen_suspended(control, domid):
    """Whether a domain stands still, saved for a move; None if that cannot be seen."""
    if control is None:
        return None
    found = [item for item in control.domain_getinfo(domid, 1) if item["domid"] == domid]
    if not found:
        return None
    return bool(found[0]["shutdown"] and found[0]["shutdown_reason"] == XEN_SUSPENDED)


class XenWatch:
    """When the guest stood still, by this host's clock: from its suspension here to the event that it goes on there."""

    def __init__(self, dom, target):
        self.began = self.ended = None
        self.domid, self.uuid, self.target = dom.ID(), dom.UUIDString(), target
        self.control = hypervisor.xen_control()
        self.done = threading.Event()
        self.callback = target.domainEventRegisterAny(None, libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, self._event, None)
        self.thread = threading.Thread(target=self._look, daemon=True)
        self.thread.start()

    def _event(self, dummy_conn, dom, event, detail, dummy_opaque):
        if event == libvirt.VIR_DOMAIN_EVENT_RESUMED and dom.UUIDString() == self.uuid:
            self.ended = time.monotonic()

    def _look(self):
        pause = 0.02
        while self.began is None and not self.done.wait(pause):
            asked = time.monotonic()
            if xen_suspended(self.control, self.domid):
                self.began = time.monotonic()
            # to look must not cost what is measured, and to wake up for it costs more than the look
            pause = max(0.02, min(0.5, 200 * (time.monotonic() - asked)))

    def stop(self):
        self.done.set()
        self.thread.join()
        try:
            self.target.domainEventDeregisterAny(self.callback)
        except libvirt.libvirtError:
            # the target's connection is gone, and the callback with it
            pass

    def downtime_ms(self):
        if self.began is None or self.ended is None:
            return None
        return int((self.ended - self.began) * 1000)


class WireWatch:
    """Bytes of the connection that carries a move, as the kernel counts what the other side acknowledged.

    In a tunnelled move they include TLS and libvirt's framing. `ss --events` tells the final count when the connection is closed.
    ports is a regular expression.
    """

    def __init__(self, address, ports):
        self.peer = re.compile(r"\s\[?(?:::ffff:)?%s\]?:(?:%s)\b" % (re.escape(address), ports))
        self.closed, self.last = 0, 0
        self.process = subprocess.Popen(["ss", "-E", "-tinH"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _records(self, lines):
        ours = False
        for line in lines:
            if line[:1] not in (" ", "\t"):
                ours = bool(self.peer.search(line))
            if ours:
                match = re.search(r"bytes_acked:(\d+)", line)
                if match:
                    yield int(match.group(1))

    def _read(self):
        for count in self._records(self.process.stdout):
            self.closed = max(self.closed, count)

    def now(self):
        done = subprocess.run(["ss", "-tinH"], capture_output=True, text=True, check=False)
        self.last = max([self.last] + list(self._records(done.stdout.splitlines())))
        return self.last

    def stop(self):
        self.process.terminate()
        self.thread.join(5)
        self.process.wait()

    def total(self):
        return max(self.closed, self.last)


def progress(stats):
    """percent, remaining, transferred and rate out of libvirt's job statistics (dict); None while there is nothing to tell."""
    total, remaining = stats.get("data_total", 0), stats.get("data_remaining", 0)
    if not total:
        return None
    return {
        "percent": max(0, min(100, int(100 * (total - remaining) / total))),
        "transferred": stats.get("data_processed", 0),
        "remaining": remaining,
        "rate": stats.get("memory_bps", 0) or 0,
    }


def xen_progress(sent, memory_mib, elapsed):
    """The same out of the bytes sent: an estimate, since pages that change are sent again. Never 100 before the end."""
    total = memory_mib << 20
    return {
        "percent": max(0, min(99, int(100 * sent / total))) if total else 0,
        "transferred": sent,
        "remaining": max(0, total - sent),
        "rate": int(sent / elapsed) if elapsed > 0 else 0,
    }


# --- the address ------------------------------------------------------------

def resolve(name):
    """The guest's address by the LAN's DNS, or None."""
    try:
        return socket.getaddrinfo(name, None, socket.AF_INET, socket.SOCK_STREAM)[0][4][0]
    except OSError:
        return None


def _checksum(data):
    total = sum(struct.unpack("!%dH" % (len(data) // 2), data))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF


def answers(address, timeout):
    """Whether the address answers an ICMP echo within the bound."""
    end = time.monotonic() + timeout
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.getprotobyname("icmp") if os.path.exists("/etc/protocols") else 1) as sock:
        mark, number = os.getpid() & 0xFFFF, 0
        while time.monotonic() < end:
            number += 1
            packet = struct.pack("!BBHHH", 8, 0, 0, mark, number)
            packet = struct.pack("!BBHHH", 8, 0, _checksum(packet), mark, number)
            try:
                sock.sendto(packet, (address, 0))
            except OSError:
                # no route yet, or the neighbour is still being looked for
                pass
            wait = time.monotonic() + 0.5
            while True:
                left = min(wait, end) - time.monotonic()
                if left <= 0 or not select.select([sock], [], [], left)[0]:
                    break
                data = sock.recv(2048)
                size = (data[0] & 15) * 4
                if len(data) >= size + 8 and data[size] == 0 and struct.unpack_from("!H", data, size + 4)[0] == mark:
                    return True
    return False


# --- the move ---------------------------------------------------------------

class Interrupted(Refused):
    """The move did not come to its end; the text says why."""


class Move:
    """One move: carry it out, then find out what is true on both sides."""

    def __init__(self, source, target, dom, facts, job):
        self.source, self.target, self.dom, self.facts, self.job = source, target, dom, facts, job
        self.params, self.family, self.name = facts["options"], facts["family"], facts["name"]
        self.host, self.target_name = source.getHostname(), facts["target"]
        self.uuid, self.domid = dom.UUIDString(), dom.ID()
        self.definition = hypervisor.persistent_xml(dom)
        self.autostart = bool(dom.isPersistent() and dom.autostart())
        self.was_defined_there = self.name in facts["target_facts"]["guests"]
        self.was_active = facts["guest"]["active"]
        self.result = {"downtime_ms": 0, "transferred": 0}

    # the three ways

    def run(self):
        """Move it. Raises Interrupted; then look with `settle`."""
        began = time.monotonic()
        if self.family == "xen":
            for disk in self.facts["guest"]["disks"]:
                if disk["path"] and not disk["readonly"]:
                    hypervisor.direct_io(disk["path"])
        {"live": self.live, "suspend": self.suspend, "offline": self.offline}[self.facts["mode"]]()
        self.result["total_ms"] = int((time.monotonic() - began) * 1000)

    def flags(self):
        flags = (libvirt.VIR_MIGRATE_LIVE | libvirt.VIR_MIGRATE_PEER2PEER
                 | libvirt.VIR_MIGRATE_PERSIST_DEST | libvirt.VIR_MIGRATE_UNDEFINE_SOURCE)
        if self.family == "xen":
            # Its driver cannot encrypt its own stream: the way to do it is through libvirt's TLS connection.
            return flags | libvirt.VIR_MIGRATE_TUNNELLED if self.params["encrypt"] else flags
        flags |= libvirt.VIR_MIGRATE_ABORT_ON_ERROR
        if self.params["encrypt"]:
            flags |= libvirt.VIR_MIGRATE_TLS
        if self.params["auto_converge"]:
            flags |= libvirt.VIR_MIGRATE_AUTO_CONVERGE
        if self.params["post_copy"]:
            flags |= libvirt.VIR_MIGRATE_POSTCOPY
        return flags

    def data_ports(self):
        """Where Xen's stream goes: libvirtd's port, or one that the target's driver chooses. A regular expression."""
        return str(self.params["port"]) if self.params["encrypt"] else DATA_PORTS

    def parameters(self):
        parameters = {}
        if self.family == "qemu":
            # by the name that it has in the inventory, not by what the target thinks it is called
            parameters[libvirt.VIR_MIGRATE_PARAM_URI] = "tcp://" + self.target_name
            if self.params["encrypt"]:
                parameters[libvirt.VIR_MIGRATE_PARAM_TLS_DESTINATION] = hypervisor.qemu_name(self.target_name)
        elif not self.params["encrypt"]:
            # The target listens where this leads from its own point of view, and its own name leads to its loopback.
            parameters[libvirt.VIR_MIGRATE_PARAM_URI] = "tcp://" + hypervisor.reach(self.target_name, self.params["port"])
        if self.params["bandwidth"]:
            parameters[libvirt.VIR_MIGRATE_PARAM_BANDWIDTH] = self.params["bandwidth"]
        return parameters

    def live(self):
        there = hypervisor.find(self.target, self.name) if self.family == "xen" else None
        if there is not None:
            # An old definition, which would be replaced; beside it, an arrival that breaks off could not be told.
            hypervisor.undefine(there)
            self.was_defined_there = False
        if self.params["max_downtime"]:
            self.dom.migrateSetMaxDowntime(self.params["max_downtime"])
        watches = []
        if self.family == "xen":
            watches = [XenWatch(self.dom, self.target), WireWatch(hypervisor.reach(self.target_name, self.params["port"]), self.data_ports())]
        outcome = {}

        def call():
            try:
                self.dom.migrateToURI3(hypervisor.target_uri(self.family, self.target_name, self.params["port"]), self.parameters(), self.flags())
            except libvirt.libvirtError as error:
                outcome["error"] = str(error)

        thread = threading.Thread(target=call, daemon=True)
        thread.start()
        try:
            self.follow(thread, outcome, watches)
        finally:
            for watch in watches:
                watch.stop()
        if outcome.get("error"):
            if "stopped" not in outcome and not self.target.isAlive():
                outcome["stopped"] = "the connection to %s was lost, its libvirtd ended or the host went down (%s)" % (self.target_name, outcome["error"])
            raise Interrupted(outcome.get("stopped", outcome["error"]))
        self.count(watches)

    def follow(self, thread, outcome, watches):
        """Report progress until the move ends; end it when its time is over or the target is gone."""
        began, post_copied, lost, pause = time.monotonic(), False, None, 0.5
        while thread.is_alive():
            thread.join(pause)
            asked = time.monotonic()
            elapsed = asked - began
            now = self.look(watches, elapsed)
            # a slow machine is asked less often: the move needs its processor
            pause = max(0.5, min(5, 50 * (time.monotonic() - asked)))
            if now:
                self.job.say(phase="moving", **now)
            if self.params["post_copy"] and not post_copied and now and now.get("iteration", 0) > 1:
                self.dom.migrateStartPostCopy(0)
                post_copied = True
            if "stopped" not in outcome and elapsed > self.params["timeout"]:
                outcome["stopped"] = "it took longer than %d s (timeout) and was stopped. Give it more time, a higher max_downtime, or post_copy" % (
                    self.params["timeout"])
                self.abort()
            if self.family == "xen":
                # With the target gone nobody reads the pipe that Xen's saver writes into, and libvirt waits for it for ever.
                if lost is None and not self.target.isAlive():
                    lost = time.monotonic()
                if lost is not None and time.monotonic() - lost > 5 and thread.is_alive():
                    outcome.setdefault("stopped", "the connection to %s was lost" % self.target_name)
                    end_saver(self.domid)

    def look(self, watches, elapsed):
        if self.family == "xen":
            return xen_progress(watches[1].now(), self.facts["guest"]["memory"], elapsed)
        try:
            stats = self.dom.jobStats()
        except libvirt.libvirtError:
            # it has just gone
            return None
        now = progress(stats)
        if now:
            now["iteration"] = stats.get("memory_iteration", 0)
        return now

    def abort(self):
        if self.family == "xen":
            end_saver(self.domid)
            return
        try:
            self.dom.abortJob()
        except libvirt.libvirtError:
            # it came to its end by itself in this moment; the result tells
            pass

    def count(self, watches):
        if self.family == "xen":
            self.result.update(downtime_ms=watches[0].downtime_ms(), transferred=watches[1].total(), transferred_from="tcp")
            return
        stats = {}
        there = hypervisor.find(self.target, self.name)
        if there is not None:
            stats = there.jobStats(libvirt.VIR_DOMAIN_JOB_STATS_COMPLETED)
        self.result.update(downtime_ms=stats.get("downtime"), transferred=stats.get("data_processed"), transferred_from="hypervisor")

    def suspend(self):
        """Save into the store, go on from there on the target. The saved state is kept until the guest runs again."""
        disk = next((item["path"] for item in self.facts["guest"]["disks"] if item["path"]), None)
        root = self.facts["stores"].get(disk)
        if root is None:
            raise Interrupted("it has no disk on the shared store beside which its state could be saved. Use mode live or offline")
        self.state_file = "%s.%s.state" % (disk, self.uuid)
        self.job.say(phase="defining", percent=0)
        there = hypervisor.define(self.target, self.definition)
        self.job.say(phase="saving", percent=5)
        began = time.monotonic()
        try:
            self.dom.save(self.state_file)
        except libvirt.libvirtError as error:
            raise Interrupted("it could not be saved: %s" % error) from None
        self.result.update(transferred=os.path.getsize(self.state_file), transferred_from="state file")
        self.job.say(phase="restoring", percent=50)
        try:
            self.target.restore(self.state_file)
        except libvirt.libvirtError as error:
            raise Interrupted("it could not go on from its saved state on %s: %s" % (self.target_name, error)) from None
        self.result["downtime_ms"] = int((time.monotonic() - began) * 1000)
        if not hypervisor.active(there):
            raise Interrupted("%s said that it goes on and it does not" % self.target_name)

    def offline(self):
        """Stop it here, define it there, start it there if it ran."""
        began = time.monotonic()
        if self.was_active:
            self.job.say(phase="stopping", percent=10)
            hypervisor.stop(self.dom, self.params["timeout"], self.params["force"])
        self.job.say(phase="defining", percent=50)
        there = hypervisor.define(self.target, self.definition)
        if self.was_active:
            self.job.say(phase="starting", percent=75)
            try:
                hypervisor.start(there)
            except CloudError as error:
                raise Interrupted(str(error)) from None
            self.result["downtime_ms"] = int((time.monotonic() - began) * 1000)

    # afterwards

    def reopen(self, timeout):
        """Connections to both sides that work, waiting for a libvirtd that comes back. Returns (here, there): whether they do."""
        end = time.monotonic() + timeout
        hypervisor.wait(self._reopen_source, timeout, step=1)
        hypervisor.wait(self._reopen_target, max(0, end - time.monotonic()), step=1)
        return self.source is not None, self.target is not None

    def _reopen_source(self):
        self.source = self._again(self.source, lambda: hypervisor.open_local(self.params["uri"]))
        return self.source is not None

    def _reopen_target(self):
        self.target = self._again(self.target, lambda: hypervisor.open_target(self.family, self.target_name, self.params["port"]))
        return self.target is not None

    @staticmethod
    def _again(conn, connect):
        """The connection if it works, else a new one; None if there is none to be had."""
        try:
            if conn is not None and conn.isAlive():
                conn.getHostname()
                return conn
        except libvirt.libvirtError:
            # it broke; a new one
            pass
        try:
            return connect()
        except CloudError:
            return None

    def states(self):
        """(here, there): running, paused, stopped, ... or None where it is not known. `suspended`: left standing by a move that failed."""
        return self._state(self.source), self._state(self.target)

    def _state(self, conn):
        dom = hypervisor.find(conn, self.name)
        if dom is None or dom.UUIDString() != self.uuid:
            return None
        try:
            word = hypervisor.state(dom)
        except libvirt.libvirtError as error:
            if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
                return None
            raise
        if conn is self.source and word in hypervisor.RUNNING and self.family == "xen" and xen_suspended(hypervisor.xen_control(), dom.ID()):
            return "suspended"
        return word

    def finish(self):
        """After a move that says it worked: is it so, on both sides? Returns the address's answer."""
        here, there = self.states()
        expected = hypervisor.RUNNING if self.was_active else ("stopped",)
        if there not in expected or here in hypervisor.RUNNING + ("suspended",):
            raise Interrupted("libvirt says that it was moved, but it is %s on %s and %s on %s" % (
                there or "unknown", self.target_name, here or "unknown", self.host))
        self.take_over()

    def take_over(self):
        """The guest is on the target: so is its definition, and nothing of it is left here."""
        there = hypervisor.find(self.target, self.name)
        if not there.isPersistent():
            hypervisor.define(self.target, self.definition)
        if bool(there.autostart()) != self.autostart:
            there.setAutostart(int(self.autostart))
        here = hypervisor.find(self.source, self.name)
        if here is not None and here.isPersistent() and not hypervisor.active(here):
            hypervisor.undefine(here)
        self.forget_state()

    def forget_state(self):
        path = getattr(self, "state_file", None)
        if path and os.path.exists(path):
            os.unlink(path)

    def settle(self, timeout=90):
        """After a move that failed: make it run in exactly one place, and say where. Returns (place, text)."""
        for dummy in range(3):
            try:
                return self._settle(timeout)
            except libvirt.libvirtError as error:
                # what was seen a moment ago is gone: the other libvirtd cleans up too, or its connection broke; look again
                last = error
        return "unknown", "it could not be found out where it is (%s); vm_info tells" % last

    def _settle(self, timeout):
        here, there = self.reopen(timeout)
        if not here:
            return "unknown", ("libvirtd on %s does not answer any more, so what became of it is not known. "
                               "Start it (systemctl restart libvirtd); vm_info then tells where the guest is" % self.host)
        if self.family == "xen":
            # It outlives its libvirtd, and what it still sends could make the guest go on there later.
            end_saver(self.domid)
        if not there:
            return self.settle_alone()
        if not hypervisor.wait(lambda: not self.arrives(), timeout, step=1):
            return "unknown", ("its arrival on %s does not come to an end, so it was not let go on here. Restart libvirtd there (systemctl restart libvirtd); "
                               "if vm_info does not list it there then, `xl resume %s` on %s makes it go on" % (self.target_name, self.name, self.host))
        # a libvirtd that comes back first cleans up what it finds half done
        hypervisor.wait(lambda: not self.twice(), 20, step=1)
        here, there = self.states()
        if there in hypervisor.RUNNING and here in ("suspended", "paused") and self.has_run_there():
            # it had gone on there before the failure was noticed
            hypervisor.find(self.source, self.name).destroy()
            self.take_over()
            return "target", "it had arrived and runs on %s" % self.target_name
        if there in hypervisor.RUNNING and here in hypervisor.RUNNING + ("suspended",):
            if self.has_run_there() and here != "suspended":
                return "both", "IT RUNS ON BOTH %s AND %s. Stop one of them at once (our.cloud.vm with state stopped, force true)" % (
                    self.host, self.target_name)
            hypervisor.find(self.target, self.name).destroy()
            there = "stopped"
        if here == "suspended":
            self.wake()
            here = self._state(self.source)
        if there in hypervisor.RUNNING:
            self.take_over()
            return "target", "it runs on %s" % self.target_name
        self.clean_target()
        return self.back_home(here)

    def settle_alone(self):
        here = self._state(self.source)
        if here in ("running", "blocked", "nostate"):
            return "source", "it runs on %s. %s does not answer; when it does again, run the move again" % (self.host, self.target_name)
        if here == "suspended":
            return "unknown", ("it stands still on %s and may or may not run on %s, which does not answer. Look there; if it does not run there, "
                               "`xl resume %s` on %s makes it go on" % (self.host, self.target_name, self.name, self.host))
        path = getattr(self, "state_file", None)
        if path and os.path.exists(path):
            return "unknown", ("its state is saved in %s, and %s does not answer. Look there; if it does not run there, "
                               "`virsh restore %s` on %s makes it go on" % (path, self.target_name, path, self.host))
        return "unknown", "it is %s on %s, and %s does not answer" % (here or "gone", self.host, self.target_name)

    def arrives(self):
        """Whether the target still takes it in: libvirt knows it, and it is neither defined nor started."""
        there = hypervisor.find(self.target, self.name)
        return there is not None and there.UUIDString() == self.uuid and not there.isPersistent() and not hypervisor.active(there)

    def twice(self):
        here, there = self.states()
        return here is not None and here in hypervisor.RUNNING + ("suspended",) and there in hypervisor.RUNNING

    def has_run_there(self):
        """Whether the target's copy has ever gone on: a copy that waits to be filled has used no time."""
        there = hypervisor.find(self.target, self.name)
        if self.family == "xen":
            return there.info()[4] > 0
        return hypervisor.state(there) == "running"

    def wake(self):
        """What libvirt's Xen driver leaves standing still after a failed move goes on."""
        dom = hypervisor.find(self.source, self.name)
        remedy = "Look at `xl list`; as a last resort restart it (our.cloud.vm with state stopped and force, then running)"
        if hypervisor.state(dom) == "suspended":
            # a libvirtd that was started anew has seen it so
            try:
                dom.pMWakeup(0)
            except libvirt.libvirtError as error:
                raise CloudError(self.host, "guest %s" % self.name, "it stands still after the failed move and libvirt says: %s" % error, remedy) from None
            return
        # libvirt believes that it runs, and would do nothing
        done = subprocess.run(["xl", "resume", self.name], capture_output=True, text=True, check=False)
        if done.returncode:
            raise CloudError(self.host, "guest %s" % self.name, "it stands still after the failed move and `xl resume` says: %s" % done.stderr.strip(), remedy)

    def clean_target(self):
        """What the failed move left on the target: a definition that was not there before."""
        there = hypervisor.find(self.target, self.name)
        if there is not None and there.UUIDString() == self.uuid and not hypervisor.active(there) and not self.was_defined_there and there.isPersistent():
            hypervisor.undefine(there)

    def back_home(self, here):
        """It does not run on the target: it must here."""
        path = getattr(self, "state_file", None)
        if path and os.path.exists(path) and here not in hypervisor.RUNNING:
            self.source.restore(path)
            here = self._state(self.source)
        dom = hypervisor.find(self.source, self.name)
        if here == "paused" and self.was_active and self.facts["guest"]["state"] != "paused":
            dom.resume()
            here = self._state(self.source)
        if self.was_active and here not in hypervisor.RUNNING and dom is not None and not hypervisor.active(dom) and self.facts["mode"] == "offline":
            hypervisor.start(dom)
            here = self._state(self.source)
        if here in hypervisor.RUNNING:
            self.forget_state()
            return "source", "it runs on %s" % self.host
        if not self.was_active:
            return "source", "it is defined on %s, stopped as before" % self.host
        how = hypervisor.ending(dom) if dom is not None else ""
        return "nowhere", "it runs neither on %s nor on %s (here it is %s%s). Start it with our.cloud.vm" % (
            self.host, self.target_name, here or "not defined", ": " + how if how else "")


def end_saver(domid):
    """End Xen's process that saves this domain; libvirt then gives up the move."""
    for path in glob.glob("/proc/[0-9]*/cmdline"):
        try:
            with open(path, "rb") as stream:
                words = stream.read().split(b"\0")
        except OSError:
            continue
        if is_saver(words, domid):
            os.kill(int(path.split("/")[2]), signal.SIGTERM)


def is_saver(words, domid):
    """libxl-save-helper --save-domain FD FD DOMID ..."""
    return (len(words) > 4 and words[0].endswith(b"libxl-save-helper") and words[1] == b"--save-domain" and words[4] == str(domid).encode())
