# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a build has been asked to do: the resolved recipe, the keys of its states, the first and last step, and all paths."""
from __future__ import annotations

import dataclasses
import datetime
import os
from dataclasses import dataclass

from ansible_collections.our.cloud.plugins.module_utils._recipe import recipe_output as output
from ansible_collections.our.cloud.plugins.module_utils._recipe import recipe_plan as planning
from ansible_collections.our.cloud.plugins.module_utils._recipe.recipe import Macrostep, Microstep, Recipe, Resolved
from ansible_collections.our.cloud.plugins.module_utils._recipe.recipe_files import DataDirectory
from ansible_collections.our.cloud.plugins.module_utils._recipe.recipe_load import load
from ansible_collections.our.cloud.plugins.module_utils._recipe.recipe_resolve import resolve
from ansible_collections.our.cloud.plugins.module_utils._recipe.recipe_script import check_syntax, script
from ansible_collections.our.cloud.plugins.module_utils._recipe.recipe_workdir import Workdir, default_base

# The date of what is built when its recipe names none: one that does not change. Debian 13's release.
EPOCH = 1754697600
# Below output_base, the working directories.
BUILDS = ".builds"


@dataclass(frozen=True)
class Options:
    """The parameters of the module appliance, which documents them."""

    recipe: str
    data_dir: str
    variables: dict
    workdir_base: str | None
    output_base: str | None
    directory: str | None
    break_at: str | None
    start_at: str | None
    on_error: str
    checkpoints: str
    progress: str | None

    @classmethod
    def of(cls, params: dict) -> Options:
        """The options. Relative paths are relative to the directory in which the playbook was started."""
        options = cls(**{field.name: params[field.name] for field in dataclasses.fields(cls)})
        paths = {name: options.located(params[name]) for name in ("data_dir", "workdir_base", "output_base") if params[name]}
        return dataclasses.replace(options, **paths)

    def located(self, path: str) -> str:
        """A path made absolute, from the directory in which the playbook was started."""
        return os.path.join(self.directory or os.getcwd(), os.path.expanduser(path))

    @property
    def base_option(self) -> str:
        """The name of the option that sets the place of the build, for messages."""
        return "output_base" if self.output_base else "workdir_base"


class Job:
    """One build as it was requested. It neither looks at the results of earlier builds nor changes anything."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.data = DataDirectory(options.data_dir)
        recipe = load(self.data, options.recipe, options.variables)
        self.paths = workdir(options, recipe)
        self.resolved = resolve(self.data, recipe, self.paths.workdir)
        self.name, self.macrosteps = self.resolved.name, self.resolved.macrosteps
        self.output_type = recipe.text("type")
        self.epoch = read_date(self.resolved)
        output.check_size(self.resolved)
        check_syntax(self.macrosteps)
        self.keys = planning.all_keys(self.resolved, self.epoch)
        self.end = len(self.macrosteps), 0
        self.stop_at = self.position("break_at") or self.end
        self.start_at = self.position("start_at")

    def position(self, option: str) -> tuple[int, int] | None:
        """(macrostep's number, microstep's number) that an option names, if it is set."""
        text = getattr(self.options, option)
        return planning.position(self.resolved, text, option) if text else None

    @property
    def last_key(self) -> str:
        """The key of the finished appliance, computed from the recipe alone."""
        return self.keys[-1][-1]

    def key_before(self, macro: int, micro: int) -> str:
        """The key of the state before a microstep."""
        if micro:
            return self.keys[macro][micro - 1]
        return self.keys[macro - 1][-1] if macro else planning.first_key(self.epoch)

    def output_key(self, key: str) -> str:
        """The key of the output made from the state with this key."""
        return planning.digest(output.FORMAT, key, self.output_type, sorted(output.variables("", "", 0, self.resolved).items()))

    def kept(self, key: str) -> str | None:
        """The final directory of that output below output_base; None without output_base."""
        base = self.options.output_base
        return os.path.join(os.path.realpath(base), f"{self.name}-{self.output_key(key)}") if base else None

    def files(self, key: str) -> dict[str, str]:
        """{what: path} of the output's files."""
        return {what: os.path.join(self.kept(key) or self.paths.output, file) for what, file in output.files(self.output_type, self.name).items()}

    def script(self, number: int, keys: list[str], start: int = 0, stop: int | None = None) -> str:
        """The script of a macrostep, or of its microsteps from start to before stop. keys: those of the microsteps from start on."""
        macrostep = self.macrosteps[number]
        checkpoints = dict(zip(names_of(macrostep.microsteps)[start:-1], keys)) if self.options.checkpoints == "microstep" else {}
        return script(self.name, macrostep, start, stop, checkpoints)

    def whole_script(self, number: int) -> str:
        return self.script(number, self.keys[number])

    def scripts(self) -> list[dict[str, str]]:
        """[{macrostep, script}] of all macrosteps, whole."""
        return [{"macrostep": macrostep.name, "script": self.whole_script(number)} for number, macrostep in enumerate(self.macrosteps)]


def workdir(options: Options, recipe: Recipe) -> Workdir:
    """The working directory of a recipe. With output_base, each set of variables has a working directory of its own."""
    if options.output_base:
        values = sorted((name, variable.text) for name, variable in recipe.variables.items())
        return Workdir(os.path.join(options.output_base, BUILDS), f"{recipe.name}-{planning.digest(values)}")
    return Workdir(options.workdir_base or options.located(recipe.text("workdir_base", default_base())), recipe.name)


def names_of(steps: tuple[Macrostep, ...] | tuple[Microstep, ...]) -> list[str]:
    return [step.name for step in steps]


def read_date(resolved: Resolved) -> int:
    """SOURCE_DATE_EPOCH of a recipe: its snapshot_date, written as on snapshot.debian.org or as a date."""
    text = resolved.variables.get("snapshot_date", "")
    if not text:
        return EPOCH
    for form in ("%Y%m%dT%H%M%SZ", "%Y%m%d", "%Y-%m-%d", "%Y-%m-%dT%H:%M:%SZ"):
        try:
            return int(datetime.datetime.strptime(text, form).replace(tzinfo=datetime.timezone.utc).timestamp())
        except ValueError:
            pass
    raise resolved.where.error(f"global: snapshot_date is {text!r} and must be like 20260101T000000Z or 2026-01-01")
