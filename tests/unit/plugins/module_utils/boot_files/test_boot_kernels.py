# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is a kernel, for which machines, and what it says of itself."""

from __future__ import annotations

import os
import stat

import boot_samples as sample
import pytest
from boot_checks import AGAIN, refused

from ansible_collections.our.cloud.plugins.module_utils._boot import boot_files, identify, kernel_config
from ansible_collections.our.cloud.plugins.module_utils._guest.arch import ARCHES

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
