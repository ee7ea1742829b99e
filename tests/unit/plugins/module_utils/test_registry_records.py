# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Records in the store that are JSON, and no records all the same."""

from __future__ import annotations

import json

import pytest
from ansible_collections.our.cloud.plugins.module_utils._registry.nfs_store import NfsStore
from ansible_collections.our.cloud.plugins.module_utils._registry.storage import RegistryError
from ansible_collections.our.cloud.plugins.module_utils._site.store import MARKER

COMMON = {"digest": "0" * 64, "created": "2026-01-01T00:00:00Z", "checksum": "sha256-4m:" + "0" * 64, "size": 7, "owner": "me", "origin": None}
GOOD = {
    "eki-0123456789ab": {**COMMON, "kind": "kernel", "arches": ["amd64"], "format": "bzImage", "version": "6.12"},
    "eri-0123456789ab": {**COMMON, "kind": "ramdisk", "compression": "zstd"},
    "emi-0123456789ab": {**COMMON, "kind": "image", "arch": "amd64", "format": "ext4", "kernel": "eki-0123456789ab", "ramdisk": None,
                         "root_device": None, "cmdline": None},
}


def record(root, key, about):
    """What the registry says of this."""
    (root / MARKER).touch()
    root.chmod(0o755)
    folder = root / "registry" / key
    folder.mkdir(parents=True)
    (folder / "about.json").write_text(json.dumps(about), encoding="ascii")
    return NfsStore(str(root)).get(key)


@pytest.mark.parametrize("key", GOOD)
def test_a_record(tmp_path, key):
    assert record(tmp_path, key, GOOD[key]) == {**GOOD[key], "id": key}


@pytest.mark.parametrize("key, changes", [
    ("eki-0123456789ab", {"size": None}), ("eki-0123456789ab", {"size": "7"}), ("eki-0123456789ab", {"arches": None}), ("eki-0123456789ab", {"arches": [1]}),
    ("eki-0123456789ab", {"arches": "amd64"}), ("eri-0123456789ab", {"checksum": 1}), ("eri-0123456789ab", {"created": ["2026"]}),
    ("emi-0123456789ab", {"kernel": 7}), ("emi-0123456789ab", {"kernel": "../../etc"}), ("emi-0123456789ab", {"ramdisk": ["eri-0123456789ab"]}),
    ("emi-0123456789ab", {"arch": None}), ("emi-0123456789ab", {"cmdline": {}}), ("emi-0123456789ab", {"format": 3}),
])
def test_what_is_none(tmp_path, key, changes):
    """Whoever makes use of it would stumble, without a word of the file."""
    with pytest.raises(RegistryError, match="about.json is damaged .it is no record of an? .*remove its directory and register it again"):
        record(tmp_path, key, {**GOOD[key], **changes})
