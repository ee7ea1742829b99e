# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import ipaddress
import pathlib
import re

import pytest
import yaml
from ansible_collections.our.cloud.plugins.module_utils._site.variables import COMMON, NEEDS, VARIABLES, site_faults

CHECKOUT = pathlib.Path(__file__).resolve().parents[4]
COMMON_VALUES = {"site_network": "10.1.2.0/24", "site_domain": "lan.test", "site_store": "/srv/cloud", "site_bridge": "br0"}
GROUPS = {"all": ["front", "n1", "n2", "oar"], "gateway": ["front"], "image_store": ["front"], "hypervisors": ["n1", "n2"], "kvm": ["n1", "n2"],
          "oar_server": ["oar"], "clc": ["front"], "walrus": ["front"], "cc": ["front"], "nc": ["n2"]}
OWN = {"front": {"site_mac": "52:54:00:00:00:01", "site_address": "10.1.2.1"}, "n1": {"site_mac": "52:54:00:00:00:11", "site_address": "10.1.2.11"},
       "n2": {"site_mac": "52-54-00-00-00-1A", "site_address": "10.1.2.12"}, "oar": {}}


def faults(common=None, layers=tuple(NEEDS), groups=None, **hosts):
    """Of a good site with these changes."""
    hostvars = {name: {**COMMON_VALUES, **own, **(common or {}), **hosts.get(name, {})} for name, own in OWN.items()}
    return site_faults(hostvars, groups or GROUPS, layers)


def test_a_good_site():
    assert faults() == []
    assert faults({"site_reach_timeout": 600}) == [] == faults({"site_reach_timeout": "600"})


def test_all_that_is_missing_is_named_at_once():
    assert faults({"site_store": "", "site_bridge": None}, n2={"site_mac": "", "site_address": ""}) == [
        "front, n1, n2: site_store, the store's path on every machine, is not set: set it in group_vars/all.yml, such as /srv/cloud.",
        "n1, n2, front: site_bridge, the bridge on hypervisors, is not set: set it in group_vars/all.yml, such as br0.",
        'n2: site_mac, the MAC address of a machine\'s card on the LAN, is not set: set it for each of them, such as "52:54:00:12:34:56", in quotes.',
        "n2: site_address, a machine's address on the LAN, is not set: set it for each of them, such as 192.168.77.11."]


@pytest.mark.parametrize("layer, variables", [
    ("gateway", {"site_network", "site_domain", "site_mac", "site_address"}),
    ("image_store", {"site_store", "site_address"}),
    ("hypervisors", set(VARIABLES)),
    ("cloud", {"site_network", "site_domain", "site_store", "site_address"}),
    ("guests", {"site_store", "site_bridge"}),
])
def test_a_layer_alone_wants_what_it_needs(layer, variables):
    nothing = dict.fromkeys(VARIABLES)
    found = faults(nothing, [layer], front=nothing, n1=nothing, n2=nothing)
    assert {re.search(r"(site_\w+), ", text)[1] for text in found} == variables
    assert faults(nothing, [layer], groups={"all": []}) == []


@pytest.mark.parametrize("layer, group, variables", [
    ("gateway", "gateway", {"site_network", "site_domain", "site_mac", "site_address"}), ("hypervisors", "hypervisors", set(VARIABLES)),
    *(("image_store", group, {"site_store", "site_address"}) for group in ("image_store", "hypervisors")),
    *(("guests", group, {"site_store", "site_bridge"}) for group in ("image_store", "hypervisors")),
    *(("cloud", group, {"site_store", "site_address"}) for group in ("clc", "walrus", "sc")),
    ("cloud", "cc", {"site_store", "site_address", "site_network", "site_domain"}), ("cloud", "nc", {"site_store", "site_address", "site_network"}),
])
def test_each_machine_of_a_layer_wants_what_it_needs(layer, group, variables):
    found = faults(dict.fromkeys(VARIABLES), [layer], {"all": ["oar"], group: ["oar"]})
    assert {re.search(r"(site_\w+), ", text)[1] for text in found} == variables


def test_what_is_right_is_the_value():
    assert {name: check("86" if name == "site_reach_timeout" else COMMON_VALUES[name]) for name, check in COMMON.items()} == {
        **COMMON_VALUES, "site_network": ipaddress.IPv4Network("10.1.2.0/24"), "site_reach_timeout": 86}


