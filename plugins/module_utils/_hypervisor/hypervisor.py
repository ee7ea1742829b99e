# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Thin calls over the libvirt binding; every failure says host, thing, cause and the next step."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

from ansible_collections.our.cloud.plugins.module_utils._common.bounded import bounded
from ansible_collections.our.cloud.plugins.module_utils._common.errors import CloudError
from ansible_collections.our.cloud.plugins.module_utils._guest import description, domain, lease
from ansible_collections.our.cloud.plugins.module_utils._guest.told import Memory
from ansible_collections.our.cloud.plugins.module_utils._hypervisor import libxl_log

try:
    import libvirt
    HAS_LIBVIRT = True
except ImportError:
    libvirt = None
    HAS_LIBVIRT = False

# Where libvirtd listens for others, by TLS
PORT = 16514
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
# libvirt's virDomainShutoffReason
ENDED = {1: "it was shut down", 2: "it was destroyed", 3: "it crashed", 4: "it was migrated", 5: "it was saved", 6: "it failed to start"}


def local_family() -> str:
    """xen in a Xen control domain, else qemu."""
    try:
        with open(XEN_CAPABILITIES, encoding="ascii") as stream:
            return "xen" if "control_d" in stream.read() else "qemu"
    except OSError:
        return "qemu"


def _quiet(dummy_context, dummy_error):
    """libvirt prints every error to stderr unless told otherwise."""


_loop_started = threading.Event()


def start_event_loop() -> None:
    """Keepalive and lifecycle events need libvirt's event loop running before the connection is opened."""
    if _loop_started.is_set():
        return
    libvirt.virEventRegisterDefaultImpl()

    def run():
        while True:
            libvirt.virEventRunDefaultImpl()

    threading.Thread(target=run, name="libvirt-events", daemon=True).start()
    _loop_started.set()


def open_uri(uri: str, host: str, remedy: str) -> Any:
    """Connect, or say why not. A libvirtd that hangs has its socket open; nobody waits for it for ever."""
    libvirt.registerErrorHandler(_quiet, None)
    try:
        conn = bounded(lambda: libvirt.open(uri), PATIENCE, f"libvirt at {uri}", "It hangs: restart it (systemctl restart libvirtd; guests go on)", host)
    except libvirt.libvirtError as error:
        raise CloudError(host, f"libvirt at {uri}", error, remedy) from None
    if _loop_started.is_set():
        # one that hangs later counts as lost after a minute
        conn.setKeepAlive(10, 6)
    return conn


def open_local(uri: str | None = None) -> Any:
    """The hypervisor of this machine."""
    uri = uri or LOCAL_URI[local_family()]
    return open_uri(uri, os.uname().nodename, "Is libvirtd running, and this machine a hypervisor? (systemctl status libvirtd)")


def has_aes() -> bool:
    """Whether this CPU has instructions for AES. One without them does ChaCha20 several times faster."""
    with open("/proc/cpuinfo", encoding="ascii", errors="replace") as stream:
        flags = next((line for line in stream if line.startswith(("flags", "Features"))), "")
    return "aes" in flags.split()


def target_uri(kind_family: str, target: str, port: int = PORT) -> str:
    """How this hypervisor speaks to another one: TLS with certificates on both sides."""
    return f"{kind_family}+tls://{target}{'' if port == PORT else f':{port}'}/system{'' if has_aes() else WITHOUT_AES}"


def qemu_name(target: str) -> str:
    """The one name in the certificate of QEMU on that host. It is no host's name (RFC 2606), so whoever gets hold of it cannot pass for a libvirtd."""
    return f"{target}.qemu.invalid"


