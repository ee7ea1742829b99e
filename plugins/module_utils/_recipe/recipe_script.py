# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each macrostep of a recipe as one bash script, and the library of shell functions that these scripts call.

A script names every command and its place, its text follows as a here-document: what a recipe says is what the script says.
"""
from __future__ import annotations

import shlex
import subprocess
from collections.abc import Iterable, Mapping

from ansible_collections.our.cloud.plugins.module_utils._recipe.recipe import FILE_COMMANDS, Command, Macrostep, Microstep

# For the output's scripts, too, which say recipe_fail in their own way.
RESOLVE = r"""# The file that a path of the appliance leads to, its links followed as they are seen in there.
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
"""

# The environment comes from recipe_sandbox. Names that begin with RECIPE_ or recipe_ are the build's own.
LIBRARY = r"""# What the scripts of macrosteps are written in: a function for every command of a recipe.
# RECIPE_MACROSTEP is its name, RECIPE_ROOT the appliance, RECIPE_VIEW this computer, of which only the working directory can be
# written to, RECIPE_CURRENT the current directory, RECIPE_STATE a directory for what is passed on, RECIPE_PROGRESS a file,
# RECIPE_LAYERS the directory of checkpoints and RECIPE_UPPER what in it takes all that is written to the appliance. RECIPE_TOLD is
# a file descriptor, which works when the disk is full.
shopt -s inherit_errexit
export -n ${!RECIPE_*}
RECIPE_finished='' RECIPE_microstep='' RECIPE_command='' RECIPE_where='' RECIPE_text='' RECIPE_shown='' RECIPE_path=''
exec 99>>"$RECIPE_STATE/failed" </dev/null
# Commands of this library are called by builtin and command: functions of a recipe may have their names.

# What begins a shell in the appliance: a command fails when any part of it fails. It comes by the file descriptor 9: an argument has
# no more than 128 KiB.
RECIPE_IN_BASH='set -Eeuo pipefail
shopt -s inherit_errexit
eval "$1"
set --
trap '\''recipe_note "$BASH_COMMAND" "${PIPESTATUS[*]}"'\'' ERR
IFS= read -rd "" RECIPE_text <&9 || true
exec 9<&-
eval "$RECIPE_text"'
RECIPE_IN_SH='command -v bash >/dev/null && exec bash -c "$1" bash "$2"
set -eu
(set -o pipefail) 2>/dev/null && set -o pipefail
set --
RECIPE_text=
while IFS= read -r RECIPE_line <&9; do
    RECIPE_text="$RECIPE_text$RECIPE_line
"
done
exec 9<&-
eval "$RECIPE_text"'

# The shell's variables but those that change by themselves, as lines that set them anywhere.
recipe_variables() {
    local RECIPE_own='BASH\w*|RECIPE_\w*|COMP_\w+|DIRSTACK|EPOCH\w+|FUNCNAME|GROUPS|HISTCMD|LINENO|OLDPWD|OPT(IND|ERR|ARG)|PIPESTATUS|PWD|RANDOM|SECONDS'
    declare -p | command sed -nE -e '/^declare -[A-Za-z]*r/d' -e "/^declare -[^ ]+ ($RECIPE_own|SHLVL|SRANDOM|_)(=|$)/d" -e 's/^declare /declare -g /p'
}

# Those that are new or changed since the macrostep began, for what comes after it.
recipe_save() {
    { recipe_variables | command grep -vxFf "$RECIPE_STATE/at-start" || [ $? = 1 ]; } >"$RECIPE_STATE/variables.new" &&
        command mv "$RECIPE_STATE/variables.new" "$RECIPE_STATE/variables"
}

# Which command has failed: for the trap ERR. A command of this library is not what somebody wants to know about.
recipe_note() { # BASH_COMMAND PIPESTATUS
    case $BASH_SUBSHELL:${RECIPE_command-}:$2 in
    0:exec_current:*' '* | 0::*' '*) builtin printf 'a pipe that ends with %s (status %s)\0' "$1" "$2" >&99 ;;
    0:exec_current:* | 0::*) builtin printf '%s\0' "$1" >&99 ;;
    esac
}

recipe_fail() {
    builtin printf '%s\n' "$1" >&2
    builtin printf '%s\0' "$1" >&99
    exit 1
}

# Tell the build how it ended. A script that was left by exit has not come to its end.
recipe_exit() {
    local RECIPE_status=$? RECIPE_failed=''
    [ -z "$RECIPE_finished" ] || exit 0
    builtin trap - ERR
    set +e
    recipe_save
    IFS= builtin read -rd '' RECIPE_failed <"$RECIPE_STATE/failed"
    RECIPE_failed=${RECIPE_failed:-$RECIPE_shown}
    # the build reads this when the script has ended, and until then the pipe must have room for it
    [ "${#RECIPE_failed}" -le 1000 ] || RECIPE_failed="${RECIPE_failed:0:1000} …"
    [ "$RECIPE_status" != 0 ] || RECIPE_failed='exit, which ends the whole macrostep: return ends a command early'
    builtin printf '%s\0' "$RECIPE_status" "$RECIPE_microstep" "$RECIPE_command" "$RECIPE_where" "$RECIPE_failed" >&"$RECIPE_TOLD"
    exit $((RECIPE_status ? RECIPE_status : 1))
}

