# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Clouds of containers that come and go: made by cloud.yml and by a plain script, and with more and more nodes."""

from __future__ import annotations

import ipaddress
import json
import os
import pathlib
import shlex
import shutil
import subprocess
import tempfile

import figures
from cloud import FLAVOR, INVENTORY, MEMORY, NAME, SCRIPTS, created, front, machines, python, registered, resident
from machines import CACHE, NotTaken, Site, Ssh, no_op, say, take

# Beside those of inventories/cloud: names, networks and a port of their own.
LAN, OUTSIDE, TUNNELS = "192.168.88.0/24", "192.168.89.0/24", "192.168.90.0/24"
FRONT, PORT, DOMAIN = "bench-front", 2298, "bench.lan"
# Of nodes, as the cloud grows; then, of nova-computes that only pretend
COUNTS = (2, 5, 10)
PRETENDERS = (10, 100)
REST = 30   # s that the front end is watched
MARK = "/root/before-the-cloud"
# What the plain script makes itself, or what has changed for other reasons.
NOT_CAPTURED = ("/etc/ssl/*", "/etc/ca-certificates*", "/etc/keystone/*-keys*", "/etc/swift/*.ring.gz", "/etc/swift/*.builder", "/etc/swift/backups*",
                "/etc/openvswitch/*conf.db*", "/etc/group*", "/etc/gshadow*", "/etc/passwd*", "/etc/shadow*", "/etc/.pwd.lock", "*.wants*", "*.requires*")


def hosts(nodes):
    """The inventory of a front end with all controllers, and so many nodes."""
    lan, outside = ipaddress.ip_network(LAN), ipaddress.ip_network(OUTSIDE)
    own = {"site_network": LAN, "site_domain": DOMAIN, "nc_tunnel_network": TUNNELS,
           "cc_floating_range": "%s-%s" % (lan[64], lan[95]), "cc_static_range": "%s-%s" % (lan[96], lan[111])}
    first = {"site_address": str(lan[1]), "site_mac": "52:54:00:88:01:01", "gateway_public_mac": "52:54:00:88:00:01",
             "cloud_public_address": str(outside[10]), "lab_memory": 3400, "lab_forward_ssh": PORT,
             "lab_nics": [{"network": "outside", "mac": "{{ gateway_public_mac }}", "address": "{{ cloud_public_address }}/24"},
                          {"network": "lan", "mac": "{{ site_mac }}"}]}
    others = {"bench-%d" % number: {**own, "site_address": str(lan[10 + number]), "site_mac": "52:54:00:88:01:%02x" % (16 + number), "lab_memory": 700}
              for number in range(1, nodes + 1)}
    groups = {name: {"hosts": {FRONT: None}} for name in ("image_store", "clc", "walrus", "sc", "cc")}
    return {"gateway": {"hosts": {FRONT: {**own, **first}}}, **groups,
            "hypervisors": {"children": {"xen": None, "kvm": {"hosts": others}}}, "nc": {"hosts": dict.fromkeys(others)}}


def inventory(nodes):
    """A folder with it, whose variables are those of `make cloud`."""
    folder = CACHE / "cloud"
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("group_vars", "hosts.yml"):
        (folder / name).unlink(missing_ok=True)
    (folder / "group_vars").symlink_to(INVENTORY / "group_vars")
    (folder / "hosts.yml").write_text(json.dumps(hosts(nodes), indent=1), encoding="utf-8")
    return folder


def end(site):
    """No machines, and nothing that they knew."""
    site.ssh.close()
    site.must("playbooks/lab.yml", "-e", "lab_state=absent")


def fresh(site):
    """Fresh machines, made a site by layers 1 to 3."""
    end(site)
    for name in ("playbooks/lab.yml", "playbooks/gateway.yml", "playbooks/image_store.yml", "playbooks/hypervisors.yml"):
        site.must(name)
    site.ssh = Ssh(site.state_dir / "ssh_config")
    for host in machines(site):
        site.ssh.read(host, "touch %s" % MARK)


