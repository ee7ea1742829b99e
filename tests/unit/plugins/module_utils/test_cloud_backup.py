# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Archives of machines, what is put back from them and what is refused; manifests; the proof."""

from __future__ import annotations

import getpass
import grp
import gzip
import json
import os
import subprocess
import tarfile
import types

import pytest

from ansible_collections.our.cloud.plugins.module_utils._cloud import backup, contents, manifest
from ansible_collections.our.cloud.plugins.module_utils._common.errors import CloudError, Refused
from ansible_collections.our.cloud.plugins.module_utils._common.shapes import plain

DUMP = b"DROP DATABASE IF EXISTS `nova`;\n-- Dump completed on 2026-11-27\n"


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine that has keys, a node's identity, two databases and OVN's, below tmp_path; programs are told from what they are called with."""
    there = types.SimpleNamespace(root=tmp_path, called=[], databases={"nova": DUMP, "keystone": DUMP}, loaded=[], northbound=b"{}\n")
    keys = tmp_path / "etc/fernet-keys"
    keys.mkdir(parents=True)
    (keys / "0").write_text("old")
    (tmp_path / "compute_id").write_text("uuid")
    monkeypatch.setattr(backup, "ARCHIVES", str(tmp_path))
    monkeypatch.setattr(backup, "LOCK", str(tmp_path / "lock"))
    monkeypatch.setattr(backup, "GROUPS", {
        "clc": backup.Carried(folders=(str(keys),), databases=True, packages=("nova-common",), units=("nova-*",)),
        "cc": backup.Carried(northbound=True, packages=("ovn-central",)),
        "nc": backup.Carried(files=(str(tmp_path / "compute_id"), str(tmp_path / "nothing*"))),
        "sc": backup.Carried(packages=("cinder-common",))})
    monkeypatch.setattr(backup, "versions_of", lambda packages: {package: "2:31.0.0-6" for package in packages})

    def run(command, feed=None, into=None, remedy=""):
        there.called.append(command[0])
        if command[0] == "mariadb-dump":
            into.write(there.databases[command[-1]])
        elif command[0] == "ovsdb-client" and command[1] == "backup":
            into.write(there.northbound)
        elif feed:
            there.loaded.append((command[0], feed.read()))
        return "\n".join([*there.databases, "mysql", "sys"])

    monkeypatch.setattr(backup, "run", run)
    there.keys = keys
    return there


def saved(machine, groups=("clc", "cc", "nc"), databases=("nova", "keystone")):
    return backup.save(groups, databases)


def restored(answer, check=False, groups=("clc", "cc", "nc"), versions=None):
    return backup.restore(groups, answer.archive, answer.members, versions or answer.versions, check)


def test_an_archive(machine):
    answer = saved(machine)
    keys, node = f"files{machine.keys}/0", f"files{machine.root}/compute_id"
    assert sorted(answer.members) == ["databases/keystone.sql.gz", "databases/nova.sql.gz", node, keys, "ovn/northbound"]
    assert answer.versions == {"nova-common": "2:31.0.0-6", "ovn-central": "2:31.0.0-6"}
    assert (answer.size, answer.sum) == (os.path.getsize(answer.archive), backup.sum_of(answer.archive))
    assert os.stat(answer.archive).st_mode & 0o777 == 0o600
    # the place where dumps lay is gone
    assert [path.name for path in machine.root.iterdir() if path.name.startswith("our-cloud")] == [os.path.basename(answer.archive)]


def test_what_a_killed_one_has_left_goes(machine):
    (machine.root / "our-cloud-backup-left").mkdir()
    (machine.root / "our-cloud-backup-left/nova.sql").write_text("secret")
    saved(machine)
    assert not (machine.root / "our-cloud-backup-left").exists()


def test_one_at_a_time(machine):
    with backup.workplace(), pytest.raises(CloudError, match="another backup or restore is running here. Wait"):
        saved(machine)


def test_a_machine_that_has_nothing_to_save(machine):
    assert plain(saved(machine, ["sc"])) == {"archive": "", "sum": "", "size": 0, "members": {}, "versions": {"cinder-common": "2:31.0.0-6"}}


def test_a_database_that_is_lost_cannot_be_saved(machine):
    with pytest.raises(CloudError, match="there is no database glance. What is lost cannot be saved: restore"):
        saved(machine, databases=["nova", "glance"])


def test_a_dump_that_is_cut_short(machine):
    machine.databases["nova"] = b"DROP DATABASE IF EXISTS `nova`;\n"
    with pytest.raises(CloudError, match="the dump of nova: it does not end as dumps do. Is the disk full"):
        saved(machine)
    assert not list(machine.root.glob("our-cloud-*"))


def test_put_back(machine):
    answer = saved(machine)
    (machine.keys / "0").write_text("new")
    (machine.keys / "1").write_text("newer")
    (machine.root / "compute_id").unlink()
    steps = [f"write {machine.root}/compute_id", f"write {machine.keys}/0", f"remove {machine.keys}/1", "load database keystone", "load database nova",
             "load OVN_Northbound"]
    assert restored(answer, check=True) == steps
    assert ((machine.keys / "0").read_text(), machine.loaded) == ("new", [])
    assert restored(answer) == steps
    assert {path.name: path.read_text() for path in machine.keys.iterdir()} == {"0": "old"}
    assert (machine.root / "compute_id").read_text() == "uuid"
    assert machine.loaded == [("mariadb", DUMP), ("mariadb", DUMP), ("ovsdb-client", b"{}\n")]
    # files that are right are left alone
    assert restored(answer, check=True) == steps[3:]


def test_owner_and_mode_come_back(machine):
    os.chmod(machine.root / "compute_id", 0o640)
    answer = saved(machine, ["nc"])
    os.unlink(machine.root / "compute_id")
    restored(answer, groups=["nc"])
    found = os.stat(machine.root / "compute_id")
    assert (found.st_mode & 0o777, grp.getgrgid(found.st_gid).gr_name) == (0o640, grp.getgrgid(os.getgid()).gr_name)
    assert getpass.getuser()


def rewritten(answer, change):
    """The archive with other members."""
    with tarfile.open(answer.archive) as archive:
        members = {member.name: (member, archive.extractfile(member).read()) for member in archive}
    change(members)
    with tarfile.open(answer.archive, "w") as archive:
        for member, content in members.values():
            member.size = len(content)
            import io
            archive.addfile(member, io.BytesIO(content))


def cut(members):
    name = "databases/nova.sql.gz"
    members[name] = (members[name][0], gzip.compress(b"CREATE"))


@pytest.mark.parametrize("change, words", [
    (lambda members: members.pop("databases/nova.sql.gz"), "it lacks databases/nova.sql.gz"),
    (cut, "databases/nova.sql.gz is not what was saved"),
    (lambda members: members.update(more=(tarfile.TarInfo("etc/passwd"), b"")), "etc/passwd is not in its manifest"),
])
def test_a_broken_archive_is_refused_before_anything_changes(machine, change, words):
    answer = saved(machine)
    rewritten(answer, change)
    with pytest.raises(CloudError, match=words):
        restored(answer)
    assert machine.loaded == []


def test_an_archive_that_is_none(machine):
    answer = saved(machine)
    with open(answer.archive, "r+b") as file:
        file.truncate(700)
    with pytest.raises(CloudError, match="Take another backup, or another copy"):
        restored(answer)


def test_a_half_dump_with_a_right_sum(machine):
    answer = saved(machine)
    rewritten(answer, cut)
    with tarfile.open(answer.archive) as archive:
        archive.extract("databases/nova.sql.gz", machine.root / "out")
    answer.members["databases/nova.sql.gz"] = backup.sum_of(str(machine.root / "out/databases/nova.sql.gz"))
    with pytest.raises(CloudError, match="databases/nova.sql.gz is not a complete dump"):
        restored(answer)


def test_older_packages_are_refused(machine):
    answer = saved(machine)
    with pytest.raises(CloudError, match=r"nova-common is 2:31\.0\.0-6 here and was 3:32\.0\.0-1: the tables would be newer than the programs"):
        restored(answer, versions={"nova-common": "3:32.0.0-1"})
    assert machine.loaded == []


@pytest.mark.parametrize("saved_version, here, refused", [
    ("2:31.0.0-6+deb13u3", "2:31.0.0-6+deb13u1", False), ("2:31.0.0-6", "2:31.1.0-1", False), ("2:31.1.0-1", "2:31.0.0-9", True),
    ("1:11.8.9-1", "1:11.8.3-0", True),
])
def test_versions(saved_version, here, refused):
    assert bool(backup.older({"p": saved_version}, {"p": here})) == refused


def test_a_full_disk(machine, monkeypatch):
    answer = saved(machine)
    monkeypatch.setattr(backup.shutil, "disk_usage", lambda path: types.SimpleNamespace(free=1))
    with pytest.raises(CloudError, match="0 MiB are free and"):
        restored(answer)


def test_a_program_that_fails():
    with pytest.raises(CloudError, match=r"`sh -c echo no >&2; exit 3`: exit status 3: no\. Mend it"):
        backup.run(["sh", "-c", "echo no >&2; exit 3"], remedy="Mend it")
    with pytest.raises(CloudError, match="Install what the cloud needs first"):
        backup.run(["/nonexistent"])


# -- units


@pytest.fixture
def systemd(monkeypatch):
    there = types.SimpleNamespace(stopped=[])
    files = ["nova-api.service enabled enabled", "nova-spice.service disabled enabled", "nova-old.service generated -", "keystone.service enabled enabled"]
    units = ["nova-api.service loaded active running Nova", "nova-old.service loaded failed failed Nova", "nova-spice.service loaded active running Nova"]

    def run(command, remedy="", **dummy):
        if command[1] in ("stop", "start"):
            there.stopped.append(command[1:])
        return "\n".join(files if command[1] == "list-unit-files" else units)

    monkeypatch.setattr(backup, "run", run)
    monkeypatch.setattr(backup.subprocess, "run", lambda *arguments, **dummy: subprocess.CompletedProcess(arguments, 0))
    monkeypatch.setattr(backup, "GROUPS", {"clc": backup.Carried(units=("nova-*",))})
    return there


def test_units_stand_still_and_go_on(systemd):
    assert backup.still(["clc"], stopped=True, check=True) == ["nova-api.service", "nova-spice.service"]
    assert systemd.stopped == []
    backup.still(["clc"], stopped=True, check=False)
    # after an interruption what is enabled starts, whatever ran before
    assert backup.still(["clc"], stopped=False, check=False) == ["nova-old.service"]
    assert systemd.stopped == [["stop", "nova-api.service", "nova-spice.service"], ["start", "nova-old.service"]]


def test_what_a_machine_carries_is_the_sum_of_its_groups():
    here = backup.carried(["nc", "clc", "kvm"])
    assert here.files == ("/var/lib/nova/compute_id",)
    assert here.units == ("keystone", "placement-api", "nova-*", "memcached", "nova-compute")
    assert (here.databases, here.northbound, here.packages.count("nova-common")) == (True, False, 1)


# -- the manifest


GROUPS = {"clc": ["apu"], "walrus": ["apu"], "cc": ["apu"], "nc": ["moe", "carl"], "all": ["apu", "moe"]}


@pytest.fixture
def kept(tmp_path):
    """A directory with two backups and one that was not finished."""
    for name in ("20260101T000000Z", "20260102T000000Z", "20260103T000000Z.partial"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "apu.tar").write_bytes(b"archive")
    told = {"format": 1, "made": "then", "contents": {}, "hosts": {
        "apu": {"groups": ["clc", "walrus", "cc"], "archive": "apu.tar", "sum": backup.sum_of(str(tmp_path / "20260101T000000Z/apu.tar")), "size": 7,
                "members": {"databases/nova.sql.gz": "s"}, "versions": {}},
        "moe": {"groups": ["nc"], "archive": "", "sum": "", "size": 0, "members": {}, "versions": {}}}}
    for name in ("20260101T000000Z", "20260102T000000Z"):
        (tmp_path / name / "manifest.json").write_text(json.dumps(told))
    return tmp_path


def test_the_newest_and_a_named_one(kept):
    assert manifest.read(str(kept), "")[0] == "20260102T000000Z"
    name, told = manifest.read(str(kept), "20260101T000000Z")
    assert (name, manifest.faults(str(kept / name), told, GROUPS, ["nova"])) == ("20260101T000000Z", [])


def test_a_manifest_is_told_as_it_was_written(kept):
    written = json.loads((kept / "20260101T000000Z/manifest.json").read_text())
    assert plain(manifest.read(str(kept), "20260101T000000Z")[1]) == written


@pytest.mark.parametrize("text, words", [
    ("{", "is no manifest of a backup"), ("[]", "is no manifest"), ('{"format": 1}', "is no manifest"), ('{"format": 2, "hosts": {}}', "is of format 2"),
    ('{"format": 1, "hosts": {"apu": {"archive": "x"}}}', "is no manifest"),
])
def test_a_manifest_that_cannot_be_used(kept, text, words):
    (kept / "20260102T000000Z/manifest.json").write_text(text)
    with pytest.raises(Refused, match=words):
        manifest.read(str(kept), "")


def test_no_such_backup(kept, tmp_path):
    with pytest.raises(Refused, match="has no backup other. There are 20260101T000000Z, 20260102T000000Z"):
        manifest.read(str(kept), "other")
    with pytest.raises(Refused, match="has no backup. our.cloud.cloud_backup makes one"):
        manifest.read(str(tmp_path / "nowhere"), "")


@pytest.mark.parametrize("change, groups, databases, words", [
    (lambda folder: (folder / "apu.tar").write_bytes(b"other"), GROUPS, ["nova"], "apu.tar is not what was saved of apu"),
    (lambda folder: (folder / "apu.tar").unlink(), GROUPS, ["nova"], "apu.tar is missing"),
    (lambda folder: None, dict(GROUPS, walrus=["moe"]), ["nova"], "is of a cloud whose walrus is apu, and the inventory has moe"),
    (lambda folder: None, dict(GROUPS, cc=[]), ["nova"], "whose cc is apu, and the inventory has none"),
    (lambda folder: None, GROUPS, ["nova", "cinder"], "The backup lacks cinder"),
    (lambda folder: None, GROUPS, [], "The backup has nova, other databases"),
])
def test_a_backup_that_must_not_be_restored(kept, change, groups, databases, words):
    name, told = manifest.read(str(kept), "")
    change(kept / name)
    (fault,) = manifest.faults(str(kept / name), told, groups, databases)
    assert words in fault


# -- the proof


def waited(answers, seconds=10, nodes=("moe",)):
    """What wait() makes of these answers, one each 2 s."""
    clock = types.SimpleNamespace(now=0)
    given = iter(answers)

    def look():
        answer = next(given)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def pause(seconds):
        clock.now += seconds

    return contents.wait(seconds, nodes, look, lambda: clock.now, pause)


def test_waits_until_all_answers():
    good = contents.Contents({}, {}, ("carl",))
    assert waited([CloudError("", "keystone", "no"), contents.Contents({}, {}, ("moe",)), good]) == good


def test_tells_what_did_not_answer():
    with pytest.raises(CloudError, match="keystone: no"):
        waited([CloudError("", "keystone", "no")] * 9)
    with pytest.raises(CloudError, match="nova-compute of moe is not up after 10 s"):
        waited([contents.Contents({}, {}, ("moe",))] * 9)


def test_what_is_missing():
    before = {"instances": {"1": "web", "2": ""}, "images": {"3": "debian"}}
    assert contents.missing(before, {"instances": {"1": "web"}, "images": {"3": "debian", "4": "new"}}) == ["instances: 2"]
    assert contents.missing({}, {}) == []


def test_instances_that_nova_looks_for_elsewhere():
    running = {"moe": ["1111 instance-00000001", "2222 instance-00000002", ""], "carl": ["3333 instance-00000003", "4444 ours"]}
    found = contents.strays({"1111": "web", "2222": "db"}, {"1111": "moe", "2222": "carl"}, running)
    assert [line.partition(":")[0] for line in found] == [
        "instance-00000003 (3333) runs on carl, and nova does not know it", "db runs on moe, and nova has it on carl"]
