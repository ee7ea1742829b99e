# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a site fares: each kind of fault is one line, with the command that mends it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from ansible_collections.our.cloud.plugins.module_utils._guest import status
from ansible_collections.our.cloud.plugins.module_utils._guest.domain_facts import Domain
from ansible_collections.our.cloud.plugins.module_utils._guest.guests import Guest
from ansible_collections.our.cloud.plugins.module_utils._guest.instance_facts import InstanceFacts
from ansible_collections.our.cloud.plugins.module_utils._guest.rescue import Held
from ansible_collections.our.cloud.plugins.module_utils._guest.status import Left, Promised, Silence, Site
from ansible_collections.our.cloud.plugins.module_utils._guest.told import Copy, Ending, Errand, Hypervisor, Memory, Orphan, Progress
from ansible_collections.our.cloud.plugins.module_utils._site.machine_facts import Machine, Outdated, Room, Store, Waiting
from ansible_collections.our.cloud.plugins.module_utils._site.report import BAD, GOOD, NOTICE, Row
from ansible_collections.our.cloud.plugins.module_utils._site.systemd import Unit

NOW = 1_000_000.0
FRONT = Machine("front", NOW, NOW - 200_000, "13.2", "6.12.48", waiting=Waiting(NOW - 7200), store=Store("/srv/cloud", Room("/srv/cloud", 5000, 9000)),
                clock=(-0.5, 0.5))
NODE = replace(FRONT, hostname="k1", store=Store("/srv/cloud", Room("/srv/cloud", 4999, 9000)))


def copy(name, **more):
    return Copy(**{**vars(Domain(name=name, kind="kvm", owner="our.cloud", uuid=f"id-{name}")), "active": True, "state": "running", **more})


def stopped(name, **more):
    return copy(name, **{"active": False, "state": "stopped", **more})


def node(*guests, **more):
    return Hypervisor("qemu", Memory(900, 1000), guests, **more)


def guest(name, host="k1", **more):
    return Guest(name, host, "kvm", 160, **more)


# A site that is well: a front end, and two nodes, with a guest.
SITE = Site(hosts=("front", "k1", "k2"), families={"k1": "qemu", "k2": "qemu"}, machines={"front": FRONT, "k1": NODE, "k2": NODE},
            hypervisors={"k1": node(copy("web")), "k2": node()}, declared=(guest("web"),), names={"web"}, leases=(Held("web", "k1"),),
            promised=Promised(100 << 20, 50 << 20), server="front", certificates=(Left("relocation", "ca", 3000), Left("relocation", "certificate", 300, "k1")),
            now=NOW)
WELL = [
    Row("machines", "front", GOOD, "up for 2 days, Debian 13.2, Linux 6.12.48"), Row("machines", "k1", GOOD, "up for 2 days, Debian 13.2, Linux 6.12.48"),
    Row("machines", "k2", GOOD, "up for 2 days, Debian 13.2, Linux 6.12.48"), Row("guests", "web", GOOD, "running on k1"), Row("leases", "web", GOOD, "k1's"),
    Row("store", "/srv/cloud", GOOD, "5000 of 9000 MiB are free"), Row("certificates", "relocation CA", GOOD, "valid for 3000 more days"),
    Row("certificates", "relocation certificate of k1", GOOD, "valid for 300 more days"),
    *(Row("versions", host, GOOD, "nothing waits, by package lists of 2 hours ago") for host in ("front", "k1", "k2"))]


def wrong(site, *sections):
    """The rows that are not well, of these sections or of all."""
    return [row for row in status.rows(site) if row.state != GOOD and (not sections or row.section in sections)]


def with_node(site=SITE, host="k1", **changes):
    """The site with this machine changed."""
    return replace(site, machines={**site.machines, host: replace(site.machines[host], **changes)})


def with_guests(*guests, other=(), **more):
    """The site with these guests on k1, and others on k2."""
    return replace(SITE, **{"hypervisors": {"k1": node(*guests), "k2": node(*other)}, "leases": None, **more})


