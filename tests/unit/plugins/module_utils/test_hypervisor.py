# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The calls to libvirt and to what Xen alone has, on hosts that are dictionaries."""

from __future__ import annotations

import glob
import os
import socket
import subprocess
import threading
import time
import types

import fake_libvirt
import pytest

from ansible_collections.our.cloud.plugins.module_utils._common.errors import CloudError
from ansible_collections.our.cloud.plugins.module_utils._guest import lease
from ansible_collections.our.cloud.plugins.module_utils._hypervisor import hypervisor, libxl_log, remote_files, xen


class Domain:
    """As libvirt tells its state: number and reason."""

    def __init__(self, *told):
        self.told = list(told)

    def state(self):
        return self.told


@pytest.mark.parametrize("told, how", [
    ((5, 1), "it was shut down"), ((5, 2), "it was destroyed"), ((5, 3), "it crashed"), ((5, 4), "it was migrated"), ((5, 0), ""), ((5, 99), ""),
    # a reason counts for the state that it belongs to
    ((1, 3), ""), ((3, 1), ""),
])
def test_how_a_guest_ended(told, how):
    assert hypervisor.ending(Domain(*told)) == how


@pytest.mark.parametrize("told, word", [((1, 0), "running"), ((5, 3), "stopped"), ((7, 0), "suspended"), ((99, 0), "nostate")])
def test_state_in_a_word(told, word):
    assert hypervisor.state(Domain(*told)) == word


# --- connections

@pytest.fixture(name="world")
def fixture_world(monkeypatch):
    return fake_libvirt.World(monkeypatch)


@pytest.fixture(name="one")
def fixture_one(world):
    return world.host("one")


def test_a_libvirtd_that_is_down_is_told_with_its_remedy(one):
    one.up = False
    with pytest.raises(CloudError, match=r"libvirt at qemu:///system: Connection refused. Is libvirtd running"):
        hypervisor.open_local()


def test_a_libvirtd_that_hangs_is_not_waited_for(world, one, monkeypatch):
    asked = threading.Event()
    monkeypatch.setattr(hypervisor, "PATIENCE", 0.05)
    world.module.open = lambda uri: asked.wait(10)
    with pytest.raises(CloudError, match=r"libvirt at qemu:///system: no answer within 0.05 s. It hangs: restart it"):
        hypervisor.open_local()
    with pytest.raises(CloudError, match=r"^one: libvirt at qemu\+tls://one/system.*: no answer within 0.05 s. It hangs: restart it there"):
        hypervisor.open_target("qemu", "one")
    asked.set()


@pytest.mark.parametrize("text, why, remedy", [
    ("no connection driver available for xen:///system", "it is not a xen hypervisor", "only between hypervisors of the same kind"),
    ("unable to find driver", "it is not a xen hypervisor", "only between hypervisors of the same kind"),
    ("libxenlight state driver is not active", "it is not a xen hypervisor", "only between hypervisors of the same kind"),
    ("authentication failed: Failed to verify peer's certificate", "relocation from .* refused", "are the certificates of both from one CA"),
])
def test_why_a_target_does_not_take_it(world, one, text, why, remedy):
    def refuse(dummy):
        raise world.error(text)

    world.module.open = refuse
    with pytest.raises(CloudError, match=f"{why}.*{remedy}") as error:
        hypervisor.open_target("xen", "one")
    assert text in str(error.value)


def test_a_connection_that_dies_without_a_word_is_noticed(world, one, monkeypatch):
    kept = []
    monkeypatch.setattr(fake_libvirt.Connection, "setKeepAlive", lambda conn, *bound: kept.append(bound))
    world.module.virEventRegisterDefaultImpl = lambda: kept.append("loop")
    world.module.virEventRunDefaultImpl = threading.Event().wait
    monkeypatch.setattr(hypervisor, "_loop_started", threading.Event())
    hypervisor.open_local()
    assert kept == []
    hypervisor.start_event_loop()
    hypervisor.start_event_loop()
    hypervisor.open_local()
    hypervisor.open_target("qemu", "one")
    assert kept == ["loop", (10, 6), (5, 3)]


