# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.our.cloud.plugins.module_utils import domain

GUEST = {"name": "our-vm", "kind": "pvh", "memory": 192, "vcpus": 1, "store": "/srv/cloud", "kernel": "boot/k", "ramdisk": "boot/r",
         "disk": "images/our-vm.img", "bridge": "br0", "mac": "00:16:3E:00:00:50"}

XEN = """<domain type="xen">
  <name>our-vm</name>
  <memory unit="KiB">196608</memory>
  <currentMemory unit="KiB">196608</currentMemory>
  <vcpu>1</vcpu>
  <os>
    <type arch="x86_64" machine="{machine}">{os}</type>
    <kernel>/srv/cloud/boot/k</kernel>
    <initrd>/srv/cloud/boot/r</initrd>
    <cmdline>root=/dev/xvda ro console=hvc0</cmdline>
  </os>
{features}  <on_poweroff>destroy</on_poweroff>
  <on_reboot>restart</on_reboot>
  <on_crash>destroy</on_crash>
  <devices>
    <disk type="file" device="disk">
      <driver name="phy" type="raw" />
      <source file="/srv/cloud/images/our-vm.img" />
      <target dev="{target}" bus="{bus}" />
    </disk>
    <console type="pty">
      <target type="{console}" port="0" />
    </console>
    <interface type="bridge">
      <mac address="00:16:3e:00:00:50" />
      <source bridge="br0" />
    </interface>
  </devices>
</domain>
"""
HVM = "  <features>\n    <acpi />\n    <apic />\n    <pae />\n  </features>\n"

QEMU = """<domain type="{kind}">
  <name>our-vm</name>
  <memory unit="KiB">196608</memory>
  <currentMemory unit="KiB">196608</currentMemory>
  <vcpu>1</vcpu>
  <os>
    <type arch="{arch}" machine="{machine}">hvm</type>
    <kernel>/srv/cloud/boot/k</kernel>
    <initrd>/srv/cloud/boot/r</initrd>
    <cmdline>root=/dev/vda ro console={console}</cmdline>
  </os>
{features}  <on_poweroff>destroy</on_poweroff>
  <on_reboot>restart</on_reboot>
  <on_crash>destroy</on_crash>
  <devices>
    <disk type="file" device="disk">
      <driver name="qemu" type="raw" cache="none" io="native" discard="unmap" />
      <source file="/srv/cloud/images/our-vm.img" />
      <target dev="vda" bus="virtio" />
    </disk>
    <controller type="usb" model="none" />
    <console type="pty">
      <target type="serial" port="0" />
    </console>
    <rng model="virtio">
      <backend model="random">/dev/urandom</backend>
    </rng>
    <interface type="bridge">
      <mac address="00:16:3e:00:00:50" />
      <source bridge="br0" />
      <model type="virtio" />
    </interface>
  </devices>
</domain>
"""
ACPI = "  <features>\n    <acpi />\n  </features>\n"

# What libvirt 11.3 made of a definition, cut to what matters
NORMALISED = """<domain type='qemu'>
  <name>our-vm</name>
  <uuid>e5d11d1f-09f5-460e-b50f-d0851c5d7b14</uuid>
  <memory unit='KiB'>196608</memory>
  <currentMemory unit='KiB'>196608</currentMemory>
  <vcpu placement='static'>1</vcpu>
  <os>
    <type arch='x86_64' machine='pc-q35-10.0'>hvm</type>
    <kernel>/srv/cloud/boot/k</kernel>
    <initrd>/srv/cloud/boot/r</initrd>
    <cmdline>root=/dev/vda ro console=ttyS0</cmdline>
    <boot dev='hd'/>
  </os>
  <features>
    <acpi/>
  </features>
  <cpu mode='custom' match='exact' check='none'>
    <model fallback='forbid'>qemu64</model>
  </cpu>
  <clock offset='utc'/>
  <devices>
    <emulator>/usr/bin/qemu-system-x86_64</emulator>
    <disk type='file' device='disk'>
      <driver name='qemu' type='raw' cache='none' io='native' discard='unmap'/>
      <source file='/srv/cloud/images/our-vm.img'/>
      <target dev='vda' bus='virtio'/>
      <address type='pci' domain='0x0000' bus='0x02' slot='0x00' function='0x0'/>
    </disk>
    <interface type='bridge'>
      <mac address='00:16:3e:00:00:50'/>
      <source bridge='br0'/>
      <model type='virtio'/>
      <address type='pci' domain='0x0000' bus='0x01' slot='0x00' function='0x0'/>
    </interface>
  </devices>
</domain>
"""


def xml(**changes):
    return domain.to_text(domain.overlay(domain.complete({**GUEST, **changes})))


@pytest.mark.parametrize("kind, machine, os, features, target, bus, console", [
    ("pvh", "xenpvh", "xenpvh", "", "xvda", "xen", "xen"),
    ("pv", "xenpv", "linux", "", "xvda", "xen", "xen"),
    ("hvm", "xenfv", "hvm", HVM, "hda", "ide", "serial"),
])
def test_xen(kind, machine, os, features, target, bus, console):
    assert xml(kind=kind) == XEN.format(machine=machine, os=os, features=features, target=target, bus=bus, console=console)


@pytest.mark.parametrize("kind, debian, arch, machine, console, features", [
    ("kvm", "amd64", "x86_64", "q35", "ttyS0", ACPI),
    ("qemu", "amd64", "x86_64", "q35", "ttyS0", ACPI),
    ("qemu", "armhf", "armv7l", "virt", "ttyAMA0", ""),
    ("qemu", "arm64", "aarch64", "virt", "ttyAMA0", ""),
])
def test_qemu(kind, debian, arch, machine, console, features):
    assert xml(kind=kind, arch=debian) == QEMU.format(kind=kind, arch=arch, machine=machine, console=console, features=features)