def test_all_is_well():
    assert status.rows(SITE) == WELL


def test_a_machine_alone():
    """No gateway, no store, no hypervisor, no guest, no cloud."""
    site = Site(hosts=("one",), families={}, machines={"one": Machine("one", NOW, NOW - 60, waiting=Waiting(NOW))}, hypervisors={}, now=NOW)
    assert status.rows(site) == [Row("machines", "one", GOOD, "up for 1 minute"),
                                 Row("versions", "one", GOOD, "nothing waits, by package lists of less than a minute ago")]
    assert status.rows(Site((), {}, {}, {})) == []


# --- machines

@pytest.mark.parametrize("silence, row", [
    ({"front": Silence("timed out", True)}, Row("machines", "front", BAD, "it does not answer: timed out", "ansible -m ping front")),
    ({"front": Silence("no python")}, Row("machines", "front", BAD, "it does not tell how it fares: no python", "ansible -m our.cloud.machine_info front")),
    ({}, Row("machines", "front", BAD, "it does not tell how it fares: it was not asked", "ansible -m our.cloud.machine_info front")),
])
def test_a_machine_that_is_silent(silence, row):
    assert wrong(replace(SITE, machines={"k1": NODE, "k2": NODE, **silence})) == [row]


def test_a_node_that_is_silent():
    site = replace(SITE, machines={**SITE.machines, "k1": Silence("timed out", True)}, hypervisors={"k1": Silence("timed out", True), "k2": node()},
                   instances=(InstanceFacts("vm", "id-vm", host="k1", status="ACTIVE"),))
    rescue = "ansible-playbook our.cloud.rescue -e host=k1 --check"
    words = "Bring k1 up, or, if it is lost, run playbooks/rescue.yml -e host=k1"
    nobody = "web is on no hypervisor that could be asked, and k1 could not be asked and may run it. It is not started."
    assert wrong(site) == [
        Row("machines", "k1", BAD, f"it does not answer. {words}.", rescue),
        Row("guests", "web", BAD, f"{nobody} {words}.", rescue),
        Row("instances", "vm", BAD, "it is on k1, which does not tell", rescue),
        Row("leases", "k1", NOTICE, "it does not tell, and holds those of web", rescue)]


def test_a_silent_libvirt():
    site = replace(SITE, hypervisors={"k1": SITE.hypervisors["k1"], "k2": Silence("libvirt at qemu:///system: no answer within 30 s")})
    assert wrong(site) == [Row("machines", "libvirt on k2", BAD, "libvirt at qemu:///system: no answer within 30 s", "ssh k2 systemctl restart libvirtd")]


def restart(unit):
    return f"ssh k1 'systemctl restart {unit} || journalctl -n 30 -u {unit}'"


@pytest.mark.parametrize("unit, row", [
    (Unit("libvirtd", True, "active (running)", wanted=True), None),
    (Unit("libvirtd", False, "inactive (dead)", wanted=True), Row("machines", "libvirtd on k1", BAD, "inactive (dead)", restart("libvirtd"))),
    (Unit("our-cloud-lease", False, "failed (failed), exit-code", failed=True),
     Row("machines", "our-cloud-lease on k1", BAD, "failed (failed), exit-code", restart("our-cloud-lease"))),
    (Unit("nftables", False, "inactive (dead)"), None),
    (Unit("our-cloud-autostart", False, "inactive (dead)", wanted=True), None),
    (Unit("our-cloud-autostart", False, "failed (failed), exit-code", wanted=True, failed=True),
     Row("machines", "our-cloud-autostart on k1", BAD, "failed (failed), exit-code", restart("our-cloud-autostart"))),
    (Unit("nfs-server", False, "not-found", wanted=True, there=False),
     Row("machines", "nfs-server on k1", BAD, "it is not installed", "ansible-playbook our.cloud.site --limit k1")),
    (Unit("gone", False, "not-found", there=False), None),
    (Unit("dnsmasq", True, "active (running)", 3, wanted=True),
     Row("machines", "dnsmasq on k1", NOTICE, "systemd has started it again 3 times", "ssh k1 journalctl -n 30 -u dnsmasq")),
])
def test_units(unit, row):
    assert wrong(with_node(units=(unit,))) == ([row] if row else [])