def reach(target: str, port: int, timeout: float = 10) -> str:
    """The address at which the target's libvirtd listens; each way to fail has its own remedy."""
    thing = f"relocation to {target}"
    try:
        found = socket.getaddrinfo(target, port, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        raise CloudError(os.uname().nodename, thing, f"the name {target} does not resolve ({error.strerror})",
                         "The target is named as in the inventory and must be in the LAN's DNS: run the gateway playbook") from None
    address = found[0][4][0]
    if address.startswith("127.") or address == "::1":
        raise CloudError(os.uname().nodename, thing, f"the name {target} resolves to the loopback address {address} here",
                         "Take it out of /etc/hosts, or give another host as target")
    try:
        socket.create_connection((address, port), timeout=timeout).close()
    except ConnectionRefusedError:
        raise CloudError(os.uname().nodename, thing, f"nothing listens at {address} port {port}",
                         "Relocation is off there, this host is not in its relocation_hosts_allow, or its libvirtd is down: "
                         f"set both for {target} and run the hypervisors playbook") from None
    except OSError as error:
        raise CloudError(os.uname().nodename, thing, f"{address} port {port} does not answer ({error.strerror or 'timed out'})",
                         "Is the machine up, and this host in its relocation_hosts_allow?") from None
    return address


def open_target(kind_family: str, target: str, port: int = PORT) -> Any:
    """The target's libvirt; that this opens is what "relocation allowed" means."""
    reach(target, port)
    uri = target_uri(kind_family, target, port)
    libvirt.registerErrorHandler(_quiet, None)
    try:
        conn = bounded(lambda: libvirt.open(uri), PATIENCE, f"libvirt at {uri}",
                       "It hangs: restart it there (systemctl restart libvirtd; guests go on)", target)
    except libvirt.libvirtError as error:
        text = str(error)
        if "no connection driver" in text.lower() or "driver is not active" in text.lower() or "unable to find" in text.lower():
            raise CloudError(target, "relocation", f"it is not a {kind_family} hypervisor ({text})",
                             "A guest moves only between hypervisors of the same kind") from None
        remedy = f"Is this host in relocation_hosts_allow of {target}, and are the certificates of both from one CA? Run the hypervisors playbook"
        raise CloudError(target, f"relocation from {os.uname().nodename} refused", text, remedy) from None
    # the other side may vanish without a word: 3 times 5 s, then the connection counts as lost
    if _loop_started.is_set():
        conn.setKeepAlive(5, 3)
    return conn


def family(conn: Any) -> str:
    """The hypervisor behind a connection: xen or qemu."""
    return "xen" if conn.getType() == "Xen" else "qemu"


def host(conn: Any) -> description.Host:
    """What this hypervisor can run."""
    return description.host(conn.getCapabilities())


def find(conn: Any, name: str) -> Any:
    """The domain of that name, or None."""
    try:
        return conn.lookupByName(name)
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
            return None
        raise


def names(conn: Any) -> list[str]:
    """All guests here (Xen's control domain is none)."""
    return sorted(dom.name() for dom in conn.listAllDomains() if not is_dom0(dom))


def is_dom0(dom: Any) -> bool:
    """Xen's control domain."""
    return dom.ID() == 0 and dom.name() == "Domain-0"


def state(dom: Any) -> str:
    """running, paused, stopped, ... in one word."""
    return STATES.get(dom.state()[0], "nostate")


def ending(dom: Any) -> str:
    """How a stopped domain ended, as libvirt knows it; empty if it does not, or it runs."""
    number, reason = dom.state()[:2]
    return ENDED.get(reason, "") if STATES.get(number) == "stopped" else ""


def paused(dom: Any) -> str | None:
    """Why a domain is paused, in a word; empty if that is not known, None if it is not paused."""
    number, reason = dom.state()[:2]
    return PAUSED.get(reason, "") if STATES.get(number) == "paused" else None


def arrives(dom: Any) -> bool:
    """Whether a move is bringing it here and it has not gone on yet. Xen's driver knows it before it is active."""
    if not active(dom):
        return not dom.isPersistent()
    return paused(dom) in ("migration", "postcopy") and not dom.isPersistent()


def io_errors(dom: Any) -> dict[str, str]:
    """{disk: what is wrong with it} of a KVM guest, as far as libvirt tells."""
    words = {1: "an I/O error", 2: "no space left"}
    try:
        return {disk: words.get(error, "an error") for disk, error in dom.diskErrors().items() if error}
    except libvirt.libvirtError:
        # Xen's driver does not tell
        return {}


def defined_at(kind_family: str, name: str) -> int | None:
    """When the definition of a guest here was last written, seconds since 1970; None if there is none."""
    try:
        return int(os.stat(os.path.join(DEFINITIONS[kind_family], name + ".xml")).st_mtime)
    except OSError:
        return None


def active(dom: Any) -> bool:
    """Whether the domain has memory here now."""
    return bool(dom.isActive())


def persistent_xml(dom: Any) -> Any:
    """The definition; of a domain that has none, what would be."""
    return domain.parse(dom.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE | libvirt.VIR_DOMAIN_XML_SECURE))


def live_xml(dom: Any) -> Any:
    """What runs."""
    return domain.parse(dom.XMLDesc(libvirt.VIR_DOMAIN_XML_SECURE))


