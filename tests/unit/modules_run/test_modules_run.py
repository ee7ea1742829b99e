# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What each module makes of the answer of its work: its result is the documented one, check mode reaches the work, a refusal is a message."""

from __future__ import annotations

import contextlib
import json
import pathlib
from typing import Any, NamedTuple

import pytest
import yaml
from checkout import CHECKOUT
from module_runs import Space, modul, put, run

from ansible_collections.our.cloud.plugins.module_utils._cloud import session
from ansible_collections.our.cloud.plugins.module_utils._cloud.backup import Saved
from ansible_collections.our.cloud.plugins.module_utils._cloud.compute_log import Log
from ansible_collections.our.cloud.plugins.module_utils._cloud.config_files import Changes
from ansible_collections.our.cloud.plugins.module_utils._cloud.contents import Contents
from ansible_collections.our.cloud.plugins.module_utils._cloud.evacuation import Evacuated
from ansible_collections.our.cloud.plugins.module_utils._cloud.machine_facts import Facts, Store
from ansible_collections.our.cloud.plugins.module_utils._cloud.manifest import Manifest
from ansible_collections.our.cloud.plugins.module_utils._cloud.members import Members
from ansible_collections.our.cloud.plugins.module_utils._cloud.s3 import Pair
from ansible_collections.our.cloud.plugins.module_utils._cloud.status_facts import Answer, Parts
from ansible_collections.our.cloud.plugins.module_utils._cloud.units import Outcome
from ansible_collections.our.cloud.plugins.module_utils._common.errors import CloudError
from ansible_collections.our.cloud.plugins.module_utils._guest.ready import Routers
from ansible_collections.our.cloud.plugins.module_utils._lab.process import LabError
from ansible_collections.our.cloud.plugins.module_utils._oar.oar import OarError
from ansible_collections.our.cloud.plugins.module_utils._recipe.recipe import RecipeError
from ansible_collections.our.cloud.plugins.module_utils._site.machine_facts import Machine

MODULES = sorted(path.stem for path in (CHECKOUT / "plugins" / "modules").glob("[a-z]*.py"))


class Step:
    """A step of a plan: a word, and what a diff shows of it."""

    thing, name, before, after, verb, kind, values, was = "network lan", "small", "", "lan", "make", "network", {"mtu": 1500}, {}

    def __str__(self):
        return "make lan"


class Case(NamedTuple):
    """module; what it is asked; the function that does its work; what that answers; the result, in part."""

    module: str
    params: dict
    work: str
    answer: Any
    result: dict
    error: type = CloudError