@pytest.mark.parametrize("content, family", [("control_d\n", "xen"), ("", "qemu"), (None, "qemu")])
def test_whether_this_is_a_control_domain(tmp_path, monkeypatch, content, family):
    if content is not None:
        (tmp_path / "capabilities").write_text(content)
    monkeypatch.setattr(hypervisor, "XEN_CAPABILITIES", str(tmp_path / "capabilities"))
    assert hypervisor.local_family() == family


@pytest.mark.parametrize("aes, port, uri", [
    (True, hypervisor.PORT, "qemu+tls://two/system"), (True, 16515, "qemu+tls://two:16515/system"),
    (False, hypervisor.PORT, "qemu+tls://two/system" + hypervisor.WITHOUT_AES),
])
def test_a_cpu_without_aes_asks_for_another_cipher(monkeypatch, aes, port, uri):
    monkeypatch.setattr(hypervisor, "has_aes", lambda: aes)
    assert hypervisor.target_uri("qemu", "two", port) == uri


def addresses(monkeypatch, address):
    monkeypatch.setattr(socket, "getaddrinfo", lambda name, port, **dummy: [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))])


@pytest.mark.parametrize("failure, why", [
    (ConnectionRefusedError(111, "Connection refused"),
     "nothing listens at 192.0.2.2 port 16514. Relocation is off there, this host is not in its relocation_hosts_allow"),
    (OSError(113, "No route to host"), r"192.0.2.2 port 16514 does not answer \(No route to host\). Is the machine up"),
    (socket.timeout(), r"192.0.2.2 port 16514 does not answer \(timed out\)"),
])
def test_a_target_that_is_not_reached(monkeypatch, failure, why):
    def connect(dummy, timeout):
        raise failure

    addresses(monkeypatch, "192.0.2.2")
    monkeypatch.setattr(socket, "create_connection", connect)
    with pytest.raises(CloudError, match=f"relocation to two: {why}"):
        hypervisor.reach("two", 16514)


@pytest.mark.parametrize("address", ["127.0.0.2", "::1"])
def test_a_target_must_not_be_this_host(address):
    with pytest.raises(CloudError, match=f"the name {address} resolves to the loopback address {address} here. Take it out of /etc/hosts"):
        hypervisor.reach(address, 16514)


def test_the_address_of_a_target_that_listens(monkeypatch):
    asked = []
    addresses(monkeypatch, "192.0.2.2")
    monkeypatch.setattr(socket, "create_connection", lambda to, timeout: asked.append(to) or types.SimpleNamespace(close=lambda: None))
    assert hypervisor.reach("two", 16514) == "192.0.2.2"
    assert asked == [("192.0.2.2", 16514)]


def test_a_target_without_a_name(monkeypatch):
    def unknown(*dummy, **more):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(CloudError, match=r"the name two does not resolve \(Name or service not known\).*must be in the LAN's DNS"):
        hypervisor.reach("two", 16514)


# --- domains

def test_find_tells_absence_from_failure(one):
    one.add("g")
    conn = hypervisor.open_local()
    assert hypervisor.find(conn, "g").name() == "g" and hypervisor.find(conn, "h") is None
    one.up = False
    with pytest.raises(fake_libvirt.LibvirtError, match="socket is closed"):
        hypervisor.find(conn, "g")


def test_the_control_domain_is_no_guest(world, monkeypatch):
    one = world.host("one", "Xen")
    one.add("b")
    one.add("a", "stopped")
    one.add("Domain-0").number = 0
    assert hypervisor.names(hypervisor.open_local()) == ["a", "b"]


@pytest.mark.parametrize("word, persistent, reason, arrives", [
    ("running", True, 0, False), ("paused", False, 2, True), ("paused", False, 12, True), ("paused", True, 2, False), ("paused", False, 1, False),
    ("stopped", True, 0, False), ("stopped", False, 0, True), ("running", False, 0, False),
])
def test_what_arrives(one, word, persistent, reason, arrives):
    assert hypervisor.arrives(one.add("g", word, reason=reason, persistent=persistent)) is arrives


