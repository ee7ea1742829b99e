# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The registry's images in Glance: a registry in a directory, and a Glance that is a dictionary with Glance's rules."""

from __future__ import annotations

import contextlib
import io
import json
import os
import types

import boot_samples as sample
import pytest

from ansible_collections.our.cloud.plugins.module_utils._cloud import glance, glance_api
from ansible_collections.our.cloud.plugins.module_utils._common.errors import CloudError
from ansible_collections.our.cloud.plugins.module_utils._guest.arch import ARCHES
from ansible_collections.our.cloud.plugins.module_utils._registry import registration
from ansible_collections.our.cloud.plugins.module_utils._registry.nfs_store import NfsStore
from ansible_collections.our.cloud.plugins.module_utils._registry.registry import Registry
from ansible_collections.our.cloud.plugins.module_utils._registry.storage import RegistryError
from ansible_collections.our.cloud.plugins.module_utils._site.store import MARKER

OURS, THEIRS = "project-service", "project-demo"


class ToyGlance:
    """Glance's rules: an id is never given twice, what is protected stays, what is announced has no content."""

    project = OURS

    def __init__(self):
        self.all, self.used, self.asked, self.content, self.full = {}, set(), [], {}, False
        self.instances, self.disks = [], []

    def images(self):
        return [dict(image) for image in self.all.values()]

    def servers(self):
        return self.instances

    def volumes(self):
        return self.disks

    def create(self, body):
        if body["id"] in self.used:
            raise glance.Taken(body["id"])
        self.used.add(body["id"])
        self.all[body["id"]] = dict({"owner": OURS}, **body, status="queued", created_at="2026-01-01T00:00:%02dZ" % len(self.used))
        self.asked.append(("create", body[glance.ID]))

    def upload(self, image, path):
        if self.full:
            raise CloudError("", path, "full")
        with open(path, "rb") as file:
            self.content[image] = file.read()
        self.all[image]["status"] = "active"

    def update(self, image, changes):
        self.asked.append(("update", self.all[image].get(glance.ID), changes))
        for key, value in changes.items():
            if value is None:
                del self.all[image][key]
            else:
                self.all[image][key] = value

    def delete(self, image):
        assert not self.all[image]["protected"]
        self.asked.append(("delete", self.all.pop(image).get(glance.ID)))
        self.content.pop(image, None)

    def stored(self):
        return set(self.content) | {"somebody's"}

    def drop(self, name):
        self.content.pop(name)

    def of(self, key):
        """The image of one of our ids."""
        return next(image for image in self.all.values() if image.get(glance.ID) == key and image["owner"] == OURS)


