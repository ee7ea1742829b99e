#!/usr/bin/python
# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: vm
short_description: A guest is defined, running, stopped or absent
version_added: 0.1.0
description:
  - Makes a guest of the hypervisor that it runs on (Xen or KVM) as described, by libvirt.
  - The description is laid over the definition that libvirt holds; what it does not mention stays as it is.
  - A running guest goes on as it is when its definition changes; RV(restart_needed) says that the change waits for its next start.
options:
  name:
    description: The guest's name.
    type: str
    required: true
  state:
    description:
      - V(running), the guest is defined and runs.
      - V(present), the guest is defined; whether it runs is left alone.
      - V(stopped), the guest is defined and does not run. It is asked to power off, see O(timeout) and O(force).
      - V(absent), the guest is stopped and its definition is gone. Its disk stays.
        On Xen, what a move that was cut short left of it here goes too.
    type: str
    choices: [running, present, stopped, absent]
    default: running
  kind:
    description:
      - What the guest is. V(pvh), V(pv) and V(hvm) on Xen, V(kvm) and V(qemu) (emulated) else.
      - Needed for a guest that is not defined yet. Without it the definition is left as it is.
    type: str
    choices: [pvh, pv, hvm, kvm, qemu]
  arch:
    description:
      - The guest's architecture, by its Debian name. It decides over emulator, machine, CPU and console.
      - A guest whose architecture changes is another machine, which keeps only its name, UUID and what is said here.
      - By default the one of its O(image), or V(amd64) without one.
    type: str
    choices: [amd64, i386, armel, armhf, arm64]
  memory:
    description: Memory in MiB.
    type: int
    default: 256
  vcpus:
    description: Number of virtual CPUs.
    type: int
    default: 1
  cpu:
    description:
      - The CPU that a KVM or QEMU guest sees. V(host-model), V(host-passthrough), V(maximum), or a model that libvirt knows.
      - By default libvirt's own on x86, a plain one that can move between different machines.
        On ARM, V(host-passthrough) for kind V(kvm), and for V(qemu) one that the architecture's kernels run on.
    type: str
  image:
    description:
      - The image that the guest is made of, by its name or id in the registry (see M(our.cloud.image)).
      - Its disk is made from it if it does not exist, and boots the image's kernel and ramdisk with the image's root device and command line.
        What is said here counts for more.
      - A guest belongs to the image that its disk was made from. When the name moves to another one, the guest stays with its own.
        To make it anew, stop it and remove its disk.
    type: str
    version_added: 0.2.0
  kernel:
    description: The kernel to boot. Relative to O(store). Or its id in the registry.
    type: path
  ramdisk:
    description: The ramdisk (initrd) made for that kernel. Relative to O(store). Or its id in the registry.
    type: path
  cmdline:
    description: The kernel's command line. By default the root file system on the first disk, and the console.
    type: str
  disk:
    description:
      - The guest's disk, a file on the shared store. Relative to O(store). A qcow2 one (not on Xen) if its name ends in C(.qcow2), else a raw one.
      - Without O(image) it must exist. With it, the default is C(images/NAME.qcow2) on KVM, which has what differs from the image,
        and C(images/NAME.img) on Xen, a copy. A disk that exists is never written to.
    type: path
  bridge:
    description: The host's bridge that the guest's network card is on.
    type: str
  mac:
    description: MAC address of the network card. By default libvirt chooses one, and it stays.
    type: str
  autostart:
    description: Whether the guest starts with the hypervisor. Left alone if not given.
    type: bool
  timeout:
    description: How many seconds a guest has to power off.
    type: int
    default: 90
  force:
    description: Pull the plug of a guest that has not powered off in time.
    type: bool
    default: false
extends_documentation_fragment:
  - our.cloud.registry
  - our.cloud.hypervisor
  - our.cloud.hypervisor.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
seealso:
  - module: our.cloud.image
  - module: our.cloud.vm_info
  - module: our.cloud.vm_migrate
"""

EXAMPLES = r"""
- name: A small Debian on Xen
  our.cloud.vm:
    name: our-vm
    kind: pvh
    memory: 256
    image: debian
    bridge: br0

- name: A guest of files that are in no registry
  our.cloud.vm:
    name: their-vm
    kind: kvm
    kernel: boot/vmlinuz
    ramdisk: boot/initrd.img
    disk: images/their-vm.img
    bridge: br0

- name: Stop it, by force if it takes more than a minute
  our.cloud.vm:
    name: our-vm
    state: stopped
    timeout: 60
    force: true

- name: Forget it (its disk stays)
  our.cloud.vm:
    name: our-vm
    state: absent
"""

RETURN = r"""
state:
  description: The guest's state afterwards (in check mode, before). V(absent) if it is not defined.
  returned: success
  type: str
  sample: running
previous_state:
  description: The guest's state before.
  returned: success
  type: str
  sample: stopped
actions:
  description: What was done (in check mode, what would be).
  returned: success
  type: list
  elements: str
  sample: [use emi-0f3a5c771e20, disk, define, start]
image:
  description: The id of the image that the guest is made of.
  returned: when it is made of one
  type: str
  sample: emi-0f3a5c771e20
disk:
  description: The guest's disk.
  returned: when it is made of an image
  type: str
  sample: /srv/cloud/images/our-vm.qcow2
restart_needed:
  description: The definition changed (or would) while the guest runs. The change takes effect at its next start.
  returned: success
  type: bool
stopped:
  description: How it stopped, V(graceful) or V(forced).
  returned: when it was stopped
  type: str
xml:
  description: The definition as libvirt holds it.
  returned: when the guest is defined
  type: str
