# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Thin calls over the libvirt binding; every failure says host, thing, cause and the next step."""

from __future__ import annotations

import glob
import os
import socket
import subprocess
import sys
import threading
import time

from ansible_collections.our.cloud.plugins.module_utils._common.bounded import bounded
from ansible_collections.our.cloud.plugins.module_utils._common.errors import CloudError
from ansible_collections.our.cloud.plugins.module_utils._guest import domain, lease

try:
    import libvirt
    HAS_LIBVIRT = True
except ImportError:
    libvirt = None
    HAS_LIBVIRT = False

LOCAL_URI = {"xen": "xen:///system", "qemu": "qemu:///system"}
# GnuTLS: the ciphers of TLS 1.3, the one first that needs no help of the CPU ("+" is %2B in a URI)
WITHOUT_AES = "?tls_priority=NORMAL:-CIPHER-ALL:%2BCHACHA20-POLY1305:%2BAES-256-GCM:%2BAES-128-GCM"
XEN_CAPABILITIES = "/proc/xen/capabilities"
# Seconds that a libvirtd has to answer a connection; emulated ones take some
PATIENCE = 60
# libvirt's virDomainState
STATES = {0: "nostate", 1: "running", 2: "blocked", 3: "paused", 4: "stopping", 5: "stopped", 6: "crashed", 7: "suspended"}
RUNNING = ("running", "blocked", "paused", "stopping", "nostate")
# libvirt's virDomainPausedReason
PAUSED = {1: "user", 2: "migration", 3: "save", 4: "dump", 5: "I/O error", 6: "watchdog", 7: "from snapshot", 8: "shutting down", 9: "snapshot",
          10: "crashed", 11: "starting up", 12: "postcopy", 13: "postcopy failed", 14: "API error"}
IO_ERROR = PAUSED[5]
# Paused for a reason that passes when somebody lets it go on. The others belong to something that is under way.
RESUMABLE = ("", "user", IO_ERROR, "watchdog", "from snapshot")
# Where libvirt keeps definitions, by hypervisor
DEFINITIONS = {"xen": "/etc/libvirt/libxl", "qemu": "/etc/libvirt/qemu"}
# Why libxl says that a domain has ended: it is suspended for a move, or saved
XEN_SUSPENDED = 2
# libvirt's virDomainShutoffReason
ENDED = {1: "it was shut down", 2: "it was destroyed", 3: "it crashed", 4: "it was migrated", 5: "it was saved", 6: "it failed to start"}


def local_family():
    """xen in a Xen control domain, else qemu."""
    try:
        with open(XEN_CAPABILITIES, encoding="ascii") as stream:
            return "xen" if "control_d" in stream.read() else "qemu"
    except OSError:
        return "qemu"


def _quiet(dummy_context, dummy_error):
    """libvirt prints every error to stderr unless told otherwise."""


_loop_started = threading.Event()


def start_event_loop():
    """Keepalive and lifecycle events need libvirt's event loop running before the connection is opened."""
    if _loop_started.is_set():
        return
    libvirt.virEventRegisterDefaultImpl()

    def run():
        while True:
            libvirt.virEventRunDefaultImpl()

    threading.Thread(target=run, name="libvirt-events", daemon=True).start()
    _loop_started.set()


def open_uri(uri, host, remedy):
    """Connect, or say why not. A libvirtd that hangs has its socket open; nobody waits for it for ever."""
    libvirt.registerErrorHandler(_quiet, None)
    try:
        conn = bounded(lambda: libvirt.open(uri), PATIENCE, "libvirt at %s" % uri, "It hangs: restart it (systemctl restart libvirtd; guests go on)", host)
    except libvirt.libvirtError as error:
        raise CloudError(host, "libvirt at %s" % uri, error, remedy) from None
    if _loop_started.is_set():
        # one that hangs later counts as lost after a minute
        conn.setKeepAlive(10, 6)
    return conn


