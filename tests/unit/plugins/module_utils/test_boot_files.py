# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import shutil
import stat
import subprocess

import boot_samples as sample
import pytest

from ansible_collections.our.cloud.plugins.module_utils._boot import boot_files, compression, identify, kernel_config
from ansible_collections.our.cloud.plugins.module_utils._guest.arch import ARCHES, arch
from ansible_collections.our.cloud.plugins.module_utils._boot.disk_images import Disk
from ansible_collections.our.cloud.plugins.module_utils._boot.kinds import Kernel, Other, Packed, Ramdisk
from ansible_collections.our.cloud.plugins.module_utils._boot.sources import BootFileError

READABLE = [kind for kind in compression.KINDS if kind != "lzo"]
AGAIN = "Fetch or copy it again and compare its checksum"


@pytest.fixture(name="put")
def fixture_put(tmp_path):
    def put(content, name="file"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(path)
    return put


def refused(call, *arguments, **options):
    """The text of a BootFileError, paths cut off."""
    with pytest.raises(BootFileError) as error:
        call(*arguments, **options)
    text = str(error.value)
    return text.replace(os.path.dirname(arguments[0]) + "/", "")


# --- kernels

KERNELS = [
    # content, format, arch, wrapping, compression, what
    (sample.bzimage(), "bzImage", "x86_64", "", "zstd", "a kernel for x86_64 (bzImage, zstd)"),
    (sample.bzimage(wide=False, kind="xz"), "bzImage", "i386", "", "xz", "a kernel for i386 (bzImage, xz)"),
    (sample.bzimage(protocol=0x204), "bzImage", "x86", "", None, "a kernel for x86 (bzImage)"),
    (sample.bzimage(protocol=0x203), "bzImage", "x86", "", None, "a kernel for x86 (bzImage)"),
    (sample.zimage(), "zImage", "arm", "", "xz", "a kernel for arm (zImage, xz)"),
    (sample.zimage(kind="gzip"), "zImage", "arm", "", "gzip", "a kernel for arm (zImage, gzip)"),
    (sample.zimage(kind="lzma"), "zImage", "arm", "", "lzma", "a kernel for arm (zImage, lzma)"),
    (sample.zimage(kind="lz4"), "zImage", "arm", "", "lz4", "a kernel for arm (zImage, lz4)"),
    (sample.zimage(kind="lzo"), "zImage", "arm", "", "lzo", "a kernel for arm (zImage, lzo)"),
    (sample.image(), "Image", "arm64", "", "", "a kernel for arm64 (Image)"),
    (sample.image(signed=64), "Image", "arm64", "", "", "a kernel for arm64 (Image)"),
    (sample.image(with_efi=False), "Image", "arm64", "", "", "a kernel for arm64 (Image)"),
    (sample.compress("gzip", sample.image()), "Image", "arm64", "gzip", "", "a kernel for arm64 (Image), compressed by gzip"),
    (sample.compress("zstd", sample.image()), "Image", "arm64", "zstd", "", "a kernel for arm64 (Image), compressed by zstd"),
    (sample.compress("xz", sample.zimage()), "zImage", "arm", "xz", "xz", "a kernel for arm (zImage, xz), compressed by xz"),
    (sample.zboot(), "EFI zboot", "arm64", "", "gzip", "a kernel for arm64 (EFI zboot, gzip)"),
    (sample.zboot(kind="zstd", name="zstd22"), "EFI zboot", "arm64", "", "zstd", "a kernel for arm64 (EFI zboot, zstd)"),
    (sample.uimage(sample.zimage()), "uImage", "arm", "", "", "a kernel for arm (uImage)"),
    (sample.uimage(b"\1" * 99, arch=22, packed=1), "uImage", "arm64", "", "gzip", "a kernel for arm64 (uImage, gzip)"),
    (sample.elf(), "ELF", "x86_64", "", "", "a kernel for x86_64 (ELF)"),
    (sample.elf(3, wide=False), "ELF", "i386", "", "", "a kernel for i386 (ELF)"),
    (sample.elf(183, kind=3, address=0xFFFF800080000000), "ELF", "arm64", "", "", "a kernel for arm64 (ELF)"),
    (sample.elf(22, order=">", address=1 << 63), "ELF", "s390", "", "", "a kernel for s390 (ELF)"),
    # one for PVH alone, at a low address
    (sample.elf(3, wide=False, address=0x100000, note=b"\4\0\0\0\4\0\0\0\x12\0\0\0Xen\0\0\0\x10\0"), "ELF", "i386", "", "", "a kernel for i386 (ELF)"),
]


@pytest.mark.parametrize("content, form, architecture, wrapping, packed, what", KERNELS, ids=lambda value: value if isinstance(value, str) else "")
def test_kernels(put, content, form, architecture, wrapping, packed, what):
    path = put(content)
    found = boot_files.kernel(path)
    assert found == identify.identify(path)
    assert (found.path, found.size, found.format, found.arch, found.wrapping, found.compression, found.what) == (
        path, len(content), form, architecture, wrapping, packed, what)
    assert found.whole <= found.size


def test_the_name_does_not_matter(put):
    assert boot_files.kernel(put(sample.bzimage(), "page.html")).arch == "x86_64"


def test_riscv_is_told(put):
    content = bytearray(sample.image(with_efi=False))
    content[48:53], content[56:60] = b"RISCV", b"RSC\x05"
    assert identify.identify(put(bytes(content))).arch == "riscv"


@pytest.mark.parametrize("content, whole", [
    (sample.bzimage(), len(sample.bzimage())),
    (sample.zimage(), len(sample.zimage())),
    (sample.image(), len(sample.image())),
    (sample.image(signed=64), len(sample.image(signed=64))),
    (sample.zboot(), len(sample.zboot())),
    (sample.uimage(sample.zimage()), len(sample.zimage()) + 64),
    (sample.elf(), len(sample.elf())),
], ids=["bzImage", "zImage", "Image", "signed", "zboot", "uImage", "ELF"])
def test_cut_short_by_one_byte(put, content, whole):
    path = put(content[:-1])
    found = identify.identify(path)
    assert (found.size, found.whole) == (whole - 1, whole)
    assert refused(boot_files.kernel, path) == "kernel file is cut short: %s of at least %d bytes, and %d are there. %s" % (
        found.what, whole, whole - 1, AGAIN)


def test_an_image_that_says_nothing_of_its_file(put):
    # image_size counts memory that is not in the file: twice as much may be right, more is not
    content = sample.image(with_efi=False, memory=200000)
    assert boot_files.kernel(put(content)).whole == 100000
    assert "cut short: a kernel for arm64 (Image) of at least 100000 bytes, and 99999 are there" in refused(boot_files.kernel, put(content[:99999]))


@pytest.mark.parametrize("content, what", [
    (b"", "is empty. " + AGAIN),
    (b"<!DOCTYPE html>\n<html>", "is an HTML page, and a kernel is needed. A server answered with a page instead of the file: look at its address there"),
    (b"\xef\xbb\xbf\n  <HTML lang=en>", "is an HTML page, and"),
    (b"<?xml version='1.0'?><Error>", "is an XML document, and"),
    (b"404: Not Found\nmore", 'is a text that begins "404: Not Found", and a kernel is needed. ' + AGAIN),
    (b"version https://git-lfs.github.com/spec/v1 and more and more and more\n",
     'is a text that begins "version https://git-lfs.github.com/spec/v1 and more and m..."'),
    (b"#!/bin/sh\n", 'is a text that begins "#!/bin/sh"'),
    ("Die Datei wäre größer\n", 'is a text that begins "Die Datei wäre größer"'),
    (b"\1\2\3\4" * 1000, "is data of no known kind, and"),
    (b"\0" * 5000, "is zeros, and a kernel is needed. " + AGAIN),
    (b"\x55\xaaHdrS", "is data of no known kind"),
    (b"\x7fELF", "is data of no known kind"),
    (sample.cpio(), "is a ramdisk (cpio), and a kernel is needed. Have kernel, ramdisk and disk been mixed up?"),
    (sample.compress("zstd", sample.cpio()), "is a ramdisk (cpio, zstd), and a kernel is needed. Have"),
    (sample.ext4(), "is an ext4 file system, and a kernel is needed. Have"),
    (sample.elf(interpreter=True), "is an ELF program, and"),
    (sample.elf(address=0x400000), "is an ELF program, and"),
    (sample.elf(3, wide=False, address=0x8048000), "is an ELF program, and"),
    (sample.elf(kind=1), "is an ELF object, such as a kernel module, and"),
    (sample.elf(kind=4), "is a core dump, and"),
    (bytes(sample.efi(0x8664, 9000)), "is an EFI program, and"),
    (bytes(sample.efi(0x8664, 9000, sections=((b".text", 0x200), (b".linux", 0x400)))),
     "is a unified kernel image, and a kernel is needed. Give the kernel and the ramdisk that it was made of"),
    (sample.zimage(big=True), "is a big-endian ARM kernel (zImage), and"),
    (sample.uimage(b"x" * 9, kind=3), "is a ramdisk wrapped for U-Boot, and"),
    (sample.uimage(sample.zimage())[:40] + b"x" * 60, "is a file of U-Boot whose header is damaged, and"),
    (b"!<arch>\ndebian-binary   1", "is a Debian package, and"),
    (b"PK\3\4" + b"\0" * 40, "is a zip archive, and"),
    (b"name".ljust(257, b"\0") + b"ustar\0" + b"\0" * 300, "is a tar archive, and"),
    (sample.compress("gzip", b"name".ljust(257, b"\0") + b"ustar\0" + b"\0" * 300),
     "is a tar archive, compressed by gzip, and a kernel is needed. Unpack it first"),
    (sample.compress("xz", sample.ext4()), "is an ext4 file system, compressed by xz, and"),
    (sample.compress("bzip2", sample.iso()), "is an ISO 9660 image, compressed by bzip2, and"),
    (sample.compress("zstd", sample.compress("gzip", sample.image())), "is compressed data, compressed by zstd, and"),
    (b"\xd0\x0d\xfe\xed" + b"\0" * 50, "is a device tree or a FIT image of U-Boot, and"),
    (sample.compress("lzo", sample.image()), "is lzo data that this machine cannot look into, and"),
    (sample.compress("gzip", sample.image())[:10] + b"\xff" * 100, "is gzip data that is damaged, and"),
    (sample.compress("zstd", b"\1" * 100)[:8] + b"\xff" * 100, "is zstd data that is damaged, and"),
], ids=lambda value: value[:30] if isinstance(value, str) else "")
def test_no_kernel(put, content, what):
    assert refused(boot_files.kernel, put(content)).startswith("kernel file " + what)


def test_cannot_be_read(tmp_path, put):
    assert refused(boot_files.kernel, str(tmp_path / "none")) == "kernel none cannot be read: No such file or directory"
    assert refused(boot_files.ramdisk, str(tmp_path)).endswith("cannot be read: it is a directory")
    os.mkfifo(tmp_path / "fifo")
    assert refused(boot_files.disk, str(tmp_path / "fifo")) == "disk fifo cannot be read: it is neither a file nor a block device"
    assert refused(identify.identify, put(b"") + "\0").endswith("cannot be read: embedded null byte")


def test_an_error_while_it_is_read(put, monkeypatch):
    def broken(*dummy):
        raise OSError(5, "Input/output error")

    path = put(b"x")
    monkeypatch.setattr(os, "pread", broken)
    assert refused(identify.identify, path) == "file file cannot be read: Input/output error"


def test_a_block_device_is_asked_for_its_size(put, monkeypatch):
    path, fstat = put(sample.ext4()), os.fstat
    monkeypatch.setattr(os, "fstat", lambda fd: os.stat_result((stat.S_IFBLK,) + tuple(fstat(fd))[1:6] + (0,) + tuple(fstat(fd))[7:]))
    assert boot_files.disk(path).size == 1 << 20


@pytest.mark.parametrize("content, wanted, takers", [
    (sample.bzimage(), "arm64", "arch that goes with this one: amd64"),
    (sample.bzimage(), "i386", "arch that goes with this one: amd64"),
    (sample.bzimage(wide=False), "x86_64", "arch that goes with this one: i386"),
    (sample.zimage(), "arm64", "arch that goes with this one: armel or armhf"),
    (sample.image(), "arm", "arch that goes with this one: arm64"),
])
def test_wrong_architecture(put, content, wanted, takers):
    found = boot_files.kernel(put(content))
    assert refused(boot_files.kernel, put(content), wanted) == "kernel file is for %s and the guest needs one for %s. Give it that, or the guest the %s" % (
        found.arch, wanted, takers)


def test_an_architecture_that_no_guest_has(put):
    assert refused(boot_files.kernel, put(sample.elf(22, order=">", address=1 << 63)), "arm") == (
        "kernel file is for s390 and the guest needs one for arm. Give it that")


def test_old_x86_kernels_are_taken_for_either(put):
    path = put(sample.bzimage(protocol=0x20B))
    assert boot_files.kernel(path, "i386") == boot_files.kernel(path, "x86_64")


ARM64_FORMS = "Image (plain, gzip) or EFI zboot (gzip) or uImage (plain, gzip)"


@pytest.mark.parametrize("content, wanted, what", [
    (sample.compress("xz", sample.image()), "arm64", "a kernel for arm64 (Image), compressed by xz, which nothing here boots. Give it as " + ARM64_FORMS),
    (sample.zboot(kind="zstd"), "arm64", "a kernel for arm64 (EFI zboot, zstd), which nothing here boots. Give it as " + ARM64_FORMS),
    (sample.compress("gzip", sample.zboot()), "arm64", "a kernel for arm64 (EFI zboot, gzip), compressed by gzip, which nothing here boots"),
    (sample.elf(40, wide=False), "arm", "a kernel for arm (ELF), which nothing here boots. Give it as zImage or uImage (plain, gzip)"),
    (sample.uimage(b"x" * 9, packed=3), "arm", "a kernel for arm (uImage, lzma), which nothing here boots"),
    (sample.compress("gzip", sample.zimage()), "arm", "a kernel for arm (zImage, xz), compressed by gzip, which nothing here boots"),
    (sample.compress("gzip", sample.bzimage()), "x86_64",
     "a kernel for x86_64 (bzImage), compressed by gzip, which nothing here boots. Give it as bzImage or ELF"),
])
def test_forms_that_nothing_boots(put, content, wanted, what):
    boot_files.kernel(put(content))
    assert refused(boot_files.kernel, put(content), wanted).startswith("kernel file is " + what)


@pytest.mark.parametrize("content, wanted", [
    (sample.bzimage(), "x86_64"), (sample.elf(), "x86_64"), (sample.zimage(), "arm"), (sample.uimage(sample.zimage()), "arm"), (sample.image(), "arm64"),
    (sample.compress("gzip", sample.image()), "arm64"), (sample.zboot(), "arm64"), (sample.uimage(b"x" * 9, arch=22, packed=1), "arm64"),
])
def test_forms_that_boot(put, content, wanted):
    assert boot_files.kernel(put(content), wanted).arch == wanted


@pytest.mark.parametrize("row", ARCHES.values(), ids=lambda row: row.debian)
def test_every_architecture_has_a_form_that_boots(row):
    assert boot_files.LOADABLE[row.kernel]


def test_a_kernel_compressed_as_a_whole_is_read_to_its_end(put):
    content = sample.compress("gzip", sample.image())
    assert boot_files.kernel(put(content), whole=True).wrapping == "gzip"
    assert boot_files.kernel(put(content[:-9])).wrapping == "gzip"
    assert refused(boot_files.kernel, put(content[:-9]), whole=True) == "kernel file is cut short: gzip data ends before its end. " + AGAIN
    assert refused(boot_files.kernel, put(content[:-8] + b"\1" * 8), whole=True).startswith("kernel file is damaged: gzip data is damaged (")


# --- what kernels say of themselves

@pytest.mark.parametrize("content", [
    sample.zimage(), sample.zimage(kind="gzip"), sample.zimage(kind="lz4"), sample.image(), sample.compress("gzip", sample.image()),
    sample.compress("zstd", sample.image()), sample.zboot(), sample.zboot(kind="zstd"), sample.uimage(sample.zimage()),
    sample.uimage(sample.compress("gzip", sample.inside()), packed=1), sample.uimage(sample.inside()), sample.elf(), sample.bzimage(version=""),
], ids=["zImage", "zImage gzip", "zImage lz4", "Image", "Image gzip", "Image zstd", "zboot", "zboot zstd",
        "uImage zImage", "uImage gzip", "uImage plain", "ELF", "bzImage"])
def test_version_is_found_inside(put, content):
    found = boot_files.kernel(put(content))
    assert found.version == ""
    assert kernel_config.version(found) == sample.OWN
    assert kernel_config.release(found) == "6.1.0-own"


def test_version_in_the_header(put):
    found = boot_files.kernel(put(sample.bzimage()))
    assert found.version == kernel_config.version(found) == sample.DEBIAN
    assert kernel_config.release(found) == "6.12.48+deb13-amd64"


@pytest.mark.parametrize("content", [
    sample.zimage(kind="lzo"), sample.zimage(b"nothing" * 9), sample.zimage()[:0x600] + b"\0" * 3000, sample.image(b"\0" * 999),
    sample.zimage()[:0x840] + b"\xff" * len(sample.zimage()),
    sample.uimage(b"x" * 99, packed=7),
], ids=["lzo", "none", "no table", "Image", "damaged", "unknown"])
def test_version_is_not_known(put, content):
    assert kernel_config.version(identify.identify(put(content))) == ""


@pytest.mark.parametrize("offset", range((1 << 20) - 40, (1 << 20) + 2, 7))
def test_version_across_a_border(put, offset):
    content = b"\0" * offset + b"Linux version 6.1.0-own (me@here)\n" + b"\0" * 2000
    assert kernel_config.version(boot_files.kernel(put(sample.image(content)[:0x1000] + content))) == "6.1.0-own (me@here)"


CONFIG = "CONFIG_VIRTIO_BLK=y\nCONFIG_VIRTIO_PCI=m\n# CONFIG_XFS_FS is not set\nCONFIG_EXT4_FS=y\n"


def test_configuration_beside_it(put):
    found = boot_files.kernel(put(sample.bzimage("6.1-own (me)"), "vmlinuz"))
    assert kernel_config.config(found) == (None, None)
    put("CONFIG_A=y\n", "config")
    assert kernel_config.config(found) == ("config beside it", "CONFIG_A=y\n")
    put("#\n# CONFIG_A is not set\n", "config-6.1-own")
    assert kernel_config.config(found) == ("config-6.1-own beside it", "#\n# CONFIG_A is not set\n")
    assert kernel_config.config(boot_files.kernel(put(sample.zimage(), "vmlinuz-6.1-own")))[0] == "config-6.1-own beside it"


def test_what_is_called_config_and_is_none(put, tmp_path):
    found = boot_files.kernel(put(sample.bzimage("6.1-own (me)"), "vmlinuz"))
    put("Host secret\n  IdentityFile ~/.ssh/id_ed25519\n", "config")
    put("CONFIG_A=y\n", "elsewhere")
    (tmp_path / "config-6.1-own").symlink_to("elsewhere")
    assert kernel_config.config(found) == (None, None)


@pytest.mark.parametrize("content", [
    sample.bzimage(content=sample.inside(config=CONFIG)), sample.zimage(sample.inside(config=CONFIG)), sample.image(sample.inside(config=CONFIG)),
    sample.zboot(sample.image(sample.inside(config=CONFIG))), sample.elf(content=sample.inside(config=CONFIG)),
], ids=["bzImage", "zImage", "Image", "zboot", "ELF"])
def test_configuration_inside_of_it(put, content):
    found = boot_files.kernel(put(content))
    assert kernel_config.config(found) == ("the configuration inside of it", CONFIG)
    assert kernel_config.config(found, inside=False) == (None, None)
    assert kernel_config.built_in(found, ("VIRTIO_BLK", "VIRTIO_PCI", "XFS_FS", "VIRTIO")) == (
        "the configuration inside of it", {"VIRTIO_BLK": True, "VIRTIO_PCI": False, "XFS_FS": False, "VIRTIO": False})


@pytest.mark.parametrize("offset", range((1 << 20) - 12, (1 << 20) + 2, 3))
def test_configuration_across_a_border(put, offset):
    content = b"\0" * offset + sample.inside(config=CONFIG)[sample.inside(config=CONFIG).index(b"IKCFG_ST"):]
    found = boot_files.kernel(put(sample.image(content)[:0x1000] + content))
    assert kernel_config.config(found)[1] == CONFIG


def test_damaged_configuration_is_not_known(put):
    content = sample.inside(config=CONFIG)
    place = content.index(b"IKCFG_ST") + 8 + 12
    found = boot_files.kernel(put(sample.image(content[:place] + b"\xff" * 40 + content[place + 40:])))
    assert kernel_config.config(found) == (None, None)


def test_what_debian_builds(put):
    for content in (sample.bzimage(), sample.zimage(sample.inside("6.12.48+deb13-armmp (debian-kernel@lists.debian.org) # SMP"))):
        assert kernel_config.built_in(boot_files.kernel(put(content)), ("VIRTIO_BLK", "VIRTIO_PCI")) == (
            "a Debian stock kernel", {"VIRTIO_BLK": False, "VIRTIO_PCI": None})
    assert kernel_config.built_in(boot_files.kernel(put(sample.zimage())), ("VIRTIO_BLK",)) == (None, {"VIRTIO_BLK": None})


# --- ramdisks

@pytest.mark.parametrize("content, packed, prefix", [
    (sample.cpio(), "", 0),
    (sample.cpio(magic=b"070702"), "", 0),
    (sample.cpio(padding=4), "", 0),
    (b"\0" * 512 + sample.cpio(), "", 512),
    (b"\0" * 6 + sample.compress("gzip", sample.cpio()), "gzip", 6),
    *((sample.compress(kind, sample.cpio()), kind, 0) for kind in READABLE),
    *((sample.EARLY + sample.compress(kind, sample.cpio()), kind, len(sample.EARLY)) for kind in READABLE + ["lzo"]),
    (sample.EARLY + sample.cpio(), "", 0),
    # as Debian 13 makes them: microcode, modules that are compressed already, the rest
    (sample.EARLY + b"\0" * 512 + sample.cpio((("lib/a.ko.xz", b"x" * 999),)) + sample.compress("zstd", sample.cpio()), "zstd", 2 * 512 + 1536),
    (sample.cpio(tuple(("f%d" % number, b"") for number in range(70))) + sample.compress("zstd", sample.cpio()), None, 0),
])
def test_ramdisks(put, content, packed, prefix):
    found = boot_files.ramdisk(put(content))
    what = "a ramdisk (cpio, %s)" % packed if packed else "a ramdisk (cpio)"
    assert (found.size, found.compression, found.what) == (len(content), packed, what)
    if packed:
        assert found.prefix == prefix
    assert found.whole <= found.size
    assert boot_files.ramdisk(put(content), whole=True).compression == ("zstd" if packed is None else packed)


@pytest.mark.parametrize("kind", READABLE)
def test_ramdisks_cut_short(put, kind):
    content = sample.EARLY + sample.compress(kind, sample.cpio((("init", bytes(range(256)) * 40),)))
    assert boot_files.ramdisk(put(content), whole=True).prefix == len(sample.EARLY)
    damage = 8 if kind == "gzip" else 60
    for size in (len(content) - 1, len(content) - 9, len(sample.EARLY) + 40):
        assert "ramdisk file is cut short: %s data ends before its end. %s" % (kind, AGAIN) == refused(boot_files.ramdisk, put(content[:size]), whole=True)
    assert "ramdisk file is damaged: " in refused(boot_files.ramdisk, put(content[:-damage] + b"\xff" * damage), whole=True)


def test_ramdisks_that_are_not_compressed_cut_short(put):
    content = sample.cpio((("init", b"x" * 1000),), padding=4)
    assert boot_files.ramdisk(put(content[:-3]), whole=True).whole == len(content) - 3  # zeros that fill it up
    for size in (0, 1, 60, 109, 110, 114, 500, len(content) - 124, len(content) - 20, len(content) - 4):
        refused(boot_files.ramdisk, put(content[:size]))
        refused(boot_files.ramdisk, put(content[:size]), whole=True)
    assert refused(boot_files.ramdisk, put(content[:500])) == (
        "ramdisk file is cut short: a ramdisk (cpio) of at least 1116 bytes, and 500 are there. " + AGAIN)


@pytest.mark.parametrize("content, what", [
    (b"", "is empty"),
    (b"hello", 'is a text that begins "hello", and a ramdisk is needed. ' + AGAIN),
    (b"<html>", "is an HTML page, and a ramdisk"),
    (sample.bzimage(), "is a kernel for x86_64 (bzImage, zstd), and a ramdisk is needed. Have kernel, ramdisk and disk been mixed up?"),
    (sample.compress("gzip", sample.image()), "is a kernel for arm64 (Image), compressed by gzip, and a ramdisk"),
    (sample.compress("gzip", sample.ext4()), "is an ext4 file system, compressed by gzip, and a ramdisk"),
    (sample.uimage(sample.cpio(), kind=3), "is a ramdisk wrapped for U-Boot, and a ramdisk is needed. Give the plain ramdisk, without its first 64 bytes"),
    (sample.cpio(magic=b"070707"), "is a cpio archive of the old kind, which Linux does not take, and a ramdisk is needed. Make it anew: cpio -H newc"),
    (b"\x04\x22\x4d\x18" + b"\0" * 50, "is lz4 data of the kind that Linux does not take, and a ramdisk is needed. "
     "Unpack it first, or make the other kind: lz4 -l"),
    (b"\0" * 1024 + b"0707x", "is data of no known kind, and"),
    (b"\0" * 1024 + sample.compress("gzip", sample.ext4()), "is data of no known kind, and"),
    (sample.cpio()[:60] + b"x" * 600, "is a cpio archive that is damaged at byte 0, and"),
    (sample.cpio().replace(b"0000000B", b"-000000B"), "is a cpio archive that is damaged at byte 128, and"),
    (sample.cpio().replace(b"0000000B", b"00FF000B"), "is a cpio archive that is damaged at byte 128, and"),
    (sample.cpio() + b"junk", "is a cpio archive with data of no known kind behind it (at byte 512), and"),
    (b"\x1f\x8b\x08\0\0", "is gzip data that ends too early, and a ramdisk is needed. Fetch"),
    (sample.compress("gzip", b"")[:10], "is gzip data that ends too early, and"),
    (sample.compress("gzip", b""), "is gzip data with nothing in it, and"),
    (b"caf\xe9 and other latin letters", "is data of no known kind, and"),
])
def test_no_ramdisk(put, content, what):
    assert refused(boot_files.ramdisk, put(content)).startswith("ramdisk file " + what)


@pytest.mark.parametrize("kind", ["gzip", "xz", "zstd"])
def test_data_behind_a_ramdisk_is_told_as_such(put, kind):
    content = sample.compress(kind, sample.cpio())
    assert refused(boot_files.ramdisk, put(content + b"\1" * 100), whole=True) == (
        "ramdisk file is damaged: behind its archive is data of no known kind (at byte %d). Fetch or copy it again and compare its checksum" % len(content))


@pytest.mark.parametrize("content", [b"PK\x03\x04" + b"\1" * 99, b"7z\xbc\xaf\x27\x1c", b"!<arch>\ndebian-binary", bytes(257) + b"ustar", b"\x1f\x9d\x90"])
def test_archives_are_to_be_unpacked(put, content):
    assert refused(boot_files.disk, put(content)).endswith(", and a disk is needed. Unpack it first")


def test_a_ramdisk_that_cannot_be_looked_into(put, monkeypatch):
    content = sample.compress("lzo", sample.cpio())
    assert isinstance(identify.identify(put(content)), Packed)
    assert boot_files.ramdisk(put(content), whole=True) == Ramdisk(
        put(content), len(content), len(content), "lzo data that this machine cannot look into", "lzo", 0)
    monkeypatch.setattr(compression, "_library", lambda name: None)
    for kind in ("zstd", "lz4"):
        assert isinstance(identify.identify(put(sample.compress(kind, sample.cpio()))), Packed)
        assert boot_files.ramdisk(put(sample.EARLY + sample.compress(kind, sample.cpio())), whole=True).compression == kind


# --- disks

def test_disks(put):
    for content, expected in (
        (sample.ext4(), ("ext4", 1 << 20, sample.UUID, "root")),
        (sample.ext4(extents=False), ("ext3", 1 << 20, sample.UUID, "root")),
        (sample.ext4(extents=False, journal=False), ("ext2", 1 << 20, sample.UUID, "root")),
        (sample.xfs(), ("xfs", 1 << 20, sample.UUID, "root")),
        (sample.iso(), ("iso9660", 40 * 2048, "", "DEBIAN")),
        (sample.qcow2(), ("qcow2", 1 << 30, "", "")),
        (sample.qcow2(version=2), ("qcow2", 1 << 30, "", "")),
        (bytes(sample.mbr()), ("mbr", 1 << 20, "", "")),
        (sample.gpt(), ("gpt", 1 << 20, sample.UUID, "")),
        (sample.gpt(sector=4096), ("gpt", 1 << 20, sample.UUID, "")),
        (b"hsqs" + b"\0" * 5000, ("squashfs", 5004, "", "")),
        (b"\0" * 0x10040 + b"_BHRfS_M" + b"\0" * 99, ("btrfs", 0x10040 + 107, "", "")),
        (b"LUKS\xba\xbe" + b"\0" * 506, ("luks", 512, "", "")),
        (b"\xeb\x58\x90MSDOS5.0".ljust(82, b"\0") + b"FAT32   ".ljust(428, b"\0") + b"\x55\xaa", ("fat", 512, "", "")),
    ):
        found = boot_files.disk(put(content))
        assert (found.format, found.virtual_size, found.uuid, found.label) == expected
        assert isinstance(found, Disk) and found.whole <= found.size == len(content)


def test_large_file_systems(put):
    assert identify.identify(put(sample.ext4(large=True))).whole == (1 << 42) + (1 << 20)


def test_partitions(put):
    root = (1, 32768, (2048 - 64) * 512, "83", "")
    assert boot_files.disk(put(bytes(sample.mbr()))).partitions == (root,)
    assert boot_files.disk(put(sample.gpt())).partitions == ((2, 32768, 32768, sample.UUID, "root"),)
    assert boot_files.disk(put(sample.gpt(sector=4096))).partitions == ((2, 64 * 4096, 64 * 4096, sample.UUID, "root"),)


def test_an_iso_image_with_partitions_is_an_iso_image(put):
    content = bytearray(sample.iso())
    content[446:512] = sample.mbr(40 * 2048)[446:512]
    assert boot_files.disk(put(bytes(content))).format == "iso9660"


@pytest.mark.parametrize("version", [2, 3])
def test_backing_file(put, version):
    asked = []
    path = put(sample.qcow2(backing=b"../base.img", version=version))
    assert boot_files.disk(path, backed_by=lambda backing: asked.append(backing) or True).backing == "../base.img"
    assert asked == [os.path.join(os.path.dirname(os.path.dirname(path)), "base.img")]
    assert boot_files.disk(put(sample.qcow2(version=version))).backing is None
    assert boot_files.disk(put(sample.qcow2(backing_format=b"", version=version))).unfit == ""


@pytest.mark.parametrize("content, why", [
    (sample.qcow2(features=1 << 2), "and no guest gets it: its data is in another file, which its header names. Where"),
    (sample.qcow2(features=1 << 1), "and no guest gets it: it has features that are not known here (0x2). Where"),
    (sample.qcow2(features=1 << 5 | 1), "and no guest gets it: it has features that are not known here (0x20). Where"),
    (sample.qcow2(encryption=2), "and no guest gets it: it is encrypted. Where"),
    (sample.qcow2(backing=b"/etc/passwd"), "based on /etc/passwd, which is no image of the registry. Where"),
    (sample.qcow2(backing=b"/srv/base", backing_format=b""), "and no guest gets it: its header says that its backing file is of any kind, not raw. Where"),
    (sample.qcow2(backing=b"/srv/base", backing_format=b"qcow2"), "and no guest gets it: its header says that its backing file is qcow2, not raw. Where"),
    (sample.qcow2(backing=b'json:{"file.filename": "/srv/base"}'), "based on json:"),
])
def test_a_qcow2_disk_that_leads_elsewhere(put, content, why):
    text = refused(boot_files.disk, put(content), known=False, backed_by=lambda path: path == "/srv/base")
    assert text.startswith("disk file is a qcow2 disk " + why)


def test_harmless_features_of_qcow2(put):
    assert boot_files.disk(put(sample.qcow2(features=1 << 0 | 1 << 3 | 1 << 4))).unfit == ""


@pytest.mark.skipif(not shutil.which("qemu-img"), reason="qemu-img is missing")
def test_qcow2_disks_as_qemu_makes_them(tmp_path):
    def make(name, *options):
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", *options, tmp_path / name, "64k"], check=True)
        return str(tmp_path / name)

    (tmp_path / "base").write_bytes(bytes(65536))
    assert boot_files.disk(make("plain")).backing is None
    path = make("layer", "-b", str(tmp_path / "base"), "-F", "raw")
    assert boot_files.disk(path, backed_by=lambda each: each == str(tmp_path / "base")).backing == str(tmp_path / "base")
    assert "which is no image of the registry" in refused(boot_files.disk, path)
    assert "its data is in another file" in refused(boot_files.disk, make("data", "-o", "data_file=%s/there,data_file_raw=on" % tmp_path))


def test_a_link_is_refused_where_it_was_not_asked_for(put, tmp_path):
    for call, content, name in ((boot_files.kernel, sample.bzimage(), "kernel"), (boot_files.ramdisk, sample.cpio(), "ramdisk"),
                                (boot_files.disk, sample.ext4(), "disk")):
        link = tmp_path / ("link-" + name)
        link.symlink_to(put(content, name + ".file"))
        assert call(str(link)).size == len(content)
        assert refused(call, str(link), follow=False) == "%s %s is a link, which may lead to anybody's file. Put the file itself there" % (name, link.name)


@pytest.mark.parametrize("name", ["xz CRC64", "xz SHA-256"])
@pytest.mark.parametrize("before", [b"", sample.EARLY], ids=["alone", "behind another archive"])
def test_a_ramdisk_with_a_check_that_linux_does_not_know(put, name, before):
    path = put(before + sample.compress(name, sample.cpio()))
    assert refused(boot_files.ramdisk, path).startswith(
        "ramdisk file is a ramdisk (cpio, xz) that Linux cannot unpack: its check is %s, and a ramdisk is needed. Compress it with xz --check=crc32" % name[3:])


def test_such_a_check_behind_what_linux_unpacks(put):
    path = put(sample.compress("gzip", sample.cpio()) + sample.compress("xz CRC64", sample.cpio()))
    assert "Linux cannot unpack its archive at byte" in refused(boot_files.ramdisk, path, whole=True)


@pytest.mark.parametrize("name", ["xz", "xz none"])
def test_checks_that_linux_knows(put, name):
    assert boot_files.ramdisk(put(sample.compress(name, sample.cpio())), whole=True).compression == "xz"


@pytest.mark.parametrize("content, whole", [
    (sample.ext4(), 1 << 20), (sample.xfs(), 1 << 20), (sample.iso(), 40 * 2048), (bytes(sample.mbr()), 1 << 20), (sample.gpt(), 1 << 20),
    (sample.qcow2(), 5 * 65536 + 1), (sample.qcow2(shift=9, clusters=200), 199 * 512 + 1),
], ids=["ext4", "xfs", "iso", "mbr", "gpt", "qcow2", "small clusters"])
def test_disks_cut_short(put, content, whole):
    assert boot_files.disk(put(content)).whole == whole
    path = put(content[:whole - 1])
    assert refused(boot_files.disk, path) == "disk file is cut short: %s of at least %d bytes, and %d are there. %s" % (
        identify.identify(path).what, whole, whole - 1, AGAIN)


@pytest.mark.parametrize("content, what", [
    (b"", "disk file is empty. " + AGAIN),
    (b"<html>", "disk file is an HTML page, and a disk is needed. A server"),
    (sample.bzimage(), "disk file is a kernel for x86_64 (bzImage, zstd), and a disk is needed. Have"),
    (sample.compress("xz", sample.ext4()), "disk file is an ext4 file system, compressed by xz, and a disk is needed. Unpack it first"),
    (b"\1\2\3\4" * 1000, "disk file is data of no known kind, and a disk"),
    (b"\0" * 5000, "disk file is zeros, and a disk is needed. " + AGAIN),
    (sample.qcow2()[:20] + b"\xff" * 9999, "disk file is a qcow2 disk whose header is damaged, and"),
])
def test_no_disk(put, content, what):
    assert refused(boot_files.disk, put(content)).startswith(what)


def test_a_disk_may_hold_what_nobody_knows(put):
    assert boot_files.disk(put(b"\1\2\3\4" * 1000), known=False)[:5] == (put(b"\1\2\3\4" * 1000), 4000, 4000, "a disk of no known kind", "unknown")
    assert boot_files.disk(put(b"\0" * 5000), known=False).format == "blank"
    for content in (b"", b"<html>", sample.bzimage(), sample.ext4()[:-1]):
        refused(boot_files.disk, put(content), known=False)


def test_containers_are_no_raw_disks(put):
    assert boot_files.disk(put(sample.ext4()), raw=True).format == "ext4"
    assert refused(boot_files.disk, put(sample.qcow2()), raw=True) == "disk file is a qcow2 disk, and a raw one is needed. Convert it: qemu-img convert -O raw"


# --- together

def test_stock_kernel_needs_ramdisk(put):
    path = put(sample.bzimage())
    assert refused(boot_files.check, path, None, arch("amd64"), "xen") == (
        "kernel file needs a ramdisk and the guest has none: it is a Debian stock kernel (6.12.48+deb13-amd64), which has "
        "CONFIG_XEN_BLKDEV_FRONTEND as modules. Give the guest the ramdisk (initrd) made for this kernel")
    assert boot_files.check(path, put(sample.cpio(), "initrd"), arch("amd64"), "xen").format == "bzImage"
    path = put(sample.zimage(sample.inside("6.12.48+deb13-armmp (debian-kernel@lists.debian.org) # SMP")))
    assert "CONFIG_VIRTIO_BLK and CONFIG_VIRTIO_MMIO as modules" in refused(boot_files.check, path, None, arch("armhf"), "qemu")


@pytest.mark.parametrize("name, hypervisor, file_system, drivers", [
    ("amd64", "xen", "ext4", ("XEN_BLKDEV_FRONTEND", "EXT4_FS")),
    ("amd64", "qemu", "ext4", ("VIRTIO_BLK", "VIRTIO_PCI", "EXT4_FS")),
    ("amd64", "qemu", "xfs", ("VIRTIO_BLK", "VIRTIO_PCI", "XFS_FS")),
    ("amd64", "qemu", "gpt", ("VIRTIO_BLK", "VIRTIO_PCI")),
    ("armhf", "qemu", "ext3", ("VIRTIO_BLK", "VIRTIO_MMIO", "EXT4_FS")),
    ("arm64", "qemu", None, ("VIRTIO_BLK", "VIRTIO_PCI")),
])
def test_configuration_decides(put, name, hypervisor, file_system, drivers):
    content = {"amd64": sample.bzimage("6.1-own (me)"), "armhf": sample.zimage(), "arm64": sample.image()}[name]
    path = put(content, "vmlinuz-6.1-own")
    for missing in drivers:
        put("CONFIG_ARCH_VIRT=y\n" + "".join("CONFIG_%s=%s\n" % (driver, "m" if driver == missing else "y") for driver in drivers), "config-6.1-own")
        assert "config-6.1-own beside it says that CONFIG_%s is not built in. Give" % missing in refused(
            boot_files.check, path, "", arch(name), hypervisor, file_system)
    put("CONFIG_ARCH_VIRT=y\n" + "".join("CONFIG_%s=y\n" % driver for driver in drivers), "config-6.1-own")
    boot_files.check(path, "", arch(name), hypervisor, file_system)


def test_unknown_kernel_is_not_refused(put):
    boot_files.check(put(sample.bzimage("6.1.0-own (me@here)", content=b"")), None, arch("amd64"), "qemu")


def test_a_kernel_for_boards(put):
    path = put(sample.zimage(), "vmlinuz-6.12.48+deb13-rpi")
    put("CONFIG_ARCH_BCM=y\n", "config-6.12.48+deb13-rpi")
    assert refused(boot_files.check, path, put(sample.cpio(), "initrd"), arch("armel"), "qemu") == (
        "kernel vmlinuz-6.12.48+deb13-rpi is for other machines than a guest of arch armel: config-6.12.48+deb13-rpi beside it says that "
        "CONFIG_ARCH_VIRT is not built in. Give the guest a kernel for virtual machines")


def test_wrong_files_together(put):
    kernel, ramdisk = put(sample.bzimage(), "vmlinuz"), put(sample.compress("zstd", sample.cpio()), "initrd")
    assert "is for x86_64 and the guest needs one for arm64" in refused(boot_files.check, kernel, ramdisk, arch("arm64"), "qemu")
    assert "kernel initrd is a ramdisk (cpio, zstd), and a kernel is needed" in refused(boot_files.check, ramdisk, kernel, arch("amd64"), "qemu")
    assert "ramdisk vmlinuz is a kernel" in refused(boot_files.check, kernel, kernel, arch("amd64"), "qemu")


# --- bounds

def test_a_large_file_is_not_read(put, monkeypatch):
    count, pread = [0], os.pread

    def counted(fd, size, offset):
        data = pread(fd, size, offset)
        count[0] += len(data)
        return data

    monkeypatch.setattr(os, "pread", counted)
    for content in (sample.bzimage(), sample.zimage(), sample.image(), sample.compress("zstd", sample.image()),
                    sample.EARLY + sample.compress("xz", sample.cpio()),
                    sample.ext4(), sample.xfs(), sample.iso(), sample.qcow2(), bytes(sample.mbr()), sample.gpt(), b"\0", b"\1\2\3", b"<html>"):
        path, count[0] = put(content), 0
        os.truncate(path, 1 << 36)
        identify.identify(path)
        assert count[0] <= 300 << 10


def test_a_bomb_is_not_unpacked(put, monkeypatch):
    monkeypatch.setattr(kernel_config, "LARGEST_KERNEL", 1 << 20)
    bomb = sample.compress("gzip", sample.image(b"\0" * (8 << 20)))
    assert kernel_config.version(boot_files.kernel(put(bomb))) == ""
    assert "unpacks to more than can be sensible" in refused(boot_files.kernel, put(bomb), whole=True)


def test_nothing_stays_open(put):
    before = len(os.listdir("/proc/self/fd"))
    for content in (sample.zimage(), sample.compress("gzip", sample.cpio()), b"", b"<html>"):
        for call in (identify.identify, boot_files.kernel, boot_files.ramdisk, boot_files.disk):
            try:
                call(put(content))
            except BootFileError:
                pass
    assert len(os.listdir("/proc/self/fd")) == before


def test_kinds_are_apart(put):
    assert [type(identify.identify(put(content))) for content in (sample.image(), sample.cpio(), sample.ext4(), b"hello")] == [Kernel, Ramdisk, Disk, Other]
