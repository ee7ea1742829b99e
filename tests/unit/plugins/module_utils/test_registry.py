# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The registry over a store in a directory: what is registered, refused and removed, by one process and by several."""

from __future__ import annotations

import errno
import json
import os
import pathlib
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import types

import boot_samples as sample
import pytest
from checkout import UNIT

from ansible_collections.our.cloud.plugins.module_utils._common import sparse
from ansible_collections.our.cloud.plugins.module_utils._registry import nfs_store, registration, storage
from ansible_collections.our.cloud.plugins.module_utils._registry.parts import arrived
from ansible_collections.our.cloud.plugins.module_utils._boot.sources import BootFileError
from ansible_collections.our.cloud.plugins.module_utils._registry.nfs_store import NfsStore
from ansible_collections.our.cloud.plugins.module_utils._site import store as site_store
from ansible_collections.our.cloud.plugins.module_utils._site.store import MARKER
from ansible_collections.our.cloud.plugins.module_utils._registry.registry import Registry
from ansible_collections.our.cloud.plugins.module_utils._registry.storage import Gone, RegistryError

OWN_CONFIG = "CONFIG_XEN_BLKDEV_FRONTEND=%s\nCONFIG_VIRTIO_BLK=%s\nCONFIG_VIRTIO_PCI=y\nCONFIG_EXT4_FS=y\n"
FACTS = dict.fromkeys(("arch", "kernel", "ramdisk", "root_device", "cmdline"))


