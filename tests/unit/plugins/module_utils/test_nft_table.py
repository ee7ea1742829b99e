# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One table of nftables: in the kernel, in its file, at boot; and gone again. nft and systemctl are scripts that note how they are called."""

from __future__ import annotations

import os

import pytest

from ansible_collections.our.cloud.plugins.module_utils._cloud import nft_table
from ansible_collections.our.cloud.plugins.module_utils._common.errors import CloudError

NFT = """#!/bin/sh
echo "nft $*" >>{folder}/calls
case "$*" in
  *list*) [ -e {folder}/loaded ] || exit $(cat {folder}/rc 2>/dev/null || echo 1) ;;
  *) cat >{folder}/given; ! grep -q wrong {folder}/given || {{ echo "syntax error" >&2; exit 1; }}
     [ "$1" = --check ] || cp {folder}/given {folder}/loaded ;;
esac
"""
SYSTEMCTL = """#!/bin/sh
echo "systemctl $*" >>{folder}/calls
case "$1" in
  show) cat {folder}/state 2>/dev/null || printf 'ActiveState=inactive\\nUnitFileState=disabled\\n' ;;
  start) printf 'ActiveState=active\\nUnitFileState=enabled\\n' >{folder}/state ;;
  stop) rm -f {folder}/state {folder}/loaded; [ -e {folder}/etc/web.nft ] ;;
esac
"""
UNITS = {"nft-table@.service": "[Unit]\n", "nftables.service.d/our-cloud-tables.conf": "[Service]\n"}
LOOK = ["nft --terse list table inet web", "systemctl show --property UnitFileState,ActiveState nft-table@web.service"]


@pytest.fixture(name="machine")
def fixture_machine(tmp_path, monkeypatch):
    for name, script in (("nft", NFT), ("systemctl", SYSTEMCTL)):
        (tmp_path / "bin").mkdir(exist_ok=True)
        (tmp_path / "bin" / name).write_text(script.format(folder=tmp_path), encoding="utf-8")
        os.chmod(tmp_path / "bin" / name, 0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:/usr/bin:/bin")
    monkeypatch.setattr(nft_table, "FOLDER", str(tmp_path / "etc"))
    monkeypatch.setattr(nft_table, "UNITS", str(tmp_path / "units"))
    return tmp_path


def keep(text="one\n", check=False, state="present", units=None):
    return nft_table.ensure("web", "inet", text, units or UNITS, state, check)


def calls(machine):
    """What was called since the last time."""
    path = machine / "calls"
    found = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    path.unlink(missing_ok=True)
    return found


def test_a_table_is_made_and_then_there_is_nothing_to_do(machine):
    assert keep()["done"] == ["load table inet web", "enable nft-table@web.service", "start nft-table@web.service"]
    assert calls(machine) == ["nft --check --file -", "nft --file -", "systemctl daemon-reload", LOOK[1], "systemctl enable --quiet nft-table@web.service",
                              "systemctl start nft-table@web.service"]
    assert (machine / "loaded").read_text(encoding="utf-8") == (machine / "etc/web.nft").read_text(encoding="utf-8") == "one\n"
    assert (machine / "units/nftables.service.d/our-cloud-tables.conf").read_text(encoding="utf-8") == "[Service]\n"
    assert keep() == {"changed": False, "done": [], "diff": []} and calls(machine) == LOOK


def test_a_changed_table_is_replaced_and_its_unit_left_alone(machine):
    keep()
    calls(machine)
    result = keep("two\n")
    assert result["done"] == ["load table inet web"] and [diff["after"] for diff in result["diff"]] == ["two\n"]
    assert calls(machine) == ["nft --check --file -", "nft --file -", LOOK[1]]
    assert (machine / "loaded").read_text(encoding="utf-8") == "two\n"


def test_a_table_that_was_flushed_is_loaded_again(machine):
    keep()
    (machine / "loaded").unlink()
    assert keep(check=True)["done"] == ["load table inet web"] and not (machine / "loaded").exists()
    assert keep()["done"] == ["load table inet web"] and (machine / "loaded").exists()


def test_a_wrong_table_changes_nothing(machine):
    keep()
    calls(machine)
    with pytest.raises(CloudError, match="nft --check --file -: syntax error"):
        keep("wrong\n", units={"nft-table@.service": "[Unit] 2\n"})
    assert calls(machine) == ["nft --check --file -"] and (machine / "etc/web.nft").read_text(encoding="utf-8") == "one\n"
    assert (machine / "units/nft-table@.service").read_text(encoding="utf-8") == "[Unit]\n"


def test_what_broke_off_before_the_file_was_written_is_done_again(machine, monkeypatch):
    keep()
    with monkeypatch.context() as patched:
        patched.setattr(nft_table.config_files, "_write", lambda *dummy: pytest.fail("power"))
        with pytest.raises(pytest.fail.Exception):
            keep("two\n")
    assert keep("two\n")["done"] == ["load table inet web"] and (machine / "etc/web.nft").read_text(encoding="utf-8") == "two\n"


def test_new_units_are_read(machine):
    keep()
    calls(machine)
    assert keep(units={"nft-table@.service": "[Unit] 2\n"})["changed"] and "systemctl daemon-reload" in calls(machine)


def test_a_check_of_a_new_machine_says_all_and_does_nothing(machine, monkeypatch):
    (machine / "bin/nft").unlink()
    monkeypatch.setenv("PATH", f"{machine}/bin")
    # the script's cat
    (machine / "bin/cat").symlink_to("/bin/cat")
    monkeypatch.setattr(nft_table.config_files, "_write", lambda *dummy: pytest.fail("it wrote"))
    result = keep(check=True)
    assert result["done"] == ["load table inet web", "enable nft-table@web.service", "start nft-table@web.service"] and len(result["diff"]) == 4
    assert calls(machine) == LOOK[1:] and not (machine / "etc").exists()


def test_a_table_is_removed(machine):
    assert keep(state="absent") == {"changed": False, "done": [], "diff": []} and calls(machine) == []
    keep()
    calls(machine)
    assert keep(state="absent", check=True)["done"] == ["stop nft-table@web.service", "disable nft-table@web.service"]
    assert calls(machine) == [] and (machine / "etc/web.nft").exists()
    # the unit finds the file
    assert keep(state="absent")["changed"]
    assert calls(machine) == ["systemctl stop nft-table@web.service", "systemctl disable --quiet nft-table@web.service"]
    assert not (machine / "etc/web.nft").exists() and not (machine / "loaded").exists()


def test_an_nft_that_cannot_tell(machine):
    keep()
    (machine / "loaded").unlink()
    (machine / "rc").write_text("3", encoding="ascii")
    with pytest.raises(CloudError, match="table inet web"):
        keep()


@pytest.mark.parametrize("name", ["x\n", "x y", "", "1x", "x;y", "../x"])
def test_a_name_that_is_none_is_refused(name):
    with pytest.raises(CloudError, match="Use letters, digits and underscores, a letter first"):
        nft_table.ensure(name, "inet", "", {}, "present", True)
