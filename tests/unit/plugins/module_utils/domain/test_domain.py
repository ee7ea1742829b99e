# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What XML is made of a guest's description, and of one that is laid over what libvirt holds."""

from __future__ import annotations

import dataclasses

import pytest
from domain_samples import AMD64, ARM64, GUEST, NORMALISED, complete, xml

from ansible_collections.our.cloud.plugins.module_utils._guest import description, domain, domain_facts

XEN = """<domain xmlns:our="urn:our-cloud:1" type="xen">
  <name>our-vm</name>
  <metadata>
    <our:cloud owner="guests" name="our-vm" />
  </metadata>
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
      <target dev="vm-3e000050" />
    </interface>
  </devices>
</domain>
"""
HVM = "  <features>\n    <acpi />\n    <apic />\n    <pae />\n  </features>\n"

QEMU = """<domain xmlns:our="urn:our-cloud:1" type="{kind}">
  <name>our-vm</name>
  <metadata>
    <our:cloud owner="guests" name="our-vm" />
  </metadata>
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
      <source file="/srv/cloud/images/our-vm.img">
        <seclabel model="dac" relabel="no" />
      </source>
      <target dev="vda" bus="virtio" />
    </disk>
    <controller type="usb" model="none" />
    <console type="pty">
      <target type="serial" port="0" />
      <log file="/var/log/libvirt/qemu/our-vm-console.log" append="on" />
    </console>
    <rng model="virtio">
      <backend model="random">/dev/urandom</backend>
    </rng>
    <interface type="bridge">
      <mac address="00:16:3e:00:00:50" />
      <source bridge="br0" />
      <target dev="vm-3e000050" />
      <model type="virtio" />
    </interface>
  </devices>
</domain>
"""
PC = """  <features>
    <acpi />
  </features>
  <clock offset="utc">
    <timer name="hpet" present="no" />
  </clock>
"""


@pytest.mark.parametrize("kind, machine, os, features, target, bus, console", [
    ("pvh", "xenpvh", "xenpvh", "", "xvda", "xen", "xen"),
    ("pv", "xenpv", "linux", "", "xvda", "xen", "xen"),
    ("hvm", "xenfv", "hvm", HVM, "hda", "ide", "serial"),
])
def test_xen(kind, machine, os, features, target, bus, console):
    assert xml(kind=kind) == XEN.format(machine=machine, os=os, features=features, target=target, bus=bus, console=console)


@pytest.mark.parametrize("kind, debian, arch, machine, console, features", [
    ("kvm", "amd64", "x86_64", "q35", "ttyS0", PC),
    ("qemu", "amd64", "x86_64", "q35", "ttyS0", PC),
    ("kvm", "i386", "i686", "q35", "ttyS0", PC),
])
def test_qemu(kind, debian, arch, machine, console, features):
    assert xml(kind=kind, arch=debian) == QEMU.format(kind=kind, arch=arch, machine=machine, console=console, features=features)


ARM = """<domain xmlns:our="urn:our-cloud:1" type="{kind}">
  <name>our-vm</name>
  <metadata>
    <our:cloud owner="guests" name="our-vm" />
  </metadata>
  <memory unit="KiB">196608</memory>
  <currentMemory unit="KiB">196608</currentMemory>
  <vcpu>1</vcpu>
  <os>
    <type arch="{arch}" machine="virt">hvm</type>
    <kernel>/srv/cloud/boot/k</kernel>
    <initrd>/srv/cloud/boot/r</initrd>
    <cmdline>root=/dev/vda ro console=ttyAMA0</cmdline>
  </os>
  <on_poweroff>destroy</on_poweroff>
  <on_reboot>restart</on_reboot>
  <on_crash>destroy</on_crash>
  <devices>
    <emulator>{emulator}</emulator>
    <disk type="file" device="disk">
      <driver name="qemu" type="raw" cache="none" io="native" discard="unmap" />
      <source file="/srv/cloud/images/our-vm.img">
        <seclabel model="dac" relabel="no" />
      </source>
      <target dev="vda" bus="virtio" />
{address}    </disk>
    <controller type="usb" model="none" />
    <console type="pty">
      <target type="serial" port="0" />
      <log file="/var/log/libvirt/qemu/our-vm-console.log" append="on" />
    </console>
    <rng model="virtio">
      <backend model="random">/dev/urandom</backend>
{address}    </rng>
    <interface type="bridge">
      <mac address="00:16:3e:00:00:50" />
      <source bridge="br0" />
      <target dev="vm-3e000050" />
      <model type="virtio" />
{address}    </interface>
  </devices>
{cpu}</domain>
"""
MMIO = '      <address type="virtio-mmio" />\n'
PASSTHROUGH = '  <cpu mode="host-passthrough" />\n'
CPU = '  <cpu mode="custom" match="exact">\n    <model fallback="forbid">%s</model>\n  </cpu>\n'


