#!/usr/bin/env bash
# What the plain scripts share. They make the changes that the playbooks make, without looking first whether they are needed.
# bench/run.py gives them the inventory's values in the environment.
set -euo pipefail

# on HOST < SCRIPT: run it there, with the inventory's values and the functions below
on() {
    local script
    script="$(declare -p NETWORK PREFIX DOMAIN GATEWAY_ADDRESS PUBLIC_MAC PRIVATE_MAC DHCP_RANGE MACHINES GUESTS STORE STORE_ADDRESS BRIDGE XEN KVM)
$(declare -f need put interface)
host=$1
$(cat)"
    ssh -n -F "$SSH_CONFIG" -o BatchMode=yes "$1" "bash -euo pipefail -c '${script//\'/\'\\\'\'}'"
}

# on_each HOST... < SCRIPT: side by side; fails if it fails on one
on_each() {
    local script host pid pids=()
    script=$(cat)
    for host in "$@"; do
        on "$host" <<<"$script" &
        pids+=($!)
    done
    for pid in "${pids[@]}"; do wait "$pid"; done
}

# come_back HOST [CHECK]: until it can be logged in to
come_back() {
    local end=$((SECONDS + 1200))
    until ssh -n -F "$SSH_CONFIG" -o BatchMode=yes -o ConnectTimeout=10 "$1" "${2:-true}" 2>/dev/null; do
        if [ $SECONDS -ge $end ]; then echo "$1 did not come back" >&2; return 1; fi
        sleep 1
    done
}

# need PACKAGE...: install those that are missing, without starting their services
need() {
    local missing=() package
    for package in "$@"; do
        [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    apt-get -qq update
    printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
    chmod +x /usr/sbin/policy-rc.d
    DEBIAN_FRONTEND=noninteractive apt-get -qq install --no-install-recommends "${missing[@]}" >/dev/null
    rm /usr/sbin/policy-rc.d
}

# put FILE [MODE] < TEXT
put() {
    mkdir -p "${1%/*}"
    cat >"$1"
    chmod "${2:-644}" "$1"
}

# interface MAC: its name; a bridge has the MAC of its port and is none
interface() {
    local card
    for card in /sys/class/net/*; do
        if [ "$(cat "$card/address")" = "$1" ] && [ ! -d "$card/bridge" ]; then echo "${card##*/}"; fi
    done
}
