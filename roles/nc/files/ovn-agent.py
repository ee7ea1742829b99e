# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""neutron-ovn-agent, with its privileged helpers as forks of it.

By itself it starts three of them by sudo, each a whole Python with all of neutron's modules in its memory. Forked before it gives up its
rights, they share that memory with it, and have the same few capabilities as otherwise.
"""

import gc
import importlib
import os
import pwd

from neutron import privileged
from neutron.cmd.agents import ovn_neutron_agent
from oslo_privsep import priv_context

USER = "neutron"
# What would be loaded later, in each process for itself.
SHARED = ("neutron.agent.ovn.extensions.metadata", "neutron.privileged.agent.linux.ip_lib", "neutron.privileged.agent.linux.utils")


def main():
    """Fork the helpers, become the agent's user, and be the agent."""
    account = pwd.getpwnam(USER)
    for name in SHARED:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()  # what is collected later is not this, so that its pages stay shared
    for context in (privileged.default, privileged.link_cmd, privileged.namespace_cmd):
        context.start(priv_context.Method.FORK)
    os.setgroups([group for group in os.getgroups() if group])
    os.setgid(account.pw_gid)
    os.setuid(account.pw_uid)
    os.environ["HOME"] = account.pw_dir
    ovn_neutron_agent.main()


if __name__ == "__main__":
    main()
