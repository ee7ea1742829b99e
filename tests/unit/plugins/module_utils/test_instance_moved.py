# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is made of what both nodes tell after an instance's move: the filters instance_failure and instance_astray."""

from __future__ import annotations

import pytest
from ansible_collections.our.cloud.plugins.filter.instance_failure import failure
from ansible_collections.our.cloud.plugins.module_utils._cloud import instance_moved
from ansible_collections.our.cloud.plugins.module_utils._cloud.compute_log import Log
from ansible_collections.our.cloud.plugins.module_utils._common import shapes
from ansible_collections.our.cloud.plugins.module_utils._guest import told
from ansible_collections.our.cloud.plugins.module_utils._guest.instance_facts import InstanceFacts
from ansible_collections.our.cloud.plugins.module_utils._guest.placement import Planned

PLAN = Planned("web", source="n1", target="n2", instance=InstanceFacts("web", "u1", domain="instance-00000001"))
UNSAFE = "Live Migration failure: Unsafe migration: Migration without shared storage is unsafe"
RUNS = {"name": "instance-00000001", "uuid": "u1", "active": True, "persistent": True, "state": "running"}
STOPPED = {"name": "instance-00000001", "uuid": "u1", "active": False, "persistent": True, "state": "stopped"}


@pytest.mark.parametrize("hosts, words", [
    ({"n1": {"lines": [UNSAFE], "unread": ""}, "n2": {"lines": [], "unread": ""}},
     f"It failed. nova-compute on n1 wrote: {UNSAFE}. On n1 the directory of one of its disks is not shared for libvirt"),
    ({"n1": {"lines": []}, "n2": {"lines": ["a.", "unable to connect to server at 'n2:16514'"]}},
     "It failed. nova-compute on n2 wrote: a | unable to connect to server at 'n2:16514'. n1 does not reach libvirt or QEMU on n2"),
    ({"n1": {"lines": [], "unread": "the log could not be read: Permission denied"}, "n2": {"unreachable": True, "msg": "no route"}},
     "It failed. On n1 the log could not be read: Permission denied"),
    ({"n1": {"lines": ["something new"]}}, "It failed. nova-compute on n1 wrote: something new"),
])
def test_a_failure_has_cause_and_remedy(hosts, words):
    assert failure(hosts, shapes.plain(PLAN), "It failed.").startswith(words)


@pytest.mark.parametrize("line, remedy", [
    ("The server certificate /etc/pki/libvirt/servercert.pem has expired", "The role relocation makes the certificates for moves"),
    ("unable to execute QEMU command 'migrate': No route to host", "n1 does not reach libvirt or QEMU on n2"),
    ("guest CPU doesn't match specification: missing features: avx2", "The nodes' processors differ"),
    ("Hook script execution failed: internal error: Child process (/etc/libvirt/hooks/qemu) exit status 1", "Another node holds its lease"),
    ("Failed to get \"write\" lock", "Another process has its disk open"),
    ("cannot set up guest memory 'pc.ram': Cannot allocate memory", "Make room on n2"),
    ("Binding failed for port 7b15a632: Vif plugging", "On n2: `systemctl status ovn-controller`"),
])
def test_the_remedy_is_for_what_the_log_says(line, remedy):
    assert f"wrote: {line}. {remedy}" in instance_moved.failure({"n1": Log((line,))}, PLAN, "It failed.")


@pytest.mark.parametrize("line", ["Released the port", "Block copy was aborted"])
def test_a_word_within_a_word_has_no_remedy(line):
    assert instance_moved.failure({"n1": Log((line,))}, PLAN, "It failed.").endswith(f"wrote: {line}")


@pytest.mark.parametrize("hosts, words", [
    ({"n1": {"guests": []}, "n2": {"guests": [RUNS]}}, ""),
    ({"n1": {"guests": [RUNS]}, "n2": {"guests": []}}, "moved to n2, and libvirt there does not run it"),
    ({"n1": {"guests": []}, "n2": {"guests": [STOPPED]}}, "moved to n2, and libvirt there does not run it"),
    ({"n1": {"guests": [STOPPED]}, "n2": {"guests": [RUNS]}}, "n1 still has a domain of it (stopped)"),
    ({"n2": {"guests": [RUNS]}}, "n1 could not be asked"),
    ({}, "n1 and n2 could not be asked"),
])
def test_whether_it_has_arrived(hosts, words):
    said = instance_moved.astray(told.read(hosts), PLAN)
    assert (said == "") is (words == "") and words in said
