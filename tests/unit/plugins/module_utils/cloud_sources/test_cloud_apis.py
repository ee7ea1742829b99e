# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the cloud asks its APIs of instances, contents, projects and images."""

from __future__ import annotations

import fake_cloud
import pytest
from api_samples import Thing, answers
from keystoneauth1 import exceptions as auth_errors

from ansible_collections.our.cloud.plugins.module_utils._cloud import contents, glance_api, instances, projects, session
from ansible_collections.our.cloud.plugins.module_utils._cloud.project_entries import Rule
from ansible_collections.our.cloud.plugins.module_utils._common.errors import CloudError


@pytest.fixture(name="cloud")
def fixture_cloud(monkeypatch):
    cloud = fake_cloud.Cloud(servers=[fake_cloud.server("web"), fake_cloud.server("db", project_id="p2", compute_host=None)],
                             ports=[fake_cloud.port()], ips=[Thing(port_id="port-fa:16:3e:00:00:01", floating_ip_address="192.0.2.50")])
    monkeypatch.setattr(session, "connect", lambda *dummy: cloud)
    return cloud


ALL = {"name": None, "project": None, "console_lines": 0, "serial": False}


def test_instances_are_told_with_what_is_asked_elsewhere(cloud):
    found = instances.gather(ALL)
    assert [(each["name"], each["project"], each["address"]) for each in found] == [("db", "p2", None), ("web", "physics", "192.0.2.50")]
    assert [each["name"] for each in instances.gather({**ALL, "project": "physics"})] == ["web"]
    assert [each["name"] for each in instances.gather({**ALL, "name": "id-db"})] == ["db"]
    assert instances.gather({**ALL, "name": "none"}) == []


@pytest.mark.parametrize("status", ["DELETED", "SOFT_DELETED"])
def test_one_that_nova_still_lists_is_told_no_more(cloud, status):
    cloud.servers.append(fake_cloud.server("web", id="id-former", status=status))
    assert [each["id"] for each in instances.gather(ALL)] == ["id-db", "id-web"]
    assert [each["id"] for each in instances.gather({**ALL, "name": "web"})] == ["id-web"]
    assert instances.gather({**ALL, "name": "id-former"}) == []


def test_consoles_are_told_without_what_terminals_are_told(cloud):
    cloud.console = "\x1b[1;32mLinux\x1b[0m\r\n\n\x07login: \n"
    cloud.happens["create_server_remote_console"] = lambda cloud, *dummy, **more: Thing(url=f"ws://{more['type']}")
    found = instances.gather({**ALL, "name": "web", "console_lines": 5, "serial": True})[0]
    assert (found["console"], found["serial"], found["why"]) == (["Linux", "login:"], "ws://serial", "")
    assert instances.gather({**ALL, "name": "web", "console_lines": 1})[0]["console"] == ["login:"]


def test_a_console_that_is_not_there_hides_no_other(cloud):
    def none(cloud, server, **dummy):
        if server == "id-db":
            raise auth_errors.Conflict("Guest does not have a console available")
        return Thing(url="ws://one")

    cloud.happens["create_server_remote_console"] = none
    found = {each["name"]: each for each in instances.gather({**ALL, "serial": True, "console_lines": 1})}
    assert found["web"]["serial"] == "ws://one" and found["db"]["serial"] is None and "Guest does not have a console" in found["db"]["why"]


def test_what_is_in_the_cloud(cloud):
    cloud.identity.lists["services"] = [Thing(type=kind) for kind in ("identity", "compute", "image")]
    cloud.identity.lists["users"] = [Thing(id="u1", name="ada")]
    cloud.compute.lists["services"][3].state = "down"
    found = contents.look()
    assert found.contents == {"projects": {"p1": "physics"}, "users": {"u1": "ada"}, "instances": {"id-web": "web", "id-db": "db"},
                              "images": {"id-debian": "debian", "id-vmlinuz": "vmlinuz", "id-big": "big"}}
    assert (found.placed, found.silent) == ({"id-web": "node1", "id-db": ""}, ("node2",))


