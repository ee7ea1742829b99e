# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""settle's table, whole: each combination of what may be seen has one right answer here, told by rules of its own."""

from __future__ import annotations

import itertools
import string

import pytest

from ansible_collections.our.cloud.plugins.module_utils._move import settle

ALL = [settle.Seen(*values) for values in itertools.product(
    ("live", "suspend", "offline"), settle.HERE, settle.THERE, (False, True), (False, True), settle.WANTED)]
TIDY = ("tidy target", "forget state")

# A running guest's live move: (here, there): what to do if the target's copy has not run, and if it has. place, actions.
UNKNOWN, BOTH, NOWHERE = ("unknown", ()), ("both", ()), ("nowhere", ())
TAKE, STOP_HERE = ("target", ("take over",)), ("target", ("destroy source",))
STOP_THERE, AT_HOME = ("source", ("destroy target",)), ("source", TIDY)
LIVE = {
    ("gone", "silent"): (UNKNOWN, UNKNOWN),
    ("gone", "gone"): (("source", ("define source",)), ("source", ("define source",))),
    ("gone", "stopped"): (NOWHERE, ("nowhere", ("forget state",))),
    ("gone", "arriving"): (UNKNOWN, UNKNOWN),
    ("gone", "paused"): (NOWHERE, TAKE),
    ("gone", "running"): (NOWHERE, TAKE),
    ("stopped", "silent"): (UNKNOWN, UNKNOWN),
    ("stopped", "gone"): (("nowhere", ("tidy target",)), ("nowhere", ("forget state",))),
    ("stopped", "stopped"): (("nowhere", ("tidy target",)), ("nowhere", ("forget state",))),
    ("stopped", "arriving"): (UNKNOWN, UNKNOWN),
    ("stopped", "paused"): (NOWHERE, TAKE),
    ("stopped", "running"): (NOWHERE, TAKE),
    ("running", "silent"): (("source", ("forget state",)),) * 2,
    ("running", "gone"): (AT_HOME, AT_HOME),
    ("running", "stopped"): (AT_HOME, AT_HOME),
    ("running", "arriving"): (UNKNOWN, UNKNOWN),
    ("running", "paused"): (STOP_THERE, BOTH),
    ("running", "running"): (STOP_THERE, BOTH),
    ("paused", "silent"): (UNKNOWN, UNKNOWN),
    ("paused", "gone"): (("source", ("resume source",)), ("nowhere", ("forget state",))),
    ("paused", "stopped"): (("source", ("resume source",)), ("nowhere", ("forget state",))),
    ("paused", "arriving"): (UNKNOWN, UNKNOWN),
    ("paused", "paused"): (STOP_THERE, STOP_HERE),
    ("paused", "running"): (STOP_THERE, STOP_HERE),
    ("standing", "silent"): (UNKNOWN, UNKNOWN),
    ("standing", "gone"): (("source", ("wake source",)), ("nowhere", ("forget state",))),
    ("standing", "stopped"): (("source", ("wake source",)), ("nowhere", ("forget state",))),
    ("standing", "arriving"): (UNKNOWN, UNKNOWN),
    ("standing", "paused"): (STOP_THERE, STOP_HERE),
    ("standing", "running"): (STOP_THERE, STOP_HERE),
    ("half", "silent"): (UNKNOWN, UNKNOWN),
    ("half", "gone"): (NOWHERE, NOWHERE),
    ("half", "stopped"): (NOWHERE, NOWHERE),
    ("half", "arriving"): (UNKNOWN, UNKNOWN),
    ("half", "paused"): (BOTH, BOTH),
    ("half", "running"): (BOTH, BOTH),
}