def open_local(uri=None):
    """The hypervisor of this machine."""
    uri = uri or LOCAL_URI[local_family()]
    return open_uri(uri, os.uname().nodename, "Is libvirtd running, and this machine a hypervisor? (systemctl status libvirtd)")


def has_aes():
    """Whether this CPU has instructions for AES. One without them does ChaCha20 several times faster."""
    with open("/proc/cpuinfo", encoding="ascii", errors="replace") as stream:
        flags = next((line for line in stream if line.startswith(("flags", "Features"))), "")
    return "aes" in flags.split()


def target_uri(kind_family, target, port=16514):
    """How this hypervisor speaks to another one: TLS with certificates on both sides."""
    return "%s+tls://%s%s/system%s" % (kind_family, target, "" if port == 16514 else ":%d" % port, "" if has_aes() else WITHOUT_AES)


def qemu_name(target):
    """The one name in the certificate of QEMU on that host. It is no host's name (RFC 2606), so whoever gets hold of it cannot pass for a libvirtd."""
    return f"{target}.qemu.invalid"


def reach(target, port, timeout=10):
    """The address at which the target's libvirtd listens; each way to fail has its own remedy."""
    thing = "relocation to %s" % target
    try:
        found = socket.getaddrinfo(target, port, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        raise CloudError(os.uname().nodename, thing, "the name %s does not resolve (%s)" % (target, error.strerror),
                         "The target is named as in the inventory and must be in the LAN's DNS: run the gateway playbook") from None
    address = found[0][4][0]
    if address.startswith("127.") or address == "::1":
        raise CloudError(os.uname().nodename, thing, "the name %s resolves to the loopback address %s here" % (target, address),
                         "Take it out of /etc/hosts, or give another host as target")
    try:
        socket.create_connection((address, port), timeout=timeout).close()
    except ConnectionRefusedError:
        raise CloudError(os.uname().nodename, thing, "nothing listens at %s port %d" % (address, port),
                         "Relocation is off there, this host is not in its relocation_hosts_allow, or its libvirtd is down: "
                         "set both for %s and run the hypervisors playbook" % target) from None
    except OSError as error:
        raise CloudError(os.uname().nodename, thing, "%s port %d does not answer (%s)" % (address, port, error.strerror or "timed out"),
                         "Is the machine up, and this host in its relocation_hosts_allow?") from None
    return address


def open_target(kind_family, target, port=16514):
    """The target's libvirt; that this opens is what "relocation allowed" means."""
    reach(target, port)
    uri = target_uri(kind_family, target, port)
    libvirt.registerErrorHandler(_quiet, None)
    try:
        conn = bounded(lambda: libvirt.open(uri), PATIENCE, "libvirt at %s" % uri,
                       "It hangs: restart it there (systemctl restart libvirtd; guests go on)", target)
    except libvirt.libvirtError as error:
        text = str(error)
        if "no connection driver" in text.lower() or "driver is not active" in text.lower() or "unable to find" in text.lower():
            raise CloudError(target, "relocation", "it is not a %s hypervisor (%s)" % (kind_family, text),
                             "A guest moves only between hypervisors of the same kind") from None
        remedy = "Is this host in relocation_hosts_allow of %s, and are the certificates of both from one CA? Run the hypervisors playbook" % target
        raise CloudError(target, "relocation from %s refused" % os.uname().nodename, text, remedy) from None
    # the other side may vanish without a word: 3 times 5 s, then the connection counts as lost
    if _loop_started.is_set():
        conn.setKeepAlive(5, 3)
    return conn


def host(conn):
    """The domain.Host that this is."""
    return domain.host(conn.getCapabilities())


def find(conn, name):
    """The domain of that name, or None."""
    try:
        return conn.lookupByName(name)
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
            return None
        raise


def names(conn):
    """All guests here (Xen's control domain is none)."""
    return sorted(dom.name() for dom in conn.listAllDomains() if not is_dom0(dom))


def is_dom0(dom):
    """Xen's control domain."""
    return dom.ID() == 0 and dom.name() == "Domain-0"


def state(dom):
    """running, paused, stopped, ... in one word."""
    return STATES.get(dom.state()[0], "nostate")


def ending(dom):
    """How a stopped domain ended, as libvirt knows it; empty if it does not, or it runs."""
    number, reason = dom.state()[:2]
    return ENDED.get(reason, "") if STATES.get(number) == "stopped" else ""


def paused(dom):
    """Why a domain is paused, in a word; empty if that is not known, None if it is not paused."""
    number, reason = dom.state()[:2]
    return PAUSED.get(reason, "") if STATES.get(number) == "paused" else None


def standing(control, domid):
    """Whether a Xen domain stands still, saved or about to be; None if that cannot be seen. control: see xen_control."""
    found = [item for item in control.domain_getinfo(domid, 1) if item["domid"] == domid] if control is not None else []
    return bool(found[0]["shutdown"] and found[0]["shutdown_reason"] == XEN_SUSPENDED) if found else None


def suspended(dom):
    """Whether a Xen domain stands still, as a move or a save leaves it that broke off. libvirt may say that it runs."""
    return dom.connect().getType() == "Xen" and active(dom) and bool(standing(xen_control(), dom.ID()))


def arrives(dom):
    """Whether a move is bringing it here and it has not gone on yet. Xen's driver knows it before it is active."""
    if not active(dom):
        return not dom.isPersistent()
    return paused(dom) in ("migration", "postcopy") and not dom.isPersistent()


def io_errors(dom):
    """{disk: what is wrong with it} of a KVM guest, as far as libvirt tells."""
    words = {1: "an I/O error", 2: "no space left"}
    try:
        return {disk: words.get(error, "an error") for disk, error in dom.diskErrors().items() if error}
    except libvirt.libvirtError:
        # Xen's driver does not tell
        return {}


def defined_at(kind_family, name):
    """When the definition of a guest here was last written, seconds since 1970; None if there is none."""
    try:
        return int(os.stat(os.path.join(DEFINITIONS[kind_family], name + ".xml")).st_mtime)
    except OSError:
        return None


def active(dom):
    """Whether the domain has memory here now."""
    return bool(dom.isActive())


def persistent_xml(dom):
    """The definition; of a domain that has none, what would be."""
    return domain.parse(dom.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE | libvirt.VIR_DOMAIN_XML_SECURE))