def test_a_variable_of_a_role_takes_the_place():
    assert faults({"site_network": ""}, ["gateway"], front={"gateway_network": "10.1.2.0/24"}) == []
    assert faults(None, ["hypervisors"], n1={"site_mac": "", "bridge_interface": "eth0"}) == []
    assert faults(None, ["image_store"], n1={"site_address": "", "image_store_kind": "mounted"}) == []
    assert faults({"site_domain": "", "relocation_enabled": False}, ["hypervisors"]) == []


@pytest.mark.parametrize("common, says", [
    ({"site_network": "10.1.2.0"}, "front, n1, n2: site_network '10.1.2.0' has no length: write a network such as 192.168.77.0/24."),
    ({"site_domain": "Lan_1"}, "front, n1, n2: site_domain 'Lan_1' is not a domain: write one such as cloud.lan."),
    ({"site_store": "/srv/cloud/"}, "front, n1, n2: site_store '/srv/cloud/' is no path for a store"),
    ({"site_store": "/srv/../cloud"}, "site_store '/srv/../cloud' is no path for a store"),
    ({"site_bridge": "a-bridge-of-the-lan"}, "site_bridge 'a-bridge-of-the-lan' is no name of a bridge"),
    ({"site_reach_timeout": "2m"}, "site_reach_timeout '2m' is no time: write a number of seconds, such as 120."),
])
def test_what_all_have_in_common(common, says):
    told = faults(common)
    assert len(told) == 1 and says in told[0]


@pytest.mark.parametrize("own, says", [
    ({"site_mac": 1234567}, "n1: site_mac was read by YAML as the number 1234567: put the MAC address in quotes."),
    ({"site_mac": "eth0"}, "n1: site_mac 'eth0' is not a MAC address: write six pairs of hexadecimal digits, such as 52:54:00:12:34:56."),
    ({"site_mac": "52:54:00:00:00:1a"}, "n1, n2: they have the same site_mac 52:54:00:00:00:1a: each machine has its own, so change it."),
    ({"site_address": "10.1.2.12"}, "n1, n2: they have the same site_address 10.1.2.12: each machine has its own, so change it."),
    ({"site_address": "10.1.3.11"}, "n1: site_address 10.1.3.11 is outside of 10.1.2.0/24: take an address of that network."),
    ({"site_address": "n1"}, "n1: site_address 'n1' is not an IPv4 address: write one of 10.1.2.0/24."),
    ({"site_store": "/srv/other"}, "site_store differs (/srv/cloud of front, n2; /srv/other of n1), and is the store's path on every machine: "
                                   "set it once, in group_vars/all.yml."),
])
def test_what_is_one_machines_own(own, says):
    assert faults(n1=own) == [says]


def test_an_address_without_a_network():
    assert faults({"site_network": ""}, ["image_store"]) == []
    assert faults({"site_network": ""}, ["image_store"], n1={"site_address": "10.1.2"}) == [
        "n1: site_address '10.1.2' does not appear to be an IPv4 or IPv6 address."]


def test_a_host_that_is_no_machine_may_be_on_the_lan_and_needs_nothing():
    assert faults(oar=dict.fromkeys(COMMON_VALUES)) == []
    assert faults(oar={"site_store": "/home"}) == []
    assert faults(oar={"site_address": "10.1.2.1"}) == ["front, oar: they have the same site_address 10.1.2.1: each machine has its own, so change it."]


class Broken(dict):
    def get(self, key, default=None):
        if key == "site_mac":
            raise RuntimeError("'nothing'\n is undefined")
        return super().get(key, default)


def test_a_value_that_refers_to_nothing():
    hostvars = {name: {**COMMON_VALUES, **own} for name, own in OWN.items()}
    assert site_faults({**hostvars, "n1": Broken(hostvars["n1"])}, GROUPS, NEEDS) == [
        "n1: site_mac cannot be read ('nothing' is undefined): correct what it refers to."]


def test_the_documentation_has_these_variables():
    rows = re.findall(r"^\| (`site_.*?) \|", (CHECKOUT / "docs/design.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(re.findall(r"`(\w+)`", " ".join(rows))) == sorted({*VARIABLES, *COMMON})


def test_what_takes_a_variables_place_is_a_roles():
    known = {name for path in CHECKOUT.glob("roles/*/meta/argument_specs.yml")
             for spec in yaml.safe_load(path.read_text(encoding="utf-8"))["argument_specs"].values() for name in spec.get("options", {})}
    assert {each for layer in NEEDS.values() for needs in layer.values() for instead in needs.values() for each in instead} <= known
