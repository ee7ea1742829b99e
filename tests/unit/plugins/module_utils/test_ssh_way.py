# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How ssh gets to what is on the LAN alone."""

from __future__ import annotations

import ipaddress
import shlex
import subprocess

import pytest

from ansible_collections.our.cloud.plugins.module_utils._site import ssh_way
from ansible_collections.our.cloud.plugins.module_utils._site.ssh_way import Login


@pytest.mark.parametrize("arguments, jump", [
    ("", None),
    ("-o StrictHostKeyChecking=no -i key", None),
    ("-J front", "front"),
    ("-Jfront -o ProxyJump=none", "front"),
    ("-o ProxyJump=root@198.51.100.10", "root@198.51.100.10"),
    ("-oproxyjump=front", "front"),
    ("-o 'ProxyJump front'", "front"),
    ("-o ProxyJump=none", "none"),
    ("-o ProxyCommand='docker exec -i front nc %h 22' -o LogLevel=ERROR", "docker exec -i front nc %h 22"),
    ("-o", None),
    ("-o 'unfinished", None),
])
def test_said_jump(arguments, jump):
    assert ssh_way.said_jump(arguments) == jump


CONFIG = "Host our-vm 192.0.2.*\n    ProxyJump front\nHost 192.0.3.1\n    ProxyJump none\nHost 192.0.3.2\n    ProxyCommand nc %h %p\n"


@pytest.mark.parametrize("target, found", [("our-vm", True), ("their-vm", False), ("192.0.2.9", True), ("192.0.3.1", False), ("192.0.3.2", True)])
def test_ssh_itself_tells_what_its_configuration_says(tmp_path, target, found):
    (tmp_path / "config").write_text(CONFIG, encoding="ascii")
    assert ssh_way.configured_jump(f"-F {tmp_path}/config", target) is found
    assert not ssh_way.configured_jump(f"-F {tmp_path}/none", target)
    assert not ssh_way.configured_jump("'unfinished", target)


def test_without_ssh_nothing_is_configured(monkeypatch):
    def gone(*dummy, **more):
        raise more.pop("error", FileNotFoundError("ssh"))

    monkeypatch.setattr(subprocess, "run", gone)
    assert not ssh_way.configured_jump("", "our-vm")


@pytest.mark.parametrize("login, arguments", [
    (Login("192.0.2.1"), ["ProxyJump=192.0.2.1"]),
    (Login("front", "root", "2222"), ["ProxyJump=root@front:2222"]),
    (Login("front", "root", "22", "/a key", "-o 'User x'"), ["ProxyCommand=ssh -o 'User x' -i '/a key' -p 22 -W %h:%p root@front"]),
    (Login("front", key="k"), ["ProxyCommand=ssh -i k -W %h:%p front"]),
    (Login("front", arguments="-F c"), ["ProxyCommand=ssh -F c -W %h:%p front"]),
])
def test_through(login, arguments):
    assert shlex.split(ssh_way.through(login)) == ["-o", *arguments]
    assert ssh_way.said_jump(ssh_way.through(login)) == arguments[0].partition("=")[2]


def test_on_network():
    assert ssh_way.on_network(ipaddress.IPv4Network("127.0.0.0/8"))
    assert not ssh_way.on_network(ipaddress.IPv4Network("198.51.100.0/24"))
    # there is no way to it, not even a default one
    assert not ssh_way.on_network(ipaddress.IPv4Network("255.255.255.254/31"))


@pytest.mark.parametrize("host, found", [("192.0.2.1", True), ("192.0.3.1", False), ("front", False)])
def test_within(host, found):
    assert ssh_way.within(host, ipaddress.IPv4Network("192.0.2.0/24")) is found
