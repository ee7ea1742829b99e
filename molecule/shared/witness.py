# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a guest and its neighbours see while it is moved, from outside.

  witness.py watch DIR CONFIG GUEST ADDRESS GATEWAY   a counter in the guest, a stream of it over one TCP connection, pings from the gateway
  witness.py run DIR CONFIG GUEST HOST,HOST [--at PERCENT --do COMMAND] [--boots] -- COMMAND...
                                                     runs it and prints what was seen meanwhile (JSON); --boots: it lets the guest boot anew
  witness.py end DIR CONFIG GUEST                    the data read again from the disk; the watch ends

One connection lasts from `watch` to `end`, over everything that happens between.
"""

import argparse
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time

BOUND = 180
# The counter goes on without us; the data are written once. No process more than needed: in an emulated guest each costs a quarter
# of a second, and with more of them the guest took most of its node's processor. So nobody sleeps but in a read that nobody answers.
GUEST = """
cd /root
[ -e data ] || head -c 2097152 /dev/urandom >data
kill $(cat /run/counter.pid 2>/dev/null) 2>/dev/null
[ -p silence ] || mkfifo silence
exec 3<>silence
setsid bash -c 'echo $$ >/run/counter.pid; read n <counter || n=0
while :; do n=$((n + 1)); echo $n >counter; sync; read -t 1 -u 3; done' </dev/null >/dev/null 2>&1 &
sync
echo data $(sha256sum <data)
while :; do read boot </proc/sys/kernel/random/boot_id; read n <counter; echo seen $boot $n; read -t 1 -u 3; done
"""


def ssh(folder, config, host, command, shared=True):
    """The argv; `shared`: over a connection that is open already."""
    argv = ["ssh", "-F", config, "-o", "BatchMode=yes"]
    if not shared:
        # one that nobody else ends
        argv += ["-o", "ControlMaster=no", "-o", "ControlPath=none"]
    else:
        argv += ["-o", "ControlMaster=auto", "-o", "ControlPath=%s/%%C" % folder, "-o", "ControlPersist=20m"]
    return argv + [host, command]


def scene(folder, config, guest, hosts):
    """What the hypervisors have and have logged, for whoever reads why the test has failed."""
    command = ("date; virsh list --all; virsh domstate --reason %(guest)s; xl list 2>/dev/null; xl dmesg 2>/dev/null | tail -n 25;"
               " journalctl -k -n 10 --no-pager; journalctl -u libvirtd -u libvirt-guests -n 20 --no-pager;"
               " tail -v -n 20 /var/log/libvirt/*/%(guest)s*.log /var/log/libvirt/libxl/libxl-driver.log /var/log/xen/console/guest-%(guest)s.log"
               % {"guest": shlex.quote(guest)})
    text = ""
    for host in hosts:
        done = subprocess.run(ssh(folder, config, host, command), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        text += "\n==== %s\n%s" % (host, done.stdout)
    return text + "".join("\n==== the console of %s\n%s" % (host, console(config, host)) for host in hosts)


def console(config, host):
    """The last lines of a machine's console, which tell of a kernel that has given up, and of QEMU's log."""
    text = []
    for name in ("console.log", "qemu.log"):
        path = os.path.join(os.path.dirname(config), "machines", host, name)
        # a container has none
        if os.path.exists(path):
            with open(path, encoding="utf-8", errors="replace") as stream:
                text += stream.read().rstrip().splitlines()[-8:]
    return "\n".join(text)


def until(condition, what, bound=BOUND, more=str):
    """Wait for it; what was seen last is told when it does not come, and what `more` finds."""
    end = time.monotonic() + bound
    while True:
        seen, good = condition()
        if good:
            return seen
        if time.monotonic() > end:
            sys.exit("%s: not within %d s; seen: %s%s" % (what, bound, seen, more()))
        time.sleep(0.25)


def lines(folder, name, begin=0):
    with open(os.path.join(folder, name), "rb") as stream:
        stream.seek(begin)
        # what is still being written is not a line
        return stream.read().rpartition(b"\n")[0].decode(errors="replace").splitlines()


def size(folder, name):
    return os.path.getsize(os.path.join(folder, name))


def stream_seen(found):
    """[(boot_id, counter)]"""
    return [(match[1], int(match[2])) for match in (re.match(r"seen (\S{36}) (\d+)$", line) for line in found) if match]


def replies(found):
    return [float(match[1]) for match in (re.match(r"\[([\d.]+)\] \d+ bytes from", line) for line in found) if match]


def watch(folder, config, guest, address, gateway):
    os.makedirs(folder, mode=0o700)
    commands = {
        "stream": ssh(folder, config, guest, GUEST, shared=False),
        # not -w, with which ping ends at the first "host unreachable"
        "ping": ssh(folder, config, gateway, "exec timeout 7200 ping -D -O -i 0.2 %s" % shlex.quote(address), shared=False),
    }

    def answers():
        done = [subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False) for argv in (
            ssh(folder, config, gateway, "ping -c 1 -W 2 %s" % shlex.quote(address)), ssh(folder, config, guest, "true", shared=False))]
        return [each.stdout.strip() for each in done], not any(each.returncode for each in done)
    # it may have been started a moment ago
    until(answers, "%s answers" % guest, bound=600)
    pids = []
    for name, argv in commands.items():
        text = "%s >%s 2>&1; printf '\\nended\\n' >>%s" % (shlex.join(argv), *[shlex.quote(os.path.join(folder, name))] * 2)
        pids.append(subprocess.Popen(["sh", "-c", text], start_new_session=True, stdin=subprocess.DEVNULL).pid)
    with open(os.path.join(folder, "pids"), "w", encoding="ascii") as stream:
        json.dump(pids, stream)

    def begun():
        found = [lines(folder, name) if os.path.exists(os.path.join(folder, name)) else [] for name in commands]
        return (found[0][-3:], found[1][-3:]), len(stream_seen(found[0])) > 2 and len(replies(found[1])) > 5
    until(begun, "counter and pings")


def places(folder, config, guest, hosts):
    """{host: running there}; asked until both answer, since a libvirtd may be on its way back."""
    def ask():
        seen, good = {}, True
        for host in hosts:
            done = subprocess.run(ssh(folder, config, host, "virsh -q list --name"), capture_output=True, text=True, check=False)
            seen[host] = guest in done.stdout.split() if done.returncode == 0 else done.stderr.strip()
            good = good and done.returncode == 0
        return seen, good
    return until(ask, "virsh on %s" % " and ".join(hosts), more=lambda: scene(folder, config, guest, hosts))


def follow(command, percent, then):
    """Run the command; when it shows this percentage, run the other one too."""
    other = {}
    # colours would stand between the words; and Ansible does not flush its progress into a pipe
    env = dict(os.environ, ANSIBLE_FORCE_COLOR="false", ANSIBLE_NOCOLOR="true", PYTHONUNBUFFERED="1")

    def run_other():
        done = subprocess.run(then, shell=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=env, check=False)
        other.update(rc=done.returncode, output=" ".join(done.stdout.split()), ended=time.monotonic())

    output, thread = [], None
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, stdin=subprocess.DEVNULL, env=env)
    for line in process.stdout:
        output.append(line)
        match = re.search(r": moving (\d+)%", line)
        if thread is None and then and match and int(match[1]) >= percent:
            thread = threading.Thread(target=run_other)
            thread.start()
    code, ended = process.wait(), time.monotonic()
    if thread:
        thread.join()
        other["first"] = other["ended"] < ended
        del other["ended"]
    return code, " ".join("".join(output).split()), other


def booted(folder, config, guest, former):
    """Of a guest once it has booted anew: the counter on its disk, and whether its data are what they were before that boot."""
    question = "read boot </proc/sys/kernel/random/boot_id; read n </root/counter; echo seen $boot $n; echo data $(sha256sum </root/data)"

    def ask():
        done = subprocess.run(ssh(folder, config, guest, question, shared=False), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              check=False)
        found = stream_seen(done.stdout.splitlines())
        return done.stdout, done.returncode == 0 and found and found[0][0] != former
    answer = until(ask, "a new boot of %s" % guest, bound=600).splitlines()
    return stream_seen(answer)[0][1], next(line for line in lines(folder, "stream") if line.startswith("data ")) in answer


def run(folder, config, guest, hosts, percent, then, boots, command):
    hosts = hosts.split(",")
    before = places(folder, config, guest, hosts)
    begin = {name: size(folder, name) for name in ("stream", "ping")}
    boot, count = stream_seen(lines(folder, "stream"))[-1]
    began = time.monotonic()
    code, output, other = follow(command, percent, then)
    seconds = time.monotonic() - began
    after = places(folder, config, guest, hosts)
    end = {name: size(folder, name) for name in begin}

    def going_on():
        stream = stream_seen(lines(folder, "stream", end["stream"]))
        ended = "ended" in lines(folder, "stream")
        pings = replies(lines(folder, "ping", end["ping"]))
        if "ended" in lines(folder, "ping"):
            sys.exit("ping has ended: %s" % lines(folder, "ping")[-5:])
        return {"stream": stream[-1:], "ended": ended, "pings": len(pings)}, ended or (len(stream) > 3 and len(pings) > 10)
    again, intact = booted(folder, config, guest, boot) if boots else (None, None)
    until(going_on, "counter and pings after `%s`, which said: %s" % (shlex.join(command), output[-1500:]),
          more=lambda: scene(folder, config, guest, hosts))
    stream = stream_seen(lines(folder, "stream", begin["stream"]))
    ended = "ended" in lines(folder, "stream")
    pings = replies(lines(folder, "ping", begin["ping"]))
    counts = [count] + [number for dummy, number in stream] + ([again] if boots else [])
    match = re.search(r"moved from \S+ to \S+ \(\w+\) in ([\d.]+) s; it stood still for (\d+) ms", output)
    print(json.dumps({
        "rc": code, "output": output, "other": other, "seconds": round(seconds, 1),
        "total_s": float(match[1]) if match else None, "downtime_s": int(match[2]) / 1000 if match else None,
        "gap_s": round(max(later - sooner for sooner, later in zip(pings, pings[1:])), 1),
        "before": before, "after": after, "running_on": [host for host, there in after.items() if there],
        "same_boot": {number for number, dummy in stream} == {boot} and not boots, "tcp_alive": not ended, "intact": intact,
        "counted": counts[-1] - counts[0], "monotonic": counts == sorted(counts),
    }))


def end(folder, config, guest):
    found = next(line for line in lines(folder, "stream") if line.startswith("data "))
    last_words = "echo 3 >/proc/sys/vm/drop_caches; echo data $(sha256sum </root/data); [ ! -e /run/counter.pid ] || kill $(cat /run/counter.pid)"
    done = subprocess.run(ssh(folder, config, guest, last_words, False), stdout=subprocess.PIPE, text=True, check=True)
    with open(os.path.join(folder, "pids"), encoding="ascii") as stream:
        for pid in json.load(stream):
            try:
                os.killpg(pid, signal.SIGTERM)
            except ProcessLookupError:
                # it ended by itself; `run` has told so
                pass
    shutil.rmtree(folder)
    print(json.dumps({"intact": done.stdout.strip() == found, "written": found, "read": done.stdout.strip()}))


def main():
    words, command = sys.argv[1:], []
    if "--" in words:
        words, command = words[:words.index("--")], words[words.index("--") + 1:]
    if words[0] != "run":
        {"watch": watch, "end": end}[words[0]](*words[1:])
        return
    parser = argparse.ArgumentParser()
    parser.add_argument("--at", type=int, default=0)
    parser.add_argument("--do")
    parser.add_argument("--boots", action="store_true")
    given = parser.parse_args(words[5:])
    run(*words[1:5], given.at, given.do, given.boots, command)


if __name__ == "__main__":
    main()
