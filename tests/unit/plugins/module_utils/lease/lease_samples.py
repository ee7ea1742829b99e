# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A guest with a disk in a store, and what libvirt and the store say of it."""

from __future__ import annotations

import pathlib

from ansible_collections.our.cloud.plugins.module_utils._guest import lease

UUID = "11111111-2222-3333-4444-555555555555"
OTHER = "99999999-2222-3333-4444-555555555555"
XML = """<domain type='kvm'><name>{name}</name><uuid>{uuid}</uuid><devices>
<disk type='file' device='disk'><source file='{disk}'/><target dev='vda'/></disk>
<disk type='file' device='disk'><source file='/tmp/shared.img'/><target dev='vdb'/><shareable/></disk>
<disk type='file' device='cdrom'><source file='/tmp/medium.iso'/><target dev='sda'/><readonly/></disk>
</devices></domain>"""


def domain(guest):
    """libvirt's description of a guest."""
    return XML.format(name=guest.name, uuid=guest.uuid, disk=guest.disks[0] if guest.disks else "/nowhere")


def runs(node, guest, text=None):
    """libvirt's status file of a guest that runs here; its path."""
    path = pathlib.Path(node.status[0], guest.name + ".xml")
    path.write_text(text if text is not None else f"<domstatus state='running'>{domain(guest)}</domstatus>")
    return str(path)


def ended(node, guest):
    pathlib.Path(node.status[0], guest.name + ".xml").unlink()


def holder(store, name="web"):
    """(host, to) of the guest's leases, which all say the same."""
    rows = [(row["host"], row["to"]) for row in lease.holders(str(store)) if row["name"] == name]
    assert len(rows) < 2, rows
    return rows[0] if rows else None


def files(store):
    folder = store / lease.FOLDER
    return sorted(path.name for path in folder.iterdir() if path.name != lease.NODES) if folder.exists() else []


def rewrite(store, node, guest, kind="", **changes):
    """Change what the store says of each lease of the guest; of each claim on one, with kind=lease.CLAIM."""
    with lease.Ledger(str(store)) as ledger:
        for place in lease.places(node, guest):
            ledger.put({**ledger.read(place.key + kind), **changes})
            ledger.replace(place.key + kind)


def orphan_promise(make, store, guest):
    """One has it; its promise to two was made by a process that is no more."""
    one = make("one")
    lease.take(one, guest)
    lease.promise(one, guest, "two")
    rewrite(store, one, guest, lease.CLAIM, pid=2**22 + 1)
    return one
