# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is registered: files of a directory or one by one, names, ids, the room that disks take."""

from __future__ import annotations

import errno
import json
import os
import tempfile
import threading

import boot_samples as sample
import pytest
from registry_samples import OWN_CONFIG, build, refused, register, registry_checksum, site, tree

from ansible_collections.our.cloud.plugins.module_utils._boot.sources import BootFileError
from ansible_collections.our.cloud.plugins.module_utils._common import sparse
from ansible_collections.our.cloud.plugins.module_utils._registry import nfs_store, registration, storage
from ansible_collections.our.cloud.plugins.module_utils._registry.nfs_store import NfsStore
from ansible_collections.our.cloud.plugins.module_utils._registry.storage import RegistryError
from ansible_collections.our.cloud.plugins.module_utils._site import store as site_store
from ansible_collections.our.cloud.plugins.module_utils._site.store import MARKER


def test_what_a_builder_leaves(root, folder):
    first = register(root, folder, check_mode=True)
    assert tree(root) == [MARKER, "images"]
    done = register(root, folder)
    keys = [done["record"]["kernel"], done["record"]["ramdisk"], done["id"]]
    assert [key[:4] + "x" * len(key[4:]) for key in keys] == ["eki-" + "x" * 12, "eri-" + "x" * 12, "emi-" + "x" * 12]
    assert done["actions"] == ["register " + key for key in keys] + ["name %s debian" % key for key in keys]
    assert (first["actions"], first["id"], first["changed"], first["previous"]) == (done["actions"], done["id"], True, None)
    assert tree(root / "registry") == sorted(
        ["names", *("names/" + kind for kind in ("image", "kernel", "ramdisk")),
         *("names/%s/debian -> ../../%s" % each for each in zip(("kernel", "ramdisk", "image"), keys)),
         *keys, *("%s/%s" % (key, name) for key in keys for name in ("about.json", "uses")),
         *("%s/%s" % each for each in zip(keys, ("vmlinuz", "initrd.img", "root.img"))),
         *("%s/uses/image.%s" % (key, keys[2]) for key in keys[:2])])
    for key, name in zip(keys, ("vmlinuz", "initrd.img", "root.img")):
        assert (root / "registry" / key / name).read_bytes() == (folder / name).read_bytes()
    for check_mode in (True, False):
        again = register(root, folder, check_mode=check_mode)
        assert (again["changed"], again["actions"], again["id"], again["previous"]) == (False, [], keys[2], keys[2])


@pytest.fixture(name="qemu_img")
def fixture_qemu_img(tmp_path, monkeypatch):
    """A qemu-img that makes a copy of raw.img, and writes down what it was asked."""
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin/qemu-img"
    program.write_text('#!/bin/sh\nprintf "%%s\\n" "$@" >%s/asked\ncp %s/raw.img "$5" || exit 1\n' % (tmp_path, tmp_path), encoding="ascii")
    program.chmod(0o755)
    (tmp_path / "work").mkdir()
    monkeypatch.setenv("PATH", "%s:%s" % (tmp_path / "bin", os.environ["PATH"]))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "work"))
    return program


def test_a_qcow2_disk_becomes_a_raw_one(root, folder, qemu_img):
    (folder.parent / "raw.img").write_bytes(sample.ext4(2 << 20))
    (folder / "root.img").write_bytes(sample.qcow2())
    key = register(root, folder)["id"]
    assert (root / "registry" / key / "root.img").read_bytes() == sample.ext4(2 << 20)
    asked = (qemu_img.parents[1] / "asked").read_text(encoding="ascii").splitlines()
    assert asked[:3] == ["convert", "-O", "raw"] and asked[4].startswith(str(folder.parent / "work"))
    assert json.loads(asked[3][len("json:"):]) == {
        "driver": "qcow2", "file": {"driver": "file", "filename": str(folder / "root.img")}, "backing": None}
    assert os.listdir(folder.parent / "work") == []
    (folder / "root.img").write_bytes(sample.ext4(2 << 20))
    assert register(root, folder)["actions"] == []