@pytest.fixture(autouse=True)
def fixture_no_waiting(monkeypatch):
    """For the disk: nothing here outlives the test."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    monkeypatch.setattr(os, "fdatasync", lambda descriptor: None)


@pytest.fixture(name="root")
def fixture_root(tmp_path):
    root = tmp_path / "store"
    (root / "images").mkdir(parents=True)
    (root / MARKER).write_text("uuid\n", encoding="ascii")
    return root


@pytest.fixture(name="folder")
def fixture_folder(tmp_path):
    folder = tmp_path / "built"
    folder.mkdir()
    build(folder)
    return folder


def build(folder, kernel=None, ramdisk=None, disk=None):
    """What a builder leaves."""
    (folder / "vmlinuz").write_bytes(kernel or sample.bzimage())
    (folder / "initrd.img").write_bytes(ramdisk or sample.compress("gzip", sample.cpio()))
    (folder / "root.img").write_bytes(disk or sample.ext4())


def site(root, check_mode=False):
    return Registry(NfsStore(str(root), check_mode), check_mode)


def register(root, path, kind="image", name="debian", check_mode=False, **params):
    parts = registration.parts_of(kind, params, str(path))
    try:
        return site(root, check_mode).register(name, parts, "me", None)
    finally:
        for part in parts:
            part.close()


def tree(root):
    """Everything below, links with where they lead."""
    return sorted("%s -> %s" % (path.relative_to(root), os.readlink(path)) if path.is_symlink() else str(path.relative_to(root)) for path in root.rglob("*"))


def guest(root, key, name="our-vm", disk="images/our-vm.qcow2"):
    NfsStore(str(root)).use(key, "guest." + name, {"disk": disk, "image": "debian"})
    if disk:
        (root / disk).write_text("disk", encoding="ascii")


# --- registering ----------------------------------------------------------------

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


def registry_checksum(path):
    with sparse.FileSource(str(path)) as source:
        return sparse.checksum(source)


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
    monkeypatch.setattr(storage, "DIGITS", (0, 64))
    one = register(root, folder / "initrd.img", "ramdisk", "one")["id"]
    (folder / "initrd.img").write_bytes(sample.cpio())
    other = register(root, folder / "initrd.img", "ramdisk", "other")["id"]
    assert one == "eri-" and len(other) == 68
    store = NfsStore(str(root))
    assert store.get(one)["checksum"] != store.get(other)["checksum"]
    assert not register(root, folder / "initrd.img", "ramdisk", "other")["changed"]


# --- refused --------------------------------------------------------------------

def refused(root, reason, *arguments, **params):
    for check_mode in (True, False):
        before = tree(root)
        with pytest.raises((RegistryError, BootFileError), match=reason):
            register(root, *arguments, check_mode=check_mode, **params)
        assert tree(root) == before


def test_a_kernel_that_cannot_mount_its_root(root, folder):
    (folder / "initrd.img").unlink()
    refused(root, "image .*built is not registered, as no guest could boot it: kernel .*vmlinuz needs a ramdisk and the guest has none: "
                  "it is a Debian stock kernel .*Give the guest the ramdisk", folder)
    register(root, folder / "vmlinuz", "kernel", "k")
    refused(root, "image debian is not registered, as no guest could boot it: kernel .*needs a ramdisk", folder / "root.img", kernel="k")


def test_one_hypervisor_is_enough(root, folder):
    (folder / "vmlinuz").write_bytes(sample.bzimage("6.1.0-own (me@here)"))
    (folder / "initrd.img").unlink()
    (folder / "config").write_text(OWN_CONFIG % ("m", "m"), encoding="ascii")
    refused(root, "config beside it says that CONFIG_VIRTIO_BLK is not built in", folder)
    (folder / "config").write_text(OWN_CONFIG % ("m", "y"), encoding="ascii")
    assert register(root, folder)["changed"]


@pytest.mark.parametrize("name, content, reason", [
    ("vmlinuz", b"<html>404</html>", "kernel .* is .*and a kernel is needed"),
    ("vmlinuz", b"", "kernel .* is empty"),
    ("vmlinuz", sample.bzimage()[:-3000], "kernel .* is cut short"),
    ("vmlinuz", sample.elf(machine=243), "is for riscv, and no guest is; architectures of guests: amd64, arm64"),
    ("initrd.img", sample.ext4(), "ramdisk .*and a ramdisk is needed"),
    ("initrd.img", sample.compress("gzip", sample.cpio())[:-20], "ramdisk .* is cut short"),
    ("root.img", b"", "disk .* is empty"),
    ("root.img", sample.ext4()[:-4096], "disk .* is cut short"),
    ("root.img", b"KDMV" + bytes(1 << 20), "a VMDK disk, and a raw one is needed. Convert it: qemu-img convert -O raw"),
    ("root.img", bytes(1 << 20), "is zeros, and a disk is needed"),
    ("root.img", bytes(4086) + b"SWAPSPACE2", "is swap space, and nothing boots from that"),
])
def test_wrong_files(root, folder, name, content, reason):
    (folder / name).write_bytes(content)
    refused(root, reason, folder)


@pytest.mark.parametrize("missing, reason", [
    (["root.img"], "disk .*root.img cannot be read: No such file"),
    (["vmlinuz"], "has a ramdisk .initrd.img. and no kernel .vmlinuz.; build it again"),
    (["vmlinuz", "initrd.img"], "has neither a kernel nor partitions, so nothing boots it"),
])
def test_missing_files(root, folder, missing, reason):
    for name in missing:
        (folder / name).unlink()
    refused(root, reason, folder)


@pytest.mark.parametrize("params, reason", [
    ({"arch": "arm64"}, "is said to be for arm64 and its kernel is for amd64"),
    ({"arch": "x86_64"}, "architecture 'x86_64' is not one of amd64"),
    ({"kernel": "k"}, "is a directory, whose kernel and ramdisk are registered with it"),
    ({"name": "a/b"}, "is not letters"),
    ({"name": "emi-01234567"}, "or is an id"),
])
def test_wrong_words(root, folder, params, reason):
    refused(root, reason, folder, **params)


@pytest.mark.parametrize("params, reason", [
    ({"kernel": "none"}, "there is no kernel none in the registry; there are: k"),
    ({"kernel": "eri-0123456789ab"}, "there is no kernel eri-0123456789ab"),
    ({"ramdisk": "r"}, "a ramdisk without a kernel boots nothing"),
    ({"kernel": "k", "ramdisk": "none"}, "there is no ramdisk none in the registry; there are: none"),
    ({"kernel": "k", "arch": "armhf"}, "is said to be for armhf and its kernel is for amd64"),
    ({"arch": "arm64"}, "arm64 guests have no firmware"),
])
def test_wrong_words_of_one_file(root, folder, params, reason):
    register(root, folder / "vmlinuz", "kernel", "k")
    refused(root, reason, folder / "root.img", **params)


def test_an_architecture_that_is_not_sure(root, folder):
    (folder / "vmlinuz").write_bytes(sample.zimage())
    (folder / "initrd.img").write_bytes(sample.cpio())
    refused(root, "its kernel boots guests of armel and armhf; say which with arch", folder)
    assert register(root, folder, arch="armhf")["record"]["arch"] == "armhf"


def test_no_store(tmp_path, folder):
    with pytest.raises(RegistryError, match="is not the site's store .there is no .our-cloud-store in it.. Is it mounted here"):
        register(tmp_path / "none", folder)
    # a check of a machine that has none yet
    assert register(tmp_path / "none", folder, check_mode=True)["changed"]
    assert not (tmp_path / "none").exists()


# --- a full disk ----------------------------------------------------------------

def test_too_little_space(root, folder, monkeypatch):
    class Full:
        f_bavail, f_frsize = 10, 1 << 20
    monkeypatch.setattr(os, "statvfs", lambda path: Full)
    with pytest.raises(RegistryError, match=r"registry has 10 MiB free and 16 MiB are needed. Remove images that nobody needs"):
        register(root, folder)
    assert tree(root) == [MARKER, "images", "registry"]


def test_full_in_the_middle(root, folder, monkeypatch):
    def full(*dummy):
        raise OSError(errno.ENOSPC, "No space left on device")
    register(root, folder)
    before = tree(root)
    build(folder, disk=sample.ext4(label=b"other"))
    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(RegistryError, match="store is full; nothing was registered"):
        register(root, folder)
    assert tree(root) == before


def test_a_limit_in_the_middle(root, folder):
    """A write that the kernel refuses."""
    (folder / "root.img").write_bytes(sample.ext4(8 << 20)[:4096] + b"\1" * ((8 << 20) - 4096))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (6 << 20, before[1]))
        with pytest.raises(RegistryError, match="cannot be written, nothing was registered: File too large"):
            register(root, folder)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert site(root).listing("image") == []
    assert parts(root) == []


# --- others at the same time ----------------------------------------------------

OTHER = """
import sys, time
sys.path[:0] = [%r, %r]
import checkout
import test_registry
from ansible_collections.our.cloud.plugins.module_utils._common import sparse
root, folder, name, pause = sys.argv[1:]
digest = sparse._digest
def slow(data):
    print("copying", flush=True)
    if pause == "told":
        sys.stdin.readline()
    else:
        time.sleep(float(pause))
    return digest(data)
