# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A guest as the inventory describes it, and what libvirt makes of such a description."""

from __future__ import annotations

from ansible_collections.our.cloud.plugins.module_utils._common import shapes
from ansible_collections.our.cloud.plugins.module_utils._guest import description, domain

GUEST = {"name": "our-vm", "kind": "pvh", "memory": 192, "vcpus": 1, "store": "/srv/cloud", "kernel": "boot/k", "ramdisk": "boot/r",
         "disk": "images/our-vm.img", "bridge": "br0", "mac": "00:16:3E:00:00:50"}


# What libvirt 11.3 made of a definition, cut to what matters
NORMALISED = """<domain type='qemu'>
  <name>our-vm</name>
  <uuid>e5d11d1f-09f5-460e-b50f-d0851c5d7b14</uuid>
  <metadata>
    <our:cloud xmlns:our="urn:our-cloud:1" owner="guests" name="our-vm"/>
  </metadata>
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
      <source file='/srv/cloud/images/our-vm.img'>
        <seclabel model='dac' relabel='no'/>
      </source>
      <target dev='vda' bus='virtio'/>
      <address type='pci' domain='0x0000' bus='0x02' slot='0x00' function='0x0'/>
    </disk>
    <interface type='bridge'>
      <mac address='00:16:3e:00:00:50'/>
      <source bridge='br0'/>
      <target dev='vm-3e000050'/>
      <model type='virtio'/>
      <address type='pci' domain='0x0000' bus='0x01' slot='0x00' function='0x0'/>
    </interface>
  </devices>
</domain>
"""


def complete(guest, where=None):
    """Of a description as the module vm is told it."""
    return description.complete(shapes.of(description.Description, guest), where)


def xml(**changes):
    return domain.to_text(domain.overlay(complete({**GUEST, **changes})))


def capabilities(host, *guests):
    """As libvirt gives them, cut to what matters: guests are (architecture, program, kinds)."""
    return "<capabilities><host><cpu><arch>%s</arch></cpu></host>%s</capabilities>" % (host, "".join(
        "<guest><os_type>hvm</os_type><arch name='%s'><wordsize>64</wordsize><emulator>/usr/bin/%s</emulator><machine>m</machine>%s</arch></guest>" % (
            arch, program, "".join("<domain type='%s'/>" % kind for kind in kinds)) for arch, program, kinds in guests))


AMD64 = description.host(capabilities("x86_64", ("armv6l", "qemu-system-arm", ["qemu"]), ("armv7l", "qemu-system-arm", ["qemu"]),
                                      ("aarch64", "qemu-system-aarch64", ["qemu"]), ("i686", "qemu-system-i386", ["qemu", "kvm"]),
                                      ("x86_64", "qemu-system-x86_64", ["qemu", "kvm"])))

# libvirt finds qemu-system-aarch64 for armv7l there, for it alone has KVM (virQEMUCapsGetDefaultEmulator)
ARM64 = description.host(capabilities("aarch64", ("armv7l", "qemu-system-aarch64", ["qemu", "kvm"]), ("aarch64", "qemu-system-aarch64", ["qemu", "kvm"])))
