# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a machine of the cloud tells of itself."""

from __future__ import annotations

import datetime
import os
import socket
import time

import pytest
from ansible_collections.our.cloud.plugins.module_utils._cloud import machine
from ansible_collections.our.cloud.plugins.module_utils._cloud.machine_facts import Certificate, Facts, Health, Store, Tables, Unit
from ansible_collections.our.cloud.plugins.module_utils._common.shapes import plain
from ansible_collections.our.cloud.plugins.module_utils._site import systemd

CERTIFICATE = """notAfter=Nov 28 10:00:00 2027 GMT
X509v3 Subject Alternative Name:\x20
    DNS:front, DNS:front.lan, IP Address:10.1.2.1
"""


def test_memory():
    assert machine.memory("MemTotal:        8174908 kB\nMemFree:  1 kB\nSwapTotal:       2097152 kB\n") == (7983, 2048)
    assert machine.memory("") == (0, 0)


@pytest.mark.parametrize("cpuinfo, device, has", [
    ("flags : fpu vmx sse", False, True), ("flags : fpu svm", True, True), ("flags : fpu svm_lock", True, False),
    ("CPU implementer : 0x41", True, True), ("CPU implementer : 0x41", False, False)])
def test_virtualization(cpuinfo, device, has):
    assert machine.virtualization(cpuinfo, device) is has


def test_names():
    asked = []

    def resolve(name, dummy):
        asked.append(name)
        if name != "good":
            raise OSError("unknown")

    assert machine.unresolved(["good", "bad", "good"], resolve) == ["bad"]
    assert asked == ["good", "bad"]


def test_cards(tmp_path):
    for name, mac in (("lo", "00:00:00:00:00:00"), ("eth0", "52:54:00:00:00:0B"), ("br0", "52:54:00:00:00:0b"), ("tun", "")):
        (tmp_path / f"sys/class/net/{name}").mkdir(parents=True)
        (tmp_path / f"sys/class/net/{name}/address").write_text(mac + "\n")
    assert machine.macs(str(tmp_path)) == ["52:54:00:00:00:0b"]


def test_store(tmp_path):
    assert machine.store("").told() == {"store": "", "store_free": None, "store_total": None}
    assert machine.store(str(tmp_path)).marker == ""
    (tmp_path / ".our-cloud-store").write_text("f00\n")
    found = machine.store(str(tmp_path))
    assert found.marker == "f00" and 0 < found.free <= found.total
    assert found.told() == {"store": "f00", "store_free": found.free, "store_total": found.total} and Store.of(found.told()) == found
    (tmp_path / ".our-cloud-store").write_text("")
    assert machine.store(str(tmp_path)).marker == "without a name"


def test_facts_of_this_machine(tmp_path):
    (tmp_path / "etc/openvswitch").mkdir(parents=True)
    (tmp_path / "etc/openvswitch/system-id.conf").write_text("abc\n")
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/meminfo").write_text("MemTotal: 2048 kB\nSwapTotal: 1024 kB\n")
    told = machine.facts(["localhost"], "", str(tmp_path)).told()
    assert abs(told.pop("time") - time.time()) < 5 and "localhost" not in told["unresolved"]
    assert told == {"memory": 2, "swap": 1, "virtualization": False, "macs": [], "hostname": socket.gethostname(), "unresolved": told["unresolved"],
                    "system_id": "abc", "store": "", "store_free": None, "store_total": None}


def test_facts_come_to_the_control_machine_as_they_are(tmp_path):
    found = machine.facts(["localhost"], "", str(tmp_path))
    assert Facts.of(found.told()) == found
    assert Facts.of({**found.told(), "clock": [1.5, 2.5]}).clock == (1.5, 2.5)


def test_units(monkeypatch):
    unit = systemd.Unit("nova-compute", False, "failed (failed), exit-code", 2, wanted=True, failed=True)
    monkeypatch.setattr(systemd, "look", lambda names: [unit] if names == ["nova-compute.service"] else [])
    assert machine.units(["nova-compute.service"]) == (Unit("nova-compute", False, "failed (failed), exit-code", 2),)
    assert machine.units([]) == ()


def test_units_are_those_with_our_drop_in(tmp_path):
    for path in ("nova-compute.service.d/our-cloud.conf", "libvirtd.service.d/our-cloud-kvm.conf",
                 "glance-api.service.d/our-cloud.conf", "epmd.socket.d/our-cloud.conf"):
        (tmp_path / "etc/systemd/system" / path).parent.mkdir(parents=True)
        (tmp_path / "etc/systemd/system" / path).touch()
    assert machine.units_of(str(tmp_path)) == ["epmd.socket", "glance-api.service", "nova-compute.service"]


def test_certificate():
    now = datetime.datetime(2027, 11, 26, 12, tzinfo=datetime.timezone.utc)
    assert plain(machine.certificate(CERTIFICATE, True, now)) == {"days": 1, "names": ["front", "front.lan", "10.1.2.1"], "signed": True}
    assert machine.certificate("", False, now) is None


def test_health_of_a_machine_without_a_cloud(monkeypatch):
    monkeypatch.setattr(machine, "units_of", lambda: [])
    monkeypatch.setattr(machine, "CERTIFICATE", os.devnull)
    assert plain(machine.health()) == {"units": [], "certificate": None, "schemas": []}


def test_health_comes_to_the_control_machine_as_it_is():
    found = Health((Unit("nova-compute", True, "active (running)", 2),), Certificate(1, ("front", "10.1.2.1"), True), (Tables("nova", "no cell1"),))
    assert Health.of(plain(found)) == found and Health.of(plain(Health())) == Health()
    with pytest.raises(KeyError):
        Health.of({"certificate": None})


def test_tables(monkeypatch):
    def look(name):
        if name == "glance":
            raise machine.schema.NotThere("no configuration")
        return machine.schema.Work(name, ["nova: 2 of 5 migrations", "no cell1"] if name == "nova" else [], [])

    monkeypatch.setattr(machine.schema, "look", look)
    assert plain(machine.tables(["nova", "placement", "glance"])) == [
        {"name": "nova", "lacks": "nova: 2 of 5 migrations, no cell1"}, {"name": "placement", "lacks": ""}, {"name": "glance", "lacks": "no configuration"}]
