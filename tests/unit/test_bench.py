# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The figures of `make bench`: parsing, statistics, tables, the page."""

from __future__ import annotations

import json
import pathlib
import re
import sys

import pytest

BENCH = pathlib.Path(__file__).resolve().parents[2] / "bench"
sys.path.insert(0, str(BENCH))

import cloud  # noqa: E402  pylint: disable=wrong-import-position
import clouds  # noqa: E402  pylint: disable=wrong-import-position
import figures  # noqa: E402  pylint: disable=wrong-import-position
import machines  # noqa: E402  pylint: disable=wrong-import-position
import moves  # noqa: E402  pylint: disable=wrong-import-position
import page  # noqa: E402  pylint: disable=wrong-import-position

PINGS = """\
PING 192.0.2.50 (192.0.2.50) 56(84) bytes of data.
[1700000000.000000] 64 bytes from 192.0.2.50: icmp_seq=1 ttl=64 time=2.11 ms
[1700000000.200000] 64 bytes from 192.0.2.50: icmp_seq=2 ttl=64 time=1.90 ms
[1700000000.210000] 64 bytes from 192.0.2.50: icmp_seq=2 ttl=64 time=12.0 ms (DUP!)
[1700000001.000000] From 192.0.2.1 icmp_seq=5 Destination Host Unreachable
[1700000001.550000] 64 bytes from 192.0.2.50: icmp_seq=7 ttl=64 time=350 ms
[1700000001.551000] 64 bytes from 192.0.2.50: icmp_seq=6 ttl=64 time=551 ms
[1700000001.600000] 64 bytes from 192.0.2.50: icmp_seq=9 ttl=64 time=1.90 ms

--- 192.0.2.50 ping statistics ---
9 packets transmitted, 5 received, +1 duplicates, +1 errors, 44% packet loss, time 1600ms
"""


def test_answers():
    assert [number for dummy, number in figures.answers(PINGS)] == [1, 2, 7, 6, 9]


def test_ping_gap():
    assert figures.ping_gap(PINGS, 0.2) == {"gap_ms": 1150, "lost": 4}


@pytest.mark.parametrize("text", ["", "PING 192.0.2.50 (192.0.2.50) 56(84) bytes of data.\n", "\n".join(PINGS.splitlines()[:2])])
def test_ping_gap_without_answers(text):
    assert figures.ping_gap(text, 0.2) is None


def test_ping_gap_without_a_gap():
    lines = ["[%.3f] 64 bytes from 192.0.2.50: icmp_seq=%d ttl=64 time=0.3 ms" % (100 + 0.2 * number, number) for number in range(9)]
    assert figures.ping_gap("\n".join(lines), 0.2) == {"gap_ms": 0, "lost": 0}


RECAP = """\
TASK [PLAY RECAP is not this] ***
ok: [one]

PLAY RECAP *********************************************************************
localhost                  : ok=3    changed=0    unreachable=0    failed=0    skipped=0    rescued=0    ignored=0
one                        : ok=12   changed=2    unreachable=0    failed=1    skipped=4    rescued=0    ignored=0

Playbook run took 0 days
"""


def test_recap():
    hosts = figures.recap(RECAP)
    assert sorted(hosts) == ["localhost", "one"]
    assert (figures.total(hosts, "changed"), figures.total(hosts, "failed", "unreachable"), figures.total(hosts, "ok")) == (2, 1, 15)


def test_recap_of_a_run_that_died():
    assert figures.recap("ERROR! the playbook: nowhere could not be found") == {}
    assert figures.total({}, "changed") == 0


def run_of(*tasks):
    """What the callback ansible.posix.json writes, behind progress."""
    data = {"plays": [{"play": {"name": "Move"}, "tasks": [
        {"task": {"name": name, "duration": {"start": "2026-01-01T10:00:00.000000Z", "end": "2026-01-01T10:00:12.500000Z"}}, "hosts": hosts}
        for name, hosts in tasks]}], "stats": {}}
    return "[one] our-vm: one -> two: moving 3%%, 250 MiB left, 9 MiB/s\n%s\n" % json.dumps(data, indent=4)


