# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every role says what its variables are, in one voice, and knows no site: neither its machines nor its guests."""

from __future__ import annotations

import ast
import pathlib
import re

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

CHECKOUT = pathlib.Path(__file__).resolve().parents[2]
ROLES = sorted((CHECKOUT / "roles").iterdir())
# What people read may have examples with names in them; what machines run may not.
DOCUMENTS = ("DOCUMENTATION", "EXAMPLES", "RETURN")
# Roles that are not configured by the inventory of a physical site.
NOT_OF_A_SITE = ("appliance", "certificates", "lab", "nft_table", "openstack_service")
MISSING = object()


def load(path):
    return yaml.safe_load(path.read_text(encoding="utf-8")) or {}


def missing_files(role):
    """The files that a role must have and has not."""
    needed = ("README.md", "meta/main.yml", "meta/argument_specs.yml", "tasks/main.yml")
    return ["%s: %s is missing" % (role.name, name) for name in needed if not (role / name).is_file()]


def undocumented(where, options):
    """What the options of an entry point, and those inside of them, do not say."""
    for name, option in options.items():
        here = "%s: %s" % (where, name)
        texts = option.get("description") or []
        texts = [texts] if isinstance(texts, str) else texts
        if not texts or not all(str(text).strip() for text in texts):
            yield "%s has no description" % here
        if "type" not in option:
            yield "%s has no type" % here
        if option.get("type") == "list" and "elements" not in option:
            yield "%s is a list and does not say of what (elements)" % here
        if option.get("required") and "default" in option:
            yield "%s is required and has a default" % here
        yield from undocumented(here, option.get("options") or {})


def problems(role):
    """Where a role's defaults and argument specification disagree, or leave something unsaid."""
    entry_points = load(role / "meta/argument_specs.yml").get("argument_specs") or {}
    defaults = load(role / "defaults/main.yml") if (role / "defaults/main.yml").is_file() else {}
    found, options = [], {}
    if "main" not in entry_points:
        found.append("%s: argument_specs.yml has no entry point main" % role.name)
    for point, spec in entry_points.items():
        where = "%s (%s)" % (role.name, point)
        if not spec.get("short_description"):
            found.append("%s has no short_description" % where)
        if not (role / "tasks" / (point + ".yml")).is_file():
            found.append("%s: tasks/%s.yml is missing" % (where, point))
        found.extend(undocumented(where, spec.get("options") or {}))
        for name, option in (spec.get("options") or {}).items():
            if options.setdefault(name, option) != option:
                found.append("%s: %s is not the same in all entry points" % (role.name, name))
    for name in sorted(set(options) | set(defaults)):
        said = options.get(name, {}).get("default", MISSING)
        if not name.startswith(role.name + "_"):
            found.append("%s: %s does not begin with %s_" % (role.name, name, role.name))
        if name not in options:
            found.append("%s: %s is in defaults/main.yml and not in argument_specs.yml" % (role.name, name))
        elif name not in defaults and said is not MISSING:
            found.append("%s: %s has a default in argument_specs.yml and none in defaults/main.yml" % (role.name, name))
        elif name in defaults and said is MISSING:
            found.append("%s: %s has a default in defaults/main.yml and none in argument_specs.yml" % (role.name, name))
        elif name in defaults and said != defaults[name]:
            found.append("%s: the default of %s is %r in argument_specs.yml and %r in defaults/main.yml" % (role.name, name, said, defaults[name]))
    return found


def hosts_of(group):
    """The host names below one group of a YAML inventory."""
    group = group or {}
    yield from (group.get("hosts") or {})
    for child in (group.get("children") or {}).values():
        yield from hosts_of(child)


def names_of_sites():
    """The machines and guests of the lab and of the scenarios."""
    names = set()
    for folder in [CHECKOUT / "inventories/lab", CHECKOUT / "inventories/cloud", *CHECKOUT.glob("molecule/*/inventory")]:
        for group in load(folder / "hosts.yml").values():
            names.update(hosts_of(group))
        for path in [*folder.glob("group_vars/all.yml"), *folder.glob("group_vars/all/*.yml")]:
            names.update(guest["name"] for guest in load(path).get("guests", []))
    return names


def code(path):
    """The lines of a file, those of its documentation left empty."""
    text = path.read_text(encoding="utf-8")
    lines = text.splitlines()
    if path.suffix == ".py":
        for node in ast.parse(text).body:
            if isinstance(node, ast.Assign) and any(getattr(target, "id", None) in DOCUMENTS for target in node.targets):
                lines[node.lineno - 1:node.end_lineno] = [""] * (node.end_lineno - node.lineno + 1)
    return lines


