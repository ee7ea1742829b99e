# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A node controller that is drained: nova's service there, the routers' way out, and what status and moves say of it."""

from __future__ import annotations

import json
from types import SimpleNamespace as Thing

import fake_cloud
import pytest
from ansible_collections.our.cloud.plugins.module_utils._cloud import compute_service, gateways, instance_move, status
from ansible_collections.our.cloud.plugins.module_utils._cloud.status_facts import Answer, NovaService
from ansible_collections.our.cloud.plugins.module_utils._common.errors import CloudError
from ansible_collections.our.cloud.plugins.module_utils._guest.drain import REASON
from ansible_collections.our.cloud.plugins.module_utils._guest.ready import Routers


def service(host="n1", state="enabled", reason=None):
    return {"id": f"id-{host}", "host": host, "status": state, "disabled_reason": reason}


@pytest.mark.parametrize("state, reason, enabled, wanted, note", [
    ("enabled", None, False, {"status": "disabled", "disabled_reason": REASON}, ""),
    ("enabled", None, True, {}, ""),
    ("disabled", REASON, False, {}, ""),
    ("disabled", REASON, True, {"status": "enabled"}, ""),
    ("disabled", "a fan", False, {}, ""),
    ("disabled", "a fan", True, {}, "nova-compute on n1 was disabled by somebody else (a fan) and stays so: "
                                    "`openstack compute service set --enable n1 nova-compute`"),
    ("disabled", None, True, {}, "by somebody else (without a reason)"),
])
def test_what_nova_is_told(state, reason, enabled, wanted, note):
    found = compute_service.change([service("n0"), service("n1", state, reason)], "n1", enabled)
    assert (found.id, found.wanted) == ("id-n1", wanted) and note in found.note and bool(note) == bool(found.note)


def test_a_node_that_nova_does_not_know():
    with pytest.raises(CloudError, match="nova does not know it by this name.*our.cloud.cloud"):
        compute_service.change([service("n0")], "n1", True)


@pytest.mark.parametrize("check", [False, True])
def test_nova_is_told(monkeypatch, check):
    told = []

    class Compute:
        """nova's API."""

        def get(self, path, **dummy):
            assert path == "/os-services?binary=nova-compute"
            return Thing(status_code=200, content=b"{", json=lambda: {"services": [service()]})

        def put(self, path, json, microversion):
            told.append((path, json, microversion))
            return Thing(status_code=200)

    monkeypatch.setattr(compute_service.session, "connect", lambda: Thing(compute=Compute()))
    assert compute_service.ensure("n1", False, check) == (True, "")
    assert told == ([] if check else [("/os-services/id-n1", {"status": "disabled", "disabled_reason": REASON}, status.COMPUTE_API)])
    assert compute_service.ensure("n1", True, check) == (False, "")


@pytest.mark.parametrize("silent, words", [
    (0, None), (2, None), (9, "nova-compute on n1.*it does not answer after 12 s: it says nothing.*nova-compute.log there tells why"),
    (None, "it does not answer after 12 s: nova knows no hypervisor of it"),
])
def test_a_nova_compute_has_to_answer(monkeypatch, silent, words):
    """silent: how often it does not answer first; None: nova does not know it."""
    clock, asked = [0], []
    known = [{"id": "h0", "service": {"host": "n0"}}] + ([] if silent is None else [{"id": "h1", "service": {"host": "n1"}}])
    monkeypatch.setattr(compute_service, "body", lambda *dummy, **more: {"hypervisors": known})

    def uptime(dummy, hypervisor):
        asked.append(hypervisor["id"])
        return Answer(0.1, None, "it says nothing.") if len(asked) <= silent else Answer(0.1, "up 1 day")

    monkeypatch.setattr(compute_service, "uptime", uptime)

    def ask():
        compute_service.answers(None, "n1", 12, lambda: clock[0], lambda seconds: clock.__setitem__(0, clock[0] + seconds))

    if words:
        with pytest.raises(CloudError, match=words):
            ask()
    else:
        ask()
        assert asked == ["h1"] * (silent + 1)


def test_where_routers_are():
    def ask(*arguments):
        if arguments[-1] == "Chassis":
            return json.dumps({"headings": ["_uuid", "hostname", "other_config"], "data": [
                [["uuid", "u2"], "n2", ["map", [["ovn-cms-options", "x,enable-chassis-as-gw"]]]], [["uuid", "u1"], "n1", ["map", []]]]})
        assert arguments == ("--format=json", "--columns=logical_port,chassis", "find", "Port_Binding", "type=chassisredirect")
        return json.dumps({"headings": ["logical_port", "chassis"], "data": [
            ["cr-a", ["uuid", "u2"]], ["cr-nowhere", ["set", []]], ["cr-old", ["uuid", "gone"]]]})

    assert gateways.look(ask) == Routers({"cr-a": "n2"}, ("n2",), ("n1", "n2"))


def test_the_status_names_who_opens_it_again():
    found = [NovaService("nova-compute", "n1", "up", "disabled", reason=reason, rpc=Answer(0.1, "up 3 days")) for reason in (REASON, "a fan")]
    drained, other = (status.judge_computes(["n1"], "c1", [one])[0] for one in found)
    assert drained.state == other.state == status.LOOK
    assert "it is drained" in drained.tells and drained.remedy == "ansible-playbook our.cloud.undrain -e host=n1"
    assert other.remedy == "openstack compute service set --enable n1 nova-compute"


def test_no_instance_moves_there():
    there = fake_cloud.service("nova-compute", "node2", status="disabled")
    there.disabled_reason = REASON
    reasons = instance_move.refusals(fake_cloud.server(), "node2", [there, fake_cloud.service("nova-compute", "node1")], [fake_cloud.agent("node2")])
    assert reasons == ["node2 is drained. Open it: playbooks/undrain.yml -e host=node2"]
