# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keys and flavors of instances, and the jobs that make them."""

from __future__ import annotations

import json
import pathlib
import subprocess
import sys
from types import SimpleNamespace as Thing

import pytest
from fake_cloud import Cloud, flavor
from instance_samples import FLAVOR, KEY

from ansible_collections.our.cloud.plugins.module_utils._cloud import flavors, instance, instance_key, job
from ansible_collections.our.cloud.plugins.module_utils._common.errors import CloudError

PROJECTS = [{"name": "physics", "users": [{"name": "ada", "keys": [{"name": "laptop", "public_key": "ssh-ed25519 AAAAlaptop"}]}, {"name": "bob"}]}]
FILES = {"/home/a/.ssh/id_rsa.pub": "ssh-rsa AAAAB3NzaC1yc2EAAAADAQAB a\n", "/home/a/.ssh/id_ed25519.pub": KEY + "\n", "/home/a/.ssh/notes.pub": "no key"}


@pytest.mark.parametrize("projects, key, project, files, name, public", [
    (PROJECTS, "", "physics", FILES, "laptop", "ssh-ed25519 AAAAlaptop"),
    (PROJECTS, "laptop", "", {}, "laptop", "ssh-ed25519 AAAAlaptop"),
    (PROJECTS, "", "arts", FILES, "key", KEY),
    ([], "id_rsa", "", FILES, "key", FILES["/home/a/.ssh/id_rsa.pub"].strip()),
    ([], "/home/a/.ssh/id_rsa", "", FILES, "key", FILES["/home/a/.ssh/id_rsa.pub"].strip()),
    ([], KEY, "", {}, "key", KEY),
])
def test_which_key(projects, key, project, files, name, public):
    assert instance_key.choose(projects, key, project, files) == instance_key.Key(name, public)


def test_no_key():
    assert "ssh-keygen" in instance_key.choose([], "", "", {}).error
    assert instance_key.choose(PROJECTS, "home", "", FILES).error == (
        "There is no ssh key home. There are: laptop, /home/a/.ssh/id_ed25519.pub, /home/a/.ssh/id_rsa.pub.")


def test_flavors():
    known = [flavor("tiny", 64), flavor("old"), flavor("same")]
    steps = flavors.plan([FLAVOR, dict(FLAVOR, name="old", state="absent"), dict(FLAVOR, name="none", state="absent"), dict(FLAVOR, name="same"),
                          dict(FLAVOR, name="new", memory=512)], known)
    assert [(step.name, step.old, step.before, step.after) for step in steps] == [
        ("tiny", "id-tiny", "tiny: 64 MiB, 1 CPUs, 1 GiB", "tiny: 128 MiB, 1 CPUs, 1 GiB"), ("old", "id-old", "old: 128 MiB, 1 CPUs, 1 GiB", ""),
        ("new", None, "", "new: 512 MiB, 1 CPUs, 1 GiB")]
    cloud = Cloud()
    flavors.apply(cloud, steps)
    assert cloud.calls == [
        ("delete_flavor", "id-tiny", {"ignore_missing": True}), ("create_flavor", {"name": "tiny", "ram": 128, "vcpus": 1, "disk": 1}),
        ("delete_flavor", "id-old", {"ignore_missing": True}), ("create_flavor", {"name": "new", "ram": 512, "vcpus": 1, "disk": 1})]
    with pytest.raises(CloudError, match="declared twice"):
        flavors.plan([FLAVOR, FLAVOR], [])


def test_a_job_begins_as_a_unit_and_ends_with_a_result(tmp_path, monkeypatch):
    asked = []

    def run(argv, **more):
        asked.append(argv)
        return Thing(returncode=0, stderr="")

    module_utils = pathlib.Path(job.__file__).parents[1]
    begun = job.begin("instance", {"name": "web"}, job.pack(str(module_utils)), str(tmp_path), run)
    folder = pathlib.Path(begun["folder"])
    assert asked[0][:6] == ["systemd-run", "--quiet", "--collect", "--service-type=exec", "--unit", begun["unit"]] and asked[0][-1] == begun["folder"]
    assert (folder / "request.json").stat().st_mode & 0o777 == 0o600
    # the code is whole: it comes to the question for the cloud
    done = subprocess.run([sys.executable, "-c", f"import sys; sys.path.insert(0, {str(folder / 'code.zip')!r}); "
                           f"from ansible_collections.our.cloud.plugins.module_utils._cloud import instance, instance_move, job; print(job.__file__)"],
                          capture_output=True, text=True, check=True, cwd=tmp_path)
    assert "code.zip" in done.stdout
    monkeypatch.setattr(instance, "ensure", lambda params, check, tell: tell("one") or tell("two") or {"changed": True, "name": params["name"]})
    assert job.main(str(folder)) == 0
    assert [line.split("s  ")[1] for line in (folder / "steps").read_text(encoding="utf-8").splitlines()] == ["one", "two"]
    assert json.loads((folder / "result.json").read_text(encoding="utf-8")) == {"changed": True, "name": "web"}


@pytest.mark.parametrize("error, words", [(CloudError("", "instance web", "no"), "instance web: no"), (KeyError("x"), "KeyError: 'x'")])
def test_a_job_that_fails_says_so(tmp_path, monkeypatch, error, words):
    def fail(params, check, tell):
        raise error

    monkeypatch.setattr(instance, "ensure", fail)
    (tmp_path / "request.json").write_text('{"kind": "instance", "params": {}}', encoding="utf-8")
    assert job.main(str(tmp_path)) == 1
    result = json.loads((tmp_path / "result.json").read_text(encoding="utf-8"))
    assert result["failed"] is True and result["msg"] == words


def test_a_job_that_cannot_begin(tmp_path):
    with pytest.raises(CloudError, match="could not be started as a unit of systemd .no bus."):
        job.begin("instance", {"name": "web"}, "", str(tmp_path), lambda argv, **more: Thing(returncode=1, stderr="no bus\n"))


@pytest.mark.parametrize("active, result, expected", [
    ("active", None, None), ("activating", None, None), ("", None, None), ("inactive", {"changed": True}, {"changed": True}),
    ("active", {"changed": True}, {"changed": True}),
    ("failed", None, {"failed": True, "msg": "the job ended without a result: `journalctl -u u.service` there may tell why"}),
])
def test_what_came_of_a_job(active, result, expected):
    assert job.verdict(active, result, "u.service") == expected