@pytest.mark.parametrize("changes, row", [
    ({"rooms": (Room("/", 100, 9000), Room("/var", 5000, 9000))},
     Row("machines", "/ on k1", BAD, "100 of 9000 MiB are free. What takes the rest", "ssh k1 'du -xm / | sort -n | tail -n 20'")),
    ({"clock": (10.0, 12.0)}, None), ({"clock": (-12.0, -10.0)}, None), ({"clock": (-20.0, 20.0)}, None), ({"clock": None}, None),
    ({"clock": (11.0, 12.0)}, Row("machines", "clock of k1", BAD, "it is 11 s or more ahead of the control machine's. Let both follow one time server",
                                  "ssh k1 timedatectl set-ntp true")),
    ({"clock": (-99.0, -11.0)}, Row("machines", "clock of k1", BAD, "it is 11 s or more behind the control machine's. Let both follow one time server",
                                    "ssh k1 timedatectl set-ntp true")),
    ({"unknown": ("what runs: it hangs.",)}, Row("machines", "k1", NOTICE, "what runs: it hangs.", "ansible -m our.cloud.machine_info k1")),
])
def test_what_of_a_machine_does_not_work(changes, row):
    assert wrong(with_node(**changes)) == ([row] if row else [])


def test_what_a_machine_is():
    assert status.rows(with_node(xen="4.20.0"))[1].text == "up for 2 days, Debian 13.2, Linux 6.12.48, Xen 4.20.0"


@pytest.mark.parametrize("told, row", [
    ({"drained": NOW - 7200}, Row("machines", "k2", NOTICE, "it has been drained for 2 hours: nothing is placed there",
                                  "ansible-playbook our.cloud.undrain -e host=k2")),
    ({"drained": NOW - 7200, "errand": Errand("upgrade", NOW - 9000)},
     Row("machines", "k2", NOTICE, "it has been drained for 2 hours by upgrade.yml, which has not ended", "ansible-playbook our.cloud.upgrade")),
    ({"drained": 0}, Row("machines", "k2", NOTICE, "it has been drained for 11 days: nothing is placed there",
                         "ansible-playbook our.cloud.undrain -e host=k2")),
    ({"orphans": (Orphan(7, "x", 64),)},
     Row("machines", "k2", NOTICE, "Xen domain 7 (x) is unknown to libvirt and holds 64 MiB, left by an arrival that broke off",
         "ansible -m our.cloud.vm -a 'name=x state=absent' k2")),
    ({"store_error": "k2: store: no answer within 10 s"},
     Row("store", "k2", BAD, "k2: store: no answer within 10 s", "ansible-playbook our.cloud.image_store")),
])
def test_a_hypervisor(told, row):
    assert wrong(replace(SITE, hypervisors={"k1": SITE.hypervisors["k1"], "k2": node(**told)})) == [row]


# --- guests

GUESTS = "ansible-playbook our.cloud.guests"
IO = "it is paused on k1 by an I/O error. Is the store full, or away? Mend that"