def test_task():
    text = run_of(("Ask", {"one": {"changed": False}}), ("Move the guest", {"one": {"changed": True, "downtime_ms": 212}}))
    seconds, result = figures.task(figures.callback_json(text), "Move the guest")
    assert (seconds, result["downtime_ms"]) == (12.5, 212)


def test_task_that_did_not_run():
    data = figures.callback_json(run_of(("Move the guest", {"one": {"skipped": True}})))
    assert figures.task(data, "Move the guest") is None
    assert figures.task(data, "Another") is None
    assert figures.task(None, "Move the guest") is None


@pytest.mark.parametrize("text", ["", "ERROR! no such file\n", "{\n  half"])
def test_no_json(text):
    assert figures.callback_json(text) is None


def test_downtime():
    assert figures.downtime("Job type:         Completed\nOperation:        Incoming migration\nTotal downtime:   87           ms\n") == 87
    assert figures.downtime("Job type:         None\n") is None


def test_spread():
    assert figures.spread([3, None, 1, 10]) == {"n": 3, "min": 1, "median": 3, "max": 10}
    assert figures.spread([None, None]) is None
    assert figures.spread([]) is None


def test_ratios():
    assert figures.ratios([2.0, None, 3.0, 4.0], [1.0, 2.0, None, 0]) == [2.0, None, None, None]


def test_line():
    intercept, slope = figures.line([(1, 5.0), (2, 7.0), (5, 13.0)])
    assert (round(intercept, 6), round(slope, 6)) == (3.0, 2.0)
    assert figures.line([(1, 5.0), (1, 6.0)]) is None
    assert figures.line([]) is None


BASE = {"what": "bare", "unit": "s", "values": [10.0, 20.0, 10.0]}


def compared(values, limit=1.15):
    return {"what": "ours", "unit": "s", "values": values, "base": BASE["values"], "aim": {"of": "ratio", "limit": limit}}


def test_cells():
    assert figures.cells(BASE) == ["bare", "3", "10.0 s", "10.0 s", "20.0 s", "", ""]
    assert figures.cells(compared([11.0, 21.0, 13.0])) == [
        "ours", "3", "11.0 s", "13.0 s", "21.0 s", "1.10 1.05 1.30; median 1.10", "≤ 1.15 times: met"]


def test_cells_aim_missed():
    assert figures.cells(compared([12.0, 24.0, 13.0]))[-1] == "≤ 1.15 times: missed"
    row = {"what": "run", "unit": "s", "values": [123.4], "aim": {"of": "median", "limit": 40}}
    assert figures.cells(row) == ["run", "1", "123 s", "123 s", "123 s", "", "≤ 40 s: missed"]


def test_a_figure_that_could_not_be_taken_is_none():
    assert figures.cells(compared([None, None, None])) == ["ours", "0", "not taken", "", "", "", "≤ 1.15 times: not taken"]
    assert figures.cells(compared([11.0, None, None]))[1:6] == ["1", "11.0 s", "11.0 s", "11.0 s", "1.10 - -"]


def test_number():
    assert [figures.number(212.4, "ms"), figures.number(9.96, "s"), figures.number(212.4, "s")] == ["212 ms", "10.0 s", "212 s"]


def test_text_table():
    lines = figures.text_table([BASE, compared([11.0, 21.0, 13.0])]).splitlines()
    assert lines[0].split()[:5] == ["what", "n", "min", "median", "max"]
    assert len({text.index("median") if index == 0 else text.index(" s") for index, text in enumerate(lines)}) == 2
    assert lines[2].endswith("≤ 1.15 times: met")


def test_markdown_table():
    lines = figures.markdown_table([BASE]).splitlines()
    assert lines[1] == "| --- | ---: | ---: | ---: | ---: | --- | --- |"
    assert lines[2] == "| bare | 3 | 10.0 s | 10.0 s | 20.0 s |  |  |"


MACHINE = {"processor": "A processor", "cores": 2, "memory_gib": 23, "machines": 5, "accelerator": "tcg"}


def result(date="2026-01-01 10:00", rows=(BASE,), notes=(), **machine):
    return {"date": date, "commit": "abc1234", "rows": list(rows), "notes": list(notes), "took_s": 200, "machine": dict(MACHINE, **machine)}


