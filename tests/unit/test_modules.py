# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The documentation of the modules says what they take; sanity asks the same, and takes its time."""

from __future__ import annotations

import importlib
import pathlib

import pytest
import yaml

from ansible_collections.our.cloud.plugins.doc_fragments import hypervisor, registry

MODULES = sorted(path.stem for path in (pathlib.Path(__file__).resolve().parents[2] / "plugins" / "modules").glob("[a-z]*.py"))
FRAGMENTS = {"our.cloud.registry": registry.ModuleDocFragment.DOCUMENTATION, "our.cloud.registry.entry": registry.ModuleDocFragment.ENTRY,
             "our.cloud.hypervisor": hypervisor.ModuleDocFragment.DOCUMENTATION, "our.cloud.hypervisor.attributes": hypervisor.ModuleDocFragment.ATTRIBUTES}


class Asked(Exception):
    """A module has said what it takes."""


def documented(module):
    """{option: its documentation}"""
    docs = yaml.safe_load(module.DOCUMENTATION)
    options = dict(docs.get("options") or {})
    for name in docs.get("extends_documentation_fragment", []):
        options.update(yaml.safe_load(FRAGMENTS[name])["options"])
    return options


def said(options, inside):
    """What documentation and argument specification have in common."""
    keys = ("type", "required", "default", "choices", "elements")
    return {name: ({key: option[key] for key in keys if option.get(key)}, said(option.get(inside) or {}, inside)) for name, option in options.items()}


@pytest.mark.parametrize("name", MODULES)
def test_options(name, monkeypatch):
    module = importlib.import_module("ansible_collections.our.cloud.plugins.modules." + name)

    def stop(**arguments):
        raise Asked(arguments["argument_spec"])

    monkeypatch.setattr(module, "AnsibleModule", stop)
    with pytest.raises(Asked) as asked:
        module.main()
    assert said(documented(module), "suboptions") == said(asked.value.args[0], "options")
