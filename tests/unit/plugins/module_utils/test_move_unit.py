# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The unit in which a move runs, its record, and the notes of guests that are on their way."""

from __future__ import annotations

import base64
import io
import json
import os
import pathlib
import signal
import subprocess
import sys
import time
import types
import zipfile

import pytest

from ansible_collections.our.cloud.plugins.module_utils._common.bounded import bounded
from ansible_collections.our.cloud.plugins.module_utils._common.errors import CloudError
from ansible_collections.our.cloud.plugins.module_utils._hypervisor import hypervisor
from ansible_collections.our.cloud.plugins.module_utils._move import address, arrivals, idle, job, unit
from ansible_collections.our.cloud.plugins.module_utils._move.asked import Asked
from ansible_collections.our.cloud.plugins.module_utils._move.options import Options

MODULE_UTILS = pathlib.Path(__file__).resolve().parents[4] / "plugins/module_utils"
OPTIONS = Options("our-vm", "two", timeout=30)
PARAMS = vars(OPTIONS)


@pytest.fixture(name="node")
def fixture_node(monkeypatch, tmp_path):
    monkeypatch.setattr(job, "JOB_DIR", str(tmp_path / "run"))
    monkeypatch.setattr(job, "ENDED_DIR", str(tmp_path / "ended"))
    monkeypatch.setattr(unit.job.Job.__init__, "__defaults__", (str(tmp_path / "run"),))
    for function in (job.begin, job.end, job.hear):
        monkeypatch.setattr(function, "__defaults__", (str(tmp_path / "ended"),))
    monkeypatch.setattr(job.running_job, "__defaults__", (str(tmp_path / "run"),))
    monkeypatch.setattr(job.under_way, "__defaults__", (str(tmp_path / "run"),))
    monkeypatch.setattr(job.unheard, "__defaults__", (str(tmp_path / "ended"), str(tmp_path / "run")))
    return tmp_path


# --- the code ---------------------------------------------------------------

def test_the_code_stands_alone(tmp_path):
    """With nothing of ours or Ansible's beside it, it loads, and says what it misses."""
    (tmp_path / "code.zip").write_bytes(base64.b64decode(unit.pack(str(MODULE_UTILS))))
    done = subprocess.run([sys.executable, "-I", "-S", str(tmp_path / "code.zip"), str(tmp_path)], capture_output=True, text=True, check=False, cwd=tmp_path,
                          env={"PATH": os.environ["PATH"]})
    assert "FileNotFoundError" in done.stderr and "request.json" in done.stderr and "ImportError" not in done.stderr


def test_what_is_in_the_code():
    with zipfile.ZipFile(io.BytesIO(base64.b64decode(unit.pack(str(MODULE_UTILS))))) as archive:
        names = archive.namelist()
    inside = "ansible_collections/our/cloud/plugins/module_utils/"
    wings = [name.removeprefix(inside) for name in names if name.startswith(inside)]
    assert names[:6] == ["__main__.py", "ansible_collections/__init__.py", "ansible_collections/our/__init__.py", "ansible_collections/our/cloud/__init__.py",
                         "ansible_collections/our/cloud/plugins/__init__.py", inside + "__init__.py"]
    assert sorted(wings) == ["__init__.py", *sorted(str(path.relative_to(MODULE_UTILS)) for wing in ("_common", "_site", "_guest", "_hypervisor", "_move")
                                                    for path in (MODULE_UTILS / wing).glob("*.py"))]


@pytest.mark.parametrize("name, expected", [("our-vm", "our-cloud-move-our-vm.service"), ("a b/c", "our-cloud-move-a_b_c.service")])
def test_unit_name(name, expected):
    assert unit.unit_name(name) == expected


# --- begin ------------------------------------------------------------------

def systemd(monkeypatch, returncode=0, stderr="", seen=None):
    def run(argv, **dummy):
        (seen if seen is not None else []).append(argv)
        return types.SimpleNamespace(returncode=returncode, stderr=stderr, stdout="")
    monkeypatch.setattr(subprocess, "run", run)


