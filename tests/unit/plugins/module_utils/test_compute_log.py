# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a node's log says of an instance."""

from __future__ import annotations

import time

import pytest
from ansible_collections.our.cloud.plugins.module_utils._cloud import compute_log

WEB, OTHER = "eba9bb47-58dd-4a60-800d-70d790cdca42", "7b15a632-6f7c-4a7f-9e69-bb91b0b3c115"
LOG = f"""2026-11-27 23:20:00.611 3246 ERROR nova.virt.libvirt.driver [None req-11111111-d9b8-4f47-b613-9b86660f5a90 - - - - - -] [instance: {WEB}] of before
2026-11-27 23:30:01.000 3246 ERROR nova.virt.libvirt.driver [None req-22222222-d9b8-4f47-b613-9b86660f5a90 - - - - - -] [instance: {OTHER}] another's
2026-11-27 23:30:02.000 3246 INFO nova.compute.manager [None req-3eae897c-d9b8-4f47-b613-9b86660f5a90 u p - - - -] [instance: {WEB}] Took 8.30 seconds
2026-11-27 23:30:03.611 3246 ERROR nova.virt.libvirt.driver [None req-3eae897c-d9b8-4f47-b613-9b86660f5a90 u p - - - -] [instance: {WEB}] \
Live Migration failure: Unsafe migration: Migration without shared storage is unsafe: libvirt.libvirtError: Unsafe migration: Migration without shared \
storage is unsafe
2026-11-27 23:30:03.700 3246 ERROR nova.virt.libvirt.driver [instance: {WEB}] Traceback (most recent call last):
2026-11-27 23:30:03.700 3246 ERROR nova.virt.libvirt.driver [instance: {WEB}]   File "/usr/lib/python3/dist-packages/nova/virt/libvirt/driver.py", line 1
2026-11-27 23:30:03.700 3246 ERROR nova.virt.libvirt.driver [instance: {WEB}]     ~~~~^^^^
2026-11-27 23:30:03.700 3246 ERROR nova.virt.libvirt.driver [instance: {WEB}] OSError: [Errno 16] Device or resource busy
2026-11-27 23:30:03.700 3246 ERROR nova.virt.libvirt.driver [instance: {WEB}] \n\
2026-11-27 23:30:04.108 3246 ERROR nova.virt.libvirt.driver [None req-3eae897c-d9b8-4f47-b613-9b86660f5a90 u p - - - -] [instance: {WEB}] \
Migration operation has aborted
2026-11-27 23:30:06.986 2914 ERROR oslo_messaging.rpc.server [None req-3eae897c-d9b8-4f47-b613-9b86660f5a90 u p - - - -] Exception during message handling
2026-11-27 23:30:07.000 3246 ERROR nova.virt.libvirt.driver [None req-3eae897c-d9b8-4f47-b613-9b86660f5a90 u p - - - -] [instance: {WEB}] \
Migration operation has aborted
"""
UNSAFE = "Live Migration failure: Unsafe migration: Migration without shared storage is unsafe"


def at(clock):
    return time.mktime(time.strptime(f"2026-11-27 {clock}", "%Y-%m-%d %H:%M:%S"))


def test_the_first_errors_of_an_instance_each_once():
    assert compute_log.told(LOG, WEB, at("23:30:05")) == [UNSAFE, "OSError: [Errno 16] Device or resource busy", "Migration operation has aborted"]


def test_errors_of_the_request_belong_to_it(monkeypatch):
    monkeypatch.setattr(compute_log, "LINES", 9)
    assert compute_log.told(LOG + LOG.splitlines()[-1] + " because: OSError", WEB, at("23:30:05"))[3:] == [
        "Exception during message handling", "Migration operation has aborted because: OSError"]


@pytest.mark.parametrize("instance, since, lines", [(WEB, "23:31:00", []), ("b" * 36, "23:00:00", []), (OTHER, "23:30:00", ["another's"])])
def test_what_is_of_before_or_of_others_is_left_out(instance, since, lines):
    assert compute_log.told(LOG, instance, at(since)) == lines


def test_the_end_of_a_long_log_is_read(tmp_path, monkeypatch):
    (tmp_path / "log").write_text("x" * 999 + "\n" + LOG, encoding="utf-8")
    monkeypatch.setattr(compute_log, "SIZE", 240)
    assert compute_log.look(WEB, at("23:30:00"), str(tmp_path / "log")) == compute_log.Log(("Migration operation has aborted",))


def test_a_log_that_is_not_there_is_told(tmp_path):
    assert compute_log.look(WEB, 0, str(tmp_path / "none")) == compute_log.Log(unread=f"{tmp_path}/none could not be read: No such file or directory")
