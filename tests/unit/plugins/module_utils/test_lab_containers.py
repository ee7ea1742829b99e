# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import tarfile

import pytest
from ansible_collections.our.cloud.plugins.module_utils._lab import containers
from ansible_collections.our.cloud.plugins.module_utils._lab.hardware import Nic

FRONT = [Nic("outside", "52:54:00:00:00:01", "192.0.2.10/24"), Nic("lan", "52:54:00:00:01:01")]
NODE = [Nic("lan", "52:54:00:00:01:02")]


def test_networks_of_a_lab():
    outside, lan = containers.networks(FRONT + NODE, "springfield")
    assert outside["bridge"].startswith("ocw-")
    assert lan["bridge"].startswith("oc-")
    assert max(len(outside["bridge"]), len(lan["bridge"])) <= 15
    assert {key: outside[key] for key in ("name", "internal", "ipam")} == {
        "name": "our-cloud-springfield-outside", "internal": False, "ipam": [{"subnet": "192.0.2.0/24"}]}
    assert {key: lan[key] for key in ("name", "internal", "ipam")} == {"name": "our-cloud-springfield-lan", "internal": True, "ipam": []}


def test_two_labs_have_nothing_in_common():
    mine, theirs = ({(network["name"], network["bridge"]) for network in containers.networks(FRONT, lab)} for lab in ("springfield", "shelbyville"))
    assert not mine & theirs


def test_endpoints_are_in_the_order_of_the_cards():
    assert containers.endpoints(FRONT, "springfield") == [
        {"name": "our-cloud-springfield-outside", "ipv4_address": "192.0.2.10"}, {"name": "our-cloud-springfield-lan"}]
    assert containers.endpoints(NODE, "springfield") == [{"name": "our-cloud-springfield-lan"}]


def test_a_front_end_leaves_its_way_out_to_docker():
    files = containers.container_files(FRONT)
    assert files["usr/lib/lab/cards"] == ("52:54:00:00:00:01 outside\n52:54:00:00:01:01 lan\n", 0o644)
    assert files["etc/systemd/resolved.conf.d/10-lab.conf"] == ("[Resolve]\nDNS=127.0.0.11\n", 0o644)
    assert "Unmanaged=yes" in files["etc/systemd/network/10-lab.network"][0]


def test_a_node_has_its_card_and_nothing_more():
    assert containers.container_files(NODE) == {"usr/lib/lab/cards": ("52:54:00:00:01:02 lan\n", 0o644)}


@pytest.fixture(name="lab")
def fixture_lab(tmp_path):
    (tmp_path / "id_ed25519.pub").write_text("ssh-ed25519 AAAA lab\n", encoding="ascii")
    return {"name": "bart", "state_dir": str(tmp_path), "nics": [{"network": "lan", "mac": "52:54:00:00:01:02"}],
            "files": {"/etc/libvirt/qemu.conf": "namespaces = []\n"}}


def test_a_seed_is_made_once(lab, tmp_path):
    assert containers.seed(lab, False) is True
    first = (tmp_path / "machines/bart/seed.tar").read_bytes()
    assert containers.seed({**lab, "files": {}}, False) is False
    assert (tmp_path / "machines/bart/seed.tar").read_bytes() == first
    assert (tmp_path / "machines/bart/seed.tar").stat().st_mode & 0o777 == 0o600
    with tarfile.open(tmp_path / "machines/bart/seed.tar") as tar:
        names = tar.getnames()
        assert {"etc/hostname", "etc/hosts", "etc/libvirt/qemu.conf", "root/.ssh/authorized_keys", "usr/lib/lab/cards", "var/lib/lab-seed"} <= set(names)
        assert tar.extractfile("etc/libvirt/qemu.conf").read() == b"namespaces = []\n"
        assert b"DHCP=yes" in tar.extractfile("etc/systemd/network/10-lab.network").read()


def test_a_check_makes_no_seed(lab, tmp_path):
    assert containers.seed(lab, True) is True
    assert not (tmp_path / "machines").exists()