# Begin a command, whatever the one before did to the shell. Its text is the standard input.
recipe_begin() { # KIND FILE:LINE [what it is about, if that is not its text]
    set -Eeuo pipefail
    builtin trap 'recipe_note "$BASH_COMMAND" "${PIPESTATUS[*]}"' ERR
    builtin trap recipe_exit EXIT
    { builtin printf '%s\0' "$RECIPE_microstep" "$1" "$2" >"$RECIPE_STATE/place"; } 2>/dev/null || true
    RECIPE_command=$1 RECIPE_where=$2
    IFS= builtin read -rd '' RECIPE_text || true
    RECIPE_shown=${3:-$RECIPE_text}
    : >"$RECIPE_STATE/failed"
    builtin printf -- '-- %s (%s)\n' "$1" "$2"
    builtin cd "$RECIPE_CURRENT"
}

recipe_microstep() { # NAME
    RECIPE_microstep=$1
    builtin printf '%s microstep %s/%s\n' "$EPOCHSECONDS" "$RECIPE_MACROSTEP" "$1" >>"$RECIPE_PROGRESS"
    builtin printf '== %s/%s\n' "$RECIPE_MACROSTEP" "$1"
}

""" + RESOLVE + r"""
# Run a command in another root directory, with those capabilities alone (numbers of linux/capability.h) that it may have use for.
# What is in the appliance came from elsewhere: it gets none to mount, to make devices, to leave its root directory or to change the kernel.
# What runs beside it makes appliances, which takes to mount and to make devices; it has none for the kernel, the network and the clock.
RECIPE_INSIDE='0 1 3 4 5 6 7 8 10 29 31'
RECIPE_BESIDE="$RECIPE_INSIDE 2 9 11 13 14 15 18 19 21 23 24 27 28"
recipe_enter() { # ROOT CAPABILITIES COMMAND...
    "$RECIPE_PYTHON" -IS -c '
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
os.chroot(sys.argv[1])
os.chdir("/")
kept = set(map(int, sys.argv[2].split()))
for number in range(64):
    # PR_CAPBSET_DROP; what a kernel does not know it does not give
    if number not in kept and libc.prctl(24, number, 0, 0, 0) and ctypes.get_errno() != 22:
        sys.exit("prctl: " + os.strerror(ctypes.get_errno()))
os.execv(sys.argv[3], sys.argv[3:])
' "$@"
}

# A process table, a few devices and terminals for the appliance, until the macrostep ends. Nobody in there can change a setting of this
# computer's kernel: the table cannot be written to, and who may not mount makes no other one.
recipe_mounts() {
    local name dev=$RECIPE_ROOT/dev proc=$RECIPE_ROOT/proc
    if [ -d "$proc" ] && [ ! -L "$proc" ] && ! command mountpoint -q "$proc"; then
        command mount -t proc -o ro,nosuid,nodev,noexec proc "$proc"
    fi
    if [ -d "$dev" ] && [ ! -L "$dev" ] && ! command mountpoint -q "$dev"; then
        command mount -t tmpfs -o nosuid,mode=755 tmpfs "$dev"
        for name in null zero full random urandom tty; do
            : >"$dev/$name"
            command mount --bind "/dev/$name" "$dev/$name"
        done
        command mkdir "$dev/pts" "$dev/shm"
        command mount -t devpts -o nosuid,noexec,newinstance,ptmxmode=0666,mode=620 devpts "$dev/pts"
        command mount -t tmpfs -o nosuid,nodev,mode=1777 tmpfs "$dev/shm"
        command ln -s pts/ptmx "$dev/ptmx"
        command ln -s /proc/self/fd "$dev/fd"
        command ln -s /proc/self/fd/0 "$dev/stdin"
        command ln -s /proc/self/fd/1 "$dev/stdout"
        command ln -s /proc/self/fd/2 "$dev/stderr"
    fi
}

recipe_check_cmd() {
    local name IFS=$' \t\n'
    recipe_begin check_cmd "$1"
    for name in $RECIPE_text; do
        builtin type -P "$name" >/dev/null || recipe_fail "this computer has no command $name. Remedy: install the package that has it"
    done
}

recipe_check_appliance_cmd() {
    local name IFS=$' \t\n'
    recipe_begin check_appliance_cmd "$1"
    for name in $RECIPE_text; do
        recipe_enter "$RECIPE_ROOT" "$RECIPE_INSIDE" /bin/sh -c 'command -v "$1"' sh "$name" >/dev/null || recipe_fail "the appliance has no command $name"
    done
}

recipe_exec_current() {
    recipe_begin exec_current "$1"
    set --
    eval "$RECIPE_text"
    # what declare has made is known to this function alone
    recipe_save
    . "$RECIPE_STATE/variables"
}

