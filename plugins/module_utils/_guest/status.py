# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a site fares: a decision over what its machines, hypervisors, store and cloud told. Each answer that is missing is a line, too."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from ansible_collections.our.cloud.plugins.module_utils._guest import placement
from ansible_collections.our.cloud.plugins.module_utils._guest.drain import is_ours
from ansible_collections.our.cloud.plugins.module_utils._guest.guests import Guest
from ansible_collections.our.cloud.plugins.module_utils._guest.instance_facts import InstanceFacts
from ansible_collections.our.cloud.plugins.module_utils._guest.rescue import Held
from ansible_collections.our.cloud.plugins.module_utils._guest.told import Copy, Hypervisor
from ansible_collections.our.cloud.plugins.module_utils._site.machine_facts import SKEW, Machine, Waiting
from ansible_collections.our.cloud.plugins.module_utils._site.report import BAD, GOOD, NOTICE, Row, ago
from ansible_collections.our.cloud.plugins.module_utils._site.systemd import Unit

DAYS = 21  # that a certificate must still be valid; each run of site.yml renews it in time
LISTS = 7  # days after which a machine's package lists are old
NAMED = 4  # packages that a line names
PLAY = "ansible-playbook our.cloud."


@dataclass(frozen=True)
class Silence:
    """Who was asked, and has not answered."""

    why: str
    unreachable: bool = False  # whether not even Ansible got there


@dataclass(frozen=True)
class Left:
    """How long something that a CA has issued is still valid."""

    ca: str
    what: str  # ca, crl, certificate
    days: int
    host: str | None = None  # whose certificate it is

    @property
    def name(self) -> str:
        """In words."""
        return " ".join(filter(None, (self.ca, {"ca": "CA", "crl": "revocation list"}.get(self.what, "certificate"), self.host and f"of {self.host}")))


@dataclass(frozen=True)
class Promised:
    """What the guests' disks in the store may still take. Bytes."""

    free: int
    promised: int


@dataclass(frozen=True)
class Site:
    """Everything that was told. None: the site has no such thing, or nobody could be asked for another reason, which is told elsewhere."""

    hosts: Sequence[str]  # its machines
    families: Mapping[str, str]  # {hypervisor: xen or qemu}
    machines: Mapping[str, Machine | Silence]  # who is not in it has not answered
    hypervisors: Mapping[str, Hypervisor | Silence]  # likewise
    declared: Sequence[Guest] = ()  # the inventory's guests, those without a fault
    names: Collection[str] | None = None  # of all of them; None: the inventory has no list of guests
    faults: Sequence[str] = ()  # sentences: what is wrong with the others
    instances: Sequence[InstanceFacts] | Silence | None = None
    leases: Sequence[Held] | Silence | None = None
    promised: Promised | Silence | None = None
    server: str = ""  # the machine that has the store; empty: none is known
    log: str = ""  # the machine that has the site's log; likewise
    certificates: Sequence[Left] = ()
    now: float = 0  # seconds since 1970

    def heard(self) -> dict[str, Hypervisor]:
        """The hypervisors that told."""
        return {host: info for host, info in self.hypervisors.items() if isinstance(info, Hypervisor)}

    def known(self) -> dict[str, Machine]:
        """The machines that told, in the inventory's order."""
        return {host: self.machines[host] for host in self.hosts if isinstance(self.machines.get(host), Machine)}  # type: ignore[misc]

    def silent(self, family: str | None = None) -> list[str]:
        """The hypervisors that did not, of this family alone if it is said."""
        heard = self.heard()
        return sorted(host for host, its in self.families.items() if host not in heard and family in (None, its))


def rows(site: Site) -> list[Row]:
    """All lines but for the cloud's own."""
    parts: tuple[Callable[[Site], Iterable[Row]], ...] = (of_machines, of_guests, of_instances, of_leases, of_store, of_certificates, of_versions, of_moves)
    return [row for part in parts for row in part(site)]


# --- machines ---------------------------------------------------------------

