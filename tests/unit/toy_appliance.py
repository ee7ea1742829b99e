# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A data directory and a working directory for builds that take a blink: the appliance is this computer's bash and a few programs."""
from __future__ import annotations

import json
import pathlib
import subprocess
import sys
import tarfile

from checkout import UNIT
from ansible_collections.our.cloud.plugins.module_utils._recipe import recipe_build

PARAMS = {
    "recipe": "toy", "state": "present", "variables": {}, "directory": None, "break_at": None, "start_at": None, "on_error": "abort",
    "checkpoints": "macrostep", "output_base": None,
    "dry_run": False, "progress": None,
}
RECIPE = """\
global:
  distrib: springfield
  type: {type}
  size_mib: {size}
steps: [{steps}]
"""
# Hard links, odd modes and names are there, to be the same in the second build.
ROOT = """\
root:
  - tree:
      - exec_appliance: |
          mkdir -p dev etc proc root sys tmp usr/bin
          ln -s usr/bin bin
          chmod 1777 tmp
          cp -L $(type -P bash cat ls touch) usr/bin/
          ldd usr/bin/* | grep -o '/lib[^ ]*' | sort -u | xargs cp -L --parents -t .
          cp -r --parents /usr/lib/locale/C.utf8 .
          ln -s bash usr/bin/sh
          ln usr/bin/cat usr/bin/dog
          touch 'etc/a name with "quotes"'
          chmod 4711 usr/bin/ls
"""


class Toy:
    """One recipe, the steps that a test writes, and builds of it."""

    def __init__(self, path, base="base"):
        self.path = pathlib.Path(path)
        for folder in ("recipes", "steps/common"):
            (self.path / folder).mkdir(parents=True, exist_ok=True)
        self.base = self.path / base
        self.started = []
        self.workdir = self.base / "toy"
        self.recipe("root")
        self.step("root", ROOT)

    def recipe(self, *steps, kind="tgz", size=""):
        (self.path / "recipes/toy.yaml").write_text(RECIPE.format(type=kind, size=size, steps=", ".join(steps)), encoding="utf-8")

    def step(self, name, text):
        (self.path / f"steps/common/{name}.yaml").write_text(text, encoding="utf-8")

    def params(self, **params):
        return {**PARAMS, "data_dir": str(self.path), "workdir_base": str(self.base), **params}

    def build(self, check_mode=False, **params):
        return recipe_build.ensure(self.params(**params), check_mode, False)

    def error(self, **params):
        """The error of a build that must fail."""
        try:
            self.build(**params)
        except recipe_build.RecipeError as exc:
            return exc
        raise AssertionError("it was built")

    def why(self, **params):
        """What a check says: {macrostep: why}, those that run alone."""
        return {step["macrostep"]: step["why"] for step in self.build(check_mode=True, **params)["plan"] if step["runs"]}

    def start(self, *before, **params):
        """A build in a process of its own. before: a program that runs it."""
        program = ("import json, sys\n"
                   "sys.path.insert(0, sys.argv[1])\nimport checkout\n"
                   "from ansible_collections.our.cloud.plugins.module_utils._recipe import recipe_build\n"
                   "try:\n    recipe_build.ensure(json.loads(sys.argv[2]), False, False)\n"
                   "except recipe_build.RecipeError as exc:\n    sys.exit(str(exc))\n")
        argv = [*before, sys.executable, "-c", program, str(UNIT), json.dumps(self.params(**params))]
        self.started.append(subprocess.Popen(argv, stderr=subprocess.PIPE, text=True))
        return self.started[-1]

    @property
    def log(self):
        return (self.workdir / "build.log").read_text(encoding="utf-8")

    @property
    def archive(self):
        return self.workdir / "output/toy.tgz"

    def files(self):
        """{name: content} of the output's files."""
        with tarfile.open(self.archive) as tar:
            return {member.name[2:]: tar.extractfile(member).read().decode(errors="replace") for member in tar if member.isfile()}