@pytest.fixture(autouse=True)
def fixture_no_waiting(monkeypatch):
    """For the disk: nothing here outlives the test."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    monkeypatch.setattr(os, "fdatasync", lambda descriptor: None)


@pytest.fixture(autouse=True)
def fixture_no_openstacksdk(monkeypatch):
    """Whose errors these tests have no need of."""
    monkeypatch.setattr(glance_api, "speaking", lambda *dummy: contextlib.nullcontext())


@pytest.fixture(name="registry")
def fixture_registry(tmp_path):
    root = tmp_path / "store"
    root.mkdir()
    (root / MARKER).write_text("uuid\n", encoding="ascii")
    return Registry(NfsStore(str(root)))


@pytest.fixture(name="toy")
def fixture_toy():
    return ToyGlance()


def register(registry, folder, name="debian", kernel=None, disk=None, ramdisk=True, **params):
    """The ids of kernel, ramdisk and image."""
    folder.mkdir(exist_ok=True)
    (folder / "vmlinuz").write_bytes(kernel or sample.bzimage())
    if ramdisk:
        (folder / "initrd.img").write_bytes(sample.compress("gzip", sample.cpio()))
    (folder / "root.img").write_bytes(disk or sample.ext4())
    record = registry.register(name, registration.parts_of("image", params, str(folder)), "me", {"recipe": "small", "hash": "1"})["record"]
    return [record["kernel"], record["ramdisk"], record["id"]]


def whole(registry, path, disk, name="whole"):
    path.write_bytes(disk)
    return registry.register(name, registration.parts_of("image", {}, str(path)), "me", None)["id"]


def feed(toy, registry, check_mode=False, is_unsafe=lambda path: None, room=lambda path: None):
    return glance.Feeder(toy, registry, room, is_unsafe, check_mode).run()


def test_ids_are_the_same_everywhere():
    assert glance.glance_ids("eki-8b44c049cf81")[:2] == ["2b349ef2-82b4-5a26-b8e9-7e635ab20390", "eea0c392-d45a-53a2-95a1-6af68a3ce028"]
    assert len(set(glance.glance_ids("emi-0f3a5c771e20"))) == glance.ROW


@pytest.mark.parametrize("debian, more", [
    ("amd64", {"hw_architecture": "x86_64", "hw_machine_type": "q35"}),
    ("i386", {"hw_architecture": "x86_64", "hw_machine_type": "q35"}),
    ("armel", {"hw_architecture": "armv7l", "hw_machine_type": "virt"}),
    ("armhf", {"hw_architecture": "armv7l", "hw_machine_type": "virt"}),
    ("arm64", {"hw_architecture": "aarch64", "hw_machine_type": "virt"}),
])
def test_what_nova_is_told_of_an_architecture(debian, more):
    arm = {"hw_firmware_type": "uefi" if debian == "arm64" else "bios", "hw_cdrom_bus": "scsi", "hw_scsi_model": "virtio-scsi",
           "hw_video_model": "none"} if debian.startswith("arm") else {}
    assert glance.of_arch(ARCHES[debian]) == {"hw_disk_bus": "virtio", "hw_vif_model": "virtio", **more, **arm}


def test_every_architecture_is_told_of():
    assert all(glance.of_arch(row)["hw_architecture"] for row in ARCHES.values())


def test_a_triple(toy, registry, tmp_path):
    kernel, ramdisk, image = keys = register(registry, tmp_path / "built", cmdline="quiet")
    told = feed(toy, registry, check_mode=True)
    assert (toy.asked, told["actions"]) == ([], ["upload " + key for key in keys])
    done = feed(toy, registry)
    assert (done["changed"], done["actions"], done["ids"]) == (True, told["actions"], told["ids"])
    assert done["ids"] == {key: glance.glance_ids(key)[0] for key in sorted(keys)}
    common = {"protected": True, "visibility": "public", "os_hidden": False, "tags": ["our-cloud"], "our_cloud_names": "debian",
              "our_cloud_recipe": "small", "status": "active", "owner": OURS}
    for key, form in ((kernel, "aki"), (ramdisk, "ari")):
        found = toy.of(key)
        assert found == {**common, "id": done["ids"][key], "name": key, "disk_format": form, "container_format": form, "min_disk": 0, "our_cloud_id": key,
                         "created_at": found["created_at"]}
    assert toy.of(image) == {
        **common, "id": done["ids"][image], "name": "debian", "disk_format": "ami", "container_format": "ami", "min_disk": 1, "our_cloud_id": image,
        "kernel_id": done["ids"][kernel], "ramdisk_id": done["ids"][ramdisk], "os_command_line": "root=/dev/vda ro console=ttyS0 quiet", "os_type": "linux",
        "hw_architecture": "x86_64", "hw_machine_type": "q35", "hw_disk_bus": "virtio", "hw_vif_model": "virtio", "created_at": toy.of(image)["created_at"]}
    assert toy.content[done["ids"][image]] == (tmp_path / "built/root.img").read_bytes()
    toy.asked.clear()
    for check_mode in (True, False):
        assert feed(toy, registry, check_mode)["actions"] == []
    assert toy.asked == []


def test_names_move_and_what_has_none_is_hidden(toy, registry, tmp_path):
    first = register(registry, tmp_path / "one")[2]
    feed(toy, registry)
    second = register(registry, tmp_path / "two", disk=sample.ext4(2 << 20))[2]
    done = feed(toy, registry)
    assert done["actions"] == ["update %s: name, os_hidden, our_cloud_names" % first, "upload %s" % second]
    assert (toy.of(first)["name"], toy.of(first)["os_hidden"], glance.NAMES in toy.of(first)) == (first, True, False)
    assert (toy.of(second)["name"], toy.of(second)["os_hidden"], toy.of(second)[glance.NAMES]) == ("debian", False, "debian")
    registry.register("also", registration.parts_of("image", {}, str(tmp_path / "one")), "me", None)
    feed(toy, registry)
    assert (toy.of(first)["name"], toy.of(first)["os_hidden"]) == ("also", False)


def test_what_has_no_name_and_is_not_there_stays_in_the_registry(toy, registry, tmp_path):
    """Guests that were made of it have it already; a kernel without a name may be that of an image with one."""
    register(registry, tmp_path / "one")
    kernel, ramdisk, image = register(registry, tmp_path / "two", disk=sample.ext4(2 << 20))
    for kind in ("kernel", "ramdisk"):
        registry.storage.drop_name(kind, "debian")
    assert feed(toy, registry)["actions"] == ["upload " + key for key in (kernel, ramdisk, image)]
    assert toy.of(kernel)["os_hidden"] is True


def test_what_somebody_has_changed_by_hand_is_mended(toy, registry, tmp_path):
    image = register(registry, tmp_path / "built")[2]
    feed(toy, registry)
    found = next(each for each in toy.all.values() if each[glance.ID] == image)
    found.update(protected=False, hw_architecture="aarch64", theirs="stays")
    assert feed(toy, registry)["actions"] == ["update %s: hw_architecture, protected" % image]
    assert (toy.of(image)["hw_architecture"], toy.of(image)["protected"], toy.of(image)["theirs"]) == ("x86_64", True, "stays")


def test_an_upload_that_fails_leaves_nothing(toy, registry, tmp_path):
    kernel = register(registry, tmp_path / "built")[0]
    toy.full = True
    with pytest.raises(CloudError, match="full"):
        feed(toy, registry)
    assert toy.all == {}
    # Glance gives the id away no more
    toy.full = False
    assert feed(toy, registry)["ids"][kernel] == glance.glance_ids(kernel)[1]
    assert feed(toy, registry)["changed"] is False


def test_what_does_not_fit_is_not_begun(toy, registry, tmp_path):
    register(registry, tmp_path / "built")

    def refuse(path):
        raise RegistryError("full: " + path)
    with pytest.raises(RegistryError, match="full: .*/vmlinuz"):
        feed(toy, registry, room=refuse)
    assert toy.asked == []


def test_what_a_killed_upload_left_goes(toy, registry, tmp_path):
    kernel, ramdisk, image = register(registry, tmp_path / "built")
    feed(toy, registry)
    toy.all[glance.glance_ids(image)[0]].update(status="saving", protected=False)
    toy.all[glance.glance_ids(kernel)[0]].update(status="queued", protected=True)
    done = feed(toy, registry)
    assert done["actions"] == ["discard %s %s" % (key, glance.glance_ids(key)[0]) for key in (kernel, image)] + ["upload " + kernel, "upload " + image]
    assert {each["status"] for each in toy.all.values()} == {"active"} and len(toy.all) == 3
    assert toy.of(image)["kernel_id"] == glance.glance_ids(kernel)[1]
    assert toy.of(ramdisk)["id"] == glance.glance_ids(ramdisk)[0]


def test_what_glance_has_lost_sight_of_goes(toy, registry, tmp_path):
    kernel = register(registry, tmp_path / "built")[0]
    feed(toy, registry)
    toy.content[glance.glance_ids(kernel)[3]] = b"half"
    gone = ["remove what is left of " + glance.glance_ids(kernel)[3]]
    assert feed(toy, registry, check_mode=True)["actions"] == gone
    assert feed(toy, registry)["actions"] == gone
    assert feed(toy, registry)["changed"] is False
    assert len(toy.content) == 3


def test_another_ones_image_is_none_of_ours(toy, registry, tmp_path):
    """Anybody can take an id, and snapshots have the properties of what they were made of."""
    kernel = register(registry, tmp_path / "built")[0]
    toy.create({"id": glance.glance_ids(kernel)[0], "owner": THEIRS, "tags": ["our-cloud"], glance.ID: kernel, "name": "trap", "protected": False})
    feed(toy, registry)
    assert toy.of(kernel)["id"] == glance.glance_ids(kernel)[1]
    assert toy.all[glance.glance_ids(kernel)[0]]["name"] == "trap"


def test_all_ids_taken(toy, registry, tmp_path):
    kernel = register(registry, tmp_path / "built")[0]
    toy.used.update(glance.glance_ids(kernel))
    with pytest.raises(CloudError, match="%s has been removed there 50 times" % kernel):
        feed(toy, registry)


def test_what_is_needed_cannot_be_removed(toy, registry, tmp_path):
    kernel, ramdisk, image = register(registry, tmp_path / "built")
    feed(toy, registry)
    toy.instances = [glance.User("i1", "web", toy.of(image)["id"]), glance.User("i2", "of a volume", None)]
    toy.disks = [glance.User("v1", "", toy.of(image)["id"])]
    toy.all["s1"] = {"id": "s1", "name": "snap", "owner": THEIRS, "tags": [], "status": "active", "kernel_id": toy.of(kernel)["id"], glance.ID: image,
                     "created_at": "2026-01-02T00:00:00Z", "protected": False}
    done = feed(toy, registry)
    assert (done["changed"], done["actions"], done["noted"]) == (False, [], [kernel, image])
    assert done["needed"] == {kernel: ["snapshot.s1"], image: ["instance.i1", "volume.v1"]}
    assert feed(toy, registry)["noted"] == []
    with pytest.raises(RegistryError, match="is needed by instance web .i1., volume v1. Remove these first"):
        registry.remove("image", "debian")
    toy.instances, toy.disks = [], []
    assert feed(toy, registry)["noted"] == [image]
    # the snapshot boots by this kernel
    assert registry.remove("image", "debian")["actions"] == ["remove " + image, "forget image debian", "forget kernel debian", "remove " + ramdisk,
                                                             "forget ramdisk debian"]
    assert feed(toy, registry)["actions"] == ["update %s: os_hidden, our_cloud_names" % kernel, "remove " + image, "remove " + ramdisk]
    assert {each["id"] for each in toy.all.values()} == {toy.of(kernel)["id"], "s1"}


def test_what_was_taken_by_force_stays_while_it_is_needed(toy, registry, tmp_path):
    kernel, ramdisk, image = register(registry, tmp_path / "built")
    feed(toy, registry)
    toy.instances = [glance.User("i1", "web", toy.of(image)["id"])]
    registry.remove("image", "debian", force=True)
    done = feed(toy, registry)
    assert (done["changed"], done["kept"]) == (False, {image: ["instance.i1"], kernel: ["image." + image], ramdisk: ["image." + image]})
    toy.instances = []
    assert feed(toy, registry)["actions"] == ["remove " + key for key in (image, kernel, ramdisk)]
    assert toy.all == {}


def test_whole_disks(toy, registry, tmp_path):
    good, bad = whole(registry, tmp_path / "good.img", sample.gpt(), "good"), whole(registry, tmp_path / "bad.img", sample.mbr(), "bad")
    done = feed(toy, registry, is_unsafe=lambda path: "gpt: MBR PTE 0 has invalid boot flag" if bad in path else None)
    assert done["left_out"] == {bad: "nova refuses disks like this: gpt: MBR PTE 0 has invalid boot flag. Make a new partition table in it, "
                                     "and register it again"}
    assert (done["actions"], done["ids"]) == (["upload " + good], {good: glance.glance_ids(good)[0]})
    assert (toy.of(good)["disk_format"], toy.of(good)["container_format"], "kernel_id" in toy.of(good)) == ("raw", "bare", False)


def test_an_image_that_boots_on_xen_alone_is_left_out(toy, registry, tmp_path):
    config = "CONFIG_XEN_BLKDEV_FRONTEND=y\nCONFIG_VIRTIO_BLK=m\nCONFIG_VIRTIO_PCI=y\nCONFIG_EXT4_FS=y\n"
    kernel = sample.bzimage(content=sample.inside(config=config))
    keys = register(registry, tmp_path / "built", kernel=kernel, ramdisk=False)
    done = feed(toy, registry)
    assert list(done["left_out"]) == [keys[2]] and "needs a ramdisk and the guest has none" in done["left_out"][keys[2]]


@pytest.mark.parametrize("lpae", [True, False])
def test_a_32_bit_arm_kernel_must_see_the_disks(toy, registry, tmp_path, lpae):
    folder = tmp_path / "built"
    folder.mkdir()
    (folder / "config").write_text("CONFIG_ARCH_VIRT=y\nCONFIG_VIRTIO_MMIO=y\n%sCONFIG_VIRTIO_BLK=y\n" % ("CONFIG_ARM_LPAE=y\n" if lpae else ""),
                                   encoding="ascii")
    image = register(registry, folder, kernel=sample.zimage(), arch="armhf")[2]
    done = feed(toy, registry)
    assert (image in done["left_out"]) is not lpae
    if lpae:
        assert toy.of(image)["os_command_line"] == "root=/dev/vda ro console=ttyAMA0"
    else:
        assert "CONFIG_ARM_LPAE is not set" in done["left_out"][image]


# --- how Glance is asked ----------------------------------------------------------

class Answer(types.SimpleNamespace):
    """A response of an HTTP service."""

    def __init__(self, status, body=None, text=""):
        super().__init__(status_code=status, text=text, json=lambda: body)


class Conn:
    """openstacksdk's Connection: `image` answers from a list."""

    current_project_id = OURS

    def __init__(self, *answers):
        self.answers, self.asked, self.image = list(answers), [], self

    def _ask(self, method, path, **more):
        assert more.pop("raise_exc") is False
        if hasattr(more.get("data"), "read"):
            more["data"] = (len(more["data"]), more["data"].read(), more["data"].read())
        self.asked.append((method, path, more))
        return self.answers.pop(0)

    def __getattr__(self, method):
        return lambda path, **more: self._ask(method, path, **more)


