# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The recipes that come with the collection can be built, and the guide shows them as they are."""

from __future__ import annotations

import gzip
import json
import lzma
import pathlib
import re
import subprocess
import tarfile

import pytest
from ansible_collections.our.cloud.plugins.module_utils._guest import arch
from ansible_collections.our.cloud.plugins.module_utils._recipe import recipe, recipe_build, recipe_files, recipe_load, recipe_resolve, recipe_script

CHECKOUT = pathlib.Path(__file__).resolve().parents[2]
DATA = recipe_files.DataDirectory(CHECKOUT / "roles/appliance/files")
GUIDE = (CHECKOUT / "docs/recipes.md").read_text(encoding="utf-8")
SHOWN = re.findall(r"^`(roles/appliance/files/[^`]+)`:\n\n```yaml\n(.*?)```", GUIDE, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("name", DATA.recipes())
def test_recipe(name):
    resolved = recipe_resolve.resolve(DATA, recipe_load.load(DATA, name), "/w")
    recipe_script.check_syntax(resolved.macrosteps)


def scripts(name):
    resolved = recipe_resolve.resolve(DATA, recipe_load.load(DATA, name), "/w")
    return {macrostep.name: recipe_script.script(name, macrostep) for macrostep in resolved.macrosteps}


@pytest.mark.parametrize("debian, kernel", [("armhf", "linux-image-armmp"), ("arm64", "linux-image-cloud-arm64")])
def test_a_guest_is_the_same_on_arm_without_grub(debian, kernel):
    amd64 = scripts("debian-13-amd64-guest")
    assert arch.arch(debian).debian == debian
    assert scripts(f"debian-13-{debian}-guest") == {
        name: text.replace("linux-image-cloud-amd64", kernel).replace("amd64", debian).replace(" grub-pc", "")
        for name, text in amd64.items() if name != "grub"}


def without(text, *microsteps):
    """A script without some of its microsteps."""
    end = "\n\nrecipe_finish\n"
    first, *parts = text.removesuffix(end).split("\n\nrecipe_microstep ")
    return "\n\nrecipe_microstep ".join([first, *(part for part in parts if part.partition("\n")[0] not in microsteps)]) + end


def test_variables_of_the_labs_machines():
    given = {"more_packages": ["dnsmasq", "nftables"], "disabled_units": ["dnsmasq.service"]}
    resolved = recipe_resolve.resolve(DATA, recipe_load.load(DATA, "lab-machine", given), "/w")
    lab = {microstep.name: microstep.commands[0].arguments[0] for microstep in resolved.macrosteps[2].microsteps}
    assert resolved.variables["packages"].endswith(" zstd dnsmasq nftables")
    assert "units='dnsmasq.service'\nfor unit in $units; do" in lab["units"]


def test_the_labs_containers_have_what_its_machines_have_but_a_kernel():
    machine = {macrostep: text.replace("lab-machine", "lab-container") for macrostep, text in scripts("lab-machine").items()}
    found = scripts("lab-container")
    assert list(found) == ["bootstrap", "guest", "lab", "container", "clean"]
    assert "linux-image" not in found["bootstrap"]
    assert found["guest"] == without(machine["guest"], "file_system", "patience")
    assert found["lab"] == without(machine["lab"], "seed", "consoles", "consoles_of_guests", "units", "profiles")
    assert found["clean"] == machine["clean"]


def test_units_of_the_labs_containers_may_be_patterns():
    resolved = recipe_resolve.resolve(DATA, recipe_load.load(DATA, "lab-container", {"disabled_units": ["nova-*.service", "dnsmasq.service"]}), "/w")
    container = {microstep.name: microstep.commands[0].arguments[0] for microstep in resolved.macrosteps[3].microsteps}
    assert "units='nova-*.service dnsmasq.service'\nfor unit in $units; do" in container["units"]


OF_ONE_MACHINE = ("etc/hostname", "etc/machine-id", "etc/ssh/ssh_host_ed25519_key", "var/lib/dbus/machine-id", "var/lib/oar/.ssh/id_rsa",
                  "etc/oar/oar_ssh_host_rsa_key")


@pytest.mark.parametrize("name", [name for name in DATA.recipes() if "bootstrap" in scripts(name) and name != "hello"])
def test_machines_of_one_appliance_have_nothing_in_common_that_tells_them_apart(tmp_path, name):
    """With one machine-id, bridges get one MAC address; with one host key, each machine can pass for all others."""
    for path in (*OF_ONE_MACHINE, "var/cache/ldconfig/aux-cache", "var/cache/debconf/config.dat-old", "var/lib/dpkg/status-old", "var/log/apt/term.log"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text("of the build", encoding="utf-8")
    commands = [*microsteps(name, "oar").get("identity", []), *(command for found in microsteps(name, "clean").values() for command in found)]
    for command in commands:
        assert command.name == "exec_appliance"
        subprocess.run(["bash", "-euo", "pipefail", "-c", command.arguments[0]], cwd=tmp_path, check=True, env={"PATH": "/usr/bin:/bin"})
    left = {str(path.relative_to(tmp_path)): path.read_text(encoding="utf-8") for path in tmp_path.rglob("*") if path.is_file()}
    without_oar = {} if "-oar-" in name else {path: "of the build" for path in OF_ONE_MACHINE if "/oar/" in path}
    # an empty machine-id is filled at the first boot; systemd asks whether the other two are newer than /usr
    assert left == {"etc/machine-id": "", "etc/.updated": "", "var/.updated": "", **without_oar}


@pytest.mark.parametrize("name", [name for name in DATA.recipes() if "openssh-server" in scripts(name).get("bootstrap", "")])
def test_nobody_logs_in_with_a_password(name):
    written = [command.arguments[1] for command in microsteps(name, "guest")["ssh"] if command.name == "write_file"]
    assert any("PasswordAuthentication no" in text.splitlines() for text in written)


HOSTILE = "x'; touch evil; ' \"$(touch evil)\" `touch evil`"


@pytest.mark.parametrize("name", DATA.recipes())
def test_a_value_that_is_given_is_no_part_of_a_script(tmp_path, name):
    """A key's comment, for one. Either it is refused, or each shell that sees it takes it for a word."""
    refused = {"arch", "suite", "disabled_units", "programs"}
    for variable in recipe_load.load(DATA, name).variables:
        if variable in ("distrib", "type"):
            continue
        try:
            resolved = recipe_resolve.resolve(DATA, recipe_load.load(DATA, name, {variable: HOSTILE}), "/w")
        except recipe.RecipeError as exc:
            assert variable in refused and f"Remedy: write $${{{variable}@Q}}" in str(exc)
            continue
        for macrostep in resolved.macrosteps:
            for command in [command for microstep in macrostep.microsteps for command in microstep.commands if "evil" in command.arguments[-1]]:
                if command.name.startswith("exec_"):
                    # with no program there, and each function doing nothing
                    subprocess.run(["/bin/bash", "-c", "command_not_found_handle() { :; }\ntouch() { echo >evil; }\n" + command.arguments[-1]], cwd=tmp_path,
                                   env={"PATH": "/nonexistent"}, capture_output=True, check=False)
                else:
                    assert command.name == "write_file"
        assert not (tmp_path / "evil").exists()


# What this computer has stands for what it may have: a program for each that the step asks.
@pytest.mark.parametrize("variables, known, said, sources", [
    ({}, "Debian main http://a.example.org/debian/\nDebian main http://b.example.org/debian/\nDebian-Security main http://s.example.org/\n", "",
     "deb http://a.example.org/debian/ trixie main\ndeb http://s.example.org/ trixie-security main"),
    ({"security_mirror": "none"}, "Debian contrib http://c.example.org/\nDebian main https://a.example.org/\nDebian-Security main http://s.example.org/\n", "",
     "deb https://a.example.org/ trixie main"),
    ({"mirror": "http://m.example.org/$$snapshot_date", "snapshot_date": "20260101T000000Z"}, "Debian main http://a.example.org/\n", "",
     "deb [check-valid-until=no] http://m.example.org/20260101T000000Z trixie main"),
    ({"mirror": "http://m.example.org/", "security_mirror": "http://s.example.org/", "suite": "forky"}, "", "",
     "deb http://m.example.org/ forky main\ndeb http://s.example.org/ forky-security main"),
    ({}, "Debian main mirror+file:/etc/apt/mirrors/debian.list\n",
     "The apt of this computer knows no Debian mirror. Remedy: apt-get update, or set the variable mirror\n", ""),
])
def test_sources(tmp_path, variables, known, said, sources):
    resolved = recipe_resolve.resolve(DATA, recipe_load.load(DATA, "debian-13-amd64-guest", variables), "/w")
    bootstrap = {microstep.name: microstep.commands[0].arguments[0] for microstep in resolved.macrosteps[0].microsteps}
    (tmp_path / "apt-get").write_text(f"#!/bin/sh\nprintf '{known}'\n", encoding="utf-8")
    (tmp_path / "apt-get").chmod(0o755)
    done = subprocess.run(["bash", "-euo", "pipefail", "-c", bootstrap["sources"] + 'printf %s "$sources"'], capture_output=True, text=True, check=False,
                          env={"PATH": f"{tmp_path}:/usr/bin:/bin"})
    assert (done.stderr, done.stdout) == (said, sources)


def test_an_architecture_that_this_computer_cannot_run_is_said(tmp_path):
    resolved = recipe_resolve.resolve(DATA, recipe_load.load(DATA, "debian-13-armhf-guest"), "/w")
    command = resolved.macrosteps[0].microsteps[1].commands[0].arguments[0]
    (tmp_path / "arch-test").write_text("#!/bin/sh\n[ $1 = amd64 ]\n", encoding="utf-8")
    (tmp_path / "arch-test").chmod(0o755)
    done = subprocess.run(["bash", "-euo", "pipefail", "-c", command], capture_output=True, text=True, check=False, env={"PATH": f"{tmp_path}:/usr/bin:/bin"})
    assert done.returncode == 1
    assert done.stderr.startswith("This computer cannot run programs of armhf. Remedy: apt-get install qemu-user-binfmt ")


@pytest.mark.parametrize("name, text", SHOWN, ids=[name for name, dummy in SHOWN])
def test_the_guide_shows_the_file(name, text):
    lines = (CHECKOUT / name).read_text(encoding="utf-8").splitlines(keepends=True)
    assert text == "".join(line for line in lines if not line.startswith(("---", "#")))


def test_the_guide_shows_all_of_the_example():
    assert sorted(name for name, dummy in SHOWN) == [
        f"roles/appliance/files/{name}.yaml" for name in ("recipes/hello", "steps/common/greeting", "steps/this-computer/bootstrap")]


def test_the_guide_has_every_command_and_type():
    commands = re.findall(r"^\| `(\w+): ", GUIDE, re.MULTILINE)
    assert commands == [*recipe.COMMANDS[:5], "write_file", "append_file", "set_var", "include"]
    assert re.findall(r"^\| `(\w+)` \| (?:NAME\.|vmlinuz)", GUIDE, re.MULTILINE) == list(recipe.TYPES)


def test_the_example_says_hello(tmp_path):
    params = {"recipe": "hello", "data_dir": str(CHECKOUT / "roles/appliance/files"), "workdir_base": str(tmp_path), "output_base": None, "state": "present",
              "variables": {}, "directory": None,
              "break_at": None, "start_at": None, "on_error": "abort", "checkpoints": "macrostep", "dry_run": False, "progress": None}
    with tarfile.open(recipe_build.ensure(params, False, False)["files"]["image"]) as tar:
        assert tar.extractfile("./etc/motd").read() == b"Hello, world\nThere are 4 programs here.\n"


def microsteps(name, macrostep):
    """{microstep: its commands} of one macrostep of a recipe."""
    resolved = recipe_resolve.resolve(DATA, recipe_load.load(DATA, name), "/w")
    return {microstep.name: microstep.commands for found in resolved.macrosteps if found.name == macrostep for microstep in found.microsteps}


@pytest.mark.parametrize("debian, kernel", [("armhf", "linux-image-armmp-lpae"), ("arm64", "linux-image-cloud-arm64")])
def test_a_small_instance_is_the_same_on_arm(debian, kernel):
    amd64 = scripts("debian-13-amd64-small-instance")
    assert scripts(f"debian-13-{debian}-small-instance") == {
        name: text.replace("linux-image-cloud-amd64", kernel).replace("amd64", debian) for name, text in amd64.items()}
    assert list(amd64) == ["unpack", "instance"]


def module(name, *depends):
    """What a file of a module has to say of its dependencies."""
    return b"\x7fELF\0license=GPL\0depends=" + ",".join(depends).encode() + b"\0name=" + name.encode() + b"\0"


def names_in(archive):
    """{name: content} of a cpio archive of the kernel's form."""
    found, at = {}, 0
    while True:
        assert archive[at:at + 6] == b"070701"
        fields = [int(archive[at + 6 + 8 * number:at + 14 + 8 * number], 16) for number in range(13)]
        body = (at + 110 + fields[11] + 3) // 4 * 4
        name = archive[at + 110:at + 109 + fields[11]].decode()
        at = (body + fields[6] + 3) // 4 * 4
        if name == "TRAILER!!!":
            assert at == len(archive)
            return found
        found[name] = archive[body:body + fields[6]]


def test_the_ramdisk_of_a_small_instance_has_what_leads_to_its_root(tmp_path):
    kernel = tmp_path / "usr/lib/modules/6.12/kernel/drivers"
    kernel.mkdir(parents=True)
    for name, depends in {"virtio_blk": [], "virtio_net": ["net_failover"], "net_failover": ["failover"], "failover": [], "sr_mod": ["cdrom", "scsi_mod"],
                          "cdrom": [], "scsi_mod": [], "virtio_scsi": ["scsi_mod"], "ext4": ["crc16", "mbcache"],
                          "crc16": [], "mbcache": [], "wifi": []}.items():
        file = kernel / (name.replace("_", "-") if name == "net_failover" else name)
        if name in ("ext4", "wifi"):
            file.with_suffix(".ko.xz").write_bytes(lzma.compress(module(name, *depends)))
        else:
            file.with_suffix(".ko").write_bytes(module(name, *depends))
    for name in ("usr/bin", "boot"):
        (tmp_path / name).mkdir()
    (tmp_path / "usr/bin/busybox").write_bytes(b"the program")
    command = microsteps("debian-13-amd64-small-instance", "instance")["ramdisk"][0].arguments[0]
    subprocess.run(["bash", "-euo", "pipefail", "-c", command], cwd=tmp_path, check=True, env={"PATH": "/usr/bin:/bin", "SOURCE_DATE_EPOCH": "1000"})
    found = names_in(gzip.decompress((tmp_path / "boot/initrd.img-6.12").read_bytes()))
    assert found["lib/order"].split() == [b"virtio_blk", b"crc16", b"mbcache", b"ext4"]
    assert found["lib/ext4.ko"] == module("ext4", "crc16", "mbcache")
    assert (found["bin/busybox"], found["bin/switch_root"]) == (b"the program", b"busybox")
    subprocess.run(["sh", "-n"], input=found["init"], check=True)
    late = tmp_path / "usr/lib/modules"
    assert (late / "order").read_text(encoding="ascii").split() == ["failover", "net_failover", "virtio_net", "scsi_mod", "virtio_scsi", "cdrom", "sr_mod"]
    assert sorted(path.name for path in late.iterdir()) == [
        "cdrom.ko", "failover.ko", "net_failover.ko", "order", "scsi_mod.ko", "sr_mod.ko", "virtio_net.ko", "virtio_scsi.ko"]


TOLD = {"uuid": "u", "public_keys": {"mine": "ssh-ed25519 AAAA moe@home\n", "hers": "ssh-rsa BBBB\n"}, "keys": [{"name": "mine", "data": "x"}],
        "hostname": "web.novalocal", "name": "web"}


@pytest.mark.parametrize("told, name, keys", [
    (TOLD, "web", "ssh-ed25519 AAAA moe@home\nssh-rsa BBBB\n"),
    ({"hostname": "db", "uuid": "u"}, "db", ""),
    ({}, "instance", ""),
])
def test_what_a_small_instance_takes_from_what_it_is_told(tmp_path, told, name, keys):
    content = {command.arguments[0]: command.arguments[1] for commands in microsteps("debian-13-amd64-small-instance", "instance").values()
               for command in commands if command.name == "write_file"}
    for path, text in content.items():
        if text.startswith("#!/bin/sh"):
            subprocess.run(["sh", "-n"], input=text, text=True, check=True)
    lines = content["/etc/init.d/told"].replace("/run/told", str(tmp_path)).splitlines()
    first, last = lines.index(next(line for line in lines if line.startswith("hostname "))), next(
        number for number, line in enumerate(lines) if line.startswith(f"if [ -s {tmp_path}/keys"))
    done = subprocess.run(["sh", "-eu", "-c", "hostname() { echo \"$1\"; }\n" + "\n".join(lines[first:last])], capture_output=True, text=True, check=True,
                          env={"PATH": "/usr/bin:/bin", "data": json.dumps(told)})
    assert (done.stdout, (tmp_path / "keys").read_text(encoding="utf-8")) == (name + "\n", keys)
