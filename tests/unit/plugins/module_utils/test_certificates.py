# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import base64
import datetime
import hashlib
import ipaddress
import pathlib

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ansible_collections.our.cloud.plugins.module_utils._hypervisor import hypervisor
from ansible_collections.our.cloud.plugins.module_utils._site import certificates

NOW = datetime.datetime(2026, 6, 1, tzinfo=datetime.timezone.utc)
CHECKOUT = pathlib.Path(__file__).resolve().parents[4]
DAY = datetime.timedelta(days=1)
CA_FILE, CRL_FILE = "/etc/pki/CA/cacert.pem", "/etc/pki/CA/cacrl.pem"


def text(thing):
    return thing.public_bytes(serialization.Encoding.PEM).decode()


class Authority:
    """A CA as the role makes it."""

    def __init__(self, name="our.cloud test CA", days=3650, permitted=(), excluded=()):
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        builder = (x509.CertificateBuilder().subject_name(self.name).issuer_name(self.name).public_key(self.key.public_key())
                   .serial_number(1).not_valid_before(NOW - DAY).not_valid_after(NOW + days * DAY)
                   .add_extension(x509.BasicConstraints(True, 0), True))
        if permitted or excluded:
            builder = builder.add_extension(x509.NameConstraints(list(permitted) or None, list(excluded) or None), True)
        self.cert = builder.sign(self.key, hashes.SHA256())
        self.pem = text(self.cert)

    def issue(self, serial, subject=(("CN", "one"),), names=("DNS:one", "IP:192.0.2.1"), days=365, usages=None):
        oids = {"CN": NameOID.COMMON_NAME, "OU": NameOID.ORGANIZATIONAL_UNIT_NAME}
        # an empty list: there is no such extension
        alt = [x509.DNSName(name[4:]) if name.startswith("DNS:") else x509.IPAddress(ipaddress.ip_address(name[3:])) for name in names]
        usages = usages if usages is not None else [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        key = ec.generate_private_key(ec.SECP256R1())
        builder = (x509.CertificateBuilder().subject_name(x509.Name([x509.NameAttribute(oids[part], value) for part, value in subject]))
                   .issuer_name(self.name).public_key(key.public_key()).serial_number(serial)
                   .not_valid_before(NOW - DAY).not_valid_after(NOW + days * DAY))
        for values, kind in ((alt, x509.SubjectAlternativeName), (usages, x509.ExtendedKeyUsage)):
            builder = builder.add_extension(kind(values), False) if values else builder
        return text(builder.sign(self.key, hashes.SHA256()))

    def revoke(self, *serials, days=365):
        builder = x509.CertificateRevocationListBuilder().issuer_name(self.name).last_update(NOW - DAY).next_update(NOW + days * DAY)
        for serial in serials:
            builder = builder.add_revoked_certificate(
                x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(NOW - 10 * DAY).build())
        return text(builder.sign(self.key, hashes.SHA256()))


@pytest.fixture(name="ca", scope="module")
def fixture_ca():
    return Authority()


def authority(ca, crl, records, holders=("one", "two"), names=(), renew_days=30):
    return certificates.authority(ca.pem, crl, records, list(holders), list(names), renew_days, NOW)


def serials(found):
    return [entry["serial_number"] for entry in found["revoked"]]


def test_the_module_is_told_that_it_can_read_certificates():
    assert certificates.HAS_CRYPTOGRAPHY


def test_before_there_is_a_ca():
    assert certificates.authority("", "", {}, [], [], 30, NOW) == {"days": None, "crl": "there is none", "revoked": [], "forget": [], "forbidden": []}


def test_the_first_list_of_a_ca_that_has_been_there(ca):
    found = authority(ca, "", {})
    assert found == {"days": 3650, "crl": "there is none of this CA", "revoked": [], "forget": [], "forbidden": []}


def test_who_leaves_is_revoked(ca):
    records = {"/x/one.a.pem": ca.issue(10), "/x/gone.example.b.pem": ca.issue(0xABC), "/x/gone.example.c.pem": ca.issue(12)}
    found = authority(ca, ca.revoke(), records)
    assert found["crl"] == "gone.example left"
    assert serials(found) == ["0C", "0A:BC"]
    assert {entry["revocation_date"] for entry in found["revoked"]} == {"+0s"}


def test_a_list_that_has_them_is_good(ca):
    found = authority(ca, ca.revoke(11), {"/x/one.a.pem": ca.issue(10), "/x/gone.b.pem": ca.issue(11)})
    assert (found["crl"], serials(found)) == ("", ["0B"])


def test_who_comes_back_stays_revoked(ca):
    found = authority(ca, ca.revoke(11), {"/x/gone.b.pem": ca.issue(11)}, holders=["gone"])
    assert (found["crl"], serials(found)) == ("", ["0B"])


def test_a_list_is_renewed_before_it_expires(ca):
    found = authority(ca, ca.revoke(11, days=29), {"/x/gone.b.pem": ca.issue(11)})
    assert found["crl"] == "it expires at 20260630000000Z"
    assert found["revoked"] == [{"serial_number": "0B", "revocation_date": "20260522000000Z"}]


def test_what_has_expired_leaves_the_list_and_the_records(ca):
    found = authority(ca, ca.revoke(11, 12), {"/x/gone.b.pem": ca.issue(11, days=-0.5), "/x/gone.c.pem": ca.issue(12)})
    assert (found["forget"], serials(found)) == (["/x/gone.b.pem"], ["0C"])


def test_a_new_ca_begins_anew(ca):
    """One that was made anew has the old one's name: only the signature tells."""
    new = Authority()
    found = authority(new, ca.revoke(11), {"/x/gone.b.pem": ca.issue(11), "/x/one.c.pem": new.issue(12)})
    assert (found["crl"], found["forget"], serials(found)) == ("there is none of this CA", ["/x/gone.b.pem"], [])


@pytest.mark.parametrize("name, allowed", [
    ("DNS:web.example.org", True), ("DNS:example.org", True), ("DNS:badexample.org", False), ("DNS:web", False),
    ("IP:192.0.2.7", True), ("IP:192.0.3.7", False),
])
def test_name_constraints(name, allowed):
    limited = Authority(permitted=[x509.DNSName("example.org"), x509.IPAddress(ipaddress.ip_network("192.0.2.0/24"))])
    assert authority(limited, limited.revoke(), {}, names=[name])["forbidden"] == ([] if allowed else [name])


@pytest.mark.parametrize("name, allowed", [("IP:2001:db8::7", True), ("IP:2001:db9::7", False)])
def test_name_constraints_of_ipv6(name, allowed):
    limited = Authority(permitted=[x509.IPAddress(ipaddress.ip_network("2001:db8::/32"))])
    assert authority(limited, limited.revoke(), {}, names=[name])["forbidden"] == ([] if allowed else [name])


def test_a_ca_that_excludes_some_names_permits_the_others():
    limited = Authority(excluded=[x509.DNSName("example.org")])
    assert authority(limited, limited.revoke(), {}, names=["DNS:one"])["forbidden"] == []


def test_what_ends_this_very_second_has_not_expired(ca):
    """RFC 5280: the last second belongs to it. The list is renewed when less than renew_days are left."""
    found = authority(ca, ca.revoke(11, days=30), {"/x/gone.b.pem": ca.issue(11, days=0)})
    assert (found["crl"], found["forget"], serials(found)) == ("", [], ["0B"])


def test_constraints_of_one_kind_leave_the_other_free():
    limited = Authority(permitted=[x509.IPAddress(ipaddress.ip_network("192.0.2.0/24"))])
    assert authority(limited, limited.revoke(), {}, names=["DNS:anything"])["forbidden"] == []


# --- a host ---

WANTED = {
    "name": "libvirt", "subject": {"CN": "one"}, "names": ["DNS:one", "IP:192.0.2.1"], "key": "/etc/pki/libvirt/private/key.pem",
    "cert": "/etc/pki/libvirt/cert.pem", "links": [{"link": "/etc/pki/libvirt/client.pem", "to": "cert.pem"}], "notify": ["Reload"],
}


def entry(path, content=None, **changes):
    found = {"path": path, "mode": "0644", "isdir": False, "islnk": False, "pw_name": "root", "gr_name": "root"}
    if content is not None:
        found["checksum"] = hashlib.sha1(content.encode()).hexdigest()
    return {**found, **changes}


def files_of(ca, crl, cert):
    return [
        entry("/etc/pki/CA", isdir=True), entry("/etc/pki/libvirt", isdir=True), entry("/etc/pki/libvirt/private", isdir=True),
        entry(CA_FILE, ca.pem), entry(CRL_FILE, crl), entry(WANTED["key"], "secret", mode="0600"), entry(WANTED["cert"], cert),
        entry("/etc/pki/libvirt/client.pem", islnk=True),
    ]


def plan(ca, crl, files, records, read=(), wanted=None):
    return certificates.plan([wanted or WANTED], {"files": files}, list(read), records, ca.pem, crl, "one", 30, CA_FILE, CRL_FILE, NOW)


def test_without_a_clock_it_is_now(ca, tmp_path, monkeypatch):
    monkeypatch.setattr(certificates, "_now", lambda: NOW)
    (tmp_path / "x-ca.pem").write_text(ca.pem, encoding="utf-8")
    assert certificates.days_left(ca.pem) == certificates.left(str(tmp_path))[0]["days"] == 3650
    assert certificates.authority(ca.pem, "", {}, [], [], 30)["days"] == 3650
    crl, cert = ca.revoke(), ca.issue(10, days=30)
    files, records = {"files": files_of(ca, crl, cert)}, {"/x/one.a.pem": cert}
    assert certificates.plan([WANTED], files, [], records, ca.pem, crl, "one", 30, CA_FILE, CRL_FILE)["new"] == []
    # nor any other clock than the one that is given
    later = NOW + DAY
    assert certificates.days_left(ca.pem, later) == certificates.left(str(tmp_path), later)[0]["days"] == 3649
    assert certificates.authority(ca.pem, "", {}, [], [], 30, later)["days"] == 3649
    found = certificates.plan([WANTED], files, [], records, ca.pem, crl, "one", 30, CA_FILE, CRL_FILE, later)
    assert reasons(found) == [("it expires at 20260701000000Z", False)]


def reasons(found):
    return [(one["reason"], one["new_key"]) for one in found["new"]]


def test_nothing_to_do(ca):
    crl, cert = ca.revoke(), ca.issue(10)
    assert plan(ca, crl, files_of(ca, crl, cert), {"/x/one.a.pem": cert}) == {
        "directories": [], "unknown": [], "adopt": [], "ca": False, "crl": False, "new": [], "links": []}


def test_the_directory_that_was_looked_through_is_there(ca):
    """find tells only of what is in it."""
    crl, cert = ca.revoke(), ca.issue(10)
    files = [item for item in files_of(ca, crl, cert) if not item["isdir"]]
    assert plan(ca, crl, files, {"/x/one.a.pem": cert})["directories"] == []


def test_a_fresh_host(ca):
    found = plan(ca, ca.revoke(), [], {})
    assert found["directories"] == ["/etc/pki/CA", "/etc/pki/libvirt", "/etc/pki/libvirt/private"]
    assert (found["ca"], found["crl"]) == (True, True)
    assert reasons(found) == [("/etc/pki/libvirt/private/key.pem is missing", True)]
    assert {name: found["new"][0][name] for name in ("owner", "group", "mode", "usages")} == {
        "owner": "root", "group": "root", "mode": "0600", "usages": ["serverAuth", "clientAuth"]}
    assert found["links"] == [{"link": "/etc/pki/libvirt/client.pem", "to": "cert.pem", "notify": ["Reload"]}]


def test_a_check_before_there_is_a_ca():
    found = certificates.plan([WANTED], {"files": []}, [], {}, "", "", "one", 30, CA_FILE, "", NOW)
    assert (found["ca"], found["crl"], len(found["new"])) == (True, False, 1)


def test_a_host_from_before_the_records_keeps_its_certificate(ca):
    crl, cert = ca.revoke(), ca.issue(0xABC)
    files = files_of(ca, crl, cert)
    asked = plan(ca, crl, files, {})
    assert asked["unknown"] == [WANTED["cert"]]
    read = [{"item": WANTED["cert"], "content": base64.b64encode(cert.encode()).decode()}]
    found = plan(ca, crl, files, {}, read)
    assert (found["adopt"], found["new"]) == ([{"name": "one.abc.pem", "pem": cert}], [])


@pytest.mark.parametrize("content", ["nonsense", None])
def test_what_is_read_and_is_not_of_this_ca_is_replaced_and_not_recorded(ca, content):
    cert = content or Authority("somebody else").issue(11)
    crl = ca.revoke()
    read = [{"item": WANTED["cert"], "content": base64.b64encode(cert.encode()).decode()}]
    found = plan(ca, crl, files_of(ca, crl, cert), {}, read)
    assert found["adopt"] == []
    assert reasons(found) == [("/etc/pki/libvirt/cert.pem is no certificate" if content else "it is of another CA", False)]


@pytest.mark.parametrize("changes, reason", [
    ({"days": 29}, "it expires at 20260630000000Z"),
    ({"subject": [("CN", "one"), ("OU", "QEMU")]}, "it has another subject"),
    ({"names": ["DNS:one"]}, "it has other names"),
    ({"names": ["DNS:one", "IP:192.0.2.2"]}, "it has other names"),
    ({"names": ()}, "it has other names"),
    ({"usages": ()}, "it has other usages"),
    ({"usages": [ExtendedKeyUsageOID.SERVER_AUTH]}, "it has other usages"),
    ({"usages": [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CODE_SIGNING]}, "it has other usages"),
])
def test_renewal(ca, changes, reason):
    crl, cert = ca.revoke(), ca.issue(10, **changes)
    assert reasons(plan(ca, crl, files_of(ca, crl, cert), {"/x/one.a.pem": cert})) == [(reason, False)]


@pytest.mark.parametrize("change", [{"mode": "0640"}, {"gr_name": "users"}, {"pw_name": "nobody"}])
def test_a_key_that_others_may_read(ca, change):
    crl, cert = ca.revoke(), ca.issue(10)
    files = [{**item, **change} if item["path"] == WANTED["key"] else item for item in files_of(ca, crl, cert)]
    assert reasons(plan(ca, crl, files, {"/x/one.a.pem": cert})) == [("its key has another owner or mode", False)]


def test_who_was_revoked_and_is_back_gets_a_new_key(ca):
    crl, cert = ca.revoke(10), ca.issue(10)
    assert reasons(plan(ca, crl, files_of(ca, crl, cert), {"/x/one.a.pem": cert})) == [("it is revoked", True)]


def test_another_ca_and_list(ca):
    new = Authority()
    cert = ca.issue(10)
    found = plan(new, new.revoke(10), files_of(ca, ca.revoke(), cert), {"/x/one.a.pem": cert})
    assert (found["ca"], found["crl"], reasons(found)) == (True, True, [("it is of another CA", False)])


def test_a_missing_link_costs_no_certificate(ca):
    crl, cert = ca.revoke(), ca.issue(10)
    for files in (files_of(ca, crl, cert)[:-1], files_of(ca, crl, cert)[:-1] + [entry("/etc/pki/libvirt/client.pem", cert)]):
        found = plan(ca, crl, files, {"/x/one.a.pem": cert})
        assert (found["new"], [link["link"] for link in found["links"]]) == ([], ["/etc/pki/libvirt/client.pem"])


def test_days_left(ca, tmp_path):
    assert certificates.left(str(tmp_path), NOW) == []
    issued = tmp_path / "test-issued"
    issued.mkdir()
    (tmp_path / "test-ca.pem").write_text(ca.pem, encoding="utf-8")
    (tmp_path / "test-crl.pem").write_text(ca.revoke(12, days=40), encoding="utf-8")
    for name, pem in {"one.a": ca.issue(10, days=5), "one.b": ca.issue(11, days=300), "gone.c": ca.issue(12), "two.d": ca.issue(13, days=-0.5),
                      "also.e": ca.issue(14, days=300)}.items():
        (issued / f"{name}.pem").write_text(pem, encoding="utf-8")
    assert [(one["what"], one["host"], one["days"]) for one in certificates.left(str(tmp_path), NOW)] == [
        ("certificate", "two", -1), ("crl", None, 40), ("certificate", "also", 300), ("certificate", "one", 300), ("ca", None, 3650)]


# --- relocation's ---

def names_of(variables, name, groups=()):
    """Its names for a host."""
    told = {"inventory_hostname": "bart", "site_domain": "lab.lan", "site_address": "192.0.2.1", "group_names": list(groups)}
    names = variables[name]["names"]
    templar = Templar(loader=DataLoader(), variables=told)
    return [templar.template(trust_as_template(item)) for item in names] if isinstance(names, list) else templar.template(trust_as_template(names))


def test_qemus_certificate_does_not_pass_for_libvirtds():
    """What a verifier of host names looks at: QEMU's has the one name that moves ask for, and none that anybody calls the host by. On a cloud's
    nodes it has the address as well, since nova can ask for nothing else; our own moves ask libvirtd for its name."""
    found = yaml.safe_load((CHECKOUT / "roles/relocation/vars/main.yml").read_text(encoding="utf-8"))
    assert names_of(found, "relocation__libvirt") == ["DNS:bart", "DNS:bart.lab.lan", "IP:192.0.2.1"]
    assert names_of(found, "relocation__qemu") == [f"DNS:{hypervisor.qemu_name('bart')}"]
    assert names_of(found, "relocation__qemu", ["kvm", "nc"]) == [f"DNS:{hypervisor.qemu_name('bart')}", "IP:192.0.2.1"]