PLAN = Space(commands=[["ovs-vsctl", "add-br", "br"]], before={}, after={"br": {}})
DATABASE = {"host": "one", "ca": "/ca"}
OVN = {"address": "192.0.2.1", "private_key": "/key", "certificate": "/certificate", "ca_cert": "/ca"}
REGISTERED = {"changed": True, "id": "eki-1", "actions": ["add"], "registered": {}, "file": "/f", "previous": None}
LAB = {"state_dir": "/lab"}
CASES = [
    Case("appliance", {"recipe": "toy"}, "_recipe.recipe_build.ensure", {"changed": True, "files": {}}, {"changed": True, "files": {}}, RecipeError),
    Case("lab_host", {"state": "present", "image": "/image", **LAB}, "_lab.host.prepare_host", {"changed": True, "accelerator": "tcg"},
         {"changed": True, "accelerator": "tcg"}, LabError),
    Case("lab_host", {"state": "absent", **LAB}, "_lab.host.remove_host", True, {"changed": True}, LabError),
    Case("lab_machine", {"name": "front", "state": "absent", **LAB}, "_lab.machine.ensure_machine", (True, ["mind the gap"]),
         {"changed": True, "warnings": ["mind the gap"]}, LabError),
    Case("lab_docker", {"name": "lab"}, "_lab.docker.prepare", {"changed": True, "answers": True, "said": []}, {"answers": True}, LabError),
    Case("lab_docker", {"name": "lab", "state": "absent"}, "_lab.docker.release", {"changed": True, "answers": False, "said": []}, {"answers": False},
         LabError),
    Case("lab_seed", {"name": "front", "nics": [], **LAB}, "_lab.containers.seed", True, {"changed": True}, LabError),
    Case("cloud_backup_info", {"directory": "/b", "groups": {}, "databases": []}, "_cloud.manifest.read", ("t0", Manifest(1, {}, "then")),
         {"changed": False, "name": "t0", "folder": "/b/t0", "manifest": {"format": 1, "hosts": {}, "made": "then", "contents": {}}, "faults": []}),
    Case("cloud_contents", {"before": {"instances": {"a": {}}}}, "_cloud.contents.wait", Contents({}, {}), {"changed": False, "contents": {}}),
    Case("cloud_evacuate", {"host": "one"}, "_cloud.evacuation.ensure", Evacuated(True, ("web",), ()), {"changed": True, "lines": ["web"], "stay": []}),
    Case("cloud_identity", {}, "_cloud.identity.ensure", [Step()], {
        "changed": True, "steps": ["make lan"], "diff": {"before": "", "after": "network small mtu=1500\n"}}),
    Case("cloud_identity", {}, "_cloud.identity.ensure", [], {"changed": False, "steps": []}),
    Case("cloud_load", {"groups": ["clc"], "state": "stopped"}, "_cloud.backup.still", ["stop nova-api"], {"changed": True, "steps": ["stop nova-api"]}),
    Case("cloud_load", {"groups": ["clc"], "state": "started"}, "_cloud.backup.still", [], {"changed": False, "steps": []}),
    Case("cloud_load", {"groups": ["clc"], "state": "loaded", "archive": "/a", "members": {}, "versions": {}}, "_cloud.backup.restore", ["load"],
         {"changed": True, "steps": ["load"]}),
    Case("cloud_machine_info", {}, "_cloud.machine.facts", Facts(512, 0, True, (), "one", (), 1.5, "", Store("f00", 7, 9)),
         {"changed": False, "memory": 512, "swap": 0, "virtualization": True, "macs": [], "hostname": "one", "unresolved": [], "time": 1.5, "system_id": "",
          "store": "f00", "store_free": 7, "store_total": 9, "units": [], "certificate": None, "schemas": []}),
    Case("cloud_members", {"ncs": ["one"]}, "_cloud.members.ensure", Members((Step(),), ("two",)), {"changed": True, "steps": ["make lan"], "held": ["two"]}),
    Case("cloud_networks", {}, "_cloud.networks.ensure", [Step()], {"changed": True, "steps": ["network lan"]}),
    Case("cloud_projects", {"projects": []}, "_cloud.projects.ensure", [Step()], {"changed": True, "steps": ["make lan"]}),
    Case("cloud_queue", {**DATABASE, "users": [{"name": "nova", "password": "hunter2"}]}, "_cloud.queue.ensure", ["user nova"],
         {"changed": True, "done": ["user nova"]}),
    Case("cloud_status", {}, "_cloud.status.look", Parts(Answer(0.5, ["compute"])),
         {"changed": False, "parts": {"keystone": {"told": ["compute"], "seconds": 0.5}}}),
    Case("compute_log", {"id": "x", "since": 1.5}, "_cloud.compute_log.look", Log(("no space",)), {"changed": False, "lines": ["no space"], "unread": ""}),
    Case("compute_service", {"host": "one", "enabled": False}, "_cloud.compute_service.ensure", (True, "mind"), {"changed": True, "note": "mind"}),
    Case("config_files", {"files": []}, "_cloud.config_files.ensure", Changes(("/etc/f",)), {"changed": True, "paths": ["/etc/f"], "diff": []}),
    Case("flavors", {"flavors": []}, "_cloud.flavors.ensure", [Step()], {"changed": True, "flavors": ["small"], "diff": {"before": "", "after": "lan\n"}}),
    Case("image", {"name": "debian", "path": "/p"}, "_registry.registration.run", REGISTERED, {"changed": True, "id": "eki-1"}),
    Case("kernel", {"name": "debian", "path": "/p"}, "_registry.registration.run", REGISTERED, {"changed": True, "id": "eki-1"}),
    Case("ramdisk", {"name": "debian", "path": "/p"}, "_registry.registration.run", REGISTERED, {"changed": True, "id": "eki-1"}),
    Case("instance", {"name": "web"}, "_cloud.instance.ensure", {"changed": True, "actions": ["boot"]}, {"changed": True, "actions": ["boot"]}),
    Case("instance_info", {}, "_cloud.instances.gather", [{"name": "web"}], {"changed": False, "instances": [{"name": "web"}]}),
    Case("instance_migrate", {"name": "web", "target": "two"}, "_cloud.instance_move.run", {"changed": True, "source": "one"},
         {"changed": True, "source": "one"}),
    Case("lease", {"host": "two", "store": "/s"}, "_guest.lease.break_host", [{"host": "two", "name": "g"}],
         {"changed": True, "broken": [{"host": "two", "name": "g"}]}),
    Case("lease_info", {"host": "two"}, "_guest.rescue.look", {"signs": [], "renewed": None, "leases": []}, {"changed": False, "signs": []}),
    Case("machine_info", {"units": ["libvirtd"]}, "_site.machine.gather", Machine("one", 7.0, unknown=("what runs: it hangs.",)),
         {"changed": False, "hostname": "one", "time": 7.0, "clock": None, "outdated": {"boot": [], "libvirt": False, "guests": []}, "store": None,
          "unknown": ["what runs: it hangs."]}),
    Case("moves_idle", {}, "_move.idle.wait", ["g to two"], {"changed": False, "waited": ["g to two"]}),
    Case("nft_table", {"name": "web"}, "_cloud.nft_table.ensure", {"changed": True, "done": ["load table inet web"], "diff": []},
         {"changed": True, "done": ["load table inet web"]}),
    Case("oar_resources", {"nodes": {}}, "_oar.oar.ensure", {"changed": True, "commands": ["oarnodesetting"]},
         {"changed": True, "commands": ["oarnodesetting"]}, OarError),
    Case("openstack_schema", {"names": ["nova"]}, "_cloud.schema.ensure", [Space(name="nova", lacks=["tables"], commands=[["nova-manage", "db", "sync"]])],
         {"changed": True, "work": [{"name": "nova", "lacks": ["tables"], "commands": ["nova-manage db sync"]}],
          "diff": {"before": "nova: tables\n", "after": ""}}),
    Case("ovn_central", OVN, "_cloud.ovs.ensure_central", {"northbound": PLAN}, {"changed": True, "commands": {"northbound": ["ovs-vsctl add-br br"]}}),
    Case("ovn_chassis", {"ncs": []}, "_cloud.members.ensure_chassis", ["two"], {"changed": True, "removed": ["two"]}),
    Case("ovn_gateway_info", {}, "_cloud.gateways.look", Routers({"a": "two"}, ("two",)),
         {"changed": False, "ports": {"a": "two"}, "gateways": ["two"], "chassis": []}),
    Case("ovs_state", {}, "_cloud.ovs.ensure_switch", PLAN,
         {"changed": True, "commands": ["ovs-vsctl add-br br"], "diff": {"before": {}, "after": {"br": {}}}}),
    Case("site_log", {"entries": ["one"]}, "_site.log.note", ["now a@b: run.yml: one"], {"changed": False, "lines": ["now a@b: run.yml: one"]}),
    Case("packages", {"names": ["bash"]}, "_common.dpkg.installed", ["bash"], {"changed": False, "installed": ["bash"]}),
    Case("service_units", {"units": []}, "_cloud.units.ensure", Outcome(("restart nova-api",)),
         {"changed": True, "done": ["restart nova-api"], "diff": []}),
]
NEVER_REFUSES = ("cloud_status", "compute_log")


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.module}:{case.work}")
def test_the_result_is_the_documented_one(case, monkeypatch, capsys):
    put(monkeypatch, case.work, lambda *dummy, **more: case.answer)
    found = run(capsys, case.module, case.params)
    assert {key: found.get(key) for key in case.result} == case.result
    documented = set(yaml.safe_load(modul(case.module).RETURN) or {})
    assert set(found) - {"changed", "diff", "invocation", "warnings"} <= documented