def mentions(paths, names, top):
    """Where files name a machine or guest of a site."""
    words = re.compile(r"(?<![\w-])(%s)(?![\w-])" % "|".join(map(re.escape, sorted(names))), re.IGNORECASE)
    return ["%s:%d: %s" % (path.relative_to(top), number, word)
            for path in paths for number, line in enumerate(code(path), 1) for word in words.findall(line)]


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_role_is_complete(role):
    assert missing_files(role) == []


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_defaults_are_what_the_documentation_says(role):
    assert problems(role) == []


def test_nothing_knows_a_site():
    files = [path for folder in ("roles", "plugins") for path in sorted((CHECKOUT / folder).rglob("*"))
             if path.is_file() and path.name != "README.md" and "__pycache__" not in path.parts]
    assert mentions(files, names_of_sites(), CHECKOUT) == []


@pytest.mark.parametrize("role", [role for role in ROLES if role.name not in NOT_OF_A_SITE], ids=lambda role: role.name)
def test_the_example_inventory_has_every_variable(role):
    example = "\n".join(path.read_text(encoding="utf-8") for path in sorted((CHECKOUT / "inventories/example").rglob("*.yml")))
    options = load(role / "meta/argument_specs.yml")["argument_specs"]["main"]["options"]
    assert [name for name in options if not re.search(r"\b%s\b" % name, example)] == []


# The checks themselves: each fault is seen.

@pytest.fixture(name="bad_role")
def fixture_bad_role(tmp_path):
    role = tmp_path / "door"
    for folder in ("meta", "defaults", "tasks"):
        (role / folder).mkdir(parents=True)
    (role / "tasks/main.yml").write_text("---\n", encoding="utf-8")
    (role / "defaults/main.yml").write_text("door_color: red\ndoor_locked: true\ndoor_extra: 1\ndoor_width: 80\nwindow: 1\n", encoding="utf-8")
    (role / "meta/argument_specs.yml").write_text("""
argument_specs:
  main:
    short_description: A door
    options:
      door_color: {description: Its color., type: str, default: blue}
      door_locked: {description: " ", type: bool, default: true}
      door_width: {description: Centimetres., type: int}
      door_handles: {description: [Handles.], type: list, default: []}
      door_hinges:
        description: Hinges.
        type: list
        elements: dict
        options:
          side: {description: Left or right.}
      door_name: {description: Its name., type: str, required: true, default: front}
      window: {description: None., type: int, default: 1}
  close:
    options:
      door_color: {description: Another one., type: str, default: blue}
""", encoding="utf-8")
    return role


def test_faults_of_a_role_are_named(bad_role):
    assert missing_files(bad_role) == ["door: README.md is missing", "door: meta/main.yml is missing"]
    assert problems(bad_role) == [
        "door (main): door_locked has no description",
        "door (main): door_handles is a list and does not say of what (elements)",
        "door (main): door_hinges: side has no type",
        "door (main): door_name is required and has a default",
        "door (close) has no short_description",
        "door (close): tasks/close.yml is missing",
        "door: door_color is not the same in all entry points",
        "door: the default of door_color is 'blue' in argument_specs.yml and 'red' in defaults/main.yml",
        "door: door_extra is in defaults/main.yml and not in argument_specs.yml",
        "door: door_handles has a default in argument_specs.yml and none in defaults/main.yml",
        "door: door_name has a default in argument_specs.yml and none in defaults/main.yml",
        "door: door_width has a default in defaults/main.yml and none in argument_specs.yml",
        "door: window does not begin with door_",
    ]


def test_names_are_found_in_code_and_not_in_documentation(tmp_path):
    module = tmp_path / "module.py"
    module.write_text('EXAMPLES = r"""\nname: homer\n"""\n\nFRONT = "Homer.lab.lan"\nPATH = "/srv/homerun"\n', encoding="utf-8")
    tasks = tmp_path / "main.yml"
    tasks.write_text("- ping: our-vm\n- ping: our-vms\n", encoding="utf-8")
    assert mentions([module, tasks], {"homer", "our-vm"}, tmp_path) == ["module.py:5: Homer", "main.yml:1: our-vm"]


