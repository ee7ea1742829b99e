# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Moving a guest, with virsh and with migrate.yml."""

from __future__ import annotations

import functools
import shlex
import time

import figures
from machines import NotTaken, PING_INTERVAL, Pings, hypervisor, say, take

# What our.cloud.vm_migrate asks of libvirt (module_utils/_move/mover.py, Mover.flags), as virsh calls it.
FLAGS = {
    "xen": ["--live", "--p2p", "--persistent", "--undefinesource", "--tunnelled"],
    "qemu": ["--live", "--p2p", "--persistent", "--undefinesource", "--tls", "--abort-on-error", "--auto-converge"],
}


def direct_io(site, guest, source):
    """As the module does before it moves a Xen guest; without it the guest's last writes may be lost."""
    disk = "%s/%s" % (site.vars[source]["site_store"], guest.get("disk", "images/%s.img" % guest["name"]))
    site.ssh.read(source, "for loop in $(losetup -n -O NAME -j %s); do losetup --direct-io=on $loop; done" % shlex.quote(disk))


def with_virsh(site, guest, source, target):
    """The bare move: {"seconds", "downtime_ms"}. Its libvirt URI is the module's, so that both encrypt alike."""
    family = site.family(guest)
    local = hypervisor.LOCAL_URI[family]
    aes = site.ssh.run(source, "grep -qw aes /proc/cpuinfo").status == 0
    uri = "%s+tls://%s/system%s" % (family, target, "" if aes else hypervisor.WITHOUT_AES)
    encrypt = site.vars[source].get("migrate_encrypt", True)
    flags = [flag for flag in FLAGS[family] if encrypt or flag not in ("--tunnelled", "--tls")]
    stream = ["tcp://" + target] if family == "qemu" else [] if encrypt else ["tcp://" + site.vars[target]["site_address"]]
    if "--tls" in flags:
        flags += ["--tls-destination", hypervisor.qemu_name(target)]
    argv = ["virsh", "-c", local, "migrate", *flags, guest["name"], uri, *stream]
    if family == "xen":
        direct_io(site, guest, source)
    done = site.ssh.run(source, shlex.join(argv))
    if done.status:
        raise NotTaken("virsh: %s" % done.last_words())
    told = site.ssh.run(target, "virsh -c %s domjobinfo %s --completed" % (local, shlex.quote(guest["name"])))
    return {"seconds": done.seconds, "downtime_ms": figures.downtime(told.output)}


def with_playbook(site, guest, source, target):
    """migrate.yml, and in it the module: {"seconds", "playbook", "move", "downtime_ms"}."""
    done = site.playbook("playbooks/migrate.yml", "-e", "vm=%s target=%s" % (guest["name"], target), ANSIBLE_STDOUT_CALLBACK="ansible.posix.json")
    found = figures.task(figures.callback_json(done.output), "Move the guest")
    if found is None or done.status:
        raise NotTaken("migrate.yml: %s" % ((found or (0, {}))[1].get("msg") or done.last_words()))
    seconds, said = found
    return {"seconds": seconds, "playbook": done.seconds, "move": said["total_ms"] / 1000, "downtime_ms": said["downtime_ms"]}


def one_move(site, guest, way):
    """One measured move to the other place; what was measured, with the network gap."""
    source = site.place(guest)
    target = next(host for host in site.homes(guest) if host != source)
    pings = Pings(site, guest["name"])
    try:
        pings.wait_answers(10)
        taken = way(site, guest, source, target)
        pings.wait_answers(10)
    finally:
        pings.end()
        (site.logs / ("pings-%s-%s.log" % (guest["name"], time.strftime("%H%M%S")))).write_text(pings.text(), encoding="utf-8")
    if site.place(guest) != target:
        raise NotTaken("%s is not on %s afterwards" % (guest["name"], target))
    gap = figures.ping_gap(pings.text(), PING_INTERVAL)
    taken.update(gap_ms=gap["gap_ms"], lost=gap["lost"], source=source, target=target)
    return taken