@pytest.mark.parametrize("case", [case for case in CASES if case.module not in NEVER_REFUSES], ids=lambda case: f"{case.module}:{case.work}")
def test_a_refusal_is_a_message(case, monkeypatch, capsys):
    def refuse(*dummy, **more):
        raise CloudError("one", "thing", "cause", "remedy") if case.error is CloudError else case.error("one: thing: cause. remedy")

    put(monkeypatch, case.work, refuse)
    found = run(capsys, case.module, case.params)
    assert found["failed"] and "one: thing: cause. remedy" in found["msg"] and "exception" not in found


@pytest.mark.parametrize("case", [case for case in CASES if case.result.get("changed") and case.module not in ("lease", "image", "kernel", "ramdisk")],
                         ids=lambda case: f"{case.module}:{case.work}")
def test_check_mode_reaches_the_work(case, monkeypatch, capsys):
    """And makes no other difference."""
    given = []
    put(monkeypatch, case.work, lambda *positional, **named: given.append([*positional, *named.values()]) or case.answer)
    assert [run(capsys, case.module, case.params, check)["changed"] for check in (True, False)] == [True, True]
    assert [pair for pair in zip(*given) if pair[0] != pair[1] and not callable(pair[0])] == [(True, False)]


def test_every_module_is_here():
    text = "".join(path.read_text(encoding="utf-8") for path in pathlib.Path(__file__).parent.glob("test_*.py"))
    assert [name for name in MODULES if f'"{name}"' not in text] == []


