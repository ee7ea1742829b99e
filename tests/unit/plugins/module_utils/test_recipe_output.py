# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Outputs: the same bytes twice, and what is in them."""
from __future__ import annotations

import json
import os
import re
import struct
import subprocess
import sys
import tarfile

import pytest
from ansible_collections.our.cloud.plugins.module_utils._recipe import recipe_output
from toy_appliance import Toy

# Something to boot, as far as these outputs look: the contents are no kernel.
BOOT = """\
- kernel:
    - exec_appliance: mkdir boot
    - write_file: [/boot/vmlinuz-6.1, the kernel]
    - write_file: [/boot/initrd.img-6.1, the ramdisk]
"""
# What differs between two builds if nobody takes care: times, random bits, and what a root may put into /dev and an ordinary user may not.
# With that many files debugfs writes the time into the superblock, too.
NOISE = """\
- noise:
    - exec_appliance: |
        touch now; mkdir -p d{1..9}; touch -d 2001-02-03 old d{1..9}/{a,b}
        touch -d 2038-01-01 future
        touch dev/a proc/a sys/a; sleep 0.0$RANDOM
        touch -d 2001-02-03 dev
        truncate -s 1M sparse; echo end >>sparse
        touch many{1..300}
"""


@pytest.fixture(name="toy")
def fixture_toy(tmp_path):
    return toy_of(tmp_path, "one")


def toy_of(path, base, kind="tgz", size=""):
    toy = Toy(path, base)
    toy.recipe("root", "boot", "noise", kind=kind, size=size)
    toy.step("boot", BOOT)
    toy.step("noise", NOISE)
    return toy


def tool(*argv):
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout


@pytest.mark.parametrize("kind, file", [("tar", "image"), ("tgz", "image"), ("triple", "image"), ("raw", "image")])
def test_the_same_bytes_twice(tmp_path, kind, file):
    made = [toy_of(tmp_path, "base", kind).build()["files"][file]]
    os.rename(tmp_path / "base", tmp_path / "first")
    made.append(toy_of(tmp_path, "base", kind).build()["files"][file])
    assert tool("cmp", made[0].replace("/base/", "/first/"), made[1]) == ""


def test_archive(toy):
    toy.build()
    with tarfile.open(toy.archive) as tar:
        members = {member.name: member for member in tar}
        assert tar.getmember("./usr/bin/dog").linkname == "./usr/bin/cat"
    assert list(members) == sorted(members, key=lambda name: name.replace("/", "\0"))
    assert {(member.uid, member.gid, member.uname, member.gname) for member in members.values()} == {(0, 0, "", "")}
    assert max(member.mtime for member in members.values()) == 1754697600
    assert members["./old"].mtime == 981158400
    assert members["./usr/bin/ls"].mode == 0o4711
    assert [name for name in members if name.startswith(("./dev/", "./proc/", "./sys/"))] == []
    assert {members[name].mtime for name in ("./dev", "./proc", "./sys")} == {1754697600}


def test_triple(tmp_path):
    toy = toy_of(tmp_path, "base", "triple", size="64")
    files = toy.build()["files"]
    assert {name: os.path.basename(path) for name, path in files.items()} == {"image": "root.img", "kernel": "vmlinuz", "ramdisk": "initrd.img"}
    assert open(files["kernel"], encoding="utf-8").read() == "the kernel\n"
    assert open(files["ramdisk"], encoding="utf-8").read() == "the ramdisk\n"
    assert os.path.getsize(files["image"]) == 64 * 2**20
    tool("/sbin/e2fsck", "-fn", files["image"])

    def said(command):
        return tool("/sbin/debugfs", "-R", command, files["image"])

    assert "Filesystem volume name:   root\n" in said("stats")
    with open(files["image"], "rb") as file:
        file.seek(1024 + 48)
        assert int.from_bytes(file.read(4), "little") == 1754697600, "the time of the last write"
    assert "Mode:  04711" in said("stat /usr/bin/ls")
    assert said("cat /boot/vmlinuz-6.1") == "the kernel\n"
    assert "0x3a7b4a00" in said("stat /old").partition("mtime:")[2].splitlines()[0]
    for name in ("/now", "/future", "/d3"):
        assert set(re.findall(r"[acm]time: (\w+)", said(f"stat {name}"))) == {hex(1754697600)}
    for name in ("dev", "proc", "sys"):
        assert "/a/" not in said(f"ls -p /{name}")


