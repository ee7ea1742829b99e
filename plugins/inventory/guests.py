# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: guests
short_description: A site's guests and instances as hosts
version_added: 0.3.0
author:
  - The our.cloud founders (@our-cloud)
description:
  - Makes each entry of the inventory's variable C(guests) a host of the group C(guests), unless its state is V(absent). So C(ansible -i my guests -m ping)
    works.
  - With O(ask), the cloud's instances are hosts of the group C(instances), and it is known where each guest runs.
  - The file is in the inventory's directory, and its name ends in C(our_cloud.yml) or C(our_cloud.yaml). Ansible reads the files of a directory in the
    order of their names. This one must come after those with the site's machines, so C(our_cloud.yml) is right beside C(hosts.yml), and
    C(guests.our_cloud.yml) is too early. Where others come later, call it C(zz_our_cloud.yml).
  - Each host has a variable with its facts, C(guest) or C(instance). C(guest) has all keys of the entry in C(guests), with their defaults, and
    C(family) (V(xen) or V(qemu)), C(node) (the hypervisor that has it) and C(status) (V(running), V(stopped), V(moving to …), V(nowhere) if no hypervisor has
    it, V(unclear) if somebody has to look at it). C(node) and C(status) are null where nobody was asked or it is not known; then C(host), the guest's first
    home, may be where it runs. C(instance) has C(name), C(id), C(project), C(image), C(flavor), C(key), C(arch), C(memory), C(vcpus), C(address), C(node) and
    C(status).
  - C(ansible_host) is the address on the LAN. Of a guest without a fixed one it is its name in the LAN's DNS, or with O(ask) the address that the gateway has
    given it.
  - C(ansible_user) is V(root), as in the images that this collection makes.
  - C(ansible_ssh_common_args) leads through what the guest's hypervisor is reached through, if its C(ansible_ssh_common_args) say that; else through the
    gateway, unless ssh's configuration has a way or this computer is on the LAN.
  - A variable that a host has already, from another file, from C(group_vars) or from C(host_vars), keeps its value. So C(group_vars/guests.yml) is the place
    for what shall be different. A guest that is a host already, such as one of a batch cluster, gets what it has not.
  - No host that it adds is a machine of the site. O(groups) and O(keyed_groups) that would put one into a group of the site's machines, such as C(kvm), are
    refused, and so are guests with the name of a group or of a machine of the site.
options:
  plugin:
    description: The name of this plugin.
    type: str
    required: true
    choices: [our.cloud.guests]
  ask:
    description:
      - Ask the hypervisors, the gateway and the cloud where the guests are and which instances there are.
      - It is not the default, because every command reads the inventory, this takes seconds and machines may be down. The inventory alone is enough to log
        in to the guests that it declares. With O(cache) it is asked once in a while.
      - The machines are asked by C(ansible-playbook), with the inventory's files that were read before this one, C(ansible.cfg) and the environment. Of the
        command line it gets extra variables and the options for become, the user, the private key and vault's files. It cannot ask for a password.
      - A machine that does not answer is told of in a warning. The guests that it may have keep what the inventory says.
    type: bool
    default: false
  timeout:
    description: Seconds that each machine has for an answer. All of them together have four times as long.
    type: int
    default: 20
extends_documentation_fragment:
  - ansible.builtin.constructed
  - ansible.builtin.inventory_cache
seealso:
  - module: our.cloud.vm_info
  - module: our.cloud.instance_info
"""

EXAMPLES = r"""
# my/our_cloud.yml, beside my/hosts.yml. The guests that the inventory declares need this line alone
plugin: our.cloud.guests
# Where they are now, and the cloud's instances; what was told five minutes ago is told again
ask: true
cache: true
cache_plugin: ansible.builtin.jsonfile
cache_connection: ~/.cache/our.cloud/inventory
cache_timeout: 300
# Groups of them: those of an image, those that run on node1 (node_node1), and the nodes of a batch cluster
keyed_groups:
  - {key: guest.image, prefix: image}
  - {key: (guest | default(instance)).node, prefix: node}
  - {key: instance.project, prefix: project}
groups:
  oar_nodes: guest.image == 'oar-node'
compose:
  small: (guest | default(instance)).memory < 512