# --- those with a way of their own

@pytest.mark.parametrize("module, work, params", [
    ("cloud_database", "_cloud.database.ensure", {**DATABASE, "databases": [], "users": []}),
    ("compute_hosts", "_cloud.compute_hosts.ensure", {**DATABASE, "names": ["one"]}),
    ("keystone_bootstrap", "_cloud.bootstrap.keys", {**DATABASE, "step": "keys"}),
])
def test_a_binding_that_is_not_installed_yet(monkeypatch, capsys, module, work, params):
    """Check mode runs before packages are there."""
    def missing(*dummy):
        raise ImportError("No module named pymysql")

    given = []
    put(monkeypatch, "_cloud.database.Server", missing)
    put(monkeypatch, work, lambda *positional: given.append(positional) or ["one"])
    assert run(capsys, module, params, True)["changed"] and given[0][0] is None and given[0][-1] is True
    assert "install python3-pymysql" in run(capsys, module, params)["msg"] and len(given) == 1
    put(monkeypatch, "_cloud.database.Server", lambda host, ca: f"{host} {ca}")
    assert run(capsys, module, params)["changed"] and given[1][0] == "one /ca" and given[1][-1] is False

    def refuse(*dummy):
        raise CloudError("one", "database", "it is away")

    put(monkeypatch, work, refuse)
    assert run(capsys, module, params)["msg"] == "one: database: it is away"


def test_keystones_administrator(monkeypatch, capsys):
    given = []
    put(monkeypatch, "_cloud.bootstrap.administrator", lambda wanted, check: given.append((wanted.password, wanted.public_url, check)) or [])
    params = {"step": "administrator", "password": "pw", "public_url": "https://one:5000", "internal_url": "https://one:5000"}
    assert run(capsys, "keystone_bootstrap", params)["changed"] is False and given == [("pw", "https://one:5000", False)]


def test_a_check_of_a_backup_saves_nothing(monkeypatch, capsys):
    saved = []
    put(monkeypatch, "_cloud.backup.save", lambda groups, databases: saved.append(groups) or Saved("/a", "s", 1))
    assert run(capsys, "cloud_save", {"groups": ["clc"]}, True)["changed"] and saved == []
    assert run(capsys, "cloud_save", {"groups": ["clc"]})["archive"] == "/a" and saved == [["clc"]]

    def full(*dummy):
        raise OSError(28, "No space left on device", "/a")

    put(monkeypatch, "_cloud.backup.save", full)
    assert "No space left on device" in run(capsys, "cloud_save", {"groups": ["clc"]})["msg"]


