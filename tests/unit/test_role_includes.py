# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What our roles give to those that only roles include is right. Asked here, and not by a task of its own at each include of each run."""

from __future__ import annotations

import pathlib
import re

import pytest
import yaml
from ansible.module_utils.common.parameters import DEFAULT_TYPE_VALIDATORS
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

CHECKOUT = pathlib.Path(__file__).resolve().parents[2]
INTERNAL = ("certificates", "nft_table", "openstack_service")
ACTIONS = ("ansible.builtin.include_role", "ansible.builtin.import_role")
# What a variable may refer to: those of the role itself, and those that the roles of the cloud share.
SHARED = ("cloud",)


def load(path):
    return (yaml.safe_load(path.read_text(encoding="utf-8")) or {}) if path.is_file() else {}


def tasks_of(tasks):
    """All tasks of a file, those in blocks, too."""
    for task in tasks or []:
        yield task
        for part in ("block", "rescue", "always"):
            yield from tasks_of(task.get(part))


def includes():
    """(file, role that includes, role that is included, what the include says, its variables) of each include of an internal role by one of ours."""
    found = []
    for path in sorted((CHECKOUT / "roles").glob("*/tasks/**/*.yml")):
        for task in tasks_of(load(path)):
            for asked in (task[action] for action in ACTIONS if action in task):
                if asked["name"] in ["our.cloud." + name for name in INTERNAL]:
                    found.append((path.relative_to(CHECKOUT), path.relative_to(CHECKOUT / "roles").parts[0], asked["name"].removeprefix("our.cloud."),
                                  asked, task.get("vars", {})))
    return found


def known(role):
    """The variables of a role, as they are written."""
    variables = {}
    for name in (*SHARED, role):
        for part in ("defaults", "vars"):
            variables.update(load(CHECKOUT / "roles" / name / part / "main.yml"))
    return variables


def meant(value, variables):
    """The literal parts of a value: itself, or what it refers to, alone or in a sum."""
    if not isinstance(value, str) or "{{" not in value:
        return [value]
    names = re.fullmatch(r"\{\{ (\w+(?: \+ \w+)*) \}\}", value.strip())
    if not names:
        return []
    return [part for name in names[1].split(" + ") if name in variables for part in meant(variables[name], variables)]


def faults(where, option, value, variables):
    """What of a value is not as an option says. What is known only in a run is left out."""
    kind = option["type"]
    for part in meant(value, variables):
        if not isinstance(part, {"list": list, "dict": dict}.get(kind, (str, int, float))):
            yield f"{where} is no {kind}"
        elif kind == "list":
            for number, item in enumerate(part):
                yield from faults(f"{where}[{number}]", {**option, "type": option["elements"]}, item, variables)
        elif kind == "dict":
            yield from missing_or_strange(where + ": ", option["options"], part, variables) if "options" in option else ()
        else:
            try:
                DEFAULT_TYPE_VALIDATORS[kind](part)
            except TypeError:
                yield f"{where} is no {kind}"
            if part not in option.get("choices", [part]):
                yield f"{where} is {part}"


def missing_or_strange(where, options, values, variables):
    """The faults of variables, or of a dictionary's keys."""
    for name, option in options.items():
        if option.get("required") and name not in values:
            yield f"{where}{name} is missing"
    for name, value in values.items():
        if name not in options:
            yield f"{where}{name} is none of its variables"
        else:
            yield from faults(where + name, options[name], value, variables)


def options_of(role):
    return load(CHECKOUT / "roles" / role / "meta/argument_specs.yml")["argument_specs"]["main"]["options"]


@pytest.mark.parametrize("path, role, included, asked, given", includes(), ids=lambda value: str(value) if isinstance(value, pathlib.Path) else "")
def test_each_include_gives_what_the_role_wants(path, role, included, asked, given):
    assert list(missing_or_strange("", options_of(included), given, known(role))) == []
    # no task for what is asked here, and no other way in
    assert asked["rolespec_validate"] is False and set(asked) == {"name", "rolespec_validate"}, path


def test_there_are_includes_of_each():
    assert {included for dummy, dummy2, included, *dummy3 in includes()} == set(INTERNAL)


def test_only_roles_leave_their_check_out():
    """What a playbook includes gets what the inventory says, which nobody has looked at yet."""
    for path in sorted((CHECKOUT / "playbooks").glob("**/*.yml")):
        assert "rolespec_validate" not in path.read_text(encoding="utf-8"), path
    allowed = {path for path, *dummy in includes()}
    assert {path.relative_to(CHECKOUT) for path in (CHECKOUT / "roles").glob("**/*.yml") if "rolespec_validate" in path.read_text(encoding="utf-8")} == allowed


@pytest.mark.parametrize("given, said", [
    ({"nft_table_name": "x", "nft_table_rules": "{{ secret }}"}, []),
    ({"nft_table_rules": ""}, ["nft_table_name is missing"]),
    ({"nft_table_name": "x", "nft_table_rule": ""}, ["nft_table_rule is none of its variables"]),
    ({"nft_table_name": "x", "nft_table_family": "ip"}, ["nft_table_family is ip"]),
    ({"nft_table_name": "x", "nft_table_install": "perhaps"}, ["nft_table_install is no bool"]),
    ({"nft_table_name": ["x"]}, ["nft_table_name is no str"]),
])
def test_faults_of_an_include_are_found(given, said):
    assert list(missing_or_strange("", options_of("nft_table"), given, {})) == said


@pytest.mark.parametrize("given, said", [
    ("{{ mine }}", ["openstack_service_front[0]: port is missing", "openstack_service_front[0]: port_ is none of its variables"]),
    ("{{ other + mine }}", ["openstack_service_front is no list", "openstack_service_front[0]: port is missing",
                            "openstack_service_front[0]: port_ is none of its variables"]),
    ([{"name": "x", "port": "{{ port }}", "backend": "y"}], []),
    ([{"name": "x", "port": "one", "backend": "y"}], ["openstack_service_front[0]: port is no int"]),
    ({"name": "x"}, ["openstack_service_front is no list"]),
    ("{{ mine | unique }}", []),
])
def test_faults_are_found_where_a_variable_refers_to_others(given, said):
    variables = {"mine": [{"name": "x", "port_": 1, "backend": "y"}], "other": {}}
    assert list(missing_or_strange("", options_of("openstack_service"), {"openstack_service_front": given}, variables)) == said


@pytest.mark.parametrize("told, registered, due", [
    ({}, {"changed": False}, True),
    ({"glance_told": {"changed": False, "ids": {}}}, {"changed": False, "skipped": True}, False),
    ({"glance_told": {"changed": True, "ids": {}}}, {"changed": True}, True),
])
def test_glance_is_fed_once_in_a_run_unless_there_is_a_new_image(told, registered, due):
    tasks = [task for play in load(CHECKOUT / "playbooks/guests.yml") for task in play.get("tasks", [])]
    condition, = [task["when"] for task in tasks if task.get("ansible.builtin.import_tasks") == "tasks/glance.yml"]
    templar = Templar(loader=DataLoader(), variables={**told, "guests_registered": registered})
    assert templar.evaluate_conditional(trust_as_template(condition)) is due
    assert [task["register"] for task in load(CHECKOUT / "roles/guests/tasks/store.yml") if "register" in task] == ["guests_registered"]
    assert [task["register"] for task in load(CHECKOUT / "playbooks/tasks/glance.yml")] == ["glance_told"]