def test_a_qcow2_disk_that_leads_elsewhere_is_not_converted(root, folder, qemu_img):
    (folder / "root.img").write_bytes(sample.qcow2(backing=b"/etc/passwd"))
    with pytest.raises(BootFileError, match="based on /etc/passwd, which is no image of the registry"):
        register(root, folder)
    assert not (qemu_img.parents[1] / "asked").exists()


def test_a_qcow2_disk_that_cannot_be_converted(root, folder, qemu_img):
    (folder / "root.img").write_bytes(sample.qcow2())
    with pytest.raises(BootFileError, match="no raw one could be made of it in .*: cp: .*raw.img.*TMPDIR names another directory"):
        register(root, folder)
    qemu_img.unlink()
    os.environ["PATH"] = str(qemu_img.parent)
    with pytest.raises(BootFileError, match="there is no qemu-img here to make a raw one of it. Install qemu-utils"):
        register(root, folder)


@pytest.mark.parametrize("name", ["vmlinuz", "initrd.img", "root.img"])
@pytest.mark.parametrize("target", ["secret", "nothing"])
def test_a_link_in_a_directory_is_refused(root, folder, name, target):
    """Whoever made it may have read less than whoever registers it."""
    (folder / name).rename(folder.parent / "secret")
    (folder / name).symlink_to(folder.parent / target)
    with pytest.raises(BootFileError, match=name + " is a link, which may lead to anybody's file. Put the file itself there"):
        register(root, folder)
    assert tree(root) == [MARKER, "images"]


def test_a_file_that_is_named_may_be_a_link(root, folder):
    (folder / "newest.img").symlink_to("root.img")
    (root.parent / "to").symlink_to(folder)
    key = register(root, folder / "newest.img", kernel=register(root, folder / "vmlinuz", "kernel", "k")["id"],
                   ramdisk=register(root, folder / "initrd.img", "ramdisk", "r")["id"])["id"]
    assert (root / "registry" / key / "root.img").read_bytes() == (folder / "root.img").read_bytes()
    assert not register(root, root.parent / "to")["actions"][0].startswith("register")
    for kind, name in (("kernel", "vmlinuz"), ("ramdisk", "initrd.img")):
        (folder / "link").symlink_to(name)
        assert register(root, folder / "link", kind, "linked")["record"]["checksum"] == registry_checksum(folder / name)
        (folder / "link").unlink()


def test_record(root, folder):
    done = register(root, folder, arch="amd64", root_device="LABEL=root", cmdline="quiet")
    record = site(root).find("image", "debian")
    assert record.pop("created")[:2] == "20"
    assert record == {
        "id": done["id"], "kind": "image", "arch": "amd64", "kernel": record["kernel"], "ramdisk": record["ramdisk"], "root_device": "LABEL=root",
        "cmdline": "quiet", "format": "ext4", "size": 1 << 20, "owner": "me", "origin": None,
        "checksum": registry_checksum(folder / "root.img"), "digest": record["digest"]}
    kernel = site(root).find("kernel", "debian")
    assert (kernel["arches"], kernel["version"], kernel["format"]) == (["amd64"], "6.12.48+deb13-amd64", "bzImage")
    assert site(root).find("ramdisk", "debian")["compression"] == "gzip"


def test_changed_content_takes_the_name(root, folder):
    before = register(root, folder)
    build(folder, disk=sample.ext4(label=b"other"))
    after = register(root, folder)
    assert after["previous"] == before["id"] != after["id"]
    assert after["actions"] == ["register " + after["id"], "name %s debian" % after["id"]]
    assert site(root).find("image", before["id"])["kernel"] == after["record"]["kernel"]
    assert [record["names"] for record in site(root).listing("image")] == [[], ["debian"]]


@pytest.mark.parametrize("more", [{"root_device": "/dev/vda1"}, {"cmdline": "quiet"}, {"arch": "i386"}])
def test_an_image_is_all_that_makes_a_difference(root, folder, more):
    (folder / "vmlinuz").write_bytes(sample.bzimage(protocol=0x20B))
    assert register(root, folder, arch="amd64")["id"] != register(root, folder, **{"arch": "amd64", **more})["id"]


def test_two_names(root, folder):
    one = register(root, folder)
    other = register(root, folder, name="also")
    assert other["id"] == one["id"]
    assert other["actions"] == ["name %s also" % key for key in (one["record"]["kernel"], one["record"]["ramdisk"], one["id"])]


