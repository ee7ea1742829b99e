# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The inventory plugin, by Ansible's own reading of small directories."""

from __future__ import annotations

import pathlib
import shutil
import stat
import sys

import pytest
import yaml
from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.vars import host_group_vars
from ansible.template import Templar
from ansible.utils.display import Display
from ansible.vars.manager import VariableManager

from ansible_collections.our.cloud.plugins.inventory.guests import InventoryModule
from ansible_collections.our.cloud.plugins.module_utils._common.errors import CloudError
from ansible_collections.our.cloud.plugins.module_utils._guest import inquiry
from ansible_collections.our.cloud.plugins.module_utils._site import ssh_way
from ansible_collections.our.cloud.plugins.module_utils._site.machines import site_hosts

CHECKOUT = pathlib.Path(__file__).resolve().parents[4]
JUMP = "-o ProxyJump=root@198.51.100.10"
MINE = {"plugin": "our.cloud.guests", "strict": True}
HOSTS = {
    "gateway": {"hosts": {"front": {"ansible_host": "198.51.100.10", "site_address": "192.168.50.1"}}},
    "hypervisors": {
        "vars": {"ansible_host": "{{ site_address }}"},
        "children": {
            "xen": {"hosts": {"node1": {"site_address": "192.168.50.11"}}},
            "kvm": {"hosts": {"node3": {"site_address": "192.168.50.21"}}}}},
}
GUESTS = [{"name": "web", "host": "node1", "kind": "pvh", "memory": 256, "image": "debian"},
          {"name": "db", "host": "node3", "kind": "kvm", "memory": 512, "image": "debian", "address": "192.168.50.80"},
          {"name": "old", "host": "node3", "kind": "kvm", "memory": 512, "state": "absent"}]
ALL = {"site_network": "192.168.50.0/24", "site_domain": "cloud.lan", "ansible_user": "root", "guests": GUESTS}


SHOWN = InventoryModule._warn


class Site:
    """An inventory's directory, as Ansible reads it."""

    def __init__(self, folder):
        self.folder, self.warnings, self.errors = folder, [], []
        self.write("hosts.yml", HOSTS)
        self.write("group_vars/all.yml", ALL)
        self.write("our_cloud.yml", MINE)

    def write(self, name, content):
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")

    def read(self, **more):
        self.warnings.clear()
        self.errors.clear()
        # it remembers which files there were
        host_group_vars.FOUND.clear()
        host_group_vars.NAK.clear()
        self.loader = DataLoader()
        self.inventory = InventoryManager(self.loader, [str(self.folder)], **more)
        self.variables = VariableManager(self.loader, self.inventory)
        return self

    @property
    def groups(self):
        return self.inventory.get_groups_dict()

    def host(self, name):
        """Its variables, as a play has them."""
        host = self.inventory.get_host(name)
        assert host, self.errors + self.warnings
        return Templar(self.loader, self.variables.get_vars(host=host)).template({
            key: value for key, value in self.variables.get_vars(host=host).items() if key.startswith("ansible_") or key in ("guest", "instance", "small")})

    def way(self, name):
        """(ansible_host, ansible_ssh_common_args)"""
        found = self.host(name)
        return found.get("ansible_host"), found.get("ansible_ssh_common_args")


@pytest.fixture(name="site")
def a_site(tmp_path, monkeypatch):
    site = Site(tmp_path)
    monkeypatch.setattr(InventoryModule, "_warn", lambda self, text: site.warnings.append(text))
    monkeypatch.setattr(Display, "error_as_warning", lambda self, msg=None, exception=None, **dummy: site.errors.append(str(exception)))
    monkeypatch.setattr(ssh_way, "on_network", lambda network: False)
    # this computer's own configuration is none of the test's
    monkeypatch.setattr(ssh_way, "configured_jump", lambda arguments, target: False)
    return site


