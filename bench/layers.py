# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each layer on fresh machines, by its playbook and by a plain script."""

from __future__ import annotations

import ipaddress
import json
import os
import shutil
import time

import figures
from machines import CACHE, NotTaken, Pings, Site, Ssh, say, take
from ansible_collections.our.cloud.plugins.module_utils._site.address_plan import guest_mac

LAYERS = ("gateway", "image_store", "hypervisors", "guests")


def derived_inventory(site):
    """The same machines once more, with state of their own and another forwarded port: a second lab beside the first."""
    folder = CACHE / "site"
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("hosts.yml", "group_vars", "host_vars"):
        link, there = folder / name, site.inventory / name
        link.unlink(missing_ok=True)
        if there.exists():
            link.symlink_to(there)
    # read after hosts.yml
    ports = {host: {"lab_forward_ssh": site.vars[host]["lab_forward_ssh"] + 10} for host in site.hosts if "lab_forward_ssh" in site.vars[host]}
    (folder / "zz-bench.yml").write_text(json.dumps({"all": {"hosts": ports}}), encoding="utf-8")
    return folder


def fresh(site):
    """Machines as they come out of the box."""
    site.ssh.close()
    site.must("playbooks/lab.yml", "-e", "lab_state=absent")
    shutil.rmtree(site.inventory / ".pki", ignore_errors=True)
    done = site.must("playbooks/lab.yml")
    say("fresh machines after %s" % figures.number(done.seconds, "s"))
    site.must("playbooks/guest_image.yml")
    site.ssh = Ssh(site.state_dir / "ssh_config")


def plain_variables(site):
    """What the plain scripts must know of the inventory, for their environment."""
    front, one = site.vars[site.gateway], site.vars[site.hosts[-1]]
    network = ipaddress.ip_network(one["site_network"])
    images = {image["name"]: image["path"] for image in one.get("guests_images", [])}
    known = {
        "SSH_CONFIG": site.state_dir / "ssh_config", "STATE": site.inventory / ".pki",
        "GATEWAY": site.gateway, "PUBLIC_MAC": front["gateway_public_mac"], "PRIVATE_MAC": front["site_mac"], "GATEWAY_ADDRESS": front["site_address"],
        "NETWORK": network, "PREFIX": network.prefixlen, "DOMAIN": one["site_domain"],
        "DHCP_RANGE": "%s,%s,%s" % (network[network.num_addresses // 2], network[-2], network.netmask),
        "STORE_SERVER": site.groups["image_store"][0], "STORE_ADDRESS": site.vars[site.groups["image_store"][0]]["site_address"], "STORE": one["site_store"],
        "XEN": " ".join(site.groups.get("xen", [])), "KVM": " ".join(site.groups.get("kvm", [])), "BRIDGE": one["site_bridge"],
        # name mac address
        "MACHINES": "\n".join("%s %s %s" % (host, site.vars[host]["site_mac"], site.vars[host]["site_address"]) for host in site.hosts),
        # name mac host kind memory image address
        "GUESTS": "\n".join("%s %s %s %s %s %s %s" % (
            guest["name"], guest_mac(guest["name"]), guest["host"], guest["kind"], guest["memory"], guest["image"], guest.get("address", "-"))
            for guest in site.guests),
        "IMAGES": "\n".join("%s %s" % item for item in images.items()).replace("{{ inventory_dir | realpath }}", str(site.inventory)),
    }
    known = {key: str(value) for key, value in known.items()}
    raw = [key for key, value in known.items() if "{{" in value]
    if raw:
        raise NotTaken("the plain scripts take no templates, and the inventory has some for %s" % ", ".join(raw))
    return known


def layer_with_ansible(site, layer):
    done = site.playbook("playbooks/%s.yml" % layer)
    if done.status:
        raise NotTaken(done.last_words())
    return done.seconds


def layer_plain(site, layer):
    done = site.program(["bash", "bench/plain/%s.sh" % layer], dict(os.environ, **plain_variables(site)), "plain-" + layer)
    if done.status:
        raise NotTaken(done.last_words())
    return done.seconds


def check_site(site):
    """Seconds until all guests answer: whoever made the site, it must work."""
    began = time.monotonic()
    for guest in site.guests:
        pings = Pings(site, guest["name"])
        try:
            pings.wait_answers(1, 600)
        finally:
            pings.end()
        site.place(guest)
        for source in site.homes(guest):
            for target in set(site.homes(guest)) - {source}:
                uri = "%s+tls://%s/system" % (site.family(guest), target)
                if site.ssh.read(source, "virsh -c %s hostname" % uri).strip() != target:
                    raise NotTaken("%s does not reach libvirt of %s" % (source, target))
    return time.monotonic() - began


def layers(site, pairs, result):
    """Each layer on fresh machines, by its playbook and by a plain script."""
    if not site.is_lab():
        raise NotTaken("it takes machines that can be made anew, a lab")
    twin = Site(derived_inventory(site), site.logs)
    ways = {layer_plain: "plain script", layer_with_ansible: "playbook"}
    taken = {(way, layer): [] for way in ways for layer in LAYERS}
    try:
        for pair in range(pairs):
            for way, name in ways.items():
                say("layers %d/%d %s: fresh machines" % (pair + 1, pairs, name))
                fresh(twin)
                for layer in LAYERS:
                    what = "layers %d/%d %s %s" % (pair + 1, pairs, layer, name)
                    taken[way, layer].append(take(result, what, lambda way=way, layer=layer: way(twin, layer)))
                    if taken[way, layer][-1] is None:
                        break
                else:
                    if take(result, "layers %d/%d %s: the site works" % (pair + 1, pairs, name), lambda: check_site(twin)) is None:
                        for layer in LAYERS:
                            taken[way, layer][-1] = None
                for layer in LAYERS:
                    taken[way, layer] += [None] * (pair + 1 - len(taken[way, layer]))
    finally:
        twin.ssh.close()
        twin.playbook("playbooks/lab.yml", "-e", "lab_state=absent")
    for layer in LAYERS:
        plain = taken[layer_plain, layer]
        result["rows"].append({"what": "%s, plain script" % layer, "unit": "s", "values": plain})
        result["rows"].append({"what": "%s, playbook" % layer, "unit": "s", "values": taken[layer_with_ansible, layer], "base": plain})
    sums = {way: [None if None in each else sum(each) for each in zip(*(taken[way, layer] for layer in LAYERS))] for way in ways}
    result["rows"].append({"what": "all layers, plain scripts", "unit": "s", "values": sums[layer_plain]})
    result["rows"].append({"what": "all layers, playbooks", "unit": "s", "values": sums[layer_with_ansible], "base": sums[layer_plain],
                           "aim": {"of": "ratio", "limit": 1.3}})