def test_parts_one_by_one(root, folder):
    register(root, folder / "vmlinuz", "kernel", "k")
    eri = register(root, folder / "initrd.img", "ramdisk", "r")["id"]
    one = register(root, folder / "root.img", kernel="k", ramdisk=eri)
    assert one["id"] == register(root, folder, name="all")["id"]
    assert sorted(site(root).listing("kernel")[0]["names"]) == ["all", "k"]


def test_a_file_is_read_once(root, folder, monkeypatch):
    """Not for its checksum first, unless there is something of its size."""
    read = []
    blocks = sparse.FileSource.blocks

    def watch(self):
        read.append(os.path.basename(self.path))
        return blocks(self)

    monkeypatch.setattr(sparse.FileSource, "blocks", watch)
    register(root, folder)
    assert sorted(read) == ["initrd.img", "root.img", "vmlinuz"]


def test_sparse_stays_sparse(root, folder):
    with open(folder / "root.img", "r+b") as stream:
        stream.truncate(1 << 30)
    file = NfsStore(str(root)).path(register(root, folder)["id"])
    assert os.path.getsize(file) == 1 << 30
    assert os.stat(file).st_blocks * 512 < 2 << 20


def test_whatever_the_umask_is_guests_can_read_it(root, folder):
    before = os.umask(0o077)
    try:
        register(root, folder)
    finally:
        os.umask(before)
    for path in (root / "registry").rglob("*"):
        if not path.is_symlink() and path.name in ("registry", "vmlinuz", "initrd.img", "root.img", "names") or path.name.startswith("e"):
            assert path.stat().st_mode & 0o005 == (0o005 if path.is_dir() else 0o004), path


def test_configuration_comes_with_the_kernel(root, folder):
    (folder / "vmlinuz").write_bytes(sample.bzimage("6.1.0-own (me@here)"))
    (folder / "config-6.1.0-own").write_text(OWN_CONFIG % ("y", "y"), encoding="ascii")
    (folder / "initrd.img").unlink()
    done = register(root, folder)
    assert done["record"]["ramdisk"] is None
    assert (root / "registry" / done["record"]["kernel"] / "config").read_text(encoding="ascii") == OWN_CONFIG % ("y", "y")


def test_firmware_boots_a_disk_with_partitions(root, folder):
    (folder / "vmlinuz").unlink()
    (folder / "initrd.img").unlink()
    (folder / "root.img").write_bytes(sample.gpt())
    record = register(root, folder)["record"]
    assert (record["arch"], record["kernel"], record["format"]) == ("amd64", None, "gpt")


def test_a_disk_without_partitions_needs_a_kernel(root, folder):
    (folder / "root.img").write_bytes(sample.gpt()[:1024] + bytes((1 << 20) - 1024))
    assert register(root, folder)["record"]["kernel"]
    assert register(root, folder / "root.img", name="with", kernel="debian", ramdisk="debian", arch="amd64")["record"]["kernel"]
    for name in ("vmlinuz", "initrd.img"):
        (folder / name).unlink()
    for path in (folder, folder / "root.img"):
        refused(root, r"image .*root.img is a partitioned disk \(GPT\) without partitions: nothing boots it", path)


@pytest.mark.parametrize("disk, kind", [(sample.gpt(code=b""), "GPT"), (bytes(sample.mbr(code=b"")), "MBR")])
def test_a_disk_that_no_bios_starts_needs_a_kernel(root, folder, disk, kind):
    """As mkosi and systemd-repart make them, for UEFI."""
    (folder / "root.img").write_bytes(disk)
    assert register(root, folder)["record"]["kernel"]
    for name in ("vmlinuz", "initrd.img"):
        (folder / name).unlink()
    refused(root, rf"image .*root.img is a partitioned disk \({kind}\) without code that a BIOS starts, .*Install a boot loader for BIOS", folder)


