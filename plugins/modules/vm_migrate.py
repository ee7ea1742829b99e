#!/usr/bin/python
# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: vm_migrate
short_description: Move a guest to another hypervisor
version_added: 0.1.0
description:
  - Moves one guest from the hypervisor that it runs on to another one of the same kind, live where that is possible.
  - Everything that can be known before is checked before, in check mode too, and every reason to refuse comes with what to do about it.
  - The move runs as a systemd unit of its own on the source, and ends, settles and is verified whatever becomes of who asked for it.
    M(our.cloud.vm_info) tells how a move ended that nobody followed to its end.
  - While it runs, its progress is shown (by an action plugin of the same name).
  - Afterwards both hypervisors are asked. If the move failed, the guest is made to run in exactly one place and the message says where.
  - The data goes encrypted to the target, with KVM by QEMU's own TLS, with Xen through libvirt's TLS connection.
    In mode V(suspend) the guest's state passes through the shared store instead.
options:
  name:
    description: The guest.
    type: str
    required: true
  target:
    description: The hypervisor to move it to, by its inventory name, which must be in the LAN's DNS.
    type: str
    required: true
  mode:
    description:
      - V(live), it goes on while it is moved.
      - V(suspend), it is saved to the store and goes on from there on the target. The way for Xen PV guests.
      - V(offline), it is asked to power off, and is started on the target. A stopped guest is moved as its definition.
    type: str
    choices: [live, suspend, offline]
    default: live
  timeout:
    description: Seconds after which a live move is given up, or that a guest has to power off in mode V(offline).
    type: int
    default: 900
  force:
    description: In mode V(offline), pull the plug of a guest that has not powered off in time.
    type: bool
    default: false
  bandwidth:
    description: MiB per second at most, for a live move (KVM).
    type: int
  max_downtime:
    description: Milliseconds that the guest may stand still at the end of a live move (KVM). QEMU's own default is 300.
    type: int
  auto_converge:
    description: Slow the guest down when it changes its memory faster than it can be sent (KVM; without effect on Xen).
    type: bool
    default: true
  post_copy:
    description:
      - Let the guest go on at the target after the first pass and fetch the rest of its memory when it is needed (KVM).
      - It always comes to an end, but a guest whose memory is on both hosts is lost if one of them fails in this time.
    type: bool
    default: false
  encrypt:
    description:
      - Encrypt the stream of the guest's memory. Between KVM hosts QEMU does; Xen's driver cannot, so its stream goes through libvirt's
        own TLS connection, which is slower, on emulated machines by far.
      - Without it, the stream goes in clear text from one host to the other, on a port that the relocation role opens to peers alone.
    type: bool
    default: true
  address:
    description:
      - The guest's address, to see that it answers afterwards. By default the guest's name is looked up.
      - An address that did not answer before the move need not answer after it.
    type: str
  address_timeout:
    description: Seconds that the address has to answer.
    type: int
    default: 60
  port:
    description: The port of the target's libvirt (TLS).
    type: int
    default: 16514
  wait:
    description: Wait for the end of the move. With V(false), the module returns as soon as it has begun.
    type: bool
    default: true
  code:
    description: The code of the move. The action plugin puts it in.
    type: str
extends_documentation_fragment:
  - our.cloud.hypervisor
  - our.cloud.common
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
seealso:
  - module: our.cloud.vm
  - module: our.cloud.vm_info
"""

EXAMPLES = r"""
- name: Move a guest, live
  our.cloud.vm_migrate:
    name: our-vm
    target: node2

- name: Would it work?
  our.cloud.vm_migrate:
    name: our-vm
    target: node2
  check_mode: true

- name: A busy KVM guest, over a slow line
  our.cloud.vm_migrate:
    name: busy
    target: node4
    max_downtime: 1000
    bandwidth: 50
"""

RETURN = r"""
source:
  description: Where the guest was.
  returned: success
  type: str
  sample: node1
target:
  description: Where it is.
  returned: always
  type: str
  sample: node2
mode:
  description: How it was moved.
  returned: always
  type: str
  sample: live
total_ms:
  description: How long the move took, prechecks and verification not counted.
  returned: changed and not in check mode
  type: int
  sample: 8210
downtime_ms:
  description:
    - How long the guest stood still. KVM's own figure; for Xen from the moment it was suspended here until the event that it goes on there,
      by the source's clock; in the modes V(suspend) and V(offline) from the beginning of the save or stop until the target says that it runs.
    - V(null) if it could not be measured.
  returned: changed and not in check mode
  type: int
  sample: 212