def of_machines(site: Site) -> list[Row]:
    """Whether they answer, and what of them does not work."""
    found = []
    for host in site.hosts:
        told, guests = site.machines.get(host, Silence("it was not asked")), site.hypervisors.get(host)
        if isinstance(told, Silence):
            found.append(_mute(host, told, host in site.families))
        else:
            found += _machine(host, told)
        if isinstance(guests, Silence) and isinstance(told, Machine):
            found.append(Row("machines", f"libvirt on {host}", BAD, guests.why, f"ssh {host} systemctl restart libvirtd"))
        if isinstance(guests, Hypervisor):
            found += _hypervisor(host, guests, site.now)
    return found


def _mute(host: str, told: Silence, is_hypervisor: bool) -> Row:
    if not told.unreachable:
        return Row("machines", host, BAD, f"it does not tell how it fares: {told.why}", f"ansible -m our.cloud.machine_info {host}")
    if is_hypervisor:
        return Row("machines", host, BAD, f"it does not answer. {placement.rescue([host])}.", f"{PLAY}rescue -e host={host} --check")
    return Row("machines", host, BAD, f"it does not answer: {told.why}", f"ansible -m ping {host}")


def _machine(host: str, told: Machine) -> list[Row]:
    runs = [f"Debian {told.debian}" if told.debian else "", f"Linux {told.linux}" if told.linux else "", f"Xen {told.xen}" if told.xen else ""]
    found = [Row("machines", host, GOOD, ", ".join([f"up for {ago(told.time - told.booted)}", *filter(None, runs)]))]
    found += [row for unit in told.units for row in _unit(host, unit)]
    found += [Row("machines", f"{room.path} on {host}", BAD, f"{room.free} of {room.total} MiB are free. What takes the rest",
                  f"ssh {host} 'du -xm {room.path} | sort -n | tail -n 20'") for room in told.rooms if room.full]
    low, high = told.clock or (0, 0)
    if low > SKEW or high < -SKEW:
        apart = f"{low:.0f} s or more ahead of" if low > SKEW else f"{-high:.0f} s or more behind"
        found.append(Row("machines", f"clock of {host}", BAD, f"it is {apart} the control machine's. Let both follow one time server",
                         f"ssh {host} timedatectl set-ntp true"))
    return found + [Row("machines", host, NOTICE, text, f"ansible -m our.cloud.machine_info {host}") for text in told.unknown]


def _unit(host: str, unit: Unit) -> list[Row]:
    name = f"{unit.name} on {host}"
    if unit.wanted and not unit.there:
        return [Row("machines", name, BAD, "it is not installed", f"{PLAY}site --limit {host}")]
    # it starts a hypervisor's guests after the boot, and ends then
    if unit.failed or unit.wanted and not unit.runs and unit.name != "our-cloud-autostart":
        return [Row("machines", name, BAD, unit.state, f"ssh {host} 'systemctl restart {unit.name} || journalctl -n 30 -u {unit.name}'")]
    if unit.restarts:
        return [Row("machines", name, NOTICE, f"systemd has started it again {unit.restarts} times", f"ssh {host} journalctl -n 30 -u {unit.name}")]
    return []


def _hypervisor(host: str, told: Hypervisor, now: float) -> list[Row]:
    found = []
    if told.drained is not None and told.errand:
        verb = told.errand.verb
        found.append(Row("machines", host, NOTICE, f"it has been drained for {ago(now - told.drained)} by {verb}.yml, which has not ended", f"{PLAY}{verb}"))
    elif told.drained is not None:
        found.append(Row("machines", host, NOTICE, f"it has been drained for {ago(now - told.drained)}: nothing is placed there",
                         f"{PLAY}undrain -e host={host}"))
    return found + [Row("machines", host, NOTICE, f"Xen domain {orphan.domid} ({orphan.name}) is unknown to libvirt and holds {orphan.memory} MiB, left by an "
                                                  "arrival that broke off", f"ansible -m our.cloud.vm -a 'name={orphan.name} state=absent' {host}")
                    for orphan in told.orphans]


# --- guests and instances ---------------------------------------------------