def test_pages_and_hidden_images():
    conn = Conn(Answer(200, {"images": [{"id": "a"}], "next": "/v2/images?limit=500&marker=a"}), Answer(200, {"images": [{"id": "b"}]}),
                Answer(200, {"images": [{"id": "c"}]}))
    assert [image["id"] for image in glance_api.Glance(conn, "/nowhere").images()] == ["a", "b", "c"]
    assert [path for dummy, path, dummy in conn.asked] == [
        "/images?limit=500&visibility=all&os_hidden=false", "/images?limit=500&marker=a", "/images?limit=500&visibility=all&os_hidden=true"]


def test_upload(tmp_path):
    path = tmp_path / "vmlinuz"
    path.write_bytes(b"kernel")
    for hashed, good in ((None, True), ("another", False)):
        reading = glance_api.Reading(io.BytesIO(b"kernel"))
        reading.read()
        conn = Conn(Answer(204), Answer(200, {"os_hash_algo": "sha512", "os_hash_value": hashed or reading.hash.hexdigest()}))
        if good:
            glance_api.Glance(conn, "/nowhere").upload("id", str(path))
        else:
            with pytest.raises(CloudError, match="Glance received something else than was sent"):
                glance_api.Glance(conn, "/nowhere").upload("id", str(path))
        assert conn.asked[0] == ("put", "/images/id/file", {"data": (6, b"kernel", b""), "headers": {"Content-Type": "application/octet-stream"}})


