# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

import pytest
from checkout import UNIT

from ansible_collections.our.cloud.plugins.module_utils._registry.staging import ABANDONED, Staging

HOLD = """
import sys
sys.path.insert(0, %r)
import checkout
from ansible_collections.our.cloud.plugins.module_utils._registry.staging import Staging
with Staging(sys.argv[1]) as path:
    open(path + "/half", "w").close()
    print(path, flush=True)
    sys.stdin.read()
""" % str(UNIT)


@pytest.fixture(name="hold")
def fixture_hold(tmp_path):
    """Starts another process with a staging directory in tmp_path; (process, path)."""
    processes = []

    def hold():
        process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        processes.append(process)
        return process, process.stdout.readline().strip()

    yield hold
    for process in processes:
        process.kill()
        process.communicate()


def test_it_is_gone_afterwards(tmp_path):
    with Staging(str(tmp_path)) as path:
        assert os.listdir(tmp_path) == [os.path.basename(path)] and os.listdir(path) == ["lock"]
        assert os.stat(path + "/lock").st_mode & 0o7777 == 0o600
        (pathlib.Path(path) / "half").write_text("x", encoding="ascii")
    assert os.listdir(tmp_path) == []


def test_it_is_gone_after_a_failure(tmp_path):
    with pytest.raises(KeyError), Staging(str(tmp_path)):
        raise KeyError
    assert os.listdir(tmp_path) == []


def test_one_that_is_in_use_is_left_alone(tmp_path, hold):
    process, path = hold()
    with Staging(str(tmp_path)):
        assert os.path.exists(path + "/half")
    process.communicate("")
    assert os.listdir(tmp_path) == []


def test_one_of_a_killed_process_is_swept(tmp_path, hold):
    process, path = hold()
    other, living = hold()
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert os.path.exists(path + "/half")
    with Staging(str(tmp_path)):
        assert not os.path.exists(path)
        assert os.path.exists(living + "/half")
    other.communicate("")


def test_a_second_one_of_the_same_process_is_left_alone(tmp_path):
    with Staging(str(tmp_path)) as one, Staging(str(tmp_path)) as other:
        assert os.path.exists(one) and os.path.exists(other)


def test_half_swept_ones_are_swept(tmp_path):
    (tmp_path / ".part-host-1-x").mkdir()
    with Staging(str(tmp_path)) as path:
        assert os.listdir(tmp_path) == [os.path.basename(path)]


def test_one_that_never_got_its_lock_is_swept_when_it_is_old(tmp_path):
    young, old = tmp_path / ".new-host-1-x", tmp_path / ".new-host-2-x"
    young.mkdir(), old.mkdir()
    os.utime(old, (time.time() - ABANDONED - 10,) * 2)
    with Staging(str(tmp_path)):
        assert young.exists() and not old.exists()


def test_other_things_are_left_alone(tmp_path):
    (tmp_path / "emi-0123").mkdir()
    (tmp_path / ".other").mkdir()
    with Staging(str(tmp_path)):
        pass
    assert sorted(os.listdir(tmp_path)) == [".other", "emi-0123"]


def test_a_lock_that_leads_away_is_nobodys_and_one_that_cannot_be_looked_at_is_somebodys(tmp_path):
    for name in (".part-host-1-x", ".part-host-2-x"):
        (tmp_path / name).mkdir()
    (tmp_path / ".part-host-1-x/lock").symlink_to(tmp_path / "elsewhere")
    # as a file whose server has an error
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / ".part-host-2-x/lock"))
        with Staging(str(tmp_path)):
            assert not os.path.lexists(tmp_path / ".part-host-1-x") and (tmp_path / ".part-host-2-x").exists()


def test_what_another_host_sweeps_at_the_same_moment_is_no_fault(tmp_path, monkeypatch):
    (tmp_path / ".part-file").write_text("x", encoding="ascii")
    listdir, unlink = os.listdir, os.unlink

    def away(path, **more):
        unlink(path, **more)
        unlink(path, **more)

    monkeypatch.setattr(os, "listdir", lambda path: [*listdir(path), ".part-gone"])
    monkeypatch.setattr(os, "unlink", lambda path, **more: away(path, **more) if str(path).endswith(".part-file") else unlink(path, **more))
    with Staging(str(tmp_path)) as path:
        assert listdir(tmp_path) == [os.path.basename(path)]
