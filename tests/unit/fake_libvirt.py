# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A libvirt that is a few dictionaries: hosts with domains, connections that break, moves that go as the test says.

    world = fake_libvirt.World(monkeypatch)             # hypervisor.libvirt is this one from here on
    one, two = world.host("one"), world.host("two")     # KVM; world.host("one", "Xen")
    guest = one.add("our-vm", "running")                # or paused, stopped, ...; a Domain
    conn = hypervisor.open_local()                      # to the first host that was made; others by open_target(family, name)

What a test changes: host.up (False: libvirtd does not answer, connections to it are dead), host.folders ({"/dir": {"file": b"..."}}: what storage pools
show), host.free (MiB), domain.word, .reason, .cpu (ns), .rss (MiB), .persistent, .saved (by managed save), .snapshots, .pending (XML of the next start).
domain.when["save"] = f or host.when["restore"] = f: f(domain or host, *arguments) is called instead of what the fake would do by itself; it may raise
world.error("why", code). `domain.arrive(host, word)` is what a move does at its end: a copy appears there, the RESUMED event is sent.
world.log has every call that changed something, as "one: save our-vm".
"""

from __future__ import annotations

import itertools
import re
import threading
import types
import uuid
import xml.etree.ElementTree as ET

from ansible_collections.our.cloud.plugins.module_utils._hypervisor import hypervisor

NUMBER = {word: number for number, word in hypervisor.STATES.items()}
ACTIVE = ("running", "blocked", "paused", "stopping", "nostate", "suspended")
XML = """<domain type='{type}'><name>{name}</name><uuid>{uuid}</uuid><memory unit='MiB'>{memory}</memory><vcpu>1</vcpu>
<os><type arch='x86_64' machine='{machine}'>{os}</type></os><devices><emulator>/usr/bin/qemu-system-x86_64</emulator>{disk}
<interface type='bridge'><mac address='52:54:00:00:00:01'/><source bridge='br0'/></interface></devices></domain>"""
DISK = "<disk type='file' device='disk'><driver name='{driver}' type='raw'{cache}/><source file='{path}'/><target dev='vda'/></disk>"


class LibvirtError(Exception):
    """As libvirt's own."""

    def __init__(self, text="", code=1):
        super().__init__(text)
        self.code = code

    def get_error_code(self):
        return self.code


CONSTANTS = {
    "VIR_ERR_NO_SUPPORT": 3, "VIR_ERR_OPERATION_FAILED": 9, "VIR_ERR_NO_DOMAIN": 42, "VIR_ERR_OPERATION_INVALID": 55,
    "VIR_DOMAIN_XML_SECURE": 1, "VIR_DOMAIN_XML_INACTIVE": 2, "VIR_DOMAIN_DEFINE_VALIDATE": 1,
    "VIR_DOMAIN_UNDEFINE_MANAGED_SAVE": 1, "VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA": 2, "VIR_DOMAIN_UNDEFINE_NVRAM": 4,
    "VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA": 16, "VIR_DOMAIN_EVENT_ID_LIFECYCLE": 0, "VIR_DOMAIN_EVENT_RESUMED": 4,
    "VIR_MIGRATE_LIVE": 1, "VIR_MIGRATE_PEER2PEER": 2, "VIR_MIGRATE_TUNNELLED": 4, "VIR_MIGRATE_PERSIST_DEST": 8, "VIR_MIGRATE_UNDEFINE_SOURCE": 16,
    "VIR_MIGRATE_ABORT_ON_ERROR": 4096, "VIR_MIGRATE_AUTO_CONVERGE": 8192, "VIR_MIGRATE_POSTCOPY": 32768, "VIR_MIGRATE_TLS": 65536,
    "VIR_MIGRATE_PARAM_URI": "migrate_uri", "VIR_MIGRATE_PARAM_BANDWIDTH": "bandwidth",
    "VIR_MIGRATE_PARAM_TLS_DESTINATION": "tls.destination",
    "VIR_DOMAIN_JOB_NONE": 0, "VIR_DOMAIN_JOB_STATS_COMPLETED": 1, "VIR_NODE_MEMORY_STATS_ALL_CELLS": -1, "VIR_CPU_COMPARE_INCOMPATIBLE": 0,
}


class World:
    """All hosts; in the place of the module libvirt."""

    def __init__(self, monkeypatch):
        self.hosts, self.log = {}, []
        self.module = types.SimpleNamespace(libvirtError=LibvirtError, open=self.open, registerErrorHandler=lambda *dummy: None,
                                            virEventRegisterDefaultImpl=lambda: None, virEventRunDefaultImpl=threading.Event().wait, **CONSTANTS)
        monkeypatch.setattr(hypervisor, "libvirt", self.module)
        monkeypatch.setattr(hypervisor, "HAS_LIBVIRT", True)
        monkeypatch.setattr(hypervisor, "reach", lambda target, port, timeout=10: "192.0.2.%d" % (1 + list(self.hosts).index(target)))
        monkeypatch.setattr(hypervisor, "local_family", lambda: "xen" if next(iter(self.hosts.values())).kind == "Xen" else "qemu")

    @staticmethod
    def error(text, code=1):
        """An error of libvirt, to be raised."""
        return LibvirtError(text, code)

    def host(self, name, kind="QEMU"):
        """A new host: QEMU or Xen."""
        self.hosts[name] = Host(self, name, kind)
        return self.hosts[name]

    def open(self, uri):
        """As libvirt.open."""
        name = re.match(r"\w+(?:\+\w+)?://([^/:]*)", uri).group(1) or next(iter(self.hosts))
        return self.hosts[name].connect()


