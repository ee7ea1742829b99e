# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is asked and sent when an image is on the control machine; the module's part is its own, on the same machine."""

from __future__ import annotations

import os
import shutil
import types
from unittest import mock

import boot_samples as sample
import pytest
from ansible.errors import AnsibleError

from ansible_collections.our.cloud.plugins.action import image, kernel, ramdisk
from ansible_collections.our.cloud.plugins.module_utils._registry import registration
from ansible_collections.our.cloud.plugins.module_utils._site.store import MARKER

DEFAULTS = {"path": None, "state": "present", "owner": None, "force": False, "remote_src": False, "parts": None, "pack": None, "origin": None}


@pytest.fixture(name="folder")
def fixture_folder(tmp_path, monkeypatch):
    for name in ("fsync", "fdatasync"):
        monkeypatch.setattr(os, name, lambda descriptor: None)
    folder = tmp_path / "built"
    folder.mkdir()
    (folder / "vmlinuz").write_bytes(sample.bzimage())
    (folder / "initrd.img").write_bytes(sample.cpio())
    (folder / "root.img").write_bytes(sample.ext4())
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / MARKER).touch()
    (tmp_path / "tmp").mkdir()
    return folder


class Action(image.ActionModule):
    """Without Ansible around it."""

    def __init__(self, folder, check_mode=False, name="our.cloud.image", **args):
        args = {"name": "debian", "path": str(folder), "store": str(folder.parent / "store"), **args}
        self._task = types.SimpleNamespace(args=args, check_mode=check_mode, resolved_action=name, async_val=0)
        self._connection = types.SimpleNamespace(_shell=types.SimpleNamespace(tmpdir=str(folder.parent / "tmp"), join_path=os.path.join))
        self.asked, self.sent, self.removed = [], [], []

    def _find_needle(self, dirname, needle):
        if not os.path.exists(needle):
            raise AnsibleError("Could not find or access '%s'" % needle)
        return needle

    def _execute_module(self, module_name=None, module_args=None, task_vars=None, **dummy):
        args = dict(DEFAULTS, **(module_args or self._task.args))
        self.asked.append([told["kind"] for told in args["parts"] or [] if told["files"]])
        module = types.SimpleNamespace(params=args, check_mode=self._task.check_mode, _diff=False)
        return registration.run(module, self._task.resolved_action.rpartition(".")[2])

    def _transfer_file(self, local_path, remote_path):
        self.sent.append(os.path.getsize(local_path))
        shutil.copy(local_path, remote_path)

    def _fixup_perms2(self, remote_paths, remote_user=None, execute=True):
        assert all(os.path.exists(path) for path in remote_paths)

    def _remove_tmp_path(self, tmp_path, force=False):
        self.removed.append(tmp_path)


@pytest.fixture(autouse=True)
def fixture_action_base(monkeypatch, tmp_path):
    monkeypatch.setattr(image.ActionBase, "run", lambda self, tmp, task_vars: {})
    monkeypatch.setattr(image.C, "DEFAULT_LOCAL_TMP", str(tmp_path))


def test_what_is_missing_is_sent(folder):
    checked = Action(folder, True)
    would = checked.run(task_vars={})
    assert (checked.asked, checked.sent) == ([[]], []) and would["changed"]
    action = Action(folder)
    done = action.run(task_vars={})
    assert action.asked == [[], ["kernel", "ramdisk", "image"]] and len(action.sent) == 1 and action.sent[0] < 20000
    assert (done["id"], done["actions"], done["changed"]) == (would["id"], would["actions"], True)
    assert action.removed == [str(folder.parent / "tmp")]
    assert sorted(os.listdir(folder.parent)) == ["built", "store", "tmp"]
    again = Action(folder)
    assert not again.run(task_vars={})["changed"] and again.asked == [[]]
    (folder / "initrd.img").write_bytes(sample.compress("gzip", sample.cpio()))
    changed = Action(folder)
    assert changed.run(task_vars={})["previous"] == done["id"] and changed.asked == [[], ["ramdisk", "image"]]


def test_one_file(folder):
    for name, file in (("kernel", "vmlinuz"), ("ramdisk", "initrd.img")):
        action = Action(folder, name="our.cloud." + name, path=str(folder / file))
        assert action.run(task_vars={})["changed"] and action.asked == [[], [name]]
    assert kernel.ActionModule is ramdisk.ActionModule is image.ActionModule
    action = Action(folder, path=str(folder / "root.img"), kernel="debian", ramdisk="debian")
    assert action.run(task_vars={})["registered"]["kernel"].startswith("eki-")


def test_refused_here(folder):
    (folder / "initrd.img").unlink()
    for check_mode in (True, False):
        action = Action(folder, check_mode)
        done = action.run(task_vars={})
        assert done["failed"] and "no guest could boot it" in done["msg"] and done["msg"].startswith("image debian: ")
        assert (action.asked, action.sent) == ([], [])


def test_refused_when_it_is_looked_at_closely(folder):
    (folder / "initrd.img").write_bytes(sample.compress("gzip", sample.cpio())[:-20])
    for check_mode in (True, False):
        action = Action(folder, check_mode)
        done = action.run(task_vars={})
        assert done["failed"] and "is cut short" in done["msg"] and action.sent == []


def test_nothing_there(folder):
    done = Action(folder, path="/none").run(task_vars={})
    assert done["failed"] and done["found"] is False


def test_a_path_from_where_the_playbook_was_started(folder, monkeypatch):
    """Where Ansible itself looks is beside the playbook, which is the collection's own."""
    action = Action(folder, path="built")
    monkeypatch.setattr(action, "_find_needle", mock.Mock(side_effect=AnsibleError("Could not find or access 'built'")))
    assert action.run(task_vars={})["found"] is False
    monkeypatch.chdir(folder.parent)
    assert action.run(task_vars={})["changed"]


@pytest.mark.parametrize("args", [{"state": "absent"}, {"remote_src": True}, {"remote_src": "yes"}])
def test_left_to_the_module(folder, args):
    action = Action(folder, **args)
    action.run(task_vars={})
    assert action.asked == [[]] and action.sent == []


def test_somebody_is_faster(folder, monkeypatch):
    """One of the files that are on their way is there before they arrive."""
    action = Action(folder)
    transfer = action._transfer_file

    def late(*paths):
        assert Action(folder, name="our.cloud.kernel", path=str(folder / "vmlinuz")).run(task_vars={})["changed"]
        transfer(*paths)

    monkeypatch.setattr(action, "_transfer_file", late)
    done = action.run(task_vars={})
    record = done["registered"]
    assert done["actions"] == ["register " + record["ramdisk"], "register " + done["id"], "name %(ramdisk)s debian" % record, "name %(id)s debian" % record]
    assert not Action(folder).run(task_vars={})["changed"]


def test_removed_meanwhile(folder, monkeypatch):
    Action(folder).run(task_vars={})
    (folder / "root.img").write_bytes(sample.ext4(label=b"other"))
    action = Action(folder)
    transfer = action._transfer_file

    def late(*paths):
        shutil.rmtree(folder.parent / "store" / "registry")
        transfer(*paths)

    monkeypatch.setattr(action, "_transfer_file", late)
    done = action.run(task_vars={})
    assert done["failed"] and "is no longer in the registry; it was removed a moment ago. Choose another, or register it again" in done["msg"]
