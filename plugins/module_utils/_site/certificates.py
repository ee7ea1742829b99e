# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is to be done about a CA of the site, its revocation list and the certificates of one host: decisions over what was read.

Beside the CA is a record of each certificate that it has issued, HOST.SERIAL.pem: it tells whose it is, and what to revoke when HOST leaves.
All times are UTC; days are whole days.
"""

from __future__ import annotations

import base64
import datetime
import hashlib
import ipaddress
import pathlib
import posixpath
from dataclasses import dataclass, field

try:
    from cryptography import x509
    from cryptography.exceptions import InvalidSignature
    from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID
    HAS_CRYPTOGRAPHY = True
    USAGES = {ExtendedKeyUsageOID.SERVER_AUTH: "serverAuth", ExtendedKeyUsageOID.CLIENT_AUTH: "clientAuth"}
except ImportError:
    HAS_CRYPTOGRAPHY = False

TIME = "%Y%m%d%H%M%SZ"


@dataclass(frozen=True)
class Wanted:
    """A certificate that a host is to have; the fields are the role's."""

    name: str
    subject: dict[str, str]
    names: list[str]
    key: str
    cert: str
    usages: list[str] = field(default_factory=lambda: ["serverAuth", "clientAuth"])
    owner: str = "root"
    group: str = "root"
    mode: str = "0600"
    links: list[dict[str, str]] = field(default_factory=list)
    notify: list[str] = field(default_factory=list)


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.timezone.utc)


def _checksum(text: str) -> str:
    """As the module find tells it."""
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