WHOLE_LINES = [
    ("bridge", "bridge_name", ["br0", "br-x.1"], ["br0\n", "a" * 16, "b r", "$(x)"]),
    ("bridge", "bridge_address", ["dhcp", "10.1.2.3/24"], ["10.1.2.3/24\n", "10.1.2.3"]),
    ("bridge", "bridge_gateway", ["", "10.1.2.1"], ["10.1.2.1\n", "$(reboot)", "10.1.2.1; x"]),
    ("bridge", "bridge_dns", [[], ["192.0.2.1", "fd00::1%br0", "192.0.2.1:53#dns.example.org"]], [["192.0.2.1\n"], ["192.0.2.1 192.0.2.2"], ["1\nDHCP=yes"]]),
    ("bridge", "bridge_domain", ["", "lan.test", "~. lan.test"], ["lan.test\n", "lan.test\nDHCP=yes"]),
    ("clc", "clc_queue_memory", ["256MiB", "1GB", 268435456], ["256MiB\n", "a lot", "1\nlisteners.tcp.default = 5672"]),
    ("gateway", "gateway_lease_time", ["1h", 600, "infinite"], ["1h\n", "1h\ndhcp-script=/x", "1h,x", ""]),
    ("gateway", "gateway_upstream_dns", [[], ["192.0.2.1", "/lan.test/192.0.2.1#53", "fd00::1%eth0"]], [["192.0.2.1\n"], ["192.0.2.1\ndhcp-script=/x"]]),
    ("image_store", "image_store_export_options", [["rw", "anonuid=65534", "xprtsec=tls:mtls"]], [["rw\n"], ["rw) *(rw"], ["rw\n/ *(rw)"], ["rw,sync "]]),
    ("image_store", "image_store_mount_options", [["hard", "nconnect=4", "x-systemd.mount-timeout=90s"]], [["hard\n"], ["hard\nWhat=x"], ["a b"]]),
    ("image_store", "image_store_path", ["/srv/cloud"], ["/srv/cloud\n", "/srv/../etc", "/srv/$(x)"]),
    ("nc", "nc_system_id", ["n1", "0e1f-x.y_z"], ["n1\n", "", "n 1", "n1;x"]),
    ("oar", "oar_settings", [{}, {"DETACH_JOB_FROM_SERVER": 1, "A": "/x y"}], [{"A": 'x"'}, {"A": "x\ny"}, {"A B": "x"}, {"A": "x\\"}, {"A\n": "x"}]),
    ("relocation", "relocation_address", ["192.0.2.11", "fd00::1", "[fd00::1]"], ["192.0.2.11\n", "192.0.2.11\nExecStartPre=/x", ""]),
    ("relocation", "relocation_data_ports", ["49152-49215", "49152, 49160-49170"], ["49152\n", "49152 } accept", "", "49152,"]),
    ("relocation", "relocation_tls_priority", ["", "NORMAL:-VERS-TLS1.0:%SERVER_PRECEDENCE"], ['x"', "NORMAL\nx=1"]),
    ("xen", "xen_dom0_memory", ["1024M"], ["1024M\n", "1024", "$(x)M"]),
    ("xen", "xen_hypervisor_options", [[], ["dom0_max_vcpus=1-2", "com2=115200,8n1,0x2f8"]], [["$(reboot)"], ["a b"], ['a"'], ["a\n"], ["a;b"]]),
    ("xen", "xen_serial_console", ["", "com1"], ["com1\n", "$(x)"]),
]


def conditions(role, variable):
    """What the assertions of a role say of a variable alone."""
    found = []
    for path in sorted((CHECKOUT / "roles" / role / "tasks").glob("*.yml")):
        for task in load(path):
            that = task.get("ansible.builtin.assert", {}).get("that", [])
            for condition in [that] if isinstance(that, str) else that:
                if set(re.findall(r"(?<![\w.'])%s_\w+" % role, condition)) == {variable}:
                    found.append(condition)
    return found


@pytest.mark.parametrize("role, variable, good, bad", WHOLE_LINES, ids=lambda value: value if isinstance(value, str) else "")
def test_what_goes_into_files_as_it_is_is_looked_at(role, variable, good, bad):
    """A line end or a quote in a value would be a setting of its own, or a command."""
    def passes(value):
        templar = Templar(loader=DataLoader(), variables={variable: value})
        return all(templar.evaluate_conditional(trust_as_template(condition)) for condition in conditions(role, variable))

    assert [value for value in good if not passes(value)] == []
    assert [value for value in bad if passes(value)] == []


