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
    type: str
    choices: [amd64, i386, armel, armhf, arm64]
    default: amd64
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
  kernel:
    description: The kernel to boot. Relative to O(store).
    type: path
  ramdisk:
    description: The ramdisk (initrd) made for that kernel. Relative to O(store).
    type: path
  cmdline:
    description: The kernel's command line. By default the root file system on the first disk, and the console.
    type: str
  disk:
    description: The guest's disk, a raw file on the shared store. Relative to O(store). It must exist.
    type: path
  bridge:
    description: The host's bridge that the guest's network card is on.
    type: str
  mac:
    description: MAC address of the network card. By default libvirt chooses one, and it stays.
    type: str
  store:
    description: Where relative paths begin.
    type: path
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
  - our.cloud.hypervisor
  - our.cloud.hypervisor.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
seealso:
  - module: our.cloud.vm_info
  - module: our.cloud.vm_migrate
"""

EXAMPLES = r"""
- name: A small Debian on Xen
  our.cloud.vm:
    name: our-vm
    kind: pvh
    memory: 256
    store: /srv/cloud
    kernel: boot/debian/vmlinuz
    ramdisk: boot/debian/initrd.img
    disk: images/our-vm.img
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
  sample: [define, start]
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

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.our.cloud.plugins.module_utils import boot_files, domain, hypervisor, migration
from ansible_collections.our.cloud.plugins.module_utils.arch import ARCHES
from ansible_collections.our.cloud.plugins.module_utils.hypervisor import CloudError


class Guest:
    """Find, plan, and (unless it is a check) apply."""

    def __init__(self, module, conn):
        self.module, self.conn, self.params = module, conn, module.params
        self.name = self.params["name"]
        self.host = conn.getHostname()
        self.family = "xen" if conn.getType() == "Xen" else "qemu"
        self.dom = hypervisor.find(conn, self.name)
        self.before = hypervisor.persistent_xml(self.dom) if self.dom is not None else None
        self.actions, self.result = [], {"restart_needed": False}

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

    def wanted(self):
        """The definition as it should be; None if it is to be left alone."""
        if not self.params["kind"]:
            if self.dom is None and self.params["state"] != "absent":
                raise CloudError(self.host, "guest %s" % self.name, "it is not defined here, and `kind` is not given to define it",
                                 "Guests here: %s" % (", ".join(hypervisor.names(self.conn)) or "none"))
            return None
        if domain.family(self.params["kind"]) != self.family:
            raise CloudError(self.host, "guest %s" % self.name, "kind %s needs %s and this is %s" % (
                self.params["kind"], *(("Xen", "a KVM host") if self.family == "qemu" else ("a KVM host", "Xen"))),
                "Kinds that run here: %s" % ", ".join(domain.XEN_KINDS if self.family == "xen" else domain.QEMU_KINDS))
        full = domain.complete(self.params)
        if self.before is None or not domain.is_same_machine(full, self.before):
            full = domain.complete(self.params, hypervisor.host(self.conn))
        file_system = None
        if full["disk"]:
            if not os.path.exists(full["disk"]):
                raise CloudError(self.host, "disk %s" % full["disk"], "it does not exist",
                                 "Is the store mounted here, and has the image been put into it?")
            file_system = boot_files.disk(full["disk"], known=False, raw=True).format
        if full["kernel"]:
            boot_files.check(full["kernel"], full["ramdisk"], full["arch"], full["hypervisor"], file_system)
        return domain.overlay(full, self.before)

    def define(self):
        wanted = self.wanted()
        if wanted is None:
            return
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
                    if disk["path"] and hypervisor.store_of(disk["path"]):
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
                                    "before": before, "after": xml or ""}]
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
            "arch": {"type": "str", "choices": list(ARCHES), "default": "amd64"},
            "memory": {"type": "int", "default": 256},
            "vcpus": {"type": "int", "default": 1},
            "cpu": {"type": "str"},
            "kernel": {"type": "path"},
            "ramdisk": {"type": "path"},
            "cmdline": {"type": "str"},
            "disk": {"type": "path"},
            "bridge": {"type": "str"},
            "mac": {"type": "str"},
            "store": {"type": "path"},
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
    except (CloudError, domain.GuestError, boot_files.BootFileError, hypervisor.libvirt.libvirtError) as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
