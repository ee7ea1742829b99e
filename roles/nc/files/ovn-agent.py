# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs neutron-ovn-agent with its privileged helpers as forks of it.

By default the agent starts three helpers by sudo, each a Python process with all of neutron's modules in its memory. Forked before the agent
drops its privileges, they share that memory with it. Their capabilities are the same.
"""

import gc
import importlib
import os
import pwd

from neutron import privileged
from neutron.cmd.agents import ovn_neutron_agent
from oslo_privsep import priv_context

USER = "neutron"
# Each process would load these later, into its own memory.
SHARED = ("neutron.agent.ovn.extensions.metadata", "neutron.privileged.agent.linux.ip_lib", "neutron.privileged.agent.linux.utils")


def main():
    """Fork the helpers, become the agent's user, and run the agent."""
    account = pwd.getpwnam(USER)
    for name in SHARED:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()  # later collections skip these objects, so that their pages stay shared
    for context in (privileged.default, privileged.link_cmd, privileged.namespace_cmd):
        context.start(priv_context.Method.FORK)
    os.setgroups([group for group in os.getgroups() if group])
    os.setgid(account.pw_gid)
    os.setuid(account.pw_uid)
    os.environ["HOME"] = account.pw_dir
    ovn_neutron_agent.main()


if __name__ == "__main__":
    main()