"""

import functools
from typing import TYPE_CHECKING, Any

from ansible import constants as C
from ansible import context
from ansible.errors import AnsibleError, AnsibleParserError
from ansible.inventory.manager import InventoryManager
from ansible.plugins.inventory import BaseInventoryPlugin, Cacheable, Constructable
from ansible.template import Templar
from ansible.utils.unsafe_proxy import wrap_var
from ansible.vars.hostvars import HostVars
from ansible.vars.manager import VariableManager

from ansible_collections.our.cloud.plugins.module_utils._common import shapes
from ansible_collections.our.cloud.plugins.module_utils._common.errors import CloudError
from ansible_collections.our.cloud.plugins.module_utils._guest import as_hosts, guests, inquiry, overview, told
from ansible_collections.our.cloud.plugins.module_utils._guest.instance_facts import InstanceFacts
from ansible_collections.our.cloud.plugins.module_utils._site import ssh_way
from ansible_collections.our.cloud.plugins.module_utils._site.address_plan import parse_network, short_name
from ansible_collections.our.cloud.plugins.module_utils._site.machines import GROUPS

if TYPE_CHECKING:
    from ansible.inventory.data import InventoryData
    from ansible.parsing.dataloader import DataLoader

# By option of the command line: how ansible-playbook calls it
HANDED_ON = {"remote_user": "--user", "private_key_file": "--private-key", "become_method": "--become-method", "become_user": "--become-user"}

# Plugins that connect by ssh; empty: Ansible's default
SSH = ("", "ssh", "smart", "paramiko", "paramiko_ssh", "mitogen_ssh")


class Variables:
    """A host's variables, as a play would have them, but for those beside a playbook: a file in the inventory's directory does not know of any."""

    def __init__(self, inventory: InventoryData, loader: DataLoader, sources: list[str]) -> None:
        self._loader = loader
        self._manager = InventoryManager(loader, sources=sources, parse=False)
        self._manager._inventory = inventory
        self._variables = VariableManager(loader, self._manager)
        # makes itself known to the variables' manager
        HostVars(self._manager, self._variables, loader)

    def of(self, host: str) -> dict[str, Any]:
        """All of them, by name, templates as they are written."""
        return self._variables.get_vars(host=self._manager.get_host(host))

    def read(self, variables: dict[str, Any], name: str) -> Any:
        """The value of one; None if it is not there. AnsibleParserError: it cannot be read."""
        if name not in variables:
            return None
        try:
            return Templar(self._loader, variables).template(variables[name])
        except AnsibleError as error:
            raise AnsibleParserError(f"{variables['inventory_hostname']}: {name} cannot be read: {error}") from error

    def text(self, variables: dict[str, Any], name: str) -> str:
        """The value of one as text; empty also if it cannot be read, as a variable of all hosts may be one of machines alone."""
        try:
            value = self.read(variables, name)
        except AnsibleParserError:
            return ""
        return "" if value is None else str(value)


class Guarded:
    """An inventory that takes no host into the groups of the site's machines."""

    def __init__(self, inventory: InventoryData) -> None:
        self._inventory = inventory

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inventory, name)

    def add_host(self, host: str, group: str | None = None, port: int | str | None = None) -> str:
        self._refuse(host, group)
        return self._inventory.add_host(host, group, port)

    def add_child(self, group: str, child: str) -> bool:
        self._refuse(child, group)
        return self._inventory.add_child(group, child)

    def _refuse(self, child: str, group: str | None) -> None:
        known = self._inventory.groups.get(group)
        names = {group, *(ancestor.name for ancestor in known.get_ancestors())} if known else {group}
        if names & set(GROUPS):
            raise AnsibleParserError(f"{child} would be in {group}, and guests and instances are no machines of the site. "
                                     f"Give that group of `groups` or `keyed_groups` another name, such as by a prefix")