def define(conn: Any, root: Any) -> Any:
    """Make or change the definition; libvirt checks it against its schema first."""
    text = domain.to_text(root)
    try:
        return conn.defineXMLFlags(text, libvirt.VIR_DOMAIN_DEFINE_VALIDATE)
    except libvirt.libvirtError as error:
        raise CloudError(conn.getHostname(), f"definition of {root.findtext('name')}", error,
                         "The diff (--diff) shows the XML; virt-host-validate and `virsh domcapabilities` say what the host can") from None


def undefine(dom: Any) -> None:
    """Take the definition away, with what libvirt keeps beside it; the disk stays."""
    flags = 0
    if family(dom.connect()) == "qemu":
        flags = (libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE | libvirt.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA
                 | libvirt.VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA | libvirt.VIR_DOMAIN_UNDEFINE_NVRAM)
    else:
        flags = libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE
    dom.undefineFlags(flags)


def wait(condition: Callable[[], bool], timeout: float, step: float = 0.25) -> bool:
    """Whether the condition came true within the bound."""
    end = time.monotonic() + timeout
    while True:
        if condition():
            return True
        if time.monotonic() >= end:
            return False
        time.sleep(step)


def start(dom: Any) -> None:
    """Start it; the commonest refusals come with their remedy."""
    logged = libxl_log.end()
    try:
        dom.create()
    except libvirt.libvirtError as error:
        text = str(error)
        if lease.hook_said(text):
            # it says who has the guest, and what to do
            raise CloudError(dom.connect().getHostname(), f"start of {dom.name()}", lease.hook_said(text)) from None
        if "libxenlight" in text and libxl_log.since(logged):
            text += f" ({libxl_log.since(logged)})"
        remedy = "See the host's journal (journalctl -u libvirtd) and /var/log/libvirt"
        if "because of timeout" in text:
            remedy = "The host was too busy to make the guest's devices within the time that Xen gives it: start it again when it has less to do"
        elif "memory" in text.lower():
            remedy = "The host has too little free memory: stop another guest, or give this one less"
        elif "32-bit EL1" in text:
            remedy = "This CPU runs 64-bit guests alone: give the guest kind: qemu (emulated, slow), or another host"
        elif "os type" in text or "KVM" in text:
            remedy = "The host cannot run this kind of guest: kvm needs hardware virtualization, qemu and pv do not"
        elif "bridge" in text.lower() or "network interface" in text.lower():
            remedy = "Is there a bridge of that name on the host? Run the hypervisors playbook"
        elif "No such file" in text or "cannot access" in text.lower():
            remedy = "Are the guest's files in the store, and is the store mounted here?"
        raise CloudError(dom.connect().getHostname(), f"start of {dom.name()}", text, remedy) from None


def ended(dom: Any) -> bool:
    """Whether the domain has no memory here any more. One without a definition is gone then, and libvirt has nothing to tell of it."""
    try:
        return not active(dom)
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
            return True
        raise


def stop(dom: Any, timeout: float, force: bool) -> str:
    """Ask the guest to power off; after the bound pull the plug if `force`, else say so. Returns how it went."""
    host = dom.connect().getHostname()
    if state(dom) == "paused":
        dom.resume()
    try:
        dom.shutdown()
        if wait(lambda: ended(dom), timeout):
            return "graceful"
        cause = f"it still runs {timeout} s after it was asked to power off"
    except libvirt.libvirtError as error:
        if ended(dom):
            return "graceful"
        cause = str(error)
    if not force:
        raise CloudError(host, f"stop of {dom.name()}", cause,
                         "Look at its console, give it more time (timeout), or pull the plug (force: true)")
    try:
        dom.destroy()
    except libvirt.libvirtError:
        # it ended by itself in this moment
        if not ended(dom):
            raise
    return "forced"


def memory(conn: Any) -> Memory:
    """Of Xen itself, or what Linux can free."""
    if family(conn) == "xen":
        return Memory(conn.getFreeMemory() >> 20, int(conn.getInfo()[1]))
    stats = conn.getMemoryStats(libvirt.VIR_NODE_MEMORY_STATS_ALL_CELLS)
    return Memory((stats["free"] + stats.get("buffers", 0) + stats.get("cached", 0)) >> 10, stats["total"] >> 10)


def resident(conn: Any, name: str) -> int:
    """MiB that a guest takes there already; 0 if it is not there."""
    dom = find(conn, name)
    try:
        if dom is None or not active(dom):
            return 0
        if family(conn) == "xen":
            return dom.info()[2] >> 10
        return dom.memoryStats().get("rss", 0) >> 10
    except libvirt.libvirtError:
        # it has just gone
        return 0
