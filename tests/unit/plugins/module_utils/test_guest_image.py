# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Guests of images: what they boot, the disks they get, and what keeps their images from being removed."""

from __future__ import annotations

import os
import pathlib
import subprocess

import boot_samples as sample
import pytest

from ansible_collections.our.cloud.plugins.module_utils._common import sparse
from ansible_collections.our.cloud.plugins.module_utils._registry import registration
from ansible_collections.our.cloud.plugins.module_utils._vm import guest_image
from ansible_collections.our.cloud.plugins.module_utils._vm.guest_image import GuestImage
from ansible_collections.our.cloud.plugins.module_utils._registry.nfs_store import NfsStore
from ansible_collections.our.cloud.plugins.module_utils._site.store import MARKER
from ansible_collections.our.cloud.plugins.module_utils._registry.registry import Registry
from ansible_collections.our.cloud.plugins.module_utils._registry.storage import Gone, RegistryError

PARAMS = {"name": "our-vm", "kind": "kvm", "image": "debian", "disk": None, "kernel": None, "ramdisk": None, "arch": None, "cmdline": None}


@pytest.fixture(autouse=True)
def fixture_no_waiting(monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    monkeypatch.setattr(os, "fdatasync", lambda descriptor: None)


@pytest.fixture(name="root")
def fixture_root(tmp_path):
    root = tmp_path / "store"
    (root / "images").mkdir(parents=True)
    (root / MARKER).write_text("uuid\n", encoding="ascii")
    return root


@pytest.fixture(name="qemu_img", autouse=True)
def fixture_qemu_img(monkeypatch):
    """Instead of the program, which need not be on every machine: notes what it was asked, and makes the file."""
    asked = []

    def run(argv, **dummy):
        asked.append(argv)
        pathlib.Path(argv[-1]).write_bytes(b"QFI\xfb overlay of " + argv[-2].encode())
        return subprocess.CompletedProcess(argv, 0, "", "")

    monkeypatch.setattr(subprocess, "run", run)
    return asked


def put(root, label=b"root", name="debian", **params):
    """Register an image; its id."""
    folder = root.parent / "built"
    folder.mkdir(exist_ok=True)
    (folder / "vmlinuz").write_bytes(sample.bzimage())
    (folder / "initrd.img").write_bytes(sample.cpio())
    (folder / "root.img").write_bytes(sample.ext4(16 << 20, label=label))
    parts = registration.parts_of("image", params, str(folder))
    return site(root).register(name, parts, "me", None)["id"]


def site(root):
    return Registry(NfsStore(str(root)))


def guest(root, family="qemu", **params):
    return GuestImage(site(root), dict(PARAMS, **params), family)


def run(root, family="qemu", **params):
    """As the module vm does it; what it does."""
    found = guest(root, family, **params)
    full = found.described()
    done = ["use " + key for key in found.wants(full)]
    if done:
        found.take(full)
    if found.is_new():
        done.append("disk")
        found.make_disk()
    for key in found.surplus(full):
        done.append("give up " + key)
        found.give_up(key)
    return done


def needed(root, key):
    return sorted(NfsStore(str(root)).uses(key))


def test_on_kvm(root, qemu_img):
    key = put(root, root_device="LABEL=root", cmdline="quiet")
    record = site(root).find("image", "debian")
    found = guest(root)
    full = found.described()
    assert {name: getattr(full, name) for name in ("arch", "kernel", "ramdisk", "disk", "root_device", "append", "cmdline")} == {
        "arch": "amd64", "kernel": str(root / "registry" / record["kernel"] / "vmlinuz"), "ramdisk": str(root / "registry" / record["ramdisk"] / "initrd.img"),
        "disk": str(root / "images/our-vm.qcow2"), "root_device": "LABEL=root", "append": "quiet", "cmdline": None}
    assert run(root) == ["use " + key, "disk"]
    assert qemu_img[0][:8] == ["qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b"]
    assert qemu_img[0][8] == str(root / "registry" / key / "root.img")
    assert run(root) == []
    assert os.listdir(root / "images") == ["our-vm.qcow2"]
    assert (root / "images/our-vm.qcow2").stat().st_mode & 0o777 == 0o600
    about = NfsStore(str(root)).uses(key)["guest.our-vm"]
    assert (about["disk"], about["image"]) == ("images/our-vm.qcow2", "debian")


def test_on_xen(root, qemu_img):
    key = put(root)
    assert run(root, "xen") == ["use " + key, "disk"]
    assert run(root, "xen") == [] and qemu_img == []
    disk = root / "images/our-vm.img"
    assert disk.read_bytes() == (root.parent / "built/root.img").read_bytes()
    assert disk.stat().st_blocks * 512 < 1 << 20
    assert os.listdir(root / "images") == ["our-vm.img"]


def test_the_disks_name_decides(root, qemu_img):
    key = put(root)
    assert run(root, disk="images/db.img") == ["use " + key, "disk"]
    assert qemu_img == [] and (root / "images/db.img").exists()
    assert needed(root, key) == ["guest.our-vm"]


def test_by_id(root):
    key = put(root)
    assert guest(root, image=key).record["id"] == key


def test_what_the_guest_says_counts_for_more(root):
    put(root)
    full = guest(root, kernel="boot/vmlinuz", cmdline="root=/dev/vda").described()
    assert (full.kernel, full.ramdisk, full.cmdline) == ("boot/vmlinuz", None, "root=/dev/vda")


def test_an_existing_disk_is_left_alone(root, qemu_img):
    """Of a site of an earlier version."""
    key = put(root)
    (root / "images/our-vm.img").write_text("mine", encoding="ascii")
    assert guest(root).disk == str(root / "images/our-vm.img")
    assert run(root) == ["use " + key]
    assert run(root) == [] and qemu_img == []
    assert (root / "images/our-vm.img").read_text(encoding="ascii") == "mine"


def test_a_disk_that_appears_meanwhile_is_left_alone(root, monkeypatch):
    put(root)
    clone = sparse.clone

    def late(*arguments):
        (root / "images/our-vm.img").write_text("mine", encoding="ascii")
        clone(*arguments)

    monkeypatch.setattr(sparse, "clone", late)
    run(root, "xen")
    assert (root / "images/our-vm.img").read_text(encoding="ascii") == "mine"
    assert os.listdir(root / "images") == ["our-vm.img"]


def test_a_disk_for_kvm_is_not_for_xen(root):
    put(root)
    run(root)
    with pytest.raises(RegistryError, match="is one for KVM, and Xen takes raw ones. Convert it .qemu-img convert"):
        guest(root, "xen")


def test_a_guest_stays_with_its_image_when_the_name_moves(root):
    old = put(root)
    run(root)
    new = put(root, label=b"new")
    assert new != old and guest(root).record["id"] == old
    assert run(root) == []
    assert guest(root, name="other").record["id"] == new
    # made anew
    (root / "images/our-vm.qcow2").unlink()
    assert run(root) == ["use " + new, "disk"]
    assert (needed(root, old), needed(root, new)) == ([], ["guest.our-vm"])


def test_another_image_is_not_put_over_a_disk(root):
    old = put(root)
    run(root)
    new = put(root, label=b"new", name="other")
    for image in ("other", new):
        with pytest.raises(RegistryError, match="its disk images/our-vm.qcow2 was made from %s .debian. and is never written over. Say that image" % old):
            guest(root, image=image)
    assert guest(root, image=old).record["id"] == old
    # with another disk it is another matter
    assert run(root, image="other", disk="images/second.qcow2") == ["use " + new, "disk"]
    assert (needed(root, old), needed(root, new)) == (["guest.our-vm"], ["guest.our-vm"])


def test_no_such_image(root):
    put(root)
    with pytest.raises(RegistryError, match="there is no image none in the registry; there are: debian"):
        guest(root, image="none")


def test_wrong_architecture(root):
    put(root)
    with pytest.raises(RegistryError, match="guest our-vm: image debian is for amd64, not for arm64"):
        guest(root, arch="arm64").described()


def test_when_the_guest_is_gone(root):
    key = put(root)
    run(root)
    # its disk is there, and made of the image
    assert guest(root, image=None).surplus() == []
    (root / "images/our-vm.qcow2").unlink()
    assert guest(root, image=None).used == {}
    assert needed(root, key) == []


def test_a_kernel_of_the_registry(root):
    put(root)
    record = site(root).find("image", "debian")
    ids = {"image": None, "kernel": record["kernel"], "ramdisk": record["ramdisk"]}
    full = guest(root, **ids).described()
    assert full.kernel == str(root / "registry" / record["kernel"] / "vmlinuz")
    assert run(root, **ids) == ["use " + record["kernel"], "use " + record["ramdisk"]]
    assert run(root, image=None, kernel=full.kernel, ramdisk=full.ramdisk) == []
    assert "guest.our-vm" in needed(root, record["kernel"])
    # another kernel, and then nothing of it
    assert run(root, image=None, kernel="boot/vmlinuz") == ["give up " + record["kernel"], "give up " + record["ramdisk"]]
    run(root, **ids)
    assert sorted(guest(root, image=None).surplus()) == sorted([record["kernel"], record["ramdisk"]])
    with pytest.raises(RegistryError, match="there is no kernel eki-0123456789ab"):
        guest(root, image=None, kernel="eki-0123456789ab").described()


def test_the_image_is_removed_while_the_disk_is_made(root, monkeypatch):
    """The use stands for nothing until there is a disk, and whoever removes the image passes over it."""
    put(root)
    link = os.link

    def late(origin, target):
        assert site(root).remove("image", "debian")["changed"]
        link(origin, target)

    monkeypatch.setattr(os, "link", late)
    with pytest.raises(Gone):
        run(root)
    assert os.listdir(root / "images") == []


def test_no_qemu_img(root, monkeypatch):
    put(root)

    def missing(*dummy, **dummy2):
        raise FileNotFoundError

    monkeypatch.setattr(subprocess, "run", missing)
    with pytest.raises(RegistryError, match="qemu-img is missing. Install qemu-utils"):
        run(root)
    monkeypatch.setattr(subprocess, "run", lambda argv, **dummy: subprocess.CompletedProcess(argv, 1, "", "no such thing\n"))
    with pytest.raises(RegistryError, match="its disk cannot be made: no such thing"):
        run(root)
    assert os.listdir(root / "images") == []


def test_full(root, monkeypatch):
    class Full:
        f_bavail, f_frsize = 1, 1 << 20
    put(root)
    monkeypatch.setattr(os, "statvfs", lambda path: Full)
    for family in ("qemu", "xen"):
        with pytest.raises(RegistryError, match="images has 1 MiB free and 1[67] MiB are needed"):
            run(root, family)
    assert os.listdir(root / "images") == []


def test_no_directory(root):
    put(root)
    with pytest.raises(RegistryError, match="there is no directory .*/other for its disk"):
        run(root, disk="other/x.img")


def test_disks_are_where_they_were():
    assert guest_image.DISKS == "images"
