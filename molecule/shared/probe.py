# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What leaves a guest, seen by the machines beside it: probe.py '{"guest": ARGV, "watchers": [{"argv": ARGV, "card": MAC}], "frames": {KEY: VALUE},
"connects": [[HOST, PORT]], "seconds": SECONDS}'

An ARGV leads to a shell's place: `ssh HOST`, `docker exec -i CONTAINER`; perl is started there with probe.pl as its input. Prints (JSON) `missing`,
frames that should have come through, `leaked`, those that should not, and `connects`, what became of each connection.
"""

import json
import pathlib
import subprocess
import sys
import threading

SCRIPT = (pathlib.Path(__file__).parent / "probe.pl").read_bytes()


def perl(argv, *arguments):
    """A probe.pl at that place; its output can be read while it runs."""
    process = subprocess.Popen([*argv, "perl", "-", *map(str, arguments)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdin.write(SCRIPT)
    process.stdin.close()
    return process


def lines(process):
    return [line.decode().strip() for line in process.stdout]


def main(task):
    seconds = task["seconds"]
    watchers = [perl(watcher["argv"], "watch", watcher["card"], seconds) for watcher in task["watchers"]]
    for watcher in watchers:
        if watcher.stdout.readline().strip() != b"ready":
            sys.exit(f"{watcher.args}: {watcher.stderr.read().decode()}")
    seen = [[] for dummy in watchers]
    threads = [threading.Thread(target=lambda found, process: found.extend(lines(process)), args=pair) for pair in zip(seen, watchers)]
    for thread in threads:
        thread.start()
    sender = perl(task["guest"], "send", task["card"], *(f"{key}={value}" for key, value in task["frames"].items()))
    sent = dict(line.split() for line in lines(sender))
    if sender.wait():
        sys.exit(f"{sender.args}: {sender.stderr.read().decode()}")
    for thread, watcher in zip(threads, watchers):
        thread.join()
        if watcher.wait():
            sys.exit(f"{watcher.args}: {watcher.stderr.read().decode()}")
    came = {label for found in seen for label in found}
    caller = perl(task["guest"], "connect", 5, *(part for pair in task["connects"] for part in pair))
    connects = dict(line.rsplit(" ", 1) for line in lines(caller))
    if caller.wait() or len(connects) != len(task["connects"]):
        sys.exit(f"{caller.args}: {caller.stderr.read().decode()}")
    print(json.dumps({
        "missing": sorted(label for label, way in sent.items() if way == "may" and label not in came),
        "leaked": sorted(label for label, way in sent.items() if way == "must-not" and label in came),
        "sent": len(sent),
        "connects": connects,
    }))


main(json.loads(sys.argv[1]))