def migrate_guest(site, guest, pairs, result):
    """Bare virsh and migrate.yml in turn. Who begins changes from pair to pair, so that both go both ways."""
    home = site.place(guest)
    taken = {with_virsh: [], with_playbook: []}
    names = {with_virsh: "virsh", with_playbook: "migrate.yml"}
    try:
        for pair in range(pairs):
            for way in ((with_virsh, with_playbook), (with_playbook, with_virsh))[pair % 2]:
                must_answer(site, guest)
                moved = {}
                take(result, "migrate %d/%d %s with %s" % (pair + 1, pairs, guest["name"], names[way]), functools.partial(measured, site, guest, way, moved))
                taken[way].append(moved)
    finally:
        send_home(site, guest, home)

    def values(way, key):
        return [moved.get(key) for moved in taken[way]]

    kind, bare = "%s (%s): " % (guest["name"], guest["kind"]), values(with_virsh, "seconds")
    rows = [
        {"what": "bare virsh migrate", "unit": "s", "values": bare},
        {"what": "the module vm_migrate", "unit": "s", "values": values(with_playbook, "seconds"), "base": bare, "aim": {"of": "ratio", "limit": 1.15}},
        {"what": "of that the move itself", "unit": "s", "values": values(with_playbook, "move"), "base": bare},
        {"what": "all of migrate.yml", "unit": "s", "values": values(with_playbook, "playbook"), "base": bare},
        {"what": "stood still, bare virsh", "unit": "ms", "values": values(with_virsh, "downtime_ms")},
        {"what": "stood still, vm_migrate", "unit": "ms", "values": values(with_playbook, "downtime_ms")},
        {"what": "ping gap, bare virsh", "unit": "ms", "values": values(with_virsh, "gap_ms")},
        {"what": "ping gap, migrate.yml", "unit": "ms", "values": values(with_playbook, "gap_ms")},
    ]
    if site.family(guest) == "xen":
        del rows[4]
        result["notes"].append("%s: how long it stood still in a bare move: %s: virsh does not tell it of Xen guests." % (guest["name"], figures.NOT_TAKEN))
    result["rows"] += [dict(row, what=kind + row["what"]) for row in rows]
    result["moves"] = result.get("moves", []) + [dict(moved, guest=guest["name"], way=names[way]) for way in taken for moved in taken[way]]


def measured(site, guest, way, moved):
    """One move, its figures put into `moved`; seconds."""
    moved.update(one_move(site, guest, way))
    return moved["seconds"]


def must_answer(site, guest, timeout=180):
    """A guest that died says nothing of any move."""
    if site.ssh.run(site.gateway, "ping -n -q -c 1 -w %d %s" % (timeout, shlex.quote(guest["name"]))).status:
        host = site.place(guest)
        raise NotTaken("it has not answered a ping for %d s. Next: its console on %s: virsh -c %s console %s"
                       % (timeout, host, hypervisor.LOCAL_URI[site.family(guest)], guest["name"]))


def send_home(site, guest, home):
    """Where the guest was before."""
    if site.place(guest) != home:
        say("%s goes back to %s" % (guest["name"], home))
        site.must("playbooks/migrate.yml", "-e", "vm=%s target=%s" % (guest["name"], home))


def migrate(site, pairs, result):
    """One guest of each hypervisor kind that has two nodes."""
    seen = set()
    for guest in site.guests:
        family = site.family(guest)
        if family in seen or guest.get("state", "running") != "running" or len(site.homes(guest)) < 2:
            continue
        seen.add(family)
        try:
            migrate_guest(site, guest, pairs, result)
        except NotTaken as reason:
            result["notes"].append("%s: %s: %s" % (guest["name"], figures.NOT_TAKEN, reason))
            say(result["notes"][-1])
    for family in sorted({"xen", "qemu"} - seen):
        result["notes"].append("%s: %s: no running guest with two hypervisors of this kind." % (family, figures.NOT_TAKEN))
