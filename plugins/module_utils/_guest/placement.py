# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a guest is among the hypervisors, and where it could go: decisions over what vm_info told."""

from __future__ import annotations

# What a guest costs beside its memory, MiB
OVERHEAD = {"xen": 16, "qemu": 64}


def need(guest, family):
    """MiB that a hypervisor must have free to take this guest. One that does not run needs none."""
    return guest["memory"] + OVERHEAD[family] if guest["active"] else 0


def places(name, hosts):
    """{host: guest} of all hypervisors that know this guest."""
    return {host: guest for host, info in sorted(hosts.items()) for guest in info["guests"] if guest["name"] == name}


def _listing(hosts):
    found = ["%s (%s)" % (guest["name"], host) for host, info in sorted(hosts.items()) for guest in info["guests"]]
    return ", ".join(sorted(found)) or "none"


def unfit(host, source, guest, hosts):
    """Why this host cannot take the guest from the source; None if it can, as far as is known from afar."""
    if host not in hosts:
        return "is no hypervisor of this inventory, or did not answer"
    info = hosts[host]
    family = hosts[source]["hypervisor"]
    if info["hypervisor"] != family:
        return "is a %s hypervisor and %s is a %s guest on a %s one" % (info["hypervisor"], guest["name"], guest["kind"], family)
    if info["memory"]["free"] < need(guest, family):
        return "has %d MiB free and %s needs %d MiB" % (info["memory"]["free"], guest["name"], need(guest, family))
    return None


def plan(name, hosts, target=None, mode=None, silent=()):
    """What `migrate.yml -e vm=NAME` is to do: source, target and mode, or the error that says why not and what would do."""
    unasked = " These did not answer: %s." % ", ".join(sorted(silent)) if silent else ""
    result = {"name": name, "source": None, "target": None, "mode": mode, "error": "", "already": False}

    def error(text):
        return dict(result, error=text + unasked)

    if not name:
        return error("Which guest? Give it with -e vm=NAME. Guests: %s." % _listing(hosts))
    known = places(name, hosts)
    if not known:
        text = "No hypervisor that answered has a guest %s. Guests: %s." if silent else "There is no guest %s. Guests: %s."
        return error(text % (name, _listing(hosts)))
    # while it is moved it is on both, and that is as it should be
    for host, guest in known.items():
        if guest.get("migration"):
            return error("%s is being moved from %s to %s already (%s%% done). Wait for that to end." % (
                name, host, guest["migration"].get("target", "?"), guest["migration"].get("percent", "?")))
    running = [host for host, guest in known.items() if guest["active"]]
    if len(running) > 1:
        return error("%s runs on %s at once, which ruins its disk. Stop one of them now." % (name, " and ".join(running)))
    if not running and len(known) > 1:
        return error("%s is stopped and defined on %s. Remove the definition that is not wanted (our.cloud.vm with state absent)." % (
            name, " and ".join(known)))
    source = running[0] if running else list(known)[0]
    guest = known[source]
    result.update(source=source, mode=mode or ("live" if running else "offline"))
    fit = sorted((host for host in hosts if host != source and unfit(host, source, guest, hosts) is None),
                 key=lambda host: (-hosts[host]["memory"]["free"], host))
    would_do = " These would do: %s." % ", ".join(fit) if fit else " No other host would do either: %s." % "; ".join(
        "%s %s" % (host, unfit(host, source, guest, hosts)) for host in sorted(hosts) if host not in (source, target)) if set(hosts) - {source, target} else ""
    if target:
        if target == source:
            return dict(result, target=target, already=True)
        reason = unfit(target, source, guest, hosts)
        if reason:
            return error("%s cannot go to %s: it %s.%s" % (name, target, reason, would_do))
        return dict(result, target=target)
    if not fit:
        return error("%s on %s has nowhere to go.%s" % (name, source, would_do))
    return dict(result, target=fit[0])