def test_start(node, monkeypatch):
    seen = []
    systemd(monkeypatch, seen=seen)
    token = unit.start(OPTIONS, base64.b64encode(b"zip").decode())
    folder = node / "run/moves" / token
    assert (folder / "code.zip").read_bytes() == b"zip" and json.loads((folder / "request.json").read_text()) == {"params": PARAMS, "token": token}
    assert seen[0][0] == "systemd-run" and seen[0][-3:] == [sys.executable, str(folder / "code.zip"), str(folder)]
    assert folder.stat().st_mode & 0o7777 == 0o700 and len(token) == 12


def test_start_that_fails_leaves_nothing(node, monkeypatch):
    systemd(monkeypatch, 1, "Unit our-cloud-move-our-vm.service was already loaded")
    with pytest.raises(CloudError, match="it could not be begun as a unit of systemd .Unit our-cloud-move-our-vm.service was already loaded."):
        unit.start(OPTIONS, "")
    assert os.listdir(node / "run/moves") == []


def test_what_systemd_says_is_told(node, monkeypatch):
    (node / "systemd-run").write_text("#!/bin/sh\necho 'Failed to connect to bus' >&2\nexit 1\n")
    (node / "systemd-run").chmod(0o755)
    monkeypatch.setenv("PATH", str(node), prepend=os.pathsep)
    with pytest.raises(CloudError, match="it could not be begun as a unit of systemd .Failed to connect to bus.. See"):
        unit.start(OPTIONS, "")


def test_start_without_systemd(node, monkeypatch):
    monkeypatch.setattr(subprocess, "run", lambda *dummy, **dummy2: (dummy for dummy in ()).throw(FileNotFoundError("systemd-run")))
    with pytest.raises(CloudError, match="systemd-run"):
        unit.start(OPTIONS, "")


def test_second_is_refused_with_the_percents(node, monkeypatch):
    systemd(monkeypatch)
    held = job.Job("our-vm")
    assert held.take()
    with pytest.raises(CloudError, match="it is being moved to another host already .0% done.. Wait for that to end; vm_info shows it"):
        unit.start(OPTIONS, "")
    held.say(target="three", percent=41)
    with pytest.raises(CloudError, match="it is being moved to three already .41% done."):
        unit.start(OPTIONS, "")
    held.drop()
    assert unit.start(OPTIONS, "")


# --- run --------------------------------------------------------------------

def request(node, token="t0"):
    folder = node / "run/moves" / token
    folder.mkdir(parents=True)
    (folder / "request.json").write_text(json.dumps({"params": PARAMS, "token": token}))
    return folder


@pytest.fixture(name="calm")
def fixture_calm(monkeypatch):
    monkeypatch.setattr(hypervisor, "start_event_loop", lambda: None)
    monkeypatch.setattr(hypervisor, "open_local", lambda uri: "connection")
    monkeypatch.setattr(hypervisor, "libvirt", types.SimpleNamespace(libvirtError=KeyError))
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def test_run_and_its_record(node, monkeypatch, calm):
    def answer(self, conn, tell):
        assert job.under_way() == ["our-vm"] and job.unheard() == []
        assert unit.verdict("our-vm", "t0", "active", job.last(str(node / "ended/our-vm.json"))) is None
        return {"changed": True, "target": "two"}

    monkeypatch.setattr(Asked, "answer", answer)
    folder = request(node)
    assert unit.main(str(folder)) == 0
    assert not folder.exists() and job.under_way() == [] and job.running_job("our-vm") is None
    record = job.last(str(node / "ended/our-vm.json"))
    assert unit.verdict("our-vm", "t0", "inactive", record) == {"changed": True, "target": "two"}
    told = job.unheard()
    assert [one.failed for one in told] == [False] and told[0].text.startswith("The move of our-vm to two (live) that began at 20")
    assert told[0].text.endswith(": it is on two")
    job.hear("our-vm", "another")
    assert len(job.unheard()) == 1
    job.hear("our-vm", "t0")
    assert job.unheard() == []
    job.hear("our-vm", "t0")


@pytest.mark.parametrize("error, words", [
    (CloudError("one", "thing", "cause", "remedy"), "one: thing: cause. remedy"), (OSError("disk"), "disk. our.cloud.vm_info tells"),
    (KeyError("libvirt's"), "libvirt's"), (ZeroDivisionError("ours"), "ours. our.cloud.vm_info tells")])