# What libvirt makes of the first of these is -accel kvm -cpu host,aarch64=off (its test aarch64-kvm-32-on-64).
@pytest.mark.parametrize("where, kind, debian, arch, emulator, cpu, address", [
    (ARM64, "kvm", "armhf", "armv7l", "qemu-system-aarch64", PASSTHROUGH, MMIO),
    (ARM64, "kvm", "armel", "armv7l", "qemu-system-aarch64", PASSTHROUGH, MMIO),
    (ARM64, "kvm", "arm64", "aarch64", "qemu-system-aarch64", PASSTHROUGH, ""),
    (ARM64, "qemu", "armhf", "armv7l", "qemu-system-aarch64", CPU % "cortex-a15", MMIO),
    (AMD64, "qemu", "armhf", "armv7l", "qemu-system-arm", CPU % "cortex-a15", MMIO),
    (AMD64, "qemu", "armel", "armv7l", "qemu-system-arm", CPU % "cortex-a15", MMIO),
    (AMD64, "qemu", "arm64", "aarch64", "qemu-system-aarch64", CPU % "cortex-a53", ""),
])
def test_arm(where, kind, debian, arch, emulator, cpu, address):
    full = complete({**GUEST, "kind": kind, "arch": debian}, where)
    assert domain.to_text(domain.overlay(full)) == ARM.format(kind=kind, arch=arch, emulator="/usr/bin/" + emulator, cpu=cpu, address=address)


def test_the_emulator_of_a_new_guest_is_libvirts():
    root = domain.overlay(complete({**GUEST, "kind": "kvm", "arch": "i386"}, AMD64))
    assert [item.tag for item in root.find("devices")][:2] == ["emulator", "disk"]
    assert root.findtext("devices/emulator") == "/usr/bin/qemu-system-i386"
    assert domain.overlay(complete({**GUEST, "kind": "pvh"}, AMD64)).find("devices/emulator") is None


def test_another_architecture_is_another_machine():
    current = domain.parse(NORMALISED)
    full = complete({**GUEST, "kind": "qemu", "arch": "armhf"}, AMD64)
    assert not domain.is_same_machine(full, current)
    wanted = domain.overlay(full, current)
    assert wanted.findtext("uuid") == current.findtext("uuid")
    wanted.remove(wanted.find("uuid"))
    assert domain.to_text(wanted) == ARM.format(kind="qemu", arch="armv7l", emulator="/usr/bin/qemu-system-arm", cpu=CPU % "cortex-a15", address=MMIO)


def test_the_same_machine():
    current = domain.parse(NORMALISED)
    assert domain.is_same_machine(complete({**GUEST, "kind": "qemu"}), current)
    assert not domain.is_same_machine(complete({**GUEST, "kind": "kvm"}), current)
    assert not domain.is_same_machine(complete({**GUEST, "kind": "qemu", "arch": "i386"}), current)


