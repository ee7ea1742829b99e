# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from ansible_collections.our.cloud.plugins.module_utils._site import tables


def image(key, names, guests=(), **more):
    return {"id": key, "names": names, "arch": "amd64", "size": 1 << 30, "kernel": "eki-1", "ramdisk": "eri-1", "origin": None, "owner": "me",
            "created": "2026-01-01T12:00:00Z", "guests": list(guests), **more}


def part(key, names=(), guests=(), **more):
    return {"id": key, "names": list(names), "size": 9 << 20, "guests": list(guests), **more}


REGISTRY = {
    "images": [image("emi-1", [], ["a"]), image("emi-2", ["debian", "stable"], origin={"recipe": "debian-13", "hash": None}, size=300 << 20, ramdisk=None)],
    "kernels": [part("eki-1", version="6.12"), part("eki-2", ["own"], ["x", "y"], version="6.13")], "ramdisks": [part("eri-1"), part("eri-2")]}


def test_images():
    assert tables.images(REGISTRY) == [
        "image  names           arch    MiB  kernel  release  ramdisk  recipe     owner  registered            guests",
        "emi-1  -               amd64  1024  eki-1   6.12     eri-1    -          me     2026-01-01T12:00:00Z  a",
        "emi-2  debian, stable  amd64   300  eki-1   6.12     -        debian-13  me     2026-01-01T12:00:00Z  -",
        "",
        "of no image  id     names   KiB  guests",
        "kernel       eki-2  own    9216  x, y",
        "ramdisk      eri-2  -      9216  -"]


def test_nothing():
    empty = {"images": [], "kernels": [], "ramdisks": []}
    shown = tables.images(dict(empty, room={"path": "/srv/x", "size": 90 << 30, "free": 10 << 30, "promised": 2 << 30}))
    assert shown[1:] == ["", "/srv/x has 10240 of 92160 MiB free. The guests' disks there may still take 2048 MiB."]
    shown = tables.images(dict(empty, room={"path": "/srv/x", "size": 90 << 30, "free": 10 << 30, "promised": 11 << 30}))
    assert shown[2].endswith("may still take 11264 MiB, which is more: guests stop when it is full. "
                             "Make it larger, or remove what nobody needs (playbooks/prune.yml).")
    assert tables.room({"path": "/srv/x", "size": 90 << 30, "free": 10 << 30, "promised": 10 << 30}).endswith("may still take 10240 MiB.")
    assert tables.images(dict(empty, room=None)) == tables.images(empty)
    assert tables.images(empty) == ["image  names  arch  MiB  kernel  release  ramdisk  recipe  owner  registered  guests"]