def test_the_size_fits_by_itself_or_a_remedy_is_said(tmp_path):
    toy = toy_of(tmp_path, "base", "triple")
    tool("/sbin/e2fsck", "-fn", toy.build()["files"]["image"])
    error = str(toy.error(variables={"size_mib": 8}))
    assert "toy: the output of type triple cannot be made. Last lines of " in error
    assert "If it is too small: set size_mib in the recipe's global" in error
    assert "MiB free" not in error
    # what is there stays
    assert (toy.workdir / "output/root.img").exists()
    assert "size_mib is '1G' and must be a number of MiB" in str(toy.error(variables={"size_mib": "1G"}))


def test_many_small_files_fit(tmp_path):
    toy = toy_of(tmp_path, "base", "triple")
    toy.step("boot", BOOT + "    - exec_appliance: mkdir many; cd many; seq 12000 | xargs touch\n")
    tool("/sbin/e2fsck", "-fn", toy.build()["files"]["image"])


def test_an_archive_has_access_lists_and_attributes(toy, tmp_path):
    """As a disk has them. Access lists are kept as numbers: a name would be this computer's."""
    toy.recipe("root", "marks")
    entries = ((1, 6, 2**32 - 1), (2, 4, 7), (4, 4, 2**32 - 1), (16, 4, 2**32 - 1), (32, 4, 2**32 - 1))
    rights = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)
    toy.step("marks", f"""\
- one:
    - exec_appliance: |
        touch etc/marked
        {sys.executable} -c 'import os; os.setxattr("etc/marked", "user.mark", b"yes")
        os.setxattr("etc/marked", "system.posix_acl_access", bytes.fromhex("{rights.hex()}"))'
""")
    toy.build()
    with tarfile.open(toy.archive) as archive:
        headers = archive.getmember("./etc/marked").pax_headers
    assert headers["SCHILY.xattr.user.mark"] == "yes"
    assert headers["SCHILY.xattr.system.posix_acl_access"].encode("utf-8", "surrogateescape") == rights


@pytest.mark.parametrize("step, said", [
    ("- kernel: [exec_appliance: mkdir boot]\n", "the appliance has no kernel in /boot. Remedy: install one in a step"),
    (BOOT + "    - write_file: [/boot/vmlinuz-6.2, another]\n", "the appliance has 2 kernels in /boot. Remedy: remove all but one in a step"),
    (BOOT + "    - exec_appliance: rm boot/initrd.img-6.1\n", "the appliance has no ramdisk /boot/initrd.img-6.1. Remedy: install initramfs-tools in a step"),
])
def test_what_a_triple_lacks_is_said(tmp_path, step, said):
    toy = toy_of(tmp_path, "base", "triple")
    toy.step("boot", step)
    error = str(toy.error())
    assert said in error
    assert "MiB free" not in error


@pytest.mark.parametrize("link, said", [
    ("boot/vmlinuz-1 boot/initrd.img-1", "the appliance has no kernel in /boot"),
    ("boot/initrd.img-1", "the appliance has no ramdisk /boot/initrd.img-1"),
    ("boot", "the appliance has no kernel in /boot"),
])
def test_links_of_an_appliance_stay_inside_of_it(tmp_path, link, said):
    """/etc/shadow of this computer is no kernel."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "vmlinuz-1").write_text("secret")
    (outside / "initrd.img-1").write_text("secret")
    toy = Toy(tmp_path / "toy")
    toy.recipe("root", "kernel", kind="triple")
    steps = [f"ln -s {outside} boot"] if link == "boot" else ["mkdir boot; echo x >boot/vmlinuz-1; echo x >boot/initrd.img-1"]
    steps += [f"ln -sf {outside}/{name.rpartition('/')[2]} {name}" for name in link.split() if name != "boot"]
    toy.step("kernel", "- kernel:\n" + "".join(f"    - exec_appliance: {step}\n" for step in steps))
    assert said in str(toy.error())


def test_links_of_an_appliance_are_followed_as_they_are_seen_in_there(tmp_path):
    toy = Toy(tmp_path)
    toy.recipe("root", "kernel", kind="triple")
    toy.step("kernel", """\