def test_guests_are_hosts_of_their_group(site):
    site.read()
    assert site.groups["guests"] == ["web", "db"] and "old" not in site.inventory.hosts
    assert site.way("db") == ("192.168.50.80", JUMP) and site.way("web") == ("web.cloud.lan", JUMP)
    guest = site.host("db")["guest"]
    assert (guest["kind"], guest["vcpus"], guest["family"], guest["node"], guest["status"]) == ("kvm", 1, "qemu", None, None)
    assert site.errors == site.warnings == []


def test_no_guest_is_a_machine_of_the_site(site):
    (site.folder / "our_cloud.yml").unlink()
    alone = site_hosts(site.read().groups)
    site.write("our_cloud.yml", MINE)
    assert site_hosts(site.read().groups) == alone == ["front", "node1", "node3"]
    assert site.groups["ungrouped"] == [] and len(site.groups["all"]) == 5


def test_root_unless_the_inventory_says_who(site):
    site.write("group_vars/all.yml", {key: value for key, value in ALL.items() if key != "ansible_user"})
    site.write("group_vars/guests.yml", {"ansible_user": "admin"})
    site.write("host_vars/front.yml", {"ansible_user": "op", "ansible_port": 2222})
    assert site.read().host("db")["ansible_user"] == "admin"
    assert site.way("db")[1] == "-o ProxyJump=op@198.51.100.10:2222"
    (site.folder / "group_vars/guests.yml").unlink()
    assert site.read().host("db")["ansible_user"] == "root"


def test_constructed(site):
    site.write("our_cloud.yml", {**MINE, "compose": {"small": "guest.memory < 512"}, "groups": {"data": "guest.name == 'db'", "little": "small"},
                                 "keyed_groups": [{"key": "guest.host", "prefix": "node", "parent_group": "by_node"}]})
    site.read()
    assert (site.groups["data"], site.groups["little"], site.groups["node_node1"], site.groups["by_node"]) == (["db"], ["web"], ["web"], ["web", "db"])
    assert (site.host("web")["small"], site.host("db")["small"]) == (True, False)


@pytest.mark.parametrize("strict", [False, True])
def test_strict(site, strict):
    site.write("our_cloud.yml", {**MINE, "strict": strict, "compose": {"small": "guest.weight < 512"}})
    site.read()
    assert any("Could not set small for host web" in error for error in site.errors) == strict
    assert site.groups["guests"] == ["web", "db"]


@pytest.mark.parametrize("constructed", [
    {"groups": {"kvm": "true"}},
    {"groups": {"ungrouped": "true"}},
    {"groups": {"fast": "true"}},
    {"keyed_groups": [{"key": "guest.kind", "separator": ""}]},
    {"keyed_groups": [{"key": "guest.kind", "prefix": "kind", "parent_group": "hypervisors"}]},
])
def test_constructed_groups_make_no_machine_of_the_site(site, constructed):
    """`fast` is a group of the inventory below one of the site's."""
    hosts = {**HOSTS, "kvm": {"children": {"fast": {"hosts": {"node3": {}}}}}}
    site.write("hosts.yml", hosts)
    site.write("our_cloud.yml", {**MINE, "strict": False, **constructed})
    site.read()
    assert any("guests and instances are no machines of the site" in error for error in site.errors)
    assert site_hosts(site.groups) == ["front", "node1", "node3"] and site.groups["kvm"] == ["node3"]


def test_a_guest_that_is_a_host_keeps_what_it_has(site):
    """As a guest of a batch cluster: its user is its own, its jump is the cluster's, and the address is missing."""
    site.write("hosts.yml", {**HOSTS, "oar_nodes": {"hosts": {"db": {"ansible_user": "oar"}}, "vars": {"ansible_ssh_common_args": "-J other"}}})
    site.write("group_vars/oar_nodes.yml", {"ansible_ssh_private_key_file": "/key"})
    found = site.read().host("db")
    assert (found["ansible_user"], found["ansible_ssh_common_args"], found["ansible_host"]) == ("oar", "-J other", "192.168.50.80")
    assert found["ansible_ssh_private_key_file"] == "/key" and found["guest"]["name"] == "db"
    assert site.groups["oar_nodes"] == ["db"] and site.groups["guests"] == ["web", "db"]
    assert site_hosts(site.groups) == ["front", "node1", "node3"]