@pytest.mark.parametrize("here, declared, row", [
    (stopped("web"), {}, (BAD, "it is stopped on k1, and is to run", GUESTS)),
    (stopped("web"), {"state": "stopped"}, (GOOD, "stopped on k1", "")),
    (copy("web"), {"state": "stopped"}, (NOTICE, "it is running on k1, and the inventory wants it stopped", GUESTS)),
    (copy("web"), {"state": "absent"}, (NOTICE, "it is on k1, and the inventory wants it absent", GUESTS)),
    (copy("web", state="paused", reason="I/O error"), {}, (BAD, IO, GUESTS)),
    (copy("web", state="paused", reason="user"), {}, (NOTICE, "it is paused on k1 (user)", "ssh k1 virsh resume web")),
    (copy("web", state="paused", reason=""), {}, (NOTICE, "it is paused on k1", "ssh k1 virsh resume web")),
    (copy("web", state="crashed"), {}, (BAD, "it has crashed on k1", f"ssh k1 virsh destroy web && {GUESTS}")),
    (stopped("web", state="crashed"), {}, (BAD, "it is crashed on k1, and is to run", GUESTS)),
    (copy("web", migration=Progress("web", "k1", "k2", "live", percent=34)), {}, (GOOD, "on its way from k1 to k2", "")),
    (stopped("web", state_files=("/s/web.state",)), {},
     (BAD, "web is stopped on k1. Its memory is saved in /s/web.state, by a move that broke off, and a start anew would lose it. `virsh restore /s/web.state` "
           "there makes it go on where it was. If it has run since then, or may begin anew, delete that file.", "ssh k1 virsh restore /s/web.state")),
])
def test_a_guest(here, declared, row):
    site = with_guests(here, declared=(guest("web", **declared),))
    assert [found for found in status.rows(site) if found.section == "guests"] == [Row("guests", "web", *row)]


def test_a_guest_that_crashed_and_is_not_in_the_inventory():
    site = with_guests(copy("web", state="crashed"), declared=(), names=set())
    assert wrong(site) == [Row("guests", "web", BAD, "it has crashed on k1", "ssh k1 virsh destroy web")]


def test_a_guest_that_is_stopped_on_a_drained_node():
    site = with_guests(hypervisors={"k1": node(stopped("web"), drained=NOW), "k2": node()})
    assert wrong(site, "guests") == [Row("guests", "web", BAD, "it is stopped on k1, which is drained, and is to run",
                                         "ansible-playbook our.cloud.migrate -e vm=web")]


@pytest.mark.parametrize("state, rows", [("running", [Row("guests", "web", BAD, "no hypervisor has it", GUESTS)]),
                                         ("stopped", [Row("guests", "web", BAD, "no hypervisor has it", GUESTS)]), ("absent", [])])
def test_a_guest_that_is_nowhere(state, rows):
    assert wrong(with_guests(declared=(guest("web", state=state),))) == rows


def test_a_silent_node_of_the_other_kind_has_none_of_these_guests():
    site = with_guests(families={"k1": "qemu", "x1": "xen"}, hypervisors={"k1": node()})
    assert wrong(site, "guests") == [Row("guests", "web", BAD, "no hypervisor has it", GUESTS)]


def test_a_guest_that_runs_twice():
    found = wrong(with_guests(copy("web"), other=[copy("web")]))
    assert [(row.section, row.name, row.state, row.remedy) for row in found] == [("guests", "web", BAD, "ansible-playbook our.cloud.list")]
    assert found[0].text.startswith("web runs on k1 and k2 at once, which ruins its disk.")


def test_a_guest_that_arrives_and_nothing_moves():
    found = wrong(with_guests(copy("web"), other=[copy("web", state="paused", reason="migration", persistent=False)]))
    assert [(row.name, row.state, row.remedy) for row in found] == [("web", NOTICE, "ansible-playbook our.cloud.list")]
    assert found[0].text.startswith("web is being moved from k1 to k2 already. Wait for that to end;")


def test_an_old_definition():
    old = with_guests(copy("web"), other=[stopped("web")])
    assert wrong(old) == [Row("guests", "web", NOTICE, "it runs on k1; k2 has an old definition of it", GUESTS)]
    assert [row.text for row in wrong(replace(old, declared=(guest("web", state="absent"),)))] == ["it is on k1, k2, and the inventory wants it absent"]