def test_what_is_wrong_with_the_disks(one):
    dom = one.add("g")
    dom.diskErrors = lambda: {"vda": 2, "vdb": 1, "vdc": 0, "vdd": 9}
    assert hypervisor.io_errors(dom) == {"vda": "no space left", "vdb": "an I/O error", "vdd": "an error"}

    def not_told():
        raise fake_libvirt.LibvirtError("not supported", 3)

    dom.diskErrors = not_told
    assert hypervisor.io_errors(dom) == {}


def test_when_a_definition_was_written(tmp_path, monkeypatch):
    monkeypatch.setattr(hypervisor, "DEFINITIONS", {"qemu": str(tmp_path)})
    (tmp_path / "g.xml").write_text("")
    os.utime(tmp_path / "g.xml", (77.9, 77.9))
    assert hypervisor.defined_at("qemu", "g") == 77 and hypervisor.defined_at("qemu", "h") is None


def test_a_definition_that_libvirt_refuses(one):
    def refuse(host, dummy):
        raise host.world.error("XML document failed to validate")

    dom = one.add("g", "stopped")
    one.when["define"] = refuse
    with pytest.raises(CloudError, match="^one: definition of g: XML document failed to validate. The diff"):
        hypervisor.define(hypervisor.open_local(), hypervisor.persistent_xml(dom))


@pytest.mark.parametrize("kind, flags", [("QEMU", 1 | 2 | 4 | 16), ("Xen", 1)])
def test_what_goes_with_a_definition(world, kind, flags):
    given, dom = [], world.host("one", kind).add("g", "stopped")
    dom.undefineFlags = given.append
    hypervisor.undefine(dom)
    assert given == [flags]


@pytest.mark.parametrize("text, remedy", [
    ("internal error: out of Memory", "stop another guest, or give this one less"),
    ("kvm: 32-bit EL1 is not supported", "give the guest kind: qemu"),
    ("could not find capabilities for os type xen", "kvm needs hardware virtualization"),
    ("Cannot get interface MTU on 'br7': No such bridge", "Run the hypervisors playbook"),
    ("Cannot access storage file '/srv/cloud/g.img'", "is the store mounted here"),
    ("anything else", "See the host's journal"),
])
def test_why_a_guest_does_not_start(one, text, remedy):
    def refuse(dom):
        raise dom.host.world.error(text)

    dom = one.add("g", "stopped")
    dom.when["create"] = refuse
    with pytest.raises(CloudError, match="^one: start of g: ") as error:
        hypervisor.start(dom)
    assert text in str(error.value) and remedy in str(error.value)


LIBXL = """2026-11-28 07:34:37.248+0000: libxl: libxl_aoutils.c:539:async_exec_timeout: killing execution of vif-bridge online because of timeout
2026-11-28 07:34:37.429+0000: libxl: libxl_create.c:1982:domcreate_attach_devices: Domain 1:unable to add vif devices
"""


@pytest.mark.parametrize("before", ["2026-11-27 07:34:37.248+0000: libxl: libxl_dom.c:1:earlier: of another day\n", ""])
def test_why_xen_does_not_start_a_guest(world, monkeypatch, tmp_path, before):
    def refuse(dom):
        with open(libxl_log.LOG, "a", encoding="utf-8") as stream:
            stream.write(LIBXL)
        raise dom.host.world.error("internal error: libxenlight failed to create new domain 'g'")

    monkeypatch.setattr(libxl_log, "LOG", str(tmp_path / "log"))
    if before:
        (tmp_path / "log").write_text(before)
    dom = world.host("one", "Xen").add("g", "stopped")
    dom.when["create"] = refuse
    with pytest.raises(CloudError) as error:
        hypervisor.start(dom)
    assert ("'g' (killing execution of vif-bridge online because of timeout; Domain 1:unable to add vif devices)" in str(error.value)
            and "start it again when it has less to do" in str(error.value))