def test_a_later_file_may_say_more(site):
    site.write("zz.yml", {"webs": {"hosts": {"web": {"ansible_host": "192.168.50.90"}}}})
    assert site.read().way("web") == ("192.168.50.90", JUMP) and site.groups["webs"] == ["web"]


def test_a_host_in_no_group_is_a_guest_from_then_on(site):
    site.write("hosts.yml", {**HOSTS, "all": {"hosts": {"web": {}}}})
    assert site_hosts(site.read().groups) == ["front", "node1", "node3"] and "web" in site.groups["guests"]


@pytest.mark.parametrize("name, what", [("node1", "a machine of the site"), ("front", "a machine of the site"), ("oar_nodes", "a group"), ("kvm", "a group")])
def test_a_name_that_is_taken(site, name, what):
    site.write("hosts.yml", {**HOSTS, "oar_nodes": {}})
    site.write("group_vars/all.yml", {**ALL, "guests": [{**GUESTS[0], "name": name}, GUESTS[1]]})
    assert site.read().groups["guests"] == ["db"]
    assert site.warnings == [f"guest {name} is left out: {what} has this name. Rename one of them"]


def test_a_fault_leaves_one_guest_out(site):
    site.write("group_vars/all.yml", {**ALL, "guests": [{**GUESTS[0], "host": "nowhere"}, GUESTS[1]]})
    assert site.read().groups["guests"] == ["db"]
    assert site.warnings == ["guest web: host: 'nowhere' is no hypervisor of the inventory; there are node1, node3"]


@pytest.mark.parametrize("guests", [None, []])
def test_no_guests(site, guests):
    site.write("group_vars/all.yml", {**ALL, "guests": guests})
    assert "guests" not in site.read().groups and site.errors == site.warnings == []


def test_guests_that_cannot_be_read(site):
    site.write("group_vars/all.yml", {**ALL, "guests": "{{ missing }}"})
    site.read()
    assert any("node1: guests cannot be read:" in error for error in site.errors)


def test_guests_may_be_a_template_over_hosts_and_groups(site):
    site.write("group_vars/all.yml", {**ALL, "prefix": "web", "guests": [
        {**GUESTS[0], "name": "{{ prefix }}", "host": "{{ groups.xen | first }}", "address": "{{ hostvars['node1'].site_address | replace('.11', '.70') }}"}]})
    assert site.read().way("web") == ("192.168.50.70", JUMP)


def test_a_name_that_sorts_too_early(site):
    (site.folder / "our_cloud.yml").rename(site.folder / "guests.our_cloud.yml")
    site.read()
    assert any("give this one a name that comes after the file with the site's machines, such as zz_our_cloud.yml" in error for error in site.errors)


def test_other_files_are_not_its_own(tmp_path):
    for name in ("our_cloud.yml", "zz_our_cloud.yaml", "hosts.yml", "our_cloud.ini"):
        (tmp_path / name).touch()
    assert [path.name for path in sorted(tmp_path.iterdir()) if InventoryModule().verify_file(str(path))] == ["our_cloud.yml", "zz_our_cloud.yaml"]


# --- ssh's way

def test_a_guest_is_reached_as_its_hypervisor_is(site):
    hosts = {**HOSTS["hypervisors"], "vars": {"ansible_ssh_common_args": "-J jump -o User={{ who }}", "who": "op"}}
    site.write("hosts.yml", {**HOSTS, "hypervisors": hosts})
    assert site.read().way("db") == ("192.168.50.80", "-J jump -o User=op")
    site.write("host_vars/node3.yml", {"ansible_ssh_common_args": "-J third"})
    assert site.read().way("db")[1] == "-J third"


def test_what_all_hosts_have_stays(site):
    site.write("group_vars/all.yml", {**ALL, "ansible_ssh_common_args": "-o ServerAliveInterval=30"})
    assert site.read().way("db")[1] == (
        "-o ServerAliveInterval=30 -o 'ProxyCommand=ssh -o ServerAliveInterval=30 -W %h:%p root@198.51.100.10'")