def _certificate(pem: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate(pem.encode())


def _list(pem: str) -> x509.CertificateRevocationList:
    return x509.load_pem_x509_crl(pem.encode())


def _issued(cert: x509.Certificate, ca: x509.Certificate | None) -> bool:
    """Whether this very CA has signed it; one that was made anew has the old one's name."""
    try:
        cert.verify_directly_issued_by(ca)
    except (ValueError, TypeError, InvalidSignature):
        # another name, another kind of key or no CA, another key
        return False
    return True


def _value(cert: x509.Certificate, oid: x509.ObjectIdentifier) -> object:
    """The value of an extension; an empty list without it."""
    try:
        return cert.extensions.get_extension_for_oid(oid).value
    except x509.ExtensionNotFound:
        return []


def _names(cert: x509.Certificate) -> list[str]:
    """DNS:NAME and IP:ADDRESS, sorted."""
    return sorted(f"{'IP' if isinstance(name, x509.IPAddress) else 'DNS'}:{name.value}" for name in _value(cert, ExtensionOID.SUBJECT_ALTERNATIVE_NAME))


def _serial(number: int) -> str:
    """As community.crypto takes it (hex-octets)."""
    digits = f"{number:x}"
    digits = digits.zfill(len(digits) + len(digits) % 2)
    return ":".join(digits[at:at + 2] for at in range(0, len(digits), 2)).upper()


def record_name(host: str, pem: str) -> str:
    """The file name of the record of a certificate."""
    return f"{host}.{_certificate(pem).serial_number:x}.pem"


def holder(path: str) -> str:
    """The host whose certificate a record is."""
    return posixpath.basename(path).rsplit(".", 2)[0]


def days_left(pem: str, now: datetime.datetime | None = None) -> int:
    """How long a certificate or a revocation list is still valid; negative when it is no more."""
    end = _list(pem).next_update_utc if "X509 CRL" in pem else _certificate(pem).not_valid_after_utc
    return (end - (now or _now())).days


def _forbidden(ca: x509.Certificate, names: list[str]) -> list[str]:
    """The names (DNS:NAME, IP:ADDRESS) for which this CA must not sign, by its name constraints."""
    constraints = _value(ca, ExtensionOID.NAME_CONSTRAINTS)
    permitted = (constraints.permitted_subtrees or []) if constraints else []
    found = []
    for name in names:
        kind, dummy, value = name.partition(":")
        subtrees = [one.value for one in permitted if isinstance(one, x509.IPAddress if kind == "IP" else x509.DNSName)]
        if kind == "IP":
            inside = any(ipaddress.ip_address(value) in network for network in subtrees)
        else:
            inside = any(f".{value}".endswith(f".{domain.lstrip('.')}") for domain in subtrees)
        if subtrees and not inside:
            found.append(name)
    return found


def authority(ca: str, crl: str, records: dict[str, str], holders: list[str], names: list[str], renew_days: int,
              now: datetime.datetime | None = None) -> dict:
    """What to do about the CA's revocation list, and for which of the names it must not sign.

    ca and crl are PEM, empty if there is none yet; records are {path: PEM}. Whoever is none of the holders is revoked, and stays revoked for as
    long as the certificate would be valid: who comes back gets a new one. Returns `days` (of the CA; None without one), `crl` (why a new list
    is needed; empty if it is not), `revoked` (the list's entries), `forget` (records of what is expired, or of a CA that is no more) and `forbidden`.
    """
    now = now or _now()
    if not ca:
        return {"days": None, "crl": "there is none", "revoked": [], "forget": [], "forbidden": []}
    ours, old = _certificate(ca), _list(crl) if crl else None
    if old is not None and not old.is_signature_valid(ours.public_key()):
        old = None
    entries = {entry.serial_number: entry.revocation_date_utc for entry in old} if old is not None else {}
    parsed = {path: _certificate(pem) for path, pem in records.items()}
    forget = sorted(path for path, cert in parsed.items() if cert.not_valid_after_utc < now or not _issued(cert, ours))
    kept = {number: date for number, date in entries.items() if number not in {parsed[path].serial_number for path in forget}}
    gone = {cert.serial_number for path, cert in parsed.items() if path not in forget and holder(path) not in holders}
    reason = ""
    if old is None:
        reason = "there is none of this CA"
    elif gone - set(entries):
        reason = f"{', '.join(sorted({holder(path) for path, cert in parsed.items() if cert.serial_number in gone - set(entries)}))} left"
    elif old.next_update_utc < now + datetime.timedelta(days=renew_days):
        reason = f"it expires at {old.next_update_utc:{TIME}}"
    return {
        "days": (ours.not_valid_after_utc - now).days,
        "crl": reason,
        "revoked": [{"serial_number": _serial(number), "revocation_date": kept[number].strftime(TIME) if number in kept else "+0s"}
                    for number in sorted(set(kept) | gone)],
        "forget": forget,
        "forbidden": _forbidden(ours, names),
    }


@dataclass(frozen=True)
class _Host:
    """What a host has: {path: what find says of it}, and {path: PEM} of the certificates that are known, by record or because they were read."""

    files: dict[str, dict]
    known: dict[str, str]

    def has(self, path: str, text: str) -> bool:
        """Whether the file has this text."""
        return bool(text) and self.files.get(path, {}).get("checksum") == _checksum(text)


def _host(wanted: list[Wanted], found: dict, read: list[dict], records: dict[str, str]) -> _Host:
    files = {item["path"]: item for item in found.get("files", [])}
    by_checksum = {_checksum(pem): pem for pem in records.values()}
    known = {one.cert: by_checksum[files[one.cert]["checksum"]] for one in wanted
             if files.get(one.cert, {}).get("checksum") in by_checksum}
    known.update({item["item"]: base64.b64decode(item["content"]).decode(errors="replace") for item in read if "content" in item})
    return _Host(files, known)


def _why_new(one: Wanted, host: _Host, ca: str, revoked: set[int], soon: datetime.datetime) -> tuple[str, bool]:
    """(why the certificate is made anew, whether its key is, too); ("", False) if all is well."""
    if one.key not in host.files:
        return f"{one.key} is missing", True
    try:
        cert = _certificate(host.known[one.cert])
    except (KeyError, ValueError):
        return f"{one.cert} is {'no certificate' if one.cert in host.files else 'missing'}", False
    if cert.serial_number in revoked and _issued(cert, _certificate(ca)):
        return "it is revoked", True
    key = host.files[one.key]
    problems = [
        ("it is of another CA", not ca or not _issued(cert, _certificate(ca))),
        (f"it expires at {cert.not_valid_after_utc:{TIME}}", cert.not_valid_after_utc < soon),
        ("it has another subject", {part.rfc4514_attribute_name: part.value for part in cert.subject} != one.subject),
        ("it has other names", _names(cert) != sorted(one.names)),
        ("it has other usages", sorted(USAGES.get(usage, "") for usage in _value(cert, ExtensionOID.EXTENDED_KEY_USAGE)) != sorted(one.usages)),
        ("its key has another owner or mode", (key["pw_name"], key["gr_name"], key["mode"]) != (one.owner, one.group, one.mode)),
    ]
    return next((text for text, wrong in problems if wrong), ""), False


def plan(wanted: list[dict], found: dict, read: list[dict], records: dict[str, str], ca: str, crl: str, host: str, renew_days: int,
         ca_file: str, crl_file: str, now: datetime.datetime | None = None) -> dict:
    """What to do on one host.

    found is what the module find returned of files and directories, with checksums; read what slurp returned of `unknown`, a loop's results;
    ca, crl and records as in `authority`. Returns `directories` (to be made), `unknown` (certificates on the host of which there is no record: read
    them, then ask again), `adopt` (records to be made of what was read: {name, pem}), `ca` and `crl` (whether the files on the host are to be
    written), `new` (the wanted certificates that are to be made, complete, with `reason` and `new_key`) and `links` ({link, to, notify}, to be made).
    """
    want = [Wanted(**{name: value for name, value in one.items() if value is not None}) for one in wanted]
    here = _host(want, found, read, records)
    soon = (now or _now()) + datetime.timedelta(days=renew_days)
    revoked = {entry.serial_number for entry in _list(crl)} if crl else set()
    new = []
    for one in want:
        reason, new_key = _why_new(one, here, ca, revoked, soon)
        if reason:
            new.append({**one.__dict__, "reason": reason, "new_key": new_key})
    paths = [path for one in want for path in (one.key, one.cert, *(link["link"] for link in one.links))] + [path for path in (ca_file, crl_file) if path]
    # find does not tell of the directory that it looks through
    there = {path for path, item in here.files.items() if item["isdir"]} | {posixpath.dirname(path) for path in here.files}
    return {
        "directories": sorted({posixpath.dirname(path) for path in paths} - there),
        "unknown": [one.cert for one in want if one.cert in here.files and one.cert not in here.known],
        "adopt": [{"name": record_name(host, here.known[item["item"]]), "pem": here.known[item["item"]]} for item in read
                  if "content" in item and _is_issued(here.known[item["item"]], ca)],
        "ca": not here.has(ca_file, ca),
        "crl": bool(crl_file) and not here.has(crl_file, crl),
        "new": new,
        "links": [{**link, "notify": one.notify} for one in want for link in one.links if not here.files.get(link["link"], {}).get("islnk")],
    }


def _is_issued(pem: str, ca: str) -> bool:
    """Whether the text is a certificate of this CA."""
    try:
        return _issued(_certificate(pem), _certificate(ca))
    except ValueError:
        return False


def left(directory: str, now: datetime.datetime | None = None) -> list[dict]:
    """How long everything in a CA directory is still valid: {ca, what, host, names, days}, what expires first in front.

    what is ca, crl or certificate. Of certificates with the same names the newest counts; those that are revoked are left out.
    """
    now, found = now or _now(), []
    for path in sorted(pathlib.Path(directory).glob("*-ca.pem")):
        name, lists = path.name.removesuffix("-ca.pem"), path.with_name(path.name.removesuffix("-ca.pem") + "-crl.pem")
        found.append({"ca": name, "what": "ca", "host": None, "names": [], "days": days_left(path.read_text(), now)})
        revoked: set[int] = set()
        if lists.exists():
            found.append({"ca": name, "what": "crl", "host": None, "names": [], "days": days_left(lists.read_text(), now)})
            revoked = {entry.serial_number for entry in _list(lists.read_text())}
        newest = {}
        for record in path.with_name(name + "-issued").glob("*.pem"):
            cert = _certificate(record.read_text())
            key = (holder(record.name), cert.subject.rfc4514_string())
            if cert.serial_number not in revoked and (key not in newest or newest[key].not_valid_after_utc < cert.not_valid_after_utc):
                newest[key] = cert
        found += [{"ca": name, "what": "certificate", "host": host, "names": _names(cert), "days": (cert.not_valid_after_utc - now).days}
                  for (host, dummy), cert in newest.items()]
    return sorted(found, key=lambda one: (one["days"], one["ca"], one["what"], one["host"], one["names"]))
