# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import dataclasses
import grp
import os
import pwd
import stat

import pytest

from ansible_collections.our.cloud.plugins.module_utils._cloud import config_files, secrets
from ansible_collections.our.cloud.plugins.module_utils._common.errors import CloudError

OWNER, GROUP = pwd.getpwuid(os.geteuid()).pw_name, grp.getgrgid(os.getegid()).gr_name
OURS = "k3" * 16


def wanted(path, **more):
    return config_files.File(str(path), **{"owner": OWNER, "group": GROUP, **more})


def test_ini():
    assert config_files.ini({"DEFAULT": {"workers": 1, "debug": False, "left": None, "option": ["a", "b"], "empty": ""}, "bare": None}) == (
        "# Ansible manages this file: changes here are lost.\n\n[DEFAULT]\nworkers = 1\ndebug = false\noption = a\noption = b\nempty =\n\n[bare]\n")


def test_a_value_of_two_lines_is_refused():
    with pytest.raises(CloudError, match=r"\[DEFAULT\] key has a line break"):
        config_files.ini({"DEFAULT": {"key": "a\n[b]"}})


def test_written_once(tmp_path):
    files = [wanted(tmp_path / "new/etc.conf", content="a = 1\n", mode="0600")]
    assert config_files.ensure(files, check=False).paths == (str(tmp_path / "new/etc.conf"),)
    assert (tmp_path / "new/etc.conf").read_text() == "a = 1\n"
    assert stat.S_IMODE((tmp_path / "new/etc.conf").stat().st_mode) == 0o600
    assert config_files.ensure(files, check=False) == config_files.Changes()
    assert os.listdir(tmp_path / "new") == ["etc.conf"]


def test_without_an_owner_it_is_who_writes(tmp_path):
    files = [wanted(tmp_path / "a", content="", owner="", group="")]
    assert config_files.ensure(files, check=False).diff[0]["after_header"].endswith(f"a {OWNER}:{GROUP} 0640")
    assert not config_files.ensure(files, check=False).changed


def test_attributes_alone(tmp_path):
    path = tmp_path / "a"
    path.write_text("x\n")
    path.chmod(0o666)
    result = config_files.ensure([wanted(path, content="x\n")], check=False)
    assert result.diff[0]["before_header"].endswith("0666") and result.diff[0]["after_header"].endswith("0640")
    assert result.diff[0]["before"] == result.diff[0]["after"] == "x\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_a_check_needs_neither_user_nor_directory(tmp_path):
    files = [wanted(tmp_path / "nowhere/a", content="x\n", owner="nobody-has-this", group="nor-this")]
    assert config_files.ensure(files, check=True).changed and not (tmp_path / "nowhere").exists()
    with pytest.raises(CloudError, match="no such user or group.*package"):
        config_files.ensure(files, check=False)


def test_directories(tmp_path):
    there = [config_files.Directory(str(tmp_path / "a/b"), OWNER, GROUP, "0750")]
    assert config_files.ensure([], True, there).paths == (str(tmp_path / "a/b"),) and not (tmp_path / "a").exists()
    config_files.ensure([wanted(tmp_path / "a/b/c", content="")], False, there)
    assert stat.S_IMODE((tmp_path / "a/b").stat().st_mode) == 0o750
    assert config_files.ensure([], False, there).paths == ()
    there = [dataclasses.replace(there[0], path=str(tmp_path / "a/b/c"))]
    with pytest.raises(CloudError, match="there must be a directory"):
        config_files.ensure([], True, there)


def test_absent(tmp_path):
    (tmp_path / "a").write_text("x\n")
    files = [wanted(tmp_path / "a", state="absent"), wanted(tmp_path / "b", state="absent")]
    assert config_files.ensure(files, check=True).paths == (str(tmp_path / "a"),)
    assert config_files.ensure(files, check=False).paths == (str(tmp_path / "a"),)
    assert config_files.ensure(files, check=False).paths == ()


def test_a_link_is_replaced_and_a_directory_is_not(tmp_path):
    (tmp_path / "target").write_text("theirs\n")
    (tmp_path / "link").symlink_to(tmp_path / "target")
    config_files.ensure([wanted(tmp_path / "link", content="ours\n")], check=False)
    assert not (tmp_path / "link").is_symlink() and (tmp_path / "target").read_text() == "theirs\n"
    with pytest.raises(CloudError, match="there must be a file, and there is a directory"):
        config_files.ensure([wanted(tmp_path, content="")], check=False)


def test_secrets_are_not_shown(tmp_path):
    text = ("password = hunter22\ntransport_url = rabbit://nova:hunter33@192.0.2.1:5671/\nmetadata_proxy_shared_secret=hunter44\n"
            f"SECRET_KEY = 'hunter55'\n  \"password_hash\": \"hunter66\",\nexport OS_PASSWORD=hunter77\nother = {OURS}\n")
    assert secrets.found(text) == {"hunter22", "hunter33", "hunter44", "hunter55", "hunter66", "hunter77", OURS}
    path = tmp_path / "a"
    shown = str(config_files.ensure([wanted(path, content=text)], check=False).diff)
    shown += str(config_files.ensure([wanted(path, content=text.replace("hunter22", "hunter88"))], check=False).diff)
    assert "hunter" not in shown and OURS not in shown
    assert "nova:********@192.0.2.1" in shown and "a secret in it has changed" in shown


def test_what_is_no_secret_is_shown():
    text = ("secret_cache_duration = 60\nservice_token_roles = service\nauth_type = password\nkey_file = /etc/key.pem\n"
            "memcached_servers = 127.0.0.1:11211\nsum = 0123456789abcdef0123456789abcdef\npassword =\nauth_url = https://192.0.2.1:5000/v3\n")
    assert secrets.found(text) == set() and secrets.mask(text) == text


def test_a_diff_of_settings_shows_no_comments(tmp_path):
    path = tmp_path / "x.conf"
    path.write_text("# what a package's sample says\n[DEFAULT]\n#debug = false\n\ndebug = true\n", encoding="utf-8")
    diff = config_files.ensure([wanted(path, ini={"DEFAULT": {"debug": False}})], True).diff[0]
    assert (diff["before"], diff["after"]) == ("[DEFAULT]\ndebug = true\n", "[DEFAULT]\ndebug = false\n")