@pytest.mark.parametrize("said", ["-J mine", "-o ProxyJump=none", "-o ProxyCommand='nc %h %p'"])
def test_what_is_said_for_guests_counts(site, said):
    site.write("group_vars/guests.yml", {"ansible_ssh_common_args": said})
    assert site.read().way("db") == ("192.168.50.80", said)


def test_on_the_lan(site, monkeypatch):
    monkeypatch.setattr(ssh_way, "on_network", lambda network: str(network) == "192.168.50.0/24")
    assert site.read().way("db") == ("192.168.50.80", None) and site.way("web") == ("web.cloud.lan", None)


@pytest.mark.parametrize("variables", [{"ansible_host": "192.168.50.1"}, {"ansible_connection": "local"}, {"ansible_connection": "ansible.builtin.local"},
                                       {"site_network": "no network"}])
def test_a_gateway_that_is_here_or_reached_on_the_lan(site, variables):
    site.write("host_vars/front.yml", variables)
    assert site.read().way("web") == ("web.cloud.lan", None)


def test_without_a_gateway_names_are_somebody_elses(site):
    site.write("hosts.yml", {"hypervisors": HOSTS["hypervisors"]})
    assert site.read().way("web") == (None, None) and site.way("db") == ("192.168.50.80", None)


def test_guests_that_are_not_reached_by_ssh(site):
    site.write("group_vars/guests.yml", {"ansible_connection": "community.docker.docker"})
    assert site.read().way("db") == (None, None) and site.host("db")["guest"]["name"] == "db"


def test_an_address_that_only_machines_have(site):
    site.write("group_vars/all.yml", {**ALL, "ansible_host": "{{ site_address }}"})
    assert site.read().way("db")[0] == "192.168.50.80"


@pytest.mark.parametrize("known, way", [("192.168.50.80", "192.168.50.80"), ("db", None)])
def test_a_way_of_ssh_s_own_configuration(site, monkeypatch, known, way):
    monkeypatch.setattr(ssh_way, "configured_jump", lambda arguments, target: target == known and arguments == "-F config")
    site.write("group_vars/all.yml", {**ALL, "ansible_ssh_common_args": "-F config"})
    assert site.read().way("db") == (way, "-F config")


def test_a_host_that_ssh_s_configuration_knows_by_its_name_keeps_it(site, monkeypatch):
    monkeypatch.setattr(ssh_way, "configured_jump", lambda arguments, target: target == "db")
    site.write("hosts.yml", {**HOSTS, "oar_nodes": {"hosts": {"db": {}, "web": {}}}})
    site.write("group_vars/all.yml", {**ALL, "ansible_ssh_common_args": "-F config"})
    assert site.read().way("db") == (None, "-F config")
    # nobody knows its address: its name is the inventory's business
    assert site.way("web") == (None, "-F config")


def test_one_whose_hypervisor_is_reached_straight(site):
    """Its own hypervisor's way counts, not that of others; the gateway's is the next best."""
    site.write("hosts.yml", {**HOSTS, "xen": {"vars": {"ansible_ssh_common_args": "-J third"}}})
    assert site.read().way("web")[1] == "-J third" and site.way("db")[1] == JUMP


def test_the_lab_s_guests_by_the_names_that_its_ssh_config_has(tmp_path):
    lab = pathlib.Path(shutil.copytree(CHECKOUT / "inventories/lab", tmp_path / "lab", ignore=shutil.ignore_patterns(".*")))
    (lab / ".lab").mkdir()
    (lab / ".lab/ssh_config").write_text("Host our-vm\n    ProxyJump homer\nHost homer\n    HostName 127.0.0.1\n", encoding="ascii")
    (lab / "our_cloud.yml").write_text("plugin: our.cloud.guests\n", encoding="ascii")
    site = Site(tmp_path / "unused")
    site.folder = lab
    site.read()
    assert site.groups["guests"] == ["our-vm", "their-vm"] and site.way("our-vm") == (None, f"-F {lab}/.lab/ssh_config")
    assert site_hosts(site.groups) == ["homer", "marge", "maggie", "bart", "lisa"]


