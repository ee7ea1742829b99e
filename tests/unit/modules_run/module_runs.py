# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A module runs as Ansible runs it, with something else in the place of its work."""

from __future__ import annotations

import importlib
import json
import types

import pytest
from ansible.module_utils.testing import patch_module_args

PLUGINS = "ansible_collections.our.cloud.plugins."
Space = types.SimpleNamespace
WARNED: list[str] = []


def modul(name):
    return importlib.import_module(f"{PLUGINS}modules.{name}")


def put(monkeypatch, work, function):
    """In the place of a function of module_utils."""
    path, dummy, name = work.rpartition(".")
    where = importlib.import_module(f"{PLUGINS}module_utils.{path}")
    assert callable(getattr(where, name))
    monkeypatch.setattr(where, name, function)


def run(capsys, name, params, check_mode=False):
    """The result of a module as Ansible reads it."""
    WARNED.clear()
    with patch_module_args({**params, "_ansible_check_mode": check_mode, "_ansible_diff": True}), pytest.raises(SystemExit):
        modul(name).main()
    found = json.loads(capsys.readouterr().out)
    # Ansible's own, of the Python that the tests run with
    found.pop("warnings", None)
    return {**found, "warnings": WARNED[:]} if WARNED else found