def test_a_log_that_was_rotated_meanwhile_is_read_from_its_beginning(monkeypatch, tmp_path):
    (tmp_path / "log").write_text(LIBXL)
    monkeypatch.setattr(libxl_log, "LOG", str(tmp_path / "log"))
    assert libxl_log.since(1 << 20).startswith("killing execution")
    monkeypatch.setattr(libxl_log, "LOG", str(tmp_path / "none"))
    assert (libxl_log.end(), libxl_log.since(0)) == (0, "")


def test_the_hook_says_why_a_guest_does_not_start(one, monkeypatch):
    def refuse(dom):
        raise dom.host.world.error("Hook script execution failed: our words")

    dom = one.add("g", "stopped")
    dom.when["create"] = refuse
    monkeypatch.setattr(lease, "hook_said", lambda text: text.partition("failed: ")[2])
    with pytest.raises(CloudError, match="^one: start of g: our words$"):
        hypervisor.start(dom)


# --- the end of a guest

@pytest.mark.parametrize("persistent", [True, False])
@pytest.mark.parametrize("word", ["running", "paused"])
def test_stop(one, word, persistent):
    """One without a definition is gone when it has ended, and libvirt has nothing to tell of it."""
    dom = one.add("g", word, persistent=persistent)
    assert hypervisor.stop(dom, 1, False) == "graceful"
    assert one.world.log == ["one: resume g"] * (word == "paused") + ["one: shutdown g"]
    assert ("g" in one.domains) is persistent


def deaf(dom):
    """A guest that does not listen."""


def fails(dom):
    raise dom.host.world.error("guest agent is not connected", 86)


def ends(dom):
    dom._end(1)
    raise dom.host.world.error("domain is not running", 55)


@pytest.mark.parametrize("asked, cause", [(deaf, "it still runs 0 s after it was asked to power off"), (fails, "guest agent is not connected")])
def test_a_guest_that_does_not_end_keeps_its_power(one, asked, cause):
    dom = one.add("g")
    dom.when["shutdown"] = asked
    with pytest.raises(CloudError, match=rf"one: stop of g: {cause}. Look at its console, .* pull the plug \(force: true\)"):
        hypervisor.stop(dom, 0, False)
    assert dom.word == "running"
    assert hypervisor.stop(dom, 0, True) == "forced" and dom.word == "stopped"


@pytest.mark.parametrize("persistent", [True, False])
def test_a_guest_that_ends_by_itself_at_that_moment(one, persistent):
    dom = one.add("g", persistent=persistent)
    dom.when["shutdown"] = ends
    assert hypervisor.stop(dom, 0, False) == "graceful"
    dom = one.add("h", persistent=persistent)
    dom.when.update(shutdown=deaf, destroy=ends)
    assert hypervisor.stop(dom, 0, True) == "forced"


def test_a_plug_that_cannot_be_pulled_is_told(one):
    dom = one.add("g")
    dom.when.update(shutdown=deaf, destroy=fails)
    with pytest.raises(fake_libvirt.LibvirtError, match="not connected"):
        hypervisor.stop(dom, 0, True)
    assert dom.word == "running"


def test_a_host_that_goes_meanwhile_has_not_ended_the_guest(one):
    dom = one.add("g")
    dom.when["shutdown"] = lambda dom: setattr(one, "up", False)
    with pytest.raises(fake_libvirt.LibvirtError, match="socket is closed"):
        hypervisor.stop(dom, 0, False)


# --- memory

@pytest.mark.parametrize("kind", ["QEMU", "Xen"])
def test_memory_in_mib(world, kind):
    one = world.host("one", kind)
    conn = hypervisor.open_local()
    assert hypervisor.memory(conn) == {"free": 4096, "total": 4096}
    guest = one.add("g", memory=256)
    guest.rss = 100
    assert (hypervisor.resident(conn, "g"), hypervisor.resident(conn, "h")) == (100, 0)
    guest.word = "stopped"
    assert hypervisor.resident(conn, "g") == 0