def expected(seen):
    """(place, actions) of any combination: the table, and where mode, state file and what the guest did before make a difference."""
    here, there, ran = seen.here, seen.there, seen.ran
    if here == "silent":
        return UNKNOWN
    answer = LIVE[here, there][ran]
    empty, ended = there in ("gone", "stopped"), here in ("gone", "stopped")
    if seen.wanted == "stopped":
        if here == "stopped" and there == "silent":
            return "source", ()
        if here == "stopped" and empty:
            return "source", ("tidy target",)
        if here == "gone" and there == "stopped":
            return TAKE
    if seen.wanted == "paused" and here == "paused" and empty and not ran:
        return AT_HOME
    if seen.mode != "live" and ended and there in ("running", "paused") and not ran and (seen.file or seen.mode == "offline"):
        return STOP_THERE
    if here == "stopped" and empty:
        if seen.file and (not ran or seen.mode == "offline"):
            return "source", ("restore source",)
        if seen.mode == "offline":
            return "source", ("start source",)
    if here == "gone" and there == "stopped" and seen.mode == "offline":
        return NOWHERE
    return answer


def test_the_table_is_whole():
    assert set(LIVE) == set(itertools.product(set(settle.HERE) - {"silent"}, settle.THERE))
    assert len(ALL) == 3 * 7 * 6 * 2 * 2 * 3


@pytest.mark.parametrize("here", settle.HERE)
@pytest.mark.parametrize("mode", ["live", "suspend", "offline"])
def test_every_combination(mode, here):
    for seen in ALL:
        if (seen.mode, seen.here) == (mode, here):
            plan = settle.decide(seen)
            assert (plan.place, plan.actions) == expected(seen), seen


SOURCE_GOES_ON = {"resume source", "wake source", "restore source", "start source"}


def test_what_goes_on_is_what_may_go_on():
    assert {action for seen in ALL for action in settle.decide(seen).actions} == settle.CLOSING | settle.GOES_ON | {
        "destroy source", "destroy target", "define source"}
    assert settle.GOES_ON == SOURCE_GOES_ON


def test_what_never_happens():
    for seen in ALL:
        check_what_never_happens(seen)


def check_what_never_happens(seen):
    plan = settle.decide(seen)
    actions = set(plan.actions)
    if seen.ran:
        assert "destroy target" not in actions
        assert not actions & {"resume source", "wake source"}
        if seen.mode != "offline":
            assert not actions & SOURCE_GOES_ON
    if seen.there in ("silent", "arriving", "running", "paused"):
        assert not actions & SOURCE_GOES_ON
    if seen.here == "half" or seen.here == "running":
        assert "destroy source" not in actions
    if "destroy source" in actions:
        assert seen.ran and seen.there in ("running", "paused")
    if "take over" in actions:
        assert seen.there != "gone" and seen.here not in ("running", "paused", "standing", "half")
    if "tidy target" in actions:
        # never the only definition
        assert seen.here != "gone"
    # an end that leaves the guest alone says what to do, by commands, verbs or names of modules
    if plan.place in ("nowhere", "unknown", "both"):
        assert any(word in plan.text for word in ("`virsh", "`xl", "our.cloud.vm", "systemctl", "playbook"))
    fields = {field for dummy, field, dummy2, dummy3 in string.Formatter().parse(plan.text) if field is not None}
    assert fields <= {"name", "host", "target", "file", "ending"}
    if "file" in fields:
        assert seen.file
    assert plan.text.format(name="g", host="one", target="two", file="/f", ending="")


def test_commands():
    def text(**change):
        base = {"mode": "live", "here": "paused", "there": "silent", "ran": False, "file": False, "wanted": "running"}
        return settle.decide(settle.Seen(**{**base, **change})).text.format(name="g", host="one", target="two", file="/f", ending=": it crashed")

    assert "it is paused on one and may or may not run on two, which does not answer. Look there; if it does not run there, or two has no power any more, " \
        "`virsh resume g` on one makes it go on" in text()
    assert "`xl resume g` on one" in text(here="standing")
    assert "its state is saved in /f; it is stopped on one and may or may not run on two" in text(mode="suspend", here="stopped", file=True)
    assert "`virsh restore /f` on one" in text(mode="suspend", here="stopped", file=True)
    assert "start it on one with our.cloud.vm" in text(mode="offline", here="stopped")
    assert "`virsh" not in text(ran=True) and "if that is lost for good: Start it afresh on one" in text(ran=True)
    assert "`virsh resume g` there" in text(here="stopped", there="paused", ran=True)
    assert "(it ended: " not in text(here="stopped", there="gone")
    assert "neither on one nor on two: it crashed. Start it on one" in text(here="stopped", there="gone")
