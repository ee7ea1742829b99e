# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""docs/benchmarks.md, from the newest result of each benchmark."""

from __future__ import annotations

import json
import textwrap

import figures

TITLES = {
    "layers": "Layer by layer, on fresh machines",
    "noop": "Nothing to do",
    "hosts": "More hosts",
    "migrate": "Moving a guest",
    "appliance": "Building an appliance",
    "register": "Registering an image",
    "identify": "Telling kernels, ramdisks and disks by their content",
    "cloud": "The cloud, on fresh machines",
    "rest": "The cloud at rest",
    "instances": "Instances",
    "upload": "Images to the cloud",
    "growth": "A cloud that grows",
}
WHAT = {
    "layers": "Each layer's playbook, and a plain shell script that makes the same changes over ssh (bench/plain/), both with all "
              "machines made anew before; restarts are counted. At the end all guests must answer and all hypervisors reach each other.",
    "noop": "`site.yml` on a site where all is as it should be, with the accelerator (Mitogen) and without, in turn. "
            "Every run must report `changed=0`.",
    "hosts": "`image_store.yml` with nothing to do, with the accelerator and `--limit` to more and more hosts.",
    "migrate": "One guest to and fro between two hypervisors: `migrate.yml`, and bare `virsh migrate` with the flags and the URI that "
               "the module uses. Who begins changes from pair to pair, so that both go both ways. `virsh` and the module are timed from "
               "the control machine with the connection to the source open already. The module's time has its prechecks and its "
               "verification in it: both hosts are asked, and the guest's address must answer. The ping gap is the longest time "
               "without an answer beyond the 200 ms between two pings, sent from the gateway.",
    "appliance": "`debian-13-amd64-guest` as kernel, ramdisk and root file system: `build.yml` from nothing, and again with its output removed, "
                 "when no macrostep may run; and a plain script that calls `mmdebstrap` with the same packages and changes as hooks "
                 "(bench/plain/appliance.sh).",
    "register": "An image of 2 GiB with 512 MiB of data that cannot be compressed, from and to directories of this computer's disk; the "
                "original is in its memory. Its registration reads it once, computes its checksum, and reads the copy back from the disk; "
                "when it ends the copy is safe there, as after `cp` and `sync`. Who begins changes from pair to pair.",
    "cloud": "`cloud.yml`, and a plain shell script that makes the same changes over ssh (bench/plain/cloud.sh), both on containers that were made anew and "
             "have layers 1 to 3: a front end with all controllers, two nodes. The script finds configuration files, units and certificates made, "
             "those of the playbook, and unpacks them. At the end an instance must answer at its floating address; after the script `cloud.yml` "
             "runs, and what it changes is told.",
    "rest": "`cloud.yml` where all is as it should be (every run must report `changed=0`), and the memory of all processes of each machine but "
            "instances, shared pages shared out among those that share them.",
    "instances": "The small instance, from the request to the API until it is active, and until port 22 of its floating address answers on the gateway; and "
                 "its live move to and fro, by nova's bare call until it is done, and by `migrate.yml`, whose module looks at both nodes before and after.",
    "growth": "A front end and nodes, all containers of this computer, which the nodes share: `site.yml` for the first ones, and with `--limit` for those that "
              "come; then `cloud.yml` with nothing to do, limited to the front end and the nodes that are there; an instance, from the "
              "request until it is active; and the front end at rest. At last nova-computes whose instances are nova's make-believe, which tell what is the "
              "controllers' share.",
    "upload": "A file of 512 random MiB, by `cp` and `sync -f` into the store, and to Glance through TLS, from the clc.",
    "identify": "1,000 files, a quarter each of kernels, ramdisks, disks and web pages, one after the other in one thread.",
}
HEADING = """\
# Benchmarks

`make bench` measures and writes this page and `.cache/bench/DATE.json`; `.venv/bin/python bench/run.py --only noop --pairs 3`
measures a part. It takes its time, and a machine that does nothing else meanwhile. What was not measured is said at the end.
"""


def newest(folder):
    """{name: result} of the newest results in a directory, of one machine."""
    found = {}
    for path in sorted(folder.glob("*.json")):
        found.update(json.loads(path.read_text(encoding="utf-8")))
    last = max(found.values(), key=lambda result: result["date"], default=None)
    return {name: result for name, result in found.items() if result["machine"] == last["machine"]}


def missing(results):
    """What has no figure, and why."""
    lines = []
    for name, title in TITLES.items():
        if name not in results:
            lines.append("%s (`--only %s`): not run on this machine." % (title, name))
            continue
        result = results[name]
        lines += ["%s: %s" % (title, note) for note in result["notes"] if figures.NOT_TAKEN in note]
        lines += ["%s: %s: no figure." % (title, row["what"]) for row in result["rows"] if figures.spread(row["values"]) is None]
    return lines


def machine_table(machine):
    """Where it was measured."""
    accelerators = {"tcg": "none, emulation (tcg)", "kvm": "hardware virtualization (kvm)"}
    rows = [
        ("processor", machine["processor"]), ("cores", machine["cores"]), ("memory", "%s GiB" % machine["memory_gib"]),
        ("machines of the site", machine["machines"]),
        ("accelerator of the lab", accelerators.get(machine["accelerator"], machine["accelerator"])),
    ]
    return "\n".join(["| | |", "| --- | --- |"] + ["| %s | %s |" % row for row in rows])


def section(name, result):
    """One benchmark."""
    parts = ["## %s" % TITLES[name], textwrap.fill(WHAT[name], 120, break_on_hyphens=False, break_long_words=False),
             "%s, commit %s, %d minutes." % (result["date"], result["commit"], max(1, round(result["took_s"] / 60)))]
    parts.append(figures.markdown_table(result["rows"]) if result["rows"] else "No figures; see the end.")
    notes = [note for note in result["notes"] if figures.NOT_TAKEN not in note]
    if notes:
        parts.append("\n".join("- %s" % note for note in notes))
    return "\n\n".join(parts)


def page(results):
    """The text of docs/benchmarks.md."""
    parts = [HEADING.strip()]
    if results:
        parts.append(machine_table(max(results.values(), key=lambda result: result["date"])["machine"]))
    parts += [section(name, results[name]) for name in TITLES if name in results]
    absent = missing(results)
    parts.append("## What was not measured\n\n" + ("\n".join("- %s" % text for text in absent) if absent else "Nothing: all figures were taken."))
    return "\n\n".join(parts) + "\n"
