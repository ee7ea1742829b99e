# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Building an appliance from a recipe, and by a plain script; on this computer alone."""

from __future__ import annotations

import functools
import os
import pathlib
import subprocess

from images import folder_for, timed
from machines import CHECKOUT, NotTaken, environment, take

RECIPE = "debian-13-amd64-guest"
PLAYBOOK = ["ansible-playbook", "playbooks/build.yml", "-e", "recipe=" + RECIPE]
PLAIN = str(pathlib.Path(__file__).parent / "plain/appliance.sh")


def must(argv, log):
    """Run a program to its end."""
    with open(log, "wb") as stream:
        if subprocess.run(argv, cwd=CHECKOUT, env=environment(False), stdin=subprocess.DEVNULL, stdout=stream, stderr=stream, check=False).returncode:
            raise NotTaken(pathlib.Path(log).read_text(encoding="utf-8", errors="replace")[-500:])


def remove(path):
    """An ordinary user is root of what he has built in a namespace alone."""
    subprocess.check_call([*([] if os.geteuid() == 0 else ["unshare", "--map-root-user", "--map-auto"]), "rm", "-rf", str(path)])


def with_script(folder):
    """By the plain script."""
    try:
        return timed(must, [PLAIN, str(folder / "plain")], folder / "log")
    finally:
        remove(folder / "plain")


def with_recipe(folder, gone):
    """By the recipe, with that part of its working directory gone."""
    remove(folder / RECIPE / gone)
    return timed(must, [*PLAYBOOK, "-e", "workdir_base=%s" % folder], folder / "log")


@folder_for
def appliance(folder, pairs, result):
    """A plain script and the recipe, in turn; then the recipe from its checkpoints."""
    rows = {"plain": [], "nothing": [], "checkpoints": []}
    ways = {"plain": with_script, "nothing": functools.partial(with_recipe, gone=""), "checkpoints": functools.partial(with_recipe, gone="output")}
    try:
        for pair in range(1, pairs + 1):
            for name in ("plain", "nothing", "checkpoints") if pair % 2 else ("nothing", "checkpoints", "plain"):
                rows[name].append(take(result, "appliance %d/%d %s" % (pair, pairs, name), functools.partial(ways[name], folder)))
    finally:
        remove(folder / RECIPE)
    result["rows"] = [
        {"what": "plain mmdebstrap", "unit": "s", "values": rows["plain"]},
        {"what": "build.yml from nothing", "unit": "s", "values": rows["nothing"], "base": rows["plain"], "aim": {"of": "ratio", "limit": 1.15}},
        {"what": "build.yml from checkpoints", "unit": "s", "values": rows["checkpoints"], "aim": {"of": "median", "limit": 10}},
    ]
