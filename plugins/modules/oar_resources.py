#!/usr/bin/python
# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: oar_resources
short_description: The resources of an OAR cluster are what its nodes have
version_added: 0.2.0
description:
  - Declares one resource for each core of each node, with the properties C(host), C(cpu), C(core) and C(cpuset).
  - A resource of a core or node that is no longer there becomes Dead; it is not removed, since the history of jobs refers to it.
    One that is back, or that OAR suspects, becomes Alive. What an administrator has made Absent stays so.
  - Runs on the cluster's server, as root.
extends_documentation_fragment:
  - our.cloud.common
attributes:
  check_mode:
    support: full
    description: Says what would be declared.
  diff_mode:
    support: full
    description: Shows the resources before and after.
options:
  nodes:
    description:
      - For each node of the cluster, by its name on the network, what C(lscpu --parse=CPU,CORE,SOCKET) says there.
      - An empty text stands for a node that has not been looked at; its resources stay as they are.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: One node with two cores
  our.cloud.oar_resources:
    nodes:
      milhouse: |
        0,0,0
        1,1,0
"""

RETURN = r"""
commands:
  description: What was called, or would be.
  returned: always
  type: list
  elements: str
  sample: ["oarnodesetting -a -h milhouse -p host=milhouse -p cpu=1 -p core=1 -p cpuset=0"]
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.our.cloud.plugins.module_utils._oar import oar


def main():
    module = AnsibleModule(argument_spec={"nodes": {"type": "dict", "required": True}}, supports_check_mode=True)

    def run(argv):
        status, out, err = module.run_command(argv)
        if status != 0:
            raise oar.OarError(f"{' '.join(argv)} failed with status {status}: {(err or out).strip()}")
        return out

    try:
        module.exit_json(**oar.ensure(module.params["nodes"], run, module.check_mode))
    except oar.OarError as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
