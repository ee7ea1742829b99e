# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Recipes of an appliance that is built in a blink, in directories of their own."""

from __future__ import annotations

import pytest
from toy_appliance import ROOT, Toy


@pytest.fixture(name="toy")
def fixture_toy(tmp_path):
    return Toy(tmp_path)


@pytest.fixture(name="shared", scope="module")
def fixture_shared(tmp_path_factory):
    """One for tests that only add a macrostep which fails: the first one has its checkpoint."""
    toy = Toy(tmp_path_factory.mktemp("shared"))
    toy.outside = toy.path / "outside"
    (toy.outside / "victim").mkdir(parents=True)
    toy.step("root", ROOT + f"      - exec_appliance: ln -s {toy.outside} link\n")
    return toy


@pytest.fixture(name="counted")
def fixture_counted(toy):
    """Three macrosteps that count how often they run."""
    toy.recipe("a", "b", "c")
    for name in "abc":
        toy.step(name, f"- one: [exec_current: echo {name}1 >>$$workdir/ran]\n"
                       f"- two:\n    - exec_current: echo {name}2 >>$$workdir/ran\n    - exec_appliance: echo 1 >>{name}\n")

    def ran():
        path = toy.workdir / "ran"
        text = path.read_text().split() if path.exists() else []
        path.unlink(missing_ok=True)
        return " ".join(text)

    toy.ran = ran
    return toy