# Looked at elsewhere: the address plan, the site's variables, the module nft_table; or not a value of a line: the text of a file, a word of argument_specs'
# choices, what is quoted where it stands.
LOOKED_AT = {
    "gateway_address", "gateway_network", "gateway_domain", "gateway_dhcp_range_start", "gateway_dhcp_range_end", "image_store_server",
    "image_store_server_address", "lease_store", "nft_table_name", "nft_table_rules", "nft_table_family", "guest_filter_unknown", "guest_filter_cloud_port",
    "lab_state_dir", "cloud_region",
}


def test_each_value_of_a_template_is_looked_at():
    found = set()
    for path in TEMPLATES:
        role = path.relative_to(CHECKOUT / "roles").parts[0]
        text = path.read_text(encoding="utf-8")
        for spec in load(CHECKOUT / "roles" / role / "meta/argument_specs.yml")["argument_specs"].values():
            found.update(name for name, option in (spec.get("options") or {}).items()
                         if option["type"] not in ("int", "bool", "float") and re.search(rf"\b{name}\b", text))
    assert found - LOOKED_AT == found & {variable for dummy, variable, *dummy2 in WHOLE_LINES}
    assert LOOKED_AT <= found


@pytest.mark.parametrize("path", ["roles/cloud/templates/openrc.j2", "roles/clc/templates/openrc.j2"])
def test_what_a_shell_reads_is_quoted(path):
    """But for what the collection makes itself."""
    text = (CHECKOUT / path).read_text(encoding="utf-8")
    assert {value for value in re.findall(r"^export \w+=\{\{ (.*?) \}\}$", text, re.MULTILINE) if not value.endswith("| quote")} <= {
        "lookup('our.cloud.secret', 'user-' ~ cloud__who)", "lookup('our.cloud.secret', 'admin')", "interface"}


def test_the_inventories_have_names():
    assert {"homer", "marge", "maggie", "bart", "lisa", "our-vm", "their-vm"} <= names_of_sites()


TEMPLATES = sorted(path for path in (CHECKOUT / "roles").glob("*/templates/**/*") if path.is_file())
HEADING = "# {{{{ ansible_managed }}}}: role our.cloud.{}"


def template_faults(path, text):
    """What is not as in all other templates."""
    role = path.relative_to(CHECKOUT / "roles").parts[0]
    if path.suffix != ".j2":
        yield "its name does not end in .j2"
    for line in text.splitlines():
        if "ansible_managed" in line and not line.startswith(HEADING.format(role)):
            yield f"its heading is not {HEADING.format(role)}"


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: "/".join(path.parts[-3:]))
def test_templates_are_told_by_their_names_and_begin_alike(path):
    assert list(template_faults(path, path.read_text(encoding="utf-8"))) == []


def test_a_template_of_another_form_is_found():
    path = CHECKOUT / "roles/kvm/templates/kvm.conf"
    assert len(list(template_faults(path, "{{ ansible_managed | comment }}\n"))) == 2


def test_packages_are_installed_by_our_module_and_read_where_they_are_registered():
    """Of what several roles install one after the other, each reads its own."""
    for role in ROLES:
        texts = [path.read_text(encoding="utf-8") for path in sorted(role.glob("**/*")) if path.suffix in (".yml", ".j2") and "files" not in path.parts]
        tasks = [task for path in sorted(role.glob("tasks/**/*.yml")) for task in load(path) or [] if "our.cloud.packages" in task]
        kept = {task["register"] for task in tasks if "register" in task}
        assert not [text for text in texts if re.search(r"^\s*(ansible\.builtin\.)?(apt|package|dpkg_\w+):", text, re.MULTILINE)], role.name
        assert sum(text.count("our.cloud.packages:") for text in texts) == len(tasks), role.name
        assert kept <= {f"{role.name}__installed"} and {name for text in texts for name in re.findall(r"\w+__installed", text)} == kept, role.name


def test_private_variables_have_one_form():
    """role__name, of any role; __name is nobody's."""
    found = []
    for path in sorted((CHECKOUT / "roles").glob("**/*")):
        if path.suffix in (".yml", ".j2") and path.is_file():
            found += [f"{path.relative_to(CHECKOUT)}: {name}" for name in re.findall(r"(?<![\w.$-])__[a-z0-9]+_\w+(?!__)\b", path.read_text(encoding="utf-8"))
                      if not name.endswith("__")]
    assert found == []
