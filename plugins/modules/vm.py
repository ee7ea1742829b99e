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
      - V(running), the guest is defined and runs. One that is paused goes on, unless a move has paused it. If an I/O error has, and it stops again
        at once, the module fails and says why. One whose memory was saved by a move that broke off is not started, for that would lose it.
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
  elsewhere:
    description:
      - With O(state=absent), the guest runs on another hypervisor, and this one has an old definition of it. That is taken away and nothing else;
        what the guest needs of the registry it still needs. Refused if the guest is active here.
    type: bool
    default: false
    version_added: 0.2.0
extends_documentation_fragment:
  - our.cloud.registry
  - our.cloud.hypervisor
  - our.cloud.common
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

import traceback

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.our.cloud.plugins.module_utils._boot.sources import BootFileError
from ansible_collections.our.cloud.plugins.module_utils._common.errors import CloudError, unforeseen
from ansible_collections.our.cloud.plugins.module_utils._guest.arch import ARCHES
from ansible_collections.our.cloud.plugins.module_utils._guest.description import GuestError
from ansible_collections.our.cloud.plugins.module_utils._hypervisor import hypervisor
from ansible_collections.our.cloud.plugins.module_utils._registry.storage import RegistryError
from ansible_collections.our.cloud.plugins.module_utils._vm.ensure import Guest


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
            "elsewhere": {"type": "bool", "default": False},
            "timeout": {"type": "int", "default": 90},
            "force": {"type": "bool", "default": False},
            "uri": {"type": "str"},
        },
        supports_check_mode=True,
    )
    if not hypervisor.HAS_LIBVIRT:
        module.fail_json(msg=missing_required_lib("libvirt (Debian: python3-libvirt)"))
    try:
        conn = hypervisor.open_local(module.params["uri"])
        result = Guest(conn, module.params, module.check_mode, module._diff).run()
        if result["restart_needed"]:
            module.warn(f"{module.params['name']} runs on as it was: the change of its definition takes effect at its next start. "
                        "Remedy: stop it and start it when that suits its users")
        module.exit_json(**result)
    except (CloudError, GuestError, BootFileError, RegistryError) as error:
        module.fail_json(msg=str(error))
    except (OSError, hypervisor.libvirt.libvirtError) as error:
        module.fail_json(msg=unforeseen(f"guest {module.params['name']}", error), exception=traceback.format_exc())


if __name__ == "__main__":
    main()
