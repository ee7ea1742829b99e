# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Connections to a libvirtd, here and of another host, and looks into another host's folders."""

from __future__ import annotations

import socket
import threading
import time
import types

import fake_libvirt
import pytest

from ansible_collections.our.cloud.plugins.module_utils._common.errors import CloudError
from ansible_collections.our.cloud.plugins.module_utils._hypervisor import hypervisor, remote_files


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