def live_xml(dom):
    """What runs."""
    return domain.parse(dom.XMLDesc(libvirt.VIR_DOMAIN_XML_SECURE))


def define(conn, root):
    """Make or change the definition; libvirt checks it against its schema first."""
    text = domain.to_text(root)
    try:
        return conn.defineXMLFlags(text, libvirt.VIR_DOMAIN_DEFINE_VALIDATE)
    except libvirt.libvirtError as error:
        raise CloudError(conn.getHostname(), "definition of %s" % root.findtext("name"), error,
                         "The diff (--diff) shows the XML; virt-host-validate and `virsh domcapabilities` say what the host can") from None


def undefine(dom):
    """Take the definition away, with what libvirt keeps beside it; the disk stays."""
    flags = 0
    if dom.connect().getType() == "QEMU":
        flags = (libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE | libvirt.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA
                 | libvirt.VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA | libvirt.VIR_DOMAIN_UNDEFINE_NVRAM)
    else:
        flags = libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE
    dom.undefineFlags(flags)


def wait(condition, timeout, step=0.25):
    """Whether the condition came true within the bound."""
    end = time.monotonic() + timeout
    while True:
        if condition():
            return True
        if time.monotonic() >= end:
            return False
        time.sleep(step)


def start(dom):
    """Start it; the commonest refusals come with their remedy."""
    try:
        dom.create()
    except libvirt.libvirtError as error:
        text = str(error)
        if lease.hook_said(text):
            # it says who has the guest, and what to do
            raise CloudError(dom.connect().getHostname(), "start of %s" % dom.name(), lease.hook_said(text)) from None
        remedy = "See the host's journal (journalctl -u libvirtd) and /var/log/libvirt"
        if "memory" in text.lower():
            remedy = "The host has too little free memory: stop another guest, or give this one less"
        elif "32-bit EL1" in text:
            remedy = "This CPU runs 64-bit guests alone: give the guest kind: qemu (emulated, slow), or another host"
        elif "os type" in text or "KVM" in text:
            remedy = "The host cannot run this kind of guest: kvm needs hardware virtualization, qemu and pv do not"
        elif "bridge" in text.lower() or "network interface" in text.lower():
            remedy = "Is there a bridge of that name on the host? Run the hypervisors playbook"
        elif "No such file" in text or "cannot access" in text.lower():
            remedy = "Are the guest's files in the store, and is the store mounted here?"
        raise CloudError(dom.connect().getHostname(), "start of %s" % dom.name(), text, remedy) from None