# What libvirt makes of an ARM definition, cut to what matters
NORMALISED_ARM = """<domain type='qemu'>
  <name>our-vm</name>
  <metadata>
    <our:cloud xmlns:our="urn:our-cloud:1" owner="guests" name="our-vm"/>
  </metadata>
  <memory unit='KiB'>196608</memory>
  <currentMemory unit='KiB'>196608</currentMemory>
  <vcpu placement='static'>1</vcpu>
  <os>
    <type arch='armv7l' machine='virt-10.0'>hvm</type>
    <kernel>/srv/cloud/boot/k</kernel>
    <initrd>/srv/cloud/boot/r</initrd>
    <cmdline>root=/dev/vda ro console=ttyAMA0</cmdline>
  </os>
  <features><gic version='2'/></features>
  <cpu mode='custom' match='exact' check='none'><model fallback='forbid'>cortex-a15</model></cpu>
  <devices>
    <emulator>/usr/bin/qemu-system-arm</emulator>
    <disk type='file' device='disk'>
      <driver name='qemu' type='raw' cache='none' io='native' discard='unmap'/>
      <source file='/srv/cloud/images/our-vm.img'>
        <seclabel model='dac' relabel='no'/>
      </source>
      <target dev='vda' bus='virtio'/>
      <address type='virtio-mmio'/>
    </disk>
    <interface type='bridge'>
      <mac address='00:16:3e:00:00:50'/>
      <source bridge='br0'/>
      <target dev='vm-3e000050'/>
      <model type='virtio'/>
      <address type='virtio-mmio'/>
    </interface>
  </devices>
</domain>
"""


def test_nothing_to_do_on_an_arm_guest_that_libvirt_made():
    current = domain.parse(NORMALISED_ARM)
    assert domain.same(current, domain.overlay(complete({**GUEST, "kind": "qemu", "arch": "armhf"}), current))


def test_virtio_is_put_where_the_kernel_sees_it():
    current = domain.parse(NORMALISED_ARM.replace("<address type='virtio-mmio'/>", "<address type='pci' domain='0x0000' bus='0x01'/>"))
    wanted = domain.overlay(complete({**GUEST, "kind": "qemu", "arch": "armhf"}), current)
    assert domain.same(wanted, domain.parse(NORMALISED_ARM))
    current = domain.parse(NORMALISED_ARM.replace("armv7l", "aarch64").replace("cortex-a15", "cortex-a53"))
    wanted = domain.overlay(complete({**GUEST, "kind": "qemu", "arch": "arm64"}), current)
    assert wanted.findall("devices/*/address") == []


def test_nothing_to_do_on_what_libvirt_made():
    current = domain.parse(NORMALISED)
    assert domain.same(current, domain.overlay(complete({**GUEST, "kind": "qemu"}), current))


@pytest.mark.parametrize("change, path, value", [
    ({"memory": 256}, "memory", "262144"),
    ({"vcpus": 2}, "vcpu", "2"),
    ({"cmdline": "quiet"}, "os/cmdline", "quiet"),
    ({"kernel": "/boot/k2"}, "os/kernel", "/boot/k2"),
])
def test_a_change_touches_only_itself(change, path, value):
    current = domain.parse(NORMALISED)
    wanted = domain.overlay(complete({**GUEST, "kind": "qemu", **change}), current)
    assert wanted.findtext(path) == value
    assert not domain.same(current, wanted)
    assert wanted.findtext("uuid") == current.findtext("uuid")
    assert wanted.find("devices/disk/address").attrib == current.find("devices/disk/address").attrib


def test_card_and_disk_are_changed_in_place():
    current = domain.parse(NORMALISED)
    wanted = domain.overlay(complete({**GUEST, "kind": "qemu", "bridge": "br1", "mac": "00:16:3e:00:00:51", "disk": "images/b.img"}), current)
    assert [nic.find("source").get("bridge") for nic in wanted.findall("devices/interface")] == ["br1"]
    assert [disk.find("source").get("file") for disk in wanted.findall("devices/disk")] == ["/srv/cloud/images/b.img"]


