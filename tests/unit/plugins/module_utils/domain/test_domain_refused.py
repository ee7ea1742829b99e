# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is not a guest, or not a domain."""

from __future__ import annotations

import pytest
from domain_samples import GUEST, complete

from ansible_collections.our.cloud.plugins.module_utils._guest import description, domain


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
    ({"vcpus": 0}, "guest our-vm: vcpus is 0, a whole number of at least 1 is needed"),
    ({"vcpus": "2.5"}, "guest our-vm: vcpus is '2.5', a whole number"),
    ({"mac": "00:16:3e"}, "is not a MAC address"),
    ({"mac": "01:00:5e:00:00:01"}, "is a multicast address"),
    ({"mac": "00:00:00:00:00:00"}, "belongs to no machine"),
    ({"bridge": None}, "a MAC address without a bridge"),
    ({"kernel": None}, "a ramdisk without a kernel"),
    ({"kernel": None, "ramdisk": None}, "kind pvh of amd64 has no firmware to boot from; give a kernel"),
    ({"kind": "pv", "kernel": None, "ramdisk": None}, "kind pv of amd64 has no firmware to boot from; give a kernel"),
    ({"kind": "qemu", "arch": "armhf", "kernel": None, "ramdisk": None}, "kind qemu of armhf has no firmware to boot from; give a kernel"),
    ({"kind": "kvm", "kernel": None, "ramdisk": None, "disk": None}, "kind kvm of amd64 has no firmware to boot from and no disk; give a kernel"),
    ({"store": None}, "is the relative path boot/k and no store is given"),
])
def test_refused(change, words):
    with pytest.raises(description.GuestError) as error:
        complete({**GUEST, **change})
    assert words in str(error.value)


@pytest.mark.parametrize("text", ["", "<domain", "hello", "<network/>"])
def test_not_a_domain(text):
    with pytest.raises(ValueError, match="not XML|not a domain"):
        domain.parse(text)