def stop(dom, timeout, force):
    """Ask the guest to power off; after the bound pull the plug if `force`, else say so. Returns how it went."""
    host = dom.connect().getHostname()
    if state(dom) == "paused":
        dom.resume()
    try:
        dom.shutdown()
        if wait(lambda: not active(dom), timeout):
            return "graceful"
        cause = "it still runs %d s after it was asked to power off" % timeout
    except libvirt.libvirtError as error:
        if not active(dom):
            return "graceful"
        cause = str(error)
    if not force:
        raise CloudError(host, "stop of %s" % dom.name(), cause,
                         "Look at its console, give it more time (timeout), or pull the plug (force: true)")
    try:
        dom.destroy()
    except libvirt.libvirtError:
        # it ended by itself in this moment
        if active(dom):
            raise
    return "forced"


def memory(conn):
    """Free and total memory for guests in MiB: of Xen itself, or what Linux can free."""
    if conn.getType() == "Xen":
        return {"free": conn.getFreeMemory() >> 20, "total": int(conn.getInfo()[1])}
    stats = conn.getMemoryStats(libvirt.VIR_NODE_MEMORY_STATS_ALL_CELLS)
    return {"free": (stats["free"] + stats.get("buffers", 0) + stats.get("cached", 0)) >> 10, "total": stats["total"] >> 10}


def resident(conn, name):
    """MiB that a guest takes there already; 0 if it is not there."""
    dom = find(conn, name)
    try:
        if dom is None or not active(dom):
            return 0
        if conn.getType() == "Xen":
            return dom.info()[2] >> 10
        return dom.memoryStats().get("rss", 0) >> 10
    except libvirt.libvirtError:
        # it has just gone
        return 0


def xen_control():
    """Xen's own Python binding, for what libvirt does not tell; None if it does not load."""
    try:
        version = []
        for part in ("major", "minor"):
            with open("/sys/hypervisor/version/" + part, encoding="ascii") as stream:
                version.append(stream.read().strip())
        path = "/usr/lib/xen-%s/lib/python" % ".".join(version)
        if path not in sys.path:
            sys.path.append(path)
        from xen.lowlevel import xc
        return xc.xc()
    except (OSError, ImportError):
        return None


def orphans(conn):
    """Xen domains that libvirt knows nothing of: what is left of an arrival during which libvirtd was killed."""
    control = xen_control() if conn.getType() == "Xen" else None
    if control is None:
        return []
    known = {dom.ID() for dom in conn.listAllDomains()}
    found = []
    for item in control.domain_getinfo(1, 1024):
        if item["domid"] in known or item["dying"]:
            continue
        done = subprocess.run(["xenstore-read", "/local/domain/%d/name" % item["domid"]], capture_output=True, text=True, check=False)
        found.append({"domid": item["domid"], "name": done.stdout.strip(), "memory": item["mem_kb"] >> 10, "has_run": item["cpu_time"] > 0})
    return found