sparse._digest = slow
import pathlib
done = test_registry.register(pathlib.Path(root), pathlib.Path(folder), name=name)
print(done["id"], flush=True)
""" % (str(UNIT), str(pathlib.Path(__file__).parent))


def other(root, folder, name="debian", pause="told"):
    """Another process that registers, and pauses for so many seconds after each block, or until it is told to go on."""
    return subprocess.Popen([sys.executable, "-c", OTHER, str(root), str(folder), name, pause], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True)


def test_two_register_the_same_at_once(root, folder):
    processes = [other(root, folder, name, "0.2") for name in ("one", "two")]
    said = [process.communicate() for process in processes]
    assert [process.returncode for process in processes] == [0, 0], said
    keys = {output.split()[-1] for output, dummy in said}
    assert len(keys) == 1
    assert [record["names"] for record in site(root).listing("image")] == [["one", "two"]]
    assert parts(root) == []


def test_a_name_is_taken_at_once(root, folder, tmp_path):
    """One of both has it afterwards, and both images are whole."""
    second = tmp_path / "second"
    second.mkdir()
    build(second, disk=sample.ext4(label=b"other"))
    processes = [other(root, each, pause="0.1") for each in (folder, second)]
    keys = [process.communicate()[0].split()[-1] for process in processes]
    assert sorted(record["id"] for record in site(root).listing("image")) == sorted(keys)
    assert site(root).find("image", "debian")["id"] in keys


def test_killed_in_the_middle(root, folder):
    killed, living = other(root, folder), other(root, folder, "living")
    assert [process.stdout.readline() for process in (killed, living)] == ["copying\n"] * 2
    killed.kill()
    killed.communicate()
    assert len(parts(root)) == 2
    assert site(root).listing("kernel") == [] and site(root).find("kernel", "debian") is None
    assert register(root, folder)["changed"]
    # what is left is the living one's
    assert len(parts(root)) == 1 and "-%d-" % living.pid in parts(root)[0]
    key = living.communicate("go on\n" * 9)[0].split()[-1]
    assert key == site(root).find("image", "living")["id"] == site(root).find("image", "debian")["id"]
    assert parts(root) == []


def parts(root):
    return [name for name in os.listdir(root / "registry") if name.startswith(".")]


def test_somebody_was_faster(root, folder, monkeypatch):
    """The same content appears between the copy and the rename."""
    rename = os.rename

    def late(origin, target):
        if os.path.basename(target).startswith("eri-") and not os.path.exists(target):
            monkeypatch.setattr(os, "rename", rename)
            register(root, folder / "initrd.img", "ramdisk", "faster")
        rename(origin, target)

    monkeypatch.setattr(os, "rename", late)
    done = register(root, folder / "initrd.img", "ramdisk", "slower")
    assert [record["names"] for record in site(root).listing("ramdisk")] == [["faster", "slower"]]
    assert done["record"]["id"] == done["id"]


# --- from another machine -------------------------------------------------------

def send(root, parts, packed=None, check_mode=False):
    """As the action plugin and the module do."""
    missing = [part for part in parts if packed is not None and part.kind in packed]
    told = [part.told() if part in missing else dict(part.told(), files=None) for part in parts]
    stream = None
    if missing:
        path = str(root.parent / "pack")
        sparse.pack([source for part in missing for source in part.sources.values()], path)
        stream = sparse.unpack(path)
    return site(root, check_mode).register("debian", [arrived(each, stream) for each in told], "me", None)


def test_sent(root, folder):
    (folder / "config").write_text(OWN_CONFIG % ("y", "y"), encoding="ascii")
    parts = registration.parts_of("image", FACTS, str(folder))
    for part in parts:
        part.measure()
    checked = send(root, parts, check_mode=True)
    asked = send(root, parts)
    assert asked["missing"] == checked["missing"] == ["kernel", "ramdisk", "image"]
    assert tree(root) == [MARKER, "images"]
    for part in parts:
        part.inspect()
    done = send(root, parts, asked["missing"])
    assert done["missing"] == [] and done["actions"] == checked["actions"] == asked["actions"] + ["name %s debian" % key for key in (
        done["record"]["kernel"], done["record"]["ramdisk"], done["id"])]
    assert (root / "registry" / done["record"]["kernel"] / "config").exists()
    assert send(root, parts)["actions"] == []
    build(folder, ramdisk=sample.cpio())
    parts = registration.parts_of("image", FACTS, str(folder))
    for part in parts:
        part.measure()
    asked = send(root, parts)
    assert asked["missing"] == ["ramdisk", "image"]
    assert send(root, parts, asked["missing"])["previous"] == done["id"]


def test_sent_and_changed_on_the_way(root, folder):
    parts = registration.parts_of("image", FACTS, str(folder))
    for part in parts:
        part.measure()
    parts[1].checksum = "sha256-4m:" + "0" * 64
    with pytest.raises(RegistryError, match="the ramdisk's file is not what was announced"):
        send(root, parts, ["kernel", "ramdisk", "image"])
    assert site(root).listing("ramdisk") == [] and site(root).listing("image") == []


# --- removing -------------------------------------------------------------------

def remove(root, wanted="debian", kind="image", force=False):
    """The four steps."""
    would = site(root, True).remove(kind, wanted, force)
    done = site(root).remove(kind, wanted, force)
    assert would == done
    for check_mode in (True, False):
        assert not site(root, check_mode).remove(kind, wanted, force)["changed"]
    return done["actions"]


def kept(root, reason, wanted="debian", kind="image"):
    before = tree(root)
    for check_mode in (True, False):
        with pytest.raises(RegistryError, match=reason):
            site(root, check_mode).remove(kind, wanted)
    assert tree(root) == before


def test_an_image_goes_with_its_kernel_and_ramdisk(root, folder):
    record = register(root, folder)["record"]
    assert remove(root) == [
        "remove " + record["id"], "forget image debian", "remove " + record["kernel"], "forget kernel debian",
        "remove " + record["ramdisk"], "forget ramdisk debian"]
    assert tree(root / "registry") == ["names", "names/image", "names/kernel", "names/ramdisk"]


def test_an_image_that_goes_needs_nothing_any_more(root, folder):
    record = register(root, folder)["record"]
    for kind, name in (("kernel", "vmlinuz"), ("ramdisk", "initrd.img")):
        register(root, folder / name, kind, "own")
    remove(root)
    assert [os.listdir(root / "registry" / record[kind] / "uses") for kind in ("kernel", "ramdisk")] == [[], []]


def test_what_others_need_or_name_stays(root, folder):
    record = register(root, folder)["record"]
    register(root, folder / "vmlinuz", "kernel", "own")
    build(folder, disk=sample.ext4(label=b"other"))
    register(root, folder, name="second")
    assert remove(root) == ["remove " + record["id"], "forget image debian", "forget kernel debian", "forget ramdisk debian"]
    assert site(root).find("image", "second")["kernel"] == record["kernel"]
    assert remove(root, "second")[2:] == ["forget kernel second", "remove " + record["ramdisk"], "forget ramdisk second"]
    assert site(root).listing("kernel")[0]["names"] == ["own"]


def test_leftovers_of_a_look_are_no_need(root, folder):
    key = register(root, folder)["id"]
    (root / "registry" / key / "uses" / ".new-host-1-x").mkdir()
    assert site(root).listing("image")[0]["needed_by"] == []
    assert remove(root)[0] == "remove " + key


def test_what_only_looks_like_a_leftover_is_not_removed_with_it(root, folder):
    key = register(root, folder)["id"]
    (root / "registry" / key / "uses" / ".new-host-1-x").write_text("", encoding="ascii")
    with pytest.raises(RegistryError, match="somebody looks at emi-.* in this moment, and it was not removed; try again"):
        site(root).remove("image", "debian")
    assert site(root).find("image", "debian")["id"] == key


def test_one_of_two_names(root, folder):
    key = register(root, folder)["id"]
    register(root, folder, name="also")
    assert remove(root, "also") == ["forget image also"]
    assert site(root).find("image", "debian")["id"] == key


def test_by_id_with_all_names(root, folder):
    key = register(root, folder)["id"]
    register(root, folder, name="also")
    assert remove(root, key)[:3] == ["remove " + key, "forget image also", "forget image debian"]


def test_an_image_that_a_guest_needs(root, folder):
    record = register(root, folder)["record"]
    guest(root, record["id"])
    guest(root, record["id"], "a", None)
    reason = "image %s debian is needed by guest a, guest our-vm .disk images/our-vm.qcow2.. Remove these first" % record["id"]
    kept(root, reason)
    kept(root, reason, record["id"])
    NfsStore(str(root)).unuse(record["id"], "guest.a")
    kept(root, "is needed by guest our-vm")
    # its disk was made from the image; without the disk there is no need
    (root / "images/our-vm.qcow2").unlink()
    assert remove(root)[0] == "remove " + record["id"]


def test_a_disk_outside_of_the_store_is_not_judged_from_here(root, folder):
    record = register(root, folder)["record"]
    NfsStore(str(root)).use(record["id"], "guest.x", {"disk": "/dev/elsewhere"})
    kept(root, "guest x .disk /dev/elsewhere.")


def test_a_kernel_that_an_image_needs(root, folder):
    record = register(root, folder)["record"]
    kept(root, "kernel %s debian is needed by image %s" % (record["kernel"], record["id"]), kind="kernel")
    kept(root, "ramdisk %s debian is needed by image %s" % (record["ramdisk"], record["id"]), record["ramdisk"], "ramdisk")
    guest(root, record["kernel"], disk=None)
    kept(root, "needed by guest our-vm, image", kind="kernel")


def test_by_force(root, folder):
    record = register(root, folder)["record"]
    guest(root, record["id"])
    assert remove(root, force=True)[0] == "remove " + record["id"]
    assert (root / "images/our-vm.qcow2").exists()


def test_half_a_use_is_a_use(root, folder):
    key = register(root, folder)["id"]
    (root / "registry" / key / "uses" / "guest.x").write_text("{", encoding="ascii")
    kept(root, "is needed by guest x")


def test_what_is_not_there(root, folder):
    assert NfsStore(str(root)).remove("emi-0123456789ab", False) == {}
    assert site(root).remove("image", "debian")["actions"] == []
    assert site(root).remove("image", "emi-0123456789ab")["actions"] == []
    key = register(root, folder)["id"]
    # a name that leads nowhere is no image
    NfsStore(str(root)).remove(key, True)
    assert site(root).find("image", "debian") is None
    assert remove(root) == ["forget image debian"]


def test_begun_to_be_needed_while_it_is_removed(root, folder, monkeypatch):
    """A guest's use comes after the question and before the end: the server lets one of both win."""
    key = register(root, folder)["id"]
    rmdir = os.rmdir

    def late(path):
        if path.endswith("/uses"):
            monkeypatch.setattr(os, "rmdir", rmdir)
            # by a host that still knows where the directory was
            (pathlib.Path(path) / "guest.late").write_text("{}", encoding="ascii")
        rmdir(path)

    monkeypatch.setattr(os, "rmdir", late)
    with pytest.raises(RegistryError, match="is needed by guest late"):
        site(root).remove("image", "debian")
    assert site(root).find("image", "debian")["id"] == key
    assert not register(root, folder)["changed"]


