# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Measures the site's playbooks side by side with plain tools: `make bench`, or bench/run.py --only migrate --pairs 3.

The cloud's are taken of inventories/cloud, unless the site that is given has a cloud.

Writes .cache/bench/DATE.json, the logs of all runs beside it, and docs/benchmarks.md. What was not running before is
brought up and taken away again; guests go back to where they were.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import pathlib
import subprocess
import sys
import time

import figures
import page
from appliances import appliance
from cloud import instances, rest, upload
from clouds import fresh_cloud, growth
from images import identify, register
from layers import layers
from machines import CACHE, CHECKOUT, NotTaken, Site, no_op, say, take
from moves import migrate


def noop(site, pairs, result):
    """site.yml with nothing to do, with the accelerator and without, in turn."""
    without, accelerated = [], []
    for pair in range(1, pairs + 1):
        for on, values in ((True, accelerated), (False, without)):
            what = "noop %d/%d %s Mitogen" % (pair, pairs, "with" if on else "without")
            values.append(take(result, what, lambda on=on: no_op(site, "playbooks/site.yml", accelerated=on)))
    result["rows"] = [
        {"what": "site.yml without the accelerator", "unit": "s", "values": without},
        {"what": "site.yml with the accelerator", "unit": "s", "values": accelerated, "base": without, "aim": {"of": "median", "limit": 40}},
    ]


def hosts(site, pairs, result):
    """A layer with nothing to do on more and more hosts; rounds, so that what changes with time hits all counts."""
    counts = [count for count in (1, 2, 3, 5, 10, 20, 50) if count <= len(site.hosts)]
    taken = {count: [] for count in counts}
    for turn in range(1, pairs + 1):
        for count in counts:
            limit = ",".join(site.hosts[:count] + ["localhost"])
            taken[count].append(take(result, "hosts %d/%d image_store.yml on %d" % (turn, pairs, count),
                                     lambda limit=limit: no_op(site, "playbooks/image_store.yml", "--limit", limit)))
    for count in counts:
        result["rows"].append({"what": "image_store.yml on %d host%s" % (count, "s" if count > 1 else ""), "unit": "s", "values": taken[count]})
    for count in counts:
        values = [None if value is None else value / count for value in taken[count]]
        result["rows"].append({"what": "the same, per host of %d" % count, "unit": "s", "values": values})
    straight = figures.line([(count, value) for count in counts for value in taken[count] if value is not None])
    if straight:
        result["notes"].append("The straight line through these figures: %.1f s, and %.1f s more for each host." % straight)


BENCHES = {
    "layers": (layers, 1), "noop": (noop, 2), "hosts": (hosts, 3), "migrate": (migrate, 5), "appliance": (appliance, 3), "register": (register, 5),
    "identify": (identify, 5), "cloud": (fresh_cloud, 1), "rest": (rest, 2), "instances": (instances, 3),
    "upload": (upload, 3), "growth": (growth, 2),
}
# which work on the site as it is
ON_SITE = ("noop", "hosts", "migrate")


def machine(site):
    """Where it was measured."""
    with open("/proc/cpuinfo", encoding="ascii", errors="replace") as stream:
        model = next((text.partition(":")[2].strip() for text in stream if text.startswith("model name")), "unknown")
    with open("/proc/meminfo", encoding="ascii") as stream:
        memory = int(stream.readline().split()[1]) // 1048576
    accelerator, path = "none: metal", site.state_dir / "accelerator"
    if site.is_lab():
        accelerator = path.read_text(encoding="ascii").strip() if path.exists() else "unknown"
    return {
        "processor": model, "cores": len(os.sched_getaffinity(0)), "memory_gib": memory, "machines": len(site.hosts),
        "accelerator": accelerator,
    }


def commit():
    """What was measured; the page itself does not make it dirty."""
    def git(*arguments):
        return subprocess.run(["git", *arguments], cwd=CHECKOUT, capture_output=True, text=True, check=False).stdout.strip()

    changed = git("status", "--porcelain", "--untracked-files=no", "--", ".", ":!docs/benchmarks.md")
    return (git("describe", "--always") or "unknown") + ("-dirty" if changed else "")


def bring_up(site):
    """Machines that run and a site with nothing left to do."""
    if site.is_lab():
        say("the lab's machines")
        site.must("playbooks/lab.yml")
    say("site.yml, so that nothing is left to do")
    site.must("playbooks/site.yml")


def take_down(site, had_disks):
    """As it was before: no machines, or stopped ones."""
    say("the lab was not running before: it goes")
    site.playbook("playbooks/lab.yml", "-e", "lab_state=absent", "-e", "lab_keep_disks=%s" % str(had_disks).lower())


def measure(site, names, pairs, keep):
    """Run these benches. What fails is told in the result and does not keep the others from running; keep(results) after each."""
    results, states, is_up = {}, site.states(), False
    try:
        for name in [name for name in BENCHES if name in names]:
            function, usual = BENCHES[name]
            result = results[name] = {"date": datetime.datetime.now().strftime("%Y-%m-%d %H:%M"), "commit": commit(), "rows": [], "notes": []}
            began = time.monotonic()
            try:
                if name in ON_SITE and not is_up:
                    bring_up(site)
                    is_up = True
                say("%s begins" % name)
                function(site, pairs or usual, result)
            except NotTaken as reason:
                result["notes"].append("%s: %s" % (figures.NOT_TAKEN, reason))
                say("%s: %s" % (name, result["notes"][-1]))
            result["took_s"] = round(time.monotonic() - began)
            result["machine"] = machine(site)
            print("\n%s\n%s" % (page.TITLES[name], figures.text_table(result["rows"]) if result["rows"] else figures.NOT_TAKEN), flush=True)
            print("".join("  %s\n" % note for note in result["notes"]), flush=True)
            keep(results)
    finally:
        site.ssh.close()
        if is_up and states - {"up"}:
            take_down(site, "stopped" in states)
    return results


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", nargs="+", choices=list(BENCHES), default=list(BENCHES), metavar="NAME", help="of %s" % ", ".join(BENCHES))
    parser.add_argument("--pairs", type=int, help="how often; by default %s" % ", ".join("%s %d" % (name, usual) for name, (dummy, usual) in BENCHES.items()))
    parser.add_argument("--inventory", default="lab", help="the site that is measured (lab)")
    arguments = parser.parse_args()
    os.environ["PATH"] = "%s:%s" % (CHECKOUT / ".venv" / "bin", os.environ.get("PATH", os.defpath))
    began = datetime.datetime.now().strftime("%Y-%m-%d_%H%M%S")
    logs = CACHE / began
    logs.mkdir(parents=True)
    inventory = pathlib.Path(arguments.inventory)
    site = Site(inventory if inventory.exists() else CHECKOUT / inventory, logs)

    def keep(results):
        (CACHE / (began + ".json")).write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
        (CHECKOUT / "docs" / "benchmarks.md").write_text(page.page(page.newest(CACHE)), encoding="utf-8")

    results = measure(site, arguments.only, arguments.pairs, keep)
    say("written: .cache/bench/%s.json, docs/benchmarks.md; logs in .cache/bench/%s" % (began, began))
    whole = all(result["rows"] and all(figures.spread(row["values"]) for row in result["rows"]) for result in results.values())
    return 0 if whole else 1


if __name__ == "__main__":
    sys.exit(main())