def test_page():
    text = page.page({"noop": result(rows=[BASE, compared([11.0, 21.0, 13.0])], notes=["A remark."])})
    assert "| accelerator of the lab | none, emulation (tcg) |" in text
    assert "2026-01-01 10:00, commit abc1234, 3 minutes." in text
    assert "| ours | 3 | 11.0 s | 13.0 s | 21.0 s | 1.10 1.05 1.30; median 1.10 | ≤ 1.15 times: met |" in text
    assert "\n- A remark.\n" in text


def test_page_says_what_was_not_measured():
    text = page.page({
        "noop": result(rows=[BASE, compared([None, None, None])], notes=["noop 1/3: not taken: it failed"]),
        "layers": result(rows=[], notes=["not taken: too little memory"])})
    end = text.partition("## What was not measured\n")[2]
    assert end.strip().splitlines() == [
        "- Layer by layer, on fresh machines: not taken: too little memory",
        "- Nothing to do: noop 1/3: not taken: it failed",
        "- Nothing to do: ours: no figure.",
        "- More hosts (`--only hosts`): not run on this machine.",
        "- Moving a guest (`--only migrate`): not run on this machine.",
        "- Building an appliance (`--only appliance`): not run on this machine.",
        "- Registering an image (`--only register`): not run on this machine.",
        "- Telling kernels, ramdisks and disks by their content (`--only identify`): not run on this machine.",
        "- The cloud, on fresh machines (`--only cloud`): not run on this machine.",
        "- The cloud at rest (`--only rest`): not run on this machine.",
        "- Instances (`--only instances`): not run on this machine.",
        "- Images to the cloud (`--only upload`): not run on this machine.",
        "- A cloud that grows (`--only growth`): not run on this machine."]
    assert "noop 1/3" not in text.partition("## What was not measured\n")[0]


def test_memory():
    assert cloud.resident("Rss: 9 kB\nPss:   1024 kB\nPss_Dirty: 5 kB\nPss:  512 kB\n") == 1.5
    assert figures.number(2890.4, "MiB") == "2890 MiB"


def test_page_without_anything():
    assert page.page({}).count("not run on this machine") == 12


def test_newest(tmp_path):
    write = {
        "2026-01-01_100000": {"noop": result(date="2026-01-01 10:00", cores=8), "hosts": result(date="2026-01-01 10:00", cores=8)},
        "2026-01-02_100000": {"noop": result(date="2026-01-02 10:00"), "migrate": result(date="2026-01-02 10:00")},
        "2026-01-03_100000": {"noop": result(date="2026-01-03 10:00")},
    }
    for name, content in write.items():
        (tmp_path / (name + ".json")).write_text(json.dumps(content), encoding="utf-8")
    found = page.newest(tmp_path)
    assert {name: one["date"][:10] for name, one in found.items()} == {"noop": "2026-01-03", "migrate": "2026-01-02"}


def test_newest_of_nothing(tmp_path):
    assert page.newest(tmp_path) == {}


def test_flags_are_those_of_the_module():
    """The bare move asks of libvirt what the module asks."""
    source = (BENCH.parent / "plugins/module_utils/_move/mover.py").read_text(encoding="utf-8")
    asked = "".join(re.findall(r"    def flags\(self\).*?(?=    def )", source, re.DOTALL))
    words = {
        "LIVE": "--live", "PEER2PEER": "--p2p", "PERSIST_DEST": "--persistent", "UNDEFINE_SOURCE": "--undefinesource", "TUNNELLED": "--tunnelled",
        "TLS": "--tls", "ABORT_ON_ERROR": "--abort-on-error", "AUTO_CONVERGE": "--auto-converge"}
    # post-copy is not the default
    named = set(re.findall(r"VIR_MIGRATE_(\w+)", asked)) - {"POSTCOPY"}
    both = {words[name] for name in named}
    assert set(moves.FLAGS["xen"]) | set(moves.FLAGS["qemu"]) == both
    assert set(moves.FLAGS["xen"]) - set(moves.FLAGS["qemu"]) == {"--tunnelled"}


