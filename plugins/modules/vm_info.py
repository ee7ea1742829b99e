#!/usr/bin/python
# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: vm_info
short_description: Where guests are, in what state, on which disk and bridge
version_added: 0.1.0
description:
  - Tells the guests of the hypervisor that it runs on, and the memory left for more.
  - While a guest is being moved away by M(our.cloud.vm_migrate), its entry has the progress of the move.
options:
  name:
    description: Only this guest. All guests if it is not given.
    type: str
extends_documentation_fragment:
  - our.cloud.hypervisor
  - our.cloud.common
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
seealso:
  - module: our.cloud.vm
  - module: our.cloud.vm_migrate
"""

EXAMPLES = r"""
- name: Find where the guests are
  our.cloud.vm_info:
  register: here

- name: Show them
  ansible.builtin.debug:
    msg: "{{ inventory_hostname }} has {{ here.guests | map(attribute='name') | join(', ') }} and {{ here.memory.free }} MiB free"
"""

RETURN = r"""
hypervisor:
  description: V(xen) or V(qemu).
  returned: always
  type: str
  sample: xen
host:
  description: The hypervisor's own name.
  returned: always
  type: str
  sample: node1
memory:
  description: MiB on this hypervisor.
  returned: always
  type: dict
  contains:
    free:
      description: What another guest could have.
      type: int
    total:
      description: What the machine has.
      type: int
orphans:
  description: >-
    Xen domains that libvirt does not know, left by a move that was cut short on its arrival. M(our.cloud.vm) with state absent removes them.
  returned: always
  type: list
  elements: dict
  contains:
    domid:
      description: Xen's number of the domain.
      type: int
    name:
      description: The guest's name.
      type: str
    memory:
      description: MiB that it holds.
      type: int
    has_run:
      description: Whether it has ever run here.
      type: bool
moves:
  description: >-
    The last moves from here whose end nobody was told, as whoever asked for them was gone; until the guest is moved from here again.
    Each with C(name), C(source), C(target), C(mode), C(began), C(ended) (V(null) if it was cut short), C(failed) and C(text), a sentence.
  returned: always
  type: list
  elements: dict
store_error:
  description: Why the store could not be asked for leases and saved memory. Empty if it could.
  returned: always
  type: str
drained:
  description: Since when the hypervisor is drained (playbook C(drain)), seconds since 1970. V(null) if it is not.
  returned: always
  type: int
errand:
  description: >-
    What it is drained for, if a playbook has done it that undrains it at its end: its C(verb), V(upgrade) or V(reboot), and when its run C(began), seconds
    since 1970. V(null) if somebody has drained it, or it is not.
  returned: always
  type: dict
guests:
  description: >-
    The hypervisor's domains, sorted by name, also those that are no guests of ours (see C(owner)).
  returned: always
  type: list
  elements: dict
  contains:
    name:
      description: Its name.
      type: str
    uuid:
      description: Its UUID.
      type: str
    state:
      description: V(running), V(paused), V(stopped), V(crashed) and the like.
      type: str
    reason:
      description: Why it is paused, such as V(user), V(I/O error) or V(migration). Empty if that is not known, V(null) if it is not paused.
      type: str
    suspended:
      description: >-
        Whether a Xen guest stands still, as a move or a save leaves it that broke off; C(state) may be V(running) then.
      type: bool
    owner:
      description: >-
        Whose it is by the metadata of its definition, V(our.cloud), V(nova), or another manager's name or XML namespace. V(null) if it says nothing,
        as one that was last defined by an older version or by hand.
      type: str
    lease:
      description: Who may run it, as the store has it. C(host), C(since) (seconds since 1970), C(to) (a host that it is on its way to). V(null) without one.
      type: dict
    state_files:
      description: Files beside its disks with memory that a move has saved and nobody has used yet.
      type: list
      elements: str
    managed_save:
      description: Whether libvirt has saved its memory here, from which it goes on at its next start.
      type: bool
    defined:
      description: When its definition was last written, seconds since 1970. V(null) if it has none.
      type: int
    active:
      description: Whether it has memory here now.
      type: bool
    persistent:
      description: Whether it has a definition here, so that it is known when it is stopped.
      type: bool
    autostart:
      description: Whether it starts with the hypervisor.
      type: bool
    kind:
      description: V(pvh), V(pv), V(hvm), V(kvm) or V(qemu).
      type: str
    arch:
      description: The architecture, as libvirt names it.
      type: str
    machine:
      description: The machine type.
      type: str
    memory:
      description: MiB.
      type: int
    vcpus:
      description: Number of virtual CPUs.
      type: int
    kernel:
      description: The kernel that it boots directly, if any.
      type: str
    ramdisk:
      description: The ramdisk that it boots with, if any.
      type: str
    cmdline:
      description: The kernel's command line.
      type: str
    disks:
      description: Its disks, each with C(path), C(target), C(device), C(driver), C(format), C(cache), C(backing) (the files below it).
      type: list
      elements: dict
    interfaces:
      description: Its network cards, each with C(mac) and C(bridge).
      type: list
      elements: dict
    hostdevs:
      description: How many of the host's own devices it has. Such a guest cannot be moved.
      type: int
    console_log:
      description: The file on this hypervisor with what a KVM guest has said on its console. V(null) if its definition keeps none, as on Xen.
      type: str
    migration:
      description: >-
        The move under way: C(target), C(mode), C(phase), C(percent), C(transferred), C(remaining) (bytes), C(rate) (bytes per second)
        and C(elapsed_ms). Absent when there is none.
      type: dict
"""

import traceback

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.our.cloud.plugins.module_utils._common.errors import CloudError, unforeseen
from ansible_collections.our.cloud.plugins.module_utils._hypervisor import hypervisor
from ansible_collections.our.cloud.plugins.module_utils._vm import info


def main():
    module = AnsibleModule(argument_spec={"name": {"type": "str"}, "uri": {"type": "str"}}, supports_check_mode=True)
    if not hypervisor.HAS_LIBVIRT:
        module.fail_json(msg=missing_required_lib("libvirt (Debian: python3-libvirt)"))
    try:
        conn = hypervisor.open_local(module.params["uri"])
        module.exit_json(changed=False, **info.gather(conn, module.params["name"]).told())
    except CloudError as error:
        module.fail_json(msg=str(error))
    except hypervisor.libvirt.libvirtError as error:
        module.fail_json(msg=unforeseen("guests", error), exception=traceback.format_exc())


if __name__ == "__main__":
    main()