"""

import functools
import os
import traceback

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.our.cloud.plugins.module_utils._boot import boot_files
from ansible_collections.our.cloud.plugins.module_utils._guest import domain
from ansible_collections.our.cloud.plugins.module_utils._hypervisor import hypervisor
from ansible_collections.our.cloud.plugins.module_utils._move import migration
from ansible_collections.our.cloud.plugins.module_utils._guest.arch import ARCHES
from ansible_collections.our.cloud.plugins.module_utils._site.store import is_store, store_of
from ansible_collections.our.cloud.plugins.module_utils._vm.guest_image import GuestImage
from ansible_collections.our.cloud.plugins.module_utils._common.errors import CloudError, unforeseen
from ansible_collections.our.cloud.plugins.module_utils._registry.nfs_store import NfsStore
from ansible_collections.our.cloud.plugins.module_utils._registry.registry import Registry, RegistryError


class Guest:
    """Find, plan, and (unless it is a check) apply."""

    def __init__(self, module, conn):
        self.module, self.conn, self.params = module, conn, module.params
        self.name = self.params["name"]
        self.host = conn.getHostname()
        self.family = "xen" if conn.getType() == "Xen" else "qemu"
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
        if not self.module.check_mode:
            return step()
        return None

    def registered(self, image):
        """What the registry has to do with this guest; None if there is no registry to ask."""
        if not image and not is_store(self.params["store"]):
            return None
        storage = NfsStore(self.params["store"], self.module.check_mode)
        return GuestImage(Registry(storage, self.module.check_mode), dict(self.params, image=image), self.family)

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
        self.result["restart_needed"] = self.active()
        self.after = wanted

        def step():
            self.dom = hypervisor.define(self.conn, wanted)
            self.after = hypervisor.persistent_xml(self.dom)

        self.do("define", step)

    def start(self):
        if self.active():
            if hypervisor.state(self.dom) == "paused":
                self.do("resume", self.dom.resume)
            return

        def step():
            hypervisor.start(self.dom)
            if self.family == "xen":
                for disk in domain.facts(self.before if self.before is not None else self.after)["disks"]:
                    if disk["path"] and store_of(disk["path"]):
                        hypervisor.direct_io(disk["path"])

        self.do("start", step)

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

    def set_autostart(self):
        wanted = self.params["autostart"]
        if wanted is None or (self.dom is not None and bool(self.dom.autostart()) == wanted) or (self.dom is None and not wanted):
            return
        self.do("autostart" if wanted else "no autostart", lambda: self.dom.setAutostart(int(wanted)))

    def run(self):
        target = self.params["state"]
        previous = self.state()
        self.after = self.before
        if self.dom is not None and migration.running_job(self.name):
            raise CloudError(self.host, "guest %s" % self.name, "it is being moved to %s" % migration.running_job(self.name)["target"],
                             "Wait for the move to end (vm_info shows it)")
        if target == "absent":
            self.stop()
            self.undefine()
            for orphan in hypervisor.orphans(self.conn):
                if orphan["name"] == self.name:
                    self.do("destroy orphan", functools.partial(hypervisor.destroy_orphan, self.host, orphan))
        else:
            self.define()
            if target == "running":
                self.start()
            elif target == "stopped":
                self.stop()
            self.set_autostart()
        xml = domain.to_text(self.after) if self.after is not None else None
        self.result.update(changed=bool(self.actions), actions=self.actions, previous_state=previous, state=self.state())
        if xml:
            self.result["xml"] = xml
        if self.module._diff:
            running = {"running": "running", "stopped": "stopped", "absent": "absent"}.get(target, previous)
            before = domain.to_text(self.before) if self.before is not None else ""
            self.result["diff"] = [{"before_header": "%s (definition)" % self.name, "after_header": "%s (definition)" % self.name,
                                    "before": before, "after": xml or ""}] + self.diff
            if {"start", "stop", "resume", "undefine"} & set(self.actions):
                self.result["diff"].append({"before_header": "%s (state)" % self.name, "after_header": "%s (state)" % self.name,
                                            "before": "%s\n" % previous, "after": "%s\n" % running})
        return self.result


def main():
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "state": {"type": "str", "choices": ["running", "present", "stopped", "absent"], "default": "running"},
            "kind": {"type": "str", "choices": ["pvh", "pv", "hvm", "kvm", "qemu"]},
            "arch": {"type": "str", "choices": list(ARCHES)},
            "memory": {"type": "int", "default": 256},
            "vcpus": {"type": "int", "default": 1},
            "cpu": {"type": "str"},
            "image": {"type": "str"},
            "kernel": {"type": "path"},
            "ramdisk": {"type": "path"},
            "cmdline": {"type": "str"},
            "disk": {"type": "path"},
            "bridge": {"type": "str"},
            "mac": {"type": "str"},
            "store": {"type": "path", "default": "/srv/cloud"},
            "autostart": {"type": "bool"},
            "timeout": {"type": "int", "default": 90},
            "force": {"type": "bool", "default": False},
            "uri": {"type": "str"},
        },
        supports_check_mode=True,
    )
    if not hypervisor.HAS_LIBVIRT:
        module.fail_json(msg=missing_required_lib("libvirt (Debian: python3-libvirt)"))
    try:
        module.exit_json(**Guest(module, hypervisor.open_local(module.params["uri"])).run())
    except (CloudError, domain.GuestError, boot_files.BootFileError, RegistryError) as error:
        module.fail_json(msg=str(error))
    except (OSError, hypervisor.libvirt.libvirtError) as error:
        module.fail_json(msg=unforeseen("guest %s" % module.params["name"], error), exception=traceback.format_exc())


if __name__ == "__main__":
    main()