def test_a_cloud_without_nova_has_no_silent_nodes(cloud):
    cloud.identity.lists.update(services=[Thing(type="identity")], users=[])
    assert contents.look() == contents.Contents({"projects": {"p1": "physics"}, "users": {}}, {})


# projects

def test_quotas_are_asked_of_the_services_that_there_are():
    cloud = Thing(network=Thing(get=answers({"/quotas/p1": {"quota": {"network": 5, "other": 7, "floatingip": 2}}})),
                  compute=Thing(get=answers({"/os-quota-sets/p1/defaults": {"quota_set": {"instances": 10, "cores": 20}}})))
    assert projects.look_at_quotas(cloud, ["network"], "p1") == {"networks": 5, "floating_ips": 2}
    assert projects.look_at_quotas(cloud, ["compute"], "p1", True) == {"instances": 10, "cores": 20}
    cloud.compute.get = answers({"/os-quota-sets/p1": 503})
    with pytest.raises(session.Silent, match="quotas of compute"):
        projects.look_at_quotas(cloud, ["compute"], "p1")


RULE = {"direction": "ingress", "ethertype": "IPv4", "protocol": "tcp", "port_range_min": 22, "port_range_max": 22}


@pytest.mark.parametrize("said, rule", [
    (RULE, Rule("ingress", "IPv4", "tcp", 22, 22)), ({**RULE, "remote_ip_prefix": "0.0.0.0/0"}, Rule("ingress", "IPv4", "tcp", 22, 22)),
    ({**RULE, "remote_ip_prefix": "192.0.2.0/24"}, Rule("ingress", "IPv4", "tcp", 22, 22, "192.0.2.0/24")),
    ({**RULE, "remote_group_id": "g1"}, Rule("ingress", "IPv4", "tcp", 22, 22, "web")),
    ({**RULE, "remote_group_id": "g9"}, Rule("ingress", "IPv4", "tcp", 22, 22, "g9")),
    ({**RULE, "remote_address_group_id": "a1"}, Rule("ingress", "IPv4", "tcp", 22, 22, "a1")),
    ({"direction": "egress", "ethertype": "IPv6", "protocol": "icmpv6"}, Rule("egress", "IPv6", "ipv6-icmp")),
])
def test_rules_as_neutron_tells_them(said, rule):
    assert projects.rule_there(said, {"g1": "web"}) == rule


def test_groups_of_projects_that_are_ours_to_look_at():
    told = {"security_groups": [
        {"id": "g1", "name": "web", "project_id": "p1", "description": "", "tags": ["our-cloud"], "security_group_rules": [{**RULE, "id": "r1"}]},
        {"id": "g2", "name": "web", "project_id": "p2", "description": "", "tags": [], "security_group_rules": []}]}
    cloud = Thing(network=Thing(get=answers({"/security-groups": told, "/security-groups?project_id=p1": told})))
    assert projects.look_at_groups(cloud, {"p1": "lab", "p3": "none"}) == {
        "lab": {"web": projects.Group("g1", "", ("our-cloud",), {Rule("ingress", "IPv4", "tcp", 22, 22): "r1"})}, "none": {}}
    assert list(projects.look_at_groups(cloud, {"p1": "lab"}, "p1")["lab"]) == ["web"]


def test_what_would_be_lost_with_a_project():
    def lists(**found):
        return Thing(**{name: lambda names=names, **query: [Thing(id=f"id-{each}", name=each) for each in names] for name, names in found.items()})

    cloud = Thing(compute=lists(servers=["web", ""]), block_storage=lists(volumes=list("gfedcba"), snapshots=[]),
                  network=lists(networks=[], routers=["r"], ips=[]), image=lists(images=["debian"]))
    assert projects.look_inside(cloud, {"compute", "block-storage", "network"}, "p1") == [
        "instances (id-, web)", "volumes (a, b, c, d, e, …)", "routers (r)"]
    assert projects.look_inside(cloud, {"image"}, "p1") == ["images (debian)"] and projects.look_inside(cloud, set(), "p1") == []