@pytest.mark.parametrize("module, kind", [("instance", "instance"), ("instance_migrate", "instance_migrate")])
def test_a_job_is_begun_and_a_check_is_none(monkeypatch, capsys, module, kind):
    begun = []
    put(monkeypatch, "_cloud.job.begin", lambda *how: begun.append(how) or {"folder": "/f", "unit": "u"})
    put(monkeypatch, "_cloud.instance.ensure", lambda params, check: {"changed": False, "actions": []})
    put(monkeypatch, "_cloud.instance_move.run", lambda params, check: {"changed": False})
    params = {"name": "web", "target": "two", "code": "Y29kZQ=="} if module == "instance_migrate" else {"name": "web", "code": "Y29kZQ=="}
    assert run(capsys, module, params, True)["changed"] is False and begun == []
    assert run(capsys, module, params)["job"] == {"folder": "/f", "unit": "u"}
    assert begun[0][0] == kind and begun[0][2] == "Y29kZQ==" and "code" not in begun[0][1]


def test_a_check_breaks_no_lease(monkeypatch, capsys):
    put(monkeypatch, "_guest.lease.holders", lambda store: [{"host": "two", "name": "g"}, {"host": "one", "name": "h"}])
    put(monkeypatch, "_guest.lease.break_host", lambda store, host: pytest.fail("it was broken"))
    assert run(capsys, "lease", {"host": "two"}, True)["broken"] == [{"host": "two", "name": "g"}]
    assert run(capsys, "lease", {"host": "three"}, True)["changed"] is False


def test_a_check_waits_for_no_move(monkeypatch, capsys):
    put(monkeypatch, "_move.idle.wait", lambda *dummy: pytest.fail("it waited"))
    assert run(capsys, "moves_idle", {}, True)["waited"] == []


def test_the_secrets_of_files_are_not_told_and_other_words_are(monkeypatch, capsys, tmp_path):
    # what is no secret must not be blanked out, not even of file names
    files = [{"path": str(tmp_path / "nova.conf"), "ini": {"database": {"connection": "mysql://nova:hunter2@one/nova", "name": "nova"}}}]
    put(monkeypatch, "_cloud.config_files.secrets_of", lambda told: ["hunter2"])
    put(monkeypatch, "_cloud.config_files.ensure", lambda *dummy: Changes(("/etc/nova",), ({"after": "hunter2 nova"},)))
    found = run(capsys, "config_files", {"files": files})
    assert found["paths"] == ["/etc/nova"] and "hunter2" not in json.dumps(found)


# glance_images

def glance(monkeypatch, answer, alone=contextlib.nullcontext):
    class Feeder:
        def __init__(self, *dummy):
            pass

        def run(self):
            return answer

    monkeypatch.setattr(modul("glance_images"), "Feeder", Feeder)
    monkeypatch.setattr(modul("glance_images"), "open_registry", lambda *dummy: None)
    put(monkeypatch, "_cloud.glance_api.alone", alone)
    put(monkeypatch, "_cloud.glance_api.Glance", Space(here=lambda path: path))


def test_what_is_not_in_glance_is_warned_of(monkeypatch, capsys):
    glance(monkeypatch, {"changed": True, "actions": ["upload"], "ids": {}, "noted": [], "left_out": {"emi-1": "no kernel"}, "kept": {"emi-2": ["web", "db"]},
                         "needed": {}})
    found = run(capsys, "glance_images", {})
    assert found["changed"] and found["warnings"] == [
        "emi-1 is not in Glance: no kernel", "emi-2 is no longer in the registry and stays in Glance, needed by web, db"]


def test_a_glance_that_is_not_there_yet(monkeypatch, capsys):
    def none():
        raise session.NotThere("one", "Glance", "it is not there")

    glance(monkeypatch, {}, none)
    assert run(capsys, "glance_images", {}, True)["actions"] == ["upload all, when Glance is there"]
    assert "it is not there" in run(capsys, "glance_images", {})["msg"]


# session's

@pytest.fixture(name="cloud")
def fixture_cloud(monkeypatch):
    put(monkeypatch, "_cloud.session.connect", lambda *dummy: "cloud")


