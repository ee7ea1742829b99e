# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A power cut while a bridge is made to stay leaves its configuration whole or not there."""

from __future__ import annotations

import pathlib
import subprocess

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

CHECKOUT = pathlib.Path(__file__).resolve().parents[2]
FILES = ("bridge.netdev", "bridge.network", "nic.network")
CALM = """systemctl() { [ "$2" != is-active ]; }
networkctl() { :; }
"""


@pytest.fixture(name="keep")
def fixture_keep(tmp_path):
    """A function that runs `keep` and takes the power away before its command of that number: what is in /etc then."""
    variables = {"bridge_name": "br0", "bridge__nic": {"ifname": "eth0"}, "bridge__before": {"ifname": "eth0"}, "bridge__expected": "", "bridge__now": {},
                 "bridge_confirm_timeout": 60, "bridge_gateway": "", "bridge_address": "dhcp", "bridge__managed_by_ifupdown": True,
                 "bridge__networkd_runs": True, "ansible_managed": "managed"}
    text = (CHECKOUT / "roles/bridge/templates/bridge-switch.sh.j2").read_text(encoding="utf-8")
    script = Templar(loader=DataLoader(), variables=variables).template(trust_as_template(text))
    script = script.replace("run=/run/", f"run={tmp_path}/run/").replace("etc=/etc/", f"etc={tmp_path}/etc/").rpartition('"$1"')[0]

    def keep(number):
        subprocess.run(["rm", "-rf", tmp_path / "run", tmp_path / "etc"], check=True)
        run, etc = tmp_path / "run/systemd/network", tmp_path / "etc/systemd/network"
        run.mkdir(parents=True)
        for name in FILES:
            (run / f"04-our-cloud-{name}").write_text(name * 1000)
        cut = f"set -T\nn=0\ntrap 'n=$((n + 1)); [ $n -lt {number} ] || exit 7' DEBUG\nkeep\n"
        # moved to another file system: written anew, and cut in its middle
        moves = """mv() { case $1 in "$run"*) head -c 100 "$1" >"$2"; command cp "$1" "$2"; command rm "$1" ;; *) command mv "$@" ;; esac; }
cp() { head -c 100 "$1" >"$2"; command cp "$@"; }
"""
        done = subprocess.run(["bash", "-c", script + CALM + moves + cut, str(tmp_path / "switch")], capture_output=True, text=True, check=False)
        return done, {path.name.removeprefix("05-our-cloud-"): path.read_text() for path in etc.glob("*")} if etc.exists() else {}
    return keep


def test_whenever_the_power_goes(keep):
    number, done = 1, None
    while done is None or done.returncode == 7:
        done, there = keep(number)
        known = {name: text for name, text in there.items() if not name.endswith(".new")}
        assert all(text == name * 1000 for name, text in known.items()), number
        assert "nic.network" not in known or set(known) == set(FILES), number
        number += 1
    assert set(there) == set(FILES)
    assert number > 15
