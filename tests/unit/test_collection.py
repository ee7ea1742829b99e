# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the rules for collections ask of the root, of galaxy.yml and of the execution environment."""

from __future__ import annotations

import pathlib
import re

import yaml
from ansible_collections.our.cloud.plugins.action import appliance

CHECKOUT = pathlib.Path(__file__).resolve().parents[2]


def read(name):
    return (CHECKOUT / name).read_text(encoding="utf-8")


def requirements(name):
    """{package: version's condition} of a file of pip's."""
    lines = [line for line in read(name).splitlines() if line and not line.startswith(("#", "-r"))]
    return {match[1]: match[2] for match in (re.fullmatch(r"([a-z0-9-]+)(?:\[[a-z]+\])?([=>]=[0-9.]+)", line) for line in lines)}


def number(version):
    return [int(part) for part in version.lstrip("=>").split(".")]


def test_galaxy_says_where_everything_is():
    about = yaml.safe_load(read("galaxy.yml"))
    assert {"repository", "homepage", "documentation", "issues"} <= set(about)
    assert {"tests", "molecule", "bench", ".ci"} <= set(about["build_ignore"])


def test_an_execution_environment_gets_open_ranges_and_no_ansible():
    asked = yaml.safe_load(read("meta/execution-environment.yml"))["dependencies"]["python"]
    ranges, pins = requirements(asked), requirements("requirements.txt")
    assert set(ranges) == set(pins) - {"ansible", "ansible-core", "mitogen"}
    assert all(wanted.startswith(">=") and number(wanted) <= number(pins[name]) for name, wanted in ranges.items())


def test_nothing_needs_a_file_outside_of_what_collections_may_have():
    """Ansible's rule: it must work if every file outside of plugins, roles, playbooks and meta is deleted."""
    found = []
    for path in (path for folder in ("plugins", "roles", "playbooks") for path in (CHECKOUT / folder).rglob("*")):
        if path.suffix not in (".py", ".yml", ".j2") or "documentation" in path.parts:
            continue
        for led in re.findall(r'(?:role_path|playbook_dir)[^\n"\']*?\}\}/((?:\.\./)+[\w./-]+)', path.read_text(encoding="utf-8")):
            top = path.relative_to(CHECKOUT).parts
            target = (CHECKOUT.joinpath(*top[:2 if top[0] == "roles" else 1]) / led).resolve()
            if target.relative_to(CHECKOUT).parts[0] not in ("plugins", "roles", "playbooks", "meta"):
                found.append(f"{path.relative_to(CHECKOUT)}: {led}")
    assert found == []
    own = (CHECKOUT / "plugins/action" / appliance.OWN).resolve()
    assert (own / "recipes").is_dir() and own.relative_to(CHECKOUT).parts[0] == "roles"