def test_looked_at_while_it_is_removed(root, folder, monkeypatch):
    """By another remover, who makes sure that it sees what is there."""
    key = register(root, folder)["id"]
    rmdir = os.rmdir

    def late(path):
        if path.endswith("/uses"):
            monkeypatch.setattr(os, "rmdir", rmdir)
            (pathlib.Path(path) / ".new-x").mkdir()
        rmdir(path)

    monkeypatch.setattr(os, "rmdir", late)
    with pytest.raises(RegistryError, match="somebody looks at emi-.* in this moment, and it was not removed; try again"):
        site(root).remove("image", "debian")
    assert site(root).find("image", "debian")["id"] == key


def test_registered_again_while_it_is_removed(root, folder, monkeypatch):
    """And then needed: the use goes over to what is there now."""
    key = register(root, folder)["id"]
    rmdir = os.rmdir

    def late(path):
        if path.endswith("/uses"):
            monkeypatch.setattr(os, "rmdir", rmdir)
            (pathlib.Path(path) / "guest.late").write_text("{}", encoding="ascii")
            assert register(root, folder)["id"] == key
        rmdir(path)

    monkeypatch.setattr(os, "rmdir", late)
    with pytest.raises(RegistryError, match="is needed by guest late"):
        site(root).remove("image", "debian")
    assert list(NfsStore(str(root)).uses(key)) == ["guest.late"]