def test_whose_guests_are_told():
    others = [copy("theirs", owner="proxmox"), copy("instance-1", owner="nova"), copy("unsaid", owner=None)]
    left = Row("guests", "old", NOTICE, "it is running on k1 and has left the inventory; nothing changes it any more. Say it there with state: absent to "
               "remove it", GUESTS)
    assert wrong(with_guests(copy("web"), copy("old"), *others)) == [left]
    # an inventory without a list of guests
    assert wrong(with_guests(copy("web"), copy("old"), *others, declared=(), names=None)) == []
    assert "unsaid" in {row.name for row in status.rows(with_guests(*others, names={"unsaid"}, declared=(guest("unsaid"),)))}


def test_a_faulty_inventory():
    assert wrong(replace(SITE, faults=["guest db: memory: 1 is too little"])) == [
        Row("guests", "inventory", BAD, "guest db: memory: 1 is too little", "ansible-playbook our.cloud.guests --check")]


# --- instances

def instance(**more):
    return InstanceFacts(**{"name": "vm", "id": "id-vm", "host": "k1", "state": "running", "status": "ACTIVE", **more})


@pytest.mark.parametrize("told, row", [
    ({}, (BAD, "nova says that it runs on k1, and it does not", "openstack server reboot --hard id-vm")),
    ({"task": "rebooting"}, (GOOD, "running on k1", "")), ({"host": "elsewhere"}, (GOOD, "running on elsewhere", "")),
    ({"status": "SHUTOFF", "state": "stopped"}, (GOOD, "stopped on k1", "")), ({"status": "BUILD", "state": "", "host": None}, (GOOD, "BUILD", "")),
    ({"status": "ERROR", "fault": "No valid host."},
     (NOTICE, "it has failed: No valid host. This removes it, if nobody needs it", "ansible-playbook our.cloud.terminate -e vm=id-vm")),
    ({"status": "ERROR", "host": None},
     (NOTICE, "it has failed: nova does not say why. This removes it, if nobody needs it", "ansible-playbook our.cloud.terminate -e vm=id-vm")),
])
def test_an_instance(told, row):
    site = replace(SITE, instances=(instance(**told),))
    assert [found for found in status.rows(site) if found.section == "instances"] == [Row("instances", "vm", *row)]


def test_an_instance_that_runs():
    here = copy("instance-1", owner="nova", uuid="id-vm")
    site = with_guests(copy("web"), here, instances=(instance(),))
    assert [row for row in status.rows(site) if row.section == "instances"] == [Row("instances", "vm", GOOD, "running on k1")]
    site = with_guests(copy("web"), replace(here, active=False), instances=(instance(),))
    assert [row.state for row in wrong(site)] == [BAD]


def test_a_cloud_that_does_not_tell():
    assert wrong(replace(SITE, instances=Silence("HTTP 503"))) == [
        Row("instances", "all", BAD, "the cloud does not tell them: HTTP 503", "ansible-playbook our.cloud.cloud_status")]


# --- leases, store, certificates

def test_leases():
    left = Row("leases", "db", NOTICE, "k2 holds it and does not run the guest, which starts nowhere else. It gives it back within a minute; if not",
               "ssh k2 systemctl restart our-cloud-lease")
    gone = Row("leases", "old", BAD, "it is k9's, which is no hypervisor of the inventory. Put k9 back there; then, if it is lost, rescue what it ran",
               "ansible-playbook our.cloud.rescue -e host=k9 --check")
    assert wrong(replace(SITE, leases=(Held("web", "k1"), Held("db", "k2"), Held("old", "k9")))) == [left, gone]
    # it is defined there, and stopped
    site = with_guests(copy("web"), other=[stopped("db")], leases=(Held("db", "k2"),), names={"web", "db"},
                       declared=(guest("web"), guest("db", state="stopped")))
    assert wrong(site) == [left]
    assert wrong(replace(SITE, leases=Silence("it hangs"))) == [
        Row("leases", "all", BAD, "the store does not tell them: it hangs", "ansible-playbook our.cloud.image_store")]
    assert wrong(replace(SITE, leases=None)) == []