def of_guests(site: Site) -> list[Row]:
    """Where each is, and whether that is as the inventory has it."""
    heard, declared = site.heard(), {guest.name: guest for guest in site.declared}
    names = {copy.name for info in heard.values() for copy in info.guests if is_ours(copy, site.names or ())} | set(declared)
    found = [Row("guests", "inventory", BAD, fault, f"{PLAY}guests --check") for fault in site.faults]
    for name in sorted(names):
        known, guest = placement.places(name, heard), declared.get(name)
        families = {heard[host].hypervisor for host in known} | ({guest.family} if guest else set())
        silent = sorted(host for family in families for host in site.silent(family))
        where = placement.locate(name, heard, silent)
        row = _located(where, known, guest, silent) or _here(where, known, guest, site)
        if row:
            found.append(Row("guests", name, *row))
        if where.stale and not (guest and guest.state == "absent"):
            found.append(Row("guests", name, NOTICE, f"it runs on {where.host}; {', '.join(where.stale)} has an old definition of it", f"{PLAY}guests"))
    return found


def _located(where: placement.Whereabouts, known: Mapping[str, Copy], guest: Guest | None, silent: Sequence[str]) -> tuple[str, str, str] | None:
    """(state, text, remedy) of one that is not simply somewhere. silent: who may have it and does not tell."""
    wants = guest.state if guest else None
    if wants == "absent" and where.verdict in (placement.HERE, placement.REFUSED) and known:
        return NOTICE, f"it is on {', '.join(known)}, and the inventory wants it absent", f"{PLAY}guests"
    if where.verdict == placement.NOWHERE:
        return None if wants in (None, "absent") else (BAD, "no hypervisor has it", f"{PLAY}guests")
    if where.verdict == placement.MOVING:
        moving = known[where.host].migration if where.host in known else None
        if moving:
            return GOOD, f"on its way from {where.host} to {moving.target or '?'}", ""
        return NOTICE, where.text + ".", f"{PLAY}list"
    if where.verdict == placement.UNKNOWN and silent:
        return BAD, where.text + ".", f"{PLAY}rescue -e host={silent[0]} --check"
    if where.verdict in (placement.REFUSED, placement.UNKNOWN):
        return BAD, where.text + ".", f"{PLAY}list"
    if where.text and where.host:
        return BAD, where.text + ".", f"ssh {where.host} virsh restore {known[where.host].state_files[0]}"
    return None


def _here(where: placement.Whereabouts, known: Mapping[str, Copy], guest: Guest | None, site: Site) -> tuple[str, str, str] | None:
    """(state, text, remedy) of one that one host has."""
    host = where.host
    if where.verdict != placement.HERE or host is None or guest and guest.state == "absent":
        return None
    copy, name = known[host], known[host].name
    if copy.reason == "I/O error":
        return BAD, f"it is paused on {host} by an I/O error. Is the store full, or away? Mend that", f"{PLAY}guests"
    if copy.state == "crashed" and copy.active:
        return BAD, f"it has crashed on {host}", f"ssh {host} virsh destroy {name} && {PLAY}guests" if guest else f"ssh {host} virsh destroy {name}"
    if guest and guest.state == "running" and not copy.active:
        info = site.hypervisors[host]
        drained = isinstance(info, Hypervisor) and info.drained is not None
        return BAD, f"it is {copy.state} on {host}{', which is drained' if drained else ''}, and is to run", \
            f"{PLAY}migrate -e vm={name}" if drained else f"{PLAY}guests"
    if copy.reason is not None:
        return NOTICE, f"it is paused on {host}{f' ({copy.reason})' if copy.reason else ''}", f"ssh {host} virsh resume {name}"
    if guest and guest.state == "stopped" and copy.active:
        return NOTICE, f"it is {copy.state} on {host}, and the inventory wants it stopped", f"{PLAY}guests"
    if site.names is not None and name not in site.names:
        return NOTICE, f"it is {copy.state} on {host} and has left the inventory; nothing changes it any more. Say it there with state: absent to remove it", \
            f"{PLAY}guests"
    return GOOD, f"{copy.state} on {host}", ""