def capture(site, folder):
    """What cloud.yml has written on each machine, as the plain script takes it: HOST.tar."""
    without = " ".join("! -path '%s'" % path for path in NOT_CAPTURED)
    for host in machines(site):
        command = "find /etc /usr/local -cnewer %s %s -print0 | tar -C / --null --no-recursion -cf - -T -" % (MARK, without)
        with open(folder / (host + ".tar"), "wb") as file:
            if subprocess.run(site.ssh.argv(host, command), stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.DEVNULL, check=False).returncode:
                raise NotTaken("%s: its files could not be read" % host)


def nodes_of(site):
    """Each node as the plain script wants to know it: name, address, the address of its tunnels and their MAC address."""
    lines = []
    for host in site.groups["nc"]:
        told = site.ssh.read(host, "ovs-vsctl get Open_vSwitch . external_ids:ovn-encap-ip -- get Bridge br-ex other_config:hwaddr").replace('"', "").split()
        lines.append(" ".join([host, site.vars[host]["site_address"], *told]))
    return "\n".join(lines)


def by_playbook(site, dummy):
    return site.must("playbooks/cloud.yml").seconds


def by_script(site, known):
    own = site.vars[front(site)]
    done = site.program(["bash", str(SCRIPTS / "cloud.sh")], dict(
        os.environ, SSH_CONFIG=str(site.state_dir / "ssh_config"), FRONT=front(site), FRONT_ADDRESS=own["site_address"],
        PUBLIC_ADDRESS=own["cloud_public_address"], NODES=known["nodes"], FILES=str(known["files"]), SECRETS=str(site.inventory / ".secrets"),
        STORE=own["site_store"], REGION="regionOne", NETWORK=LAN, GATEWAY_ADDRESS=own["site_address"], FLOATING=own["cc_floating_range"],
        PRIVATE_NETWORK="10.250.0.0/20", KEY=(site.state_dir / "id_ed25519.pub").read_text(encoding="ascii").strip()), "plain-cloud")
    if done.status:
        raise NotTaken(done.last_words())
    return done.seconds


def works(site):
    """An instance can be made, whoever made the cloud: seconds until its sshd answers."""
    return created(site, registered(site))["ssh"]


def left_to_do(site):
    """What cloud.yml changes on a cloud that somebody else has made."""
    done = site.must("playbooks/cloud.yml")
    return figures.total(figures.recap(done.output), "changed")


def pair_of_clouds(site, what, result, taken, files):
    """The cloud twice on fresh machines, by cloud.yml, whose files are kept for the script, and by the script; both must work."""
    for name in (".pki", ".secrets"):
        shutil.rmtree(site.inventory / name, ignore_errors=True)
    known = {"files": files}
    for way, name in ((by_playbook, "cloud.yml"), (by_script, "plain script")):
        say("%s %s: fresh machines" % (what, name))
        fresh(site)
        seconds = take(result, "%s %s" % (what, name), lambda way=way: way(site, known))
        if seconds is None or take(result, "%s %s: an instance answers" % (what, name), lambda: works(site)) is None:
            return
        taken[way][-1] = seconds
        if way == by_playbook:
            known["nodes"] = nodes_of(site)
            capture(site, files)
        else:
            result["notes"].append("What cloud.yml found to change after the plain script: %d things." % left_to_do(site))


def fresh_cloud(site, pairs, result):
    """cloud.yml on fresh containers, and a plain script of the same commands."""
    twin = Site(inventory(2), site.logs)
    taken = {by_playbook: [], by_script: []}
    try:
        for pair in range(pairs):
            for values in taken.values():
                values.append(None)
            # passwords and keys are in it
            with tempfile.TemporaryDirectory(prefix="our-cloud-bench-") as files:
                pair_of_clouds(twin, "cloud %d/%d" % (pair + 1, pairs), result, taken, pathlib.Path(files))
    finally:
        end(twin)
    result["rows"] += [{"what": "the cloud, plain script", "unit": "s", "values": taken[by_script]},
                       {"what": "the cloud, cloud.yml", "unit": "s", "values": taken[by_playbook], "base": taken[by_script],
                        "aim": {"of": "ratio", "limit": 1.3}}]


def front_at_rest(site):
    """(MiB that all of its processes take, seconds of processor time that they use in a minute)."""
    memory = resident(site.ssh.read(FRONT, MEMORY))
    told = site.ssh.read(FRONT, "grep ^usage_usec /sys/fs/cgroup/cpu.stat; sleep %d; grep ^usage_usec /sys/fs/cgroup/cpu.stat" % REST).split()
    return memory, (int(told[3]) - int(told[1])) / 1e6 * 60 / REST


