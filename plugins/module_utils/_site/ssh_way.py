# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How ssh gets from the control machine to what is on the site's LAN alone: straight, or through a machine that has another address, too."""

from __future__ import annotations

import ipaddress
import re
import shlex
import socket
import subprocess
from dataclasses import dataclass

SECONDS = 5  # that `ssh -G` may take, which connects to nobody
JUMPS = ("proxyjump", "proxycommand")


@dataclass(frozen=True)
class Login:
    """How Ansible logs in to a machine."""

    host: str  # an address or a name
    user: str = ""  # empty: ssh's own choice
    port: str = ""  # empty: ssh's own choice
    key: str = ""  # the private key's file; empty: ssh's own choice
    arguments: str = ""  # further ones for ssh, as a shell reads them


def said_jump(arguments: str) -> str | None:
    """Through what arguments of ssh, as a shell reads them, say to connect; "none": through nothing; None: they do not say it.

    The first that says it counts, as for ssh."""
    try:
        words = shlex.split(arguments)
    except ValueError:
        return None  # ssh will say what is wrong with them
    for number, word in enumerate(words):
        after = words[number + 1] if number + 1 < len(words) else ""
        if word.startswith("-J"):
            return word[2:] or after
        if word.startswith("-o"):
            key, dummy, value = re.sub(r"[\s=]+", " ", (word[2:] or after).strip(), count=1).partition(" ")
            if key.lower() in JUMPS:
                return value
    return None


def configured_jump(arguments: str, target: str) -> bool:
    """Whether ssh with these arguments connects to the target through something, by all its configuration files. False if it cannot be asked."""
    try:
        done = subprocess.run(["ssh", "-G", *shlex.split(arguments), "--", target], capture_output=True, text=True, check=False, timeout=SECONDS,
                              stdin=subprocess.DEVNULL)
    except (OSError, ValueError, subprocess.SubprocessError):
        return False
    lines = [line.split(None, 1) for line in done.stdout.splitlines()]
    return done.returncode == 0 and any(len(words) == 2 and words[0] in JUMPS and words[1] != "none" for words in lines)


def within(host: str, network: ipaddress.IPv4Network) -> bool:
    """Whether this is an address of the network, not a name."""
    try:
        return ipaddress.ip_address(host) in network
    except ValueError:
        return False


def on_network(network: ipaddress.IPv4Network) -> bool:
    """Whether this computer has an address of the network and reaches it by that. Nothing is sent: to connect a datagram socket only looks for a route."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((str(network[1]), 9))
        except OSError:
            return False
        return ipaddress.IPv4Address(probe.getsockname()[0]) in network


def through(login: Login) -> str:
    """The arguments of ssh, as a shell reads them, that lead through this machine."""
    target = f"{login.user}@{login.host}" if login.user else login.host
    if not login.key and not login.arguments:
        return "-o " + shlex.quote(f"ProxyJump={target}{':' + login.port if login.port else ''}")
    # ProxyJump takes no arguments for the connection to the machine itself
    command = ["ssh", *shlex.split(login.arguments), *(["-i", login.key] if login.key else []), *(["-p", login.port] if login.port else []),
               "-W", "%h:%p", target]
    return "-o " + shlex.quote("ProxyCommand=" + shlex.join(command))