def of_instances(site: Site) -> list[Row]:
    """Where each is, and whether that is so."""
    if site.instances is None:
        return []
    if isinstance(site.instances, Silence):
        return [Row("instances", "all", BAD, f"the cloud does not tell them: {site.instances.why}", f"{PLAY}cloud_status")]
    heard = site.heard()
    active = {host: {copy.uuid for copy in info.guests if copy.active} for host, info in heard.items()}
    found = []
    for each in site.instances:
        host = each.host or ""
        if each.status == "ERROR":
            fault = (each.fault or "nova does not say why").rstrip(".")
            row = Row("instances", each.name, NOTICE, f"it has failed: {fault}. This removes it, if nobody needs it", f"{PLAY}terminate -e vm={each.id}")
        elif host in site.families and host not in heard:
            row = Row("instances", each.name, BAD, f"it is on {host}, which does not tell", f"{PLAY}rescue -e host={host} --check")
        elif each.status == "ACTIVE" and not each.task and host in heard and each.id not in active[host]:
            row = Row("instances", each.name, BAD, f"nova says that it runs on {host}, and it does not", f"openstack server reboot --hard {each.id}")
        else:
            row = Row("instances", each.name, GOOD, f"{each.state or each.status}{f' on {host}' if host else ''}")
        found.append(row)
    return found


# --- leases, store, certificates --------------------------------------------

def of_leases(site: Site) -> list[Row]:
    """Who may run what, and whether he does."""
    if site.leases is None:
        return []
    if isinstance(site.leases, Silence):
        return [Row("leases", "all", BAD, f"the store does not tell them: {site.leases.why}", f"{PLAY}image_store")]
    heard, found = site.heard(), []
    silent: dict[str, list[str]] = {}
    for held in site.leases:
        if held.host in heard:
            runs = held.name in {copy.name for copy in heard[held.host].guests if copy.active}
            found.append(Row("leases", held.name, GOOD, f"{held.host}'s") if runs else
                         Row("leases", held.name, NOTICE, f"{held.host} holds it and does not run the guest, which starts nowhere else. It gives it back "
                             "within a minute; if not", f"ssh {held.host} systemctl restart our-cloud-lease"))
        elif held.host in site.families:
            silent.setdefault(held.host, []).append(held.name)
        else:
            found.append(Row("leases", held.name, BAD, f"it is {held.host}'s, which is no hypervisor of the inventory. Put {held.host} back there; then, if "
                             "it is lost, rescue what it ran", f"{PLAY}rescue -e host={held.host} --check"))
    return found + [Row("leases", host, NOTICE, f"it does not tell, and holds those of {', '.join(names)}", f"{PLAY}rescue -e host={host} --check")
                    for host, names in sorted(silent.items())]


def of_store(site: Site) -> list[Row]:
    """Whether all who have it see it, and how full it is."""
    seen = {host: told.store for host, told in site.known().items() if told.store}
    found = []
    for host, store in seen.items():
        if store.error:
            found.append(Row("store", host, BAD, f"{store.path}: {store.error}", f"{PLAY}image_store"))
    found += [Row("store", host, BAD, info.store_error, f"{PLAY}image_store") for host, info in sorted(site.heard().items())
              if info.store_error and not (host in seen and seen[host].error)]
    rooms = [seen[host].room for host in sorted(seen, key=lambda host: host != site.server) if seen[host].room]
    if rooms and rooms[0]:
        room = rooms[0]
        text = f"{room.free} of {room.total} MiB are free"
        if room.full:
            found.append(Row("store", room.path, BAD, f"{text}: guests stop when it is full", f"{PLAY}prune"))
        elif isinstance(site.promised, Promised) and site.promised.promised > site.promised.free:
            found.append(Row("store", room.path, NOTICE, f"{text}, and the guests' disks may still take {site.promised.promised >> 20} MiB: guests stop when "
                             "it is full. Make it larger, or remove what nobody needs", f"{PLAY}prune"))
        else:
            found.append(Row("store", room.path, GOOD, text))
    if isinstance(site.promised, Silence):
        found.append(Row("store", "registry", BAD, f"it does not tell: {site.promised.why}", f"ansible -m our.cloud.image_info {site.server}"))
    return found


