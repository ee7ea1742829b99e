# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import re
import stat

import pytest
from ansible.errors import AnsibleError
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import lookup_loader
from ansible.template import Templar, trust_as_template


def ask(*names, **variables):
    templar = Templar(loader=DataLoader(), variables=variables)
    return lookup_loader.get("our.cloud.secret", templar=templar, loader=DataLoader()).run(list(names), variables=variables)


def test_made_once_for_its_owner_alone(tmp_path):
    first = ask("admin", "user-nova", inventory_dir=str(tmp_path))
    assert all(re.fullmatch("[0-9a-z]{32}", secret) for secret in first) and first[0] != first[1]
    assert ask("admin", "user-nova", inventory_dir=str(tmp_path)) == first
    assert [stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / ".secrets", tmp_path / ".secrets/admin")] == [0o700, 0o600]
    assert sorted(path.name for path in (tmp_path / ".secrets").iterdir()) == ["admin", "user-nova"]


def test_a_check_makes_nothing(tmp_path):
    assert ask("admin", inventory_dir=str(tmp_path), ansible_check_mode=True) == ["made-when-it-is-needed"]
    assert list(tmp_path.iterdir()) == []
    made = ask("admin", inventory_dir=str(tmp_path))
    assert ask("admin", inventory_dir=str(tmp_path), ansible_check_mode=True) == made


def test_the_directory_may_be_a_template(tmp_path):
    ask("admin", inventory_dir=str(tmp_path), cloud_secrets_dir=trust_as_template("{{ inventory_dir }}/kept"))
    assert (tmp_path / "kept/admin").exists()


@pytest.mark.parametrize(("name", "content", "mode", "message"), [
    ("../admin", "", 0o600, "no name of a secret"),
    ("admin", "abcdefgh\n", 0o640, "can be read by others"),
    ("admin", "short\n", 0o600, "a secret that not every service accepts"),
    ("admin", "with$dollar\n", 0o600, "a secret that not every service accepts"),
])
def test_what_cannot_be_used_is_refused(tmp_path, name, content, mode, message):
    (tmp_path / "admin").write_text(content, encoding="utf-8")
    (tmp_path / "admin").chmod(mode)
    with pytest.raises(AnsibleError, match=message):
        ask(name, cloud_secrets_dir=str(tmp_path))


def test_without_an_inventory_it_says_what_to_do():
    with pytest.raises(AnsibleError, match="set cloud_secrets_dir"):
        ask("admin")