def test_every_error_is_in_the_record(node, monkeypatch, calm, error, words):
    monkeypatch.setattr(Asked, "answer", lambda *dummy: (dummy for dummy in ()).throw(error))
    assert unit.main(str(request(node))) == 1
    result = job.fetch(str(node / "ended/our-vm.json"))["result"]
    assert (result["failed"], result.get("target", "two"), result.get("mode", "live")) == (True, "two", "live") and words in result["msg"]
    assert ("Traceback" in result.get("exception", "")) is not isinstance(error, CloudError)
    assert set(result) - {"failed", "msg", "target", "mode", "exception"} == set() and ("target" in result) is ("mode" in result)
    told = job.unheard()
    assert told[0].failed and words in told[0].text and "that began at" in told[0].text


def test_move_that_never_came_to_its_end(node):
    job.begin("t0", OPTIONS, "one")
    record = job.last(str(node / "ended/our-vm.json"))
    assert "did not come to its end: one went down, or its process was killed" in job.unheard()[0].text
    for state in ("active", "activating", "reloading", "deactivating"):
        assert unit.verdict("our-vm", "t0", state, record) is None
    assert unit.verdict("our-vm", "t0", "inactive", record)["failed"] and not unit.verdict("our-vm", "t0", "inactive", record)["changed"]
    assert "did not come to its end" in unit.verdict("our-vm", "t0", "inactive", record)["msg"]
    assert "ended without a word" in unit.verdict("our-vm", "t1", "failed", record)["msg"]
    assert "ended without a word" in unit.verdict("our-vm", "t1", "inactive", None)["msg"]


def test_second_unit_does_nothing(node, calm):
    held = job.Job("our-vm")
    held.take()
    assert unit.main(str(request(node))) == 1 and job.unheard() == []


def test_systemd_ends_it(node, monkeypatch, calm):
    def answer(self, conn, tell):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.01)
        return {"failed": True, "msg": "called off" if self.cancelled else "not heard"}

    monkeypatch.setattr(Asked, "answer", answer)
    assert unit.main(str(request(node))) == 1
    assert job.unheard()[0].text.endswith(": called off")


def test_record_that_is_no_json(node):
    (node / "ended").mkdir()
    (node / "ended/x.json").write_text("{")
    assert job.unheard() == []


def test_ended_asks_systemd_first(node, monkeypatch):
    monkeypatch.setattr(subprocess, "run", lambda argv, **dummy: types.SimpleNamespace(stdout="active\n"))
    assert unit.ended("our-vm", "t0") is None