def test_of_several_cards_the_one_with_the_mac_address_is_changed():
    first = "<interface type='bridge'><mac address='52:54:00:00:00:01'/><source bridge='br9'/></interface><interface type='user'/><interface type='bridge'>"
    current = domain.parse(NORMALISED.replace("<interface type='bridge'>", first))
    wanted = domain.overlay(complete({**GUEST, "kind": "qemu", "bridge": "br1"}), current)
    assert [nic.bridge for nic in domain_facts.facts(wanted).interfaces] == ["br9", None, "br1"]


def test_a_card_of_another_mac_address_has_another_port():
    wanted = domain.overlay(complete({**GUEST, "kind": "qemu", "mac": "00:16:3e:00:00:51"}), domain.parse(NORMALISED))
    assert [nic.find("target").get("dev") for nic in wanted.findall("devices/interface")] == ["vm-3e000051"]


def test_cpu():
    current = domain.parse(NORMALISED)
    assert domain.overlay(complete({**GUEST, "kind": "kvm", "cpu": "host-model"}), current).find("cpu").attrib == {"mode": "host-model"}
    assert domain.overlay(complete({**GUEST, "kind": "qemu", "cpu": "qemu64"}), current).find("cpu").get("check") == "none"
    assert domain.overlay(complete({**GUEST, "kind": "qemu", "cpu": "EPYC"}), current).findtext("cpu/model") == "EPYC"


@pytest.mark.parametrize("path, overlay", [("/s/a.qcow2", True), ("/s/a.img", False), ("/s/a.qcow2/b.img", False), ("/s/a.qcow2.img", False)])
def test_a_disks_name_says_what_it_is(path, overlay):
    assert domain.is_overlay(path) is overlay


def test_a_disk_over_an_image():
    guest = {**GUEST, "disk": "images/our-vm.qcow2"}
    root = domain.overlay(complete({**guest, "kind": "kvm"}))
    assert root.find("devices/disk/driver").attrib == {"name": "qemu", "type": "qcow2", "cache": "none", "io": "native", "discard": "unmap"}
    # the header of the file is not asked
    assert [item.tag for item in root.find("devices/disk")][:4] == ["driver", "source", "backingStore", "target"]
    assert domain.same(root.find("devices/disk/backingStore"), domain.ET.fromstring("<backingStore/>"))
    based = dataclasses.replace(complete({**guest, "kind": "kvm"}), backing="/srv/cloud/registry/emi-0123456789ab/root.img")
    for current in (None, root):
        laid = domain.overlay(based, current)
        assert domain.same(laid.find("devices/disk/backingStore"), domain.ET.fromstring(
            '<backingStore type="file"><format type="raw"/><source file="/srv/cloud/registry/emi-0123456789ab/root.img"/><backingStore/></backingStore>'))
        assert domain_facts.facts(laid).disks[0].backing == (based.backing,)
        assert domain.same(domain.overlay(based, laid), laid)
    # where libvirt has it, too
    laid = domain.overlay(based, domain.parse(NORMALISED.replace("our-vm.img", "our-vm.qcow2")))
    assert [item.tag for item in laid.find("devices/disk")] == ["driver", "source", "backingStore", "target", "address"]
    with pytest.raises(description.GuestError, match="disk /srv/cloud/images/our-vm.qcow2 is a qcow2 one, and Xen takes raw ones"):
        complete(guest)


@pytest.mark.parametrize("change, words", [
    ({"root_device": "LABEL=root"}, "root=LABEL=root ro console=hvc0"),
    ({"append": "quiet"}, "root=/dev/xvda ro console=hvc0 quiet"),
    ({"append": "quiet", "cmdline": "own"}, "own"),
    ({"root_device": "/dev/xvda1", "disk": None}, "console=hvc0"),
])
def test_command_line(change, words):
    assert complete({**GUEST, **change}).cmdline == words


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
