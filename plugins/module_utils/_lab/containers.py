# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Containers that stand for the metal: their networks, and what makes a container this machine.

Docker's own things (images, networks, volumes, containers) are made by community.docker.
"""
from __future__ import annotations

import hashlib
import ipaddress
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ansible_collections.our.cloud.plugins.module_utils._lab.hardware import Nic, cards
from ansible_collections.our.cloud.plugins.module_utils._lab.machine import seed_files, write_seed
from ansible_collections.our.cloud.plugins.module_utils._lab.network import OUTSIDE
from ansible_collections.our.cloud.plugins.module_utils._lab.process import create_key

# Names of the Linux bridges of LANs, and of those networks that lead out, begin so, and no others'.
LAN_BRIDGES = "oc-"
OUTSIDE_BRIDGES = "ocw-"
# On containers: the lab that they are of.
LABEL = "our.cloud.lab"
IMAGES = "our-cloud/lab"


# Machines

def seed(params: Mapping[str, Any], check_mode: bool) -> bool:
    """The archive that makes a container the machine params["name"], made once. Returns whether it was made now."""
    directory = os.path.join(os.path.realpath(params["state_dir"]), "machines", params["name"])
    path = os.path.join(directory, "seed.tar")
    if os.path.exists(path) or check_mode:
        return not os.path.exists(path)
    with open(os.path.join(os.path.realpath(params["state_dir"]), "id_ed25519.pub"), encoding="ascii") as file:
        authorized_key = file.read().strip()
    nics = cards(params["nics"])
    public, dummy = create_key(os.path.join(directory, "ssh_host_ed25519_key"), params["name"])
    with open(os.path.join(directory, "ssh_host_ed25519_key"), encoding="ascii") as file:
        files = seed_files(params["name"], nics[0], authorized_key, file.read(), public)
    files.update(container_files(nics))
    files.update({name.lstrip("/"): (text, 0o644) for name, text in params["files"].items()})
    write_seed(path, files)
    return True


def container_files(nics: Sequence[Nic]) -> dict[str, tuple[str, int]]:
    """What a container needs beside a virtual machine's seed: {path: (text, mode)}. Docker configures the card that leads out."""
    files = {"usr/lib/lab/cards": ("".join(f"{nic.mac} {nic.network}\n" for nic in nics), 0o644)}
    if any(nic.network == OUTSIDE for nic in nics):
        files["etc/systemd/resolved.conf.d/10-lab.conf"] = ("[Resolve]\nDNS=127.0.0.11\n", 0o644)
    if nics[0].network == OUTSIDE:
        files["etc/systemd/network/10-lab.network"] = (f"[Match]\nMACAddress={nics[0].mac}\nType=ether\n\n[Link]\nUnmanaged=yes\n", 0o644)
    return files


def network_name(lab: str, network: str) -> str:
    """The docker network that a lab's network is."""
    return f"our-cloud-{lab}-{network}"


def networks(nics: Iterable[Nic], lab: str) -> list[dict[str, Any]]:
    """The docker networks of all machines' cards as docker_network takes them, those that lead out first: name, internal, bridge, ipam.

    Where a card has an address with the length of its network, the network is that; else docker chooses one. A LAN's is not used by
    the machines: it is only that docker cannot do without.
    """
    found: dict[str, dict[str, Any]] = {}
    for nic in sorted(nics, key=lambda nic: nic.network != OUTSIDE):
        name = network_name(lab, nic.network)
        network = found.setdefault(name, {
            "name": name,
            "internal": nic.network != OUTSIDE,
            # an interface's name has 15 bytes
            "bridge": (OUTSIDE_BRIDGES if nic.network == OUTSIDE else LAN_BRIDGES) + hashlib.sha256(name.encode()).hexdigest()[:10],
            "ipam": [],
        })
        if nic.address:
            network["ipam"] = [{"subnet": str(ipaddress.ip_interface(nic.address).network)}]
    return list(found.values())


def endpoints(nics: Iterable[Nic], lab: str) -> list[dict[str, Any]]:
    """The networks of one machine as docker_container takes them."""
    return [
        {"name": network_name(lab, nic.network), **({"ipv4_address": str(ipaddress.ip_interface(nic.address).ip)} if nic.address else {})}
        for nic in nics]
