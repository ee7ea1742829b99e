# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is not registered, as it would not boot or does not fit; nothing of it stays."""

from __future__ import annotations

import errno
import os
import resource
import signal

import boot_samples as sample
import pytest
from registry_samples import OWN_CONFIG, build, leftovers, refused, register, site, tree

from ansible_collections.our.cloud.plugins.module_utils._registry import nfs_store
from ansible_collections.our.cloud.plugins.module_utils._registry.storage import RegistryError
from ansible_collections.our.cloud.plugins.module_utils._site.store import MARKER


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
    ("vmlinuz", sample.compress("gzip", sample.image())[:-20], "kernel .*vmlinuz is cut short: gzip data ends before its end"),
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
    ({"name": "debian\n"}, "is not letters"),
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


def test_an_id_of_another_kind_is_none(root, folder):
    key = register(root, folder / "initrd.img", "ramdisk", "r")["id"]
    assert site(root).find("ramdisk", key) and site(root).find("kernel", key) is None and site(root).find("image", key) is None
    refused(root, f"there is no kernel {key} in the registry", folder / "root.img", kernel=key)


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
    assert leftovers(root) == []


def test_a_disk_for_large_sectors(root, folder):
    """Guests' disks have those of 512 bytes, so neither a BIOS nor Linux would find its partitions."""
    (folder / "root.img").write_bytes(sample.gpt(sector=4096))
    why = r"image .*root.img is a partitioned disk \(GPT\) for sectors of 4096 bytes, and guests' disks have 512: they would not see its partitions"
    refused(root, why, folder)
    for name in ("vmlinuz", "initrd.img"):
        (folder / name).unlink()
    refused(root, why, folder)


# --- a store with an error ------------------------------------------------------

def test_an_image_that_cannot_be_put_in_its_place(root, folder, monkeypatch):
    rename = os.rename

    def broken(origin, target):
        if os.path.basename(target).startswith("emi-"):
            raise OSError(errno.EIO, "Input/output error")
        rename(origin, target)

    monkeypatch.setattr(os, "rename", broken)
    with pytest.raises(RegistryError, match=r"store/registry cannot be written, nothing was registered: Input/output error$"):
        register(root, folder)
    assert site(root).find("image", "debian") is None


def test_a_store_that_is_read_only_has_not_lost_what_is_in_it(root, folder, monkeypatch):
    key = register(root, folder)["id"]
    opened = os.open

    def read_only(path, flags, *more, **also):
        if flags & os.O_CREAT:
            raise OSError(errno.EROFS, "Read-only file system")
        return opened(path, flags, *more, **also)

    monkeypatch.setattr(os, "open", read_only)
    with pytest.raises(OSError, match="Read-only file system"):
        site(root).storage.use(key, "guest.web", {"disk": "images/web.qcow2"})


def test_an_id_that_is_taken_by_something_else(root, folder, monkeypatch):
    """Two checksums with the same beginning."""
    key = register(root, folder / "initrd.img", "ramdisk", "r")["id"]
    monkeypatch.setattr(nfs_store, "keys", lambda kind, digest: [key])
    (folder / "initrd.img").write_bytes(sample.compress("gzip", sample.cpio() + bytes(512)))
    with pytest.raises(RegistryError, match=f"id {key} is taken by something else; look into {root}/registry"):
        register(root, folder / "initrd.img", "ramdisk", "other")
    assert site(root).find("ramdisk", "other") is None