# --- asking

LEASES = "1790000000 00:16:3e:4b:5e:57 192.168.50.130 web *\n1790000000 fa:16:3e:00:00:01 192.168.50.131 * *\n"


def copy(name, **more):
    return {"name": name, "state": "running", "active": True, "persistent": True, "kind": "pvh", "arch": "x86_64", "memory": 256, "owner": "our.cloud", **more}


def instance(name, **more):
    return {"name": name, "id": f"id-{name}", "project": "demo", "key": None, "state": "running", "host": "node3", "address": "192.168.50.70",
            "cards": [], **more}


TOLD = inquiry.Told({"node1": {"hypervisor": "xen", "guests": [copy("web")]}},
                    [instance("web"),
                     instance("{{ 1 + 1 }}", id="5f0e", host="node77", key="{{ 1 + 1 }}", address=None, cards=[{"mac": "fa:16:3e:00:00:01"}])], LEASES,
                    ["node3, asked for guests: no route to it.."])


@pytest.fixture(name="asked")
def an_answer(site, monkeypatch):
    """What inquiry.ask was called with, each time."""
    calls = []

    def ask(sources, groups, seconds, options=()):
        calls.append(([pathlib.Path(source).name for source in sources], groups["hypervisors"], seconds, list(options)))
        return TOLD

    monkeypatch.setattr(inquiry, "ask", ask)
    site.write("our_cloud.yml", {**MINE, "ask": True})
    return calls


def test_nobody_is_asked_without_being_told_to(site, asked):
    site.write("our_cloud.yml", MINE)
    site.read()
    assert asked == []


def test_what_machines_told(site, asked):
    site.read()
    assert asked == [(["hosts.yml"], ["node1", "node3"], 20, [])]
    assert site.way("web") == ("192.168.50.130", JUMP)
    assert (site.host("web")["guest"]["node"], site.host("web")["guest"]["status"]) == ("node1", "running")
    # the silent one may have it
    assert site.way("db") == ("192.168.50.80", JUMP) and site.host("db")["guest"]["status"] is None
    assert site.warnings == ["node3, asked for guests: no route to it. What it may know is missing"]


def test_instances(site, asked):
    site.read()
    assert site.groups["instances"] == ["web.demo", "5f0e"] and site.groups["guests"] == ["web", "db"]
    assert site.way("web.demo") == ("192.168.50.70", JUMP) and site.host("web.demo")["instance"]["node"] == "node3"
    assert site.host("web.demo")["ansible_user"] == "root" and site_hosts(site.groups) == ["front", "node1", "node3"]


def test_an_instance_that_nobody_can_reach_is_told(site, asked, monkeypatch):
    monkeypatch.setattr(inquiry, "ask", lambda *dummy: inquiry.Told({}, [instance("web", address=None)], "", []))
    assert "instances" not in site.read().groups
    assert site.warnings == ["instance id-web is left out: neither the cloud nor the gateway's leases say its address"]


def test_warnings_are_sentences(site, monkeypatch):
    """What Ansible shows of them."""
    shown = []
    monkeypatch.setattr(InventoryModule, "_warn", SHOWN)
    monkeypatch.setattr(Display, "warning", lambda self, text, **dummy: shown.append(text))
    site.write("group_vars/all.yml", {**ALL, "guests": [{**GUESTS[0], "memory": 8}]})
    site.read()
    assert shown == ["our.cloud.guests: guest web: memory: 8 is no number of MiB, which is a whole number of at least 16."]


def test_an_instance_on_a_node_that_is_none_of_the_inventory(site, asked):
    site.write("hosts.yml", {**HOSTS, "kvm": {"hosts": {"node4": {}}, "vars": {"ansible_ssh_common_args": "-J third"}}})
    assert site.read().way("5f0e")[1] == "-J third"


