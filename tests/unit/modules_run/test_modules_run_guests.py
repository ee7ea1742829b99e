# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the modules of guests and moves make of the answers of a hypervisor."""

from __future__ import annotations

import fake_libvirt
import pytest
import yaml
from module_runs import Space, modul, put, run

from ansible_collections.our.cloud.plugins.module_utils._common.errors import CloudError
from ansible_collections.our.cloud.plugins.module_utils._hypervisor import hypervisor


@pytest.fixture(name="one")
def fixture_one(monkeypatch, tmp_path):
    put(monkeypatch, "_hypervisor.xen.control", lambda: None)
    for name in ("_vm.info.running_job", "_vm.in_hand.running_job"):
        put(monkeypatch, name, lambda guest: None)
    put(monkeypatch, "_vm.info.unheard", lambda: [])
    return fake_libvirt.World(monkeypatch).host("one")


def test_guests_are_told(one, capsys):
    one.add("g")
    found = run(capsys, "vm_info", {})
    documented = yaml.safe_load(modul("vm_info").RETURN)
    assert set(found) - {"changed", "invocation", "warnings"} == set(documented) and found["changed"] is False
    assert set(found["guests"][0]) <= set(documented["guests"]["contains"])


def test_a_guest_is_stopped(one, capsys):
    one.add("g")
    found = run(capsys, "vm", {"name": "g", "state": "stopped"}, True)
    assert found["changed"] and found["actions"] == ["stop"] and one.domains["g"].word == "running"
    found = run(capsys, "vm", {"name": "g", "state": "stopped"})
    assert found["stopped"] == "graceful" and one.domains["g"].word == "stopped"
    assert set(found) - {"changed", "diff", "invocation", "warnings"} <= set(yaml.safe_load(modul("vm").RETURN))


@pytest.mark.parametrize("waits", [True, False])
def test_a_change_that_waits_is_said(one, monkeypatch, capsys, waits):
    monkeypatch.setattr(modul("vm"), "Guest", lambda *dummy: Space(run=lambda: {"changed": True, "restart_needed": waits}))
    said = run(capsys, "vm", {"name": "g"}).get("warnings", [])
    assert ["takes effect at its next start" in str(text) for text in said] == [True] * waits


@pytest.mark.parametrize("module, params", [("vm", {"name": "g"}), ("vm_info", {}), ("vm_migrate", {"name": "g", "target": "two"})])
def test_a_host_without_libvirt(monkeypatch, capsys, module, params):
    monkeypatch.setattr(hypervisor, "HAS_LIBVIRT", False)
    assert "python3-libvirt" in run(capsys, module, params)["msg"]


@pytest.mark.parametrize("module, params", [("vm", {"name": "g"}), ("vm_info", {}), ("vm_migrate", {"name": "g", "target": "two"})])
def test_a_libvirtd_that_is_down(one, monkeypatch, tmp_path, capsys, module, params):
    jobs(monkeypatch, tmp_path)
    one.up = False
    found = run(capsys, module, params, True)
    assert "Connection refused. Is libvirtd running" in found["msg"] and "exception" not in found


@pytest.mark.parametrize("module, params", [("vm", {"name": "g", "state": "stopped"}), ("vm_info", {})])
def test_what_nobody_has_foreseen_is_told_with_its_place(one, capsys, module, params):
    def break_off(dummy):
        raise one.world.error("internal error: something", 1)

    one.add("g").XMLDesc = break_off
    found = run(capsys, module, params)
    assert "internal error: something. our.cloud.vm_info tells the state of guests" in found["msg"]


# vm_migrate

def jobs(monkeypatch, tmp_path):
    """Moves note themselves below here."""
    module = modul("vm_migrate")
    monkeypatch.setattr(module.job, "Job", lambda name, real=module.job.Job: real(name, str(tmp_path / "jobs")))


MOVE = {"name": "g", "target": "two"}


def test_a_check_of_a_move_begins_nothing(one, monkeypatch, tmp_path, capsys):
    jobs(monkeypatch, tmp_path)
    put(monkeypatch, "_move.unit.start", lambda *dummy: pytest.fail("it was begun"))
    put(monkeypatch, "_move.unit.answer", lambda asked, tell: {"changed": True, "source": "one", "target": "two", "mode": "live", "warnings": ["slow"]})
    found = run(capsys, "vm_migrate", MOVE, True)
    assert (found["changed"], found["source"], found["warnings"]) == (True, "one", ["slow"])
    # and leaves no lock
    assert modul("vm_migrate").job.Job("g").take()


def test_a_second_move_is_refused(one, monkeypatch, tmp_path, capsys):
    jobs(monkeypatch, tmp_path)
    held = modul("vm_migrate").job.Job("g")
    assert held.take()

    def refuse(name, host):
        raise CloudError(host, f"guest {name}", "it is being moved already")

    put(monkeypatch, "_move.unit.refuse_second", refuse)
    found = run(capsys, "vm_migrate", MOVE, True)
    assert found["failed"] and found["msg"] == "one: guest g: it is being moved already" and (found["target"], found["mode"]) == ("two", "live")


def test_a_move_without_its_code(one, capsys):
    assert "the code of the move is missing. The action plugin of the same name puts it in" in run(capsys, "vm_migrate", MOVE)["msg"]


def test_a_move_is_begun_and_followed_to_its_end(one, monkeypatch, capsys):
    begun, heard, ends = [], [], iter([None, {"changed": True, "source": "one"}])
    put(monkeypatch, "_move.unit.start", lambda options, code: begun.append((options, code)) or "t0")
    put(monkeypatch, "_move.unit.ended", lambda name, token: next(ends))
    put(monkeypatch, "_move.job.hear", lambda *what: heard.append(what))
    monkeypatch.setattr(modul("vm_migrate").time, "sleep", lambda seconds: None)
    assert run(capsys, "vm_migrate", {**MOVE, "code": "Y29kZQ=="})["source"] == "one"
    assert heard == [("g", "t0")] and begun[0][1] == "Y29kZQ==" and (begun[0][0].name, begun[0][0].timeout) == ("g", 900)
    found = run(capsys, "vm_migrate", {**MOVE, "code": "Y29kZQ==", "wait": False})
    assert (found["token"], found["target"]) == ("t0", "two") and "g" in found["unit"]


def test_a_move_that_failed_fails(one, monkeypatch, capsys):
    put(monkeypatch, "_move.unit.start", lambda *dummy: "t0")
    put(monkeypatch, "_move.unit.ended", lambda *dummy: {"failed": True, "msg": "it runs on one", "place": "source"})
    put(monkeypatch, "_move.job.hear", lambda *dummy: None)
    found = run(capsys, "vm_migrate", {**MOVE, "code": "Y29kZQ=="})
    assert found["failed"] and (found["msg"], found["place"]) == ("it runs on one", "source")

    def full(*dummy):
        raise OSError(28, "No space left on device")

    put(monkeypatch, "_move.unit.start", full)
    found = run(capsys, "vm_migrate", {**MOVE, "code": "Y29kZQ=="})
    assert "move of g to two: [Errno 28] No space left on device. our.cloud.vm_info tells" in found["msg"]
