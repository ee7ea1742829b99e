# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Several who register at the same time, and from another machine."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys

import boot_samples as sample
import pytest
from checkout import UNIT
from registry_samples import FACTS, OWN_CONFIG, build, leftovers, register, site, tree

from ansible_collections.our.cloud.plugins.module_utils._common import sparse
from ansible_collections.our.cloud.plugins.module_utils._registry import registration
from ansible_collections.our.cloud.plugins.module_utils._registry.parts import arrived
from ansible_collections.our.cloud.plugins.module_utils._registry.storage import RegistryError
from ansible_collections.our.cloud.plugins.module_utils._site.store import MARKER

OTHER = """
import sys, time
sys.path[:0] = [%r, %r]
import checkout
import registry_samples
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
done = registry_samples.register(pathlib.Path(root), pathlib.Path(folder), name=name)
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
    assert leftovers(root) == []


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
    assert len(leftovers(root)) == 2
    assert site(root).listing("kernel") == [] and site(root).find("kernel", "debian") is None
    assert register(root, folder)["changed"]
    # what is left is the living one's
    assert len(leftovers(root)) == 1 and "-%d-" % living.pid in leftovers(root)[0]
    key = living.communicate("go on\n" * 9)[0].split()[-1]
    assert key == site(root).find("image", "living")["id"] == site(root).find("image", "debian")["id"]
    assert leftovers(root) == []


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
