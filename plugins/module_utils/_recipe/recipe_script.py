# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each macrostep of a recipe as one bash script, and the library of shell functions that these scripts call.

A script names every command by kind and place, its text follows as a here-document: what a recipe says is what the script says.
"""
from __future__ import annotations

import shlex
import subprocess

from ansible_collections.our.cloud.plugins.module_utils._recipe.recipe import FILE_COMMANDS

# The environment comes from recipe_room. Names that begin with RECIPE_ or recipe_ are the build's own.
LIBRARY = r"""# What the scripts of macrosteps are written in: a function for every command of a recipe.
# RECIPE_MACROSTEP is its name, RECIPE_ROOT the appliance, RECIPE_VIEW this computer, of which only the working directory can be
# written to, RECIPE_CURRENT the current directory, RECIPE_STATE a directory for what is passed on, RECIPE_PROGRESS a file,
# RECIPE_LAYERS the directory of checkpoints and RECIPE_UPPER what in it takes all that is written to the appliance. RECIPE_TOLD is
# a file descriptor, which works when the disk is full.
shopt -s inherit_errexit
export -n ${!RECIPE_*}
RECIPE_finished='' RECIPE_microstep='' RECIPE_command='' RECIPE_where='' RECIPE_text='' RECIPE_shown='' RECIPE_path=''
exec 99>>"$RECIPE_STATE/failed" </dev/null

# What begins a shell in the appliance: a command fails when any part of it fails. $1 is the command.
RECIPE_IN_BASH='set -Eeuo pipefail
shopt -s inherit_errexit
eval "$2"
trap '\''recipe_note "$BASH_COMMAND" "${PIPESTATUS[*]}"'\'' ERR
eval "$1"'
RECIPE_IN_SH='command -v bash >/dev/null && exec bash -c "$2" bash "$1" "$3"
set -eu
(set -o pipefail) 2>/dev/null && set -o pipefail
eval "$1"'

# The shell's variables but those that change by themselves, as lines that set them anywhere.
recipe_variables() {
    local RECIPE_own='BASH\w*|RECIPE_\w*|COMP_\w+|DIRSTACK|EPOCH\w+|FUNCNAME|GROUPS|HISTCMD|LINENO|OLDPWD|OPT(IND|ERR|ARG)|PIPESTATUS|PWD|RANDOM|SECONDS'
    declare -p | sed -nE -e '/^declare -[A-Za-z]*r/d' -e "/^declare -[^ ]+ ($RECIPE_own|SHLVL|SRANDOM|_)(=|$)/d" -e 's/^declare /declare -g /p'
}

# Those that are new or changed since the macrostep began, for what comes after it.
recipe_save() {
    { recipe_variables | grep -vxFf "$RECIPE_STATE/at-start" || [ $? = 1 ]; } >"$RECIPE_STATE/variables.new" &&
        mv "$RECIPE_STATE/variables.new" "$RECIPE_STATE/variables"
}

# Which command has failed: for the trap ERR. A command of this library is not what somebody wants to know about.
recipe_note() { # BASH_COMMAND PIPESTATUS
    case $BASH_SUBSHELL:${RECIPE_command-}:$2 in
    0:exec_current:*' '* | 0::*' '*) printf 'a pipe that ends with %s (status %s)\0' "$1" "$2" >&99 ;;
    0:exec_current:* | 0::*) printf '%s\0' "$1" >&99 ;;
    esac
}

recipe_fail() {
    printf '%s\n' "$1" >&2
    printf '%s\0' "$1" >&99
    exit 1
}

# Tell the build how it ended. A script that was left by exit has not come to its end.
recipe_exit() {
    local RECIPE_status=$? RECIPE_failed=''
    [ -z "$RECIPE_finished" ] || exit 0
    trap - ERR
    set +e
    recipe_save
    IFS= read -rd '' RECIPE_failed <"$RECIPE_STATE/failed"
    RECIPE_failed=${RECIPE_failed:-$RECIPE_shown}
    [ "$RECIPE_status" != 0 ] || RECIPE_failed='exit, which ends the whole macrostep: return ends a command early'
    printf '%s\0' "$RECIPE_status" "$RECIPE_microstep" "$RECIPE_command" "$RECIPE_where" "$RECIPE_failed" >&"$RECIPE_TOLD"
    exit $((RECIPE_status ? RECIPE_status : 1))
}