def test_nothing_to_do_on_what_libvirt_made():
    current = domain.parse(NORMALISED)
    assert domain.same(current, domain.overlay(domain.complete({**GUEST, "kind": "qemu"}), current))


@pytest.mark.parametrize("change, path, value", [
    ({"memory": 256}, "memory", "262144"),
    ({"vcpus": 2}, "vcpu", "2"),
    ({"cmdline": "quiet"}, "os/cmdline", "quiet"),
    ({"kernel": "/boot/k2"}, "os/kernel", "/boot/k2"),
])
def test_a_change_touches_only_itself(change, path, value):
    current = domain.parse(NORMALISED)
    wanted = domain.overlay(domain.complete({**GUEST, "kind": "qemu", **change}), current)
    assert wanted.findtext(path) == value
    assert not domain.same(current, wanted)
    assert wanted.findtext("uuid") == current.findtext("uuid")
    assert wanted.find("devices/disk/address").attrib == current.find("devices/disk/address").attrib


def test_card_and_disk_are_changed_in_place():
    current = domain.parse(NORMALISED)
    wanted = domain.overlay(domain.complete({**GUEST, "kind": "qemu", "bridge": "br1", "mac": "00:16:3e:00:00:51", "disk": "images/b.img"}), current)
    assert [nic.find("source").get("bridge") for nic in wanted.findall("devices/interface")] == ["br1"]
    assert [disk.find("source").get("file") for disk in wanted.findall("devices/disk")] == ["/srv/cloud/images/b.img"]


def test_cpu():
    current = domain.parse(NORMALISED)
    assert domain.overlay(domain.complete({**GUEST, "kind": "kvm", "cpu": "host-model"}), current).find("cpu").attrib == {"mode": "host-model"}
    assert domain.overlay(domain.complete({**GUEST, "kind": "qemu", "cpu": "qemu64"}), current).find("cpu").get("check") == "none"
    assert domain.overlay(domain.complete({**GUEST, "kind": "qemu", "cpu": "EPYC"}), current).findtext("cpu/model") == "EPYC"


@pytest.mark.parametrize("change, words", [
    ({"name": "bad name"}, "guest name"),
    ({"name": "../x"}, "guest name"),
    ({"name": None}, "guest name"),
    ({"kind": "vmware"}, "kind 'vmware' is not one of pvh"),
    ({"kind": None}, "kind None"),
    ({"arch": "sparc"}, "guest our-vm: architecture 'sparc'"),
    ({"arch": "arm64"}, "kind pvh does not exist for arm64; kinds that do: kvm, qemu"),
    ({"memory": "much"}, "memory is 'much'"),
    ({"memory": 8}, "at least 16"),
    ({"memory": True}, "memory is True"),
    ({"vcpus": 0}, "vcpus is 0"),
    ({"mac": "00:16:3e"}, "not the MAC address"),
    ({"mac": "01:00:5e:00:00:01"}, "not the MAC address of one network card"),
    ({"mac": "00:00:00:00:00:00"}, "not the MAC address"),
    ({"bridge": None}, "a MAC address without a bridge"),
    ({"kernel": None}, "a ramdisk without a kernel"),
    ({"kernel": None, "ramdisk": None}, "no firmware to boot from; give a kernel"),
    ({"store": None}, "is the relative path boot/k and no store is given"),
])
def test_refused(change, words):
    with pytest.raises(domain.GuestError) as error:
        domain.complete({**GUEST, **change})
    assert words in str(error.value)


@pytest.mark.parametrize("text", ["", "<domain", "hello", "<network/>"])
def test_not_a_domain(text):
    with pytest.raises(ValueError, match="not XML|not a domain"):
        domain.parse(text)


def test_facts():
    facts = domain.facts(domain.parse(NORMALISED))
    assert (facts["name"], facts["kind"], facts["memory"], facts["vcpus"], facts["hostdevs"]) == ("our-vm", "qemu", 192, 1, 0)
    assert facts["disks"][0]["path"] == "/srv/cloud/images/our-vm.img" and facts["disks"][0]["cache"] == "none"
    assert facts["interfaces"] == [{"mac": "00:16:3e:00:00:50", "bridge": "br0", "type": "bridge"}]


def test_facts_of_little():
    facts = domain.facts(domain.parse("<domain type='xen'><name>x</name><memory unit='MiB'>64</memory><devices><disk/><interface/></devices></domain>"))
    assert facts["memory"] == 64 and facts["kind"] == "pv" and facts["disks"][0]["path"] is None


@pytest.mark.parametrize("one, other, expected", [
    ("<a x='1' y='2'><b/> </a>", "<a y='2' x='1'>\n <b></b></a>", True),
    ("<a><b/><c/></a>", "<a><c/><b/></a>", False),
    ("<a>1</a>", "<a>2</a>", False),
])
def test_same(one, other, expected):
    assert domain.same(domain.ET.fromstring(one), domain.ET.fromstring(other)) is expected


@pytest.mark.parametrize("machine, alias, expected", [
    ("pc-q35-10.0", "q35", True), ("q35", "q35", True), ("virt-10.0", "virt", True), ("xenpvh", "xenpvh", True),
    ("pc-i440fx-10.0", "q35", False), (None, "q35", False), ("virtual-1", "virt", False),
])
def test_machine(machine, alias, expected):
    assert domain.machine_matches(machine, alias) is expected
