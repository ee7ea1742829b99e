# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes one guest of this hypervisor as it is described: found, planned, and (unless it is a check) applied."""

from __future__ import annotations

import functools
import os

from ansible_collections.our.cloud.plugins.module_utils._boot import boot_files
from ansible_collections.our.cloud.plugins.module_utils._common.errors import CloudError
from ansible_collections.our.cloud.plugins.module_utils._guest import domain
from ansible_collections.our.cloud.plugins.module_utils._hypervisor import hypervisor, xen
from ansible_collections.our.cloud.plugins.module_utils._move.job import running_job
from ansible_collections.our.cloud.plugins.module_utils._registry.open import open_registry
from ansible_collections.our.cloud.plugins.module_utils._site.store import is_store, store_of
from ansible_collections.our.cloud.plugins.module_utils._vm.guest_image import GuestImage

# Seconds in which a guest that is let go on after an I/O error stops again if the error is still there
RELAPSE = 3
# Less than this is a store that is full, bytes
FULL = 1 << 20


class Guest:
    """Find, plan, and (unless it is a check) apply. params: what the module vm takes."""

    def __init__(self, conn, params: dict, check_mode: bool = False, diff: bool = False) -> None:
        self.conn, self.params, self.check_mode, self.wants_diff = conn, params, check_mode, diff
        self.name = self.params["name"]
        self.host = conn.getHostname()
        self.family = hypervisor.family(conn)
        self.dom = hypervisor.find(conn, self.name)
        self.before = hypervisor.persistent_xml(self.dom) if self.dom is not None else None
        self.actions, self.result, self.diff = [], {"restart_needed": False}, []
        self.image = None

    def state(self):
        return hypervisor.state(self.dom) if self.dom is not None else "absent"

    def active(self):
        return self.dom is not None and hypervisor.active(self.dom)

    def do(self, action, step):
        """One path for check and real: only the last step differs."""
        self.actions.append(action)
        if not self.check_mode:
            return step()
        return None

    def registered(self, image):
        """What the registry has to do with this guest; None if there is no registry to ask."""
        if not image and not is_store(self.params["store"]):
            return None
        return GuestImage(open_registry(self.params, self.check_mode), dict(self.params, image=image), self.family)

    def wanted(self):
        """The description as it should be, complete; None if it is to be left alone."""
        if not self.params["kind"]:
            if self.dom is None and self.params["state"] != "absent":
                raise CloudError(self.host, "guest %s" % self.name, "it is not defined here, and `kind` is not given to define it",
                                 "Guests here: %s" % (", ".join(hypervisor.names(self.conn)) or "none"))
            return None
        if domain.family(self.params["kind"]) != self.family:
            raise CloudError(self.host, "guest %s" % self.name, "kind %s needs %s and this is %s" % (
                self.params["kind"], *(("Xen", "a KVM host") if self.family == "qemu" else ("a KVM host", "Xen"))),
                "Kinds that run here: %s" % ", ".join(domain.XEN_KINDS if self.family == "xen" else domain.QEMU_KINDS))
        self.image = self.registered(self.params["image"])
        guest = self.image.described() if self.image else self.params
        full = domain.complete(guest)
        if self.before is None or not domain.is_same_machine(full, self.before):
            full = domain.complete(guest, hypervisor.host(self.conn))
        file_system, full["backing"] = self.disk_content(full["disk"]) if full["disk"] else (None, None)
        if full["kernel"]:
            boot_files.check(full["kernel"], full["ramdisk"], full["arch"], full["hypervisor"], file_system)
        return full

    def disk_content(self, disk):
        """What the guest's disk has in it, as far as is known, and what a qcow2 one is based on."""
        record, overlay = self.image.record if self.image else None, domain.is_overlay(disk)
        if record and self.image.is_new():
            return record["format"], self.image.store.path(record["id"]) if overlay else None
        if not os.path.exists(disk):
            raise CloudError(self.host, "disk %s" % disk, "it does not exist", "Is the store mounted here? With an image it would be made")
        found = boot_files.disk(disk, known=False, raw=not overlay, backed_by=self.image.store.is_image if self.image else None)
        return record["format"] if record and overlay else found.format, found.backing

    def need(self, full):
        """What the guest needs of the registry, before it is defined."""
        if not self.image:
            return
        wants = self.image.wants(full)
        if wants:
            self.do("use %s" % " ".join(wants), lambda: self.image.take(full))
        if self.image.record:
            self.result.update(image=self.image.record["id"], disk=self.image.disk)
        if self.image.is_new():
            self.diff.append({"before_header": "%s (disk)" % self.name, "after_header": "%s (disk)" % self.name, "before": "",
                              "after": "%s, from %s\n" % (self.image.disk, self.image.record["id"])})
            self.do("disk", self.image.make_disk)

    def release(self, full):
        """What it needs no more. While it runs it may be as it was before, and need that."""
        if self.image and not (full and self.active()):
            for key in self.image.surplus(full):
                self.do("give up %s" % key, functools.partial(self.image.give_up, key))

    def define(self):
        full = self.wanted()
        if full is None:
            return
        self.need(full)
        self.lay_over(domain.overlay(full, self.before))
        self.release(full)

    def lay_over(self, wanted):
        if self.before is not None and domain.same(self.before, wanted) and self.dom.isPersistent():
            return
        self.result["restart_needed"] = self.active() and not (self.before is not None and domain.runs_alike(self.before, wanted))
        self.after = wanted

        def step():
            self.dom = hypervisor.define(self.conn, wanted)
            self.after = hypervisor.persistent_xml(self.dom)

        self.do("define", step)

    def start(self):
        if self.active():
            if hypervisor.state(self.dom) == "paused":
                self.resume()
            return

        def step():
            hypervisor.start(self.dom)
            if self.family == "xen":
                for disk in domain.facts(self.before if self.before is not None else self.after)["disks"]:
                    if disk["path"] and store_of(disk["path"]):
                        xen.direct_io(disk["path"])

        self.do("start", step)

    def resume(self):
        """Let it go on, and see that it does: after an I/O error it stops again if nothing has been mended."""
        broken = hypervisor.paused(self.dom) == hypervisor.IO_ERROR

        def step():
            self.dom.resume()
            if broken and hypervisor.wait(lambda: hypervisor.paused(self.dom) == hypervisor.IO_ERROR, RELAPSE):
                raise self.io_error()

        if broken and self.full_stores():
            raise self.io_error()
        self.do("resume", step)

    def full_stores(self):
        """The folders of its disks that have no room left."""
        folders = {os.path.dirname(disk["path"]) for disk in domain.facts(self.before)["disks"] if disk["path"]}
        found = []
        for folder in sorted(folders):
            try:
                about = os.statvfs(folder)
            except OSError:
                # it is the guest's own error, that is told
                continue
            if about.f_bavail * about.f_frsize < FULL:
                found.append(folder)
        return found

    def io_error(self):
        """The refusal that says why it stands still and what to do."""
        errors = ", ".join("%s: %s" % item for item in sorted(hypervisor.io_errors(self.dom).items()))
        cause = "it is paused by an I/O error%s, and would stop again at once" % (" (%s)" % errors if errors else "")
        full = self.full_stores()
        if full:
            return CloudError(self.host, "guest %s" % self.name, cause, "%s is full: make room there (playbooks/prune.yml removes images that nobody needs), "
                              "then run this again; the guest goes on where it was" % ", ".join(full))
        return CloudError(self.host, "guest %s" % self.name, cause, "Can its disk be read and written on this host, and is the store's server up? "
                          "Mend that, then run this again; the guest goes on where it was")

    def check_free(self):
        """Refuse what somebody else has in hand: another manager, or a move."""
        if self.dom is None:
            return
        thing, owner = "guest %s" % self.name, domain.owner(self.before)
        if owner not in (None, domain.OURS):
            raise CloudError(self.host, thing, "it belongs to %s, as its metadata says, and nothing here touches it" % owner, "Give the guest another name")
        job = running_job(self.name)
        if job:
            raise CloudError(self.host, thing, "it is being moved to %s" % job["target"], "Wait for the move to end (vm_info shows it)")
        if hypervisor.arrives(self.dom):
            raise CloudError(self.host, thing, "it is on its way here, or waits for an arrival that broke off",
                             "Wait for the move to end (playbooks/list.yml shows it); if nothing moves it, restart libvirtd here (guests go on)")
        reason = hypervisor.paused(self.dom)
        if xen.suspended(self.dom) or reason is not None and reason not in hypervisor.RESUMABLE:
            why = " (%s)" % reason if reason else ", as a move leaves it that broke off"
            raise CloudError(self.host, thing, "it stands still%s, and may go on elsewhere" % why,
                             "playbooks/list.yml tells where it runs and what to do")

    def stop(self):
        if self.active():
            self.result["stopped"] = self.do("stop", lambda: hypervisor.stop(self.dom, self.params["timeout"], self.params["force"]))

    def undefine(self):
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

    def drop_stale(self):
        """Take a definition away of a guest that runs elsewhere, and nothing else: what it needs of the registry it still needs."""
        if self.dom is None:
            return
        if self.active() or self.dom.hasManagedSaveImage():
            raise CloudError(self.host, "guest %s" % self.name, "it is said to run elsewhere, and here it %s" % (
                "is active" if self.active() else "has saved memory"), "playbooks/list.yml tells where it runs and what to do")

        def step():
            hypervisor.undefine(self.dom)
            self.dom = None

        self.after = None
        self.do("undefine", step)

    def set_autostart(self):
        wanted = self.params["autostart"]
        if wanted is None or (self.dom is not None and bool(self.dom.autostart()) == wanted) or (self.dom is None and not wanted):
            return
        self.do("autostart" if wanted else "no autostart", lambda: self.dom.setAutostart(int(wanted)))

    def run(self):
        target = self.params["state"]
        previous = self.state()
        self.after = self.before
        self.check_free()
        if target == "absent" and self.params["elsewhere"]:
            self.drop_stale()
        elif target == "absent":
            self.stop()
            self.undefine()
            for orphan in xen.orphans(self.conn):
                if orphan["name"] == self.name:
                    self.do("destroy orphan", functools.partial(xen.destroy_orphan, self.host, orphan))
        else:
            self.define()
            if target == "running":
                self.start()
            elif target == "stopped":
                self.stop()
            self.set_autostart()
        xml = domain.shown(self.after) if self.after is not None else None
        self.result.update(changed=bool(self.actions), actions=self.actions, previous_state=previous, state=self.state())
        if xml:
            self.result["xml"] = xml
        if self.wants_diff:
            running = {"running": "running", "stopped": "stopped", "absent": "absent"}.get(target, previous)
            before = domain.shown(self.before) if self.before is not None else ""
            self.result["diff"] = [{"before_header": "%s (definition)" % self.name, "after_header": "%s (definition)" % self.name,
                                    "before": before, "after": xml or ""}] + self.diff
            if {"start", "stop", "resume", "undefine"} & set(self.actions):
                self.result["diff"].append({"before_header": "%s (state)" % self.name, "after_header": "%s (state)" % self.name,
                                            "before": "%s\n" % previous, "after": "%s\n" % running})
        return self.result
