# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes one guest of this hypervisor as it is described: found, planned, and (unless it is a check) applied."""

from __future__ import annotations

import dataclasses
import functools
import os
import xml.etree.ElementTree as ET
from collections.abc import Callable
from typing import Any

from ansible_collections.our.cloud.plugins.module_utils._boot import boot_files
from ansible_collections.our.cloud.plugins.module_utils._common import shapes
from ansible_collections.our.cloud.plugins.module_utils._common.errors import CloudError
from ansible_collections.our.cloud.plugins.module_utils._guest import description, domain, domain_facts
from ansible_collections.our.cloud.plugins.module_utils._hypervisor import hypervisor, xen
from ansible_collections.our.cloud.plugins.module_utils._registry.open import open_registry
from ansible_collections.our.cloud.plugins.module_utils._site.store import is_store, store_of
from ansible_collections.our.cloud.plugins.module_utils._vm import in_hand
from ansible_collections.our.cloud.plugins.module_utils._vm.guest_image import GuestImage

# Seconds in which a guest that is let go on after an I/O error stops again if the error is still there
RELAPSE = 3


class Guest:
    """Find, plan, and (unless it is a check) apply. params: what the module vm takes."""

    def __init__(self, conn: Any, params: dict[str, Any], check_mode: bool = False, diff: bool = False) -> None:
        self.conn, self.params, self.check_mode, self.wants_diff = conn, params, check_mode, diff
        self.name = self.params["name"]
        self.host = conn.getHostname()
        self.family = hypervisor.family(conn)
        self.dom = hypervisor.find(conn, self.name)
        self.before = hypervisor.persistent_xml(self.dom) if self.dom is not None else None
        self.actions: list[str] = []
        self.result: dict[str, Any] = {"restart_needed": False}
        self.diff: list[dict[str, str]] = []
        self.image: GuestImage | None = None

    def state(self) -> str:
        # asked anew: one without a definition is gone when it has stopped
        dom = hypervisor.find(self.conn, self.name)
        return hypervisor.state(dom) if dom is not None else "absent"

    def active(self) -> bool:
        return self.dom is not None and hypervisor.active(self.dom)

    def do(self, action: str, step: Callable[[], Any]) -> Any:
        """One path for check and real: only the last step differs."""
        self.actions.append(action)
        return None if self.check_mode else step()

    def registered(self, image: str | None) -> GuestImage | None:
        """What the registry has to do with this guest; None if there is no registry to ask."""
        if not image and not is_store(self.params["store"]):
            return None
        return GuestImage(open_registry(self.params, self.check_mode), dict(self.params, image=image), self.family)

    def wanted(self) -> description.Complete | None:
        """The description as it should be, complete; None if it is to be left alone."""
        if not self.params["kind"]:
            if self.dom is None and self.params["state"] != "absent":
                raise CloudError(self.host, f"guest {self.name}", "it is not defined here, and `kind` is not given to define it",
                                 f"Guests here: {', '.join(hypervisor.names(self.conn)) or 'none'}")
            return None
        check_kind(self.host, self.name, self.params["kind"], self.family)
        self.image = self.registered(self.params["image"])
        guest = self.image.described() if self.image else shapes.of(description.Description, self.params)
        full = description.complete(guest)
        if self.before is None or not domain.is_same_machine(full, self.before):
            full = description.complete(guest, hypervisor.host(self.conn))
        file_system, backing = self.disk_content(full.disk) if full.disk else (None, None)
        if full.kernel:
            boot_files.check(full.kernel, full.ramdisk, full.arch, full.hypervisor, file_system)
        return dataclasses.replace(full, backing=backing)

    def disk_content(self, disk: str) -> tuple[str, str | None]:
        """What the guest's disk has in it, as far as is known, and what a qcow2 one is based on."""
        record, overlay = self.image.record if self.image else None, description.is_overlay(disk)
        if record and self.image.is_new():
            return record["format"], self.image.store.path(record["id"]) if overlay else None
        if not os.path.exists(disk):
            raise CloudError(self.host, f"disk {disk}", "it does not exist", "Is the store mounted here? With an image it would be made")
        found = boot_files.disk(disk, known=False, raw=not overlay, backed_by=self.image.store.is_image if self.image else None)
        return record["format"] if record and overlay else found.format, found.backing

    def acquire(self, full: description.Complete) -> None:
        """Before the guest is defined: note that it uses what it boots from, and make its disk."""
        if not self.image:
            return
        wants = self.image.wants(full)
        if wants:
            self.do(f"use {' '.join(wants)}", lambda: self.image.take(full))
        if self.image.record:
            self.result.update(image=self.image.record["id"], disk=self.image.disk)
        if self.image.is_new():
            self.diff.append({"before_header": f"{self.name} (disk)", "after_header": f"{self.name} (disk)", "before": "",
                              "after": f"{self.image.disk}, from {self.image.record['id']}\n"})
            self.do("disk", self.image.make_disk)

    def release(self, full: description.Complete | None) -> None:
        """What it needs no more. While it runs it may be as it was before, and need that."""
        if self.image and not (full and self.active()):
            for key in self.image.surplus(full):
                self.do(f"give up {key}", functools.partial(self.image.give_up, key))

    def define(self) -> None:
        full = self.wanted()
        if full is None:
            return
        self.acquire(full)
        self.lay_over(domain.overlay(full, self.before))
        self.release(full)

    def lay_over(self, wanted: ET.Element) -> None:
        if self.before is not None and domain.same(self.before, wanted) and self.dom.isPersistent():
            return
        self.result["restart_needed"] = self.active() and not (self.before is not None and domain.runs_alike(self.before, wanted))
        self.after = wanted

        def step():
            self.dom = hypervisor.define(self.conn, wanted)
            self.after = hypervisor.persistent_xml(self.dom)

        self.do("define", step)

    def start(self) -> None:
        if self.active():
            if hypervisor.state(self.dom) == "paused":
                self.resume()
            return
        described = self.before if self.before is not None else self.after
        in_hand.check_saved(self.host, self.name, described)

        def step():
            hypervisor.start(self.dom)
            for disk in domain_facts.facts(described).disks if self.family == "xen" else ():
                if disk.path and store_of(disk.path):
                    xen.direct_io(disk.path)

        self.do("start", step)

    def resume(self) -> None:
        """Let it go on, and see that it does: after an I/O error it stops again if nothing has been mended."""
        broken = hypervisor.paused(self.dom) == hypervisor.IO_ERROR

        def step():
            self.dom.resume()
            if broken and hypervisor.wait(lambda: hypervisor.paused(self.dom) == hypervisor.IO_ERROR, RELAPSE):
                raise in_hand.io_error(self.host, self.name, self.dom, self.before)

        if broken and in_hand.full_stores(self.before):
            raise in_hand.io_error(self.host, self.name, self.dom, self.before)
        self.do("resume", step)

    def stop(self) -> None:
        if self.active():
            self.result["stopped"] = self.do("stop", lambda: hypervisor.stop(self.dom, self.params["timeout"], self.params["force"]))

    def undefine(self) -> None:
        if self.dom is None:
            return

        def step():
            # a guest without a definition is gone when it stops
            if hypervisor.find(self.conn, self.name) is not None:
                hypervisor.undefine(self.dom)
            self.dom = None

        self.after = None
        self.image = self.registered(None)
        self.do("undefine", step)
        self.release(None)

    def drop_stale(self) -> None:
        """Take a definition away of a guest that runs elsewhere, and nothing else: what it needs of the registry it still needs."""
        if self.dom is None:
            return
        if self.active() or self.dom.hasManagedSaveImage():
            here = "is active" if self.active() else "has saved memory"
            raise CloudError(self.host, f"guest {self.name}", f"it is said to run elsewhere, and here it {here}",
                             "playbooks/list.yml tells where it runs and what to do")

        def step():
            hypervisor.undefine(self.dom)
            self.dom = None

        self.after = None
        self.do("undefine", step)

    def set_autostart(self) -> None:
        wanted = self.params["autostart"]
        if wanted is None or (self.dom is not None and bool(self.dom.autostart()) == wanted) or (self.dom is None and not wanted):
            return
        self.do("autostart" if wanted else "no autostart", lambda: self.dom.setAutostart(int(wanted)))

    def run(self) -> dict[str, Any]:
        target = self.params["state"]
        previous = self.state()
        self.after = self.before
        if self.dom is not None:
            in_hand.check_free(self.host, self.name, self.dom, self.before)
        if target == "absent" and self.params["elsewhere"]:
            self.drop_stale()
        elif target == "absent":
            self.stop()
            self.undefine()
            for orphan in xen.orphans(self.conn):
                if orphan.name == self.name:
                    self.do("destroy orphan", functools.partial(xen.destroy_orphan, self.host, orphan))
        else:
            self.define()
            if target == "running":
                self.start()
            elif target == "stopped":
                self.stop()
            self.set_autostart()
        xml = domain.shown(self.after) if self.after is not None else None
        self.result.update(changed=bool(self.actions), actions=self.actions, previous_state=previous, state=self.state(), **({"xml": xml} if xml else {}))
        if self.wants_diff:
            self.result["diff"] = differences(self, target, previous, xml or "")
        return self.result