class Host:
    """One hypervisor."""

    def __init__(self, world, name, kind):
        self.world, self.name, self.kind = world, name, kind
        self.up, self.free, self.folders, self.when, self.domains = True, 4096, {}, {}, {}
        self.connections, self.capabilities = [], "<capabilities><host><cpu><model>one</model></cpu></host></capabilities>"

    def connect(self):
        """A new connection."""
        if not self.up:
            raise LibvirtError("Connection refused", 38)
        self.connections.append(Connection(self))
        return self.connections[-1]

    def add(self, name, word="running", disk="", memory=256, **more):
        """A new guest; disk: a path."""
        xen = self.kind == "Xen"
        text = XML.format(type="xen" if xen else "qemu", name=name, uuid=more.pop("uuid", None) or str(uuid.uuid4()), memory=memory,
                          machine="xenpvh" if xen else "q35", os="xenpvh" if xen else "hvm",
                          disk=DISK.format(driver="phy" if xen else "qemu", path=disk, cache="" if xen else " cache='none'") if disk else "")
        self.domains[name] = Domain(self, text, word, **more)
        return self.domains[name]

    def say(self, what, dom):
        """Note a call."""
        self.world.log.append("%s: %s %s" % (self.name, what, dom.name()))

    def event(self, dom, number):
        """Tell all who listen."""
        for conn in self.connections:
            if conn.isAlive():
                for callback, opaque in list(conn.callbacks.values()):
                    callback(conn, dom, number, 0, opaque)


class Connection:
    """As virConnect."""

    ids = itertools.count(1)

    def __init__(self, host):
        self.at, self.broken, self.callbacks = host, False, {}

    def _host(self):
        if not self.isAlive():
            raise LibvirtError("client socket is closed", 38)
        return self.at

    def isAlive(self):
        if not self.at.up:
            self.broken = True
        return not self.broken

    def setKeepAlive(self, *dummy):
        self._host()

    def getHostname(self):
        return self._host().name

    def getType(self):
        return self.at.kind

    def getCapabilities(self):
        return self._host().capabilities

    def getDomainCapabilities(self, *dummy):
        host = self._host()
        if "getDomainCapabilities" in host.when:
            return host.when["getDomainCapabilities"](host)
        return "<domainCapabilities/>"

    def compareCPU(self, *dummy):
        return self._host().when.get("compareCPU", lambda host: 2)(self.at)

    compareHypervisorCPU = compareCPU

    def getFreeMemory(self):
        return self._host().free << 20

    def getInfo(self):
        return ["x86_64", self._host().free]

    def getMemoryStats(self, *dummy):
        return {"free": self._host().free << 10, "total": self.at.free << 10}

    def lookupByName(self, name):
        if name not in self._host().domains:
            raise LibvirtError("Domain not found", 42)
        return self.at.domains[name]

    def listAllDomains(self):
        return list(self._host().domains.values())

    def defineXMLFlags(self, text, dummy):
        host, root = self._host(), ET.fromstring(text)
        if "define" in host.when:
            host.when["define"](host, text)
        dom = host.domains.get(root.findtext("name"))
        if dom is None:
            dom = host.domains[root.findtext("name")] = Domain(host, text, "stopped")
        dom.persistent, dom.pending = True, text
        if dom.word not in ACTIVE:
            dom.xml = text
        host.say("define", dom)
        return dom

    def restore(self, path):
        host = self._host()
        if "restore" in host.when:
            host.when["restore"](host, path)
            return
        with open(path, encoding="utf-8") as stream:
            name = stream.read()
        dom = host.domains[name]
        dom.word, dom.reason, dom.cpu = "running", 0, 1
        host.say("restore", dom)
        host.event(dom, 4)

    def domainEventRegisterAny(self, dummy_dom, dummy_id, callback, opaque):
        self._host()
        number = next(self.ids)
        self.callbacks[number] = (callback, opaque)
        return number

    def domainEventDeregisterAny(self, number):
        self._host()
        del self.callbacks[number]

    def storagePoolCreateXML(self, text):
        folder = ET.fromstring(text).findtext("target/path")
        if folder not in self._host().folders:
            raise LibvirtError("cannot open directory '%s': No such file or directory" % folder)
        return Pool(self.at.folders[folder])

    def newStream(self):
        return Stream()


