# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Single settings of single services that carry a promise of the guides. The scenarios show what they do; this tells at once that one is missing."""

from __future__ import annotations

import pathlib
import re

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

ROLES = pathlib.Path(__file__).resolve().parents[2] / "roles"


@pytest.mark.parametrize("path, line", [
    # an address outlives its lease: scenario bridge
    ("bridge/templates/bridge.network.j2", "KeepConfiguration=dynamic"),
    # who comes before the store tries again without end: case store of the scenarios with a store
    ("image_store/templates/store.mount.conf.j2", "StartLimitIntervalSec=0"),
    ("lease/templates/our-cloud-autostart.service.j2", "StartLimitIntervalSec=0"),
    ("lease/templates/our-cloud-lease.service.j2", "Restart=always"),
    # a stranger has no name: scenario gateway
    ("gateway/templates/our-cloud-gateway.conf.j2", "dhcp-ignore-names=tag:!known"),
    ("gateway/templates/our-cloud-gateway-unit.conf.j2", "Restart=on-failure"),
    # guests are shut down while libvirtd is there
    ("kvm/templates/our-cloud-kvm.conf.j2", "Before=libvirt-guests.service"),
    ("xen/templates/our-cloud-xen.conf.j2", "Before=libvirt-guests.service"),
])
def test_setting(path, line):
    assert line in (ROLES / path).read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize("path, setting", [("certificate.yml", 'ownca_not_before: "-1d"'), ("ca.yml", 'selfsigned_not_before: "-1d"')])
def test_a_clock_that_is_behind_believes_a_new_certificate(path, setting):
    assert setting in (ROLES / "certificates/tasks" / path).read_text(encoding="utf-8")


def test_no_shell_reads_names_of_interfaces():
    """The hook runs as root, and who may name an interface need not be."""
    code = re.sub(r"(?m)^\s*#.*$", "", (ROLES / "guests/files/announce.pl").read_text(encoding="utf-8"))
    assert not re.search(r"`|\bqx\b|\bglob\b|\bexec\b|<\*|open\([^,]+,\s*\"", code)
    assert re.findall(r"system\((.*)\);", code) == ["'bridge', 'fdb', 'del', $mac, 'dev', $port, 'master'"]


@pytest.mark.parametrize("allowed, enabled, names", [
    (["n1", "n2"], True, ["n1", "n2", "n3"]), ([], True, ["n3"]), (["n1"], False, ["n3"]), (["n3", "n1"], True, ["n1", "n3"]),
])
def test_whom_libvirtd_lets_in(allowed, enabled, names):
    """An empty list would let in everybody with a certificate of the CA."""
    variables = yaml.safe_load((ROLES / "relocation/vars/main.yml").read_text(encoding="utf-8"))
    variables = {name: trust_as_template(value) if isinstance(value, str) else value for name, value in variables.items()}
    variables.update(inventory_hostname="n3", relocation_hosts_allow=allowed, relocation_enabled=enabled, relocation_tls_priority="",
                     relocation__libvirt={"cert": "/c", "key": "/k"}, ansible_managed="x")
    text = (ROLES / "relocation/templates/our-cloud-libvirtd.conf.j2").read_text(encoding="utf-8")
    lines = Templar(loader=DataLoader(), variables=variables).template(trust_as_template(text)).splitlines()
    assert f'tls_allowed_dn_list = [ {", ".join(chr(34) + "CN=" + name + chr(34) for name in names)} ]' in lines
    assert "tls_no_verify_certificate = 0" in lines and 'crl_file = "/etc/pki/CA/cacrl.pem"' in lines
