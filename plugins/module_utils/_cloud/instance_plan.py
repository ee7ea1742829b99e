# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is to be moved, a guest or an instance, and where to: a decision over what vm_info and instance_info told."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Optional

from ansible_collections.our.cloud.plugins.module_utils._guest import placement
from ansible_collections.our.cloud.plugins.module_utils._guest.instance_facts import InstanceFacts
from ansible_collections.our.cloud.plugins.module_utils._guest.placement import Planned
from ansible_collections.our.cloud.plugins.module_utils._guest.told import Copy, Hypervisor

SILENT = " The cloud controller does not answer, so its instances are not known (our.cloud.cloud_status tells why)."


def named(name: str, instances: Iterable[InstanceFacts]) -> list[InstanceFacts]:
    """Instances that a name, an id or a domain's name leads to. An id is nobody's name."""
    found = [each for each in instances if name in (each.name, each.id, each.domain)]
    return [each for each in found if each.id == name] or found


def copies(instance: InstanceFacts, hosts: Mapping[str, Hypervisor]) -> dict[str, Copy]:
    """{host: domain} of the hypervisors that know an instance's domain."""
    return {host: guest for host, info in sorted(hosts.items()) for guest in info.guests if guest.uuid == instance.id}


def ambiguous(name: str, found: list[InstanceFacts], guests: Collection[str]) -> str:
    """Why a name is not enough, or nothing."""
    ids = ", ".join(f"{each.id} of project {each.project}" for each in found)
    if found and guests:
        return (f"{name} is a guest on {' and '.join(guests)} and an instance ({ids}). Give the instance's id if that is meant; "
                "a guest of such a name moves when the instance has been renamed (`openstack server set --name`).")
    if len(found) > 1:
        return f"There are {len(found)} instances {name}: {ids}. Give the id of one."
    return ""


def plan(name: str, hosts: Mapping[str, Hypervisor], target: Optional[str] = None, mode: Optional[str] = None, silent: Any = (),
         families: Optional[dict[str, str]] = None, nodes: Any = (), instances: Optional[Sequence[InstanceFacts]] = None) -> Planned:
    """What `migrate.yml -e vm=NAME` is to do, as placement.plan says it, and of an instance if it is one.
    nodes: the node controllers of the inventory; instances: the cloud's, None: it does not answer."""
    guests = {host: guest for host, guest in placement.places(name, hosts).items() if not placement.is_others(guest)}
    found = named(name, instances or ()) if name else []
    wrong = placement.asked_for([*hosts, *silent], target, mode)
    if not wrong and ambiguous(name, found, guests):
        return Planned(name, mode, error=ambiguous(name, found, guests))
    if wrong or not found:
        answer = placement.plan(name, hosts, target, mode, silent, families)
        if answer.error and not answer.wrong and not guests:
            more = SILENT if instances is None else f" Instances: {', '.join(sorted(each.name for each in instances))}." if instances else ""
            return dataclasses.replace(answer, error=answer.error + more)
        return answer
    return _of_instance(found[0], hosts, target, mode, silent, nodes)


def _of_instance(instance: InstanceFacts, hosts: Mapping[str, Hypervisor], target: Optional[str], mode: Optional[str], silent: Any, nodes: Any) -> Planned:
    name, source = instance.name, instance.host
    answer = Planned(name, "live", source, instance=instance)

    def error(text: str) -> Planned:
        return dataclasses.replace(answer, error=text)

    if mode not in (None, "live"):
        return error(f"{name} is an instance, and instances only move live; {mode} is for guests.")
    if not source:
        return error(f"{name} is on no node ({instance.state}). playbooks/console.yml -e vm={instance.id} tells more.")
    if target == source:
        return dataclasses.replace(answer, target=target, already=True)
    there = copies(instance, hosts)
    active = [host for host, domain in there.items() if domain.active]
    if source in silent:
        return error(f"{source}, which runs {name}, could not be asked. {placement.rescue([source])}.")
    if source not in active and instance.state == "running":
        return error(f"nova has {name} on {source}, and libvirt there does not run it. `openstack server reboot --hard {instance.id}` starts it again.")
    if len(active) > 1:
        return error(f"{name} runs on {' and '.join(active)} at once, which ruins its disk. Look again at once, for a move may just have ended; if it is so, "
                     f"nova means the one on {source}: end the other one (`virsh destroy {instance.domain}` there) and check its file system.")
    need = instance.memory + placement.OVERHEAD["qemu"]

    def unfit(host: str) -> Optional[str]:
        if host not in nodes:
            return "is no node controller (group nc)"
        if host not in hosts:
            return "could not be asked"
        if hosts[host].drained is not None:
            return f"is drained ({placement.open_again(host)})"
        free = hosts[host].memory.free
        return f"has {free} MiB free and {name} needs {need} MiB" if free < need else None

    fit = sorted((host for host in nodes if host != source and not unfit(host)), key=lambda host: (-hosts[host].memory.free, host))
    would_do = f" These would do: {', '.join(fit)}." if fit else ""
    if target:
        reason = unfit(target)
        return error(f"{name} cannot go to {target}: it {reason}.{would_do}") if reason else dataclasses.replace(answer, target=target)
    if not fit:
        others = "; ".join(f"{host} {unfit(host)}" for host in nodes if host != source)
        return error(f"{name} on {source} has nowhere to go{': ' + others if others else ', there is no other node controller'}.")
    return dataclasses.replace(answer, target=fit[0])
