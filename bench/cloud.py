# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The cloud: with nothing to do, instances, moves, uploads, memory."""

from __future__ import annotations

import functools
import json
import os
import pathlib
import re
import shlex
import sys
import time

import figures
from machines import CHECKOUT, NotTaken, Site, environment, no_op, say, take

INVENTORY = CHECKOUT / "inventories" / "cloud"
IMAGE, FLAVOR, NAME = "small-amd64", "tiny", "bench-instance"
RECIPE = "debian-13-amd64-small-instance"
UPLOAD_MIB = 512
SCRIPTS = pathlib.Path(__file__).resolve().parent / "plain"


def cloud_of(site):
    """The site to be measured: the one that was given if it has a cloud, else the one of containers."""
    if site.groups.get("clc"):
        return site
    return Site(INVENTORY, site.logs)


def front(site):
    """The clc."""
    return site.groups["clc"][0]


def bring_up(site):
    """A cloud that runs and has nothing left to do."""
    if site.is_lab():
        site.must("playbooks/lab.yml")
    site.must("playbooks/site.yml")


def registered(site):
    """The small image is built, once, and in the cloud: its id there, since the registry may have other names for it, too."""
    cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "our.cloud" / "images"
    done = site.program(["ansible", "localhost", "-c", "local", "-e", "ansible_python_interpreter=%s" % sys.executable, "-m", "our.cloud.appliance",
                         "-a", "recipe=%s output_base=%s" % (RECIPE, cache)],
                        environment(False, ANSIBLE_STDOUT_CALLBACK="ansible.posix.json", ANSIBLE_LOAD_CALLBACK_PLUGINS="1"), "image")
    found = figures.task(figures.callback_json(done.output), "our.cloud.appliance")
    if done.status or found is None:
        raise NotTaken("%s: %s" % (RECIPE, done.last_words()))
    done = site.must("playbooks/register.yml", "-e", "image=%s path=%s" % (IMAGE, os.path.dirname(found[1]["files"]["image"])))
    told = re.search(r"in Glance ([0-9a-f-]{36})", done.output)
    if not told:
        raise NotTaken("register.yml does not tell the image's id in Glance")
    return told.group(1)


def on_cloud(function):
    """A benchmark of a cloud that runs."""
    @functools.wraps(function)
    def measured(site, pairs, result):
        cloud = cloud_of(site)
        try:
            say("site.yml of %s, so that nothing is left to do" % cloud.inventory.name)
            bring_up(cloud)
            function(cloud, pairs, result)
        finally:
            if cloud is not site:
                cloud.ssh.close()
    return measured


def python(site, name, *arguments):
    """What a script of ours (bench/plain/NAME.py) says on the clc, in JSON."""
    text = (SCRIPTS / (name + ".py")).read_text(encoding="utf-8")
    said = site.ssh.read(front(site), "python3 -c %s %s" % (shlex.quote(text), shlex.join(arguments)))
    return json.loads(said.strip().splitlines()[-1])


def machines(site):
    """All of the cloud, each once."""
    return list(dict.fromkeys(host for name in ("clc", "walrus", "sc", "cc", "nc") for host in site.groups.get(name, [])))


# --- a cloud that runs -----------------------------------------------------------

# /proc/PID/smaps_rollup of all processes but instances and guests
MEMORY = "for one in /proc/[0-9]*; do case $(cat $one/comm) in qemu-system*) ;; *) cat $one/smaps_rollup ;; esac; done 2>/dev/null || true"