def test_a_volume_type(cloud, monkeypatch, capsys):
    put(monkeypatch, "_cloud.volumes.ensure_type", lambda *asked: [str(asked)])
    assert run(capsys, "volume_type", {"name": "nfs"})["actions"] == ["('cloud', 'nfs', '', {}, False)"]

    def away(*dummy):
        raise session.NotThere("one", "API", "nobody answers")

    put(monkeypatch, "_cloud.volumes.ensure_type", away)
    assert run(capsys, "volume_type", {"name": "nfs"}, True)["actions"] == ["make volume type nfs"]
    assert "nobody answers" in run(capsys, "volume_type", {"name": "nfs"})["msg"]

    def refuse(*dummy):
        raise CloudError("one", "volume type nfs", "no")

    put(monkeypatch, "_cloud.volumes.ensure_type", refuse)
    assert run(capsys, "volume_type", {"name": "nfs"}, True)["msg"] == "one: volume type nfs: no"


def test_keys_of_s3(cloud, monkeypatch, capsys):
    params = {"user": "lisa", "project": "school"}
    put(monkeypatch, "_cloud.s3.ensure", lambda *asked: (["make keys"], Pair("a", "b")))
    found = run(capsys, "s3_credentials", params)
    assert (found["changed"], found["access"], found["secret"]) == (True, "a", "b")
    put(monkeypatch, "_cloud.s3.ensure", lambda *asked: ([], Pair()))
    found = run(capsys, "s3_credentials", {**params, "state": "absent"})
    assert (found["changed"], found["access"], found["secret"]) == (False, None, None)

    def refuse(*dummy):
        raise CloudError("one", "keys", "no")

    put(monkeypatch, "_cloud.s3.ensure", refuse)
    assert run(capsys, "s3_credentials", params)["failed"]


def test_rings(monkeypatch, capsys):
    params = {"devices": "/srv/node", "prefix": "hunter", "suffix": "hunter2"}
    given = []

    class Rings:
        def __init__(self, *how):
            given.append(how)

        def ensure(self, *how):
            given.append(how)
            return ["ring account"]

    monkeypatch.setattr(modul("swift_rings"), "Rings", Rings)
    found = run(capsys, "swift_rings", params, True)
    assert (found["changed"], found["actions"]) == (True, ["ring account"]) and given[0][1] == "/srv/node" and given[1] == ("hunter", "hunter2", True)

    def full(*dummy):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Rings, "ensure", full)
    assert "No space left on device" in run(capsys, "swift_rings", params)["msg"]


def test_a_program_of_oar_that_fails_is_quoted(monkeypatch, capsys):
    put(monkeypatch, "_oar.oar.ensure", lambda nodes, call, check: call(["sh", "-c", "echo no database >&2; exit 3"]))
    assert run(capsys, "oar_resources", {"nodes": {}})["msg"].endswith("failed with status 3: no database")
    put(monkeypatch, "_oar.oar.ensure", lambda nodes, call, check: {"changed": False, "commands": [call(["echo", "yes"])]})
    assert run(capsys, "oar_resources", {"nodes": {}})["commands"] == ["yes\n"]


def test_what_is_registered(monkeypatch, capsys):
    known = Space(listing=lambda kind: [{"id": f"{kind}-1", "names": ["debian"]}, {"id": f"{kind}-2", "names": []}], storage=Space(room=lambda: {"free": 5}))
    monkeypatch.setattr(modul("image_info"), "open_registry", lambda *dummy: known)
    found = run(capsys, "image_info", {})
    assert [len(found[kind]) for kind in ("images", "kernels", "ramdisks")] == [2, 2, 2] and found["room"] == {"free": 5}
    assert [entry["id"] for entry in run(capsys, "image_info", {"name": "debian"})["kernels"]] == ["kernel-1"]
    assert [entry["id"] for entry in run(capsys, "image_info", {"name": "image-2"})["images"]] == ["image-2"]
    found = run(capsys, "image_info", {"name": "none"})
    assert found["images"] == found["kernels"] == []

    def refuse(*dummy):
        raise CloudError("one", "store", "it is away")

    monkeypatch.setattr(modul("image_info"), "open_registry", refuse)
    assert run(capsys, "image_info", {})["msg"] == "one: store: it is away"