def test_needed_when_it_is_gone(root, folder):
    key = register(root, folder)["id"]
    remove(root)
    with pytest.raises(Gone, match="is no longer in the registry"):
        NfsStore(str(root)).use(key, "guest.x", {})


def test_a_kernel_is_removed_while_its_image_is_registered(root, folder, monkeypatch):
    """Its use stands for nothing until the image is there, and is passed over."""
    register(root, folder / "vmlinuz", "kernel", "k")
    register(root, folder / "initrd.img", "ramdisk", "r")
    rename = os.rename

    def late(origin, target):
        if os.path.basename(target).startswith("emi-"):
            monkeypatch.setattr(os, "rename", rename)
            assert site(root).remove("kernel", "k")["changed"]
            rename(origin, target)
            # a guest that begins to need it could not boot it either
            guest(root, os.path.basename(target))
        else:
            rename(origin, target)

    monkeypatch.setattr(os, "rename", late)
    with pytest.raises(Gone, match="eki-.* is no longer in the registry"):
        register(root, folder / "root.img", kernel="k", ramdisk="r")
    assert site(root).listing("image") == []
    assert site(root).listing("ramdisk")[0]["needed_by"] == []


# --- listing --------------------------------------------------------------------

def test_listing(root, folder):
    old = register(root, folder)
    build(folder, kernel=sample.bzimage("6.13 (me)"))
    new = register(root, folder)
    guest(root, new["id"])
    listed = {record["id"]: record for kind in storage.PREFIX for record in site(root).listing(kind)}
    assert [listed[old["id"]][key] for key in ("names", "needed_by", "unused")] == [[], [], True]
    assert [listed[new["id"]][key] for key in ("names", "needed_by", "unused")] == [["debian"], ["guest our-vm (disk images/our-vm.qcow2)"], False]
    assert [listed[old["record"]["kernel"]][key] for key in ("names", "needed_by", "unused")] == [[], ["image " + old["id"]], False]
    assert sorted(listed[new["record"]["ramdisk"]]["needed_by"]) == sorted("image " + each["id"] for each in (old, new))
    assert listed[new["id"]]["file"] == str(root / "registry" / new["id"] / "root.img")
    assert site(root).used_by("guest.our-vm") == {new["id"]: {"disk": "images/our-vm.qcow2", "image": "debian"}}


