# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of the registry do again and again: build, register, look."""

from __future__ import annotations

import os

import boot_samples as sample
import pytest

from ansible_collections.our.cloud.plugins.module_utils._boot.sources import BootFileError
from ansible_collections.our.cloud.plugins.module_utils._common import sparse
from ansible_collections.our.cloud.plugins.module_utils._registry import registration
from ansible_collections.our.cloud.plugins.module_utils._registry.nfs_store import NfsStore
from ansible_collections.our.cloud.plugins.module_utils._registry.registry import Registry
from ansible_collections.our.cloud.plugins.module_utils._registry.storage import RegistryError

OWN_CONFIG = "CONFIG_XEN_BLKDEV_FRONTEND=%s\nCONFIG_VIRTIO_BLK=%s\nCONFIG_VIRTIO_PCI=y\nCONFIG_EXT4_FS=y\n"
FACTS = dict.fromkeys(("arch", "kernel", "ramdisk", "root_device", "cmdline"))


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


def registry_checksum(path):
    with sparse.FileSource(str(path)) as source:
        return sparse.checksum(source)


def refused(root, reason, *arguments, **params):
    for check_mode in (True, False):
        before = tree(root)
        with pytest.raises((RegistryError, BootFileError), match=reason):
            register(root, *arguments, check_mode=check_mode, **params)
        assert tree(root) == before


def leftovers(root):
    """What is on its way into the registry or out of it."""
    return [name for name in os.listdir(root / "registry") if name.startswith(".")]
