# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is removed, what stays because it is needed, and what is listed."""

from __future__ import annotations

import os
import pathlib

import boot_samples as sample
import pytest
from registry_samples import build, guest, register, site, tree

from ansible_collections.our.cloud.plugins.module_utils._registry import storage
from ansible_collections.our.cloud.plugins.module_utils._registry.nfs_store import NfsStore
from ansible_collections.our.cloud.plugins.module_utils._registry.storage import Gone, RegistryError


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
