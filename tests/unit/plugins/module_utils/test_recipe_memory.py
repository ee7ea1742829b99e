# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a build leaves for the next one, whole or not."""

from __future__ import annotations

import pytest
from ansible_collections.our.cloud.plugins.module_utils._recipe.recipe_workdir import Memory


def test_what_was_left_is_there(tmp_path):
    path = str(tmp_path / "memory.json")
    assert {name: Memory(path)[name] for name in Memory.NOTHING} == Memory.NOTHING
    left = {"built": {"root": "abc"}, "chain": [["root", "abc"]], "stopped": "def", "output": {"key": "k", "files": {"image": "/x"}},
            "live": {"macrostep": "a", "microstep": "b", "key": "", "clean": False}}
    Memory(path).update(**left)
    assert {name: Memory(path)[name] for name in Memory.NOTHING} == left


@pytest.mark.parametrize("content", ["", "{", "[]", "7", "null", '"x"', '{"built": []}', '{"built": {"a": "b"}, "chain": 7}', '{"live": "x"}', '{"output": []}',
                                     '{"stopped": {}}', '{"chain": [["root"]]}', '{"chain": ["ab"]}', '{"built": {"a": 1}}', '{"live": {}}',
                                     '{"live": {"macrostep": "a", "microstep": 1, "key": "k", "clean": true}}', '{"output": {"key": "k"}}',
                                     '{"output": {"key": "k", "files": ["x"]}}', '{"live": {"macrostep": "a", "microstep": "b", "key": "k"}}'])
def test_what_is_none_is_forgotten(tmp_path, content):
    path = tmp_path / "memory.json"
    path.write_text(content, encoding="utf-8")
    assert {name: Memory(str(path))[name] for name in Memory.NOTHING} == Memory.NOTHING