def test_environment(monkeypatch):
    monkeypatch.setenv("ANSIBLE_STRATEGY", "mitogen_linear")
    monkeypatch.setenv("ANSIBLE_FORKS", "7")
    env = machines.environment(False, ANSIBLE_STDOUT_CALLBACK="x")
    assert "ANSIBLE_STRATEGY" not in env
    assert (env["ANSIBLE_FORKS"], env["ANSIBLE_STDOUT_CALLBACK"]) == ("7", "x")


def test_last_words():
    output = "TASK [x] ***\nfatal: [one]: FAILED! =>\n    msg: the reason\n\nPLAY RECAP ***\none : ok=1 failed=1\n"
    assert machines.Run(1, 2, output).last_words() == "msg: the reason"
    assert machines.Run(1, 2, "").last_words() == "no output"
    assert machines.Run(1, 2, "a\nb\n").last_words() == "b"


def test_take_tells_the_reason(capsys):
    told = {"notes": []}

    def fails():
        raise machines.NotTaken("it rained")

    assert machines.take(told, "noop 1/1", fails) is None
    assert told["notes"] == ["noop 1/1: not taken: it rained"]
    assert machines.take(told, "noop 2/2", lambda: 3.0) == 3.0
    assert "noop 2/2: 3.0 s" in capsys.readouterr().out


def test_a_cloud_of_its_own_beside_the_one_of_make_cloud(tmp_path, monkeypatch):
    monkeypatch.setattr(clouds, "CACHE", tmp_path)
    site = machines.Site(clouds.inventory(3), tmp_path)
    there = machines.Site(clouds.INVENTORY, tmp_path)
    assert site.groups["nc"] == ["bench-1", "bench-2", "bench-3"] and site.groups["clc"] == ["bench-front"] == site.groups["cc"]
    assert not set(site.hosts) & set(there.hosts)
    for name in ("site_address", "site_mac", "lab_forward_ssh", "cloud_public_address", "site_domain", "nc_tunnel_network"):
        ours, theirs = ({own[name] for own in one.vars.values() if name in own} for one in (site, there))
        assert ours and theirs and not ours & theirs, name
    assert site.vars["bench-1"]["lab_packages"] == there.vars["bart"]["lab_packages"], "one image for both"


@pytest.mark.parametrize("script, answers, seconds, noted", [
    (30.0, True, {"by_playbook": 40.0, "by_script": 30.0}, ["What cloud.yml found to change after the plain script: 2 things."]),
    (None, True, {"by_playbook": 40.0, "by_script": None}, ["cloud 1/1 plain script: not taken: it broke"]),
    (30.0, False, {"by_playbook": None, "by_script": None}, ["cloud 1/1 cloud.yml: an instance answers: not taken: it is silent"]),
])
def test_a_cloud_counts_when_an_instance_answers(tmp_path, monkeypatch, script, answers, seconds, noted):
    class Twin:
        inventory = tmp_path

    def fails(text):
        raise machines.NotTaken(text)

    def by_playbook(site, known):
        return 40.0

    def by_script(site, known):
        assert known["nodes"] == "bench-1 ..."
        return script or fails("it broke")

    done = []
    for name, function in {
            "by_playbook": by_playbook, "by_script": by_script, "fresh": lambda site: done.append("fresh"),
            "capture": lambda site, files: done.append("capture"),
            "nodes_of": lambda site: "bench-1 ...", "works": lambda site: 5.0 if answers else fails("it is silent"), "left_to_do": lambda site: 2}.items():
        monkeypatch.setattr(clouds, name, function)
    result, taken = {"notes": []}, {by_playbook: [None], by_script: [None]}
    clouds.pair_of_clouds(Twin, "cloud 1/1", result, taken, tmp_path)
    assert {way.__name__: values for way, values in taken.items()} == {name: [value] for name, value in seconds.items()}
    assert result["notes"] == noted
    assert done == (["fresh", "capture", "fresh"] if answers else ["fresh"])


def test_growing_takes_each_node_once():
    assert list(clouds.COUNTS) == sorted(set(clouds.COUNTS)) and clouds.COUNTS[0] == 2 and clouds.COUNTS[-1] == 10