def alone(site, image):
    """Seconds until an instance without a network is active. It goes again."""
    try:
        return python(site, "instance", "alone", NAME, image, FLAVOR)["active"]
    finally:
        python(site, "instance", "delete", NAME)


def pretend(site, first, last):
    """More nova-computes that only pretend, in the first node; the cloud uses them when this returns."""
    text = (SCRIPTS / "fakes.py").read_text(encoding="utf-8")
    site.ssh.read(site.groups["nc"][0], shlex.join([
        "systemd-run", "--quiet", "--uid=nova", "--gid=nova", "--unit=bench-fakes-%d" % first, "--",
        "python3", "-c", text, str(first), str(last), "/var/lib/nova/bench-fakes"]))
    ask = "SELECT count(*) FROM nova.services WHERE host LIKE 'fake-%' AND services.binary = 'nova-compute'"
    command = "until [ $(mariadb -NBe %s) = %d ]; do sleep 1; done" % (shlex.quote(ask), last)
    site.ssh.read(FRONT, "timeout 900 sh -c %s" % shlex.quote(command))
    site.ssh.read(FRONT, "setpriv --reuid nova --regid nova --init-groups nova-manage cell_v2 discover_hosts --by-service")
    python(site, "instance", "only", "fake-")


def growth(site, pairs, result):
    """A cloud that grows from 2 nodes to 10, and then in make-believe: what more nodes cost."""
    twin = Site(inventory(max(COUNTS)), site.logs)
    nodes, rows = twin.groups["nc"], result["rows"]
    idle, active = {count: [] for count in COUNTS}, {count: [] for count in COUNTS}
    try:
        end(twin)
        say("growth: containers")
        twin.must("playbooks/lab.yml")
        there, at_rest = 0, []
        for count in COUNTS:
            limit = ",".join([FRONT, "localhost", *nodes[:count]])
            done = twin.must("playbooks/site.yml", "--limit", ",".join(["localhost", *nodes[there:count]]) if there else limit)
            rows.append({"what": "site.yml for %s" % ("%d nodes more" % (count - there) if there else "the front end and %d nodes" % count),
                         "unit": "s", "values": [done.seconds]})
            if not there:
                twin.ssh = Ssh(twin.state_dir / "ssh_config")
                image = registered(twin)
            there = count
            for pair in range(pairs):
                what = "growth %d/%d with %d nodes" % (pair + 1, pairs, count)
                idle[count].append(take(result, what + ", nothing to do", lambda limit=limit: no_op(twin, "playbooks/cloud.yml", "--limit", limit)))
                active[count].append(take(result, what + ", an instance", lambda image=image: created(twin, image)["active"]))
            at_rest.append(("%d nodes" % count, front_at_rest(twin)))
        began = 1
        for count in PRETENDERS:
            pretend(twin, began, count)
            values = [take(result, "growth %d/%d with %d that pretend" % (pair + 1, pairs, count), lambda image=image: alone(twin, image))
                      for pair in range(pairs)]
            rows.append({"what": "an instance without a network, until it is active, on one of %d nodes that pretend" % count, "unit": "s", "values": values})
            at_rest.append(("%d nodes and %d that pretend" % (there, count), front_at_rest(twin)))
            began = count + 1
    finally:
        end(twin)
    for values, what in ((idle, "cloud.yml with nothing to do"), (active, "an instance, until it is active")):
        rows += [{"what": "%s, %d nodes" % (what, count), "unit": "s", "values": values[count]} for count in COUNTS]
    rows += [{"what": "memory of the front end, %s" % what, "unit": "MiB", "values": [memory]} for what, (memory, dummy) in at_rest]
    rows += [{"what": "its processor time in a minute at rest, %s" % what, "unit": "s", "values": [seconds]} for what, (dummy, seconds) in at_rest]
    straight = figures.line([(count, value) for count in COUNTS for value in idle[count] if value is not None])
    if straight:
        result["notes"].append("cloud.yml with nothing to do: %.1f s, and %.1f s more for each node." % straight)