def test_damaged_record(root, folder):
    key = register(root, folder)["id"]
    (root / "registry" / key / "about.json").write_text("{", encoding="ascii")
    with pytest.raises(RegistryError, match="about.json is damaged .*remove its directory and register it again"):
        site(root).listing("image")


def test_paths(root):
    store = NfsStore(str(root))
    assert store.key_of(store.path("eki-0123456789ab")) == "eki-0123456789ab"
    assert store.key_of(str(root / "registry/../registry/emi-0123456789ab/root.img")) == "emi-0123456789ab"
    for path in ("/boot/vmlinuz", str(root / "boot/eki-0123456789ab/vmlinuz"), str(root / "registry/eki-0123456789ab/config")):
        assert store.key_of(path) is None


# --- what others can put into the store -----------------------------------------

@pytest.fixture(name="victim")
def fixture_victim(root):
    victim = root.parent / "victim"
    victim.mkdir()
    (victim / "passwd").write_text("root", encoding="ascii")
    return victim


def in_time(call):
    """What a call returns, or the RegistryError; it must not wait for ever."""
    found = []

    def run():
        try:
            found.append(call())
        except RegistryError as error:
            found.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(20)
    assert found, "it waits for ever"
    return found[0]


def plant(path, kind, victim):
    """Put something else to where something is."""
    if path.is_dir() and not path.is_symlink():
        path.rename(victim.parent / "moved")
    elif path.exists():
        path.unlink()
    if kind == "link":
        path.symlink_to(victim / "passwd")
    elif kind == "link to a directory":
        path.symlink_to(victim)
    elif kind == "hard link":
        path.hardlink_to(victim / "passwd")
    elif kind == "FIFO":
        os.mkfifo(path)
    elif kind == "socket":
        # its own path would be too long
        with tempfile.TemporaryDirectory() as short, socket.socket(socket.AF_UNIX) as bound:
            bound.bind(short + "/socket")
            os.rename(short + "/socket", path)
    else:
        path.mkdir()


def untouched(victim):
    assert [path.name for path in victim.iterdir()] == ["passwd"]
    assert (victim / "passwd").read_text() == "root"


