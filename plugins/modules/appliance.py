#!/usr/bin/python
# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: appliance
short_description: Build an appliance from a recipe
version_added: 0.2.0
description:
  - Builds an appliance (an archive, a disk, a live medium, or kernel, ramdisk and root file system) from a YAML recipe.
  - Each macrostep of the recipe is one script. Its result is kept as a checkpoint under a hash of everything that led to it, so an unchanged
    beginning is not built again, and after a failure the next build resumes with the macrostep that failed.
  - Runs on the control machine, as root or as an ordinary user with subordinate ids. What a build mounts or starts ends with it.
  - The guide to writing recipes is docs/recipes.md.
extends_documentation_fragment:
  - our.cloud.common
attributes:
  check_mode:
    support: full
    description: Says which macrosteps would run, and why.
  diff_mode:
    support: full
    description: Shows the scripts of macrosteps that would run, against those that ran last.
options:
  recipe:
    description: The recipe's name, that of a file in the folder C(recipes) of the data directory without its C(.yaml).
    type: str
    required: true
  data_dir:
    description:
      - The data directory, which has the folders C(recipes) and C(steps).
      - By default the collection's own, the folder C(roles/appliance/files).
    type: path
  state:
    description:
      - V(present) builds what is not built yet.
      - V(absent) removes the working directory, the output included.
    type: str
    choices: [present, absent]
    default: present
  variables:
    description: Values that replace those of the recipe's C(global).
    type: dict
    default: {}
  workdir_base:
    description:
      - The directory that the working directory is made in, under the recipe's name.
      - By default the recipe's C(workdir_base), and without that C(~/.cache/our.cloud/builds).
    type: path
  output_base:
    description:
      - The directory that the output is kept in for good, in a directory of its own with the recipe's name and a hash of everything that it is
        made from. What is there is not made again, and what was once made is never changed.
      - It is built in a working directory of its own, in C(.builds) there, which is removed when it is done, with its checkpoints. So different
        appliances of one recipe are built side by side; who asks for the same one meanwhile waits until it is there.
      - With O(state=absent), the output that would be built now is removed.
    type: path
  directory:
    description: The directory that C(exec_current) runs in. By default the one in which the playbook was started.
    type: path
  break_at:
    description: Stop before this macrostep (C(macro)) or microstep (C(macro/micro)) and leave the working directory as it is.
    type: str
  start_at:
    description: Go on at this macrostep or microstep in the working directory as the last build left it.
    type: str
  on_error:
    description:
      - What to do when a macrostep fails.
      - V(abort) goes back to the last checkpoint, with which the next build resumes.
      - V(keep) leaves the working directory as it is, for a look around and for O(start_at).
      - V(retry) goes back to the last checkpoint and runs the macrostep once more, then aborts.
    type: str
    choices: [abort, keep, retry]
    default: abort
  checkpoints:
    description: Whether there is a checkpoint after each macrostep or also after each microstep. What a microstep mounts or starts is in no checkpoint.
    type: str
    choices: [macrostep, microstep]
    default: macrostep
  dry_run:
    description: Return the scripts and run nothing.
    type: bool
    default: false
  progress:
    description: A file that gets a line for each macrostep and microstep that begins, with the time. The action plugin reads and shows it.
    type: path
"""

EXAMPLES = r"""
- name: Build an appliance
  our.cloud.appliance:
    recipe: hello

- name: With other values, up to a microstep
  our.cloud.appliance:
    recipe: hello
    data_dir: /home/lisa/appliances
    variables: {greeting: Good morning}
    break_at: greeting/message_is_seen

- name: One for each greeting, whoever asks for it
  our.cloud.appliance:
    recipe: hello
    variables: {greeting: Good morning}
    output_base: /srv/appliances
"""

RETURN = r"""
files:
  description: The output. C(image) is the archive, disk, medium or root file system; a C(triple) has C(kernel) and C(ramdisk), too.
  returned: when it was built, and always with O(output_base)
  type: dict
  sample: {"image": "/home/lisa/.cache/our.cloud/builds/hello/output/hello.tgz"}
recipe:
  description: The recipe's name.
  returned: always
  type: str
variables:
  description: The recipe's C(global) with everything filled in.
  returned: when O(state=present)
  type: dict
key:
  description:
    - A hash of everything that the appliance is made from. The same recipe has the same one.
    - A build that went on from a state which somebody had touched (O(start_at)) has one of its own.
  returned: when O(state=present)
  type: str
plan:
  description: Each macrostep, whether it runs (or would run) and why.
  returned: when O(state=present)
  type: list
  elements: dict
  sample: [{"macrostep": "bootstrap", "runs": false, "why": "checkpoint"}, {"macrostep": "system", "runs": true, "why": "changed"}]
scripts:
  description: The macrosteps' scripts.
  returned: when O(dry_run=true)
  type: list
  elements: dict
stopped_at:
  description: Where O(break_at) has stopped it.
  returned: when it has
  type: str
failed_at:
  description: The macrostep and microstep that failed, and what O(start_at) would call the place after it, if there is one.
  returned: when one failed
  type: dict
  sample: {"macrostep": "greeting", "microstep": "message", "next": "greeting/message_is_seen"}
workdir:
  description: The working directory.
  returned: when O(state=present)
  type: str
log:
  description: Everything that the scripts say.
  returned: when O(state=present)
  type: str
shell:
  description: A program that opens a shell in a working directory that was left as it is.
  returned: when it was
  type: str
"""

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible_collections.our.cloud.plugins.module_utils._recipe import recipe_build
from ansible_collections.our.cloud.plugins.module_utils._recipe.recipe import RecipeError
from ansible_collections.our.cloud.plugins.module_utils._recipe.recipe_files import yaml


def main():
    module = AnsibleModule(
        argument_spec={
            "recipe": {"type": "str", "required": True},
            "data_dir": {"type": "path"},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "variables": {"type": "dict", "default": {}},
            "workdir_base": {"type": "path"},
            "output_base": {"type": "path"},
            "directory": {"type": "path"},
            "break_at": {"type": "str"},
            "start_at": {"type": "str"},
            "on_error": {"type": "str", "choices": ["abort", "keep", "retry"], "default": "abort"},
            "checkpoints": {"type": "str", "choices": ["macrostep", "microstep"], "default": "macrostep"},
            "dry_run": {"type": "bool", "default": False},
            "progress": {"type": "path"},
        },
        mutually_exclusive=[("workdir_base", "output_base")],
        supports_check_mode=True,
    )
    if yaml is None:
        module.fail_json(msg=missing_required_lib("PyYAML"))
    try:
        result = recipe_build.ensure(module.params, module.check_mode, module._diff)
    except RecipeError as exc:
        module.fail_json(msg=str(exc), **exc.details)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