# In a view of this computer of which only the working directory can be written to. That holds off accidents and nobody who is root
# and wants to: he may mount. Its variables come back.
recipe_exec_appliance() {
    recipe_begin exec_appliance "$1"
    recipe_save
    recipe_enter "$RECIPE_VIEW" "$RECIPE_BESIDE" "$BASH" -c "$(declare -f recipe_variables recipe_save recipe_note)"'
set -Eeuo pipefail
shopt -s inherit_errexit
builtin trap '\''recipe_note "$BASH_COMMAND" "${PIPESTATUS[*]}"'\'' ERR
RECIPE_STATE=$1
. "$RECIPE_STATE/variables"
builtin cd "$2"
set --
IFS= builtin read -rd "" RECIPE_text <&9 || true
exec 9<&-
eval "$RECIPE_text"
recipe_save' bash "$RECIPE_STATE" "$RECIPE_ROOT" 9<<<"$RECIPE_text"
    . "$RECIPE_STATE/variables"
}

recipe_exec_chroot() {
    recipe_begin exec_chroot "$1"
    recipe_mounts
    (
        unset TMPDIR
        HOME=/root recipe_enter "$RECIPE_ROOT" "$RECIPE_INSIDE" /bin/sh -c "$RECIPE_IN_SH" sh "$RECIPE_IN_BASH" "$(declare -f recipe_note)" 9<<<"$RECIPE_text"
    )
}

recipe_write_file() { # FILE:LINE PATH
    recipe_begin write_file "$1" "$2"
    recipe_resolve "$2"
    builtin printf '%s' "$RECIPE_text" >"$RECIPE_path"
}

recipe_append_file() { # FILE:LINE PATH
    recipe_begin append_file "$1" "$2"
    recipe_resolve "$2"
    builtin printf '%s' "$RECIPE_text" >>"$RECIPE_path"
}

# In double quotes: what the shell finds in there is the shell's.
recipe_set_var() { # FILE:LINE NAME
    recipe_begin set_var "$1" "$2"
    eval "$2=\"${RECIPE_text%$'\n'}\""
    export "${2?}"
}

# The appliance and the variables as they are now, by a name that appears when they are whole.
recipe_checkpoint() { # KEY
    recipe_save
    command rm -rf "$RECIPE_LAYERS/$1.partial"
    command cp -a --reflink=auto "$RECIPE_LAYERS/$RECIPE_UPPER" "$RECIPE_LAYERS/$1.partial"
    command cp "$RECIPE_STATE/variables" "$RECIPE_LAYERS/$1.variables"
    command mv "$RECIPE_LAYERS/$1.partial" "$RECIPE_LAYERS/$1"
}

# Without this word a script has not come to its end, whatever its status is: exec may have put something else in its place.
recipe_finish() {
    recipe_save
    RECIPE_finished=yes
    builtin printf 'finished\0' >&"$RECIPE_TOLD"
}

# A recipe's functions may have any name but these.
mapfile -t RECIPE_functions < <(compgen -A function recipe_)
readonly -f "${RECIPE_functions[@]}"
trap recipe_exit EXIT
recipe_variables >"$RECIPE_STATE/at-start"
. "$RECIPE_STATE/variables"
"""


def script(recipe: str, macrostep: Macrostep, start: int = 0, stop: int | None = None, checkpoints: Mapping[str, str] | None = None) -> str:
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
        lines += ["", f"recipe_microstep {shlex.quote(microstep.name)}"]
        for command in microstep.commands:
            lines += call(command)
        if checkpoints and microstep.name in checkpoints:
            lines.append(f"recipe_checkpoint {checkpoints[microstep.name]}")
    return "\n".join([*lines, "", "recipe_finish", ""])


def call(command: Command) -> list[str]:
    """The lines that make a command in a script."""
    named = command.name in (*FILE_COMMANDS, "set_var")
    words = [f"recipe_{command.name}", shlex.quote(command.where.short()), *(shlex.quote(name) for name in command.arguments[:-1] if named)]
    text = command.arguments[-1].split("\n")
    if text[-1] == "":
        text.pop()
    end = "EOF"
    while end in text:
        end += "_"
    return [f"{' '.join(words)} <<'{end}'", *text, end]


def check_syntax(macrosteps: Iterable[Macrostep]) -> None:
    """Refuse commands that the shell cannot read, before anything runs."""
    read = set()
    for macrostep in macrosteps:
        for microstep in macrostep.microsteps:
            for command in microstep.commands:
                if command.name.startswith("exec_"):
                    text = command.arguments[0]
                elif command.name == "set_var":
                    text = '{}="{}"'.format(*command.arguments)
                else:
                    continue
                # what is included often is read once
                if text not in read:
                    refuse_unreadable(command, text, macrostep, microstep)
                    read.add(text)


def refuse_unreadable(command: Command, text: str, macrostep: Macrostep, microstep: Microstep) -> None:
    done = subprocess.run(["bash", "-n"], input=(text + "\n").encode(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    # an unfinished here-document is only warned about
    if done.returncode or done.stdout:
        said = done.stdout.decode(errors="replace").strip().splitlines() or ["bash cannot read it"]
        place = f"macrostep {macrostep.name}, microstep {microstep.name}: {command.name}"
        raise command.where.error(f"{place}: {said[0].removeprefix('bash: ').removeprefix('-c: ')}")