def test_a_store_that_is_away():
    site = with_node(store=Store("/srv/cloud", None, "no answer within 10 s"))
    site = replace(site, hypervisors={**site.hypervisors, "k1": node(copy("web"), store_error="k1: store: no answer within 10 s")})
    assert wrong(site) == [Row("store", "k1", BAD, "/srv/cloud: no answer within 10 s", "ansible-playbook our.cloud.image_store")]
    # whoever sees it tells how full it is
    away = Store("/srv/cloud", None, "it is not mounted here")
    found = [row for row in status.rows(with_node(host="front", store=away)) if row.section == "store"]
    assert found == [Row("store", "front", BAD, "/srv/cloud: it is not mounted here", "ansible-playbook our.cloud.image_store"),
                     Row("store", "/srv/cloud", GOOD, "4999 of 9000 MiB are free")]


@pytest.mark.parametrize("room, promised, row", [
    (Room("/srv/cloud", 100, 9000), Promised(1, 0),
     ("/srv/cloud", BAD, "100 of 9000 MiB are free: guests stop when it is full", "ansible-playbook our.cloud.prune")),
    (Room("/srv/cloud", 2000, 9000), Promised(2000 << 20, 3000 << 20),
     ("/srv/cloud", NOTICE, "2000 of 9000 MiB are free, and the guests' disks may still take 3000 MiB: guests stop when it is full. Make it larger, or remove "
                            "what nobody needs", "ansible-playbook our.cloud.prune")),
    (Room("/srv/cloud", 2000, 9000), Promised(2000, 2000), None), (Room("/srv/cloud", 2000, 9000), None, None),
    (Room("/srv/cloud", 2000, 9000), Silence("it is damaged"),
     ("registry", BAD, "it does not tell: it is damaged", "ansible -m our.cloud.image_info front")),
])
def test_the_stores_room(room, promised, row):
    site = with_node(replace(SITE, promised=promised), "front", store=Store("/srv/cloud", room))
    assert wrong(site) == ([Row("store", *row)] if row else [])


@pytest.mark.parametrize("left, row", [
    (Left("cloud", "certificate", 21, "k1"), None),
    (Left("cloud", "certificate", 20, "k1"), ("cloud certificate of k1", NOTICE, "valid for 20 more days", "ansible-playbook our.cloud.site")),
    (Left("cloud", "certificate", 0), ("cloud certificate", NOTICE, "valid for 0 more days", "ansible-playbook our.cloud.site")),
    (Left("cloud", "crl", -1), ("cloud revocation list", BAD, "it has expired 1 days ago", "ansible-playbook our.cloud.site")),
    (Left("cloud", "ca", 5), ("cloud CA", NOTICE, "valid for 5 more days. A CA is replaced by hand (docs/certificates.md); then",
                              "ansible-playbook our.cloud.site")),
])
def test_certificates(left, row):
    assert wrong(replace(SITE, certificates=(left,))) == ([Row("certificates", *row)] if row else [])


# --- versions, moves

DRAIN = "ansible-playbook our.cloud.drain -e host=k1"
UPGRADE = "ansible-playbook our.cloud.upgrade -e host=k1"
NAMES = ("bash", "curl", "libc6", "openssl", "zsh")