transferred:
  description: Bytes that were sent, see RV(transferred_from). V(null) if the move was interrupted after the guest had arrived.
  returned: changed and not in check mode
  type: int
  sample: 71303168
transferred_from:
  description:
    - V(hypervisor), QEMU's count. V(tcp), what the kernel counted on the encrypted connection that the move went through (Xen).
      V(state file), the size of the saved state.
  returned: changed and not in check mode, modes live and suspend
  type: str
  sample: hypervisor
address:
  description: The address that was asked.
  returned: when there is one
  type: str
  sample: 192.0.2.80
address_answers:
  description: Whether it answered after the move. V(null) if nobody asked because it did not answer before, or is not known.
  returned: changed and not in check mode
  type: bool
unit:
  description: The systemd unit on the source in which the move runs.
  returned: O(wait=false)
  type: str
  sample: our-cloud-move-our-vm.service
token:
  description: What tells this move from others of the guest.
  returned: O(wait=false)
  type: str
  sample: 0123456789ab
place:
  description: Where the guest is after a move that failed. V(source), V(target), V(both), V(nowhere) or V(unknown).
  returned: failure of a move that had begun
  type: str
  sample: source
refusals:
  description: Every precheck that says no.
  returned: when the move is refused
  type: list
  elements: str
"""

import time
import traceback

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.our.cloud.plugins.module_utils._hypervisor import hypervisor
from ansible_collections.our.cloud.plugins.module_utils._common import shapes
from ansible_collections.our.cloud.plugins.module_utils._common.errors import CloudError, unforeseen
from ansible_collections.our.cloud.plugins.module_utils._move import job, unit
from ansible_collections.our.cloud.plugins.module_utils._move.asked import Asked
from ansible_collections.our.cloud.plugins.module_utils._move.options import Options


def checked(options):
    """What check mode answers; nothing is begun."""
    tell = job.Job(options.name)
    if not tell.take():
        unit.refuse_second(options.name, hypervisor.open_local(options.uri).getHostname())
    try:
        return unit.answer(Asked(options, check_mode=True), tell)
    finally:
        tell.drop()


def begun(options, code, wait):
    """Begin the move; its end, or with wait false how to follow it."""
    if not code:
        raise CloudError("", "vm_migrate", "the code of the move is missing",
                         "The action plugin of the same name puts it in: call the module as our.cloud.vm_migrate")
    token = unit.start(options, code)
    if not wait:
        return {"changed": True, "token": token, "unit": unit.unit_name(options.name), "target": options.target, "mode": options.mode}
    while True:
        result = unit.ended(options.name, token)
        if result is not None:
            job.hear(options.name, token)
            return result
        time.sleep(1)


def main():
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "target": {"type": "str", "required": True},
            "mode": {"type": "str", "choices": ["live", "suspend", "offline"], "default": "live"},
            "timeout": {"type": "int", "default": 900},
            "force": {"type": "bool", "default": False},
            "bandwidth": {"type": "int"},
            "max_downtime": {"type": "int"},
            "auto_converge": {"type": "bool", "default": True},
            "post_copy": {"type": "bool", "default": False},
            "encrypt": {"type": "bool", "default": True},
            "address": {"type": "str"},
            "address_timeout": {"type": "int", "default": 60},
            "port": {"type": "int", "default": 16514},
            "wait": {"type": "bool", "default": True},
            "code": {"type": "str", "no_log": True},
            "uri": {"type": "str"},
        },
        supports_check_mode=True,
    )
    if not hypervisor.HAS_LIBVIRT:
        module.fail_json(msg=missing_required_lib("libvirt (Debian: python3-libvirt)"))
    options = shapes.of(Options, module.params)
    try:
        result = checked(options) if module.check_mode else begun(options, module.params["code"], module.params["wait"])
    except CloudError as error:
        result = {"failed": True, "msg": str(error), "target": options.target, "mode": options.mode}
    except (hypervisor.libvirt.libvirtError, OSError) as error:
        result = {"failed": True, "msg": unforeseen(f"move of {options.name} to {options.target}", error),
                  "exception": traceback.format_exc()}
    for text in result.pop("warnings", ()):
        module.warn(text)
    if result.get("failed"):
        module.fail_json(**result)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
