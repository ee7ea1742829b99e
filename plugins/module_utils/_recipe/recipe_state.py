# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What earlier builds have left, and so what this build has to do and where it begins."""
from __future__ import annotations

import os

from ansible_collections.our.cloud.plugins.module_utils._recipe import recipe_plan as planning
from ansible_collections.our.cloud.plugins.module_utils._recipe import recipe_place as placing
from ansible_collections.our.cloud.plugins.module_utils._recipe.recipe_job import Job
from ansible_collections.our.cloud.plugins.module_utils._recipe.recipe_workdir import LIVE, Memory, read


class State:
    """A snapshot of what earlier builds have left. ``planned``: what a build would do; ``place``: where it would begin."""

    def __init__(self, job: Job) -> None:
        self.job, self.paths = job, job.paths
        self.memory = Memory(self.paths.memory)
        self.place = None
        if self.is_kept():
            self.planned = [planning.Planned(macrostep.name, False, planning.KEPT) for macrostep in job.macrosteps]
            return
        planned = planning.plan(job.resolved, job.keys, self.has_layer, self.memory)
        self.planned = planning.between(planned, job.start_at, job.stop_at)
        self.place = placing.told(job, self.left()) if job.start_at else placing.found(job, self.planned)

    def left(self) -> placing.Left:
        return placing.Left(tuple(map(tuple, self.memory["chain"])), self.memory["live"], os.path.exists(self.paths.by_hand),
                            self.has_layer, self.has_layer(LIVE))

    def has_layer(self, key: str) -> bool:
        return os.path.isdir(self.paths.layer(key))

    def has_output(self, key: str) -> bool:
        """Whether the output of the state of that key is there."""
        if self.job.kept(key):
            return os.path.isdir(self.job.kept(key))
        made = self.memory["output"]
        return bool(made) and made["key"] == self.job.output_key(key) and all(os.path.isfile(path) for path in made["files"].values())

    def is_kept(self) -> bool:
        """Whether the output is already below output_base, so that nothing has to be built."""
        job = self.job
        return bool(job.options.output_base) and not job.start_at and job.stop_at == job.end and self.has_output(job.last_key)

    def would_change(self) -> bool:
        return any(planned.runs for planned in self.planned) or self.job.stop_at == self.job.end and not self.has_output(self.job.last_key)

    def differences(self) -> list[dict[str, str]]:
        """[{before, after, ...}] of the scripts that would run and are not what ran last."""
        differences = []
        for step, planned in zip(self.job.scripts(), self.planned):
            name, before = step["macrostep"], read(self.paths.script(step["macrostep"]))
            if planned.runs and before != step["script"]:
                differences.append({"before": before, "after": step["script"], "before_header": name, "after_header": name})
        return differences

    # What the module returns

    def result(self, **more) -> dict:
        """The result of a build that stops on its way."""
        job = self.job
        return {
            "recipe": job.name, "variables": job.resolved.variables, "workdir": self.paths.workdir, "log": self.paths.log,
            "key": job.last_key, "plan": [planned.shown() for planned in self.planned], **more,
        }

    def finished(self, changed: bool, key: str) -> dict:
        """The result of a build that has come to its end, in the state of that key."""
        kept = self.job.kept(key)
        log = {"log": os.path.join(kept, os.path.basename(self.paths.log))} if kept else {}
        return self.result(changed=changed, files=self.job.files(key), key=key, **log)

    def expected(self) -> dict:
        """The result of a check, or of a build that has nothing to do. Where an output will be kept is known before it is there."""
        changed = self.would_change()
        return self.finished(changed, self.job.last_key) if self.job.options.output_base else self.result(changed=changed)
