# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The words of Kameleon 2: those that are ours under another name, and what to write instead of the others. docs/kameleon.md has the reasons.

Kameleon's standard aliases are here, too: recipes use them as if they were commands.
"""
from __future__ import annotations

# Commands that do the same: ours have the workdirs $$chroot (out) and / (in), and fail early.
SAME = {
    "exec_local": "exec_current", "exec_out": "exec_appliance", "exec_in": "exec_chroot",
    "check_cmd_local": "check_cmd", "check_cmd_out": "check_cmd", "check_cmd_in": "check_appliance_cmd",
}

CONTEXTS = ("local", "out", "in")
SECTIONS = ("bootstrap", "setup", "export")
# What stands for the name of a step or of its variable, which are the recipe's own.
STEP_VARIABLE, EMBEDDED_STEP = "step variable", "embedded step"

ONE_SCRIPT = "one exec_appliance, which reads this computer's files and is in the appliance's root directory"
LATER = "write these commands into a microstep where they are to run; what a macrostep mounts or starts ends with it by itself"

# The keys of a recipe's file.
PARTS = {
    "extend": "copy the other recipe's global and steps into this one; to replace values only, build with recipe_variables",
    "aliases": "write out the commands of an alias, or put them into a file of steps and include it",
    "checkpoint": "leave it out, every macrostep has a checkpoint",
    "env": "set_var for variables; a command that needs the file's functions reads the file",
    "bootstrap": "steps, which lists the macrosteps of bootstrap, then those of setup",
    "setup": "steps, which lists the macrosteps of bootstrap, then those of setup",
    "export": "type in global says what comes out; list what has to run before that at the end of steps",
}
# The names in ``global`` that are no plain variables.
GLOBAL = {
    "include": "copy the variables of that file into global",
    "include_steps": "distrib in global names the folder below steps that is looked at before steps/common",
    "out_context": "leave it out, exec_out runs on this computer, in the appliance's root directory",
    "in_context": "leave it out, exec_in runs in the appliance, in its root directory",
}
# What is said for ``$$name``.
VARIABLES = {
    "kameleon_cwd": "write $$workdir",
    "kameleon_recipe_name": "put the name into global",
    "kameleon_recipe_dir": "put the directory into global",
    "kameleon_data_dir": "put the directory with the files into global",
    **dict.fromkeys(("kameleon_uuid", "kameleon_short_uuid"), "put one into global; a build has none, as the same recipe gives the same bytes"),
    "checkpointing_enabled": "write true, there are always checkpoints",
    "persistent_cache": "write false, a mirror with a date takes its place (snapshot_date)",
    **dict.fromkeys((f"proxy_{context}" for context in CONTEXTS), "set http_proxy where the playbook is started; all commands see it"),
}
# What stands in a macrostep of the recipe's list or in the file of a macrostep.
STEPS = {
    "@base": "list the other recipe's macrosteps here",
    STEP_VARIABLE: "put it into the recipe's global; for one macrostep, set_var and then include the file that uses it",
    EMBEDDED_STEP: "put its microsteps into a file of that name, NAME.yaml in steps/common",
}
COMMANDS = {
    "pipe": ONE_SCRIPT,
    "rescue": "the shell's || in one command",
    "test": "the shell's if in one command",
    "group": "write its commands one after the other",
    "breakpoint": "build with break_at=MACROSTEP/MICROSTEP; to end the build, a command that fails: echo MESSAGE; false",
    "reload_context": "leave it out, each command has a new shell",
    "on_checkpoint": "leave it out, a checkpoint is after each macrostep; what must always run is no part of a recipe",
    **dict.fromkeys(("on_init", "on_clean", *(f"on_{section}_{when}" for section in SECTIONS for when in ("init", "clean"))), LATER),
    # aliases
    **{f"{do}{raw}_in": f"{do}_file, which takes the content as it is, in a directory that exists" for do in ("write", "append") for raw in ("", "_raw")},
    **{f"{do}{raw}_{context}": "cat with a here-document in exec_current"
       for do in ("write", "append") for raw in ("", "_raw") for context in ("local", "out")},
    **{f"{source}2{target}": ONE_SCRIPT + ": cp, or cat with >" for source in CONTEXTS for target in CONTEXTS if source != target},
    **{f"umount_{context}": "leave it out, what a macrostep mounts ends with it" for context in CONTEXTS},
    **{f"download_file_{context}": f"curl or wget in exec_{context}" for context in CONTEXTS},
    **{f"apt-get_{context}": f"apt-get -y in exec_{context}, with DEBIAN_FRONTEND=noninteractive" for context in ("out", "in")},
}


def refusal(table: dict[str, str], key: str, name: str = "") -> str:
    """The message that refuses a construct; empty if it is none of the table. name: the recipe's own name of it, if it has one."""
    return f"Kameleon's {key}{name and ' ' + name} is not known here. Remedy: {table[key]}" if key in table else ""