def of_certificates(site: Site) -> list[Row]:
    """How long they are valid."""
    found = []
    for one in site.certificates:
        text = f"it has expired {-one.days} days ago" if one.days < 0 else f"valid for {one.days} more days"
        if one.days >= DAYS:
            found.append(Row("certificates", one.name, GOOD, text))
            continue
        if one.what == "ca":
            text += ". A CA is replaced by hand (docs/certificates.md); then"
        found.append(Row("certificates", one.name, BAD if one.days < 0 else NOTICE, text, f"{PLAY}site"))
    return found


# --- versions, moves --------------------------------------------------------

def of_versions(site: Site) -> list[Row]:
    """What runs and is older than what is installed, and what is installed and older than what there is. None of it keeps anything from working."""
    return [row for host, told in site.known().items() for row in _versions(host, told, site.now)]


def _versions(host: str, told: Machine, now: float) -> list[Row]:
    found = []
    old, installed = told.outdated, told.installed or {}
    if old.boot:
        found.append(Row("versions", host, NOTICE, f"it runs Linux {told.linux}{f' and Xen {told.xen}' if told.xen else ''}; {', '.join(old.boot)} came since "
                         "it has started, which waits for a restart", f"{PLAY}reboot -e host={host}"))
    if old.libvirt:
        found.append(Row("versions", host, NOTICE, f"its libvirtd is older than what is installed ({installed.get('libvirt-daemon', '?')}). When no guest "
                         "moves", f"ssh {host} systemctl restart libvirtd"))
    if old.guests:
        versions = sorted({version for name, version in installed.items() if name in ("qemu-system-x86", "qemu-system-arm", "qemu-system-xen")})
        found.append(Row("versions", host, NOTICE, f"{', '.join(old.guests)}: their QEMU is older than what is installed ({', '.join(versions) or '?'}). They "
                         "get it when they move", f"{PLAY}drain -e host={host}"))
    if told.waiting:
        found += _waiting(host, told.waiting, now)
    return found or [Row("versions", host, GOOD, f"nothing waits, by package lists of {ago(now - (told.waiting.lists or now))} ago")] if told.waiting else found


def _waiting(host: str, told: Waiting, now: float) -> list[Row]:
    found = []
    if told.lists is None:
        found.append(Row("versions", host, NOTICE, "it has no package lists, so nobody knows what waits", f"ssh {host} apt-get update"))
    elif now - told.lists > LISTS * 86400:
        found.append(Row("versions", host, NOTICE, f"its package lists are {ago(now - told.lists)} old", f"ssh {host} apt-get update"))
    if told.packages:
        first = [*told.security, *(name for name in told.packages if name not in told.security)]
        count, security = len(first), len(told.security)
        text = f"{count} package{'s wait' if count > 1 else ' waits'} for an upgrade"
        text += f", {security} of them for security" if security else ""
        text += f": {', '.join(first[:NAMED])}{' …' if count > NAMED else ''}"
        text += f", by lists of {ago(now - told.lists)} ago" if told.lists is not None else ""
        found.append(Row("versions", host, NOTICE, text, f"{PLAY}upgrade -e host={host}"))
    return found


def of_moves(site: Site) -> list[Row]:
    """Those that are under way, those that ended while nobody listened, and the last ones of the site's log, the newest first."""
    found = []
    for host, info in sorted(site.heard().items()):
        for copy in info.guests:
            if copy.migration:
                percent = f", {copy.migration.percent} %" if copy.migration.percent is not None else ""
                found.append(Row("moves", copy.name, GOOD, f"from {host} to {copy.migration.target or '?'} ({copy.migration.mode or 'checking'}{percent})"))
        for move in info.moves:
            again = f"{PLAY}list" if move.ended is None else f"{PLAY}migrate -e vm={move.name} -e target={move.target}"
            found.append(Row("moves", move.name, NOTICE, move.text + ".", again) if move.failed or move.ended is None else
                         Row("moves", move.name, GOOD, move.text + "."))
    told = site.machines.get(site.log)
    return found + [Row("moves", name, GOOD, f"{when}: {text}") for when, name, text in reversed(told.moves if isinstance(told, Machine) else ())]