def test_what_linux_can_free_counts_as_free(one):
    conn = hypervisor.open_local()
    conn.getMemoryStats = lambda dummy: {"total": 8 << 10, "free": 1 << 10, "buffers": 2 << 10, "cached": 3 << 10}
    assert hypervisor.memory(conn) == {"free": 6, "total": 8}


def test_one_that_has_just_gone_takes_nothing(one):
    def gone():
        raise fake_libvirt.LibvirtError("Domain not found", 42)

    one.add("g").memoryStats = gone
    assert hypervisor.resident(hypervisor.open_local(), "g") == 0


# --- looks into another host's folders

def test_files_of_another_host(one):
    one.folders = {"/srv": {"mark": b"one\xff\n"}, "/sys/class/net/br0/brif": {}}
    conn = hypervisor.open_local()
    assert remote_files.read_file(conn, "/srv", "mark") == "one\ufffd\n"
    assert remote_files.read_file(conn, "/srv", "none") is None and remote_files.read_file(conn, "/none", "mark") is None
    assert remote_files.has_bridge(conn, "br0") and not remote_files.has_bridge(conn, "br1")


def test_a_look_waits_for_another_look(world, one, monkeypatch):
    one.folders = {"/srv": {"mark": b"one"}}
    conn, real, turns = hypervisor.open_local(), fake_libvirt.Connection.storagePoolCreateXML, iter([True, True, False])
    monkeypatch.setattr(time, "sleep", lambda seconds: None)

    def create(text):
        if next(turns):
            raise world.error("operation failed: Storage source conflict with pool: 'other'", 9)
        return real(conn, text)

    conn.storagePoolCreateXML = create
    assert remote_files.read_file(conn, "/srv", "mark") == "one"


@pytest.mark.parametrize("text, code, error, why", [
    ("Storage source conflict with pool: 'other'", 9, CloudError, "one: look into /srv: another storage pool holds this directory. See `virsh pool-list"),
    ("client socket is closed", 38, fake_libvirt.LibvirtError, "client socket is closed"),
])
def test_a_look_that_fails_is_not_an_absence(world, one, monkeypatch, text, code, error, why):
    def create(dummy):
        raise world.error(text, code)

    conn = hypervisor.open_local()
    conn.storagePoolCreateXML = create
    monkeypatch.setattr(hypervisor, "wait", lambda condition, timeout: condition())
    with pytest.raises(error, match=why):
        remote_files.read_file(conn, "/srv", "mark")


# --- what Xen alone has

@pytest.fixture(name="programs")
def fixture_programs(monkeypatch):
    """Answers of programs by their names: (status, stdout, stderr); what was called."""
    answers, called = {}, []

    def run(argv, **dummy):
        called.append(" ".join(argv))
        return subprocess.CompletedProcess(argv, *answers.get(argv[0], (0, "", "")))

    monkeypatch.setattr(subprocess, "run", run)
    return answers, called


def binding(monkeypatch, *items):
    """Xen's own binding, that tells of these domains."""
    told = types.SimpleNamespace(domain_getinfo=lambda first, most: [item for item in items if item["domid"] >= first][:most])
    monkeypatch.setattr(xen, "control", lambda: told)
    return told


def test_no_binding_where_there_is_no_xen():
    assert os.path.exists("/sys/hypervisor/version/major") or xen.control() is None


@pytest.mark.parametrize("shutdown, reason, still", [(1, 2, True), (1, 0, False), (0, 2, False)])
def test_what_stands_still(monkeypatch, shutdown, reason, still):
    told = binding(monkeypatch, {"domid": 7, "shutdown": shutdown, "shutdown_reason": reason})
    assert xen.standing(told, 7) is still
    # it tells of the next domain if there is none of that number
    assert xen.standing(told, 6) is None and xen.standing(None, 7) is None


@pytest.mark.parametrize("kind, word, suspended", [("Xen", "running", True), ("Xen", "stopped", False), ("QEMU", "running", False)])
def test_suspended(world, monkeypatch, kind, word, suspended):
    dom = world.host("one", kind).add("g", word)
    binding(monkeypatch, {"domid": dom.number, "shutdown": 1, "shutdown_reason": 2})
    assert xen.suspended(dom) is suspended