KINDS = ["link", "link to a directory", "hard link", "FIFO", "socket", "directory"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_use_that_is_none_is_not_followed(root, folder, victim, kind):
    key, store = register(root, folder)["id"], NfsStore(str(root))
    plant(root / "registry" / key / "uses/guest.web", kind, victim)
    # it may be one
    assert in_time(lambda: store.uses(key)) == {"guest.web": {}}
    assert "guest web" in str(in_time(lambda: site(root).remove("image", "debian")))
    said = str(in_time(lambda: store.use(key, "guest.web", {"disk": "images/web.img"})))
    assert said == ("%s/registry/%s/uses/guest.web: it is no file, but a link or something else that does not belong there. "
                    "Find out who put it there, and remove it" % (root, key))
    untouched(victim)


# what an image has is not asked, only that it is a file: it may have a second name
@pytest.mark.parametrize("name, kind", [(name, kind) for name in ("about.json", "root.img") for kind in KINDS if (name, kind) != ("root.img", "hard link")])
def test_a_file_of_the_registry_that_is_none(root, folder, victim, name, kind):
    key = register(root, folder)["id"]
    plant(root / "registry" / key / name, kind, victim)
    said = str(in_time(lambda: site(root).listing("image")))
    assert said.startswith("%s/registry/%s/%s: it is no file, but a link" % (root, key, name))
    untouched(victim)


@pytest.mark.parametrize("name", ["registry", "registry/names", "registry/names/image", "registry/{key}", "registry/{key}/uses"])
@pytest.mark.parametrize("kind", ["link", "link to a directory", "FIFO"])
def test_a_directory_of_the_registry_that_is_none(root, folder, victim, name, kind):
    key = register(root, folder)["id"]
    name = name.format(key=key)
    plant(root / name, kind, victim)
    (folder / "root.img").write_bytes(sample.ext4(label=b"other"))
    calls = {"register": lambda: register(root, folder), "remove": lambda: site(root).remove("image", key), "list": lambda: site(root).listing("image"),
             "use": lambda: NfsStore(str(root)).use(key, "guest.web", {})}
    said = {what: str(in_time(call)) for what, call in calls.items()}
    assert any("%s/%s: it is no directory, but a link or something else" % (root, name) in text for text in said.values()), said
    untouched(victim)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", [".part-evil-1-x", ".part-evil-1-x/lock", ".new-evil"])
def test_what_is_planted_as_a_workspace(root, folder, victim, name, kind):
    register(root, folder)
    (root / "registry/.part-evil-1-x").mkdir()
    plant(root / "registry" / name, kind, victim)
    in_time(lambda: register(root, folder, name="other"))
    untouched(victim)
    if "/" not in name and kind != "directory":
        assert not os.path.lexists(root / "registry" / name)


def test_a_name_leads_to_an_id_of_its_kind_alone(root, folder):
    done = register(root, folder)
    for name, target in (("odd", "/etc/passwd"), ("kernel", "../../" + done["record"]["kernel"]), ("newline", "../../" + done["id"] + "\n")):
        (root / "registry/names/image" / name).symlink_to(target)
    assert site(root).storage.names("image") == {"debian": done["id"]}
    assert site(root).find("image", "odd") is None


@pytest.mark.parametrize("content", [
    "{}", "[]", "null", '"x"', '{"kind": "kernel", "digest": "d", "created": "2026"}', '{"kind": "image", "digest": 1}', "\xff"])
def test_a_record_that_is_none(root, folder, content):
    key = register(root, folder)["id"]
    (root / "registry" / key / "about.json").write_bytes(content.encode("latin-1"))
    with pytest.raises(RegistryError, match="about.json is damaged .*remove its directory and register it again"):
        site(root).listing("image")


def test_a_use_for_a_disk_outside_of_the_store_is_not_looked_for(root, folder):
    key = register(root, folder)["id"]
    for name, disk in (("a", "../victim"), ("b", 7), ("c", ["x"])):
        (root / "registry" / key / "uses" / ("guest." + name)).write_text(json.dumps({"disk": disk}), encoding="ascii")
    assert sorted(NfsStore(str(root)).uses(key)) == ["guest.a", "guest.b", "guest.c"]


@pytest.mark.parametrize("mode", [0o777, 0o775, 0o1777])
def test_a_store_that_others_can_write_to_is_refused(root, folder, mode):
    root.chmod(mode)
    with pytest.raises(RegistryError, match=r"can be written to by others than its owner \(mode %04o\), and whoever .*Make it root's, mode 0755" % mode):
        register(root, folder)


def test_somebody_elses_store_is_refused(root, folder, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 4242)
    if root.stat().st_uid:
        with pytest.raises(RegistryError, match="belongs to user"):
            register(root, folder)
    else:
        os.chown(root, 4243, -1)
        with pytest.raises(RegistryError, match="belongs to user 4243, and whoever"):
            register(root, folder)


# --- removals that break off ------------------------------------------------------

def needed_late(root, monkeypatch, then):
    """A guest's use comes between the question and the removal; then the remover fails."""
    rename = os.rename

    def late(origin, target):
        key = os.path.basename(origin)
        if key.startswith("emi-") and ".part-" not in origin and os.path.basename(target) == key:
            monkeypatch.setattr(os, "rename", rename)
            (root / "registry" / key / "uses/guest.late").write_text('{"disk": "images/late.qcow2"}', encoding="ascii")
            (root / "images/late.qcow2").write_text("disk", encoding="ascii")
            rename(origin, target)
            then()
        else:
            rename(origin, target)

    monkeypatch.setattr(os, "rename", late)


def test_what_a_killed_removal_took_away_comes_back_if_it_is_needed(root, folder, monkeypatch):
    done = register(root, folder)
    pid = os.fork()
    if not pid:
        needed_late(root, monkeypatch, lambda: os.kill(os.getpid(), signal.SIGKILL))
        site(root).remove("image", "debian")
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == signal.SIGKILL
    assert site(root).find("image", "debian") is None
    # whoever comes next, with whatever
    register(root, folder / "vmlinuz", "kernel", "other")
    assert site(root).find("image", "debian")["id"] == done["id"]
    assert list(site(root).storage.uses(done["id"])) == ["guest.late"]
    assert list(site(root).storage.uses(done["record"]["kernel"])) == ["image." + done["id"]]
    assert [name for name in os.listdir(root / "registry") if name.startswith(".")] == []


def test_what_a_killed_removal_took_away_goes_if_nobody_needs_it(root, folder, monkeypatch):
    key = register(root, folder)["id"]
    pid = os.fork()
    if not pid:
        monkeypatch.setattr(os, "rmdir", lambda path, **more: os.kill(os.getpid(), signal.SIGKILL) if path.endswith("/uses") else None)
        site(root).remove("image", "debian")
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == signal.SIGKILL
    register(root, folder / "vmlinuz", "kernel", "other")
    assert not [name for name in os.listdir(root / "registry") if name.startswith(".") or name == key]


def test_what_a_failed_removal_took_away_comes_back_at_once(root, folder, monkeypatch):
    key, rmdir = register(root, folder)["id"], os.rmdir

    def broken(path, **more):
        if path.endswith("/uses"):
            raise OSError(5, "Input/output error")
        rmdir(path, **more)

    monkeypatch.setattr(os, "rmdir", broken)
    needed_late(root, monkeypatch, lambda: None)
    with pytest.raises(RegistryError, match="it was not removed: Input/output error"):
        site(root).remove("image", "debian")
    assert site(root).find("image", "debian")["id"] == key
    assert list(site(root).storage.uses(key)) == ["guest.late"]


def test_what_cannot_come_back_now_is_kept_for_later(root, folder, monkeypatch):
    key, rename, rmdir = register(root, folder)["id"], os.rename, os.rmdir
    needed_late(root, monkeypatch, lambda: monkeypatch.setattr(os, "rename", broken))

    def broken(origin, target):
        raise OSError(5, "Input/output error")

    with pytest.raises(RegistryError, match="it was not removed: Input/output error"):
        site(root).remove("image", "debian")
    monkeypatch.setattr(os, "rename", rename)
    assert (os.rmdir, site(root).find("image", "debian")) == (rmdir, None)
    # by another process, which does not share the locks of this one
    subprocess.run([sys.executable, "-c", REGISTER, str(UNIT), str(root), str(folder / "vmlinuz")], check=True)
    assert site(root).find("image", "debian")["id"] == key


REGISTER = """
import sys
sys.path.insert(0, sys.argv[1])
import checkout
from ansible_collections.our.cloud.plugins.module_utils._registry import registration
from ansible_collections.our.cloud.plugins.module_utils._registry.open import open_registry
open_registry({"store": sys.argv[2]}, False).register("other", registration.parts_of("kernel", {}, sys.argv[3]), "me", None)
"""


def test_what_was_registered_again_while_it_was_away_gets_the_uses_of_both(root, folder, monkeypatch):
    key = register(root, folder)["id"]
    guest(root, key)
    (root / "images/our-vm.qcow2").unlink()

    def again():
        assert register(root, folder)["id"] == key
        guest(root, key, "new", "images/new.qcow2")

    needed_late(root, monkeypatch, again)
    with pytest.raises(RegistryError, match="needed by guest late .*guest new"):
        site(root).remove("image", "debian")
    assert sorted(site(root).storage.uses(key)) == ["guest.late", "guest.new"]
    assert site(root).find("image", "debian")["id"] == key
    assert [name for name in os.listdir(root / "registry") if name.startswith(".")] == []


def test_an_image_without_its_kernel_comes_back_all_the_same(root, folder, monkeypatch):
    """Guests' disks are based on it; what they boot is gone by force."""
    done = register(root, folder)
    needed_late(root, monkeypatch, lambda: site(root).remove("kernel", done["record"]["kernel"], True))
    with pytest.raises(RegistryError, match="needed by guest late"):
        site(root).remove("image", "debian")
    assert site(root).find("image", "debian")["id"] == done["id"] and site(root).find("kernel", "debian") is None


def test_no_room_is_told_of_no_store(tmp_path):
    assert NfsStore(str(tmp_path / "none"), True).room() is None
    assert NfsStore(str(tmp_path), True).room()["promised"] == 0


def module(root, check_mode=False, **params):
    """A module of the registry, as registration.run sees it."""
    usual = {"name": "debian", "path": None, "state": "present", "owner": "me", "force": False, "store": str(root), "parts": None, "pack": None}
    return types.SimpleNamespace(params={**usual, **params}, check_mode=check_mode, _diff=True)


def test_what_the_modules_do(root, folder):
    done = registration.run(module(root, path=str(folder)), "image")
    assert done["file"] == str(root / "registry" / done["id"] / "root.img") and done["registered"]["owner"] == "me"
    assert done["diff"]["before_header"] == done["diff"]["after_header"] == "image debian"
    assert done["diff"]["before"] == "" and f"id: {done['id']}\n" in done["diff"]["after"]
    again = registration.run(module(root, path=str(folder)), "image")
    assert not again["changed"] and again["diff"]["before"] == again["diff"]["after"]
    checked = registration.run(module(root, True, state="absent"), "image")
    gone = registration.run(module(root, state="absent"), "image")
    assert checked["actions"] == gone["actions"] and gone["changed"] and gone["diff"] == {**done["diff"], "before": done["diff"]["after"], "after": ""}
    assert not registration.run(module(root, state="absent"), "image")["changed"]
    assert [site(root).listing(kind) for kind in ("image", "kernel", "ramdisk")] == [[], [], []]


def test_a_directory_has_its_own_kernel(folder):
    with pytest.raises(RegistryError, match="is a directory, whose kernel and ramdisk are registered with it; leave kernel and ramdisk out"):
        registration.parts_of("image", {"kernel": "eki-1"}, str(folder))


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