# Glance

class Images:
    """Glance's API by its paths; what it was told is in `asked`. short: it loses the end of what it is sent."""

    def __init__(self, status=None, short=False):
        self.asked, self.status, self.short, self.kept = [], status or {}, short, {}

    def call(self, method, path, raise_exc, data=None, **more):
        assert raise_exc is False
        self.asked.append((method, path, more.get("json")))
        if data is not None:
            text = data.read()[:-1] if self.short else data.read()
            self.kept = {"os_hash_algo": "sha512", "os_hash_value": glance_api.hashlib.sha512(text).hexdigest()}
        pages = {"/images?limit=500&visibility=all&os_hidden=false": {"images": [{"id": "a"}], "next": "/v2/images?marker=a"},
                 "/images?marker=a": {"images": [{"id": "b"}]}, "/images?limit=500&visibility=all&os_hidden=true": {"images": [{"id": "h"}]}}
        return Thing(status_code=self.status.get(method, 200), text="<html><b>no</b> room</html>", json=lambda: pages.get(path, self.kept))

    def __getattr__(self, method):
        return lambda path, **more: self.call(method, path, **more)


def glance(tmp_path, **how):
    images = Images(**how)
    return images, glance_api.Glance(Thing(image=images, current_project_id="p", has_service=lambda kind: False), str(tmp_path))


def test_images_of_all_pages_and_hidden_ones(tmp_path):
    assert [each["id"] for each in glance(tmp_path)[1].images()] == ["a", "b", "h"]


@pytest.mark.parametrize("how, why", [
    ({}, None), ({"short": True}, "Glance received something else than was sent"),
    ({"status": {"put": 413}}, r"Glance's store is full, and nothing of it was kept \(no room\)"),
    ({"status": {"put": 500}}, "Glance: PUT /images/i/file: 500 no room. Look at"),
])
def test_an_upload(tmp_path, how, why):
    (tmp_path / "root.img").write_bytes(b"content")
    images, to = glance(tmp_path, **how)
    if why:
        with pytest.raises(CloudError, match=why):
            to.upload("i", str(tmp_path / "root.img"))
    else:
        to.upload("i", str(tmp_path / "root.img"))
        assert [call[:2] for call in images.asked] == [("put", "/images/i/file"), ("get", "/images/i")]


def test_what_glance_is_told(tmp_path):
    images, to = glance(tmp_path)
    to.create({"id": "i"})
    to.update("i", {"name": "n", "our": "x", "gone": None})
    to.delete("i")
    assert images.asked == [("post", "/images", {"id": "i"}), ("patch", "/images/i", [
        {"op": "remove", "path": "/gone"}, {"op": "replace", "path": "/name", "value": "n"}, {"op": "add", "path": "/our", "value": "x"}]),
        ("delete", "/images/i", None)]
    (tmp_path / "left").touch()
    assert to.stored() == {"left"}
    to.drop("left")
    assert to.stored() == set()


@pytest.mark.parametrize("status, error", [(409, glance_api.Taken), (403, CloudError)])
def test_an_id_is_never_given_twice(tmp_path, status, error):
    with pytest.raises(error):
        glance(tmp_path, status={"post": status})[1].create({"id": "i"})


@pytest.mark.parametrize("status, fails", [(404, False), (204, False), (409, True)])
def test_an_image_that_has_gone_need_not_go(tmp_path, status, fails):
    to = glance(tmp_path, status={"delete": status})[1]
    if fails:
        with pytest.raises(CloudError, match="DELETE /images/i: 409"):
            to.delete("i")
    else:
        to.delete("i")


def test_how_glance_logs_in(tmp_path):
    path = tmp_path / "glance-api.conf"
    path.write_text("# comments alone\n[keystone_authtoken]\n")
    with pytest.raises(session.NotThere, match="it does not say how Glance logs in. our.cloud.cloud writes it"):
        glance_api.credentials(str(path))
    with pytest.raises(session.NotThere):
        glance_api.credentials(str(tmp_path / "none"))