def test_what_users_of_the_cloud_write_is_no_template(site, asked):
    found = site.read().host("5f0e")
    assert found["instance"]["name"] == found["instance"]["key"] == "{{ 1 + 1 }}" and found["ansible_host"] == "192.168.50.131"


def test_the_cache(site, asked, tmp_path):
    site.write("our_cloud.yml", {**MINE, "ask": True, "cache": True, "cache_plugin": "ansible.builtin.jsonfile", "cache_connection": str(tmp_path / ".cache")})
    first = site.read().host("web")
    assert site.read().host("web") == first and len(asked) == 1 and len(site.warnings) == 1
    assert site.groups["instances"] == ["web.demo", "5f0e"]
    site.read(cache=False)
    assert len(asked) == 2


@pytest.mark.parametrize("answer", [inquiry.Told(silent=["node1: no"]), None])
def test_where_nobody_answers_the_plan_counts_and_nothing_is_kept(site, asked, monkeypatch, tmp_path, answer):
    def ask(*dummy):
        asked.append(dummy)
        if answer:
            return answer
        raise CloudError("", "asking", "no end")

    monkeypatch.setattr(inquiry, "ask", ask)
    site.write("our_cloud.yml", {**MINE, "ask": True, "cache": True, "cache_plugin": "ansible.builtin.jsonfile", "cache_connection": str(tmp_path / ".cache")})
    for dummy in range(2):
        assert site.read().way("db") == ("192.168.50.80", JUMP) and len(site.warnings) == 1
    assert len(asked) == 2 and site.host("db")["guest"]["status"] is None


def test_options_of_the_command_line_go_along(site, asked, monkeypatch):
    monkeypatch.setattr("ansible.context.CLIARGS", {
        "remote_user": "op", "become": True, "become_user": "root", "vault_password_files": ["/v"], "vault_ids": ["a@/w", "b@prompt"], "tags": ["x"],
        "extra_vars": ("x=1",)})
    site.read()
    assert asked[0][3] == ["--user", "op", "--become-user", "root", "--become", "--vault-password-file", "/v", "--vault-id", "a@/w", "--extra-vars", "x=1"]


STUBS = {"vm_info": {"hypervisor": "xen", "guests": [copy("web")]}, "instance_info": {"instances": [instance("a")]}}


def test_asking_by_ansible_itself(tmp_path, monkeypatch):
    """With modules that only say what they are to say; one hypervisor cannot be reached, and there is no file of leases."""
    ours = tmp_path / "collections/ansible_collections/our/cloud"
    shutil.copytree(CHECKOUT / "plugins", ours / "plugins", ignore=shutil.ignore_patterns("__pycache__"))
    for name, said in STUBS.items():
        path = ours / f"plugins/modules/{name}.py"
        path.write_text(f"#!/usr/bin/python\n# WANT_JSON\nimport json, sys\nprint(json.dumps({said!r}))\n", encoding="utf-8")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("ANSIBLE_COLLECTIONS_PATH", f"{tmp_path}/collections:{pathlib.Path(yaml.__file__).parents[1]}")
    monkeypatch.setenv("ANSIBLE_CONFIG", str(tmp_path / "ansible.cfg"))
    monkeypatch.setenv("ANSIBLE_STRATEGY", "linear")
    (tmp_path / "ansible.cfg").touch()
    hosts = tmp_path / "hosts"
    hosts.write_text("[hypervisors]\nnode1\nnode9 ansible_connection=ansible.builtin.none_such\n[clc]\nfront\n[gateway]\nfront\n[all:vars]\n"
                     f"ansible_connection=local\nansible_python_interpreter={sys.executable}\n", encoding="ascii")
    found = inquiry.ask([str(hosts)], {"hypervisors": ["node1", "node9"], "clc": ["front"], "gateway": ["front"]}, 60)
    assert found.hypervisors["node1"]["guests"] == [copy("web")] and found.instances == [instance("a")] and found.leases == ""
    assert sorted(line.partition(":")[0] for line in found.silent) == ["front, asked for leases", "node9, asked for guests"]