@pytest.mark.parametrize("changes, text, remedy", [
    ({"outdated": Outdated(("vmlinuz-6.12.57",))}, "it runs Linux 6.12.48; vmlinuz-6.12.57 came since it has started, which waits for a restart",
     "ansible-playbook our.cloud.reboot -e host=k1"),
    ({"outdated": Outdated(("vmlinuz-6.12.57", "xen-4.21-amd64.gz")), "xen": "4.20.0"},
     "it runs Linux 6.12.48 and Xen 4.20.0; vmlinuz-6.12.57, xen-4.21-amd64.gz came since it has started, which waits for a restart",
     "ansible-playbook our.cloud.reboot -e host=k1"),
    ({"outdated": Outdated(libvirt=True), "installed": {"libvirt-daemon": "11.3.0-3"}},
     "its libvirtd is older than what is installed (11.3.0-3). When no guest moves", "ssh k1 systemctl restart libvirtd"),
    ({"outdated": Outdated(libvirt=True)}, "its libvirtd is older than what is installed (?). When no guest moves", "ssh k1 systemctl restart libvirtd"),
    ({"outdated": Outdated(guests=("db", "web")), "installed": {"qemu-system-x86": "1:10.0.3", "qemu-system-arm": "1:10.0.3", "qemu-system-common": "1:9"}},
     "db, web: their QEMU is older than what is installed (1:10.0.3). They get it when they move", DRAIN),
    ({"outdated": Outdated(guests=("db",))}, "db: their QEMU is older than what is installed (?). They get it when they move", DRAIN),
    ({"waiting": Waiting(NOW - 7200, ("bash",))}, "1 package waits for an upgrade: bash, by lists of 2 hours ago", UPGRADE),
    ({"waiting": Waiting(NOW - 7200, NAMES[:4])}, "4 packages wait for an upgrade: bash, curl, libc6, openssl, by lists of 2 hours ago",
     UPGRADE),
    ({"waiting": Waiting(NOW - 7200, NAMES, ("openssl",))},
     "5 packages wait for an upgrade, 1 of them for security: openssl, bash, curl, libc6 …, by lists of 2 hours ago", UPGRADE),
    ({"waiting": Waiting(NOW - 8 * 86400)}, "its package lists are 8 days old", "ssh k1 apt-get update"),
    ({"waiting": Waiting()}, "it has no package lists, so nobody knows what waits", "ssh k1 apt-get update"),
])
def test_versions(changes, text, remedy):
    assert wrong(with_node(**changes)) == [Row("versions", "k1", NOTICE, text, remedy)]


def test_versions_that_nobody_knows():
    assert [row for row in status.rows(with_node(waiting=None)) if row.section == "versions" and row.name == "k1"] == []
    assert wrong(with_node(waiting=Waiting(NOW - 7 * 86400))) == []


def test_moves():
    moving = copy("web", migration=Progress("web", "k1", "k2", "live", percent=34))
    begun = copy("db", migration=Progress("db"))
    endings = (Ending("The move of a failed", "a", "k1", "k2", "live", "t0", "t1", True),
               Ending("The move of b did not come to its end", "b", "k1", "k2", "live", "t0", None, True),
               Ending("The move of c ended", "c", "k1", "k2", "live", "t0", "t1"))
    site = replace(SITE, hypervisors={"k1": node(begun, moving, moves=endings), "k2": node()})
    assert [row for row in status.rows(site) if row.section == "moves"] == [
        Row("moves", "db", GOOD, "from k1 to ? (checking)"), Row("moves", "web", GOOD, "from k1 to k2 (live, 34 %)"),
        Row("moves", "a", NOTICE, "The move of a failed.", "ansible-playbook our.cloud.migrate -e vm=a -e target=k2"),
        Row("moves", "b", NOTICE, "The move of b did not come to its end.", "ansible-playbook our.cloud.list"),
        Row("moves", "c", GOOD, "The move of c ended.")]


def test_the_last_moves_of_the_sites_log():
    moves = (("2026-11-28T15:02:31Z", "web", "moved from k2 to k1 (live)"), ("2026-11-28T15:03:31Z", "db", "moved from k1 to k2 (live)"))
    site = replace(with_node(host="front", moves=moves), log="front")
    assert [row for row in status.rows(site) if row.section == "moves"] == [
        Row("moves", "db", GOOD, "2026-11-28T15:03:31Z: moved from k1 to k2 (live)"),
        Row("moves", "web", GOOD, "2026-11-28T15:02:31Z: moved from k2 to k1 (live)")]
    # a former front end has an old one
    assert status.rows(replace(site, log="k1")) == WELL
