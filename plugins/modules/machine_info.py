#!/usr/bin/python
# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: machine_info
short_description: How a machine of the site fares, and what of it is older than what is installed
version_added: 0.3.0
description:
  - Tells since when the machine is up, which of its services run, how full its disks and the store are, what runs and is older than what has been installed
    since, and which Debian packages wait for an upgrade by the machine's own lists.
  - It asks no network, changes nothing, and waits for nothing without a bound. What does not answer is in RV(unknown), and all else is told.
options:
  units:
    description: Units of systemd that are to run on this machine, besides those that the site's roles have set up there, which are told anyway.
    type: list
    elements: str
    default: []
  store:
    description: The site's shared store. Without it, the store is not looked at.
    type: path
extends_documentation_fragment:
  - our.cloud.common
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
seealso:
  - module: our.cloud.vm_info
  - module: our.cloud.cloud_machine_info
  - plugin: our.cloud.site_status
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Look at the machine
  our.cloud.machine_info:
    units: [libvirtd]
    store: /srv/cloud
  register: told

- name: Show what waits for a restart
  ansible.builtin.debug:
    msg: "{{ inventory_hostname }} runs {{ told.linux }}; since then came {{ told.outdated.boot | join(', ') }}"
"""

RETURN = r"""
hostname:
  description: The machine's own name.
  returned: always
  type: str
time:
  description: Its clock, in seconds since 1970.
  returned: always
  type: float
clock:
  description: Seconds that its clock is ahead of the control machine's, at least and at most.
  returned: always
  type: list
  elements: float
booted:
  description: When it has started, seconds since 1970.
  returned: always
  type: float
debian:
  description: Its version of Debian. Empty if it is none.
  returned: always
  type: str
  sample: "13.2"
linux:
  description: The release of the Linux that runs.
  returned: always
  type: str
xen:
  description: The version of the Xen that runs below it. Empty without one.
  returned: always
  type: str
installed:
  description: By package of libvirt, QEMU and Xen, the version that is installed. V(null) if that could not be found out.
  returned: always
  type: dict
outdated:
  description: What runs, and is older than what has been installed since its start.
  returned: always
  type: dict
  contains:
    boot:
      description: Files of Linux or Xen in C(/boot) that were installed since the machine has started.
      type: list
      elements: str
    libvirt:
      description: Whether libvirtd is from before an upgrade.
      type: bool
    guests:
      description: The guests whose QEMU is from before an upgrade.
      type: list
      elements: str
units:
  description: >-
    The units, each with its C(name), whether it C(runs), its C(state) as people say it, its C(restarts) by itself, and whether it is C(wanted) (from the
    boot on, or by O(units)), has C(failed), and is C(there) at all. Those of the cloud's are told by M(our.cloud.cloud_machine_info).
  returned: always
  type: list
  elements: dict
rooms:
  description: The file systems of C(/), C(/boot) and C(/var), each with its C(path), C(free) and C(total) MiB.
  returned: always
  type: list
  elements: dict
store:
  description: The store with its C(path), its C(room) as above, or the C(error) that says why it does not tell. V(null) if it was not asked for.
  returned: always
  type: dict
waiting:
  description: >-
    The C(packages) that wait for an upgrade, those of them that are of C(security), and when the C(lists) that say so were current, seconds since 1970.
    V(null) if that could not be found out.
  returned: always
  type: dict
moves:
  description: The last moves of the site's log, if that is on this machine, oldest first; of each when it was, what was moved, and where to.
  returned: always
  type: list
  elements: list
unknown:
  description: Sentences about what could not be found out.
  returned: always
  type: list
  elements: str
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.our.cloud.plugins.module_utils._common import shapes
from ansible_collections.our.cloud.plugins.module_utils._common.errors import CloudError
from ansible_collections.our.cloud.plugins.module_utils._site import machine


def main():
    module = AnsibleModule(argument_spec={
        "units": {"type": "list", "elements": "str", "default": []},
        "store": {"type": "path"},
    }, supports_check_mode=True)
    try:
        module.exit_json(changed=False, **shapes.plain(machine.gather(module.params["units"], module.params["store"])))
    except (CloudError, OSError) as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