class InventoryModule(BaseInventoryPlugin, Constructable, Cacheable):
    """The inventory plugin our.cloud.guests."""

    NAME = "our.cloud.guests"

    def verify_file(self, path: str) -> bool:
        return super().verify_file(path) and path.endswith(("our_cloud.yml", "our_cloud.yaml"))

    def parse(self, inventory: InventoryData, loader: DataLoader, path: str, cache: bool = True) -> None:
        super().parse(inventory, loader, path, cache=cache)
        self._read_config_data(path)
        self.inventory = Guarded(inventory)
        sources = [source for source in inventory.processed_sources if source]
        self._site = Variables(inventory, loader, [*sources, path])
        groups = inventory.get_groups_dict()
        self._families = guests.hypervisors(groups)
        if not self._families:
            raise AnsibleParserError(f"{path}: the groups xen and kvm have no hosts yet. Ansible reads the files of a directory in the order of their names: "
                                     "give this one a name that comes after the file with the site's machines, such as zz_our_cloud.yml")
        entries = self._declared(groups)
        if self.get_option("ask"):
            entries = self._asked(entries, groups, sources, path, cache)
        self._jump, self._domain = self._of_gateway(next(iter(groups.get("gateway") or ()), ""))
        for entry in entries:
            self._add(entry)
        for entry in entries:
            self._construct(entry.host)

    def _warn(self, text: str) -> None:
        self.display.warning(f"our.cloud.guests: {text.rstrip('.')}.")

    def _declared(self, groups: dict[str, list[str]]) -> list[as_hosts.Entry]:
        """The entries of the variable `guests`; a fault or a name that is taken leaves a guest out."""
        variables = self._site.of(next(iter(self._families)))
        found = guests.read(self._site.read(variables, "guests") or [], groups)
        for fault in found.faults:
            self._warn(fault)
        entries = []
        for entry in as_hosts.declared(found.guests, self._site.read(variables, "guests_images")):
            host = self.inventory.hosts.get(entry.host)
            machine = {group.name for group in host.get_groups()} & set(GROUPS) - {"ungrouped"} if host else ()
            if machine or entry.host in self.inventory.groups:
                self._warn(f"guest {entry.host} is left out: {'a machine of the site' if machine else 'a group'} has this name. Rename one of them")
            else:
                entries.append(entry)
        return entries

    def _asked(self, entries: list[as_hosts.Entry], groups: dict[str, list[str]], sources: list[str], path: str, cache: bool) -> list[as_hosts.Entry]:
        """The entries with what the machines have told, and those of instances."""
        answers = self._answers(groups, sources, path, cache)
        for line in answers.silent:
            self._warn(f"{line.rstrip('.')}. What it may know is missing")
        leases = overview.leased(answers.leases)
        entries = as_hosts.seen(entries, self._families, told.read(answers.hypervisors), leases)
        taken = {*self.inventory.hosts, *self.inventory.groups, *(entry.host for entry in entries)}
        known, left = as_hosts.instances([InstanceFacts.of(each) for each in answers.instances or ()], leases, taken)
        for line in left:
            self._warn(line)
        return entries + known

    def _answers(self, groups: dict[str, list[str]], sources: list[str], path: str, cache: bool) -> inquiry.Told:
        """What the machines tell, or told when it went into the cache; nothing, with a warning, if they cannot be asked at all."""
        key, cached = self.get_cache_key(path), self.get_option("cache")
        if cached and cache:
            try:
                return shapes.of(inquiry.Told, self._cache[key])
            except KeyError:
                pass
        try:
            answers = inquiry.ask(sources, groups, self.get_option("timeout"), self._options_of_ours())
        except CloudError as error:
            self._warn(str(error))
            return inquiry.Told()
        # where nobody has answered, the next command shall try again
        if cached and (answers.hypervisors or answers.instances is not None):
            self._cache[key] = shapes.plain(answers)
        return answers

    @staticmethod
    def _options_of_ours() -> list[str]:
        """How the command line says that machines are logged in to, as options of ansible-playbook."""
        given = context.CLIARGS
        options = [word for name, option in HANDED_ON.items() if given.get(name) for word in (option, str(given[name]))]
        options += ["--become"] if given.get("become") else []
        options += [word for file in given.get("vault_password_files") or () for word in ("--vault-password-file", str(file))]
        options += [word for label in given.get("vault_ids") or () if "prompt" not in label.rpartition("@")[2] for word in ("--vault-id", label)]
        return options + [word for text in given.get("extra_vars") or () for word in ("--extra-vars", str(text))]

    def _of_gateway(self, gateway: str) -> tuple[str, str]:
        """What leads ssh through it, empty if this computer is on the LAN; the LAN's DNS domain. Both are empty if there is no gateway."""
        if not gateway:
            return "", ""
        variables = self._site.of(gateway)
        text = functools.partial(self._site.text, variables)
        domain = text("gateway_domain") or text("site_domain")
        host = text("ansible_host") or gateway
        try:
            lan = parse_network(text("gateway_network") or text("site_network"))
        except ValueError:
            return "", domain  # the site's own checks say what is wrong with it
        if text("ansible_connection").rpartition(".")[2] == "local" or ssh_way.within(host, lan) or ssh_way.on_network(lan):
            return "", domain
        return ssh_way.through(ssh_way.Login(host, text("ansible_user") or C.DEFAULT_REMOTE_USER or "", text("ansible_port"),
                                             text("ansible_ssh_private_key_file"), self._arguments(variables))), domain

    def _arguments(self, variables: dict[str, Any]) -> str:
        """What a host's variables tell ssh besides."""
        return " ".join(filter(None, (self._site.text(variables, name) for name in ("ansible_ssh_common_args", "ansible_ssh_extra_args"))))

    @functools.cached_property
    def _jumps(self) -> dict[str, str]:
        """By hypervisor, the arguments of ssh that lead to it through something; empty where none do."""
        arguments = {node: self._site.text(self._site.of(node), "ansible_ssh_common_args") for node in self._families}
        return {node: text if ssh_way.said_jump(text) not in (None, "none") else "" for node, text in arguments.items()}

    def _add(self, entry: as_hosts.Entry) -> None:
        """Makes it a host, with the variables that it has not."""
        is_new = entry.host not in self.inventory.hosts
        self.inventory.add_group(entry.group)
        self.inventory.add_host(entry.host, entry.group)
        variables = self._site.of(entry.host)
        values = {as_hosts.VARIABLES[entry.group]: entry.facts, "ansible_user": "root"}
        values = {name: value for name, value in values.items() if name not in variables}
        if self._site.text(variables, "ansible_connection").rpartition(".")[2] in SSH:
            values.update(self._way(entry, variables, is_new))
        for name, value in values.items():
            # what machines tell, and users of the cloud have chosen, is no template
            self.inventory.set_variable(entry.host, name, wrap_var(value))

    def _way(self, entry: as_hosts.Entry, variables: dict[str, Any], is_new: bool) -> dict[str, str]:
        """{variable: value} of how ssh reaches it, without those that it has."""
        own, common = self._arguments(variables), self._site.text(variables, "ansible_ssh_common_args")
        given = self._site.text(variables, "ansible_host")
        # another file that has it may rely on its name
        target = given or entry.address or (self._name(entry) if is_new else entry.host)
        found = {} if target in (given, entry.host) else {"ansible_host": target}
        if ssh_way.said_jump(own) is not None:
            return found
        # what a new host has is all guests', which a jump is added to
        extensible = is_new or not common
        jump = self._jumps[entry.near] if entry.near in self._jumps else next(filter(None, self._jumps.values()), "")
        if not jump or not extensible:
            if ssh_way.configured_jump(own, target):
                return found
            # where ssh's configuration knows it by its name
            if not given and ssh_way.configured_jump(own, entry.host):
                return {}
            jump = self._jump
        return {**found, "ansible_ssh_common_args": f"{common} {jump}".strip()} if jump and extensible else found

    def _name(self, entry: as_hosts.Entry) -> str:
        """A guest's name in the LAN's DNS."""
        return f"{short_name(entry.host)}.{self._domain}" if self._domain else entry.host

    def _construct(self, host: str) -> None:
        """What `compose`, `groups` and `keyed_groups` make of it."""
        strict = self.get_option("strict")
        self._set_composite_vars(self.get_option("compose"), self._site.of(host), host, strict=strict)
        variables = self._site.of(host)
        self._add_host_to_composed_groups(self.get_option("groups"), variables, host, strict=strict, fetch_hostvars=False)
        self._add_host_to_keyed_groups(self.get_option("keyed_groups"), variables, host, strict=strict, fetch_hostvars=False)
