# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: site_status
short_description: How a site fares, with a verdict and the next command
version_added: 0.3.0
author:
  - The our.cloud founders (@our-cloud)
description:
  - Judges what the machines, hypervisors, store and cloud of a site told. Asks nobody. An answer that is missing, or failed, is judged, too.
positional: _input, groups, hypervisors, guests, instances, leases, registry, certificates, cloud, hostvars
options:
  _input:
    description: By machine of the site, what M(our.cloud.machine_info) returned.
    type: dict
    required: true
  groups:
    description: Ansible's variable C(groups).
    type: dict
    required: true
  hypervisors:
    description: By hypervisor, what M(our.cloud.vm_info) returned.
    type: dict
    default: {}
  guests:
    description: The inventory's variable C(guests). Without it nothing is said of guests that are absent or have left the inventory.
    type: list
    elements: dict
  instances:
    description: What M(our.cloud.instance_info) returned. Not looked at where there is no cloud.
    type: dict
    default: {}
  leases:
    description: What M(our.cloud.lease_info) returned on some hypervisor. Empty if none could be asked.
    type: dict
    default: {}
  registry:
    description: What M(our.cloud.image_info) returned. Empty if it was not asked.
    type: dict
    default: {}
  certificates:
    description: What P(our.cloud.certificates_left#filter) returned.
    type: list
    elements: dict
    default: []
  cloud:
    description:
      - C(machines), by machine of the cloud what M(our.cloud.cloud_machine_info) returned, those alone that have answered.
      - C(parts), what M(our.cloud.cloud_status) returned; empty if nobody could ask.
    type: dict
    default: {}
  hostvars:
    description: Ansible's variable C(hostvars), for the C(site_address) of each machine of the cloud, which its certificate is to have.
    type: dict
    default: {}
seealso:
  - plugin: our.cloud.cloud_table
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Show how the site fares
  ansible.builtin.debug:
    msg: "{{ (machines | our.cloud.site_status(groups, hypervisors)).lines }}"
"""

RETURN = r"""
_value:
  description: >-
    V(lines), which fit on a screen, and V(report), with C(made) (when), C(good) (whether nothing is bad), C(verdict) (a sentence), C(next) (a command) and
    C(sections), each with its C(name), how many of its C(rows) are C(good), a C(notice) or C(bad), and the rows themselves, each with C(section), C(name),
    C(state), C(text) and C(remedy), the command that mends it.
  type: dict
"""

import time

from ansible_collections.our.cloud.plugins.module_utils._cloud import in_report
from ansible_collections.our.cloud.plugins.module_utils._cloud.machine_facts import Health, Store
from ansible_collections.our.cloud.plugins.module_utils._cloud.status import Machine as CloudMachine
from ansible_collections.our.cloud.plugins.module_utils._cloud.status_facts import Parts
from ansible_collections.our.cloud.plugins.module_utils._common import shapes
from ansible_collections.our.cloud.plugins.module_utils._guest import guests as inventory
from ansible_collections.our.cloud.plugins.module_utils._guest import status
from ansible_collections.our.cloud.plugins.module_utils._guest.instance_facts import InstanceFacts
from ansible_collections.our.cloud.plugins.module_utils._guest.rescue import Held
from ansible_collections.our.cloud.plugins.module_utils._guest.told import Hypervisor
from ansible_collections.our.cloud.plugins.module_utils._site import report
from ansible_collections.our.cloud.plugins.module_utils._site.log import log_host
from ansible_collections.our.cloud.plugins.module_utils._site.machine_facts import Machine
from ansible_collections.our.cloud.plugins.module_utils._site.machines import site_hosts
from ansible_collections.our.cloud.plugins.module_utils._site.store import store_host


def heard(result, key, read):
    """What a module told, if its result has this key; else why it did not."""
    if key in result:
        return read(result)
    return status.Silence(str(result.get("msg") or "it was not asked").strip().rstrip("."), bool(result.get("unreachable")))


def asked(result):
    """What was told of something that is not asked where another line says already that it cannot answer."""
    return result if result and not result.get("skipped") else None


def held(result):
    return [Held.of(row) for row in result["leases"]]


def promised(result):
    return status.Promised(result["room"]["free"], result["room"]["promised"]) if result["room"] else None


def names_of(guests):
    return {str(entry.get("name")) for entry in guests if isinstance(entry, dict)}


def site_status(machines, groups, hypervisors=None, guests=None, instances=None, leases=None, registry=None, certificates=(), cloud=None, hostvars=None,
                now=None):
    now, cloud = time.time() if now is None else now, cloud or {}
    has_cloud = bool(groups.get("clc"))
    declared = inventory.read(guests or [], groups)
    site = status.Site(
        hosts=site_hosts(groups), families=inventory.hypervisors(groups),
        machines={host: heard(told, "hostname", Machine.of) for host, told in machines.items()},
        hypervisors={host: heard(told, "guests", Hypervisor.of) for host, told in (hypervisors or {}).items()},
        declared=declared.guests, faults=declared.faults, names=None if guests is None else names_of(guests),
        instances=heard(instances or {}, "instances", lambda told: [InstanceFacts.of(each) for each in told["instances"]]) if has_cloud else None,
        leases=heard(leases, "leases", held) if asked(leases) else None, promised=heard(registry, "room", promised) if asked(registry) else None,
        server=store_host(groups), log=log_host(groups, ""), certificates=[shapes.of(status.Left, one) for one in certificates], now=now)
    its = {host: CloudMachine(Health.of(told), Store.of(told), str((hostvars or {}).get(host, {}).get("site_address") or ""))
           for host, told in cloud.get("machines", {}).items()}
    parts = cloud.get("parts")
    mute = set(site.hosts) - set(site.known())
    rows = [*status.rows(site), *in_report.rows(groups, its, Parts.of(parts) if parts else None, mute, isinstance(site.instances, list))]
    found = report.report(rows, now)
    return {"lines": report.screen(found), "report": shapes.plain(found)}


class FilterModule:
    """The filter our.cloud.site_status."""

    def filters(self):
        return {"site_status": site_status}
