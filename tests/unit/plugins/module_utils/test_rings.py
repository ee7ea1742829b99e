# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rings of one device, and the secrets that objects were stored with."""

from __future__ import annotations

import errno
import os
import types

import pytest

from ansible_collections.our.cloud.plugins.module_utils._cloud import rings
from ansible_collections.our.cloud.plugins.module_utils._common.errors import CloudError

ALL = ["make the %s ring" % part for part in rings.PARTS]
NOTE = "note by which secrets objects are stored"


class Builder:
    """swift-ring-builder: `create` makes the builder, `rebalance` the ring."""

    def __init__(self):
        self.asked, self.code, self.text = [], {"rebalance": 1}, ""

    def __call__(self, argv, **dummy):
        builder, verb = argv[1], argv[2]
        self.asked.append([os.path.basename(builder), *argv[2:]])
        code = self.code.get(verb, 0)
        if code < 2 and verb in ("create", "rebalance"):
            with open(builder if verb == "create" else builder.replace(".builder", ".ring.gz"), "w", encoding="ascii") as file:
                file.write(verb)
        return types.SimpleNamespace(returncode=code, stdout=self.text)


@pytest.fixture(name="site")
def fixture_site(tmp_path, monkeypatch):
    for name in ("etc", "swift"):
        (tmp_path / name).mkdir()
    attributes = []
    monkeypatch.setattr(os, "setxattr", lambda file, name, value: attributes.append(name))
    builder = Builder()
    return types.SimpleNamespace(etc=tmp_path / "etc", devices=tmp_path / "swift", builder=builder, attributes=attributes,
                                 rings=rings.Rings(str(tmp_path / "etc"), str(tmp_path / "swift"), "disk", builder))


def test_rings_are_made_once(site):
    assert site.rings.ensure("a", "b", check_mode=True) == [NOTE, *ALL]
    assert os.listdir(site.etc) == os.listdir(site.devices) == site.builder.asked == []
    assert site.rings.ensure("a", "b") == [NOTE, *ALL]
    assert site.builder.asked[:3] == [
        ["account.builder", "create", "10", "1", "1"],
        ["account.builder", "add", "--region", "1", "--zone", "1", "--ip", "127.0.0.1", "--port", "6202", "--device", "disk", "--weight", "1"],
        ["account.builder", "rebalance"]]
    assert sorted(os.listdir(site.etc)) == sorted(part + end for part in rings.PARTS for end in (".builder", ".ring.gz"))
    assert site.attributes == ["user.our-cloud"]
    for check_mode in (True, False):
        assert site.rings.ensure("a", "b", check_mode) == []


@pytest.mark.parametrize("end", [".builder", ".ring.gz"])
def test_half_a_ring_is_made_again(site, end):
    site.rings.ensure("a", "b")
    os.unlink(site.etc / ("object" + end))
    assert site.rings.ensure("a", "b") == ["make the object ring"]


def test_a_builder_that_fails(site):
    site.builder.code, site.builder.text = {"add": 2}, "no such device"
    with pytest.raises(CloudError, match="swift-ring-builder .*account.builder add .*no such device"):
        site.rings.ensure("a", "b")
    assert os.listdir(site.etc) == []


def test_other_secrets_are_refused_where_objects_are(site):
    site.rings.ensure("a", "b")
    for check_mode in (True, False):
        with pytest.raises(CloudError, match="stored with other secrets.*Put the files swift-prefix and swift-suffix back"):
            site.rings.ensure("a", "c", check_mode)
    assert site.rings.ensure("a", "b") == []


def test_objects_without_a_note(site):
    (site.devices / "disk" / "objects").mkdir(parents=True)
    with pytest.raises(CloudError, match="stored with other secrets"):
        site.rings.ensure("a", "b")
    (site.etc / "swift.conf").write_text("[swift-hash]\nswift_hash_path_prefix = a\nswift_hash_path_suffix = b\n", encoding="ascii")
    assert site.rings.ensure("a", "b") == [NOTE, *ALL]
    with pytest.raises(CloudError, match="stored with other secrets"):
        site.rings.ensure("b", "a")


def test_a_store_without_extended_attributes(site, monkeypatch):
    def refuse(*dummy):
        raise OSError(errno.ENOTSUP, "Operation not supported")
    monkeypatch.setattr(os, "setxattr", refuse)
    with pytest.raises(CloudError, match="extended attributes.*Operation not supported. Give the store"):
        site.rings.ensure("a", "b")
    assert os.listdir(site.devices) == []