def test_a_full_store(tmp_path):
    path = tmp_path / "vmlinuz"
    path.write_bytes(b"kernel")
    conn = Conn(Answer(413, text="<html><title>413 Request Entity Too Large</title><body>Image storage media is full: <br /><br /></body></html>"))
    with pytest.raises(CloudError, match="store is full, and nothing of it was kept .413 Request Entity Too Large Image storage media is full:.. Remove"):
        glance_api.Glance(conn, "/nowhere").upload("id", str(path))


def test_changes_are_a_patch():
    assert glance_api.patch({"name": "x", "os_command_line": "y", "our_cloud_names": None}) == [
        {"op": "replace", "path": "/name", "value": "x"}, {"op": "add", "path": "/os_command_line", "value": "y"},
        {"op": "remove", "path": "/our_cloud_names"}]


def test_an_id_that_is_taken():
    with pytest.raises(glance.Taken):
        glance_api.Glance(Conn(Answer(409)), "/nowhere").create({"id": "x"})


def test_glance_logs_in_as_its_configuration_says(tmp_path):
    path = tmp_path / "glance-api.conf"
    for text in ("", "[keystone_authtoken]\nusername = glance\n"):
        with pytest.raises(glance_api.NotThere, match="does not say how Glance logs in"):
            glance_api.credentials(str(path))
        path.write_text(text, encoding="ascii")
    path.write_text("[DEFAULT]\nworkers = 1\n[keystone_authtoken]\nauth_url = https://192.0.2.1:5000/v3\nusername = glance\n"
                    "password = p%w\nproject_name = service\nuser_domain_name = Default\nproject_domain_name = Default\n"
                    "region_name = regionOne\ncafile = /etc/our-cloud/ca.pem\n", encoding="ascii")
    assert json.loads(json.dumps(glance_api.credentials(str(path)))) == {
        "auth": {"auth_url": "https://192.0.2.1:5000/v3", "username": "glance", "password": "p%w", "project_name": "service",
                 "user_domain_name": "Default", "project_domain_name": "Default"},
        "region_name": "regionOne", "cacert": "/etc/our-cloud/ca.pem", "interface": "internal"}
