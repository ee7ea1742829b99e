# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which hosts of an inventory are the site's machines."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

# `site` is for what is in none of the others. Ansible's `ungrouped` are hosts in no group, such as a machine that was taken out of all of them.
GROUPS = ("site", "gateway", "image_store", "hypervisors", "xen", "kvm", "clc", "walrus", "sc", "cc", "nc", "ungrouped")


def site_hosts(groups: Mapping[str, Iterable[str]]) -> list[str]:
    """The hosts of these groups, in the inventory's order. Others, such as guests that are hosts of a batch cluster, are no machines of the site."""
    machines = {host for group in GROUPS for host in groups.get(group) or ()}
    return [host for host in groups.get("all") or () if host in machines]
