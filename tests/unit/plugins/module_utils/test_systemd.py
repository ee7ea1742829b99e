# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Units as systemd shows them."""

from __future__ import annotations

from ansible_collections.our.cloud.plugins.module_utils._site import systemd
from ansible_collections.our.cloud.plugins.module_utils._site.systemd import Unit

SHOWN = """Id=nova-compute.service
LoadState=loaded
ActiveState=active
SubState=running
Result=success
NRestarts=2

Id=glance-api.service
LoadState=loaded
ActiveState=failed
SubState=failed
Result=exit-code
NRestarts=0
UnitFileState=enabled

Id=neutron-api.service
LoadState=loaded
ActiveState=active
SubState=exited
Result=success
NRestarts=0

Id=openvswitch-switch.service
Type=oneshot
LoadState=loaded
ActiveState=active
SubState=exited

Id=epmd.socket
LoadState=loaded
ActiveState=active
SubState=listening

Id=gone.service
LoadState=not-found
ActiveState=inactive
SubState=dead

Id=our-cloud-lease.service
Type=simple
LoadState=loaded
ActiveState=activating
SubState=auto-restart
Result=exit-code
NRestarts=17
UnitFileState=enabled-runtime

Id=libvirtd.service
Type=notify
LoadState=loaded
ActiveState=inactive
SubState=dead
Result=success
NRestarts=0
UnitFileState=disabled
TriggeredBy=libvirtd.socket libvirtd-ro.socket

Id=our-cloud-objects.timer
LoadState=loaded
ActiveState=active
SubState=waiting
Result=success

Id=srv-cloud.mount
LoadState=loaded
ActiveState=active
SubState=mounted

Id=wrong.service
LoadState=masked
ActiveState=inactive
SubState=dead
"""


def test_units():
    assert systemd.units(SHOWN) == [
        Unit("nova-compute", True, "active (running)", 2),
        Unit("glance-api", False, "failed (failed), exit-code", wanted=True, failed=True),
        # a daemon that has exited does not run, though its unit is "active"
        Unit("neutron-api", False, "active (exited)"),
        Unit("openvswitch-switch", True, "active (exited)"),
        Unit("epmd.socket", True, "active (listening)"),
        Unit("gone", False, "not-found", there=False),
        Unit("our-cloud-lease", False, "activating (auto-restart), exit-code", 17, wanted=True, failed=True),
        Unit("libvirtd", False, "inactive (dead)", triggers=("libvirtd.socket", "libvirtd-ro.socket")),
        Unit("our-cloud-objects.timer", True, "active (waiting)"),
        Unit("srv-cloud.mount", True, "active (mounted)"),
        Unit("wrong", False, "masked")]
    assert systemd.units("") == []


def test_a_program_that_is_not_there_or_takes_too_long():
    assert systemd.run("/no/such/program") == "" and systemd.run("false") == "" and systemd.run("echo", "x") == "x\n"
    assert systemd.run("sh", "-c", "echo $LC_ALL") == "C\n"
    assert systemd.run("sh", "-c", "echo x; sleep 9", timeout=0.2) == ""


def test_look(monkeypatch):
    asked = []
    monkeypatch.setattr(systemd, "run", lambda *argv: asked.append(argv) or "Id=a.service\nLoadState=loaded\nActiveState=active\nSubState=running\n")
    assert systemd.look([]) == [] and asked == []
    assert systemd.look(["a.service"]) == [Unit("a", True, "active (running)")]
    assert asked == [("systemctl", "show", "--property",
                      "Id,Type,LoadState,ActiveState,SubState,Result,NRestarts,UnitFileState,TriggeredBy", "a.service")]
