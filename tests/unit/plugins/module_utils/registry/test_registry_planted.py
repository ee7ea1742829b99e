# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What others can put into the store: it is not followed, and it is told."""

from __future__ import annotations

import json
import os
import socket
import tempfile
import threading

import boot_samples as sample
import pytest
from registry_samples import register, site

from ansible_collections.our.cloud.plugins.module_utils._registry.nfs_store import NfsStore
from ansible_collections.our.cloud.plugins.module_utils._registry.storage import RegistryError


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
def test_what_is_planted_as_a_staging_directory(root, folder, victim, name, kind):
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