def check_kind(host: str, name: str, kind: str, family: str) -> None:
    """CloudError if a guest of this kind is not for this hypervisor. family: its own, xen or qemu."""
    if description.family(kind) != family:
        needs, this = ("Xen", "a KVM host") if family == "qemu" else ("a KVM host", "Xen")
        raise CloudError(host, f"guest {name}", f"kind {kind} needs {needs} and this is {this}",
                         f"Kinds that run here: {', '.join(description.XEN_KINDS if family == 'xen' else description.QEMU_KINDS)}")


def differences(guest: Guest, target: str, previous: str, xml: str) -> list[dict]:
    """What --diff shows. target: the state that is asked for; previous: the one before; xml: the definition afterwards."""
    running = {"running": "running", "stopped": "stopped", "absent": "absent"}.get(target, previous)
    before = domain.shown(guest.before) if guest.before is not None else ""
    found = [{"before_header": f"{guest.name} (definition)", "after_header": f"{guest.name} (definition)", "before": before, "after": xml}, *guest.diff]
    if {"start", "stop", "resume", "undefine"} & set(guest.actions):
        found.append({"before_header": f"{guest.name} (state)", "after_header": f"{guest.name} (state)",
                      "before": f"{previous}\n", "after": f"{running}\n"})
    return found