def test_orphans(world, monkeypatch, programs):
    dom = world.host("one", "Xen").add("g")
    item = {"dying": 0, "mem_kb": 262144, "cpu_time": 0}
    binding(monkeypatch, {**item, "domid": dom.number}, {**item, "domid": 9001, "dying": 1}, {**item, "domid": 9002}, {**item, "domid": 9003, "cpu_time": 5})
    programs[0]["xenstore-read"] = (0, "g\n", "")
    conn = hypervisor.open_local()
    assert xen.orphans(conn) == [{"domid": 9002, "name": "g", "memory": 256, "has_run": False}, {"domid": 9003, "name": "g", "memory": 256, "has_run": True}]
    assert programs[1] == ["xenstore-read /local/domain/9002/name", "xenstore-read /local/domain/9003/name"]
    monkeypatch.setattr(xen, "control", lambda: None)
    assert xen.orphans(conn) == []


def test_kvm_has_no_orphans(one, monkeypatch):
    binding(monkeypatch, {"domid": 5, "dying": 0, "mem_kb": 1, "cpu_time": 0})
    assert xen.orphans(hypervisor.open_local()) == []


def test_an_orphan_that_has_run_is_left_alone(programs):
    orphan = {"domid": 9, "name": "g", "memory": 1, "has_run": True}
    with pytest.raises(CloudError, match=r"Xen domain 9 \(g\): libvirt does not know it, and it has run"):
        xen.destroy_orphan("one", orphan)
    assert programs[1] == []
    xen.destroy_orphan("one", {**orphan, "has_run": False})
    assert programs[1] == ["xl destroy 9"]
    programs[0]["xl"] = (1, "", "no such domain\n")
    with pytest.raises(CloudError, match=r"Xen domain 9 \(g\): no such domain. See `xl list`"):
        xen.destroy_orphan("one", {**orphan, "has_run": False})


@pytest.fixture(name="loops")
def fixture_loops(tmp_path, monkeypatch):
    """Loop devices: loops(name, file, whether it bypasses the cache)."""
    real = glob.glob
    monkeypatch.setattr(glob, "glob", lambda pattern: sorted(real(str(tmp_path) + pattern)))

    def make(name, backing, direct):
        folder = tmp_path / "sys/block" / name / "loop"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "backing_file").write_text(backing + "\n")
        if direct is not None:
            (folder / "dio").write_text("%d\n" % direct)

    return make


def test_loop_devices_over_a_disk(loops, tmp_path):
    disk, link = tmp_path / "g.img", tmp_path / "link"
    link.symlink_to(disk)
    loops("loop0", str(disk), 0)
    loops("loop1", str(disk), 1)
    loops("loop2", "/another", 0)
    # it goes while one looks
    loops("loop3", str(disk), None)
    assert xen.loop_devices(str(link)) == [("loop0", False), ("loop1", True)]


def test_a_disk_bypasses_the_page_cache(loops, tmp_path, programs, monkeypatch):
    disk = str(tmp_path / "g.img")
    loops("loop0", disk, 0)
    loops("loop1", disk, 1)
    assert xen.direct_io(disk, check_mode=True) == ["loop0"] and programs[1] == []
    # losetup says yes, and the kernel has not done it
    with pytest.raises(CloudError, match=r"/dev/loop0 cannot bypass the page cache \(the kernel did not take it\). Its data would not be safe"):
        xen.direct_io(disk)
    programs[0]["losetup"] = (1, "", "Invalid argument")
    with pytest.raises(CloudError, match=r"cannot bypass the page cache \(Invalid argument\)"):
        xen.direct_io(disk)
    monkeypatch.setattr(subprocess, "run", lambda argv, **dummy: loops("loop0", disk, 1) or subprocess.CompletedProcess(argv, 0, "", ""))
    assert xen.direct_io(disk) == ["loop0"] and xen.direct_io(disk) == []