# Begin a command, whatever the one before did to the shell. Its text is the standard input.
recipe_begin() { # KIND FILE:LINE [what it is about, if that is not its text]
    set -Eeuo pipefail
    trap 'recipe_note "$BASH_COMMAND" "${PIPESTATUS[*]}"' ERR
    trap recipe_exit EXIT
    RECIPE_command=$1 RECIPE_where=$2
    IFS= read -rd '' RECIPE_text || true
    RECIPE_shown=${3:-$RECIPE_text}
    : >"$RECIPE_STATE/failed"
    printf -- '-- %s (%s)\n' "$1" "$2"
    cd "$RECIPE_CURRENT"
}

microstep() { # NAME
    RECIPE_microstep=$1
    printf '%s microstep %s/%s\n' "$EPOCHSECONDS" "$RECIPE_MACROSTEP" "$1" >>"$RECIPE_PROGRESS"
    printf '== %s/%s\n' "$RECIPE_MACROSTEP" "$1"
}

# The file that a path of the appliance leads to, its links followed as they are seen in there.
recipe_resolve() { # PATH
    local rest=$1 here='' part links=0
    while [ -n "$rest" ]; do
        part=${rest%%/*}
        if [[ $rest == */* ]]; then rest=${rest#*/}; else rest=''; fi
        case $part in
        '' | .) ;;
        ..)
            [ -n "$here" ] || recipe_fail "$1 leads out of the appliance"
            here=${here%/*}
            ;;
        *)
            here=$here/$part
            if [ -L "$RECIPE_ROOT$here" ]; then
                links=$((links + 1))
                [ "$links" -le 40 ] || recipe_fail "$1: too many links"
                part=$(readlink -n "$RECIPE_ROOT$here" && printf .)
                part=${part%.}
                rest=$part/$rest
                if [[ $part == /* ]]; then here=''; else here=${here%/*}; fi
            fi
            ;;
        esac
    done
    RECIPE_path=$RECIPE_ROOT$here
}

# A process table, a few devices and terminals for the appliance, until the macrostep ends. No setting of this computer's kernel
# can be changed there, and nothing of its /dev be removed.
recipe_mounts() {
    local name dev=$RECIPE_ROOT/dev proc=$RECIPE_ROOT/proc
    if [ -d "$proc" ] && [ ! -L "$proc" ] && ! mountpoint -q "$proc"; then
        mount -t proc -o ro,nosuid,nodev,noexec proc "$proc"
    fi
    if [ -d "$dev" ] && [ ! -L "$dev" ] && ! mountpoint -q "$dev"; then
        mount -t tmpfs -o nosuid,mode=755 tmpfs "$dev"
        for name in null zero full random urandom tty; do
            : >"$dev/$name"
            mount --bind "/dev/$name" "$dev/$name"
        done
        mkdir "$dev/pts" "$dev/shm"
        mount -t devpts -o nosuid,noexec,newinstance,ptmxmode=0666,mode=620 devpts "$dev/pts"
        mount -t tmpfs -o nosuid,nodev,mode=1777 tmpfs "$dev/shm"
        ln -s pts/ptmx "$dev/ptmx"
        ln -s /proc/self/fd "$dev/fd"
        ln -s /proc/self/fd/0 "$dev/stdin"
        ln -s /proc/self/fd/1 "$dev/stdout"
        ln -s /proc/self/fd/2 "$dev/stderr"
    fi
}

check_cmd() {
    local name
    recipe_begin check_cmd "$1"
    for name in $RECIPE_text; do
        type -P "$name" >/dev/null || recipe_fail "this computer has no command $name. Remedy: install the package that has it"
    done
}

check_appliance_cmd() {
    local name
    recipe_begin check_appliance_cmd "$1"
    for name in $RECIPE_text; do
        chroot "$RECIPE_ROOT" /bin/sh -c 'command -v "$1"' sh "$name" >/dev/null || recipe_fail "the appliance has no command $name"
    done
}

exec_current() {
    recipe_begin exec_current "$1"
    eval "$RECIPE_text"
}

# In a view of this computer of which only the working directory can be written to. Its variables come back.
exec_appliance() {
    recipe_begin exec_appliance "$1"
    recipe_save
    chroot "$RECIPE_VIEW" "$BASH" -c "$(declare -f recipe_variables recipe_save recipe_note)"'
set -Eeuo pipefail
shopt -s inherit_errexit
trap '\''recipe_note "$BASH_COMMAND" "${PIPESTATUS[*]}"'\'' ERR
RECIPE_STATE=$1
. "$RECIPE_STATE/variables"
cd "$2"
eval "$3"
recipe_save' bash "$RECIPE_STATE" "$RECIPE_ROOT" "$RECIPE_text"
    . "$RECIPE_STATE/variables"
}

exec_chroot() {
    recipe_begin exec_chroot "$1"
    recipe_mounts
    env -u TMPDIR HOME=/root chroot "$RECIPE_ROOT" /bin/sh -c "$RECIPE_IN_SH" sh "$RECIPE_text" "$RECIPE_IN_BASH" "$(declare -f recipe_note)"
}

write_file() { # FILE:LINE PATH
    recipe_begin write_file "$1" "$2"
    recipe_resolve "$2"
    printf '%s' "$RECIPE_text" >"$RECIPE_path"
}

append_file() { # FILE:LINE PATH
    recipe_begin append_file "$1" "$2"
    recipe_resolve "$2"
    printf '%s' "$RECIPE_text" >>"$RECIPE_path"
}

# In double quotes: what the shell finds in there is the shell's.
set_var() { # FILE:LINE NAME
    recipe_begin set_var "$1" "$2"
    eval "$2=\"${RECIPE_text%$'\n'}\""
    export "${2?}"
}

# The appliance and the variables as they are now, by a name that appears when they are whole.
checkpoint() { # KEY
    recipe_save
    rm -rf "$RECIPE_LAYERS/$1.partial"
    cp -a --reflink=auto "$RECIPE_LAYERS/$RECIPE_UPPER" "$RECIPE_LAYERS/$1.partial"
    cp "$RECIPE_STATE/variables" "$RECIPE_LAYERS/$1.variables"
    mv "$RECIPE_LAYERS/$1.partial" "$RECIPE_LAYERS/$1"
}

finish() {
    recipe_save
    RECIPE_finished=yes
}

trap recipe_exit EXIT
recipe_variables >"$RECIPE_STATE/at-start"
. "$RECIPE_STATE/variables"
"""


def script(recipe, macrostep, start=0, stop=None, checkpoints=None):
    """The script of a macrostep's microsteps from start up to stop.

    checkpoints: {microstep: key} of those whose state is to be kept.
    """
    lines = [
        "#!/usr/bin/env bash",
        f"# {macrostep.name} of the recipe {recipe}, from {macrostep.where.name}. The build runs it as a whole; changes belong into that file.",
        "set -Eeuo pipefail",
        '. "$RECIPE_LIBRARY"',
    ]
    for microstep in macrostep.microsteps[start:stop]:
        lines += ["", f"microstep {shlex.quote(microstep.name)}"]
        for command in microstep.commands:
            lines += call(command)
        if checkpoints and microstep.name in checkpoints:
            lines.append(f"checkpoint {checkpoints[microstep.name]}")
    return "\n".join([*lines, "", "finish", ""])


def call(command):
    """The lines that make a command in a script."""
    named = command.kind in (*FILE_COMMANDS, "set_var")
    words = [command.kind, shlex.quote(command.where.short()), *(shlex.quote(name) for name in command.arguments[:-1] if named)]
    text = command.arguments[-1].split("\n")
    if text[-1] == "":
        text.pop()
    end = "EOF"
    while end in text:
        end += "_"
    return [f"{' '.join(words)} <<'{end}'", *text, end]


def check_syntax(macrosteps):
    """Refuse commands that the shell cannot read, before anything runs."""
    for macrostep in macrosteps:
        for microstep in macrostep.microsteps:
            for command in microstep.commands:
                if command.kind.startswith("exec_"):
                    refuse_unreadable(command, command.arguments[0], macrostep, microstep)
                elif command.kind == "set_var":
                    refuse_unreadable(command, '{}="{}"'.format(*command.arguments), macrostep, microstep)


def refuse_unreadable(command, text, macrostep, microstep):
    done = subprocess.run(["bash", "-n", "-c", text + "\n"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    # an unfinished here-document is only warned about
    if done.returncode or done.stdout:
        said = done.stdout.decode(errors="replace").strip().splitlines() or ["bash cannot read it"]
        place = f"macrostep {macrostep.name}, microstep {microstep.name}: {command.kind}"
        raise command.where.error(f"{place}: {said[0].removeprefix('bash: ').removeprefix('-c: ')}")