def resident(text):
    """MiB, of the lines of /proc/PID/smaps_rollup that say Pss."""
    return sum(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:")) / 1024


@on_cloud
def rest(site, pairs, result):
    """Nothing to do, and what a cloud without instances takes."""
    values = [take(result, "rest %d/%d cloud.yml with nothing to do" % (pair + 1, pairs), lambda: no_op(site, "playbooks/cloud.yml")) for pair in range(pairs)]
    result["rows"].append({"what": "cloud.yml with nothing to do", "unit": "s", "values": values, "aim": {"of": "median", "limit": 40}})
    for host in machines(site):
        aim = 3072 if host == front(site) else 780
        taken = [resident(site.ssh.read(host, MEMORY)) for dummy in range(pairs)]
        result["rows"].append({"what": "memory of %s, all processes (PSS)" % host, "unit": "MiB", "values": taken, "aim": {"of": "median", "limit": aim}})


def created(site, image):
    """{"active", "ssh"} of one instance: seconds from the request. It goes again."""
    try:
        told = python(site, "instance", "create", NAME, image, FLAVOR)
        began = time.monotonic()
        greeting = "exec 3<>/dev/tcp/%s/22 && head -c 3 <&3" % told["address"]
        command = "until [ \"$(timeout 5 bash -c %s 2>/dev/null)\" = SSH ]; do sleep 0.2; done" % shlex.quote(greeting)
        if site.ssh.run(site.gateway, "timeout 300 bash -c %s" % shlex.quote(command)).status:
            raise NotTaken("sshd does not answer at %s within 300 s" % told["address"])
        return {"active": told["active"], "ssh": told["all"] + time.monotonic() - began}
    finally:
        python(site, "instance", "delete", NAME)


@on_cloud
def instances(site, pairs, result):
    """An instance: from the request until it is active, and until its sshd answers; and moves, with nova's bare call and with migrate.yml."""
    image, taken = registered(site), []
    for pair in range(pairs):
        one = {}
        take(result, "instances %d/%d created" % (pair + 1, pairs), lambda one=one: one.update(created(site, image)) or one["active"])
        taken.append(one)
    result["rows"] += [{"what": "created, until it is active", "unit": "s", "values": [one.get("active") for one in taken]},
                       {"what": "the same, until ssh answers", "unit": "s", "values": [one.get("ssh") for one in taken]}]
    moved = {"bare": [], "module": [], "playbook": []}
    python(site, "instance", "create", NAME, image, FLAVOR)
    try:
        for pair in range(pairs):
            for way in (("bare", "module"), ("module", "bare"))[pair % 2]:
                one = {}
                take(result, "instances %d/%d moved, %s" % (pair + 1, pairs, way), functools.partial(move, site, way, one))
                for key in ("bare",) if way == "bare" else ("module", "playbook"):
                    moved[key].append(one.get(key))
    finally:
        python(site, "instance", "delete", NAME)
    result["rows"] += [{"what": "moved by nova's bare call", "unit": "s", "values": moved["bare"]},
                       {"what": "moved by the module instance_migrate", "unit": "s", "values": moved["module"], "base": moved["bare"],
                        "aim": {"of": "ratio", "limit": 1.15}},
                       {"what": "moved by all of migrate.yml", "unit": "s", "values": moved["playbook"], "base": moved["bare"]}]


def move(site, way, one):
    """One move; its figures go into `one`. Seconds."""
    if way == "bare":
        one["bare"] = python(site, "instance", "move", NAME)["seconds"]
        return one["bare"]
    done = site.playbook("playbooks/migrate.yml", "-e", "vm=%s" % NAME, ANSIBLE_STDOUT_CALLBACK="ansible.posix.json")
    found = figures.task(figures.callback_json(done.output), "Move the instance")
    if found is None or done.status:
        raise NotTaken("migrate.yml: %s" % done.last_words())
    one.update(module=found[0], playbook=done.seconds)
    return one["module"]


@on_cloud
def upload(site, pairs, result):
    """A file of random bytes to Glance, and to the same store by cp and sync."""
    copied, uploaded = [], []
    for pair in range(pairs):
        told = {}
        take(result, "upload %d/%d" % (pair + 1, pairs), lambda told=told: told.update(python(
            site, "upload", str(UPLOAD_MIB), site.vars[front(site)]["site_store"])) or told["glance"])
        copied.append(told.get("cp"))
        uploaded.append(told.get("glance"))
    result["rows"] += [{"what": "%d MiB by cp and sync" % UPLOAD_MIB, "unit": "s", "values": copied},
                       {"what": "%d MiB to Glance" % UPLOAD_MIB, "unit": "s", "values": uploaded, "base": copied}]
