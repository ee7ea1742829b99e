# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a build ends with: an archive, a disk, a live medium, or kernel, ramdisk and root file system.

The same appliance gives the same bytes: names are sorted, owners are numbers, no time is later than SOURCE_DATE_EPOCH, and what
a file system would draw by lot is derived from the build's key. /dev, /proc and /sys are empty.
"""
from __future__ import annotations

import os
import re
import struct
import subprocess
from collections.abc import Iterator, Sequence
from typing import BinaryIO

from ansible_collections.our.cloud.plugins.module_utils._recipe.recipe import RecipeError, Resolved
from ansible_collections.our.cloud.plugins.module_utils._recipe.recipe_sandbox import base_environment, last_line
from ansible_collections.our.cloud.plugins.module_utils._recipe.recipe_script import RESOLVE

# Changes with what is made of the same appliance.
FORMAT = "2"

# program: Debian package
FILE_SYSTEM = {"mke2fs": "e2fsprogs", "debugfs": "e2fsprogs"}
DISK = {**FILE_SYSTEM, "sfdisk": "fdisk"}
PROGRAMS = {
    "tar": {"tar": "tar"},
    "tgz": {"tar": "tar", "gzip": "gzip"},
    "raw": DISK,
    "qcow2": {**DISK, "qemu-img": "qemu-utils"},
    "iso": {"mksquashfs": "squashfs-tools", "grub-mkrescue": "grub-common", "xorriso": "xorriso", "mformat": "mtools"},
    "triple": FILE_SYSTEM,
}

SECTOR = 512
# A BIOS boot partition for GRUB's core image, then the root file system.
CORE_AT = 1024 * 1024
ROOT_AT = 3 * 1024 * 1024
EXT4_INODE_UNUSED = 1
FIRST_INODE = 11
ROOT_INODE = 2

# Not this computer's own, which differs from release to release.
MKE2FS_SETTINGS = """[defaults]
base_features = sparse_super,large_file,filetype,resize_inode,dir_index,ext_attr
default_mntopts = acl,user_xattr
enable_periodic_fsck = 0
blocksize = 4096
inode_size = 256
inode_ratio = 16384
[fs_types]
ext4 = {
    features = has_journal,extent,huge_file,flex_bg,metadata_csum,64bit,dir_nlink,extra_isize
}
"""

# Functions of the scripts below, which run in the sandbox, where the appliance cannot be written to. $1 is the directory for the output.
COMMON = """set -Eeuo pipefail
cd "$1"

recipe_fail() { printf '%s\\n' "$1" >&2; exit 1; }

# Nothing in there, whatever a build had to put there, and whenever.
hide() {
    local directory
    for directory in "$RECIPE_ROOT"/{dev,proc,sys}; do
        if [ -d "$directory" ] && [ ! -L "$directory" ]; then
            mount -t tmpfs -o "mode=$(stat -c %a "$directory")" tmpfs "$directory"
            touch -d "@$SOURCE_DATE_EPOCH" "$directory"
        fi
    done
}

# MiB: what was asked for, or room for all files and as much again as a fifth of them and 64 MiB.
size() {
    [ -z "$SIZE_MIB" ] || { echo "$SIZE_MIB"; return; }
    find "$RECIPE_ROOT" -xdev -printf '%y %s\\n' |
        awk '{ kib += 4 + ($1 == "f" ? 4 * int(($2 + 4095) / 4096) : 0) } END { print 16 * int((kib * 1.2 / 1024 + 64) / 16 + 1) }'
}

root_file_system() { # FILE KIB EXTENDED_OPTIONS
    local said inodes
    hide
    # many small files want more inodes than one for each 16 KiB
    inodes=$(find "$RECIPE_ROOT" -xdev -printf . | wc -c)
    inodes=$((inodes + inodes / 5 + 256))
    if [ "$inodes" -gt "$(($2 / 16))" ]; then inodes="-N $inodes"; else inodes=''; fi
    printf '%s' "$MKE2FS_SETTINGS" >"$RECIPE_STATE/mke2fs.conf"
    said=$(MKE2FS_CONFIG=$RECIPE_STATE/mke2fs.conf mke2fs -q -t ext4 -L root -m 1 $inodes -U "$UUID" -E "hash_seed=$UUID,root_owner=0:0$3" \\
        -d "$RECIPE_ROOT" "$1" "${2}k" 2>&1) ||
        recipe_fail "the root file system cannot be made: $said. If it is too small: set size_mib in the recipe's global"
}

# Whether a path is that of a file in the appliance: its links are followed as they are seen in there, not here. RECIPE_path is the file.
is_file() {
    recipe_resolve "$1"
    [ -f "$RECIPE_path" ]
}