def test_a_unit_that_systemd_knows_no_more(node, monkeypatch):
    program = node / "systemctl"
    program.write_text('#!/bin/sh\n[ "$*" = "is-active our-cloud-move-our-vm.service" ] && echo inactive && exit 3\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(node), prepend=os.pathsep)
    job.begin("t0", OPTIONS, "one")
    assert "did not come to its end" in unit.ended("our-vm", "t0")["msg"]
    job.end(job.begin("t0", OPTIONS, "one"), {"changed": True})
    assert unit.ended("our-vm", "t0") == {"changed": True}
    assert "ended without a word" in unit.ended("our-vm", "t1")["msg"]
    program.write_text("#!/bin/sh\necho active\n")
    assert unit.ended("our-vm", "t1") is None


# --- guests on their way ----------------------------------------------------

def note(tmp_path, name, target="two", seconds=60, when=None):
    one = arrivals.Note(str(tmp_path), name, name + "-uuid", target, 100, seconds)
    one.leave()
    if when is not None:
        os.utime(one.path, (when, when))
    return one


def test_the_earlier_one_goes(tmp_path):
    first, second = note(tmp_path, "a", when=100), note(tmp_path, "b", when=200)
    assert first.others() == [] and [(one.name, one.uuid, one.memory) for one in second.others()] == [("a", "a-uuid", 100)]
    first.remove()
    first.remove()
    assert second.others() == []


def test_at_one_time_one_of_them_goes(tmp_path):
    both = [note(tmp_path, "a", when=100), note(tmp_path, "b", when=100)]
    assert sorted(len(one.others()) for one in both) == [0, 1]


@pytest.mark.parametrize("change", [{"target": "three"}, {"seconds": -1}])
def test_others_that_do_not_count(tmp_path, change):
    note(tmp_path, "a", when=100, **change)
    assert note(tmp_path, "b", when=200).others() == []


@pytest.mark.parametrize("plant", [
    os.mkfifo, lambda path: os.symlink("/etc/passwd", path), lambda path: path.write_text("{"), lambda path: path.write_text("[]"),
    lambda path: path.write_text('{"name": 1}'), os.mkdir,
    lambda path: path.write_text('{"name": "x", "uuid": "x", "target": "two", "memory": Infinity, "until": 9e9}'),
    # to one that would be a note
    lambda path: os.symlink("../elsewhere", path)])
def test_what_is_planted_there_is_no_note(tmp_path, plant):
    mine = note(tmp_path, "b", when=200)
    os.rename(note(tmp_path, "a", when=100).path, tmp_path / "elsewhere")
    plant(tmp_path / arrivals.FOLDER / "x.json")
    (tmp_path / arrivals.FOLDER / "a.txt").write_text("")
    assert mine.others() == []


def test_note_does_not_follow_a_link(tmp_path):
    os.mkdir(tmp_path / arrivals.FOLDER)
    (tmp_path / "precious").write_text("x")
    os.symlink(tmp_path / "precious", tmp_path / arrivals.FOLDER / "a-uuid.json")
    note(tmp_path, "a")
    assert (tmp_path / "precious").read_text() == "x"


def test_folder_that_is_a_link_is_refused(tmp_path):
    os.mkdir(tmp_path / "elsewhere")
    os.symlink(tmp_path / "elsewhere", tmp_path / arrivals.FOLDER)
    with pytest.raises(OSError, match="is no directory"):
        note(tmp_path, "a")


def test_note_that_was_taken_away_counts_all(tmp_path):
    mine = note(tmp_path, "b", when=1)
    note(tmp_path, "a", when=100)
    os.unlink(mine.path)
    assert len(mine.others()) == 1


# --- nobody on the way ------------------------------------------------------

def test_idle(node, tmp_path, monkeypatch):
    monkeypatch.setattr(idle, "PAUSE", 0.01)
    assert idle.wait(None, None, 0) == [] and idle.wait(str(tmp_path / "none"), "two", 0) == []
    held = job.Job("c")
    held.take()
    one = note(tmp_path, "a")
    note(tmp_path, "b", target="three")
    note(tmp_path, "d", seconds=-1)
    assert idle.under_way(str(tmp_path), "two") == ["a", "c"] and idle.under_way(str(tmp_path), None) == idle.under_way(None, "two") == ["c"]
    with pytest.raises(CloudError, match="two: guests a, c: they are still being moved from or to here after 0 s. Run this again"):
        idle.wait(str(tmp_path), "two", 0)
    monkeypatch.setattr(time, "sleep", lambda dummy: (one.remove(), held.drop()))
    assert idle.wait(str(tmp_path), "two", 5) == ["a", "c"]


# --- bounds -----------------------------------------------------------------

def test_bounded():
    assert bounded(lambda: 3, 5, "x", "y") == 3
    with pytest.raises(KeyError):
        bounded(lambda: {}["a"], 5, "x", "y")
    with pytest.raises(CloudError, match="one: the store: no answer within 0.05 s. Wait."):
        bounded(lambda: time.sleep(1), 0.05, "the store", "Wait.", "one")


@pytest.mark.parametrize("connect", [hypervisor.open_local, lambda: hypervisor.open_target("qemu", "two")])
def test_libvirtd_that_hangs_is_not_waited_for(monkeypatch, connect):
    monkeypatch.setattr(hypervisor, "PATIENCE", 0.05)
    monkeypatch.setattr(hypervisor, "reach", lambda *dummy: "192.0.2.1")
    monkeypatch.setattr(hypervisor, "libvirt", types.SimpleNamespace(open=lambda uri: time.sleep(1), registerErrorHandler=lambda *dummy: None,
                                                                     libvirtError=KeyError))
    began = time.monotonic()
    with pytest.raises(CloudError, match="no answer within 0.05 s. It hangs: restart it"):
        connect()
    assert time.monotonic() - began < 0.8


# --- the address ------------------------------------------------------------

def test_resolve(monkeypatch):
    monkeypatch.setattr(address.socket, "getaddrinfo", lambda *dummy: [(0, 0, 0, "", ("192.0.2.7", 0))])
    assert address.resolve("x") == "192.0.2.7"
    monkeypatch.setattr(address.socket, "getaddrinfo", lambda *dummy: (dummy for dummy in ()).throw(OSError("no")))
    assert address.resolve("x") is None
