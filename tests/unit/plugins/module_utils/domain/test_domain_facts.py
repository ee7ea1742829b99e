# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a domain's XML says."""

from __future__ import annotations

import pytest
from domain_samples import NORMALISED, xml

from ansible_collections.our.cloud.plugins.module_utils._guest import domain, domain_facts


def test_facts_of_a_chain():
    text = NORMALISED.replace("</disk>", "<backingStore type='file'><format type='raw'/><source file='/srv/cloud/registry/emi-01/root.img'/>"
                              "<backingStore/></backingStore></disk>")
    assert domain_facts.facts(domain.parse(text)).disks[0].backing == ("/srv/cloud/registry/emi-01/root.img",)


def test_facts():
    facts = domain_facts.facts(domain.parse(NORMALISED))
    assert (facts.name, facts.kind, facts.memory, facts.vcpus, facts.hostdevs) == ("our-vm", "qemu", 192, 1, 0)
    assert facts.disks[0].path == "/srv/cloud/images/our-vm.img" and facts.disks[0].cache == "none"
    assert facts.interfaces == (domain_facts.Card("00:16:3e:00:00:50", "br0", "bridge"),)


def test_facts_of_a_console():
    assert domain_facts.facts(domain.parse(xml(kind="kvm"))).console_log == "/var/log/libvirt/qemu/our-vm-console.log"
    assert domain_facts.facts(domain.parse(NORMALISED)).console_log is None


def test_facts_of_little():
    facts = domain_facts.facts(domain.parse("<domain type='xen'><name>x</name><memory unit='MiB'>64</memory><devices><disk/><interface/></devices></domain>"))
    assert facts.memory == 64 and facts.kind == "pv" and facts.disks[0].path is None


@pytest.mark.parametrize("unit, number, mib", [
    ("b", 3 << 20, 3), ("bytes", 3 << 20, 3), ("KiB", 3072, 3), ("k", 3072, 3), ("MiB", 3, 3), ("M", 3, 3), ("GiB", 2, 2048), ("G", 2, 2048), (None, 3072, 3),
    ("KiB", 3071, 2),
])
def test_memory_in_libvirts_units(unit, number, mib):
    root = domain.parse(f"<domain><memory{f' unit={unit!r}' if unit else ''}>{number}</memory></domain>")
    assert domain_facts.memory_mib(root) == mib


def test_what_people_ask_of_a_domain():
    """Of a guest that nobody here has described: all that its XML says, and nothing else."""
    found = domain_facts.facts(domain.parse("""<domain type='kvm'><name>g</name><uuid>u</uuid><memory unit='MiB'>64</memory><vcpu>2</vcpu>
<os><type arch='aarch64' machine='virt-10.0'>hvm</type><kernel>/k</kernel><initrd>/r</initrd><cmdline>quiet</cmdline></os><devices>
<disk type='file' device='disk'><driver name='qemu' type='qcow2' cache='none'/><source file='/g.qcow2'/><target dev='vda'/>
<backingStore type='file'><source file='/root.img'/></backingStore></disk>
<disk type='block' device='lun'><source dev='/dev/sdb'/><target dev='sda'/><shareable/></disk>
<disk type='network'><source name='pool/g'/></disk><disk type='file' device='cdrom'><readonly/></disk>
<interface type='bridge'><mac address='52:54:00:00:00:01'/><source bridge='br0'/></interface><interface type='user'/>
<interface type='hostdev'/><hostdev/><filesystem/><tpm/><console><log file='/log'/></console></devices></domain>"""))
    asked = ("name", "uuid", "arch", "machine", "memory", "vcpus", "kernel", "ramdisk", "cmdline", "hostdevs", "console_log")
    assert {key: getattr(found, key) for key in asked} == {
        "name": "g", "uuid": "u", "arch": "aarch64", "machine": "virt-10.0", "memory": 64, "vcpus": 2, "kernel": "/k", "ramdisk": "/r", "cmdline": "quiet",
        "hostdevs": 4, "console_log": "/log"}
    keys = ("device", "target", "path", "type", "driver", "format", "cache", "readonly", "shareable", "backing")
    assert [tuple(getattr(disk, key) for key in keys) for disk in found.disks] == [
        ("disk", "vda", "/g.qcow2", "file", "qemu", "qcow2", "none", False, False, ("/root.img",)),
        ("lun", "sda", "/dev/sdb", "block", None, None, None, False, True, ()), ("disk", None, "pool/g", "network", None, None, None, False, False, ()),
        ("cdrom", None, None, "file", None, None, None, True, False, ())]
    assert found.interfaces == (domain_facts.Card("52:54:00:00:00:01", "br0", "bridge"), domain_facts.Card(type="user"), domain_facts.Card(type="hostdev"))
    least = domain_facts.facts(domain.parse("<domain type='kvm'><name>g</name><memory>1024</memory><devices/></domain>"))
    assert (least.arch, least.machine, least.vcpus, least.kernel, least.disks, least.hostdevs, least.console_log) == (
        None, None, 1, None, (), 0, None)