kernel() {
    local kernels=() name version
    recipe_resolve /boot
    for name in "$RECIPE_path"/vmlinu[xz]-*; do
        if is_file "/boot/${name##*/}"; then kernels+=("${name##*/}"); fi
    done
    [ "${#kernels[@]}" != 0 ] || recipe_fail "the appliance has no kernel in /boot. Remedy: install one in a step"
    [ "${#kernels[@]}" = 1 ] || recipe_fail "the appliance has ${#kernels[@]} kernels in /boot. Remedy: remove all but one in a step"
    version=${kernels[0]#vmlinu[xz]-}
    is_file "/boot/${kernels[0]}"
    cat "$RECIPE_path" >vmlinuz
    is_file "/boot/initrd.img-$version" ||
        recipe_fail "the appliance has no ramdisk /boot/initrd.img-$version. Remedy: install initramfs-tools in a step"
    cat "$RECIPE_path" >initrd.img
}

"""

ARCHIVE = """hide
tar --create --directory "$RECIPE_ROOT" --sort=name --numeric-owner --format=posix \\
    --pax-option=exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime --mtime="@$SOURCE_DATE_EPOCH" --clamp-mtime \\
    --xattrs --xattrs-include='*' --xattrs-exclude=security.selinux . """

SCRIPTS = {
    "tar": ARCHIVE + """>"$NAME.tar"
""",
    "tgz": ARCHIVE + """|
    gzip -n >"$NAME.tgz"
""",
    "raw": """mib=$(size)
truncate -s "$((mib + 4))M" "$NAME.raw"
sfdisk -q "$NAME.raw" <<END
label: gpt
label-id: $DISK_UUID
start=1MiB, size=2MiB, type=21686148-6449-6E6F-744E-656564454649, uuid=$CORE_UUID
start=3MiB, type=L, uuid=$UUID
END
root_file_system "$NAME.raw" "$((mib * 1024))" ",offset=$ROOT_AT"
if is_file /usr/lib/grub/i386-pc/boot.img; then
    cat "$RECIPE_path" >boot.img
    if is_file /boot/grub/i386-pc/core.img; then cat "$RECIPE_path" >core.img; else rm boot.img; fi
fi
""",
    "iso": """recipe_resolve /usr/lib/live/boot
[ -d "$RECIPE_path" ] ||
    recipe_fail "the appliance has no live-boot, which finds the root file system on the medium. Remedy: install live-boot in a step"
mkdir -p medium/live medium/boot/grub
kernel
mv vmlinuz initrd.img medium/live/
hide
mksquashfs "$RECIPE_ROOT" medium/live/filesystem.squashfs -quiet -no-progress -comp xz
cat >medium/boot/grub/grub.cfg <<END
set timeout=3
serial --unit=0 --speed=115200
terminal_input console serial
terminal_output console serial
menuentry "$NAME" {
    linux /live/vmlinuz boot=live $KERNEL_ARGUMENTS
    initrd /live/initrd.img
}
END
find medium -exec touch -d "@$SOURCE_DATE_EPOCH" {} +
grub-mkrescue -o "$NAME.iso" medium
rm -rf medium
""",
    "triple": """kernel
mib=$(size)
truncate -s "${mib}M" root.img
root_file_system root.img "$((mib * 1024))" ''
""",
}
SCRIPTS["qcow2"] = SCRIPTS["raw"]


def missing_programs(output_type: str) -> list[str]:
    """The Debian packages of programs that an output needs and this computer lacks."""
    path = base_environment("")["PATH"].split(":")
    return sorted({package for program, package in PROGRAMS[output_type].items()
                   if not any(os.access(os.path.join(folder, program), os.X_OK) for folder in path)})


def files(output_type: str, name: str) -> dict[str, str]:
    """{what: file} of an output."""
    if output_type == "triple":
        return {"kernel": "vmlinuz", "ramdisk": "initrd.img", "image": "root.img"}
    return {"image": f"{name}.{output_type}"}


def script(output_type: str) -> str:
    return COMMON + RESOLVE + SCRIPTS[output_type]


def variables(name: str, key: str, epoch: int, resolved: Resolved) -> dict[str, str]:
    """The environment of a script. key: everything that the appliance is made from."""
    return {
        "NAME": name, "SOURCE_DATE_EPOCH": str(epoch), "E2FSPROGS_FAKE_TIME": str(epoch), "SIZE_MIB": resolved.variables.get("size_mib", ""),
        "KERNEL_ARGUMENTS": resolved.variables.get("kernel_arguments", ""), "ROOT_AT": str(ROOT_AT), "MKE2FS_SETTINGS": MKE2FS_SETTINGS,
        "UUID": uuid(key, 1), "DISK_UUID": uuid(key, 2), "CORE_UUID": uuid(key, 3),
    }


def uuid(key: str, number: int) -> str:
    """A UUID of the form of random ones, the same for the same key."""
    digits = f"{key:0<16}"[:16] + f"{number:016x}"
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-8{digits[17:20]}-{digits[20:]}"


def finish(output_type: str, name: str, directory: str, epoch: int, tmp: str) -> None:
    """What remains to be done with the files that a script has made, outside of the sandbox."""
    if output_type == "triple":
        clamp_times(os.path.join(directory, "root.img"), 0, epoch, tmp)
    elif output_type in ("raw", "qcow2"):
        disk = os.path.join(directory, f"{name}.raw")
        clamp_times(disk, ROOT_AT, epoch, tmp)
        install_boot_code(disk, os.path.join(directory, "boot.img"), os.path.join(directory, "core.img"))
        if output_type == "qcow2":
            run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", disk, os.path.join(directory, f"{name}.qcow2")], tmp)
            os.remove(disk)


def run(argv: Sequence[str], tmp: str, **variables: str) -> None:
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
                          env={**base_environment(tmp), **variables})
    if done.returncode:
        raise RecipeError(f"{argv[0]} ended with status {done.returncode}: {last_line(done.stdout)}")


def clamp_times(image: str, offset: int, epoch: int, tmp: str) -> None:
    """Set the times of a file system's inodes that say when it was made. mke2fs copies them from the appliance's files."""
    with open(image, "rb") as file:
        commands = [command for inode, modified in inodes(file, offset) for command in time_commands(inode, modified, epoch)]
    script_file = os.path.join(tmp, "times")
    with open(script_file, "w", encoding="ascii") as file:
        file.write("\n".join([*commands, ""]))
    # the file system's own time of the last change, too
    run(["debugfs", "-w", "-f", script_file, f"{image}?offset={offset}"], tmp, E2FSPROGS_FAKE_TIME=str(epoch))
    os.remove(script_file)


def time_commands(inode: int, modified: int, epoch: int) -> Iterator[str]:
    for field in ("atime", "ctime"):
        yield f"set_inode_field <{inode}> {field} @{epoch}"
    if modified > epoch:
        yield f"set_inode_field <{inode}> mtime @{epoch}"


def inodes(file: BinaryIO, offset: int) -> Iterator[tuple[int, int]]:
    """(number, time of modification) of an ext4 file system's inodes that are in use."""
    file.seek(offset + 1024)
    block = file.read(1024)
    count, block_size, per_group, size = (struct.unpack_from(form, block, at)[0] for form, at in (("<I", 0), ("<I", 24), ("<I", 40), ("<H", 88)))
    block_size = 1024 << block_size
    descriptor_size = struct.unpack_from("<H", block, 254)[0]
    groups = -(-count // per_group)
    file.seek(offset + block_size)
    descriptors = file.read(groups * descriptor_size)
    for group in range(groups):
        descriptor = descriptors[group * descriptor_size:(group + 1) * descriptor_size]
        bitmap_at, table_at = (struct.unpack_from("<I", descriptor, at)[0] | struct.unpack_from("<I", descriptor, at + 32)[0] << 32 for at in (4, 8))
        if struct.unpack_from("<H", descriptor, 18)[0] & EXT4_INODE_UNUSED:
            continue
        file.seek(offset + bitmap_at * block_size)
        bitmap = file.read(per_group // 8)
        for index in range(per_group):
            number = group * per_group + index + 1
            if bitmap[index // 8] >> index % 8 & 1 and (number == ROOT_INODE or number >= FIRST_INODE):
                file.seek(offset + table_at * block_size + index * size + 16)
                yield number, struct.unpack("<I", file.read(4))[0]


def install_boot_code(disk: str, boot_file: str, core_file: str) -> None:
    """Do what grub-bios-setup would do, had it a block device: boot code into the first sector, the core image into its partition,
    and in each the number of the sector to read next (GRUB's boot.h and diskboot.S). Without them the disk boots by its kernel alone."""
    if not os.path.exists(boot_file):
        return
    with open(boot_file, "rb") as file:
        boot = bytearray(file.read())
    with open(core_file, "rb") as file:
        core = bytearray(file.read())
    if len(core) > ROOT_AT - CORE_AT:
        raise RecipeError(f"the appliance's GRUB core image has {len(core)} bytes, its partition {ROOT_AT - CORE_AT}. Remedy: fewer modules in grub-mkimage")
    sector = CORE_AT // SECTOR
    boot[0x5C:0x64] = sector.to_bytes(8, "little")
    core[0x1F4:0x1FC] = (sector + 1).to_bytes(8, "little")
    with open(disk, "r+b") as file:
        file.write(boot[:440])
        file.seek(CORE_AT)
        file.write(core)
    os.remove(boot_file)
    os.remove(core_file)


def check_size(resolved: Resolved) -> None:
    """Refuse a size that is none before anything runs."""
    text = resolved.variables.get("size_mib", "")
    if text and not re.fullmatch(r"[1-9]\d{0,6}", text):
        raise resolved.where.error(f"global: size_mib is {text!r} and must be a number of MiB")