class Pool:
    """As virStoragePool and virStorageVol."""

    def __init__(self, files):
        self.files = files

    def storageVolLookupByName(self, name):
        if name not in self.files:
            raise LibvirtError("no storage vol with matching name", 50)
        return types.SimpleNamespace(download=lambda stream, *dummy: stream.parts.append(self.files[name]))

    def destroy(self):
        pass


class Stream:
    """As virStream."""

    def __init__(self):
        self.parts = []

    def recv(self, dummy):
        return self.parts.pop() if self.parts else b""

    def finish(self):
        pass


class Domain:
    """As virDomain."""

    ids = itertools.count(1)

    def __init__(self, host, text, word, reason=0, cpu=None, persistent=True, autostart=False):
        self.host, self.xml, self.pending, self.word, self.reason = host, text, text, word, reason
        self.cpu = cpu if cpu is not None else 10 ** 9 if word in ACTIVE else 0
        self.persistent, self.auto, self.snapshots, self.rss, self.when, self.number = persistent, autostart, [], 0, {}, next(self.ids)
        self.job, self.stats, self.saved = 0, {}, False

    def _up(self, what=None, *arguments):
        """Raise if libvirtd is away. Whether the test has done `what` in its own way."""
        if not self.host.up:
            raise LibvirtError("client socket is closed", 38)
        if self.host.domains.get(self.name()) is not self:
            raise LibvirtError("Domain not found", 42)
        if what:
            self.host.say(what, self)
        if what in self.when:
            self.when[what](self, *arguments)
            return True
        return False

    def name(self):
        return ET.fromstring(self.xml).findtext("name")

    def UUIDString(self):
        return ET.fromstring(self.xml).findtext("uuid")

    def ID(self):
        return self.number if self.word in ACTIVE else -1

    def connect(self):
        return next((conn for conn in self.host.connections if conn.isAlive()), None) or self.host.connect()

    def state(self):
        self._up()
        return [NUMBER[self.word], self.reason]

    def isActive(self):
        self._up()
        return int(self.word in ACTIVE)

    def isPersistent(self):
        self._up()
        return int(self.persistent)

    def hasManagedSaveImage(self, dummy=0):
        self._up()
        return int(self.saved)

    def autostart(self):
        self._up()
        return int(self.auto)

    def setAutostart(self, value):
        self._up("autostart")
        self.auto = bool(value)

    def info(self):
        self._up()
        memory = int(ET.fromstring(self.xml).findtext("memory")) << 10
        return [NUMBER[self.word], memory, self.rss << 10, 1, self.cpu]

    def memoryStats(self):
        self._up()
        return {"rss": self.rss << 10}

    def jobInfo(self):
        self._up()
        return [self.job]

    def jobStats(self, *dummy):
        self._up()
        return dict(self.stats)

    def snapshotListNames(self):
        self._up()
        if self.host.kind == "Xen":
            raise LibvirtError("not supported", 3)
        return list(self.snapshots)

    def XMLDesc(self, flags):
        self._up()
        return self.pending if flags & 2 else self.xml

    def _end(self, reason):
        self.word, self.reason, self.cpu = "stopped", reason, 0
        self.xml = self.pending
        if not self.persistent:
            del self.host.domains[self.name()]

    def create(self):
        if not self._up("create"):
            self.word, self.reason, self.cpu = "running", 1, 1

    def shutdown(self):
        if not self._up("shutdown"):
            self._end(1)

    def destroy(self):
        if not self._up("destroy"):
            self._end(2)

    def resume(self):
        if not self._up("resume"):
            self.word, self.reason = "running", 5

    def pMWakeup(self, dummy):
        if not self._up("wakeup"):
            self.word = "running"

    def undefineFlags(self, dummy):
        if not self._up("undefine"):
            self.persistent = False
            if self.word not in ACTIVE:
                del self.host.domains[self.name()]

    def save(self, path):
        if not self._up("save", path):
            with open(path, "w", encoding="utf-8") as stream:
                stream.write(self.name())
            self._end(5)

    def abortJob(self):
        if not self._up("abortJob"):
            self.job = 0

    def migrateSetMaxDowntime(self, *dummy):
        self._up("max downtime")

    def migrateStartPostCopy(self, dummy):
        self._up("post-copy")

    def migrateToURI3(self, uri, parameters, flags):
        if not self._up("migrate", uri, parameters, flags):
            self.arrive(self.host.world.hosts[re.match(r"\w+\+tls://([^/:]*)", uri).group(1)])
            self._leave()

    def arrive(self, host, word="running", reason=0, cpu=1, persistent=True, event=True):
        """A copy of it appears there."""
        there = host.domains.get(self.name())
        if there is None or there.word in ACTIVE:
            there = host.domains[self.name()] = Domain(host, self.xml, "stopped", persistent=persistent)
        there.xml, there.pending, there.word, there.reason, there.cpu = self.xml, self.xml if host.kind == "Xen" else self.pending, word, reason, cpu
        there.persistent = persistent
        if event:
            host.event(there, 4)
        return there

    def _leave(self):
        self.word, self.persistent = "stopped", False
        self.host.domains.pop(self.name(), None)
