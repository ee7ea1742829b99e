# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The file as libvirt calls it."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
import time

import pytest
from ansible_collections.our.cloud.plugins.module_utils._guest import lease
from lease_samples import OTHER, UUID, XML, domain, holder, rewrite


# --- as libvirt calls it ----------------------------------------------------

@pytest.fixture
def hook(store, tmp_path):
    """Run the file as the hook of a host, which is a name and a directory here."""
    program = tmp_path / "lease.py"
    text = pathlib.Path(lease.__file__).read_text(encoding="utf-8")

    def call(host, *words, xml="", seconds=None):
        config, run = tmp_path / f"{host}.json", tmp_path / f"run-{host}"
        config.write_text(json.dumps({"host": host, "store": str(store)}))
        own = text.replace('"/etc/our-cloud/lease.json"', f'"{config}"').replace('RUN = "/run/our-cloud"', f'RUN = "{run}"')
        if seconds:
            own = own.replace("HOOK_TIME = 30", f"HOOK_TIME = {seconds}")
        program.write_text(own)
        return subprocess.run([sys.executable, "-IS", str(program), *words], input=xml, capture_output=True, text=True, check=False)
    return call


def test_the_hook(hook, store, guest):
    xml = domain(guest)
    # libvirt reads the output of migrate as a changed XML
    begun = [hook("one", "hook", "web", "prepare", "begin", "-", xml=xml), hook("one", "hook", "web", "start", "begin", "-", xml=xml)]
    assert [(done.returncode, done.stdout, done.stderr) for done in begun] == [(0, "", "")] * 2
    refused = hook("two", "hook", "web", "prepare", "begin", "-", xml=xml)
    assert refused.returncode == 1 and refused.stdout == "" and "runs on one" in refused.stderr and len(refused.stderr.splitlines()) == 1
    moved = hook("two", "hook", "web", "migrate", "begin", "-", xml=xml)
    assert (moved.returncode, moved.stdout) == (0, "")
    assert hook("two", "hook", "web", "prepare", "begin", "-", xml=xml).returncode == 0
    assert hook("one", "hook", "web", "release", "end", "migrated", xml=xml).returncode == 0
    assert holder(store) == ("two", None)
    assert hook("one", "hook", "web", "reconnect", "begin", "-", xml=xml).returncode == 0
    assert json.loads(hook("one", "list").stdout)[0]["host"] == "two"
    assert hook("one", "hook", "web", "prepare", "begin", "-", xml="no XML").returncode == 1
    assert hook("one", "nonsense").returncode == 2


def test_a_store_that_hangs_does_not_hang_libvirt(monkeypatch, capfd, tmp_path):
    node = lease.Node("one", str(tmp_path), run=str(tmp_path / "run"), status=())
    monkeypatch.setattr(lease.Node, "here", classmethod(lambda cls: node))
    monkeypatch.setattr(lease, "take", lambda *dummy: time.sleep(30))
    monkeypatch.setattr(lease, "release", lambda *dummy: time.sleep(30))
    monkeypatch.setattr(lease, "reconnect", lambda *dummy: time.sleep(30))
    xml = XML.format(name="web", uuid=UUID, disk="/nowhere").encode()
    assert lease.hook(["web", "prepare", "begin", "-"], xml, 0.2) == 1
    assert "the store does not answer within" in capfd.readouterr().err
    assert lease.hook(["web", "release", "end", "-"], xml, 0.2) == 0
    assert lease.hook(["web", "reconnect", "begin", "-"], xml, 0.2) == 0


def test_what_looks_after_leases_has_none_of_the_hooks_pipes():
    """libvirt waits until they are closed."""
    def where():
        raise ValueError(" ".join(os.readlink(f"/proc/self/fd/{descriptor}") for descriptor in (0, 1, 2)))

    assert lease.bounded(30, where) == (False, "/dev/null /dev/null /dev/null")
    assert lease.bounded(30, lambda: None) == (True, "")


def test_what_goes_wrong_in_the_hook_keeps_the_guest_from_starting(monkeypatch, capfd, tmp_path):
    node = lease.Node("one", str(tmp_path), run=str(tmp_path / "run"), status=())
    monkeypatch.setattr(lease.Node, "here", classmethod(lambda cls: node))
    monkeypatch.setattr(lease, "take", lambda *dummy: 1 / 0)
    xml = XML.format(name="web", uuid=UUID, disk="/nowhere").encode()
    assert lease.hook(["web", "prepare", "begin", "-"], xml, 5) == 1
    assert "division" in capfd.readouterr().err
    monkeypatch.setattr(lease, "take", lambda *dummy: os._exit(0))
    assert lease.hook(["web", "prepare", "begin", "-"], xml, 5) == 1
    assert "has died" in capfd.readouterr().err


def test_the_words_of_the_hook_in_the_error_of_libvirt():
    wrapped = ("Hook script execution failed: internal error: Child process (LC_ALL=C PATH=/usr/bin /etc/libvirt/hooks/qemu.d/our-cloud-lease web prepare "
               "begin -) unexpected exit status 1: two: guest web: the guest runs on one\n")
    assert lease.hook_said(wrapped) == "two: guest web: the guest runs on one"
    assert lease.hook_said("Hook script execution failed: internal error: Child process (x) unexpected exit status 1: somebody else's") == ""


def test_the_disk_that_libvirt_leaves_alone_belongs_to_qemu(make, store, guest, monkeypatch):
    xml = domain(guest).replace("one.img'/>", "one.img'><seclabel model='dac' relabel='no'/></source>")
    asked = lease.guest_of(xml)
    assert asked.unlabelled == asked.disks == guest.disks
    given, one, two = [], make("one"), make("two")
    monkeypatch.setattr(lease, "QEMU_USER", "nobody")
    monkeypatch.setattr(os, "chown", lambda *words: given.append(words))
    lease.take(one, asked)
    assert [words[0] for words in given] == [guest.disks[0]] and given[0][2] == -1
    # who is refused changes nothing
    with pytest.raises(lease.LeaseError):
        lease.take(two, asked)
    lease.take(two, lease.Guest("plain", OTHER, (str(store / "images/two.img"),)))
    assert len(given) == 1


def test_a_libvirtd_that_starts_keeps_a_guest_unless_another_host_has_its_lease(make, store, guest, monkeypatch, capfd):
    one = make("one")
    lease.take(one, guest)
    monkeypatch.setattr(lease.Node, "here", classmethod(lambda cls: one))
    assert lease.hook([guest.name, "reconnect", "begin", "-"], domain(guest).encode(), 5) == 0
    rewrite(store, one, guest, host="two")
    assert lease.hook([guest.name, "reconnect", "begin", "-"], domain(guest).encode(), 5) == 1
    assert "one: guest web: ended here, because two has its lease since " in capfd.readouterr().err


def test_xens_announcement_without_a_description_claims_by_name(make, store, guest, monkeypatch, capfd):
    one, two = make("one"), make("two")
    lease.take(one, guest)
    monkeypatch.setattr(lease.Node, "here", classmethod(lambda cls: two))
    assert lease.hook([guest.name, "migrate", "begin", "-"], b"", 5) == 0
    lease.take(two, guest)
    assert holder(store) == ("one", "two")
    # it ends there, and its source goes on
    assert lease.hook([guest.name, "release", "end", "-"], domain(guest).encode(), 5) == 0
    assert holder(store) == ("one", None)
    # nothing else comes without
    assert lease.hook([guest.name, "prepare", "begin", "-"], b"", 5) == 1
    assert "not XML" in capfd.readouterr().err
