# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Guests of a hypervisor: found, defined, started, ended, and the memory that they take."""

from __future__ import annotations

import os

import fake_libvirt
import pytest

from ansible_collections.our.cloud.plugins.module_utils._common.errors import CloudError
from ansible_collections.our.cloud.plugins.module_utils._guest import lease
from ansible_collections.our.cloud.plugins.module_utils._guest.told import Memory
from ansible_collections.our.cloud.plugins.module_utils._hypervisor import hypervisor, libxl_log


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
    assert hypervisor.memory(conn) == Memory(free=4096, total=4096)
    guest = one.add("g", memory=256)
    guest.rss = 100
    assert (hypervisor.resident(conn, "g"), hypervisor.resident(conn, "h")) == (100, 0)
    guest.word = "stopped"
    assert hypervisor.resident(conn, "g") == 0


def test_what_linux_can_free_counts_as_free(one):
    conn = hypervisor.open_local()
    conn.getMemoryStats = lambda dummy: {"total": 8 << 10, "free": 1 << 10, "buffers": 2 << 10, "cached": 3 << 10}
    assert hypervisor.memory(conn) == Memory(free=6, total=8)


def test_one_that_has_just_gone_takes_nothing(one):
    def gone():
        raise fake_libvirt.LibvirtError("Domain not found", 42)

    one.add("g").memoryStats = gone
    assert hypervisor.resident(hypervisor.open_local(), "g") == 0
