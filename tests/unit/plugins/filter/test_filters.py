# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template


def render(expression, **variables):
    """What Ansible makes of an expression: the filters under their full names, as roles call them."""
    return Templar(loader=DataLoader(), variables=variables).template(
        trust_as_template("{{ %s }}" % expression)
    )


def test_guest_mac():
    assert render("'our-vm' | our.cloud.guest_mac").startswith("00:16:3e:")


def test_emulator_packages():
    assert render("guests | our.cloud.emulator_packages", guests=[{"kind": "kvm"}, {"kind": "qemu", "arch": "armhf"}]) == [
        "qemu-system-arm", "qemu-system-x86"]


def test_site_machines_leaves_out_who_is_not_on_the_lan():
    hostvars = {
        "left": {"site_mac": "52:54:00:00:01:02", "site_address": "10.1.2.2"},
        "cloudy": {"ansible_host": "192.0.2.77"},
        "half": {"site_address": "10.1.2.4"},
        "other": {"site_mac": "52:54:00:00:01:05"},
    }
    assert render("hostvars | our.cloud.site_machines(['left', 'half', 'cloudy'])", hostvars=hostvars) == [
        {"name": "half", "mac": "", "address": "10.1.2.4"},
        {"name": "left", "mac": "52:54:00:00:01:02", "address": "10.1.2.2"},
    ]


def test_address_plan():
    result = render(
        "machines | our.cloud.address_plan(gateway='front', address='10.1.2.1', network='10.1.2.0/24', domain='lan.test',"
        " range_start='10.1.2.128', range_end='10.1.2.254', guests=[{'name': 'our-vm'}])",
        machines=[{"name": "left", "mac": "52:54:00:00:01:02", "address": "10.1.2.2"}],
    )
    assert result["problems"] == []
    assert [entry["name"] for entry in result["reservations"]] == ["our-vm", "left"]


def test_site_hosts():
    groups = {"all": ["c", "g", "b", "x", "o", "s", "u"], "ungrouped": ["u"], "gateway": ["g"], "clc": ["g"], "hypervisors": ["b", "x"], "xen": ["x"],
              "oar_nodes": ["o", "x"], "site": ["s"]}
    assert render("groups | our.cloud.site_hosts", groups=groups) == ["g", "b", "x", "s", "u"]
    assert render("groups | our.cloud.site_hosts", groups={"all": [], "ungrouped": []}) == []
    each = ["site", "gateway", "image_store", "hypervisors", "xen", "kvm", "clc", "walrus", "sc", "cc", "nc", "ungrouped"]
    assert render("groups | our.cloud.site_hosts", groups={"all": [*each, "web"], "guests": ["web"], **{name: [name] for name in each}}) == each


def test_log_host():
    assert render("groups | our.cloud.log_host('n1')", groups={"gateway": ["front"], "image_store": ["s"]}) == "front"
    assert render("groups | our.cloud.log_host('n1')", groups={"all": ["n1"]}) == "n1"


def test_store_host():
    nodes = {"hypervisors": ["n1", "n2"]}
    assert render("groups | our.cloud.store_host", groups={**nodes, "image_store": ["s", "t"]}) == "s"
    assert render("groups | our.cloud.store_host", groups={**nodes, "image_store": []}) == "n1"
    assert render("groups | our.cloud.store_host", groups=nodes) == "n1"
    assert render("groups | our.cloud.store_host | default('nobody', true)", groups={"all": []}) == "nobody"


def test_after_the_move_of_an_instance():
    plan = {"name": "web", "instance": {"name": "web", "id": "u1"}, "source": "n1", "target": "n2"}
    failed = "{'n1': {'lines': ['CPU']}} | our.cloud.instance_failure(plan, 'It failed.')"
    assert render(failed, plan=plan).startswith("It failed. nova-compute on n1 wrote: CPU. The nodes' processors differ")
    assert render("{'n1': {'guests': []}} | our.cloud.instance_astray(plan)", plan=plan) == \
        "nova says that web moved to n2, and n2 could not be asked."


def test_site_status():
    """Of what modules returned, and of what Ansible returns of those that did not."""
    groups = {"all": ["f", "k1", "k2", "g"], "gateway": ["f"], "image_store": ["f"], "hypervisors": ["k1", "k2"], "kvm": ["k1", "k2"], "clc": ["f"]}
    fine = {"hostname": "k1", "time": 1e9, "booted": 1e9 - 60, "waiting": {"lists": 1e9, "packages": [], "security": []}}
    web = {"name": "web", "active": True, "state": "running", "persistent": True, "owner": "our.cloud", "uuid": "u"}
    mute = {"unreachable": True, "msg": "timed out"}
    given = {
        "groups": groups, "machines": {"f": fine, "k1": fine, "k2": mute}, "nodes": {"k1": {"hypervisor": "qemu", "guests": [web]}, "k2": mute},
        "guests": [{"name": "web", "host": "k1", "kind": "kvm", "memory": 64, "image": "debian"}, {"name": "!"}],
        "leases": {"leases": [{"name": "web", "host": "k1", "disks": []}]}, "registry": {"room": {"free": 9, "promised": 1}},
        "certificates": [{"ca": "c", "what": "ca", "host": None, "names": [], "days": 99}],
        "instances": {"failed": True, "msg": "HTTP 503."}, "cloud": {"machines": {}, "parts": {}}}
    found = render("machines | our.cloud.site_status(groups, nodes, guests, instances, leases, registry, certificates, cloud, {}, 1000000000)", **given)
    assert found["report"]["made"] == "2001-09-09T01:46:40Z" and found["report"]["good"] is False
    assert [(section["name"], [row["name"] for row in section["rows"] if row["state"] == "bad"]) for section in found["report"]["sections"]] == [
        ("machines", ["k2"]), ("guests", ["inventory"]), ("instances", ["all"]), ("leases", []), ("certificates", []), ("versions", []),
        ("cloud", ["machine on f", "keystone on f"])]
    assert "BAD: all (instances): the cloud does not tell them: HTTP 503" in found["lines"]
    alone = render("{} | our.cloud.site_status({'all': []})")
    assert alone["report"]["good"] is True and alone["report"]["sections"] == []
    quiet = render("machines | our.cloud.site_status({'all': ['g'], 'ungrouped': ['g']})", machines={"g": {"failed": True}})
    assert quiet["report"]["sections"][0]["rows"][0]["text"] == "it does not tell how it fares: it was not asked"
    storeless = render("{} | our.cloud.site_status({'all': ['k1'], 'kvm': ['k1'], 'hypervisors': ['k1']}, registry={'room': none}, leases={'msg': 'it hangs'})")
    assert [row["section"] for section in storeless["report"]["sections"] for row in section["rows"]] == ["machines", "leases"]