- kernel:
    - exec_appliance: |
        mkdir -p usr/lib/modules/7.2 boot
        echo kernel >usr/lib/modules/7.2/vmlinuz
        echo ramdisk >usr/lib/modules/7.2/initrd
        ln -s /usr/lib/modules/7.2/vmlinuz boot/vmlinuz-7.2
        ln -s ../usr/lib/modules/7.2/initrd boot/initrd.img-7.2
        ln -s vmlinuz-gone boot/vmlinuz-old
""")
    toy.build()
    assert [(toy.workdir / "output" / name).read_text() for name in ("vmlinuz", "initrd.img")] == ["kernel\n", "ramdisk\n"]


def test_a_bootable_disk(tmp_path):
    toy = toy_of(tmp_path, "base", "qcow2", size="64")
    toy.step("boot", BOOT + """\
    - exec_appliance: |
        mkdir -p usr/lib/grub/i386-pc boot/grub/i386-pc
        head -c 512 /dev/zero | tr '\\0' B >usr/lib/grub/i386-pc/boot.img
        head -c 2000 /dev/zero | tr '\\0' C >boot/grub/i386-pc/core.img
""")
    image = toy.build()["files"]["image"]
    assert os.listdir(toy.workdir / "output") == ["toy.qcow2"]
    assert json.loads(tool("qemu-img", "info", "--output=json", image))["virtual-size"] == 68 * 2**20
    raw = str(tmp_path / "disk.raw")
    tool("qemu-img", "convert", "-O", "raw", image, raw)
    with open(raw, "rb") as file:
        head = file.read(3 * 2**20)
    assert head[:0x5C] == b"B" * 0x5C
    assert head[0x5C:0x64] == (2048).to_bytes(8, "little")
    assert head[2**20:2**20 + 0x1F4] == b"C" * 0x1F4
    assert head[2**20 + 0x1F4:2**20 + 0x1FC] == (2049).to_bytes(8, "little")
    partitions = json.loads(tool("/sbin/sfdisk", "--json", raw))["partitiontable"]["partitions"]
    assert [(part["start"], part["type"]) for part in partitions] == [
        (2048, "21686148-6449-6E6F-744E-656564454649"), (6144, "0FC63DAF-8483-4772-8E79-3D69D8477DE4")]
    assert tool("/sbin/debugfs", "-R", "cat /boot/vmlinuz-6.1", raw + "?offset=3145728") == "the kernel\n"
    with open(raw, "rb") as file, open(tmp_path / "root", "wb") as root:
        file.seek(3 * 2**20)
        root.write(file.read())
    tool("/sbin/e2fsck", "-fn", str(tmp_path / "root"))


def test_a_live_medium(tmp_path):
    toy = toy_of(tmp_path, "base", "iso")
    assert "the appliance has no live-boot" in str(toy.error())
    toy.step("boot", BOOT + "    - exec_appliance: mkdir -p usr/lib/live/boot\n")
    image = toy.build()["files"]["image"]
    assert os.listdir(toy.workdir / "output") == ["toy.iso"]
    tool("xorriso", "-osirrox", "on", "-indev", image, "-extract", "/", str(tmp_path / "medium"))
    assert (tmp_path / "medium/live/vmlinuz").read_text() == "the kernel\n"
    assert "linux /live/vmlinuz boot=live" in (tmp_path / "medium/boot/grub/grub.cfg").read_text()
    names = tool("unsquashfs", "-l", str(tmp_path / "medium/live/filesystem.squashfs")).splitlines()
    assert "squashfs-root/usr/bin/dog" in names
    assert "squashfs-root/dev/a" not in names
    assert "El Torito boot img" in tool("xorriso", "-indev", image, "-report_el_torito", "plain")


def test_missing_programs_are_named_before_anything_runs(toy, monkeypatch):
    monkeypatch.setitem(recipe_output.PROGRAMS, "tgz", {"nothing-like-this": "this-package", "tar": "tar"})
    assert str(toy.error()) == "an appliance of type tgz needs programs that this computer lacks. Remedy: apt-get install this-package"


def test_uuids_have_their_form():
    one, other = recipe_output.uuid("abc", 1), recipe_output.uuid("0123456789abcdef", 2)
    assert one != recipe_output.uuid("abc", 2)
    assert (one, other) == ("abc00000-0000-4000-8000-000000000001", "01234567-89ab-4def-8000-000000000002")