def test_a_store_that_cannot_be_written_is_told_as_such(root, folder, monkeypatch):
    done = register(root, folder)

    def mkdtemp(*dummy, **dummy2):
        raise OSError(errno.EROFS, "Read-only file system", "/somewhere")

    monkeypatch.setattr(tempfile, "mkdtemp", mkdtemp)
    (folder / "root.img").write_bytes(sample.ext4(label=b"new"))
    with pytest.raises(RegistryError, match="/registry cannot be written, nothing was registered: Read-only file system"):
        register(root, folder)
    with pytest.raises(RegistryError, match="/registry cannot be written, the name other leads where it led: Read-only file system"):
        site(root).storage.set_name("image", "other", done["id"])
    with pytest.raises(RegistryError, match="/registry cannot be written, it was not removed: Read-only file system"):
        site(root).remove("image", "debian")


def test_what_disks_may_still_take(root):
    """A guest's disk has the size that it was made with, and takes room as it is written to."""
    with open(root / "images/raw.img", "wb") as file:
        file.truncate(3 << 20)
    (root / "images/thin.qcow2").write_bytes(sample.qcow2()[:65536])
    (root / "images/full.img").write_bytes(b"\1" * 65536)
    os.symlink("/dev/zero", root / "images/link.img")
    (root / "images/folder.img").mkdir()
    os.mkfifo(root / "images/fifo.img")
    room = NfsStore(str(root)).room()
    taken = sum((root / "images" / name).stat().st_blocks * 512 for name in ("raw.img", "thin.qcow2"))
    assert room["promised"] == (3 << 20) + (1 << 30) - taken
    assert 0 < room["free"] < room["size"]
    assert room["path"] == str(root)
    assert NfsStore(str(root / "none"), check_mode=True).room() is None


def test_a_store_whose_server_is_away_is_not_waited_for(root, monkeypatch):
    """A hard mount waits for ever, and so would who looks at it."""
    away = threading.Event()
    monkeypatch.setattr(os.path, "isfile", lambda path: away.wait(20))
    monkeypatch.setattr(site_store, "PATIENCE", 0.1)
    try:
        with pytest.raises(registration.ERRORS, match="store .*: no answer within 0.1 s. Is its server up"):
            NfsStore(str(root))
    finally:
        away.set()


# --- collisions -----------------------------------------------------------------

def test_a_collision_is_seen(root, folder, monkeypatch):
    monkeypatch.setattr(storage, "DIGITS", (0, None))
    one = register(root, folder / "initrd.img", "ramdisk", "one")["id"]
    (folder / "initrd.img").write_bytes(sample.cpio())
    other = register(root, folder / "initrd.img", "ramdisk", "other")["id"]
    assert one == "eri-" and len(other) == 68
    store = NfsStore(str(root))
    assert store.get(one)["checksum"] != store.get(other)["checksum"]
    assert not register(root, folder / "initrd.img", "ramdisk", "other")["changed"]


# --- paths, uses, leftovers ----------------------------------------------------

def test_paths(root):
    store = NfsStore(str(root))
    assert store.key_of(store.path("eki-0123456789ab")) == "eki-0123456789ab"
    assert store.key_of(str(root / "registry/../registry/emi-0123456789ab/root.img")) == "emi-0123456789ab"
    for path in ("/boot/vmlinuz", str(root / "boot/eki-0123456789ab/vmlinuz"), str(root / "registry/eki-0123456789ab/config")):
        assert store.key_of(path) is None


def test_a_use_that_is_noted_already_is_no_change(root, folder):
    key, store = register(root, folder)["id"], NfsStore(str(root))
    assert [store.use(key, "guest.web", {"disk": "a"}), store.use(key, "guest.web", {"disk": "a"}), store.use(key, "guest.web", {"disk": "b"})] == [
        True, False, True]


def test_leftovers_are_swept_before_room_is_asked_for(root, folder, monkeypatch):
    """A killed registration's, which fill the disk."""
    (root / "registry/.part-elsewhere-1-x/new").mkdir(parents=True)
    left = root / "registry/.part-elsewhere-1-x/new/root.img"
    left.write_bytes(b"x")
    monkeypatch.setattr(os, "statvfs", lambda path: os.statvfs_result((4096, 4096, 9, 9, 0 if left.exists() else 1 << 20, 0, 0, 0, 0, 255)))
    assert register(root, folder)["changed"]


def test_the_store_is_a_storage():
    assert issubclass(NfsStore, storage.Storage) and not NfsStore.__abstractmethods__
    assert nfs_store.FOLDER == "registry"