def destroy_orphan(host, orphan):
    """Free what it holds. One that has run is somebody's guest and is left alone."""
    thing = "Xen domain %d (%s)" % (orphan["domid"], orphan["name"])
    if orphan["has_run"]:
        raise CloudError(host, thing, "libvirt does not know it, and it has run: it may be a guest that was started with xl",
                         "Look at `xl list`; end it with `xl destroy %d` if it is not wanted" % orphan["domid"])
    done = subprocess.run(["xl", "destroy", str(orphan["domid"])], capture_output=True, text=True, check=False)
    if done.returncode:
        raise CloudError(host, thing, done.stderr.strip(), "See `xl list` and /var/log/xen")


def _pool(conn, path):
    """A passing storage pool over a directory of that host: the way to look into it from afar. None: no such directory."""
    xml = "<pool type='dir'><name>our-cloud-%d-%d</name><target><path>%s</path></target></pool>" % (
        os.getpid(), time.monotonic_ns(), path)
    busy = (libvirt.VIR_ERR_OPERATION_FAILED,)
    found = []

    def attempt():
        try:
            found.append(conn.storagePoolCreateXML(xml))
        except libvirt.libvirtError as error:
            # two pools cannot be over one directory: another look is under way, it is soon over
            if error.get_error_code() in busy and "conflict" in str(error).lower():
                return False
            if "No such file" in str(error) or "cannot open" in str(error).lower():
                found.append(None)
                return True
            raise
        return True

    if not wait(attempt, 15):
        raise CloudError(conn.getHostname(), "look into %s" % path, "another storage pool holds this directory",
                         "See `virsh pool-list --all --details` there")
    return found[0]


def has_bridge(conn, bridge):
    """Whether that host has a Linux bridge of this name (libvirt's device lists leave bridges out)."""
    pool = _pool(conn, "/sys/class/net/%s/brif" % bridge)
    if pool is None:
        return False
    pool.destroy()
    return True


def read_file(conn, folder, name):
    """The content of a small file on that host; None if there is none."""
    pool = _pool(conn, folder)
    if pool is None:
        return None
    try:
        try:
            volume = pool.storageVolLookupByName(name)
        except libvirt.libvirtError:
            return None
        stream = conn.newStream()
        volume.download(stream, 0, 0, 0)
        data = b""
        while True:
            part = stream.recv(65536)
            if not part:
                break
            data += part
        stream.finish()
        return data.decode("utf-8", "replace")
    finally:
        pool.destroy()


def loop_devices(path):
    """The loop devices over a file, each with whether it bypasses the page cache."""
    found = []
    for backing in glob.glob("/sys/block/loop*/loop/backing_file"):
        try:
            with open(backing, encoding="utf-8", errors="replace") as stream:
                if stream.read().strip() != os.path.realpath(path):
                    continue
            with open(os.path.join(os.path.dirname(backing), "dio"), encoding="ascii") as stream:
                direct = stream.read().strip() == "1"
        except OSError:
            continue
        found.append((backing.split("/")[3], direct))
    return found


def direct_io(path, check_mode=False):
    """Make the loop devices over a Xen guest's disk bypass this host's page cache.

    Xen's block script sets them up buffered: a write that the guest was told is
    done may still be in this host's memory when the guest already runs elsewhere
    and reads the old data from the server. Switching writes out what is pending.
    Returns the devices that are (or would be) switched.
    """
    switched = []
    for name, direct in loop_devices(path):
        if direct:
            continue
        switched.append(name)
        if check_mode:
            continue
        device = "/dev/" + name
        done = subprocess.run(["losetup", "--direct-io=on", device], capture_output=True, text=True, check=False)
        if done.returncode or not dict(loop_devices(path)).get(name):
            raise CloudError(os.uname().nodename, "disk %s" % path,
                             "%s cannot bypass the page cache (%s)" % (device, done.stderr.strip() or "the kernel did not take it"),
                             "Its data would not be safe when the guest moves; use mode offline, or put the disk on storage that can do direct I/O")
    return switched
